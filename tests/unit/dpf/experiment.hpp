#pragma once

#include <algorithm>
#include <cmath>

#include "cases.hpp"
#include "compute/random.hpp"
#include "fit.hpp"
#include "newton.hpp"
#include "synth.hpp"

/// Fits whose truth is known: random operating points, solved, measured with noise, and a start with errors.
namespace cases {

using namespace fachwerk::dpf;

constexpr double degrees = 57.29577951308232;

struct Experiment {
  Grid truth, start;
  std::vector<Parameter> parameters;
  std::vector<OperatingPoint> points;
  std::vector<Readings> measured;
};

struct ExperimentOptions {
  double spread = .2;  ///< of loads and generation, logarithmic
  double error = .2;   ///< of the start, logarithmic
  bool magnitudes = true, angles = true;
  bool flows = false;  ///< powers and currents of branches and injections too, 1e-4 pu as the rest
  bool distributed = false;
};

inline Experiment experiment(const Grid& grid, std::size_t snapshots, double sigma, std::uint64_t seed,
                             std::initializer_list<ParameterKind> kinds, const ExperimentOptions& options = {}) {
  Experiment out;
  out.truth = out.start = grid;
  const auto network_of = [&](const Grid& g) {
    Network n = build_network(g);
    if (options.distributed) distribute_slack(n, g);
    return n;
  };
  const Network network = network_of(grid);
  for (const ParameterKind kind : kinds)
    for (const Parameter& p : parameters_of(grid, network, kind))
      out.parameters.push_back(p);
  for (std::size_t i = 0; i < out.parameters.size(); ++i)
    set(out.start, out.parameters[i],
        get(grid, out.parameters[i]) * std::exp((out.parameters[i].kind == ParameterKind::tap ? .02 : options.error) *
                                                fachwerk::compute::Stream(seed, i, 100).normal()));
  for (std::size_t s = 0; s < snapshots; ++s) {
    OperatingPoint point(grid);
    for (std::size_t i = 0; i < point.pd.size(); ++i) {
      fachwerk::compute::Stream random(seed, s * 1000 + i, 101);
      point.pd[i] *= std::exp(options.spread * random.normal());
      point.qd[i] *= std::exp(options.spread * random.normal());
    }
    for (std::size_t g = 0; g < point.pg.size(); ++g)
      point.pg[g] *= std::exp(options.spread * fachwerk::compute::Stream(seed, s * 1000 + g, 102).normal());
    const Grid snapshot = with_point(grid, point);
    const Network own = network_of(snapshot);
    const Solution solution = Newton(own).solve(problem_of(own), file_start(problem_of(own)), {.tolerance = 1e-12});
    REQUIRE(solution.status == Status::converged);
    Readings z;
    using Kind = Observation::Kind;
    const auto measure = [&](Kind kind, std::size_t row, double unit) {
      const Observation what{kind, static_cast<int>(row)};
      fachwerk::compute::Stream random(seed, s * 100000 + row * 16 + static_cast<std::size_t>(kind), 103);
      z.push_back({what, observe(snapshot, problem_of(own), solution.state, what) + sigma * unit * random.normal(),
                   1e-4 * unit});
    };
    for (std::size_t i = 0; i < grid.bus.size(); ++i) {
      if (own.node_of_bus[i] < 0) continue;
      if (options.magnitudes) measure(Kind::vm, i, 1);
      if (options.angles) measure(Kind::va, i, degrees);
      for (const Kind kind : {Kind::p, Kind::q})
        if (options.flows) measure(kind, i, grid.base_mva);
    }
    for (std::size_t k = 0; k < grid.branch.size() && options.flows; ++k) {
      if (own.from_of_branch[k] < 0) continue;
      for (const Kind kind : {Kind::pf, Kind::qf, Kind::pt, Kind::qt})
        measure(kind, k, grid.base_mva);
      for (const Kind kind : {Kind::current_from, Kind::current_to})
        measure(kind, k, 1);
    }
    out.points.push_back(point);
    out.measured.push_back(z);
  }
  return out;
}

inline double worst_error(const Experiment& e, const FitResult& result) {
  double worst = 0;
  for (std::size_t i = 0; i < e.parameters.size(); ++i)
    worst = std::max(worst, std::abs(result.value[i] / get(e.truth, e.parameters[i]) - 1));
  return worst;
}
inline double median_error(const Experiment& e, const FitResult& result) {
  std::vector<double> errors;
  for (std::size_t i = 0; i < e.parameters.size(); ++i)
    errors.push_back(std::abs(result.value[i] / get(e.truth, e.parameters[i]) - 1));
  std::ranges::sort(errors);
  return errors[errors.size() / 2];
}

}  // namespace cases
