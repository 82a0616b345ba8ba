#include "io/spool.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "cli/session.hpp"

namespace fachwerk::io {

namespace {

constexpr std::size_t block = std::size_t{1} << 20;
constexpr std::size_t large_page = std::size_t{1} << 21;

/// How much a file in memory may hold: a quarter of what is free now.
std::size_t memory_limit() {
  struct sysinfo info = {};
  if (sysinfo(&info) != 0) return std::size_t{1} << 28;
  return (static_cast<std::size_t>(info.freeram) + info.bufferram) * info.mem_unit / 4;
}

[[noreturn]] void fail(const std::string& name) {
  if (errno == EPIPE) throw io_error("{}: closed pipe: the reader has gone", name);
  throw io_error("{}: {}", name, std::strerror(errno));
}

/// One read that waits for data; 0 at the end.
std::size_t read_some(int fd, std::byte* data, std::size_t size, const std::string& name) {
  while (true) {
    const ssize_t got = read(fd, data, size);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) fail(name);
  }
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}

Region::Region(std::size_t capacity) {
  void* pages = mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) return;
  madvise(pages, capacity, MADV_HUGEPAGE);
  data_ = static_cast<std::byte*>(pages);
  capacity_ = capacity;
}

Region::~Region() {
  if (data_ != nullptr) munmap(data_, capacity_);
}

Spool& Spool::operator=(Spool&& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(size_, other.size_);
  std::swap(file_, other.file_);
  std::swap(path_, other.path_);
  std::swap(named_, other.named_);
  return *this;
}

void Spool::hide() noexcept {
  if (!named_) return;
  unlink(path_.c_str());
  cli::forget_temporary(path_);
  named_ = false;
}

Spool Spool::on_disk() {
  const char* variable = std::getenv("TMPDIR");
  const std::string folder = variable != nullptr && *variable != '\0' ? variable : "/tmp";
  Spool spool;
  spool.path_ = folder + "/fachwerk-XXXXXX";
  spool.file_ = Descriptor(mkostemp(spool.path_.data(), O_CLOEXEC));
  if (!spool.file_)
    throw io_error("{}: cannot make a temporary file: {}", folder, std::strerror(errno))
        .with_hint("set TMPDIR to a folder with room");
  spool.named_ = true;
  cli::register_temporary(spool.path_);
  return spool;
}

Spool Spool::create(std::size_t expected_bytes) {
  const std::size_t limit = memory_limit();
  if (expected_bytes < limit) {
    Spool spool;
    spool.memory_ = Region((4 * limit + large_page) / large_page * large_page);  // address space only: all that is free
    if (spool.memory_) return spool;
  }
  return on_disk();
}

Spool Spool::of_stdin() {
  if (isatty(STDIN_FILENO) == 1)
    throw usage_error("stdin is a terminal: expected an HDF5 file").with_hint("give a file, or pipe one in");
  struct stat status = {};
  if (fstat(STDIN_FILENO, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink > 0 &&
      lseek(STDIN_FILENO, 0, SEEK_CUR) == 0) {
    Spool spool;
    spool.file_ = Descriptor(dup(STDIN_FILENO));
    spool.path_ = "/proc/self/fd/0";
    return spool;
  }
  fcntl(STDIN_FILENO, F_SETPIPE_SZ, static_cast<int>(block));
  const std::size_t limit = memory_limit();
  Spool spool = create(0);
  if (spool.in_memory()) {
    while (spool.size_ < limit) {
      const std::size_t room = std::min(block, limit - spool.size_);
      const std::size_t got = read_some(STDIN_FILENO, spool.memory_.data() + spool.size_, room, "stdin");
      if (got == 0) return spool;
      spool.size_ += got;
    }
    Spool disk = on_disk();
    send(spool.memory_.data(), spool.size_, disk.file_.get(), disk.path_);
    spool = std::move(disk);
  }
  std::vector<std::byte> buffer(block);
  while (const std::size_t got = read_some(STDIN_FILENO, buffer.data(), block, "stdin"))
    send(buffer.data(), got, spool.file_.get(), spool.path_);
  return spool;
}

void send(const std::byte* data, std::size_t size, int target, const std::string& name) {
  fcntl(target, F_SETPIPE_SZ, static_cast<int>(block));
  while (size > 0) {
    const ssize_t done = write(target, data, size);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail(name);
    data += done;
    size -= static_cast<std::size_t>(done);
  }
}

void send(const Descriptor& file, int target, const std::string& name) {
  struct stat status = {};
  if (fstat(file.get(), &status) != 0) fail(name);
  std::vector<std::byte> buffer(block);
  for (off_t offset = 0; offset < status.st_size;) {
    const ssize_t got = pread(file.get(), buffer.data(), buffer.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fail(name);
    send(buffer.data(), static_cast<std::size_t>(got), target, name);
    offset += got;
  }
}

}  // namespace fachwerk::io
