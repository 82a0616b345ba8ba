#include "compute/device.hpp"

#include <charconv>
#include <cstring>
#include <fstream>
#include <new>

#include "cli/error.hpp"
#include "compute/cuda_backend.hpp"

#ifdef FACHWERK_HAVE_CUDA
#include <cuda_runtime_api.h>
#endif

namespace fachwerk::compute {
namespace {

constexpr std::align_val_t alignment{64};

Error no_memory(std::size_t bytes, Device device) {
  return absent_error("not enough memory on {}: {:.3g} GiB more are needed", device.name(), double(bytes) / (1 << 30))
      .with_hint("use a machine with more memory, fewer threads, or a smaller input");
}

std::size_t available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  std::size_t kib = 0;
  while (file >> key >> kib && std::getline(file, unit))
    if (key == "MemAvailable:") return kib * 1024;
  return 0;
}

}  // namespace

#ifdef FACHWERK_HAVE_CUDA

namespace detail {

void activate(Device device) {
  if (device.is_cuda()) check_cuda(cudaSetDevice(device.index()), "cudaSetDevice");
}

void check_cuda(int status, const char* what) {
  const auto error = static_cast<cudaError_t>(status);
  if (error != cudaSuccess) throw method_failed("CUDA: {}: {}", what, cudaGetErrorString(error));
}

}  // namespace detail

bool built_with_cuda() {
  return true;
}

int cuda_devices(std::string* reason) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess) return count;
  cudaGetLastError();  // taken note of
  if (reason != nullptr)
    *reason = status == cudaErrorInsufficientDriver ? "no NVIDIA driver, or one too old for this build"
                                                    : cudaGetErrorString(status);
  return 0;
}

void Device::synchronize() const {
  if (is_cpu()) return;
  detail::activate(*this);
  detail::check_cuda(cudaDeviceSynchronize(), "kernel");
}

std::size_t Device::free_memory() const {
  if (is_cpu()) return available_memory();
  detail::activate(*this);
  std::size_t free = 0, total = 0;
  detail::check_cuda(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return free;
}

#else

namespace detail {

void activate(Device) {}
void check_cuda(int, const char*) {}

}  // namespace detail

bool built_with_cuda() {
  return false;
}

int cuda_devices(std::string* reason) {
  if (reason != nullptr) *reason = "this build has no device code";
  return 0;
}

void Device::synchronize() const {}
std::size_t Device::free_memory() const {
  return available_memory();
}

#endif

std::string Device::name() const {
  return is_cpu() ? "cpu" : "cuda:" + std::to_string(index_);
}

Device Device::parse(const std::string& text) {
  if (text == "cpu" || text == "auto") return {};
  int index = 0;
  if (text != "cuda") {
    const char* end = text.data() + text.size();
    const bool prefixed = text.starts_with("cuda:");
    const auto [stop, error] = prefixed ? std::from_chars(text.data() + 5, end, index) : std::from_chars_result{};
    if (!prefixed || error != std::errc() || stop != end || index < 0)
      throw usage_error("--device {}: expected auto, cpu, cuda or cuda:N", text);
  }
  std::string reason;
  const int count = cuda_devices(&reason);
  if (count == 0)
    throw absent_error("--device {}: no CUDA device: {}", text, reason.empty() ? "none found" : reason)
        .with_hint(built_with_cuda() ? "use --device cpu" : "use --device cpu, or build with -DFACHWERK_CUDA=ON");
  if (index >= count) throw absent_error("--device {}: there are only {} CUDA devices, numbered from 0", text, count);
  return Device(index);
}

void* allocate(Device device, std::size_t bytes) {
  if (device.is_cpu()) {
    void* memory = ::operator new(bytes, alignment, std::nothrow);
    if (memory == nullptr) throw no_memory(bytes, device);
    return memory;
  }
  void* memory = nullptr;
#ifdef FACHWERK_HAVE_CUDA
  detail::activate(device);
  const cudaError_t status = cudaMalloc(&memory, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // taken note of: it must not show up again as the failure of a later kernel
    throw no_memory(bytes, device);
  }
  detail::check_cuda(status, "cudaMalloc");
#endif
  return memory;
}

void deallocate(Device device, void* memory) noexcept {
  if (memory == nullptr) return;
  if (device.is_cpu()) ::operator delete(memory, alignment);
#ifdef FACHWERK_HAVE_CUDA
  if (device.is_cuda()) cudaFree(memory);
#endif
}

void copy_bytes(Device to_device, void* to, Device from_device, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  if (to_device.is_cpu() && from_device.is_cpu()) {
    std::memmove(to, from, bytes);
    return;
  }
#ifdef FACHWERK_HAVE_CUDA
  detail::activate(to_device.is_cuda() ? to_device : from_device);
  detail::check_cuda(cudaMemcpy(to, from, bytes, cudaMemcpyDefault), "copy");
#endif
}

void zero_bytes(Device device, void* memory, std::size_t bytes) {
  if (bytes == 0) return;
  if (device.is_cpu()) std::memset(memory, 0, bytes);
#ifdef FACHWERK_HAVE_CUDA
  if (device.is_cuda()) {
    detail::activate(device);
    detail::check_cuda(cudaMemset(memory, 0, bytes), "cudaMemset");
  }
#endif
}

}  // namespace fachwerk::compute
