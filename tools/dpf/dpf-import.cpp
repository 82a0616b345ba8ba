#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <optional>
#include <set>

#include "cli/command.hpp"
#include "csv_folder.hpp"
#include "grid_edit.hpp"
#include "import.hpp"
#include "io/bytes.hpp"
#include "layout.hpp"
#include "pandapower.hpp"
#include "psse.hpp"

using namespace fachwerk;

namespace {

struct Options {
  std::string input, output, from = "auto", to = "h5";
  bool dcline = false, strict = false;
  std::string reference_rule = "keep", zero_impedance = "keep", units = "off";
};

/// What was read, the state of a solved flow where the file has one, and the file where it is one of ours.
struct Source {
  dpf::Imported imported;
  std::optional<dpf::Flows> result;
  std::optional<h5::Input> file;
};

Source from_hdf5(h5::Input&& file, std::vector<std::string>& warnings) {
  Source out;
  if (dpf::is_matlab_case(file)) {
    out.imported = dpf::import_matlab_case(file, warnings);
    return out;
  }
  file.require_kind({"power-case", "power-flow"});
  out.imported.grid = dpf::read_grid(file);
  if (file.exists("/result/vm")) out.result = dpf::read_flows(file, 0, out.imported.grid);
  out.file = std::move(file);
  return out;
}

Source read(const Options& options, std::vector<std::string>& warnings) {
  Source out;
  if (options.from == "csv" || (options.from == "auto" && std::filesystem::is_directory(options.input))) {
    out.imported.grid = dpf::read_csv(options.input);
    return out;
  }
  const bool hdf5 = options.from == "h5" || (options.input != "-" && dpf::is_hdf5(options.input));
  if (hdf5 && (options.from == "h5" || options.from == "auto" || options.from == "mat"))
    return from_hdf5(h5::Input::open(options.input), warnings);
  const formats::File file = formats::File::open(options.input);
  const std::string format = options.from == "auto" ? dpf::format_of(file) : options.from;
  if (format == "h5" || (format == "mat" && dpf::format_of(file) == "h5")) {
    const formats::TemporaryFile spooled(file.bytes());  // HDF5 seeks
    return from_hdf5(h5::Input::open(spooled.path()), warnings);
  }
  out.imported = dpf::import_file(file, format, warnings);
  return out;
}

/// --zero-impedance keep|error|merge|MINX.
void treat_zero_impedance(const std::string& word, dpf::Grid& grid) {
  if (word == "keep") return;
  if (word == "error") return dpf::refuse_zero_impedance(grid);
  if (word == "merge") return dpf::merge_zero_impedance(grid);
  double reactance = 0;
  const auto result = std::from_chars(word.data(), word.data() + word.size(), reactance);
  if (result.ec != std::errc() || result.ptr != word.data() + word.size() || !(reactance > 0) ||
      !std::isfinite(reactance))
    throw usage_error("--zero-impedance: expected keep, error, merge or a reactance in pu, found \"{}\"", word);
  dpf::raise_zero_impedance(grid, reactance);
}

/// Carries out what the options ask of the grid; what it has to say goes to `warnings`.
void edit(const Options& options, dpf::Grid& grid, std::vector<std::string>& warnings) {
  if (options.dcline) {
    dpf::dc_lines_to_generators(grid);
  } else if (const auto lines = grid.tables.find("dcline"); lines != grid.tables.end() && options.from != "h5") {
    warnings.push_back(
        fmt::format("dcline has {} rows: not used; --dcline makes two generators of each", lines->second.rows));
  }
  for (auto& warning : dpf::check(grid))
    warnings.push_back(std::move(warning));
  treat_zero_impedance(options.zero_impedance, grid);
  if (options.reference_rule != "keep")
    for (auto& warning : dpf::set_references(grid, options.reference_rule == "first"))
      warnings.push_back(std::move(warning));
  if (options.units == "check")
    for (auto& warning : dpf::suspicious_units(grid))
      warnings.push_back(std::move(warning));
}

// The state of one solved scenario put into the columns of the case.
void put_result(dpf::Grid& grid, const dpf::Flows& result) {
  if (!result.vm.empty()) grid.bus.vm = result.vm;
  if (!result.va.empty()) grid.bus.va = result.va;
  if (!result.pg.empty()) grid.gen.pg = result.pg;
  if (!result.qg.empty()) grid.gen.qg = result.qg;
}

void put_changes(h5::Output& file, const std::vector<dpf::Change>& changes) {
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

void write_changes(const Options& options, cli::Session& session, const std::vector<dpf::Change>& changes) {
  if (options.to != "h5") throw usage_error("a change table is written as HDF5 only");
  h5::Output file = h5::Output::create(options.output, session.force);
  file.stamp(session, "table");
  put_changes(file, changes);
  file.commit();
  session.summary.add("changes", changes.size());
}

/// The grid in the format of another program, numbered as that needs it.
std::string text_of(const std::string& format, dpf::Grid& grid, std::vector<std::string>& warnings) {
  if (format == "pandapower") return dpf::pandapower_text(grid, warnings);
  if (dpf::renumber(grid, format == "psse" ? 999'997 : 2'000'000'000))
    warnings.push_back("bus numbers are not those of the input: the format has none below 1");
  if (format == "psse") return dpf::raw_text(grid);
  for (auto& warning : dpf::simplify(grid))
    warnings.push_back(std::move(warning));
  return dpf::matpower_text(grid);
}

/// Warnings, which --strict makes the end of the run.
void report(const Options& options, cli::Session& session, const std::vector<std::string>& warnings) {
  if (options.strict && !warnings.empty()) throw bad_input("{} (--strict)", warnings.front());
  for (const auto& warning : warnings)
    session.warn(warning);
}

// What dpf-import does not know; columns of tables that lost or gained rows fit no more.
void carry(const h5::Input& from, const dpf::Grid& grid, h5::Output& to) {
  std::set<std::string> except = {"/result", "/history", "/jacobian", "/adjoint"};
  const auto rows = [&](const char* path) { return from.exists(path) ? from.info(path).shape[0] : 0; };
  if (rows("/grid/bus/id") != grid.bus.size() || rows("/grid/gen/bus") != grid.gen.size() ||
      rows("/grid/branch/f") != grid.branch.size())
    except.insert("/grid");
  to.carry(from, except);
}

void write(const Options& options, cli::Session& session, Source& source, std::vector<std::string>& warnings) {
  dpf::Grid& grid = source.imported.grid;
  const dpf::Flows* result = source.result ? &*source.result : nullptr;
  std::string text;
  if (options.to != "csv" && result != nullptr) put_result(grid, *result);
  if (options.to != "csv" && options.to != "h5") text = text_of(options.to, grid, warnings);
  report(options, session, warnings);
  summarise(session, grid);
  if (options.to == "csv") {
    dpf::write_csv(options.output, session.force, grid, result);
  } else if (options.to == "h5") {
    h5::Output file = h5::Output::create(options.output, session.force);
    file.stamp(session, "power-case", source.file ? &*source.file : nullptr);
    dpf::write_grid(file, grid);
    if (source.file) carry(*source.file, grid, file);
    file.commit();
  } else {
    formats::Sink sink = formats::Sink::create(options.output, session.force, false);
    sink.write(text);
    sink.commit();
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  const cli::Command command{
      .name = "dpf-import",
      .purpose = "read a power grid from a case file, or write it as one",
      .description =
          "Reads a grid and writes it as HDF5 or for another program. The input's format is found by its content: MATPOWER "
          "case file (.m, case format 1 or 2) or its struct in a MATLAB file (.mat, level 5 or 7.3), PSS/E RAW file (revisions "
          "29 to 35), pandapower network (JSON, versions 2 and 3), power-grid-model input data (JSON), IEEE common data format, "
          "a folder of CSV tables, or HDF5 of kind power-case or power-flow. Output is HDF5, a MATPOWER case file, a PSS/E RAW "
          "file of revision 33, a pandapower network or CSV tables. Numbers in text have 17 significant digits. Solved voltages "
          "and generator outputs of a power-flow file go into the columns of the case.\n\n"
          "A MATPOWER file is evaluated, not scanned: expressions in cells, conversions of units at its end and named column "
          "constants are carried out, and a statement that is not understood ends the run with its line number. DC lines are "
          "not used unless --dcline makes generators of their ends.\n\n"
          "Of a RAW file switched shunts are taken at BINIT, transformers of three windings become a star bus and three branches, loads "
          "keep their shares of constant current and admittance; DC lines, FACTS devices and induction machines are named and not "
          "used.\n\n"
          "A pandapower network is taken as its power flow with angles sees it (T circuit of transformers unless the network's "
          "options say pi). Buses that a closed switch joins become one; /grid/table/fused lists those that went. Open ends of "
          "lines and transformers, star points and inner buses of extended wards are extra buses. Shares of constant current and "
          "impedance count for each load by itself. In power-grid-model data links join their nodes, sources stand behind their "
          "short-circuit impedance, voltage regulators hold voltages; the frequency is 50 Hz.\n\n"
          "A MATPOWER change table (contab_*, scenarios_*) becomes an HDF5 file of kind table that dpf-solve "
          "--scenarios and "
          "dpf-screen --contab read.",
      .arguments = {cli::input("IN", options.input, "file or folder; - is stdin"),
                    cli::output("OUT", options.output, "file, or the folder for --to csv")},
      .options =
          {{"--from",
            &options.from,
            "what IN is",
            {.choices = {"auto", "matpower", "mat", "psse", "pandapower", "cdf", "pgm", "h5", "csv"}}},
           {"--to", &options.to, "what OUT is", {.choices = {"h5", "matpower", "psse", "csv", "pandapower"}}},
           {"--dcline", &options.dcline, "make two generators of each of MATPOWER's DC lines"},
           {"--zero-impedance",
            &options.zero_impedance,
            "branches with r = x = 0: keep, error, merge (one bus of two), or this reactance instead",
            {.value_name = "keep|error|merge|MINX"}},
           {"--ref-rule",
            &options.reference_rule,
            "islands without a reference bus: keep (the solver chooses), or make one of the largest generation or the "
            "first PV bus",
            {.choices = {"keep", "largest", "first"}}},
           {"--units",
            &options.units,
            "check: warn of numbers that look like kW, ohm, kV or V",
            {.choices = {"off", "check"}}},
           {"--strict", &options.strict, "end with an error where there would be a warning"}},
      .examples = {{"dpf-import case14.m case14.h5", "A MATPOWER case as HDF5."},
                   {"dpf-import case33bw.m - | dpf-solve - flow.h5", "Import and solve in one pipe."},
                   {"dpf-import net.json - | dpf-solve - flow.h5", "A pandapower network."},
                   {"dpf-import --to psse case300.m case300.raw", "From one program to another."},
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
    std::vector<std::string> warnings;
    Source source = read(options, warnings);
    if (source.imported.is_changes) {
      report(options, session, warnings);
      return write_changes(options, session, source.imported.changes);
    }
    dpf::about(options.input == "-" ? "stdin" : options.input, [&] { edit(options, source.imported.grid, warnings); });
    write(options, session, source, warnings);
  });
}
