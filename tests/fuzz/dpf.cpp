#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "cdf.hpp"
#include "cli/error.hpp"
#include "grid_edit.hpp"
#include "matpower.hpp"
#include "pandapower.hpp"
#include "pgm.hpp"
#include "psse.hpp"

using namespace fachwerk;

namespace {

// What dpf-import does with a grid: checks, edits, writers.
void use(dpf::Grid grid) {
  dpf::check(grid);
  dpf::suspicious_units(grid);
  dpf::dc_lines_to_generators(grid);
  dpf::check(grid);
  dpf::merge_zero_impedance(grid);
  std::vector<std::string> warnings;
  dpf::pandapower_text(grid, warnings);
  dpf::renumber(grid, 999'997);
  dpf::raw_text(grid);
  dpf::simplify(grid);
  dpf::matpower_text(grid);
}

void import(std::string_view text, int reader) {
  std::vector<std::string> warnings;
  if (reader == 1) return use(dpf::grid_of_raw(text, "input", warnings));
  if (reader == 2) return use(dpf::grid_of_pandapower(text, "input", warnings));
  if (reader == 3) return use(dpf::grid_of_pgm(text, "input", warnings));
  if (reader == 4) return use(dpf::grid_of_cdf(text, "input", warnings));
  const dpf::MatpowerFile file = dpf::evaluate_matpower(text, "input");
  if (file.tables.contains("bus"))
    use(dpf::grid_of(file, "input", warnings));
  else
    dpf::changes_of(file, "input");
}

}  // namespace

/// Hostile case files may be refused, nothing else. The first byte chooses the reader.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  try {
    import({reinterpret_cast<const char*>(data) + 1, size - 1}, data[0] % 5);
  } catch (const Error& error) {
    if (error.code() != Exit::bad_input) __builtin_trap();
  }
  return 0;
}
