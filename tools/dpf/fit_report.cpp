#include "fit_report.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "fit_layout.hpp"
#include "io/plot.hpp"

namespace fachwerk::dpf {
namespace {

constexpr std::size_t most_rows = 50;

// The largest normalised residuals, those removed before first.
cli::Table bad_data(const Grid& grid, const FitResult& result, double threshold) {
  std::vector<const Residual*> bad;
  for (const Residual& r : result.residuals)
    if (r.removed || std::abs(r.normalised) > threshold) bad.push_back(&r);
  std::ranges::stable_sort(bad, std::greater{}, [](const Residual* r) { return std::abs(r->normalised); });
  std::ranges::stable_sort(bad, std::greater{}, [](const Residual* r) { return r->removed; });
  cli::Table table{"bad data", {"observation", "snapshot", "residual / sigma", "normalised", "removed"}};
  for (std::size_t i = 0; i < std::min(most_rows, bad.size()); ++i) {
    const Residual& r = *bad[i];
    table.rows.push_back({(r.equation ? "balance " : "") + label(grid, r.what), static_cast<std::int64_t>(r.snapshot),
                          r.value, r.normalised, r.removed ? "yes" : "no"});
  }
  return table;
}

}  // namespace

void summarise_fit(cli::Session& session, const Grid& grid, const std::vector<Parameter>& parameters,
                   const FitResult& result, double threshold) {
  auto& summary = session.summary;
  const auto count = [&](const auto& condition) { return std::ranges::count_if(result.residuals, condition); };
  const auto removed = count([](const Residual& r) { return r.removed; });
  summary.add("snapshots", result.states.size());
  summary.add("observations", count([](const Residual& r) { return !r.equation; }));
  summary.add("parameters", parameters.size());
  summary.add("not identifiable", std::ranges::count(result.unidentifiable, 1));
  summary.add("null directions", result.null_directions.size());
  summary.add("at a bound", std::ranges::count(result.at_bound, 1));
  summary.add("iterations", result.iterations);
  summary.add("chi2", result.chi2);
  summary.add("chi2 per degree of freedom", result.degrees > 0 ? result.chi2 / result.degrees : NAN);
  double worst = 0;
  for (const Residual& r : result.residuals)
    if (!r.removed && std::abs(r.normalised) > worst) worst = std::abs(r.normalised);
  summary.add("largest normalised residual", worst);
  summary.add(fmt::format("residuals above {}", threshold),
              count([&](const Residual& r) { return !r.removed && std::abs(r.normalised) > threshold; }));
  summary.add("unchecked observations",
              count([](const Residual& r) { return !r.equation && std::isnan(r.normalised); }));
  summary.add("removed as bad data", removed);
  if (auto table = bad_data(grid, result, threshold); !table.rows.empty()) summary.add(std::move(table));
  if (parameters.empty()) return;
  cli::Table table{"fitted values", {"parameter", "start", "fitted", "sigma", "identifiable"}};
  for (std::size_t i = 0; i < std::min(parameters.size(), most_rows); ++i)
    table.rows.push_back({label(grid, parameters[i]), result.start[i], result.value[i], result.sigma[i],
                          result.unidentifiable[i] ? "no" : "yes"});
  summary.add(std::move(table));
}

void plot_parameters(const std::string& path, bool force, const Grid& grid, const std::vector<Parameter>& parameters,
                     const FitResult& result) {
  plot::Figure figure;
  figure.title = fmt::format("{}: fitted over start, with two standard deviations", grid.name);
  figure.x_label = "parameter";
  figure.y_label = "fitted / start";
  plot::Series bars{.name = "2 sigma"}, one{.name = "start"};
  std::vector<plot::Series> kinds;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (result.unidentifiable[i] || result.start[i] == 0) continue;
    const double x = static_cast<double>(i + 1), y = result.value[i] / result.start[i],
                 half = std::abs(2 * result.sigma[i] / result.start[i]);
    if (kinds.empty() || kinds.back().name != name(parameters[i].kind))
      kinds.push_back({.name = name(parameters[i].kind), .points = true});
    kinds.back().x.push_back(x);
    kinds.back().y.push_back(y);
    for (const double end : {y - half, y + half, std::nan("")}) {
      bars.x.push_back(x);
      bars.y.push_back(end);
    }
  }
  one.x = {0, static_cast<double>(parameters.size() + 1)};
  one.y = {1, 1};
  figure.series = std::move(kinds);
  figure.series.push_back(std::move(bars));
  figure.series.push_back(std::move(one));
  plot::save(figure, path, force);
}

void plot_residuals(const std::string& path, bool force, const Grid& grid, const FitResult& result) {
  std::vector<double> values;
  for (const Residual& r : result.residuals)
    if (std::isfinite(r.normalised) && !r.removed) values.push_back(r.normalised);
  plot::Figure figure;
  figure.title = fmt::format("{}: normalised residuals", grid.name);
  figure.x_label = "residual over its standard deviation";
  figure.y_label = "observations";
  const plot::Histogram histogram = plot::histogram_of(values);
  const double width = (histogram.high - histogram.low) / static_cast<double>(histogram.counts.size());
  plot::Series normal{.name = "unit normal"};
  for (double x = histogram.low; x <= histogram.high; x += (histogram.high - histogram.low) / 200) {
    normal.x.push_back(x);
    normal.y.push_back(static_cast<double>(values.size()) * width * std::exp(-x * x / 2) /
                       std::sqrt(2 * std::numbers::pi));
  }
  // As an outline, so that the curve is seen.
  plot::Series outline{.name = "observations"};
  for (std::size_t k = 0; k < histogram.counts.size(); ++k)
    for (const double edge : {0., 1.}) {
      outline.x.push_back(histogram.low + (static_cast<double>(k) + edge) * width);
      outline.y.push_back(histogram.counts[k]);
    }
  figure.series = {std::move(outline), std::move(normal)};
  plot::save(figure, path, force);
}

}  // namespace fachwerk::dpf
