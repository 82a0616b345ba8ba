#include "layout.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>

#include "import.hpp"
#include "io/bytes.hpp"
#include "io/delimited.hpp"

namespace fachwerk::dpf {
namespace {

using h5::Describe;

h5::Shape scenario_chunk(std::size_t scenarios, std::size_t width) {
  return {std::min(scenario_rows(width), std::max<std::size_t>(scenarios, 1)), std::max<std::size_t>(width, 1)};
}

// The columns of the tables of /grid: name, units, meaning, place. One description for HDF5 and CSV, both ways.
template <class Visit>
void bus_columns(Buses& bus, Visit&& visit) {
  visit("id", "", "bus number", bus.id);
  visit("type", "", "1 PQ, 2 PV, 3 reference, 4 isolated", bus.type);
  visit("pd", "MW", "active load", bus.pd);
  visit("qd", "MVAr", "reactive load", bus.qd);
  visit("gs", "MW", "shunt conductance, consumed at 1 pu", bus.gs);
  visit("bs", "MVAr", "shunt susceptance, injected at 1 pu", bus.bs);
  visit("vm", "pu", "voltage magnitude", bus.vm);
  visit("va", "deg", "voltage angle", bus.va);
  visit("base_kv", "kV", "base voltage", bus.base_kv);
  visit("area", "", "area number", bus.area);
  visit("zone", "", "zone number", bus.zone);
  visit("vmax", "pu", "upper voltage limit", bus.vmax);
  visit("vmin", "pu", "lower voltage limit", bus.vmin);
}

template <class Visit>
void generator_columns(Generators& gen, Visit&& visit) {
  visit("bus", "", "bus number", gen.bus);
  visit("pg", "MW", "active output", gen.pg);
  visit("qg", "MVAr", "reactive output", gen.qg);
  visit("qmax", "MVAr", "upper reactive limit", gen.qmax);
  visit("qmin", "MVAr", "lower reactive limit", gen.qmin);
  visit("vg", "pu", "voltage set-point", gen.vg);
  visit("mbase", "MVA", "machine base", gen.mbase);
  visit("status", "", "1 in service", gen.status);
  visit("pmax", "MW", "upper active limit", gen.pmax);
  visit("pmin", "MW", "lower active limit", gen.pmin);
  visit("apf", "", "participation factor", gen.apf);
}

template <class Visit>
void branch_columns(Branches& branch, Visit&& visit) {
  visit("f", "", "from bus number", branch.from);
  visit("t", "", "to bus number", branch.to);
  visit("r", "pu", "series resistance", branch.r);
  visit("x", "pu", "series reactance", branch.x);
  visit("b", "pu", "total charging susceptance", branch.b);
  visit("rate_a", "MVA", "long-term rating, 0 = unlimited", branch.rate_a);
  visit("rate_b", "MVA", "short-term rating", branch.rate_b);
  visit("rate_c", "MVA", "emergency rating", branch.rate_c);
  visit("tap", "", "tap ratio at the from side, 0 = 1", branch.tap);
  visit("shift", "deg", "phase shift at the from side", branch.shift);
  visit("status", "", "1 in service", branch.status);
}

// Columns that a foreign file may leave out, with their default.
bool optional_column(const std::string& name, double& value) {
  static const std::map<std::string, double> defaults = {{"area", 1},   {"zone", 1},    {"apf", 0},     {"rate_b", 0},
                                                         {"rate_c", 0}, {"mbase", 100}, {"base_kv", 0}, {"rate_a", 0}};
  const auto found = defaults.find(name);
  if (found == defaults.end()) return false;
  value = found->second;
  return true;
}

struct Reader {
  const h5::Node& file;
  std::string group, axis;
  std::size_t rows = 0;

  template <class T>
  void operator()(const char* name, const char*, const char*, std::vector<T>& values) {
    const std::string path = group + "/" + name;
    double missing = 0;
    if (!file.exists(path) && rows > 0 && optional_column(name, missing)) {
      values.assign(rows, static_cast<T>(missing));
      return;
    }
    values = file.column<T>(path, rows);
    if (rows == 0) rows = values.size();
  }
};

struct Writer {
  h5::Output& file;
  std::string group, axis;

  template <class T>
  void operator()(const char* name, const char* units, const char* meaning, std::vector<T>& values) {
    file.column(group + "/" + name, values, {.units = units, .long_name = meaning, .dims = {axis}});
  }
};

Describe column(const char* units, const char* meaning, const char* axis) {
  return {.units = units, .long_name = meaning, .dims = {axis}};
}

// ---- CSV ----
// Columns that a table has only where the grid needs them: shares of constant power, current and impedance; admittances
// at the ends of branches.
constexpr std::array<const char*, 6> share_columns = {"p_power", "p_current", "p_impedance",
                                                      "q_power", "q_current", "q_impedance"};
constexpr std::array<const char*, 4> end_columns = {"gf", "bf", "gt", "bt"};

struct CsvWriter {
  std::vector<std::string> header = {};
  std::vector<formats::Variable> columns = {};

  template <class T>
  void operator()(const char* name, const char*, const char*, std::vector<T>& values) {
    add(name, values);
  }
  template <class T>
  void add(const std::string& name, const std::vector<T>& values) {
    header.push_back(name);
    formats::Variable variable;
    variable.name = name;
    variable.shape = {values.size()};
    if constexpr (std::is_integral_v<T>)
      variable.values = std::vector<std::int64_t>(values.begin(), values.end());
    else if constexpr (std::is_same_v<T, float>)
      variable.values = std::vector<double>(values.begin(), values.end());
    else
      variable.values = values;
    columns.push_back(std::move(variable));
  }
  void save(const std::string& path, bool force) {
    formats::Sink sink = formats::Sink::create(path, force, false);
    formats::DelimitedWriter writer(sink);
    writer.header(header);
    writer.rows(columns);
    sink.commit();
  }
};

struct CsvReader {
  std::string path;
  formats::DelimitedTable table = {};

  explicit CsvReader(const std::string& file) : path(file) {
    const formats::File text = formats::File::open(path);
    table = formats::read_delimited(text.text(), path, {.delimiter = ',', .header = true});
  }
  const formats::Variable* find(const std::string& name) const {
    for (const auto& variable : table.columns)
      if (variable.name == name) return &variable;
    return nullptr;
  }
  std::size_t rows() const { return table.columns.empty() ? 0 : formats::length(table.columns[0].values); }

  template <class T>
  void operator()(const char* name, const char*, const char*, std::vector<T>& values) {
    const formats::Variable* variable = find(name);
    double missing = 0;
    if (variable == nullptr) {
      if (!optional_column(name, missing)) throw bad_input("{}: there is no column {}", path, name);
      values.assign(rows(), static_cast<T>(missing));
      return;
    }
    const std::vector<double> reals = formats::as_reals(variable->values, path + ": " + name);
    values.resize(reals.size());
    for (std::size_t i = 0; i < reals.size(); ++i) {
      if constexpr (std::is_integral_v<T>)
        if (!(std::abs(reals[i]) <= static_cast<double>(std::numeric_limits<T>::max())) ||
            reals[i] != std::floor(reals[i]))
          throw bad_input("{}: {} row {}: expected an integer, found {}", path, name, i + 1, reals[i]);
      values[i] = static_cast<T>(reals[i]);
    }
  }
};

}  // namespace

Grid read_grid(const h5::Node& file) {
  if (!file.exists("/grid/bus/id"))
    throw bad_input("{}:/grid: there is no grid in this file", file.name())
        .with_hint("dpf-import makes one from a case file");
  Grid grid;
  grid.name = file.text("/grid", "name").value_or("");
  const auto base = file.number("/grid", "base_mva");
  if (!base) throw bad_input("{}:/grid: the attribute base_mva is missing", file.name());
  grid.base_mva = *base;
  grid.frequency = file.number("/grid", "f_hz").value_or(0);
  Reader buses{file, "/grid/bus", "bus"};
  bus_columns(grid.bus, buses);
  if (file.exists("/grid/bus/name")) grid.bus.name = file.strings("/grid/bus/name", buses.rows);
  if (file.exists("/grid/bus/zip")) {
    const auto zip =
        file.read<double>("/grid/bus/zip", {.axes = {"bus", "share"}, .shape = {buses.rows, 6}, .finite = true});
    grid.bus.zip.resize(buses.rows);
    for (std::size_t i = 0; i < zip.size(); ++i)
      grid.bus.zip[i / 6][i % 6] = zip.values[i];
  }
  Reader generators{file, "/grid/gen", "gen"};
  generator_columns(grid.gen, generators);
  Reader branches{file, "/grid/branch", "branch"};
  branch_columns(grid.branch, branches);
  if (file.exists("/grid/branch/end_y")) {
    const auto ends = file.read<Complex>("/grid/branch/end_y",
                                         {.axes = {"branch", "end"}, .shape = {branches.rows, 2}, .finite = true});
    grid.branch.end_y.resize(branches.rows);
    for (std::size_t k = 0; k < ends.size(); ++k)
      grid.branch.end_y[k / 2][k % 2] = ends.values[k];
  }
  if (file.exists("/grid/table"))
    for (const auto& name : file.children("/grid/table")) {
      auto table = file.read<double>("/grid/table/" + name, {.rank = 2});
      grid.tables[name] = {table.shape[0], table.shape[1], std::move(table.values)};
    }
  return grid;
}

bool is_hdf5(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::array<char, 8> bytes{};
  return file.read(bytes.data(), bytes.size()) && std::string_view(bytes.data(), bytes.size()) == "\x89HDF\r\n\x1a\n";
}

LoadedGrid load_grid(const std::string& path) {
  LoadedGrid out;
  Imported imported;
  if (path != "-" && !is_hdf5(path)) {
    if (std::filesystem::is_directory(path)) {
      out.name = path;
      imported.grid = read_csv(path);
    } else {
      const formats::File file = formats::File::open(path);
      out.name = file.name();
      const std::string format = format_of(file);
      imported = format == "h5" ? import_matlab_case(h5::Input::open(path), out.warnings)
                                : import_file(file, format, out.warnings);
    }
    if (imported.is_changes) throw bad_input("{}: expected a grid, found a change table", out.name);
  } else {
    out.file = h5::Input::open(path);
    out.name = out.file->name();
    if (is_matlab_case(*out.file)) {
      imported = import_matlab_case(*out.file, out.warnings);
      out.file.reset();
    } else {
      out.file->require_kind({"power-case", "power-flow"}, "/grid");
      imported.grid = read_grid(*out.file);
    }
  }
  out.grid = std::move(imported.grid);
  for (auto& warning : about(out.name, [&] { return check(out.grid); }))
    out.warnings.push_back(std::move(warning));
  return out;
}

void write_grid(h5::Output& file, const Grid& source) {
  Grid grid = source;  // the column descriptions serve reading too and want a mutable grid
  file.group("/grid");
  file.attribute("/grid", "name", grid.name);
  file.attribute("/grid", "base_mva", grid.base_mva);
  if (grid.frequency > 0) file.attribute("/grid", "f_hz", grid.frequency);
  bus_columns(grid.bus, Writer{file, "/grid/bus", "bus"});
  if (!grid.bus.name.empty()) {
    std::vector<std::string> names = grid.bus.name;
    for (auto& name : names)
      name = formats::to_utf8(name);
    file.strings("/grid/bus/name", names, column("", "bus name", "bus"));
  }
  if (!grid.bus.zip.empty()) {
    std::vector<double> zip;
    for (const auto& row : grid.bus.zip)
      zip.insert(zip.end(), row.begin(), row.end());
    file.write("/grid/bus/zip", zip, {grid.bus.size(), 6},
               {.units = "1",
                .long_name = "share of constant power, current, impedance in pd, then in qd",
                .dims = {"bus", "share"}});
  }
  generator_columns(grid.gen, Writer{file, "/grid/gen", "gen"});
  branch_columns(grid.branch, Writer{file, "/grid/branch", "branch"});
  if (!grid.branch.end_y.empty()) {
    std::vector<Complex> ends;
    for (const auto& row : grid.branch.end_y)
      ends.insert(ends.end(), row.begin(), row.end());
    file.write(
        "/grid/branch/end_y", ends, {grid.branch.size(), 2},
        {.units = "pu", .long_name = "admittance to ground at the two ends besides b/2", .dims = {"branch", "end"}});
  }
  for (const auto& [name, table] : grid.tables)
    file.write("/grid/table/" + name, table.values, {table.rows, table.columns},
               {.long_name = "table " + name + " of the case file, not used by the solver", .dims = {"row", "column"}});
}

void write_header(h5::Output& file, const ResultHeader& header) {
  file.column("/result/status", header.status,
              column("",
                     "0 converged, 1 iteration limit, 2 diverged, 3 infeasible, 4 dead, 5 reactive limits infeasible, "
                     "6 not started",
                     "scenario"));
  file.column("/result/iters", header.iterations, column("", "iterations", "scenario"));
  file.column("/result/max_mismatch", header.max_mismatch, column("pu", "largest power mismatch", "scenario"));
  file.column("/result/rel_mismatch", header.relative,
              column("1", "sum of mismatches over sum of specified powers", "scenario"));
  file.column("/result/mse", header.mean_square, column("pu2", "mean square mismatch", "scenario"));
  file.column("/result/path", header.path,
              column("", "what solved it: 0 chord, 1 nr, 2 nr-ls, 3 nr from DC, 4 homotopy, 5 lm, 6 another method",
                     "scenario"));
  file.column(
      "/result/check", header.check,
      column("",
             "signs of another solution than the operating one, a sum: 1 a voltage below 0.5 pu, 2 a branch with "
             "more than 90 degrees, 4 sign of det J not that of the flat start",
             "scenario"));
  file.column("/result/slack_mw", header.slack_mw, column("MW", "generation at reference buses", "scenario"));
  file.column("/result/loss_mw", header.loss_mw, column("MW", "losses of branches and shunts", "scenario"));
  file.column("/result/lost_load_mw", header.lost_load_mw, column("MW", "load of dead buses", "scenario"));
}

std::size_t scenario_rows(std::size_t width) {
  return std::bit_floor(std::max<std::size_t>(8192 / std::max<std::size_t>(width, 1), 1));
}

void create_flows(h5::Output& file, std::size_t scenarios, const Grid& grid, const Outputs& outputs, bool compressed) {
  const std::optional<int> deflate = compressed ? std::optional<int>() : 0;
  // In one piece where it is not compressed: rows are read at once, and ranks may write theirs side by side.
  const auto chunk = [&](std::size_t width) { return compressed ? scenario_chunk(scenarios, width) : h5::Shape{}; };
  const auto create = [&](const char* name, const char* units, const char* meaning, const char* axis,
                          std::size_t width) {
    file.create_dataset<double>(
        std::string("/result/") + name, {scenarios, width},
        {.units = units, .long_name = meaning, .dims = {"scenario", axis}, .chunk = chunk(width), .deflate = deflate});
  };
  if (outputs.voltages) {
    create("vm", "pu", "voltage magnitude, NaN at dead buses", "bus", grid.bus.size());
    create("va", "deg", "voltage angle, NaN at dead buses", "bus", grid.bus.size());
  }
  if (outputs.flows && grid.branch.size() > 0) {
    create("pf", "MW", "active power entering at the from end", "branch", grid.branch.size());
    create("qf", "MVAr", "reactive power entering at the from end", "branch", grid.branch.size());
    create("pt", "MW", "active power entering at the to end", "branch", grid.branch.size());
    create("qt", "MVAr", "reactive power entering at the to end", "branch", grid.branch.size());
    file.create_dataset<float>("/result/loading", {scenarios, grid.branch.size()},
                               {.units = "percent",
                                .long_name = "larger end power over rate A, NaN without a rating",
                                .dims = {"scenario", "branch"},
                                .chunk = chunk(grid.branch.size()),
                                .deflate = deflate});
  }
  if (outputs.generators && grid.gen.size() > 0) {
    create("pg", "MW", "active output", "gen", grid.gen.size());
    create("qg", "MVAr", "reactive output", "gen", grid.gen.size());
  }
  if (outputs.mismatches) {
    create("mismatch_p", "MW", "active power injected at the solution beyond what is specified, NaN at dead buses",
           "bus", grid.bus.size());
    create("mismatch_q", "MVAr", "reactive power likewise", "bus", grid.bus.size());
  }
}

void write_flows(h5::Output& file, std::size_t first, const std::vector<const Flows*>& flows, const Outputs& outputs) {
  const auto rows = [&]<class T>(const char* name, std::vector<T> Flows::*member) {
    const std::size_t width = (flows[0]->*member).size();
    if (width == 0) return;
    std::vector<T> block;
    block.reserve(width * flows.size());
    for (const Flows* f : flows)
      block.insert(block.end(), (f->*member).begin(), (f->*member).end());
    file.write_slab(std::string("/result/") + name, {first, 0}, {flows.size(), width}, std::span<const T>(block));
  };
  if (outputs.voltages) {
    rows("vm", &Flows::vm);
    rows("va", &Flows::va);
  }
  if (outputs.flows) {
    rows("pf", &Flows::pf);
    rows("qf", &Flows::qf);
    rows("pt", &Flows::pt);
    rows("qt", &Flows::qt);
    rows("loading", &Flows::loading);
  }
  if (outputs.generators) {
    rows("pg", &Flows::pg);
    rows("qg", &Flows::qg);
  }
  if (outputs.mismatches) {
    rows("mismatch_p", &Flows::mismatch_p);
    rows("mismatch_q", &Flows::mismatch_q);
  }
}

Flows read_flows(const h5::Node& file, std::size_t scenario, const Grid& grid) {
  Flows out;
  const auto row = [&]<class T>(const char* name, std::vector<T>& values, std::size_t width) {
    const std::string path = std::string("/result/") + name;
    if (!file.exists(path)) return;
    values.resize(width);
    file.read_slab(path, {scenario, 0}, {1, width}, std::span<T>(values));
  };
  row("vm", out.vm, grid.bus.size());
  row("va", out.va, grid.bus.size());
  row("pf", out.pf, grid.branch.size());
  row("qf", out.qf, grid.branch.size());
  row("pt", out.pt, grid.branch.size());
  row("qt", out.qt, grid.branch.size());
  row("loading", out.loading, grid.branch.size());
  row("pg", out.pg, grid.gen.size());
  row("qg", out.qg, grid.gen.size());
  return out;
}

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

Grid read_csv(const std::string& folder) {
  Grid grid;
  grid.name = std::filesystem::path(folder).filename().string();
  CsvReader buses(folder + "/bus.csv"), generators(folder + "/gen.csv"), branches(folder + "/branch.csv");
  bus_columns(grid.bus, buses);
  generator_columns(grid.gen, generators);
  branch_columns(grid.branch, branches);
  const auto optional = [](CsvReader& csv, const char* name, std::size_t rows) {
    std::vector<double> values(rows, 0.0);
    if (csv.find(name) != nullptr) csv(name, "", "", values);
    return values;
  };
  if (buses.find(share_columns[0]) != nullptr) {
    grid.bus.zip.resize(grid.bus.size());
    for (std::size_t k = 0; k < share_columns.size(); ++k) {
      const auto values = optional(buses, share_columns[k], grid.bus.size());
      for (std::size_t i = 0; i < values.size() && i < grid.bus.size(); ++i)
        grid.bus.zip[i][k] = values[i];
    }
  }
  if (branches.find(end_columns[0]) != nullptr) {
    std::array<std::vector<double>, 4> parts;
    for (std::size_t k = 0; k < parts.size(); ++k)
      parts[k] = optional(branches, end_columns[k], grid.branch.size());
    for (std::size_t b = 0; b < grid.branch.size(); ++b)
      grid.branch.end_y.push_back({Complex(parts[0].at(b), parts[1].at(b)), Complex(parts[2].at(b), parts[3].at(b))});
  }
  if (const auto* base = buses.find("base_mva")) {
    const auto values = formats::as_reals(base->values, folder + "/bus.csv: base_mva");
    if (!values.empty()) grid.base_mva = values[0];
  }
  if (const auto* name = buses.find("name"))
    if (const auto* texts = std::get_if<std::vector<std::string>>(&name->values)) grid.bus.name = *texts;
  return grid;
}

void write_csv(const std::string& folder, bool force, const Grid& source, const Flows* result) {
  if (folder == "-") throw usage_error("--to csv writes a folder of three files, not stdout");
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);
  if (failure) throw io_error("{}: cannot make this folder: {}", folder, failure.message());
  Grid grid = source;
  CsvWriter buses, generators, branches;
  bus_columns(grid.bus, buses);
  generator_columns(grid.gen, generators);
  branch_columns(grid.branch, branches);
  buses.add("base_mva", std::vector<double>(grid.bus.size(), grid.base_mva));
  if (!grid.bus.name.empty()) buses.add("name", grid.bus.name);
  for (std::size_t k = 0; !grid.bus.zip.empty() && k < share_columns.size(); ++k) {
    std::vector<double> values;
    for (const auto& share : grid.bus.zip)
      values.push_back(share[k]);
    buses.add(share_columns[k], values);
  }
  for (std::size_t k = 0; !grid.branch.end_y.empty() && k < end_columns.size(); ++k) {
    std::vector<double> values;
    for (const auto& ends : grid.branch.end_y)
      values.push_back(k % 2 == 0 ? ends[k / 2].real() : ends[k / 2].imag());
    branches.add(end_columns[k], values);
  }
  if (result != nullptr) {
    const auto add = [](CsvWriter& csv, const char* name, const auto& values) {
      if (!values.empty()) csv.add(name, values);
    };
    add(buses, "result_vm", result->vm);
    add(buses, "result_va", result->va);
    add(branches, "result_pf", result->pf);
    add(branches, "result_qf", result->qf);
    add(branches, "result_pt", result->pt);
    add(branches, "result_qt", result->qt);
    add(branches, "result_loading", result->loading);
    add(generators, "result_pg", result->pg);
    add(generators, "result_qg", result->qg);
  }
  buses.save(folder + "/bus.csv", force);
  branches.save(folder + "/branch.csv", force);
  generators.save(folder + "/gen.csv", force);
}

}  // namespace fachwerk::dpf
