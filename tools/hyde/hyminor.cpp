#include "hyminor.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "clones.hpp"

namespace fachwerk::hyde {
namespace {

constexpr std::size_t kLanes = 16;  // pixels that go through the recurrences together

// Factors of A = μ₁I + μ₂DᵀD: carry_b = μ₂/d_b.
struct Tridiagonal {
  std::vector<double> inverse, carry;
  Tridiagonal(std::size_t n, double mu1, double mu2) : inverse(n), carry(n) {
    double excess = 0;  // d_b - μ₂
    for (std::size_t b = 0; b < n; ++b) {
      excess = mu1 + (b > 0 ? mu2 * excess / (excess + mu2) : 0);
      const double pivot = b + 1 < n ? excess + mu2 : excess;
      inverse[b] = 1 / pivot;
      carry[b] = mu2 / pivot;
    }
  }
};

template <class Real>
struct Block {
  std::vector<Real> h, x, z1, z2;  // [bands][lanes]; z are the arguments of the two shrinkages
  explicit Block(std::size_t bands) : h(bands * kLanes), x(h.size()), z1(h.size()), z2(h.size()) {}
};

// x = A⁻¹ x
template <class Real>
FACHWERK_CLONES void solve(Real* x, const Real* inverse, const Real* carry, std::size_t bands) {
  for (std::size_t t = 0; t < kLanes; ++t)
    x[t] *= inverse[0];
  for (std::size_t b = 1; b < bands; ++b)
    for (std::size_t t = 0; t < kLanes; ++t)
      x[b * kLanes + t] = inverse[b] * x[b * kLanes + t] + carry[b] * x[(b - 1) * kLanes + t];
  for (std::size_t b = bands - 1; b-- > 0;)
    for (std::size_t t = 0; t < kLanes; ++t)
      x[b * kLanes + t] += carry[b] * x[(b + 1) * kLanes + t];
}

// Right-hand side and forward sweep of one iteration. With z the argument of a shrinkage of threshold t the multiplier
// is clip(z, t) and V - L = z - 2 clip(z, t).
template <class Real>
FACHWERK_CLONES void admm_iteration(Real* h, Real* x, Real* z1, Real* z2, const Real* inverse, const Real* carry,
                                    std::size_t bands, Real mu1, Real mu2, Real t1, Real t2) {
  const auto clip = [](Real v, Real t) { return std::min(std::max(v, -t), t); };
  Real before[kLanes] = {};
  for (std::size_t b = 0; b < bands; ++b)
    for (std::size_t t = 0; t < kLanes; ++t) {
      const std::size_t i = b * kLanes + t;
      const Real u = z1[i] - 2 * clip(z1[i], t1);
      const Real q = b + 1 < bands ? z2[i] - 2 * clip(z2[i], t2) : 0;
      const Real right = mu1 * (h[i] - u) + mu2 * (before[t] - q);
      before[t] = q;
      x[i] = inverse[b] * right + (b > 0 ? carry[b] * x[i - kLanes] : 0);
    }
  for (std::size_t b = bands; b-- > 0;)
    for (std::size_t t = 0; t < kLanes; ++t) {
      const std::size_t i = b * kLanes + t;
      if (b + 1 < bands) {
        x[i] += carry[b] * x[i + kLanes];
        z2[i] = x[i + kLanes] - x[i] + clip(z2[i], t2);
      }
      z1[i] = h[i] - x[i] + clip(z1[i], t1);
    }
}

// Largest |H - X| and |DX| over the block.
template <class Real>
FACHWERK_CLONES void largest(const Real* h, const Real* x, std::size_t bands, Real* residual, Real* slope) {
  Real r = 0, s = 0;
  for (std::size_t i = 0; i < bands * kLanes; ++i)
    r = std::max(r, std::abs(h[i] - x[i]));
  for (std::size_t i = 0; i + kLanes < bands * kLanes; ++i)
    s = std::max(s, std::abs(x[i + kLanes] - x[i]));
  *residual = r;
  *slope = s;
}

// Steps of the derivative, kept sorted between two ends that only the clipping moves.
class StepFunction {
 public:
  explicit StepFunction(std::size_t n) { steps_.reserve(n + 1); }

  // Adds |x - at|: slope -1 on the far left, a jump of 2 at `at`.
  void add(double at) {
    left_ -= 1;
    const auto place = std::lower_bound(steps_.begin() + static_cast<std::ptrdiff_t>(head_), steps_.end(), at,
                                        [](const Step& s, double v) { return s.at < v; });
    steps_.insert(place, {at, 2});
  }

  // Raises what is below `low` and lowers what is above `high`; returns where the derivative reaches each.
  std::pair<double, double> clip(double low, double high) {
    double right = left_;
    for (std::size_t i = head_; i < steps_.size(); ++i)
      right += steps_[i].jump;
    double from = -INFINITY, to = INFINITY;
    while (left_ < low && head_ < steps_.size()) {
      const double used = std::min(steps_[head_].jump, low - left_);
      from = steps_[head_].at;
      left_ += used;
      steps_[head_].jump -= used;
      if (steps_[head_].jump <= 0) ++head_;
    }
    while (right > high && steps_.size() > head_) {
      const double used = std::min(steps_.back().jump, right - high);
      to = steps_.back().at;
      right -= used;
      steps_.back().jump -= used;
      if (steps_.back().jump <= 0) steps_.pop_back();
    }
    return {from, to};
  }

  // A point where the derivative changes sign.
  double minimiser() const {
    double slope = left_;
    for (std::size_t i = head_; i < steps_.size(); ++i) {
      slope += steps_[i].jump;
      if (slope >= 0) return steps_[i].at;
    }
    return steps_.empty() ? 0 : steps_.back().at;
  }

 private:
  struct Step {
    double at, jump;
  };
  std::vector<Step> steps_;
  std::size_t head_ = 0;
  double left_ = 0;
};

}  // namespace

template <class Real>
void hyminor_admm(std::span<Real> spectra, std::size_t bands, const HyminorOptions& options) {
  const std::size_t pixels = spectra.size() / bands;
  const Tridiagonal factors(bands, options.mu1, options.mu2);
  const std::vector<Real> inverse(factors.inverse.begin(), factors.inverse.end());
  const std::vector<Real> carry(factors.carry.begin(), factors.carry.end());
  const auto mu1 = static_cast<Real>(options.mu1), mu2 = static_cast<Real>(options.mu2);
  const auto t1 = static_cast<Real>(1 / options.mu1), t2 = static_cast<Real>(options.lambda / options.mu2);
  const auto count = static_cast<Real>(options.iterations);
#pragma omp parallel
  {
    Block<Real> block(bands);
#pragma omp for schedule(dynamic, 16)
    for (std::size_t p = 0; p < pixels; p += kLanes) {
      const std::size_t lanes = std::min(kLanes, pixels - p);
      for (std::size_t b = 0; b < bands; ++b)
        for (std::size_t t = 0; t < kLanes; ++t)
          block.h[b * kLanes + t] = spectra[(p + std::min(t, lanes - 1)) * bands + b];
      for (std::size_t i = 0; i < block.h.size(); ++i)
        block.x[i] = mu1 * block.h[i];
      solve(block.x.data(), inverse.data(), carry.data(), bands);
      Real residual = 0, slope = 0;
      largest(block.h.data(), block.x.data(), bands, &residual, &slope);
      const bool linear = options.mu1 == options.mu2 && count * residual < t1 && count * slope < t2;
      if (!linear) {
        std::fill(block.z1.begin(), block.z1.end(), Real{0});
        std::fill(block.z2.begin(), block.z2.end(), Real{0});
        for (int i = 0; i < options.iterations; ++i)
          admm_iteration(block.h.data(), block.x.data(), block.z1.data(), block.z2.data(), inverse.data(), carry.data(),
                         bands, mu1, mu2, t1, t2);
      }
      for (std::size_t t = 0; t < lanes; ++t)
        for (std::size_t b = 0; b < bands; ++b)
          spectra[(p + t) * bands + b] = block.x[b * kLanes + t];
    }
  }
}

template void hyminor_admm<float>(std::span<float>, std::size_t, const HyminorOptions&);
template void hyminor_admm<double>(std::span<double>, std::size_t, const HyminorOptions&);

void fused_lasso_l1(std::span<double> signal, double lambda) {
  const std::size_t n = signal.size();
  if (n == 0) return;
  StepFunction derivative(n);
  std::vector<double> low(n), high(n);
  for (std::size_t i = 0; i < n; ++i) {
    derivative.add(signal[i]);
    if (i + 1 < n) std::tie(low[i], high[i]) = derivative.clip(-lambda, lambda);
  }
  signal[n - 1] = derivative.minimiser();
  for (std::size_t i = n - 1; i-- > 0;)
    signal[i] = std::clamp(signal[i + 1], low[i], high[i]);
}

void hyminor_exact(std::span<float> spectra, std::size_t bands, double lambda) {
  const std::size_t pixels = spectra.size() / bands;
#pragma omp parallel
  {
    std::vector<double> signal(bands);
#pragma omp for schedule(dynamic, 64)
    for (std::size_t p = 0; p < pixels; ++p) {
      std::copy_n(spectra.begin() + static_cast<std::ptrdiff_t>(p * bands), bands, signal.begin());
      fused_lasso_l1(signal, lambda);
      for (std::size_t b = 0; b < bands; ++b)
        spectra[p * bands + b] = static_cast<float>(signal[b]);
    }
  }
}

double fused_lasso_objective(std::span<const double> h, std::span<const double> x, double lambda) {
  double sum = 0;
  for (std::size_t i = 0; i < h.size(); ++i)
    sum += std::abs(h[i] - x[i]);
  for (std::size_t i = 0; i + 1 < h.size(); ++i)
    sum += lambda * std::abs(x[i + 1] - x[i]);
  return sum;
}

}  // namespace fachwerk::hyde
