#pragma once

#include <vector>

#include "cli/command.hpp"
#include "neural/zoo.hpp"

namespace fachwerk::neural {

/// The options that say which network: for every tool that makes one. `switches` must outlive the parsing.
struct ModelSwitches {
  bool bn = false, no_bias = false, no_head_bias = false;
  void apply(ModelOptions& options) const {
    if (bn) options.norm = "batch";
    if (no_bias) options.bias = false;
    if (no_head_bias) options.head_bias = false;
  }
};
std::vector<cli::Option> model_option_list(ModelOptions& options, ModelSwitches& switches);

}  // namespace fachwerk::neural
