// Adjoint gradients and sensitivities of every kind of parameter against central differences of solved flows.
#include <algorithm>
#include <cmath>

#include "cases.hpp"
#include "compute/random.hpp"
#include "differences.hpp"
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

// Flows of grids that differ from a solved one in a parameter: one symbolic factorisation for all.
class Neighbours {
 public:
  Neighbours(const Grid& grid, bool distributed)
      : grid_(grid), distributed_(distributed), network_(network_of(grid, distributed)), newton_(network_) {
    const Problem problem = problem_of(network_);
    const Solution s = newton_.solve(problem, file_start(problem), settings);
    CAPTURE(s.max_mismatch);
    REQUIRE(s.status == Status::converged);
    state_ = s.state;
  }
  const Network& network() const { return network_; }
  const State& state() const { return state_; }

  /// NaN where there is no solution.
  double value(const Functional& what, const Parameter& p, double changed_to) {
    Grid changed = grid_;
    set(changed, p, changed_to);
    const Network other = network_of(changed, distributed_);
    State from = state_;
    for (std::size_t i = 0; i < from.vm.size(); ++i)
      if (other.type[i] != NodeType::pq) from.vm[i] = other.set_point[i];
    const Problem problem = problem_of(other);
    const Solution s = newton_.solve(problem, std::move(from), settings);
    return s.status == Status::converged ? observe(changed, problem, s.state, what) : std::nan("");
  }

 private:
  // A last step after these brings the mismatch to its rounding.
  static constexpr NewtonOptions settings{.tolerance = 1e-11, .max_iterations = 40, .line_search = true};
  const Grid& grid_;
  bool distributed_;
  Network network_;
  Newton newton_;
  State state_;
};

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
  // Weights of one size: the headroom of some generators is next to nothing, and so would the steps be.
  if (setting.distributed) grid.gen.apf.assign(grid.gen.size(), 1);
  if (setting.distributed)  // something for the slack to do
    for (double& p : grid.bus.pd)
      p *= .95;
  for (std::size_t g = 0; g < grid.gen.size(); ++g)
    grid.gen.apf[g] *= 1 + .1 * static_cast<double>(g % 5);
  // Beside an admittance of 1.5e6 pu (one branch of case141) differences drown in rounding.
  for (std::size_t k = 0; k < grid.branch.size(); ++k)
    if (const double z = std::hypot(grid.branch.r[k], grid.branch.x[k]); z > 0 && z < 1e-5) {
      grid.branch.r[k] *= 1e-4 / z;
      grid.branch.x[k] *= 1e-4 / z;
    }
  if (grid.branch.end_y.empty()) grid.branch.end_y.assign(grid.branch.size(), {});
  for (std::size_t k = 0; k < grid.branch.size(); k += 5) {
    grid.branch.end_y[k] = {Complex(2e-4, 1e-4), Complex(2e-4, 3e-4)};
    if (k % 2 == 0 && std::abs(grid.branch.x[k]) > .02) grid.branch.shift[k] += 1;
  }
}

// How far a parameter may be moved for differences; `typical`: size of such parameters.
double unit_of(const Grid& grid, const Parameter& p, double typical) {
  switch (p.kind) {
    case ParameterKind::r:
    case ParameterKind::x:
      return .2 * std::hypot(grid.branch.r[p.row], grid.branch.x[p.row]);
    case ParameterKind::tap:
    case ParameterKind::set_point:
      return .004;
    case ParameterKind::shift:
      return .5;
    case ParameterKind::slack_weight:  // below 0 they do not count
      return .3 * get(grid, p);
    case ParameterKind::g:
      return std::max(.3 * std::abs(get(grid, p)), 1e-3);
    case ParameterKind::gen_p:
      return std::max({.3 * std::abs(get(grid, p)), typical, 1.});
    default:
      return is_share(p.kind) ? .1 : .3 * std::max(std::abs(get(grid, p)), typical);
  }
}

double median_size(const Grid& grid, const std::vector<Parameter>& parameters) {
  std::vector<double> sizes;
  for (const Parameter& p : parameters)
    sizes.push_back(std::abs(get(grid, p)));
  std::ranges::sort(sizes);
  return sizes[sizes.size() / 2];
}

// At most `most` of them, evenly.
std::vector<Parameter> some_of(const std::vector<Parameter>& all, std::size_t most) {
  std::vector<Parameter> out;
  const std::size_t stride = std::max<std::size_t>(1, (all.size() + most - 1) / most);
  for (std::size_t i = 0; i < all.size(); i += stride)
    out.push_back(all[i]);
  return out;
}

// Largest difference of a kind beside the largest derivative of the kind.
void compare(const Setting& setting, std::size_t most) {
  if (!cases::has_shared(std::string(setting.name) + ".m")) return;
  CAPTURE(setting.name);
  CAPTURE(setting.zip);
  CAPTURE(setting.distributed);
  Grid grid = cases::shared(setting.name);
  prepare(grid, setting);
  Neighbours neighbours(grid, setting.distributed);
  const Problem problem = problem_of(neighbours.network());
  const State& state = neighbours.state();
  const Functional what = random_functional(grid, problem, state);
  std::vector<double> by_state(2 * state.vm.size(), 0.0);
  for (const auto& [observation, weight] : what)
    observe_derivative(grid, problem, state, observation, weight, by_state);
  for (int k = 0; k < parameter_kinds; ++k) {
    const auto kind = static_cast<ParameterKind>(k);
    const std::vector<Parameter> all = parameters_of(grid, neighbours.network(), kind), some = some_of(all, most);
    if (some.empty()) continue;
    const std::vector<double> gradient = adjoint_gradient(grid, problem, state, what, some);
    const std::vector<double> dx = sensitivities(grid, problem, state, some);
    const double typical = median_size(grid, all),
                 largest = std::abs(*std::ranges::max_element(gradient, {}, [](double g) { return std::abs(g); }));
    double worst = 0, sensitivity_worst = 0;
    for (std::size_t i = 0; i < some.size(); ++i) {
      const double p = get(grid, some[i]);
      const double difference =
          extrapolated_derivative([&](double h) { return neighbours.value(what, some[i], p + h); },
                                  unit_of(grid, some[i], typical), 2e-8 * largest)
              .value;
      worst = std::max(worst, std::abs(gradient[i] - difference));
      double by_columns = 0;
      for (const auto& [observation, weight] : what)
        by_columns += weight * observe_direct(grid, problem, state, observation, some[i]);
      for (std::size_t u = 0; u < by_state.size(); ++u)
        by_columns += by_state[u] * dx[i * by_state.size() + u];
      sensitivity_worst = std::max(sensitivity_worst, std::abs(by_columns - gradient[i]));
    }
    const std::string of = name(kind);
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
        compare({name, zip, distributed}, 20);
}

TEST_CASE("derivatives by every kind of parameter: grids of some hundred buses") {
  for (const char* name : {"case69", "case89pegase", "case_ACTIVSg200"})
    compare({name, true, true}, 10);
  compare({"case145", false, false}, 10);
  compare({"case141", false, false}, 10);
  compare({"case300", false, true}, 10);
  compare({"case300", true, false}, 10);
  compare({"case_ieee30", false, true}, 10);
}

TEST_CASE("only ratios of slack weights count: the gradient is orthogonal to them, headrooms of any size") {
  for (const char* name : {"case118", "case300"}) {
    if (!cases::has_shared(std::string(name) + ".m")) return;
    CAPTURE(name);
    Grid grid = cases::shared(name);
    make_explicit(grid, {ParameterKind::slack_weight}, true);
    for (double& p : grid.bus.pd)
      p *= .95;
    const Neighbours solved(grid, true);
    const Problem problem = problem_of(solved.network());
    const auto weights = parameters_of(grid, solved.network(), ParameterKind::slack_weight);
    const auto gradient =
        adjoint_gradient(grid, problem, solved.state(), random_functional(grid, problem, solved.state()), weights);
    double sum = 0, size = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      sum += get(grid, weights[i]) * gradient[i];
      size += std::abs(get(grid, weights[i]) * gradient[i]);
    }
    CHECK(size > 0);
    CHECK(std::abs(sum) < 1e-11 * size);
  }
}
