// The Jacobian and the adjoint that are written for others, against differences of mismatches and of solved flows;
// moments of the paper's time series.
#include "adjoint.hpp"

#include <algorithm>
#include <cmath>

#include "cases.hpp"
#include "cli/error.hpp"
#include "first_order.hpp"
#include "profile.hpp"

using namespace fachwerk::dpf;

TEST_CASE("sparse Jacobian: central differences of the mismatch, in the order of the file") {
  std::vector<Grid> grids = {cases::ieee14()};
  if (cases::has_shared("case118.m")) grids.push_back(cases::shared("case118"));
  for (const Grid& grid : grids) {
    const Network network = build_network(grid);
    const Problem problem = problem_of(network);
    const State state = flat_start(problem);
    const SparseJacobian j = sparse_jacobian(problem, state);
    const std::size_t n = j.bus.size();
    CHECK(n == static_cast<std::size_t>(network.unknowns()));
    CHECK(std::ranges::is_sorted(j.row));
    std::vector<double> dense(n * n, 0.0), up(2 * state.vm.size()), down(up.size());
    for (std::size_t k = 0; k < j.value.size(); ++k)
      dense[j.row[k] * n + j.column[k]] += j.value[k];
    double worst = 0;
    for (std::size_t c = 0; c < n; ++c) {
      const double h = 1e-5;
      const int node = network.node_of_bus[j.bus[c]];
      State plus = state, minus = state;
      (j.kind[c] == 0 ? plus.va : plus.vm)[node] += h;
      (j.kind[c] == 0 ? minus.va : minus.vm)[node] -= h;
      mismatch(problem, plus, up);
      mismatch(problem, minus, down);
      for (std::size_t r = 0; r < n; ++r) {
        const std::size_t at = 2 * network.node_of_bus[j.bus[r]] + j.kind[r];
        worst = std::max(worst, std::abs(dense[r * n + c] - (up[at] - down[at]) / (2 * h)));
      }
    }
    CHECK(worst < 1e-6);
  }
}

TEST_CASE("adjoint of the losses, a voltage and a loading by the injections: differences of solved flows") {
  Grid grid = cases::ieee14();
  for (double& rate : grid.branch.rate_a)
    rate = 100;
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  const auto solved = [&](const Grid& g) {
    const Network own = build_network(g);
    return std::pair(own, Newton(own).solve(problem_of(own), file_start(problem_of(own)), {.tolerance = 1e-12}).state);
  };
  const State state = solved(grid).second;
  using Kind = Observation::Kind;
  for (const Observation& what : {Observation{Kind::loss, 0}, {Kind::vm, 8}, {Kind::va, 3}, {Kind::loading, 6}}) {
    const Adjoint adjoint = injection_adjoint(grid, problem, state, what);
    for (std::size_t bus = 0; bus < grid.bus.size(); ++bus)
      for (const bool active : {true, false}) {
        const auto value = [&](double change) {
          Grid changed = grid;
          (active ? changed.bus.pd : changed.bus.qd)[bus] -= change;
          const auto [own, at] = solved(changed);
          return observe(changed, problem_of(own), at, what);
        };
        const double h = .05, slope = (value(h) - value(-h)) / (2 * h);
        CHECK(std::abs((active ? adjoint.p : adjoint.q)[bus] - slope) < 1e-7);
      }
  }
}

TEST_CASE("the paper's time series: voltages and second moment go on, the first moment does not") {
  const Grid grid = cases::ieee14();
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  PaperSeries series(1e-12);
  const Solution first = series.solve(problem, flat_start(problem));
  const Solution second = series.solve(problem, flat_start(problem));
  CHECK(first.iterations == 1000);
  CHECK(second.iterations == 300);
  // The same by hand.
  Moments moments;
  FirstOrderOptions options = paper_preset("series");
  options.tolerance = 1e-12;
  const Solution a = first_order(problem, flat_start(problem), options, &moments);
  CHECK(moments.steps == 1000);
  CHECK(a.state.vm == first.state.vm);
  std::ranges::fill(moments.first, 0.0);
  options = paper_preset("paper:series-next");
  options.tolerance = 1e-12;
  const Solution b = first_order(problem, a.state, options, &moments);
  CHECK(moments.steps == 1300);
  CHECK(b.state.vm == second.state.vm);
  CHECK(b.state.va == second.state.va);
  // Without its memory the optimiser takes another way.
  CHECK(first_order(problem, a.state, options).state.vm != second.state.vm);
}

TEST_CASE("presets of the paper (spec 2.3)") {
  for (const char* name : {"single", "batch", "series", "series-next", "case118", "case200", "case_ACTIVSg200",
                           "case300", "case1354pegase", "case1888rte", "case2869pegase", "case3120sp", "case6495rte",
                           "case6515rte", "case9241pegase", "paper:case118"})
    CHECK_NOTHROW(paper_preset(name));
  CHECK_THROWS_AS(paper_preset("case14"), fachwerk::Error);
  const FirstOrderOptions single = paper_preset("single"), batch = paper_preset("batch");
  CHECK(single.optimiser == Optimiser::rmsprop);
  CHECK(single.alpha == .86468552);
  CHECK(single.patience == 40);
  CHECK(single.cooldown == 80);
  CHECK(batch.optimiser == Optimiser::adam);
  CHECK(batch.rate == .003377);
  CHECK(batch.beta1 == .979681);
  CHECK(batch.beta2 == .963442);
  CHECK(batch.patience == 41);
}

TEST_CASE("profiles: units of time, factors of areas and buses multiply, what is wrong is named") {
  const Grid grid = cases::ieee14();
  const Profile profile = read_profile("time [min],load,bus 14\n0,1,1\n5,.5,3\n", "p.csv", grid);
  CHECK(profile.time == std::vector<double>{0, 300});
  OperatingPoint point(grid);
  profile.apply(1, point);
  CHECK(std::abs(point.pd[1] - .5 * grid.bus.pd[1]) < 1e-12);
  CHECK(std::abs(point.qd[13] - 1.5 * grid.bus.qd[13]) < 1e-12);
  for (const char* text : {"load\n1\n", "time\n0\n", "time,bus 15\n0,1\n", "time,area\n0,1\n", "time [y],load\n0,1\n",
                           "time,load\n0,high\n", "time,load\n,1\n", "time,load\n"})
    CHECK_THROWS_AS(read_profile(text, "p.csv", grid), fachwerk::Error);
}
