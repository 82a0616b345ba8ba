#pragma once

#include <optional>
#include <string>
#include <vector>

#include "batch.hpp"
#include "matpower.hpp"

/// Scenarios of a grid: what each of them changes in loads, generators and topology.
namespace fachwerk::dpf {

/// The quantities of a grid that a scenario may change, by file row and in file units.
struct OperatingPoint {
  std::vector<double> pd, qd, pg, vg;
  explicit OperatingPoint(const Grid& grid) : pd(grid.bus.pd), qd(grid.bus.qd), pg(grid.gen.pg), vg(grid.gen.vg) {}
  /// Is every number of it one?
  bool finite() const;
};

/// Does the point change a load that depends on the voltage? Its parts follow pd and qd, which a batch cannot.
bool changes_dependence(const Grid& grid, const OperatingPoint& point);

/// Node injections and set-points of an operating point, and voltage-dependent loads where `out` has them. Throws bad
/// input where it has none and the point changes such a load.
void specify(const Grid& grid, const Network& network, const OperatingPoint& point, const Specified& out);

/// The grid with that operating point put in.
Grid with_point(Grid grid, const OperatingPoint& point);

/// Scales the active outputs of generators in service so that they change with the total load.
void scale_generation(const Grid& grid, OperatingPoint& point);

/// Changes grouped by scenario: a MATPOWER change table, or the sparse form of /scenarios.
class ChangeTable {
 public:
  /// `area`: the bus column that area numbers of the table mean, "area", "zone", or "auto": area unless a number of the
  /// table occurs in zone alone. Throws bad input for a change that is not understood or a row outside its table.
  ChangeTable(const Grid& grid, const std::vector<Change>& changes, const std::string& area = "auto");
  /// Changes start[s] to start[s + 1] make scenario s, whose label is s + 1.
  ChangeTable(const Grid& grid, std::vector<Change> changes, std::vector<std::size_t> start, const std::string& area);

  std::size_t count() const { return labels_.size(); }
  const std::vector<std::int64_t>& labels() const { return labels_; }
  bool uses_zone() const { return by_zone_; }
  /// Does scenario `s` switch or alter branches, or switch generators? Then its grid must be built anew.
  bool changes_topology(std::size_t s) const;
  /// Are all numbers of scenario `s` finite?
  bool finite(std::size_t s) const;
  void apply(std::size_t s, const Grid& grid, OperatingPoint& point) const;
  /// The whole grid of a scenario, topology included.
  Grid apply(std::size_t s, const Grid& grid) const;
  const std::vector<Change>& changes() const { return changes_; }
  std::pair<std::size_t, std::size_t> range(std::size_t s) const { return {start_[s], start_[s + 1]}; }

 private:
  void check(const Grid& grid, const std::string& area);

  std::vector<Change> changes_;  ///< by scenario
  std::vector<std::size_t> start_;
  std::vector<std::int64_t> labels_;
  std::map<int, std::vector<int>> rows_of_area_;
  bool by_zone_ = false;
};

}  // namespace fachwerk::dpf
