#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "grid.hpp"

/// Networks of pandapower as its to_json writes them (versions 2 and 3).
namespace fachwerk::dpf {

bool is_pandapower(std::string_view text);

/// The grid of a network, as pandapower's power flow sees it with angles. Bus numbers are those of its bus table; star
/// points, inner buses of extended wards and open ends of lines and transformers are extra buses; buses that a closed
/// switch joins are one. `warnings` receives what is not used. Throws bad input naming table, row and column.
Grid grid_of_pandapower(std::string_view text, std::string_view name, std::vector<std::string>& warnings);

/// The grid as a network of format 3: lines where nothing transforms, transformers elsewhere, shunts for admittances
/// that neither can hold. Numbers with 17 significant digits.
std::string pandapower_text(const Grid& grid, std::vector<std::string>& warnings);

}  // namespace fachwerk::dpf
