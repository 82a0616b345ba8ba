#pragma once

#include <bit>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "cli/error.hpp"
#include "io/spool.hpp"

namespace fachwerk::formats {

using Bytes = std::span<const std::byte>;

/// A whole foreign file as bytes: mapped, or read from a pipe or stdin (`-`). Gzip is unpacked on the way.
class File {
 public:
  /// Throws io_error for a file that is missing, a directory, or unreadable.
  static File open(const std::string& path);
  static File from_memory(std::vector<std::byte> bytes, std::string name);

  Bytes bytes() const { return bytes_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }
  const std::string& name() const { return name_; }  ///< for messages: the path, or "stdin"

  File() = default;
  File(File&& other) noexcept { swap(other); }
  File& operator=(File&& other) noexcept {
    swap(other);
    return *this;
  }
  ~File();

 private:
  void swap(File& other) noexcept;

  std::string name_;
  Bytes bytes_;
  std::vector<std::byte> owned_;
  void* mapped_ = nullptr;
};

/// Reads a binary format from the front; whatever goes past the end is bad input that names file and offset.
class Reader {
 public:
  Reader(Bytes bytes, std::string name, std::size_t offset = 0)
      : bytes_(bytes), name_(std::move(name)), base_(offset) {}

  std::size_t offset() const { return base_ + position_; }  ///< in the file, as the messages print it
  std::size_t left() const { return bytes_.size() - position_; }
  const std::string& name() const { return name_; }

  /// The next `size` bytes; `what` names them in the message when there are fewer.
  Bytes take(std::size_t size, std::string_view what) {
    if (size > left()) throw bad("{} bytes of {} expected, {} left in the file (truncated?)", size, what, left());
    const auto taken = bytes_.subspan(position_, size);
    position_ += size;
    return taken;
  }
  std::string_view text(std::size_t size, std::string_view what) {
    const auto taken = take(size, what);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  template <class T>
  T number(std::string_view what, std::endian order = std::endian::little) {
    return load<T>(take(sizeof(T), what).data(), order);
  }
  void skip(std::size_t size, std::string_view what) { take(size, what); }

  /// Bad input at the current offset.
  template <class... Args>
  Error bad(fmt::format_string<Args...> text, Args&&... args) const {
    return bad_input("{}: offset {}: {}", name_, offset(), fmt::format(text, std::forward<Args>(args)...));
  }

  template <class T>
  static T load(const std::byte* from, std::endian order) {
    T value;
    if (order == std::endian::native) {
      std::memcpy(&value, from, sizeof value);
    } else {
      std::byte reversed[sizeof(T)];
      for (std::size_t i = 0; i < sizeof(T); ++i)
        reversed[i] = from[sizeof(T) - 1 - i];
      std::memcpy(&value, reversed, sizeof value);
    }
    return value;
  }

 private:
  Bytes bytes_;
  std::string name_;
  std::size_t base_, position_ = 0;
};

/// Number of elements of `shape`, checked: bad input if `count * bytes` exceeds `limit` (what the file can hold).
std::size_t checked_count(const Reader& reader, const std::vector<std::size_t>& shape, std::size_t bytes,
                          std::size_t limit);

/// Unpacks deflated data of known size: zlib (`raw` false) or raw deflate streams. Throws bad input if it is corrupt or
/// does not give `size` bytes. A claimed size that no stream of this length can reach is refused before memory is
/// taken.
std::vector<std::byte> inflate(const Reader& reader, Bytes packed, std::size_t size, bool raw);
/// Unpacks a zlib stream (`gzip` false) or gzip file whose unpacked size is not known beforehand.
std::vector<std::byte> inflate_all(const Reader& reader, Bytes packed, bool gzip);
/// Deflates: zlib (`raw` false) or raw stream.
std::vector<std::byte> deflate(Bytes bytes, bool raw, int level = 6);

/// A file in $TMPDIR for libraries that want a real one; it goes with the object.
class TemporaryFile {
 public:
  explicit TemporaryFile(Bytes bytes);
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// An anonymous empty file in memory that libraries which want a name can open under `path`.
class MemoryFile {
 public:
  MemoryFile();
  std::string path() const { return "/proc/self/fd/" + std::to_string(file_.get()); }

 private:
  io::Descriptor file_;
};

/// A foreign file that is written: to a temporary beside the target that `commit` renames, or straight to stdout for
/// `-`. Without `commit` nothing is left of a file.
class Sink {
 public:
  /// Throws io_error if the file exists (unless `force`), its folder is missing or not writable. `binary` refuses a
  /// terminal as stdout.
  static Sink create(const std::string& path, bool force, bool binary = true);
  void write(Bytes bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }
  template <class T>
  requires std::is_arithmetic_v<T>
  void number(T value) { write(std::as_bytes(std::span(&value, 1))); }
  void commit();
  const std::string& name() const { return name_; }

  Sink() = default;
  Sink(Sink&& other) noexcept = default;
  Sink& operator=(Sink&& other) = delete;
  ~Sink();

 private:
  void flush();
  void send(Bytes bytes);

  std::string name_, target_;
  std::string temporary_;  ///< empty for stdout, devices, and once committed
  io::Descriptor file_;
  std::vector<std::byte> buffer_;
  bool force_ = false;
};

}  // namespace fachwerk::formats
