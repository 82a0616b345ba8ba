#include "report.hpp"

#include <algorithm>
#include <cmath>

#include "io/plot.hpp"

namespace fachwerk::dpf {

void summarise_grid(cli::Session& session, const Grid& grid, const Network& network) {
  auto& summary = session.summary;
  summary.add("case", grid.name);
  summary.add("buses", grid.bus.size());
  summary.add("branches in service", std::ranges::count_if(network.from_of_branch, [](int f) { return f >= 0; }));
  summary.add("generators in service", std::ranges::count_if(network.node_of_gen, [](int k) { return k >= 0; }));
  summary.add("islands", network.islands);
  const auto dead = std::ranges::count(network.node_of_bus, -1);
  if (dead > 0) {
    summary.add("dead buses", dead);
    summary.add("lost load", network.lost_load_mw, "MW");
  }
}

void summarise_voltages(cli::Session& session, const Grid& grid, const Flows& result) {
  std::size_t low = grid.bus.size(), high = low;
  for (std::size_t i = 0; i < result.vm.size(); ++i) {
    if (std::isnan(result.vm[i])) continue;
    if (low == grid.bus.size() || result.vm[i] < result.vm[low]) low = i;
    if (high == grid.bus.size() || result.vm[i] > result.vm[high]) high = i;
  }
  session.summary.add("lowest voltage", result.vm[low], "pu");
  session.summary.add("lowest voltage bus", grid.bus.id[low]);
  session.summary.add("highest voltage", result.vm[high], "pu");
  session.summary.add("highest voltage bus", grid.bus.id[high]);
}

void tabulate(cli::Session& session, const Grid& grid, const Flows& result) {
  if (grid.bus.size() <= 40) {
    cli::Table buses{"bus voltages", {"bus", "vm pu", "va deg", "load MW", "load MVAr"}};
    for (std::size_t i = 0; i < grid.bus.size(); ++i)
      buses.rows.push_back({grid.bus.id[i], result.vm[i], result.va[i], grid.bus.pd[i], grid.bus.qd[i]});
    session.summary.add(std::move(buses));
    cli::Table generators{"generator outputs", {"bus", "pg MW", "qg MVAr"}};
    for (std::size_t g = 0; g < grid.gen.size(); ++g)
      generators.rows.push_back({grid.gen.bus[g], result.pg[g], result.qg[g]});
    session.summary.add(std::move(generators));
  }
  std::vector<std::size_t> rated;
  for (std::size_t k = 0; k < result.loading.size(); ++k)
    if (!std::isnan(result.loading[k])) rated.push_back(k);
  const std::size_t count = std::min<std::size_t>(5, rated.size());
  std::ranges::partial_sort(rated, rated.begin() + static_cast<std::ptrdiff_t>(count), std::greater{},
                            [&](std::size_t k) { return result.loading[k]; });
  if (count == 0) return;
  cli::Table loadings{"highest loadings", {"branch", "from", "to", "loading %", "p MW", "q MVAr"}};
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t k = rated[i];
    loadings.rows.push_back({static_cast<std::int64_t>(k + 1), grid.branch.from[k], grid.branch.to[k],
                             static_cast<double>(result.loading[k]), result.pf[k], result.qf[k]});
  }
  session.summary.add(std::move(loadings));
}

void summarise_scenarios(cli::Session& session, const ResultHeader& header) {
  auto& summary = session.summary;
  std::vector<std::int32_t> iterations = header.iterations;
  std::ranges::sort(iterations);
  summary.add("scenarios", header.status.size());
  for (int status = 0; status <= 6; ++status)
    if (const auto count = std::ranges::count(header.status, status); count > 0 || status == 0)
      summary.add(name(static_cast<Status>(status)), count);
  summary.add("solved beyond chord", std::ranges::count_if(header.path, [](std::uint8_t p) { return p != 0; }));
  summary.add("iterations, least", iterations.front());
  summary.add("iterations, median", iterations[iterations.size() / 2]);
  summary.add("iterations, most", iterations.back());
  double worst = 0;
  for (std::size_t s = 0; s < header.status.size(); ++s)
    if (header.status[s] == 0) worst = std::max(worst, header.max_mismatch[s]);
  summary.add("largest mismatch of the converged", worst, "pu");
  const auto suspicious = std::ranges::count_if(header.check, [](std::uint8_t bits) { return bits != 0; });
  if (suspicious == 0) return;
  summary.add("suspicious solutions", suspicious);
  session.warn(fmt::format("{} scenarios may have found a low-voltage solution (see /result/check)", suspicious));
}

void plot_profile(const std::string& path, bool force, const Grid& grid, const Flows& result) {
  plot::Figure figure;
  figure.title = fmt::format("{}: voltage profile", grid.name);
  figure.x_label = "bus (row of the file)";
  figure.y_label = plot::label("voltage", "pu");
  std::vector<double> x, low, high;
  for (std::size_t i = 0; i < grid.bus.size(); ++i) {
    x.push_back(static_cast<double>(i + 1));
    low.push_back(grid.bus.vmin[i]);
    high.push_back(grid.bus.vmax[i]);
  }
  figure.series.push_back({.name = "voltage", .x = x, .y = result.vm, .points = grid.bus.size() > 60});
  if (std::ranges::all_of(low, [](double v) { return std::isfinite(v) && v > 0; }))
    figure.series.push_back({.name = "lower limit", .x = x, .y = low});
  if (std::ranges::all_of(high, [](double v) { return std::isfinite(v) && v > 0; }))
    figure.series.push_back({.name = "upper limit", .x = x, .y = high});
  plot::save(figure, path, force);
}

void plot_convergence(const std::string& path, bool force, const Grid& grid, const std::vector<Iteration>& trace) {
  plot::Figure figure;
  figure.title = fmt::format("{}: convergence", grid.name);
  figure.x_label = "step";
  figure.y_label = "mismatch";
  figure.log_y = true;
  plot::Series largest{.name = plot::label("largest", "pu")}, relative{.name = "sum over sum of injections"};
  for (const Iteration& t : trace) {
    largest.y.push_back(t.max_mismatch);
    relative.y.push_back(t.relative);
  }
  figure.series = {std::move(largest), std::move(relative)};
  plot::save(figure, path, force);
}

void plot_envelope(const std::string& path, bool force, const Grid& grid,
                   const std::array<std::vector<double>, 3>& envelope, std::span<const double> time) {
  plot::Figure figure;
  figure.title = fmt::format("{}: voltages over the scenarios", grid.name);
  figure.x_label = time.empty() ? "scenario" : plot::label("time", "h");
  std::vector<double> hours(time.begin(), time.end());
  for (double& t : hours)
    t /= 3600;
  figure.y_label = plot::label("voltage", "pu");
  static constexpr const char* names[] = {"lowest", "mean", "highest"};
  for (std::size_t k = 0; k < 3; ++k)
    figure.series.push_back({.name = names[k], .x = hours, .y = envelope[k]});
  plot::save(figure, path, force);
}

}  // namespace fachwerk::dpf
