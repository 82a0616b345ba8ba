#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "cli/session.hpp"

namespace fachwerk::cli {

/// Progress on stderr: a bar with rate and time left on a terminal once work has lasted a second, a plain line every 30
/// s in a log, nothing with --quiet or on ranks that do not talk. `advance` may be called from any thread.
class Progress {
 public:
  /// `what` names the work ("denoising"), `total` counts its items, `unit` is their name ("bands").
  Progress(const Session& session, std::string what, std::uint64_t total, std::string unit = "");
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void advance(std::uint64_t items = 1);

 private:
  using Clock = std::chrono::steady_clock;
  void print(Clock::time_point now, std::uint64_t done);

  std::string what_, unit_;
  std::uint64_t total_;
  bool active_, terminal_, printed_ = false;
  Clock::time_point start_, last_;
  std::atomic<std::uint64_t> done_{0};
  std::mutex mutex_;
};

}  // namespace fachwerk::cli
