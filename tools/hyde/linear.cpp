#include "linear.hpp"

#include <algorithm>
#include <cmath>

#include <cblas.h>
#include <lapacke.h>
#include <omp.h>

#include "cli/error.hpp"

namespace fachwerk::hyde {
namespace {

// Matrices of bands are too small to be shared: waking threads costs more than what they do.
class OneThread {
 public:
  explicit OneThread(std::size_t size) : threads_(omp_get_max_threads()) {
    if (size < 512) omp_set_num_threads(1);
  }
  ~OneThread() { omp_set_num_threads(threads_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int threads_;
};

}  // namespace

Matrix identity(std::size_t n) {
  Matrix a(n, n);
  for (std::size_t i = 0; i < n; ++i)
    a(i, i) = 1;
  return a;
}

Matrix transposed(const Matrix& a) {
  Matrix t(a.cols, a.rows);
  for (std::size_t i = 0; i < a.rows; ++i)
    for (std::size_t j = 0; j < a.cols; ++j)
      t(j, i) = a(i, j);
  return t;
}

Matrix multiply(const Matrix& a, const Matrix& b, bool transpose_a, bool transpose_b) {
  const std::size_t m = transpose_a ? a.cols : a.rows, k = transpose_a ? a.rows : a.cols;
  const std::size_t n = transpose_b ? b.rows : b.cols;
  Matrix c(m, n);
  if (m == 0 || n == 0 || k == 0) return c;
  const OneThread guard(std::max({m, n, k}));
  cblas_dgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans,
              static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), 1.0, a.values.data(),
              static_cast<int>(a.cols), b.values.data(), static_cast<int>(b.cols), 0.0, c.values.data(),
              static_cast<int>(n));
  return c;
}

Matrix scaled(Matrix a, std::span<const double> left, std::span<const double> right) {
  for (std::size_t i = 0; i < a.rows; ++i)
    for (std::size_t j = 0; j < a.cols; ++j)
      a(i, j) *= (left.empty() ? 1.0 : left[i]) * (right.empty() ? 1.0 : right[j]);
  return a;
}

double trace(const Matrix& a) {
  double sum = 0;
  for (std::size_t i = 0; i < a.rows; ++i)
    sum += a(i, i);
  return sum;
}

double frobenius(const Matrix& a) {
  double sum = 0;
  for (double v : a.values)
    sum += v * v;
  return std::sqrt(sum);
}

Eigen eigen_symmetric(Matrix a) {
  const std::size_t n = a.rows;
  const OneThread guard(n);
  std::vector<double> ascending(n);
  const int info = LAPACKE_dsyevd(LAPACK_ROW_MAJOR, 'V', 'U', static_cast<int>(n), a.values.data(), static_cast<int>(n),
                                  ascending.data());
  if (info != 0) throw method_failed("the eigenvalues of a {} x {} matrix did not converge", n, n);
  Eigen eigen{std::vector<double>(n), Matrix(n, n)};
  for (std::size_t k = 0; k < n; ++k) {
    const std::size_t from = n - 1 - k;
    eigen.values[k] = ascending[from];
    double largest = 0;
    for (std::size_t i = 0; i < n; ++i)
      if (std::abs(a(i, from)) > std::abs(largest)) largest = a(i, from);
    for (std::size_t i = 0; i < n; ++i)
      eigen.vectors(i, k) = largest < 0 ? -a(i, from) : a(i, from);
  }
  return eigen;
}

Matrix inverse_spd(Matrix a) {
  const OneThread guard(a.rows);
  const int n = static_cast<int>(a.rows);
  if (LAPACKE_dpotrf(LAPACK_ROW_MAJOR, 'U', n, a.values.data(), n) != 0 ||
      LAPACKE_dpotri(LAPACK_ROW_MAJOR, 'U', n, a.values.data(), n) != 0)
    throw method_failed("a {} x {} matrix is not positive definite", n, n);
  for (std::size_t i = 0; i < a.rows; ++i)
    for (std::size_t j = 0; j < i; ++j)
      a(i, j) = a(j, i);
  return a;
}

Matrix procrustes(const Matrix& a) {
  const OneThread guard(a.rows);
  Matrix work = a, p(a.rows, a.cols), qt(a.cols, a.cols);
  std::vector<double> singular(a.cols);
  const int m = static_cast<int>(a.rows), n = static_cast<int>(a.cols);
  if (LAPACKE_dgesdd(LAPACK_ROW_MAJOR, 'S', m, n, work.values.data(), n, singular.data(), p.values.data(), n,
                     qt.values.data(), n) != 0)
    throw method_failed("the singular values of a {} x {} matrix did not converge", m, n);
  return multiply(p, qt);
}

Matrix columns(const Matrix& a, std::size_t first, std::size_t count) {
  Matrix c(a.rows, count);
  for (std::size_t i = 0; i < a.rows; ++i)
    std::copy_n(a.values.data() + i * a.cols + first, count, c.values.data() + i * count);
  return c;
}

Matrix columns(const Matrix& a, std::size_t count) {
  return columns(a, 0, count);
}

Matrix orthonormalised(Matrix a) {
  const OneThread guard(a.rows);
  const int m = static_cast<int>(a.rows), n = static_cast<int>(a.cols);
  std::vector<double> tau(a.cols);
  if (LAPACKE_dgeqrf(LAPACK_ROW_MAJOR, m, n, a.values.data(), n, tau.data()) != 0 ||
      LAPACKE_dorgqr(LAPACK_ROW_MAJOR, m, n, n, a.values.data(), n, tau.data()) != 0)
    throw method_failed("the QR factorisation of a {} x {} matrix failed", m, n);
  return a;
}

}  // namespace fachwerk::hyde
