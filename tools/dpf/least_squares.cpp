#include "least_squares.hpp"

#include <algorithm>
#include <cmath>

#include <lapacke.h>

namespace fachwerk::dpf {

std::vector<char> frozen_at(const std::vector<double>& at, const std::vector<double>& downhill,
                            const std::vector<Box>& boxes) {
  std::vector<char> out(at.size(), 0);
  for (std::size_t u = 0; u < at.size(); ++u)
    out[u] = (at[u] <= boxes[u].low && downhill[u] < 0) || (at[u] >= boxes[u].high && downhill[u] > 0);
  return out;
}

namespace {

using Point = LeastSquares::Point;

// The quadratic model of a point: objective - 2 rhs step + step matrix step.
class Model {
 public:
  Model(const Normal& normal, Point sizes) : normal_(normal), sizes_(std::move(sizes)) {}

  /// Largest curvature along one unknown, in sizes.
  double steepest() const {
    double out = 0;
    for (std::size_t u = 0; u < sizes_.size(); ++u)
      out = std::max(out, normal_.matrix[u * sizes_.size() + u] * sizes_[u] * sizes_[u]);
    return out;
  }
  /// (A^T A + mu D^-2) step = A^T r with D the sizes; what is fixed moves as `step` says. False where rounding leaves
  /// the matrix indefinite.
  bool solve(double mu, const std::vector<char>& fixed, Point& step) {
    const std::size_t n = sizes_.size();
    factor_ = normal_.matrix;
    Point rhs = normal_.rhs;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t k = 0; k < n; ++k) {
        if (!fixed[i] && !fixed[k]) continue;
        if (!fixed[i]) rhs[i] -= factor_[i * n + k] * step[k];
        factor_[i * n + k] = 0;
      }
      factor_[i * n + i] += mu / (sizes_[i] * sizes_[i]);
      if (!fixed[i]) continue;
      factor_[i * n + i] = 1;
      rhs[i] = step[i];
    }
    const auto size = static_cast<lapack_int>(n);
    if (LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', size, factor_.data(), size) != 0) return false;
    LAPACKE_dpotrs_work(LAPACK_COL_MAJOR, 'L', size, 1, factor_.data(), size, rhs.data(), size);
    step = std::move(rhs);
    return true;
  }
  /// Half the slope, downhill, of the damped model along an unknown after a step.
  double downhill(double mu, const Point& step, std::size_t u) const {
    double out = normal_.rhs[u] - mu / (sizes_[u] * sizes_[u]) * step[u];
    for (std::size_t k = 0; k < step.size(); ++k)
      out -= normal_.matrix[u * step.size() + k] * step[k];
    return out;
  }
  double size(std::size_t u) const { return sizes_[u]; }
  /// By how much the objective falls in it.
  double promised(const Point& step) const {
    const std::size_t n = step.size();
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
      double product = 0;
      for (std::size_t k = 0; k < n; ++k)
        product += normal_.matrix[i * n + k] * step[k];
      sum += step[i] * (2 * normal_.rhs[i] - product);
    }
    return sum;
  }
  /// The largest part of a step, in sizes.
  double length(const Point& step) const {
    double out = 0;
    for (std::size_t u = 0; u < step.size(); ++u)
      out = std::max(out, std::abs(step[u]) / sizes_[u]);
    return out;
  }

 private:
  const Normal& normal_;
  Point sizes_, factor_;
};

// The step for `mu`, which grows until the matrix is definite. What is fixed moves as `step` says. Infinite `mu`: the
// model holds no numbers.
void damped_step(Model& model, const std::vector<char>& fixed, double& mu, Point& step) {
  while (std::isfinite(mu) && !model.solve(mu, fixed, step))
    mu = std::max({4 * mu, 1e-16 * model.steepest(), 1e-200});
}

struct Trial {
  Point at, step;
  double length = 0;    ///< in sizes
  double promised = 0;  ///< fall of the objective
};

// The damped step inside the boxes, by block pivoting (Portugal, Judice, Vicente 1994): what would go beyond is put on
// the edge, what would rather come back is freed, and the rest is solved for again. Without that a cut step need not go
// downhill.
Trial bounded_step(const LeastSquares& problem, Model& model, const Point& at, std::vector<char> fixed,
                   const std::vector<Box>& given, double& mu) {
  constexpr int most_freed = 5;  // rounds; then what is on the edge stays
  Trial out{.at = at, .step = Point(at.size(), 0.0)};
  std::vector<Box> boxes = given;
  for (std::size_t u = 0; u < problem.longest.size(); ++u) {
    const double reach = problem.longest[u] * model.size(u);
    boxes[u] = {std::max(boxes[u].low, at[u] - reach), std::min(boxes[u].high, at[u] + reach)};
  }
  int freed = 0;
  for (bool again = true; again;) {
    damped_step(model, fixed, mu, out.step);
    again = false;
    for (std::size_t u = 0; u < at.size(); ++u) {
      if (fixed[u]) continue;
      const double target = at[u] + out.step[u];
      out.at[u] = std::clamp(target, boxes[u].low, boxes[u].high);
      if (out.at[u] == target) continue;
      fixed[u] = 1;
      out.step[u] = out.at[u] - at[u];
      again = true;
    }
    if (again || freed++ == most_freed) continue;
    for (std::size_t u = 0; u < at.size(); ++u) {
      if (!fixed[u]) continue;
      const double inwards = out.at[u] <= boxes[u].low ? 1 : -1;
      if (inwards * model.downhill(mu, out.step, u) <= 0) continue;
      fixed[u] = 0;
      again = true;
    }
  }
  out.length = model.length(out.step);
  out.promised = model.promised(out.step);
  return out;
}

}  // namespace

Minimum levenberg_marquardt(const LeastSquares& problem, std::vector<double> start, Normal& normal,
                            const std::vector<Box>& boxes, const MinimiserOptions& options) {
  Minimum out{std::move(start)};
  out.converged = out.at.empty();
  double mu = -1, growth = 2;
  int quiet = 0;
  while (out.iterations < options.max_iterations && !out.converged) {
    ++out.iterations;
    Model model(normal, problem.size ? problem.size(out.at) : Point(out.at.size(), 1.0));
    // Below the least damping rounding moves what the residuals do not depend on.
    mu = std::max(mu < 0 ? 1e-6 * model.steepest() : mu, 1e-15 * model.steepest());
    const std::vector<char> frozen = frozen_at(out.at, normal.rhs, boxes);
    const Trial trial = bounded_step(problem, model, out.at, frozen, boxes, mu);
    if (trial.length == 0) {
      out.converged = std::isfinite(mu);
      break;
    }
    Normal next{.solved = false};
    if (trial.promised > 0) next = problem.normal(trial.at);
    const double gain = normal.objective - next.objective, small = options.tolerance * normal.objective;
    if (next.solved && gain >= 0) {
      // Long steps along a flat valley may gain little once.
      quiet = std::max(gain, trial.promised) <= small || trial.length < 1e-12 ? quiet + 1 : 0;
      out.at = trial.at;
      normal = std::move(next);
      out.converged = quiet >= (trial.length < 1e-2 ? 1 : 2) || normal.objective < 1e-20 * options.scale;
      mu *= std::clamp(2 - 2 * gain / trial.promised, 0.1, 2.0);
      growth = 2;
    } else {
      // Nothing but rounding is left.
      out.converged = (trial.promised <= small && trial.promised >= 0) || trial.length < 1e-9 ||
                      normal.objective < 1e-12 * options.scale;
      mu *= growth;
      growth *= 2;
    }
  }
  return out;
}

}  // namespace fachwerk::dpf
