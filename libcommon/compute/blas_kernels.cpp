// OpenBLAS knows the processors of its own time by their model numbers. On a newer one an old release (Debian 12 has
// 0.3.21 of 2022) falls back to kernels for SSE3, a sixth of the speed of those that it has for the same vector unit.
// Here it is told the unit before main; whoever sets OPENBLAS_CORETYPE keeps the choice.
#include <cstdlib>
#include <string_view>

#include <dlfcn.h>

#include "compute/isa.hpp"

namespace fachwerk::compute {
namespace {

/// A function of the OpenBLAS that this process has loaded; null where there is none, or one for a single processor.
template <class Function>
Function* loaded(const char* symbol) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, symbol));
}

[[gnu::constructor]] void choose_blas_kernels() {
  constexpr const char* variable = "OPENBLAS_CORETYPE";
  const auto chosen = loaded<char*()>("openblas_get_corename");
  const auto quit = loaded<void()>("gotoblas_dynamic_quit");
  const auto init = loaded<void()>("gotoblas_dynamic_init");
  if (chosen == nullptr || quit == nullptr || init == nullptr || std::getenv(variable) != nullptr) return;
  const Isa isa = isa_of_processor();
  if (isa == Isa::baseline || std::string_view(chosen()) != "Prescott") return;
  setenv(variable, isa == Isa::avx512 ? "SkylakeX" : "Haswell", 1);
  quit();  // forgets the table of kernels, nothing else; no thread calls BLAS yet
  init();
  unsetenv(variable);
}

}  // namespace
}  // namespace fachwerk::compute
