#include <cstddef>
#include <cstdint>
#include <string>

#include "envi.hpp"

using namespace fachwerk;

/// Hostile headers may be refused, nothing else.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    hyde::envi::describe(std::string(reinterpret_cast<const char*>(data), size), "input");
  } catch (const Error& error) {
    if (error.code() != Exit::bad_input && error.code() != Exit::io) __builtin_trap();
  }
  return 0;
}
