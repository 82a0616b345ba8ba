#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "flows.hpp"

/// Meters of a grid: where they stand, what they read of a solved state, and how wrong they are.
namespace fachwerk::dpf {

/// Few buses such that every bus is one of them or has a branch in service to one (a dominating set by the greedy rule:
/// always the bus that sees most of what is unseen, ties by file row; then those that are not needed go). File rows,
/// ascending.
std::vector<int> covering_buses(const Grid& grid, const Network& network);

/// What may be metered; the names of /measurement.
enum class Quantity { vm, va, p, q, pf, qf, pt, qt, current_from, current_to };
/// "vm", "va", "p", "q", "pf", "qf", "pt", "qt", "if", "it"; throws usage_error for others.
Quantity quantity_of(const std::string& word);
std::string name(Quantity quantity);
std::string units(Quantity quantity);
bool of_bus(Quantity quantity);

/// True values of a state by bus or branch row: pu, degrees, MW and MVAr (injections into the grid), pu of current; NaN
/// where dead or out of service. Voltages and the branches' ends only where `metered` (by bus row) says so.
std::vector<double> readings(const Grid& grid, const Problem& problem, const State& state, Quantity quantity,
                             const std::vector<char>& metered);

struct MeterErrors {
  std::uint64_t seed = 1;
  double sigma = 1e-3;               ///< in the units of the reading
  double missing = 0, outliers = 0;  ///< fractions; an outlier has fifty times the noise
};
/// Adds noise keyed by (seed, first + i, quantity).
void disturb(std::vector<double>& values, std::size_t first, Quantity quantity, const MeterErrors& errors);

}  // namespace fachwerk::dpf
