#pragma once

#include <optional>
#include <string>
#include <vector>

#include "farm.hpp"

/// The options of polgraw-search, and what they mean for the method.
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

/// Throws usage_error for values and combinations that mean nothing.
void check_options(const SearchOptions& options);
FarmSettings farm_settings(const SearchOptions& options, int threads, compute::Device device);

}  // namespace fachwerk::polgraw
