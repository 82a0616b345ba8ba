#include "cli/signals.hpp"

#include <atomic>
#include <csignal>
#include <cstring>

#include <unistd.h>

#include "cli/session.hpp"

namespace fachwerk::cli {

// A signal handler can reach static storage only; this file is the one place that has some.
namespace {

constexpr std::size_t slots = 64;
constexpr std::size_t path_size = 4096;

struct Slot {
  std::atomic<bool> used{false};
  std::atomic<bool> ready{false};
  char path[path_size] = {};
};

Slot temporaries[slots];
std::atomic<bool> stopping{false};
std::atomic<bool> graceful{false};

void remove_temporaries() {
  for (Slot& slot : temporaries)
    if (slot.ready.load()) unlink(slot.path);
}

extern "C" void on_signal(int signal) {
  // A second signal means that the user does not want to wait for the checkpoint.
  if (graceful.load() && !stopping.exchange(true)) return;
  remove_temporaries();
  _exit(signal == SIGUSR1 ? 128 + SIGUSR1 : static_cast<int>(Exit::interrupted));
}

void handle(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

}  // namespace

void install_signal_handlers(bool with_checkpoint) {
  graceful.store(with_checkpoint);
  handle(SIGINT, on_signal);
  handle(SIGTERM, on_signal);
  if (with_checkpoint) handle(SIGUSR1, on_signal);
  handle(SIGPIPE, SIG_IGN);  // a closed pipe becomes EPIPE, and so an error with exit code 4
}

bool stop_requested() {
  return stopping.load();
}

void register_temporary(const std::string& path) {
  if (path.size() >= path_size) return;
  for (Slot& slot : temporaries) {
    if (slot.used.exchange(true)) continue;
    std::memcpy(slot.path, path.c_str(), path.size() + 1);
    slot.ready.store(true);
    return;
  }
}

void forget_temporary(const std::string& path) {
  for (Slot& slot : temporaries) {
    if (!slot.ready.load() || path != slot.path) continue;
    slot.ready.store(false);
    slot.used.store(false);
    return;
  }
}

}  // namespace fachwerk::cli
