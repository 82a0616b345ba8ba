#include "parameters.hpp"

#include <cmath>
#include <numbers>

#include "cli/error.hpp"

namespace fachwerk::dpf {
namespace {

constexpr double radians = std::numbers::pi / 180;

std::vector<double>& column_of(Grid& grid, ParameterKind kind) {
  switch (kind) {
    case ParameterKind::r:
      return grid.branch.r;
    case ParameterKind::x:
      return grid.branch.x;
    case ParameterKind::b:
      return grid.branch.b;
    case ParameterKind::tap:
      return grid.branch.tap;
    case ParameterKind::shift:
      return grid.branch.shift;
    case ParameterKind::gs:
      return grid.bus.gs;
    case ParameterKind::bs:
      return grid.bus.bs;
    case ParameterKind::load_p:
      return grid.bus.pd;
    case ParameterKind::load_q:
      return grid.bus.qd;
    case ParameterKind::gen_p:
      return grid.gen.pg;
    default:
      return grid.gen.vg;
  }
}

}  // namespace

bool of_branch(ParameterKind kind) {
  return kind <= ParameterKind::shift;
}
bool logarithmic(ParameterKind kind) {
  return kind == ParameterKind::r || kind == ParameterKind::x;
}

BranchAdmittance admittance_derivative(const Branches& branch, const Parameter& p) {
  const std::size_t k = static_cast<std::size_t>(p.row);
  const Complex series = 1.0 / Complex(branch.r[k], branch.x[k]);
  const double ratio = branch.tap[k] == 0 ? 1 : branch.tap[k];
  const Complex tap = std::polar(ratio, branch.shift[k] * radians), j(0, 1);
  Complex from(0, branch.b[k] / 2);
  if (!branch.end_y.empty()) from += branch.end_y[k][0];
  const auto by_series = [&](Complex change) {
    return BranchAdmittance{change / (ratio * ratio), -change / std::conj(tap), -change / tap, change};
  };
  switch (p.kind) {
    case ParameterKind::r:
      return by_series(-series * series);
    case ParameterKind::x:
      return by_series(-j * series * series);
    case ParameterKind::b:
      return {j / (2 * ratio * ratio), 0, 0, j / 2.0};
    case ParameterKind::g:
      return {1 / (2 * ratio * ratio), 0, 0, 0.5};
    case ParameterKind::tap:
      return {-2.0 * (series + from) / (ratio * ratio * ratio), series / (ratio * std::conj(tap)),
              series / (ratio * tap), 0};
    case ParameterKind::shift:
      return {0, -j * series / std::conj(tap) * radians, j * series / tap * radians, 0};
    default:
      return {};
  }
}

std::string name(ParameterKind kind) {
  static constexpr const char* names[] = {"r",  "x",  "b",      "g",      "tap",   "shift",
                                          "gs", "bs", "load_p", "load_q", "gen_p", "set_point"};
  return names[static_cast<int>(kind)];
}

ParameterKind parameter_kind(const std::string& word) {
  for (int k = 0; k <= static_cast<int>(ParameterKind::set_point); ++k)
    if (name(static_cast<ParameterKind>(k)) == word) return static_cast<ParameterKind>(k);
  throw usage_error("there is no parameter {}: r, x, b, g, tap, shift, gs, bs, load_p, load_q, gen_p, set_point", word);
}

double get(const Grid& grid, const Parameter& p) {
  if (p.kind == ParameterKind::g) {
    const auto& ends = grid.branch.end_y;
    return ends.empty() ? 0 : 2 * ends[static_cast<std::size_t>(p.row)][0].real();
  }
  const double value = column_of(const_cast<Grid&>(grid), p.kind)[static_cast<std::size_t>(p.row)];
  return p.kind == ParameterKind::tap && value == 0 ? 1 : value;
}

void set(Grid& grid, const Parameter& p, double value) {
  if (p.kind == ParameterKind::g) {
    auto& ends = grid.branch.end_y;
    if (ends.empty()) ends.resize(grid.branch.size());
    for (Complex& end : ends[static_cast<std::size_t>(p.row)])
      end.real(value / 2);
    return;
  }
  column_of(grid, p.kind)[static_cast<std::size_t>(p.row)] = value;
}

std::vector<Parameter> parameters_of(const Grid& grid, const Network& network, ParameterKind kind) {
  std::vector<Parameter> out;
  const std::size_t rows = of_branch(kind) ? grid.branch.size() : column_of(const_cast<Grid&>(grid), kind).size();
  for (std::size_t i = 0; i < rows; ++i) {
    const Parameter p{kind, static_cast<int>(i)};
    bool counts;
    if (of_branch(kind)) {
      const bool has_value = kind == ParameterKind::tap ? grid.branch.tap[i] != 0 : get(grid, p) != 0;
      counts = network.from_of_branch[i] >= 0 && has_value;
    } else if (kind == ParameterKind::gen_p) {
      const int k = network.node_of_gen[i];
      counts = k >= 0 && network.type[k] != NodeType::reference;
    } else if (kind == ParameterKind::set_point) {
      const int k = network.node_of_gen[i];
      counts = k >= 0 && network.type[k] != NodeType::pq && network.set_point[k] == grid.gen.vg[i];
      for (std::size_t later = i + 1; counts && later < rows; ++later)
        counts = network.node_of_gen[later] != k;
    } else {
      counts = network.node_of_bus[i] >= 0 && get(grid, p) != 0;
    }
    if (counts) out.push_back(p);
  }
  return out;
}

namespace {

// A set-point moves ln|V| of its node by 1/|V|: the column dF/dlnV / |V| that the Jacobian leaves out.
void add_set_point(const Problem& problem, const State& state, int node, double scale, std::span<double> df) {
  const Pattern& pattern = problem.network->pattern;
  for (int k = pattern.start[node]; k < pattern.start[node + 1]; ++k) {
    const int i = pattern.column[k];
    const Complex vi = std::polar(state.vm[i], state.va[i]), vn = std::polar(state.vm[node], state.va[node]);
    Complex s;
    if (i == node) {
      Complex total = 0;
      for (int m = pattern.start[i]; m < pattern.start[i + 1]; ++m)
        total += vi * std::conj(problem.y[m] * std::polar(state.vm[pattern.column[m]], state.va[pattern.column[m]]));
      s = total + vi * std::conj(problem.y[pattern.diagonal[i]] * vi);
    } else {
      s = vi * std::conj(problem.y[pattern.position(i, node)] * vn);
    }
    if (problem.type[i] != NodeType::reference) df[2 * i] += scale * s.real() / state.vm[node];
    if (problem.type[i] == NodeType::pq) df[2 * i + 1] += scale * s.imag() / state.vm[node];
  }
}

}  // namespace

void add_mismatch_derivative(const Grid& grid, const Problem& problem, const State& state, const Parameter& p,
                             double scale, std::span<double> df) {
  const Network& network = *problem.network;
  const auto row = static_cast<std::size_t>(p.row);
  // Power that enters the network at a node changes by `s`, where the node has the equations.
  const auto put = [&](int node, Complex s) {
    if (problem.type[node] != NodeType::reference) df[2 * node] += scale * s.real();
    if (problem.type[node] == NodeType::pq) df[2 * node + 1] += scale * s.imag();
  };
  if (of_branch(p.kind)) {
    const int f = network.from_of_branch[row], t = network.to_of_branch[row];
    const Complex vf = std::polar(state.vm[f], state.va[f]), vt = std::polar(state.vm[t], state.va[t]);
    const BranchAdmittance d = admittance_derivative(grid.branch, p);
    put(f, vf * std::conj(d.ff * vf + d.ft * vt));
    put(t, vt * std::conj(d.tf * vf + d.tt * vt));
    return;
  }
  if (p.kind == ParameterKind::set_point) return add_set_point(problem, state, network.node_of_gen[row], scale, df);
  if (p.kind == ParameterKind::gen_p) return put(network.node_of_gen[row], -1 / grid.base_mva);
  const int node = network.node_of_bus[row];
  const double square = state.vm[node] * state.vm[node] / grid.base_mva;
  switch (p.kind) {
    case ParameterKind::gs:
      return put(node, square);
    case ParameterKind::bs:
      return put(node, Complex(0, -square));
    case ParameterKind::load_p:
      return put(node, 1 / grid.base_mva);
    default:
      return put(node, Complex(0, 1 / grid.base_mva));
  }
}

void add_own_change(const Problem& problem, const State& state, const Parameter& p, double scale, std::span<double> x) {
  if (p.kind != ParameterKind::set_point) return;
  const int node = problem.network->node_of_gen[p.row];
  x[2 * node + 1] += scale / state.vm[node];
}

}  // namespace fachwerk::dpf
