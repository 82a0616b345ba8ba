#include "decoupled.hpp"

#include <algorithm>
#include <cmath>

#include "cli/error.hpp"

namespace fachwerk::dpf {
namespace {

// What every iteration has: the mismatch of its state, the stop test, the trace.
class Progress {
 public:
  Progress(const Problem& problem, State start, const SimpleOptions& options)
      : problem_(problem), options_(options), floor_(rounding_floor(problem, start)), f(2 * start.vm.size()) {
    out.state = std::move(start);
    measure_now();
    first_ = out.max_mismatch;
    record();
  }
  double measure_now() { return out.max_mismatch = mismatch(problem_, out.state, f); }
  // Is there another iteration to do? Sets the status when there is not.
  bool goes_on() {
    if (reached(problem_, f, floor_, options_.tolerance, options_.stop_mismatch))
      out.status = Status::converged;
    else if (!std::isfinite(out.max_mismatch) || out.max_mismatch > 1e6 * std::max(first_, options_.tolerance))
      out.status = Status::diverged;
    else if (out.iterations >= options_.max_iterations)
      out.status = Status::iteration_limit;
    else
      return true;
    const auto worst = std::ranges::max_element(f, {}, [](double x) { return std::abs(x); });
    out.worst_node = static_cast<int>(worst - f.begin()) / 2;
    return false;
  }
  void done_one() {
    measure_now();
    ++out.iterations;
    record();
  }

 private:
  void record() {
    if (options_.trace) out.trace.push_back(measure(problem_, f, out.max_mismatch));
  }
  const Problem& problem_;
  SimpleOptions options_;
  std::vector<double> floor_;
  double first_ = 0;

 public:
  std::vector<double> f;
  Solution out;
};

// -Im of Ybus of branches without shunts, as one half of the blocks.
void add_susceptance(const Branches& branches, const Network& network, std::vector<Block>& b, int half) {
  for (std::size_t k = 0; k < network.slots.size(); ++k) {
    const BranchSlots& s = network.slots[k];
    if (s.ff < 0) continue;
    const BranchAdmittance y = branch_admittance(branches, k);
    const auto at = static_cast<std::size_t>(half);
    b[s.ff][at] -= y.ff.imag();
    b[s.ft][at] -= y.ft.imag();
    b[s.tf][at] -= y.tf.imag();
    b[s.tt][at] -= y.tt.imag();
  }
}

void drop_resistance(Branches& branches) {
  for (std::size_t k = 0; k < branches.size(); ++k)
    if (branches.x[k] != 0) branches.r[k] = 0;
}

// B' in the angle halves of the blocks, B'' in the magnitude halves.
std::vector<Block> decoupled_matrices(const Grid& grid, const Problem& problem, Decoupling kind) {
  const Network& network = *problem.network;
  const Pattern& pattern = network.pattern;
  std::vector<Block> b(pattern.column.size(), Block{});
  Branches first = grid.branch;  // B'
  std::ranges::fill(first.b, 0.0);
  std::ranges::fill(first.tap, 0.0);
  first.end_y.clear();
  if (kind == Decoupling::xb) drop_resistance(first);
  add_susceptance(first, network, b, 0);
  Branches second = grid.branch;  // B''
  std::ranges::fill(second.shift, 0.0);
  if (kind == Decoupling::bx) drop_resistance(second);
  add_susceptance(second, network, b, 3);
  for (std::size_t i = 0; i < grid.bus.size(); ++i)
    if (const int k = network.node_of_bus[i]; k >= 0) b[pattern.diagonal[k]][3] -= grid.bus.bs[i] / grid.base_mva;
  const auto fixed = [&](int node, int half) {
    return half == 0 ? problem.type[node] == NodeType::reference : problem.type[node] != NodeType::pq;
  };
  for (int i = 0; i < pattern.rows(); ++i)
    for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k)
      for (const int half : {0, 3})
        if (fixed(i, half) || fixed(pattern.column[k], half))
          b[k][static_cast<std::size_t>(half)] = pattern.column[k] == i ? 1 : 0;
  return b;
}

// V of all nodes, and sums over a row of Ybus.
struct Phasors {
  const Problem& problem;
  std::vector<Complex> v;
  Phasors(const Problem& p, const State& state) : problem(p) {
    for (std::size_t i = 0; i < state.vm.size(); ++i)
      v.push_back(std::polar(state.vm[i], state.va[i]));
  }
  Complex current(int i) const {
    const Pattern& pattern = problem.network->pattern;
    Complex sum = 0;
    for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k)
      sum += problem.y[k] * v[pattern.column[k]];
    return sum;
  }
  Complex specified(int i) const {
    return Complex(problem.p[i], problem.q[i]) - dependent_load(problem, i, std::abs(v[i]));
  }
  // Angles continue from those of `state`, so that they do not jump by a turn.
  void store(State& state) const {
    for (std::size_t i = 0; i < v.size(); ++i) {
      state.va[i] += std::arg(v[i] * std::polar(1.0, -state.va[i]));
      state.vm[i] = std::abs(v[i]);
    }
  }
};

// A tree edge from the side of the reference: the two-port of all branches between parent and child.
struct Edge {
  int parent = -1, child = -1;
  Complex pp = 0, pc = 0, cp = 0, cc = 0;
};

// Edges from the references outwards. Throws where the grid is no forest.
std::vector<Edge> tree_of(const Problem& problem) {
  const Network& network = *problem.network;
  const int n = network.nodes();
  std::vector<std::vector<int>> at(static_cast<std::size_t>(n));
  for (std::size_t k = 0; k < network.from_of_branch.size(); ++k)
    if (network.from_of_branch[k] >= 0) {
      at[network.from_of_branch[k]].push_back(static_cast<int>(k));
      at[network.to_of_branch[k]].push_back(static_cast<int>(k));
    }
  std::vector<Edge> edges;
  std::vector<int> edge_to(static_cast<std::size_t>(n), -1), queue;
  std::vector<char> reached(static_cast<std::size_t>(n), 0);
  for (int i = 0; i < n; ++i)
    if (problem.type[i] == NodeType::reference) queue.push_back(i), reached[i] = 1;
  for (std::size_t head = 0; head < queue.size(); ++head) {
    const int i = queue[head];
    for (const int k : at[i]) {
      const bool from = network.from_of_branch[k] == i;
      const int j = from ? network.to_of_branch[k] : network.from_of_branch[k];
      if (edge_to[i] >= 0 && edges[edge_to[i]].parent == j) continue;
      const bool parallel = edge_to[j] >= 0 && edges[edge_to[j]].parent == i;
      if (reached[j] && !parallel)
        throw method_failed("backward/forward sweep: the grid is not radial: branch row {} closes a loop", k + 1);
      if (!reached[j]) {
        reached[j] = 1;
        edge_to[j] = static_cast<int>(edges.size());
        edges.push_back({.parent = i, .child = j});
        queue.push_back(j);
      }
      const BranchAdmittance& y = network.admittance[k];
      Edge& edge = edges[edge_to[j]];
      edge.pp += from ? y.ff : y.tt;
      edge.pc += from ? y.ft : y.tf;
      edge.cp += from ? y.tf : y.ft;
      edge.cc += from ? y.tt : y.ff;
    }
  }
  return edges;
}

}  // namespace

Solution fast_decoupled(const Grid& grid, const Problem& problem, State start, Decoupling kind,
                        const SimpleOptions& options) {
  BlockFactor factor(problem.network->pattern);
  if (!factor.factor(decoupled_matrices(grid, problem, kind)))
    throw method_failed("fast decoupled power flow: B' or B'' is singular");
  Progress progress(problem, std::move(start), options);
  State& state = progress.out.state;
  std::vector<double> step(progress.f.size());
  const auto half_step = [&](int half) {
    std::ranges::fill(step, 0.0);
    for (std::size_t i = 0; i < state.vm.size(); ++i)
      step[2 * i + half] = progress.f[2 * i + half] / state.vm[i];
    factor.solve(step);
    std::vector<double>& x = half == 0 ? state.va : state.vm;
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] -= step[2 * i + half];
  };
  while (progress.goes_on()) {
    half_step(0);
    progress.measure_now();
    half_step(1);
    progress.done_one();
  }
  return std::move(progress.out);
}

Solution gauss_seidel(const Problem& problem, State start, const SimpleOptions& options) {
  const Pattern& pattern = problem.network->pattern;
  Progress progress(problem, std::move(start), options);
  Phasors phasors(problem, progress.out.state);
  while (progress.goes_on()) {
    for (int i = 0; i < pattern.rows(); ++i) {
      if (problem.type[i] == NodeType::reference) continue;
      Complex& v = phasors.v[i];
      const Complex current = phasors.current(i);
      Complex s = phasors.specified(i);
      if (problem.type[i] == NodeType::pv) s.imag((v * std::conj(current)).imag());
      v += (std::conj(s / v) - current) / problem.y[pattern.diagonal[i]];
      if (problem.type[i] == NodeType::pv) v *= problem.set_point[i] / std::abs(v);
    }
    phasors.store(progress.out.state);
    progress.done_one();
  }
  return std::move(progress.out);
}

Solution sweep(const Problem& problem, State start, const SimpleOptions& options) {
  if (std::ranges::find(problem.type, NodeType::pv) != problem.type.end())
    throw method_failed("backward/forward sweep: the grid has voltage-controlled buses besides its references");
  const std::vector<Edge> edges = tree_of(problem);
  const Pattern& pattern = problem.network->pattern;
  std::vector<Complex> shunt(static_cast<std::size_t>(pattern.rows())), current(shunt.size());
  for (int i = 0; i < pattern.rows(); ++i)
    shunt[i] = problem.y[pattern.diagonal[i]];
  for (const Edge& e : edges) {
    shunt[e.parent] -= e.pp;
    shunt[e.child] -= e.cc;
  }
  Progress progress(problem, std::move(start), options);
  Phasors phasors(problem, progress.out.state);
  std::vector<Complex>& v = phasors.v;
  while (progress.goes_on()) {
    for (int i = 0; i < pattern.rows(); ++i)  // what the node itself draws
      current[i] = shunt[i] * v[i] - std::conj(phasors.specified(i) / v[i]);
    for (std::size_t k = edges.size(); k-- > 0;) {
      const Edge& e = edges[k];
      const Complex sending = (-current[e.child] - e.cc * v[e.child]) / e.cp;
      current[e.parent] += e.pp * sending + e.pc * v[e.child];
    }
    for (const Edge& e : edges)
      v[e.child] = (-current[e.child] - e.cp * v[e.parent]) / e.cc;
    phasors.store(progress.out.state);
    progress.done_one();
  }
  return std::move(progress.out);
}

}  // namespace fachwerk::dpf
