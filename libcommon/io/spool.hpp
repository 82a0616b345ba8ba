#pragma once

#include <cstddef>
#include <string>
#include <utility>

/// HDF5 needs to seek and pipes cannot: whole files are held in memory, or in $TMPDIR when they are large.
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

 private:
  int fd_ = -1;
};

/// Address space of a fixed capacity whose pages are taken as they are touched, in large ones where the system allows:
/// a file image grows in place, and a gigabyte costs a few hundred page faults.
class Region {
 public:
  Region() = default;
  explicit Region(std::size_t capacity);  ///< empty (false) if the system refuses
  Region(Region&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), capacity_(std::exchange(other.capacity_, 0)) {}
  Region& operator=(Region&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~Region();
  std::byte* data() const { return data_; }
  std::size_t capacity() const { return capacity_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  std::byte* data_ = nullptr;
  std::size_t capacity_ = 0;
};

/// A whole file in memory, or on disk under a name that lives until `hide`: HDF5 opens by name.
class Spool {
 public:
  Spool() = default;
  Spool(Spool&& other) noexcept { *this = std::move(other); }
  Spool& operator=(Spool&& other) noexcept;
  ~Spool() { hide(); }

  /// An empty file: in memory if `expected_bytes` is well below what is free, else in $TMPDIR.
  static Spool create(std::size_t expected_bytes);
  /// All of stdin: stdin itself when it is a file at its beginning, otherwise a copy that moves from memory to $TMPDIR
  /// as it grows. Throws if stdin is a terminal.
  static Spool of_stdin();

  bool in_memory() const { return static_cast<bool>(memory_); }
  const Region& memory() const { return memory_; }
  std::size_t size() const { return size_; }         ///< bytes in memory
  const std::string& path() const { return path_; }  ///< on disk
  const Descriptor& file() const { return file_; }
  explicit operator bool() const { return in_memory() || file_; }
  void hide() noexcept;  ///< removes the name; the file stays open

 private:
  static Spool on_disk();
  Region memory_;
  std::size_t size_ = 0;
  Descriptor file_;
  std::string path_;
  bool named_ = false;  ///< by us: to be removed
};

/// Sends bytes or a whole file to the descriptor `target`. `name` stands in messages; a closed pipe is an I/O error.
void send(const std::byte* data, std::size_t size, int target, const std::string& name);
void send(const Descriptor& file, int target, const std::string& name);

}  // namespace fachwerk::io
