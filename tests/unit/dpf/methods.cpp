// Every method finds Newton's solution; schedules of the learning rate; reactive limits that let go again.
#include <algorithm>
#include <cmath>

#include "cases.hpp"
#include "cli/error.hpp"
#include "decoupled.hpp"
#include "lbfgs.hpp"
#include "study.hpp"

using namespace fachwerk::dpf;

namespace {

struct Solved {
  Solution solution, newton;
};
Solved by(const Grid& grid, Method method, Start start = Start::flat) {
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  const MethodOptions options{.method = method, .tolerance = 1e-10, .start = start};
  Solved out;
  out.solution = Desk(grid, network, options).solve(OperatingPoint(grid)).solution;
  out.newton = Newton(network).solve(problem, starting_point(grid, problem, start), {.tolerance = 1e-12});
  return out;
}

}  // namespace

TEST_CASE("all methods agree with Newton's from a flat start") {
  std::vector<Grid> grids = {cases::ieee14()};
  if (cases::has_shared("case118.m"))
    for (const char* name : {"case30", "case57", "case118"})
      grids.push_back(cases::shared(name));
  for (const Grid& grid : grids)
    for (const Method method :
         {Method::nr_ls, Method::chord, Method::lm, Method::lbfgs, Method::fdxb, Method::fdbx, Method::gs}) {
      CAPTURE(grid.name);
      CAPTURE(name(method));
      const Solved s = by(grid, method);
      CHECK(s.solution.status == Status::converged);
      CHECK(cases::difference(s.solution.state, s.newton.state) < 1e-7);
    }
}

TEST_CASE("L-BFGS with the Jacobian of the flat start: tens of evaluations, not thousands") {
  if (!cases::has_shared("case1354pegase.m")) return;
  for (const auto& [name, most] : {std::pair{"case118", 30}, {"case1354pegase", 160}}) {
    const Solved s = by(cases::shared(name), Method::lbfgs);
    CAPTURE(name);
    MESSAGE(name << ": " << s.solution.iterations << " steps");
    CHECK(s.solution.status == Status::converged);
    CHECK(s.solution.iterations <= most);
    CHECK(cases::difference(s.solution.state, s.newton.state) < 1e-7);
  }
}

TEST_CASE("chord from a flat start: iterations near those of the specification") {
  if (!cases::has_shared("case1354pegase.m")) return;
  for (const auto& [name, most] :
       {std::pair{"case118", 12}, {"case300", 20}, {"case1354pegase", 20}, {"case2869pegase", 20}}) {
    const Solved s = by(cases::shared(name), Method::chord);
    CAPTURE(name);
    MESSAGE(name << ": " << s.solution.iterations << " iterations");
    CHECK(s.solution.status == Status::converged);
    CHECK(s.solution.iterations <= most);
    CHECK(cases::difference(s.solution.state, s.newton.state) < 1e-7);
  }
}

TEST_CASE("backward/forward sweep: radial grids; others are refused") {
  if (cases::has_shared("case33bw.m"))
    for (const char* name : {"case33bw", "case69", "case141", "case16ci"}) {
      const Solved s = by(cases::shared(name), Method::bfs);
      CAPTURE(name);
      CHECK(s.solution.status == Status::converged);
      CHECK(cases::difference(s.solution.state, s.newton.state) < 1e-7);
    }
  CHECK_THROWS_AS(by(cases::ieee14(), Method::bfs), fachwerk::Error);
}

TEST_CASE("backward/forward sweep with a tap, a shift, a charging, a shunt and parallel lines") {
  const Grid grid = cases::from_text(
      "function mpc = r\nmpc.baseMVA = 10;\n"
      "mpc.bus = [1 3 0 0 0 0 1 1 5 20 1 1.1 .9\n2 1 1 .5 .1 .2 1 1 0 20 1 1.1 .9\n3 1 2 1 0 .3 1 1 0 20 1 1.1 .9\n"
      "4 1 1 .2 0 0 1 1 0 20 1 1.1 .9];\n"
      "mpc.gen = [1 0 0 999 -999 1.02 100 1 999 0];\n"
      "mpc.branch = [2 1 .01 .05 .02 0 0 0 .97 3 1\n2 3 .02 .04 .01 0 0 0 0 0 1\n2 3 .03 .04 0 0 0 0 0 0 1\n"
      "4 3 .02 .06 .03 0 0 0 1.02 0 1];\n");
  const Solved s = by(grid, Method::bfs);
  CHECK(s.solution.status == Status::converged);
  CHECK(cases::difference(s.solution.state, s.newton.state) < 1e-9);
}

TEST_CASE("reactive limits, smooth: a bus that no longer needs its limit controls its voltage again") {
  // A generator bus between two stiff ones. With `all`, bus 2 is held at Qmin in the first round because bus 3 lifts
  // its voltage; once bus 3 is held at its own Qmax, bus 2 would have to give more than Qmin again.
  const Grid grid = cases::from_text(
      "function mpc = s\nmpc.baseMVA = 100;\n"
      "mpc.bus = [1 3 0 0 0 0 1 1 0 20 1 1.1 .9\n2 2 60 20 0 0 1 1 0 20 1 1.1 .9\n3 2 80 60 0 0 1 1 0 20 1 1.1 .9];\n"
      "mpc.gen = [1 0 0 999 -999 1 100 1 999 0\n2 60 0 200 5 1.0 100 1 999 0\n3 40 0 20 -10 1.06 100 1 999 0];\n"
      "mpc.branch = [1 2 .01 .2 0 0 0 0 0 0 1\n2 3 .01 .1 0 0 0 0 0 0 1];\n");
  const Network network = build_network(grid);
  Newton newton(network);
  const auto solve_with = [&](QLimits mode) {
    return solve_with_q_limits(grid, network, newton, file_start(problem_of(network)), {}, mode);
  };
  const auto all = solve_with(QLimits::all), smooth = solve_with(QLimits::smooth);
  REQUIRE(all.solution.status == Status::converged);
  REQUIRE(smooth.solution.status == Status::converged);
  const int second = network.node_of_bus[1];
  // Held at Qmin below its set-point: not a state that a controller would stay in.
  CHECK(all.held.held[1] == 1);
  CHECK(all.solution.state.vm[second] < 1.0 - 1e-4);
  CHECK(smooth.held.held[1] == 0);
  CHECK(std::abs(smooth.solution.state.vm[second] - 1.0) < 1e-12);
  const Flows result = flows(grid, problem_of(network, smooth), smooth.solution.state, smooth.held);
  for (std::size_t g = 1; g < 3; ++g) {  // complementarity: inside the limits, or at one with the voltage on its side
    CHECK(result.qg[g] >= grid.gen.qmin[g] - 1e-5);
    CHECK(result.qg[g] <= grid.gen.qmax[g] + 1e-5);
  }
  CHECK(smooth.held.held[2] == 1);
  CHECK(smooth.solution.state.vm[network.node_of_bus[2]] < 1.06);
}

TEST_CASE("learning-rate schedules: step and multistep by hand") {
  const Grid grid = cases::ieee14();
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  using Schedule = FirstOrderOptions::Schedule;
  const auto end = [&](const FirstOrderOptions& options) {
    return first_order(problem, flat_start(problem), options).state;
  };
  FirstOrderOptions sgd{.optimiser = Optimiser::sgd, .max_iterations = 12, .rate = 1e-3};
  sgd.factor = .5;
  sgd.schedule = Schedule::step;
  sgd.patience = 4;
  FirstOrderOptions multi = sgd;
  multi.schedule = Schedule::multistep;
  multi.milestones = {4, 8};
  CHECK(cases::difference(end(sgd), end(multi)) < 1e-15);  // the fall after step 12 comes too late for both
  multi.milestones = {4};
  CHECK(cases::difference(end(sgd), end(multi)) > 1e-9);
}
