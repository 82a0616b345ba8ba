#pragma once

#include <functional>
#include <limits>
#include <vector>

/// Minimisers of a sum of squares over a box: Levenberg-Marquardt on the normal equations, and L-BFGS and Adam on the
/// gradient. They know nothing of grids.
namespace fachwerk::dpf {

struct Box {
  double low = -std::numeric_limits<double>::infinity(), high = -low;
};

/// A^T A and A^T r at a point of objective r^T r. Not solved: the point has no value.
struct Normal {
  std::vector<double> matrix = {}, rhs = {};
  double objective = 0;
  bool solved = true;
};

/// The normal matrix, scaled to unit diagonal, without frozen unknowns: by Cholesky's factors where it is well
/// conditioned, else by its eigenvectors, where those whose eigenvalue is below 1e-10 of the largest are left out.
class NormalSolver {
 public:
  NormalSolver(const Normal& normal, const std::vector<char>& frozen);

  /// Solution of (A^T A + damping D) step = rhs, D its diagonal.
  std::vector<double> step(const std::vector<double>& rhs, double damping) const;
  /// T with T T^T = (A^T A)^+, row-major.
  std::vector<double> whitener() const;
  /// Unit vectors, in scaled unknowns, that the matrix does not determine.
  std::vector<std::vector<double>> null_directions() const;
  /// No observation depends on it, or it is frozen.
  bool insensitive(std::size_t i) const { return unit_[i] == 0; }

 private:
  bool cholesky(double damping, std::vector<double>& factor) const;
  void diagonalise();
  bool determined(std::size_t e) const { return values_[e] > 0 && values_[e] >= negligible * values_.back(); }

  static constexpr double negligible = 1e-10;
  std::size_t size_;
  std::vector<double> unit_, scaled_, factor_;  ///< factor_: upper triangle U, U^T U = scaled; empty: eigenvectors
  std::vector<double> values_, vectors_;
};

struct Minimum {
  std::vector<double> at;
  int iterations = 0;
  bool converged = false;
};

struct MinimiserOptions {
  int max_iterations = 100;
  double tolerance = 1e-10;       ///< of the relative change of the objective
  double scale = 1;               ///< objective below 1e-12 of this is rounding
  std::vector<double> most = {};  ///< by unknown: longest step, Levenberg-Marquardt alone; empty: any
  std::vector<double> size = {};  ///< by unknown: the unit in which steps are judged and L-BFGS and Adam work; empty: 1
};

/// What lies at a bound and would go beyond it with a step along `downhill`.
std::vector<char> frozen_at(const std::vector<double>& at, const std::vector<double>& downhill,
                            const std::vector<Box>& boxes);

/// Gauss-Newton steps, damped where they fail (Marquardt's scaling). `start` must have a value, given as `first`.
/// `normal` becomes that of the minimum.
Minimum levenberg_marquardt(const std::function<Normal(const std::vector<double>&)>& assemble,
                            std::vector<double> start, Normal& normal, const std::vector<Box>& boxes,
                            const MinimiserOptions& options);

/// The objective and its gradient; false where the point has no value.
using Objective = std::function<bool(const std::vector<double>& at, double& value, std::vector<double>& gradient)>;

/// Projected L-BFGS, twenty pairs, Armijo's rule along the projected direction (Bertsekas 1982; Nocedal, Wright,
/// algorithm 7.4).
Minimum projected_lbfgs(const Objective& objective, std::vector<double> start, const std::vector<Box>& boxes,
                        const MinimiserOptions& options);
/// Adam, projected on the box; the rate is halved whenever 50 steps bring no better point, until steps are below 1e-7.
/// The best point is returned.
Minimum projected_adam(const Objective& objective, std::vector<double> start, const std::vector<Box>& boxes,
                       const MinimiserOptions& options);

}  // namespace fachwerk::dpf
