#include "ranks.hpp"

#include "cli/error.hpp"
#include "cluster/partition.hpp"

namespace fachwerk::hyde {

std::shared_ptr<const Team> team_of(const cluster::Communicator& world, std::size_t rows) {
  if (world.size() == 1) return nullptr;
  const auto size = static_cast<std::size_t>(world.size());
  if (rows < size) throw usage_error("{} ranks are more than the cube's {} rows", size, rows);
  constexpr std::size_t chunk = 64;  // rows of a chunk in the output
  const std::size_t grain = rows >= 4 * chunk * size ? chunk : 1;
  auto team = std::make_shared<Team>();
  team->rank = static_cast<std::size_t>(world.rank());
  team->size = size;
  for (std::size_t r = 0; r < size; ++r)
    team->rows.push_back(cluster::block_of(rows, size, r, grain).count);
  // Added up on one rank and handed out: the same bits everywhere, so that all take the same decisions.
  team->sum = [world](std::span<double> values) {
    world.reduce(values);
    world.broadcast(values);
  };
  team->largest = [world](std::span<double> values) { world.allreduce(values, cluster::Op::max); };
  team->exchange = [world](std::span<const float> values, std::span<const std::size_t> counts) {
    return world.alltoallv(values, counts).values;
  };
  team->join = [world](std::span<const std::uint8_t> values) { return world.allgatherv(values).values; };
  return team;
}

}  // namespace fachwerk::hyde
