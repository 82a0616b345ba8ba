#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/session.hpp"
#include "dataset.hpp"
#include "search_options.hpp"

/// What polgraw-search reads: lists of files, frames with their grid, vetoes and part of the sky.
namespace fachwerk::polgraw {

/// A frame read, checked, and made ready for the tasks.
struct Loaded {
  std::string path;
  FrameInfo info;
  std::shared_ptr<FarmSource> source;
  Selection selection;
  double vetoed = 0;
};

/// All that a search works on: the frames, and their tasks in the order of the output.
struct SearchWork {
  std::vector<Loaded> frames;
  std::vector<Task> tasks;
};
/// Reads the inputs, with lists (text files of one name a line) resolved.
SearchWork load_work(const SearchOptions& options, const SearchSettings& settings, const cli::Session& session);

}  // namespace fachwerk::polgraw
