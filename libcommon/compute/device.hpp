#pragma once

#include <cstddef>
#include <string>

/// Computing on the CPU and on CUDA devices from one source: see compute/example.kernel.cpp for the pattern.
namespace fachwerk::compute {

/// Where arrays live and loops run: the CPU (all OpenMP threads) or one CUDA device.
/// Work on a CUDA device is issued in order on its default stream; reading its results from the CPU waits for it.
class Device {
 public:
  Device() = default;  ///< the CPU
  static Device cpu() { return {}; }

  /// The device that `--device` names: `cpu`; `cuda` or `cuda:N`; `auto`, which is the CPU until the device code has
  /// been seen to run on hardware: who asks for a device gets it. Throws absent_error (exit 5) for a CUDA device that
  /// is not there, usage_error for other text.
  static Device parse(const std::string& text);

  bool is_cpu() const { return index_ < 0; }
  bool is_cuda() const { return index_ >= 0; }
  int index() const { return index_; }  ///< number of the CUDA device, -1 for the CPU
  std::string name() const;             ///< "cpu", "cuda:0"

  /// Waits until everything issued on the device is done. Throws method_failed when a kernel failed.
  void synchronize() const;
  /// Bytes that can be allocated now.
  std::size_t free_memory() const;

  bool operator==(const Device&) const = default;

 private:
  explicit Device(int index) : index_(index) {}
  int index_ = -1;
};

/// True if this build has device code.
bool built_with_cuda();
/// Usable CUDA devices: 0 without device code, without a driver, or without a device. `reason` says which.
int cuda_devices(std::string* reason = nullptr);

/// Raw memory, for Buffer and View alone. CPU memory is aligned to 64 bytes.
/// Throws absent_error when there is not enough.
void* allocate(Device device, std::size_t bytes);
void deallocate(Device device, void* memory) noexcept;
void copy_bytes(Device to_device, void* to, Device from_device, const void* from, std::size_t bytes);
void zero_bytes(Device device, void* memory, std::size_t bytes);

}  // namespace fachwerk::compute
