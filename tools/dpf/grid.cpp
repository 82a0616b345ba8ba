#include "grid.hpp"

#include <cmath>
#include <string_view>

#include "cli/error.hpp"

namespace fachwerk::dpf {
namespace {

void column(std::string_view table, std::string_view name, const std::vector<double>& values, std::size_t rows,
            bool (*good)(double), std::string_view expected) {
  if (values.size() != rows) throw bad_input("{}.{}: expected {} rows, found {}", table, name, rows, values.size());
  for (std::size_t i = 0; i < rows; ++i)
    if (!good(values[i]))
      throw bad_input("{} row {}: {} must be {}, found {}", table, i + 1, name, expected, values[i]);
}
void finite_column(std::string_view table, std::string_view name, const std::vector<double>& values, std::size_t rows) {
  column(
      table, name, values, rows, [](double x) { return std::isfinite(x); }, "a finite number");
}
// Limits may be infinite ("none"), but not NaN.
void limit_column(std::string_view table, std::string_view name, const std::vector<double>& values, std::size_t rows) {
  column(
      table, name, values, rows, [](double x) { return !std::isnan(x); }, "a number");
}

void check_buses(const Buses& bus) {
  const std::size_t n = bus.size();
  if (n == 0) throw bad_input("bus: the table is empty");
  finite_column("bus", "pd", bus.pd, n);
  finite_column("bus", "qd", bus.qd, n);
  finite_column("bus", "gs", bus.gs, n);
  finite_column("bus", "bs", bus.bs, n);
  finite_column("bus", "base_kv", bus.base_kv, n);
  limit_column("bus", "vmax", bus.vmax, n);
  limit_column("bus", "vmin", bus.vmin, n);
  if (bus.type.size() != n) throw bad_input("bus.type: expected {} rows, found {}", n, bus.type.size());
  // A dead bus is written with voltage NaN; a live one must have a start.
  for (std::size_t i = 0; i < n; ++i) {
    if (bus.type[i] < 1 || bus.type[i] > 4)
      throw bad_input("bus row {} (bus {}): type must be 1, 2, 3 or 4, found {}", i + 1, bus.id[i], bus.type[i]);
    if (std::isinf(bus.vm[i]) || std::isinf(bus.va[i]) || bus.vm[i] < 0)
      throw bad_input("bus row {} (bus {}): voltage must be finite, found {} pu, {} deg", i + 1, bus.id[i], bus.vm[i],
                      bus.va[i]);
  }
}

void check_generators(const Generators& gen, const std::map<std::int64_t, int>& rows,
                      std::vector<std::string>& warnings) {
  const std::size_t n = gen.size();
  finite_column("gen", "pg", gen.pg, n);
  finite_column("gen", "vg", gen.vg, n);
  limit_column("gen", "qmax", gen.qmax, n);
  limit_column("gen", "qmin", gen.qmin, n);
  limit_column("gen", "pmax", gen.pmax, n);
  limit_column("gen", "pmin", gen.pmin, n);
  std::map<std::int64_t, double> set_point;
  std::size_t differing = 0, unusual = 0;
  std::int64_t first_differing = 0, first_unusual = 0;
  for (std::size_t g = 0; g < n; ++g) {
    if (!rows.contains(gen.bus[g])) throw bad_input("gen row {}: there is no bus {}", g + 1, gen.bus[g]);
    if (gen.status[g] <= 0) continue;
    if (!std::isfinite(gen.qg[g]))
      throw bad_input("gen row {}: qg must be a finite number, found {}", g + 1, gen.qg[g]);
    if (gen.vg[g] <= 0)
      throw bad_input("gen row {} (bus {}): voltage set-point must be positive, found {}", g + 1, gen.bus[g],
                      gen.vg[g]);
    if ((gen.vg[g] < 0.5 || gen.vg[g] > 1.5) && unusual++ == 0) first_unusual = gen.bus[g];
    const auto [entry, added] = set_point.try_emplace(gen.bus[g], gen.vg[g]);
    if (!added && std::abs(entry->second - gen.vg[g]) > 1e-6 && differing++ == 0) first_differing = gen.bus[g];
  }
  if (unusual > 0)
    warnings.push_back(
        fmt::format("{} voltage set-points are outside 0.5..1.5 pu, the first at bus {}", unusual, first_unusual));
  if (differing > 0)
    warnings.push_back(
        fmt::format("generators of one bus have different voltage set-points {} times, first at bus {}: the last "
                    "in-service row counts",
                    differing, first_differing));
}

void check_branches(const Branches& branch, const std::map<std::int64_t, int>& rows,
                    std::vector<std::string>& warnings) {
  const std::size_t m = branch.size();
  finite_column("branch", "r", branch.r, m);
  finite_column("branch", "x", branch.x, m);
  finite_column("branch", "b", branch.b, m);
  finite_column("branch", "tap", branch.tap, m);
  finite_column("branch", "shift", branch.shift, m);
  limit_column("branch", "rate_a", branch.rate_a, m);
  std::size_t negative = 0, first = 0;
  for (std::size_t k = 0; k < m; ++k) {
    for (const std::int64_t end : {branch.from[k], branch.to[k]})
      if (!rows.contains(end)) throw bad_input("branch row {}: there is no bus {}", k + 1, end);
    if (branch.status[k] > 0 && branch.from[k] == branch.to[k])
      throw bad_input("branch row {}: both ends are bus {}", k + 1, branch.from[k]);
    if (branch.tap[k] < 0) throw bad_input("branch row {}: tap must not be negative, found {}", k + 1, branch.tap[k]);
    if (branch.status[k] > 0 && (branch.r[k] < 0 || branch.x[k] < 0) && negative++ == 0) first = k + 1;
  }
  if (negative > 0)
    warnings.push_back(
        fmt::format("{} branches have negative r or x (an equivalent?), the first in row {}", negative, first));
}

}  // namespace

std::map<std::int64_t, int> bus_rows(const Grid& grid) {
  std::map<std::int64_t, int> rows;
  for (std::size_t i = 0; i < grid.bus.size(); ++i)
    if (const auto [entry, added] = rows.try_emplace(grid.bus.id[i], static_cast<int>(i)); !added)
      throw bad_input("bus row {}: bus {} is already in row {}", i + 1, grid.bus.id[i], entry->second + 1);
  return rows;
}

std::vector<std::string> check(const Grid& grid) {
  std::vector<std::string> warnings;
  if (!(grid.base_mva > 0) || !std::isfinite(grid.base_mva))
    throw bad_input("baseMVA must be positive, found {}", grid.base_mva);
  const auto rows = bus_rows(grid);
  check_buses(grid.bus);
  check_generators(grid.gen, rows, warnings);
  check_branches(grid.branch, rows, warnings);
  return warnings;
}

Grid rebased(Grid grid, double base_mva) {
  const double ratio = base_mva / grid.base_mva;
  for (double& r : grid.branch.r)
    r *= ratio;
  for (double& x : grid.branch.x)
    x *= ratio;
  for (double& b : grid.branch.b)
    b /= ratio;
  for (auto& ends : grid.branch.end_y)
    for (Complex& y : ends)
      y /= ratio;
  grid.base_mva = base_mva;
  return grid;
}

}  // namespace fachwerk::dpf
