#pragma once

#include <span>
#include <string>
#include <vector>

#include "grid.hpp"
#include "mismatch.hpp"
#include "parameters.hpp"

/// Functions of a solved flow, as meters and operators see it, with their derivatives.
namespace fachwerk::dpf {

/// Voltages pu and degrees; powers into a branch at its ends, MW and MVAr; currents into it, pu; injections of a bus,
/// MW and MVAr; loading in percent of rate A; losses of the grid, MW, shunts included.
struct Observation {
  enum class Kind { vm, va, pf, qf, pt, qt, current_from, current_to, p, q, loading, loss } kind;
  int row;  ///< bus or branch; not looked at for the losses
};

double observe(const Grid& grid, const Problem& problem, const State& state, const Observation& what);
/// Adds weight times d(observation)/d(state) to `row` (length 2n).
void observe_derivative(const Grid& grid, const Problem& problem, const State& state, const Observation& what,
                        double weight, std::span<double> row);
/// Direct derivative of an observation by a parameter at fixed voltages.
double observe_direct(const Grid& grid, const Problem& problem, const State& state, const Observation& what,
                      const Parameter& parameter);

/// A weighted sum of observations.
using Functional = std::vector<std::pair<Observation, double>>;
double observe(const Grid& grid, const Problem& problem, const State& state, const Functional& what);

/// d(functional)/dp of a solved flow for all parameters by one transposed solve (adjoint): dl/dp = partial - mu^T
/// dF/dp, J^T mu = dl/dx. Units of the observation over those of the parameter.
std::vector<double> adjoint_gradient(const Grid& grid, const Problem& problem, const State& state,
                                     const Functional& what, const std::vector<Parameter>& parameters);

/// dx/dp of a solved flow, one row of length 2n (angle in radians, ln|V|) a parameter.
std::vector<double> sensitivities(const Grid& grid, const Problem& problem, const State& state,
                                  const std::vector<Parameter>& parameters);

}  // namespace fachwerk::dpf
