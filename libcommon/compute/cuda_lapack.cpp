#include <algorithm>
#include <string>

#include <cusolverDn.h>

#include "compute/cuda_backend.hpp"
#include "compute/cuda_library.hpp"

namespace fachwerk::compute::cuda {
namespace {

template <class T>
struct Functions;

template <>
struct Functions<double> {
  decltype(cusolverDnDpotrf_bufferSize)* potrf_size;
  decltype(cusolverDnDpotrf)* potrf;
  decltype(cusolverDnDsyevd_bufferSize)* syevd_size;
  decltype(cusolverDnDsyevd)* syevd;
  decltype(cusolverDnDgesvd_bufferSize)* gesvd_size;
  decltype(cusolverDnDgesvd)* gesvd;
  decltype(cusolverDnDgeqrf_bufferSize)* geqrf_size;
  decltype(cusolverDnDgeqrf)* geqrf;
  decltype(cusolverDnDorgqr_bufferSize)* orgqr_size;
  decltype(cusolverDnDorgqr)* orgqr;
  decltype(cusolverDnDgetrf_bufferSize)* getrf_size;
  decltype(cusolverDnDgetrf)* getrf;
  decltype(cusolverDnDgetrs)* getrs;
  explicit Functions(const Library& library) {
    library.bind(potrf_size, "cusolverDnDpotrf_bufferSize");
    library.bind(potrf, "cusolverDnDpotrf");
    library.bind(syevd_size, "cusolverDnDsyevd_bufferSize");
    library.bind(syevd, "cusolverDnDsyevd");
    library.bind(gesvd_size, "cusolverDnDgesvd_bufferSize");
    library.bind(gesvd, "cusolverDnDgesvd");
    library.bind(geqrf_size, "cusolverDnDgeqrf_bufferSize");
    library.bind(geqrf, "cusolverDnDgeqrf");
    library.bind(orgqr_size, "cusolverDnDorgqr_bufferSize");
    library.bind(orgqr, "cusolverDnDorgqr");
    library.bind(getrf_size, "cusolverDnDgetrf_bufferSize");
    library.bind(getrf, "cusolverDnDgetrf");
    library.bind(getrs, "cusolverDnDgetrs");
  }
};

template <>
struct Functions<float> {
  decltype(cusolverDnSpotrf_bufferSize)* potrf_size;
  decltype(cusolverDnSpotrf)* potrf;
  decltype(cusolverDnSsyevd_bufferSize)* syevd_size;
  decltype(cusolverDnSsyevd)* syevd;
  decltype(cusolverDnSgesvd_bufferSize)* gesvd_size;
  decltype(cusolverDnSgesvd)* gesvd;
  decltype(cusolverDnSgeqrf_bufferSize)* geqrf_size;
  decltype(cusolverDnSgeqrf)* geqrf;
  decltype(cusolverDnSorgqr_bufferSize)* orgqr_size;
  decltype(cusolverDnSorgqr)* orgqr;
  decltype(cusolverDnSgetrf_bufferSize)* getrf_size;
  decltype(cusolverDnSgetrf)* getrf;
  decltype(cusolverDnSgetrs)* getrs;
  explicit Functions(const Library& library) {
    library.bind(potrf_size, "cusolverDnSpotrf_bufferSize");
    library.bind(potrf, "cusolverDnSpotrf");
    library.bind(syevd_size, "cusolverDnSsyevd_bufferSize");
    library.bind(syevd, "cusolverDnSsyevd");
    library.bind(gesvd_size, "cusolverDnSgesvd_bufferSize");
    library.bind(gesvd, "cusolverDnSgesvd");
    library.bind(geqrf_size, "cusolverDnSgeqrf_bufferSize");
    library.bind(geqrf, "cusolverDnSgeqrf");
    library.bind(orgqr_size, "cusolverDnSorgqr_bufferSize");
    library.bind(orgqr, "cusolverDnSorgqr");
    library.bind(getrf_size, "cusolverDnSgetrf_bufferSize");
    library.bind(getrf, "cusolverDnSgetrf");
    library.bind(getrs, "cusolverDnSgetrs");
  }
};

using Cusolver = TwoPrecisions<Functions, cusolverDnHandle_t>;

Cusolver& cusolver() {
  static Cusolver& library =
      *new Cusolver("libcusolver.so." + std::to_string(CUSOLVER_VER_MAJOR), "cuSOLVER", "cusolverDnCreate");
  return library;
}

void check(int status, const char* what) {
  check_status(status, "cuSOLVER", what);
}

/// What every factorisation needs: handle, functions, workspace, and LAPACK's info at the end.
template <class T>
struct Job {
  explicit Job(Device where)
      : device(where),
        handle(cusolver().handle(where)),
        functions(cusolver().functions<T>()),
        info(Buffer<int>::zeros(where, 1)) {}
  T* work(int size) {
    length = size;
    memory = Buffer<T>(device, std::size_t(std::max(size, 1)));
    return memory.data();
  }
  int result() const { return info.vector()[0]; }

  Device device;
  cusolverDnHandle_t handle;
  const Functions<T>& functions;
  Buffer<int> info;
  Buffer<T> memory;
  int length = 0;
};

template <class T>
int potrf_of(Device device, int n, T* a, int lda) {
  Job<T> job(device);
  int size = 0;
  check(job.functions.potrf_size(job.handle, CUBLAS_FILL_MODE_UPPER, n, a, lda, &size), "potrf");
  T* work = job.work(size);
  check(job.functions.potrf(job.handle, CUBLAS_FILL_MODE_UPPER, n, a, lda, work, size, job.info.data()), "potrf");
  return job.result();
}

template <class T>
int syevd_of(Device device, int n, T* a, T* w) {
  Job<T> job(device);
  int size = 0;
  check(job.functions.syevd_size(job.handle, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_UPPER, n, a, n, w, &size),
        "syevd");
  T* work = job.work(size);
  check(job.functions.syevd(job.handle, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_UPPER, n, a, n, w, work, size,
                            job.info.data()),
        "syevd");
  return job.result();
}

template <class T>
int gesvd_of(Device device, int m, int n, T* a, T* s, T* u, T* vt) {
  Job<T> job(device);
  int size = 0;
  check(job.functions.gesvd_size(job.handle, m, n, &size), "gesvd");
  T* work = job.work(size);
  check(job.functions.gesvd(job.handle, 'S', 'S', m, n, a, m, s, u, m, vt, n, work, size, nullptr, job.info.data()),
        "gesvd");
  return job.result();
}

template <class T>
int geqrf_of(Device device, int m, int n, T* a, T* tau) {
  Job<T> job(device);
  int size = 0;
  check(job.functions.geqrf_size(job.handle, m, n, a, m, &size), "geqrf");
  T* work = job.work(size);
  check(job.functions.geqrf(job.handle, m, n, a, m, tau, work, size, job.info.data()), "geqrf");
  return job.result();
}

template <class T>
int orgqr_of(Device device, int m, int k, T* a, const T* tau) {
  Job<T> job(device);
  int size = 0;
  check(job.functions.orgqr_size(job.handle, m, k, k, a, m, tau, &size), "orgqr");
  T* work = job.work(size);
  check(job.functions.orgqr(job.handle, m, k, k, a, m, tau, work, size, job.info.data()), "orgqr");
  return job.result();
}

template <class T>
int gesv_of(Device device, int n, int columns, T* a, T* b) {
  Job<T> job(device);
  Buffer<int> pivots(device, std::size_t(n));
  int size = 0;
  check(job.functions.getrf_size(job.handle, n, n, a, n, &size), "getrf");
  T* work = job.work(size);
  check(job.functions.getrf(job.handle, n, n, a, n, work, pivots.data(), job.info.data()), "getrf");
  const int info = job.result();
  if (info != 0) return info;
  check(job.functions.getrs(job.handle, CUBLAS_OP_N, n, columns, a, n, pivots.data(), b, n, job.info.data()), "getrs");
  return job.result();
}

}  // namespace

void open_solver() {
  cusolver();
}

int potrf_upper(Device device, int n, double* a, int lda) {
  return potrf_of(device, n, a, lda);
}
int potrf_upper(Device device, int n, float* a, int lda) {
  return potrf_of(device, n, a, lda);
}
int syevd_upper(Device device, int n, double* a, double* w) {
  return syevd_of(device, n, a, w);
}
int syevd_upper(Device device, int n, float* a, float* w) {
  return syevd_of(device, n, a, w);
}
int gesvd(Device device, int m, int n, double* a, double* s, double* u, double* vt) {
  return gesvd_of(device, m, n, a, s, u, vt);
}
int gesvd(Device device, int m, int n, float* a, float* s, float* u, float* vt) {
  return gesvd_of(device, m, n, a, s, u, vt);
}
int geqrf(Device device, int m, int n, double* a, double* tau) {
  return geqrf_of(device, m, n, a, tau);
}
int geqrf(Device device, int m, int n, float* a, float* tau) {
  return geqrf_of(device, m, n, a, tau);
}
int orgqr(Device device, int m, int k, double* a, const double* tau) {
  return orgqr_of(device, m, k, a, tau);
}
int orgqr(Device device, int m, int k, float* a, const float* tau) {
  return orgqr_of(device, m, k, a, tau);
}
int gesv(Device device, int n, int columns, double* a, double* b) {
  return gesv_of(device, n, columns, a, b);
}
int gesv(Device device, int n, int columns, float* a, float* b) {
  return gesv_of(device, n, columns, a, b);
}

}  // namespace fachwerk::compute::cuda
