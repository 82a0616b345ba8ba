#pragma once

#include <optional>
#include <string>
#include <vector>

#include "flows.hpp"
#include "grid.hpp"
#include "io/hdf5.hpp"
#include "newton.hpp"

/// The HDF5 layouts of the kinds power-case and power-flow, and the tables in text that dpf-import knows.
namespace fachwerk::dpf {

/// /grid of a file of kind power-case or power-flow, checked.
Grid read_grid(const h5::Node& file);
void write_grid(h5::Output& file, const Grid& grid);

/// Does the file begin as HDF5 does? False for what cannot be read.
bool is_hdf5(const std::string& path);

/// A grid from an HDF5 file of kind power-case or power-flow, or straight from a MATPOWER case file. `file` is the open
/// HDF5 input, empty for a case file; `warnings` receives what the reader and `check` had to say.
struct LoadedGrid {
  Grid grid;
  std::optional<h5::Input> file;
  std::vector<std::string> warnings;
  std::string name;  ///< of the file, for messages
};
LoadedGrid load_grid(const std::string& path);

/// Results of scenarios, one after another: /result.
struct ResultHeader {
  std::vector<std::int8_t> status;
  std::vector<std::int32_t> iterations;
  std::vector<double> max_mismatch, relative, mean_square;
  std::vector<std::uint8_t> path;
  std::vector<double> slack_mw, loss_mw, lost_load_mw;
};
void write_header(h5::Output& file, const ResultHeader& header);

/// Which of the large outputs are written.
struct Outputs {
  bool voltages = true, flows = true, generators = true;
};
/// Creates the datasets of `scenarios` rows; `write_flows` fills one row.
void create_flows(h5::Output& file, std::size_t scenarios, const Grid& grid, const Outputs& outputs);
void write_flows(h5::Output& file, std::size_t scenario, const Flows& flows, const Outputs& outputs);

/// bus.csv, branch.csv and gen.csv in a folder: the columns of /grid under the same names, and the results of one
/// scenario if there are any.
Grid read_csv(const std::string& folder);
void write_csv(const std::string& folder, bool force, const Grid& grid, const Flows* result);

/// One scenario of /result.
Flows read_flows(const h5::Node& file, std::size_t scenario, const Grid& grid);

}  // namespace fachwerk::dpf
