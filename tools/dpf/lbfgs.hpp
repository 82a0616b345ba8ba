#pragma once

#include "newton.hpp"

namespace fachwerk::dpf {

struct LbfgsOptions {
  double tolerance = 1e-8;   ///< of max|F|, pu, above the rounding floor
  double stop_mismatch = 0;  ///< also enough: sum|F| at most this times sum|specified|; 0: no
  int max_iterations = 2000;
  int memory = 20;
  bool trace = false;
};

/// L-BFGS on |F(x0 + M^-1 y)|^2 / 2 with M the Jacobian at the start, so that the Hessian in y begins as the unit
/// matrix: one solve and one transposed solve an evaluation (spec 2.5). Strong Wolfe line search (Nocedal, Wright:
/// Numerical Optimization, algorithms 3.5 and 3.6). Throws method_failed where M is singular.
Solution lbfgs(const Problem& problem, State start, const LbfgsOptions& options = {});

}  // namespace fachwerk::dpf
