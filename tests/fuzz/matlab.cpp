#include "io/matlab.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

using namespace fachwerk;

/// Hostile input may be refused, nothing else.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    formats::read_matlab5(std::as_bytes(std::span(data, size)), "input");
  } catch (const Error& error) {
    if (error.code() != Exit::bad_input) __builtin_trap();
  }
  return 0;
}
