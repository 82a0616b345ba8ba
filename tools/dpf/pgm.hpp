#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "grid.hpp"

/// Input data of power-grid-model as its JSON serialisation (version 1.0, rows or compact lists).
namespace fachwerk::dpf {

bool is_pgm(std::string_view text);

/// The grid of a symmetric calculation at 50 Hz, on its base of 1 MVA. Node numbers stay bus numbers; a source is a
/// reference bus behind its short-circuit impedance, star points and open ends are extra buses, links make one bus of
/// two. `warnings` receives what is not used. Throws bad input naming component, row and attribute.
Grid grid_of_pgm(std::string_view text, std::string_view name, std::vector<std::string>& warnings);

}  // namespace fachwerk::dpf
