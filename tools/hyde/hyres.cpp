#include "hyres.hpp"

#include <algorithm>
#include <cmath>

#include "cli/error.hpp"
#include "sure.hpp"

namespace fachwerk::hyde {
namespace {

constexpr std::size_t kPatience = 5;  // ranks without improvement before the scan stops

std::vector<double> reciprocal(const std::vector<double>& v) {
  std::vector<double> r(v.size());
  std::transform(v.begin(), v.end(), r.begin(), [](double x) { return 1 / x; });
  return r;
}

// The subband's coefficients one after another.
std::vector<float> gather(const Dwt2& dwt, const Subband& band, std::span<const float> coefficients) {
  std::vector<float> values;
  values.reserve(band.rows * band.cols);
  for (std::size_t r = 0; r < band.rows; ++r) {
    const float* row = coefficients.data() + (band.row + r) * dwt.cols() + band.col;
    values.insert(values.end(), row, row + band.cols);
  }
  return values;
}

struct Component {
  std::vector<float> coefficients;
  double gain = 0;
  std::vector<double> thresholds = {};  // one, or one a subband
};

Component analyse(std::span<const float> plane, const Dwt2& dwt, const HyresOptions& options) {
  Component component{std::vector<float>(dwt.size())};
  dwt.forward(plane, component.coefficients);
  const auto choose = [&](std::span<const float> x) {
    const Threshold bounded = sure_grid(x, options.largest_threshold, options.grid);
    component.gain += bounded.gain;
    component.thresholds.push_back(options.exact_thresholds ? sure_exact(x).value : bounded.value);
  };
  if (options.scope == ThresholdScope::component) {
    choose(component.coefficients);
  } else {
    for (const Subband& band : dwt.subbands())
      choose(gather(dwt, band, component.coefficients));
  }
  return component;
}

void restore(Component& component, const Dwt2& dwt, ThresholdScope scope, std::span<float> plane) {
  if (scope == ThresholdScope::component) {
    soft_threshold(component.coefficients, static_cast<float>(component.thresholds.front()));
  } else {
    for (std::size_t k = 0; k < dwt.subbands().size(); ++k) {
      const Subband& band = dwt.subbands()[k];
      for (std::size_t r = 0; r < band.rows; ++r)
        soft_threshold(std::span(component.coefficients).subspan((band.row + r) * dwt.cols() + band.col, band.cols),
                       static_cast<float>(component.thresholds[k]));
    }
  }
  dwt.inverse(component.coefficients, plane);
}

}  // namespace

HyresResult hyres(const Source& source, const Matrix& gram, const Noise& noise, const HyresOptions& options) {
  const std::size_t bands = source.extent.bands, pixels = source.extent.pixels();
  if (options.rank && (*options.rank < 1 || *options.rank > bands))
    throw usage_error("--rank {} is not between 1 and the {} bands used", *options.rank, bands);
  const std::vector<double> inverse = reciprocal(noise.sigma);
  const Matrix white = scaled(gram, inverse, inverse);
  const Eigen eigen = eigen_symmetric(white);
  const Matrix directions = scaled(eigen.vectors, inverse, {});  // V with the whitening folded in
  const Dwt2 dwt(source.extent.rows, source.extent.cols, options.wavelet, options.levels);

  // Components whose energy exceeds the noise's by some standard deviations are those that can be accepted; they, and
  // as many more as the scan looks at without improvement, come from one pass.
  const double n = static_cast<double>(source.valid_pixels());
  std::size_t batch = kPatience + 1;
  for (double value : eigen.values)
    batch += value > n * (1 + 4 * std::sqrt(2 / n) + 2 * std::sqrt(static_cast<double>(bands) / n));
  if (options.rank) batch = *options.rank;
  // A streamed cube is larger than memory: better one more pass than many planes at once.
  const bool streamed = source.block_rows != 0 && source.block_rows < source.extent.rows;
  const std::size_t most = streamed ? 12 : bands;

  HyresResult result;
  std::vector<Component> components;
  double risk = 0, best = 0;
  std::size_t best_rank = 0;
  result.risk.push_back(0);
  bool done = false;
  while (!done && components.size() < bands) {
    const std::size_t first = components.size(), count = std::min({batch, most, bands - first});
    Matrix part(bands, count);
    for (std::size_t b = 0; b < bands; ++b)
      for (std::size_t k = 0; k < count; ++k)
        part(b, k) = directions(b, first + k);
    std::vector<float> planes = project(source, part);
    fill_invalid(planes, source.extent.rows, source.extent.cols, source.valid);
    components.resize(first + count);
#pragma omp parallel for schedule(dynamic)
    for (std::size_t k = 0; k < count; ++k)
      components[first + k] = analyse(std::span<const float>(planes).subspan(k * pixels, pixels), dwt, options);
    for (std::size_t k = first; k < first + count; ++k) {
      risk += components[k].gain;
      result.risk.push_back(risk);
      if (risk < best) {
        best = risk;
        best_rank = k + 1;
      }
      done = options.rank ? k + 1 == *options.rank : k + 1 >= best_rank + kPatience;
      if (done) break;
    }
    batch = batch > count ? batch - count : kPatience + 3;
  }
  const std::size_t rank = options.rank ? *options.rank : best_rank;
  components.resize(rank);

  result.model = {source.extent, scaled(columns(eigen.vectors, rank), noise.sigma, {}),
                  std::vector<float>(rank * pixels)};
#pragma omp parallel for schedule(dynamic)
  for (std::size_t k = 0; k < rank; ++k) {
    restore(components[k], dwt, options.scope, result.model.plane(k));
    components[k].coefficients = {};
  }
  for (const Component& component : components)
    result.thresholds.insert(result.thresholds.end(), component.thresholds.begin(), component.thresholds.end());
  return result;
}

}  // namespace fachwerk::hyde
