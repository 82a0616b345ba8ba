#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "cli/session.hpp"
#include "flows.hpp"
#include "layout.hpp"

/// What dpf-solve tells about its results: lines of the summary, tables, pictures.
namespace fachwerk::dpf {

void summarise_grid(cli::Session& session, const Grid& grid, const Network& network);
void summarise_voltages(cli::Session& session, const Grid& grid, const Flows& result);
/// Buses and generators of small grids, and the highest loadings.
void tabulate(cli::Session& session, const Grid& grid, const Flows& result);
void summarise_scenarios(cli::Session& session, const ResultHeader& header);

/// Voltage profile of one state.
void plot_profile(const std::string& path, bool force, const Grid& grid, const Flows& result);
/// Largest mismatch and relative mismatch before every step.
void plot_convergence(const std::string& path, bool force, const Grid& grid, const std::vector<Iteration>& trace);
/// Lowest, mean and highest voltage over the scenarios, or over their time (s) where they have one.
void plot_envelope(const std::string& path, bool force, const Grid& grid,
                   const std::array<std::vector<double>, 3>& envelope, std::span<const double> time);

}  // namespace fachwerk::dpf
