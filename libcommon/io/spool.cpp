#include "io/spool.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "cli/error.hpp"

namespace fachwerk::io {

namespace {

constexpr std::size_t block = std::size_t{1} << 20;

/// How much an anonymous file may hold in memory: a quarter of what is free now.
std::size_t memory_limit() {
  struct sysinfo info = {};
  if (sysinfo(&info) != 0) return std::size_t{1} << 28;
  return (static_cast<std::size_t>(info.freeram) + info.bufferram) * info.mem_unit / 4;
}

Descriptor disk_file() {
  const char* folder = std::getenv("TMPDIR");
  const std::string directory = folder != nullptr && *folder != '\0' ? folder : "/tmp";
  int fd = open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) {  // file systems without O_TMPFILE
    std::string name = directory + "/fachwerk-XXXXXX";
    fd = mkostemp(name.data(), O_CLOEXEC);
    if (fd >= 0) unlink(name.c_str());
  }
  if (fd < 0)
    throw io_error("{}: cannot make a temporary file: {}", directory, std::strerror(errno))
        .with_hint("set TMPDIR to a folder with room");
  return Descriptor(fd);
}

void write_all(int fd, const char* data, std::size_t size, const std::string& name) {
  while (size > 0) {
    const ssize_t done = write(fd, data, size);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0 && errno == EPIPE) throw io_error("{}: closed pipe: the reader has gone", name);
    if (done < 0) throw io_error("{}: {}", name, std::strerror(errno));
    data += done;
    size -= static_cast<std::size_t>(done);
  }
}

/// Moves what a pipe holds into `file` without passing through this process; -1 where the kernel cannot.
ssize_t take(int from, int file, std::vector<char>& buffer, bool& can_splice) {
  if (can_splice) {
    const ssize_t moved = splice(from, nullptr, file, nullptr, block, SPLICE_F_MOVE);
    if (moved >= 0 || errno != EINVAL) return moved;
    can_splice = false;
  }
  buffer.resize(block);
  const ssize_t got = read(from, buffer.data(), buffer.size());
  if (got > 0) write_all(file, buffer.data(), static_cast<std::size_t>(got), "temporary file");
  return got;
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}

Descriptor anonymous_file(std::size_t expected_bytes) {
  if (expected_bytes < memory_limit()) {
    const int fd = memfd_create("fachwerk", MFD_CLOEXEC);
    if (fd >= 0) return Descriptor(fd);
  }
  return disk_file();
}

Descriptor spool_stdin() {
  if (isatty(STDIN_FILENO) == 1)
    throw usage_error("stdin is a terminal: expected an HDF5 file").with_hint("give a file, or pipe one in");
  struct stat status = {};
  if (fstat(STDIN_FILENO, &status) == 0 && S_ISREG(status.st_mode) && lseek(STDIN_FILENO, 0, SEEK_CUR) == 0)
    return Descriptor(dup(STDIN_FILENO));
  fcntl(STDIN_FILENO, F_SETPIPE_SZ, static_cast<int>(block));
  Descriptor file = anonymous_file(0);
  const std::size_t limit = memory_limit();
  std::vector<char> buffer;
  std::size_t size = 0;
  bool in_memory = true;
  bool can_splice = true;
  while (true) {
    const ssize_t got = take(STDIN_FILENO, file.get(), buffer, can_splice);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw io_error("stdin: {}", std::strerror(errno));
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
    if (in_memory && size > limit) {
      Descriptor disk = disk_file();
      send_file(file, disk.get(), "temporary file");
      file = std::move(disk);
      in_memory = false;
    }
  }
  return file;
}

void send_file(const Descriptor& file, int target, const std::string& name) {
  struct stat status = {};
  if (fstat(file.get(), &status) != 0) throw io_error("{}: {}", name, std::strerror(errno));
  fcntl(target, F_SETPIPE_SZ, static_cast<int>(block));
  off_t offset = 0;
  std::vector<char> buffer;
  while (offset < status.st_size) {
    const ssize_t sent = buffer.empty() ? sendfile(target, file.get(), &offset, block) : -1;
    if (sent > 0 || (sent < 0 && errno == EINTR)) continue;
    if (sent < 0 && errno == EPIPE) throw io_error("{}: closed pipe: the reader has gone", name);
    if (buffer.empty() && errno != EINVAL) throw io_error("{}: {}", name, std::strerror(errno));
    buffer.resize(block);  // targets that sendfile cannot serve (opened for appending, say)
    const ssize_t got = pread(file.get(), buffer.data(), buffer.size(), offset);
    if (got <= 0) throw io_error("{}: {}", name, std::strerror(errno));
    write_all(target, buffer.data(), static_cast<std::size_t>(got), name);
    offset += got;
  }
}

}  // namespace fachwerk::io
