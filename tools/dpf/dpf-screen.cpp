#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "cli/command.hpp"
#include "cli/progress.hpp"
#include "cluster/world.hpp"
#include "farm.hpp"
#include "io/bytes.hpp"
#include "io/plot.hpp"
#include "layout.hpp"
#include "screen.hpp"

using namespace fachwerk;

namespace {

struct Options {
  std::string input, output;
  std::string branches = "all", generators = "none", pairs, table, limits = "file", rating = "A", guard = "off",
              split = "largest", prefilter = "none", scenarios, area = "auto", plot;
  double tolerance = 1e-8, check = 0, prefilter_guard = 1;
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

// The words of a list: A,B,C, or those of a text file of that name, between blanks, commas and line ends; # begins a
// comment.
std::vector<std::string> words_of(const std::string& list) {
  std::string text = list;
  if (std::error_code error; std::filesystem::is_regular_file(list, error)) {
    const formats::File file = formats::File::open(list);
    text.clear();
    bool comment = false;
    for (const char c : file.text()) {
      comment = c == '#' || (comment && c != '\n');
      text += comment || c == ' ' || c == '\t' || c == '\r' || c == '\n' ? ',' : c;
    }
  }
  std::vector<std::string> words;
  for (const auto word : split_at(text, ','))
    if (!word.empty() || text == list) words.emplace_back(word);
  return words;
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
    for (const auto& word : words_of(options.branches))
      out.push_back({{row_number(word, grid.branch.size(), "--branches")}, {}, {}});
  if (options.generators == "all")
    add(dpf::all_generators(network));
  else if (options.generators != "none")
    for (const auto& word : words_of(options.generators))
      out.push_back({{}, {row_number(word, grid.gen.size(), "--gens")}, {}});
  if (!options.pairs.empty())
    for (const auto& word : words_of(options.pairs)) {
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

// A contingency's result as numbers, for the way from rank to rank and into the file: `append` and `take` mirror each
// other.
class Row {
 public:
  static void append(std::vector<double>& to, const dpf::ContingencyResult& r, std::span<const double> voltages) {
    for (const double x :
         {static_cast<double>(r.verdict), static_cast<double>(r.iterations), static_cast<double>(r.path),
          static_cast<double>(r.early), r.max_mismatch, r.worst_loading, static_cast<double>(r.worst_branch), r.vmin,
          r.vmax, static_cast<double>(r.vmin_bus), static_cast<double>(r.vmax_bus), r.sum_vm, r.performance_mw,
          r.performance_v, r.severity, r.lost_load_mw, r.check_difference, static_cast<double>(r.violations.size())})
      to.push_back(x);
    for (const dpf::Violation& v : r.violations)
      to.insert(to.end(), {static_cast<double>(v.kind), static_cast<double>(v.element), v.value});
    to.insert(to.end(), voltages.begin(), voltages.end());
  }
  static dpf::ContingencyResult take(std::span<const double>& from) {
    dpf::ContingencyResult r;
    const auto next = [&] {
      const double x = from[0];
      from = from.subspan(1);
      return x;
    };
    r.verdict = static_cast<dpf::Verdict>(next());
    r.iterations = static_cast<int>(next());
    r.path = static_cast<dpf::Path>(next());
    r.early = next() != 0;
    r.max_mismatch = next();
    r.worst_loading = next();
    r.worst_branch = static_cast<int>(next());
    r.vmin = next();
    r.vmax = next();
    r.vmin_bus = static_cast<int>(next());
    r.vmax_bus = static_cast<int>(next());
    r.sum_vm = next();
    r.performance_mw = next();
    r.performance_v = next();
    r.severity = next();
    r.lost_load_mw = next();
    r.check_difference = next();
    r.violations.resize(static_cast<std::size_t>(next()));
    for (dpf::Violation& v : r.violations) {
      v.kind = static_cast<std::int8_t>(next());
      v.element = static_cast<int>(next());
      v.value = next();
    }
    return r;
  }
};

// Everything that a run screens: contingencies of the grid, for one operating point or for each of several.
struct Study {
  std::vector<dpf::Contingency> contingencies;
  std::size_t points = 1;
  std::size_t size() const { return points * contingencies.size(); }
};

// Solves blocks of a study; keeps the factors of the operating point it is at.
class Screener {
 public:
  Screener(const Options& options, const dpf::ScreenOptions& screen_options, const dpf::LoadedGrid& input,
           const Study& study, dpf::ScenarioSource* source)
      : options_(options), screen_options_(screen_options), input_(input), study_(study), source_(source) {}

  std::span<const double> solve(cluster::Block block) {
    std::vector<double>& out = values_;
    out.clear();
    const std::size_t width = study_.contingencies.size();
    for (std::size_t at = block.begin; at < block.end();) {
      const std::size_t point = at / width, first = at % width, count = std::min(width - first, block.end() - at);
      solve_at(point, first, count, out);
      at += count;
    }
    return out;
  }

 private:
  // The intact grid at an operating point, solved.
  struct At {
    std::size_t point;
    dpf::Grid grid;
    dpf::Network network;
    std::optional<dpf::Screen> screen = {};
  };

  void move_to(std::size_t point) {
    if (at_ && at_->point == point) return;
    std::optional<dpf::Grid> grid = input_.grid;
    if (source_ != nullptr) {
      source_->load(point, 1);
      grid = source_->grid(point);
    }
    at_.reset(new At{point, grid ? std::move(*grid) : input_.grid, {}});
    if (!grid) return;
    at_->network = dpf::build_network(at_->grid);
    const dpf::Problem problem = dpf::problem_of(at_->network);
    dpf::Newton newton(at_->network);
    dpf::ScenarioResult base =
        dpf::climb(at_->grid, newton, problem, dpf::starting_point(at_->grid, problem, dpf::Start::automatic),
                   {.tolerance = options_.tolerance});
    if (base.solution.status == dpf::Status::converged)
      at_->screen.emplace(at_->grid, at_->network, std::move(base.solution.state), screen_options_);
    else if (source_ == nullptr)
      throw method_failed("{}: the intact grid has no solution ({}, max mismatch {:.3g} pu)", input_.name,
                          dpf::name(base.solution.status), base.solution.max_mismatch);
  }

  void solve_at(std::size_t point, std::size_t first, std::size_t count, std::vector<double>& out) {
    move_to(point);
    const auto begin = study_.contingencies.begin() + static_cast<std::ptrdiff_t>(first);
    const std::vector<dpf::Contingency> part(begin, begin + static_cast<std::ptrdiff_t>(count));
    const std::size_t n = input_.grid.bus.size(), width = options_.full ? 2 * n : 0;
    std::vector<double> voltages(count * width, NAN);
    const auto keep = [&](std::size_t c, const std::vector<double>& vm, const std::vector<double>& va) {
      const std::span<double> row = std::span(voltages).subspan(c * width, width);
      std::ranges::copy(vm, row.begin());
      for (std::size_t i = 0; i < n; ++i)
        row[n + i] = va[i] * 180 / 3.14159265358979323846;
    };
    std::vector<dpf::ContingencyResult> results(count);  // unsolved, where the operating point itself has no solution
    if (at_->screen && options_.full)
      results = at_->screen->run(
          part, [](std::size_t) {}, keep);
    else if (at_->screen)
      results = at_->screen->run(part, [](std::size_t) {});
    for (std::size_t c = 0; c < count; ++c)
      Row::append(out, results[c], std::span(voltages).subspan(c * width, width));
  }

  const Options& options_;
  dpf::ScreenOptions screen_options_;
  const dpf::LoadedGrid& input_;
  const Study& study_;
  dpf::ScenarioSource* source_;
  std::unique_ptr<At> at_;
  std::vector<double> values_;
};

int kind_of(const dpf::Contingency& c) {
  if (c.branches.size() + c.generators.size() > 1) return 2;
  return c.branches.empty() ? 1 : 0;
}

void write_violations(h5::Output& file, const dpf::Grid& grid, const std::vector<dpf::ContingencyResult>& results) {
  std::vector<std::int64_t> start = {0}, element;
  std::vector<std::int8_t> kind;
  std::vector<double> value;
  for (const auto& result : results) {
    for (const auto& v : result.violations) {
      kind.push_back(v.kind);
      element.push_back(v.kind == 0 ? v.element + 1 : grid.bus.id[v.element]);
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
}

void write_table(h5::Output& file, const dpf::Grid& grid, const Study& study,
                 const std::vector<dpf::ContingencyResult>& results) {
  const std::size_t width = study.contingencies.size();
  const auto contingency = [&](std::size_t c) -> const dpf::Contingency& { return study.contingencies[c % width]; };
  const auto column = [&]<class T>(const char* name, const char* units, const char* meaning, auto&& value, T) {
    std::vector<T> values;
    for (std::size_t c = 0; c < results.size(); ++c)
      values.push_back(static_cast<T>(value(c)));
    file.column(std::string("/screen/") + name, values,
                {.units = units, .long_name = meaning, .dims = {"contingency"}});
  };
  const auto bus_id = [&](int row) { return row < 0 ? std::int64_t{-1} : grid.bus.id[row]; };
  const auto of = [&](auto member) { return [&results, member](std::size_t c) { return results[c].*member; }; };
  using Result = dpf::ContingencyResult;
  std::vector<std::string> labels;
  for (std::size_t c = 0; c < results.size(); ++c)
    labels.push_back(label_of(contingency(c), grid));
  file.strings("/screen/label", labels, {.long_name = "elements that are out", .dims = {"contingency"}});
  if (study.points > 1)
    column(
        "scenario", "", "operating point, from 0", [&](std::size_t c) { return c / width; }, std::int64_t{});
  column(
      "kind", "", "0 branch, 1 generator, 2 several", [&](std::size_t c) { return kind_of(contingency(c)); },
      std::int8_t{});
  column(
      "element", "", "row of the first element that is out, from 1",
      [&](std::size_t c) {
        const auto& out = contingency(c);
        return 1 + (out.branches.empty() ? out.generators.at(0) : out.branches[0]);
      },
      std::int64_t{});
  column("status", "", "0 solved, 1 split, 2 infeasible, 3 unsolved, 4 no source left, 5 skipped, 6 prefiltered",
         of(&Result::verdict), std::int8_t{});
  column("iters", "", "iterations", of(&Result::iterations), std::int32_t{});
  column("path", "", "what solved it, as in /result/path", of(&Result::path), std::uint8_t{});
  column("early", "", "1 decided early by the guard band or the prefilter", of(&Result::early), std::uint8_t{});
  column("max_mismatch", "pu", "largest mismatch; of the closest point where infeasible", of(&Result::max_mismatch),
         double{});
  column("severity", "1", "largest loading or voltage deviation relative to its limit", of(&Result::severity),
         double{});
  column("pi_mw", "1", "sum of squared loadings", of(&Result::performance_mw), double{});
  column("pi_v", "1", "sum of squared voltage deviations", of(&Result::performance_v), double{});
  column(
      "worst_branch", "", "row of the highest loaded branch, from 1, 0 none",
      [&](std::size_t c) { return results[c].worst_branch + 1; }, std::int64_t{});
  column("worst_loading", "percent", "its loading", of(&Result::worst_loading), double{});
  column("vmin", "pu", "lowest voltage", of(&Result::vmin), double{});
  column(
      "vmin_bus", "", "its bus", [&](std::size_t c) { return bus_id(results[c].vmin_bus); }, std::int64_t{});
  column("vmax", "pu", "highest voltage", of(&Result::vmax), double{});
  column(
      "vmax_bus", "", "its bus", [&](std::size_t c) { return bus_id(results[c].vmax_bus); }, std::int64_t{});
  column("lost_load_mw", "MW", "load that a split cuts off", of(&Result::lost_load_mw), double{});
  column(
      "n_viol", "", "violations", [&](std::size_t c) { return results[c].violations.size(); }, std::int32_t{});
  write_violations(file, grid, results);
}

// Contingencies by severity, worst first; what has no solution before all others.
std::vector<std::size_t> ranking(const std::vector<dpf::ContingencyResult>& results) {
  std::vector<std::size_t> order(results.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto rank = [&](std::size_t c) {
    const dpf::Verdict v = results[c].verdict;
    return v == dpf::Verdict::infeasible || v == dpf::Verdict::unsolved || v == dpf::Verdict::no_source
               ? INFINITY
               : results[c].severity;
  };
  std::ranges::stable_sort(order, std::greater{}, rank);
  return order;
}

void plot_ranking(const Options& options, cli::Session& session, const dpf::Grid& grid,
                  const std::vector<dpf::ContingencyResult>& results) {
  std::vector<double> loading;
  for (const auto& r : results)
    if (r.verdict == dpf::Verdict::solved || r.verdict == dpf::Verdict::split) loading.push_back(r.worst_loading);
  std::ranges::sort(loading, std::greater{});
  plot::Figure figure;
  figure.title = fmt::format("{}: highest loading after each outage", grid.name);
  figure.x_label = "rank of the outage";
  figure.y_label = plot::label("loading", "percent");
  plot::Series ranked{.name = "highest loading", .y = loading};
  for (std::size_t i = 0; i < loading.size(); ++i)
    ranked.x.push_back(static_cast<double>(i + 1));
  const double last = std::max(2.0, static_cast<double>(loading.size()));
  figure.series = {std::move(ranked), {.name = "limit", .x = {1, last}, .y = {100, 100}}};
  plot::save(figure, options.plot, session.force);
}

void summarise_checks(const Options& options, cli::Session& session,
                      const std::vector<dpf::ContingencyResult>& results) {
  if (options.check <= 0) return;
  double worst = 0;
  std::int64_t checked = 0;
  for (const auto& r : results)
    if (r.check_difference >= 0) ++checked, worst = std::max(worst, r.check_difference);
  session.summary.add("checked by Newton", checked);
  session.summary.add("largest voltage difference", worst, "pu");
  if (worst > 1e-6)
    session.fail(fmt::format("a checked contingency differs from Newton's solution by {:.3g} pu", worst));
}

void summarise(const Options& options, cli::Session& session, const dpf::Grid& grid, const Study& study,
               const std::vector<dpf::ContingencyResult>& results, double seconds) {
  auto& summary = session.summary;
  summary.add("case", grid.name);
  if (study.points > 1) summary.add("operating points", study.points);
  summary.add("contingencies", results.size());
  for (int verdict = 0; verdict <= 6; ++verdict)
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
  if (options.guard != "off")
    summary.add("decided early", std::ranges::count(results, true, &dpf::ContingencyResult::early));
  summarise_checks(options, session, results);
  summary.add("contingencies with a violation",
              std::ranges::count_if(results, [](const auto& r) { return !r.violations.empty(); }));
  summary.add("time to solve", seconds, "s");
  const auto order = ranking(results);
  cli::Table table{
      "worst", {"contingency", "out", "verdict", "severity", "loading %", "branch", "vmin pu", "bus", "violations"}};
  for (std::size_t i = 0; i < std::min<std::size_t>(static_cast<std::size_t>(options.top), order.size()); ++i) {
    const auto& r = results[order[i]];
    table.rows.push_back(
        {static_cast<std::int64_t>(order[i] + 1),
         label_of(study.contingencies[order[i] % study.contingencies.size()], grid), dpf::name(r.verdict), r.severity,
         r.worst_loading, static_cast<std::int64_t>(r.worst_branch + 1), r.vmin,
         r.vmin_bus < 0 ? std::int64_t{-1} : grid.bus.id[r.vmin_bus], static_cast<std::int64_t>(r.violations.size())});
  }
  summary.add(std::move(table));
}

dpf::ScreenOptions screen_options_of(const Options& options, const cli::Session& session) {
  dpf::ScreenOptions out{.tolerance = options.tolerance,
                         .max_iterations = options.max_iterations,
                         .solve_split = options.split != "skip",
                         .keep_islands = options.split == "island",
                         .rating = options.rating[0],
                         .prefilter = options.prefilter == "lodf" ? options.prefilter_guard : 0,
                         .check = options.check,
                         .seed = session.seed};
  const auto number = [](std::string_view word, double& value) {
    const auto result = std::from_chars(word.data(), word.data() + word.size(), value);
    return result.ec == std::errc() && result.ptr == word.data() + word.size();
  };
  if (options.guard == "auto")
    out.guard = 3;
  else if (options.guard != "off" && (!number(options.guard, out.guard) || !(out.guard > 0)))
    throw usage_error("--guard: expected auto, off or a positive number, found \"{}\"", options.guard);
  if (options.limits != "file") {
    const auto ends = split_at(options.limits, ',');
    if (ends.size() != 2 || !number(ends[0], out.vmin) || !number(ends[1], out.vmax) || !(out.vmin < out.vmax))
      throw usage_error("--limits: expected file or VMIN,VMAX in pu, found \"{}\"", options.limits);
  }
  return out;
}

// The output, on the rank that writes: the table is kept until the end, voltages go into the file as they come.
class Writer {
 public:
  Writer(const Options& options, cli::Session& session, const dpf::LoadedGrid& input, const Study& study)
      : input_(input),
        study_(study),
        full_(options.full),
        file_(h5::Output::create(options.output, session.force)),
        results(study.size()) {
    file_.stamp(session, "power-flow", input.file ? &*input.file : nullptr);
    dpf::write_grid(file_, input.grid);
    if (full_) dpf::create_flows(file_, study.size(), input.grid, {.flows = false, .generators = false});
  }
  void write(cluster::Block block, std::span<const double> values) {
    const std::size_t n = input_.grid.bus.size();
    std::vector<dpf::Flows> voltages(full_ ? block.count : 0);
    for (std::size_t i = 0; i < block.count; ++i) {
      results[block.begin + i] = Row::take(values);
      if (!full_) continue;
      voltages[i].vm.assign(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(n));
      voltages[i].va.assign(values.begin() + static_cast<std::ptrdiff_t>(n),
                            values.begin() + static_cast<std::ptrdiff_t>(2 * n));
      values = values.subspan(2 * n);
    }
    std::vector<const dpf::Flows*> rows;
    for (const auto& v : voltages)
      rows.push_back(&v);
    if (full_) dpf::write_flows(file_, block.begin, rows, {.flows = false, .generators = false});
  }
  void finish() {
    write_table(file_, input_.grid, study_, results);
    if (input_.file) file_.carry(*input_.file, {"/result", "/screen", "/scenarios"});
    file_.commit();
  }

 private:
  const dpf::LoadedGrid& input_;
  const Study& study_;
  bool full_;
  h5::Output file_;

 public:
  std::vector<dpf::ContingencyResult> results;
};

void screen(const Options& options, cli::Session& session, const cluster::Communicator& world) {
  if (!options.plot.empty()) plot::format_of(options.plot);  // before any work
  if (world.size() > 1 && (options.input == "-" || options.output == "-" || options.scenarios == "-"))
    throw usage_error("- is a pipe of one process, and there are {} ranks", world.size()).with_hint("give a file name");
  const dpf::ScreenOptions screen_options = screen_options_of(options, session);
  const dpf::LoadedGrid input = dpf::load_grid(options.input);
  for (const auto& warning : input.warnings)
    session.warn(warning);
  std::optional<dpf::ScenarioSource> source;
  if (!options.scenarios.empty()) source = dpf::ScenarioSource::open(options.scenarios, input.grid, options.area);
  Study study{
      contingencies_of(options, input.grid, dpf::about(input.name, [&] { return dpf::build_network(input.grid); }))};
  if (source) study.points = source->count();
  const auto clock = std::chrono::steady_clock::now();
  Screener screener(options, screen_options, input, study, source ? &*source : nullptr);
  std::optional<Writer> writer;
  if (world.root()) writer.emplace(options, session, input, study);
  // One rank takes an operating point whole, several share even one.
  const std::size_t width = study.contingencies.size(),
                    grain = world.size() == 1 ? width : std::min<std::size_t>(width, 64);
  {
    cli::Progress progress(session, "screening", study.size(), "contingencies");
    dpf::farm_out(
        world, study.size(), grain, width, [&](cluster::Block part) { return screener.solve(part); },
        [&](cluster::Block part, std::span<const double> values) {
          writer->write(part, values);
          progress.advance(part.count);
        });
  }
  if (!world.root()) return;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - clock).count();
  writer->finish();
  if (!options.plot.empty()) plot_ranking(options, session, input.grid, writer->results);
  summarise(options, session, input.grid, study, writer->results, seconds);
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
          "of estimated errors. That is an estimate, not a proof: --check measures it.\n\n"
          "Under mpirun the ranks share the outages, and the first rank writes; results do not depend on the number of ranks.",
      .arguments = {cli::input("IN", options.input,
                               "grid, kind power-case or power-flow, or a MATPOWER case file (.m); - is stdin (HDF5)"),
                    cli::output("OUT", options.output, "contingency table, kind power-flow")},
      .options =
          {{"--branches",
            &options.branches,
            "branches to take out: all, none, rows from 1 (1,5,8), or a text file with them",
            {.value_name = "LIST|FILE"}},
           {"--gens",
            &options.generators,
            "generators to take out: all, none, rows from 1, or a text file with them",
            {.value_name = "LIST|FILE"}},
           {"--pairs",
            &options.pairs,
            "pairs of branches to take out together, as 3-7,12-40, or a text file with them",
            {.value_name = "LIST|FILE"}},
           {"--contab",
            &options.table,
            "outages of a MATPOWER change table (.m, or HDF5 from dpf-import) instead",
            {.value_name = "FILE"}},
           {"--limits", &options.limits, "voltage limits: file, or VMIN,VMAX in pu", {.value_name = "LIMITS"}},
           {"--rating", &options.rating, "which rating limits the branches", {.choices = {"A", "B", "C"}}},
           {"--guard",
            &options.guard,
            "decide early: off, auto (3), or the width of the guard band in estimated errors",
            {.value_name = "auto|off|KAPPA"}},
           {"--prefilter",
            &options.prefilter,
            "lodf: outages whose loadings all stay low in the linear guess are not solved (status 6); it does not look at voltages",
            {.choices = {"none", "lodf"}}},
           {"--prefilter-guard",
            &options.prefilter_guard,
            "guard band of the linear guess, in guessed changes of a loading",
            {.minimum = 1e-3, .maximum = 1e6}},
           {"--scenarios",
            &options.scenarios,
            "all contingencies for each of these operating points (HDF5 with /scenarios or /changes, or a change table .m)",
            {.value_name = "FILE"}},
           {"--area-column",
            &options.area,
            "what area numbers of a change table mean; auto: zone where a number is no area",
            {.choices = {"auto", "area", "zone"}}},
           {"--plot",
            &options.plot,
            "picture of the highest loading after each outage, ranked (.png, .svg)",
            {.value_name = "FILE"}},
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
          "/grid/*  as read\n/screen/{label,scenario,kind,element,status,iters,path,early,max_mismatch,severity,pi_mw,pi_v}[contingency]\n"
          "/screen/{worst_branch,worst_loading,vmin,vmin_bus,vmax,vmax_bus,lost_load_mw,n_viol}[contingency]\n"
          "/screen/violations/{ptr,kind,element,value}\n/result/{vm,va}[contingency,bus]  with --full",
      .standard = {.threads = true, .seed = true}};
  return command.run(argc, argv, [&](cli::Session& session) {
    cluster::run(session, [&](const cluster::Communicator& world) { screen(options, session, world); });
  });
}
