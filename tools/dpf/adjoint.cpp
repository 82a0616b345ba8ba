#include "adjoint.hpp"

#include <algorithm>
#include <cmath>

#include "newton.hpp"

namespace fachwerk::dpf {

SparseJacobian sparse_jacobian(const Problem& problem, const State& state) {
  const Network& network = *problem.network;
  const Pattern& pattern = network.pattern;
  const auto n = static_cast<std::size_t>(pattern.rows());
  std::vector<int> order(n);  // nodes by file row
  for (std::size_t k = 0; k < n; ++k)
    order[k] = static_cast<int>(k);
  std::ranges::sort(order, {}, [&](int k) { return network.bus_of_node[k]; });
  SparseJacobian out;
  std::vector<std::int64_t> number(2 * n, -1);
  std::vector<int> half_of;
  for (const int half : {0, 1})
    for (const int k : order)
      if (half == 0 ? problem.type[k] != NodeType::reference : problem.type[k] == NodeType::pq) {
        number[2 * k + half] = static_cast<std::int64_t>(out.bus.size());
        out.bus.push_back(network.bus_of_node[k]);
        out.kind.push_back(static_cast<std::int8_t>(half));
        half_of.push_back(2 * k + half);
      }
  std::vector<Block> blocks(pattern.column.size());
  jacobian(problem, state, blocks);
  std::vector<std::pair<std::int64_t, double>> entries;
  for (std::size_t r = 0; r < half_of.size(); ++r) {
    const int i = half_of[r] / 2, half = half_of[r] % 2;
    entries.clear();
    for (int s = pattern.start[i]; s < pattern.start[i + 1]; ++s)
      for (const int side : {0, 1}) {
        const int j = pattern.column[s];
        if (number[2 * j + side] < 0) continue;
        const double value = blocks[s][2 * half + side];
        entries.emplace_back(number[2 * j + side], side == 0 ? value : value / state.vm[j]);  // by |V|, not ln|V|
      }
    std::ranges::sort(entries);
    for (const auto& [column, value] : entries) {
      out.row.push_back(static_cast<std::int64_t>(r));
      out.column.push_back(column);
      out.value.push_back(value);
    }
  }
  return out;
}

Adjoint injection_adjoint(const Grid& grid, const Problem& problem, const State& state, const Observation& scalar) {
  const Network& network = *problem.network;
  std::vector<double> mu(2 * static_cast<std::size_t>(network.nodes()), 0.0);
  observe_derivative(grid, problem, state, scalar, 1, mu);
  for (int k = 0; k < network.nodes(); ++k) {  // fixed unknowns do not move
    if (problem.type[k] == NodeType::reference) mu[2 * k] = 0;
    if (problem.type[k] != NodeType::pq) mu[2 * k + 1] = 0;
  }
  Newton newton(network);
  newton.factor_at(problem, state).solve_transposed(mu);
  Adjoint out{std::vector<double>(grid.bus.size(), NAN), std::vector<double>(grid.bus.size(), NAN)};
  for (std::size_t i = 0; i < grid.bus.size(); ++i)
    if (const int k = network.node_of_bus[i]; k >= 0) {
      out.p[i] = mu[2 * k] / grid.base_mva;
      out.q[i] = mu[2 * k + 1] / grid.base_mva;
    }
  return out;
}

}  // namespace fachwerk::dpf
