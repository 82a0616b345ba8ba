#include "area_system.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "cli/error.hpp"
#include "compute/parallel.hpp"

namespace fachwerk::dpf {

AreaSystem::AreaSystem(const Problem& problem, std::span<const int> area, const cluster::Communicator& world)
    : world_(world) {
  number(problem, area);
  const auto ranks = static_cast<std::size_t>(world.size());
  own_ = cluster::block_of(static_cast<std::size_t>(areas()), ranks, static_cast<std::size_t>(world.rank()));
  find_neighbours();
}

void AreaSystem::number(const Problem& problem, std::span<const int> area) {
  const Network& given = *problem.network;
  const int n = given.nodes();
  std::vector<int> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](int i) { return std::pair(area[i], given.bus_of_node[i]); });
  place_.resize(order.size());
  for (int k = 0; k < n; ++k)
    place_[order[k]] = k;
  const auto take = [&](const auto& from, auto& to) {
    to.clear();
    if (from.empty()) return;
    for (const int i : order)
      to.push_back(from[i]);
  };
  take(area, area_);
  take(given.bus_of_node, network_.bus_of_node);
  take(problem.type, network_.type);
  take(given.island, network_.island);
  take(problem.p, network_.p);
  take(problem.q, network_.q);
  take(problem.zip, network_.zip);
  take(problem.set_point, network_.set_point);
  network_.islands = given.islands;
  network_.base_mva = given.base_mva;
  network_.pattern.diagonal.resize(order.size());
  std::vector<std::pair<int, int>> row;
  for (int k = 0; k < n; ++k) {
    row.clear();
    for (int s = given.pattern.start[order[k]]; s < given.pattern.start[order[k] + 1]; ++s)
      row.emplace_back(place_[given.pattern.column[s]], s);
    std::ranges::sort(row);
    for (const auto& [column, s] : row) {
      if (column == k) network_.pattern.diagonal[k] = network_.pattern.entries();
      network_.pattern.column.push_back(column);
      network_.y.push_back(problem.y[s]);
    }
    network_.pattern.start.push_back(network_.pattern.entries());
  }
  // Added up as the Ybus of an area alone would be, so that copies of a grid agree in every bit.
  inner_.assign(order.size(), 0.0);
  for (std::size_t k = 0; k < given.slots.size(); ++k) {
    const int f = given.from_of_branch[k], t = given.to_of_branch[k];
    if (f < 0 || area[f] != area[t]) continue;
    inner_[place_[f]] += given.admittance[k].ff;
    inner_[place_[t]] += given.admittance[k].tt;
  }
  for (int i = 0; i < n; ++i)
    inner_[place_[i]] += given.shunt[i];
  start_.assign(static_cast<std::size_t>(n == 0 ? 0 : area_.back() + 1) + 1, 0);
  for (const int a : area_)
    ++start_[a + 1];
  std::partial_sum(start_.begin(), start_.end(), start_.begin());
}

// Every rank knows the whole graph, so each finds alone what it has to send and what it will get.
void AreaSystem::find_neighbours() {
  const auto ranks = static_cast<std::size_t>(world_.size());
  send_count_.assign(ranks, 0);
  receive_count_.assign(ranks, 0);
  if (ranks == 1) return;
  const auto rank_of = [&](int node) {
    return cluster::owner_of(static_cast<std::size_t>(area_[node]), static_cast<std::size_t>(areas()), ranks);
  };
  const auto me = static_cast<std::size_t>(world_.rank());
  std::vector<std::vector<int>> out(ranks), in(ranks);
  for (int i = first(); i < last(); ++i)
    for (int s = network_.pattern.start[i]; s < network_.pattern.start[i + 1]; ++s) {
      const int j = network_.pattern.column[s];
      if (const std::size_t other = rank_of(j); other != me) {
        out[other].push_back(i);
        in[other].push_back(j);
      }
    }
  for (std::size_t r = 0; r < ranks; ++r)
    for (auto* list : {&out[r], &in[r]}) {
      std::ranges::sort(*list);
      list->erase(std::unique(list->begin(), list->end()), list->end());
    }
  for (std::size_t r = 0; r < ranks; ++r) {
    send_.insert(send_.end(), out[r].begin(), out[r].end());
    receive_.insert(receive_.end(), in[r].begin(), in[r].end());
    send_count_[r] = out[r].size();
    receive_count_[r] = in[r].size();
  }
}

void AreaSystem::each_area(const std::function<void(int)>& body) const {
  constexpr std::size_t worth_threads = 10000;  // below, starting them costs more than they save
  if (size() < worth_threads)
    for (std::size_t i = 0; i < own_.count; ++i)
      body(static_cast<int>(own_.begin + i));
  else
    compute::parallel_tasks(own_.count, [&](std::size_t i) { body(static_cast<int>(own_.begin + i)); });
}

std::vector<double> AreaSystem::gather(std::size_t width,
                                       const std::function<void(int, std::span<double>)>& part) const {
  std::vector<double> mine(own_.count * width, 0.0);
  each_area([&](int area) {
    part(area, std::span(mine).subspan((static_cast<std::size_t>(area) - own_.begin) * width, width));
  });
  if (world_.size() == 1) return mine;
  return world_.allgatherv(std::span<const double>(mine)).values;
}

std::vector<double> AreaSystem::sum(std::size_t width, const std::function<void(int, std::span<double>)>& part) const {
  const std::vector<double> parts = gather(width, part);
  std::vector<double> total(width, 0.0);
  for (std::size_t k = 0; k < parts.size(); ++k)
    total[k % width] += parts[k];
  return total;
}

void AreaSystem::exchange(std::span<double> values) const {
  if (world_.size() == 1) return;
  std::vector<double> out;
  out.reserve(2 * send_.size());
  for (const int i : send_)
    out.insert(out.end(), {values[2 * i], values[2 * i + 1]});
  std::vector<std::size_t> counts;
  for (const std::size_t count : send_count_)
    counts.push_back(2 * count);
  const auto in = world_.alltoallv(std::span<const double>(out), counts);
  for (std::size_t k = 0; k < receive_.size(); ++k) {
    values[2 * receive_[k]] = in.values[2 * k];
    values[2 * receive_[k] + 1] = in.values[2 * k + 1];
  }
}

std::vector<double> AreaSystem::collect(std::span<const double> own) const {
  if (world_.size() == 1) return {own.begin(), own.end()};
  return world_.allgatherv(own).values;
}

double AreaSystem::mismatch(std::span<const Complex> v, std::span<const double> vm, std::span<double> f) const {
  const Problem here = problem();
  each_area([&](int a) {
    const auto offset = 2 * static_cast<std::size_t>(begin(a) - first());
    mismatch_rows(here, v, vm, begin(a), end(a), f.subspan(offset));
  });
  double worst = 0;
  for (const double x : f)
    worst = std::isfinite(x) ? std::max(worst, std::abs(x)) : std::numeric_limits<double>::infinity();
  return world_.allreduce_value(worst, cluster::Op::max);
}

void AreaSystem::jacobian(std::span<const Complex> v, std::span<const double> vm, std::span<Block> j) const {
  const Problem here = problem();
  const int offset = network_.pattern.start[first()];
  each_area([&](int a) {
    jacobian_rows(here, v, vm, begin(a), end(a),
                  j.subspan(static_cast<std::size_t>(network_.pattern.start[begin(a)] - offset)));
  });
}

void AreaSystem::product(std::span<const Block> j, std::span<const double> x, std::span<double> y) const {
  std::vector<double> all(2 * static_cast<std::size_t>(network_.nodes()));
  std::ranges::copy(x, all.begin() + 2 * first());
  exchange(all);
  const Pattern& pattern = network_.pattern;
  const int offset = pattern.start[first()];
  each_area([&](int a) {
    for (int i = begin(a); i < end(a); ++i) {
      double y0 = 0, y1 = 0;
      for (int s = pattern.start[i]; s < pattern.start[i + 1]; ++s) {
        const Block& b = j[s - offset];
        const double x0 = all[2 * pattern.column[s]], x1 = all[2 * pattern.column[s] + 1];
        y0 += b[0] * x0 + b[1] * x1;
        y1 += b[2] * x0 + b[3] * x1;
      }
      y[2 * (i - first())] = y0;
      y[2 * (i - first()) + 1] = y1;
    }
  });
}

}  // namespace fachwerk::dpf
