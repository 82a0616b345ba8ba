#pragma once

#include <string>
#include <vector>

#include "grid.hpp"

/// What dpf-import does to a grid between reading and writing.
namespace fachwerk::dpf {

/// In-service branches with r = x = 0: a bad input naming the first; or one bus of their two; or this reactance.
void refuse_zero_impedance(const Grid& grid);
void merge_zero_impedance(Grid& grid);
void raise_zero_impedance(Grid& grid, double reactance);

/// Gives every island a reference bus: `first` PV bus, or the one with the largest generation. Throws bad input where
/// no island has a generator. Returns what it changed, for the user.
std::vector<std::string> set_references(Grid& grid, bool first);

/// Replaces MATPOWER's table dcline by a generator at each end (toggle_dcline): -Pf and Pf less losses, reactive limits
/// and set-points of the table; PQ ends become PV. Without the table nothing happens.
void dc_lines_to_generators(Grid& grid);

/// Signs of quantities in other units than the case format's: loads in kW, impedances in ohm, voltages in kV, base
/// voltages in V. One sentence each.
std::vector<std::string> suspicious_units(const Grid& grid);

/// For formats without admittances at branch ends and without voltage-dependent loads: those of branches in service
/// become shunts of their buses, loads keep their power at 1 pu. Returns a warning where that changes the solution.
std::vector<std::string> simplify(Grid& grid);

/// Gives buses numbers from 1 to `largest` where a format needs them, in file order; true if anything changed.
bool renumber(Grid& grid, std::int64_t largest);

}  // namespace fachwerk::dpf
