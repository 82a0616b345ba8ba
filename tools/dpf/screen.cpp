#include "screen.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "cli/error.hpp"
#include "compute/parallel.hpp"
#include "compute/random.hpp"
#include "lodf.hpp"

namespace fachwerk::dpf {
namespace {

using Matrix4 = std::array<double, 16>;

// Inverse of a 4 x 4 matrix by elimination with pivoting; nothing if it is singular to single precision.
std::optional<Matrix4> inverse(Matrix4 a) {
  Matrix4 out{};
  for (int i = 0; i < 4; ++i)
    out[5 * i] = 1;
  double largest = 0;
  for (const double x : a)
    largest = std::max(largest, std::abs(x));
  for (int c = 0; c < 4; ++c) {
    int pivot = c;
    for (int r = c + 1; r < 4; ++r)
      if (std::abs(a[4 * r + c]) > std::abs(a[4 * pivot + c])) pivot = r;
    if (!(std::abs(a[4 * pivot + c]) > 1e-6 * largest)) return {};
    for (int k = 0; k < 4; ++k) {
      std::swap(a[4 * c + k], a[4 * pivot + k]);
      std::swap(out[4 * c + k], out[4 * pivot + k]);
    }
    const double scale = 1 / a[5 * c];
    for (int k = 0; k < 4; ++k) {
      a[4 * c + k] *= scale;
      out[4 * c + k] *= scale;
    }
    for (int r = 0; r < 4; ++r) {
      if (r == c) continue;
      const double factor = a[4 * r + c];
      for (int k = 0; k < 4; ++k) {
        a[4 * r + k] -= factor * a[4 * c + k];
        out[4 * r + k] -= factor * out[4 * c + k];
      }
    }
  }
  return out;
}

Matrix4 product(const Matrix4& a, const Matrix4& b) {
  Matrix4 c{};
  for (int i = 0; i < 4; ++i)
    for (int k = 0; k < 4; ++k)
      for (int j = 0; j < 4; ++j)
        c[4 * i + j] += a[4 * i + k] * b[4 * k + j];
  return c;
}

// Change of the Jacobian in the unknowns (angle, magnitude) of the two ends when a branch goes: minus its own
// derivatives (see mismatch.cpp), rows and columns of fixed unknowns zero.
Matrix4 outage_change(const Problem& problem, const State& state, const BranchAdmittance& y, int from, int to) {
  const Complex vf = std::polar(state.vm[from], state.va[from]), vt = std::polar(state.vm[to], state.va[to]);
  const Complex ff = vf * std::conj(y.ff * vf), ft = vf * std::conj(y.ft * vt), tf = vt * std::conj(y.tf * vf),
                tt = vt * std::conj(y.tt * vt);
  const auto own = [](Complex self, Complex other) {  // dS/dangle = j S_other, dS/dln|V| = 2 S_self + S_other
    const Complex magnitude = 2.0 * self + other;
    return std::array{-other.imag(), magnitude.real(), other.real(), magnitude.imag()};
  };
  const auto cross = [](Complex s) { return std::array{s.imag(), s.real(), -s.real(), s.imag()}; };
  const std::array blocks = {own(ff, ft), cross(ft), cross(tf), own(tt, tf)};
  Matrix4 d{};
  for (int bi = 0; bi < 2; ++bi)
    for (int bj = 0; bj < 2; ++bj)
      for (int r = 0; r < 2; ++r)
        for (int c = 0; c < 2; ++c) {
          const NodeType row = problem.type[bi == 0 ? from : to], column = problem.type[bj == 0 ? from : to];
          const auto is_free = [](NodeType type, int half) {
            return half == 0 ? type != NodeType::reference : type == NodeType::pq;
          };
          if (is_free(row, r) && is_free(column, c)) d[4 * (2 * bi + r) + 2 * bj + c] = -blocks[2 * bi + bj][2 * r + c];
        }
  return d;
}

// A copy of the network with a contingency taken out, on the same pattern; nothing where a reference loses its
// generators.
std::optional<Network> patched(const Grid& grid, const Network& network, const Contingency& contingency) {
  Network out = network;
  for (const int k : contingency.branches) {
    const BranchSlots s = out.slots[k];
    if (s.ff < 0) continue;
    const BranchAdmittance& a = out.admittance[k];
    out.y[s.ff] -= a.ff;
    out.y[s.ft] -= a.ft;
    out.y[s.tf] -= a.tf;
    out.y[s.tt] -= a.tt;
    out.slots[k] = {-1, -1, -1, -1};
    out.from_of_branch[k] = out.to_of_branch[k] = -1;
  }
  for (const int g : contingency.generators) {
    const int k = out.node_of_gen[g];
    if (k < 0) continue;
    out.node_of_gen[g] = -1;
    out.p[k] -= grid.gen.pg[g] / grid.base_mva;
    out.q[k] -= grid.gen.qg[g] / grid.base_mva;
    int heir = -1;
    for (std::size_t other = 0; other < grid.gen.size(); ++other)
      if (out.node_of_gen[other] == k) heir = static_cast<int>(other);
    if (heir >= 0 && out.sets_voltage[g]) {
      out.sets_voltage[heir] = 1;
      out.set_point[k] = grid.gen.vg[heir];
    }
    if (heir >= 0) continue;
    if (out.type[k] == NodeType::reference) return {};
    out.type[k] = NodeType::pq;
  }
  return out;
}

// Nodes that no reference reaches any more become dead: fixed at what they are, without equations, out of all results.
void drop_lost_nodes(const Grid& grid, Network& network) {
  std::vector<std::pair<int, int>> edges;
  for (std::size_t k = 0; k < network.from_of_branch.size(); ++k)
    if (network.from_of_branch[k] >= 0) edges.emplace_back(network.from_of_branch[k], network.to_of_branch[k]);
  const std::vector<int> component = components(network.nodes(), edges);
  std::vector<char> fed(component.size(), 0);
  for (int i = 0; i < network.nodes(); ++i)
    if (network.type[i] == NodeType::reference) fed[component[i]] = 1;
  const auto lost = [&](int node) { return node >= 0 && !fed[component[node]]; };
  for (std::size_t k = 0; k < network.from_of_branch.size(); ++k)
    if (lost(network.from_of_branch[k])) network.from_of_branch[k] = network.to_of_branch[k] = -1;
  for (int& node : network.node_of_gen)
    if (lost(node)) node = -1;
  for (std::size_t i = 0; i < network.node_of_bus.size(); ++i)
    if (lost(network.node_of_bus[i])) {
      network.type[network.node_of_bus[i]] = NodeType::reference;
      network.set_point[network.node_of_bus[i]] = 1;
      network.lost_load_mw += grid.bus.pd[i];
      network.node_of_bus[i] = -1;
    }
}

bool splits(const Network& network, const std::vector<int>& out) {
  std::vector<std::pair<int, int>> edges;
  for (std::size_t k = 0; k < network.from_of_branch.size(); ++k)
    if (network.from_of_branch[k] >= 0 && std::ranges::find(out, static_cast<int>(k)) == out.end())
      edges.emplace_back(network.from_of_branch[k], network.to_of_branch[k]);
  const std::vector<int> component = components(network.nodes(), edges);
  return 1 + *std::ranges::max_element(component) > network.islands;
}

Grid with_rating(Grid grid, char rating) {
  if (rating == 'B') grid.branch.rate_a = grid.branch.rate_b;
  if (rating == 'C') grid.branch.rate_a = grid.branch.rate_c;
  return grid;
}

Grid without(Grid grid, const Contingency& contingency) {
  for (const int k : contingency.branches)
    grid.branch.status[k] = 0;
  for (const int g : contingency.generators)
    grid.gen.status[g] = 0;
  return grid;
}

BatchOptions batch_options(const ScreenOptions& options) {
  BatchOptions out;
  out.tolerance = options.tolerance;
  out.newton_iterations = options.max_iterations;
  return out;
}

}  // namespace

std::string name(Verdict verdict) {
  static constexpr const char* names[] = {"solved",    "split",   "infeasible", "unsolved",
                                          "no source", "skipped", "prefiltered"};
  return names[static_cast<int>(verdict)];
}

Screen::Screen(const Grid& grid, const Network& network, State base, const ScreenOptions& options)
    : grid_(&grid),
      network_(&network),
      base_(std::move(base)),
      options_(options),
      rated_(with_rating(grid, options.rating)),
      bridge_(bridges(network)),
      batch_(rated_, problem_of(network), base_, batch_options(options)) {}

// Hands the voltages of a state to whoever asked for them.
void Screen::emit(std::size_t contingency, const Grid& grid, const Network& network, const State& state) const {
  if (!voltages_) return;
  std::vector<double> vm(grid.bus.size(), NAN), va(vm);
  for (std::size_t i = 0; i < vm.size(); ++i)
    if (const int k = network.node_of_bus[i]; k >= 0) vm[i] = state.vm[k], va[i] = state.va[k];
  voltages_(contingency, vm, va);
}

// Takes those out of `chosen` whose loadings stay below their limits in the linear guess, its guard band included.
void Screen::prefilter(const std::vector<Contingency>& contingencies, std::vector<int>& chosen,
                       std::vector<ContingencyResult>& results) const {
  std::vector<int> branches;
  for (const int c : chosen)
    branches.push_back(contingencies[c].branches[0]);
  const std::vector<double> bound = lodf_bounds(rated_, problem_of(*network_), base_, branches, options_.prefilter);
  std::vector<int> left;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    if (bound[i] >= 98) {
      left.push_back(chosen[i]);
      continue;
    }
    ContingencyResult& result = results[chosen[i]];
    result.verdict = Verdict::prefiltered;
    result.early = true;
    result.worst_loading = bound[i];
    result.severity = bound[i] / 100;
  }
  chosen = std::move(left);
}

// Loadings, voltages, violations and indices of a state.
void Screen::evaluate(const Grid& grid, const Network& network, const State& state, ContingencyResult& result) const {
  std::vector<double> loading(grid.branch.size());
  branch_loading(grid, problem_of(network), state, loading);
  result.violations.clear();
  result.worst_loading = result.performance_mw = result.performance_v = result.sum_vm = result.severity = 0;
  result.worst_branch = result.vmin_bus = result.vmax_bus = -1;
  for (std::size_t k = 0; k < loading.size(); ++k) {
    if (std::isnan(loading[k])) continue;
    result.performance_mw += loading[k] * loading[k] * 1e-4;
    if (loading[k] > result.worst_loading) {
      result.worst_loading = loading[k];
      result.worst_branch = static_cast<int>(k);
    }
    if (loading[k] > 100) result.violations.push_back({0, static_cast<int>(k), loading[k]});
  }
  result.severity = result.worst_loading / 100;
  for (std::size_t i = 0; i < grid.bus.size(); ++i) {
    const int k = network.node_of_bus[i];
    if (k < 0) continue;
    const double vm = state.vm[k];
    result.sum_vm += vm;
    if (result.vmin_bus < 0 || vm < result.vmin) result.vmin = vm, result.vmin_bus = static_cast<int>(i);
    if (result.vmax_bus < 0 || vm > result.vmax) result.vmax = vm, result.vmax_bus = static_cast<int>(i);
    const double low = limit_low(i), high = limit_high(i);
    if (high > low) {
      const double deviation = (vm - (low + high) / 2) / ((high - low) / 2);
      result.performance_v += deviation * deviation;
      result.severity = std::max(result.severity, std::abs(deviation));
    }
    if (vm < low) result.violations.push_back({1, static_cast<int>(i), vm});
    if (vm > high) result.violations.push_back({2, static_cast<int>(i), vm});
  }
}

// Is every quantity further from its limits than `guard` times its estimated error? The error of a quantity is its last
// change times rate / (1 - rate), the sum of the changes still to come. A mismatch that fell by less than that of a
// good first step estimates nothing: outages without a solution begin so.
bool Screen::outside_guard(const Network& network, const State& last, const State& now, double rate) const {
  if (!(rate < 0.3)) return false;
  const double ahead = options_.guard * rate / (1 - rate);
  const auto clear = [&](double before, double value, double limit) {
    return std::abs(value - limit) > ahead * std::abs(value - before) + 1e-6 * std::abs(limit);
  };
  const std::size_t m = rated_.branch.size();
  std::vector<double> before(m), loading(m);
  branch_loading(rated_, problem_of(network), last, before);
  branch_loading(rated_, problem_of(network), now, loading);
  for (std::size_t k = 0; k < m; ++k)
    if (!std::isnan(loading[k]) && !clear(before[k], loading[k], 100)) return false;
  for (std::size_t i = 0; i < rated_.bus.size(); ++i) {
    const int k = network.node_of_bus[i];
    if (k >= 0 && (!clear(last.vm[k], now.vm[k], limit_low(i)) || !clear(last.vm[k], now.vm[k], limit_high(i))))
      return false;
  }
  return true;
}

// One lane for each of up to `lanes` single branches.
void Screen::solve_tile(const std::vector<Contingency>& contingencies, const std::vector<int>& chosen,
                        std::size_t first, std::vector<ContingencyResult>& results) {
  const ChordKernel& kernel = batch_.kernel();
  const auto lanes = static_cast<std::size_t>(kernel.lanes), n = static_cast<std::size_t>(network_->nodes());
  const std::size_t count = std::min(lanes, chosen.size() - first);
  ChordPlan plan = batch_.plan();
  TileMemory memory(network_->nodes(), kernel.lanes, plan.memory);
  Aligned<float> z(8 * n * lanes), column(2 * n * lanes);
  const Problem problem = problem_of(*network_);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      memory.vm[i * lanes + lane] = base_.vm[i];
      memory.va[i * lanes + lane] = base_.va[i];
      memory.p[i * lanes + lane] = problem.p[i];
      memory.q[i * lanes + lane] = problem.q[i];
    }
  // Z = M^-1 E: a solve for each of the four unknowns at the ends of a branch.
  const auto branch_of = [&](std::size_t lane) { return contingencies[chosen[first + lane]].branches[0]; };
  for (std::size_t c = 0; c < 4; ++c) {
    std::fill_n(column.data(), column.size(), 0.0F);
    for (std::size_t lane = 0; lane < count; ++lane) {
      const int k = branch_of(lane);
      const auto node = static_cast<std::size_t>(c < 2 ? network_->from_of_branch[k] : network_->to_of_branch[k]);
      column[(2 * node + c % 2) * lanes + lane] = 1;
    }
    kernel.solve(plan, column.data());
    for (std::size_t i = 0; i < 2 * n; ++i)
      std::copy_n(&column[i * lanes], lanes, &z[(4 * i + c) * lanes]);
  }
  std::vector<LaneOutage> outages;
  for (std::size_t lane = 0; lane < count; ++lane) {
    const int k = branch_of(lane), from = network_->from_of_branch[k], to = network_->to_of_branch[k];
    const BranchAdmittance& a = network_->admittance[k];
    const Matrix4 d = outage_change(problem, base_, a, from, to);
    Matrix4 ez{};  // E^T Z
    const std::size_t rows[4] = {2 * static_cast<std::size_t>(from), 2 * static_cast<std::size_t>(from) + 1,
                                 2 * static_cast<std::size_t>(to), 2 * static_cast<std::size_t>(to) + 1};
    for (std::size_t r = 0; r < 4; ++r)
      for (std::size_t c = 0; c < 4; ++c)
        ez[4 * r + c] = static_cast<double>(z[(4 * rows[r] + c) * lanes + lane]);
    Matrix4 w = product(d, ez);
    for (int i = 0; i < 4; ++i)
      w[5 * i] += 1;
    const auto inverted = inverse(w);
    memory.wanted[lane] = inverted.has_value();
    if (!inverted) continue;  // nearly a split: Newton decides
    const Matrix4 correction = product(*inverted, d);
    LaneOutage outage{static_cast<int>(lane),
                      from,
                      to,
                      {a.ff.real(), a.ff.imag()},
                      {a.ft.real(), a.ft.imag()},
                      {a.tf.real(), a.tf.imag()},
                      {a.tt.real(), a.tt.imag()},
                      {}};
    for (std::size_t i = 0; i < 16; ++i)
      outage.correction[i] = static_cast<float>(correction[i]);
    outages.push_back(outage);
  }
  ChordTile tile = memory.view();
  tile.z = z.data();
  tile.outage = outages.data();
  tile.outages = static_cast<int>(outages.size());
  const auto state_of = [&](std::size_t lane) {
    State state{std::vector<double>(n), std::vector<double>(n), {}};
    for (std::size_t i = 0; i < n; ++i) {
      state.vm[i] = memory.vm[i * lanes + lane];
      state.va[i] = memory.va[i * lanes + lane];
    }
    return state;
  };
  // The network of a lane differs from the intact one only where loadings are looked up.
  Network view = *network_;
  const auto with_lane = [&](std::size_t lane, auto&& use) {
    const int k = branch_of(lane), from = view.from_of_branch[k];
    view.from_of_branch[k] = -1;
    use();
    view.from_of_branch[k] = from;
  };
  std::vector<char> decided(count, 0);
  std::vector<int> spent(count, 0);
  if (options_.guard > 0) {
    plan.max_iterations = 2;
    kernel.iterate(plan, tile);
    for (std::size_t lane = 0; lane < count; ++lane) {
      spent[lane] = memory.iterations[lane];
      if (!memory.wanted[lane] || memory.state[lane] != 1 || memory.iterations[lane] < 2) continue;
      State now = state_of(lane), last = now;
      for (std::size_t i = 0; i < n; ++i) {
        last.va[i] -= static_cast<double>(memory.step[2 * i * lanes + lane]);
        last.vm[i] /= 1 + static_cast<double>(memory.step[(2 * i + 1) * lanes + lane]);
      }
      const double rate = std::sqrt(memory.max_mismatch[lane] / memory.first_mismatch[lane]);
      with_lane(lane, [&] {
        if (!outside_guard(view, last, now, rate)) return;
        ContingencyResult& result = results[chosen[first + lane]];
        result.verdict = Verdict::solved;
        result.early = true;
        result.iterations = memory.iterations[lane];
        result.max_mismatch = memory.max_mismatch[lane];
        evaluate(rated_, view, now, result);
        emit(static_cast<std::size_t>(chosen[first + lane]), rated_, view, now);
        decided[lane] = 1;
        memory.wanted[lane] = 0;
      });
    }
    plan.max_iterations = batch_.plan().max_iterations;
  }
  kernel.iterate(plan, tile);
  for (std::size_t lane = 0; lane < count; ++lane) {
    if (decided[lane]) continue;
    const int index = chosen[first + lane];
    ContingencyResult& result = results[index];
    result.iterations = spent[lane] + memory.iterations[lane];
    if (!memory.wanted[lane] || memory.state[lane] != 0) {
      solve_alone(static_cast<std::size_t>(index), contingencies[index], result);
      continue;
    }
    result.verdict = Verdict::solved;
    result.max_mismatch = memory.max_mismatch[lane];
    const State state = state_of(lane);
    with_lane(lane, [&] { evaluate(rated_, view, state, result); });
    if (compute::Stream(options_.seed, static_cast<std::uint64_t>(index)).uniform() < options_.check) {
      const Network network = *patched(rated_, *network_, contingencies[index]);
      const Solution newton = Newton(network).solve(problem_of(network), base_, {.tolerance = options_.tolerance});
      result.check_difference = newton.status == Status::converged ? 0 : std::numeric_limits<double>::infinity();
      for (std::size_t i = 0; i < n && newton.status == Status::converged; ++i)
        result.check_difference = std::max(result.check_difference, std::abs(newton.state.vm[i] - state.vm[i]));
    }
    emit(static_cast<std::size_t>(index), rated_, *network_, state);
  }
}

// Everything else on the intact pattern: Newton and the ladder with the elements taken out of Ybus.
void Screen::solve_alone(std::size_t index, const Contingency& contingency, ContingencyResult& result) {
  const bool split =
      contingency.branches.size() == 1 ? bridge_[contingency.branches[0]] : splits(*network_, contingency.branches);
  if (split && (!options_.solve_split || options_.keep_islands)) return solve_rebuilt(index, contingency, result, true);
  auto network = patched(rated_, *network_, contingency);
  if (!network) return solve_rebuilt(index, contingency, result, split);
  if (split) drop_lost_nodes(rated_, *network);
  Newton newton(*network);
  const Problem problem = problem_of(*network);
  BatchOptions options = batch_options(options_);
  const ScenarioResult solved = climb(without(rated_, contingency), newton, problem, base_, options);
  result.path = solved.path;
  result.iterations += solved.solution.iterations;
  result.max_mismatch = solved.solution.max_mismatch;
  result.lost_load_mw = network->lost_load_mw - network_->lost_load_mw;
  result.verdict = solved.solution.status == Status::converged    ? (split ? Verdict::split : Verdict::solved)
                   : solved.solution.status == Status::infeasible ? Verdict::infeasible
                                                                  : Verdict::unsolved;
  evaluate(rated_, *network, solved.solution.state, result);
  emit(index, rated_, *network, solved.solution.state);
}

// The grid built anew without the elements: outages that split it, or that take the reference.
void Screen::solve_rebuilt(std::size_t index, const Contingency& contingency, ContingencyResult& result, bool split) {
  if (split && !options_.solve_split) {
    result.verdict = Verdict::skipped;
    return;
  }
  const Grid grid = without(rated_, contingency);
  std::optional<Network> network;
  try {
    network = build_network(grid, {.drop_unreferenced = split && !options_.keep_islands});
  } catch (const Error&) {
    result.verdict = Verdict::no_source;
    return;
  }
  State start = file_start(problem_of(*network));
  for (std::size_t i = 0; i < grid.bus.size(); ++i)
    if (const int k = network->node_of_bus[i], before = network_->node_of_bus[i]; k >= 0 && before >= 0) {
      if (network->type[k] == NodeType::pq) start.vm[k] = base_.vm[before];
      start.va[k] = base_.va[before];
    }
  Newton newton(*network);
  const ScenarioResult solved = climb(grid, newton, problem_of(*network), start, batch_options(options_));
  result.path = solved.path;
  result.iterations = solved.solution.iterations;
  result.max_mismatch = solved.solution.max_mismatch;
  result.lost_load_mw = network->lost_load_mw - network_->lost_load_mw;
  result.verdict = solved.solution.status == Status::converged    ? (split ? Verdict::split : Verdict::solved)
                   : solved.solution.status == Status::infeasible ? Verdict::infeasible
                                                                  : Verdict::unsolved;
  evaluate(grid, *network, solved.solution.state, result);
  emit(index, grid, *network, solved.solution.state);
}

std::vector<ContingencyResult> Screen::run(
    const std::vector<Contingency>& contingencies, const std::function<void(std::size_t)>& advanced,
    const std::function<void(std::size_t, const std::vector<double>&, const std::vector<double>&)>& voltages) {
  voltages_ = voltages;
  std::vector<ContingencyResult> results(contingencies.size());
  std::vector<int> in_lanes, alone;
  for (std::size_t c = 0; c < contingencies.size(); ++c) {
    const Contingency& contingency = contingencies[c];
    const bool single = contingency.branches.size() == 1 && contingency.generators.empty();
    const int k = single ? contingency.branches[0] : -1;
    (single && network_->from_of_branch[k] >= 0 && !bridge_[k] ? in_lanes : alone).push_back(static_cast<int>(c));
  }
  if (options_.prefilter > 0) {
    const std::size_t before = in_lanes.size();
    prefilter(contingencies, in_lanes, results);
    advanced(before - in_lanes.size());
  }
  const auto lanes = static_cast<std::size_t>(batch_.lanes());
  const std::size_t tiles = (in_lanes.size() + lanes - 1) / lanes;
  compute::parallel_tasks(tiles + alone.size(), [&](std::size_t task) {
    if (task < tiles) {
      solve_tile(contingencies, in_lanes, task * lanes, results);
      advanced(std::min(lanes, in_lanes.size() - task * lanes));
    } else {
      const int c = alone[task - tiles];
      solve_alone(static_cast<std::size_t>(c), contingencies[c], results[c]);
      advanced(1);
    }
  });
  return results;
}

std::vector<Contingency> all_branches(const Network& network) {
  std::vector<Contingency> out;
  for (std::size_t k = 0; k < network.from_of_branch.size(); ++k)
    if (network.from_of_branch[k] >= 0) out.push_back({{static_cast<int>(k)}, {}, {}});
  return out;
}

std::vector<Contingency> all_generators(const Network& network) {
  std::vector<Contingency> out;
  for (std::size_t g = 0; g < network.node_of_gen.size(); ++g)
    if (network.node_of_gen[g] >= 0) out.push_back({{}, {static_cast<int>(g)}, {}});
  return out;
}

}  // namespace fachwerk::dpf
