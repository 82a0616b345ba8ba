#pragma once

#include <functional>
#include <span>
#include <vector>

#include "compute/buffer.hpp"
#include "cube.hpp"
#include "linear.hpp"
#include "wavelet.hpp"

namespace fachwerk::hyde {

/// The passes over a cube, and the wavelet transforms of planes, on a device: the same source runs on the CPU, where
/// tests hold it to the methods' own loops. The cube stays on the device where half of its free memory can hold it, and
/// goes over in blocks of pixels otherwise.
class Accelerator {
 public:
  /// `memory`: bytes of the device that may be used; 0: what is free.
  explicit Accelerator(compute::Device device, std::size_t memory = 0);

  const compute::Device& device() const { return device_; }

  /// As the functions of gram.hpp and lowrank.hpp, of the source's own pixels: a team adds up elsewhere.
  Matrix gram(const Source& source);
  Matrix correlate(const Source& source, std::span<const float> planes);
  void project(const Source& source, const Matrix& directions, std::size_t stride, std::span<float> planes);

  /// Transforms planes in slots of dwt.size() that begin with the plane, in place.
  void forward(const Dwt2& dwt, std::span<float> slots) const;
  /// Thresholds every coefficient, [planes] of them or [planes][subbands], and transforms back in place; what follows
  /// is Dwt2's crop and fold.
  void shrink_and_inverse(const Dwt2& dwt, std::span<const float> thresholds, std::span<float> slots) const;

 private:
  using Block = std::function<void(std::size_t first, std::size_t pixels, compute::View<const float>)>;
  void each_block(const Source& source, const Block& fn);
  /// Some of the planes at a time on the device.
  void in_batches(const Dwt2& dwt, std::span<float> slots,
                  const std::function<void(std::size_t first, std::size_t count, compute::View<float> planes,
                                           compute::View<float> half)>& fn) const;

  compute::Device device_;
  std::size_t memory_;
  compute::Buffer<float> cube_;  ///< the whole cube, once it was read
  bool resident_ = false;
};

}  // namespace fachwerk::hyde
