#include "compute/isa.hpp"

#include <array>
#include <cstdlib>
#include <string_view>

#include "cli/error.hpp"

namespace fachwerk::compute {
namespace {

constexpr std::array<const char*, 3> names{"baseline", "avx2", "avx512"};

}  // namespace

std::string name(Isa isa) {
  return names.at(static_cast<std::size_t>(isa));
}

Isa best_isa() {
  const Isa best = isa_of_processor();
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
