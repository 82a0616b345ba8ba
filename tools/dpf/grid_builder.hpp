#pragma once

#include <limits>
#include <unordered_map>
#include <utility>

#include "grid.hpp"

/// Rows of a grid as the readers of foreign formats find them, one after another.
namespace fachwerk::dpf {

struct BusRow {
  std::int64_t id = 0;
  std::string name = {};
  double base_kv = 0;
  std::int8_t type = 1;
  double vm = 1, va = 0, vmax = 1.1, vmin = 0.9;
  std::int32_t area = 1, zone = 1;
};

struct GeneratorRow {
  std::int64_t bus = 0;
  double pg = 0, qg = 0, vg = 1;
  bool on = true;
  double qmax = std::numeric_limits<double>::infinity(), qmin = -qmax, pmax = qmax, pmin = -qmax;
  double mbase = 100, apf = 0;
};

struct BranchRow {
  std::int64_t from = 0, to = 0;
  Complex z;     ///< series impedance, pu
  double b = 0;  ///< total charging, pu
  double tap = 0, shift = 0;
  bool on = true;
  Complex end_from = 0, end_to = 0;  ///< admittance to ground at the ends besides b/2, inside the tap, pu
  std::array<double, 3> rates = {0, 0, 0};
};

/// A load at 1 pu by kind: of constant power, constant current, constant admittance; MW and MVAr consumed.
struct LoadParts {
  std::array<double, 3> p = {}, q = {};
};

/// The parts of the load of a bus, and back. Where the parts cancel no shares exist: the admittance becomes a shunt
/// then. Throws bad input where the rest has no sum either.
LoadParts load_parts(const Buses& bus, std::size_t row);
void put_load_parts(Buses& bus, std::size_t row, LoadParts parts);

/// Makes one bus of the two rows of each pair: loads and shunts add up, the strongest type with a generator in service
/// and its voltage stay, branches between fused buses become shunts (their charging) or vanish. The row of the first
/// bus stays; `grid.tables["fused"]` has the number of each bus that went and of the one that stands for it.
void fuse_buses(Grid& grid, const std::vector<std::pair<int, int>>& pairs);

class GridBuilder {
 public:
  explicit GridBuilder(Grid& grid) : grid_(grid) {}

  void add(const BusRow& bus);
  void add(const GeneratorRow& generator);
  void add(const BranchRow& branch);
  /// Adds to what the bus consumes.
  void add_load(std::size_t row, const LoadParts& parts);
  void add_shunt(std::size_t row, Complex mva);  ///< gs + j bs: MW consumed and MVAr injected at 1 pu
  void fuse(std::size_t row, std::size_t other) { fused_.emplace_back(static_cast<int>(row), static_cast<int>(other)); }

  /// Row of a bus number, -1 if there is none.
  std::ptrdiff_t find(std::int64_t id) const {
    const auto found = row_.find(id);
    return found == row_.end() ? -1 : static_cast<std::ptrdiff_t>(found->second);
  }
  /// A new bus (star point, open end, ...) under the next free number, with base voltage, area, zone, voltage and
  /// limits of an existing row. Returns its number.
  std::int64_t extra_bus(std::string name, std::size_t like);

  /// Puts the loads into the grid, fuses, and drops columns that say nothing.
  void finish();

 private:
  Grid& grid_;
  std::unordered_map<std::int64_t, std::size_t> row_;
  std::unordered_map<std::size_t, LoadParts> loads_;
  std::vector<std::pair<int, int>> fused_;
  std::int64_t next_ = 0;
};

}  // namespace fachwerk::dpf
