#include "parameters.hpp"

#include <algorithm>
#include <array>
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
    case ParameterKind::slack_weight:
      return grid.gen.apf;
    default:
      return grid.gen.vg;
  }
}

constexpr std::array<double, 6> constant_power = {1, 0, 0, 1, 0, 0};

std::size_t share_of(ParameterKind kind) {
  return static_cast<std::size_t>(kind) - static_cast<std::size_t>(ParameterKind::p_power);
}
bool is_active_share(ParameterKind kind) {
  return kind <= ParameterKind::p_impedance;
}

// Sum of the participation factors of an island.
double total_weight(const Grid& grid, const Network& network, int island) {
  double sum = 0;
  for (std::size_t g = 0; g < grid.gen.size(); ++g)
    if (const int k = network.node_of_gen[g]; k >= 0 && network.island[k] == island)
      sum += std::max(0.0, grid.gen.apf[g]);
  return sum;
}

}  // namespace

bool of_branch(ParameterKind kind) {
  return kind <= ParameterKind::shift;
}
bool of_generator(ParameterKind kind) {
  return kind >= ParameterKind::gen_p;
}
bool is_share(ParameterKind kind) {
  return kind >= ParameterKind::p_power && kind <= ParameterKind::q_impedance;
}
bool logarithmic(ParameterKind kind) {
  return kind == ParameterKind::r || kind == ParameterKind::x || kind == ParameterKind::slack_weight;
}

void make_explicit(Grid& grid, const std::vector<ParameterKind>& kinds, bool distributed_slack) {
  if (grid.bus.zip.empty() && std::ranges::any_of(kinds, is_share))
    grid.bus.zip.assign(grid.bus.size(), constant_power);
  if (!distributed_slack || std::ranges::any_of(grid.gen.apf, [](double a) { return a > 0; })) return;
  for (std::size_t g = 0; g < grid.gen.size(); ++g)
    grid.gen.apf[g] = std::isfinite(grid.gen.pmax[g]) ? std::max(0.0, grid.gen.pmax[g] - grid.gen.pg[g]) : 0;
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
  static constexpr const char* names[] = {"r",           "x",         "b",           "g",           "tap",
                                          "shift",       "gs",        "bs",          "load_p",      "load_q",
                                          "p_power",     "p_current", "p_impedance", "q_power",     "q_current",
                                          "q_impedance", "gen_p",     "set_point",   "slack_weight"};
  return names[static_cast<int>(kind)];
}

std::optional<ParameterKind> find_parameter_kind(const std::string& word) {
  for (int k = 0; k < parameter_kinds; ++k)
    if (const auto kind = static_cast<ParameterKind>(k); name(kind) == word) return kind;
  return std::nullopt;
}

ParameterKind parameter_kind(const std::string& word) {
  if (const auto kind = find_parameter_kind(word)) return *kind;
  std::string all = name(static_cast<ParameterKind>(0));
  for (int k = 1; k < parameter_kinds; ++k)
    all += ", " + name(static_cast<ParameterKind>(k));
  throw usage_error("there is no parameter {}: {}", word, all);
}

std::vector<ParameterKind> parameter_kinds_of(const std::vector<std::string>& words) {
  std::vector<ParameterKind> out;
  const auto add = [&](ParameterKind kind) {
    if (std::ranges::find(out, kind) == out.end()) out.push_back(kind);
  };
  for (const auto& word : words)
    if (word != "zip") {
      add(parameter_kind(word));
    } else {
      for (int k = static_cast<int>(ParameterKind::p_power); k <= static_cast<int>(ParameterKind::q_impedance); ++k)
        add(static_cast<ParameterKind>(k));
    }
  return out;
}

double get(const Grid& grid, const Parameter& p) {
  if (p.kind == ParameterKind::g) {
    const auto& ends = grid.branch.end_y;
    return ends.empty() ? 0 : 2 * ends[static_cast<std::size_t>(p.row)][0].real();
  }
  if (is_share(p.kind)) {
    const auto& shares = grid.bus.zip.empty() ? constant_power : grid.bus.zip[static_cast<std::size_t>(p.row)];
    return shares[share_of(p.kind)];
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
  if (is_share(p.kind)) {
    if (grid.bus.zip.empty()) grid.bus.zip.assign(grid.bus.size(), constant_power);
    grid.bus.zip[static_cast<std::size_t>(p.row)][share_of(p.kind)] = value;
    return;
  }
  column_of(grid, p.kind)[static_cast<std::size_t>(p.row)] = value;
}

std::vector<Parameter> parameters_of(const Grid& grid, const Network& network, ParameterKind kind) {
  std::vector<Parameter> out;
  const std::size_t rows = of_branch(kind)      ? grid.branch.size()
                           : of_generator(kind) ? grid.gen.size()
                                                : grid.bus.size();
  if (kind == ParameterKind::slack_weight && network.slack_weight.empty()) return out;
  for (std::size_t i = 0; i < rows; ++i) {
    const Parameter p{kind, static_cast<int>(i)};
    bool counts;
    if (of_branch(kind)) {
      const bool has_value = kind == ParameterKind::tap ? grid.branch.tap[i] != 0 : get(grid, p) != 0;
      counts = network.from_of_branch[i] >= 0 && has_value;
    } else if (kind == ParameterKind::gen_p) {
      const int k = network.node_of_gen[i];
      counts = k >= 0 && (network.type[k] != NodeType::reference || !network.slack_weight.empty());
    } else if (kind == ParameterKind::slack_weight) {
      counts = network.node_of_gen[i] >= 0 && grid.gen.apf[i] > 0;
    } else if (is_share(kind)) {
      counts = network.node_of_bus[i] >= 0 && (is_active_share(kind) ? grid.bus.pd[i] : grid.bus.qd[i]) != 0;
    } else if (kind == ParameterKind::set_point) {
      const int k = network.node_of_gen[i];
      counts = k >= 0 && network.type[k] != NodeType::pq && network.sets_voltage[i];
    } else {
      counts = network.node_of_bus[i] >= 0 && get(grid, p) != 0;
    }
    if (counts) out.push_back(p);
  }
  return out;
}

namespace {

// Takes what changes the power that leaves a node into the network and its loads: dF, where the node has the equations.
class Entries {
 public:
  explicit Entries(const Problem& problem) : problem_(problem) {}
  void add(int node, Complex s) {
    const std::size_t k = 2 * static_cast<std::size_t>(node);
    const bool active = problem_.type[node] != NodeType::reference || !problem_.slack_weight.empty();
    if (active && s.real() != 0) out_.emplace_back(k, s.real());
    if (problem_.type[node] == NodeType::pq && s.imag() != 0) out_.emplace_back(k + 1, s.imag());
  }
  SparseColumn take() { return std::move(out_); }

 private:
  const Problem& problem_;
  SparseColumn out_;
};

// A set-point moves ln|V| of its node by 1/|V|: the column dF/dlnV / |V| that the Jacobian leaves out.
void add_set_point(const Problem& problem, const State& state, int node, Entries& out) {
  const Pattern& pattern = problem.network->pattern;
  const double vm = state.vm[node];
  for (int k = pattern.start[node]; k < pattern.start[node + 1]; ++k) {
    const int i = pattern.column[k];
    const Complex vi = std::polar(state.vm[i], state.va[i]), vn = std::polar(vm, state.va[node]);
    if (i != node) {
      out.add(i, vi * std::conj(problem.y[pattern.position(i, node)] * vn) / vm);
      continue;
    }
    Complex total = 0;
    for (int m = pattern.start[i]; m < pattern.start[i + 1]; ++m)
      total += vi * std::conj(problem.y[m] * std::polar(state.vm[pattern.column[m]], state.va[pattern.column[m]]));
    Complex load = 0;  // of constant current and impedance
    if (!problem.zip.empty())
      load = problem.zip[node].p_current + 2 * problem.zip[node].p_impedance * vm;  // Q has no equation here
    out.add(i, (total + vi * std::conj(problem.y[pattern.diagonal[i]] * vi)) / vm + load);
  }
}

// w_k = sum of the factors at node k over that of its island: every weight of the island changes with one factor.
void add_slack_weight(const Grid& grid, const Problem& problem, const State& state, int node, Entries& out) {
  const Network& network = *problem.network;
  const int island = network.island[node];
  const double total = total_weight(grid, network, island);
  for (int k = 0; k < network.nodes(); ++k) {
    if (network.island[k] != island || (problem.slack_weight[k] == 0 && k != node)) continue;
    out.add(k, -state.lambda[island] * ((k == node) - problem.slack_weight[k]) / total);
  }
}

}  // namespace

SparseColumn mismatch_derivative(const Grid& grid, const Problem& problem, const State& state, const Parameter& p) {
  const Network& network = *problem.network;
  const auto row = static_cast<std::size_t>(p.row);
  Entries out(problem);
  if (of_branch(p.kind)) {
    const int f = network.from_of_branch[row], t = network.to_of_branch[row];
    const Complex vf = std::polar(state.vm[f], state.va[f]), vt = std::polar(state.vm[t], state.va[t]);
    const BranchAdmittance d = admittance_derivative(grid.branch, p);
    out.add(f, vf * std::conj(d.ff * vf + d.ft * vt));
    out.add(t, vt * std::conj(d.tf * vf + d.tt * vt));
    return out.take();
  }
  if (of_generator(p.kind)) {
    const int node = network.node_of_gen[row];
    if (p.kind == ParameterKind::set_point) add_set_point(problem, state, node, out);
    if (p.kind == ParameterKind::slack_weight) add_slack_weight(grid, problem, state, node, out);
    if (p.kind == ParameterKind::gen_p) out.add(node, -1 / grid.base_mva);
    return out.take();
  }
  const int node = network.node_of_bus[row];
  const double vm = state.vm[node], unit = 1 / grid.base_mva;
  const std::array<double, 3> power = {unit, vm * unit, vm * vm * unit};  // of shares of 1 MW
  const auto& shares = grid.bus.zip.empty() ? constant_power : grid.bus.zip[row];
  const auto load = [&](std::size_t first) {
    return shares[first] * power[0] + shares[first + 1] * power[1] + shares[first + 2] * power[2];
  };
  switch (p.kind) {
    case ParameterKind::gs:
      out.add(node, power[2]);
      break;
    case ParameterKind::bs:
      out.add(node, Complex(0, -power[2]));
      break;
    case ParameterKind::load_p:
      out.add(node, load(0));
      break;
    case ParameterKind::load_q:
      out.add(node, Complex(0, load(3)));
      break;
    default: {
      const double by_share = power[share_of(p.kind) % 3];
      out.add(node, is_active_share(p.kind) ? Complex(grid.bus.pd[row] * by_share, 0)
                                            : Complex(0, grid.bus.qd[row] * by_share));
    }
  }
  return out.take();
}

SparseColumn own_change(const Problem& problem, const State& state, const Parameter& p) {
  if (p.kind != ParameterKind::set_point) return {};
  const int node = problem.network->node_of_gen[p.row];
  return {{2 * static_cast<std::size_t>(node) + 1, 1 / state.vm[node]}};
}

}  // namespace fachwerk::dpf
