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
constexpr std::size_t kGroup = 8;    // bands a process that change hands together

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

struct Range {
  float low = INFINITY, high = -INFINITY;
};

FACHWERK_CLONES Range range_of(const float* values, std::size_t n) {
  float low = INFINITY, high = -INFINITY;
#pragma omp simd reduction(min : low) reduction(max : high)
  for (std::size_t p = 0; p < n; ++p) {
    low = values[p] < low ? values[p] : low;
    high = values[p] > high ? values[p] : high;
  }
  return {low, high};
}

// 255/(max - min) of a band over valid pixels; 1 if it is constant.
double range_scale(std::span<const float> plane, std::span<const std::uint8_t> valid) {
  Range range;
  if (valid.empty()) {
    range = range_of(plane.data(), plane.size());
  } else {
    for (std::size_t p = 0; p < plane.size(); ++p)
      if (valid[p] != 0) range = {std::min(range.low, plane[p]), std::max(range.high, plane[p])};
  }
  return range.high > range.low ? 255.0 / (static_cast<double>(range.high) - range.low) : 1.0;
}

template <class Real>
FACHWERK_CLONES void forward_step(Real* y, const Real* before, Real weight, Real carry, std::size_t lanes) {
  for (std::size_t t = 0; t < lanes; ++t)
    y[t] = weight * y[t] + carry * before[t];
}

template <class Real>
FACHWERK_CLONES void backward_step(Real* y, const Real* behind, Real carry, std::size_t lanes) {
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

double RoughnessRisk::first_minimum(double step, double end) const {
  double lambda = 0, risk = (*this)(0);
  for (int k = 1; k * step <= end * (1 + 1e-12); ++k) {
    const double next = (*this)(k * step);
    if (next > risk) break;
    risk = next;
    lambda = k * step;
  }
  return lambda;
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

namespace {

// The cube in the wavelet domain. Whole planes, one a band, lie a stride apart; what a process has of it are its bands
// while planes are transformed, and its coefficients of all bands while spectra are smoothed.
class Planes {
 public:
  Planes(const Source& source, const ForpdnOptions& options)
      : source_(source), team_(source.members()), whole_(source.whole()), limit_(options.scratch) {
    if (options.wavelet_domain) dwt_.emplace(whole_.rows, whole_.cols, options.wavelet, options.levels);
    size_ = dwt_ ? dwt_->size() : whole_.pixels();
    bands_ = rows_of(team_, team_.rank, 0, whole_.bands);
    const std::size_t height = size_ / width();
    for (std::size_t member = 0; member < team_.size; ++member)
      held_.push_back((height * (member + 1) / team_.size - height * member / team_.size) * width());
    begin_ = height * team_.rank / team_.size * width();
  }

  std::size_t width() const { return dwt_ ? dwt_->cols() : whole_.cols; }
  std::vector<Subband> subbands() const {
    return dwt_ ? dwt_->subbands() : std::vector<Subband>{{0, 0, 0, whole_.rows, whole_.cols}};
  }
  /// Noise of the bands in the scale of their coefficients.
  std::vector<double> analyse(const std::vector<double>& sigma);
  /// This process's coefficients [bands], `stride` apart, the first of them number `begin`.
  struct Coefficients {
    std::span<float> values;
    std::size_t stride, begin, count;
  };
  Coefficients spectra();
  void synthesise(const Sink& sink);

 private:
  std::span<float> plane(std::size_t i) { return array_->values().subspan(i * stride_, size_); }
  void read();
  void write(const Sink& sink);
  /// Moves the array from bands to coefficients and back, some bands at a time.
  void turn(bool to_coefficients);

  const Source& source_;
  const Team& team_;
  Extent whole_;
  ScratchLimit limit_;
  std::optional<Dwt2> dwt_;
  std::size_t size_ = 0, stride_ = 0, begin_ = 0;
  std::vector<std::size_t> bands_, held_;
  std::vector<double> scale_;
  std::optional<ScratchArray> array_;
};

void Planes::read() {
  stride_ = plane_stride(size_);
  array_.emplace(bands_.size() * stride_, limit_);
  if (team_.size == 1) return take_planes(source_, array_->values(), stride_);
  const std::size_t group = kGroup * team_.size;
  for (std::size_t first = 0, next = 0; first < whole_.bands; first += group) {
    const std::size_t count = std::min(group, whole_.bands - first);
    std::vector<float> part(count * source_.extent.pixels());
    read_planes(source_, first, part);
    part = columns_to_rows(team_, source_.pixels_held(), first, count, std::move(part));
    for (std::size_t i = 0; i < part.size() / whole_.pixels(); ++i, ++next)
      std::copy_n(part.data() + i * whole_.pixels(), whole_.pixels(), plane(next).data());
  }
}

std::vector<double> Planes::analyse(const std::vector<double>& sigma) {
  read();
  const std::vector<std::uint8_t> valid = source_.whole_valid();
  scale_.assign(whole_.bands, 0);
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < bands_.size(); ++i) {
    const std::span<float> values = plane(i).first(whole_.pixels());
    fill_invalid(values, whole_.rows, whole_.cols, valid);
    const double scale = scale_[bands_[i]] = range_scale(values, valid);
    for (float& v : values)
      v *= static_cast<float>(scale);
    if (dwt_) dwt_->forward(plane(i));
  }
  source_.sum_over_members(scale_);
  std::vector<double> scaled_sigma(sigma);
  for (std::size_t b = 0; b < scaled_sigma.size(); ++b)
    scaled_sigma[b] *= scale_[b];
  return scaled_sigma;
}

Planes::Coefficients Planes::spectra() {
  if (team_.size > 1) turn(true);
  return {array_->values(), stride_, begin_, held_[team_.rank]};
}

void Planes::turn(bool to_coefficients) {
  const std::size_t from_stride = stride_, length = to_coefficients ? held_[team_.rank] : size_;
  const std::size_t rows = to_coefficients ? whole_.bands : bands_.size();
  stride_ = plane_stride(length);
  ScratchArray turned(rows * stride_, limit_);
  const std::size_t group = kGroup * team_.size;
  for (std::size_t first = 0, from = 0, to = 0; first < whole_.bands; first += group) {
    const std::size_t count = std::min(group, whole_.bands - first);
    const std::size_t out = to_coefficients ? rows_of(team_, team_.rank, first, count).size() : count;
    const std::size_t width = to_coefficients ? size_ : held_[team_.rank];
    std::vector<float> part(out * width);
    for (std::size_t i = 0; i < out; ++i, ++from)
      std::copy_n(array_->values().data() + from * from_stride, width, part.data() + i * width);
    part = to_coefficients ? rows_to_columns(team_, held_, first, count, std::move(part))
                           : columns_to_rows(team_, held_, first, count, std::move(part));
    for (std::size_t i = 0; i < part.size() / length; ++i, ++to)
      std::copy_n(part.data() + i * length, length, turned.values().data() + to * stride_);
  }
  array_ = std::move(turned);
}

void Planes::synthesise(const Sink& sink) {
  if (team_.size > 1) turn(false);
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < bands_.size(); ++i) {
    if (dwt_) dwt_->inverse(plane(i), plane(i).first(whole_.pixels()));
    const auto back = static_cast<float>(1 / scale_[bands_[i]]);
    for (float& v : plane(i).first(whole_.pixels()))
      v *= back;
  }
  write(sink);
}

// Planes to spectra by blocks of rows; in a team every block comes from those who have the bands.
void Planes::write(const Sink& sink) {
  const std::size_t pixels = source_.extent.pixels(), bands = whole_.bands, cols = whole_.cols;
  if (team_.size > 1) {
    ScratchArray mine(bands * pixels, limit_);
    const std::size_t group = kGroup * team_.size;
    for (std::size_t first = 0, next = 0; first < bands; first += group) {
      const std::size_t count = std::min(group, bands - first);
      std::vector<float> part(rows_of(team_, team_.rank, first, count).size() * whole_.pixels());
      for (std::size_t i = 0; i < part.size() / whole_.pixels(); ++i, ++next)
        std::copy_n(plane(next).data(), whole_.pixels(), part.data() + i * whole_.pixels());
      part = rows_to_columns(team_, source_.pixels_held(), first, count, std::move(part));
      std::copy(part.begin(), part.end(), mine.values().begin() + static_cast<std::ptrdiff_t>(first * pixels));
    }
    array_ = std::move(mine);
    stride_ = pixels;
  }
  const std::size_t step = rows_per_block(source_.extent);
  std::vector<float> spectra(step * cols * bands);
  for (std::size_t row = 0; row < source_.extent.rows; row += step) {
    const std::size_t count = std::min(step, source_.extent.rows - row), block = count * cols;
#pragma omp parallel for schedule(static)
    for (std::size_t p = 0; p < block; p += 256)
      transpose(array_->values().data() + row * cols + p, bands, std::min<std::size_t>(256, block - p), stride_,
                spectra.data() + p * bands, bands);
    sink(row, count, std::span<const float>(spectra).first(block * bands));
  }
}

// Those of the runs that lie within a process's coefficients, numbered from its first.
std::vector<Run> runs_within(std::vector<Run> runs, const Planes::Coefficients& mine) {
  std::erase_if(runs, [&](const Run& run) { return run.begin < mine.begin || run.begin >= mine.begin + mine.count; });
  for (Run& run : runs)
    run.begin -= mine.begin;
  return runs;
}

std::vector<double> least_risk(const Source& source, const Planes::Coefficients& mine, const std::vector<Run>& runs,
                               const std::vector<double>& sigma, const std::vector<std::size_t>& levels,
                               bool published_grid) {
  const std::size_t bands = sigma.size(), groups = levels.size();
  std::vector<Matrix> grams = group_grams(mine.values, bands, mine.stride, runs, groups);
  std::vector<double> counts(groups);
  for (const Run& run : runs)
    counts[run.group] += static_cast<double>(run.length);
  source.sum_over_members(counts);
  const Eigen eigen = roughness_eigen(sigma);
  std::vector<double> inverse(bands), lambda;
  for (std::size_t b = 0; b < bands; ++b)
    inverse[b] = 1 / sigma[b];
  for (std::size_t group = 0; group < groups; ++group) {
    source.sum_over_members(grams[group].values);
    RoughnessRisk risk{eigen.values, std::vector<double>(bands), counts[group]};
    const Matrix half = multiply(scaled(grams[group], inverse, inverse), eigen.vectors);
    for (std::size_t k = 0; k < bands; ++k)
      for (std::size_t i = 0; i < bands; ++i)
        risk.energies[k] += eigen.vectors(i, k) * half(i, k);
    // Smooth part, then level by level; the steps grow tenfold.
    const double step = 1e-3 * std::pow(10, std::min<std::size_t>(levels[group], 3));
    lambda.push_back(published_grid ? risk.first_minimum(step, 10 * step) : risk.minimiser());
  }
  return lambda;
}

void smooth(const Planes::Coefficients& mine, const std::vector<Run>& strips, const std::vector<double>& sigma,
            const std::vector<double>& lambda) {
  std::vector<RoughnessSmoother<float>> smoothers;
  for (double l : lambda)
    smoothers.emplace_back(sigma, l);
#pragma omp parallel
  {
    std::vector<float> strip(sigma.size() * kStrip);  // a strip of all bands, in the cache
#pragma omp for schedule(dynamic, 16)
    for (std::size_t i = 0; i < strips.size(); ++i) {
      const Run& run = strips[i];
      if (!(lambda[run.group] > 0)) continue;
      for (std::size_t b = 0; b < sigma.size(); ++b)
        std::copy_n(mine.values.data() + b * mine.stride + run.begin, run.length, strip.data() + b * kStrip);
      smoothers[run.group].apply(strip.data(), kStrip, run.length);
      for (std::size_t b = 0; b < sigma.size(); ++b)
        std::copy_n(strip.data() + b * kStrip, run.length, mine.values.data() + b * mine.stride + run.begin);
    }
  }
}

}  // namespace

ForpdnResult forpdn(const Source& source, const Noise& noise, const ForpdnOptions& options, const Sink& sink) {
  if (source.extent.bands < 2) throw bad_input("forpdn needs at least 2 bands");
  Planes planes(source, options);
  const std::vector<double> sigma = planes.analyse(noise.sigma);
  const std::vector<Subband> subbands = planes.subbands();
  const bool per_subband = options.per_subband && options.wavelet_domain;
  std::vector<std::size_t> levels;  // of every group of coefficients with one λ
  for (const Subband& band : subbands)
    if (per_subband || static_cast<std::size_t>(band.level) == levels.size())
      levels.push_back(static_cast<std::size_t>(band.level));
  const Planes::Coefficients mine = planes.spectra();
  const auto runs = [&](std::size_t longest) {
    return runs_within(runs_of(subbands, per_subband, planes.width(), longest), mine);
  };
  ForpdnResult result;
  result.lambda = options.lambda ? std::vector<double>(levels.size(), *options.lambda)
                                 : least_risk(source, mine, runs(512), sigma, levels, options.published_grid);
  smooth(mine, runs(kStrip), sigma, result.lambda);
  planes.synthesise(sink);
  return result;
}

}  // namespace fachwerk::hyde
