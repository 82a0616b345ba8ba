#pragma once

#include <complex>
#include <cstddef>
#include <span>

#include "compute/blas.hpp"
#include "compute/buffer.hpp"

/// Private to compute: the device side of device.cpp, blas.cpp, lapack.cpp and fft.cpp. Only what is called under
/// `if constexpr (with_cuda)` is needed by the linker; a build without CUDA has none of it.
namespace fachwerk::compute {

#ifdef FACHWERK_HAVE_CUDA
inline constexpr bool with_cuda = true;
#else
inline constexpr bool with_cuda = false;
#endif

namespace detail {

/// Makes `device` the current one of this thread.
void activate(Device device);
/// Throws method_failed naming `what` unless `status` is cudaSuccess.
void check_cuda(int status, const char* what);

}  // namespace detail

namespace cuda {

// ---- cuBLAS: arguments as in blas.hpp, checked before ----
void gemm(std::size_t count, blas::Steps steps, double alpha, Matrix<const double> a, Matrix<const double> b,
          double beta, Matrix<double> c);
void gemm(std::size_t count, blas::Steps steps, float alpha, Matrix<const float> a, Matrix<const float> b, float beta,
          Matrix<float> c);
void syrk_lower(double alpha, Matrix<const double> a, double beta, Matrix<double> c);
void syrk_lower(float alpha, Matrix<const float> a, float beta, Matrix<float> c);
void trsm(blas::Triangle stored, Matrix<const double> l, Matrix<double> b);
void trsm(blas::Triangle stored, Matrix<const float> l, Matrix<float> b);
void axpy(Device device, int n, double alpha, const double* x, double* y);
void axpy(Device device, int n, float alpha, const float* x, float* y);
void scale(Device device, int n, double alpha, double* x);
void scale(Device device, int n, float alpha, float* x);
double dot(Device device, int n, const double* x, const double* y);
float dot(Device device, int n, const float* x, const float* y);
double nrm2(Device device, int n, const double* x);
float nrm2(Device device, int n, const float* x);

// ---- cuSOLVER: column-major arrays on `device`, LAPACK's meaning and return value ----
int potrf_upper(Device device, int n, double* a, int lda);
int potrf_upper(Device device, int n, float* a, int lda);
int syevd_upper(Device device, int n, double* a, double* w);
int syevd_upper(Device device, int n, float* a, float* w);
int gesvd(Device device, int m, int n, double* a, double* s, double* u, double* vt);
int gesvd(Device device, int m, int n, float* a, float* s, float* u, float* vt);
int geqrf(Device device, int m, int n, double* a, double* tau);
int geqrf(Device device, int m, int n, float* a, float* tau);
int orgqr(Device device, int m, int k, double* a, const double* tau);
int orgqr(Device device, int m, int k, float* a, const float* tau);
int gesv(Device device, int n, int columns, double* a, double* b);
int gesv(Device device, int n, int columns, float* a, float* b);

// ---- cuFFT ----
enum class Fourier { forward, inverse, real_forward, real_inverse };
/// A plan for batched contiguous transforms; executions on one plan are issued in order.
class FourierPlan {
 public:
  FourierPlan(Device device, Fourier kind, bool in_double, std::span<const std::size_t> shape, std::size_t batch);
  ~FourierPlan();
  FourierPlan(const FourierPlan&) = delete;
  FourierPlan& operator=(const FourierPlan&) = delete;
  void execute(void* in, void* out) const;

 private:
  Device device_;
  Fourier kind_;
  bool in_double_;
  int plan_ = 0;
};

}  // namespace cuda
}  // namespace fachwerk::compute
