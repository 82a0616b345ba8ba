#pragma once

#include <cstddef>

#include "compute/clones.hpp"

namespace fachwerk::hyde {

/// Sixteen floats at any address. Sums over taps are kept in variables of this type: GCC leaves arrays of them in
/// memory, which costs ten times as much.
typedef float Lanes __attribute__((vector_size(64), aligned(4), may_alias));
constexpr std::size_t kLaneCount = 16;

}  // namespace fachwerk::hyde
