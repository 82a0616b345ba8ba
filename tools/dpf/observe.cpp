#include "observe.hpp"

#include <cmath>
#include <numbers>

#include "linearisation.hpp"

namespace fachwerk::dpf {
namespace {

using Kind = Observation::Kind;
constexpr double radians = std::numbers::pi / 180;
const Complex j(0, 1);

struct Ends {
  int from, to;
  Complex vf, vt;
};
Ends ends_of(const Problem& problem, const State& state, int branch) {
  const int f = problem.network->from_of_branch[branch], t = problem.network->to_of_branch[branch];
  return {f, t, std::polar(state.vm[f], state.va[f]), std::polar(state.vm[t], state.va[t])};
}

// What enters a branch at one end, in the part of that end's own voltage and of the other's.
struct Parts {
  Complex own, other;
  Complex total() const { return own + other; }
};
Parts current(const BranchAdmittance& y, const Ends& e, bool from) {
  return from ? Parts{y.ff * e.vf, y.ft * e.vt} : Parts{y.tt * e.vt, y.tf * e.vf};
}
Parts power(const BranchAdmittance& y, const Ends& e, bool from) {
  const Parts i = current(y, e, from);
  const Complex v = from ? e.vf : e.vt;
  return {v * std::conj(i.own), v * std::conj(i.other)};
}

bool is_voltage(Kind kind) {
  return kind == Kind::vm || kind == Kind::va;
}
bool is_current(Kind kind) {
  return kind == Kind::current_from || kind == Kind::current_to;
}
bool is_injection(Kind kind) {
  return kind == Kind::p || kind == Kind::q;
}
bool is_active(Kind kind) {
  return kind == Kind::pf || kind == Kind::pt || kind == Kind::p;
}

// How an observation of one end depends on the complex power or current there: d(observation) = Re(conj(weight) dS).
struct EndWeight {
  bool from;
  Complex weight;
};
EndWeight end_weight(const Grid& grid, const Problem& problem, const Ends& e, const Observation& what) {
  const BranchAdmittance& y = problem.network->admittance[what.row];
  const auto direction = [](Complex s, double scale) {
    return std::abs(s) == 0 ? Complex(0) : s / std::abs(s) * scale;
  };
  if (is_current(what.kind)) {
    const bool from = what.kind == Kind::current_from;
    return {from, direction(current(y, e, from).total(), 1)};
  }
  if (what.kind == Kind::loading) {
    const Complex a = power(y, e, true).total(), b = power(y, e, false).total();
    const bool from = std::abs(a) >= std::abs(b);
    return {from, direction(from ? a : b, 100 * grid.base_mva / grid.branch.rate_a[what.row])};
  }
  const bool from = what.kind == Kind::pf || what.kind == Kind::qf;
  return {from, grid.base_mva * (is_active(what.kind) ? Complex(1, 0) : Complex(0, 1))};
}

double along(Complex weight, Complex change) {
  return (std::conj(weight) * change).real();
}

// s_ik = V_i conj(Y_ik V_k) for all k of a row; returns the sum.
template <class Visit>
Complex each_power(const Problem& problem, const State& state, int i, const Visit& visit) {
  const Pattern& pattern = problem.network->pattern;
  const Complex v = std::polar(state.vm[i], state.va[i]);
  Complex sum = 0;
  for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k) {
    const int other = pattern.column[k];
    const Complex s = v * std::conj(problem.y[k] * std::polar(state.vm[other], state.va[other]));
    sum += s;
    visit(other, s);
  }
  return sum;
}

// d Re(conj(weight) S_i) / d state.
void injection_derivative(const Problem& problem, const State& state, int i, Complex weight, std::span<double> row) {
  Complex own = 0;
  const Complex total = each_power(problem, state, i, [&](int other, Complex s) {
    if (other == i) {
      own = s;
      return;
    }
    row[2 * other] += along(weight, -j * s);
    row[2 * other + 1] += along(weight, s);
  });
  row[2 * i] += along(weight, j * (total - own));
  row[2 * i + 1] += along(weight, total + own);
}

double injection(const Problem& problem, const State& state, int i, bool active) {
  const Complex s = each_power(problem, state, i, [](int, Complex) {});
  return active ? s.real() : s.imag();
}

}  // namespace

double observe(const Grid& grid, const Problem& problem, const State& state, const Observation& what) {
  const Network& network = *problem.network;
  if (what.kind == Kind::vm) return state.vm[network.node_of_bus[what.row]];
  if (what.kind == Kind::va) return state.va[network.node_of_bus[what.row]] / radians;
  if (is_injection(what.kind))
    return grid.base_mva * injection(problem, state, network.node_of_bus[what.row], is_active(what.kind));
  if (what.kind == Kind::loss) {
    double sum = 0;
    for (int i = 0; i < network.nodes(); ++i)
      sum += injection(problem, state, i, true);
    return grid.base_mva * sum;
  }
  const Ends e = ends_of(problem, state, what.row);
  const BranchAdmittance& y = network.admittance[what.row];
  const EndWeight w = end_weight(grid, problem, e, what);
  if (is_current(what.kind)) return std::abs(current(y, e, w.from).total());
  return along(w.weight, power(y, e, w.from).total());
}

void observe_derivative(const Grid& grid, const Problem& problem, const State& state, const Observation& what,
                        double scale, std::span<double> row) {
  const Network& network = *problem.network;
  if (is_voltage(what.kind)) {
    const int k = network.node_of_bus[what.row];
    row[2 * k + (what.kind == Kind::vm)] += scale * (what.kind == Kind::vm ? state.vm[k] : 1 / radians);
    return;
  }
  const double unit = scale * grid.base_mva;
  if (is_injection(what.kind))
    return injection_derivative(problem, state, network.node_of_bus[what.row],
                                is_active(what.kind) ? Complex(unit, 0) : Complex(0, unit), row);
  if (what.kind == Kind::loss) {
    for (int i = 0; i < network.nodes(); ++i)
      injection_derivative(problem, state, i, unit, row);
    return;
  }
  const Ends e = ends_of(problem, state, what.row);
  const EndWeight w = end_weight(grid, problem, e, what);
  const BranchAdmittance& y = network.admittance[what.row];
  const int own = w.from ? e.from : e.to, other = w.from ? e.to : e.from;
  if (is_current(what.kind)) {
    const Parts i = current(y, e, w.from);
    row[2 * own] += scale * along(w.weight, j * i.own);
    row[2 * own + 1] += scale * along(w.weight, i.own);
    row[2 * other] += scale * along(w.weight, j * i.other);
    row[2 * other + 1] += scale * along(w.weight, i.other);
    return;
  }
  const Parts s = power(y, e, w.from);
  row[2 * own] += scale * along(w.weight, j * s.other);
  row[2 * own + 1] += scale * along(w.weight, 2.0 * s.own + s.other);
  row[2 * other] += scale * along(w.weight, -j * s.other);
  row[2 * other + 1] += scale * along(w.weight, s.other);
}

double observe_direct(const Grid& grid, const Problem& problem, const State& state, const Observation& what,
                      const Parameter& p) {
  if (is_voltage(what.kind)) return 0;
  const Network& network = *problem.network;
  const bool shunt = p.kind == ParameterKind::gs || p.kind == ParameterKind::bs;
  if (is_injection(what.kind) || what.kind == Kind::loss) {
    // Only what is inside Ybus: branches and shunts.
    const auto counts = [&](int node) { return what.kind == Kind::loss || node == network.node_of_bus[what.row]; };
    Complex change = 0;
    if (of_branch(p.kind)) {
      const Ends e = ends_of(problem, state, p.row);
      const BranchAdmittance d = admittance_derivative(grid.branch, p);
      if (counts(e.from)) change += power(d, e, true).total();
      if (counts(e.to)) change += power(d, e, false).total();
    } else if (shunt && counts(network.node_of_bus[p.row])) {
      const double vm = state.vm[network.node_of_bus[p.row]];
      change = (p.kind == ParameterKind::gs ? Complex(1, 0) : Complex(0, -1)) * (vm * vm / grid.base_mva);
    }
    return grid.base_mva * (what.kind == Kind::q ? change.imag() : change.real());
  }
  if (!of_branch(p.kind) || p.row != what.row) return 0;
  const Ends e = ends_of(problem, state, what.row);
  const EndWeight w = end_weight(grid, problem, e, what);
  const BranchAdmittance d = admittance_derivative(grid.branch, p);
  return along(w.weight, is_current(what.kind) ? current(d, e, w.from).total() : power(d, e, w.from).total());
}

double observe(const Grid& grid, const Problem& problem, const State& state, const Functional& what) {
  double sum = 0;
  for (const auto& [observation, weight] : what)
    sum += weight * observe(grid, problem, state, observation);
  return sum;
}

std::vector<double> adjoint_gradient(const Grid& grid, const Problem& problem, const State& state,
                                     const Functional& what, const std::vector<Parameter>& parameters) {
  std::vector<double> by_state(2 * state.vm.size(), 0.0);
  for (const auto& [observation, weight] : what)
    observe_derivative(grid, problem, state, observation, weight, by_state);
  Newton newton(*problem.network);
  std::vector<double> mu = by_state;
  Linearisation(newton, problem, state).solve_transposed(mu);
  std::vector<double> out;
  out.reserve(parameters.size());
  for (const Parameter& p : parameters) {
    double value = 0;
    for (const auto& [observation, weight] : what)
      value += weight * observe_direct(grid, problem, state, observation, p);
    for (const auto& [unknown, change] : own_change(problem, state, p))
      value += by_state[unknown] * change;
    for (const auto& [equation, change] : mismatch_derivative(grid, problem, state, p))
      value -= mu[equation] * change;
    out.push_back(value);
  }
  return out;
}

std::vector<double> sensitivities(const Grid& grid, const Problem& problem, const State& state,
                                  const std::vector<Parameter>& parameters) {
  const std::size_t size = 2 * state.vm.size(), columns = parameters.size();
  std::vector<double> x(size * columns, 0.0), out(x.size());
  for (std::size_t i = 0; i < columns; ++i)
    for (const auto& [equation, change] : mismatch_derivative(grid, problem, state, parameters[i]))
      x[equation * columns + i] -= change;
  Newton newton(*problem.network);
  Linearisation(newton, problem, state).solve(x, columns);
  for (std::size_t i = 0; i < columns; ++i) {
    for (const auto& [unknown, change] : own_change(problem, state, parameters[i]))
      x[unknown * columns + i] += change;
    for (std::size_t k = 0; k < size; ++k)
      out[i * size + k] = x[k * columns + i];
  }
  return out;
}

}  // namespace fachwerk::dpf
