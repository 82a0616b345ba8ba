#include "io/delimited.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

using namespace fachwerk;

/// Hostile input may be refused, nothing else.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    formats::read_delimited({reinterpret_cast<const char*>(data), size}, "input");
  } catch (const Error& error) {
    if (error.code() != Exit::bad_input) __builtin_trap();
  }
  return 0;
}
