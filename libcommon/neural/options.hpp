#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "neural/model_options.hpp"
#include "neural/train.hpp"

/// The options that every training tool has, and what they stand for. A tool adds its own to `command.options`.
namespace fachwerk::neural {

struct TrainArguments {
  std::string data, output;  ///< files
  ModelOptions model;
  TrainOptions train;
  DatasetPaths paths;
  std::string init_from, graph_file, augment = "none";
  ModelSwitches switches;
  bool init_partial = false, no_decay_1d = false, standardise_targets = false;
  double val_fraction = 0;
};

/// Adds DATA, OUT and the common options; sets the standard ones (threads, seed, checkpoint).
void add_train_options(cli::Command& command, TrainArguments& arguments);

/// What the options ask for, ready to train: data set, network. Loads --init-from.
struct Prepared {
  Dataset data;
  Network network;
  ModelFile model;  ///< description, without state
};
Prepared prepare(const cli::Session& session, TrainArguments& arguments, int ranks = 1);

/// Resumes if asked to, trains, writes OUT with weights, history and run, and fills the summary. `describe` may add
/// groups.
void train_and_write(cli::Session& session, TrainArguments& arguments, Prepared& prepared, Hooks hooks = {},
                     Ranks ranks = {}, const std::function<void(Training&, h5::Output&)>& describe = {});

/// Parts of help texts.
extern const char* const reads_dataset;
extern const char* const writes_model;

}  // namespace fachwerk::neural
