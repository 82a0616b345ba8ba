// Reference solutions of an independent solver (numpy/scipy), see SOURCES.md of the shared data.
#include <algorithm>
#include <cmath>

#include "cases.hpp"
#include "flows.hpp"
#include "newton.hpp"
#include "qlimits.hpp"

using namespace fachwerk::dpf;

namespace {

struct Solved {
  Grid grid;
  Network network;
  Solution solution;
  Flows result;
};

Solved solve(Grid grid, Start start = Start::file) {
  Solved out;
  out.grid = std::move(grid);
  check(out.grid);
  out.network = build_network(out.grid);
  const Problem problem = problem_of(out.network);
  out.solution = Newton(out.network).solve(problem, starting_point(out.grid, problem, start));
  out.result = flows(out.grid, problem, out.solution.state);
  return out;
}

double sum(const std::vector<double>& values) {
  double total = 0;
  for (const double x : values)
    if (!std::isnan(x)) total += x;
  return total;
}

}  // namespace

TEST_CASE("all reference solutions: |V| within 1e-9 pu, angles within 1e-7 degrees") {
  if (!cases::has_shared("reference")) return;
  int compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(cases::shared_path("reference"))) {
    const std::string name = entry.path().stem().string();
    CAPTURE(name);
    const Solved s = solve(cases::shared(name));
    CHECK(s.solution.status == Status::converged);
    std::ifstream lines(entry.path());
    std::string line;
    std::getline(lines, line);
    double worst_vm = 0, worst_va = 0;
    for (std::size_t i = 0; std::getline(lines, line); ++i) {
      std::int64_t bus = 0;
      double vm = 0, va = 0;
      REQUIRE(std::sscanf(line.c_str(), "%ld,%lf,%lf", &bus, &vm, &va) == 3);
      REQUIRE(s.grid.bus.id[i] == bus);
      worst_vm = std::max(worst_vm, std::abs(s.result.vm[i] - vm));
      worst_va = std::max(worst_va, std::abs(s.result.va[i] - va));
    }
    CHECK(worst_vm < 1e-9);
    CHECK(worst_va < 1e-7);
    ++compared;
  }
  CHECK(compared >= 22);
}

TEST_CASE("every case file imports and solves") {
  if (!cases::has_shared("reference")) return;
  for (const auto& entry : std::filesystem::directory_iterator(cases::shared_path(""))) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() != ".m") continue;
    CAPTURE(name);
    if (!name.starts_with("case")) {
      CHECK(!changes_of(evaluate_matpower(cases::text_of(entry.path().string()), name), name).empty());
      continue;
    }
    CHECK(solve(cases::shared(name)).solution.status == Status::converged);
  }
}

TEST_CASE("losses and sums of |V|") {
  struct Row {
    const char* name;
    double loss, sum_vm;
  };
  for (const Row& row : std::initializer_list<Row>{{"case9", 4.641021, 9.198078480},
                                                   {"case14", 13.393272, 14.678627333},
                                                   {"case30", 2.443803, 29.458299216},
                                                   {"case57", 27.863752, 56.594382081},
                                                   {"case118", 132.862872, 116.317509641},
                                                   {"case300", 409.526477, 301.245881745},
                                                   {"case1354pegase", 1663.467495, 1410.028419443},
                                                   {"case2869pegase", 2793.380398, 2963.748304168},
                                                   {"case6515rte", 2845.245904, 6738.558824503},
                                                   {"case9241pegase", 7993.847434, 9473.923782354},
                                                   {"case_ACTIVSg200", 12.606897, 206.704484512},
                                                   {"case_ACTIVSg2000", 1631.662698, 2021.631535890},
                                                   {"case_ACTIVSg10k", 2585.732144, 10227.419038580},
                                                   {"case33bw", .202677, 31.299055577},
                                                   {"case16ci", .312777, 0},
                                                   {"case70da", .341427, 0},
                                                   {"case141", .6326956, 0}}) {
    if (!cases::has_shared(std::string(row.name) + ".m")) return;
    CAPTURE(row.name);
    const Solved s = solve(cases::shared(row.name));
    CHECK(std::abs(s.result.loss_mw - row.loss) < 1e-6);
    if (row.sum_vm > 0) CHECK(std::abs(sum(s.result.vm) - row.sum_vm) < 2e-9);
    // What goes in comes out: generation = load + losses.
    CHECK(std::abs(s.result.generation_mw - s.result.load_mw - s.result.loss_mw) < 1e-6);
  }
}

TEST_CASE("a unit tail with a power factor: the lowest voltage of case141") {
  if (!cases::has_shared("case141.m")) return;
  const Solved s = solve(cases::shared("case141"));
  const auto lowest = std::ranges::min_element(s.result.vm);
  CHECK(std::abs(*lowest - .927862062) < 1e-9);
  CHECK(s.grid.bus.id[static_cast<std::size_t>(lowest - s.result.vm.begin())] == 87);
}

TEST_CASE("reactive limits: MATPOWER's test of a modified 14-bus case") {
  if (!cases::has_shared("case14.m")) return;
  Grid grid = cases::shared("case14");
  grid.gen.qmin[0] = -10;
  grid.gen.qmax = {10, 30, 29, 15, 15};
  const Network network = build_network(grid);
  Newton newton(network);
  const auto solve_with = [&](QLimits mode) {
    return solve_with_q_limits(grid, network, newton, file_start(problem_of(network)), {}, mode);
  };
  const auto outputs = [&](const LimitedSolution& limited) {
    return flows(grid, problem_of(network, limited), limited.solution.state, limited.held).qg;
  };
  const auto close = [](const std::vector<double>& found, std::initializer_list<double> expected) {
    std::size_t g = 0;
    for (const double q : expected)
      CHECK(std::abs(found[g++] - q) < 5e-8);
  };
  const auto off = solve_with(QLimits::off);
  CHECK(off.solution.status == Status::converged);
  close(outputs(off), {-16.549300542, 43.557100134, 25.075348495, 12.730944405, 17.623451366});
  const auto all = solve_with(QLimits::all);
  CHECK(all.solution.status == Status::q_limits_infeasible);
  close(outputs(all), {-10, 30, 31.608422873, 16.420423190, 15});
  CHECK(all.type[network.node_of_bus[2]] == NodeType::reference);
  const auto one = solve_with(QLimits::one);
  CHECK(one.solution.status == Status::converged);
  close(outputs(one), {-6.30936644, 30, 29, 15, 15});
}

TEST_CASE("reactive limits of larger cases") {
  struct Row {
    const char* name;
    QLimits mode;
    int limited;
    double sum_vm, slack;
  };
  for (const Row& row : std::initializer_list<Row>{{"case300", QLimits::all, 21, 300.81755312, 375.10805},
                                                   {"case300", QLimits::one, 21, 300.81697960, 375.02085},
                                                   {"case118", QLimits::all, 6, 116.33301649, 0},
                                                   {"case1354pegase", QLimits::all, 25, 1408.83681482, 0},
                                                   {"case_ACTIVSg2000", QLimits::all, 204, 0, 0},
                                                   {"case_ACTIVSg2000", QLimits::one, 172, 0, 0}}) {
    if (!cases::has_shared(std::string(row.name) + ".m")) return;
    CAPTURE(row.name);
    CAPTURE(static_cast<int>(row.mode));
    const Grid grid = cases::shared(row.name);
    const Network network = build_network(grid);
    Newton newton(network);
    const auto limited = solve_with_q_limits(grid, network, newton, file_start(problem_of(network)), {}, row.mode);
    CHECK(limited.solution.status == Status::converged);
    CHECK(limited.limited == row.limited);
    const Flows result = flows(grid, problem_of(network, limited), limited.solution.state, limited.held);
    if (row.sum_vm > 0) CHECK(std::abs(sum(result.vm) - row.sum_vm) < 2e-8);
    if (row.slack > 0) CHECK(std::abs(result.slack_mw - row.slack) < 1e-5);
  }
}
