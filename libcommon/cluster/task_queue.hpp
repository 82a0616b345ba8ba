#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "cluster/communicator.hpp"
#include "cluster/partition.hpp"

namespace fachwerk::cluster {

/// Tasks 0 .. total - 1 handed out to whoever asks, in order: a counter on rank 0 that every rank raises by itself
/// (MPI_Fetch_and_op), no master. Threads of a rank may ask at once. Making and destroying it is collective.
class TaskQueue {
 public:
  /// Blocks of total / (8 ranks) of what is left, down to one: few requests at the start, an even end. `chunk` > 0
  /// fixes their size.
  TaskQueue(const Communicator& world, std::size_t total, std::size_t chunk = 0);
  ~TaskQueue();
  TaskQueue(const TaskQueue&) = delete;
  TaskQueue& operator=(const TaskQueue&) = delete;

  /// The next tasks; nothing when all are handed out.
  std::optional<Block> next();

 private:
  struct Counter;
  Communicator world_;
  std::size_t total_, chunk_;
  std::size_t seen_ = 0;  ///< the counter when this rank last looked
  std::unique_ptr<Counter> counter_;
};

}  // namespace fachwerk::cluster
