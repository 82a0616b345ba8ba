#include "fstatistic.hpp"

#include <algorithm>

namespace fachwerk::polgraw {

FWeights f_weights(const AntennaSums& sums, Form form) {
  if (form == Form::diagonal) return {1 / sums.A, 1 / sums.B, 0};
  const double determinant = sums.A * sums.B - sums.C * sums.C;
  return {sums.B / determinant, sums.A / determinant, -2 * sums.C / determinant};
}

std::vector<std::size_t> normalisation_blocks(std::size_t bins, std::size_t nav, bool drop_remainder) {
  std::vector<std::size_t> blocks(bins / nav, nav);
  const std::size_t remainder = bins % nav;
  if (drop_remainder || remainder == 0) return blocks;
  if (2 * remainder < nav && !blocks.empty())
    blocks.back() += remainder;
  else
    blocks.push_back(remainder);
  return blocks;
}

void normalise(std::span<double> F, std::span<const std::size_t> blocks, Norm norm) {
  if (norm == Norm::none) return;
  std::size_t begin = 0;
  std::vector<double> sorted;
  for (std::size_t length : blocks) {
    const auto block = F.subspan(begin, length);
    double scale = 0;
    if (norm == Norm::block) {
      for (double f : block)
        scale += f;
      scale /= 2 * static_cast<double>(length);
    } else {
      sorted.assign(block.begin(), block.end());
      const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(length / 2);
      std::nth_element(sorted.begin(), middle, sorted.end());
      scale = *middle / median_of_f;
    }
    if (scale > 0)
      for (double& f : block)
        f /= scale;
    begin += length;
  }
}

double line_robust(double F, std::span<const double> of_detectors, double transition) {
  const double largest = std::max(transition, *std::ranges::max_element(of_detectors));
  double lines = 0;
  for (double f : of_detectors)
    lines += std::exp(f - largest) / static_cast<double>(of_detectors.size());
  return F - largest - std::log((std::exp(transition - largest) + lines) / 2);
}

std::vector<Peak> find_peaks(std::span<const double> F, double threshold, Peaks peaks) {
  std::vector<Peak> found;
  for (std::size_t i = 0; i < F.size(); ++i) {
    if (!(F[i] > threshold)) continue;
    if (peaks == Peaks::local) {
      const bool rises = i == 0 || F[i] > F[i - 1], falls = i + 1 == F.size() || F[i] > F[i + 1];
      if (rises && falls) found.push_back({i, F[i]});
      continue;
    }
    Peak best{i, F[i]};
    while (++i < F.size() && F[i] > threshold)
      if (F[i] >= best.F) best = {i, F[i]};
    found.push_back(best);
  }
  return found;
}

}  // namespace fachwerk::polgraw
