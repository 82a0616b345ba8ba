#include "layout.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "csv_folder.hpp"
#include "grid_columns.hpp"
#include "import.hpp"
#include "io/bytes.hpp"
#include "io/delimited.hpp"

namespace fachwerk::dpf {
namespace {

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

}  // namespace

h5::Describe column(const char* units, const char* meaning, const char* axis) {
  return {.units = units, .long_name = meaning, .dims = {axis}};
}

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

h5::Shape scenario_chunk(std::size_t scenarios, std::size_t width) {
  return {std::min(scenario_rows(width), std::max<std::size_t>(scenarios, 1)), std::max<std::size_t>(width, 1)};
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

}  // namespace fachwerk::dpf
