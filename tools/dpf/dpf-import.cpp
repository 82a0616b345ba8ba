#include <algorithm>
#include <filesystem>
#include <optional>

#include "cli/command.hpp"
#include "io/bytes.hpp"
#include "layout.hpp"
#include "matpower.hpp"
#include "network.hpp"
#include "pandapower.hpp"
#include "psse.hpp"

using namespace fachwerk;

namespace {

struct Options {
  std::string input, output, from = "auto", to = "h5";
};

struct Imported {
  dpf::Grid grid;
  std::vector<dpf::Change> changes;  ///< a change table instead of a grid
  bool is_changes = false;
  std::optional<dpf::Flows> result;
};

Imported from_hdf5(const h5::Input& file) {
  file.require_kind({"power-case", "power-flow"});
  Imported out;
  out.grid = dpf::read_grid(file);
  if (file.exists("/result/vm")) out.result = dpf::read_flows(file, 0, out.grid);
  return out;
}

Imported from_matpower(const formats::File& file, cli::Session& session) {
  if (file.bytes().empty()) throw bad_input("{}: the file is empty", file.name());
  if (file.text().starts_with("\x89HDF")) throw usage_error("{} is HDF5: say --from h5", file.name());
  const dpf::MatpowerFile evaluated = dpf::evaluate_matpower(file.text(), file.name());
  Imported out;
  if (!evaluated.tables.contains("bus") && !evaluated.tables.contains("baseMVA") && !evaluated.tables.empty()) {
    out.changes = dpf::changes_of(evaluated, file.name());
    out.is_changes = true;
    return out;
  }
  std::vector<std::string> warnings;
  out.grid = dpf::grid_of(evaluated, file.name(), warnings);
  for (const auto& warning : warnings)
    session.warn(warning);
  return out;
}

Imported from_raw(const formats::File& file, cli::Session& session) {
  std::vector<std::string> warnings;
  Imported out;
  out.grid = dpf::grid_of_raw(file.text(), file.name(), warnings);
  for (const auto& warning : warnings)
    session.warn(warning);
  return out;
}

Imported read(const Options& options, cli::Session& session) {
  if (options.from == "csv" || (options.from == "auto" && std::filesystem::is_directory(options.input)))
    return {dpf::read_csv(options.input), {}, false, {}};
  if (options.from == "h5" || (options.from == "auto" && options.input != "-" && dpf::is_hdf5(options.input)))
    return from_hdf5(h5::Input::open(options.input));
  const formats::File file = formats::File::open(options.input);
  if (options.from == "pandapower" || (options.from == "auto" && dpf::is_pandapower(file.text()))) {
    std::vector<std::string> warnings;
    Imported out{dpf::grid_of_pandapower(file.text(), file.name(), warnings), {}, false, {}};
    for (const auto& w : warnings) session.warn(w);
    return out;
  }
  if (options.from == "psse" || (options.from == "auto" && dpf::is_raw(file.text()))) return from_raw(file, session);
  return from_matpower(file, session);
}

// The state of one solved scenario put into the columns of the case.
void put_result(dpf::Grid& grid, const dpf::Flows& result) {
  if (!result.vm.empty()) grid.bus.vm = result.vm;
  if (!result.va.empty()) grid.bus.va = result.va;
  if (!result.pg.empty()) grid.gen.pg = result.pg;
  if (!result.qg.empty()) grid.gen.qg = result.qg;
}

void write_changes(h5::Output& file, const std::vector<dpf::Change>& changes) {
  std::vector<std::int64_t> label;
  std::vector<double> probability, value;
  std::vector<std::int32_t> table, row, column, type;
  for (const auto& change : changes) {
    label.push_back(change.label);
    probability.push_back(change.probability);
    table.push_back(change.table);
    row.push_back(change.row);
    column.push_back(change.column);
    type.push_back(change.type);
    value.push_back(change.value);
  }
  const auto describe = [](const char* name) { return h5::Describe{.long_name = name, .dims = {"change"}}; };
  file.column("/changes/label", label, describe("scenario or contingency that the change belongs to"));
  file.column("/changes/prob", probability, describe("probability"));
  file.column("/changes/table", table,
              describe("1 bus, 2 gen, 3 branch, 7 load, 8 load of an area, as MATPOWER's idx_ct"));
  file.column("/changes/row", row, describe("row (from 1) or area number; 0 all"));
  file.column("/changes/col", column, describe("column as MATPOWER numbers them"));
  file.column("/changes/chgtype", type, describe("1 replace, 2 scale, 3 add"));
  file.column("/changes/newval", value, describe("new value, factor or increment"));
}

void summarise(cli::Session& session, const dpf::Grid& grid) {
  const auto count = [](const std::vector<std::int8_t>& status) {
    return std::ranges::count_if(status, [](std::int8_t s) { return s > 0; });
  };
  session.summary.add("case", grid.name);
  session.summary.add("base", grid.base_mva, "MVA");
  session.summary.add("buses", grid.bus.size());
  session.summary.add("generators", grid.gen.size());
  session.summary.add("generators in service", count(grid.gen.status));
  session.summary.add("branches", grid.branch.size());
  session.summary.add("branches in service", count(grid.branch.status));
  double load = 0, reactive = 0;
  for (std::size_t i = 0; i < grid.bus.size(); ++i) {
    load += grid.bus.pd[i];
    reactive += grid.bus.qd[i];
  }
  session.summary.add("load", load, "MW");
  session.summary.add("reactive load", reactive, "MVAr");
}

void write(const Options& options, cli::Session& session, Imported& imported) {
  if (imported.is_changes) {
    if (options.to != "h5") throw usage_error("a change table is written as HDF5 only");
    h5::Output file = h5::Output::create(options.output, session.force);
    file.stamp(session, "table");
    write_changes(file, imported.changes);
    file.commit();
    session.summary.add("changes", imported.changes.size());
    return;
  }
  for (const auto& warning : dpf::check(imported.grid))
    session.warn(warning);
  summarise(session, imported.grid);
  if (options.to == "csv") {
    dpf::write_csv(options.output, session.force, imported.grid, imported.result ? &*imported.result : nullptr);
  } else if (options.to != "h5") {
    if (imported.result) put_result(imported.grid, *imported.result);
    std::vector<std::string> warnings;
    const std::string text = options.to == "pandapower" ? dpf::pandapower_text(imported.grid, warnings)
                                                        : dpf::matpower_text(imported.grid);
    for (const auto& warning : warnings)
      session.warn(warning);
    formats::Sink sink = formats::Sink::create(options.output, session.force, false);
    sink.write(text);
    sink.commit();
  } else {
    h5::Output file = h5::Output::create(options.output, session.force);
    file.stamp(session, "power-case");
    dpf::write_grid(file, imported.grid);
    file.commit();
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  const cli::Command command{
      .name = "dpf-import",
      .purpose = "read a power grid from a case file, or write it as one",
      .description =
          "Reads a grid from a MATPOWER case file (.m, case format 1 or 2), a PSS/E RAW file (revisions 29 to 35), a folder of CSV "
          "tables, or an HDF5 file of kind power-case or power-flow, and writes it as HDF5, as a MATPOWER case file or as CSV tables.\n\n"
          "A MATPOWER file is evaluated, not scanned: expressions in cells, conversions of units at its end and named "
          "column "
          "constants are carried out, and a statement that is not understood ends the run with its line number. "
          "Numbers are "
          "written with 17 significant digits, so that reading a written case gives the same bits. Solved voltages and "
          "generator outputs of a power-flow file go into the columns of the case.\n\n"
          "Of a RAW file switched shunts are taken at BINIT, transformers of three windings become a star bus and three branches, loads "
          "keep their shares of constant current and admittance; DC lines, FACTS devices and induction machines are named and not "
          "used.\n\n"
          "A MATPOWER change table (contab_*, scenarios_*) becomes an HDF5 file of kind table that dpf-solve "
          "--scenarios and "
          "dpf-screen --contab read.",
      .arguments = {cli::input("IN", options.input,
                               "case file (.m), RAW file, folder of CSV tables, or HDF5; - is stdin"),
                    cli::output("OUT", options.output, "HDF5 or .m file, or the folder for --to csv")},
      .options = {{"--from", &options.from, "what IN is", {.choices = {"auto", "matpower", "psse", "pandapower", "h5", "csv"}}},
                  {"--to", &options.to, "what OUT is", {.choices = {"h5", "matpower", "pandapower", "csv"}}}},
      .examples = {{"dpf-import case14.m case14.h5", "A MATPOWER case as HDF5."},
                   {"dpf-import case33bw.m - | dpf-solve - flow.h5", "Import and solve in one pipe."},
                   {"dpf-import --to csv flow.h5 tables", "The grid and its solved flow as CSV tables."}},
      .reference =
          "Zimmerman, Murillo-Sanchez, Thomas: MATPOWER. IEEE Transactions on Power Systems 26 (2011) 12-19, and the "
          "MATPOWER "
          "manual, appendix B (case format).",
      .reads = "/grid/{bus,gen,branch}/*  with --from h5\n/result/{vm,va,pg,qg,...}  scenario 0 of a power-flow file",
      .writes =
          "/grid  attributes base_mva, name\n/grid/bus/{id,type,pd,qd,gs,bs,vm,va,base_kv,area,zone,vmax,vmin,name}\n"
          "/grid/gen/{bus,pg,qg,qmax,qmin,vg,mbase,status,pmax,pmin,apf}\n"
          "/grid/branch/{f,t,r,x,b,rate_a,rate_b,rate_c,tap,shift,status}\n/grid/table/*  other matrices of the case "
          "file\n"
          "/changes/{label,prob,table,row,col,chgtype,newval}  from a change table",
      .standard = {}};
  return command.run(argc, argv, [&](cli::Session& session) {
    Imported imported = read(options, session);
    write(options, session, imported);
  });
}
