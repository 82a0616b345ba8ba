#include <doctest.h>

#include "cli/error.hpp"
#include "compute/device.hpp"

#ifdef FACHWERK_HAVE_CUDA
#include "compute/cuda_library.hpp"
#endif

// Needs CUDA's libraries but no device.
TEST_CASE("every function of cuBLAS, cuSOLVER and cuFFT that is used exists") {
#ifdef FACHWERK_HAVE_CUDA
  using namespace fachwerk::compute::cuda;
  CHECK_NOTHROW(open_all_libraries());
  CHECK_THROWS_AS(Library("libfachwerk-no-such-thing.so.1"), fachwerk::Error);
#else
  CHECK(!fachwerk::compute::built_with_cuda());
  MESSAGE("skipped: this build has no device code");
#endif
}
