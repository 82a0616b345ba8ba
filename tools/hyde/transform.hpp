#pragma once

#include <span>

#include "cube.hpp"
#include "wavelet.hpp"

namespace fachwerk::hyde {

/// Wavelet coefficients of planes in slots of dwt.size() that begin with the plane, in place; all threads, or the
/// source's device.
void transform(const Source& source, const Dwt2& dwt, std::span<float> slots);

/// Soft thresholds [planes] or [planes][subbands], and the inverse in place, padding included (Dwt2's crop and fold
/// follow).
void shrink_and_inverse(const Source& source, const Dwt2& dwt, std::span<const float> thresholds,
                        std::span<float> slots);

}  // namespace fachwerk::hyde
