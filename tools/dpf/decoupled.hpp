#pragma once

#include "newton.hpp"

/// The older iterations of the power flow, for comparison and for grids that suit them.
namespace fachwerk::dpf {

struct SimpleOptions {
  double tolerance = 1e-8;   ///< of max|F|, pu, above the rounding floor
  double stop_mismatch = 0;  ///< also enough: sum|F| at most this times sum|specified|; 0: no
  int max_iterations = 100;
  bool trace = false;
};

enum class Decoupling { xb, bx };

/// Fast decoupled power flow (Stott, Alsac 1974; van Amerongen 1989): dP/|V| = B' dangle and dQ/|V| = B'' d|V| in
/// turn, with two constant factors. B' leaves out shunts, chargings and taps, B'' the shifts; `xb` drops resistances in
/// B', `bx` in B''. One iteration is both halves. Throws method_failed where B' or B'' is singular.
Solution fast_decoupled(const Grid& grid, const Problem& problem, State start, Decoupling kind,
                        const SimpleOptions& options = {});

/// Gauss-Seidel on V_i = (conj(S_i / V_i) - sum_{j != i} Y_ij V_j) / Y_ii, one node after the other.
Solution gauss_seidel(const Problem& problem, State start, const SimpleOptions& options = {});

/// Backward/forward sweep: branch currents from the leaves to the reference, voltages from the reference to the leaves
/// (Shirmohammadi et al. 1988), by the two-ports of the branches, so that taps, shifts and chargings are exact. Throws
/// method_failed, naming the reason, for grids that are not radial or that have PV nodes.
Solution sweep(const Problem& problem, State start, const SimpleOptions& options = {});

}  // namespace fachwerk::dpf
