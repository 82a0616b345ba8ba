#pragma once

#include <cstddef>

#include "cli/error.hpp"
#include "compute/buffer.hpp"

/// Factorisations and solvers of float and double on the CPU (LAPACK) or on the CUDA device of their arguments
/// (cuSOLVER). Matrices are row-major. Results are on the device of the arguments. Shapes that do not fit throw
/// std::invalid_argument, NaN and infinities std::domain_error (they can hang LAPACK); a factorisation that fails
/// throws Failure.
namespace fachwerk::compute::lapack {

/// Exit code 1: not positive definite, singular, no convergence. `index` is the row (from 0) where it was found.
struct Failure : Error {
  Failure(const std::string& message, std::size_t at) : Error(Exit::failed, message), index(at) {}
  std::size_t index;
};

/// A = L L^T in place: the lower triangle of `a` becomes L, its strict upper triangle zero. Reads the lower triangle.
void cholesky(Matrix<double> a);
void cholesky(Matrix<float> a);
/// X with L L^T X = B, in place of B (n x k), L from `cholesky`.
void cholesky_solve(Matrix<const double> l, Matrix<double> b);
void cholesky_solve(Matrix<const float> l, Matrix<float> b);

/// A = sum_i values[i] v_i v_i^T, values ascending, v_i = row i of `vectors` (n x n, orthonormal, signs arbitrary).
template <class T>
struct Eigen {
  Buffer<T> values, vectors;
};
Eigen<double> eigen_symmetric(Matrix<const double> a);  ///< reads the lower triangle
Eigen<float> eigen_symmetric(Matrix<const float> a);

/// Thin singular value decomposition A = U diag(s) V^T of an m x n matrix, k = min(m, n): u m x k, s descending, vt k x
/// n.
template <class T>
struct Svd {
  Buffer<T> u, s, vt;
};
Svd<double> svd(Matrix<const double> a);
Svd<float> svd(Matrix<const float> a);

/// Thin A = Q R of an m x n matrix, k = min(m, n): q m x k with orthonormal columns, r k x n upper triangular with a
/// diagonal that is not negative, which makes both unique where A has full rank.
template <class T>
struct Qr {
  Buffer<T> q, r;
};
Qr<double> qr(Matrix<const double> a);
Qr<float> qr(Matrix<const float> a);

/// X with A X = B: A n x n, B n x k; LU with partial pivoting. The result is n x k.
Buffer<double> lu_solve(Matrix<const double> a, Matrix<const double> b);
Buffer<float> lu_solve(Matrix<const float> a, Matrix<const float> b);

/// The X (n x k) of least norm among those that minimise |A X - B|: A m x n of any rank, B m x k. Singular values below
/// `cut` times the largest count as zero; cut < 0 stands for max(m, n) times the machine epsilon.
template <class T>
struct LeastSquares {
  Buffer<T> x;
  std::size_t rank;
  Buffer<T> s;  ///< singular values of A, descending
};
LeastSquares<double> least_squares(Matrix<const double> a, Matrix<const double> b, double cut = -1);
LeastSquares<float> least_squares(Matrix<const float> a, Matrix<const float> b, float cut = -1);

}  // namespace fachwerk::compute::lapack
