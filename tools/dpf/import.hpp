#pragma once

#include <string>
#include <vector>

#include "grid.hpp"
#include "io/bytes.hpp"
#include "io/hdf5.hpp"
#include "matpower.hpp"

/// Grids of foreign files, whose format is found by content.
namespace fachwerk::dpf {

/// What a file holds: a grid, or a change table.
struct Imported {
  Grid grid;
  std::vector<Change> changes;
  bool is_changes = false;
};

/// matpower, mat, psse, pandapower, pgm, cdf, or h5: by the first bytes or lines, matpower where nothing else fits.
std::string format_of(const formats::File& file);

/// Reads `file` as `format` (as `format_of` names it, but not h5). `warnings` receives what is not used.
Imported import_file(const formats::File& file, const std::string& format, std::vector<std::string>& warnings);

/// A MATLAB file of level 7.3 that is open as HDF5: does it hold a case struct, and the struct's grid.
bool is_matlab_case(const h5::Node& file);
Imported import_matlab_case(const h5::Node& file, std::vector<std::string>& warnings);

}  // namespace fachwerk::dpf
