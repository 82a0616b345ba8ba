#include <cstddef>
#include <cstdint>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "geotiff.hpp"

using namespace fachwerk;

/// Hostile TIFF files may be refused, nothing else.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > (std::size_t{1} << 16)) return 0;  // what is large takes memory, and says nothing more
  static const int file = memfd_create("tiff", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  if (ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != static_cast<ssize_t>(size)) return 0;
  try {
    const hyde::CubeInput cube = hyde::geotiff::open(path);
    std::vector<std::byte> row(cube.info.extent.cols * cube.info.extent.bands * hyde::bytes_of(cube.info.type));
    cube.read(0, 1, row.data());
  } catch (const Error& error) {
    if (error.code() != Exit::bad_input && error.code() != Exit::io) __builtin_trap();
  }
  return 0;
}
