#include "compute/cuda_library.hpp"

#include <cstdlib>

#include <dlfcn.h>

#include "cli/error.hpp"

namespace fachwerk::compute::cuda {

Library::Library(const std::string& name) : name_(name) {
  const char* home = std::getenv("CUDA_HOME");
  for (const std::string& folder : {std::string(), home ? std::string(home) + "/lib64/" : std::string(),
                                    std::string(FACHWERK_CUDA_LIBRARIES) + "/"}) {
    handle_ = dlopen((folder + name).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) return;
  }
  throw absent_error("{} was not found: the CUDA device cannot be used without it", name)
      .with_hint("install the CUDA runtime libraries or set CUDA_HOME, or use --device cpu");
}

void* Library::symbol(const char* name) const {
  void* address = dlsym(handle_, name);
  if (address == nullptr) throw absent_error("{} has no function {}: is it another version?", name_, name);
  return address;
}

void check_status(int status, const char* library, const char* what) {
  if (status != 0) throw method_failed("{}: {} failed with status {}", library, what, status);
}

void open_all_libraries() {
  open_blas();
  open_solver();
  open_fourier();
}

}  // namespace fachwerk::compute::cuda
