#include "forpdn.hpp"

#include <algorithm>
#include <cmath>

#include <cblas.h>

#include "cli/error.hpp"
#include "clones.hpp"
#include "lowrank.hpp"

namespace fachwerk::hyde {
namespace {

constexpr std::size_t kStrip = 128;  // neighbouring coefficients that go through the spectral filter together

// A run of coefficients in a row of the plane that share one λ.
struct Run {
  std::size_t begin, length, group;
};

std::vector<Run> runs_of(const std::vector<Subband>& subbands, bool per_subband, std::size_t cols,
                         std::size_t longest) {
  std::vector<Run> runs;
  for (std::size_t k = 0; k < subbands.size(); ++k) {
    const Subband& band = subbands[k];
    const std::size_t group = per_subband ? k : static_cast<std::size_t>(band.level);
    for (std::size_t r = 0; r < band.rows; ++r)
      for (std::size_t c = 0; c < band.cols; c += longest)
        runs.push_back({(band.row + r) * cols + band.col + c, std::min(longest, band.cols - c), group});
  }
  return runs;
}

// Gram matrix over the coefficients of each group, [groups] of [bands, bands].
std::vector<Matrix> group_grams(std::span<const float> planes, std::size_t bands, std::size_t stride,
                                const std::vector<Run>& runs, std::size_t groups) {
  constexpr std::size_t slices = 8, panel = 512;
  std::vector<Matrix> grams(groups, Matrix(bands, bands));
  for (std::size_t group = 0; group < groups; ++group) {
    std::vector<Run> mine;
    for (const Run& run : runs)
      if (run.group == group) mine.push_back(run);
    std::vector<Matrix> parts(slices, Matrix(bands, bands));
#pragma omp parallel for schedule(dynamic)
    for (std::size_t s = 0; s < slices; ++s) {
      std::vector<double> buffer(bands * panel);
      std::size_t filled = 0;
      const int b32 = static_cast<int>(bands);
      const auto flush = [&] {
        if (filled > 0)
          cblas_dsyrk(CblasRowMajor, CblasUpper, CblasNoTrans, b32, static_cast<int>(filled), 1.0, buffer.data(),
                      static_cast<int>(panel), 1.0, parts[s].values.data(), b32);
        filled = 0;
      };
      for (std::size_t i = mine.size() * s / slices; i < mine.size() * (s + 1) / slices; ++i) {
        if (filled + mine[i].length > panel) flush();
        for (std::size_t b = 0; b < bands; ++b)
          std::copy_n(planes.data() + b * stride + mine[i].begin, mine[i].length, buffer.data() + b * panel + filled);
        filled += mine[i].length;
      }
      flush();
    }
    for (std::size_t i = 0; i < bands; ++i)
      for (std::size_t j = i; j < bands; ++j) {
        double sum = 0;
        for (const Matrix& part : parts)
          sum += part(i, j);
        grams[group](i, j) = grams[group](j, i) = sum;
      }
  }
  return grams;
}

// 255/(max - min) of a band over valid pixels; 1 if it is constant.
double range_scale(std::span<const float> plane, const Source& source) {
  float low = INFINITY, high = -INFINITY;
  for (std::size_t p = 0; p < plane.size(); ++p) {
    if (!source.is_valid(p)) continue;
    low = std::min(low, plane[p]);
    high = std::max(high, plane[p]);
  }
  return high > low ? 255.0 / (static_cast<double>(high) - low) : 1.0;
}

template <class Real>
HYDE_VECTOR_CLONES void forward_step(Real* y, const Real* before, Real weight, Real carry, std::size_t lanes) {
  for (std::size_t t = 0; t < lanes; ++t)
    y[t] = weight * y[t] + carry * before[t];
}

template <class Real>
HYDE_VECTOR_CLONES void backward_step(Real* y, const Real* behind, Real carry, std::size_t lanes) {
  for (std::size_t t = 0; t < lanes; ++t)
    y[t] += carry * behind[t];
}

}  // namespace

double RoughnessRisk::operator()(double lambda) const {
  double risk = 0;
  for (std::size_t k = 0; k < eigenvalues.size(); ++k) {
    const double f = 1 / (1 + lambda * eigenvalues[k]);
    risk += (1 - f) * (1 - f) * energies[k] + 2 * count * f - count;
  }
  return risk;
}

double RoughnessRisk::minimiser() const {
  double mean = 0;
  for (double e : eigenvalues)
    mean += e / static_cast<double>(eigenvalues.size());
  if (!(mean > 0)) return 0;
  constexpr int points = 281;
  const double low = std::log(1e-6 / mean), high = std::log(1e8 / mean), step = (high - low) / (points - 1);
  int best = 0;
  double least = INFINITY;
  for (int i = 0; i < points; ++i) {
    const double risk = (*this)(std::exp(low + i * step));
    if (risk < least) {
      least = risk;
      best = i;
    }
  }
  const double golden = (std::sqrt(5.0) - 1) / 2;
  double a = low + std::max(best - 1, 0) * step, b = low + std::min(best + 1, points - 1) * step;
  for (int i = 0; i < 60; ++i) {
    const double x1 = b - golden * (b - a), x2 = a + golden * (b - a);
    if ((*this)(std::exp(x1)) < (*this)(std::exp(x2))) {
      b = x2;
    } else {
      a = x1;
    }
  }
  const double lambda = std::exp((a + b) / 2);
  return (*this)(lambda) < (*this)(0) ? lambda : 0;
}

Eigen roughness_eigen(const std::vector<double>& sigma) {
  const std::size_t n = sigma.size();
  Matrix k(n, n);
  for (std::size_t i = 0; i < n; ++i) {
    const double degree = static_cast<double>(i > 0) + static_cast<double>(i + 1 < n);
    k(i, i) = degree * sigma[i] * sigma[i];
    if (i + 1 < n) k(i, i + 1) = k(i + 1, i) = -sigma[i] * sigma[i + 1];
  }
  Eigen eigen = eigen_symmetric(std::move(k));
  for (double& e : eigen.values)
    e = std::max(e, 0.0);
  eigen.values.back() = 0;  // D has the constant spectrum as null vector
  return eigen;
}

// L D Lᵀ with d_b the pivots: forward f_b = w_b y_b + (λ/d_(b-1)) f_(b-1), backward x_b = f_b/d_b + (λ/d_b) x_(b+1).
// With g_b = f_b/d_b the forward step is g_b = (w_b/d_b) y_b + (λ/d_b) g_(b-1): both use the same carry.
template <class Real>
RoughnessSmoother<Real>::RoughnessSmoother(const std::vector<double>& sigma, double lambda)
    : weight_(sigma.size()), carry_(sigma.size()) {
  const std::size_t n = sigma.size();
  double excess = 0;  // d_b - λ, without cancellation for large λ
  for (std::size_t b = 0; b < n; ++b) {
    const double w = 1 / (sigma[b] * sigma[b]);
    excess = w + (b > 0 ? lambda * excess / (excess + lambda) : 0);
    const double pivot = b + 1 < n ? excess + lambda : excess;
    weight_[b] = static_cast<Real>(w / pivot);
    carry_[b] = static_cast<Real>(lambda / pivot);
  }
}

template <class Real>
void RoughnessSmoother<Real>::apply(Real* y, std::size_t stride, std::size_t lanes) const {
  const std::size_t n = weight_.size();
  forward_step(y, y, weight_[0], Real{0}, lanes);
  for (std::size_t b = 1; b < n; ++b)
    forward_step(y + b * stride, y + (b - 1) * stride, weight_[b], carry_[b], lanes);
  for (std::size_t b = n - 1; b-- > 0;)
    backward_step(y + b * stride, y + (b + 1) * stride, carry_[b], lanes);
}

template class RoughnessSmoother<float>;
template class RoughnessSmoother<double>;

ForpdnResult forpdn(const Source& source, const Noise& noise, const ForpdnOptions& options, const Sink& sink) {
  const auto [rows, cols, bands] = source.extent;
  const std::size_t pixels = rows * cols;
  if (bands < 2) throw bad_input("forpdn needs at least 2 bands");
  const int levels = options.wavelet_domain ? options.levels : 0;
  const std::optional<Dwt2> dwt =
      options.wavelet_domain ? std::optional<Dwt2>(std::in_place, rows, cols, options.wavelet, levels) : std::nullopt;
  const std::size_t size = dwt ? dwt->size() : pixels, width = dwt ? dwt->cols() : cols;

  // Every band's plane becomes its coefficients in place.
  const std::size_t stride = plane_stride(size);
  ScratchArray array(bands * stride, options.scratch);
  const std::span<float> planes = array.values();
  read_planes(source, 0, bands, planes, stride);
  std::vector<double> scale(bands), sigma(bands);
#pragma omp parallel for schedule(dynamic)
  for (std::size_t b = 0; b < bands; ++b) {
    const std::span<float> plane = planes.subspan(b * stride, pixels);
    fill_invalid(plane, source.extent.rows, source.extent.cols, source.valid);
    scale[b] = range_scale(plane, source);
    sigma[b] = noise.sigma[b] * scale[b];
    std::vector<float> buffer(plane.begin(), plane.end());
    for (float& v : buffer)
      v *= static_cast<float>(scale[b]);
    if (dwt)
      dwt->forward(buffer, planes.subspan(b * stride, size));
    else
      std::copy(buffer.begin(), buffer.end(), plane.begin());
  }

  const std::vector<Subband> subbands = dwt ? dwt->subbands() : std::vector<Subband>{{0, 0, 0, rows, cols}};
  const bool per_subband = options.per_subband && dwt;
  const std::size_t groups = per_subband ? subbands.size() : static_cast<std::size_t>(levels) + 1;
  ForpdnResult result;
  if (options.lambda) {
    result.lambda.assign(groups, *options.lambda);
  } else {
    const std::vector<Run> runs = runs_of(subbands, per_subband, width, 512);
    const std::vector<Matrix> grams = group_grams(planes, bands, stride, runs, groups);
    const Eigen eigen = roughness_eigen(sigma);
    std::vector<double> inverse(bands);
    for (std::size_t b = 0; b < bands; ++b)
      inverse[b] = 1 / sigma[b];
    for (std::size_t group = 0; group < groups; ++group) {
      RoughnessRisk risk{eigen.values, std::vector<double>(bands), 0};
      for (const Run& run : runs)
        if (run.group == group) risk.count += static_cast<double>(run.length);
      const Matrix half = multiply(scaled(grams[group], inverse, inverse), eigen.vectors);
      for (std::size_t k = 0; k < bands; ++k)
        for (std::size_t i = 0; i < bands; ++i)
          risk.energies[k] += eigen.vectors(i, k) * half(i, k);
      result.lambda.push_back(risk.minimiser());
    }
  }

  std::vector<RoughnessSmoother<float>> smoothers;
  for (double lambda : result.lambda)
    smoothers.emplace_back(sigma, lambda);
  const std::vector<Run> strips = runs_of(subbands, per_subband, width, kStrip);
#pragma omp parallel
  {
    std::vector<float> strip(bands * kStrip);  // a strip of all bands, in the cache
#pragma omp for schedule(dynamic, 16)
    for (std::size_t i = 0; i < strips.size(); ++i) {
      const Run& run = strips[i];
      if (!(result.lambda[run.group] > 0)) continue;
      for (std::size_t b = 0; b < source.extent.bands; ++b)
        std::copy_n(planes.data() + b * stride + run.begin, run.length, strip.data() + b * kStrip);
      smoothers[run.group].apply(strip.data(), kStrip, run.length);
      for (std::size_t b = 0; b < source.extent.bands; ++b)
        std::copy_n(strip.data() + b * kStrip, run.length, planes.data() + b * stride + run.begin);
    }
  }
#pragma omp parallel for schedule(dynamic)
  for (std::size_t b = 0; b < bands; ++b) {
    const std::span<float> plane = planes.subspan(b * stride, pixels);
    if (dwt) {
      std::vector<float> buffer(pixels);
      dwt->inverse(planes.subspan(b * stride, size), buffer);
      std::copy(buffer.begin(), buffer.end(), plane.begin());
    }
    for (float& v : plane)
      v /= static_cast<float>(scale[b]);
  }
  const std::size_t step = rows_per_block(source.extent);
  std::vector<float> spectra(step * cols * bands);
  for (std::size_t row = 0; row < rows; row += step) {
    const std::size_t count = std::min(step, rows - row), block = count * cols;
#pragma omp parallel for schedule(static)
    for (std::size_t p = 0; p < block; p += 256) {
      const std::size_t n = std::min<std::size_t>(256, block - p);
      transpose(planes.data() + row * source.extent.cols + p, source.extent.bands, n, stride,
                spectra.data() + p * source.extent.bands, source.extent.bands);
    }
    sink(row, count, std::span<const float>(spectra).first(block * bands));
  }
  return result;
}

}  // namespace fachwerk::hyde
