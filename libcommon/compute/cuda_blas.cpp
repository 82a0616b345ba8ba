#include <limits>
#include <stdexcept>
#include <string>

#include <cublas_v2.h>

#include "compute/cuda_backend.hpp"
#include "compute/cuda_library.hpp"

// cuBLAS is column-major: it sees a row-major matrix as its transpose, so C = A B is asked for as C^T = B^T A^T.

namespace fachwerk::compute::cuda {
namespace {

template <class T>
struct Functions;

template <>
struct Functions<double> {
  decltype(cublasDgemmStridedBatched)* gemm;
  decltype(cublasDsyrk_v2)* syrk;
  decltype(cublasDtrsm_v2)* trsm;
  decltype(cublasDaxpy_v2)* axpy;
  decltype(cublasDscal_v2)* scale;
  decltype(cublasDdot_v2)* dot;
  decltype(cublasDnrm2_v2)* nrm2;
  explicit Functions(const Library& library) {
    library.bind(gemm, "cublasDgemmStridedBatched");
    library.bind(syrk, "cublasDsyrk_v2");
    library.bind(trsm, "cublasDtrsm_v2");
    library.bind(axpy, "cublasDaxpy_v2");
    library.bind(scale, "cublasDscal_v2");
    library.bind(dot, "cublasDdot_v2");
    library.bind(nrm2, "cublasDnrm2_v2");
  }
};

template <>
struct Functions<float> {
  decltype(cublasSgemmStridedBatched)* gemm;
  decltype(cublasSsyrk_v2)* syrk;
  decltype(cublasStrsm_v2)* trsm;
  decltype(cublasSaxpy_v2)* axpy;
  decltype(cublasSscal_v2)* scale;
  decltype(cublasSdot_v2)* dot;
  decltype(cublasSnrm2_v2)* nrm2;
  explicit Functions(const Library& library) {
    library.bind(gemm, "cublasSgemmStridedBatched");
    library.bind(syrk, "cublasSsyrk_v2");
    library.bind(trsm, "cublasStrsm_v2");
    library.bind(axpy, "cublasSaxpy_v2");
    library.bind(scale, "cublasSscal_v2");
    library.bind(dot, "cublasSdot_v2");
    library.bind(nrm2, "cublasSnrm2_v2");
  }
};

using Cublas = TwoPrecisions<Functions, cublasHandle_t>;

Cublas& cublas() {
  static Cublas& library = *new Cublas("libcublas.so." + std::to_string(CUBLAS_VER_MAJOR), "cuBLAS", "cublasCreate_v2");
  return library;
}

int narrow(std::size_t n) {
  if (n > std::size_t(std::numeric_limits<int>::max()))
    throw std::invalid_argument("blas: an axis is longer than 2^31 - 1");
  return static_cast<int>(n);
}

template <class T>
int lead(const Matrix<T>& a) {
  return a.stride == 0 ? 1 : narrow(a.stride);
}

template <class T>
cublasOperation_t op(const Matrix<T>& a) {
  return a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
}

/// Calls `function(handle, arguments...)` and checks its status.
template <class Function, class... Arguments>
void call(Device device, const char* what, Function* function, Arguments... arguments) {
  check_status(function(cublas().handle(device), arguments...), "cuBLAS", what);
}

template <class T>
void gemm_of(std::size_t count, blas::Steps steps, T alpha, Matrix<const T> a, Matrix<const T> b, T beta, Matrix<T> c) {
  call(c.device, "gemm", cublas().functions<T>().gemm, op(b), op(a), narrow(c.columns), narrow(c.rows),
       narrow(a.columns), &alpha, b.data, lead(b), static_cast<long long>(steps.b), a.data, lead(a),
       static_cast<long long>(steps.a), &beta, c.data, lead(c), static_cast<long long>(steps.c), narrow(count));
}

template <class T>
void syrk_of(T alpha, Matrix<const T> a, T beta, Matrix<T> c) {
  // Stored row-major n x k is column-major k x n: C = A A^T = G^T G. The row-major lower triangle is the upper one.
  call(c.device, "syrk", cublas().functions<T>().syrk, CUBLAS_FILL_MODE_UPPER, a.transposed ? CUBLAS_OP_N : CUBLAS_OP_T,
       narrow(c.rows), narrow(a.columns), &alpha, a.data, lead(a), &beta, c.data, lead(c));
}

template <class T>
void trsm_of(blas::Triangle stored, Matrix<const T> l, Matrix<T> b) {
  const T one = 1;
  // L X = B is X^T L^T = B^T.
  call(b.device, "trsm", cublas().functions<T>().trsm, CUBLAS_SIDE_RIGHT,
       stored == blas::Triangle::lower ? CUBLAS_FILL_MODE_UPPER : CUBLAS_FILL_MODE_LOWER, op(l), CUBLAS_DIAG_NON_UNIT,
       narrow(b.columns), narrow(b.rows), &one, l.data, lead(l), b.data, lead(b));
}

template <class T>
void axpy_of(Device device, int n, T alpha, const T* x, T* y) {
  call(device, "axpy", cublas().functions<T>().axpy, n, &alpha, x, 1, y, 1);
}
template <class T>
void scale_of(Device device, int n, T alpha, T* x) {
  call(device, "scal", cublas().functions<T>().scale, n, &alpha, x, 1);
}
template <class T>
T dot_of(Device device, int n, const T* x, const T* y) {
  T result = 0;
  call(device, "dot", cublas().functions<T>().dot, n, x, 1, y, 1, &result);
  return result;
}
template <class T>
T nrm2_of(Device device, int n, const T* x) {
  T result = 0;
  call(device, "nrm2", cublas().functions<T>().nrm2, n, x, 1, &result);
  return result;
}

}  // namespace

void open_blas() {
  cublas();
}

void gemm(std::size_t count, blas::Steps steps, double alpha, Matrix<const double> a, Matrix<const double> b,
          double beta, Matrix<double> c) {
  gemm_of(count, steps, alpha, a, b, beta, c);
}
void gemm(std::size_t count, blas::Steps steps, float alpha, Matrix<const float> a, Matrix<const float> b, float beta,
          Matrix<float> c) {
  gemm_of(count, steps, alpha, a, b, beta, c);
}
void syrk_lower(double alpha, Matrix<const double> a, double beta, Matrix<double> c) {
  syrk_of(alpha, a, beta, c);
}
void syrk_lower(float alpha, Matrix<const float> a, float beta, Matrix<float> c) {
  syrk_of(alpha, a, beta, c);
}
void trsm(blas::Triangle stored, Matrix<const double> l, Matrix<double> b) {
  trsm_of(stored, l, b);
}
void trsm(blas::Triangle stored, Matrix<const float> l, Matrix<float> b) {
  trsm_of(stored, l, b);
}
void axpy(Device device, int n, double alpha, const double* x, double* y) {
  axpy_of(device, n, alpha, x, y);
}
void axpy(Device device, int n, float alpha, const float* x, float* y) {
  axpy_of(device, n, alpha, x, y);
}
void scale(Device device, int n, double alpha, double* x) {
  scale_of(device, n, alpha, x);
}
void scale(Device device, int n, float alpha, float* x) {
  scale_of(device, n, alpha, x);
}
double dot(Device device, int n, const double* x, const double* y) {
  return dot_of(device, n, x, y);
}
float dot(Device device, int n, const float* x, const float* y) {
  return dot_of(device, n, x, y);
}
double nrm2(Device device, int n, const double* x) {
  return nrm2_of(device, n, x);
}
float nrm2(Device device, int n, const float* x) {
  return nrm2_of(device, n, x);
}

}  // namespace fachwerk::compute::cuda
