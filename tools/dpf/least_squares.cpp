#include "least_squares.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>

#include <lapacke.h>

#include "cli/error.hpp"

namespace fachwerk::dpf {
namespace {

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += a[i] * b[i];
  return sum;
}

double clamped(double value, const Box& box) {
  return std::clamp(value, box.low, box.high);
}

}  // namespace

NormalSolver::NormalSolver(const Normal& normal, const std::vector<char>& frozen)
    : size_(normal.rhs.size()), unit_(size_), scaled_(normal.matrix) {
  for (std::size_t i = 0; i < size_; ++i)
    unit_[i] = normal.matrix[i * size_ + i] > 0 && !frozen[i] ? 1 / std::sqrt(normal.matrix[i * size_ + i]) : 0;
  for (std::size_t i = 0; i < size_; ++i)
    for (std::size_t k = 0; k < size_; ++k)
      scaled_[i * size_ + k] *= unit_[i] * unit_[k];
  // Ones on the diagonal of what has no part in it: Cholesky goes on, and the unit takes it out again.
  if (!cholesky(0, factor_)) {
    factor_.clear();
    diagonalise();
  }
}

// Also says whether the matrix is well conditioned.
bool NormalSolver::cholesky(double damping, std::vector<double>& factor) const {
  const auto n = static_cast<lapack_int>(size_);
  if (n == 0) return true;
  factor = scaled_;
  double norm = 0;
  for (std::size_t i = 0; i < size_; ++i) {
    factor[i * size_ + i] = unit_[i] == 0 ? 1 : factor[i * size_ + i] + damping;
    double sum = 0;
    for (std::size_t k = 0; k < size_; ++k)
      sum += std::abs(factor[i * size_ + k]);
    norm = std::max(norm, sum);
  }
  if (!std::isfinite(norm)) return false;
  // Row-major upper is column-major lower: symmetric, so nothing need be transposed.
  if (LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', n, factor.data(), n) != 0) return false;
  double reciprocal = 0;
  std::vector<double> work(3 * size_);
  std::vector<lapack_int> integers(size_);
  if (LAPACKE_dpocon_work(LAPACK_COL_MAJOR, 'L', n, factor.data(), n, norm, &reciprocal, work.data(),
                          integers.data()) != 0)
    return false;
  return reciprocal > 100 * negligible;
}

void NormalSolver::diagonalise() {
  vectors_ = scaled_;
  values_.resize(size_);
  const auto n = static_cast<lapack_int>(size_);
  if (LAPACKE_dsyevd(LAPACK_ROW_MAJOR, 'V', 'U', n, vectors_.data(), n, values_.data()) != 0)
    throw method_failed("the eigenvalues of the normal matrix did not converge");
}

std::vector<double> NormalSolver::step(const std::vector<double>& rhs, double damping) const {
  std::vector<double> out(size_, 0.0);
  if (size_ == 0) return out;
  if (values_.empty()) {
    std::vector<double> damped;
    if (damping > 0) cholesky(damping, damped);
    const std::vector<double>& factor = damping > 0 ? damped : factor_;
    for (std::size_t i = 0; i < size_; ++i)
      out[i] = unit_[i] * rhs[i];
    const auto n = static_cast<lapack_int>(size_);
    LAPACKE_dpotrs_work(LAPACK_COL_MAJOR, 'L', n, 1, factor.data(), n, out.data(), n);
    for (std::size_t i = 0; i < size_; ++i)
      out[i] *= unit_[i];
    return out;
  }
  for (std::size_t e = 0; e < size_; ++e) {
    if (!determined(e)) continue;
    double along = 0;
    for (std::size_t i = 0; i < size_; ++i)
      along += vectors_[i * size_ + e] * unit_[i] * rhs[i];
    along /= values_[e] + damping;
    for (std::size_t i = 0; i < size_; ++i)
      out[i] += unit_[i] * vectors_[i * size_ + e] * along;
  }
  return out;
}

std::vector<double> NormalSolver::whitener() const {
  if (size_ == 0) return {};
  if (values_.empty()) {  // inverse of the upper factor U (row-major): (U^T U)^-1 = U^-1 U^-T
    std::vector<double> out = factor_;
    const auto n = static_cast<lapack_int>(size_);
    LAPACKE_dtrtri_work(LAPACK_COL_MAJOR, 'L', 'N', n, out.data(), n);
    for (std::size_t i = 0; i < size_; ++i)
      for (std::size_t k = 0; k < size_; ++k)
        out[i * size_ + k] = k < i ? 0 : out[i * size_ + k] * unit_[i];
    return out;
  }
  std::vector<double> out = vectors_;
  for (std::size_t i = 0; i < size_; ++i)
    for (std::size_t e = 0; e < size_; ++e)
      out[i * size_ + e] *= determined(e) ? unit_[i] / std::sqrt(values_[e]) : 0;
  return out;
}

std::vector<std::vector<double>> NormalSolver::null_directions() const {
  std::vector<std::vector<double>> out;
  for (std::size_t e = 0; e < values_.size(); ++e) {
    if (determined(e)) continue;
    std::vector<double> direction(size_);
    for (std::size_t i = 0; i < size_; ++i)
      direction[i] = vectors_[i * size_ + e];
    out.push_back(std::move(direction));
  }
  return out;
}

std::vector<char> frozen_at(const std::vector<double>& at, const std::vector<double>& downhill,
                            const std::vector<Box>& boxes) {
  std::vector<char> out(at.size(), 0);
  for (std::size_t u = 0; u < at.size(); ++u)
    out[u] = (at[u] <= boxes[u].low && downhill[u] < 0) || (at[u] >= boxes[u].high && downhill[u] > 0);
  return out;
}

namespace {

// A damped step inside the boxes and not longer than `most`: what would go beyond is put on the edge, and the others
// are solved for again. Without that a cut step need not go downhill.
std::vector<double> bounded_step(const Normal& normal, const NormalSolver& free_solver, const std::vector<double>& at,
                                 const std::vector<Box>& boxes, std::vector<char> fixed, double damping,
                                 const std::vector<double>& most) {
  const std::size_t size = at.size();
  std::vector<double> moved(size, 0.0), step = free_solver.step(normal.rhs, damping);
  for (;;) {
    bool again = false;
    for (std::size_t u = 0; u < size; ++u) {
      if (fixed[u]) {
        step[u] = moved[u];
        continue;
      }
      const double reach = most.empty() ? std::numeric_limits<double>::infinity() : most[u];
      const double target = clamped(at[u] + std::clamp(step[u], -reach, reach), boxes[u]);
      if (target == at[u] + step[u]) continue;
      fixed[u] = 1;
      moved[u] = target - at[u];
      again = true;
    }
    if (!again) return step;
    std::vector<double> rhs = normal.rhs;
    for (std::size_t i = 0; i < size; ++i)
      for (std::size_t k = 0; k < size; ++k)
        if (fixed[k]) rhs[i] -= normal.matrix[i * size + k] * moved[k];
    step = NormalSolver(normal, fixed).step(rhs, damping);
  }
}

// Work in units of `size`.
struct Scaled {
  const Objective& objective;
  const std::vector<Box>& boxes;
  std::vector<double> size;

  Scaled(const Objective& f, const std::vector<Box>& limits, const MinimiserOptions& options)
      : objective(f), boxes(limits), size(options.size) {
    if (size.empty()) size.assign(limits.size(), 1.0);
  }
  bool evaluate(const std::vector<double>& y, double& value, std::vector<double>& gradient) const {
    if (!objective(unscaled(y), value, gradient) || !std::isfinite(value)) return false;
    for (std::size_t i = 0; i < y.size(); ++i)
      gradient[i] *= size[i];
    return true;
  }
  /// What is at a bound comes out at the bound, not beside it by rounding.
  std::vector<double> unscaled(std::vector<double> y) const {
    for (std::size_t i = 0; i < y.size(); ++i)
      y[i] = y[i] == boxes[i].low / size[i]    ? boxes[i].low
             : y[i] == boxes[i].high / size[i] ? boxes[i].high
                                               : clamped(y[i] * size[i], boxes[i]);
    return y;
  }
  std::vector<double> scaled(std::vector<double> x) const {
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] /= size[i];
    return x;
  }
  std::vector<Box> scaled_boxes() const {
    std::vector<Box> out;
    for (std::size_t i = 0; i < boxes.size(); ++i)
      out.push_back({boxes[i].low / size[i], boxes[i].high / size[i]});
    return out;
  }
};

std::vector<double> negative(std::vector<double> x) {
  for (double& value : x)
    value = -value;
  return x;
}

// Two-loop recursion over the unknowns that are free.
class Memory {
 public:
  std::vector<double> direction(const std::vector<double>& gradient, const std::vector<char>& frozen) const {
    std::vector<double> d = negative(gradient), alpha(pairs_.size());
    const auto hold = [&] {
      for (std::size_t i = 0; i < d.size(); ++i)
        if (frozen[i]) d[i] = 0;
    };
    hold();
    for (std::size_t k = pairs_.size(); k-- > 0;) {
      alpha[k] = dot(pairs_[k].step, d) / pairs_[k].curvature;
      for (std::size_t i = 0; i < d.size(); ++i)
        d[i] -= alpha[k] * pairs_[k].change[i];
    }
    if (!pairs_.empty()) {
      const Pair& last = pairs_.back();
      const double scale = last.curvature / dot(last.change, last.change);
      for (double& value : d)
        value *= scale;
    }
    for (std::size_t k = 0; k < pairs_.size(); ++k) {
      const double beta = dot(pairs_[k].change, d) / pairs_[k].curvature;
      for (std::size_t i = 0; i < d.size(); ++i)
        d[i] += (alpha[k] - beta) * pairs_[k].step[i];
    }
    hold();
    return d;
  }
  void add(std::vector<double> step, std::vector<double> change) {
    const double curvature = dot(step, change);
    if (!(curvature > 1e-14 * std::sqrt(dot(step, step) * dot(change, change)))) return;
    pairs_.push_back({std::move(step), std::move(change), curvature});
    if (pairs_.size() > 20) pairs_.pop_front();
  }
  void clear() { pairs_.clear(); }
  bool empty() const { return pairs_.empty(); }

 private:
  struct Pair {
    std::vector<double> step, change;
    double curvature;
  };
  std::deque<Pair> pairs_;
};

// What the quadratic model promises for a move.
double predicted_gain(const Normal& normal, const std::vector<double>& from, const std::vector<double>& to) {
  const std::size_t size = from.size();
  double sum = 0;
  for (std::size_t i = 0; i < size; ++i) {
    double product = 0;
    for (std::size_t k = 0; k < size; ++k)
      product += normal.matrix[i * size + k] * (to[k] - from[k]);
    sum += (to[i] - from[i]) * (2 * normal.rhs[i] - product);
  }
  return sum;
}

}  // namespace

Minimum levenberg_marquardt(const std::function<Normal(const std::vector<double>&)>& assemble,
                            std::vector<double> start, Normal& normal, const std::vector<Box>& boxes,
                            const MinimiserOptions& options) {
  Minimum out{std::move(start)};
  std::vector<char> frozen = frozen_at(out.at, normal.rhs, boxes);
  std::optional<NormalSolver> solver;
  double mu = 0, growth = 2;  // Gauss-Newton first
  int quiet = 0;
  while (out.iterations < options.max_iterations) {
    ++out.iterations;
    if (!solver) solver.emplace(normal, frozen);
    const std::vector<double> step = bounded_step(normal, *solver, out.at, boxes, frozen, mu, options.most);
    std::vector<double> trial = out.at;
    double relative = 0;
    for (std::size_t u = 0; u < trial.size(); ++u) {
      trial[u] = clamped(out.at[u] + step[u], boxes[u]);
      relative = std::max(relative, std::abs(trial[u] - out.at[u]) / (options.size.empty() ? 1 : options.size[u]));
    }
    // A step that was cut unknown by unknown need not go downhill: then it is not tried.
    const double promised = predicted_gain(normal, out.at, trial);
    Normal next{.solved = false};
    if (promised > 0 || relative < 1e-9) next = assemble(trial);
    if (next.solved && (next.objective <= normal.objective || relative < 1e-9)) {
      const double gain = normal.objective - next.objective, quality = gain / promised;
      quiet = gain <= options.tolerance * normal.objective || relative < 1e-12 ? quiet + 1 : 0;
      out.at = trial;
      normal = std::move(next);
      frozen = frozen_at(out.at, normal.rhs, boxes);
      solver.reset();
      // Nielsen's rule: less damping where the quadratic model was right, more where it was not.
      mu *= std::clamp(1 - std::pow(2 * quality - 1, 3), 1. / 3, 2.0);
      growth = 2;
      if (mu < 1e-8 || !std::isfinite(mu)) mu = 0;
      // Long steps along a flat valley may gain little for a while; perfect data go on until the rounding floor is
      // reached.
      const bool soon = relative < 1e-12 || (relative < 1e-2 && normal.objective > 1e-12 * options.scale);
      if (quiet >= (soon ? 1 : 3)) {
        out.converged = true;
        break;
      }
    } else if (next.solved && normal.objective < 1e-12 * options.scale) {
      out.converged = true;  // nothing but rounding is left
      break;
    } else {
      mu = mu == 0 ? 1e-6 : mu * growth;
      growth *= 2;
      if (mu > 1e3) {
        out.converged = relative < 1e-6 || normal.objective < 1e-12 * options.scale;
        break;
      }
    }
  }
  return out;
}

Minimum projected_lbfgs(const Objective& objective, std::vector<double> start, const std::vector<Box>& boxes,
                        const MinimiserOptions& options) {
  const Scaled f(objective, boxes, options);
  const std::vector<Box> box = f.scaled_boxes();
  std::vector<double> y = f.scaled(std::move(start)), gradient;
  Minimum out;
  double value = 0;
  if (!f.evaluate(y, value, gradient)) throw method_failed("a snapshot has no solution at the start parameters");
  Memory memory;
  int quiet = 0;
  while (out.iterations < options.max_iterations) {
    ++out.iterations;
    const std::vector<char> frozen = frozen_at(y, negative(gradient), box);
    std::vector<double> d = memory.direction(gradient, frozen);
    if (dot(d, gradient) >= 0) {
      memory.clear();
      d = memory.direction(gradient, frozen);
    }
    double longest = 0;
    for (const double x : d)
      longest = std::max(longest, std::abs(x));
    if (longest == 0) {
      out.converged = true;
      break;
    }
    // Without history the gradient says little about how far: at most a tenth of a unit.
    double scale = std::min(1.0, (memory.empty() ? 0.1 : 1.0) / longest), next_value = 0;
    std::vector<double> trial(y.size()), next_gradient, step(y.size());
    bool accepted = false;
    for (int halving = 0; halving < 40 && !accepted; ++halving, scale /= 2) {
      double slope = 0;
      for (std::size_t i = 0; i < y.size(); ++i) {
        trial[i] = clamped(y[i] + scale * d[i], box[i]);
        step[i] = trial[i] - y[i];
        slope += gradient[i] * step[i];
      }
      accepted = f.evaluate(trial, next_value, next_gradient) && next_value <= value + 1e-4 * slope;
    }
    if (!accepted) {
      out.converged = memory.empty() || longest < 1e-8;
      if (out.converged) break;
      memory.clear();
      continue;
    }
    const double gain = value - next_value;
    std::vector<double> change(y.size());
    for (std::size_t i = 0; i < y.size(); ++i)
      change[i] = next_gradient[i] - gradient[i];
    memory.add(step, std::move(change));
    y = trial;
    value = next_value;
    gradient.swap(next_gradient);
    // One small gain may be an unlucky direction, twenty are none.
    quiet = gain <= options.tolerance * value || value < 1e-12 * options.scale ? quiet + 1 : 0;
    if (quiet >= 20) {
      out.converged = true;
      break;
    }
  }
  out.at = f.unscaled(std::move(y));
  return out;
}

Minimum projected_adam(const Objective& objective, std::vector<double> start, const std::vector<Box>& boxes,
                       const MinimiserOptions& options) {
  constexpr double beta1 = 0.9, beta2 = 0.999;
  const Scaled f(objective, boxes, options);
  const std::vector<Box> box = f.scaled_boxes();
  std::vector<double> y = f.scaled(std::move(start)), gradient, m(y.size(), 0.0), v(y.size(), 0.0), best = y;
  double rate = 0.02, lowest = std::numeric_limits<double>::infinity(), decay1 = 1, decay2 = 1;
  Minimum out;
  int idle = 0;
  for (; out.iterations < options.max_iterations; ++out.iterations) {
    double value = 0;
    if (!f.evaluate(y, value, gradient)) {
      if (!std::isfinite(lowest)) throw method_failed("a snapshot has no solution at the start parameters");
      value = std::numeric_limits<double>::infinity();
    }
    const bool better = value < lowest * (1 - options.tolerance);
    if (value < lowest) {
      lowest = value;
      best = y;
    }
    idle = better ? 0 : idle + 1;
    if (idle >= 50 || !std::isfinite(value)) {
      idle = 0;
      rate /= 2;
      if (!std::isfinite(value)) {  // back to where there was one
        y = best;
        continue;
      }
    }
    if (rate < 1e-7 || lowest < 1e-12 * options.scale) {
      out.converged = true;
      break;
    }
    decay1 *= beta1;
    decay2 *= beta2;
    for (std::size_t i = 0; i < y.size(); ++i) {
      m[i] = beta1 * m[i] + (1 - beta1) * gradient[i];
      v[i] = beta2 * v[i] + (1 - beta2) * gradient[i] * gradient[i];
      const double slope = m[i] / (1 - decay1), size = std::sqrt(v[i] / (1 - decay2));
      if (size > 0) y[i] = clamped(y[i] - rate * slope / (size + 1e-30), box[i]);
    }
  }
  out.at = f.unscaled(std::move(best));
  return out;
}

}  // namespace fachwerk::dpf
