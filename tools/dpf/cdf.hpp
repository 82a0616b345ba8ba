#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "grid.hpp"

/// The IEEE common data format for exchange of solved load flow data (IEEE Working Group on a Common Format, 1973):
/// cards of 132 columns.
namespace fachwerk::dpf {

bool is_cdf(std::string_view text);

/// Bus and branch cards of a file; the tap is at the bus that a branch card names first. Generation at a bus without
/// voltage control stays a fixed injection. `warnings` receives what is not used. Throws bad input naming the line.
Grid grid_of_cdf(std::string_view text, std::string_view name, std::vector<std::string>& warnings);

}  // namespace fachwerk::dpf
