#pragma once

#include <string>

/// Choosing the CPU's vector unit at run time. A file listed in `fachwerk_isa_variants` (cmake/fachwerk.cmake) is
/// compiled once per unit into namespaces isa_baseline, isa_avx2 and isa_avx512; `dispatch` picks one:
///
///     namespace isa_baseline { void axpy(...); }   // declared for each of the three in the method's header
///     const auto axpy = compute::dispatch(isa_baseline::axpy, isa_avx2::axpy, isa_avx512::axpy);
namespace fachwerk::compute {

enum class Isa {
  baseline,  ///< what every x86-64 has (SSE2)
  avx2,      ///< x86-64-v3: AVX2, FMA
  avx512     ///< x86-64-v4: AVX-512 F, BW, CD, DQ, VL
};

/// The best unit of this CPU. In the header: it is asked for before main by code that needs nothing else of this room.
inline Isa isa_of_processor() {
#if defined(__x86_64__)
  // Of the levels x86-64-v3 and v4 the features that every compiler can ask for; no processor has them without the
  // rest.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  return avx512 ? Isa::avx512 : avx2 ? Isa::avx2 : Isa::baseline;
#else
  return Isa::baseline;
#endif
}

std::string name(Isa isa);

/// The best unit of this CPU, or the lesser one that the environment variable FACHWERK_ISA = baseline|avx2|avx512 asks
/// for. Throws usage_error for another word, absent_error if this CPU has not got it.
Isa best_isa();

template <class Function>
Function* dispatch(Function* baseline, Function* avx2, Function* avx512) {
  switch (best_isa()) {
    case Isa::avx512:
      return avx512;
    case Isa::avx2:
      return avx2;
    default:
      return baseline;
  }
}

}  // namespace fachwerk::compute
