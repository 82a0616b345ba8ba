#pragma once

#include <vector>

#include "grid.hpp"
#include "mismatch.hpp"

/// Line outage distribution factors of the DC power flow (Wood, Wollenberg: Power Generation, Operation and Control,
/// appendix 11A): a linear guess of the loadings after an outage.
namespace fachwerk::dpf {

/// What the loading of no rated branch will exceed, percent, after the outage of each of `branches` (file rows): the
/// guess from the active flows of `state` and the factors, reactive flows kept, plus `guard` times the guessed change.
/// Infinity where the outage splits the grid or the guess breaks down.
std::vector<double> lodf_bounds(const Grid& grid, const Problem& problem, const State& state,
                                const std::vector<int>& branches, double guard);

}  // namespace fachwerk::dpf
