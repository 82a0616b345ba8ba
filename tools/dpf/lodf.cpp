#include "lodf.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "compute/parallel.hpp"
#include "factor.hpp"

namespace fachwerk::dpf {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// Susceptance of a branch in the DC model.
double weight(const Branches& branch, std::size_t k) {
  const double tap = branch.tap[k] == 0 ? 1 : branch.tap[k];
  return (branch.x[k] != 0 ? 1 / branch.x[k] : 1 / branch.r[k]) / tap;
}

// B' of the DC power flow in the first entries of the blocks.
std::vector<Block> dc_matrix(const Grid& grid, const Problem& problem) {
  const Network& network = *problem.network;
  const Pattern& pattern = network.pattern;
  std::vector<Block> b(pattern.column.size(), Block{});
  for (std::size_t k = 0; k < network.slots.size(); ++k) {
    const BranchSlots& s = network.slots[k];
    if (s.ff < 0) continue;
    const double w = weight(grid.branch, k);
    b[s.ff][0] += w;
    b[s.tt][0] += w;
    b[s.ft][0] -= w;
    b[s.tf][0] -= w;
  }
  const auto fixed = [&](int i) { return problem.type[i] == NodeType::reference; };
  for (int i = 0; i < pattern.rows(); ++i) {
    for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k)
      if (fixed(i) || fixed(pattern.column[k])) b[k][0] = 0;
    b[pattern.diagonal[i]][3] = 1;
    if (fixed(i)) b[pattern.diagonal[i]][0] = 1;
  }
  return b;
}

// A rated branch with what flows in it now, pu.
struct Rated {
  int row, from, to;
  double weight, p, q, rate;
};

std::vector<Rated> rated_branches(const Grid& grid, const Problem& problem, const State& state) {
  const Network& network = *problem.network;
  std::vector<Rated> out;
  for (std::size_t k = 0; k < network.slots.size(); ++k) {
    const int f = network.from_of_branch[k], t = network.to_of_branch[k];
    if (f < 0 || !(grid.branch.rate_a[k] > 0)) continue;
    const BranchAdmittance& y = network.admittance[k];
    const Complex vf = std::polar(state.vm[f], state.va[f]), vt = std::polar(state.vm[t], state.va[t]);
    const Complex from = vf * std::conj(y.ff * vf + y.ft * vt), to = vt * std::conj(y.tf * vf + y.tt * vt);
    const double q = std::max(std::abs(from.imag()), std::abs(to.imag()));
    const double p = std::abs(from.real()) > std::abs(to.real()) ? from.real() : -to.real();
    out.push_back({static_cast<int>(k), f, t, weight(grid.branch, k), p, q, grid.branch.rate_a[k] / grid.base_mva});
  }
  return out;
}

double flow_into(const Network& network, const State& state, int k) {
  const int f = network.from_of_branch[k], t = network.to_of_branch[k];
  const BranchAdmittance& y = network.admittance[k];
  const Complex vf = std::polar(state.vm[f], state.va[f]), vt = std::polar(state.vm[t], state.va[t]);
  return (vf * std::conj(y.ff * vf + y.ft * vt)).real();
}

}  // namespace

std::vector<double> lodf_bounds(const Grid& grid, const Problem& problem, const State& state,
                                const std::vector<int>& branches, double guard) {
  const Network& network = *problem.network;
  std::vector<double> out(branches.size(), infinity);
  BlockFactor factor(network.pattern);
  if (!factor.factor(dc_matrix(grid, problem))) return out;
  const std::vector<Rated> rated = rated_branches(grid, problem, state);
  compute::parallel_tasks(branches.size(), [&](std::size_t c) {
    const int k = branches[c], f = network.from_of_branch[k], t = network.to_of_branch[k];
    if (f < 0) return;
    std::vector<double> x(2 * static_cast<std::size_t>(network.nodes()), 0.0);
    if (problem.type[f] != NodeType::reference) x[2 * static_cast<std::size_t>(f)] = 1;
    if (problem.type[t] != NodeType::reference) x[2 * static_cast<std::size_t>(t)] = -1;
    factor.solve(x);
    const auto between = [&](int a, int b) {
      return x[2 * static_cast<std::size_t>(a)] - x[2 * static_cast<std::size_t>(b)];
    };
    const double remains = 1 - weight(grid.branch, static_cast<std::size_t>(k)) * between(f, t);
    if (!(std::abs(remains) > 1e-8)) return;  // splits the grid
    const double moved = flow_into(network, state, k) / remains;
    double worst = 0;
    for (const Rated& r : rated) {
      if (r.row == k) continue;
      const double change = r.weight * between(r.from, r.to) * moved;
      worst = std::max(worst, 100 / r.rate * (std::hypot(r.p + change, r.q) + guard * std::abs(change)));
    }
    out[c] = worst;
  });
  return out;
}

}  // namespace fachwerk::dpf
