#include "compute/blas.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include <cblas.h>

#include "compute/cuda_backend.hpp"
#include "compute/matrix_kernels.hpp"
#include "compute/parallel.hpp"

namespace fachwerk::compute::blas {
namespace {

void require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

int narrow(std::size_t n) {
  require(n <= std::size_t(std::numeric_limits<int>::max()), "blas: an axis is longer than 2^31 - 1");
  return static_cast<int>(n);
}

CBLAS_TRANSPOSE op(bool transposed) {
  return transposed ? CblasTrans : CblasNoTrans;
}

void c_gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, double alpha, const double* a, int lda,
            const double* b, int ldb, double beta, double* c, int ldc) {
  cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void c_gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, float alpha, const float* a, int lda,
            const float* b, int ldb, float beta, float* c, int ldc) {
  cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void c_gemv(CBLAS_TRANSPOSE t, int m, int n, double alpha, const double* a, int lda, const double* x, double beta,
            double* y) {
  cblas_dgemv(CblasRowMajor, t, m, n, alpha, a, lda, x, 1, beta, y, 1);
}
void c_gemv(CBLAS_TRANSPOSE t, int m, int n, float alpha, const float* a, int lda, const float* x, float beta,
            float* y) {
  cblas_sgemv(CblasRowMajor, t, m, n, alpha, a, lda, x, 1, beta, y, 1);
}
void c_syrk(CBLAS_TRANSPOSE t, int n, int k, double alpha, const double* a, int lda, double beta, double* c, int ldc) {
  cblas_dsyrk(CblasRowMajor, CblasLower, t, n, k, alpha, a, lda, beta, c, ldc);
}
void c_syrk(CBLAS_TRANSPOSE t, int n, int k, float alpha, const float* a, int lda, float beta, float* c, int ldc) {
  cblas_ssyrk(CblasRowMajor, CblasLower, t, n, k, alpha, a, lda, beta, c, ldc);
}
void c_trsm(CBLAS_UPLO uplo, CBLAS_TRANSPOSE t, int n, int k, const double* l, int ldl, double* b, int ldb) {
  cblas_dtrsm(CblasRowMajor, CblasLeft, uplo, t, CblasNonUnit, n, k, 1, l, ldl, b, ldb);
}
void c_trsm(CBLAS_UPLO uplo, CBLAS_TRANSPOSE t, int n, int k, const float* l, int ldl, float* b, int ldb) {
  cblas_strsm(CblasRowMajor, CblasLeft, uplo, t, CblasNonUnit, n, k, 1, l, ldl, b, ldb);
}
void c_axpy(int n, double alpha, const double* x, double* y) {
  cblas_daxpy(n, alpha, x, 1, y, 1);
}
void c_axpy(int n, float alpha, const float* x, float* y) {
  cblas_saxpy(n, alpha, x, 1, y, 1);
}
void c_scale(int n, double alpha, double* x) {
  cblas_dscal(n, alpha, x, 1);
}
void c_scale(int n, float alpha, float* x) {
  cblas_sscal(n, alpha, x, 1);
}
double c_dot(int n, const double* x, const double* y) {
  return cblas_ddot(n, x, 1, y, 1);
}
float c_dot(int n, const float* x, const float* y) {
  return cblas_sdot(n, x, 1, y, 1);
}
double c_nrm2(int n, const double* x) {
  return cblas_dnrm2(n, x, 1);
}
float c_nrm2(int n, const float* x) {
  return cblas_snrm2(n, x, 1);
}

/// Leading dimension, which BLAS wants positive even for an empty matrix.
template <class T>
int lead(const Matrix<T>& a) {
  return narrow(std::max<std::size_t>(a.stride, 1));
}

template <class T>
void check_gemm(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
  require(a.rows == c.rows && b.columns == c.columns && a.columns == b.rows, "blas::gemm: shapes do not fit");
  require(!c.transposed, "blas::gemm: C must not be transposed");
  require(a.device == c.device && b.device == c.device, "blas::gemm: on different devices");
}

template <class T>
void gemm_one(T alpha, Matrix<const T> a, Matrix<const T> b, T beta, Matrix<T> c) {
  c_gemm(op(a.transposed), op(b.transposed), narrow(c.rows), narrow(c.columns), narrow(a.columns), alpha, a.data,
         lead(a), b.data, lead(b), beta, c.data, lead(c));
}

template <class T>
void gemm_of(T alpha, Matrix<const T> a, Matrix<const T> b, T beta, Matrix<T> c) {
  check_gemm(a, b, c);
  if (c.rows == 0 || c.columns == 0) return;
  if constexpr (with_cuda)
    if (c.device.is_cuda()) return cuda::gemm(1, {}, alpha, a, b, beta, c);
  gemm_one(alpha, a, b, beta, c);
}

template <class T>
void gemm_batch_of(std::size_t count, Steps steps, T alpha, Matrix<const T> a, Matrix<const T> b, T beta, Matrix<T> c) {
  check_gemm(a, b, c);
  if (count == 0 || c.rows == 0 || c.columns == 0) return;
  if constexpr (with_cuda)
    if (c.device.is_cuda()) return cuda::gemm(count, steps, alpha, a, b, beta, c);
  // One product a thread; OpenBLAS does not open a second team inside a parallel loop.
  parallel_for(c.device, count, [&](std::size_t i) {
    Matrix<const T> ai = a, bi = b;
    Matrix<T> ci = c;
    ai.data += i * steps.a;
    bi.data += i * steps.b;
    ci.data += i * steps.c;
    gemm_one(alpha, ai, bi, beta, ci);
  });
}

template <class T>
void gemv_of(T alpha, Matrix<const T> a, View<const T> x, T beta, View<T> y) {
  require(a.rows == y.size() && a.columns == x.size(), "blas::gemv: shapes do not fit");
  require(a.device == y.device() && x.device() == y.device(), "blas::gemv: on different devices");
  if (a.device.is_cuda() || a.columns == 0)  // no columns: gemv would return without applying beta
    return gemm_of(alpha, a, Matrix<const T>(matrix(x, a.columns, 1)), beta, matrix(y, a.rows, 1));
  if (a.rows == 0) return;
  const Matrix<const T> kept = a.transposed ? a.t() : a;
  c_gemv(op(a.transposed), narrow(kept.rows), narrow(kept.columns), alpha, a.data, lead(a), x.data(), beta, y.data());
}

template <class T>
void syrk_of(T alpha, Matrix<const T> a, T beta, Matrix<T> c) {
  require(a.rows == c.rows && c.rows == c.columns && !c.transposed, "blas::syrk: shapes do not fit");
  require(a.device == c.device, "blas::syrk: on different devices");
  if (c.rows == 0) return;
  bool done = false;
  if constexpr (with_cuda)
    if ((done = c.device.is_cuda())) cuda::syrk_lower(alpha, a, beta, c);
  if (!done) c_syrk(op(a.transposed), narrow(c.rows), narrow(a.columns), alpha, a.data, lead(a), beta, c.data, lead(c));
  detail::mirror_lower(c);
}

template <class T>
void trsm_of(Triangle stored, Matrix<const T> l, Matrix<T> b) {
  require(l.rows == l.columns && l.rows == b.rows && !b.transposed, "blas::trsm: shapes do not fit");
  require(l.device == b.device, "blas::trsm: on different devices");
  if (b.rows == 0 || b.columns == 0) return;
  if constexpr (with_cuda)
    if (b.device.is_cuda()) return cuda::trsm(stored, l, b);
  c_trsm(stored == Triangle::lower ? CblasLower : CblasUpper, op(l.transposed), narrow(b.rows), narrow(b.columns),
         l.data, lead(l), b.data, lead(b));
}

/// Calls fn(offset, count) for pieces that fit BLAS's 32-bit lengths.
template <class Fn>
void in_pieces(std::size_t n, const Fn& fn) {
  constexpr std::size_t most = std::size_t(1) << 30;
  for (std::size_t offset = 0; offset < n; offset += most)
    fn(offset, narrow(std::min(most, n - offset)));
}

template <class T>
void axpy_of(T alpha, View<const T> x, View<T> y) {
  require(x.size() == y.size(), "blas::axpy: lengths differ");
  require(x.device() == y.device(), "blas::axpy: on different devices");
  in_pieces(x.size(), [&](std::size_t offset, int n) {
    if constexpr (with_cuda)
      if (y.device().is_cuda()) return cuda::axpy(y.device(), n, alpha, x.data() + offset, y.data() + offset);
    c_axpy(n, alpha, x.data() + offset, y.data() + offset);
  });
}

template <class T>
void scale_of(T alpha, View<T> x) {
  in_pieces(x.size(), [&](std::size_t offset, int n) {
    if constexpr (with_cuda)
      if (x.device().is_cuda()) return cuda::scale(x.device(), n, alpha, x.data() + offset);
    c_scale(n, alpha, x.data() + offset);
  });
}

template <class T>
T dot_piece(Device device, int n, const T* x, const T* y) {
  if constexpr (with_cuda)
    if (device.is_cuda()) return cuda::dot(device, n, x, y);
  return c_dot(n, x, y);
}

template <class T>
T dot_of(View<const T> x, View<const T> y) {
  require(x.size() == y.size(), "blas::dot: lengths differ");
  require(x.device() == y.device(), "blas::dot: on different devices");
  T total = 0;
  in_pieces(x.size(), [&](std::size_t offset, int n) {
    total += dot_piece(x.device(), n, x.data() + offset, y.data() + offset);
  });
  return total;
}

template <class T>
T nrm2_piece(Device device, int n, const T* x) {
  if constexpr (with_cuda)
    if (device.is_cuda()) return cuda::nrm2(device, n, x);
  return c_nrm2(n, x);
}

template <class T>
T nrm2_of(View<const T> x) {
  T total = 0;
  in_pieces(x.size(), [&](std::size_t offset, int n) {
    total = std::hypot(total, nrm2_piece(x.device(), n, x.data() + offset));
  });
  return total;
}

}  // namespace

void gemm(double alpha, Matrix<const double> a, Matrix<const double> b, double beta, Matrix<double> c) {
  gemm_of(alpha, a, b, beta, c);
}
void gemm(float alpha, Matrix<const float> a, Matrix<const float> b, float beta, Matrix<float> c) {
  gemm_of(alpha, a, b, beta, c);
}
void gemm_batch(std::size_t count, Steps steps, double alpha, Matrix<const double> a, Matrix<const double> b,
                double beta, Matrix<double> c) {
  gemm_batch_of(count, steps, alpha, a, b, beta, c);
}
void gemm_batch(std::size_t count, Steps steps, float alpha, Matrix<const float> a, Matrix<const float> b, float beta,
                Matrix<float> c) {
  gemm_batch_of(count, steps, alpha, a, b, beta, c);
}
void gemv(double alpha, Matrix<const double> a, View<const double> x, double beta, View<double> y) {
  gemv_of(alpha, a, x, beta, y);
}
void gemv(float alpha, Matrix<const float> a, View<const float> x, float beta, View<float> y) {
  gemv_of(alpha, a, x, beta, y);
}
void syrk(double alpha, Matrix<const double> a, double beta, Matrix<double> c) {
  syrk_of(alpha, a, beta, c);
}
void syrk(float alpha, Matrix<const float> a, float beta, Matrix<float> c) {
  syrk_of(alpha, a, beta, c);
}
void trsm(Triangle stored, Matrix<const double> l, Matrix<double> b) {
  trsm_of(stored, l, b);
}
void trsm(Triangle stored, Matrix<const float> l, Matrix<float> b) {
  trsm_of(stored, l, b);
}
void axpy(double alpha, View<const double> x, View<double> y) {
  axpy_of(alpha, x, y);
}
void axpy(float alpha, View<const float> x, View<float> y) {
  axpy_of(alpha, x, y);
}
void scale(double alpha, View<double> x) {
  scale_of(alpha, x);
}
void scale(float alpha, View<float> x) {
  scale_of(alpha, x);
}
double dot(View<const double> x, View<const double> y) {
  return dot_of(x, y);
}
float dot(View<const float> x, View<const float> y) {
  return dot_of(x, y);
}
double nrm2(View<const double> x) {
  return nrm2_of(x);
}
float nrm2(View<const float> x) {
  return nrm2_of(x);
}

}  // namespace fachwerk::compute::blas
