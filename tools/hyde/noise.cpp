#include "noise.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <cblas.h>

#include "cli/error.hpp"
#include "gram.hpp"
#include "wavelet.hpp"

namespace fachwerk::hyde {
namespace {

// 1/sqrt of the diagonal: the Gram matrix in these units has a unit diagonal, so thresholds do not depend on the data's
// scale.
std::vector<double> unit_scale(const Matrix& gram) {
  std::vector<double> scale(gram.rows);
  for (std::size_t i = 0; i < gram.rows; ++i)
    scale[i] = gram(i, i) > 0 ? 1 / std::sqrt(gram(i, i)) : 0;
  return scale;
}

void require_pixels(std::size_t pixels, std::size_t bands) {
  if (pixels <= bands + 10)
    throw bad_input("{} valid pixels are too few to regress {} bands on each other", pixels, bands)
        .with_hint("use --noise-est mad, or fewer bands (--bands)");
}

// Row-scaled inverse A with residuals W = A Y (equation of the noise estimate), and P's diagonal.
Matrix regression_operator(const Matrix& gram, std::vector<double>& energy) {
  const std::vector<double> scale = unit_scale(gram);
  Matrix unit = scaled(gram, scale, scale);
  for (std::size_t i = 0; i < unit.rows; ++i)
    unit(i, i) += 1e-12;
  Matrix p = inverse_spd(std::move(unit));
  energy.resize(p.rows);
  for (std::size_t i = 0; i < p.rows; ++i) {
    const double pivot = p(i, i);
    energy[i] = 1 / (pivot * scale[i] * scale[i]);
    for (std::size_t j = 0; j < p.cols; ++j)
      p(i, j) *= scale[j] / (pivot * scale[i]);
  }
  return p;
}

Matrix identity_minus(Matrix a) {
  for (std::size_t i = 0; i < a.rows; ++i)
    for (std::size_t j = 0; j < a.cols; ++j)
      a(i, j) = (i == j ? 1.0 : 0.0) - a(i, j);
  return a;
}

// R_x = (I - A) R (I - A)ᵀ / N
Matrix signal_correlation(const Matrix& gram, const Matrix& residual, std::size_t pixels) {
  const Matrix keep = identity_minus(residual);
  Matrix x = multiply(multiply(keep, gram), keep, false, true);
  for (std::size_t i = 0; i < x.rows; ++i)
    for (std::size_t j = 0; j <= i; ++j)
      x(i, j) = x(j, i) = (x(i, j) + x(j, i)) / (2 * static_cast<double>(pixels));
  return x;
}

}  // namespace

std::vector<std::uint8_t> dependent_bands(const Matrix& gram) {
  const std::size_t n = gram.rows;
  const std::vector<double> scale = unit_scale(gram);
  const Matrix r = scaled(gram, scale, scale);
  Matrix factor(n, n);  // rows of the lower Cholesky factor of the bands kept so far
  std::vector<std::size_t> kept;
  std::vector<std::uint8_t> dependent(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (scale[i] == 0) {
      dependent[i] = 1;
      continue;
    }
    double pivot = r(i, i);
    for (std::size_t k = 0; k < kept.size(); ++k) {
      const double* row = &factor.values[kept[k] * n];
      double dot = r(i, kept[k]);
      for (std::size_t m = 0; m < k; ++m)
        dot -= factor(i, m) * row[m];
      factor(i, k) = dot / row[k];
      pivot -= factor(i, k) * factor(i, k);
    }
    if (pivot < 1e-10) {
      dependent[i] = 1;
      continue;
    }
    factor(i, kept.size()) = std::sqrt(pivot);
    kept.push_back(i);
  }
  return dependent;
}

Noise regression_noise(const Matrix& gram, std::size_t pixels) {
  require_pixels(pixels, gram.rows);
  std::vector<double> energy;
  const Matrix residual = regression_operator(gram, energy);
  Noise noise{std::vector<double>(gram.rows), signal_correlation(gram, residual, pixels)};
  for (std::size_t i = 0; i < gram.rows; ++i)
    noise.sigma[i] = std::sqrt(energy[i] / static_cast<double>(pixels - gram.rows + 1));
  return noise;
}

namespace {

// Median of the absolute finest details over 0.6745. Details of invalid pixels, which read as zero, would lower it.
double detail_deviation(std::span<const float> plane, const Dwt2& dwt, Extent extent,
                        std::span<const std::uint8_t> valid) {
  std::vector<float> coefficients(dwt.size()), details;
  dwt.forward(plane, coefficients);
  details.reserve(dwt.size());
  for (const Subband& band : dwt.subbands()) {
    if (band.level == 0) continue;
    for (std::size_t r = 0; r < band.rows; ++r)
      for (std::size_t c = 0; c < band.cols; ++c)
        if (valid.empty() ||
            valid[std::min(2 * r, extent.rows - 1) * extent.cols + std::min(2 * c, extent.cols - 1)] != 0)
          details.push_back(std::abs(coefficients[(band.row + r) * dwt.cols() + band.col + c]));
  }
  return details.empty() ? 0 : median_of(details) / 0.6745;
}

}  // namespace

double median_of(std::vector<float>& values) {
  if (values.empty()) throw bad_input("no valid pixels");
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (static_cast<double>(*std::max_element(values.begin(), middle)) + *middle) / 2;
}

Noise mad_noise(const Source& source, int wavelet_order) {
  const auto [rows, cols, bands] = source.whole();
  if (rows < 2 || cols < 2) throw bad_input("at least 2 x 2 pixels are needed, found {} x {}", rows, cols);
  const std::size_t pixels = rows * cols;
  const Wavelet wavelet = daubechies(wavelet_order);
  const Dwt2 dwt(rows, cols, wavelet, 1);
  const Team& team = source.members();
  const std::vector<std::uint8_t> valid = source.whole_valid();
  const std::size_t group = 16 * team.size;  // planes in memory at a time
  Noise noise{std::vector<double>(bands)};
  for (std::size_t first = 0; first < bands; first += group) {
    const std::size_t count = std::min(group, source.extent.bands - first);
    std::vector<float> planes(count * source.extent.pixels());
    read_planes(source, first, planes);
    planes = columns_to_rows(team, source.pixels_held(), first, count, std::move(planes));
    const std::vector<std::size_t> mine = rows_of(team, team.rank, first, count);
#pragma omp parallel for schedule(dynamic)
    for (std::size_t i = 0; i < mine.size(); ++i)
      noise.sigma[mine[i]] =
          detail_deviation(std::span(planes).subspan(i * pixels, pixels), dwt, source.whole(), valid);
  }
  source.sum_over_members(noise.sigma);
  return noise;
}

Noise shift_noise(const Source& source) {
  const Matrix covariance = shift_covariance(source);
  Noise noise{std::vector<double>(covariance.rows)};
  for (std::size_t i = 0; i < covariance.rows; ++i)
    noise.sigma[i] = std::sqrt(covariance(i, i));
  return noise;
}

Noise poisson_noise(const Source& source) {
  const std::size_t bands = source.extent.bands, cols = source.extent.cols;
  const std::size_t pixels = source.valid_pixels();
  require_pixels(pixels, bands);
  Source roots = source;
  roots.read = [&source](std::size_t row, std::size_t rows, std::vector<float>& scratch) {
    std::vector<float> inner;
    const std::span<const float> spectra = source.read(row, rows, inner);
    scratch.resize(spectra.size());
#pragma omp parallel for simd schedule(static)
    for (std::size_t i = 0; i < spectra.size(); ++i)
      scratch[i] = std::sqrt(std::max(spectra[i], 0.0F));
    return std::span<const float>(scratch);
  };
  const Matrix root_gram = gram(roots);
  std::vector<double> energy;
  const Matrix residual = regression_operator(root_gram, energy);
  std::vector<float> operator32(residual.values.begin(), residual.values.end());

  constexpr std::size_t slices = 16, panel = 512;
  std::vector<std::vector<double>> sums(slices, std::vector<double>(bands));
  roots.each_block([&](std::size_t, std::size_t rows, std::span<const float> spectra) {
    const std::size_t block = rows * cols;
#pragma omp parallel for schedule(dynamic)
    for (std::size_t s = 0; s < slices; ++s) {
      std::vector<float> u(panel * bands);
      for (std::size_t p = block * s / slices; p < block * (s + 1) / slices; p += panel) {
        const std::size_t count = std::min(panel, block * (s + 1) / slices - p);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(count), static_cast<int>(bands),
                    static_cast<int>(bands), 1.0F, spectra.data() + p * bands, static_cast<int>(bands),
                    operator32.data(), static_cast<int>(bands), 0.0F, u.data(), static_cast<int>(bands));
        for (std::size_t i = 0; i < count; ++i)
          for (std::size_t b = 0; b < bands; ++b) {
            const double root = static_cast<double>(spectra[(p + i) * bands + b]) - u[i * bands + b];
            const double w = 2 * std::abs(root) * u[i * bands + b];
            sums[s][b] += w * w;
          }
      }
    }
  });
  Noise noise{std::vector<double>(bands)};
  for (const auto& slice : sums)
    for (std::size_t b = 0; b < bands; ++b)
      noise.sigma[b] += slice[b];
  source.sum_over_members(noise.sigma);
  for (double& sigma : noise.sigma)
    sigma = std::sqrt(sigma / static_cast<double>(pixels));
  return noise;
}

Subspace hysime(const Matrix& gram, std::size_t pixels, const Noise& noise) {
  const std::size_t bands = gram.rows;
  Matrix ry = gram;
  for (double& v : ry.values)
    v /= static_cast<double>(pixels);
  Matrix rx = noise.signal;
  if (rx.rows == 0) {
    rx = ry;
    for (std::size_t i = 0; i < bands; ++i)
      rx(i, i) -= noise.sigma[i] * noise.sigma[i];
  }
  const double floor = trace(rx) / static_cast<double>(bands) * 1e-5;
  const Eigen eigen = eigen_symmetric(rx);
  const Matrix ry_e = multiply(ry, eigen.vectors);
  std::vector<double> cost(bands);
  for (std::size_t k = 0; k < bands; ++k) {
    double signal = 0, noise_power = floor;
    for (std::size_t i = 0; i < bands; ++i) {
      const double e = eigen.vectors(i, k);
      signal += e * ry_e(i, k);
      noise_power += e * e * noise.sigma[i] * noise.sigma[i];
    }
    cost[k] = -signal + 2 * noise_power;
  }
  std::vector<std::size_t> order(bands);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return cost[a] < cost[b]; });
  Subspace subspace{0, Matrix(bands, bands), std::vector<double>(bands)};
  for (std::size_t k = 0; k < bands; ++k) {
    subspace.cost[k] = cost[order[k]];
    if (subspace.cost[k] < 0) ++subspace.rank;
    for (std::size_t i = 0; i < bands; ++i)
      subspace.basis(i, k) = eigen.vectors(i, order[k]);
  }
  return subspace;
}

Subspace hysime_whitened(const Matrix& gram, std::size_t pixels, const Noise& noise) {
  std::vector<double> inverse(noise.sigma.size());
  for (std::size_t i = 0; i < inverse.size(); ++i)
    inverse[i] = 1 / noise.sigma[i];
  Noise white{std::vector<double>(inverse.size(), 1.0)};
  if (noise.signal.rows > 0) white.signal = scaled(noise.signal, inverse, inverse);
  return hysime(scaled(gram, inverse, inverse), pixels, white);
}

}  // namespace fachwerk::hyde
