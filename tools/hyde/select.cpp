#include "select.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "image.hpp"
#include "lowrank.hpp"

namespace fachwerk::hyde {
namespace {

// Number of columns whose mean stands out from the median of five columns by more than six robust deviations of such
// differences, and more than the noise of a column mean explains. The edge of an object moves that median along; a
// stripe does not.
std::size_t jumping_columns(std::span<const float> plane, std::size_t rows, std::size_t cols, double sigma) {
  if (cols < 8) return 0;
  std::vector<double> mean(cols);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < cols; ++c)
      mean[c] += plane[r * cols + c] / static_cast<double>(rows);
  std::vector<float> jump;
  for (std::size_t c = 2; c + 2 < cols; ++c) {
    std::array<double, 5> near{};
    std::copy_n(mean.begin() + static_cast<std::ptrdiff_t>(c - 2), 5, near.begin());
    std::nth_element(near.begin(), near.begin() + 2, near.end());
    jump.push_back(static_cast<float>(std::abs(mean[c] - near[2])));
  }
  std::vector<float> copy;
  for (float j : jump)
    if (j > 0) copy.push_back(j);
  if (copy.empty()) return 0;
  const double scale = std::max(median_of(copy) / 0.6745, sigma / std::sqrt(static_cast<double>(rows)));
  return static_cast<std::size_t>(std::count_if(jump.begin(), jump.end(), [&](float j) { return j > 6 * scale; }));
}

}  // namespace

Evidence examine(const Source& source, const Noise& noise) {
  const auto [rows, cols, bands] = source.extent;
  const std::size_t pixels = rows * cols;
  constexpr std::size_t group = 16;
  std::vector<float> planes;
  std::vector<double> mean(bands);
  std::vector<std::size_t> outliers(bands), jumps(bands);
  for (std::size_t first = 0; first < bands; first += group) {
    const std::size_t count = std::min(group, bands - first);
    planes.resize(count * pixels);
    read_planes(source, first, planes);
    fill_invalid(planes, rows, cols, source.valid);
    std::vector<float> distance(count * pixels);  // from the median of 3 x 3, in robust deviations
#pragma omp parallel for schedule(dynamic)
    for (std::size_t b = 0; b < count; ++b) {
      const std::span<const float> plane = std::span<const float>(planes).subspan(b * pixels, pixels);
      std::vector<float> median(plane.begin(), plane.end());
      median_filter(median, source.extent.rows, source.extent.cols, 1);
      const std::span<float> mine = std::span(distance).subspan(b * pixels, pixels);
      for (std::size_t p = 0; p < pixels; ++p)
        mine[p] = std::abs(plane[p] - median[p]);
      std::vector<float> copy;
      for (float d : mine)
        if (d > 0) copy.push_back(d);
      // Texture also leaves its median: the scale is the larger of the noise and the distances' own spread.
      const double spread = copy.empty() ? 0 : median_of(copy) / 0.6745;
      const double scale = std::max(std::min(noise.sigma[first + b], 4 * spread), spread);
      for (float& d : mine)
        d = scale > 0 ? static_cast<float>(d / scale) : 0;
      for (float v : plane)
        mean[first + b] += v / static_cast<double>(pixels);
      jumps[first + b] = jumping_columns(plane, source.extent.rows, source.extent.cols, scale);
    }
    // An edge of the scene stands out in neighbouring bands alike, an impulse in its own band alone.
    for (std::size_t b = 0; b < count; ++b)
      for (std::size_t p = 0; p < pixels; ++p) {
        const bool alone =
            (b == 0 || distance[(b - 1) * pixels + p] < 4) && (b + 1 >= count || distance[(b + 1) * pixels + p] < 4);
        outliers[first + b] += alone && distance[b * pixels + p] > 6;
      }
  }
  Evidence evidence;
  std::size_t hit = 0, striped = 0;
  for (std::size_t b = 0; b < bands; ++b) {
    hit += outliers[b];
    striped += jumps[b] > cols / 50 ? 1 : 0;
  }
  evidence.outlier_fraction = static_cast<double>(hit) / static_cast<double>(pixels * bands);
  evidence.striped_bands = static_cast<double>(striped) / static_cast<double>(bands);
  // sigma² = gain * mean
  double xx = 0, xy = 0, yy = 0;
  for (std::size_t b = 0; b < bands; ++b) {
    const double x = mean[b], y = noise.sigma[b] * noise.sigma[b];
    xx += x * x;
    xy += x * y;
    yy += y * y;
  }
  evidence.gain = xx > 0 ? xy / xx : 0;
  double average = 0, residual = 0, spread = 0;
  for (std::size_t b = 0; b < bands; ++b)
    average += noise.sigma[b] * noise.sigma[b] / static_cast<double>(bands);
  for (std::size_t b = 0; b < bands; ++b) {
    const double y = noise.sigma[b] * noise.sigma[b];
    residual += std::pow(y - evidence.gain * mean[b], 2);
    spread += std::pow(y - average, 2);
  }
  evidence.poisson_r2 = spread > 0 && evidence.gain > 0 ? 1 - residual / spread : 0;
  return evidence;
}

std::string choose_method(const Evidence& evidence, bool integer_counts, bool time_is_short) {
  if (evidence.mixed()) return "l1hymixde";
  if (integer_counts && evidence.poisson_r2 > 0.8) return "poisson";
  return time_is_short ? "hyres" : "fasthyde";
}

}  // namespace fachwerk::hyde
