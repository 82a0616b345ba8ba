#include "compute/isa.hpp"

#include <array>
#include <cstdlib>
#include <string_view>

#include "cli/error.hpp"

namespace fachwerk::compute {
namespace {

constexpr std::array<const char*, 3> names{"baseline", "avx2", "avx512"};

Isa isa_of_cpu() {
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

}  // namespace

std::string name(Isa isa) {
  return names.at(static_cast<std::size_t>(isa));
}

Isa best_isa() {
  const Isa best = isa_of_cpu();
  const char* asked = std::getenv("FACHWERK_ISA");
  if (asked == nullptr || *asked == '\0') return best;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (std::string_view(asked) != names[i]) continue;
    if (i > static_cast<std::size_t>(best))
      throw absent_error("FACHWERK_ISA={}: this CPU has only {}", asked, name(best));
    return static_cast<Isa>(i);
  }
  throw usage_error("FACHWERK_ISA={}: expected baseline, avx2 or avx512", asked);
}

}  // namespace fachwerk::compute
