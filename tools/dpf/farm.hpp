#pragma once

#include <functional>
#include <span>
#include <vector>

#include "cluster/communicator.hpp"
#include "cluster/partition.hpp"

/// Blocks of scenarios or outages over ranks.
namespace fachwerk::dpf {

/// Cuts 0 .. total - 1 into blocks of whole `grain`s (but for the last), at most `most` items, over the ranks: half of
/// the items in equal shares, the rest as ranks get free. `work` computes a block (any number of numbers, valid until
/// its next call); `sink` receives it on rank 0, each block once, in any order. Rank 0 computes too, and takes results
/// of the others between its own blocks. Collective.
void farm_out(const cluster::Communicator& world, std::size_t total, std::size_t grain, std::size_t most,
              const std::function<std::span<const double>(cluster::Block)>& work,
              const std::function<void(cluster::Block, std::span<const double>)>& sink);

}  // namespace fachwerk::dpf
