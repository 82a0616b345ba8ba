// Fits with every kind of measurement and parameter, optimisers, priors, bad data, state estimation.
#include "experiment.hpp"
#include "least_squares.hpp"
#include "normal_solver.hpp"

using namespace fachwerk::dpf;
using namespace cases;

namespace {

double chi2_of(const Experiment& e, const FitOptions& options) {
  return fit(e.start, e.points, e.measured, e.parameters, options).chi2;
}

}  // namespace

TEST_CASE("all kinds of measurement, noise-free: r, x, b and taps of IEEE 14 are found, chargings too") {
  const Experiment e = experiment(
      ieee14(), 6, 0, 2, {ParameterKind::r, ParameterKind::x, ParameterKind::b, ParameterKind::tap}, {.flows = true});
  const FitResult result = fit(e.start, e.points, e.measured, e.parameters, {});
  CHECK(result.converged);
  CHECK(result.null_directions.empty());  // flows tell what voltages alone do not
  CHECK(worst_error(e, result) < 1e-9);
}

TEST_CASE("noise-free identification on other grids") {
  for (const std::string name : {"case30", "case57"}) {
    if (!has_shared(name + ".m")) return;
    CAPTURE(name);
    const Experiment e =
        experiment(shared(name), 8, 0, 3, {ParameterKind::r, ParameterKind::x}, {.spread = .1, .error = .1});
    const FitResult result = fit(e.start, e.points, e.measured, e.parameters, {});
    double worst = 0;
    long flagged = 0;
    for (std::size_t i = 0; i < e.parameters.size(); ++i) {
      flagged += result.unidentifiable[i];
      if (!result.unidentifiable[i])
        worst = std::max(worst, std::abs(result.value[i] / get(e.truth, e.parameters[i]) - 1));
    }
    MESSAGE(name << ": " << e.parameters.size() << " parameters, largest error " << worst << ", " << flagged
                 << " flagged, " << result.iterations << " steps, chi2 " << result.chi2);
    CHECK(result.converged);
    CHECK(worst < 1e-6);
    CHECK(flagged * 5 < static_cast<long>(e.parameters.size()));
  }
}

TEST_CASE("few snapshots: fits of what is poorly determined end, at a minimum that the noise explains") {
  for (const auto& [name, snapshots] : {std::pair("case30", 2), {"case57", 2}, {"case118", 1}, {"case118", 4}}) {
    if (!has_shared(std::string(name) + ".m")) continue;
    const Experiment e = experiment(shared(name), static_cast<std::size_t>(snapshots), 1e-4, 5,
                                    {ParameterKind::r, ParameterKind::x}, {.spread = .1, .error = .1});
    const FitResult result = fit(e.start, e.points, e.measured, e.parameters, {});
    MESSAGE(name << ", " << snapshots << ": " << result.iterations << " steps, chi2 " << result.chi2 << " for "
                 << result.degrees);
    CHECK(result.converged);
    // Five standard deviations of chi2.
    CHECK(std::abs(result.chi2 - result.degrees) < 5 * std::sqrt(2.0 * result.degrees));
  }
}

TEST_CASE("variances and leverages by Cholesky, and by eigenvectors where a direction is not determined") {
  constexpr std::size_t n = 4, rows = 7;
  std::vector<double> H(rows * n);
  for (std::size_t k = 0; k < H.size(); ++k)
    H[k] = std::sin(static_cast<double>(k * k + 1));
  const auto normal_of = [&](const std::vector<double>& h) {
    Normal out{std::vector<double>(n * n), std::vector<double>(n)};
    for (std::size_t k = 0; k < rows; ++k)
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < n; ++j)
          out.matrix[i * n + j] += h[k * n + i] * h[k * n + j];
    return out;
  };
  const auto trace_of_leverages = [&](const std::vector<double>& h, const NormalSolver& solver) {
    std::vector<double> copy = h;
    double sum = 0;
    for (const double x : solver.leverages(copy, rows))
      sum += x;
    return sum;
  };
  // H G^-1 H^T projects on the columns of H: its trace is their number.
  const std::vector<char> free(n, 0);
  const NormalSolver full(normal_of(H), free);
  CHECK(full.determines_all());
  CHECK(trace_of_leverages(H, full) == doctest::Approx(4).epsilon(1e-10));
  const NormalSolver frozen(normal_of(H), {0, 1, 0, 0});
  CHECK(trace_of_leverages(H, frozen) == doctest::Approx(3).epsilon(1e-10));
  CHECK(frozen.variances()[1] == 0);
  std::vector<double> twice = H;
  for (std::size_t k = 0; k < rows; ++k)
    twice[k * n + 3] = 2 * twice[k * n];
  const NormalSolver deficient(normal_of(twice), free);
  CHECK_FALSE(deficient.determines_all());
  REQUIRE(deficient.null_directions().size() == 1);
  CHECK(trace_of_leverages(twice, deficient) == doctest::Approx(3).epsilon(1e-8));
  // Cramer: the variance of the last of two unknowns is G_00 / det.
  const Normal small{{3, 1, 1, 2}, {0, 0}};
  CHECK(NormalSolver(small, {0, 0}).variances()[1] == doctest::Approx(3.0 / 5).epsilon(1e-12));
}

TEST_CASE("Levenberg-Marquardt with a minimum at infinity: the others are solved for beside the longest step") {
  // exp(a) + b = -1, 2 b = 1: the best a is minus infinity, then b = .2 and the squares are 1.8.
  const auto assemble = [](const std::vector<double>& at) {
    const double slope = std::exp(at[0]), first = -1 - slope - at[1], second = 1 - 2 * at[1];
    return Normal{
        {slope * slope, slope, slope, 5}, {slope * first, first + 2 * second}, first * first + second * second};
  };
  const std::vector<double> start = {0, 0};
  Normal normal = assemble(start);
  const Minimum found =
      levenberg_marquardt({.normal = assemble, .longest = {1, std::numeric_limits<double>::infinity()}}, start, normal,
                          std::vector<Box>(2), {});
  CHECK(found.converged);
  CHECK(found.iterations < 40);
  CHECK(std::abs(found.at[1] - .2) < 1e-6);
  CHECK(std::abs(normal.objective - 1.8) < 1e-6);
}

TEST_CASE("magnitudes alone: a few per cent, and standard deviations that say so") {
  if (!has_shared("case14.m")) return;
  double medians = 0;
  long inside = 0, all = 0;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const Experiment e =
        experiment(shared("case14"), 48, 1e-4, seed, {ParameterKind::r, ParameterKind::x}, {.angles = false});
    const FitResult result = fit(e.start, e.points, e.measured, e.parameters, {});
    medians += median_error(e, result) / 5;
    for (std::size_t i = 0; i < e.parameters.size(); ++i) {
      if (result.unidentifiable[i]) continue;
      const double log_error = std::log(result.value[i] / get(e.truth, e.parameters[i]));
      inside += std::abs(log_error) <= 2 * result.sigma[i] / result.value[i];
      ++all;
    }
  }
  MESSAGE("mean of the median errors " << medians << ", inside 2 sigma "
                                       << static_cast<double>(inside) / static_cast<double>(all));
  CHECK(medians > .01);
  CHECK(medians < .15);
  CHECK(static_cast<double>(inside) / static_cast<double>(all) > .85);
}

TEST_CASE("three optimisers, one minimum: free; within bounds, with priors and with a robust loss L-BFGS") {
  const Experiment e = experiment(ieee14(), 3, 1e-4, 4, {ParameterKind::x}, {.spread = .3, .flows = true});
  FitOptions plain, bounded, informed, robust;
  bounded.bounds = {{ParameterKind::x, 1e-3, .2}};
  for (std::size_t i = 0; i < e.parameters.size(); i += 2)
    informed.priors.push_back({i, 1.05 * get(e.truth, e.parameters[i]), .001});
  robust.judgement.robust = Robust::huber;
  int which = 0;
  for (FitOptions options : {plain, bounded, informed, robust}) {
    const int setting = which++;
    CAPTURE(setting);
    const FitResult lm = fit(e.start, e.points, e.measured, e.parameters, options);
    CHECK(lm.converged);
    options.optimiser = FitOptimiser::lbfgs;
    options.max_iterations = 2000;
    const FitResult lbfgs = fit(e.start, e.points, e.measured, e.parameters, options);
    options.optimiser = FitOptimiser::adam;
    options.max_iterations = 20000;
    const FitResult adam = setting == 0 ? fit(e.start, e.points, e.measured, e.parameters, options) : lbfgs;
    MESSAGE("chi2: lm " << lm.chi2 << " in " << lm.iterations << ", lbfgs " << lbfgs.chi2 << " in " << lbfgs.iterations
                        << ", adam " << adam.chi2 << " in " << adam.iterations);
    for (const FitResult* other : {&lbfgs, &adam}) {
      CHECK(other->converged);
      CHECK(std::abs(other->chi2 / lm.chi2 - 1) < 1e-6);
      for (std::size_t i = 0; i < e.parameters.size(); ++i) {
        CHECK(other->at_bound[i] == lm.at_bound[i]);
        CHECK(std::abs(other->value[i] - lm.value[i]) < .05 * lm.sigma[i] + 1e-9);
      }
    }
  }
}

TEST_CASE("the objective's gradient by adjoint in every formulation, against differences") {
  const Experiment e = experiment(ieee14(), 2, 1e-4, 6, {ParameterKind::r, ParameterKind::x, ParameterKind::bs},
                                  {.error = .001, .flows = true});
  for (const Formulation formulation : {Formulation::output, Formulation::residual, Formulation::joint}) {
    CAPTURE(static_cast<int>(formulation));
    const std::vector<Prior> priors = {{0, .1, .01}};
    const Judgement judgement{.formulation = formulation, .robust = Robust::cauchy, .mismatch_sigma = 1e-2};
    Fitter fitter(e.start, false, e.points, e.measured, judgement, e.parameters, {}, .5, priors);
    std::vector<double> at = fitter.start(), gradient, other;
    double value = 0, up = 0, down = 0;
    REQUIRE(fitter.objective(at, value, gradient));
    const Normal normal = fitter.normal(at);
    CHECK(std::abs(normal.objective / value - 1) < 1e-9);
    double largest = 0;
    for (const double g : gradient)
      largest = std::max(largest, std::abs(g));
    for (std::size_t u = 0; u < at.size(); ++u) {
      CHECK(std::abs(gradient[u] + 2 * normal.rhs[u]) < 1e-6 * largest);
      std::vector<double> moved = at;
      const double h = 1e-6;
      moved[u] += h;
      fitter.objective(moved, up, other);
      moved[u] -= 2 * h;
      fitter.objective(moved, down, other);
      CHECK(std::abs(gradient[u] - (up - down) / (2 * h)) < 1e-5 * largest);
    }
  }
}

TEST_CASE("a prior on one parameter adds its information to that of the measurements") {
  Experiment e = experiment(ieee14(), 12, 1e-4, 7, {ParameterKind::x});
  e.parameters.resize(1);
  for (const Parameter& p : parameters_of(e.truth, build_network(e.truth), ParameterKind::x))
    if (p.row != e.parameters[0].row) set(e.start, p, get(e.truth, p));
  const FitResult alone = fit(e.start, e.points, e.measured, e.parameters, {});
  FitOptions options;
  const double mean = alone.value[0] + 3 * alone.sigma[0], sigma = alone.sigma[0] / 2;
  options.priors = {{0, mean, sigma}};
  const FitResult both = fit(e.start, e.points, e.measured, e.parameters, options);
  const double a = 1 / (alone.sigma[0] * alone.sigma[0]), b = 1 / (sigma * sigma);
  CHECK(both.degrees == alone.degrees + 1);
  CHECK(std::abs(both.sigma[0] / std::sqrt(1 / (a + b)) - 1) < 1e-2);
  CHECK(std::abs(both.value[0] - (a * alone.value[0] + b * mean) / (a + b)) < .02 * alone.sigma[0]);
}

TEST_CASE("normalised residuals have unit variance, residuals over sigma have not") {
  double normalised = 0, plain = 0;
  long count = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    const Experiment e = experiment(ieee14(), 3, 1e-4, seed, {ParameterKind::r, ParameterKind::x});
    const FitResult result = fit(e.start, e.points, e.measured, e.parameters, {});
    for (const Residual& r : result.residuals) {
      if (std::isnan(r.normalised)) continue;  // set-points and the reference: exact, or nothing checks it
      normalised += r.normalised * r.normalised;
      plain += r.value * r.value;
      ++count;
    }
  }
  MESSAGE("mean squares: normalised " << normalised / static_cast<double>(count) << ", over sigma "
                                      << plain / static_cast<double>(count) << " of " << count);
  CHECK(std::abs(normalised / static_cast<double>(count) - 1) < .12);
  CHECK(plain / static_cast<double>(count) < .75);
}

TEST_CASE("bad data: gross errors are named, removed, and the fit is as good as without them") {
  Experiment e = experiment(ieee14(), 24, 1e-4, 8, {ParameterKind::r, ParameterKind::x});
  const double clean = median_error(e, fit(e.start, e.points, e.measured, e.parameters, {}));
  std::vector<std::pair<std::size_t, std::size_t>> gross;
  for (std::size_t s = 0; s < e.measured.size(); s += 3) {
    const std::size_t reading = 2 * ((s * 5 + 3) % 14);
    e.measured[s][reading].value += s % 2 ? -.004 : .003;
    gross.emplace_back(s, reading);
  }
  for (const Formulation formulation : {Formulation::output, Formulation::joint}) {
    FitOptions options;
    options.judgement = {.formulation = formulation, .mismatch_sigma = 1e-5};
    const FitResult reported = fit(e.start, e.points, e.measured, e.parameters, options);
    const auto worst = std::ranges::max_element(reported.residuals, {}, [](const Residual& r) {
      return std::isnan(r.normalised) ? 0 : std::abs(r.normalised);
    });
    const auto is_gross = [&](const Residual& r) {
      return std::ranges::any_of(gross, [&](const auto& g) {
        const Reading& reading = e.measured[g.first][g.second];
        return g.first == r.snapshot && reading.what.kind == r.what.kind && reading.what.row == r.what.row &&
               !r.equation;
      });
    };
    CHECK(is_gross(*worst));
    CHECK(median_error(e, reported) > 3 * clean);
    options.remove_bad_data = true;
    const FitResult removed = fit(e.start, e.points, e.measured, e.parameters, options);
    long found = 0, wrong = 0;
    for (const Residual& r : removed.residuals)
      if (r.removed) (is_gross(r) ? found : wrong) += 1;
    MESSAGE(found << " of " << gross.size() << " gross errors removed, " << wrong << " others; median error "
                  << median_error(e, removed) << ", clean " << clean);
    CHECK(found == static_cast<long>(gross.size()));
    CHECK(wrong <= 2);
    CHECK(median_error(e, removed) < 1.5 * clean);
    for (const Residual& r : removed.residuals)
      if (!r.removed && !r.equation && !std::isnan(r.normalised)) CHECK(std::abs(r.normalised) <= 3.5);
  }
}

TEST_CASE("shares of voltage-dependent loads and slack weights are found") {
  Grid grid = ieee14();
  grid.bus.zip.assign(14, {.5, .3, .2, .4, .3, .3});
  for (std::size_t g = 0; g < grid.gen.size(); ++g)
    grid.gen.apf[g] = 1 + static_cast<double>(g);
  const ExperimentOptions options{.flows = true, .distributed = true};
  Experiment shares = experiment(grid, 6, 0, 9, {ParameterKind::p_impedance, ParameterKind::q_impedance}, options);
  const FitResult found =
      fit(shares.start, shares.points, shares.measured, shares.parameters, {.distributed_slack = true});
  CHECK(found.converged);
  CHECK(shares.parameters.size() == 22);
  for (std::size_t i = 0; i < shares.parameters.size(); ++i) {
    const Parameter& p = shares.parameters[i];
    const bool held = p.kind == ParameterKind::q_impedance && grid.bus.type[p.row] != 1;  // Q of a controlled bus
    CHECK(found.unidentifiable[i] == held);
    if (!held) CHECK(std::abs(found.value[i] / get(shares.truth, p) - 1) < 1e-7);
  }
  Experiment weights = experiment(grid, 6, 0, 10, {ParameterKind::slack_weight}, options);
  // Only ratios count: the first stays where it is.
  set(weights.start, weights.parameters[0], get(weights.truth, weights.parameters[0]));
  weights.parameters.erase(weights.parameters.begin());
  const FitResult ratios =
      fit(weights.start, weights.points, weights.measured, weights.parameters, {.distributed_slack = true});
  CHECK(ratios.converged);
  CHECK(worst_error(weights, ratios) < 1e-7);
}

TEST_CASE("groups of loads and outputs scale the snapshots' own values") {
  Experiment e = experiment(ieee14(), 4, 0, 11, {ParameterKind::load_p, ParameterKind::load_q}, {.error = 0});
  std::vector<int> group;
  for (const Parameter& p : e.parameters)
    group.push_back((p.kind == ParameterKind::load_p ? 0 : 2) + e.truth.bus.id[p.row] % 2);
  for (OperatingPoint& point : e.points)  // what the snapshots are thought to be is wrong by a factor
    for (std::size_t i = 0; i < point.pd.size(); ++i) {
      point.pd[i] *= e.truth.bus.id[i] % 2 ? 1.1 : .9;
      point.qd[i] *= e.truth.bus.id[i] % 2 ? 1.2 : .85;
    }
  const FitResult result = fit(e.start, e.points, e.measured, e.parameters, {.group = group});
  CHECK(result.converged);
  const double factors[] = {1 / .9, 1 / 1.1, 1 / .85, 1 / 1.2};
  for (std::size_t i = 0; i < e.parameters.size(); ++i)
    CHECK(std::abs(result.value[i] / result.start[i] / factors[group[i]] - 1) < 1e-8);
}

TEST_CASE("state estimation: voltages as unknowns, set-points not held, standard deviations that hold") {
  const Grid grid = ieee14();
  long inside = 0, all = 0;
  double chi = 0;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    const Experiment exact = experiment(grid, 2, 0, seed, {}, {.angles = false, .flows = true});
    Experiment e = experiment(grid, 2, 1e-4, seed, {}, {.angles = false, .flows = true});
    for (double& vg : e.start.gen.vg)
      vg += .03;  // wrong set-points must not matter
    FitOptions options;
    options.judgement = {.formulation = Formulation::joint, .mismatch_sigma = 1e-5, .free_voltages = true};
    const FitResult result = fit(e.start, e.points, e.measured, {}, options);
    CHECK(result.converged);
    chi += result.chi2 / result.degrees / 6;
    const Network network = build_network(grid);
    for (std::size_t s = 0; s < 2; ++s)
      for (const Reading& truth : exact.measured[s]) {
        if (truth.what.kind != Observation::Kind::vm) continue;
        const int k = network.node_of_bus[truth.what.row];
        const double sigma = result.state_sigma[s][2 * static_cast<std::size_t>(k) + 1] * result.states[s].vm[k];
        CHECK(sigma < 1e-4);  // better than the meter
        inside += std::abs(result.states[s].vm[k] - truth.value) <= 2 * sigma;
        ++all;
      }
  }
  MESSAGE("inside 2 sigma " << static_cast<double>(inside) / static_cast<double>(all) << ", chi2/dof " << chi);
  CHECK(static_cast<double>(inside) / static_cast<double>(all) > .85);
  CHECK(std::abs(chi - 1) < .15);
}

TEST_CASE("voltages alone in the residual formulation: the power flow itself") {
  const Grid grid = ieee14();
  const Experiment e = experiment(grid, 2, 1e-3, 1, {});
  const Experiment exact = experiment(grid, 2, 0, 1, {});
  FitOptions options;
  options.judgement = {.formulation = Formulation::residual, .free_voltages = true};
  const FitResult result = fit(grid, e.points, e.measured, {}, options);
  CHECK(result.converged);
  CHECK(result.chi2 < 1e-10);
  const Network network = build_network(grid);
  for (std::size_t s = 0; s < 2; ++s)
    for (const Reading& truth : exact.measured[s])
      if (truth.what.kind == Observation::Kind::vm)
        CHECK(std::abs(result.states[s].vm[network.node_of_bus[truth.what.row]] - truth.value) < 1e-9);
}

TEST_CASE("bounds of groups: the factor that keeps every member inside") {
  const Grid grid = ieee14();
  Experiment e = experiment(grid, 3, 0, 1, {ParameterKind::x});
  for (const Parameter& p : e.parameters)
    set(e.start, p, .7 * get(grid, p));
  double largest = 0;
  for (const Parameter& p : e.parameters)
    largest = std::max(largest, get(grid, p));
  FitOptions options;
  options.group.assign(e.parameters.size(), 0);
  options.bounds = {{ParameterKind::x, 1e-4, .9 * largest}};
  for (const FitOptimiser optimiser : {FitOptimiser::lm, FitOptimiser::lbfgs}) {
    options.optimiser = optimiser;
    const FitResult result = fit(e.start, e.points, e.measured, e.parameters, options);
    for (std::size_t i = 0; i < e.parameters.size(); ++i) {
      CHECK(result.at_bound[i]);
      CHECK(std::abs(result.value[i] / get(grid, e.parameters[i]) - .9) < 1e-12);
    }
  }
  CHECK(chi2_of(e, {}) < 1e-12);
}
