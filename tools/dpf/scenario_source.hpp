#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "grid.hpp"
#include "io/hdf5.hpp"
#include "profile.hpp"
#include "scenarios.hpp"

/// Scenarios in files, read a block at a time, and written.
namespace fachwerk::dpf {

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

}  // namespace fachwerk::dpf
