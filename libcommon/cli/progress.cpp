#include "cli/progress.hpp"

#include <cmath>
#include <cstdio>

#include <fmt/format.h>
#include <unistd.h>

namespace fachwerk::cli {

namespace {

constexpr auto terminal_interval = std::chrono::milliseconds(200);
constexpr auto log_interval = std::chrono::seconds(30);

std::string clock_time(double seconds) {
  const auto total = std::lround(seconds);
  if (total >= 3600) return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
  return fmt::format("{}:{:02}", total / 60, total % 60);
}

}  // namespace

Progress::Progress(const Session& session, std::string what, std::uint64_t total, std::string unit)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      active_(session.talks && !session.quiet),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() {
  if (terminal_ && printed_) std::fputs("\r\033[K", stderr);
}

void Progress::advance(std::uint64_t items) {
  const std::uint64_t done = done_.fetch_add(items) + items;
  if (!active_) return;
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return;
  const auto now = Clock::now();
  if (terminal_ ? now - start_ < std::chrono::seconds(1) || now - last_ < terminal_interval
                : now - last_ < log_interval)
    return;
  last_ = now;
  print(now, done);
}

void Progress::print(Clock::time_point now, std::uint64_t done) {
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double rate = static_cast<double>(done) / elapsed;
  const double fraction = total_ > 0 ? std::min(1.0, static_cast<double>(done) / static_cast<double>(total_)) : 0.0;
  std::string line = what_;
  if (total_ > 0) {
    const auto filled = static_cast<std::size_t>(fraction * 24);
    if (terminal_) line += fmt::format(" [{}{}]", std::string(filled, '='), std::string(24 - filled, ' '));
    line += fmt::format(" {:3.0f} % ({}/{}{}{})", 100 * fraction, done, total_, unit_.empty() ? "" : " ", unit_);
  } else {
    line += fmt::format(" {}{}{}", done, unit_.empty() ? "" : " ", unit_);
  }
  line += fmt::format(", {:.3g}/s", rate);
  if (total_ > 0 && done > 0) line += fmt::format(", {} left", clock_time(elapsed / fraction - elapsed));
  say(fmt::format("{}{}{}", terminal_ ? "\r\033[K" : "", line, terminal_ ? "" : "\n"));
  printed_ = true;
}

}  // namespace fachwerk::cli
