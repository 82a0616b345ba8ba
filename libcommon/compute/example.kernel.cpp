// How to write a method for CPU and GPU at once:
//
// 1. The kernel is the call operator of a plain struct: pointers and numbers as members, `FACHWERK_HD`, no exceptions,
// no
//    allocation, no std containers. It does one item of work. Being plain C++, it is tested on the CPU.
// 2. The public function takes Views, checks them, and hands the struct to `parallel_for` with the device of its
// arguments.
//    Reductions go through compute/reduce.hpp, dense algebra and transforms through blas.hpp, lapack.hpp, fft.hpp: all
//    take the same Views, so a whole method is written once.
// 3. The file is named NAME.kernel.cpp and listed in the system's CMakeLists.txt:
//        fachwerk_device_sources(fachwerk_SYSTEM FILES NAME.kernel.cpp)
//    It is then compiled by nvcc where CUDA is configured, and as C++ with OpenMP elsewhere. Keep such files small,
//    free of HDF5, fmt and other big headers.
// 4. The tool makes its Device once, `Device::parse(session.device)`, copies inputs to it with Buffer, results back
// with
//    `vector()`.

#include "compute/example.kernel.hpp"

#include <stdexcept>

#include "compute/parallel.hpp"

namespace fachwerk::compute::example {
namespace {

struct HeatStep {
  double r;
  std::size_t n;
  const double* now;
  double* next;

  FACHWERK_HD void operator()(std::size_t i) const {
    const bool end = i == 0 || i + 1 == n;
    next[i] = end ? now[i] : now[i] + r * (now[i - 1] - 2 * now[i] + now[i + 1]);
  }
};

}  // namespace

void heat_step(double r, View<const double> now, View<double> next) {
  if (now.size() != next.size() || now.device() != next.device())
    throw std::invalid_argument("heat_step: the arrays differ in length or device");
  parallel_for(now.device(), now.size(), HeatStep{r, now.size(), now.data(), next.data()});
}

}  // namespace fachwerk::compute::example
