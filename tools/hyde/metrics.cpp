#include "metrics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "cli/error.hpp"
#include "gram.hpp"

namespace fachwerk::hyde {
namespace {

double decibel(double ratio) {
  return ratio > 0 ? 10 * std::log10(ratio) : -std::numeric_limits<double>::infinity();
}

// Pixels whose spectra are finite in both cubes.
std::vector<std::uint8_t> comparable(std::span<const float> a, std::span<const float> b, Extent extent,
                                     std::span<const std::uint8_t> valid) {
  std::vector<std::uint8_t> good(extent.pixels());
#pragma omp parallel for schedule(static)
  for (std::size_t p = 0; p < extent.pixels(); ++p) {
    bool finite = valid.empty() || valid[p] != 0;
    for (std::size_t i = p * extent.bands; finite && i < (p + 1) * extent.bands; ++i)
      finite = std::isfinite(a[i]) && std::isfinite(b[i]);
    good[p] = finite ? 1 : 0;
  }
  return good;
}

std::vector<float> plane_of(std::span<const float> cube, Extent extent, std::size_t band) {
  std::vector<float> plane(extent.pixels());
  for (std::size_t p = 0; p < plane.size(); ++p)
    plane[p] = cube[p * extent.bands + band];
  return plane;
}

// Gaussian window sums inside the image: (rows - 10) x (cols - 10).
std::vector<double> gaussian_means(const std::vector<double>& in, std::size_t rows, std::size_t cols) {
  std::array<double, 11> w{};
  for (std::size_t i = 0; i < 11; ++i)
    w[i] = std::exp(-std::pow(static_cast<double>(i) - 5, 2) / (2 * 1.5 * 1.5));
  const double sum = std::accumulate(w.begin(), w.end(), 0.0);
  for (double& v : w)
    v /= sum;
  const std::size_t height = rows - 10, width = cols - 10;
  std::vector<double> half(rows * width), out(height * width);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t k = 0; k < 11; ++k)
      for (std::size_t c = 0; c < width; ++c)
        half[r * width + c] += w[k] * in[r * cols + c + k];
  for (std::size_t r = 0; r < height; ++r)
    for (std::size_t k = 0; k < 11; ++k)
      for (std::size_t c = 0; c < width; ++c)
        out[r * width + c] += w[k] * half[(r + k) * width + c];
  return out;
}

}  // namespace

double ssim(std::span<const float> a, std::span<const float> b, std::size_t rows, std::size_t cols, double range) {
  if (rows < 11 || cols < 11) return std::numeric_limits<double>::quiet_NaN();
  std::vector<double> x(a.begin(), a.end()), y(b.begin(), b.end()), xx(x), yy(y), xy(x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx[i] = x[i] * x[i];
    yy[i] = y[i] * y[i];
    xy[i] = x[i] * y[i];
  }
  const std::vector<double> mx = gaussian_means(x, rows, cols), my = gaussian_means(y, rows, cols),
                            sxx = gaussian_means(xx, rows, cols), syy = gaussian_means(yy, rows, cols),
                            sxy = gaussian_means(xy, rows, cols);
  const double c1 = std::pow(0.01 * range, 2), c2 = std::pow(0.03 * range, 2);
  double sum = 0;
  for (std::size_t i = 0; i < mx.size(); ++i) {
    const double vx = sxx[i] - mx[i] * mx[i], vy = syy[i] - my[i] * my[i], cov = sxy[i] - mx[i] * my[i];
    sum += (2 * mx[i] * my[i] + c1) * (2 * cov + c2) / ((mx[i] * mx[i] + my[i] * my[i] + c1) * (vx + vy + c2));
  }
  return sum / static_cast<double>(mx.size());
}

Quality compare(std::span<const float> reference, std::span<const float> test, Extent extent,
                std::span<const std::uint8_t> valid) {
  const std::size_t bands = extent.bands, pixels = extent.pixels();
  const std::vector<std::uint8_t> good = comparable(reference, test, extent, valid);
  const auto count = static_cast<double>(std::count(good.begin(), good.end(), std::uint8_t{1}));
  if (count == 0) throw bad_input("no pixel has finite values in both cubes");
  Quality q;
  q.left_out = (pixels - static_cast<std::size_t>(count)) * bands;
  std::vector<double> error(bands), mean(bands), square(bands), peak(bands, -std::numeric_limits<double>::infinity());
  std::size_t angles = 0;
  for (std::size_t p = 0; p < pixels; ++p) {
    if (good[p] == 0) continue;
    double rr = 0, xx = 0, rx = 0;
    for (std::size_t b = 0; b < bands; ++b) {
      const double r = reference[p * bands + b], x = test[p * bands + b];
      error[b] += (x - r) * (x - r);
      mean[b] += r;
      peak[b] = std::max(peak[b], r);
      rr += r * r;
      xx += x * x;
      rx += r * x;
      square[b] += r * r;
    }
    if (rr > 0 && xx > 0) {
      // atan2 form: acos loses half the digits for near-parallel spectra
      double difference = 0, sum = 0;
      const double nr = std::sqrt(rr), nx = std::sqrt(xx);
      for (std::size_t b = 0; b < bands; ++b) {
        const double r = reference[p * bands + b] / nr, x = test[p * bands + b] / nx;
        difference += (r - x) * (r - x);
        sum += (r + x) * (r + x);
      }
      q.sam += 2 * std::atan2(std::sqrt(difference), std::sqrt(sum));
      ++angles;
    } else {
      ++q.zero_spectra;
    }
  }
  q.sam = angles > 0 ? q.sam / static_cast<double>(angles) : std::numeric_limits<double>::quiet_NaN();
  double total = 0, signal = 0, largest = -std::numeric_limits<double>::infinity();
  q.band_psnr.resize(bands);
  q.band_rmse.resize(bands);
  q.band_ssim.resize(bands);
  std::size_t counted = 0, relative = 0;
  for (std::size_t b = 0; b < bands; ++b) {
    const double mse = error[b] / count;
    total += error[b];
    signal += square[b];
    largest = std::max(largest, peak[b]);
    q.band_rmse[b] = std::sqrt(mse);
    q.band_psnr[b] = decibel(peak[b] * peak[b] / mse);
    if (std::isfinite(q.band_psnr[b])) {
      q.mean_psnr += q.band_psnr[b];
      ++counted;
    }
    if (mean[b] != 0) {
      q.ergas += mse / std::pow(mean[b] / count, 2);
      ++relative;
    }
  }
  q.mean_psnr = counted > 0 ? q.mean_psnr / static_cast<double>(counted) : std::numeric_limits<double>::infinity();
  q.ergas = relative > 0 ? 100 * std::sqrt(q.ergas / static_cast<double>(relative)) : 0;
  const double mse = total / (count * static_cast<double>(bands));
  q.rmse = std::sqrt(mse);
  q.psnr = decibel(largest * largest / mse);
  q.snr = decibel(signal / total);
#pragma omp parallel for schedule(dynamic)
  for (std::size_t b = 0; b < bands; ++b) {
    std::vector<float> r = plane_of(reference, extent, b), x = plane_of(test, extent, b);
    for (std::size_t p = 0; p < pixels; ++p)
      if (good[p] == 0) r[p] = x[p] = 0;
    q.band_ssim[b] = ssim(r, x, extent.rows, extent.cols, largest);
  }
  q.mean_ssim = std::accumulate(q.band_ssim.begin(), q.band_ssim.end(), 0.0) / static_cast<double>(bands);
  return q;
}

Residual residual_statistics(std::span<const float> noisy, std::span<const float> denoised, Extent extent,
                             std::span<const std::uint8_t> valid) {
  const std::size_t bands = extent.bands, pixels = extent.pixels(), cols = extent.cols;
  const std::vector<std::uint8_t> good = comparable(noisy, denoised, extent, valid);
  const auto n = static_cast<double>(std::count(good.begin(), good.end(), std::uint8_t{1}));
  if (n == 0) throw bad_input("no pixel has finite values in both cubes");
  Residual result;
  // Residuals per band, centred and scaled to unit variance.
  std::vector<float> z(extent.size());
  std::vector<double> correlation(bands);
  std::vector<double> deviation(bands);
#pragma omp parallel for schedule(static)
  for (std::size_t b = 0; b < bands; ++b) {
    double re = 0, rs = 0, ee = 0, ss = 0, es = 0;
    for (std::size_t p = 0; p < pixels; ++p) {
      if (good[p] == 0) continue;
      const double s = denoised[p * bands + b], e = noisy[p * bands + b] - s;
      re += e;
      rs += s;
      ee += e * e;
      ss += s * s;
      es += e * s;
    }
    const double ve = ee / n - re / n * re / n, vs = ss / n - rs / n * rs / n;
    correlation[b] = ve > 0 && vs > 0 ? std::abs((es / n - re / n * rs / n) / std::sqrt(ve * vs)) : 0;
    deviation[b] = ve > 0 ? std::sqrt(ve) : 0;
    for (std::size_t p = 0; p < pixels; ++p) {
      const double e = static_cast<double>(noisy[p * bands + b]) - denoised[p * bands + b];
      z[p * bands + b] = good[p] != 0 && deviation[b] > 0 ? static_cast<float>((e - re / n) / deviation[b]) : 0;
    }
  }
  for (double c : correlation)
    result.signal_correlation += c / static_cast<double>(bands);
  double row = 0, col = 0, band = 0, row_count = 0, col_count = 0, band_count = 0;
#pragma omp parallel for schedule(static) reduction(+ : row, col, band, row_count, col_count, band_count)
  for (std::size_t p = 0; p < pixels; ++p) {
    if (good[p] == 0) continue;
    const bool right = p % cols + 1 < cols && good[p + 1] != 0, below = p + cols < pixels && good[p + cols] != 0;
    for (std::size_t b = 0; b < bands; ++b) {
      if (deviation[b] == 0) continue;
      const double v = z[p * bands + b];
      if (right) col += v * z[(p + 1) * bands + b], col_count += 1;
      if (below) row += v * z[(p + cols) * bands + b], row_count += 1;
      if (b + 1 < bands && deviation[b + 1] > 0) band += v * z[p * bands + b + 1], band_count += 1;
    }
  }
  result.row_correlation = row_count > 0 ? row / row_count : 0;
  result.col_correlation = col_count > 0 ? col / col_count : 0;
  result.band_correlation = band_count > 0 ? band / band_count : 0;

  // RX detector with the noisy cube's mean and covariance.
  std::vector<double> mean(bands);
  std::vector<float> centred(extent.size());
  for (std::size_t p = 0; p < pixels; ++p)
    if (good[p] != 0)
      for (std::size_t b = 0; b < bands; ++b)
        mean[b] += noisy[p * bands + b] / n;
  for (std::size_t p = 0; p < pixels; ++p)
    for (std::size_t b = 0; b < bands; ++b)
      centred[p * bands + b] = good[p] != 0 ? static_cast<float>(noisy[p * bands + b] - mean[b]) : 0;
  Matrix covariance = gram(memory_source(centred, extent));
  for (double& v : covariance.values)
    v /= n;
  const double ridge = 1e-9 * trace(covariance) / static_cast<double>(bands) + std::numeric_limits<double>::min();
  for (std::size_t b = 0; b < bands; ++b)
    covariance(b, b) += ridge;
  const Matrix inverse = inverse_spd(covariance);
  const auto scores = [&](std::span<const float> cube) {
    std::vector<double> score(pixels);
#pragma omp parallel for schedule(static)
    for (std::size_t p = 0; p < pixels; ++p) {
      if (good[p] == 0) continue;
      std::vector<double> d(bands);
      for (std::size_t b = 0; b < bands; ++b)
        d[b] = cube[p * bands + b] - mean[b];
      for (std::size_t i = 0; i < bands; ++i) {
        double dot = 0;
        for (std::size_t j = 0; j < bands; ++j)
          dot += inverse(i, j) * d[j];
        score[p] += d[i] * dot;
      }
    }
    return score;
  };
  const std::vector<double> before = scores(noisy), after = scores(denoised);
  std::vector<std::size_t> order;
  for (std::size_t p = 0; p < pixels; ++p)
    if (good[p] != 0) order.push_back(p);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return before[a] > before[b]; });
  const auto median = [&](std::vector<double> v) {
    std::vector<double> kept;
    for (std::size_t p : order)
      kept.push_back(v[p]);
    std::nth_element(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(kept.size() / 2), kept.end());
    return kept[kept.size() / 2];
  };
  const double base_before = median(before), base_after = median(after);
  const std::size_t top = std::max<std::size_t>(1, order.size() / 1000);
  double sum_before = 0, sum_after = 0;
  for (std::size_t i = 0; i < top; ++i) {
    sum_before += before[order[i]] / base_before;
    sum_after += after[order[i]] / base_after;
  }
  result.anomaly_ratio = sum_before > 0 ? sum_after / sum_before : 0;
  return result;
}

}  // namespace fachwerk::hyde
