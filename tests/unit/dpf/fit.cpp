// Gradients by adjoint against finite differences, identification of line parameters.
#include "fit.hpp"

#include <algorithm>
#include <cmath>

#include "cases.hpp"
#include "compute/random.hpp"
#include "flows.hpp"
#include "synth.hpp"

using namespace fachwerk::dpf;

TEST_CASE("adjoint gradients of every parameter against central differences") {
  Grid grid = cases::ieee14();
  grid.branch.shift[8] = 5;
  grid.bus.gs[4] = 3;
  grid.branch.rate_a.assign(20, 100);
  const auto value = [](const Grid& g, const Observation& what) {
    const Network network = build_network(g);
    const Problem problem = problem_of(network);
    const Solution s = Newton(network).solve(problem, file_start(problem), {.tolerance = 1e-12});
    return observe(g, problem, s.state, what);
  };
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  const State state = Newton(network).solve(problem, file_start(problem), {.tolerance = 1e-12}).state;
  std::vector<Parameter> parameters;
  for (int k = 0; k <= static_cast<int>(ParameterKind::set_point); ++k)
    for (const Parameter& p : parameters_of(grid, network, static_cast<ParameterKind>(k)))
      parameters.push_back(p);
  CHECK(parameters.size() > 70);
  using Kind = Observation::Kind;
  for (const Observation what : {Observation{Kind::vm, 13}, Observation{Kind::va, 8}, Observation{Kind::pf, 8},
                                 Observation{Kind::qt, 2}, Observation{Kind::loading, 0}}) {
    const std::vector<double> gradient = adjoint_gradient(grid, problem, state, what, parameters);
    double scale = 0;
    for (const double g : gradient)
      scale = std::max(scale, std::abs(g));
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const double p = get(grid, parameters[i]), h = 1e-5 * std::max(std::abs(p), 0.1);
      Grid up = grid, down = grid;
      set(up, parameters[i], p + h);
      set(down, parameters[i], p - h);
      const double difference = (value(up, what) - value(down, what)) / (2 * h);
      CAPTURE(name(parameters[i].kind));
      CAPTURE(parameters[i].row);
      CHECK(std::abs(gradient[i] - difference) < 1e-7 * std::max(std::abs(difference), scale) + 1e-9);
    }
  }
}

namespace {

struct Experiment {
  Grid truth, start;
  std::vector<Parameter> parameters;
  std::vector<OperatingPoint> points;
  std::vector<Measurements> measured;
};

Experiment experiment(const Grid& grid, std::size_t snapshots, double sigma, std::uint64_t seed,
                      std::initializer_list<ParameterKind> kinds) {
  Experiment out;
  out.truth = out.start = grid;
  const Network network = build_network(grid);
  for (const ParameterKind kind : kinds)
    for (const Parameter& p : parameters_of(grid, network, kind))
      out.parameters.push_back(p);
  for (std::size_t i = 0; i < out.parameters.size(); ++i)
    set(out.start, out.parameters[i],
        get(grid, out.parameters[i]) * std::exp((out.parameters[i].kind == ParameterKind::tap ? .02 : .2) *
                                                fachwerk::compute::Stream(seed, i, 100).normal()));
  for (std::size_t s = 0; s < snapshots; ++s) {
    OperatingPoint point(grid);
    for (std::size_t i = 0; i < point.pd.size(); ++i) {
      fachwerk::compute::Stream random(seed, s * 1000 + i, 101);
      point.pd[i] *= std::exp(.2 * random.normal());
      point.qd[i] *= std::exp(.2 * random.normal());
    }
    for (std::size_t g = 0; g < point.pg.size(); ++g)
      point.pg[g] *= std::exp(.2 * fachwerk::compute::Stream(seed, s * 1000 + g, 102).normal());
    const Grid snapshot = with_point(grid, point);
    const Network own = build_network(snapshot);
    const Solution solution = Newton(own).solve(problem_of(own), file_start(problem_of(own)), {.tolerance = 1e-12});
    REQUIRE(solution.status == Status::converged);
    const Flows result = flows(snapshot, problem_of(own), solution.state);
    Measurements z;
    for (std::size_t i = 0; i < result.vm.size(); ++i) {
      fachwerk::compute::Stream random(seed, s * 1000 + i, 103);
      z.vm.push_back(result.vm[i] + sigma * random.normal());
      z.va.push_back(result.va[i] + sigma * random.normal() * 57.29577951308232);
    }
    out.points.push_back(point);
    out.measured.push_back(z);
  }
  return out;
}

}  // namespace

TEST_CASE("identification without noise recovers every r and x") {
  if (!cases::has_shared("case14.m")) return;
  const Experiment e = experiment(cases::shared("case14"), 12, 0, 1, {ParameterKind::r, ParameterKind::x});
  CHECK(e.parameters.size() == 35);
  const FitResult result =
      fit(e.start, e.points, e.measured, {.vm = 1e-4, .va = 1e-4 * 57.29577951308232}, e.parameters, {});
  CHECK(result.converged);
  double worst = 0;
  for (std::size_t i = 0; i < e.parameters.size(); ++i)
    worst = std::max(worst, std::abs(result.value[i] / get(e.truth, e.parameters[i]) - 1));
  MESSAGE("largest relative error " << worst << " after " << result.iterations << " steps, chi2 " << result.chi2);
  CHECK(worst < 1e-9);
  CHECK(result.null_directions.empty());
}

TEST_CASE("identification: line chargings and tap against reactance are reported as unidentifiable") {
  if (!cases::has_shared("case14.m")) return;
  const Experiment e = experiment(cases::shared("case14"), 12, 0, 1,
                                  {ParameterKind::r, ParameterKind::x, ParameterKind::b, ParameterKind::tap});
  const FitResult result =
      fit(e.start, e.points, e.measured, {.vm = 1e-4, .va = 1e-4 * 57.29577951308232}, e.parameters, {});
  CHECK(e.parameters.size() == 44);
  CHECK(!result.null_directions.empty());
  long flagged = 0;
  for (std::size_t i = 0; i < e.parameters.size(); ++i) {
    flagged += result.unidentifiable[i];
    const double error = std::abs(result.value[i] / get(e.truth, e.parameters[i]) - 1);
    CAPTURE(name(e.parameters[i].kind));
    CAPTURE(e.parameters[i].row);
    if (!result.unidentifiable[i]) CHECK(error < 1e-4);
  }
  MESSAGE(flagged << " parameters flagged in " << result.null_directions.size() << " directions");
}

TEST_CASE("identification with noise: 48 snapshots, 1e-4, twenty seeds") {
  if (!cases::has_shared("case14.m")) return;
  double medians = 0;
  long inside = 0, all = 0;
  double chi = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Experiment e = experiment(cases::shared("case14"), 48, 1e-4, seed, {ParameterKind::r, ParameterKind::x});
    const FitResult result =
        fit(e.start, e.points, e.measured, {.vm = 1e-4, .va = 1e-4 * 57.29577951308232}, e.parameters, {});
    CHECK(result.converged);
    std::vector<double> errors;
    for (std::size_t i = 0; i < e.parameters.size(); ++i) {
      const double error = result.value[i] - get(e.truth, e.parameters[i]);
      errors.push_back(std::abs(error / get(e.truth, e.parameters[i])));
      inside += std::abs(error) <= 2 * result.sigma[i];
      ++all;
    }
    std::ranges::sort(errors);
    medians += errors[errors.size() / 2] / 20;
    chi += result.chi2 / result.degrees / 20;
  }
  MESSAGE("mean of the median errors " << medians << ", inside 2 sigma "
                                       << static_cast<double>(inside) / static_cast<double>(all) << ", chi2/dof "
                                       << chi);
  CHECK(medians < .006);
  CHECK(static_cast<double>(inside) / static_cast<double>(all) > .92);
  CHECK(static_cast<double>(inside) / static_cast<double>(all) < .99);
  CHECK(std::abs(chi - 1) < .05);
}
