#pragma once

#include <span>
#include <string>
#include <vector>

#include "grid.hpp"
#include "mismatch.hpp"

/// Scalars of a grid that may be learnt, and how the mismatch depends on them (spec 2.2, 2.9).
namespace fachwerk::dpf {

/// `g`: conductance to ground of a branch, both ends together, as b is its susceptance.
enum class ParameterKind : std::uint8_t { r, x, b, g, tap, shift, gs, bs, load_p, load_q, gen_p, set_point };
std::string name(ParameterKind kind);
/// Throws usage_error for an unknown word.
ParameterKind parameter_kind(const std::string& word);

/// Kind and file row (of branch, bus or generator). Units of the file.
struct Parameter {
  ParameterKind kind;
  int row;
};
bool of_branch(ParameterKind kind);
/// r and x move in logarithms.
bool logarithmic(ParameterKind kind);

/// All parameters of a kind that have any effect: in-service branches (b, g, tap and shift only where the file has
/// one), live buses with a shunt or load, generators that give a fixed power or set a voltage.
std::vector<Parameter> parameters_of(const Grid& grid, const Network& network, ParameterKind kind);
double get(const Grid& grid, const Parameter& parameter);
void set(Grid& grid, const Parameter& parameter, double value);

/// d(ff, ft, tf, tt)/dp of a branch; of shifts per degree.
BranchAdmittance admittance_derivative(const Branches& branch, const Parameter& parameter);

/// Adds scale * dF/dp to `df` (length 2n), rows of fixed unknowns left alone. A set-point counts with the change of |V|
/// that it is.
void add_mismatch_derivative(const Grid& grid, const Problem& problem, const State& state, const Parameter& parameter,
                             double scale, std::span<double> df);
/// Adds scale times what a parameter does to the state by itself, before any mismatch: ln|V| of a set-point's node.
void add_own_change(const Problem& problem, const State& state, const Parameter& parameter, double scale,
                    std::span<double> x);

}  // namespace fachwerk::dpf
