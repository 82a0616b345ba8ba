#pragma once

#include <cstddef>

/// Compiles a hot serial kernel once per vector unit and picks at load time, so that baseline builds use AVX2 and
/// AVX-512. Sanitizers cannot run the pickers, so they get the baseline alone.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define HYDE_VECTOR_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define HYDE_VECTOR_CLONES
#endif

namespace fachwerk::hyde {

/// Sixteen floats at any address. Sums over taps are kept in variables of this type: GCC leaves arrays of them in
/// memory, which costs ten times as much.
typedef float Lanes __attribute__((vector_size(64), aligned(4), may_alias));
constexpr std::size_t kLaneCount = 16;

}  // namespace fachwerk::hyde
