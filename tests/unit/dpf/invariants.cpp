// What must not change a solution (spec 5, invariants): the direction of branches, a line in two halves, the power
// base; closed form of two buses and its nose.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "cases.hpp"
#include "flows.hpp"
#include "newton.hpp"

using namespace fachwerk::dpf;

namespace {

struct Solved {
  Network network;
  Solution solution;
  Flows flows;
};

Solved solve(const Grid& grid) {
  Solved out{build_network(grid), {}, {}};
  const Problem problem = problem_of(out.network);
  out.solution = Newton(out.network).solve(problem, file_start(problem), {.tolerance = 1e-11});
  out.flows = flows(grid, problem, out.solution.state);
  REQUIRE(out.solution.status == Status::converged);
  return out;
}

std::vector<Grid> grids() {
  std::vector<Grid> out = {cases::ieee14()};
  if (cases::has_shared("case2869pegase.m"))  // taps and shifts
    for (const char* name : {"case300", "case2869pegase"})
      out.push_back(cases::shared(name));
  return out;
}

void same_voltages(const Flows& a, const Flows& b, double tolerance) {
  double vm = 0, va = 0;
  for (std::size_t i = 0; i < a.vm.size(); ++i) {
    vm = std::max(vm, std::abs(a.vm[i] - b.vm[i]));
    va = std::max(va, std::abs(a.va[i] - b.va[i]));
  }
  CHECK(vm < tolerance);
  CHECK(va < tolerance * 180 / std::numbers::pi);
}

}  // namespace

TEST_CASE("invariant: both ends of every branch swapped, tap inverted and moved with the impedance, shift negated") {
  for (const Grid& grid : grids()) {
    CAPTURE(grid.name);
    Grid turned = grid;
    auto& branch = turned.branch;
    if (!branch.end_y.empty()) continue;
    std::swap(branch.from, branch.to);
    for (std::size_t k = 0; k < branch.size(); ++k) {
      const double tap = branch.tap[k] == 0 ? 1 : branch.tap[k];
      // T : 1 with z behind it is 1 : 1/T with T^2 z before it.
      branch.r[k] *= tap * tap;
      branch.x[k] *= tap * tap;
      branch.b[k] /= tap * tap;
      branch.tap[k] = 1 / tap;
      branch.shift[k] *= -1;
    }
    const Solved a = solve(grid), b = solve(turned);
    same_voltages(a.flows, b.flows, 1e-9);
    for (std::size_t k = 0; k < branch.size(); ++k) {
      CHECK(std::abs(a.flows.pf[k] - b.flows.pt[k]) < 1e-6);
      CHECK(std::abs(a.flows.qt[k] - b.flows.qf[k]) < 1e-6);
    }
  }
}

TEST_CASE("invariant: the power base ten times as large") {
  for (const Grid& grid : grids()) {
    CAPTURE(grid.name);
    const Solved a = solve(grid), b = solve(rebased(grid, 10 * grid.base_mva));
    same_voltages(a.flows, b.flows, 1e-9);
    CHECK(std::abs(a.flows.loss_mw - b.flows.loss_mw) < 1e-6);
    CHECK(std::abs(a.flows.slack_mw - b.flows.slack_mw) < 1e-6);
  }
}
