#include "scenario_source.hpp"

#include <algorithm>
#include <cmath>

#include "import.hpp"
#include "io/bytes.hpp"
#include "layout.hpp"

namespace fachwerk::dpf {

ScenarioSource ScenarioSource::open(const std::string& path, const Grid& grid, const std::string& area) {
  if (path != "-" && !is_hdf5(path) && path.ends_with(".m")) {
    const formats::File text = formats::File::open(path);
    ScenarioSource out;
    out.grid_ = &grid;
    out.changes_.emplace(grid, changes_of(evaluate_matpower(text.text(), text.name()), text.name()), area);
    out.count_ = out.changes_->count();
    return out;
  }
  if (path != "-" && !is_hdf5(path) && path.ends_with(".csv")) {
    const formats::File text = formats::File::open(path);
    ScenarioSource out;
    out.grid_ = &grid;
    out.profile_ = read_profile(text.text(), text.name(), grid);
    out.time_ = out.profile_->time;
    out.count_ = out.time_.size();
    return out;
  }
  h5::Input file = h5::Input::open(path);
  auto out = in(file, grid, area);
  if (!out) throw bad_input("{}: there are no /scenarios and no /changes in this file", path);
  if (out->file_ != nullptr) out->owned_ = std::move(file);
  return std::move(*out);
}

namespace {

// The sparse form: changes ptr[s] to ptr[s + 1] make scenario s.
ChangeTable sparse_changes(const h5::Node& file, const Grid& grid, const std::string& area) {
  const auto ptr = file.column<std::int64_t>("/scenarios/ptr");
  const auto value = file.column<double>("/scenarios/value");
  const std::size_t n = value.size();
  const auto part = [&](const char* name) { return file.column<std::int32_t>(std::string("/scenarios/") + name, n); };
  const auto table = part("table"), row = part("row"), column_number = part("col"), op = part("op");
  if (ptr.size() < 2 || ptr.front() != 0 || ptr.back() != static_cast<std::int64_t>(n) || !std::ranges::is_sorted(ptr))
    throw bad_input(
        "{}:/scenarios/ptr: expected numbers from 0 up to {}, the number of changes, one more than scenarios",
        file.name(), n);
  std::vector<Change> changes(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (op[i] < 0 || op[i] > 2)
      throw bad_input("{}:/scenarios/op: expected 0, 1 or 2 (replace, add, scale), found {} at {}", file.name(), op[i],
                      i);
    changes[i] = {0, 0, table[i], row[i], column_number[i], op[i] == 0 ? 1 : op[i] == 1 ? 3 : 2, value[i]};
  }
  return {grid, std::move(changes), {ptr.begin(), ptr.end()}, area};
}

}  // namespace

std::optional<ScenarioSource> ScenarioSource::in(const h5::Node& file, const Grid& grid, const std::string& area) {
  ScenarioSource out;
  out.grid_ = &grid;
  if (file.exists("/changes/newval")) {
    const auto label = file.column<std::int64_t>("/changes/label");
    const std::size_t n = label.size();
    const auto probability = file.column<double>("/changes/prob", n),
               value = file.column<double>("/changes/newval", n, true);
    const auto table = file.column<std::int32_t>("/changes/table", n),
               row = file.column<std::int32_t>("/changes/row", n),
               column_number = file.column<std::int32_t>("/changes/col", n),
               type = file.column<std::int32_t>("/changes/chgtype", n);
    std::vector<Change> changes(n);
    for (std::size_t i = 0; i < n; ++i)
      changes[i] = {label[i], probability[i], table[i], row[i], column_number[i], type[i], value[i]};
    out.changes_.emplace(grid, changes, area);
    out.count_ = out.changes_->count();
    return out;
  }
  if (!file.exists("/scenarios")) return {};
  if (file.exists("/scenarios/ptr")) {
    out.changes_.emplace(sparse_changes(file, grid, area));
    out.count_ = out.changes_->count();
  } else {
    out.file_ = &file;
    out.find_columns(grid);
  }
  if (file.exists("/scenarios/time")) out.time_ = file.column<double>("/scenarios/time", out.count_);
  return out;
}

namespace {
const std::string branch_status = "/scenarios/branch_status";
}

void ScenarioSource::find_columns(const Grid& grid) {
  const auto has = [&](const std::string& path, std::size_t width, const char* axis) {
    if (!file().exists(path)) return false;
    const auto info = file().info(path);
    if (info.shape.size() != 2)
      throw bad_input("{}:{}: expected 2 dimensions (scenario, {}), found {}", file().name(), path, axis,
                      info.shape.size());
    if (info.shape[0] == 0) throw bad_input("{}:{}: there is no scenario", file().name(), path);
    if (count_ == 0) count_ = info.shape[0];
    if (info.shape[0] != count_)
      throw bad_input("{}:{}: expected {} scenarios as in the dataset before it, found {}", file().name(), path, count_,
                      info.shape[0]);
    if (info.shape[1] != width)
      throw bad_input("{}:{}: expected {} columns ({}), found {}", file().name(), path, width, axis, info.shape[1]);
    return true;
  };
  const auto add = [&](const char* name, const std::vector<int>& rows, std::vector<double> OperatingPoint::*target,
                       const char* axis) {
    const std::string path = std::string("/scenarios/") + name;
    if (has(path, rows.size(), axis)) columns_.push_back({path, rows, target, {}});
  };
  std::vector<int> loads, generators(grid.gen.size());
  if (file().exists("/scenarios/bus")) {
    const auto known = bus_rows(grid);
    std::vector<char> seen(grid.bus.size(), 0);
    for (const std::int64_t id : file().column<std::int64_t>("/scenarios/bus")) {
      const auto found = known.find(id);
      if (found == known.end()) throw bad_input("{}:/scenarios/bus: there is no bus {} in the grid", file().name(), id);
      if (std::exchange(seen[found->second], 1) != 0)
        throw bad_input("{}:/scenarios/bus: bus {} is in two columns", file().name(), id);
      loads.push_back(found->second);
    }
  } else {
    for (std::size_t i = 0; i < grid.bus.size(); ++i)
      loads.push_back(static_cast<int>(i));
  }
  for (std::size_t g = 0; g < generators.size(); ++g)
    generators[g] = static_cast<int>(g);
  add("load_p", loads, &OperatingPoint::pd, "bus of /scenarios/bus");
  add("load_q", loads, &OperatingPoint::qd, "bus of /scenarios/bus");
  add("gen_p", generators, &OperatingPoint::pg, "generator");
  add("gen_v", generators, &OperatingPoint::vg, "generator");
  if (has(branch_status, (grid.branch.size() + 7) / 8, "byte of 8 branches"))
    status_bytes_ = (grid.branch.size() + 7) / 8;
  if (columns_.empty() && status_bytes_ == 0)
    throw bad_input("{}:/scenarios: expected at least one of load_p, load_q, gen_p, gen_v, branch_status, or ptr",
                    file().name());
}

void ScenarioSource::load(std::size_t first, std::size_t count) {
  first_ = first;
  for (Column& c : columns_) {
    c.values.resize(count * c.rows.size());
    file().read_slab(c.path, {first, 0}, {count, c.rows.size()}, std::span<double>(c.values));
  }
  if (status_bytes_ == 0) return;
  status_.resize(count * status_bytes_);
  file().read_slab(branch_status, {first, 0}, {count, status_bytes_}, std::span<std::uint8_t>(status_));
}

bool ScenarioSource::branch_on(std::size_t s, std::size_t branch) const {
  return (status_[(s - first_) * status_bytes_ + branch / 8] >> branch % 8 & 1) != 0;
}

bool ScenarioSource::changes_topology(std::size_t s) const {
  if (changes_) return changes_->changes_topology(s);
  for (std::size_t k = 0; status_bytes_ > 0 && k < grid_->branch.size(); ++k)
    if (branch_on(s, k) != (grid_->branch.status[k] > 0)) return true;
  return false;
}

std::optional<Grid> ScenarioSource::grid(std::size_t s) const {
  OperatingPoint operating(*grid_);
  point(s, operating);
  if (!operating.finite() || (changes_ && !changes_->finite(s))) return {};
  if (changes_) return changes_->apply(s, *grid_);
  Grid out = with_point(*grid_, operating);
  for (std::size_t k = 0; status_bytes_ > 0 && k < out.branch.size(); ++k)
    out.branch.status[k] = branch_on(s, k) ? 1 : 0;
  return out;
}

void ScenarioSource::point(std::size_t s, OperatingPoint& point) const {
  if (changes_) return changes_->apply(s, *grid_, point);
  if (profile_) return profile_->apply(s, point);
  for (const Column& c : columns_) {
    const double* row = &c.values[(s - first_) * c.rows.size()];
    for (std::size_t i = 0; i < c.rows.size(); ++i)
      (point.*c.target)[c.rows[i]] = row[i];
  }
}

void ScenarioSource::write_labels(h5::Output& file) const {
  if (changes_) file.column("/result/label", changes_->labels(), column("", "label of the change table", "scenario"));
  if (!time_.empty()) file.column("/result/time", time_, column("s", "time", "scenario"));
}

namespace {
std::vector<int> loaded_buses(const Grid& grid) {
  std::vector<int> rows;
  for (std::size_t i = 0; i < grid.bus.size(); ++i)
    if (grid.bus.pd[i] != 0 || grid.bus.qd[i] != 0) rows.push_back(static_cast<int>(i));
  return rows;
}
}  // namespace

void create_scenarios(h5::Output& file, const Grid& grid, const std::vector<double>& time, std::size_t count) {
  std::vector<std::int64_t> ids;
  for (const int i : loaded_buses(grid))
    ids.push_back(grid.bus.id[i]);
  file.column("/scenarios/bus", ids, column("", "bus numbers of the load columns", "load"));
  if (!time.empty()) file.column("/scenarios/time", time, column("s", "time", "scenario"));
  const auto create = [&](const char* name, const char* units, const char* meaning, const char* axis,
                          std::size_t width) {
    file.create_dataset<double>(
        std::string("/scenarios/") + name, {count, width},
        {.units = units, .long_name = meaning, .dims = {"scenario", axis}, .chunk = scenario_chunk(count, width)});
  };
  create("load_p", "MW", "active load", "load", ids.size());
  create("load_q", "MVAr", "reactive load", "load", ids.size());
  create("gen_p", "MW", "active output", "gen", grid.gen.size());
}

void write_scenarios(h5::Output& file, const Grid& grid, std::size_t first, const std::vector<OperatingPoint>& points) {
  const std::vector<int> rows = loaded_buses(grid);
  std::vector<double> p, q, g;
  for (const OperatingPoint& point : points) {
    for (const int i : rows) {
      p.push_back(point.pd[i]);
      q.push_back(point.qd[i]);
    }
    g.insert(g.end(), point.pg.begin(), point.pg.end());
  }
  const auto write = [&](const char* name, const std::vector<double>& values) {
    if (!values.empty())
      file.write_slab(std::string("/scenarios/") + name, {first, 0}, {points.size(), values.size() / points.size()},
                      std::span<const double>(values));
  };
  write("load_p", p);
  write("load_q", q);
  write("gen_p", g);
}

}  // namespace fachwerk::dpf
