#pragma once

#include <functional>
#include <span>
#include <vector>

#include "cluster/communicator.hpp"
#include "cluster/partition.hpp"

/// Blocks of scenarios or outages over ranks.
namespace fachwerk::dpf {

/// Cuts 0 .. total - 1 into blocks of `block` items that the ranks take as they get free. `work` computes a block
/// (any number of numbers); `sink` receives it on rank 0, each block once, in any order. Rank 0 computes too, and takes
/// results of the others between its own blocks. Collective.
void farm_out(const cluster::Communicator& world, std::size_t total, std::size_t block,
              const std::function<std::vector<double>(cluster::Block)>& work,
              const std::function<void(cluster::Block, std::span<const double>)>& sink);

}  // namespace fachwerk::dpf
