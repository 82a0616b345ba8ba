#include <algorithm>
#include <cmath>
#include <numeric>

#include "io/plot.hpp"
#include "screen_results.hpp"

namespace fachwerk::dpf {
namespace {

// Contingencies by severity, worst first; what has no solution before all others.
std::vector<std::size_t> ranking(const std::vector<ContingencyResult>& results) {
  std::vector<std::size_t> order(results.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto rank = [&](std::size_t c) {
    const Verdict v = results[c].verdict;
    return v == Verdict::infeasible || v == Verdict::unsolved || v == Verdict::no_source ? INFINITY
                                                                                         : results[c].severity;
  };
  std::ranges::stable_sort(order, std::greater{}, rank);
  return order;
}

void summarise_checks(const ScreenCall& options, cli::Session& session, const std::vector<ContingencyResult>& results) {
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

}  // namespace

void plot_ranking(const ScreenCall& options, cli::Session& session, const Grid& grid,
                  const std::vector<ContingencyResult>& results) {
  std::vector<double> loading;
  for (const auto& r : results)
    if (r.verdict == Verdict::solved || r.verdict == Verdict::split) loading.push_back(r.worst_loading);
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

void summarise(const ScreenCall& options, cli::Session& session, const Grid& grid, const ScreenStudy& study,
               const std::vector<ContingencyResult>& results, double seconds) {
  auto& summary = session.summary;
  summary.add("case", grid.name);
  if (study.points > 1) summary.add("operating points", study.points);
  summary.add("contingencies", results.size());
  for (int verdict = 0; verdict <= 6; ++verdict)
    if (const auto count = std::ranges::count(results, static_cast<Verdict>(verdict), &ContingencyResult::verdict);
        count > 0)
      summary.add(name(static_cast<Verdict>(verdict)), count);
  std::vector<int> iterations;
  for (const auto& r : results)
    if (r.verdict == Verdict::solved) iterations.push_back(r.iterations);
  std::ranges::sort(iterations);
  if (!iterations.empty()) {
    summary.add("iterations, median", iterations[iterations.size() / 2]);
    summary.add("iterations, most", iterations.back());
  }
  if (options.guard != "off")
    summary.add("decided early", std::ranges::count(results, true, &ContingencyResult::early));
  summarise_checks(options, session, results);
  summary.add("contingencies with a violation",
              std::ranges::count_if(results, [](const auto& r) { return !r.violations.empty(); }));
  summary.add("time to solve", seconds, "s");
  const auto order = ranking(results);
  cli::Table table{
      "worst", {"contingency", "out", "verdict", "severity", "loading %", "branch", "vmin pu", "bus", "violations"}};
  for (std::size_t i = 0; i < std::min<std::size_t>(static_cast<std::size_t>(options.top), order.size()); ++i) {
    const auto& r = results[order[i]];
    table.rows.push_back({static_cast<std::int64_t>(order[i] + 1),
                          label_of(study.contingencies[order[i] % study.contingencies.size()], grid), name(r.verdict),
                          r.severity, r.worst_loading, static_cast<std::int64_t>(r.worst_branch + 1), r.vmin,
                          r.vmin_bus < 0 ? std::int64_t{-1} : grid.bus.id[r.vmin_bus],
                          static_cast<std::int64_t>(r.violations.size())});
  }
  summary.add(std::move(table));
}

}  // namespace fachwerk::dpf
