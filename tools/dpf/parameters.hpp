#pragma once

#include <optional>
#include <string>
#include <vector>

#include "grid.hpp"
#include "mismatch.hpp"

/// Scalars of a grid that may be learnt, and how the mismatch depends on them (spec 2.2, 2.9).
namespace fachwerk::dpf {

/// `g`: conductance to ground of a branch, both ends together, as b is its susceptance. `p_power` to `q_impedance`:
/// shares of a load of constant power, current and impedance. `slack_weight`: participation of a generator in
/// distributed slack; only their ratios within an island count.
enum class ParameterKind : std::uint8_t {
  r,
  x,
  b,
  g,
  tap,
  shift,
  gs,
  bs,
  load_p,
  load_q,
  p_power,
  p_current,
  p_impedance,
  q_power,
  q_current,
  q_impedance,
  gen_p,
  set_point,
  slack_weight
};
constexpr int parameter_kinds = static_cast<int>(ParameterKind::slack_weight) + 1;
std::string name(ParameterKind kind);
std::optional<ParameterKind> find_parameter_kind(const std::string& word);
/// Throws usage_error for an unknown word.
ParameterKind parameter_kind(const std::string& word);
/// The kinds of a list of words, each once; "zip" stands for the six shares.
std::vector<ParameterKind> parameter_kinds_of(const std::vector<std::string>& words);

/// Kind and file row (of branch, bus or generator). Units of the file.
struct Parameter {
  ParameterKind kind;
  int row;
};
bool of_branch(ParameterKind kind);
bool of_generator(ParameterKind kind);
bool is_share(ParameterKind kind);
/// r, x and slack weights move in logarithms.
bool logarithmic(ParameterKind kind);

/// Puts into the grid what kinds to be learnt need there: shares of loads (constant power where the file has none) and,
/// with distributed slack, participation factors (headroom where the file has none).
void make_explicit(Grid& grid, const std::vector<ParameterKind>& kinds, bool distributed_slack);

/// All parameters of a kind that have any effect: in-service branches (b, g, tap and shift only where the file has
/// one), live buses with a shunt or load, generators that give a fixed power, set a voltage or take part in the slack.
std::vector<Parameter> parameters_of(const Grid& grid, const Network& network, ParameterKind kind);
double get(const Grid& grid, const Parameter& parameter);
void set(Grid& grid, const Parameter& parameter, double value);

/// d(ff, ft, tf, tt)/dp of a branch; of shifts per degree.
BranchAdmittance admittance_derivative(const Branches& branch, const Parameter& parameter);

/// dF/dp where it is not zero: entries of arrays of length 2n. Rows of fixed unknowns are left out, but for the P
/// equations of references with distributed slack. A set-point counts with the change of |V| that it is.
using SparseColumn = std::vector<std::pair<std::size_t, double>>;
SparseColumn mismatch_derivative(const Grid& grid, const Problem& problem, const State& state,
                                 const Parameter& parameter);
/// What a parameter does to the state by itself, before any mismatch: ln|V| of a set-point's node.
SparseColumn own_change(const Problem& problem, const State& state, const Parameter& parameter);

}  // namespace fachwerk::dpf
