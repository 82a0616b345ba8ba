#pragma once

#include <cstddef>
#include <string>
#include <utility>

/// HDF5 needs to seek and pipes cannot: whole files are held in anonymous files, in memory or in $TMPDIR.
namespace fachwerk::io {

/// Owns a file descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  /// A path by which a library can open the same file again.
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_ = -1;
};

/// An empty anonymous file: in memory if `expected_bytes` is well below what is free, else in $TMPDIR.
Descriptor anonymous_file(std::size_t expected_bytes);

/// All of stdin in a file that can be sought: stdin itself when it is one at its beginning, otherwise a copy that moves
/// from memory to $TMPDIR as it grows. Throws if stdin is a terminal.
Descriptor spool_stdin();

/// Sends the whole file to `target` from its beginning. `name` stands in messages; a closed pipe is an I/O error.
void send_file(const Descriptor& file, int target, const std::string& name);

}  // namespace fachwerk::io
