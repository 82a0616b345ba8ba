#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/session.hpp"
#include "io/hdf5.hpp"
#include "neural/batches.hpp"
#include "neural/loss.hpp"
#include "neural/network.hpp"
#include "neural/optimiser.hpp"
#include "neural/schedule.hpp"

/// The one training loop. A method supplies hooks, never another loop; README.md in this folder is its author's guide.
namespace fachwerk::neural {

struct TrainOptions {
  OptimiserOptions optimiser = {};
  ScheduleOptions schedule = {};
  LossOptions loss = {};
  Augmentation augmentation = {};
  std::string scale_lr = "none";  ///< linear, sqrt, none: with (global batch) / 256
  std::int64_t epochs = 10;
  std::int64_t steps = 0;    ///< instead of epochs
  std::int64_t batch = 128;  ///< the global batch
  bool drop_last = false;
  bool pad_tail = false;           ///< fill the last batch of an epoch with its first samples
  std::string progress = "plain";  ///< on stderr: plain (a line an epoch), json (one object a line), bar
  std::int64_t eval_every = 1;     ///< epochs between evaluations on val and test; the last is always evaluated
  std::int64_t eval_batch = 500;
  std::int64_t early_stop = 0;        ///< epochs without a better validation loss; 0: never
  bool keep_best = false;             ///< end with the weights of the best epoch on val
  std::int64_t log_steps = 0;         ///< every so many steps a row of /history/step
  std::int64_t checkpoint_every = 1;  ///< epochs
  double max_seconds = 0;             ///< stop with a checkpoint
  std::string type = "f32";           ///< f32, f64, bf16 (weights f32, arithmetic bf16)
  std::uint64_t seed = 1;
};

class Training;

/// How ranks work together; see distributed.hpp. Without it there is one rank.
struct Ranks {
  int rank = 0, count = 1;
  std::function<void(std::vector<double>&)> sum = {};           ///< adds up over ranks, in place
  std::function<void(Training&)> before_gradient = {};          ///< watches the backward pass
  std::function<void(Training&)> synchronise = {};              ///< makes the gradient the sum over ranks
  std::function<void(std::vector<at::Tensor>&)> average = {};   ///< of buffers, at the end of an epoch
  std::function<bool(bool)> any = {};                           ///< true if it is on any rank
  std::function<std::map<std::string, double>()> traffic = {};  ///< counters for the history
  /// What every rank has, one row a rank, on rank 0. All give the same number of values.
  std::function<std::vector<std::vector<double>>(const std::vector<double>&)> gather = {};
};

/// What a method replaces. Empty members keep plain back-propagation. Each is called at its place in every step:
///   begin; { order; { weights, gradient, synchronise, constrain, update, after_step } per step; epoch_end } per epoch
struct Hooks {
  std::function<void(Training&)> begin;  ///< once, after a checkpoint was read
  /// The order of the training rows in an epoch.
  std::function<std::vector<std::size_t>(Training&, std::int64_t epoch)> order;
  /// The weights that the forward pass uses, one for each of graph.parameters, as a differentiable function of what is
  /// trained: factors, masks, samples of a posterior.
  std::function<std::vector<at::Tensor>(Training&)> weights;
  /// Puts the gradient into trained().gradients, and loss() and output(). Default: back_propagation.
  std::function<void(Training&)> gradient;
  std::function<void(Training&)> synchronise;  ///< instead of the sum over ranks
  std::function<void(Training&)> constrain;    ///< between gradient and step: masks, projections
  std::function<void(Training&)> update;       ///< instead of the optimiser's step
  std::function<void(Training&)> after_step;
  std::function<void(Training&)> epoch_end;  ///< may add columns to the history by note()
  /// Tensors of the method that a checkpoint must keep, by name; read back in place.
  std::function<std::vector<std::pair<std::string, at::Tensor>>(Training&)> state;
  /// What is trained instead of the network's own parameters.
  std::shared_ptr<Parameters> trained;
};

/// Columns of numbers, one row an epoch (or a logged step).
struct History {
  std::vector<std::string> columns;
  std::vector<std::vector<double>> rows;
  void put(const std::map<std::string, double>& row, const std::vector<std::string>& order);
  void write(h5::Output& file, const std::string& group) const;
  void read(const h5::Node& file, const std::string& group);
};

/// The loop and its state.
class Training {
 public:
  /// Throws usage errors for options that do not fit the data: batch larger than the set, unknown names.
  Training(Network& network, const Dataset& data, const TrainOptions& options, Hooks hooks = {}, Ranks ranks = {},
           const cli::Session* session = nullptr);

  /// Trains to the end. Throws method_failed when the loss is no longer finite, and the error of a stop with
  /// checkpoint.
  void run();

  // What hooks see.
  Network& network() { return network_; }
  Parameters& trained() { return hooks_.trained ? *hooks_.trained : network_.trained; }
  const Dataset& data() const { return data_; }
  const TrainOptions& options() const { return options_; }
  Optimiser& optimiser() { return optimiser_; }
  const Ranks& ranks() const { return ranks_; }
  const Batch& batch() const { return batch_; }
  std::int64_t step() const { return step_; }    ///< optimiser steps done
  std::int64_t epoch() const { return epoch_; }  ///< from 0
  std::int64_t steps_per_epoch() const { return steps_per_epoch_; }
  double lr() const { return lr_; }
  double& loss() { return loss_; }  ///< this rank's part of the mean loss
  at::Tensor& output() { return output_; }
  /// The forward pass that this step's seeds belong to.
  Pass pass() const {
    return {.training = true, .seed = options_.seed, .step = step_, .offset = batch_.offset, .compute = compute_};
  }
  std::vector<at::Tensor> weights() { return hooks_.weights ? hooks_.weights(*this) : network_.weights; }
  OutputKind output_kind() const { return kind_; }
  /// A column of this epoch's row of the history.
  void note(const std::string& column, double value) { notes_[column] = value; }
  Metrics evaluate(const Split& split);

  const History& history() const { return history_; }
  const History& step_history() const { return step_history_; }
  std::int64_t samples_seen() const { return samples_; }
  double train_seconds() const { return train_seconds_; }
  std::int64_t best_epoch() const { return best_epoch_; }
  void write_history(h5::Output& file) const;

  /// A checkpoint is everything that a run needs to go on bit by bit. Only rank 0 writes.
  void save(const std::string& path);
  void resume(const std::string& path);

 private:
  void one_step(std::span<const std::size_t> order, std::int64_t position);
  void end_epoch();
  void report(const std::map<std::string, double>& row) const;
  std::vector<at::Tensor> running_statistics() const;
  std::vector<double> private_state() const;
  void set_private_state(const std::vector<double>& values);
  void check_finite();
  bool stop_wanted() const;
  bool finished() const;

  Network& network_;
  const Dataset& data_;
  TrainOptions options_;
  Hooks hooks_;
  Ranks ranks_;
  const cli::Session* session_;
  at::ScalarType compute_;
  OutputKind kind_;
  Batches batches_;
  Optimiser optimiser_;
  Schedule schedule_;
  Batch batch_;
  at::Tensor output_;
  std::int64_t step_ = 0, epoch_ = 0, position_ = 0, steps_per_epoch_ = 0, total_steps_ = 0, samples_ = 0;
  double lr_ = 0, loss_ = 0;
  double epoch_loss_ = 0, epoch_right_ = 0, epoch_count_ = 0;
  double train_seconds_ = 0, epoch_seconds_ = 0, begun_ = 0;
  double best_loss_ = 0;
  std::int64_t best_epoch_ = -1;
  std::vector<at::Tensor> best_;
  std::map<std::string, double> notes_;
  History history_, step_history_;
};

/// The default gradient: forward, loss, backward.
void back_propagation(Training& training);

/// Quality of a network on a part of a data set. `weights` as in Network::weights.
Metrics evaluate(const Graph& graph, std::span<const at::Tensor> weights, const Dataset& data, const Split& split,
                 const LossOptions& loss = {}, std::int64_t batch = 500, at::ScalarType type = at::kFloat,
                 const Ranks& ranks = {},
                 const std::function<void(const at::Tensor& output, const Batch& batch)>& each = {});

/// Sets libtorch's threads; its own pools between operations stay empty.
void use_threads(int threads);

}  // namespace fachwerk::neural
