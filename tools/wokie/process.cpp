#include "process.hpp"

#include <array>
#include <chrono>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/error.hpp"

extern char** environ;

namespace fachwerk::wokie {
namespace {

/// One end of a pipe.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }
  int get() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

std::array<int, 2> make_pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw io_error("pipe: {}", std::strerror(errno));
  return ends;
}

std::vector<std::string> utf8_environment() {
  std::vector<std::string> out = {"LC_ALL=C.UTF-8"};
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (std::strncmp(*entry, "LC_ALL=", 7) != 0) out.emplace_back(*entry);
  return out;
}

}  // namespace

std::string run_shell(const std::string& command, std::string_view input, double seconds) {
  const auto in = make_pipe(), out = make_pipe();
  Descriptor child_in(in[0]), to_child(in[1]), from_child(out[0]), child_out(out[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, child_in.get(), 0);
  posix_spawn_file_actions_adddup2(&actions, child_out.get(), 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setpgroup(&attributes, 0);  // so that the whole pipeline can be ended
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> environment = utf8_environment();
  std::vector<char*> pointers;
  for (std::string& entry : environment)
    pointers.push_back(entry.data());
  pointers.push_back(nullptr);
  std::string shell = "/bin/sh", flag = "-c", text = command;
  char* arguments[] = {shell.data(), flag.data(), text.data(), nullptr};
  pid_t child = 0;
  const int spawned = posix_spawn(&child, "/bin/sh", &actions, &attributes, arguments, pointers.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (spawned != 0) throw io_error("cannot start \"{}\": {}", command, std::strerror(spawned));
  child_in.close();
  child_out.close();
  fcntl(to_child.get(), F_SETFL, O_NONBLOCK);
  // A pipeline that ends early must not end us: writes then fail with EPIPE.
  struct sigaction ignore {
  }, before{};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, &before);
  std::string answer;
  std::size_t sent = 0;
  if (input.empty()) to_child.close();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  bool timed_out = false;
  for (;;) {
    pollfd watched[2] = {{from_child.get(), POLLIN, 0}, {to_child.get(), POLLOUT, 0}};
    const int ready = poll(watched, 2, 1000);
    if (std::chrono::steady_clock::now() > deadline) {
      timed_out = true;
      break;
    }
    if (ready <= 0) continue;
    if (to_child.get() >= 0 && (watched[1].revents & (POLLOUT | POLLERR | POLLHUP))) {
      const ssize_t n =
          write(to_child.get(), input.data() + sent, std::min<std::size_t>(input.size() - sent, 1u << 16));
      if (n > 0) sent += static_cast<std::size_t>(n);
      if ((n < 0 && errno != EAGAIN && errno != EINTR) || sent == input.size()) to_child.close();
    }
    if (watched[0].revents & (POLLIN | POLLHUP)) {
      std::array<char, 1 << 16> buffer;
      const ssize_t n = read(from_child.get(), buffer.data(), buffer.size());
      if (n > 0) answer.append(buffer.data(), static_cast<std::size_t>(n));
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) break;
    }
  }
  if (timed_out) kill(-child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  sigaction(SIGPIPE, &before, nullptr);
  if (timed_out) throw method_failed("no answer within {} s: {}", seconds, command.substr(0, 200));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw method_failed("command failed (status {}): {}", WIFEXITED(status) ? WEXITSTATUS(status) : 128,
                        command.substr(0, 200));
  return answer;
}

std::string shell_quoted(std::string_view word) {
  std::string out = "'";
  for (const char c : word)
    c == '\'' ? out += "'\\''" : out += c;
  return out + "'";
}

}  // namespace fachwerk::wokie
