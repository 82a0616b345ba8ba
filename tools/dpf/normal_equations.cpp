#include "normal_equations.hpp"

#include <algorithm>

#include "linearisation.hpp"

namespace fachwerk::dpf {
namespace {

Pattern from_rows(std::vector<std::vector<int>>& rows) {
  Pattern out;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::ranges::sort(rows[i]);
    rows[i].erase(std::unique(rows[i].begin(), rows[i].end()), rows[i].end());
    out.diagonal.push_back(out.entries() +
                           static_cast<int>(std::ranges::lower_bound(rows[i], static_cast<int>(i)) - rows[i].begin()));
    out.column.insert(out.column.end(), rows[i].begin(), rows[i].end());
    out.start.push_back(out.entries());
  }
  return out;
}
Pattern square(const Pattern& a) {
  std::vector<std::vector<int>> rows(static_cast<std::size_t>(a.rows()));
  for (int i = 0; i < a.rows(); ++i)
    for (int s = a.start[i]; s < a.start[i + 1]; ++s) {
      const int j = a.column[s];
      rows[i].insert(rows[i].end(), a.column.begin() + a.start[j], a.column.begin() + a.start[j + 1]);
    }
  return from_rows(rows);
}
Pattern permute(const Pattern& a, const std::vector<int>& place) {
  std::vector<std::vector<int>> rows(static_cast<std::size_t>(a.rows()));
  for (int i = 0; i < a.rows(); ++i)
    for (int s = a.start[i]; s < a.start[i + 1]; ++s)
      rows[place[i]].push_back(place[a.column[s]]);
  return from_rows(rows);
}

}  // namespace

NormalEquations::NormalEquations(const Pattern& pattern) : given_(pattern) {
  const Pattern squared = square(pattern);
  const std::vector<int> order = minimum_degree(squared);
  place_.resize(order.size());
  for (std::size_t k = 0; k < order.size(); ++k)
    place_[order[k]] = static_cast<int>(k);
  permuted_ = permute(squared, place_);
  factor_.emplace(permuted_);
  values_.resize(permuted_.column.size());
  measure_.resize(2 * order.size());
}

void NormalEquations::clear() {
  std::ranges::fill(values_, Block{});
}

void NormalEquations::add(int i, int j, const Block& block) {
  Block& c = values_[permuted_.position(place_[i], place_[j])];
  for (std::size_t k = 0; k < 4; ++k)
    c[k] += block[k];
}

void NormalEquations::add_squares(std::span<const Block> jacobian, double weight) {
  for (int i = 0; i < given_.rows(); ++i)
    for (int s = given_.start[i]; s < given_.start[i + 1]; ++s)
      for (int t = given_.start[i]; t < given_.start[i + 1]; ++t) {
        const Block &a = jacobian[s], &b = jacobian[t];
        add(given_.column[s], given_.column[t],
            {weight * (a[0] * b[0] + a[2] * b[2]), weight * (a[0] * b[1] + a[2] * b[3]),
             weight * (a[1] * b[0] + a[3] * b[2]), weight * (a[1] * b[1] + a[3] * b[3])});
      }
}

void NormalEquations::measure_diagonal() {
  for (std::size_t i = 0; i < place_.size(); ++i)
    for (std::size_t half = 0; half < 2; ++half)
      measure_[2 * i + half] = values_[permuted_.diagonal[place_[i]]][3 * half];
}

// S_i = sum_j s_ij with
// s_ij = exp(u_i + u_j + j (a_i - a_j)) conj(Y_ij), u = ln|V|, a the angle: every derivative is s_ij times a
// constant.
void NormalEquations::add_curvature(const Problem& problem, const State& state, std::span<const double> f) {
  const auto is_free = [&](int node, int half) {
    return half == 0 ? problem.type[node] != NodeType::reference : problem.type[node] == NodeType::pq;
  };
  const auto add_free = [&](int i, int j, Block block) {
    for (int r = 0; r < 2; ++r)
      for (int k = 0; k < 2; ++k)
        if (!is_free(i, r) || !is_free(j, k)) block[2 * r + k] = 0;
    add(i, j, block);
  };
  for (int i = 0; i < given_.rows(); ++i)
    for (int k = given_.start[i]; k < given_.start[i + 1]; ++k) {
      const int j = given_.column[k];
      const Complex w = Complex(f[2 * i], -f[2 * i + 1]) * std::polar(state.vm[i], state.va[i]) *
                        std::conj(problem.y[k] * std::polar(state.vm[j], state.va[j]));
      const double re = w.real(), im = w.imag();
      if (i == j) {
        add_free(i, i, {0, 0, 0, 4 * re});
        continue;
      }
      add_free(i, i, {-re, -im, -im, re});
      add_free(j, j, {-re, im, im, re});
      add_free(i, j, {re, -im, im, re});
      add_free(j, i, {re, im, -im, re});
    }
}
bool NormalEquations::factor(double mu) {
  std::vector<Block> damped = values_;
  for (std::size_t i = 0; i < place_.size(); ++i)
    for (std::size_t half = 0; half < 2; ++half)
      damped[permuted_.diagonal[place_[i]]][3 * half] += mu * measure_[2 * i + half];
  return factor_->factor(damped);
}

void NormalEquations::solve(std::span<const double> rhs, std::span<double> x) const {
  std::vector<double> y(rhs.size());
  for (std::size_t i = 0; i < place_.size(); ++i)
    for (std::size_t half = 0; half < 2; ++half)
      y[2 * static_cast<std::size_t>(place_[i]) + half] = rhs[2 * i + half];
  factor_->solve(y);
  for (std::size_t i = 0; i < place_.size(); ++i)
    for (std::size_t half = 0; half < 2; ++half)
      x[2 * i + half] = y[2 * static_cast<std::size_t>(place_[i]) + half];
}

void NormalEquations::solve_columns(std::span<double> x, std::size_t columns) const {
  std::vector<double> y(x.size());
  const auto block = [columns](std::span<double> all, std::size_t node) {
    return all.subspan(2 * node * columns, 2 * columns);
  };
  for (std::size_t i = 0; i < place_.size(); ++i)
    std::ranges::copy(block(x, i), block(y, static_cast<std::size_t>(place_[i])).begin());
  dpf::solve_columns(*factor_, y, columns);
  for (std::size_t i = 0; i < place_.size(); ++i)
    std::ranges::copy(block(y, static_cast<std::size_t>(place_[i])), block(x, i).begin());
}

}  // namespace fachwerk::dpf
