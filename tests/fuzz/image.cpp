#include "io/image.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

using namespace fachwerk;

/// Hostile input may be refused, nothing else.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto bytes = std::as_bytes(std::span(data, size));
    formats::is_png(bytes) ? formats::read_png(bytes, "input") : formats::read_netpbm(bytes, "input");
  } catch (const Error& error) {
    if (error.code() != Exit::bad_input) __builtin_trap();
  }
  return 0;
}
