// Adjoint gradients and sensitivities of every kind of parameter against central differences of solved flows.
#include <algorithm>
#include <cmath>
#include <limits>

#include "cases.hpp"
#include "compute/random.hpp"
#include "newton.hpp"
#include "observe.hpp"

using namespace fachwerk::dpf;

namespace {

struct Setting {
  std::string name;
  bool zip, distributed;
};

Network network_of(const Grid& grid, bool distributed) {
  Network network = build_network(grid);
  if (distributed) distribute_slack(network, grid);
  return network;
}

State solved(const Network& network, const State* start = nullptr) {
  const Problem problem = problem_of(network);
  State from = start != nullptr ? *start : file_start(problem);
  for (std::size_t i = 0; i < from.vm.size(); ++i)
    if (network.type[i] != NodeType::pq) from.vm[i] = network.set_point[i];
  const Solution s =
      Newton(network).solve(problem, std::move(from), {.tolerance = 1e-11, .max_iterations = 40, .line_search = true});
  CAPTURE(s.max_mismatch);
  REQUIRE(s.status == Status::converged);
  return s.state;
}

// Voltages and flows with random weights of either sign: every part of the derivatives counts.
Functional random_functional(const Grid& grid, const Problem& problem, const State& state) {
  const Network& network = *problem.network;
  using Kind = Observation::Kind;
  Functional out;
  fachwerk::compute::Stream random(5, 0, 1);
  for (int i = 0; i < static_cast<int>(grid.bus.size()); ++i)
    if (network.node_of_bus[i] >= 0) {
      out.push_back({{Kind::vm, i}, random.normal()});
      out.push_back({{Kind::va, i}, .01 * random.normal()});
    }
  for (int k = 0; k < static_cast<int>(grid.branch.size()); k += 7)
    if (network.from_of_branch[k] >= 0) {
      out.push_back({{Kind::pf, k}, .01 * random.normal()});
      out.push_back({{Kind::qt, k}, .01 * random.normal()});
      // A current near 0 has a bend there.
      if (observe(grid, problem, state, {Kind::current_to, k}) > .2)
        out.push_back({{Kind::current_to, k}, .1 * random.normal()});
    }
  out.push_back({{Kind::loss, 0}, .01});
  return out;
}

void prepare(Grid& grid, const Setting& setting) {
  if (setting.zip) {
    grid.bus.zip.assign(grid.bus.size(), {.5, .3, .2, .5, .2, .3});
    for (std::size_t i = 0; i < grid.bus.size(); ++i) {
      fachwerk::compute::Stream random(3, i, 2);
      grid.bus.zip[i][0] =
          1 - (grid.bus.zip[i][1] = .3 * random.uniform()) - (grid.bus.zip[i][2] = .3 * random.uniform());
    }
  }
  std::vector<ParameterKind> all;
  for (int k = 0; k < parameter_kinds; ++k)
    all.push_back(static_cast<ParameterKind>(k));
  make_explicit(grid, all, setting.distributed);
  if (setting.distributed && std::ranges::none_of(grid.gen.apf, [](double a) { return a > 0; }))
    grid.gen.apf.assign(grid.gen.size(), 1);
  if (setting.distributed)  // something for the slack to do
    for (double& p : grid.bus.pd)
      p *= .95;
  for (std::size_t g = 0; g < grid.gen.size(); ++g)
    grid.gen.apf[g] *= 1 + .1 * static_cast<double>(g % 5);
  if (grid.branch.end_y.empty()) grid.branch.end_y.assign(grid.branch.size(), {});
  for (std::size_t k = 0; k < grid.branch.size(); k += 5) {
    grid.branch.end_y[k] = {Complex(2e-4, 1e-4), Complex(2e-4, 3e-4)};
    if (k % 2 == 0 && std::abs(grid.branch.x[k]) > .02) grid.branch.shift[k] += 1;
  }
}

// How far a parameter may be moved for differences.
double unit_of(ParameterKind kind, double value) {
  if (kind == ParameterKind::tap || kind == ParameterKind::set_point) return .004;
  if (kind == ParameterKind::shift) return .5;
  if (of_branch(kind)) return std::max(.3 * std::abs(value), kind == ParameterKind::g ? 1e-3 : 0);
  if (kind == ParameterKind::load_q) return 3 * std::abs(value);
  return std::max(.3 * std::abs(value), is_share(kind) ? .1 : kind == ParameterKind::gen_p ? 1 : 0.);
}

// Ridders: central differences of smaller and smaller steps, extrapolated to none; ends where the last two agree within
// `enough`, or with the value of the smallest change.
template <class Slope>
double extrapolated(const Slope& slope, double step, double enough) {
  constexpr double ratio = 2;
  std::vector<double> last, next;
  double best = 0, error = std::numeric_limits<double>::infinity();
  for (int level = 0; level < 9; ++level, step /= ratio) {
    next.assign(1, slope(step));
    double factor = ratio * ratio;
    for (const double previous : last) {
      next.push_back((factor * next.back() - previous) / (factor - 1));
      factor *= ratio * ratio;
      const double change = std::max(std::abs(next.back() - next[next.size() - 2]), std::abs(next.back() - previous));
      if (change < error) {
        error = change;
        best = next.back();
      }
    }
    if (error < enough) break;
    last.swap(next);
  }
  return best;
}

// Largest difference of a kind beside the largest derivative of the kind.
void compare(const Setting& setting) {
  if (!cases::has_shared(std::string(setting.name) + ".m")) return;
  CAPTURE(setting.name);
  CAPTURE(setting.zip);
  CAPTURE(setting.distributed);
  Grid grid = cases::shared(setting.name);
  prepare(grid, setting);
  const Network network = network_of(grid, setting.distributed);
  const Problem problem = problem_of(network);
  const State state = solved(network);
  const Functional what = random_functional(grid, problem, state);
  for (int kind = 0; kind < parameter_kinds; ++kind) {
    std::vector<Parameter> parameters = parameters_of(grid, network, static_cast<ParameterKind>(kind));
    // All of small grids; about twenty of each kind of the others.
    const std::size_t most = grid.bus.size() < 40 ? 60 : 20;
    const std::size_t stride = std::max<std::size_t>(1, parameters.size() / most);
    for (std::size_t i = 0; i * stride < parameters.size(); ++i)
      parameters[i] = parameters[i * stride];
    parameters.resize((parameters.size() + stride - 1) / stride);
    if (parameters.empty()) continue;
    const std::vector<double> gradient = adjoint_gradient(grid, problem, state, what, parameters);
    const std::vector<double> dx = sensitivities(grid, problem, state, parameters);
    double largest = 0, worst = 0, sensitivity_worst = 0;
    for (const double g : gradient)
      largest = std::max(largest, std::abs(g));
    std::vector<double> by_state(2 * state.vm.size(), 0.0);
    for (const auto& [observation, weight] : what)
      observe_derivative(grid, problem, state, observation, weight, by_state);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const double p = get(grid, parameters[i]);
      const auto slope = [&](double h) {
        double ends[2];
        for (const int sign : {1, -1}) {
          Grid changed = grid;
          set(changed, parameters[i], p + sign * h);
          const Network other = network_of(changed, setting.distributed);
          ends[sign < 0] = observe(changed, problem_of(other), solved(other, &state), what);
        }
        return (ends[0] - ends[1]) / (2 * h);
      };
      const double difference = extrapolated(slope, unit_of(static_cast<ParameterKind>(kind), p), 2e-8 * largest);
      worst = std::max(worst, std::abs(gradient[i] - difference));
      double by_columns = 0;
      for (const auto& [observation, weight] : what)
        by_columns += weight * observe_direct(grid, problem, state, observation, parameters[i]);
      for (std::size_t u = 0; u < by_state.size(); ++u)
        by_columns += by_state[u] * dx[i * by_state.size() + u];
      sensitivity_worst = std::max(sensitivity_worst, std::abs(by_columns - gradient[i]));
    }
    const std::string of = name(static_cast<ParameterKind>(kind));
    CAPTURE(of);
    CAPTURE(worst / largest);
    CHECK(worst <= 1e-7 * largest);
    CHECK(sensitivity_worst <= 1e-10 * largest);
  }
}

}  // namespace

TEST_CASE("derivatives by every kind of parameter: small grids, distributed slack, voltage-dependent loads, islands") {
  for (const char* name :
       {"case9", "case14", "case30", "case39", "case57", "case118", "case16ci", "case33bw", "case70da"})
    for (const bool zip : {false, true})
      for (const bool distributed : {false, true})
        compare({name, zip, distributed});
}

TEST_CASE("derivatives by every kind of parameter: grids of some hundred buses") {
  for (const char* name : {"case69", "case89pegase", "case_ACTIVSg200"})
    compare({name, true, true});
  compare({"case145", false, false});
  compare({"case141", false, false});
  compare({"case300", false, true});
  compare({"case300", true, false});
  compare({"case_ieee30", false, true});
}
