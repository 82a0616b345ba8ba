// Topology, factors and the two-bus closed form.
#include <cmath>
#include <random>

#include "cases.hpp"
#include "cli/error.hpp"
#include "flows.hpp"
#include "newton.hpp"
#include "study.hpp"

using namespace fachwerk::dpf;

namespace {

std::string two_buses(double p, double q) {
  return fmt::format(
      "function mpc = two\nmpc.baseMVA = 100;\nmpc.bus = [1 3 0 0 0 0 1 1 0 0 1 1.1 .9\n2 1 {} {} 0 0 1 1 0 0 1 1.1 "
      ".9];\n"
      "mpc.gen = [1 0 0 999 -999 1 100 1 999 0];\nmpc.branch = [1 2 .02 .1 0 0 0 0 0 0 1];\n",
      p, q);
}

Solution solve(const Grid& grid, const NewtonOptions& options = {}) {
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  return Newton(network).solve(problem, starting_point(grid, problem, Start::automatic), options);
}

Flows solved(const Grid& grid) {
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  const Solution solution = Newton(network).solve(problem, starting_point(grid, problem, Start::automatic));
  REQUIRE(solution.status == Status::converged);
  return flows(grid, problem, solution.state);
}

}  // namespace

TEST_CASE("two buses: closed form") {
  const Flows result = solved(cases::from_text(two_buses(80, 30)));
  CHECK(std::abs(result.vm[1] - .9484515387689488) < 1e-13);
  CHECK(std::abs(result.va[1] + 4.474874043364) < 1e-11);
}

TEST_CASE("two buses: Newton from a low voltage finds the low branch") {
  Grid grid = cases::from_text(two_buses(80, 30));
  grid.bus.vm[1] = .08;
  grid.bus.va[1] = -60;
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  const Solution s = Newton(network).solve(problem, file_start(problem), {.tolerance = 1e-13});
  REQUIRE(s.status == Status::converged);
  CHECK(std::abs(s.state.vm[network.node_of_bus[1]] - .09186772342239196) < 1e-12);
}

TEST_CASE("two buses: no solution beyond the nose") {
  // beta^2 = 4 (r^2 + x^2)(P^2 + Q^2) along P : Q = 8 : 3
  double low = .8, high = 10;
  for (int i = 0; i < 100; ++i) {
    const double p = (low + high) / 2, q = p * 3 / 8, beta = 2 * (.02 * p + .1 * q) - 1;
    (beta * beta > 4 * (.0004 + .01) * (p * p + q * q) && beta < 0 ? low : high) = p;
  }
  CHECK(solve(cases::from_text(two_buses(99.9 * low, 99.9 * low * 3 / 8))).status == Status::converged);
  CHECK(solve(cases::from_text(two_buses(100.1 * low, 100.1 * low * 3 / 8))).status != Status::converged);
}

TEST_CASE("block factors solve what they factor, and the transpose") {
  const Network network = build_network(cases::ieee14());
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  std::vector<Block> a(network.pattern.column.size());
  for (auto& block : a)
    for (double& x : block)
      x = normal(random);
  for (const int d : network.pattern.diagonal)
    a[d][0] += 8, a[d][3] += 8;
  const std::size_t n = 2 * static_cast<std::size_t>(network.nodes());
  std::vector<double> x(n), b(n, 0), bt(n, 0);
  for (double& v : x)
    v = normal(random);
  for (int i = 0; i < network.nodes(); ++i)
    for (int k = network.pattern.start[i]; k < network.pattern.start[i + 1]; ++k)
      for (int r = 0; r < 2; ++r)
        for (int c = 0; c < 2; ++c) {
          const int j = network.pattern.column[k];
          b[2 * i + r] += a[k][2 * r + c] * x[2 * j + c];
          bt[2 * j + c] += a[k][2 * r + c] * x[2 * i + r];
        }
  BlockFactor factor(network.pattern);
  REQUIRE(factor.factor(a));
  std::vector<double> pivoted = b;
  factor.solve(b);
  factor.solve_transposed(bt);
  PivotingFactor pivoting(network.pattern);
  REQUIRE(pivoting.factor(a));
  REQUIRE(pivoting.solve(pivoted));
  for (std::size_t i = 0; i < n; ++i) {
    CHECK(std::abs(b[i] - x[i]) < 1e-12);
    CHECK(std::abs(bt[i] - x[i]) < 1e-12);
    CHECK(std::abs(pivoted[i] - x[i]) < 1e-12);
  }
}

TEST_CASE("invariants: swapped ends, a line in two halves, another base, renumbered buses") {
  const Grid grid = cases::ieee14();
  const Flows base = solved(grid);
  const auto same = [&](const Flows& other) {
    for (std::size_t i = 0; i < base.vm.size(); ++i) {
      CHECK(std::abs(other.vm[i] - base.vm[i]) < 1e-10);
      CHECK(std::abs(other.va[i] - base.va[i]) < 1e-8);
    }
  };
  same(solved(rebased(grid, 1000)));

  Grid swapped = grid;  // a transformer seen from the other side: tap inverted, impedance moved, shift negated
  for (std::size_t k = 0; k < swapped.branch.size(); ++k) {
    auto& b = swapped.branch;
    if (b.b[k] != 0) continue;
    const double tap = b.tap[k] == 0 ? 1 : b.tap[k];
    std::swap(b.from[k], b.to[k]);
    b.tap[k] = 1 / tap;
    b.shift[k] = -b.shift[k];
    b.r[k] *= tap * tap;
    b.x[k] *= tap * tap;
  }
  same(solved(swapped));

  Grid halves = grid;  // line 4-5 has no charging
  halves.bus.id.push_back(99);
  halves.bus.type.push_back(1);
  for (auto* column :
       {&halves.bus.pd, &halves.bus.qd, &halves.bus.gs, &halves.bus.bs, &halves.bus.va, &halves.bus.base_kv})
    column->push_back(0);
  halves.bus.vm.push_back(1);
  halves.bus.vmax.push_back(1.1);
  halves.bus.vmin.push_back(.9);
  halves.bus.area.push_back(1);
  halves.bus.zone.push_back(1);
  auto& b = halves.branch;
  b.r[6] /= 2;
  b.x[6] /= 2;
  b.to[6] = 99;
  b.from.push_back(99);
  b.to.push_back(5);
  b.r.push_back(b.r[6]);
  b.x.push_back(b.x[6]);
  b.status.push_back(1);
  for (auto* column : {&b.b, &b.rate_a, &b.rate_b, &b.rate_c, &b.tap, &b.shift})
    column->push_back(0);
  same(solved(halves));

  Grid renumbered = grid;
  for (auto* ids : {&renumbered.bus.id, &renumbered.gen.bus, &renumbered.branch.from, &renumbered.branch.to})
    for (auto& id : *ids)
      id = 1000 - 7 * id;
  same(solved(renumbered));
}

TEST_CASE("two islands with references of their own") {
  if (!cases::has_shared("case9.m")) return;
  Grid grid = cases::shared("case9");
  const Grid copy = grid;
  const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  for (std::size_t i = 0; i < 9; ++i)
    grid.bus.id.push_back(copy.bus.id[i] + 100);
  append(grid.bus.type, copy.bus.type);
  for (const auto member : {&Buses::pd, &Buses::qd, &Buses::gs, &Buses::bs, &Buses::vm, &Buses::va, &Buses::base_kv,
                            &Buses::vmax, &Buses::vmin})
    append(grid.bus.*member, copy.bus.*member);
  append(grid.bus.area, copy.bus.area);
  append(grid.bus.zone, copy.bus.zone);
  for (std::size_t i = 9; i < 18; ++i)
    grid.bus.pd[i] *= 1.2, grid.bus.qd[i] *= 1.2;
  for (const auto id : copy.gen.bus)
    grid.gen.bus.push_back(id + 100);
  for (const auto member : {&Generators::pg, &Generators::qg, &Generators::qmax, &Generators::qmin, &Generators::vg,
                            &Generators::mbase, &Generators::pmax, &Generators::pmin, &Generators::apf})
    append(grid.gen.*member, copy.gen.*member);
  append(grid.gen.status, copy.gen.status);
  for (const auto id : copy.branch.from)
    grid.branch.from.push_back(id + 100);
  for (const auto id : copy.branch.to)
    grid.branch.to.push_back(id + 100);
  for (const auto member : {&Branches::r, &Branches::x, &Branches::b, &Branches::rate_a, &Branches::rate_b,
                            &Branches::rate_c, &Branches::tap, &Branches::shift})
    append(grid.branch.*member, copy.branch.*member);
  append(grid.branch.status, copy.branch.status);
  const Network network = build_network(grid);
  CHECK(network.islands == 2);
  const Flows result = solved(grid);
  CHECK(std::abs(result.vm[8] - .99563086) < 1e-8);
  CHECK(std::abs(result.va[8] + 3.988805) < 1e-6);
  CHECK(std::abs(result.vm[13] - 1.00014986) < 1e-8);
  CHECK(std::abs(result.va[13] + 7.148161) < 1e-6);
  CHECK(std::abs(result.vm[17] - .98076047) < 1e-8);
  CHECK(std::abs(result.va[17] + 7.690485) < 1e-6);
  CHECK(std::abs(result.pg[0] - 71.641021) < 1e-6);
  CHECK(std::abs(result.pg[3] - 134.911887) < 1e-6);
}

TEST_CASE("references, dead islands, bridges") {
  Grid grid = cases::ieee14();
  const Network network = build_network(grid);
  const auto bridge = bridges(network);
  for (std::size_t k = 0; k < 20; ++k)
    CHECK(bridge[k] == (k == 13));  // 7-8 alone feeds bus 8

  Grid dead = grid;
  dead.branch.status[13] = 0;
  dead.gen.status[4] = 0;
  const Network without8 = build_network(dead);
  CHECK(without8.node_of_bus[7] == -1);
  CHECK(without8.nodes() == 13);
  CHECK(without8.lost_load_mw == 0);

  Grid island = grid;  // bus 8 keeps its generator: an island of its own
  island.branch.status[13] = 0;
  const Network two = build_network(island);
  CHECK(two.islands == 2);
  CHECK(two.type[two.node_of_bus[7]] == NodeType::reference);

  Grid moved = grid;  // without generator 1, the largest PV bus takes over; the first one if asked for
  moved.gen.status[0] = 0;
  moved.gen.pmax = {0, 1, 2, 9, 3};
  CHECK(build_network(moved).type[build_network(moved).node_of_bus[5]] == NodeType::reference);
  const Network first = build_network(moved, {.first_reference = true});
  CHECK(first.type[first.node_of_bus[1]] == NodeType::reference);

  Grid off = grid;
  std::ranges::fill(off.gen.status, 0);
  CHECK_THROWS_AS(build_network(off), fachwerk::Error);
}

TEST_CASE("fused buses of a branch without impedance") {
  Grid grid = cases::ieee14();
  grid.branch.x[13] = 0;  // 7-8
  CHECK_THROWS_AS(build_network(grid), fachwerk::Error);
  const Network network = build_network(grid, {.merge_zero_impedance = true});
  CHECK(network.nodes() == 13);
  CHECK(network.node_of_bus[6] == network.node_of_bus[7]);
  CHECK(network.type[network.node_of_bus[6]] == NodeType::pv);
  grid.branch.x[13] = 1e-7;  // the limit of a small impedance
  const Network small = build_network(grid);
  const State merged = Newton(network).solve(problem_of(network), file_start(problem_of(network))).state;
  const State stiff = Newton(small).solve(problem_of(small), file_start(problem_of(small))).state;
  for (std::size_t i = 0; i < grid.bus.size(); ++i)
    CHECK(std::abs(merged.vm[network.node_of_bus[i]] - stiff.vm[small.node_of_bus[i]]) < 1e-6);
}

TEST_CASE("a fused node keeps the charging of lines beside the branch, and the voltage of its strongest bus") {
  // Open line: 1 -z- 2 = 3 with charged branches between 2 and 3, so V2 = V1 / (1 + z y).
  const std::string buses =
      "function mpc = t\nmpc.baseMVA = 100;\nmpc.bus = [1 3 0 0 0 0 1 1 5 0 1 1.1 .9; 2 1 0 0 0 0 1 1 0 0 1 1.1 .9; "
      "3 1 0 0 0 0 1 1 0 0 1 1.1 .9];\nmpc.gen = [1 0 0 9 -9 1.02 100 1 9 0];\n";
  Grid grid = cases::from_text(buses +
                               "mpc.branch = [1 2 .02 .1 0 0 0 0 0 0 1; 2 3 0 0 .4 0 0 0 0 0 1; "
                               "3 2 .1 .2 .3 0 0 0 0 0 1; 2 3 .1 .2 .5 0 0 0 0 0 0; 2 3 .05 .2 0 0 0 0 1.05 0 1];\n");
  const NetworkOptions fuse{.merge_zero_impedance = true};
  const Network network = build_network(grid, fuse);
  const State state = Newton(network).solve(problem_of(network), file_start(problem_of(network))).state;
  const Complex round = 1.0 / Complex(.05, .2) * std::norm(1 - 1 / 1.05);  // current round the tap
  const Complex v = std::polar(1.02, 5 * M_PI / 180) / (1.0 + Complex(.02, .1) * (Complex(0, .7) + round));
  const int node = network.node_of_bus[2];
  CHECK(std::abs(std::polar(state.vm[node], state.va[node]) - v) < 1e-10);
  grid.branch.tap[1] = 1.1;
  CHECK_THROWS_AS(build_network(grid, fuse), fachwerk::Error);

  // The reference wins over the PV bus before it, whatever the order of the generators.
  for (const char* generators : {"[1 0 0 9 -9 1.05 100 1 9 0; 2 0 0 9 -9 1.02 100 1 9 0]",
                                 "[2 0 0 9 -9 1.02 100 1 9 0; 1 0 0 9 -9 1.05 100 1 9 0]"}) {
    const Grid two = cases::from_text(
        std::string("function mpc = t\nmpc.baseMVA = 100;\nmpc.bus = [1 2 0 0 0 0 1 1.05 3 0 1 1.1 .9; "
                    "2 3 0 0 0 0 1 1.02 7 0 1 1.1 .9; 3 1 80 30 0 0 1 1 0 0 1 1.1 .9];\nmpc.gen = ") +
        generators + ";\nmpc.branch = [1 2 0 0 0 0 0 0 0 0 1; 1 3 .02 .1 0 0 0 0 0 0 1];\n");
    const Network fused = build_network(two, fuse);
    const int k = fused.node_of_bus[0];
    CHECK(fused.type[k] == NodeType::reference);
    CHECK(fused.set_point[k] == 1.02);
    CHECK(fused.vm[k] == 1.02);
    CHECK(fused.va[k] == doctest::Approx(7 * M_PI / 180).epsilon(1e-14));
    OperatingPoint point(two);
    (two.gen.bus[0] == 2 ? point.vg[0] : point.vg[1]) = 1.03;
    std::vector<double> p(2), q(2), set_point(2, 1.0);
    specify(two, fused, point, {p, q, set_point});
    CHECK(set_point[k] == 1.03);
  }
}

TEST_CASE("scenarios scale every part of a voltage-dependent load") {
  // Constant impedance: V2 = V1 / (1 + z y). Constant active current on a line without resistance at unity power
  // factor: |V2| = cos(angle), sin(angle) = x P.
  Grid grid = cases::from_text(two_buses(40, 15));
  grid.bus.zip.assign(2, {0, 0, 1, 0, 0, 1});
  const Network network = build_network(grid);
  Desk desk(grid, network, {});
  const auto admittance = [](double p, double q) { return std::abs(1.0 / (1.0 + Complex(.02, .1) * Complex(p, -q))); };
  OperatingPoint& point = desk.fresh_point();
  point.pd[1] = 80;
  point.qd[1] = 30;
  CHECK(changes_dependence(grid, point));
  CHECK(std::abs(desk.solve(point).flows.vm[1] - admittance(.8, .3)) < 1e-10);
  const State flat = flat_start(problem_of(network));
  CHECK(std::abs(desk.climb(point, flat).flows.vm[1] - admittance(.8, .3)) < 1e-10);
  CHECK(std::abs(desk.climb(point, flat).flows.load_mw - 80 * std::pow(admittance(.8, .3), 2)) < 1e-8);
  std::vector<double> p(2), q(2), set_point(2, 1.0);
  CHECK_THROWS_AS(specify(grid, network, point, {p, q, set_point}), fachwerk::Error);

  // A batch's scenario on the same desk has the grid's own loads again.
  const Problem problem = problem_of(network);
  ScenarioResult own{Newton(network).solve(problem, flat), Path::chord};
  own.view = {problem.p, problem.q, problem.set_point, {}, {}, {}, {}};
  OperatingPoint& same = desk.fresh_point();
  CHECK(!changes_dependence(grid, same));
  const Outcome& base = desk.finish(same, std::move(own));
  CHECK(base.solution.max_mismatch < 1e-9);
  CHECK(std::abs(base.flows.load_mw - 40 * std::pow(admittance(.4, .15), 2)) < 1e-8);

  grid.branch.r[0] = 0;
  grid.bus.zip.assign(2, {0, 1, 0, 0, 1, 0});
  grid.bus.qd[1] = 0;
  const Network lossless = build_network(grid);
  Desk other(grid, lossless, {});
  OperatingPoint& more = other.fresh_point();
  more.pd[1] = 300;
  CHECK(std::abs(other.solve(more).flows.vm[1] - std::sqrt(1 - .09)) < 1e-10);
}

TEST_CASE("reactive power shared by generators of a bus") {
  const double inf = INFINITY;
  const auto close = [](const std::vector<double>& found, const std::vector<double>& expected) {
    for (std::size_t i = 0; i < expected.size(); ++i)
      CHECK(std::abs(found[i] - expected[i]) < 1e-9);
  };
  close(share_reactive(30, std::vector<double>{0, 0}, std::vector<double>{10, 50}), {5, 25});
  close(share_reactive(30, std::vector<double>{10, 5}, std::vector<double>{10, 5}), {17.5, 12.5});
  // An infinite limit stands for the sum of |Q| and of the finite limits: 30 + 30 + 10 + 20 = 90 here... on both
  // generators.
  close(share_reactive(60, std::vector<double>{-inf, 0}, std::vector<double>{10, 20}),
        {-90 + 150. / 120 * 100, 150. / 120 * 20});
}

TEST_CASE("Jacobian against central differences") {
  Grid grid = cases::ieee14();
  grid.branch.shift[8] = 7;
  grid.bus.zip.assign(14, {.5, .3, .2, .4, .1, .5});
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  State state = file_start(problem);
  const int n = network.nodes();
  std::vector<Block> a(network.pattern.column.size());
  jacobian(problem, state, a);
  for (int j = 0; j < n; ++j)
    for (int half = 0; half < 2; ++half) {
      if (problem.type[j] == NodeType::reference || (half == 1 && problem.type[j] == NodeType::pv)) continue;
      const double h = 1e-6;
      std::vector<double> up(2 * static_cast<std::size_t>(n)), down(up.size()), dx(up.size(), 0.0);
      State moved = state;
      dx[2 * j + half] = h;
      apply_step(moved, dx);
      mismatch(problem, moved, up);
      moved = state;
      apply_step(moved, dx, -1);
      mismatch(problem, moved, down);
      for (int i = 0; i < n; ++i)
        for (int row = 0; row < 2; ++row) {
          const int k = network.pattern.position(i, j);
          const double expected = (up[2 * i + row] - down[2 * i + row]) / (2 * h);
          CHECK(std::abs((k < 0 ? 0 : a[k][2 * row + half]) - expected) < 1e-7);
        }
    }
}
