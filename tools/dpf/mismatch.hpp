#pragma once

#include <span>
#include <vector>

#include "factor.hpp"
#include "network.hpp"

/// Power mismatch F(x) of the AC power flow in polar form and its Jacobian.
///
/// Both unknowns are kept at every node, interleaved: x[2i] = angle, x[2i+1] = ln|V|. An unknown that is fixed (the
/// angle of a reference, the magnitude of PV and reference nodes) has the equation "change = 0". With ln|V| as the
/// second unknown all derivatives are the powers themselves (MATPOWER Technical Note 2).
namespace fachwerk::dpf {

struct State {
  std::vector<double> vm, va;  ///< pu, radians
  std::vector<double> lambda;  ///< extra power of distributed slack, pu, by island; empty without it
};

/// What is solved: views into a network, or into a scenario's own versions of some of its arrays.
struct Problem {
  const Network* network;
  std::span<const Complex> y;
  std::span<const NodeType> type;
  std::span<const double> p, q, set_point;
  std::span<const VoltageDependence> zip;
  std::span<const double> slack_weight;  ///< empty: one node an island takes the slack
};
Problem problem_of(const Network& network);

/// Voltages of the file with the set-points put in.
State file_start(const Problem& problem);
/// |V| = set-point or 1, every angle that of its island's reference.
State flat_start(const Problem& problem);

/// V of every node.
std::vector<Complex> phasors(const State& state);
/// S_i = V_i conj(sum_j Y_ij V_j), pu, into `s` (length n).
void injections(const Problem& problem, std::span<const Complex> v, std::span<Complex> s);
void injections(const Problem& problem, const State& state, std::span<Complex> s);

/// Load of constant current and impedance at the present voltage, pu.
Complex dependent_load(const Problem& problem, int node, double vm);

/// F, length 2n: P_i(x) - P_i, Q_i(x) - Q_i; 0 where the unknown is fixed. With distributed slack the P rows of
/// references are there too. Returns max |F|, infinity if anything is not finite.
double mismatch(const Problem& problem, const State& state, std::span<double> f);
/// The same from injections that are known already.
double mismatch(const Problem& problem, const State& state, std::span<const Complex> s, std::span<double> f);

/// Rows of nodes [first, last) alone, from phasors, without distributed slack; `f` has 2 (last - first) entries.
void mismatch_rows(const Problem& problem, std::span<const Complex> v, std::span<const double> vm, int first, int last,
                   std::span<double> f);

/// Rows of floor_i = 8 eps |V_i| sum_j |Y_ij||V_j|: what rounding alone may leave in F (length n).
std::vector<double> rounding_floor(const Problem& problem, const State& state);

/// Is max(|F_i| - floor_i) <= tolerance?
bool within(std::span<const double> f, std::span<const double> floor, double tolerance);

/// dF/dx by blocks on the network's pattern. Fixed unknowns have a unit diagonal and nothing else in row and column.
void jacobian(const Problem& problem, const State& state, std::span<Block> a);

/// Block rows [first, last) alone; `a` begins with the entries of row `first`.
void jacobian_rows(const Problem& problem, std::span<const Complex> v, std::span<const double> vm, int first, int last,
                   std::span<Block> a);
/// Block (i, j), i != j, from S_ij = V_i conj(Y_ij V_j).
Block jacobian_block(const Problem& problem, int i, int j, Complex s);

/// x + scale dx, with |d ln V| limited to 0.3 and |d angle| to 1 rad.
void apply_step(State& state, std::span<const double> dx, double scale = 1);

}  // namespace fachwerk::dpf
