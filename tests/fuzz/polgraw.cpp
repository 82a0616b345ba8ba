// Parsers of foreign files: the first byte chooses one. What they refuse is bad input; anything else is a fault. What
// is taken must come back as it was.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cli/error.hpp"
#include "ephemeris.hpp"
#include "legacy.hpp"
#include "prep.hpp"
#include "veto.hpp"

using namespace fachwerk::polgraw;

namespace {

void same(std::string_view a, std::string_view b) {
  if (a != b) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto bytes = std::as_bytes(std::span(text));
  try {
    switch (data[0] % 11) {
      case 0:
        same(legacy::format_triggers(legacy::parse_triggers(text, "fuzz")), text);
        break;
      case 1:
        same(legacy::format_grid(legacy::parse_grid(text, "fuzz")), text);
        break;
      case 2:
        same(legacy::format_coincidences(legacy::parse_coincidences(text, "fuzz")), text);
        break;
      case 3: {
        const auto written = legacy::format_signal(legacy::parse_signal(text, "fuzz"));
        same(legacy::format_signal(legacy::parse_signal(written, "fuzz")), written);
        break;
      }
      case 4:
        legacy::format_veto_lines(legacy::parse_veto_lines(text, "fuzz"));
        break;
      case 5:
        legacy::parse_ephemeris(text, text.substr(0, text.size() / 2), size / 24, "fuzz");
        break;
      case 6:
        parse_sft(bytes, "fuzz");
        break;
      case 7:
        line_intervals(parse_lines(text, "fuzz"), 0, 1e-3);
        break;
      case 8:
        SpkFile(bytes, "fuzz").earth(0);
        break;
      case 9:
        EphemerisTable(text, "fuzz").position(1e9);
        break;
      default:
        parse_leap_seconds(text, "fuzz");
        parse_ut1(text, "fuzz");
        parse_text_transforms(text, "fuzz");
    }
  } catch (const fachwerk::Error&) {
  }
  return 0;
}
