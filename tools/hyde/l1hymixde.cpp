#include "l1hymixde.hpp"

#include <algorithm>
#include <cmath>
#include <deque>

#include <cblas.h>

#include "cli/error.hpp"
#include "clones.hpp"
#include "gram.hpp"

namespace fachwerk::hyde {
namespace {

// The cube's adaptive medians, [pixels][bands].
void median_cube(const Source& source, std::span<float> median) {
  const auto [rows, cols, bands] = source.extent;
  const std::size_t pixels = rows * cols;
  constexpr std::size_t group = 16;
  std::vector<float> planes;
  for (std::size_t first = 0; first < bands; first += group) {
    const std::size_t count = std::min(group, bands - first);
    planes.resize(count * pixels);
    read_planes(source, first, planes);
    fill_invalid(planes, rows, cols, source.valid);
#pragma omp parallel for schedule(dynamic)
    for (std::size_t b = 0; b < count; ++b)
      adaptive_median(std::span(planes).subspan(b * pixels, pixels), source.extent.rows, source.extent.cols);
#pragma omp parallel for schedule(static)
    for (std::size_t p = 0; p < pixels; p += 1024)
      transpose(planes.data() + p, count, std::min<std::size_t>(1024, pixels - p), pixels,
                median.data() + p * source.extent.bands + first, source.extent.bands);
  }
}

// Distance from the median that the given fraction of values exceeds.
float outlier_distance(std::span<const float> cube, std::span<const float> median, double fraction) {
  std::vector<float> distances(cube.size());
#pragma omp parallel for schedule(static)
  for (std::size_t i = 0; i < cube.size(); ++i)
    distances[i] = std::abs(cube[i] - median[i]);
  const auto rank = static_cast<std::ptrdiff_t>(std::floor((1 - fraction) * static_cast<double>(distances.size() - 1)));
  std::nth_element(distances.begin(), distances.begin() + rank, distances.end());
  return distances[static_cast<std::size_t>(rank)];
}

void read_all(const Source& source, std::span<float> cube) {
  const Sink sink = memory_sink(cube, source.extent);
  source.each_block(
      [&](std::size_t row, std::size_t rows, std::span<const float> spectra) { sink(row, rows, spectra); });
}

void scale_bands(std::span<float> cube, const std::vector<double>& factor) {
  const std::size_t bands = factor.size();
  const std::vector<float> f(factor.begin(), factor.end());
#pragma omp parallel for schedule(static)
  for (std::size_t p = 0; p < cube.size() / bands; ++p)
    for (std::size_t b = 0; b < bands; ++b)
      cube[p * bands + b] *= f[b];
}

// With t = Y - EZ + D the two updates are V = t - clip(t) and D = clip(t), clip to [-1, 1]: one array holds both, and
// Y - V + D = Y - t + 2 clip(t).
FACHWERK_CLONES
void data_term(const float* y, const float* t, std::size_t n, float* out) {
  for (std::size_t i = 0; i < n; ++i)
    out[i] = y[i] - t[i] + 2 * std::min(std::max(t[i], -1.0F), 1.0F);
}

FACHWERK_CLONES
void residual_update(const float* y, const float* fit, std::size_t n, float* t) {
  for (std::size_t i = 0; i < n; ++i)
    t[i] = y[i] - fit[i] + std::min(std::max(t[i], -1.0F), 1.0F);
}

}  // namespace

std::vector<std::uint8_t> outlier_mask(const Source& source, double outliers) {
  std::vector<float> cube(source.extent.size()), median(cube.size());
  read_all(source, cube);
  median_cube(source, median);
  const float limit = outlier_distance(cube, median, outliers);
  std::vector<std::uint8_t> observed(cube.size());
  const std::size_t bands = source.extent.bands;
  for (std::size_t i = 0; i < cube.size(); ++i)
    observed[i] = source.is_valid(i / bands) && std::abs(cube[i] - median[i]) <= limit ? 1 : 0;
  return observed;
}

L1HyMixDeResult l1hymixde(const Source& source, const L1HyMixDeOptions& options) {
  const auto [rows, cols, bands] = source.extent;
  const std::size_t pixels = rows * cols;
  ScratchArray data(source.extent.size(), options.scratch), work(source.extent.size(), options.scratch);
  const std::span<float> y = data.values(), t = work.values();

  // Medians, then the cube without its outliers, in `t`.
  read_all(source, y);
  if (!source.valid.empty()) {
    // Invalid pixels follow their surroundings, so that they do not count as outliers.
    median_cube(source, t);
    for (std::size_t p = 0; p < pixels; ++p)
      if (!source.is_valid(p))
        std::copy_n(t.begin() + static_cast<std::ptrdiff_t>(p * bands), bands,
                    y.begin() + static_cast<std::ptrdiff_t>(p * bands));
  } else {
    median_cube(source, t);
  }
  const float limit = outlier_distance(y, t, options.outliers);
  ScratchArray clean_data(source.extent.size(), options.scratch);
  const std::span<float> clean = clean_data.values();
#pragma omp parallel for schedule(static)
  for (std::size_t i = 0; i < clean.size(); ++i)
    clean[i] = std::abs(y[i] - t[i]) > limit ? t[i] : y[i];

  L1HyMixDeResult result;
  Matrix clean_gram = gram(memory_source(clean, source.extent));
  result.sigma = regression_noise(clean_gram, pixels).sigma;
  std::vector<double> inverse(bands);
  for (std::size_t b = 0; b < bands; ++b)
    inverse[b] = 1 / result.sigma[b];
  const std::size_t rank = std::min(options.subspace, source.extent.bands);
  const Matrix basis = columns(eigen_symmetric(scaled(clean_gram, inverse, inverse)).vectors, rank);
  clean_data = ScratchArray(0, {});
  scale_bands(y, inverse);

  // First step: V = Y - Y_med, D = 0, so its data term is the (whitened) median itself.
  std::vector<float> planes = project(memory_source(t, source.extent), scaled(basis, inverse, {}));
  std::fill(t.begin(), t.end(), 0.0F);
  const std::vector<double> unit(rank, 1.0);
  std::vector<float> previous;
  std::deque<double> changes;
  LowRank fit{source.extent, basis, {}};
  Source target{source.extent,
                [&, extent = source.extent](std::size_t row, std::size_t count, std::vector<float>& scratch) {
                  const std::size_t first = row * extent.cols * extent.bands, size = count * extent.cols * extent.bands;
                  scratch.resize(size);
#pragma omp parallel for schedule(static)
                  for (std::size_t i = 0; i < size; i += 4096)
                    data_term(y.data() + first + i, t.data() + first + i, std::min<std::size_t>(4096, size - i),
                              scratch.data() + i);
                  return std::span<const float>(scratch);
                },
                {},
                rows_per_block(source.extent)};
  while (!result.converged && result.iterations < options.iterations) {
    if (result.iterations > 0) planes = project(target, basis);
    denoise_planes(options.core, planes, source.extent.rows, source.extent.cols, unit);
    fit.planes = planes;
    reconstruct(fit, [&](std::size_t row, std::size_t, std::span<const float> spectra) {
      const std::size_t first = row * source.extent.cols * source.extent.bands;
#pragma omp parallel for schedule(static)
      for (std::size_t i = 0; i < spectra.size(); i += 4096)
        residual_update(y.data() + first + i, spectra.data() + i, std::min<std::size_t>(4096, spectra.size() - i),
                        t.data() + first + i);
    });
    if (!previous.empty()) {
      double difference = 0, size = 0;
      for (std::size_t i = 0; i < planes.size(); ++i) {
        difference += std::pow(static_cast<double>(planes[i]) - previous[i], 2);
        size += std::pow(static_cast<double>(planes[i]), 2);
      }
      const double change = std::sqrt(difference / size);
      double mean = 0;
      for (double c : changes)
        mean += c / static_cast<double>(changes.size());
      result.converged = change < options.tolerance || (changes.size() == 5 && mean - change < 1e-4);
      changes.push_back(change);
      if (changes.size() > 5) changes.pop_front();
    }
    previous = planes;
    ++result.iterations;
  }
  result.model = {source.extent, scaled(basis, result.sigma, {}), std::move(planes)};
  return result;
}

}  // namespace fachwerk::hyde
