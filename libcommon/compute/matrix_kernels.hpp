#pragma once

#include "compute/buffer.hpp"

/// Private to compute: small loops over matrices, on any device, in float and double (matrix.kernel.cpp).
namespace fachwerk::compute::detail {

/// Copies, transposing as the views say. Shapes must be equal.
template <class T>
void copy_matrix(Matrix<const T> from, Matrix<T> to);
/// A contiguous row-major copy.
template <class T>
Buffer<T> packed(Matrix<const T> a);
/// c[j][i] = c[i][j] for j < i.
template <class T>
void mirror_lower(Matrix<T> c);
/// Sets what is strictly below or above the diagonal to zero.
template <class T>
void clear_lower(Matrix<T> a);
template <class T>
void clear_upper(Matrix<T> a);
/// Turns signs of rows of r and columns of q such that the diagonal of r is not negative; q r stays the same.
template <class T>
void make_diagonal_positive(Matrix<T> q, Matrix<T> r);

}  // namespace fachwerk::compute::detail
