#pragma once

#include <string>
#include <vector>

#include "cli/command.hpp"

namespace fachwerk::cli {

/// The standard options that `command` honours, in the order of the help; their targets point into `session` and
/// `extras`.
struct StandardTargets {
  std::optional<int> threads;
  bool help = false, version = false;
  std::string config;
  std::string output;
};
std::vector<Option> standard_options(const Command& command, Session& session, StandardTargets& targets);

bool has_output(const Command& command);

}  // namespace fachwerk::cli
