#include "normal_solver.hpp"

#include <algorithm>
#include <cmath>

#include <lapacke.h>

#include "cli/error.hpp"
#include "compute/blas.hpp"

namespace fachwerk::dpf {
namespace {

// Squared lengths of the columns of a row-major matrix.
std::vector<double> column_squares(const std::vector<double>& matrix, std::size_t columns) {
  std::vector<double> out(columns, 0.0);
  for (std::size_t first = 0; first < matrix.size(); first += columns)
    for (std::size_t k = 0; k < columns; ++k)
      out[k] += matrix[first + k] * matrix[first + k];
  return out;
}

}  // namespace

NormalSolver::NormalSolver(const Normal& normal, const std::vector<char>& frozen)
    : size_(normal.rhs.size()), unit_(size_), factor_(normal.matrix) {
  for (std::size_t i = 0; i < size_; ++i)
    unit_[i] = normal.matrix[i * size_ + i] > 0 && !frozen[i] ? 1 / std::sqrt(normal.matrix[i * size_ + i]) : 0;
  for (std::size_t i = 0; i < size_; ++i)
    for (std::size_t k = 0; k < size_; ++k)
      factor_[i * size_ + k] *= unit_[i] * unit_[k];
  vectors_ = factor_;
  if (cholesky()) {
    vectors_.clear();
  } else {
    factor_.clear();
    diagonalise();
  }
}

// Also says whether the matrix is well conditioned.
bool NormalSolver::cholesky() {
  const auto n = static_cast<lapack_int>(size_);
  if (n == 0) return true;
  double norm = 0;
  for (std::size_t i = 0; i < size_; ++i) {
    // Ones on the diagonal of what has no part in it: Cholesky goes on, and the unit takes it out again.
    if (unit_[i] == 0) factor_[i * size_ + i] = 1;
    double sum = 0;
    for (std::size_t k = 0; k < size_; ++k)
      sum += std::abs(factor_[i * size_ + k]);
    norm = std::max(norm, sum);
  }
  if (!std::isfinite(norm)) return false;
  // Row-major upper is column-major lower: symmetric, so nothing need be transposed.
  if (LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', n, factor_.data(), n) != 0) return false;
  double reciprocal = 0;
  std::vector<double> work(3 * size_);
  std::vector<lapack_int> integers(size_);
  if (LAPACKE_dpocon_work(LAPACK_COL_MAJOR, 'L', n, factor_.data(), n, norm, &reciprocal, work.data(),
                          integers.data()) != 0)
    return false;
  return reciprocal > 100 * negligible;
}

void NormalSolver::diagonalise() {
  values_.resize(size_);
  const auto n = static_cast<lapack_int>(size_);
  if (LAPACKE_dsyevd(LAPACK_ROW_MAJOR, 'V', 'U', n, vectors_.data(), n, values_.data()) != 0)
    throw method_failed("the eigenvalues of the normal matrix did not converge");
}

// (U^T U)^-1 = U^-1 U^-T: squared lengths of the rows of U^-1.
std::vector<double> NormalSolver::variances() const {
  std::vector<double> out(size_, 0.0);
  if (size_ == 0) return out;
  std::vector<double> inverse = factor_;
  const auto n = static_cast<lapack_int>(size_);
  if (!inverse.empty()) LAPACKE_dtrtri_work(LAPACK_COL_MAJOR, 'L', 'N', n, inverse.data(), n);
  for (std::size_t i = 0; i < size_; ++i) {
    for (std::size_t k = inverse.empty() ? 0 : i; k < size_; ++k)
      if (!inverse.empty())
        out[i] += inverse[i * size_ + k] * inverse[i * size_ + k];
      else if (determined(k))
        out[i] += vectors_[i * size_ + k] * vectors_[i * size_ + k] / values_[k];
    out[i] *= unit_[i] * unit_[i];
  }
  return out;
}

// h G^-1 h^T = |U^-T h|^2: one triangular solve for all rows, as columns side by side. With eigenvectors a product.
std::vector<double> NormalSolver::leverages(std::vector<double>& rows, std::size_t count) const {
  if (count == 0 || size_ == 0) return std::vector<double>(count, 0.0);
  std::vector<double> columns(rows.size());
  for (std::size_t k = 0; k < count; ++k)
    for (std::size_t i = 0; i < size_; ++i)
      columns[i * count + k] = unit_[i] * rows[k * size_ + i];
  rows.clear();
  if (!factor_.empty()) {
    compute::blas::trsm(compute::blas::Triangle::upper, compute::matrix(factor_, size_, size_).t(),
                        compute::matrix(columns, size_, count));
    return column_squares(columns, count);
  }
  std::size_t first = 0;
  while (first < size_ && !determined(first))
    ++first;
  if (first == size_) return std::vector<double>(count, 0.0);
  std::vector<double> along((size_ - first) * count);
  compute::blas::gemm(1, compute::matrix(vectors_, size_, size_).block(0, first, size_, size_ - first).t(),
                      compute::matrix(std::as_const(columns), size_, count), 0,
                      compute::matrix(along, size_ - first, count));
  for (std::size_t e = first; e < size_; ++e)
    for (std::size_t k = 0; k < count; ++k)
      along[(e - first) * count + k] /= std::sqrt(values_[e]);
  return column_squares(along, count);
}

// What is frozen, or nothing depends on, has an eigenvalue of 0 of its own.
bool NormalSolver::determines_all() const {
  const auto apart = std::ranges::count(unit_, 0.0);
  for (std::size_t e = 0; e < values_.size(); ++e)
    if (determined(e)) return static_cast<std::ptrdiff_t>(e) <= apart;
  return true;
}

std::vector<std::vector<double>> NormalSolver::null_directions() const {
  std::vector<std::vector<double>> out;
  for (std::size_t e = 0; e < values_.size(); ++e) {
    if (determined(e)) continue;
    std::vector<double> direction(size_);
    for (std::size_t i = 0; i < size_; ++i)
      direction[i] = vectors_[i * size_ + e];
    out.push_back(std::move(direction));
  }
  return out;
}

}  // namespace fachwerk::dpf
