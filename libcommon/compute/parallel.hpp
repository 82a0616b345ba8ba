#pragma once

#include <cstddef>
#include <exception>
#include <limits>
#include <stdexcept>

#include "compute/device.hpp"
#include "compute/host_device.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __CUDACC__
#include <cuda_runtime_api.h>
#endif

namespace fachwerk::compute {

/// Threads that loops use now: what `--threads` set, 1 inside a parallel loop.
inline int threads() {
#ifdef _OPENMP
  return omp_in_parallel() ? 1 : omp_get_max_threads();
#else
  return 1;
#endif
}

namespace detail {

/// Makes the device current for this thread / names a CUDA error. Defined in device.cpp.
void activate(Device device);
void check_cuda(int status, const char* what);

/// Keeps the exception of the lowest index that threw, so that the same one comes out with any number of threads.
class FirstException {
 public:
  void keep(std::size_t index) {
#pragma omp critical(fachwerk_first_exception)
    if (index < index_) {
      index_ = index;
      exception_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (exception_) std::rethrow_exception(exception_);
  }

 private:
  std::size_t index_ = std::numeric_limits<std::size_t>::max();
  std::exception_ptr exception_;
};

template <class Fn>
void loop_on_cpu(std::size_t n, const Fn& fn) {
  FirstException failure;
#pragma omp parallel num_threads(threads()) if (n > 1)
  {
#ifdef _OPENMP
    const std::size_t team = static_cast<std::size_t>(omp_get_num_threads());
    const std::size_t me = static_cast<std::size_t>(omp_get_thread_num());
#else
    const std::size_t team = 1, me = 0;
#endif
    // Equal contiguous shares; written out so that the loop itself stays plain enough to be vectorised.
    const std::size_t share = n / team, rest = n % team;
    const std::size_t begin = me * share + (me < rest ? me : rest);
    const std::size_t end = begin + share + (me < rest ? 1 : 0);
    try {
      for (std::size_t i = begin; i < end; ++i)
        fn(i);
    } catch (...) {
      failure.keep(begin);
    }
  }
  failure.rethrow();
}

#ifdef __CUDACC__
template <class Fn>
__global__ void loop_kernel(std::size_t n, const Fn fn) {
  const std::size_t step = std::size_t(gridDim.x) * blockDim.x;
  for (std::size_t i = std::size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step)
    fn(i);
}

template <class Fn>
void loop_on_cuda(Device device, std::size_t n, const Fn& fn) {
  activate(device);
  constexpr std::size_t block = 256, most_blocks = std::size_t(1) << 20;
  const std::size_t blocks = (n + block - 1) / block;
  loop_kernel<<<unsigned(blocks < most_blocks ? blocks : most_blocks), unsigned(block)>>>(n, fn);
  check_cuda(cudaGetLastError(), "kernel launch");
}
#endif

template <class Fn>
struct RowLoop {
  Fn fn;
  std::size_t columns;
  FACHWERK_HD void operator()(std::size_t i) const {
    for (std::size_t j = 0; j < columns; ++j)
      fn(i, j);
  }
};
template <class Fn>
struct CellLoop {
  Fn fn;
  std::size_t columns;
  FACHWERK_HD void operator()(std::size_t flat) const { fn(flat / columns, flat % columns); }
};

[[noreturn]] inline void no_device_code(Device device) {
  throw std::logic_error("compute: this loop was not compiled for " + device.name() +
                         " (add its file to fachwerk_device_sources)");
}

}  // namespace detail

// The two builds of a template must not be taken for one another by the linker.
#ifdef __CUDACC__
inline namespace device_code {
#else
inline namespace host_code {
#endif

/// fn(i) for i in [0, n), in any order and at once: on the CPU by all threads, each with one contiguous share; on a
/// CUDA device a thread an index, not waited for. `fn` is a function object with `FACHWERK_HD void
/// operator()(std::size_t) const` that holds pointers and numbers; it must not depend on the order. Make it a named
/// struct where it shall run on a device: for nvcc a lambda may have no init-captures, and the CPU's side of it is not
/// inlined. On the CPU an exception of `fn` comes out; device code cannot throw. For a CUDA device the calling file
/// must be listed in `fachwerk_device_sources` (compute/compute.cmake).
template <class Fn>
void parallel_for(Device device, std::size_t n, const Fn& fn) {
  if (n == 0) return;
  if (device.is_cpu()) {
    detail::loop_on_cpu(n, fn);
    return;
  }
#ifdef __CUDACC__
  detail::loop_on_cuda(device, n, fn);
#else
  detail::no_device_code(device);
#endif
}

/// fn(i, j) for i in [0, rows), j in [0, columns). On the CPU a row is one share's work and its j run in order.
template <class Fn>
void parallel_for_2d(Device device, std::size_t rows, std::size_t columns, const Fn& fn) {
  if (rows == 0 || columns == 0) return;
  if (device.is_cpu())
    parallel_for(device, rows, detail::RowLoop<Fn>{fn, columns});
  else
    parallel_for(device, rows * columns, detail::CellLoop<Fn>{fn, columns});
}

}  // namespace host_code or device_code

/// fn(i) for i in [0, n) on the CPU, handed out one by one: for tasks of unequal length. If one throws, those not yet
/// begun are left out and the exception comes out.
template <class Fn>
void parallel_tasks(std::size_t n, const Fn& fn) {
  detail::FirstException failure;
  bool stop = false;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads()) if (n > 1)
  for (std::size_t i = 0; i < n; ++i) {
    bool skip;
#pragma omp atomic read relaxed
    skip = stop;
    if (skip) continue;
    try {
      fn(i);
    } catch (...) {
      failure.keep(i);
#pragma omp atomic write relaxed
      stop = true;
    }
  }
  failure.rethrow();
}

}  // namespace fachwerk::compute
