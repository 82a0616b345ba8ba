#include "linearisation.hpp"

#include <algorithm>
#include <cmath>

#include "compute/parallel.hpp"

namespace fachwerk::dpf {
namespace {

constexpr std::size_t tile = 64;  // columns that a thread solves side by side

// row(i) -= v row(j) for a block of two rows each, `count` columns from `x` on.
void subtract(const Block& v, double* __restrict own, const double* __restrict other, std::size_t stride,
              std::size_t count) {
  double* __restrict own1 = own + stride;
  const double* __restrict other1 = other + stride;
  for (std::size_t c = 0; c < count; ++c) {
    own[c] -= v[0] * other[c] + v[1] * other1[c];
    own1[c] -= v[2] * other[c] + v[3] * other1[c];
  }
}

void solve_tile(const BlockFactor& factor, double* x, std::size_t stride, std::size_t count) {
  const Pattern& filled = factor.pattern().filled;
  const auto values = factor.values(), inverse = factor.inverse_diagonal();
  const int n = filled.rows();
  const auto row = [&](int i) { return x + 2 * static_cast<std::size_t>(i) * stride; };
  for (int i = 0; i < n; ++i)
    for (int s = filled.start[i]; s < filled.diagonal[i]; ++s)
      subtract(values[s], row(i), row(filled.column[s]), stride, count);
  for (int i = n - 1; i >= 0; --i) {
    for (int s = filled.diagonal[i] + 1; s < filled.start[i + 1]; ++s)
      subtract(values[s], row(i), row(filled.column[s]), stride, count);
    const Block& d = inverse[i];
    double *upper = row(i), *lower = upper + stride;
    for (std::size_t c = 0; c < count; ++c) {
      const double x0 = upper[c], x1 = lower[c];
      upper[c] = d[0] * x0 + d[1] * x1;
      lower[c] = d[2] * x0 + d[3] * x1;
    }
  }
}

double largest(std::span<const double> x) {
  double out = 0;
  for (const double value : x)
    out = std::max(out, std::abs(value));
  return out;
}

}  // namespace

void solve_columns(const BlockFactor& factor, std::span<double> x, std::size_t columns) {
  if (columns == 1) return factor.solve(x);
  // In memory of its own a tile's columns are neighbours: they stay in cache.
  const std::size_t rows = columns == 0 ? 0 : x.size() / columns;
  compute::parallel_tasks((columns + tile - 1) / tile, [&](std::size_t t) {
    const std::size_t first = t * tile, count = std::min(tile, columns - first);
    std::vector<double> part(rows * count);
    for (std::size_t i = 0; i < rows; ++i)
      std::copy_n(x.begin() + static_cast<std::ptrdiff_t>(i * columns + first), count,
                  part.begin() + static_cast<std::ptrdiff_t>(i * count));
    solve_tile(factor, part.data(), count, count);
    for (std::size_t i = 0; i < rows; ++i)
      std::copy_n(part.begin() + static_cast<std::ptrdiff_t>(i * count), count,
                  x.begin() + static_cast<std::ptrdiff_t>(i * columns + first));
  });
}

Linearisation::Linearisation(Newton& newton, const Problem& problem, const State& state)
    : problem_(problem), factor_(&newton.factor_at(problem, state)), jacobian_(problem.network->pattern.column.size()) {
  jacobian(problem, state, jacobian_);
  if (!problem.slack_weight.empty()) border(state);
}

void Linearisation::border(const State& state) {
  const Network& network = *problem_.network;
  const Pattern& pattern = network.pattern;
  weight_.assign(2 * problem_.type.size(), 0.0);
  by_row_ = weight_;
  borders_.assign(static_cast<std::size_t>(network.islands), {-1, 0, {}, 1});
  for (int i = 0; i < pattern.rows(); ++i) {
    if (problem_.type[i] != NodeType::reference) {
      weight_[2 * i] = problem_.slack_weight[i];
      continue;
    }
    Border& border = borders_[network.island[i]];
    border.reference = i;
    border.weight = problem_.slack_weight[i];
    for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k) {
      const int j = pattern.column[k];
      if (j == i) continue;  // its unknowns are fixed
      const Complex s =
          std::polar(state.vm[i], state.va[i]) * std::conj(problem_.y[k] * std::polar(state.vm[j], state.va[j]));
      const std::size_t unknown = 2 * static_cast<std::size_t>(j);
      border.row.emplace_back(unknown, s.imag());
      if (problem_.type[j] == NodeType::pq) border.row.emplace_back(unknown + 1, s.real());
    }
    for (const auto& [unknown, value] : border.row)
      by_row_[unknown] = value;
  }
  by_weight_ = weight_;
  factor_->solve(by_weight_);
  factor_->solve_transposed(by_row_);
  for (Border& border : borders_) {
    border.pivot = border.weight;
    for (const auto& [unknown, value] : border.row)
      border.pivot -= value * by_weight_[unknown];
  }
}

void Linearisation::solve(std::span<double> x, std::size_t columns) const {
  if (borders_.empty()) return solve_columns(*factor_, x, columns);
  const auto row = [&](std::size_t unknown) { return x.subspan(unknown * columns, columns); };
  std::vector<double> lambda(borders_.size() * columns, 0.0);  // at first b_r
  const auto of_island = [&](std::size_t island) { return std::span(lambda).subspan(island * columns, columns); };
  for (std::size_t b = 0; b < borders_.size(); ++b) {
    if (borders_[b].reference < 0) continue;
    const auto reference = row(2 * static_cast<std::size_t>(borders_[b].reference));
    std::ranges::copy(reference, of_island(b).begin());
    std::ranges::fill(reference, 0.0);
  }
  solve_columns(*factor_, x, columns);
  for (std::size_t b = 0; b < borders_.size(); ++b) {
    const auto out = of_island(b);
    for (double& value : out)
      value = -value;
    for (const auto& [unknown, value] : borders_[b].row)
      for (std::size_t c = 0; c < columns; ++c)
        out[c] += value * row(unknown)[c];
    for (double& value : out)
      value = borders_[b].pivot == 0 ? 0 : value / borders_[b].pivot;
  }
  for (std::size_t unknown = 0; unknown < by_weight_.size(); ++unknown) {
    const auto out = of_island(static_cast<std::size_t>(problem_.network->island[unknown / 2]));
    if (by_weight_[unknown] == 0) continue;
    for (std::size_t c = 0; c < columns; ++c)
      row(unknown)[c] += by_weight_[unknown] * out[c];
  }
}

// J^T mu + c nu = g and w mu + w_r nu = 0; nu is kept in the reference's place.
void Linearisation::adjoint(std::span<double> mu) const {
  factor_->solve_transposed(mu);
  if (borders_.empty()) return;
  std::vector<double> nu(borders_.size(), 0.0);
  for (std::size_t k = 0; k < mu.size(); ++k)
    nu[problem_.network->island[k / 2]] -= weight_[k] * mu[k];
  for (std::size_t b = 0; b < nu.size(); ++b)
    nu[b] = borders_[b].pivot == 0 ? 0 : nu[b] / borders_[b].pivot;
  for (std::size_t k = 0; k < mu.size(); ++k)
    mu[k] -= by_row_[k] * nu[problem_.network->island[k / 2]];
  for (std::size_t b = 0; b < nu.size(); ++b)
    if (borders_[b].reference >= 0) mu[2 * static_cast<std::size_t>(borders_[b].reference)] = nu[b];
}

// left = rhs - J^T mu - c nu; returns the largest of it. The bordering equation holds to rounding by its elimination.
double Linearisation::residual(std::span<const double> mu, std::span<const double> rhs, std::span<double> left) const {
  const Pattern& pattern = problem_.network->pattern;
  std::ranges::copy(rhs, left.begin());
  for (int i = 0; i < pattern.rows(); ++i) {
    const double m0 = borders_.empty() || problem_.type[i] != NodeType::reference ? mu[2 * i] : 0, m1 = mu[2 * i + 1];
    for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k) {
      const Block& a = jacobian_[k];
      left[2 * pattern.column[k]] -= a[0] * m0 + a[2] * m1;
      left[2 * pattern.column[k] + 1] -= a[1] * m0 + a[3] * m1;
    }
  }
  for (const Border& border : borders_)
    for (const auto& [unknown, value] : border.row)
      left[unknown] -= value * mu[2 * static_cast<std::size_t>(border.reference)];
  return largest(left);
}

void Linearisation::solve_transposed(std::span<double> mu) const {
  for (std::size_t i = 0; i < problem_.type.size(); ++i) {
    if (problem_.type[i] == NodeType::reference) mu[2 * i] = 0;
    if (problem_.type[i] != NodeType::pq) mu[2 * i + 1] = 0;
  }
  const std::vector<double> rhs(mu.begin(), mu.end());
  const double size = largest(rhs);
  std::vector<double> left(mu.size());
  adjoint(mu);
  for (int step = 0; step < 3 && residual(mu, rhs, left) > 1e-10 * size; ++step) {
    adjoint(left);
    for (std::size_t k = 0; k < mu.size(); ++k)
      mu[k] += left[k];
  }
}

}  // namespace fachwerk::dpf
