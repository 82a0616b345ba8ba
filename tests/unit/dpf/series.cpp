// Hourly zonal loads of the ACTIVSg cases (spec section 5), and invariants of batches and outages.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "batch.hpp"
#include "cases.hpp"
#include "fit.hpp"
#include "flows.hpp"
#include "scenarios.hpp"
#include "study.hpp"
#include "synth.hpp"

using namespace fachwerk::dpf;

namespace {

struct Hour {
  double load, slack, loss, vmin;
  std::int64_t bus;
  Status status;
};

Hour hour(const Grid& grid, const ChangeTable& table, std::size_t number, bool scaled) {
  const Network network = build_network(grid);
  OperatingPoint point(grid);
  table.apply(number - 1, grid, point);
  if (scaled) scale_generation(grid, point);
  Desk desk(grid, network, {.tolerance = 1e-10});
  const Outcome out = desk.solve(point);
  const auto lowest = std::ranges::min_element(out.flows.vm);
  return {std::accumulate(point.pd.begin(), point.pd.end(), 0.0),
          out.flows.slack_mw,
          out.flows.loss_mw,
          *lowest,
          grid.bus.id[static_cast<std::size_t>(lowest - out.flows.vm.begin())],
          out.solution.status};
}

ChangeTable table_of(const Grid& grid, const std::string& name) {
  return {grid, changes_of(evaluate_matpower(cases::text_of(cases::shared_path(name)), name), name), "auto"};
}

}  // namespace

TEST_CASE("a year of ACTIVSg200: areas of the table are zones, generation as in the file or following the load") {
  if (!cases::has_shared("scenarios_ACTIVSg200.m")) return;
  const Grid grid = cases::shared("case_ACTIVSg200");
  const ChangeTable table = table_of(grid, "scenarios_ACTIVSg200.m");
  CHECK(table.uses_zone());
  struct Row {
    std::size_t number;
    double load, slack, loss, vmin;
    std::int64_t bus;
    double scaled_slack;
  };
  for (const Row& row : {Row{1, 1262.400, 168.719938, 10.219938, 1.01233407, 148, 328.951064},
                         Row{4380, 1655.100, 569.952383, 18.752383, 1.00830985, 0, 433.565708}}) {
    CAPTURE(row.number);
    const Hour as_is = hour(grid, table, row.number, false), scaled = hour(grid, table, row.number, true);
    CHECK(as_is.status == Status::converged);
    CHECK(std::abs(as_is.load - row.load) < 1e-3);
    CHECK(std::abs(as_is.slack - row.slack) < 1e-6);
    CHECK(std::abs(as_is.loss - row.loss) < 1e-6);
    CHECK(std::abs(as_is.vmin - row.vmin) < 1e-8);
    if (row.bus > 0) CHECK(as_is.bus == row.bus);
    CHECK(std::abs(scaled.slack - row.scaled_slack) < 1e-6);
  }
}

TEST_CASE(
    "a year of ACTIVSg2000: areas are areas; without following generation hour 1 has no solution, and that is said") {
  if (!cases::has_shared("scenarios_ACTIVSg2000.m")) return;
  const Grid grid = cases::shared("case_ACTIVSg2000");
  const ChangeTable table = table_of(grid, "scenarios_ACTIVSg2000.m");
  CHECK(!table.uses_zone());
  const Hour scaled = hour(grid, table, 1, true), as_is = hour(grid, table, 1, false);
  CHECK(scaled.status == Status::converged);
  CHECK(std::abs(scaled.slack - 239.912668) < 1e-6);
  CHECK(std::abs(scaled.loss - 416.472668) < 1e-6);
  CHECK(as_is.status != Status::converged);
}

TEST_CASE("order of buses and branches changes nothing") {
  const Grid grid = cases::ieee14();
  Grid turned = grid;
  const auto reverse = [](auto& column) { std::ranges::reverse(column); };
  for (const auto member : {&Buses::pd, &Buses::qd, &Buses::gs, &Buses::bs, &Buses::vm, &Buses::va, &Buses::base_kv,
                            &Buses::vmax, &Buses::vmin})
    reverse(turned.bus.*member);
  reverse(turned.bus.id);
  reverse(turned.bus.type);
  reverse(turned.bus.area);
  reverse(turned.bus.zone);
  reverse(turned.bus.name);
  for (const auto member : {&Branches::r, &Branches::x, &Branches::b, &Branches::rate_a, &Branches::rate_b,
                            &Branches::rate_c, &Branches::tap, &Branches::shift})
    reverse(turned.branch.*member);
  reverse(turned.branch.from);
  reverse(turned.branch.to);
  reverse(turned.branch.status);
  const auto solved = [](const Grid& g) { return Desk(g, build_network(g), {}).solve(OperatingPoint(g)).flows; };
  const Flows a = solved(grid), b = solved(turned);
  for (std::size_t i = 0; i < a.vm.size(); ++i) {
    CHECK(std::abs(a.vm[i] - b.vm[a.vm.size() - 1 - i]) < 1e-10);
    CHECK(std::abs(a.va[i] - b.va[a.vm.size() - 1 - i]) < 1e-8);
  }
}

TEST_CASE("an outage as a patch of four entries is the matrix assembled without the branch") {
  std::vector<Grid> grids = {cases::ieee14()};
  if (cases::has_shared("case1354pegase.m")) grids.push_back(cases::shared("case1354pegase"));
  for (const Grid& grid : grids) {
    const Network intact = build_network(grid);
    const auto bridge = bridges(intact);
    for (std::size_t k = 0; k < grid.branch.size(); k += 1 + grid.branch.size() / 40) {
      if (intact.from_of_branch[k] < 0 || bridge[k]) continue;
      const BranchSlots slots = intact.slots[k];
      std::vector<Complex> y = intact.y;
      y[slots.ff] -= intact.admittance[k].ff;
      y[slots.ft] -= intact.admittance[k].ft;
      y[slots.tf] -= intact.admittance[k].tf;
      y[slots.tt] -= intact.admittance[k].tt;
      Grid changed = grid;
      changed.branch.status[k] = 0;
      const Network anew = build_network(changed);
      double worst = 0, largest = 0;
      for (std::size_t bus = 0; bus < grid.bus.size(); ++bus) {
        const int i = intact.node_of_bus[bus], other = anew.node_of_bus[bus];
        if (i < 0) continue;
        for (int s = intact.pattern.start[i]; s < intact.pattern.start[i + 1]; ++s) {
          const int column = anew.node_of_bus[intact.bus_of_node[intact.pattern.column[s]]];
          const int at = anew.pattern.position(other, column);
          worst = std::max(worst, std::abs(y[s] - (at < 0 ? Complex(0) : anew.y[at])));
          largest = std::max(largest, std::abs(y[s]));
        }
      }
      CHECK(worst < 1e-12 * std::max(1.0, largest));
    }
  }
}

TEST_CASE("batches: the order of scenarios does not matter") {
  const Grid grid = ring_grid(200, 5);
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  Batch batch(grid, problem, Newton(network).solve(problem, file_start(problem)).state);
  const auto solve = [&](bool backwards) {
    std::vector<State> states(50);
    const auto scenario = [&](std::size_t s) { return backwards ? 49 - s : s; };
    batch.solve(
        0, 50,
        [&](std::size_t s, const Specified& x) {
          OperatingPoint point(grid);
          monte_carlo_point(grid, {.sigma = .1}, scenario(s), point);
          specify(grid, network, point, x);
        },
        [&](std::size_t s, ScenarioResult&& r) { states[scenario(s)] = std::move(r.solution.state); });
    return states;
  };
  const auto a = solve(false), b = solve(true);
  for (std::size_t s = 0; s < a.size(); ++s)
    for (std::size_t i = 0; i < a[s].vm.size(); ++i)
      CHECK(std::abs(a[s].vm[i] - b[s].vm[i]) < 1e-9);
}

TEST_CASE("adjoint gradients against central differences on every small case, every kind of parameter") {
  for (const char* name : {"case9", "case30", "case57", "case118", "case300"}) {
    if (!cases::has_shared(std::string(name) + ".m")) return;
    CAPTURE(name);
    const Grid grid = cases::shared(name);
    const Network network = build_network(grid);
    const Problem problem = problem_of(network);
    const State state = Newton(network).solve(problem, file_start(problem), {.tolerance = 1e-12}).state;
    const auto last = static_cast<int>(
        std::ranges::find_if(problem.type, [](NodeType t) { return t == NodeType::pq; }) - problem.type.begin());
    const Observation what{Observation::Kind::vm, network.bus_of_node[last]};
    std::vector<Parameter> parameters;
    for (int kind = 0; kind <= static_cast<int>(ParameterKind::set_point); ++kind) {
      const auto all = parameters_of(grid, network, static_cast<ParameterKind>(kind));
      for (std::size_t i = 0; i < all.size(); i += 1 + all.size() / 25)
        parameters.push_back(all[i]);
    }
    const auto gradient = adjoint_gradient(grid, problem, state, {{what, 1}}, parameters);
    double scale = 0;
    for (const double g : gradient)
      scale = std::max(scale, std::abs(g));
    double worst = 0;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const double p = get(grid, parameters[i]);
      const auto value = [&](double change) {
        Grid changed = grid;
        set(changed, parameters[i], p + change);
        const Network other = build_network(changed);
        const Problem own = problem_of(other);
        return observe(changed, own, Newton(other).solve(own, file_start(own), {.tolerance = 1e-12}).state, what);
      };
      const auto slope = [&](double h) { return (value(h) - value(-h)) / (2 * h); };
      const double h = 1e-3 * std::max(std::abs(p), parameters[i].kind == ParameterKind::b ? .01 : .03);
      const double difference = (4 * slope(h / 2) - slope(h)) / 3;
      worst = std::max(worst, std::abs(gradient[i] - difference) / scale);
    }
    MESSAGE(name << ": " << parameters.size() << " parameters, largest difference " << worst
                 << " of the largest gradient");
    CHECK(worst < 1e-7);
  }
}
