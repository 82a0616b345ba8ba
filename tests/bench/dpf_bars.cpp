// Verdicts of the fast methods beside those of plain Newton, on more scenarios and outages than the tests take:
//   dpf-bench-bars batch CASE.m [SCENARIOS [FIRST]]   random loads (sigma .1, level .7 to 1.1), generation following
//   dpf-bench-bars n1 CASE.m [EVERY [FROM]]           branch outages: each grid rebuilt and solved anew
// One line of results; one thread.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include <omp.h>

#include "cli/error.hpp"
#include "screen.hpp"
#include "synth.hpp"

using namespace fachwerk::dpf;

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Grid read(const char* path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  std::vector<std::string> warnings;
  return grid_of(evaluate_matpower(text.str(), path), path, warnings);
}

int median(std::vector<int> values) {
  std::ranges::sort(values);
  return values.empty() ? 0 : values[values.size() / 2];
}

void batch(const Grid& grid, std::size_t count, std::size_t first) {
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  Newton newton(network);
  const Solution base = newton.solve(problem, starting_point(grid, problem, Start::automatic));
  Batch chord(grid, problem, base.state);
  const auto specify_one = [&](std::size_t s, const Specified& x) {
    OperatingPoint point(grid);
    monte_carlo_point(grid, {.sigma = .1, .low = .7, .high = 1.1}, s, point);
    specify(grid, network, point, x);
  };
  const std::size_t n = static_cast<std::size_t>(network.nodes());
  std::vector<double> p(n), q(n), set_point(problem.set_point.begin(), problem.set_point.end()), f(2 * n);
  std::size_t solved = 0, by_newton = 0, both = 0, beyond = 0;
  double worst = 0, apart = 0, chord_time = 0, newton_time = 0;
  std::vector<int> iterations;
  const std::size_t part = 64;
  for (std::size_t begin = first; begin < first + count; begin += part) {
    const std::size_t size = std::min(part, first + count - begin);
    std::vector<ScenarioResult> results(size);
    double start = now();
    chord.solve(begin, size, specify_one,
                [&](std::size_t s, ScenarioResult&& r) { results[s - begin] = std::move(r); });
    chord_time += now() - start;
    for (std::size_t i = 0; i < size; ++i) {
      specify_one(begin + i, {p, q, set_point});
      Problem own = problem;
      own.p = p;
      own.q = q;
      start = now();
      const Solution exact = newton.solve(own, base.state, {.polish = false});
      newton_time += now() - start;
      const bool a = results[i].solution.status == Status::converged, b = exact.status == Status::converged;
      solved += a;
      by_newton += b;
      both += a && b;
      beyond += a && results[i].path != Path::chord;
      iterations.push_back(results[i].solution.iterations);
      if (!a) continue;
      mismatch(own, results[i].solution.state, f);
      const auto floor = rounding_floor(own, results[i].solution.state);
      for (std::size_t k = 0; k < f.size(); ++k)
        worst = std::max(worst, std::abs(f[k]) - floor[k / 2]);
      for (std::size_t k = 0; b && k < n; ++k)
        apart = std::max(apart, std::abs(exact.state.vm[k] - results[i].solution.state.vm[k]));
    }
  }
  std::printf(
      "%-18s %6zu scenarios: chord + ladder %zu, newton %zu, both %zu; beyond chord %zu; median iterations %d; "
      "max|F| %.2e; |dV| %.1e; %.0f/s against %.0f/s\n",
      grid.name.c_str(), count, solved, by_newton, both, beyond, median(iterations), worst, apart,
      static_cast<double>(count) / chord_time, static_cast<double>(count) / newton_time);
}

// What plain methods say of a grid with a branch less.
Verdict plain_verdict(const Grid& changed, const State& base, const Network& intact) {
  Network network;
  try {
    network = build_network(changed, {.drop_unreferenced = true});
  } catch (const fachwerk::Error&) {
    return Verdict::no_source;
  }
  const Problem problem = problem_of(network);
  State start = file_start(problem);
  bool split = network.lost_load_mw != intact.lost_load_mw;
  for (std::size_t i = 0; i < network.node_of_bus.size(); ++i) {
    const int k = network.node_of_bus[i], before = intact.node_of_bus[i];
    split = split || (k < 0) != (before < 0);
    if (k < 0 || before < 0) continue;
    if (problem.type[k] == NodeType::pq) start.vm[k] = base.vm[before];
    start.va[k] = base.va[before];
  }
  Solution solution = Newton(network).solve(problem, start);
  if (solution.status != Status::converged) solution = levenberg_marquardt(problem, start);
  return solution.status == Status::converged    ? (split ? Verdict::split : Verdict::solved)
         : solution.status == Status::infeasible ? Verdict::infeasible
                                                 : Verdict::unsolved;
}

void outages(const Grid& grid, std::size_t every, std::size_t from) {
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  const State base = Newton(network).solve(problem, starting_point(grid, problem, Start::automatic)).state;
  std::vector<Contingency> contingencies;
  for (const Contingency& c : all_branches(network))
    if (static_cast<std::size_t>(c.branches[0]) % every == from) contingencies.push_back(c);
  double start = now();
  Screen screen(grid, network, base, {});
  const auto results = screen.run(contingencies, [](std::size_t) {});
  const double fast = now() - start;
  start = now();
  std::size_t differ = 0, beyond = 0;
  std::vector<std::size_t> counts(6);
  std::vector<int> iterations;
  for (std::size_t c = 0; c < contingencies.size(); ++c) {
    Grid changed = grid;
    changed.branch.status[contingencies[c].branches[0]] = 0;
    const Verdict plain = plain_verdict(changed, base, network);
    ++counts[static_cast<std::size_t>(results[c].verdict)];
    beyond += results[c].verdict == Verdict::solved && results[c].path != Path::chord;
    if (results[c].verdict == Verdict::solved) iterations.push_back(results[c].iterations);
    if (plain == results[c].verdict) continue;
    ++differ;
    std::printf("  branch %d: %s, plain %s (%g)\n", contingencies[c].branches[0] + 1, name(results[c].verdict).c_str(),
                name(plain).c_str(), results[c].max_mismatch);
  }
  std::printf(
      "%-18s %5zu outages: solved %zu, split %zu, infeasible %zu, unsolved %zu, no source %zu; other verdict than newton "
      "+ lm: %zu; beyond chord %zu; median iterations %d; %.2f s against %.2f s\n",
      grid.name.c_str(), contingencies.size(), counts[0], counts[1], counts[2], counts[3], counts[4], differ, beyond,
      median(iterations), fast, now() - start);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  omp_set_num_threads(1);
  const auto number = [&](int i, std::size_t otherwise) {
    return argc > i ? static_cast<std::size_t>(std::atoll(argv[i])) : otherwise;
  };
  const Grid grid = read(argv[2]);
  if (std::string(argv[1]) == "batch")
    batch(grid, number(3, 10000), number(4, 0));
  else
    outages(grid, number(3, 1), number(4, 0));
  return 0;
}
