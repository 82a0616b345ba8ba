#pragma once

#include <string>

#include "flows.hpp"
#include "grid.hpp"

namespace fachwerk::dpf {

/// bus.csv, branch.csv and gen.csv in a folder: the columns of /grid under the same names, and the results of one
/// scenario if there are any.
Grid read_csv(const std::string& folder);
void write_csv(const std::string& folder, bool force, const Grid& grid, const Flows* result);

}  // namespace fachwerk::dpf
