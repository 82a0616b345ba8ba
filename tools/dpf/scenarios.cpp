#include "scenarios.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cli/error.hpp"

namespace fachwerk::dpf {
namespace {

// MATPOWER's idx_ct.
enum Target { bus_table = 1, gen_table = 2, branch_table = 3, load_table = 7, area_load_table = 8 };
enum Kind { replace = 1, scale = 2, add = 3 };

double changed(double value, const Change& change) {
  switch (change.type) {
    case replace:
      return change.value;
    case scale:
      return value * change.value;
    default:
      return value + change.value;
  }
}

// A column of one of the tables that may be changed, or null.
std::vector<double>* bus_column(OperatingPoint& point, int column) {
  return column == 3 ? &point.pd : column == 4 ? &point.qd : nullptr;
}
std::vector<double>* gen_column(OperatingPoint& point, int column) {
  return column == 2 ? &point.pg : column == 6 ? &point.vg : nullptr;
}

// The load of several buses: the total is replaced, scaled or raised, every bus by the same factor. Columns 1-3 of
// idx_ct change P and Q, 4-6 P alone.
void change_load(const std::vector<int>& rows, const Change& change, OperatingPoint& point) {
  double total = 0;
  for (const int i : rows)
    total += point.pd[i];
  const double factor = change.type == scale ? change.value : total == 0 ? 1 : changed(total, change) / total;
  for (const int i : rows) {
    point.pd[i] *= factor;
    if (change.column <= 3) point.qd[i] *= factor;
  }
}

std::vector<int> all_rows(std::size_t size) {
  std::vector<int> rows(size);
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

bool is_topology(const Change& change) {
  return change.table == branch_table || (change.table == gen_table && change.column != 2 && change.column != 6) ||
         (change.table == bus_table && change.column != 3 && change.column != 4);
}

}  // namespace

bool OperatingPoint::finite() const {
  double zero = 0;
  for (const auto* column : {&pd, &qd, &pg, &vg})
    for (const double x : *column)
      zero += x * 0;
  return zero == 0;
}

bool changes_dependence(const Grid& grid, const OperatingPoint& point) {
  for (std::size_t i = 0; i < grid.bus.zip.size(); ++i)
    if ((grid.bus.zip[i][0] != 1 && point.pd[i] != grid.bus.pd[i]) ||
        (grid.bus.zip[i][3] != 1 && point.qd[i] != grid.bus.qd[i]))
      return true;
  return false;
}

void specify(const Grid& grid, const Network& network, const OperatingPoint& point, const Specified& out) {
  if (out.zip.empty() && changes_dependence(grid, point))
    throw bad_input("bus.zip: scenarios that change voltage-dependent loads are solved one by one");
  std::ranges::fill(out.p, 0.0);
  std::ranges::fill(out.q, 0.0);
  std::ranges::fill(out.zip, VoltageDependence{});
  const double unit = 1 / grid.base_mva;
  for (std::size_t i = 0; i < grid.bus.size(); ++i)
    if (const int k = network.node_of_bus[i]; k >= 0) {
      const double pd = point.pd[i] * unit, qd = point.qd[i] * unit;
      out.p[k] -= network.zip.empty() ? pd : pd * grid.bus.zip[i][0];
      out.q[k] -= network.zip.empty() ? qd : qd * grid.bus.zip[i][3];
      if (!out.zip.empty()) add_dependence(grid.bus.zip[i], pd, qd, out.zip[k]);
    }
  for (std::size_t g = 0; g < grid.gen.size(); ++g)
    if (const int k = network.node_of_gen[g]; k >= 0) {
      out.p[k] += point.pg[g] * unit;
      out.q[k] += grid.gen.qg[g] * unit;
      if (network.sets_voltage[g]) out.set_point[k] = point.vg[g];
    }
}

Grid with_point(Grid grid, const OperatingPoint& point) {
  grid.bus.pd = point.pd;
  grid.bus.qd = point.qd;
  grid.gen.pg = point.pg;
  grid.gen.vg = point.vg;
  return grid;
}

void scale_generation(const Grid& grid, OperatingPoint& point) {
  const double before = std::accumulate(grid.bus.pd.begin(), grid.bus.pd.end(), 0.0);
  const double after = std::accumulate(point.pd.begin(), point.pd.end(), 0.0);
  if (before == 0) return;
  for (std::size_t g = 0; g < point.pg.size(); ++g)
    point.pg[g] = grid.gen.pg[g] * after / before;
}

ChangeTable::ChangeTable(const Grid& grid, const std::vector<Change>& changes, const std::string& area)
    : changes_(changes) {
  // Scenarios in the order in which their labels first occur.
  std::map<std::int64_t, std::size_t> number;
  for (const Change& change : changes_)
    if (number.try_emplace(change.label, labels_.size()).second) labels_.push_back(change.label);
  std::ranges::stable_sort(changes_, {}, [&](const Change& change) { return number.at(change.label); });
  start_.assign(labels_.size() + 1, 0);
  for (const Change& change : changes_)
    ++start_[number.at(change.label) + 1];
  std::partial_sum(start_.begin(), start_.end(), start_.begin());
  check(grid, area);
}

ChangeTable::ChangeTable(const Grid& grid, std::vector<Change> changes, std::vector<std::size_t> start,
                         const std::string& area)
    : changes_(std::move(changes)), start_(std::move(start)) {
  for (std::size_t s = 0; s + 1 < start_.size(); ++s) {
    labels_.push_back(static_cast<std::int64_t>(s) + 1);
    for (std::size_t k = start_[s]; k < start_[s + 1]; ++k)
      changes_[k].label = labels_[s];
  }
  check(grid, area);
}

void ChangeTable::check(const Grid& grid, const std::string& area) {
  const auto by = [&](const std::vector<std::int32_t>& column) {
    std::map<int, std::vector<int>> rows;
    for (std::size_t i = 0; i < column.size(); ++i)
      rows[column[i]].push_back(static_cast<int>(i));
    return rows;
  };
  rows_of_area_ = by(grid.bus.area);
  const auto known = [&] {
    return std::ranges::all_of(
        changes_, [&](const Change& c) { return c.table != area_load_table || rows_of_area_.contains(c.row); });
  };
  if (area == "zone" || (area == "auto" && !known())) {
    rows_of_area_ = by(grid.bus.zone);
    by_zone_ = true;
  }
  for (const Change& c : changes_) {
    const std::size_t size = c.table == bus_table || c.table == load_table ? grid.bus.size()
                             : c.table == gen_table                        ? grid.gen.size()
                             : c.table == branch_table                     ? grid.branch.size()
                                                                           : 0;
    if (c.table == area_load_table) {
      if (!rows_of_area_.contains(c.row))
        throw bad_input("change table, label {}: no bus is in {} {}", c.label, by_zone_ ? "zone" : "area", c.row);
    } else if (size == 0) {
      throw bad_input(
          "change table, label {}: table {} is not understood (1 bus, 2 gen, 3 branch, 7 load, 8 load of an area)",
          c.label, c.table);
    } else if (c.row < 0 || static_cast<std::size_t>(c.row) > size) {
      throw bad_input("change table, label {}: row {} is outside 1..{}", c.label, c.row, size);
    }
    if (c.type < replace || c.type > add)
      throw bad_input("change table, label {}: change type {} is not 1, 2 or 3", c.label, c.type);
    if ((c.table == load_table || c.table == area_load_table) &&
        (c.column < 1 || c.column > 6 || c.column == 3 || c.column == 6))
      throw bad_input(
          "change table, label {}: load column {} is not understood (dispatchable loads are generators here)", c.label,
          c.column);
  }
}

bool ChangeTable::changes_topology(std::size_t s) const {
  for (std::size_t k = start_[s]; k < start_[s + 1]; ++k)
    if (is_topology(changes_[k])) return true;
  return false;
}

bool ChangeTable::finite(std::size_t s) const {
  for (std::size_t k = start_[s]; k < start_[s + 1]; ++k)
    if (!std::isfinite(changes_[k].value)) return false;
  return true;
}

void ChangeTable::apply(std::size_t s, const Grid& grid, OperatingPoint& point) const {
  for (std::size_t k = start_[s]; k < start_[s + 1]; ++k) {
    const Change& c = changes_[k];
    if (is_topology(c)) continue;
    if (c.table == area_load_table) {
      change_load(rows_of_area_.at(c.row), c, point);
    } else if (c.table == load_table) {
      change_load(c.row == 0 ? all_rows(grid.bus.size()) : std::vector<int>{c.row - 1}, c, point);
    } else {
      std::vector<double>& column = *(c.table == bus_table ? bus_column(point, c.column) : gen_column(point, c.column));
      for (const int i : c.row == 0 ? all_rows(column.size()) : std::vector<int>{c.row - 1})
        column[i] = changed(column[i], c);
    }
  }
}

Grid ChangeTable::apply(std::size_t s, const Grid& grid) const {
  OperatingPoint point(grid);
  apply(s, grid, point);
  Grid out = with_point(grid, point);
  const auto put = [](auto& column, const Change& c) {
    using Value = std::remove_reference_t<decltype(column[0])>;
    if (c.row > 0)
      column[static_cast<std::size_t>(c.row) - 1] =
          static_cast<Value>(changed(static_cast<double>(column[static_cast<std::size_t>(c.row) - 1]), c));
    else
      for (auto& value : column)
        value = static_cast<Value>(changed(static_cast<double>(value), c));
  };
  for (std::size_t k = start_[s]; k < start_[s + 1]; ++k) {
    const Change& c = changes_[k];
    if (!is_topology(c)) continue;
    if (c.table == branch_table && c.column == 11)
      put(out.branch.status, c);
    else if (c.table == branch_table && c.column == 3)
      put(out.branch.r, c);
    else if (c.table == branch_table && c.column == 4)
      put(out.branch.x, c);
    else if (c.table == branch_table && c.column == 5)
      put(out.branch.b, c);
    else if (c.table == branch_table && c.column == 6)
      put(out.branch.rate_a, c);
    else if (c.table == branch_table && c.column == 9)
      put(out.branch.tap, c);
    else if (c.table == branch_table && c.column == 10)
      put(out.branch.shift, c);
    else if (c.table == gen_table && c.column == 8)
      put(out.gen.status, c);
    else if (c.table == gen_table && c.column == 3)
      put(out.gen.qg, c);
    else if (c.table == gen_table && c.column == 4)
      put(out.gen.qmax, c);
    else if (c.table == gen_table && c.column == 5)
      put(out.gen.qmin, c);
    else if (c.table == bus_table && c.column == 5)
      put(out.bus.gs, c);
    else if (c.table == bus_table && c.column == 6)
      put(out.bus.bs, c);
    else
      throw bad_input("change table, label {}: column {} of table {} is not understood", c.label, c.column, c.table);
  }
  return out;
}

}  // namespace fachwerk::dpf
