// Loss and gradient at flat start, Adam's trajectory, Levenberg-Marquardt beyond the nose.
#include <algorithm>
#include <cmath>

#include "cases.hpp"
#include "first_order.hpp"
#include "lm.hpp"

using namespace fachwerk::dpf;

TEST_CASE("loss and gradient at flat start") {
  struct Row {
    const char* name;
    double mse, gradient, worst;
    int unknowns;
  };
  for (const Row& row : std::initializer_list<Row>{{"case9", .606435774523, 11.7441446803, 1.63, 14},
                                                   {"case14", .1106087488, 3.00045580681, .921935426222, 22},
                                                   {"case118", .892994102119, 13.9016882291, 5.88938812268, 181}}) {
    if (!cases::has_shared(std::string(row.name) + ".m")) return;
    const Grid grid = cases::shared(row.name);
    const Network network = build_network(grid);
    const Problem problem = problem_of(network);
    const State flat = flat_start(problem);
    const LossGradient g = loss_gradient(problem, flat);
    double square = 0;
    for (std::size_t i = 0; i < g.angle.size(); ++i)
      square += g.angle[i] * g.angle[i] + g.magnitude[i] * g.magnitude[i];
    std::vector<double> f(2 * flat.vm.size());
    CHECK(network.unknowns() == row.unknowns);
    CHECK(std::abs(g.value / row.mse - 1) < 1e-9);
    CHECK(std::abs(std::sqrt(square) / row.gradient - 1) < 1e-9);
    CHECK(std::abs(mismatch(problem, flat, f) / row.worst - 1) < 1e-9);
  }
}

TEST_CASE("gradient of every loss against central differences") {
  const Grid grid = cases::ieee14();
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  const State state = flat_start(problem);
  for (const Loss loss : {Loss::mse, Loss::l1, Loss::l1_sum, Loss::huber}) {
    const LossGradient g = loss_gradient(problem, state, loss);
    for (std::size_t i = 0; i < state.vm.size(); ++i)
      for (const bool angle : {true, false}) {
        if (problem.type[i] == NodeType::reference || (!angle && problem.type[i] != NodeType::pq)) continue;
        const double h = 1e-6;
        State up = state, down = state;
        (angle ? up.va : up.vm)[i] += h;
        (angle ? down.va : down.vm)[i] -= h;
        const double difference =
            (loss_gradient(problem, up, loss).value - loss_gradient(problem, down, loss).value) / (2 * h);
        CHECK(std::abs((angle ? g.angle : g.magnitude)[i] - difference) < 1e-7 * std::max(1.0, std::abs(difference)));
      }
  }
}

TEST_CASE("gradient of the mean square on every case of up to 300 buses: central differences within 1e-7") {
  for (const char* name : {"case9", "case14", "case30", "case39", "case57", "case89pegase", "case118", "case300"}) {
    if (!cases::has_shared(std::string(name) + ".m")) return;
    CAPTURE(name);
    const Grid grid = cases::shared(name);
    const Network network = build_network(grid);
    const Problem problem = problem_of(network);
    const State state = flat_start(problem);
    const LossGradient g = loss_gradient(problem, state);
    double off = 0, length = 0;
    for (std::size_t i = 0; i < state.vm.size(); ++i)
      for (const bool angle : {true, false}) {
        if (problem.type[i] == NodeType::reference || (!angle && problem.type[i] != NodeType::pq)) continue;
        const auto value = [&](double change) {
          State moved = state;
          (angle ? moved.va : moved.vm)[i] += change;
          return loss_gradient(problem, moved).value;
        };
        const double h = 1e-5, exact = (angle ? g.angle : g.magnitude)[i];
        // Richardson: what is left of the truncation is of fourth order.
        const double difference = (8 * (value(h) - value(-h)) - (value(2 * h) - value(-2 * h))) / (12 * h);
        off += (exact - difference) * (exact - difference);
        length += exact * exact;
      }
    CHECK(std::sqrt(off / length) < 1e-7);
  }
}

TEST_CASE("Adam with the paper's settings on case118, set-points honoured") {
  if (!cases::has_shared("case118.m")) return;
  const Grid grid = cases::shared("case118");
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  FirstOrderOptions options = paper_preset("case118");
  options.trace = true;
  const Solution s = first_order(problem, flat_start(problem), options);
  const auto before = [&](std::size_t k) { return s.trace[k - 1].mean_square; };
  CHECK(std::abs(before(2) / .777684339 - 1) < 1e-6);
  CHECK(std::abs(before(10) / .291696153 - 1) < 1e-6);
  CHECK(std::abs(before(100) / .125848869 - 1) < 1e-6);
  CHECK(std::abs(before(500) / .0473562 - 1) < 1e-3);
  CHECK(std::abs(before(1000) / .0149868 - 1) < 1e-3);
  CHECK(s.trace.back().mean_square < 1e-6);
}

TEST_CASE("Levenberg-Marquardt: Newton's solution where there is one, a residual beyond the nose") {
  const auto two = [](double p) {
    return cases::from_text(fmt::format(
        "function mpc = two\nmpc.baseMVA = 100;\nmpc.bus = [1 3 0 0 0 0 1 1 0 0 1 1.1 .9\n2 1 {} {} 0 0 1 1 0 0 1 1.1 .9];\n"
        "mpc.gen = [1 0 0 999 -999 1 100 1 999 0];\nmpc.branch = [1 2 .02 .1 0 0 0 0 0 0 1];\n",
        p, p * 3 / 8));
  };
  const Grid solvable = two(80), beyond = two(500);
  const Network network = build_network(solvable), none = build_network(beyond);
  const Solution s = levenberg_marquardt(problem_of(network), flat_start(problem_of(network)), {.tolerance = 1e-11});
  CHECK(s.status == Status::converged);
  CHECK(std::abs(s.state.vm[network.node_of_bus[1]] - .9484515387689488) < 1e-10);
  const Solution t = levenberg_marquardt(problem_of(none), flat_start(problem_of(none)));
  CHECK(t.status == Status::infeasible);
  CHECK(t.max_mismatch > 0.1);
  const Grid grid = cases::ieee14();
  const Network fourteen = build_network(grid);
  const Solution lm = levenberg_marquardt(problem_of(fourteen), flat_start(problem_of(fourteen)));
  const Solution nr = Newton(fourteen).solve(problem_of(fourteen), flat_start(problem_of(fourteen)));
  for (std::size_t i = 0; i < nr.state.vm.size(); ++i)
    CHECK(std::abs(lm.state.vm[i] - nr.state.vm[i]) < 1e-7);
}

TEST_CASE("infeasible is said of minima alone: no small change of the state lowers the mismatch") {
  if (!cases::has_shared("case89pegase.m")) return;
  // On the second J^T F stays at 1.2e-5: rounding of |F|^2 hides the rest of the way.
  Grid light = cases::shared("case14"), heavy = cases::shared("case89pegase");
  for (double& p : light.bus.pd)
    p *= 6;
  for (auto* column : {&heavy.bus.pd, &heavy.bus.qd, &heavy.gen.pg})
    for (double& x : *column)
      x *= 2;
  for (const Grid& grid : {light, heavy}) {
    CAPTURE(grid.name);
    const Network network = build_network(grid);
    const Problem problem = problem_of(network);
    const Solution s = levenberg_marquardt(problem, starting_point(grid, problem, Start::automatic));
    REQUIRE(s.status == Status::infeasible);
    const auto size = [&](const State& state) {
      std::vector<double> f(2 * state.vm.size());
      mismatch(problem, state, f);
      double sum = 0;
      for (const double x : f)
        sum += x * x;
      return sum;
    };
    const double here = size(s.state);
    CHECK(here > 1e-4);
    for (std::size_t i = 0; i < s.state.vm.size(); ++i)
      for (const double h : {1e-3, -1e-3}) {
        State moved = s.state;
        if (problem.type[i] != NodeType::reference) moved.va[i] += h;
        CHECK(size(moved) >= here);
        moved = s.state;
        if (problem.type[i] == NodeType::pq) moved.vm[i] += h;
        CHECK(size(moved) >= here);
      }
  }
}
