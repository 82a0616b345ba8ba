// Batches by chord: Newton's solutions, whatever the lanes, the order and the threads; and the ladder.
#include "batch.hpp"

#include <algorithm>
#include <cmath>

#include "cases.hpp"
#include "synth.hpp"

using namespace fachwerk::dpf;

namespace {

std::vector<ScenarioResult> solve(const Grid& grid, std::size_t count, const MonteCarloOptions& random,
                                  bool repeat_first = false) {
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  const State base = Newton(network).solve(problem, file_start(problem)).state;
  Batch batch(grid, problem, base);
  std::vector<ScenarioResult> results(count);
  batch.solve(
      0, count,
      [&](std::size_t s, const Specified& x) {
        OperatingPoint point(grid);
        monte_carlo_point(grid, random, repeat_first ? 0 : s, point);
        specify(grid, network, point, x);
      },
      [&](std::size_t s, ScenarioResult&& r) { results[s] = std::move(r); });
  return results;
}

}  // namespace

TEST_CASE("chord converges where Newton does, to the same solution; median iterations at most 6") {
  std::vector<Grid> grids = {cases::ieee14(), ring_grid(500, 3)};
  if (cases::has_shared("case1354pegase.m"))
    for (const char* name : {"case118", "case300", "case1354pegase", "case_ACTIVSg2000"})
      grids.push_back(cases::shared(name));
  for (const Grid& grid : grids) {
    CAPTURE(grid.name);
    const MonteCarloOptions random{.sigma = .05};
    const auto results = solve(grid, 40, random);
    const Network network = build_network(grid);
    const Problem problem = problem_of(network);
    Newton newton(network);
    const State base = newton.solve(problem, file_start(problem)).state;
    std::vector<int> iterations;
    for (std::size_t s = 0; s < results.size(); ++s) {
      iterations.push_back(results[s].solution.iterations);
      OperatingPoint point(grid);
      monte_carlo_point(grid, random, s, point);
      std::vector<double> p(problem.p.size()), q(p.size()),
          set_point(problem.set_point.begin(), problem.set_point.end()), f(2 * p.size());
      specify(grid, network, point, {p, q, set_point});
      Problem own = problem;
      own.p = p;
      own.q = q;
      own.set_point = set_point;
      const Solution exact = newton.solve(own, base);
      CHECK((exact.status == Status::converged) == (results[s].solution.status == Status::converged));
      if (exact.status != Status::converged) continue;
      CHECK(within(std::vector<double>((mismatch(own, results[s].solution.state, f), f)),
                   rounding_floor(own, results[s].solution.state), 1.01e-8));
      double worst = 0;
      for (std::size_t i = 0; i < p.size(); ++i)
        worst = std::max(worst, std::abs(exact.state.vm[i] - results[s].solution.state.vm[i]));
      CHECK(worst < 1e-7);
    }
    std::ranges::sort(iterations);
    if (!grid.name.starts_with("ring")) CHECK(iterations[iterations.size() / 2] <= 6);
  }
}

TEST_CASE("copies of one scenario are identical to the bit, in every lane and tile") {
  const auto results = solve(ring_grid(200, 5), 37, {.sigma = .1}, true);
  for (const auto& r : results) {
    CHECK(r.solution.state.vm == results[0].solution.state.vm);
    CHECK(r.solution.state.va == results[0].solution.state.va);
  }
}

TEST_CASE("what chord cannot solve goes up the ladder; what nothing can is said so") {
  const Grid grid = cases::ieee14();
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  const State base = Newton(network).solve(problem, file_start(problem)).state;
  Batch batch(grid, problem, base);
  std::vector<ScenarioResult> results(4);
  batch.solve(
      0, 4,
      [&](std::size_t s, const Specified& x) {
        const double factor = s == 0 ? 1 : s == 1 ? 3 : s == 2 ? 30 : NAN;
        for (std::size_t i = 0; i < x.p.size(); ++i) {
          x.p[i] *= factor;
          x.q[i] *= factor;
        }
      },
      [&](std::size_t s, ScenarioResult&& r) { results[s] = std::move(r); });
  CHECK(results[0].solution.status == Status::converged);
  CHECK(results[1].solution.status == Status::converged);
  CHECK(results[2].solution.status != Status::converged);
  CHECK(results[3].solution.status == Status::not_started);
}

namespace {

// The same scenarios through a batch with other options.
std::vector<ScenarioResult> solve_by(const Grid& grid, std::size_t count, const BatchOptions& options,
                                     std::size_t chain = 0) {
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  const State base = Newton(network).solve(problem, file_start(problem)).state;
  Batch batch(grid, problem, base, options);
  std::vector<ScenarioResult> results(count);
  const auto specify_scenario = [&](std::size_t s, const Specified& x) {
    OperatingPoint point(grid);
    profile_point(grid, {.step = 900, .sigma = .02}, s, point);
    specify(grid, network, point, x);
  };
  const auto done = [&](std::size_t s, ScenarioResult&& r) { results[s] = std::move(r); };
  if (chain > 0)
    batch.solve_chains(0, count, chain, specify_scenario, done);
  else
    batch.solve(0, count, specify_scenario, done);
  return results;
}

double worst_difference(const std::vector<ScenarioResult>& a, const std::vector<ScenarioResult>& b) {
  double worst = 0;
  for (std::size_t s = 0; s < a.size(); ++s) {
    REQUIRE(a[s].solution.status == Status::converged);
    REQUIRE(b[s].solution.status == Status::converged);
    for (std::size_t i = 0; i < a[s].solution.state.vm.size(); ++i)
      worst = std::max({worst, std::abs(a[s].solution.state.vm[i] - b[s].solution.state.vm[i]),
                        std::abs(a[s].solution.state.va[i] - b[s].solution.state.va[i])});
  }
  return worst;
}

}  // namespace

TEST_CASE("the kernel that devices run, here on the CPU: the vector kernel's solutions and iterations") {
  for (const Grid& grid : {cases::ieee14(), ring_grid(400, 9)}) {
    BatchOptions device{.tolerance = 1e-10};
    const auto tiles = solve_by(grid, 70, device);
    device.exact_factor = true;  // takes the path of one scenario a thread
    const auto lanes = solve_by(grid, 70, device);
    CHECK(worst_difference(tiles, lanes) < 1e-9);
    int apart = 0;
    for (std::size_t s = 0; s < tiles.size(); ++s)
      apart = std::max(apart, std::abs(tiles[s].solution.iterations - lanes[s].solution.iterations));
    CHECK(apart <= 2);
  }
}

TEST_CASE("chains of a time series: the same solutions, fewer iterations") {
  const Grid grid = ring_grid(400, 9);
  const auto plain = solve_by(grid, 300, BatchOptions{}), chained = solve_by(grid, 300, BatchOptions{}, 24);
  CHECK(worst_difference(plain, chained) < 1e-7);
  long a = 0, b = 0;
  for (std::size_t s = 0; s < plain.size(); ++s) {
    a += plain[s].solution.iterations;
    b += chained[s].solution.iterations;
  }
  MESSAGE("iterations from the base " << a << ", chained " << b);
  CHECK(b < a);
}
