#pragma once

#include "newton.hpp"

namespace fachwerk::dpf {

struct LevenbergOptions {
  double tolerance = 1e-8;
  double stop_mismatch = 0;  ///< also enough: sum|F| at most this times sum|specified|; 0: no
  int max_iterations = 200;
  double stationary = 1e-7;  ///< |J^T F|_inf below which a point with F != 0 is a local minimum
};

/// Levenberg-Marquardt on |F|^2 / 2: (J^T J + mu diag(J^T J)) dx = -J^T F. At a minimum with F != 0 the status is
/// infeasible, and the residual there is the smallest change of injections, in the least-squares sense and near that
/// state, that would make the case solvable.
Solution levenberg_marquardt(const Problem& problem, State start, const LevenbergOptions& options = {});

}  // namespace fachwerk::dpf
