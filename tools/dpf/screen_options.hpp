#pragma once

#include <string>
#include <vector>

#include "cli/session.hpp"
#include "screen.hpp"

/// The options of dpf-screen, and what they mean for the method.
namespace fachwerk::dpf {

/// What the options of dpf-screen say; the words are those of its help.
struct ScreenCall {
  std::string input, output;
  std::string branches = "all", generators = "none", pairs, table, limits = "file", rating = "A", guard = "off",
              split = "largest", prefilter = "none", scenarios, area = "auto", plot;
  double tolerance = 1e-8, check = 0, prefilter_guard = 1;
  int max_iterations = 20, top = 10;
  bool full = false;
};

/// The outages that the options select, in their order. Throws usage_error for rows that are not there and where
/// nothing is selected, bad_input for a change table that does more than switch elements off.
std::vector<Contingency> contingencies_of(const ScreenCall& options, const Grid& grid, const Network& network);
/// Throws usage_error for a guard or limits that are none.
ScreenOptions screen_options_of(const ScreenCall& options, const cli::Session& session);

}  // namespace fachwerk::dpf
