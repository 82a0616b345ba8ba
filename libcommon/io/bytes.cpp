#include "io/bytes.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "cli/session.hpp"

namespace fachwerk::formats {
namespace {

constexpr std::size_t buffer_bytes = std::size_t{1} << 20;
constexpr std::size_t deflate_limit = 1032;  // no deflate stream unpacks to more than this many times its length

std::string reason() {
  return std::strerror(errno);
}

std::vector<std::byte> read_all(int descriptor, const std::string& name) {
  std::vector<std::byte> bytes(buffer_bytes);
  std::size_t used = 0;
  for (;;) {
    if (used == bytes.size()) bytes.resize(2 * bytes.size());
    const auto got = ::read(descriptor, bytes.data() + used, bytes.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw io_error("{}: {}", name, reason());
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
  }
  bytes.resize(used);
  return bytes;
}

bool is_gzip(Bytes bytes) {
  return bytes.size() > 2 && bytes[0] == std::byte{0x1f} && bytes[1] == std::byte{0x8b};
}

}  // namespace

// ---- File ----------------------------------------------------------------------------------------

File File::open(const std::string& path) {
  File file;
  file.name_ = path == "-" ? "stdin" : path;
  if (path == "-") {
    file.owned_ = read_all(STDIN_FILENO, file.name_);
    file.bytes_ = file.owned_;
  } else {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) throw io_error("{}: {}", path, errno == ENOENT ? "no such file" : reason());
    struct stat status {};
    ::fstat(descriptor, &status);
    if (S_ISDIR(status.st_mode)) {
      ::close(descriptor);
      throw io_error("{}: is a directory, expected a file", path);
    }
    const auto size = static_cast<std::size_t>(status.st_size);
    void* mapped =
        S_ISREG(status.st_mode) && size > 0 ? ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0) : MAP_FAILED;
    if (mapped != MAP_FAILED) {
      file.mapped_ = mapped;
      file.bytes_ = {static_cast<const std::byte*>(mapped), size};
    } else {
      try {
        file.owned_ = read_all(descriptor, path);
      } catch (...) {
        ::close(descriptor);
        throw;
      }
      file.bytes_ = file.owned_;
    }
    ::close(descriptor);
  }
  if (is_gzip(file.bytes_)) {
    const Reader reader(file.bytes_, file.name_);
    return from_memory(inflate_all(reader, file.bytes_, true), file.name_);
  }
  return file;
}

File File::from_memory(std::vector<std::byte> bytes, std::string name) {
  File file;
  file.name_ = std::move(name);
  file.owned_ = std::move(bytes);
  file.bytes_ = file.owned_;
  return file;
}

void File::swap(File& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(bytes_, other.bytes_);
  std::swap(owned_, other.owned_);
  std::swap(mapped_, other.mapped_);
}

File::~File() {
  if (mapped_ != nullptr) ::munmap(mapped_, bytes_.size());
}

// ---- checks and compression ----------------------------------------------------------------------

std::size_t checked_count(const Reader& reader, const std::vector<std::size_t>& shape, std::size_t bytes,
                          std::size_t limit) {
  if (std::find(shape.begin(), shape.end(), 0U) != shape.end()) return 0;
  std::size_t count = 1;
  for (const auto length : shape) {
    if (length > limit / bytes / count)
      throw reader.bad("array of shape {} with {} bytes an element, but only {} bytes can follow",
                       fmt::format("({})", fmt::join(shape, ", ")), bytes, limit);
    count *= length;
  }
  return count;
}

namespace {

/// One inflate stream, ended on every path.
struct Inflater {
  z_stream stream{};
  explicit Inflater(int window_bits) {
    if (inflateInit2(&stream, window_bits) != Z_OK) throw absent_error("zlib: no memory");
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() { inflateEnd(&stream); }
};

/// Feeds and drains in pieces that zlib's 32-bit counters can hold. Returns zlib's last code.
int inflate_into(z_stream& stream, Bytes& packed, std::byte* to, std::size_t& room) {
  constexpr std::size_t piece = std::size_t{1} << 30;
  int code = Z_OK;
  while (code == Z_OK && (room > 0 || !packed.empty())) {
    const std::size_t in = std::min(packed.size(), piece), out = std::min(room, piece);
    // zlib's interface lacks a const that it keeps.
    stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(packed.data()));
    stream.avail_in = static_cast<uInt>(in);
    stream.next_out = reinterpret_cast<Bytef*>(to);
    stream.avail_out = static_cast<uInt>(out);
    code = ::inflate(&stream, Z_NO_FLUSH);
    const std::size_t consumed = in - stream.avail_in, made = out - stream.avail_out;
    packed = packed.subspan(consumed);
    to += made;
    room -= made;
    if (consumed == 0 && made == 0) break;
  }
  return code;
}

}  // namespace

std::vector<std::byte> inflate(const Reader& reader, Bytes packed, std::size_t size, bool raw) {
  if (size / deflate_limit > packed.size() + 1)
    throw reader.bad("{} deflated bytes cannot unpack to the {} that are claimed", packed.size(), size);
  Inflater inflater(raw ? -MAX_WBITS : MAX_WBITS);
  std::vector<std::byte> bytes(size + 1);  // one byte more, to see a stream that is too long
  std::size_t room = bytes.size();
  const int code = inflate_into(inflater.stream, packed, bytes.data(), room);
  if (code != Z_STREAM_END || room != 1)
    throw reader.bad("corrupt deflate stream: {} bytes expected, {} unpacked", size, bytes.size() - room);
  bytes.pop_back();
  return bytes;
}

std::vector<std::byte> inflate_all(const Reader& reader, Bytes packed, bool gzip) {
  std::vector<std::byte> bytes;
  std::size_t used = 0;
  do {  // a gzip file may hold several members
    Inflater inflater(gzip ? MAX_WBITS + 16 : MAX_WBITS);
    int code = Z_OK;
    while (code == Z_OK) {
      if (used == bytes.size()) bytes.resize(std::max(2 * bytes.size(), 4 * packed.size() + 1024));
      std::size_t room = bytes.size() - used;
      const std::size_t before = packed.size() + room;
      code = inflate_into(inflater.stream, packed, bytes.data() + used, room);
      used = bytes.size() - room;
      if (code == Z_BUF_ERROR && room == 0) code = Z_OK;
      if (code == Z_OK && packed.size() + room == before) break;
    }
    if (code != Z_STREAM_END) throw reader.bad("corrupt or truncated {} data", gzip ? "gzip" : "deflated");
  } while (gzip && is_gzip(packed));
  bytes.resize(used);
  return bytes;
}

std::vector<std::byte> deflate(Bytes bytes, bool raw, int level) {
  z_stream stream{};
  if (deflateInit2(&stream, level, Z_DEFLATED, raw ? -MAX_WBITS : MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw absent_error("zlib: no memory");
  std::vector<std::byte> packed(bytes.size() / 2 + 1024);
  std::size_t used = 0;
  int code = Z_OK;
  while (code != Z_STREAM_END) {
    constexpr std::size_t piece = std::size_t{1} << 30;
    if (used == packed.size()) packed.resize(2 * packed.size());
    const std::size_t in = std::min(bytes.size(), piece), out = std::min(packed.size() - used, piece);
    stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(in);
    stream.next_out = reinterpret_cast<Bytef*>(packed.data() + used);
    stream.avail_out = static_cast<uInt>(out);
    code = ::deflate(&stream, in == bytes.size() ? Z_FINISH : Z_NO_FLUSH);
    bytes = bytes.subspan(in - stream.avail_in);
    used += out - stream.avail_out;
  }
  deflateEnd(&stream);
  packed.resize(used);
  return packed;
}

// ---- files for libraries ---------------------------------------------------------------------------

TemporaryFile::TemporaryFile(Bytes bytes) {
  const char* folder = std::getenv("TMPDIR");
  path_ = std::string(folder != nullptr && *folder != '\0' ? folder : "/tmp") + "/fachwerk-XXXXXX";
  const io::Descriptor file(::mkostemp(path_.data(), O_CLOEXEC));
  if (!file)
    throw io_error("{}: cannot make a temporary file: {}", path_, reason())
        .with_hint("set TMPDIR to a folder with room");
  cli::register_temporary(path_);
  while (!bytes.empty()) {
    const auto done = ::write(file.get(), bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) {
      const auto why = reason();
      ::unlink(path_.c_str());
      throw io_error("{}: {}", path_, why).with_hint("set TMPDIR to a folder with room");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
}

TemporaryFile::~TemporaryFile() {
  ::unlink(path_.c_str());
  cli::forget_temporary(path_);
}

MemoryFile::MemoryFile() : file_(::memfd_create("fachwerk", MFD_CLOEXEC)) {
  if (!file_) throw absent_error("no memory for a temporary file: {}", reason());
}

// ---- Sink ----------------------------------------------------------------------------------------

Sink Sink::create(const std::string& path, bool force, bool binary) {
  namespace fs = std::filesystem;
  Sink sink;
  sink.name_ = path == "-" ? "stdout" : path;
  sink.buffer_.reserve(buffer_bytes);
  if (path == "-") {
    if (binary && ::isatty(STDOUT_FILENO) == 1)
      throw usage_error("stdout is a terminal: binary data is not written there")
          .with_hint("give a file, or pipe into another program");
    sink.file_ = io::Descriptor(::dup(STDOUT_FILENO));
    return sink;
  }
  std::error_code ignored;
  const auto status = fs::status(path, ignored);
  if (fs::is_directory(status)) throw io_error("{}: is a directory, expected a file", path);
  if (fs::exists(status) && !fs::is_regular_file(status)) {  // a device or fifo: no temporary beside it
    sink.file_ = io::Descriptor(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!sink.file_) throw io_error("{}: {}", path, reason());
    return sink;
  }
  if (!force && fs::exists(status)) throw io_error("{}: exists", path).with_hint("--force overwrites it");
  sink.force_ = force;
  // Through a symbolic link the file it points to is replaced, not the link.
  sink.target_ = fs::is_symlink(path, ignored) ? fs::weakly_canonical(path, ignored).string() : path;
  const fs::path target(sink.target_);
  const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  if (!fs::is_directory(folder, ignored)) throw io_error("{}: no such folder: {}", path, folder.string());
  const auto temporary = (folder / fmt::format(".{}.{}.part", target.filename().string(), ::getpid())).string();
  sink.file_ = io::Descriptor(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!sink.file_) throw io_error("{}: cannot be created: {}", path, reason());
  sink.temporary_ = temporary;
  cli::register_temporary(temporary);
  return sink;
}

void Sink::write(Bytes bytes) {
  if (buffer_.size() + bytes.size() > buffer_bytes) flush();
  if (bytes.size() >= buffer_bytes)
    send(bytes);
  else
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

void Sink::flush() {
  send(buffer_);
  buffer_.clear();
}

void Sink::send(Bytes bytes) {
  while (!bytes.empty()) {
    const auto sent = ::write(file_.get(), bytes.data(), bytes.size());
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EPIPE) throw io_error("{}: closed pipe: the reader has gone", name_);
    if (sent < 0) throw io_error("{}: cannot be written: {}", name_, reason());
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
}

void Sink::commit() {
  flush();
  if (temporary_.empty()) return;
  if (!force_ && std::filesystem::exists(target_))
    throw io_error("{}: exists", name_).with_hint("--force overwrites it");
  if (std::rename(temporary_.c_str(), target_.c_str()) != 0) throw io_error("{}: {}", name_, reason());
  cli::forget_temporary(temporary_);
  temporary_.clear();
}

Sink::~Sink() {
  if (temporary_.empty()) return;
  ::unlink(temporary_.c_str());
  cli::forget_temporary(temporary_);
}

}  // namespace fachwerk::formats
