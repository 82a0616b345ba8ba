#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "cli/error.hpp"
#include "matpower.hpp"
#include "psse.hpp"

using namespace fachwerk;

namespace {

void import(std::string_view text, bool raw) {
  std::vector<std::string> warnings;
  if (raw) {
    dpf::check(dpf::grid_of_raw(text, "input", warnings));
    return;
  }
  const dpf::MatpowerFile file = dpf::evaluate_matpower(text, "input");
  if (!file.tables.contains("bus")) {
    dpf::changes_of(file, "input");
    return;
  }
  const dpf::Grid grid = dpf::grid_of(file, "input", warnings);
  dpf::check(grid);
  dpf::matpower_text(grid);
}

}  // namespace

/// Hostile case files may be refused, nothing else. The first byte chooses the reader.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  try {
    import({reinterpret_cast<const char*>(data) + 1, size - 1}, data[0] % 2 == 1);
  } catch (const Error& error) {
    if (error.code() != Exit::bad_input) __builtin_trap();
  }
  return 0;
}
