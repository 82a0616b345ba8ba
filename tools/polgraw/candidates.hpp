#pragma once

#include "cluster/communicator.hpp"
#include "refine.hpp"
#include "trigger_output.hpp"

/// Candidates of a search: the summits of F next to its loudest clusters of triggers.
namespace fachwerk::polgraw {

struct Candidates {
  std::vector<Trigger> trigger;   ///< at the summit: parameters, snr of F there, grid numbers of the trigger
  std::vector<double> F, grid_F;  ///< by direct summation at the summit; that of the trigger
  std::vector<int> source, converged;
  std::vector<std::int64_t> row;  ///< of the trigger in the output
};

/// Refines the `count` loudest clusters of all ranks' triggers, the ranks and their threads sharing the work; loudest
/// first, summits that several clusters lead to once. The same on every rank. Collective.
Candidates refine_candidates(const cluster::Communicator& world, const Share& share,
                             std::span<const Observation* const> sources, std::size_t count, int threads);
/// /candidates; where several ranks write one file, `writer` is one of them. Collective where `file` is.
void write_candidates(h5::Output& file, std::span<const TriggerSource> sources, const Candidates& candidates,
                      bool writer);

}  // namespace fachwerk::polgraw
