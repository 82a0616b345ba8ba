#pragma once

#include <functional>
#include <limits>
#include <vector>

/// Levenberg-Marquardt over a box, on the normal equations. It knows nothing of grids.
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

struct Minimum {
  std::vector<double> at;
  int iterations = 0;
  bool converged = false;
};

/// What is minimised, and the scale of its unknowns.
struct LeastSquares {
  using Point = std::vector<double>;
  std::function<Normal(const Point& at)> normal;
  /// By unknown: the size of a step that counts as one there. Unset: 1.
  std::function<Point(const Point& at)> size = {};
  std::vector<double> longest = {};  ///< by unknown: longest step, in sizes. Empty: any
};

struct MinimiserOptions {
  int max_iterations = 100;
  double tolerance = 1e-10;  ///< of the relative change of the objective
  double scale = 1;          ///< objective below 1e-20 of this is rounding
};

/// What lies at a bound and would go beyond it with a step along `downhill`.
std::vector<char> frozen_at(const std::vector<double>& at, const std::vector<double>& downhill,
                            const std::vector<Box>& boxes);

/// Damped Gauss-Newton steps (Levenberg's scaling in `size`, Nielsen's rule). `start` must have a value, given as
/// `normal`, which becomes that of the minimum. Directions that the residuals do not depend on are not moved along.
Minimum levenberg_marquardt(const LeastSquares& problem, std::vector<double> start, Normal& normal,
                            const std::vector<Box>& boxes, const MinimiserOptions& options);

}  // namespace fachwerk::dpf
