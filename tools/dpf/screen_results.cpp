#include "screen_results.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace fachwerk::dpf {
namespace {

// Mirrors append_result.
ContingencyResult take_result(std::span<const double>& from) {
  ContingencyResult r;
  const auto next = [&] {
    const double x = from[0];
    from = from.subspan(1);
    return x;
  };
  r.verdict = static_cast<Verdict>(next());
  r.iterations = static_cast<int>(next());
  r.path = static_cast<Path>(next());
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
  for (Violation& v : r.violations) {
    v.kind = static_cast<std::int8_t>(next());
    v.element = static_cast<int>(next());
    v.value = next();
  }
  return r;
}

int kind_of(const Contingency& c) {
  if (c.branches.size() + c.generators.size() > 1) return 2;
  return c.branches.empty() ? 1 : 0;
}

void write_violations(h5::Output& file, const Grid& grid, const std::vector<ContingencyResult>& results) {
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

void write_table(h5::Output& file, const Grid& grid, const ScreenStudy& study,
                 const std::vector<ContingencyResult>& results) {
  const std::size_t width = study.contingencies.size();
  const auto contingency = [&](std::size_t c) -> const Contingency& { return study.contingencies[c % width]; };
  const auto column = [&]<class T>(const char* name, const char* units, const char* meaning, auto&& value, T) {
    std::vector<T> values;
    for (std::size_t c = 0; c < results.size(); ++c)
      values.push_back(static_cast<T>(value(c)));
    file.column(std::string("/screen/") + name, values,
                {.units = units, .long_name = meaning, .dims = {"contingency"}});
  };
  const auto bus_id = [&](int row) { return row < 0 ? std::int64_t{-1} : grid.bus.id[row]; };
  const auto of = [&](auto member) { return [&results, member](std::size_t c) { return results[c].*member; }; };
  using Result = ContingencyResult;
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

}  // namespace

void append_result(std::vector<double>& to, const ContingencyResult& r, std::span<const double> voltages) {
  for (const double x :
       {static_cast<double>(r.verdict), static_cast<double>(r.iterations), static_cast<double>(r.path),
        static_cast<double>(r.early), r.max_mismatch, r.worst_loading, static_cast<double>(r.worst_branch), r.vmin,
        r.vmax, static_cast<double>(r.vmin_bus), static_cast<double>(r.vmax_bus), r.sum_vm, r.performance_mw,
        r.performance_v, r.severity, r.lost_load_mw, r.check_difference, static_cast<double>(r.violations.size())})
    to.push_back(x);
  for (const Violation& v : r.violations)
    to.insert(to.end(), {static_cast<double>(v.kind), static_cast<double>(v.element), v.value});
  to.insert(to.end(), voltages.begin(), voltages.end());
}

std::string label_of(const Contingency& c, const Grid& grid) {
  if (!c.label.empty()) return c.label;
  std::string text;
  for (const int k : c.branches)
    text += fmt::format("{}{}-{}", text.empty() ? "" : " + ", grid.branch.from[k], grid.branch.to[k]);
  for (const int g : c.generators)
    text += fmt::format("{}gen {}", text.empty() ? "" : " + ", grid.gen.bus[g]);
  return text;
}

ScreenWriter::ScreenWriter(const ScreenCall& options, cli::Session& session, const LoadedGrid& input,
                           const ScreenStudy& study)
    : input_(input),
      study_(study),
      full_(options.full),
      file_(h5::Output::create(options.output, session.force)),
      results_(study.size()) {
  file_.stamp(session, "power-flow", input.file ? &*input.file : nullptr);
  write_grid(file_, input.grid);
  if (full_) create_flows(file_, study.size(), input.grid, {.flows = false, .generators = false});
}

void ScreenWriter::write(cluster::Block block, std::span<const double> values) {
  const std::size_t n = input_.grid.bus.size();
  std::vector<Flows> voltages(full_ ? block.count : 0);
  for (std::size_t i = 0; i < block.count; ++i) {
    results_[block.begin + i] = take_result(values);
    if (!full_) continue;
    voltages[i].vm.assign(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(n));
    voltages[i].va.assign(values.begin() + static_cast<std::ptrdiff_t>(n),
                          values.begin() + static_cast<std::ptrdiff_t>(2 * n));
    values = values.subspan(2 * n);
  }
  std::vector<const Flows*> rows;
  for (const auto& v : voltages)
    rows.push_back(&v);
  if (full_) write_flows(file_, block.begin, rows, {.flows = false, .generators = false});
}

void ScreenWriter::finish() {
  write_table(file_, input_.grid, study_, results_);
  if (input_.file) file_.carry(*input_.file, {"/result", "/screen", "/scenarios"});
  file_.commit();
}

}  // namespace fachwerk::dpf
