#include "compute/lapack.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <lapacke.h>

#include "compute/blas.hpp"
#include "compute/cuda_backend.hpp"
#include "compute/matrix_kernels.hpp"
#include "compute/reduce.hpp"

// LAPACK and cuSOLVER are column-major: a row-major matrix is its own transpose to them. Each function below packs its
// argument the way round that its factorisation needs; `packed(a.t())` is A itself, column-major.

namespace fachwerk::compute::lapack {
namespace {

using detail::packed;

void require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

int narrow(std::size_t n) {
  require(n <= std::size_t(std::numeric_limits<int>::max()), "lapack: an axis is longer than 2^31 - 1");
  return static_cast<int>(n);
}

template <class T>
Buffer<T> packed_finite(Matrix<const T> a, const char* what) {
  Buffer<T> copy = packed(a);
  if (!all_finite(copy.view())) throw std::domain_error(std::string(what) + ": the matrix has NaN or infinite values");
  return copy;
}

// ---- the CPU's side of cuda_backend.hpp: LAPACK's own meaning and return value ----
namespace cpu {
int potrf_upper(int n, double* a, int lda) {
  return LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'U', n, a, lda);
}
int potrf_upper(int n, float* a, int lda) {
  return LAPACKE_spotrf_work(LAPACK_COL_MAJOR, 'U', n, a, lda);
}
int syevd_upper(int n, double* a, double* w) {
  return LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', n, a, n, w);
}
int syevd_upper(int n, float* a, float* w) {
  return LAPACKE_ssyevd(LAPACK_COL_MAJOR, 'V', 'U', n, a, n, w);
}
int gesdd(int m, int n, double* a, double* s, double* u, double* vt) {
  return LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'S', m, n, a, m, s, u, m, vt, n);
}
int gesdd(int m, int n, float* a, float* s, float* u, float* vt) {
  return LAPACKE_sgesdd(LAPACK_COL_MAJOR, 'S', m, n, a, m, s, u, m, vt, n);
}
int gesvd(int m, int n, double* a, double* s, double* u, double* vt) {
  std::vector<double> rest(static_cast<std::size_t>(n));
  return LAPACKE_dgesvd(LAPACK_COL_MAJOR, 'S', 'S', m, n, a, m, s, u, m, vt, n, rest.data());
}
int gesvd(int m, int n, float* a, float* s, float* u, float* vt) {
  std::vector<float> rest(static_cast<std::size_t>(n));
  return LAPACKE_sgesvd(LAPACK_COL_MAJOR, 'S', 'S', m, n, a, m, s, u, m, vt, n, rest.data());
}
int geqrf(int m, int n, double* a, double* tau) {
  return LAPACKE_dgeqrf(LAPACK_COL_MAJOR, m, n, a, m, tau);
}
int geqrf(int m, int n, float* a, float* tau) {
  return LAPACKE_sgeqrf(LAPACK_COL_MAJOR, m, n, a, m, tau);
}
int orgqr(int m, int k, double* a, const double* tau) {
  return LAPACKE_dorgqr(LAPACK_COL_MAJOR, m, k, k, a, m, tau);
}
int orgqr(int m, int k, float* a, const float* tau) {
  return LAPACKE_sorgqr(LAPACK_COL_MAJOR, m, k, k, a, m, tau);
}
int gesv(int n, int columns, double* a, double* b) {
  std::vector<int> pivots(static_cast<std::size_t>(n));
  return LAPACKE_dgesv(LAPACK_COL_MAJOR, n, columns, a, n, pivots.data(), b, n);
}
int gesv(int n, int columns, float* a, float* b) {
  std::vector<int> pivots(static_cast<std::size_t>(n));
  return LAPACKE_sgesv(LAPACK_COL_MAJOR, n, columns, a, n, pivots.data(), b, n);
}
/// Divide and conquer; the slower QR iteration where that does not converge.
template <class T>
int svd(int m, int n, T* a, T* s, T* u, T* vt) {
  const std::vector<T> kept(a, a + std::size_t(m) * std::size_t(n));
  const int info = gesdd(m, n, a, s, u, vt);
  if (info <= 0) return info;
  std::copy(kept.begin(), kept.end(), a);
  return gesvd(m, n, a, s, u, vt);
}
}  // namespace cpu

template <class T>
int potrf_upper(Device device, int n, T* a, int lda) {
  if constexpr (with_cuda)
    if (device.is_cuda()) return cuda::potrf_upper(device, n, a, lda);
  return cpu::potrf_upper(n, a, lda);
}
template <class T>
int syevd_upper(Device device, int n, T* a, T* w) {
  if constexpr (with_cuda)
    if (device.is_cuda()) return cuda::syevd_upper(device, n, a, w);
  return cpu::syevd_upper(n, a, w);
}
template <class T>
int svd_tall(Device device, int m, int n, T* a, T* s, T* u, T* vt) {
  if constexpr (with_cuda)
    if (device.is_cuda()) return cuda::gesvd(device, m, n, a, s, u, vt);
  return cpu::svd(m, n, a, s, u, vt);
}
template <class T>
int geqrf(Device device, int m, int n, T* a, T* tau) {
  if constexpr (with_cuda)
    if (device.is_cuda()) return cuda::geqrf(device, m, n, a, tau);
  return cpu::geqrf(m, n, a, tau);
}
template <class T>
int orgqr(Device device, int m, int k, T* a, const T* tau) {
  if constexpr (with_cuda)
    if (device.is_cuda()) return cuda::orgqr(device, m, k, a, tau);
  return cpu::orgqr(m, k, a, tau);
}
template <class T>
int gesv(Device device, int n, int columns, T* a, T* b) {
  if constexpr (with_cuda)
    if (device.is_cuda()) return cuda::gesv(device, n, columns, a, b);
  return cpu::gesv(n, columns, a, b);
}

/// LAPACK's info: negative is a wrong argument (a fault of this file) or no workspace, positive a failure at row info
/// - 1.
void check(int info, const char* what, const char* failure) {
  if (info == 0) return;
  if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
    throw absent_error("{}: not enough memory", what);
  if (info < 0) throw std::logic_error(std::string(what) + ": wrong argument " + std::to_string(-info));
  throw Failure(fmt::format("{}: {} (row {})", what, failure, info - 1), std::size_t(info - 1));
}

template <class T>
void cholesky_of(Matrix<T> a) {
  require(a.rows == a.columns && !a.transposed, "lapack::cholesky: the matrix must be square and not transposed");
  if (a.rows == 0) return;
  detail::clear_upper(a);
  if (!all_finite(packed<T>(a).view())) throw std::domain_error("Cholesky: the matrix has NaN or infinite values");
  check(potrf_upper(a.device, narrow(a.rows), a.data, narrow(a.stride)), "Cholesky",
        "the matrix is not positive definite");
}

template <class T>
void cholesky_solve_of(Matrix<const T> l, Matrix<T> b) {
  blas::trsm(blas::Triangle::lower, l, b);
  blas::trsm(blas::Triangle::lower, l.t(), b);
}

template <class T>
Eigen<T> eigen_of(Matrix<const T> a) {
  require(a.rows == a.columns, "lapack::eigen_symmetric: the matrix must be square");
  Eigen<T> eigen{Buffer<T>(a.device, a.rows), packed(a)};
  const Matrix<T> lower = matrix(eigen.vectors, a.rows, a.rows);
  if (a.rows == 0) return eigen;
  detail::clear_upper(lower);
  if (!all_finite(eigen.vectors.view()))
    throw std::domain_error("symmetric eigenvalues: the matrix has NaN or infinite values");
  check(syevd_upper(a.device, narrow(a.rows), eigen.vectors.data(), eigen.values.data()), "symmetric eigenvalues",
        "no convergence");
  return eigen;
}

template <class T>
Svd<T> svd_of(Matrix<const T> a) {
  const std::size_t m = a.rows, n = a.columns, k = std::min(m, n), longer = std::max(m, n);
  const bool wide = m <= n;
  // Column-major and tall: A^T if A is wide (its row-major memory as it is), else A.
  Buffer<T> tall = packed_finite(wide ? a : a.t(), "SVD");
  Buffer<T> left(a.device, longer * k), right(a.device, k * k);
  Svd<T> svd{{}, Buffer<T>(a.device, k), {}};
  if (k > 0)
    check(svd_tall(a.device, narrow(longer), narrow(k), tall.data(), svd.s.data(), left.data(), right.data()), "SVD",
          "no convergence");
  if (wide) {  // A = (A^T)^T = V S U^T of what was decomposed
    svd.u = std::move(right);
    svd.vt = std::move(left);
  } else {
    svd.u = packed<T>(matrix(left, k, m).t());
    svd.vt = packed<T>(matrix(right, k, k).t());
  }
  return svd;
}

template <class T>
Qr<T> qr_of(Matrix<const T> a) {
  const std::size_t m = a.rows, n = a.columns, k = std::min(m, n);
  Buffer<T> factored = packed_finite(a.t(), "QR");
  if (k == 0) return {Buffer<T>(a.device, 0), Buffer<T>(a.device, 0)};
  Buffer<T> tau(a.device, k);
  check(geqrf(a.device, narrow(m), narrow(n), factored.data(), tau.data()), "QR", "failed");
  // Column-major m x n is row-major n x m: its transpose's first k rows hold R, its first k stored rows Q's reflectors.
  const Matrix<T> stored = matrix(factored, n, m);
  Buffer<T> r = packed<T>(stored.block(0, 0, n, k).t());
  detail::clear_lower(matrix(r, k, n));
  check(orgqr(a.device, narrow(m), narrow(k), factored.data(), tau.data()), "QR", "failed");
  Buffer<T> q = packed<T>(stored.block(0, 0, k, m).t());
  detail::make_diagonal_positive(matrix(q, m, k), matrix(r, k, n));
  return {std::move(q), std::move(r)};
}

template <class T>
Buffer<T> lu_solve_of(Matrix<const T> a, Matrix<const T> b) {
  require(a.rows == a.columns && a.rows == b.rows, "lapack::lu_solve: shapes do not fit");
  require(a.device == b.device, "lapack::lu_solve: on different devices");
  Buffer<T> factored = packed_finite(a.t(), "LU");
  Buffer<T> x = packed(b.t());
  if (x.size() == 0) return x;
  check(gesv(a.device, narrow(a.rows), narrow(b.columns), factored.data(), x.data()), "LU", "the matrix is singular");
  return packed<T>(matrix(x, b.columns, b.rows).t());
}

template <class T>
LeastSquares<T> least_squares_of(Matrix<const T> a, Matrix<const T> b, T cut) {
  require(a.rows == b.rows, "lapack::least_squares: shapes do not fit");
  require(a.device == b.device, "lapack::least_squares: on different devices");
  const std::size_t n = a.columns, k = std::min(a.rows, n), columns = b.columns;
  if (cut < 0) cut = std::numeric_limits<T>::epsilon() * static_cast<T>(std::max(a.rows, n));
  // A = (Q) U S V^T, X = V S^+ U^T (Q^T B); Q shortens a tall matrix before its SVD.
  Buffer<T> shortened;
  Matrix<const T> core = a, rhs = b;
  Qr<T> tall;
  if (a.rows > n && n > 0) {
    tall = qr_of(a);
    shortened = Buffer<T>(a.device, n * columns);
    blas::gemm(T(1), Matrix<const T>(matrix(tall.q, a.rows, n).t()), b, T(0), matrix(shortened, n, columns));
    core = matrix(tall.r, n, n);
    rhs = matrix(shortened, n, columns);
  }
  Svd<T> svd = svd_of(core);
  const std::vector<T> s = svd.s.vector();
  Buffer<T> c = Buffer<T>::zeros(a.device, k * columns), x = Buffer<T>::zeros(a.device, n * columns);
  std::size_t rank = 0;
  if (k > 0 && columns > 0) {
    blas::gemm(T(1), Matrix<const T>(matrix(svd.u, core.rows, k).t()), rhs, T(0), matrix(c, k, columns));
    while (rank < k && s[rank] > cut * s[0])
      ++rank;
    for (std::size_t i = 0; i < k; ++i)
      blas::scale(i < rank ? 1 / s[i] : T(0), c.view().part(i * columns, columns));
    blas::gemm(T(1), Matrix<const T>(matrix(svd.vt, k, n).t()), Matrix<const T>(matrix(c, k, columns)), T(0),
               matrix(x, n, columns));
  }
  return {std::move(x), rank, std::move(svd.s)};
}

}  // namespace

void cholesky(Matrix<double> a) {
  cholesky_of(a);
}
void cholesky(Matrix<float> a) {
  cholesky_of(a);
}
void cholesky_solve(Matrix<const double> l, Matrix<double> b) {
  cholesky_solve_of(l, b);
}
void cholesky_solve(Matrix<const float> l, Matrix<float> b) {
  cholesky_solve_of(l, b);
}
Eigen<double> eigen_symmetric(Matrix<const double> a) {
  return eigen_of(a);
}
Eigen<float> eigen_symmetric(Matrix<const float> a) {
  return eigen_of(a);
}
Svd<double> svd(Matrix<const double> a) {
  return svd_of(a);
}
Svd<float> svd(Matrix<const float> a) {
  return svd_of(a);
}
Qr<double> qr(Matrix<const double> a) {
  return qr_of(a);
}
Qr<float> qr(Matrix<const float> a) {
  return qr_of(a);
}
Buffer<double> lu_solve(Matrix<const double> a, Matrix<const double> b) {
  return lu_solve_of(a, b);
}
Buffer<float> lu_solve(Matrix<const float> a, Matrix<const float> b) {
  return lu_solve_of(a, b);
}
LeastSquares<double> least_squares(Matrix<const double> a, Matrix<const double> b, double cut) {
  return least_squares_of(a, b, cut);
}
LeastSquares<float> least_squares(Matrix<const float> a, Matrix<const float> b, float cut) {
  return least_squares_of(a, b, cut);
}

}  // namespace fachwerk::compute::lapack
