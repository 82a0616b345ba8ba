#pragma once

#include <string>
#include <vector>

#include "cli/command.hpp"
#include "cluster/communicator.hpp"
#include "neural/train.hpp"

/// Data-parallel back-propagation: every rank takes a part of each global batch, gradients are summed.
namespace fachwerk::neural {

struct RankOptions {
  double bucket_megabytes = 25;           ///< gradients travel in stretches of this size while the rest is computed
  int ranks_per_node = 0;                 ///< virtual nodes of so many ranks; 0: the real ones
  std::vector<double> model_link = {};    ///< latency (us), bandwidth (MB/s) for the modelled time of the history
  std::vector<double> emulate_link = {};  ///< latency (us), bandwidth (MB/s) of a slower link between nodes
};
std::vector<cli::Option> rank_option_list(RankOptions& options);

/// Ranks for Training: bucketed all-reduce that overlaps the backward pass, sums and averages, and the counters of the
/// history: bytes_payload (handed to MPI by this rank), bytes_wire (2 (p-1)/p of it for a ring) and bytes_internode
/// (the part of the ring that crosses nodes), all since the start.
Ranks make_ranks(const cluster::Communicator& world, const RankOptions& options);

}  // namespace fachwerk::neural
