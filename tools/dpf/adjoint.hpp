#pragma once

#include <cstdint>
#include <vector>

#include "observe.hpp"

/// The Jacobian of a solved flow as numbers for others, and what the injections do to a scalar of it.
namespace fachwerk::dpf {

/// dF/dx in the unknowns x = [angle of PV and PQ buses; |V| of PQ buses], equations F = [P of the same; Q of the same],
/// each in the order of the file; rad and pu. Entries by row, columns ascending.
struct SparseJacobian {
  std::vector<int> bus;           ///< file row of every unknown, and of the equation of the same number
  std::vector<std::int8_t> kind;  ///< 0 angle and P, 1 magnitude and Q
  std::vector<std::int64_t> row, column;
  std::vector<double> value;
};
SparseJacobian sparse_jacobian(const Problem& problem, const State& state);

/// Derivative of an observation of the solved state by the injection specified at every bus (J^T mu = dl/dx, spec 2.9),
/// per MW and MVAr, by file row: 0 where an injection is not specified, NaN where the bus is dead.
struct Adjoint {
  std::vector<double> p, q;
};
/// Throws method_failed where J is singular.
Adjoint injection_adjoint(const Grid& grid, const Problem& problem, const State& state, const Observation& scalar);

}  // namespace fachwerk::dpf
