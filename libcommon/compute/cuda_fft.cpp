#include <mutex>
#include <string>
#include <vector>

#include <cufft.h>

#include "compute/cuda_backend.hpp"
#include "compute/cuda_library.hpp"

namespace fachwerk::compute::cuda {
namespace {

struct Cufft {
  Library library{"libcufft.so." + std::to_string(CUFFT_VER_MAJOR)};
  decltype(cufftPlanMany)* plan_many;
  decltype(cufftDestroy)* destroy;
  decltype(cufftExecZ2Z)* z2z;
  decltype(cufftExecC2C)* c2c;
  decltype(cufftExecD2Z)* d2z;
  decltype(cufftExecR2C)* r2c;
  decltype(cufftExecZ2D)* z2d;
  decltype(cufftExecC2R)* c2r;

  Cufft() {
    library.bind(plan_many, "cufftPlanMany");
    library.bind(destroy, "cufftDestroy");
    library.bind(z2z, "cufftExecZ2Z");
    library.bind(c2c, "cufftExecC2C");
    library.bind(d2z, "cufftExecD2Z");
    library.bind(r2c, "cufftExecR2C");
    library.bind(z2d, "cufftExecZ2D");
    library.bind(c2r, "cufftExecC2R");
  }
};

const Cufft& cufft() {
  static const Cufft& library = *new Cufft;  // never destroyed: see Handles
  return library;
}

cufftType type_of(Fourier kind, bool in_double) {
  switch (kind) {
    case Fourier::real_forward:
      return in_double ? CUFFT_D2Z : CUFFT_R2C;
    case Fourier::real_inverse:
      return in_double ? CUFFT_Z2D : CUFFT_C2R;
    default:
      return in_double ? CUFFT_Z2Z : CUFFT_C2C;
  }
}

void check(int status, const char* what) {
  check_status(status, "cuFFT", what);
}

}  // namespace

void open_fourier() {
  cufft();
}

FourierPlan::FourierPlan(Device device, Fourier kind, bool in_double, std::span<const std::size_t> shape,
                         std::size_t batch)
    : device_(device), kind_(kind), in_double_(in_double) {
  detail::activate(device);
  std::vector<int> n(shape.begin(), shape.end());  // lengths were checked by fft.cpp
  check(cufft().plan_many(&plan_, int(n.size()), n.data(), nullptr, 1, 0, nullptr, 1, 0, type_of(kind, in_double),
                          int(batch)),
        "planning");
}

FourierPlan::~FourierPlan() {
  cufft().destroy(plan_);
}

void FourierPlan::execute(void* in, void* out) const {
  static std::mutex mutex;  // a plan's workspace serves one execution at a time
  const std::lock_guard lock(mutex);
  detail::activate(device_);
  const int direction = kind_ == Fourier::inverse ? CUFFT_INVERSE : CUFFT_FORWARD;
  const Cufft& f = cufft();
  switch (type_of(kind_, in_double_)) {
    case CUFFT_Z2Z:
      return check(f.z2z(plan_, static_cast<cufftDoubleComplex*>(in), static_cast<cufftDoubleComplex*>(out), direction),
                   "Z2Z");
    case CUFFT_C2C:
      return check(f.c2c(plan_, static_cast<cufftComplex*>(in), static_cast<cufftComplex*>(out), direction), "C2C");
    case CUFFT_D2Z:
      return check(f.d2z(plan_, static_cast<double*>(in), static_cast<cufftDoubleComplex*>(out)), "D2Z");
    case CUFFT_R2C:
      return check(f.r2c(plan_, static_cast<float*>(in), static_cast<cufftComplex*>(out)), "R2C");
    case CUFFT_Z2D:
      return check(f.z2d(plan_, static_cast<cufftDoubleComplex*>(in), static_cast<double*>(out)), "Z2D");
    default:
      return check(f.c2r(plan_, static_cast<cufftComplex*>(in), static_cast<float*>(out)), "C2R");
  }
}

}  // namespace fachwerk::compute::cuda
