#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "grid.hpp"

/// PSS/E RAW files, revisions 29 to 35 (Program Operation Manual, "Power Flow Raw Data File").
namespace fachwerk::dpf {

/// Does the text begin as a RAW file does: IC, SBASE[, REV...] and two title lines?
bool is_raw(std::string_view text);

/// Buses, loads (constant power, current, admittance), fixed and switched shunts (at BINIT), generators, branches with
/// end shunts, transformers of two and three windings with every CW, CZ and CM; a transformer of three windings becomes
/// a star bus with three branches. `warnings` receives what is not used (DC lines, FACTS, remote regulation, ...).
/// Throws bad input naming the line.
Grid grid_of_raw(std::string_view text, std::string_view name, std::vector<std::string>& warnings);

/// The grid as a RAW file of revision 33, numbers with 17 significant digits: branches with a tap, a shift or two base
/// voltages are transformers (CW = CZ = CM = 1), infinite limits 9999. Bus numbers must be 1 to 999997.
std::string raw_text(const Grid& grid);

}  // namespace fachwerk::dpf
