#include <algorithm>
#include <numeric>
#include <set>

#include "area_factors.hpp"
#include "cli/error.hpp"

namespace fachwerk::dpf {
namespace {

// What all areas left, then what all rows did: an order that does not depend on the number of ranks.
template <class T>
std::vector<T> gather_in_order(const cluster::Communicator& world, const std::vector<T>& of_areas,
                               const std::vector<T>& of_rows) {
  std::vector<T> out = world.allgatherv(std::span<const T>(of_areas)).values;
  const std::vector<T> rows = world.allgatherv(std::span<const T>(of_rows)).values;
  out.insert(out.end(), rows.begin(), rows.end());
  return out;
}

}  // namespace

// The inner nodes of an area in elimination order, then the boundary nodes beside them.
struct SchurComplement::Inner {
  std::vector<int> node;  // of the system, by local place
  int pivots = 0;
  Pattern pattern;
  std::vector<int> source;  // place of every entry in the system's pattern, -1: a zero of the boundary
  std::unique_ptr<BlockFactor> factor = {};
  std::vector<int> left;  // places of the Schur complement's blocks in the filled pattern
};

SchurComplement::SchurComplement(const AreaSystem& system) : system_(&system) {
  cover();
  inner_.resize(system.own_areas().count);
  system.each_area([&](int a) { set_up_area(a); });
  set_up_boundary();
}

SchurComplement::~SchurComplement() = default;

std::size_t SchurComplement::boundary_blocks() const {
  return factor_ ? static_cast<std::size_t>(factor_->pattern().filled.entries()) : 0;
}

// Nodes with the most uncut edges to other areas first, until every such edge has an end in the set.
void SchurComplement::cover() {
  const AreaSystem& system = *system_;
  const Pattern& pattern = system.network().pattern;
  const int n = pattern.rows();
  number_.assign(static_cast<std::size_t>(n), -1);
  std::vector<int> open(static_cast<std::size_t>(n), 0);
  const auto each_tie = [&](int i, auto&& body) {
    for (int s = pattern.start[i]; s < pattern.start[i + 1]; ++s)
      if (system.area_of(pattern.column[s]) != system.area_of(i)) body(pattern.column[s]);
  };
  std::set<std::pair<int, int>> queue;  // (-open edges, node)
  for (int i = 0; i < n; ++i) {
    each_tie(i, [&](int) { ++open[i]; });
    if (open[i] > 0) queue.emplace(-open[i], i);
  }
  while (!queue.empty()) {
    const int i = queue.begin()->second;
    queue.erase(queue.begin());
    number_[i] = 0;
    each_tie(i, [&](int j) {
      if (number_[j] >= 0) return;
      queue.erase({-open[j], j});
      if (--open[j] > 0) queue.emplace(-open[j], j);
    });
  }
  for (int i = 0; i < n; ++i)
    if (number_[i] >= 0) {
      number_[i] = static_cast<int>(boundary_.size());
      boundary_.push_back(i);
    }
}

void SchurComplement::set_up_area(int area) {
  const AreaSystem& system = *system_;
  const Pattern& all = system.network().pattern;
  auto made = std::make_unique<Inner>();
  std::vector<int> inside, beside;
  for (int i = system.begin(area); i < system.end(area); ++i)
    if (number_[i] < 0) inside.push_back(i);
  for (const int i : inside)
    for (int s = all.start[i]; s < all.start[i + 1]; ++s)
      if (number_[all.column[s]] >= 0) beside.push_back(all.column[s]);
  std::ranges::sort(beside);
  beside.erase(std::unique(beside.begin(), beside.end()), beside.end());
  made->pivots = static_cast<int>(inside.size());
  std::vector<int> place(static_cast<std::size_t>(system.end(area) - system.begin(area)), -1);
  const auto local = [&](int node) {
    if (number_[node] < 0) return place[node - system.begin(area)];
    return made->pivots + static_cast<int>(std::ranges::lower_bound(beside, node) - beside.begin());
  };
  // Minimum degree of the inner nodes among themselves.
  for (std::size_t k = 0; k < inside.size(); ++k)
    place[inside[k] - system.begin(area)] = static_cast<int>(k);
  Pattern among;
  for (const int i : inside) {
    for (int s = all.start[i]; s < all.start[i + 1]; ++s)
      if (number_[all.column[s]] < 0) {
        if (all.column[s] == i) among.diagonal.push_back(among.entries());
        among.column.push_back(local(all.column[s]));
      }
    among.start.push_back(among.entries());
  }
  if (!inside.empty())
    for (const int k : minimum_degree(among))
      made->node.push_back(inside[k]);
  for (std::size_t k = 0; k < made->node.size(); ++k)
    place[made->node[k] - system.begin(area)] = static_cast<int>(k);
  made->node.insert(made->node.end(), beside.begin(), beside.end());
  std::vector<std::pair<int, int>> row;
  for (int k = 0; k < static_cast<int>(made->node.size()); ++k) {
    const int i = made->node[k];
    row.clear();
    for (int s = all.start[i]; s < all.start[i + 1]; ++s) {
      const int j = all.column[s];
      const bool inner = number_[j] < 0 && system.area_of(j) == area;
      if (inner || (k < made->pivots && number_[j] >= 0)) row.emplace_back(local(j), s);
    }
    if (k >= made->pivots) row.emplace_back(k, -1);
    std::ranges::sort(row);
    for (const auto& [column, s] : row) {
      if (column == k) made->pattern.diagonal.push_back(made->pattern.entries());
      made->pattern.column.push_back(column);
      made->source.push_back(s);
    }
    made->pattern.start.push_back(made->pattern.entries());
  }
  made->factor = std::make_unique<BlockFactor>(made->pattern, made->pivots);
  const Pattern& filled = made->factor->pattern().filled;
  for (int k = made->pivots; k < filled.rows(); ++k)
    for (int s = filled.start[k]; s < filled.start[k + 1]; ++s)
      if (filled.column[s] >= made->pivots) made->left.push_back(s);
  inner_[static_cast<std::size_t>(area) - system.own_areas().begin] = std::move(made);
}

// The pattern from what every area leaves and the rows of J between boundary nodes; the same order of blocks is
// gathered at every factorisation.
void SchurComplement::set_up_boundary() {
  const AreaSystem& system = *system_;
  const Pattern& all = system.network().pattern;
  std::vector<int> pairs, row_pairs;  // (row, column) of every block of this rank, in `boundary_`
  for (const auto& inner : inner_) {
    const Pattern& filled = inner->factor->pattern().filled;
    for (int k = inner->pivots; k < filled.rows(); ++k)
      for (int s = filled.start[k]; s < filled.start[k + 1]; ++s)
        if (filled.column[s] >= inner->pivots)
          pairs.insert(pairs.end(), {number_[inner->node[k]], number_[inner->node[filled.column[s]]]});
    inner_blocks_ += static_cast<std::size_t>(filled.entries());
  }
  for (int i = system.first(); i < system.last(); ++i)
    for (int s = all.start[i]; number_[i] >= 0 && s < all.start[i + 1]; ++s)
      if (number_[all.column[s]] >= 0) row_pairs.insert(row_pairs.end(), {number_[i], number_[all.column[s]]});
  inner_blocks_ = system.world().allreduce_value(inner_blocks_);
  pairs = gather_in_order(system.world(), pairs, row_pairs);
  const auto n = static_cast<int>(boundary_.size());
  if (n == 0) return;
  const auto pattern_in = [&](const std::vector<int>& place) {
    std::vector<std::vector<int>> rows(static_cast<std::size_t>(n));
    for (std::size_t k = 0; k < pairs.size(); k += 2)
      rows[place[pairs[k]]].push_back(place[pairs[k + 1]]);
    Pattern out;
    for (int i = 0; i < n; ++i) {
      std::ranges::sort(rows[i]);
      rows[i].erase(std::unique(rows[i].begin(), rows[i].end()), rows[i].end());
      out.diagonal.push_back(out.entries() + static_cast<int>(std::ranges::lower_bound(rows[i], i) - rows[i].begin()));
      out.column.insert(out.column.end(), rows[i].begin(), rows[i].end());
      out.start.push_back(out.entries());
    }
    return out;
  };
  place_.resize(static_cast<std::size_t>(n));
  std::iota(place_.begin(), place_.end(), 0);
  const std::vector<int> order = minimum_degree(pattern_in(place_));
  for (int k = 0; k < n; ++k)
    place_[order[k]] = k;
  pattern_ = pattern_in(place_);
  for (std::size_t k = 0; k < pairs.size(); k += 2)
    scatter_.push_back(pattern_.position(place_[pairs[k]], place_[pairs[k + 1]]));
  factor_ = std::make_unique<BlockFactor>(pattern_);
}

bool SchurComplement::factor(std::span<const Block> j, std::span<const Complex> v) {
  const AreaSystem& system = *system_;
  const Network& network = system.network();
  const Problem problem = system.problem();
  const Pattern& all = network.pattern;
  const int offset = all.start[system.first()];
  // Rows of boundary nodes may belong to other ranks: their blocks beside inner nodes follow from the voltages.
  const auto block = [&](int i, int s) -> Block {
    if (s < 0) return {};
    if (i >= system.first() && i < system.last()) return j[s - offset];
    const int column = all.column[s];
    return jacobian_block(problem, i, column, v[i] * std::conj(network.y[s] * v[column]));
  };
  std::vector<double> singular = system.gather(1, [&](int a, std::span<double> failed) {
    Inner& inner = *inner_[static_cast<std::size_t>(a) - system.own_areas().begin];
    std::vector<Block> values(inner.source.size());
    for (int k = 0; k < inner.pattern.rows(); ++k)
      for (int s = inner.pattern.start[k]; s < inner.pattern.start[k + 1]; ++s)
        values[s] = block(inner.node[k], inner.source[s]);
    failed[0] = inner.factor->factor(values) ? 0 : 1;
  });
  if (std::ranges::find(singular, 1.0) != singular.end()) return false;
  if (!factor_) return true;
  std::vector<Block> blocks, row_blocks;
  for (const auto& inner : inner_)
    for (const int s : inner->left)
      blocks.push_back(inner->factor->values()[s]);
  for (int i = system.first(); i < system.last(); ++i)
    for (int s = all.start[i]; number_[i] >= 0 && s < all.start[i + 1]; ++s)
      if (number_[all.column[s]] >= 0) row_blocks.push_back(j[s - offset]);
  blocks = gather_in_order(system.world(), blocks, row_blocks);
  std::vector<Block> values(static_cast<std::size_t>(pattern_.entries()), Block{});
  for (std::size_t k = 0; k < blocks.size(); ++k)
    for (std::size_t c = 0; c < 4; ++c)
      values[scatter_[k]][c] += blocks[k][c];
  return factor_->factor(values);
}

void SchurComplement::solve(std::span<const double> r, std::span<double> x) const {
  const AreaSystem& system = *system_;
  std::vector<std::vector<double>> local(inner_.size());
  system.each_area([&](int a) {
    const std::size_t k = static_cast<std::size_t>(a) - system.own_areas().begin;
    const Inner& inner = *inner_[k];
    local[k].assign(2 * inner.node.size(), 0.0);
    for (int i = 0; i < inner.pivots; ++i)
      for (int half = 0; half < 2; ++half)
        local[k][2 * i + half] = r[2 * (inner.node[i] - system.first()) + half];
    inner.factor->eliminate(local[k]);
  });
  std::vector<double> right;
  if (factor_) {
    struct Share {
      int node, half;
      double value;
    };
    std::vector<Share> shares, row_shares;
    for (std::size_t k = 0; k < inner_.size(); ++k)
      for (std::size_t i = static_cast<std::size_t>(inner_[k]->pivots); i < inner_[k]->node.size(); ++i)
        for (int half = 0; half < 2; ++half)
          shares.push_back({number_[inner_[k]->node[i]], half, local[k][2 * i + static_cast<std::size_t>(half)]});
    for (const int i : boundary_)
      for (int half = 0; half < 2 && i >= system.first() && i < system.last(); ++half)
        row_shares.push_back({number_[i], half, r[2 * (i - system.first()) + half]});
    shares = gather_in_order(system.world(), shares, row_shares);
    right.assign(2 * boundary_.size(), 0.0);
    for (const Share& share : shares)
      right[2 * place_[share.node] + share.half] += share.value;
    factor_->solve(right);
  }
  system.each_area([&](int a) {
    const std::size_t k = static_cast<std::size_t>(a) - system.own_areas().begin;
    const Inner& inner = *inner_[k];
    for (std::size_t i = static_cast<std::size_t>(inner.pivots); i < inner.node.size(); ++i)
      for (int half = 0; half < 2; ++half)
        local[k][2 * i + static_cast<std::size_t>(half)] = right[2 * place_[number_[inner.node[i]]] + half];
    inner.factor->substitute(local[k]);
    for (int i = 0; i < inner.pivots; ++i)
      for (int half = 0; half < 2; ++half)
        x[2 * (inner.node[i] - system.first()) + half] = local[k][2 * i + half];
  });
  for (const int i : boundary_)
    for (int half = 0; half < 2 && i >= system.first() && i < system.last(); ++half)
      x[2 * (i - system.first()) + half] = right[2 * place_[number_[i]] + half];
}

}  // namespace fachwerk::dpf
