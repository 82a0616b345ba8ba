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
#include "profile.hpp"
#include "scenarios.hpp"

/// The HDF5 layouts of the kinds power-case and power-flow, and the tables in text that dpf-import knows.
namespace fachwerk::dpf {

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

/// Which of the large outputs are written.
struct Outputs {
  bool voltages = true, flows = true, generators = true, mismatches = false;
};
/// Creates the datasets of `scenarios` rows; `write_flows` fills those from `first` on. Compressed or not.
void create_flows(h5::Output& file, std::size_t scenarios, const Grid& grid, const Outputs& outputs,
                  bool compressed = true);
void write_flows(h5::Output& file, std::size_t first, const std::vector<const Flows*>& flows, const Outputs& outputs);

/// The scenarios of a run: dense tables of /scenarios, read a block at a time, or changes (the sparse form of
/// /scenarios, /changes, or a MATPOWER file).
class ScenarioSource {
 public:
  /// From `path`, an HDF5 file with /scenarios or /changes, a MATPOWER change table (.m), or a profile (.csv).
  static ScenarioSource open(const std::string& path, const Grid& grid, const std::string& area);
  /// From an input that is already open; nothing if it has neither group.
  static std::optional<ScenarioSource> in(const h5::Node& file, const Grid& grid, const std::string& area);

  std::size_t count() const { return count_; }
  std::span<const double> time() const { return time_; }  ///< s, of every scenario; empty where the file has none
  const ChangeTable* changes() const { return changes_ ? &*changes_ : nullptr; }
  /// Reads scenarios [first, first + count) into memory; `point` may be called for them, from any thread.
  void load(std::size_t first, std::size_t count);
  void point(std::size_t s, OperatingPoint& point) const;
  /// Does scenario `s` switch or alter branches, or switch generators? Then its grid must be built anew.
  bool changes_topology(std::size_t s) const;
  /// The whole grid of a scenario, topology included; nothing where a number of it is NaN or infinite.
  std::optional<Grid> grid(std::size_t s) const;
  /// Copies time and labels to an output's /result.
  void write_labels(h5::Output& file) const;

 private:
  struct Column {
    std::string path;
    std::vector<int> rows;  ///< of the grid's table
    std::vector<double> OperatingPoint::*target;
    std::vector<double> values;  ///< the block in memory
  };
  void find_columns(const Grid& grid);
  bool branch_on(std::size_t s, std::size_t branch) const;
  const h5::Node& file() const { return owned_ ? *owned_ : *file_; }

  const Grid* grid_ = nullptr;
  std::optional<h5::Input> owned_;
  const h5::Node* file_ = nullptr;  ///< of dense scenarios, where the caller owns it
  std::optional<ChangeTable> changes_;
  std::optional<Profile> profile_;
  std::vector<Column> columns_;
  std::size_t status_bytes_ = 0;      ///< of a scenario's branch_status, 0: there is none
  std::vector<std::uint8_t> status_;  ///< the block in memory
  std::vector<double> time_;
  std::size_t count_ = 0, first_ = 0;
};

/// Writes dense /scenarios of `count` rows: loads of the buses that have one, and generator outputs.
void create_scenarios(h5::Output& file, const Grid& grid, const std::vector<double>& time, std::size_t count);
void write_scenarios(h5::Output& file, const Grid& grid, std::size_t first, const std::vector<OperatingPoint>& points);

/// bus.csv, branch.csv and gen.csv in a folder: the columns of /grid under the same names, and the results of one
/// scenario if there are any.
Grid read_csv(const std::string& folder);
void write_csv(const std::string& folder, bool force, const Grid& grid, const Flows* result);

/// One scenario of /result.
Flows read_flows(const h5::Node& file, std::size_t scenario, const Grid& grid);

}  // namespace fachwerk::dpf
