#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "dataset.hpp"
#include "farm.hpp"

/// What polgraw-search reads: its options, lists of files, frames with their grid, vetoes and part of the sky.
namespace fachwerk::polgraw {

/// What the command line says.
struct SearchOptions {
  std::vector<std::string> inputs, vetoes, detectors;
  std::string output, grid, compat = "none", form = "full", norm = "block", peaks = "run", prior = "o1",
                            precision = "mixed", engine = "fast", halfrate = "auto", planning = "measure", range,
                            regions, dump_f, genvlines;
  double threshold = 20, narrowdown = 0.5, min_match = 0.8660254037844386;
  std::optional<double> fdot_min, fdot_max, tau_min, guard;
  std::vector<double> cone, exclude_cone, around, f2;
  int hemisphere = 0, nav = 4096, degree = 5, gsize = 2;
  double checkpoint_interval = 600;
  std::int64_t refine = 0, top = 0, max_triggers = 100000000;
  bool whitenoise = false, no_spindown = false, dry_run = false, shapiro = false, interbin = false, detector_f = false,
       shards = false;
};

/// A frame read, checked, and made ready for the tasks.
struct Loaded {
  FrameInfo info;
  std::shared_ptr<FarmSource> source;
  Selection selection;
  double vetoed = 0;
};

/// Inputs, with lists (text files of one name a line) resolved.
std::vector<std::string> resolve_inputs(const std::vector<std::string>& inputs);
/// A frame with the grid, detectors, vetoes and selection that the options ask for.
Loaded load(const SearchOptions& options, const std::string& path, const cli::Session& session);

}  // namespace fachwerk::polgraw
