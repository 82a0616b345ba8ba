#pragma once

#include "cluster/communicator.hpp"
#include "scenario_source.hpp"
#include "solve_options.hpp"

namespace fachwerk::dpf {

/// Scenarios in blocks that ranks take as they get free, so that memory does not grow with their number: read, solve,
/// write. Tables that are not packed are written by every rank, the rest by the first. Collective. `read_time`: seconds
/// that reading the input took.
void solve_many(const SolveOptions& options, cli::Session& session, const cluster::Communicator& world,
                const LoadedGrid& input, ScenarioSource source, double read_time);

}  // namespace fachwerk::dpf
