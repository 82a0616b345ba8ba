#include "scratch.hpp"

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/error.hpp"

namespace fachwerk::hyde {
namespace {

int unlinked_file(std::size_t bytes) {
  const char* directory = std::getenv("TMPDIR");
  std::string name = std::string(directory != nullptr && *directory != '\0' ? directory : "/tmp") + "/fachwerk-XXXXXX";
  const int file = mkstemp(name.data());
  if (file < 0) throw io_error("{}: cannot create a temporary file: {}", name, std::strerror(errno));
  unlink(name.c_str());
  if (const int error = posix_fallocate(file, 0, static_cast<off_t>(bytes)); error != 0) {
    close(file);
    throw io_error("{}: {} bytes of temporary space: {}", name, bytes, std::strerror(error))
        .with_hint("set TMPDIR to a file system with more room");
  }
  return file;
}

}  // namespace

ScratchArray::ScratchArray(std::size_t size, ScratchLimit limit) : size_(size) {
  if (size == 0) return;
  const std::size_t bytes = size * sizeof(float);
  const bool in_file = limit.bytes != 0 && bytes > limit.bytes;
  const int file = in_file ? unlinked_file(bytes) : -1;
  void* memory =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, in_file ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, file, 0);
  if (in_file) close(file);
  if (memory == MAP_FAILED)
    throw absent_error("{:.1f} GB of memory are needed", static_cast<double>(bytes) * 1e-9)
        .with_hint("give --max-mem to work through a temporary file");
  data_ = static_cast<float*>(memory);
}

ScratchArray::~ScratchArray() {
  if (data_ != nullptr) munmap(data_, size_ * sizeof(float));
}

void ScratchArray::release(std::size_t first, std::size_t count) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGE_SIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(data_ + first) + page - 1) / page * page,
             end = reinterpret_cast<std::uintptr_t>(data_ + first + count) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

ScratchArray::ScratchArray(ScratchArray&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

ScratchArray& ScratchArray::operator=(ScratchArray&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace fachwerk::hyde
