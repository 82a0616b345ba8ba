#pragma once

#include <string>
#include <vector>

#include "search.hpp"

/// What a stopped search had done: finished tasks and their triggers.
namespace fachwerk::polgraw {

struct Progress {
  std::vector<std::uint8_t> done;              ///< one a task
  std::vector<std::vector<Trigger>> triggers;  ///< by task
  explicit Progress(std::size_t tasks = 0) : done(tasks), triggers(tasks) {}
};

/// Written beside the target and renamed, so that a valid one is always there. `fingerprint` names the work: files,
/// settings and code that decide the triggers.
void save_checkpoint(const std::string& path, const std::string& fingerprint, const Progress& progress);
/// Throws bad input if the file is no checkpoint or one of other work.
Progress load_checkpoint(const std::string& path, const std::string& fingerprint, std::size_t tasks);

}  // namespace fachwerk::polgraw
