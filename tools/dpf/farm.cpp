#include "farm.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <thread>

#include "cluster/task_queue.hpp"

namespace fachwerk::dpf {
namespace {

using Header = std::array<std::uint64_t, 3>;  // begin, count, numbers that follow; count 0: the rank is done
enum Tag { header_tag = 1, values_tag = 2 };

// Results on their way from one rank to rank 0: computing goes on meanwhile.
class Sender {
 public:
  explicit Sender(const cluster::Communicator& world) : world_(world) {}
  void send(cluster::Block block, std::vector<double> values) {
    for (auto& request : requests_)
      request.wait();
    header_ = {block.begin, block.count, values.size()};
    values_ = std::move(values);
    requests_[0] = world_.start_send(std::span<const std::uint64_t>(header_), 0, header_tag);
    requests_[1] = world_.start_send(std::span<const double>(values_), 0, values_tag);
  }
  void finish() {
    send({}, {});
    for (auto& request : requests_)
      request.wait();
  }

 private:
  const cluster::Communicator& world_;
  Header header_{};
  std::vector<double> values_;
  std::array<cluster::Request, 2> requests_;
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

}  // namespace

void farm_out(const cluster::Communicator& world, std::size_t total, std::size_t block,
              const std::function<std::vector<double>(cluster::Block)>& work,
              const std::function<void(cluster::Block, std::span<const double>)>& sink) {
  // A rank that asks for tasks may wait until rank 0 looks up from its own block: the others take several at once.
  const std::size_t many = std::clamp<std::size_t>(total / (16 * block * static_cast<std::size_t>(world.size())), 1, 8);
  cluster::TaskQueue queue(world, total, world.root() ? block : many * block);
  if (!world.root()) {
    Sender sender(world);
    while (const auto mine = queue.next())
      for (std::size_t begin = mine->begin; begin < mine->end(); begin += block) {
        const cluster::Block piece{begin, std::min(block, mine->end() - begin)};
        sender.send(piece, work(piece));
      }
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
  while (const auto mine = queue.next()) {
    sink(*mine, work(*mine));
    take_all();
  }
  const auto waiting = [&] { return std::ranges::any_of(others, [](const auto& other) { return !other->done(); }); };
  while (waiting())
    if (!take_all()) std::this_thread::sleep_for(std::chrono::microseconds(200));
}

}  // namespace fachwerk::dpf
