#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/error.hpp"
#include "flows.hpp"
#include "grid.hpp"
#include "io/hdf5.hpp"
#include "newton.hpp"

/// The HDF5 layouts of the kinds power-case and power-flow.
namespace fachwerk::dpf {

/// Of a column: its units, its meaning and the name of its one axis.
h5::Describe column(const char* units, const char* meaning, const char* axis);

/// /grid of a file of kind power-case or power-flow, checked.
Grid read_grid(const h5::Node& file);
void write_grid(h5::Output& file, const Grid& grid);

/// Does the file begin as HDF5 does? False for what cannot be read.
bool is_hdf5(const std::string& path);

/// A grid from an HDF5 file of kind power-case or power-flow, or straight from a foreign file or folder that dpf-import
/// knows. `file` is the open HDF5 input, empty for foreign ones; `warnings` receives what the reader and `check` had to
/// say.
struct LoadedGrid {
  Grid grid;
  std::optional<h5::Input> file;
  std::vector<std::string> warnings;
  std::string name;  ///< of the file, for messages
};
LoadedGrid load_grid(const std::string& path);

/// What `action` returns; bad input that it finds is told with the file's name before it.
template <class Action>
auto about(const std::string& file, const Action& action) {
  try {
    return action();
  } catch (const Error& error) {
    if (error.code() != Exit::bad_input) throw;
    throw Error(error.code(), file + ": " + error.what(), error.hint());
  }
}

/// Results of scenarios, one after another: /result.
struct ResultHeader {
  std::vector<std::int8_t> status;
  std::vector<std::int32_t> iterations;
  std::vector<double> max_mismatch, relative, mean_square;
  std::vector<std::uint8_t> path, check;
  std::vector<double> slack_mw, loss_mw, lost_load_mw;
};
void write_header(h5::Output& file, const ResultHeader& header);

/// Scenarios in a chunk of a dataset of `width` numbers each: about 64 KiB, whole scenarios so that one of them is read
/// cheaply, a power of two so that blocks of scenarios need not cut through chunks.
std::size_t scenario_rows(std::size_t width);
h5::Shape scenario_chunk(std::size_t scenarios, std::size_t width);

/// Which of the large outputs are written.
struct Outputs {
  bool voltages = true, flows = true, generators = true, mismatches = false;
};
/// Creates the datasets of `scenarios` rows; `write_flows` fills those from `first` on. Compressed or not.
void create_flows(h5::Output& file, std::size_t scenarios, const Grid& grid, const Outputs& outputs,
                  bool compressed = true);
void write_flows(h5::Output& file, std::size_t first, const std::vector<const Flows*>& flows, const Outputs& outputs);

/// One scenario of /result.
Flows read_flows(const h5::Node& file, std::size_t scenario, const Grid& grid);

}  // namespace fachwerk::dpf
