// A grid solved area by area: Newton's voltages by every method, with the iterations that the specification measured.
#include "areas.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "cases.hpp"
#include "cli/error.hpp"
#include "partition.hpp"
#include "synth.hpp"

using namespace fachwerk::dpf;

namespace {

std::vector<int> given_areas(const Grid& grid, const Network& network) {
  const std::vector<double> number(grid.bus.area.begin(), grid.bus.area.end());
  return areas_of(network, number);
}

// Largest difference from Newton's voltages; the solution by areas.
AreaSolution check_areas(const Grid& grid, std::span<const int> area, AreaOptions options) {
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  options.tolerance = 1e-11;
  const State start = file_start(problem);
  const AreaSolution found = solve_areas(problem, start, area, options, {});
  const Solution newton = Newton(network).solve(problem, start, {.tolerance = 1e-11});
  CAPTURE(grid.name);
  CAPTURE(name(options.method));
  REQUIRE(newton.status == Status::converged);
  CHECK(found.solution.status == Status::converged);
  CHECK(cases::difference(found.solution.state, newton.state) < 1e-9);
  MESSAGE(grid.name << ", " << found.areas << " areas, " << name(options.method) << " (" << name(found.method)
                    << "): " << found.solution.iterations << " iterations, " << found.inner_iterations << " of GMRES, "
                    << found.boundary << " boundary nodes, " << found.factors << " factors; max|F| "
                    << found.solution.max_mismatch);
  return found;
}

}  // namespace

TEST_CASE("areas: rings and real grids cut by bisection, every method gives Newton's voltages") {
  std::vector<Grid> grids = {cases::ieee14(), ring_grid(2000, 3)};
  if (cases::has_shared("case2869pegase.m"))
    for (const char* name : {"case300", "case2869pegase"})
      grids.push_back(cases::shared(name));
  for (const Grid& grid : grids) {
    const Network network = build_network(grid);
    for (const int parts : {1, 3, 8}) {
      const std::vector<int> area = bisect(network.pattern, parts);
      CHECK(*std::ranges::max_element(area) == parts - 1);
      for (const AreaMethod method : {AreaMethod::schur, AreaMethod::krylov, AreaMethod::automatic})
        check_areas(grid, area, {.method = method});
    }
  }
}

namespace {

// case1354pegase with its own solution as the voltages of the file: where the specification's counts begin.
Grid solved_1354() {
  Grid grid = cases::shared("case1354pegase");
  const Network network = build_network(grid);
  const State base = Newton(network).solve(problem_of(network), file_start(problem_of(network))).state;
  for (std::size_t i = 0; i < grid.bus.size(); ++i) {
    grid.bus.vm[i] = base.vm[network.node_of_bus[i]];
    grid.bus.va[i] = base.va[network.node_of_bus[i]] * 180 / std::numbers::pi;
  }
  return grid;
}

}  // namespace

TEST_CASE("areas: copies with random ties, AA(6) on one shared factor: the iterations of the specification") {
  if (!cases::has_shared("case1354pegase.m")) return;
  const Grid grid = solved_1354();
  struct Row {
    int copies;
    double tie;
    int iterations, slack;  // other ties were drawn for the specification: a few iterations either way
  };
  for (const Row& row :
       {Row{16, 10, 4, 1}, Row{16, 1, 9, 2}, Row{16, .1, 42, 10}, Row{64, 10, 4, 1}, Row{64, 1, 10, 2}}) {
    const Grid super = super_grid(grid, row.copies, 20, Ties::random, 0, row.tie, 1, true);
    const Network network = build_network(super);
    const Problem problem = problem_of(network);
    const auto solve = [&](AreaOptions::Factors factors) {
      return solve_areas(problem, file_start(problem), given_areas(super, network),
                         {.method = AreaMethod::anderson, .factors = factors}, {});
    };
    const AreaSolution alone = solve(AreaOptions::Factors::alone), tied = solve(AreaOptions::Factors::tied);
    MESSAGE(row.copies << " copies, ties of " << row.tie << " pu: " << alone.solution.iterations
                       << " iterations on one factor, " << tied.solution.iterations << " with the ties' own ends in "
                       << tied.factors);
    CHECK(alone.solution.status == Status::converged);
    CHECK(alone.factors == 1);
    CHECK(std::abs(alone.solution.iterations - row.iterations) <= row.slack);
    CHECK(tied.solution.iterations <= alone.solution.iterations);
    std::vector<double> f(2 * problem.type.size());
    CHECK(mismatch(problem, alone.solution.state, f) < 1.1e-8);
    CHECK(cases::difference(alone.solution.state, tied.solution.state) < 1e-6);
  }
}

TEST_CASE("areas: super-grids by every method give Newton's voltages, with one reference and with one in each copy") {
  const Grid grid = cases::ieee14();
  for (const bool each : {false, true})
    for (const Ties ties : {Ties::random, Ties::ring, Ties::grid2d, Ties::tree})
      for (const double x : {.1, 2.}) {
        const Grid super = super_grid(grid, 9, 4, ties, 0, x, 3, each);
        const auto area = given_areas(super, build_network(super));
        check_areas(super, area, {.method = AreaMethod::schur});
        check_areas(super, area, {.method = AreaMethod::krylov});
        check_areas(super, area, {});
        if (each) check_areas(super, area, {.method = AreaMethod::anderson});
      }
}

TEST_CASE("areas: more areas than buses, unknown methods") {
  CHECK_THROWS_AS(bisect(build_network(cases::ieee14()).pattern, 15), fachwerk::Error);
  CHECK_THROWS_AS(area_method_of("jacobi"), fachwerk::Error);
}
