#include "cluster/task_queue.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

#include "cluster/wire.hpp"

namespace fachwerk::cluster {

struct TaskQueue::Counter {
  std::shared_ptr<wire::Counter> shared;  ///< none on one rank
  std::size_t alone = 0;
  std::mutex mutex;
};

TaskQueue::TaskQueue(const Communicator& world, std::size_t total, std::size_t chunk)
    : world_(world), total_(total), chunk_(chunk), counter_(std::make_unique<Counter>()) {
  if (world.size() > 1) counter_->shared = wire::make_counter(*world.state().link);
}

TaskQueue::~TaskQueue() = default;

std::optional<Block> TaskQueue::next() {
  const std::lock_guard lock(counter_->mutex);
  if (seen_ >= total_) return std::nullopt;  // it only grows: no need to ask again
  const std::size_t guided = (total_ - seen_) / (8 * static_cast<std::size_t>(world_.size()));
  const std::size_t wanted = chunk_ > 0 ? chunk_ : std::max<std::size_t>(1, guided);
  const std::size_t begin = counter_->shared ? wire::fetch_add(*counter_->shared, wanted)
                                             : std::exchange(counter_->alone, counter_->alone + wanted);
  seen_ = begin + wanted;
  if (begin >= total_) return std::nullopt;
  return Block{begin, std::min(wanted, total_ - begin)};
}

}  // namespace fachwerk::cluster
