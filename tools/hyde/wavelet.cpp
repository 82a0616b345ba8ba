#include "wavelet.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstring>
#include <numbers>

#include "cli/error.hpp"
#include "clones.hpp"

namespace fachwerk::hyde {
namespace {

using Real = long double;
using Complex = std::complex<long double>;

// Roots in y of Daubechies' polynomial sum_k C(K-1+k, k) y^k, k < K, by simultaneous iteration (Durand-Kerner, then
// Newton).
std::vector<Complex> daubechies_roots(int order) {
  const int degree = order - 1;
  std::vector<Real> a(static_cast<std::size_t>(order));
  a[0] = 1;
  for (int k = 1; k < order; ++k)
    a[static_cast<std::size_t>(k)] =
        a[static_cast<std::size_t>(k - 1)] * static_cast<Real>(order - 1 + k) / static_cast<Real>(k);
  const auto value = [&](Complex y, Complex* slope) {
    Complex p = 0, d = 0;
    for (int k = degree; k >= 0; --k) {
      d = d * y + p;
      p = p * y + a[static_cast<std::size_t>(k)];
    }
    if (slope != nullptr) *slope = d;
    return p;
  };
  std::vector<Complex> roots(static_cast<std::size_t>(degree));
  for (std::size_t i = 0; i < roots.size(); ++i)
    roots[i] = std::polar<Real>(
        0.4L, 2 * std::numbers::pi_v<Real> * (static_cast<Real>(i) + 0.35L) / static_cast<Real>(degree));
  for (int iteration = 0; iteration < 2000; ++iteration) {
    Real change = 0;
    for (std::size_t i = 0; i < roots.size(); ++i) {
      Complex denominator = a.back();
      for (std::size_t j = 0; j < roots.size(); ++j)
        if (j != i) denominator *= roots[i] - roots[j];
      const Complex step = value(roots[i], nullptr) / denominator;
      roots[i] -= step;
      change = std::max(change, std::abs(step));
    }
    if (change < 1e-18L) break;
  }
  for (Complex& root : roots)
    for (int i = 0; i < 3; ++i) {
      Complex slope;
      const Complex p = value(root, &slope);
      root -= p / slope;
    }
  return roots;
}

// The two z with y = (2 - z - 1/z)/4; the first lies inside the unit circle.
std::pair<Complex, Complex> unit_circle_pair(Complex y) {
  const Complex half = Complex(1) - Real(2) * y;
  const Complex root = std::sqrt(half * half - Complex(1));
  Complex z = half + root;
  if (std::abs(z) > 1) z = half - root;
  return {z, Complex(1) / z};
}

// low = (1 + z)^order prod (z - z_i), scaled to sum sqrt 2.
std::vector<Real> filter_from(int order, std::vector<Complex> zeros) {
  for (int i = 0; i < order; ++i)
    zeros.emplace_back(-1);
  // Multiply factors in Leja order: each next zero far from those used, so that partial products stay small.
  std::vector<Complex> ordered;
  while (!zeros.empty()) {
    std::size_t best = 0;
    Real best_distance = -INFINITY;
    for (std::size_t i = 0; i < zeros.size(); ++i) {
      Real distance = ordered.empty() ? std::abs(zeros[i]) : 0;
      for (const Complex& used : ordered)
        distance += std::log(std::abs(zeros[i] - used) + 1e-30L);
      if (distance > best_distance) {
        best_distance = distance;
        best = i;
      }
    }
    ordered.push_back(zeros[best]);
    zeros.erase(zeros.begin() + static_cast<std::ptrdiff_t>(best));
  }
  std::vector<Complex> product{1};
  for (const Complex& zero : ordered) {
    product.push_back(0);
    for (std::size_t k = product.size() - 1; k > 0; --k)
      product[k] -= zero * product[k - 1];
  }
  std::vector<Real> filter(product.size());
  Real sum = 0;
  for (std::size_t k = 0; k < filter.size(); ++k)
    sum += filter[k] = product[k].real();
  for (Real& v : filter)
    v *= std::numbers::sqrt2_v<Real> / sum;
  return filter;
}

Wavelet from_low(const std::vector<Real>& low) {
  const std::size_t n = low.size();
  Wavelet wavelet{std::vector<double>(n), std::vector<double>(n)};
  for (std::size_t k = 0; k < n; ++k) {
    wavelet.low[k] = static_cast<double>(low[k]);
    wavelet.high[k] = static_cast<double>((k % 2 == 0 ? -1 : 1) * low[n - 1 - k]);
  }
  return wavelet;
}

// Deviation of the phase of a filter from the nearest straight line.
Real phase_nonlinearity(const std::vector<Real>& filter) {
  constexpr int samples = 128;
  std::vector<Real> phase;
  Real previous = 0;
  for (int i = 1; i < samples; ++i) {
    const Real w = std::numbers::pi_v<Real> * i / samples * 0.95L;
    Complex sum = 0;
    for (std::size_t k = 0; k < filter.size(); ++k)
      sum += filter[k] * std::polar<Real>(1, -w * static_cast<Real>(k));
    Real angle = std::arg(sum);
    while (angle - previous > std::numbers::pi_v<Real>)
      angle -= 2 * std::numbers::pi_v<Real>;
    while (angle - previous < -std::numbers::pi_v<Real>)
      angle += 2 * std::numbers::pi_v<Real>;
    phase.push_back(previous = angle);
  }
  Real slope_top = 0, slope_bottom = 0;
  for (std::size_t i = 0; i < phase.size(); ++i) {
    slope_top += phase[i] * static_cast<Real>(i + 1);
    slope_bottom += static_cast<Real>((i + 1) * (i + 1));
  }
  Real deviation = 0;
  for (std::size_t i = 0; i < phase.size(); ++i) {
    const Real d = phase[i] - slope_top / slope_bottom * static_cast<Real>(i + 1);
    deviation += d * d;
  }
  return deviation;
}

int order_of(const std::string& name, std::size_t prefix) {
  int order = 0;
  for (std::size_t i = prefix; i < name.size(); ++i) {
    if (name[i] < '0' || name[i] > '9' || order > 99) return -1;
    order = 10 * order + (name[i] - '0');
  }
  return order;
}

// ---- filtering -----------------------------------------------------------------------------------

// low[i] = sum_j h[j] taps[j][i], high[i] = sum_j g[j] taps[j][i]
FACHWERK_CLONES
void filter_pair(const float* const* taps, const float* h, const float* g, std::size_t count, std::size_t n, float* low,
                 float* high) {
  constexpr std::size_t step = 2 * kLaneCount;
  std::size_t i = 0;
  for (; i + step <= n; i += step) {
    Lanes a0{}, a1{}, d0{}, d1{};
    for (std::size_t j = 0; j < count; ++j) {
      const Lanes* x = reinterpret_cast<const Lanes*>(taps[j] + i);
      const Lanes x0 = x[0], x1 = x[1];
      a0 += h[j] * x0;
      a1 += h[j] * x1;
      d0 += g[j] * x0;
      d1 += g[j] * x1;
    }
    Lanes* out = reinterpret_cast<Lanes*>(low + i);
    out[0] = a0;
    out[1] = a1;
    out = reinterpret_cast<Lanes*>(high + i);
    out[0] = d0;
    out[1] = d1;
  }
  for (; i < n; ++i) {
    float a = 0, d = 0;
    for (std::size_t j = 0; j < count; ++j) {
      a += h[j] * taps[j][i];
      d += g[j] * taps[j][i];
    }
    low[i] = a;
    high[i] = d;
  }
}

// out[i] = sum_j h[j] low[j][i] + g[j] high[j][i]
FACHWERK_CLONES
void merge_pair(const float* const* low, const float* const* high, const float* h, const float* g, std::size_t count,
                std::size_t n, float* out) {
  constexpr std::size_t step = 2 * kLaneCount;
  std::size_t i = 0;
  for (; i + step <= n; i += step) {
    Lanes a0{}, a1{};
    for (std::size_t j = 0; j < count; ++j) {
      const Lanes *l = reinterpret_cast<const Lanes*>(low[j] + i), *u = reinterpret_cast<const Lanes*>(high[j] + i);
      a0 += h[j] * l[0] + g[j] * u[0];
      a1 += h[j] * l[1] + g[j] * u[1];
    }
    Lanes* to = reinterpret_cast<Lanes*>(out + i);
    to[0] = a0;
    to[1] = a1;
  }
  for (; i < n; ++i) {
    float a = 0;
    for (std::size_t j = 0; j < count; ++j)
      a += h[j] * low[j][i] + g[j] * high[j][i];
    out[i] = a;
  }
}

std::ptrdiff_t wrap(std::ptrdiff_t i, std::ptrdiff_t n) {
  return ((i % n) + n) % n;
}

// Writes `margin` periodic values on either side of n values that begin at `values`.
void extend(float* values, std::ptrdiff_t n, std::ptrdiff_t margin) {
  for (std::ptrdiff_t i = 0; i < margin; ++i) {
    values[i - margin] = values[wrap(i - margin, n)];
    values[n + i] = values[wrap(i, n)];
  }
}

FACHWERK_CLONES
void split(const float* __restrict__ values, std::size_t n, float* __restrict__ even, float* __restrict__ odd) {
  for (std::size_t i = 0; i < n; ++i) {
    even[i] = values[2 * i];
    odd[i] = values[2 * i + 1];
  }
}

FACHWERK_CLONES
void interleave(const float* __restrict__ even, const float* __restrict__ odd, std::size_t n,
                float* __restrict__ values) {
  for (std::size_t i = 0; i < n; ++i) {
    values[2 * i] = even[i];
    values[2 * i + 1] = odd[i];
  }
}

// Half-sample symmetric extension of indices below n.
std::size_t reflect(std::size_t i, std::size_t n) {
  i %= 2 * n;
  return i < n ? i : 2 * n - 1 - i;
}

std::ptrdiff_t floor_half(std::ptrdiff_t v) {
  return v >= 0 ? v / 2 : -((1 - v) / 2);
}

}  // namespace

Wavelet daubechies(int order) {
  if (order < 1 || order > 20) throw usage_error("Daubechies wavelets have orders 1 to 20, not {}", order);
  std::vector<Complex> zeros;
  for (const Complex& y : daubechies_roots(order))
    zeros.push_back(unit_circle_pair(y).second);
  return from_low(filter_from(order, std::move(zeros)));
}

Wavelet symlet(int order) {
  if (order < 2 || order > 10) throw usage_error("symlets have orders 2 to 10, not {}", order);
  // Real roots choose alone, conjugate pairs together.
  std::vector<std::vector<Complex>> choices;
  for (const Complex& y : daubechies_roots(order)) {
    if (std::abs(y.imag()) < 1e-12L)
      choices.push_back({Complex(y.real(), 0)});
    else if (y.imag() > 0)
      choices.push_back({y, std::conj(y)});
  }
  std::vector<Real> best;
  Real best_deviation = INFINITY;
  for (unsigned pick = 0; pick < (1U << choices.size()); ++pick) {
    std::vector<Complex> zeros;
    for (std::size_t i = 0; i < choices.size(); ++i)
      for (const Complex& y : choices[i]) {
        const auto [inside, outside] = unit_circle_pair(y);
        zeros.push_back((pick >> i & 1U) != 0 ? inside : outside);
      }
    const std::vector<Real> filter = filter_from(order, zeros);
    const Real deviation = phase_nonlinearity(filter);
    if (deviation < best_deviation - 1e-9L) {
      best_deviation = deviation;
      best = filter;
    }
  }
  return from_low(best);
}

Wavelet wavelet_by_name(const std::string& name) {
  if (name == "haar") return daubechies(1);
  if (name.starts_with("db") && order_of(name, 2) >= 1 && order_of(name, 2) <= 20) return daubechies(order_of(name, 2));
  if (name.starts_with("sym") && order_of(name, 3) >= 2 && order_of(name, 3) <= 10) return symlet(order_of(name, 3));
  throw usage_error("no wavelet \"{}\"", name).with_hint("db1 to db20, sym2 to sym10, haar");
}

Dwt2::Dwt2(std::size_t rows, std::size_t cols, const Wavelet& wavelet, int levels)
    : rows_(rows),
      cols_(cols),
      levels_(levels),
      low_(wavelet.low.begin(), wavelet.low.end()),
      high_(wavelet.high.begin(), wavelet.high.end()) {
  if (levels < 1 || levels > 12) throw usage_error("wavelet levels must be 1 to 12, not {}", levels);
  if (rows < 2 || cols < 2) throw bad_input("wavelets need at least 2 x 2 pixels, found {} x {}", rows, cols);
  const std::size_t unit = std::size_t{1} << levels;
  padded_rows_ = (rows + unit - 1) / unit * unit;
  padded_cols_ = (cols + unit - 1) / unit * unit;
  const std::size_t r0 = padded_rows_ >> levels, c0 = padded_cols_ >> levels;
  subbands_.push_back({0, 0, 0, r0, c0});
  for (int level = 1; level <= levels; ++level) {
    const std::size_t r = padded_rows_ >> (levels - level + 1), c = padded_cols_ >> (levels - level + 1);
    subbands_.push_back({level, 0, c, r, c});
    subbands_.push_back({level, r, 0, r, c});
    subbands_.push_back({level, r, c, r, c});
  }
}

std::vector<std::uint8_t> Dwt2::level_map() const {
  std::vector<std::uint8_t> map(size());
  for (const Subband& band : subbands_)
    for (std::size_t r = 0; r < band.rows; ++r)
      std::fill_n(map.begin() + static_cast<std::ptrdiff_t>((band.row + r) * padded_cols_ + band.col), band.cols,
                  static_cast<std::uint8_t>(band.level));
  return map;
}

void Dwt2::forward(std::span<const float> plane, std::span<float> coefficients) const {
  std::copy_n(plane.begin(), rows_ * cols_, coefficients.begin());
  forward(coefficients);
}

// Rows move apart, the last first; then the far edges are reflected.
void Dwt2::pad(std::span<float> values) const {
  for (std::size_t r = rows_; r-- > 0;) {
    float* row = values.data() + r * padded_cols_;
    if (r > 0 && padded_cols_ > cols_)
      std::copy_backward(values.data() + r * cols_, values.data() + (r + 1) * cols_, row + cols_);
    for (std::size_t c = cols_; c < padded_cols_; ++c)
      row[c] = row[reflect(c, cols_)];
  }
  for (std::size_t r = rows_; r < padded_rows_; ++r)
    std::copy_n(values.data() + reflect(r, rows_) * padded_cols_, padded_cols_, values.data() + r * padded_cols_);
}

void Dwt2::forward(std::span<float> coefficients) const {
  pad(coefficients);
  const std::size_t taps = low_.size();
  const auto order = static_cast<std::ptrdiff_t>(taps / 2), margin = order + 1;
  std::vector<float> half(size()), even(padded_cols_ / 2 + 2 * static_cast<std::size_t>(margin)), odd(even.size());
  std::vector<const float*> tap(taps);
  for (int level = levels_; level >= 1; --level) {
    const std::size_t rows = padded_rows_ >> (levels_ - level), cols = padded_cols_ >> (levels_ - level);
    const auto n = static_cast<std::ptrdiff_t>(cols / 2), m = static_cast<std::ptrdiff_t>(rows);
    // Along rows: a_i = sum_j h_j x_(2i + K - j), with even and odd samples apart so that the sums run over neighbours.
    for (std::size_t r = 0; r < rows; ++r) {
      const float* in = coefficients.data() + r * padded_cols_;
      split(in, cols / 2, even.data() + margin, odd.data() + margin);
      extend(even.data() + margin, n, margin);
      extend(odd.data() + margin, n, margin);
      for (std::ptrdiff_t j = 0; j < 2 * order; ++j) {
        const std::ptrdiff_t shift = order - j;
        tap[static_cast<std::size_t>(j)] = (shift % 2 == 0 ? even.data() : odd.data()) + margin + floor_half(shift);
      }
      float* out = half.data() + r * cols;
      filter_pair(tap.data(), low_.data(), high_.data(), taps, cols / 2, out, out + cols / 2);
    }
    for (std::ptrdiff_t i = 0; i < m / 2; ++i) {
      for (std::ptrdiff_t j = 0; j < 2 * order; ++j)
        tap[static_cast<std::size_t>(j)] = half.data() + static_cast<std::size_t>(wrap(2 * i + order - j, m)) * cols;
      filter_pair(tap.data(), low_.data(), high_.data(), taps, cols,
                  coefficients.data() + static_cast<std::size_t>(i) * padded_cols_,
                  coefficients.data() + static_cast<std::size_t>(i + m / 2) * padded_cols_);
    }
  }
}

void Dwt2::inverse_padded(std::span<float> coefficients) const {
  const std::size_t taps = low_.size();
  const auto order = static_cast<std::ptrdiff_t>(taps / 2), margin = order + 1;
  // Taps of x_(2q + p): those j with j + p - K even, at i = q + (j + p - K)/2.
  std::vector<float> h[2], g[2];
  std::vector<std::ptrdiff_t> offset[2];
  for (std::ptrdiff_t parity = 0; parity < 2; ++parity)
    for (std::ptrdiff_t j = 0; j < 2 * order; ++j)
      if ((j + parity - order) % 2 == 0) {
        h[parity].push_back(low_[static_cast<std::size_t>(j)]);
        g[parity].push_back(high_[static_cast<std::size_t>(j)]);
        offset[parity].push_back((j + parity - order) / 2);
      }
  std::vector<float> half(size()), low(padded_cols_ / 2 + 2 * static_cast<std::size_t>(margin)), high(low.size());
  std::vector<float> sample[2] = {std::vector<float>(padded_cols_ / 2), std::vector<float>(padded_cols_ / 2)};
  std::vector<const float*> low_tap(taps), high_tap(taps);
  for (int level = 1; level <= levels_; ++level) {
    const std::size_t rows = padded_rows_ >> (levels_ - level), cols = padded_cols_ >> (levels_ - level);
    const auto n = static_cast<std::ptrdiff_t>(cols / 2), m = static_cast<std::ptrdiff_t>(rows / 2);
    for (std::ptrdiff_t q = 0; q < m; ++q)
      for (std::size_t parity = 0; parity < 2; ++parity) {
        for (std::size_t k = 0; k < h[parity].size(); ++k) {
          const auto i = static_cast<std::size_t>(wrap(q + offset[parity][k], m));
          low_tap[k] = coefficients.data() + i * padded_cols_;
          high_tap[k] = coefficients.data() + (i + rows / 2) * padded_cols_;
        }
        merge_pair(low_tap.data(), high_tap.data(), h[parity].data(), g[parity].data(), h[parity].size(), cols,
                   half.data() + (2 * static_cast<std::size_t>(q) + parity) * cols);
      }
    for (std::size_t r = 0; r < rows; ++r) {
      std::copy_n(half.data() + r * cols, n, low.data() + margin);
      std::copy_n(half.data() + r * cols + cols / 2, n, high.data() + margin);
      extend(low.data() + margin, n, margin);
      extend(high.data() + margin, n, margin);
      float* out = coefficients.data() + r * padded_cols_;
      for (std::size_t parity = 0; parity < 2; ++parity) {
        for (std::size_t k = 0; k < h[parity].size(); ++k) {
          low_tap[k] = low.data() + margin + offset[parity][k];
          high_tap[k] = high.data() + margin + offset[parity][k];
        }
        merge_pair(low_tap.data(), high_tap.data(), h[parity].data(), g[parity].data(), h[parity].size(), cols / 2,
                   sample[parity].data());
      }
      interleave(sample[0].data(), sample[1].data(), cols / 2, out);
    }
  }
}

void Dwt2::crop(std::span<const float> values, std::span<float> plane) const {
  for (std::size_t r = 0; r < rows_; ++r)
    std::memmove(plane.data() + r * cols_, values.data() + r * padded_cols_, cols_ * sizeof(float));
}

void Dwt2::fold(std::span<const float> values, std::span<float> plane) const {
  std::fill(plane.begin(), plane.end(), 0.0F);
  for (std::size_t r = 0; r < padded_rows_; ++r) {
    const float* in = values.data() + r * padded_cols_;
    float* out = plane.data() + reflect(r, rows_) * cols_;
    for (std::size_t c = 0; c < cols_; ++c)
      out[c] += in[c];
    for (std::size_t c = cols_; c < padded_cols_; ++c)
      out[reflect(c, cols_)] += in[c];
  }
}

void Dwt2::inverse(std::span<float> coefficients, std::span<float> plane) const {
  inverse_padded(coefficients);
  crop(coefficients, plane);
}

void Dwt2::adjoint(std::span<float> coefficients, std::span<float> plane) const {
  inverse_padded(coefficients);
  fold(coefficients, plane);
}

std::vector<float> coefficients_of(const Dwt2& dwt, const Subband& band, std::span<const float> coefficients) {
  std::vector<float> values;
  values.reserve(band.rows * band.cols);
  for (std::size_t r = 0; r < band.rows; ++r) {
    const float* row = coefficients.data() + (band.row + r) * dwt.cols() + band.col;
    values.insert(values.end(), row, row + band.cols);
  }
  return values;
}

}  // namespace fachwerk::hyde
