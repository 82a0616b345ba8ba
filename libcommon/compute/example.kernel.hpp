#pragma once

#include "compute/buffer.hpp"

/// The pattern of a method that runs on CPU and GPU from one source. Copy these two files.
namespace fachwerk::compute::example {

/// One step of explicit heat conduction on a line: next_i = now_i + r (now_{i-1} - 2 now_i + now_{i+1}), the two ends
/// kept. Stable for r <= 1/2. Both arrays on one device and of equal length; throws std::invalid_argument otherwise.
void heat_step(double r, View<const double> now, View<double> next);

}  // namespace fachwerk::compute::example
