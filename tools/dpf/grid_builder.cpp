#include "grid_builder.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cli/error.hpp"
#include "network.hpp"

namespace fachwerk::dpf {
namespace {

constexpr std::array<double, 6> constant_power = {1, 0, 0, 1, 0, 0};

double sum(const std::array<double, 3>& parts) {
  return parts[0] + parts[1] + parts[2];
}

// Do the parts cancel, so that shares of their sum would be noise?
bool cancel(const std::array<double, 3>& parts) {
  return std::abs(sum(parts)) <= 1e-9 * (std::abs(parts[0]) + std::abs(parts[1]) + std::abs(parts[2]));
}

bool voltage_dependent(const LoadParts& load) {
  return load.p[1] != 0 || load.p[2] != 0 || load.q[1] != 0 || load.q[2] != 0;
}

template <class Values, class Keep>
void keep_rows(Values& values, const Keep& keep) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!keep(i)) continue;
    if (kept != i) values[kept] = std::move(values[i]);
    ++kept;
  }
  values.resize(kept);
}

}  // namespace

LoadParts load_parts(const Buses& bus, std::size_t row) {
  const auto& share = bus.zip.empty() ? constant_power : bus.zip[row];
  LoadParts out;
  for (std::size_t k = 0; k < 3; ++k) {
    out.p[k] = bus.pd[row] * share[k];
    out.q[k] = bus.qd[row] * share[3 + k];
  }
  return out;
}

void put_load_parts(Buses& bus, std::size_t row, LoadParts load) {
  if (bus.zip.empty() && voltage_dependent(load)) bus.zip.assign(bus.size(), constant_power);
  const auto put = [&](std::array<double, 3>& parts, double& total, double& shunt, double sign, std::size_t offset) {
    if (cancel(parts)) {
      shunt += sign * parts[2];
      parts[2] = 0;
    }
    total = sum(parts);
    if (cancel(parts) && parts[1] != 0)
      throw bad_input("bus {}: loads of constant power and constant current cancel: there are no shares of nothing",
                      bus.id[row]);
    for (std::size_t k = 0; !bus.zip.empty() && k < 3; ++k)
      bus.zip[row][offset + k] = total == 0 ? (k == 0 ? 1.0 : 0.0) : parts[k] / total;
  };
  put(load.p, bus.pd[row], bus.gs[row], 1, 0);
  put(load.q, bus.qd[row], bus.bs[row], -1, 3);
}

void fuse_buses(Grid& grid, const std::vector<std::pair<int, int>>& pairs) {
  if (pairs.empty()) return;
  Buses& bus = grid.bus;
  const auto rows = bus_rows(grid);
  const std::vector<int> component = components(static_cast<int>(bus.size()), pairs);
  std::vector<int> first(bus.size(), -1), stands(bus.size());
  for (std::size_t i = 0; i < bus.size(); ++i) {
    int& row = first[component[i]];
    if (row < 0) row = static_cast<int>(i);
    stands[i] = row;
  }
  std::vector<char> controlled(bus.size(), 0);
  for (std::size_t g = 0; g < grid.gen.size(); ++g)
    if (const auto row = rows.find(grid.gen.bus[g]); row != rows.end()) {
      if (grid.gen.status[g] > 0) controlled[row->second] = 1;
      grid.gen.bus[g] = bus.id[stands[row->second]];
    }
  Table& table = grid.tables["fused"];
  table.columns = 2;
  for (std::size_t i = 0; i < bus.size(); ++i) {
    const auto k = static_cast<std::size_t>(stands[i]);
    if (k == i) {
      if (!controlled[i] && bus.type[i] != 4) bus.type[i] = 1;
      continue;
    }
    table.values.insert(table.values.end(), {static_cast<double>(bus.id[i]), static_cast<double>(bus.id[k])});
    ++table.rows;
    LoadParts load = load_parts(bus, k);
    const LoadParts other = load_parts(bus, i);
    for (std::size_t part = 0; part < 3; ++part) {
      load.p[part] += other.p[part];
      load.q[part] += other.q[part];
    }
    put_load_parts(bus, k, load);
    bus.gs[k] += bus.gs[i];
    bus.bs[k] += bus.bs[i];
    if (controlled[i] && bus.type[i] != 4 && bus.type[i] > bus.type[k]) {
      bus.type[k] = bus.type[i];
      bus.vm[k] = bus.vm[i];
      bus.va[k] = bus.va[i];
    }
  }
  Branches& branch = grid.branch;
  std::vector<char> loop(branch.size(), 0);
  for (std::size_t b = 0; b < branch.size(); ++b) {
    const auto from = rows.find(branch.from[b]), to = rows.find(branch.to[b]);
    if (from == rows.end() || to == rows.end()) continue;  // `check` names it
    const int i = stands[from->second], j = stands[to->second];
    branch.from[b] = bus.id[i];
    branch.to[b] = bus.id[j];
    loop[b] = i == j;
    if (!loop[b] || branch.status[b] <= 0) continue;
    const Complex y = closed_branch_admittance(branch, b) * grid.base_mva;
    bus.gs[i] += y.real();
    bus.bs[i] += y.imag();
  }
  const auto straight = [&](std::size_t b) { return !loop[b]; };
  for (auto* column :
       {&branch.r, &branch.x, &branch.b, &branch.rate_a, &branch.rate_b, &branch.rate_c, &branch.tap, &branch.shift})
    keep_rows(*column, straight);
  keep_rows(branch.from, straight);
  keep_rows(branch.to, straight);
  keep_rows(branch.status, straight);
  keep_rows(branch.end_y, straight);
  const auto stays = [&](std::size_t i) { return stands[i] == static_cast<int>(i); };
  for (auto* column : {&bus.pd, &bus.qd, &bus.gs, &bus.bs, &bus.vm, &bus.va, &bus.base_kv, &bus.vmax, &bus.vmin})
    keep_rows(*column, stays);
  keep_rows(bus.type, stays);
  keep_rows(bus.area, stays);
  keep_rows(bus.zone, stays);
  keep_rows(bus.name, stays);
  keep_rows(bus.zip, stays);
  keep_rows(bus.id, stays);
}

void GridBuilder::add(const BusRow& row) {
  Buses& b = grid_.bus;
  row_.try_emplace(row.id, b.size());
  if (row.id < std::numeric_limits<std::int64_t>::max()) next_ = std::max(next_, row.id + 1);
  b.id.push_back(row.id);
  b.name.push_back(row.name);
  b.base_kv.push_back(row.base_kv);
  b.type.push_back(row.type);
  b.area.push_back(row.area);
  b.zone.push_back(row.zone);
  b.vm.push_back(row.vm);
  b.va.push_back(row.va);
  b.vmax.push_back(row.vmax);
  b.vmin.push_back(row.vmin);
  for (auto* column : {&b.gs, &b.bs, &b.pd, &b.qd})
    column->push_back(0);
}

void GridBuilder::add(const GeneratorRow& row) {
  Generators& g = grid_.gen;
  g.bus.push_back(row.bus);
  g.pg.push_back(row.pg);
  g.qg.push_back(row.qg);
  g.qmax.push_back(row.qmax);
  g.qmin.push_back(row.qmin);
  g.vg.push_back(row.vg);
  g.mbase.push_back(row.mbase);
  g.status.push_back(row.on);
  g.pmax.push_back(row.pmax);
  g.pmin.push_back(row.pmin);
  g.apf.push_back(row.apf);
}

void GridBuilder::add(const BranchRow& row) {
  Branches& b = grid_.branch;
  b.from.push_back(row.from);
  b.to.push_back(row.to);
  b.r.push_back(row.z.real());
  b.x.push_back(row.z.imag());
  b.b.push_back(row.b);
  b.rate_a.push_back(row.rates[0]);
  b.rate_b.push_back(row.rates[1]);
  b.rate_c.push_back(row.rates[2]);
  b.tap.push_back(row.tap);
  b.shift.push_back(row.shift);
  b.status.push_back(row.on);
  b.end_y.push_back({row.end_from, row.end_to});
}

void GridBuilder::add_load(std::size_t row, const LoadParts& parts) {
  LoadParts& load = loads_[row];
  for (std::size_t k = 0; k < 3; ++k) {
    load.p[k] += parts.p[k];
    load.q[k] += parts.q[k];
  }
}

void GridBuilder::add_shunt(std::size_t row, Complex mva) {
  grid_.bus.gs[row] += mva.real();
  grid_.bus.bs[row] += mva.imag();
}

std::int64_t GridBuilder::extra_bus(std::string name, std::size_t like) {
  const Buses& b = grid_.bus;
  const std::int64_t id = next_;
  add(BusRow{.id = id,
             .name = std::move(name),
             .base_kv = b.base_kv[like],
             .type = 1,
             .vm = b.vm[like],
             .va = b.va[like],
             .vmax = b.vmax[like],
             .vmin = b.vmin[like],
             .area = b.area[like],
             .zone = b.zone[like]});
  return id;
}

void GridBuilder::finish() {
  for (std::size_t row = 0; row < grid_.bus.size(); ++row)
    if (const auto load = loads_.find(row); load != loads_.end()) put_load_parts(grid_.bus, row, load->second);
  fuse_buses(grid_, fused_);
  if (std::ranges::all_of(grid_.branch.end_y, [](const auto& y) { return y[0] == 0.0 && y[1] == 0.0; }))
    grid_.branch.end_y.clear();
  if (std::ranges::all_of(grid_.bus.name, [](const auto& name) { return name.empty(); })) grid_.bus.name.clear();
}

}  // namespace fachwerk::dpf
