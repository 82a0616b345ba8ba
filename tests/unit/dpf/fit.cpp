// Gradients by adjoint against finite differences, identification of line parameters.
#include "fit.hpp"

#include <algorithm>
#include <cmath>

#include "experiment.hpp"

using namespace fachwerk::dpf;
using namespace cases;

TEST_CASE("identification without noise recovers every r and x") {
  if (!cases::has_shared("case14.m")) return;
  const Experiment e = experiment(cases::shared("case14"), 12, 0, 1, {ParameterKind::r, ParameterKind::x});
  CHECK(e.parameters.size() == 35);
  const FitResult result = fit(e.start, e.points, e.measured, e.parameters, {});
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
  const FitResult result = fit(e.start, e.points, e.measured, e.parameters, {});
  CHECK(e.parameters.size() == 44);
  CHECK(!result.null_directions.empty());
  long flagged = 0;
  for (std::size_t i = 0; i < e.parameters.size(); ++i) {
    flagged += result.unidentifiable[i];
    // Six line chargings, of which nodal sums or nothing at all is seen, and the product of x and tap of branch 5-6.
    const Parameter& p = e.parameters[i];
    const bool pair = (p.kind == ParameterKind::x || p.kind == ParameterKind::tap) && e.truth.branch.from[p.row] == 5 &&
                      e.truth.branch.to[p.row] == 6;
    if (result.unidentifiable[i]) CHECK((pair || p.kind == ParameterKind::b));
    if (pair) CHECK(result.unidentifiable[i]);
    const double error = std::abs(result.value[i] / get(e.truth, e.parameters[i]) - 1);
    CAPTURE(name(e.parameters[i].kind));
    CAPTURE(e.parameters[i].row);
    if (!result.unidentifiable[i]) CHECK(error < 1e-6);
  }
  CHECK(flagged == 8);
  MESSAGE(flagged << " parameters flagged in " << result.null_directions.size() << " directions");
}

TEST_CASE("identification with noise: 48 snapshots, 1e-4, twenty seeds") {
  if (!cases::has_shared("case14.m")) return;
  double medians = 0;
  long inside = 0, all = 0;
  double chi = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Experiment e = experiment(cases::shared("case14"), 48, 1e-4, seed, {ParameterKind::r, ParameterKind::x});
    const FitResult result = fit(e.start, e.points, e.measured, e.parameters, {});
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

TEST_CASE("derivatives of every observation by the state and by branch parameters, against differences") {
  Grid grid = cases::ieee14();
  grid.branch.shift[8] = 5;
  grid.branch.rate_a.assign(20, 100);
  grid.branch.end_y.assign(20, {});
  grid.branch.end_y[2] = {Complex(.01, .02), Complex(.01, .03)};
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  const State state = Newton(network).solve(problem, file_start(problem)).state;
  using Kind = Observation::Kind;
  for (const Kind kind : {Kind::vm, Kind::va, Kind::pf, Kind::qf, Kind::pt, Kind::qt, Kind::current_from,
                          Kind::current_to, Kind::p, Kind::q, Kind::loading, Kind::loss})
    for (const int element : {2, 8}) {
      const Observation what{kind, element};
      CAPTURE(static_cast<int>(kind));
      std::vector<double> row(2 * state.vm.size(), 0.0);
      observe_derivative(grid, problem, state, what, 1, row);
      const double h = 1e-6;
      for (std::size_t k = 0; k < row.size(); ++k) {
        State up = state, down = state;
        if (k % 2 == 0) {
          up.va[k / 2] += h;
          down.va[k / 2] -= h;
        } else {
          up.vm[k / 2] *= std::exp(h);
          down.vm[k / 2] *= std::exp(-h);
        }
        const double difference = (observe(grid, problem, up, what) - observe(grid, problem, down, what)) / (2 * h);
        CHECK(std::abs(row[k] - difference) < 2e-6 * std::max(1.0, std::abs(difference)));
      }
      for (const ParameterKind parameter : {ParameterKind::r, ParameterKind::x, ParameterKind::b, ParameterKind::g,
                                            ParameterKind::shift, ParameterKind::bs}) {
        const Parameter p{parameter, element};
        const auto value = [&](double change) {
          Grid changed = grid;
          set(changed, p, get(grid, p) + change);
          const Network other = build_network(changed);
          return observe(changed, problem_of(other), state, what);
        };
        const double step = 1e-5 * std::max(.1, std::abs(get(grid, p)));
        const double difference = (value(step) - value(-step)) / (2 * step);
        CHECK(std::abs(observe_direct(grid, problem, state, what, p) - difference) <
              1e-5 * std::max(1.0, std::abs(difference)));
      }
    }
}

TEST_CASE("dV/dp of every parameter: columns of the adjoint gradients") {
  const Grid grid = cases::ieee14();
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  const State state = Newton(network).solve(problem, file_start(problem)).state;
  std::vector<Parameter> parameters;
  for (const ParameterKind kind : {ParameterKind::x, ParameterKind::gen_p, ParameterKind::set_point})
    for (const Parameter& p : parameters_of(grid, network, kind))
      parameters.push_back(p);
  const auto dx = sensitivities(grid, problem, state, parameters);
  for (const int bus : {3, 13}) {
    const auto gradient = adjoint_gradient(grid, problem, state, {{{Observation::Kind::vm, bus}, 1}}, parameters);
    const auto k = static_cast<std::size_t>(network.node_of_bus[bus]);
    for (std::size_t i = 0; i < parameters.size(); ++i)
      CHECK(std::abs(gradient[i] - dx[i * 2 * state.vm.size() + 2 * k + 1] * state.vm[k]) < 1e-12);
  }
}

TEST_CASE("residual and joint formulations: exact without noise; residual biased by noise, joint not") {
  const Experiment exact = experiment(cases::ieee14(), 12, 0, 1, {ParameterKind::r, ParameterKind::x});
  const Experiment noisy = experiment(cases::ieee14(), 48, 1e-4, 3, {ParameterKind::r, ParameterKind::x});
  const auto solve = [](const Experiment& e, Formulation formulation) {
    return fit(e.start, e.points, e.measured, e.parameters,
               {.judgement = {.formulation = formulation, .mismatch_sigma = 1e-5}});
  };
  for (const Formulation formulation : {Formulation::residual, Formulation::joint}) {
    CAPTURE(static_cast<int>(formulation));
    const FitResult result = solve(exact, formulation);
    CHECK(result.converged);
    CHECK(worst_error(exact, result) < 1e-7);
  }
  const double output = median_error(noisy, solve(noisy, Formulation::output)),
               residual = median_error(noisy, solve(noisy, Formulation::residual));
  const FitResult together = solve(noisy, Formulation::joint);
  const double joint = median_error(noisy, together);
  MESSAGE("median errors: output " << output << ", joint " << joint << ", residual " << residual << "; joint chi2/dof "
                                   << together.chi2 / together.degrees);
  CHECK(joint < 2 * output);
  CHECK(residual > joint);
  CHECK(std::abs(together.chi2 / together.degrees - 1) < .1);
}

TEST_CASE("robust losses: gross errors do not spoil the fit") {
  Experiment e = experiment(cases::ieee14(), 48, 1e-4, 5, {ParameterKind::r, ParameterKind::x});
  const auto solve = [&](Robust robust) {
    return median_error(e, fit(e.start, e.points, e.measured, e.parameters, {.judgement = {.robust = robust}}));
  };
  const double clean = solve(Robust::none);
  for (std::size_t s = 0; s < e.measured.size(); ++s)
    for (std::size_t i = 0; i < 14; ++i)
      if (fachwerk::compute::Stream(9, s * 100 + i, 104).uniform() < .02) e.measured[s][2 * i].value += .02;
  const double none = solve(Robust::none), huber = solve(Robust::huber), cauchy = solve(Robust::cauchy);
  MESSAGE("median errors: clean " << clean << ", with gross errors " << none << ", huber " << huber << ", cauchy "
                                  << cauchy);
  CHECK(none > 4 * clean);
  CHECK(huber < none / 3);
  CHECK(cauchy < 2 * clean);
}

TEST_CASE("bounds hold, and what lies inside them is found all the same") {
  const Experiment e = experiment(cases::ieee14(), 12, 0, 1, {ParameterKind::x});
  const double bound = .2;  // some reactances are larger
  const FitResult result =
      fit(e.start, e.points, e.measured, e.parameters, {.bounds = {{ParameterKind::x, 1e-3, bound}}});
  CHECK(result.converged);
  long at_bound = 0, larger = 0;
  for (std::size_t i = 0; i < e.parameters.size(); ++i) {
    CHECK(result.value[i] <= bound * (1 + 1e-12));
    at_bound += result.at_bound[i];
    larger += get(e.truth, e.parameters[i]) > bound;
  }
  CHECK(larger > 0);
  CHECK(at_bound > 0);
  const FitResult wide = fit(e.start, e.points, e.measured, e.parameters, {.bounds = {{ParameterKind::x, 1e-3, 10}}});
  CHECK(worst_error(e, wide) < 1e-9);
}

TEST_CASE("groups: one factor for the reactances of a type of line") {
  const Grid grid = cases::ieee14();
  Experiment e = experiment(grid, 3, 0, 1, {ParameterKind::x});
  std::vector<int> group;
  for (std::size_t i = 0; i < e.parameters.size(); ++i) {
    group.push_back(static_cast<int>(i % 3));
    set(e.start, e.parameters[i], get(grid, e.parameters[i]) * (i % 3 == 0 ? 1.3 : i % 3 == 1 ? .8 : 1.1));
  }
  const FitResult result = fit(e.start, e.points, e.measured, e.parameters, {.group = group});
  CHECK(result.converged);
  CHECK(worst_error(e, result) < 1e-9);
}
