#include "borders.hpp"

#include <algorithm>
#include <cmath>

namespace fachwerk::dpf {
namespace {

// The inverse of a k x k matrix by Gauss-Jordan elimination with pivoting; empty if it is singular.
std::vector<float> inverse(std::vector<double> a, std::size_t k) {
  std::vector<double> out(k * k, 0.0);
  for (std::size_t i = 0; i < k; ++i)
    out[i * k + i] = 1;
  for (std::size_t c = 0; c < k; ++c) {
    std::size_t pivot = c;
    double largest = 0, scale = 0;
    for (std::size_t r = 0; r < k; ++r)
      scale = std::max(scale, std::abs(a[r * k + c]));
    for (std::size_t r = c; r < k; ++r)
      if (std::abs(a[r * k + c]) > largest) largest = std::abs(a[r * k + c]), pivot = r;
    if (!(largest > 1e-7 * scale)) return {};  // NaN too
    for (std::size_t j = 0; j < k; ++j) {
      std::swap(a[c * k + j], a[pivot * k + j]);
      std::swap(out[c * k + j], out[pivot * k + j]);
    }
    const double factor = 1 / a[c * k + c];
    for (std::size_t j = 0; j < k; ++j) {
      a[c * k + j] *= factor;
      out[c * k + j] *= factor;
    }
    for (std::size_t r = 0; r < k; ++r) {
      const double times = a[r * k + c];
      if (r == c || times == 0) continue;
      for (std::size_t j = 0; j < k; ++j) {
        a[r * k + j] -= times * a[c * k + j];
        out[r * k + j] -= times * out[c * k + j];
      }
    }
  }
  return {out.begin(), out.end()};
}

bool is_magnitude(int slot) {
  return slot % 2 == 1;
}

}  // namespace

Borders::Borders(const Problem& problem, const State& base, const BlockFactor& factor)
    : problem_(problem), factor_(factor), borders_(2 * problem.type.size()) {
  const std::vector<NodeType> all_free(problem.type.size(), NodeType::pq);
  Problem whole = problem;
  whole.type = all_free;
  jacobian_.resize(problem.network->pattern.column.size());
  jacobian(whole, base, jacobian_);
}

bool Borders::in_factor(int slot) const {
  const NodeType type = problem_.type[slot / 2];
  return is_magnitude(slot) ? type == NodeType::pq : type != NodeType::reference;
}

const Border& Borders::of(int slot) {
  const std::lock_guard lock(mutex_);
  auto& border = borders_[slot];
  if (!border) border = make(slot);
  return *border;
}

std::unique_ptr<Border> Borders::make(int slot) const {
  const Pattern& pattern = problem_.network->pattern;
  const int node = slot / 2, half = slot % 2;
  auto out = std::make_unique<Border>();
  out->slot = slot;
  out->added = !in_factor(slot);
  std::vector<double> column(2 * problem_.type.size(), 0.0);
  out->row_slot.push_back(slot);
  out->row_value.push_back(-1);  // M^-1 b has the equation's right-hand side there, or the unknown that goes
  if (!out->added) column[slot] = 1;
  for (int k = pattern.start[node]; out->added && k < pattern.start[node + 1]; ++k) {
    const int other = pattern.column[k];
    const Block& down = jacobian_[pattern.position(other, node)];  // rows of the other node, columns of this one
    for (int part = 0; part < 2; ++part) {
      const int there = 2 * other + part;
      if (!in_factor(there)) continue;
      if (is_magnitude(slot)) column[there] = down[2 * part + 1];
      out->row_slot.push_back(there);
      out->row_value.push_back(static_cast<float>(jacobian_[k][2 * half + part]));
    }
  }
  if (!is_magnitude(slot))  // dF/dlambda = -w in the balances of P
    for (std::size_t i = 0; i < problem_.type.size(); ++i)
      if (problem_.network->island[i] == problem_.network->island[node] && in_factor(2 * static_cast<int>(i)))
        column[2 * i] = -problem_.slack_weight[i];
  factor_.solve(column);
  out->u.assign(column.begin(), column.end());
  return out;
}

double Borders::corner(int row, int column) const {
  const int i = row / 2, j = column / 2;
  if (!is_magnitude(column)) return row == column ? -problem_.slack_weight[i] : 0;
  const int at = problem_.network->pattern.position(i, j);
  return at < 0 ? 0 : jacobian_[at][2 * (row % 2) + 1];
}

TileBorders::TileBorders(Borders& borders, std::span<const std::vector<int>> slots) : singular_(slots.size()) {
  for (const auto& lane : slots)
    slot_.insert(slot_.end(), lane.begin(), lane.end());
  std::ranges::sort(slot_);
  slot_.erase(std::unique(slot_.begin(), slot_.end()), slot_.end());
  std::vector<const Border*> all;
  const std::size_t lanes = slots.size();
  mask_of_.assign(borders.problem().type.size(), -1);
  for (const int slot : slot_) {
    const Border& border = borders.of(slot);
    all.push_back(&border);
    u_.push_back(border.u.data());
    added_.push_back(border.added);
    row_slot_.insert(row_slot_.end(), border.row_slot.begin(), border.row_slot.end());
    row_value_.insert(row_value_.end(), border.row_value.begin(), border.row_value.end());
    row_start_.push_back(static_cast<int>(row_slot_.size()));
    if (!is_magnitude(slot)) continue;
    mask_of_[slot / 2] = static_cast<int>(mask_.size() / lanes);
    for (const auto& lane : slots)
      mask_.push_back(std::ranges::binary_search(lane, slot) == border.added ? 1 : 0);
  }
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    const std::size_t size = slots[lane].size(), first = lane_border_.size();
    for (const int slot : slots[lane])
      lane_border_.push_back(static_cast<int>(std::ranges::lower_bound(slot_, slot) - slot_.begin()));
    lane_start_.push_back(static_cast<int>(lane_border_.size()));
    std::vector<double> s(size * size);
    for (std::size_t k = 0; k < size; ++k)
      for (std::size_t j = 0; j < size; ++j) {
        const Border &row = *all[lane_border_[first + k]], &column = *all[lane_border_[first + j]];
        double sum = row.added && column.added ? borders.corner(row.slot, column.slot) : 0;
        for (std::size_t e = 0; e < row.row_slot.size(); ++e)
          sum -= static_cast<double>(row.row_value[e]) * static_cast<double>(column.u[row.row_slot[e]]);
        s[k * size + j] = sum;
      }
    inverse_.push_back(inverse(std::move(s), size));
    singular_[lane] = size > 0 && inverse_.back().empty();
    if (singular_[lane]) inverse_.back().assign(size * size, 0.0F);
  }
  for (const auto& one : inverse_)
    inverse_of_.push_back(one.data());
  view_ = {.count = static_cast<int>(slot_.size()),
           .slot = slot_.data(),
           .u = u_.data(),
           .row_start = row_start_.data(),
           .row_slot = row_slot_.data(),
           .row_value = row_value_.data(),
           .added = added_.data(),
           .lane_start = lane_start_.data(),
           .lane_border = lane_border_.data(),
           .inverse = inverse_of_.data(),
           .mask_of = mask_of_.data(),
           .mask = mask_.data()};
}

}  // namespace fachwerk::dpf
