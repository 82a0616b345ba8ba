#include "baselines.hpp"

#include <algorithm>
#include <cmath>

#include "cli/error.hpp"
#include "image.hpp"

namespace fachwerk::hyde {
namespace {

void require_rank(std::size_t rank, std::size_t bands) {
  if (rank < 1 || rank > bands) throw usage_error("--rank {} is not between 1 and the {} bands used", rank, bands);
}

// Every band's plane through `fn`, and out to the sink.
template <class Fn>
void each_plane(const Source& source, const Sink& sink, ScratchLimit limit, const Fn& fn) {
  const Extent extent = source.extent;
  const std::size_t pixels = extent.pixels();
  ScratchArray array(extent.size(), limit);
  const std::span<float> planes = array.values();
  read_planes(source, 0, planes);
  fill_invalid(planes, extent.rows, extent.cols, source.valid);
#pragma omp parallel for schedule(dynamic)
  for (std::size_t b = 0; b < extent.bands; ++b)
    fn(planes.subspan(b * pixels, pixels));
  const std::size_t step = rows_per_block(extent);
  std::vector<float> spectra(step * extent.cols * extent.bands);
  for (std::size_t row = 0; row < extent.rows; row += step) {
    const std::size_t count = std::min(step, extent.rows - row), block = count * extent.cols;
#pragma omp parallel for schedule(static)
    for (std::size_t p = 0; p < block; p += 256)
      transpose(planes.data() + row * extent.cols + p, extent.bands, std::min<std::size_t>(256, block - p), pixels,
                spectra.data() + p * extent.bands, extent.bands);
    sink(row, count, std::span<const float>(spectra).first(block * extent.bands));
  }
}

// Each value's median over its neighbourhood of 2 reach + 1; all of them for reach 0.
std::vector<double> smooth(const std::vector<double>& v, std::size_t reach) {
  std::vector<double> out(v.size());
  for (std::size_t i = 0; i < v.size(); ++i) {
    const std::size_t first = reach == 0 || i < reach ? 0 : i - reach;
    const std::size_t last = reach == 0 ? v.size() : std::min(v.size(), i + reach + 1);
    std::vector<double> window(v.begin() + static_cast<std::ptrdiff_t>(first),
                               v.begin() + static_cast<std::ptrdiff_t>(last));
    const auto middle = window.begin() + static_cast<std::ptrdiff_t>(window.size() / 2);
    std::nth_element(window.begin(), middle, window.end());
    out[i] = *middle;
  }
  return out;
}

void match_moments(std::span<float> plane, std::size_t cols, std::size_t reach) {
  const std::size_t rows = plane.size() / cols;
  std::vector<double> mean(cols), deviation(cols);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < cols; ++c)
      mean[c] += plane[r * cols + c] / static_cast<double>(rows);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < cols; ++c)
      deviation[c] += std::pow(plane[r * cols + c] - mean[c], 2) / static_cast<double>(rows);
  for (double& d : deviation)
    d = std::sqrt(d);
  const std::vector<double> wanted_mean = smooth(mean, reach), wanted_deviation = smooth(deviation, reach);
  for (std::size_t c = 0; c < cols; ++c) {
    const double gain = deviation[c] > 0 ? wanted_deviation[c] / deviation[c] : 1;
    for (std::size_t r = 0; r < rows; ++r)
      plane[r * cols + c] = static_cast<float>((plane[r * cols + c] - mean[c]) * gain + wanted_mean[c]);
  }
}

}  // namespace

LowRank principal_components(const Source& source, const Matrix& gram, std::size_t rank) {
  require_rank(rank, source.extent.bands);
  Matrix basis = columns(eigen_symmetric(gram).vectors, rank);
  std::vector<float> planes = project(source, basis);
  return {source.extent, std::move(basis), std::move(planes)};
}

LowRank minimum_noise_fraction(const Source& source, const Matrix& gram, const Noise& noise, std::size_t rank) {
  require_rank(rank, source.extent.bands);
  std::vector<double> inverse(noise.sigma.size());
  for (std::size_t b = 0; b < inverse.size(); ++b)
    inverse[b] = 1 / noise.sigma[b];
  const Matrix basis = columns(eigen_symmetric(scaled(gram, inverse, inverse)).vectors, rank);
  std::vector<float> planes = project(source, scaled(basis, inverse, {}));
  return {source.extent, scaled(basis, noise.sigma, {}), std::move(planes)};
}

void median_bands(const Source& source, std::size_t radius, const Sink& sink, ScratchLimit limit) {
  const auto [rows, cols, bands] = source.extent;
  each_plane(source, sink, limit,
             [&, height = rows, width = cols](std::span<float> plane) { median_filter(plane, height, width, radius); });
}

void destripe(const Source& source, std::size_t reach, const Sink& sink, ScratchLimit limit) {
  if (source.extent.rows < 2) throw bad_input("destriping needs at least 2 rows, found {}", source.extent.rows);
  each_plane(source, sink, limit, [&](std::span<float> plane) { match_moments(plane, source.extent.cols, reach); });
}

}  // namespace fachwerk::hyde
