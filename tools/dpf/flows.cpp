#include "flows.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace fachwerk::dpf {
namespace {

constexpr double degrees = 180 / std::numbers::pi;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// Complex product without the NaN bookkeeping of operator*.
Complex times(Complex a, Complex b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

void voltages(const Network& network, const State& state, Flows& out) {
  out.vm.assign(network.node_of_bus.size(), nan);
  out.va.assign(network.node_of_bus.size(), nan);
  for (std::size_t i = 0; i < out.vm.size(); ++i)
    if (const int k = network.node_of_bus[i]; k >= 0) {
      out.vm[i] = state.vm[k];
      out.va[i] = state.va[k] * degrees;
    }
}

void branches(const Grid& grid, const Network& network, std::span<const Complex> v, Flows& out) {
  const std::size_t m = grid.branch.size();
  for (auto* column : {&out.pf, &out.qf, &out.pt, &out.qt})
    column->assign(m, 0.0);
  out.loading.assign(m, std::numeric_limits<float>::quiet_NaN());
  for (std::size_t k = 0; k < m; ++k) {
    const int f = network.from_of_branch[k], t = network.to_of_branch[k];
    if (f < 0) continue;
    const BranchAdmittance& a = network.admittance[k];
    const Complex sf = times(v[f], std::conj(times(a.ff, v[f]) + times(a.ft, v[t]))) * grid.base_mva;
    const Complex st = times(v[t], std::conj(times(a.tf, v[f]) + times(a.tt, v[t]))) * grid.base_mva;
    out.pf[k] = sf.real();
    out.qf[k] = sf.imag();
    out.pt[k] = st.real();
    out.qt[k] = st.imag();
    if (grid.branch.rate_a[k] > 0)
      out.loading[k] =
          static_cast<float>(100 * std::sqrt(std::max(std::norm(sf), std::norm(st))) / grid.branch.rate_a[k]);
  }
}

// Generators in service by node, those of one node in file order.
std::vector<std::pair<int, int>> generators_by_node(const Network& network) {
  std::vector<std::pair<int, int>> out;
  for (std::size_t g = 0; g < network.node_of_gen.size(); ++g)
    if (const int k = network.node_of_gen[g]; k >= 0) out.emplace_back(k, static_cast<int>(g));
  std::ranges::sort(out);
  return out;
}

}  // namespace

std::vector<double> share_reactive(double total, std::span<const double> qmin, std::span<const double> qmax) {
  const std::size_t n = qmin.size();
  std::vector<double> q(n, total / static_cast<double>(n));
  if (n == 1) return q;
  double bound = 0;  // stands for an infinite limit
  for (std::size_t g = 0; g < n; ++g) {
    bound += std::abs(q[g]);
    if (std::isfinite(qmin[g])) bound += std::abs(qmin[g]);
    if (std::isfinite(qmax[g])) bound += std::abs(qmax[g]);
  }
  const auto finite = [bound](double limit) { return std::isfinite(limit) ? limit : std::copysign(bound, limit); };
  double low = 0, high = 0;
  for (std::size_t g = 0; g < n; ++g) {
    low += finite(qmin[g]);
    high += finite(qmax[g]);
  }
  for (std::size_t g = 0; g < n; ++g)
    q[g] = std::abs(high - low) > 10 * std::numeric_limits<double>::epsilon()
               ? finite(qmin[g]) + (total - low) / (high - low) * (finite(qmax[g]) - finite(qmin[g]))
               : finite(qmin[g]) + (total - low) / static_cast<double>(n);
  return q;
}

Flows flows(const Grid& grid, const Problem& problem, const State& state, const HeldGenerators& held) {
  const std::vector<Complex> v = phasors(state);
  std::vector<Complex> s(v.size());
  injections(problem, v, s);
  Flows out;
  FlowWork(*problem.network).flows(grid, problem, state, v, s, held, out);
  return out;
}

FlowWork::FlowWork(const Network& network)
    : generators_(generators_by_node(network)), load_(network.type.size()), needed_(network.type.size()) {}

void FlowWork::flows(const Grid& grid, const Problem& problem, const State& state, std::span<const Complex> v,
                     std::span<const Complex> s, const HeldGenerators& held, Flows& out) {
  const Network& network = *problem.network;
  voltages(network, state, out);
  if (!v.empty()) branches(grid, network, v, out);

  const std::size_t n = static_cast<std::size_t>(network.nodes());
  const double to_pu = 1 / grid.base_mva;
  std::ranges::fill(load_, Complex());
  out.slack_mw = out.loss_mw = out.load_mw = out.generation_mw = 0;
  out.pg = held.held.empty() ? grid.gen.pg : held.p;
  out.qg = held.held.empty() ? grid.gen.qg : held.q;
  for (std::size_t g = 0; g < grid.gen.size(); ++g)
    if (network.node_of_gen[g] < 0) out.pg[g] = out.qg[g] = 0;
  const auto is_held = [&](int g) { return !held.held.empty() && held.held[g]; };
  for (std::size_t i = 0; i < grid.bus.size(); ++i)
    if (const int k = network.node_of_bus[i]; k >= 0) {
      const double p_share = grid.bus.zip.empty() ? 1 : grid.bus.zip[i][0];
      const double q_share = grid.bus.zip.empty() ? 1 : grid.bus.zip[i][3];
      load_[k] += Complex(grid.bus.pd[i] * p_share * to_pu, grid.bus.qd[i] * q_share * to_pu);
    }
  for (std::size_t k = 0; k < n; ++k) {
    load_[k] += dependent_load(problem, static_cast<int>(k), state.vm[k]);
    needed_[k] = (s[k] + load_[k]) * grid.base_mva;
    out.load_mw += load_[k].real() * grid.base_mva;
    out.loss_mw += s[k].real() * grid.base_mva;
  }
  for (std::size_t first = 0, last; first < generators_.size(); first = last) {
    const auto k = static_cast<std::size_t>(generators_[first].first);
    sharing_.clear();
    Complex rest = needed_[k];
    for (last = first; last < generators_.size() && generators_[last].first == generators_[first].first; ++last)
      if (const int g = generators_[last].second; is_held(g))
        rest -= Complex(out.pg[g], out.qg[g]);
      else
        sharing_.push_back(g);
    if (sharing_.empty()) continue;
    if (problem.type[k] != NodeType::pq && sharing_.size() == 1) {
      out.qg[sharing_[0]] = rest.imag();
    } else if (problem.type[k] != NodeType::pq) {
      low_.clear();
      high_.clear();
      for (const int g : sharing_) {
        low_.push_back(grid.gen.qmin[g]);
        high_.push_back(grid.gen.qmax[g]);
      }
      const auto q = share_reactive(rest.imag(), low_, high_);
      for (std::size_t i = 0; i < sharing_.size(); ++i)
        out.qg[sharing_[i]] = q[i];
    }
    // The first generator of a node takes what its schedule leaves over: slack, or its part of a distributed one.
    if (problem.type[k] == NodeType::reference || !problem.slack_weight.empty()) {
      double others = 0;
      for (std::size_t i = 1; i < sharing_.size(); ++i)
        others += out.pg[sharing_[i]];
      out.pg[sharing_[0]] = rest.real() - others;
    }
    if (problem.type[k] == NodeType::reference)
      for (const int g : sharing_)
        out.slack_mw += out.pg[g];
  }
  for (const double p : out.pg)
    out.generation_mw += p;
}

void branch_loading(const Grid& grid, const Problem& problem, const State& state, std::span<double> percent) {
  const Network& network = *problem.network;
  std::vector<Complex> v(state.vm.size());
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = std::polar(state.vm[i], state.va[i]);
  for (std::size_t k = 0; k < percent.size(); ++k) {
    percent[k] = nan;
    const int f = network.from_of_branch[k], t = network.to_of_branch[k];
    if (f < 0 || !(grid.branch.rate_a[k] > 0)) continue;
    const BranchAdmittance& a = network.admittance[k];
    const double from = state.vm[f] * std::abs(times(a.ff, v[f]) + times(a.ft, v[t]));
    const double to = state.vm[t] * std::abs(times(a.tf, v[f]) + times(a.tt, v[t]));
    percent[k] = 100 * grid.base_mva / grid.branch.rate_a[k] * std::max(from, to);
  }
}

}  // namespace fachwerk::dpf
