#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace fachwerk {

/// Exit codes, the same for every binary.
enum class Exit : int {
  done = 0,
  failed = 1,        ///< the method failed: did not converge, diverged, a gate was not met
  usage = 2,         ///< wrong options, impossible combination, wrong number of ranks
  bad_input = 3,     ///< the data is not what it must be
  io = 4,            ///< missing, unreadable, exists, disk full, closed pipe
  absent = 5,        ///< device, service, lexicon or memory that is not there
  stopped = 75,      ///< stopped by a signal with a valid checkpoint
  interrupted = 130  ///< stopped by a signal without one
};

/// What ends a run: one line for the user, the exit code, and a hint where one helps. Thrown anywhere, caught once in
/// cli.
class Error : public std::runtime_error {
 public:
  Error(Exit code, const std::string& message, std::string hint = {})
      : std::runtime_error(message), code_(code), hint_(std::move(hint)) {}

  Exit code() const noexcept { return code_; }
  const std::string& hint() const noexcept { return hint_; }

  /// The same error with advice that is printed on a second line.
  Error with_hint(std::string hint) const { return {code_, what(), std::move(hint)}; }

 private:
  Exit code_;
  std::string hint_;
};

template <class... Args>
Error make_error(Exit code, fmt::format_string<Args...> text, Args&&... args) {
  return {code, fmt::format(text, std::forward<Args>(args)...)};
}

/// Each makes the error of one exit code: `throw bad_input("{}:{}: expected 3 dimensions, found {}", file, path,
/// rank)`.
template <class... Args>
Error method_failed(fmt::format_string<Args...> text, Args&&... args) {
  return make_error(Exit::failed, text, std::forward<Args>(args)...);
}
template <class... Args>
Error usage_error(fmt::format_string<Args...> text, Args&&... args) {
  return make_error(Exit::usage, text, std::forward<Args>(args)...);
}
template <class... Args>
Error bad_input(fmt::format_string<Args...> text, Args&&... args) {
  return make_error(Exit::bad_input, text, std::forward<Args>(args)...);
}
template <class... Args>
Error io_error(fmt::format_string<Args...> text, Args&&... args) {
  return make_error(Exit::io, text, std::forward<Args>(args)...);
}
template <class... Args>
Error absent_error(fmt::format_string<Args...> text, Args&&... args) {
  return make_error(Exit::absent, text, std::forward<Args>(args)...);
}

}  // namespace fachwerk
