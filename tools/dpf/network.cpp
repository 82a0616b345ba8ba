#include "network.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "cli/error.hpp"
#include "factor.hpp"

namespace fachwerk::dpf {
namespace {

constexpr double radians = std::numbers::pi / 180;

class UnionFind {
 public:
  explicit UnionFind(int size) : parent_(static_cast<std::size_t>(size)) {
    std::iota(parent_.begin(), parent_.end(), 0);
  }
  int root(int i) {
    while (parent_[i] != i)
      i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void join(int i, int j) {
    i = root(i);
    j = root(j);
    if (i != j) parent_[std::max(i, j)] = std::min(i, j);  // the first row stands for all
  }

 private:
  std::vector<int> parent_;
};

bool zero_impedance(const Branches& branch, std::size_t k) {
  return branch.r[k] == 0 && branch.x[k] == 0;
}

// Everything about file rows that the network needs before nodes have numbers.
struct Draft {
  const Grid& grid;
  const NetworkOptions& options;
  std::map<std::int64_t, int> rows;
  std::vector<int> bus_from, bus_to, gen_bus;  // file rows, by branch and generator
  std::vector<char> branch_on, gen_on;
  std::vector<int> fused;      // representative file row of each bus row
  std::vector<NodeType> type;  // by representative row
  std::vector<NodeType> own;   // by bus row
  std::vector<int> leader;     // by representative row: the first of its strongest buses, which gives the voltage
  std::vector<int> component;  // of each bus row
  std::vector<char> live;      // by bus row
  std::vector<std::string> warnings;

  Draft(const Grid& g, const NetworkOptions& o) : grid(g), options(o), rows(bus_rows(g)) {
    put_in_service();
    fuse();
    find_components();
    correct_types();
    choose_references();
  }

  bool usable(int row) const { return grid.bus.type[row] != 4; }

  void put_in_service() {
    const std::size_t m = grid.branch.size();
    bus_from.resize(m);
    bus_to.resize(m);
    branch_on.resize(m);
    for (std::size_t k = 0; k < m; ++k) {
      bus_from[k] = rows.at(grid.branch.from[k]);
      bus_to[k] = rows.at(grid.branch.to[k]);
      branch_on[k] = grid.branch.status[k] > 0 && usable(bus_from[k]) && usable(bus_to[k]);
      if (branch_on[k] && zero_impedance(grid.branch, k) && !options.merge_zero_impedance)
        throw bad_input("branch row {} ({}-{}): r and x are both 0", k + 1, grid.branch.from[k], grid.branch.to[k])
            .with_hint("--zero-impedance merge fuses its two buses");
    }
    gen_bus.resize(grid.gen.size());
    gen_on.resize(grid.gen.size());
    for (std::size_t g = 0; g < grid.gen.size(); ++g) {
      gen_bus[g] = rows.at(grid.gen.bus[g]);
      gen_on[g] = grid.gen.status[g] > 0 && usable(gen_bus[g]);
    }
  }

  void fuse() {
    UnionFind sets(static_cast<int>(grid.bus.size()));
    for (std::size_t k = 0; k < grid.branch.size(); ++k)
      if (branch_on[k] && zero_impedance(grid.branch, k)) sets.join(bus_from[k], bus_to[k]);
    fused.resize(grid.bus.size());
    for (std::size_t i = 0; i < fused.size(); ++i)
      fused[i] = sets.root(static_cast<int>(i));
  }

  void find_components() {
    std::vector<std::pair<int, int>> edges;
    for (std::size_t k = 0; k < grid.branch.size(); ++k)
      if (branch_on[k]) edges.emplace_back(bus_from[k], bus_to[k]);
    component = components(static_cast<int>(grid.bus.size()), edges);
  }

  // A controlled bus needs a generator in service; a fused node takes the strongest type of its buses.
  void correct_types() {
    type.assign(grid.bus.size(), NodeType::pq);
    own = type;
    leader = fused;
    std::vector<char> has_generator(grid.bus.size(), 0);
    for (std::size_t g = 0; g < gen_on.size(); ++g)
      if (gen_on[g]) has_generator[gen_bus[g]] = 1;
    for (std::size_t i = 0; i < grid.bus.size(); ++i) {
      if (!usable(static_cast<int>(i)) || !has_generator[i]) continue;
      own[i] = grid.bus.type[i] == 3 ? NodeType::reference : grid.bus.type[i] == 2 ? NodeType::pv : NodeType::pq;
      if (own[i] <= type[fused[i]]) continue;
      type[fused[i]] = own[i];
      leader[fused[i]] = static_cast<int>(i);
    }
  }

  void choose_references() {
    const std::size_t n = grid.bus.size();
    std::vector<double> capacity(n, 0.0);
    std::vector<char> source(n, 0), referenced(n, 0);
    for (std::size_t g = 0; g < gen_on.size(); ++g)
      if (gen_on[g]) {
        capacity[fused[gen_bus[g]]] += std::isnan(grid.gen.pmax[g]) ? 0 : grid.gen.pmax[g];
        source[fused[gen_bus[g]]] = 1;
      }
    std::vector<int> best(n, -1);  // by component
    const auto better = [&](int i, int j) {
      if (type[i] != type[j]) return type[i] > type[j];  // a PV bus before a PQ bus that has a generator
      if (options.first_reference) return i < j;
      if (capacity[i] != capacity[j]) return capacity[i] > capacity[j];
      return grid.bus.id[i] < grid.bus.id[j];
    };
    for (int i = 0; i < static_cast<int>(n); ++i) {
      if (fused[i] != i || !usable(i)) continue;
      const int c = component[i];
      if (type[i] == NodeType::reference) referenced[c] = 1;
      if (source[i] && !options.drop_unreferenced && (best[c] < 0 || better(i, best[c]))) best[c] = i;
    }
    live.assign(n, 0);
    for (int i = 0; i < static_cast<int>(n); ++i)
      live[i] = usable(i) && (referenced[component[i]] || best[component[i]] >= 0);
    for (int c = 0; c < static_cast<int>(n); ++c)
      if (!referenced[c] && best[c] >= 0) {
        type[best[c]] = NodeType::reference;
        warnings.push_back(fmt::format("no reference bus in the island of bus {}: bus {} becomes one",
                                       grid.bus.id[best[c]], grid.bus.id[best[c]]));
      }
  }
};

Pattern pattern_of(int nodes, const std::vector<std::pair<int, int>>& edges) {
  std::vector<std::vector<int>> neighbours(static_cast<std::size_t>(nodes));
  for (int i = 0; i < nodes; ++i)
    neighbours[i].push_back(i);
  for (const auto& [i, j] : edges) {
    neighbours[i].push_back(j);
    neighbours[j].push_back(i);
  }
  Pattern pattern;
  pattern.start.reserve(static_cast<std::size_t>(nodes) + 1);
  pattern.diagonal.resize(static_cast<std::size_t>(nodes));
  for (int i = 0; i < nodes; ++i) {
    auto& row = neighbours[i];
    std::ranges::sort(row);
    row.erase(std::unique(row.begin(), row.end()), row.end());
    pattern.diagonal[i] = pattern.entries() + static_cast<int>(std::ranges::lower_bound(row, i) - row.begin());
    pattern.column.insert(pattern.column.end(), row.begin(), row.end());
    pattern.start.push_back(pattern.entries());
  }
  return pattern;
}

void number_nodes(const Draft& draft, Network& network) {
  const auto& grid = draft.grid;
  const int buses = static_cast<int>(grid.bus.size());
  std::vector<int> first(static_cast<std::size_t>(buses), -1), rows;
  for (int i = 0; i < buses; ++i)
    if (draft.live[i] && draft.fused[i] == i) {
      first[i] = static_cast<int>(rows.size());
      rows.push_back(i);
    }
  if (rows.empty())
    throw bad_input("bus: no bus can be solved: there is no generator in service from which a reference could be made");
  std::vector<std::pair<int, int>> edges;
  for (std::size_t k = 0; k < grid.branch.size(); ++k) {
    if (!draft.branch_on[k] || !draft.live[draft.bus_from[k]]) continue;
    const int f = first[draft.fused[draft.bus_from[k]]], t = first[draft.fused[draft.bus_to[k]]];
    if (f != t) edges.emplace_back(f, t);
  }
  const int nodes = static_cast<int>(rows.size());
  const std::vector<int> order = minimum_degree(pattern_of(nodes, edges));
  std::vector<int> place(rows.size());
  network.bus_of_node.resize(rows.size());
  for (int k = 0; k < nodes; ++k) {
    place[order[k]] = k;
    network.bus_of_node[k] = rows[order[k]];
  }
  for (auto& [i, j] : edges) {
    i = place[i];
    j = place[j];
  }
  network.pattern = pattern_of(nodes, edges);
  network.island = components(nodes, edges);
  network.islands = 1 + *std::ranges::max_element(network.island);
  network.node_of_bus.assign(static_cast<std::size_t>(buses), -1);
  for (int i = 0; i < buses; ++i)
    if (draft.live[i]) network.node_of_bus[i] = place[first[draft.fused[i]]];
}

void specify(const Draft& draft, Network& network) {
  const Grid& grid = draft.grid;
  const std::size_t n = network.bus_of_node.size();
  network.type.resize(n);
  network.vm.resize(n);
  network.va.resize(n);
  for (std::size_t k = 0; k < n; ++k) {
    network.type[k] = draft.type[network.bus_of_node[k]];
    const int row = draft.leader[network.bus_of_node[k]];
    const bool known = std::isfinite(grid.bus.vm[row]) && std::isfinite(grid.bus.va[row]) && grid.bus.vm[row] > 0;
    network.vm[k] = known ? grid.bus.vm[row] : 1;
    network.va[k] = known ? grid.bus.va[row] * radians : 0;
  }
  network.node_of_gen.assign(grid.gen.size(), -1);
  network.sets_voltage.assign(grid.gen.size(), 0);
  std::vector<int> last(n, -1);  // in-service generator at the node's strongest buses
  for (std::size_t g = 0; g < grid.gen.size(); ++g) {
    const int bus = draft.gen_bus[g];
    if (!draft.gen_on[g] || !draft.live[bus]) continue;
    const int k = network.node_of_gen[g] = network.node_of_bus[bus];
    if (draft.own[bus] == draft.own[draft.leader[draft.fused[bus]]]) last[k] = static_cast<int>(g);
  }
  for (const int g : last)
    if (g >= 0) network.sets_voltage[g] = 1;
  specify_injections(network, grid);
  for (std::size_t k = 0; k < n; ++k)
    if (network.type[k] != NodeType::pq) network.vm[k] = network.set_point[k];
}

void place_branches(const Draft& draft, Network& network) {
  const std::size_t m = draft.grid.branch.size();
  network.admittance.assign(m, {});
  network.slots.assign(m, {-1, -1, -1, -1});
  network.from_of_branch.assign(m, -1);
  network.to_of_branch.assign(m, -1);
  for (std::size_t k = 0; k < m; ++k) {
    if (!draft.branch_on[k] || !draft.live[draft.bus_from[k]]) continue;
    const int f = network.node_of_bus[draft.bus_from[k]], t = network.node_of_bus[draft.bus_to[k]];
    if (f == t) {
      network.closed.emplace_back(static_cast<int>(k), f);
      continue;
    }
    network.from_of_branch[k] = f;
    network.to_of_branch[k] = t;
    network.admittance[k] = branch_admittance(draft.grid.branch, k);
    const Pattern& pattern = network.pattern;
    network.slots[k] = {pattern.diagonal[f], pattern.position(f, t), pattern.position(t, f), pattern.diagonal[t]};
  }
}

}  // namespace

int Pattern::position(int i, int j) const {
  const auto first = column.begin() + start[i], last = column.begin() + start[i + 1];
  const auto found = std::lower_bound(first, last, j);
  return found != last && *found == j ? static_cast<int>(found - column.begin()) : -1;
}

BranchAdmittance branch_admittance(const Branches& branch, std::size_t row) {
  const Complex series = 1.0 / Complex(branch.r[row], branch.x[row]);
  const double ratio = branch.tap[row] == 0 ? 1 : branch.tap[row];
  const Complex tap = std::polar(ratio, branch.shift[row] * radians);
  Complex from(0, branch.b[row] / 2), to = from;
  if (!branch.end_y.empty()) {
    from += branch.end_y[row][0];
    to += branch.end_y[row][1];
  }
  return {(series + from) / (ratio * ratio), -series / std::conj(tap), -series / tap, series + to};
}

Complex closed_branch_admittance(const Branches& branch, std::size_t row) {
  if (branch.r[row] != 0 || branch.x[row] != 0) {
    const BranchAdmittance y = branch_admittance(branch, row);
    return y.ff + y.ft + y.tf + y.tt;
  }
  if ((branch.tap[row] != 0 && branch.tap[row] != 1) || branch.shift[row] != 0)
    throw bad_input("branch row {}: r and x are both 0 and there is a tap or a shift: its buses cannot be fused",
                    row + 1);
  const Complex ends = branch.end_y.empty() ? Complex(0) : branch.end_y[row][0] + branch.end_y[row][1];
  return ends + Complex(0, branch.b[row]);
}

int Network::unknowns() const {
  int count = 0;
  for (const NodeType t : type)
    count += t == NodeType::pq ? 2 : t == NodeType::pv ? 1 : 0;
  return count;
}

void add_dependence(const std::array<double, 6>& share, double pd, double qd, VoltageDependence& out) {
  out.p_current += pd * share[1];
  out.p_impedance += pd * share[2];
  out.q_current += qd * share[4];
  out.q_impedance += qd * share[5];
}

std::vector<int> components(int nodes, const std::vector<std::pair<int, int>>& edges) {
  UnionFind sets(nodes);
  for (const auto& [i, j] : edges)
    sets.join(i, j);
  std::vector<int> component(static_cast<std::size_t>(nodes)), number(static_cast<std::size_t>(nodes), -1);
  int count = 0;
  for (int i = 0; i < nodes; ++i) {
    int& c = number[sets.root(i)];
    if (c < 0) c = count++;
    component[i] = c;
  }
  return component;
}

void specify_injections(Network& network, const Grid& grid) {
  const std::size_t n = network.bus_of_node.size();
  const double base = grid.base_mva;
  network.set_point.assign(n, 1.0);
  network.p.assign(n, 0.0);
  network.q.assign(n, 0.0);
  network.zip.assign(grid.bus.zip.empty() ? 0 : n, {});
  network.lost_load_mw = 0;
  for (std::size_t i = 0; i < grid.bus.size(); ++i) {
    const int k = network.node_of_bus[i];
    const double pd = grid.bus.pd[i] / base, qd = grid.bus.qd[i] / base;
    if (k < 0) {
      network.lost_load_mw += grid.bus.pd[i];
      continue;
    }
    if (network.zip.empty()) {
      network.p[k] -= pd;
      network.q[k] -= qd;
      continue;
    }
    const auto& share = grid.bus.zip[i];
    network.p[k] -= pd * share[0];
    network.q[k] -= qd * share[3];
    add_dependence(share, pd, qd, network.zip[k]);
  }
  for (std::size_t g = 0; g < grid.gen.size(); ++g) {
    const int k = network.node_of_gen[g];
    if (k < 0) continue;
    network.p[k] += grid.gen.pg[g] / base;
    network.q[k] += grid.gen.qg[g] / base;
    if (network.sets_voltage[g]) network.set_point[k] = grid.gen.vg[g];
  }
}

void assemble_admittance(Network& network, const Grid& grid) {
  network.y.assign(network.pattern.column.size(), 0.0);
  for (std::size_t k = 0; k < network.slots.size(); ++k) {
    const BranchSlots& s = network.slots[k];
    if (s.ff < 0) continue;
    const BranchAdmittance& a = network.admittance[k];
    network.y[s.ff] += a.ff;
    network.y[s.ft] += a.ft;
    network.y[s.tf] += a.tf;
    network.y[s.tt] += a.tt;
  }
  network.shunt.assign(network.type.size(), 0.0);
  for (std::size_t i = 0; i < grid.bus.size(); ++i)
    if (const int k = network.node_of_bus[i]; k >= 0)
      network.shunt[k] += Complex(grid.bus.gs[i], grid.bus.bs[i]) / grid.base_mva;
  for (const auto& [k, node] : network.closed)
    network.shunt[node] += closed_branch_admittance(grid.branch, static_cast<std::size_t>(k));
  for (std::size_t k = 0; k < network.type.size(); ++k)
    network.y[network.pattern.diagonal[k]] += network.shunt[k];
}

Network build_network(const Grid& grid, const NetworkOptions& options) {
  const Draft draft(grid, options);
  Network network;
  network.base_mva = grid.base_mva;
  network.warnings = draft.warnings;
  number_nodes(draft, network);
  specify(draft, network);
  place_branches(draft, network);
  assemble_admittance(network, grid);
  return network;
}

void distribute_slack(Network& network, const Grid& grid) {
  const std::size_t n = network.type.size();
  network.slack_weight.assign(n, 0.0);
  const bool factors = std::ranges::any_of(grid.gen.apf, [](double a) { return a > 0; });
  for (std::size_t g = 0; g < grid.gen.size(); ++g)
    if (const int k = network.node_of_gen[g]; k >= 0) {
      const double headroom = std::isfinite(grid.gen.pmax[g]) ? grid.gen.pmax[g] - grid.gen.pg[g] : 0;
      network.slack_weight[k] += std::max(0.0, factors ? grid.gen.apf[g] : headroom);
    }
  std::vector<double> total(static_cast<std::size_t>(network.islands), 0.0);
  std::vector<int> reference(static_cast<std::size_t>(network.islands), -1);
  for (std::size_t k = 0; k < n; ++k)
    total[network.island[k]] += network.slack_weight[k];
  for (const int k : network.node_of_bus) {  // in file order
    if (k < 0 || network.type[k] != NodeType::reference) continue;
    int& first = reference[network.island[k]];
    if (first < 0) first = k;
    if (first != k) network.type[k] = NodeType::pv;
  }
  for (std::size_t k = 0; k < n; ++k) {
    const int i = network.island[k];
    network.slack_weight[k] = total[i] > 0                          ? network.slack_weight[k] / total[i]
                              : static_cast<int>(k) == reference[i] ? 1.0
                                                                    : 0.0;
  }
}

std::vector<bool> bridges(const Network& network) {
  const int n = network.nodes();
  const std::size_t m = network.slots.size();
  // Adjacency with branch numbers, so that a parallel branch is another edge.
  std::vector<int> start(static_cast<std::size_t>(n) + 1, 0);
  for (std::size_t k = 0; k < m; ++k)
    if (network.from_of_branch[k] >= 0) {
      ++start[network.from_of_branch[k] + 1];
      ++start[network.to_of_branch[k] + 1];
    }
  std::partial_sum(start.begin(), start.end(), start.begin());
  std::vector<std::pair<int, int>> edge(static_cast<std::size_t>(start[n]));
  std::vector<int> next = start;
  for (std::size_t k = 0; k < m; ++k)
    if (const int f = network.from_of_branch[k], t = network.to_of_branch[k]; f >= 0) {
      edge[next[f]++] = {t, static_cast<int>(k)};
      edge[next[t]++] = {f, static_cast<int>(k)};
    }
  std::vector<bool> bridge(m, false);
  std::vector<int> entered(static_cast<std::size_t>(n), -1), low(static_cast<std::size_t>(n)),
      via(static_cast<std::size_t>(n), -1);
  next = start;
  int clock = 0;
  std::vector<int> stack;
  for (int root = 0; root < n; ++root) {
    if (entered[root] >= 0) continue;
    stack.push_back(root);
    entered[root] = low[root] = clock++;
    while (!stack.empty()) {
      const int i = stack.back();
      if (next[i] < start[i + 1]) {
        const auto [j, k] = edge[next[i]++];
        if (k == via[i]) continue;
        if (entered[j] >= 0) {
          low[i] = std::min(low[i], entered[j]);
        } else {
          via[j] = k;
          entered[j] = low[j] = clock++;
          stack.push_back(j);
        }
      } else {
        stack.pop_back();
        if (stack.empty()) continue;
        const int parent = stack.back();
        low[parent] = std::min(low[parent], low[i]);
        if (low[i] > entered[parent]) bridge[via[i]] = true;
      }
    }
  }
  return bridge;
}

}  // namespace fachwerk::dpf
