#include "qlimits.hpp"

#include <algorithm>
#include <cmath>

namespace fachwerk::dpf {
namespace {

constexpr double violation = 5e-6;  // MVAr, MATPOWER's opf.violation

}  // namespace

QLimitRounds::QLimitRounds(const Grid& grid, const Network& network, QLimits mode) : mode_(mode) {
  out_.type = network.type;
  out_.p = network.p;
  out_.q = network.q;
  out_.held = {std::vector<char>(grid.gen.size(), 0), grid.gen.pg, grid.gen.qg};
  for (std::size_t k = 0; k < out_.type.size(); ++k)
    if (out_.type[k] == NodeType::reference) references_.push_back(static_cast<int>(k));
  switches_.assign(out_.type.size(), 0);
}

bool QLimitRounds::accept(const Grid& grid, const Network& network, FlowWork& work, Solution&& solution,
                          std::span<const Complex> s) {
  grid_ = &grid;
  network_ = &network;
  const int before = out_.solution.iterations;
  out_.solution = std::move(solution);
  out_.solution.iterations += before;
  ++out_.rounds;
  if (out_.solution.status != Status::converged || mode_ == QLimits::off) return false;
  const Problem solved = problem(network);
  std::vector<Complex> own;
  if (s.empty()) {
    own.resize(out_.type.size());
    injections(solved, out_.solution.state, own);
    s = own;
  }
  Flows result;
  work.flows(grid, solved, out_.solution.state, {}, s, out_.held, result);
  const bool released = mode_ == QLimits::smooth && release();
  if (!hold(result) && !released) return false;
  if (out_.solution.status != Status::converged) return false;  // infeasible
  for (std::size_t i = 0; i < out_.type.size(); ++i)
    if (out_.type[i] != NodeType::pq) out_.solution.state.vm[i] = network.set_point[i];
  return true;
}

bool QLimitRounds::controls(int g) const {
  const int k = network_->node_of_gen[g];
  return k >= 0 && !out_.held.held[g] && out_.type[k] != NodeType::pq;
}

// Finds violators and holds them. False when there are none.
bool QLimitRounds::hold(const Flows& result) {
  struct Violator {
    int generator;
    double excess, limit;
    bool above;
  };
  std::vector<Violator> violators;
  std::size_t controlling = 0;
  for (int g = 0; g < static_cast<int>(grid_->gen.size()); ++g) {
    if (network_->node_of_gen[g] < 0 || out_.held.held[g]) continue;
    if (controls(g)) ++controlling;
    const bool was_controlled = network_->type[network_->node_of_gen[g]] != NodeType::pq;
    if (!was_controlled) continue;  // a fixed injection from the start: its Q is data
    if (const double over = result.qg[g] - grid_->gen.qmax[g]; over > violation)
      violators.push_back({g, over, grid_->gen.qmax[g], true});
    else if (const double under = grid_->gen.qmin[g] - result.qg[g]; under > violation)
      violators.push_back({g, under, grid_->gen.qmin[g], false});
  }
  if (violators.empty()) return false;
  const bool one_side =
      std::ranges::all_of(violators, [&](const Violator& v) { return v.above == violators[0].above; });
  const bool every = violators.size() >= controlling &&
                     std::ranges::all_of(violators, [&](const Violator& v) { return controls(v.generator); });
  if (every && one_side) {
    out_.solution.status = Status::q_limits_infeasible;
    return true;
  }
  if (mode_ == QLimits::one) {
    // MATPOWER lists the upper side first and takes the first maximum.
    std::stable_partition(violators.begin(), violators.end(), [](const Violator& v) { return v.above; });
    violators = {*std::ranges::max_element(violators, {}, &Violator::excess)};
  }
  for (const Violator& v : violators) {
    out_.held.held[v.generator] = 1;
    out_.held.p[v.generator] = result.pg[v.generator];
    out_.held.q[v.generator] = v.limit;
  }
  for (const Violator& v : violators)
    convert(network_->node_of_gen[v.generator], result);
  if (!replace_references()) out_.solution.status = Status::q_limits_infeasible;
  return true;
}

// The node's injection becomes what its generators give now: held ones their limit, others their last output.
void QLimitRounds::convert(int node, const Flows& result) {
  double p = network_->p[node], q = network_->q[node];
  for (std::size_t g = 0; g < grid_->gen.size(); ++g) {
    if (network_->node_of_gen[g] != node) continue;
    p += (result.pg[g] - grid_->gen.pg[g]) / grid_->base_mva;
    out_.held.p[g] = result.pg[g];
    if (!out_.held.held[g]) out_.held.q[g] = result.qg[g];  // stays at its last output, and still watched
    q += (out_.held.q[g] - grid_->gen.qg[g]) / grid_->base_mva;
  }
  if (out_.type[node] != NodeType::pq) ++switches_[node];
  out_.type[node] = NodeType::pq;
  out_.p[node] = p;
  out_.q[node] = q;
}

// Every island needs a reference: the first PV bus in file order.
bool QLimitRounds::replace_references() {
  std::vector<char> has(static_cast<std::size_t>(network_->islands), 0);
  for (std::size_t k = 0; k < out_.type.size(); ++k)
    if (out_.type[k] == NodeType::reference) has[network_->island[k]] = 1;
  for (std::size_t i = 0; i < network_->node_of_bus.size(); ++i) {
    const int k = network_->node_of_bus[i];
    if (k < 0 || has[network_->island[k]] || out_.type[k] != NodeType::pv) continue;
    out_.type[k] = NodeType::reference;
    has[network_->island[k]] = 1;
  }
  return std::ranges::all_of(has, [](char c) { return c != 0; });
}

// PQ back to PV: held at Qmax with the voltage above its set-point, or at Qmin with it below (hysteresis 1e-4 pu).
bool QLimitRounds::release() {
  bool any = false;
  for (int k = 0; k < network_->nodes(); ++k) {
    if (network_->type[k] == NodeType::pq || out_.type[k] != NodeType::pq || switches_[k] >= 3) continue;
    const double excess = out_.solution.state.vm[k] - network_->set_point[k];
    bool free = false;
    for (std::size_t g = 0; g < grid_->gen.size(); ++g) {
      if (network_->node_of_gen[g] != k || !out_.held.held[g]) continue;
      free = free || (out_.held.q[g] == grid_->gen.qmax[g] ? excess > 1e-4 : excess < -1e-4);
    }
    if (!free) continue;
    for (std::size_t g = 0; g < grid_->gen.size(); ++g)
      if (network_->node_of_gen[g] == k) out_.held.held[g] = 0;
    out_.type[k] = NodeType::pv;
    ++switches_[k];
    any = true;
  }
  return any;
}

// All angles of an island turn so that its original reference keeps the angle of the file.
LimitedSolution QLimitRounds::finish(const Network& network, bool& turned) {
  State& state = out_.solution.state;
  turned = false;
  for (const int r : references_) {
    if (out_.type[r] == NodeType::reference) continue;
    const double turn = network.va[r] - state.va[r];
    for (std::size_t k = 0; k < state.va.size(); ++k)
      if (network.island[k] == network.island[r]) state.va[k] += turn;
    turned = true;
  }
  out_.limited = static_cast<int>(std::ranges::count(out_.held.held, 1));
  return std::move(out_);
}

Problem problem_of(const Network& network, const LimitedSolution& limited) {
  Problem problem = problem_of(network);
  problem.type = limited.type;
  problem.p = limited.p;
  problem.q = limited.q;
  return problem;
}

LimitedSolution solve_with_q_limits(const Grid& grid, const Network& network, Newton& newton, State start,
                                    const NewtonOptions& options, QLimits mode) {
  QLimitRounds rounds(grid, network, mode);
  FlowWork work(network);
  const Problem first = rounds.problem(network);
  for (std::size_t i = 0; i < start.vm.size(); ++i)
    if (first.type[i] != NodeType::pq) start.vm[i] = first.set_point[i];
  while (rounds.accept(grid, network, work, newton.solve(rounds.problem(network), std::move(start), options)))
    start = rounds.start();
  bool turned;
  return rounds.finish(network, turned);
}

}  // namespace fachwerk::dpf
