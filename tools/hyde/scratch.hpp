#pragma once

#include <cstddef>
#include <span>

namespace fachwerk::hyde {

/// Memory above which a ScratchArray lies in an unlinked file under $TMPDIR, so that whole-cube methods run on cubes
/// larger than memory; the kernel then keeps in memory what fits. 0: never.
struct ScratchLimit {
  std::size_t bytes = 0;
};

/// A large array of floats, zero at first, in memory or in a mapped temporary file. Throws absent_error with the size
/// when there is no room.
class ScratchArray {
 public:
  ScratchArray(std::size_t size, ScratchLimit limit);
  ~ScratchArray();
  ScratchArray(ScratchArray&& other) noexcept;
  ScratchArray& operator=(ScratchArray&& other) noexcept;
  /// Gives back the memory of elements [first, first + count), whole pages of it; they read as zero then.
  void release(std::size_t first, std::size_t count);
  std::span<float> values() { return {data_, size_}; }
  std::span<const float> values() const { return {data_, size_}; }

 private:
  float* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace fachwerk::hyde
