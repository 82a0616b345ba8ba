#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace fachwerk::hyde {

/// A small dense matrix in double, row-major: Gram matrices, bases, covariances of bands.
struct Matrix {
  std::size_t rows = 0, cols = 0;
  std::vector<double> values = {};

  Matrix() = default;
  Matrix(std::size_t r, std::size_t c) : rows(r), cols(c), values(r * c) {}
  double& operator()(std::size_t i, std::size_t j) { return values[i * cols + j]; }
  double operator()(std::size_t i, std::size_t j) const { return values[i * cols + j]; }
};

Matrix identity(std::size_t n);
Matrix transposed(const Matrix& a);
/// a b, aᵀ b, a bᵀ
Matrix multiply(const Matrix& a, const Matrix& b, bool transpose_a = false, bool transpose_b = false);
/// diag(left) a diag(right); an empty span leaves that side.
Matrix scaled(Matrix a, std::span<const double> left, std::span<const double> right);
double trace(const Matrix& a);
double frobenius(const Matrix& a);

/// Eigenvalues in descending order, eigenvectors as columns. Each vector's largest entry is positive: the sign is ours,
/// not the library's. Throws method_failed if LAPACK does not converge.
struct Eigen {
  std::vector<double> values;
  Matrix vectors;
};
Eigen eigen_symmetric(Matrix a);

/// Inverse of a symmetric positive definite matrix by Cholesky. Throws method_failed if it is not.
Matrix inverse_spd(Matrix a);

/// P Qᵀ of the thin SVD a = P S Qᵀ: the nearest matrix with orthonormal columns (rows >= cols).
Matrix procrustes(const Matrix& a);

/// Columns [first, first + count), or the first `count`.
Matrix columns(const Matrix& a, std::size_t first, std::size_t count);
Matrix columns(const Matrix& a, std::size_t count);

/// Orthonormal basis of the columns' span (rows >= cols), by QR.
Matrix orthonormalised(Matrix a);

}  // namespace fachwerk::hyde
