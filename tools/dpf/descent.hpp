#pragma once

#include <functional>
#include <vector>

#include "least_squares.hpp"

/// Minimisers over a box by the gradient alone, for any number of unknowns.
namespace fachwerk::dpf {

/// The objective and its gradient; false where the point has no value.
using Objective = std::function<bool(const std::vector<double>& at, double& value, std::vector<double>& gradient)>;

struct DescentOptions {
  int max_iterations = 100;
  double tolerance = 1e-10;       ///< of the relative change of the objective
  double scale = 1;               ///< objective below 1e-12 of this is rounding
  std::vector<double> size = {};  ///< by unknown: the unit in which they work; empty: 1
};

/// Projected L-BFGS, twenty pairs, Armijo's rule along the projected direction (Bertsekas 1982; Nocedal, Wright,
/// algorithm 7.4).
Minimum projected_lbfgs(const Objective& objective, std::vector<double> start, const std::vector<Box>& boxes,
                        const DescentOptions& options);
/// Adam, projected on the box; the rate is halved whenever 50 steps bring no better point, until steps are below 1e-7.
/// The best point is returned.
Minimum projected_adam(const Objective& objective, std::vector<double> start, const std::vector<Box>& boxes,
                       const DescentOptions& options);

}  // namespace fachwerk::dpf
