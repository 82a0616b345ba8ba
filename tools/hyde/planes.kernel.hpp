#pragma once

#include "compute/buffer.hpp"

/// Loops over image planes on any device (planes.kernel.cpp).
namespace fachwerk::hyde::kernels {

/// to[i] = from[i] in double.
void widen(compute::View<const float> from, compute::View<double> to);

/// Planes [count][rows][cols], padded; what one step of the wavelet transform works on is their first `height` x
/// `width`.
struct PlaneBlock {
  std::size_t count, rows, cols, height, width;
  std::size_t size() const { return rows * cols; }
};

/// One level of the periodised transform (Dwt2) along rows, then along columns: filters of `low` and `high`, which are
/// on the planes' device. `half` is as large as the planes.
void analyse(const PlaneBlock& block, compute::View<const float> low, compute::View<const float> high,
             compute::View<float> planes, compute::View<float> half);
/// Its inverse.
void synthesise(const PlaneBlock& block, compute::View<const float> low, compute::View<const float> high,
                compute::View<float> planes, compute::View<float> half);

/// A rectangle of every plane.
struct Rectangle {
  std::size_t row, col, rows, cols;
};
/// Soft threshold thresholds[k * step] within the rectangle of plane k.
void soft_threshold(const PlaneBlock& block, const Rectangle& rectangle, compute::View<const float> thresholds,
                    std::size_t step, compute::View<float> planes);

}  // namespace fachwerk::hyde::kernels
