#include "grid_edit.hpp"

#include <algorithm>
#include <cmath>

#include "cli/error.hpp"
#include "grid_builder.hpp"
#include "network.hpp"

namespace fachwerk::dpf {
namespace {

template <class Use>
void each_zero_impedance(const Grid& grid, const Use& use) {
  const auto rows = bus_rows(grid);
  const auto usable = [&](std::int64_t id) {
    const auto row = rows.find(id);
    return row != rows.end() && grid.bus.type[row->second] != 4;
  };
  for (std::size_t k = 0; k < grid.branch.size(); ++k)
    if (grid.branch.status[k] > 0 && grid.branch.r[k] == 0 && grid.branch.x[k] == 0 && usable(grid.branch.from[k]) &&
        usable(grid.branch.to[k]))
      use(k, rows.at(grid.branch.from[k]), rows.at(grid.branch.to[k]));
}

}  // namespace

void refuse_zero_impedance(const Grid& grid) {
  each_zero_impedance(grid, [&](std::size_t k, int, int) {
    throw bad_input("branch row {} ({}-{}): r and x are both 0", k + 1, grid.branch.from[k], grid.branch.to[k])
        .with_hint("--zero-impedance merge fuses its two buses");
  });
}

void merge_zero_impedance(Grid& grid) {
  std::vector<std::pair<int, int>> pairs;
  each_zero_impedance(grid, [&](std::size_t, int from, int to) { pairs.emplace_back(from, to); });
  fuse_buses(grid, pairs);
}

void raise_zero_impedance(Grid& grid, double reactance) {
  std::vector<std::size_t> found;
  each_zero_impedance(grid, [&](std::size_t k, int, int) { found.push_back(k); });
  for (const std::size_t k : found)
    grid.branch.x[k] = reactance;
}

std::vector<std::string> set_references(Grid& grid, bool first) {
  const Network network = build_network(grid, {.first_reference = first, .merge_zero_impedance = true});
  const auto rows = bus_rows(grid);
  std::vector<char> referenced(static_cast<std::size_t>(network.nodes()), 0);
  for (std::size_t g = 0; g < grid.gen.size(); ++g)
    if (const int k = network.node_of_gen[g]; k >= 0 && grid.bus.type[rows.at(grid.gen.bus[g])] == 3) referenced[k] = 1;
  for (std::size_t g = 0; g < grid.gen.size(); ++g) {
    const int k = network.node_of_gen[g];
    if (k < 0 || network.type[k] != NodeType::reference || referenced[k]) continue;
    referenced[k] = 1;
    grid.bus.type[rows.at(grid.gen.bus[g])] = 3;
  }
  return network.warnings;
}

void dc_lines_to_generators(Grid& grid) {
  const auto found = grid.tables.find("dcline");
  if (found == grid.tables.end()) return;
  const Table lines = std::move(found->second);
  grid.tables.erase(found);
  if (lines.columns < 15) throw bad_input("dcline: expected at least 15 columns, found {}", lines.columns);
  const auto rows = bus_rows(grid);
  GridBuilder build(grid);
  for (std::size_t i = 0; i < lines.rows; ++i) {
    const auto at = [&](std::size_t column) {  // numbered from 1 as in MATPOWER's idx_dcline
      return column <= lines.columns ? lines.values[i * lines.columns + column - 1] : 0.0;
    };
    const double sent = at(4), received = sent - (at(16) + at(17) * sent);
    const double least = at(10), most = at(11);
    for (const bool from : {true, false}) {
      const auto bus = static_cast<std::int64_t>(at(from ? 1 : 2));
      const auto row = rows.find(bus);
      if (row == rows.end()) throw bad_input("dcline row {}: there is no bus {}", i + 1, at(from ? 1 : 2));
      const double to_least = least - (at(16) + at(17) * least), to_most = most - (at(16) + at(17) * most);
      build.add(GeneratorRow{.bus = bus,
                             .pg = from ? -sent : received,
                             .qg = at(from ? 6 : 7),
                             .vg = at(from ? 8 : 9),
                             .on = at(3) > 0,
                             .qmax = at(from ? 13 : 15),
                             .qmin = at(from ? 12 : 14),
                             .pmax = from ? -least : to_most,
                             .pmin = from ? -most : to_least,
                             .mbase = grid.base_mva});
      if (at(3) > 0 && grid.bus.type[row->second] == 1) grid.bus.type[row->second] = 2;
    }
  }
}

std::vector<std::string> suspicious_units(const Grid& grid) {
  std::vector<std::string> out;
  const double base = grid.base_mva;
  double load = 0, generation = 0;
  for (const double pd : grid.bus.pd)
    load += std::max(pd, 0.0);
  bool limited = true;
  const auto rows = bus_rows(grid);
  std::vector<double> reach(grid.bus.size(), 0.0);  // sum of series admittances at the bus, pu
  for (std::size_t k = 0; k < grid.branch.size(); ++k)
    if (grid.branch.status[k] > 0) {
      const double z = std::hypot(grid.branch.r[k], grid.branch.x[k]);
      for (const std::int64_t end : {grid.branch.from[k], grid.branch.to[k]})
        if (const auto row = rows.find(end); row != rows.end()) reach[row->second] += z > 0 ? 1 / z : INFINITY;
    }
  double sources = 0;
  std::vector<char> counted(grid.bus.size(), 0);
  for (std::size_t g = 0; g < grid.gen.size(); ++g)
    if (const auto row = rows.find(grid.gen.bus[g]); grid.gen.status[g] > 0 && row != rows.end()) {
      generation += std::max(grid.gen.pmax[g], 0.0);
      limited = limited && std::isfinite(grid.gen.pmax[g]) && grid.gen.pmax[g] > 0;
      if (!std::exchange(counted[row->second], 1))
        sources += reach[row->second] + std::max(grid.bus.pd[row->second], 0.0) / base;
    }
  if (limited && generation > 0 && load > 10 * generation)
    out.push_back(
        fmt::format("loads of {:.6g} MW exceed all generation ({:.6g} MW) tenfold: are they in kW?", load, generation));
  // From 1 pu behind |z| no more than 1/(2 |z| (1 + cos)) reaches a load, about half of 1/|z|.
  if (load / base > sources / 2)
    out.push_back(
        fmt::format("the branches at the generators carry {:.6g} MW at most, loads are {:.6g} MW: are impedances in "
                    "ohm or loads in kW?",
                    sources / 2 * base, load));
  std::size_t starved = 0;
  for (std::size_t i = 0; i < reach.size(); ++i)
    starved += !counted[i] && grid.bus.type[i] != 4 && grid.bus.pd[i] / base > reach[i] / 2;
  if (starved > 0)
    out.push_back(fmt::format(
        "{} buses have loads that their branches cannot carry: are impedances in ohm or loads in kW?", starved));
  if (std::ranges::any_of(grid.bus.vm, [](double v) { return v > 3; }))
    out.push_back("voltages exceed 3 pu: are they in kV?");
  if (std::ranges::any_of(grid.bus.base_kv, [](double v) { return v > 2000; }))
    out.push_back("base voltages exceed 2000 kV: are they in V?");
  return out;
}

std::vector<std::string> simplify(Grid& grid) {
  std::vector<std::string> out;
  const auto rows = bus_rows(grid);
  for (std::size_t k = 0; k < grid.branch.end_y.size(); ++k) {
    if (grid.branch.status[k] <= 0) continue;
    const double tap = grid.branch.tap[k] == 0 ? 1 : grid.branch.tap[k];
    const auto add = [&](std::int64_t id, Complex mva) {
      grid.bus.gs[rows.at(id)] += mva.real();
      grid.bus.bs[rows.at(id)] += mva.imag();
    };
    add(grid.branch.from[k], grid.branch.end_y[k][0] / (tap * tap) * grid.base_mva);
    add(grid.branch.to[k], grid.branch.end_y[k][1] * grid.base_mva);
  }
  grid.branch.end_y.clear();
  const auto dependent =
      std::ranges::count_if(grid.bus.zip, [](const auto& share) { return share[0] != 1 || share[3] != 1; });
  if (dependent > 0)
    out.push_back(
        fmt::format("{} voltage-dependent loads become constant powers: the format has no others", dependent));
  grid.bus.zip.clear();
  return out;
}

bool renumber(Grid& grid, std::int64_t largest) {
  auto& ids = grid.bus.id;
  if (ids.empty()) return false;
  const auto [least, most] = std::ranges::minmax(ids);
  if (least > 0 && most <= largest) return false;
  if (static_cast<std::int64_t>(ids.size()) > largest)
    throw bad_input("bus: {} buses, the format has numbers up to {}", ids.size(), largest);
  const bool shift = least > -largest && most - least < largest;  // keeps the order of numbers
  std::map<std::int64_t, std::int64_t> number;
  for (std::size_t i = 0; i < ids.size(); ++i)
    number[ids[i]] = shift ? ids[i] - least + 1 : static_cast<std::int64_t>(i) + 1;
  for (auto* column : {&ids, &grid.gen.bus, &grid.branch.from, &grid.branch.to})
    for (std::int64_t& id : *column)
      if (const auto found = number.find(id); found != number.end()) id = found->second;
  grid.tables.erase("fused");
  return true;
}

}  // namespace fachwerk::dpf
