#include "weather.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <numeric>
#include <queue>

#include <lapacke.h>

#include "cli/error.hpp"
#include "compute/random.hpp"

namespace fachwerk::dpf {
namespace {

using compute::Stream;

enum Channel : std::uint32_t { wind_noise = 31, cloud, wind_site, solar_site };

std::uint64_t item(std::size_t step, std::size_t bus) {
  return (static_cast<std::uint64_t>(step) << 32) ^ bus;
}

// AR(1) process from its moving-average form, so that a step needs no earlier one; what lies before the series counts
// too, which keeps the variance at 1. Terms below 1e-4 are left out.
double correlated_normal(std::uint64_t seed, std::size_t step, std::size_t bus, double rho) {
  const auto terms = rho > 0 ? static_cast<std::size_t>(std::log(1e-4) / std::log(rho)) : 0;
  double sum = 0, weight = std::sqrt(1 - rho * rho);
  for (std::size_t k = 0; k <= terms; ++k, weight *= rho)
    sum += weight * Stream(seed, item(step + terms - k, bus), wind_noise).normal();
  return sum;
}

// Shortest distance from a bus to all others, |x| along the branches in service.
std::vector<double> distances(const std::vector<std::vector<std::pair<int, double>>>& edges, int from) {
  std::vector<double> out(edges.size(), std::numeric_limits<double>::infinity());
  std::priority_queue<std::pair<double, int>, std::vector<std::pair<double, int>>, std::greater<>> queue;
  out[static_cast<std::size_t>(from)] = 0;
  queue.push({0, from});
  while (!queue.empty()) {
    const auto [distance, i] = queue.top();
    queue.pop();
    if (distance > out[static_cast<std::size_t>(i)]) continue;
    for (const auto& [j, length] : edges[static_cast<std::size_t>(i)])
      if (distance + length < out[static_cast<std::size_t>(j)]) {
        out[static_cast<std::size_t>(j)] = distance + length;
        queue.push({distance + length, j});
      }
  }
  return out;
}

std::vector<std::vector<std::pair<int, double>>> edges_of(const Grid& grid) {
  const auto rows = bus_rows(grid);
  std::vector<std::vector<std::pair<int, double>>> out(grid.bus.size());
  for (std::size_t k = 0; k < grid.branch.size(); ++k) {
    if (grid.branch.status[k] <= 0) continue;
    const int f = rows.at(grid.branch.from[k]), t = rows.at(grid.branch.to[k]);
    out[static_cast<std::size_t>(f)].emplace_back(t, std::abs(grid.branch.x[k]));
    out[static_cast<std::size_t>(t)].emplace_back(f, std::abs(grid.branch.x[k]));
  }
  return out;
}

// Slope of a row of gencost at the power p: model 1 points (p, cost), model 2 polynomials with the highest power first.
double marginal_cost(const Table& costs, std::size_t row, double p) {
  const double* c = &costs.values[row * costs.columns];
  const auto n = static_cast<std::size_t>(std::max(0.0, c[3]));
  const std::size_t room = costs.columns > 4 ? costs.columns - 4 : 0;
  if (c[0] == 1) {
    for (std::size_t k = 1; k < n && 2 * k + 1 < room; ++k)
      if (c[4 + 2 * k] >= p || k + 1 == n) return (c[5 + 2 * k] - c[3 + 2 * k]) / (c[4 + 2 * k] - c[2 + 2 * k]);
    return 0;
  }
  double slope = 0;
  for (std::size_t k = 0; k + 1 < std::min(n, room); ++k) {
    const auto power = static_cast<double>(n - 1 - k);
    slope += power * c[4 + k] * std::pow(p, power - 1);
  }
  return slope;
}

}  // namespace

double wind_output(std::uint64_t seed, std::size_t step, std::size_t bus, double rho) {
  return 1 / (1 + std::exp(0.9 - 1.6 * correlated_normal(seed, step, bus, rho)));
}

double solar_output(std::uint64_t seed, double seconds, double start_day, std::size_t bus) {
  const double day = start_day + seconds / 86400, hour = 24 * (day - std::floor(day));
  constexpr double radians = std::numbers::pi / 180, latitude = 47 * radians;
  const double declination = -23.44 * radians * std::cos(2 * std::numbers::pi * (std::fmod(day, 365.25) + 10) / 365.25);
  const double elevation = std::sin(latitude) * std::sin(declination) +
                           std::cos(latitude) * std::cos(declination) * std::cos((hour - 12) * 15 * radians);
  if (elevation <= 0) return 0;
  // The fifth of six uniform numbers in order is beta distributed with parameters 5 and 2.
  Stream random(seed, item(static_cast<std::size_t>(std::max(0.0, std::floor(day * 24))), bus), cloud);
  std::array<double, 6> uniform{};
  for (double& u : uniform)
    u = random.uniform();
  std::ranges::sort(uniform);
  return elevation * uniform[4];
}

void add_renewables(const Grid& grid, const Renewables& renewables, std::uint64_t seed, std::size_t step,
                    double seconds, double start_day, OperatingPoint& point) {
  if (!(renewables.wind > 0) && !(renewables.solar > 0)) return;
  for (std::size_t i = 0; i < grid.bus.size(); ++i) {
    if (!(grid.bus.pd[i] > 0)) continue;
    const double capacity = grid.bus.pd[i] / renewables.coverage;
    if (renewables.wind > 0 && Stream(seed, i, wind_site).uniform() < renewables.coverage)
      point.pd[i] -= renewables.wind * capacity * wind_output(seed, step, i);
    if (renewables.solar > 0 && Stream(seed, i, solar_site).uniform() < renewables.coverage)
      point.pd[i] -= renewables.solar * capacity * solar_output(seed, seconds, start_day, i);
  }
}

CorrelatedNoise::CorrelatedNoise(const Grid& grid, double length) : buses_(grid.bus.size()) {
  for (std::size_t i = 0; i < buses_; ++i)
    if (grid.bus.pd[i] != 0 || grid.bus.qd[i] != 0) rows_.push_back(static_cast<int>(i));
  const std::size_t n = rows_.size();
  if (n > 5000) throw usage_error("correlated noise is made for at most 5000 loads, the grid has {}", n);
  const auto edges = edges_of(grid);
  std::vector<double> correlation(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    const auto distance = distances(edges, rows_[i]);
    for (std::size_t k = 0; k < n; ++k)
      correlation[i * n + k] = std::exp(-distance[static_cast<std::size_t>(rows_[k])] / length);
  }
  // Shortest paths in a mesh need not give a positive definite matrix: the diagonal grows until it is one.
  for (double raise = 0;; raise = raise == 0 ? 1e-9 : raise * 10) {
    lower_ = correlation;
    for (std::size_t i = 0; i < n; ++i)
      lower_[i * n + i] += raise;
    const auto size = static_cast<lapack_int>(n);
    if (n == 0 || LAPACKE_dpotrf(LAPACK_ROW_MAJOR, 'L', size, lower_.data(), size) == 0) {
      for (double& x : lower_)
        x /= std::sqrt(1 + raise);
      return;
    }
    if (raise > 1) throw method_failed("the correlations of the loads have no Cholesky factor");
  }
}

void merit_order(const Grid& grid, double loss, OperatingPoint& point) {
  std::vector<std::size_t> order;
  std::vector<double> cost(grid.gen.size(), 0.0);
  const auto costs = grid.tables.find("gencost");
  const bool priced = costs != grid.tables.end() && costs->second.columns > 4 && costs->second.rows >= grid.gen.size();
  double wanted = (1 + loss) * std::accumulate(point.pd.begin(), point.pd.end(), 0.0);
  for (std::size_t g = 0; g < grid.gen.size(); ++g) {
    if (grid.gen.status[g] <= 0) continue;
    order.push_back(g);
    const double low = std::isfinite(grid.gen.pmin[g]) ? std::max(0.0, grid.gen.pmin[g]) : 0;
    point.pg[g] = low;
    wanted -= low;
    if (priced) cost[g] = marginal_cost(costs->second, g, grid.gen.pmax[g] / 2);
  }
  std::ranges::stable_sort(order, {}, [&](std::size_t g) { return cost[g]; });
  for (const std::size_t g : order) {
    const double room = std::max(0.0, grid.gen.pmax[g] - point.pg[g]);
    const double more = std::clamp(wanted, 0.0, room);
    point.pg[g] += more;
    wanted -= more;
  }
}

}  // namespace fachwerk::dpf
