#include "neural/distributed.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>

namespace fachwerk::neural {

namespace {

using Clock = std::chrono::steady_clock;
using torch::autograd::variable_list;

/// Calls a function after a node of the backward pass is done.
struct AfterNode : torch::autograd::FunctionPostHook {
  explicit AfterNode(std::function<void()> fn) : fn_(std::move(fn)) {}
  variable_list operator()(const variable_list& outputs, const variable_list&) override {
    fn_();
    return outputs;
  }
  std::function<void()> fn_;
};

/// Sums the flat gradient over ranks, stretch by stretch from the end, each as soon as its gradients are there. The
/// order of stretches is the same on every rank.
class Reducer {
 public:
  Reducer(cluster::Communicator world, const RankOptions& options, double ring_share)
      : world_(std::move(world)), options_(options), ring_share_(ring_share) {}

  void watch(Training& training) {
    if (parameters_ != &training.trained()) attach(training.trained());
    for (Bucket& bucket : buckets_)
      bucket.missing = bucket.tensors;
    next_ = 0;
    last_done_ = Clock::time_point{};
  }

  void finish() {
    while (next_ < buckets_.size())
      launch();
    for (Bucket& bucket : buckets_)
      bucket.request.wait();
    if (!options_.emulate_link.empty()) std::this_thread::sleep_until(last_done_);
  }

 private:
  struct Bucket {
    std::int64_t begin, end;
    int tensors = 0, missing = 0;
    cluster::Request request = {};
  };

  void attach(Parameters& p) {
    parameters_ = &p;
    buckets_.clear();
    accumulators_.clear();
    std::vector<std::size_t> bucket_of(p.size());
    const double limit = options_.bucket_megabytes * 1e6 / static_cast<double>(p.flat.element_size());
    for (std::size_t i = p.size(); i-- > 0;) {
      const bool full = !buckets_.empty() && static_cast<double>(buckets_.back().end - p.offsets[i]) > limit;
      if (buckets_.empty() || full) buckets_.push_back({p.offsets[i + 1], p.offsets[i + 1]});
      buckets_.back().begin = p.offsets[i];
      ++buckets_.back().tensors;
      bucket_of[i] = buckets_.size() - 1;
    }
    for (std::size_t i = 0; i < p.size(); ++i) {
      accumulators_.push_back(torch::autograd::impl::grad_accumulator(p.values[i]));
      accumulators_.back()->add_post_hook(std::make_unique<AfterNode>([this, i, b = bucket_of[i]] {
        parameters_->collect_gradient(i);
        --buckets_[b].missing;
        while (next_ < buckets_.size() && buckets_[next_].missing == 0)
          launch();
        for (std::size_t k = 0; k < next_; ++k)
          buckets_[k].request.test();  // MPI advances while it is asked
      }));
    }
  }

  void launch() {
    Bucket& bucket = buckets_[next_++];
    const auto count = static_cast<std::size_t>(bucket.end - bucket.begin);
    const at::Tensor& gradient = parameters_->flat_gradient;
    if (gradient.scalar_type() == at::kDouble)
      bucket.request = world_.start_allreduce(std::span<double>(gradient.data_ptr<double>() + bucket.begin, count));
    else
      bucket.request = world_.start_allreduce(std::span<float>(gradient.data_ptr<float>() + bucket.begin, count));
    if (options_.emulate_link.size() == 2) {
      const double bytes = ring_share_ * static_cast<double>(count * gradient.element_size());
      const double seconds = options_.emulate_link[0] * 1e-6 + bytes / (options_.emulate_link[1] * 1e6);
      last_done_ = std::max(last_done_, Clock::now()) +
                   std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    }
  }

  cluster::Communicator world_;
  RankOptions options_;
  double ring_share_;
  Parameters* parameters_ = nullptr;
  // A shared_ptr or, in newer libtorch, an intrusive_ptr.
  std::vector<decltype(torch::autograd::impl::grad_accumulator(at::Tensor()))> accumulators_;
  std::vector<Bucket> buckets_;
  std::size_t next_ = 0;
  Clock::time_point last_done_;
};

}  // namespace

std::vector<cli::Option> rank_option_list(RankOptions& o) {
  return {{"--bucket-mb",
           &o.bucket_megabytes,
           "several ranks: size of the stretches in which gradients travel",
           {.unit = "MB", .minimum = 0.001}},
          {"--ranks-per-node",
           &o.ranks_per_node,
           "several ranks: virtual nodes of so many ranks; 0: the real ones",
           {.minimum = 0}},
          {"--model-link",
           &o.model_link,
           "several ranks: latency in us and MB/s of a link; adds seconds_comm_model to the history",
           {.minimum = 0}},
          {"--emulate-link",
           &o.emulate_link,
           "several ranks: delay of a link between nodes, latency in us and MB/s (emulated)",
           {.minimum = 0}}};
}

Ranks make_ranks(const cluster::Communicator& world, const RankOptions& options) {
  Ranks ranks;
  ranks.rank = world.rank();
  ranks.count = world.size();
  if (!options.emulate_link.empty() && (options.emulate_link.size() != 2 || options.emulate_link[1] <= 0))
    throw usage_error("--emulate-link: expected latency (us) and bandwidth (MB/s)");
  if (!options.model_link.empty() && (options.model_link.size() != 2 || options.model_link[1] <= 0))
    throw usage_error("--model-link: expected latency (us) and bandwidth (MB/s)");
  if (world.size() == 1) return ranks;
  const cluster::Communicator gradients = world.duplicate("gradients"), control = world.duplicate("control");
  const int node = options.ranks_per_node > 0 ? world.rank() / options.ranks_per_node : -1;
  const cluster::Communicator mates = node >= 0 ? world.split(node, world.rank(), "node") : world.node();
  const double nodes = static_cast<double>(control.allreduce_value(mates.rank() == 0 ? 1 : 0));
  const double p = world.size();
  const double ring = 2 * (p - 1) / p;
  auto reducer = std::make_shared<Reducer>(gradients, options, nodes > 1 ? ring : 0);
  ranks.before_gradient = [reducer](Training& t) { reducer->watch(t); };
  ranks.synchronise = [reducer](Training&) { reducer->finish(); };
  ranks.sum = [control](std::vector<double>& values) { control.allreduce(values); };
  ranks.any = [control](bool mine) { return control.allreduce_value(mine ? 1 : 0, cluster::Op::max) != 0; };
  ranks.average = [control](std::vector<at::Tensor>& tensors) {
    at::NoGradGuard no_grad;
    for (at::Tensor& tensor : tensors) {
      at::Tensor whole = tensor.detach().to(at::kDouble).contiguous().clone();
      control.allreduce(std::span<double>(whole.data_ptr<double>(), static_cast<std::size_t>(whole.numel())));
      tensor.detach().copy_(whole / control.size());
    }
  };
  ranks.gather = [control](const std::vector<double>& mine) {
    const auto all = control.gatherv(std::span<const double>(mine));
    std::vector<std::vector<double>> rows;
    for (auto next = all.values.begin(); const std::size_t count : all.counts) {
      rows.emplace_back(next, next + static_cast<std::ptrdiff_t>(count));
      next += static_cast<std::ptrdiff_t>(count);
    }
    return rows;
  };
  ranks.traffic = [gradients, control, ring, nodes, p, link = options.model_link]() -> std::map<std::string, double> {
    const double payload = static_cast<double>(gradients.traffic().sent + control.traffic().sent);
    std::map<std::string, double> row = {{"bytes_payload", payload},
                                         {"bytes_wire", ring * payload},
                                         {"bytes_internode", nodes > 1 ? ring * payload * nodes / p : 0.0}};
    if (link.size() == 2) {
      // A ring: 2 (p - 1) messages one after another for every call.
      const double calls = static_cast<double>(gradients.traffic().calls + control.traffic().calls);
      row["seconds_comm_model"] = calls * 2 * (p - 1) * link[0] * 1e-6 + ring * payload / (link[1] * 1e6);
    }
    return row;
  };
  return ranks;
}

}  // namespace fachwerk::neural
