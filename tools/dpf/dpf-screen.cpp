#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <numeric>

#include "cli/command.hpp"
#include "cli/progress.hpp"
#include "layout.hpp"
#include "screen.hpp"

using namespace fachwerk;

namespace {

struct Options {
  std::string input, output;
  std::string branches = "all", generators = "none", pairs, table, limits = "file", rating = "A", guard = "off",
              split = "largest";
  double tolerance = 1e-8, check = 0;
  int max_iterations = 20, top = 10;
  bool full = false;
};

int row_number(std::string_view text, std::size_t rows, std::string_view option) {
  int number = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size() || number < 1 ||
      static_cast<std::size_t>(number) > rows)
    throw usage_error("{}: expected rows 1..{}, found \"{}\"", option, rows, text);
  return number - 1;
}

std::vector<std::string_view> split_at(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(separator, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

std::vector<dpf::Contingency> from_table(const Options& options, const dpf::Grid& grid) {
  const auto source = dpf::ScenarioSource::open(options.table, grid, "auto");
  if (source.changes() == nullptr) throw bad_input("{}: expected a change table, found dense scenarios", options.table);
  const dpf::ChangeTable& table = *source.changes();
  std::vector<dpf::Contingency> out(table.count());
  for (std::size_t s = 0; s < table.count(); ++s) {
    out[s].label = fmt::format("{}", table.labels()[s]);
    const auto [begin, end] = table.range(s);
    for (std::size_t k = begin; k < end; ++k) {
      const dpf::Change& c = table.changes()[k];
      const bool branch = c.table == 3 && c.column == 11, generator = c.table == 2 && c.column == 8;
      if ((!branch && !generator) || c.row < 1 || c.type != 1 || c.value != 0)
        throw bad_input("{}: label {}: dpf-screen understands only branches and generators that are switched off",
                        options.table, c.label)
            .with_hint("dpf-solve --scenarios solves any change table");
      (branch ? out[s].branches : out[s].generators).push_back(c.row - 1);
    }
  }
  return out;
}

std::vector<dpf::Contingency> contingencies_of(const Options& options, const dpf::Grid& grid,
                                               const dpf::Network& network) {
  std::vector<dpf::Contingency> out;
  if (!options.table.empty()) return from_table(options, grid);
  const auto add = [&](std::vector<dpf::Contingency> more) { out.insert(out.end(), more.begin(), more.end()); };
  if (options.branches == "all")
    add(dpf::all_branches(network));
  else if (options.branches != "none")
    for (const auto word : split_at(options.branches, ','))
      out.push_back({{row_number(word, grid.branch.size(), "--branches")}, {}, {}});
  if (options.generators == "all")
    add(dpf::all_generators(network));
  else if (options.generators != "none")
    for (const auto word : split_at(options.generators, ','))
      out.push_back({{}, {row_number(word, grid.gen.size(), "--gens")}, {}});
  if (!options.pairs.empty())
    for (const auto word : split_at(options.pairs, ',')) {
      const auto ends = split_at(word, '-');
      if (ends.size() != 2) throw usage_error("--pairs: expected ROW-ROW, found \"{}\"", word);
      out.push_back(
          {{row_number(ends[0], grid.branch.size(), "--pairs"), row_number(ends[1], grid.branch.size(), "--pairs")},
           {},
           {}});
    }
  if (out.empty()) throw usage_error("no contingency: --branches, --gens, --pairs and --contab select nothing");
  return out;
}

std::string label_of(const dpf::Contingency& c, const dpf::Grid& grid) {
  if (!c.label.empty()) return c.label;
  std::string text;
  for (const int k : c.branches)
    text += fmt::format("{}{}-{}", text.empty() ? "" : " + ", grid.branch.from[k], grid.branch.to[k]);
  for (const int g : c.generators)
    text += fmt::format("{}gen {}", text.empty() ? "" : " + ", grid.gen.bus[g]);
  return text;
}

void write(const Options& options, cli::Session& session, const dpf::LoadedGrid& input,
           const std::vector<dpf::Contingency>& contingencies, const std::vector<dpf::ContingencyResult>& results,
           const std::vector<double>& vm, const std::vector<double>& va) {
  const dpf::Grid& grid = input.grid;
  h5::Output file = h5::Output::create(options.output, session.force);
  file.stamp(session, "power-flow", input.file ? &*input.file : nullptr);
  dpf::write_grid(file, grid);
  const auto column = [&]<class T>(const char* name, const char* units, const char* meaning, auto&& value, T) {
    std::vector<T> values;
    for (std::size_t c = 0; c < results.size(); ++c)
      values.push_back(static_cast<T>(value(c)));
    file.column(std::string("/screen/") + name, values,
                {.units = units, .long_name = meaning, .dims = {"contingency"}});
  };
  const auto bus_id = [&](int row) { return row < 0 ? std::int64_t{-1} : grid.bus.id[row]; };
  std::vector<std::string> labels;
  for (const auto& c : contingencies)
    labels.push_back(label_of(c, grid));
  file.strings("/screen/label", labels, {.long_name = "elements that are out", .dims = {"contingency"}});
  column(
      "kind", "", "0 branch, 1 generator, 2 several",
      [&](std::size_t c) {
        return contingencies[c].branches.size() + contingencies[c].generators.size() > 1 ? 2
               : contingencies[c].branches.empty()                                       ? 1
                                                                                         : 0;
      },
      std::int8_t{});
  column(
      "element", "", "row of the first element that is out, from 1",
      [&](std::size_t c) {
        return 1 +
               (contingencies[c].branches.empty() ? contingencies[c].generators.at(0) : contingencies[c].branches[0]);
      },
      std::int64_t{});
  column(
      "status", "", "0 solved, 1 split, 2 infeasible, 3 unsolved, 4 no source left, 5 skipped",
      [&](std::size_t c) { return results[c].verdict; }, std::int8_t{});
  column(
      "iters", "", "iterations", [&](std::size_t c) { return results[c].iterations; }, std::int32_t{});
  column(
      "path", "", "what solved it, as in /result/path", [&](std::size_t c) { return results[c].path; }, std::uint8_t{});
  column(
      "early", "", "1 decided early by the guard band", [&](std::size_t c) { return results[c].early; },
      std::uint8_t{});
  column(
      "max_mismatch", "pu", "largest mismatch; of the closest point where infeasible",
      [&](std::size_t c) { return results[c].max_mismatch; }, double{});
  column(
      "severity", "1", "largest loading or voltage deviation relative to its limit",
      [&](std::size_t c) { return results[c].severity; }, double{});
  column(
      "pi_mw", "1", "sum of squared loadings", [&](std::size_t c) { return results[c].performance_mw; }, double{});
  column(
      "pi_v", "1", "sum of squared voltage deviations", [&](std::size_t c) { return results[c].performance_v; },
      double{});
  column(
      "worst_branch", "", "row of the highest loaded branch, from 1, 0 none",
      [&](std::size_t c) { return results[c].worst_branch + 1; }, std::int64_t{});
  column(
      "worst_loading", "percent", "its loading", [&](std::size_t c) { return results[c].worst_loading; }, double{});
  column(
      "vmin", "pu", "lowest voltage", [&](std::size_t c) { return results[c].vmin; }, double{});
  column(
      "vmin_bus", "", "its bus", [&](std::size_t c) { return bus_id(results[c].vmin_bus); }, std::int64_t{});
  column(
      "vmax", "pu", "highest voltage", [&](std::size_t c) { return results[c].vmax; }, double{});
  column(
      "vmax_bus", "", "its bus", [&](std::size_t c) { return bus_id(results[c].vmax_bus); }, std::int64_t{});
  column(
      "lost_load_mw", "MW", "load that a split cuts off", [&](std::size_t c) { return results[c].lost_load_mw; },
      double{});
  column(
      "n_viol", "", "violations", [&](std::size_t c) { return results[c].violations.size(); }, std::int32_t{});
  std::vector<std::int64_t> start = {0}, element;
  std::vector<std::int8_t> kind;
  std::vector<double> value;
  for (const auto& result : results) {
    for (const auto& v : result.violations) {
      kind.push_back(v.kind);
      element.push_back(v.kind == 0 ? v.element + 1 : bus_id(v.element));
      value.push_back(v.value);
    }
    start.push_back(static_cast<std::int64_t>(element.size()));
  }
  file.column("/screen/violations/ptr", start,
              {.long_name = "contingency c has entries ptr[c] to ptr[c+1]", .dims = {"contingency+1"}});
  file.column("/screen/violations/kind", kind,
              {.long_name = "0 branch overloaded, 1 voltage too low, 2 too high", .dims = {"violation"}});
  file.column("/screen/violations/element", element,
              {.long_name = "branch row from 1, or bus number", .dims = {"violation"}});
  file.column("/screen/violations/value", value,
              {.units = "percent or pu", .long_name = "loading or voltage", .dims = {"violation"}});
  if (options.full) {
    const h5::Shape shape = {results.size(), grid.bus.size()};
    file.write("/result/vm", vm, shape,
               {.units = "pu",
                .long_name = "voltage magnitude, NaN where not solved by chord",
                .dims = {"contingency", "bus"}});
    file.write("/result/va", va, shape, {.units = "deg", .long_name = "voltage angle", .dims = {"contingency", "bus"}});
  }
  if (input.file) file.carry(*input.file, {"/result", "/screen"});
  file.commit();
}

void screen(const Options& options, cli::Session& session) {
  const dpf::LoadedGrid input = dpf::load_grid(options.input);
  const dpf::Grid& grid = input.grid;
  for (const auto& warning : input.warnings)
    session.warn(warning);
  const dpf::Network network = dpf::build_network(grid);
  const dpf::Problem problem = dpf::problem_of(network);
  dpf::Newton newton(network);
  const dpf::ScenarioResult base =
      dpf::climb(grid, newton, problem, dpf::starting_point(grid, problem, dpf::Start::automatic),
                 {.tolerance = options.tolerance});
  if (base.solution.status != dpf::Status::converged)
    throw method_failed("{}: the intact grid has no solution ({}, max mismatch {:.3g} pu)", input.name,
                        dpf::name(base.solution.status), base.solution.max_mismatch);
  dpf::ScreenOptions screen_options{.tolerance = options.tolerance,
                                    .max_iterations = options.max_iterations,
                                    .solve_split = options.split != "skip",
                                    .keep_islands = options.split == "island",
                                    .rating = options.rating[0],
                                    .check = options.check,
                                    .seed = session.seed};
  if (options.guard == "auto") {
    screen_options.guard = 3;
  } else if (options.guard != "off") {
    const auto word = std::string_view(options.guard);
    const auto result = std::from_chars(word.data(), word.data() + word.size(), screen_options.guard);
    if (result.ec != std::errc() || result.ptr != word.data() + word.size() || !(screen_options.guard > 0))
      throw usage_error("--guard: expected auto, off or a positive number, found \"{}\"", options.guard);
  }
  if (options.limits != "file") {
    const auto ends = split_at(options.limits, ',');
    const auto number = [&](std::string_view word, double& value) {
      const auto result = std::from_chars(word.data(), word.data() + word.size(), value);
      return result.ec == std::errc() && result.ptr == word.data() + word.size();
    };
    if (ends.size() != 2 || !number(ends[0], screen_options.vmin) || !number(ends[1], screen_options.vmax) ||
        !(screen_options.vmin < screen_options.vmax))
      throw usage_error("--limits: expected file or VMIN,VMAX in pu, found \"{}\"", options.limits);
  }
  const auto contingencies = contingencies_of(options, grid, network);
  std::vector<double> vm, va;
  if (options.full) {
    vm.assign(contingencies.size() * grid.bus.size(), NAN);
    va = vm;
  }
  const auto clock = std::chrono::steady_clock::now();
  dpf::Screen screen(grid, network, base.solution.state, screen_options);
  cli::Progress progress(session, "screening", contingencies.size(), "contingencies");
  const auto keep = [&](std::size_t c, const std::vector<double>& v, const std::vector<double>& a) {
    std::ranges::copy(v, vm.begin() + static_cast<std::ptrdiff_t>(c * grid.bus.size()));
    for (std::size_t i = 0; i < a.size(); ++i)
      va[c * grid.bus.size() + i] = a[i] * 180 / 3.14159265358979323846;
  };
  const auto results = options.full ? screen.run(
                                          contingencies, [&](std::size_t n) { progress.advance(n); }, keep)
                                    : screen.run(contingencies, [&](std::size_t n) { progress.advance(n); });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - clock).count();
  write(options, session, input, contingencies, results, vm, va);

  auto& summary = session.summary;
  summary.add("case", grid.name);
  summary.add("contingencies", contingencies.size());
  for (int verdict = 0; verdict <= 5; ++verdict)
    if (const auto count =
            std::ranges::count(results, static_cast<dpf::Verdict>(verdict), &dpf::ContingencyResult::verdict);
        count > 0)
      summary.add(dpf::name(static_cast<dpf::Verdict>(verdict)), count);
  std::vector<int> iterations;
  for (const auto& r : results)
    if (r.verdict == dpf::Verdict::solved) iterations.push_back(r.iterations);
  std::ranges::sort(iterations);
  if (!iterations.empty()) {
    summary.add("iterations, median", iterations[iterations.size() / 2]);
    summary.add("iterations, most", iterations.back());
  }
  if (screen_options.guard > 0)
    summary.add("decided early", std::ranges::count(results, true, &dpf::ContingencyResult::early));
  if (options.check > 0) {
    double worst = 0;
    std::int64_t checked = 0;
    for (const auto& r : results)
      if (r.check_difference >= 0) ++checked, worst = std::max(worst, r.check_difference);
    summary.add("checked by Newton", checked);
    summary.add("largest voltage difference", worst, "pu");
    if (worst > 1e-6)
      session.fail(fmt::format("a checked contingency differs from Newton's solution by {:.3g} pu", worst));
  }
  summary.add("contingencies with a violation",
              std::ranges::count_if(results, [](const auto& r) { return !r.violations.empty(); }));
  summary.add("time to solve", seconds, "s");
  std::vector<std::size_t> order(results.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
    const auto rank = [&](std::size_t c) {
      return results[c].verdict >= dpf::Verdict::infeasible ? INFINITY : results[c].severity;
    };
    return rank(a) > rank(b);
  });
  cli::Table table{
      "worst", {"contingency", "out", "verdict", "severity", "loading %", "branch", "vmin pu", "bus", "violations"}};
  for (std::size_t i = 0; i < std::min<std::size_t>(static_cast<std::size_t>(options.top), order.size()); ++i) {
    const auto& r = results[order[i]];
    table.rows.push_back(
        {static_cast<std::int64_t>(order[i] + 1), label_of(contingencies[order[i]], grid), dpf::name(r.verdict),
         r.severity, r.worst_loading, static_cast<std::int64_t>(r.worst_branch + 1), r.vmin,
         r.vmin_bus < 0 ? std::int64_t{-1} : grid.bus.id[r.vmin_bus], static_cast<std::int64_t>(r.violations.size())});
  }
  summary.add(std::move(table));
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  const cli::Command command{
      .name = "dpf-screen",
      .purpose = "find out what happens when branches or generators fail",
      .description =
          "Solves the power flow with each branch or generator out of service (N-1), with pairs of branches, or with the outages of "
          "a change table, and lists overloads and voltage violations, worst first.\n\n"
          "All outages share the factor of the intact grid's Jacobian: an outage is a correction of rank four (Woodbury), iterations "
          "are accelerated (Anderson), many outages run side by side. What contracts too slowly is solved by Newton's method and a "
          "ladder of stronger ones; where Levenberg-Marquardt ends at a minimum of the mismatch that is no solution the verdict is "
          "infeasible, and the residual tells how far away a solution is. Outages that split the grid are found beforehand; the part "
          "with the reference is solved and the rest counted as lost load.\n\n"
          "With --guard a contingency is decided as soon as every loading and voltage is further from its limit than the given number "
          "of estimated errors. That is an estimate, not a proof: --check measures it.",
      .arguments = {cli::input("IN", options.input,
                               "grid, kind power-case or power-flow, or a MATPOWER case file (.m); - is stdin (HDF5)"),
                    cli::output("OUT", options.output, "contingency table, kind power-flow")},
      .options =
          {{"--branches", &options.branches, "branches to take out: all, none, or rows from 1", {.value_name = "LIST"}},
           {"--gens", &options.generators, "generators to take out: all, none, or rows from 1", {.value_name = "LIST"}},
           {"--pairs", &options.pairs, "pairs of branches to take out together, as 3-7,12-40", {.value_name = "LIST"}},
           {"--contab",
            &options.table,
            "outages of a MATPOWER change table (.m, or HDF5 from dpf-import) instead",
            {.value_name = "FILE"}},
           {"--limits", &options.limits, "voltage limits: file, or VMIN,VMAX in pu", {.value_name = "LIMITS"}},
           {"--rating", &options.rating, "which rating limits the branches", {.choices = {"A", "B", "C"}}},
           {"--guard",
            &options.guard,
            "decide early: off, auto (3), or the width of the guard band in estimated errors",
            {.value_name = "KAPPA"}},
           {"--split",
            &options.split,
            "outages that split the grid: solve the part with the reference, every part with a generator, or skip",
            {.choices = {"largest", "island", "skip"}}},
           {"--tol", &options.tolerance, "largest power mismatch", {.unit = "pu", .minimum = 1e-14, .maximum = 1}},
           {"--max-iter",
            &options.max_iterations,
            "most iterations of Newton's method",
            {.minimum = 1, .maximum = 10000}},
           {"--check",
            &options.check,
            "fraction of outages solved again by Newton's method and compared",
            {.minimum = 0, .maximum = 1}},
           {"--top", &options.top, "rows of the printed table", {.minimum = 0, .maximum = 100000}},
           {"--full", &options.full, "write the voltages of every contingency"}},
      .examples = {{"dpf-screen case118.h5 n1.h5", "N-1 of all branches."},
                   {"dpf-screen --gens all --branches none --limits .95,1.05 case118.h5 gens.h5",
                    "N-1 of all generators, with other voltage limits."},
                   {"dpf-screen --guard auto --check .1 --rating B case300.h5 n1.h5",
                    "Decide early, and measure what that does."}},
      .reference =
          "Oez, Hoerter, Phipps, Debus, Streit, Goetz: Differentiable Power-Flow Optimization. arXiv 2603.28203 (2026). Low-rank updates: "
          "Alsac, Stott, Tinney: IEEE Transactions on Power Apparatus and Systems 102 (1983) 2471-2479.",
      .reads = "/grid/{bus,gen,branch}/*  as dpf-import writes it\n/changes/*  with --contab",
      .writes =
          "/grid/*  as read\n/screen/{label,kind,element,status,iters,path,early,max_mismatch,severity,pi_mw,pi_v}[contingency]\n"
          "/screen/{worst_branch,worst_loading,vmin,vmin_bus,vmax,vmax_bus,lost_load_mw,n_viol}[contingency]\n"
          "/screen/violations/{ptr,kind,element,value}\n/result/{vm,va}[contingency,bus]  with --full",
      .standard = {.threads = true, .seed = true}};
  return command.run(argc, argv, [&](cli::Session& session) { screen(options, session); });
}
