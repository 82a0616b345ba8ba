#include "factor.hpp"

#include <algorithm>
#include <cmath>

#include <amd.h>
#include <klu.h>

#include "cli/error.hpp"

namespace fachwerk::dpf {
namespace {

Block product(const Block& a, const Block& b) {
  return {a[0] * b[0] + a[1] * b[2], a[0] * b[1] + a[1] * b[3], a[2] * b[0] + a[3] * b[2], a[2] * b[1] + a[3] * b[3]};
}

void subtract_product(Block& c, const Block& a, const Block& b) {
  c[0] -= a[0] * b[0] + a[1] * b[2];
  c[1] -= a[0] * b[1] + a[1] * b[3];
  c[2] -= a[2] * b[0] + a[3] * b[2];
  c[3] -= a[2] * b[1] + a[3] * b[3];
}

}  // namespace

std::vector<int> minimum_degree(const Pattern& pattern) {
  std::vector<int> order(static_cast<std::size_t>(pattern.rows()));
  if (amd_order(pattern.rows(), pattern.start.data(), pattern.column.data(), order.data(), nullptr, nullptr) < AMD_OK)
    throw absent_error("out of memory for the elimination order of {} nodes", pattern.rows());
  return order;
}

// Row i of L is reached from the entries of row i left of the diagonal by climbing the elimination tree (Liu 1990).
FactorPattern symbolic_factor(const Pattern& pattern) {
  const int n = pattern.rows();
  std::vector<int> parent(static_cast<std::size_t>(n), -1), mark(static_cast<std::size_t>(n), -1);
  std::vector<std::vector<int>> lower(static_cast<std::size_t>(n));
  std::vector<int> upper_count(static_cast<std::size_t>(n), 0);
  for (int i = 0; i < n; ++i) {
    mark[i] = i;
    for (int s = pattern.start[i]; s < pattern.diagonal[i]; ++s)
      for (int j = pattern.column[s]; mark[j] != i; j = parent[j]) {
        mark[j] = i;
        lower[i].push_back(j);
        ++upper_count[j];
        if (parent[j] < 0) parent[j] = i;
      }
    std::ranges::sort(lower[i]);
  }
  FactorPattern out;
  Pattern& filled = out.filled;
  filled.diagonal.resize(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) {
    filled.diagonal[i] = filled.start[i] + static_cast<int>(lower[i].size());
    filled.start.push_back(filled.diagonal[i] + 1 + upper_count[i]);
  }
  filled.column.resize(static_cast<std::size_t>(filled.start[n]));
  std::vector<int> next(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) {
    std::ranges::copy(lower[i], filled.column.begin() + filled.start[i]);
    filled.column[filled.diagonal[i]] = i;
    next[i] = filled.diagonal[i] + 1;
    for (const int j : lower[i])
      filled.column[next[j]++] = i;
  }
  return out;
}

BlockFactor::BlockFactor(const Pattern& pattern, int pivots)
    : pattern_(&pattern),
      pivots_(pivots < 0 ? pattern.rows() : pivots),
      symbolic_(symbolic_factor(pattern)),
      values_(symbolic_.filled.column.size()),
      inverse_(static_cast<std::size_t>(pattern.rows())),
      work_(static_cast<std::size_t>(pattern.rows())) {}

bool BlockFactor::factor(std::span<const Block> a) {
  const Pattern& given = *pattern_;
  const Pattern& filled = symbolic_.filled;
  const int pivots = pivots_;
  negative_ = false;
  for (int i = 0; i < given.rows(); ++i) {
    for (int s = filled.start[i]; s < filled.start[i + 1]; ++s)
      work_[filled.column[s]] = {};
    for (int s = given.start[i]; s < given.start[i + 1]; ++s)
      work_[given.column[s]] = a[s];
    int s = filled.start[i];
    for (; s < filled.diagonal[i] && filled.column[s] < pivots; ++s) {
      const int j = filled.column[s];
      const Block multiplier = product(work_[j], inverse_[j]);
      values_[s] = multiplier;
      for (int u = filled.diagonal[j] + 1; u < filled.start[j + 1]; ++u)
        subtract_product(work_[filled.column[u]], multiplier, values_[u]);
    }
    for (; s < filled.start[i + 1]; ++s)
      values_[s] = work_[filled.column[s]];
    if (i >= pivots_) continue;
    const Block& d = work_[i];
    const double determinant = d[0] * d[3] - d[1] * d[2];
    const double scale = std::abs(d[0] * d[3]) + std::abs(d[1] * d[2]);
    if (!(std::abs(determinant) > 1e-14 * scale)) return false;  // NaN too
    inverse_[i] = {d[3] / determinant, -d[1] / determinant, -d[2] / determinant, d[0] / determinant};
    if (determinant < 0) negative_ = !negative_;
  }
  return true;
}

void BlockFactor::solve(std::span<double> x) const {
  eliminate(x);
  substitute(x);
}

void BlockFactor::eliminate(std::span<double> x) const {
  const Pattern& filled = symbolic_.filled;
  const int pivots = pivots_;
  for (int i = 0; i < filled.rows(); ++i) {
    double x0 = x[2 * i], x1 = x[2 * i + 1];
    for (int s = filled.start[i]; s < filled.diagonal[i] && filled.column[s] < pivots; ++s) {
      const Block& v = values_[s];
      const double y0 = x[2 * filled.column[s]], y1 = x[2 * filled.column[s] + 1];
      x0 -= v[0] * y0 + v[1] * y1;
      x1 -= v[2] * y0 + v[3] * y1;
    }
    x[2 * i] = x0;
    x[2 * i + 1] = x1;
  }
}

void BlockFactor::substitute(std::span<double> x) const {
  const Pattern& filled = symbolic_.filled;
  for (int i = pivots_ - 1; i >= 0; --i) {
    double x0 = x[2 * i], x1 = x[2 * i + 1];
    for (int s = filled.diagonal[i] + 1; s < filled.start[i + 1]; ++s) {
      const Block& v = values_[s];
      const double y0 = x[2 * filled.column[s]], y1 = x[2 * filled.column[s] + 1];
      x0 -= v[0] * y0 + v[1] * y1;
      x1 -= v[2] * y0 + v[3] * y1;
    }
    const Block& d = inverse_[i];
    x[2 * i] = d[0] * x0 + d[1] * x1;
    x[2 * i + 1] = d[2] * x0 + d[3] * x1;
  }
}

// A^T = U^T L^T: forward through the columns of U, backward through the columns of L.
void BlockFactor::solve_transposed(std::span<double> x) const {
  const Pattern& filled = symbolic_.filled;
  const int n = filled.rows();
  for (int i = 0; i < n; ++i) {
    const Block& d = inverse_[i];
    const double y0 = d[0] * x[2 * i] + d[2] * x[2 * i + 1], y1 = d[1] * x[2 * i] + d[3] * x[2 * i + 1];
    x[2 * i] = y0;
    x[2 * i + 1] = y1;
    for (int s = filled.diagonal[i] + 1; s < filled.start[i + 1]; ++s) {
      const Block& v = values_[s];
      x[2 * filled.column[s]] -= v[0] * y0 + v[2] * y1;
      x[2 * filled.column[s] + 1] -= v[1] * y0 + v[3] * y1;
    }
  }
  for (int i = n - 1; i >= 0; --i) {
    const double y0 = x[2 * i], y1 = x[2 * i + 1];
    for (int s = filled.start[i]; s < filled.diagonal[i]; ++s) {
      const Block& v = values_[s];
      x[2 * filled.column[s]] -= v[0] * y0 + v[2] * y1;
      x[2 * filled.column[s] + 1] -= v[1] * y0 + v[3] * y1;
    }
  }
}

struct PivotingFactor::State {
  klu_common common;
  klu_symbolic* symbolic = nullptr;
  klu_numeric* numeric = nullptr;
  const Pattern* pattern = nullptr;
  std::vector<int> start, row;  // scalar matrix by columns: of the transpose, i.e. our rows
  std::vector<double> values;

  ~State() {
    klu_free_numeric(&numeric, &common);
    klu_free_symbolic(&symbolic, &common);
  }
};

// KLU takes columns; our rows are the columns of the transpose, which `solve` undoes by klu_tsolve.
PivotingFactor::PivotingFactor(const Pattern& pattern) : state_(std::make_unique<State>()) {
  State& s = *state_;
  klu_defaults(&s.common);
  s.pattern = &pattern;
  s.start.push_back(0);
  for (int i = 0; i < pattern.rows(); ++i)
    for (int half = 0; half < 2; ++half) {
      for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k) {
        s.row.push_back(2 * pattern.column[k]);
        s.row.push_back(2 * pattern.column[k] + 1);
      }
      s.start.push_back(static_cast<int>(s.row.size()));
    }
  s.values.resize(s.row.size());
  s.symbolic = klu_analyze(2 * pattern.rows(), s.start.data(), s.row.data(), &s.common);
  if (s.symbolic == nullptr) throw absent_error("out of memory for the factors of {} nodes", pattern.rows());
}

PivotingFactor::~PivotingFactor() = default;

bool PivotingFactor::factor(std::span<const Block> a) {
  State& s = *state_;
  std::size_t out = 0;
  for (int i = 0; i < s.pattern->rows(); ++i)
    for (int half = 0; half < 2; ++half)
      for (int k = s.pattern->start[i]; k < s.pattern->start[i + 1]; ++k) {
        s.values[out++] = a[k][2 * half];
        s.values[out++] = a[k][2 * half + 1];
      }
  klu_free_numeric(&s.numeric, &s.common);
  s.numeric = klu_factor(s.start.data(), s.row.data(), s.values.data(), s.symbolic, &s.common);
  return s.numeric != nullptr && s.common.status == KLU_OK;
}

bool PivotingFactor::solve(std::span<double> x) {
  State& s = *state_;
  return klu_tsolve(s.symbolic, s.numeric, 2 * s.pattern->rows(), 1, x.data(), &s.common) == 1;
}

}  // namespace fachwerk::dpf
