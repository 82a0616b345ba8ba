// Scenarios whose unknowns differ from those of the shared factor: reactive limits and distributed slack side by side,
// against Newton one by one.
#include <algorithm>
#include <cmath>

#include <omp.h>

#include "cases.hpp"
#include "limited_batch.hpp"
#include "synth.hpp"

using namespace fachwerk::dpf;

namespace {

constexpr MonteCarloOptions random_loads{.sigma = .1};

// Outcomes of scenarios [0, count) by LimitedBatch, in blocks of `block`; `order` renames them.
template <class Order>
std::vector<Outcome> limited(const Grid& grid, const Network& network, QLimits mode, std::size_t count,
                             std::size_t block, const Order& order) {
  const Problem problem = problem_of(network);
  const State base = Newton(network).solve(problem, file_start(problem), {.tolerance = 1e-9}).state;
  Batch plain(grid, problem, base, {.tolerance = 1e-9, .injections = true});
  LimitedBatch batch(grid, network, plain, mode);
  std::vector<std::unique_ptr<Desk>> desks(static_cast<std::size_t>(omp_get_max_threads()));
  std::vector<Outcome> out(count);
  for (std::size_t begin = 0; begin < count; begin += block)
    batch.solve(begin, std::min(block, count - begin),
                {[&]() -> Desk& {
                   auto& desk = desks[static_cast<std::size_t>(omp_get_thread_num())];
                   if (!desk)
                     desk = std::make_unique<Desk>(
                         grid, network, MethodOptions{.tolerance = 1e-9, .q_limits = mode, .branches = false});
                   return *desk;
                 },
                 [&](std::size_t s, OperatingPoint& point) { monte_carlo_point(grid, random_loads, order(s), point); },
                 [&](std::size_t s, const Outcome& outcome) { out[order(s)] = outcome; }});
  return out;
}

// Generators that give exactly one of their limits.
std::vector<std::size_t> at_limit(const Grid& grid, const Flows& flows) {
  std::vector<std::size_t> out;
  for (std::size_t g = 0; g < flows.qg.size(); ++g)
    if (flows.qg[g] == grid.gen.qmin[g] || flows.qg[g] == grid.gen.qmax[g]) out.push_back(g);
  return out;
}

double difference(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!std::isnan(a[i])) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

// Some generators reach their limits, and the reference does not.
Grid tight(Grid grid) {
  for (std::size_t g = 1; g < grid.gen.size(); ++g)
    grid.gen.qmax[g] = std::min(grid.gen.qmax[g], g == 1 ? 30.0 : 18.0);
  grid.gen.qmin[0] = -100;
  grid.gen.qmax[0] = 200;
  return grid;
}

}  // namespace

TEST_CASE("reactive limits in a batch hold the generators that Newton's rounds hold, whatever block or order") {
  std::vector<Grid> grids = {tight(cases::ieee14())};
  if (cases::has_shared("case118.m"))
    for (const char* name : {"case118", "case300", "case1354pegase"})
      grids.push_back(cases::shared(name));
  for (const Grid& grid : grids)
    for (const QLimits mode : {QLimits::all, QLimits::one, QLimits::smooth}) {
      if (mode == QLimits::one && grid.bus.size() > 1000) continue;  // a hundred rounds
      CAPTURE(grid.name);
      CAPTURE(static_cast<int>(mode));
      const Network network = build_network(grid);
      const std::size_t count = 24;
      const auto together = limited(grid, network, mode, count, 24, [](std::size_t s) { return s; });
      const auto apart = limited(grid, network, mode, count, 7, [&](std::size_t s) { return count - 1 - s; });
      Desk desk(grid, network, {.tolerance = 1e-9, .q_limits = mode, .branches = false});
      std::size_t held = 0, in_batch = 0;
      for (std::size_t s = 0; s < count; ++s) {
        CAPTURE(s);
        CHECK(together[s].flows.vm == apart[s].flows.vm);  // the same bits
        CHECK(together[s].flows.qg == apart[s].flows.qg);
        OperatingPoint point(grid);
        monte_carlo_point(grid, random_loads, s, point);
        const Outcome alone = desk.solve(point);
        CHECK(together[s].solution.status == alone.solution.status);
        if (alone.solution.status != Status::converged) continue;
        CHECK(together[s].limited == alone.limited);
        CHECK(at_limit(grid, together[s].flows) == at_limit(grid, alone.flows));
        CHECK(difference(together[s].flows.vm, alone.flows.vm) < 1e-7);
        CHECK(difference(together[s].flows.va, alone.flows.va) < 1e-5);
        held += static_cast<std::size_t>(alone.limited);
        in_batch += together[s].path == Path::chord;
      }
      CHECK(held >= count);
      CHECK(in_batch > 2);  // where the reference itself reaches its limit Newton goes on alone
    }
}

TEST_CASE("distributed slack in a batch: Newton's solution and share") {
  std::vector<Grid> grids = {cases::ieee14()};
  if (cases::has_shared("case118.m"))
    for (const char* name : {"case118", "case300", "case1354pegase"})
      grids.push_back(cases::shared(name));
  for (const Grid& grid : grids) {
    CAPTURE(grid.name);
    Network network = build_network(grid);
    distribute_slack(network, grid);
    const Problem problem = problem_of(network);
    const State base = Newton(network).solve(problem, file_start(problem)).state;
    Batch batch(grid, problem, base, {.tolerance = 1e-9});
    Desk desk(grid, network, {.tolerance = 1e-9});
    std::vector<Solution> solutions(20);
    batch.solve(
        0, solutions.size(),
        [&](std::size_t s, const Specified& x) {
          OperatingPoint point(grid);
          monte_carlo_point(grid, random_loads, s, point);
          specify(grid, network, point, x);
        },
        [&](std::size_t s, ScenarioResult&& r) {
          CHECK(r.path == Path::chord);
          solutions[s] = std::move(r.solution);
        });
    for (std::size_t s = 0; s < solutions.size(); ++s) {
      OperatingPoint point(grid);
      monte_carlo_point(grid, random_loads, s, point);
      const Outcome alone = desk.solve(point);
      REQUIRE(solutions[s].status == Status::converged);
      CHECK(difference(solutions[s].state.vm, alone.solution.state.vm) < 1e-7);
      CHECK(difference(solutions[s].state.lambda, alone.solution.state.lambda) < 1e-7);
      CHECK(std::abs(alone.solution.state.lambda[0]) > 1e-6);
    }
  }
}

TEST_CASE("a border of the factor solves the system of other node types") {
  const Grid grid = cases::ieee14();
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  Newton newton(network);
  const State base = newton.solve(problem, file_start(problem)).state;
  const BlockFactor& factor = newton.factor_at(problem, base);
  Borders borders(problem, base, factor);
  const auto node = [&](NodeType type) {
    return static_cast<int>(std::ranges::find(network.type, type) - network.type.begin());
  };
  // One generator lets its voltage go, one load bus is held: S t = -rows y, x = y - sum u t, against a factor of its
  // own.
  std::vector<NodeType> type = network.type;
  const int released = node(NodeType::pv), held = node(NodeType::pq);
  type[released] = NodeType::pq;
  type[held] = NodeType::pv;
  std::vector<int> slots = {2 * released + 1, 2 * held + 1};
  std::ranges::sort(slots);
  const std::vector<std::vector<int>> lanes = {slots, {}};
  const TileBorders tile(borders, lanes);
  REQUIRE(!tile.singular(0));
  std::vector<double> y(2 * network.type.size());
  for (std::size_t i = 0; i < y.size(); ++i)
    y[i] = std::sin(1 + static_cast<double>(i));
  for (int i = 0; i < network.nodes(); ++i) {  // equations that are not there
    if (type[i] == NodeType::reference) y[2 * i] = 0;
    if (type[i] != NodeType::pq) y[2 * i + 1] = 0;
  }
  std::vector<double> expected = y;
  Problem other = problem;
  other.type = type;
  Newton(network).factor_at(other, base).solve(expected);
  factor.solve(y);
  const ChordBorders& b = tile.view();
  std::vector<double> right(2), t(2);
  for (int k = 0; k < 2; ++k)
    for (int e = b.row_start[k]; e < b.row_start[k + 1]; ++e)
      right[k] -= static_cast<double>(b.row_value[e]) * y[b.row_slot[e]];
  for (int k = 0; k < 2; ++k)
    for (int j = 0; j < 2; ++j)
      t[k] += static_cast<double>(b.inverse[0][2 * k + j]) * right[j];
  for (std::size_t i = 0; i < y.size(); ++i)
    for (int k = 0; k < 2; ++k)
      y[i] -= static_cast<double>(b.u[k][i]) * t[k];
  for (int k = 0; k < 2; ++k)
    y[b.slot[k]] = b.added[k] ? t[k] : 0;
  for (std::size_t i = 0; i < y.size(); ++i)
    CHECK(std::abs(y[i] - expected[i]) < 1e-5);
}
