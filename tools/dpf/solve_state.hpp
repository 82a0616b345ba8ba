#pragma once

#include "cluster/communicator.hpp"
#include "solve_options.hpp"

namespace fachwerk::dpf {

/// Solves the grid's one state, writes it and tells about it. Collective where --areas is given; otherwise the first
/// rank's work. `read_time`: seconds that reading the input took.
void solve_one(const SolveOptions& options, cli::Session& session, const cluster::Communicator& world,
               const LoadedGrid& input, double read_time);

}  // namespace fachwerk::dpf
