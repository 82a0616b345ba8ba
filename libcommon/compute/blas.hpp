#pragma once

#include <cstddef>

#include "compute/buffer.hpp"

/// Dense linear algebra of float and double on the CPU (OpenBLAS) or on the CUDA device of its arguments (cuBLAS).
/// Matrices are row-major (compute::matrix); `a.t()` is the transpose. All arguments must be on one device. Shapes that
/// do not fit throw std::invalid_argument. Results may differ in the last bits between thread counts: where they must
/// not, use compute/reduce.hpp.
namespace fachwerk::compute::blas {

/// C = alpha A B + beta C: A m x k, B k x n, C m x n (C not transposed). beta = 0 does not read C.
void gemm(double alpha, Matrix<const double> a, Matrix<const double> b, double beta, Matrix<double> c);
void gemm(float alpha, Matrix<const float> a, Matrix<const float> b, float beta, Matrix<float> c);

/// The same for `count` matrices of equal shape, matrix i beginning i * step elements after the first of its kind.
struct Steps {
  std::size_t a, b, c;
};
void gemm_batch(std::size_t count, Steps steps, double alpha, Matrix<const double> a, Matrix<const double> b,
                double beta, Matrix<double> c);
void gemm_batch(std::size_t count, Steps steps, float alpha, Matrix<const float> a, Matrix<const float> b, float beta,
                Matrix<float> c);

/// y = alpha A x + beta y: A m x n.
void gemv(double alpha, Matrix<const double> a, View<const double> x, double beta, View<double> y);
void gemv(float alpha, Matrix<const float> a, View<const float> x, float beta, View<float> y);

/// C = alpha A A^T + beta C, symmetric n x n, both triangles written: A n x k. Reads the lower triangle of C.
void syrk(double alpha, Matrix<const double> a, double beta, Matrix<double> c);
void syrk(float alpha, Matrix<const float> a, float beta, Matrix<float> c);

/// Solves L X = B, or L^T X = B with l.t(), in place of B: L n x n triangular, B n x k. `stored` says which triangle of
/// the array L is in (before any transposition); the other is not read.
enum class Triangle { lower, upper };
void trsm(Triangle stored, Matrix<const double> l, Matrix<double> b);
void trsm(Triangle stored, Matrix<const float> l, Matrix<float> b);

/// y += alpha x.
void axpy(double alpha, View<const double> x, View<double> y);
void axpy(float alpha, View<const float> x, View<float> y);
/// x *= alpha.
void scale(double alpha, View<double> x);
void scale(float alpha, View<float> x);
/// sum of x y; root of the sum of squares, without overflow.
double dot(View<const double> x, View<const double> y);
float dot(View<const float> x, View<const float> y);
double nrm2(View<const double> x);
float nrm2(View<const float> x);

}  // namespace fachwerk::compute::blas
