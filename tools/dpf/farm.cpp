#include "farm.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <thread>

#include "cluster/task_queue.hpp"

namespace fachwerk::dpf {
namespace {

using Header = std::array<std::uint64_t, 3>;  // begin, count, numbers that follow; count 0: the rank is done
enum Tag { header_tag = 1, values_tag = 2 };

// Results on their way from one rank to rank 0: computing goes on meanwhile, and rank 0 may be late.
class Sender {
 public:
  explicit Sender(const cluster::Communicator& world) : world_(world) {}
  void send(cluster::Block block, std::span<const double> values) {
    while (!messages_.empty() && (messages_.front()->sent() || waiting_ > most)) {
      messages_.front()->wait();
      waiting_ -= messages_.front()->values.size();
      messages_.pop_front();
    }
    messages_.push_back(std::make_unique<Message>());
    Message& message = *messages_.back();
    message.header = {block.begin, block.count, values.size()};
    message.values.assign(values.begin(), values.end());
    waiting_ += values.size();
    message.requests[0] = world_.start_send(std::span<const std::uint64_t>(message.header), 0, header_tag);
    message.requests[1] = world_.start_send(std::span<const double>(message.values), 0, values_tag);
  }
  void finish() {
    send({}, {});
    for (auto& message : messages_)
      message->wait();
  }

 private:
  static constexpr std::size_t most = std::size_t{4} << 20;  // numbers that wait at once
  struct Message {
    Header header{};
    std::vector<double> values;
    std::array<cluster::Request, 2> requests;
    bool sent() { return requests[0].test() && requests[1].test(); }
    void wait() {
      for (auto& request : requests)
        request.wait();
    }
  };
  const cluster::Communicator& world_;
  std::deque<std::unique_ptr<Message>> messages_;
  std::size_t waiting_ = 0;
};

// What rank 0 expects of one other rank.
class Receiver {
 public:
  Receiver(const cluster::Communicator& world, int from) : world_(world), from_(from) { expect(); }
  bool done() const { return done_; }
  // Takes one block if it is there.
  bool take(const std::function<void(cluster::Block, std::span<const double>)>& sink) {
    if (done_ || !request_.test()) return false;
    const Header header = header_;
    values_.resize(header[2]);
    world_.receive(std::span<double>(values_), from_, values_tag);
    done_ = header[1] == 0;
    if (done_) return true;
    expect();
    sink({header[0], header[1]}, values_);
    return true;
  }

 private:
  void expect() { request_ = world_.start_receive(std::span<std::uint64_t>(header_), from_, header_tag); }

  const cluster::Communicator& world_;
  int from_;
  Header header_{};
  std::vector<double> values_;
  cluster::Request request_;
  bool done_ = false;
};

// The blocks of one rank: its share, then what is left to whoever is free.
class Blocks {
 public:
  Blocks(const cluster::Communicator& world, std::size_t total, std::size_t grain, std::size_t most)
      : grain_(grain),
        most_(std::max<std::size_t>(most / grain, 1) * grain),
        total_(total),
        shared_(share(world, total, grain) * static_cast<std::size_t>(world.size())),
        queue_(world, (total - shared_ + grain - 1) / grain),
        at_(share(world, total, grain) * static_cast<std::size_t>(world.rank())),
        end_(at_ + share(world, total, grain)) {}

  std::optional<cluster::Block> next() {
    if (at_ == end_) {
      const auto more = queue_.next();
      if (!more) return {};
      at_ = shared_ + more->begin * grain_;
      end_ = std::min(total_, shared_ + more->end() * grain_);
    }
    const cluster::Block block{at_, std::min(most_, end_ - at_)};
    at_ = block.end();
    return block;
  }

 private:
  static std::size_t share(const cluster::Communicator& world, std::size_t total, std::size_t grain) {
    const auto ranks = static_cast<std::size_t>(world.size());
    return ranks == 1 ? total : total / (2 * ranks * grain) * grain;
  }
  std::size_t grain_, most_, total_, shared_;
  cluster::TaskQueue queue_;
  std::size_t at_, end_;
};

}  // namespace

void farm_out(const cluster::Communicator& world, std::size_t total, std::size_t grain, std::size_t most,
              const std::function<std::span<const double>(cluster::Block)>& work,
              const std::function<void(cluster::Block, std::span<const double>)>& sink) {
  Blocks blocks(world, total, grain, most);
  if (!world.root()) {
    Sender sender(world);
    while (const auto mine = blocks.next())
      sender.send(*mine, work(*mine));
    sender.finish();
    return;
  }
  std::vector<std::unique_ptr<Receiver>> others;
  for (int rank = 1; rank < world.size(); ++rank)
    others.push_back(std::make_unique<Receiver>(world, rank));
  const auto take_all = [&] {
    bool any = false;
    for (auto& other : others)
      while (other->take(sink))
        any = true;
    return any;
  };
  while (const auto mine = blocks.next()) {
    sink(*mine, work(*mine));
    take_all();
  }
  const auto waiting = [&] { return std::ranges::any_of(others, [](const auto& other) { return !other->done(); }); };
  while (waiting())
    if (!take_all()) std::this_thread::sleep_for(std::chrono::microseconds(200));
}

}  // namespace fachwerk::dpf
