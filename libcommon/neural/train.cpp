#include "neural/train.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include <fmt/format.h>
#include <malloc.h>

#include "cli/progress.hpp"

namespace fachwerk::neural {

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

bool takes_whole_numbers(const Graph& graph) {
  return graph.nodes.size() > 1 && graph.nodes[1].op == Op::embedding;
}

double scaled_rate(const TrainOptions& o) {
  const double factor = static_cast<double>(o.batch) / 256;
  return o.optimiser.lr * (o.scale_lr == "linear" ? factor : o.scale_lr == "sqrt" ? std::sqrt(factor) : 1);
}

}  // namespace

void use_threads(int threads) {
  at::set_num_threads(threads);
  // Activations come and go at every step: keep their memory instead of giving it back and faulting it in again.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
}

void History::put(const std::map<std::string, double>& row, const std::vector<std::string>& order) {
  const auto add = [&](const std::string& column) {
    if (std::find(columns.begin(), columns.end(), column) != columns.end()) return;
    columns.push_back(column);
    for (auto& old : rows)
      old.push_back(NAN);
  };
  for (const std::string& column : order)
    if (row.contains(column)) add(column);
  for (const auto& [column, value] : row)
    add(column);
  std::vector<double> values(columns.size(), NAN);
  for (std::size_t i = 0; i < columns.size(); ++i)
    if (const auto found = row.find(columns[i]); found != row.end()) values[i] = found->second;
  rows.push_back(std::move(values));
}

void History::write(h5::Output& file, const std::string& group) const {
  const auto unit = [](const std::string& column) {
    if (column.starts_with("seconds")) return "s";
    if (column.starts_with("bytes")) return "B";
    if (column == "samples_per_s") return "1/s";
    return "1";
  };
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const h5::Describe describe{
        .units = unit(columns[c]), .long_name = columns[c], .dims = {group.substr(group.rfind('/') + 1)}};
    if (columns[c] == "epoch" || columns[c] == "step") {
      std::vector<std::int64_t> values;
      for (const auto& row : rows)
        values.push_back(static_cast<std::int64_t>(row[c]));
      file.column(group + "/" + columns[c], values, describe);
    } else {
      std::vector<double> values;
      for (const auto& row : rows)
        values.push_back(row[c]);
      file.column(group + "/" + columns[c], values, describe);
    }
  }
  if (!columns.empty()) file.attribute(group, "columns", columns);
}

void History::read(const h5::Node& file, const std::string& group) {
  columns.clear();
  rows.clear();
  if (!file.exists(group)) return;
  columns = file.texts(group, "columns");
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const auto values = file.column<double>(group + "/" + columns[c], c == 0 ? 0 : rows.size());
    rows.resize(values.size());
    for (std::size_t r = 0; r < values.size(); ++r)
      rows[r].push_back(values[r]);
  }
}

Training::Training(Network& network, const Dataset& data, const TrainOptions& options, Hooks hooks, Ranks ranks,
                   const cli::Session* session)
    : network_(network),
      data_(data),
      options_(options),
      hooks_(std::move(hooks)),
      ranks_(std::move(ranks)),
      session_(session),
      compute_(options.type == "bf16" ? at::kBFloat16 : network.type),
      kind_(neural::output_kind(network.graph)),
      batches_(data, data.train, network.type, takes_whole_numbers(network.graph), options.augmentation, options.seed),
      optimiser_(options.optimiser, trained()) {
  const auto n = static_cast<std::int64_t>(data.train.count);
  if (n == 0) throw bad_input("{}:/train/x: no samples to train on", data.name);
  if (options.batch < 1 || options.batch > n)
    throw usage_error("a batch of {} samples, the training set has {}", options.batch, n).with_hint("--batch N");
  if (ranks_.count > options.batch)
    throw usage_error("{} ranks for batches of {} samples", ranks_.count, options.batch);
  if (options.epochs < 0 || options.steps < 0 || options.eval_every < 1)
    throw usage_error("epochs and steps cannot be negative");
  const std::string& loss = options.loss.name;
  if (!data.classification && (loss == "ce" || loss == "nll" || loss == "bce"))
    throw usage_error("loss {} is for classes, the data is a regression", loss);
  if (loss == "ce" && kind_ != OutputKind::values) throw usage_error("loss ce takes logits: use it without --out-act");
  if (options.drop_last && options.pad_tail) throw usage_error("--drop-last or --pad-tail, not both");
  steps_per_epoch_ = options.drop_last ? n / options.batch : (n + options.batch - 1) / options.batch;
  total_steps_ = options.steps > 0 ? options.steps : options.epochs * steps_per_epoch_;
  schedule_ = Schedule(options.schedule, scaled_rate(options), total_steps_, steps_per_epoch_);
  if (options_.loss.name.empty())
    options_.loss.name = data.classification ? (kind_ == OutputKind::values    ? "ce"
                                                : kind_ == OutputKind::softmax ? "nll"
                                                                               : "bce")
                                             : "mse";
}

void back_propagation(Training& t) {
  const auto weights = t.weights();
  Pass pass = t.pass();
  pass.fused = true;
  t.output() = forward(t.network().graph, weights, t.batch().x, pass);
  const at::Tensor loss = loss_of(t.options().loss, t.output_kind(), t.output(), t.batch());
  t.loss() = loss.item<double>();
  if (!std::isfinite(t.loss())) return;
  loss.backward();
  t.trained().collect_gradients();
}

bool Training::finished() const {
  return step_ >= total_steps_;
}

bool Training::stop_wanted() const {
  const bool mine = cli::stop_requested() || (options_.max_seconds > 0 && now() - begun_ > options_.max_seconds);
  return ranks_.any ? ranks_.any(mine) : mine;
}

void Training::check_finite() {
  if (std::isfinite(loss_)) return;
  std::string first = "the loss";
  for (std::size_t i = 0; i < trained().size(); ++i)
    if (!at::isfinite(trained().values[i]).all().item<bool>()) {
      first = trained().names[i];
      break;
    }
  throw method_failed("training diverged at step {} of epoch {}: {} is not finite", step_, epoch_, first)
      .with_hint("a smaller --lr, or --clip-norm 1");
}

void Training::one_step(std::span<const std::size_t> order, std::int64_t position) {
  const std::int64_t n = static_cast<std::int64_t>(order.size());
  const std::int64_t begin = position * options_.batch, full = begin + options_.batch;
  const std::int64_t end = options_.pad_tail ? full : std::min(n, full);
  const std::int64_t global = end - begin;
  // A rank takes a contiguous part; parts differ by one sample at most.
  const std::int64_t from = begin + global * ranks_.rank / ranks_.count;
  const std::int64_t to = begin + global * (ranks_.rank + 1) / ranks_.count;
  lr_ = schedule_.at(step_);
  std::vector<std::size_t> rows(static_cast<std::size_t>(to - from));
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i] = order[(static_cast<std::size_t>(from) + i) % order.size()];
  batch_ = batches_.make(rows, epoch_, step_, from - begin, global);
  if (hooks_.gradient)
    trained().clear_gradients();
  else
    trained().release_gradients();
  if (ranks_.before_gradient && !hooks_.synchronise) ranks_.before_gradient(*this);
  if (hooks_.gradient)
    hooks_.gradient(*this);
  else
    back_propagation(*this);
  check_finite();
  if (hooks_.synchronise)
    hooks_.synchronise(*this);
  else if (ranks_.synchronise)
    ranks_.synchronise(*this);
  if (hooks_.constrain) hooks_.constrain(*this);
  const bool logged = options_.log_steps > 0 && (step_ + 1) % options_.log_steps == 0;
  double norm = 0;
  if (options_.optimiser.clip_norm > 0 || logged) norm = gradient_norm(trained());
  if (options_.optimiser.clip_norm > 0 && norm > options_.optimiser.clip_norm)
    scale_gradient(trained(), options_.optimiser.clip_norm / (norm + 1e-6));
  if (hooks_.update)
    hooks_.update(*this);
  else
    optimiser_.step(trained(), lr_);
  epoch_loss_ += loss_ * static_cast<double>(global);
  epoch_count_ += static_cast<double>(global);
  if (data_.classification) epoch_right_ += static_cast<double>(count_correct(output_, batch_));
  samples_ += global;
  if (logged)
    step_history_.put({{"step", static_cast<double>(step_ + 1)}, {"loss", loss_}, {"lr", lr_}, {"grad_norm", norm}},
                      {"step", "loss", "lr", "grad_norm"});
  output_ = at::Tensor();
  ++step_;
  if (hooks_.after_step) hooks_.after_step(*this);
}

void Training::end_epoch() {
  train_seconds_ += epoch_seconds_;
  std::vector<double> sums = {epoch_loss_, epoch_right_};
  if (ranks_.sum) ranks_.sum(sums);
  if (ranks_.average) {
    std::vector<at::Tensor> buffers = running_statistics();
    ranks_.average(buffers);
  }
  ++epoch_;
  std::map<std::string, double> row = {{"epoch", static_cast<double>(epoch_)},
                                       {"step", static_cast<double>(step_)},
                                       {"lr", lr_},
                                       {"train_loss", sums[0] / epoch_count_},
                                       {"seconds_train", epoch_seconds_},
                                       {"samples_per_s", epoch_count_ / std::max(1e-9, epoch_seconds_)}};
  const char* quality = data_.classification ? "acc" : "mse";
  if (data_.classification) row["train_acc"] = sums[1] / epoch_count_;
  const double begun = now();
  double watched = sums[0] / epoch_count_;
  if (epoch_ % options_.eval_every == 0 || finished()) {
    for (const auto& [name, split] : {std::pair<std::string, const Split*>{"val", &data_.val}, {"test", &data_.test}}) {
      if (split->empty()) continue;
      const Metrics m = evaluate(*split);
      row[name + "_loss"] = m.loss;
      row[name + "_" + quality] = m.quality(data_.classification);
      if (name == "val") watched = m.loss;
    }
    if (best_epoch_ < 0 || watched < best_loss_) {
      best_loss_ = watched;
      best_epoch_ = epoch_;
      if (options_.keep_best) {
        best_.clear();
        for (const at::Tensor& w : network_.weights)
          best_.push_back(w.detach().clone());
      }
    }
  }
  row["seconds_eval"] = now() - begun;
  if (ranks_.traffic)
    for (const auto& [name, value] : ranks_.traffic())
      row[name] = value;
  schedule_.observe(watched);
  if (hooks_.epoch_end) hooks_.epoch_end(*this);
  for (const auto& [name, value] : notes_)
    row[name] = value;
  notes_.clear();
  history_.put(row, {"epoch", "step", "lr", "train_loss", "train_acc", "val_loss", "val_acc", "val_mse", "test_loss",
                     "test_acc", "test_mse", "seconds_train", "seconds_eval", "samples_per_s"});
  report(row);
  epoch_loss_ = epoch_right_ = epoch_count_ = epoch_seconds_ = 0;
  position_ = 0;
}

void Training::report(const std::map<std::string, double>& row) const {
  if (session_ == nullptr || !session_->talks || session_->quiet || options_.progress == "bar") return;
  if (options_.progress == "json") {
    std::string line;
    for (const auto& [name, value] : row)
      line += fmt::format("{}\"{}\":{}", line.empty() ? "{" : ",", name,
                          std::isfinite(value) ? fmt::format("{}", value) : "null");
    cli::say(line + "}\n");
    return;
  }
  std::string line = fmt::format("epoch {}", epoch_);
  for (const char* column : {"train_loss", "train_acc", "val_loss", "val_acc", "val_mse", "test_loss", "test_acc",
                             "test_mse", "samples_per_s"})
    if (row.contains(column)) line += fmt::format("  {} {:.5g}", column, row.at(column));
  cli::say(fmt::format("{}: {}\n", session_->tool, line));
}

/// What differs from rank to rank inside an epoch: sums, and running statistics that are averaged at its end.
std::vector<double> Training::private_state() const {
  std::vector<double> values = {epoch_loss_, epoch_right_};
  for (const at::Tensor& buffer : running_statistics()) {
    const at::Tensor whole = buffer.detach().to(at::kDouble).contiguous();
    values.insert(values.end(), whole.data_ptr<double>(), whole.data_ptr<double>() + whole.numel());
  }
  return values;
}

void Training::set_private_state(const std::vector<double>& values) {
  at::NoGradGuard no_grad;
  epoch_loss_ = values.at(0), epoch_right_ = values.at(1);
  std::size_t next = 2;
  for (const at::Tensor& buffer : running_statistics()) {
    const auto n = static_cast<std::size_t>(buffer.numel());
    const std::vector<double> part(values.begin() + static_cast<std::ptrdiff_t>(next),
                                   values.begin() + static_cast<std::ptrdiff_t>(next + n));
    buffer.detach().copy_(at::tensor(part, at::kDouble).view(buffer.sizes()));
    next += n;
  }
}

std::vector<at::Tensor> Training::running_statistics() const {
  std::vector<at::Tensor> buffers;
  for (std::size_t i = 0; i < network_.weights.size(); ++i)
    if (!network_.graph.parameters[i].trainable && !network_.graph.parameters[i].integer)
      buffers.push_back(network_.weights[i]);
  return buffers;
}

void Training::run() {
  begun_ = now();
  const bool checkpoints = session_ != nullptr && !session_->checkpoint.empty();
  if (options_.max_seconds > 0 && !checkpoints) throw usage_error("--max-seconds needs --checkpoint FILE");
  if (hooks_.begin) hooks_.begin(*this);
  std::optional<cli::Progress> bar;
  if (session_ != nullptr && options_.progress == "bar")
    bar.emplace(*session_, "training", static_cast<std::uint64_t>(total_steps_ - step_), "steps");
  while (!finished()) {
    const auto order = hooks_.order ? hooks_.order(*this, epoch_) : shuffled(data_.train.count, options_.seed, epoch_);
    const auto per_epoch = static_cast<std::int64_t>(order.size());
    const std::int64_t batches =
        options_.drop_last ? per_epoch / options_.batch : (per_epoch + options_.batch - 1) / options_.batch;
    while (position_ < batches && !finished()) {
      const double begun = now();
      one_step(order, position_);
      ++position_;
      if (bar) bar->advance();
      epoch_seconds_ += now() - begun;
      if (checkpoints && stop_wanted()) {
        if (position_ == batches) end_epoch();
        save(session_->checkpoint);
        throw cli::stopped_error(session_->checkpoint);
      }
    }
    end_epoch();
    if (checkpoints && epoch_ % options_.checkpoint_every == 0) save(session_->checkpoint);
    if (options_.early_stop > 0 && best_epoch_ >= 0 && epoch_ - best_epoch_ >= options_.early_stop) break;
  }
  if (options_.keep_best && !best_.empty()) {
    at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < best_.size(); ++i)
      network_.weights[i].detach().copy_(best_[i]);
  }
}

Metrics Training::evaluate(const Split& split) {
  std::vector<at::Tensor> used;
  {
    at::NoGradGuard no_grad;
    used = weights();
  }
  return neural::evaluate(network_.graph, used, data_, split, options_.loss, options_.eval_batch, network_.type,
                          ranks_);
}

Metrics evaluate(const Graph& graph, std::span<const at::Tensor> weights, const Dataset& data, const Split& split,
                 const LossOptions& loss, std::int64_t batch, at::ScalarType type, const Ranks& ranks,
                 const std::function<void(const at::Tensor& output, const Batch& batch)>& each) {
  at::NoGradGuard no_grad;
  const OutputKind kind = output_kind(graph);
  LossOptions used = loss;
  if (used.name.empty())
    used.name = data.classification ? (kind == OutputKind::values    ? "ce"
                                       : kind == OutputKind::softmax ? "nll"
                                                                     : "bce")
                                    : "mse";
  MetricSums sums(data.classification, kind, data.outputs);
  const Batches batches(data, split, type, takes_whole_numbers(graph));
  const std::size_t begin = split.count * static_cast<std::size_t>(ranks.rank) / static_cast<std::size_t>(ranks.count);
  const std::size_t end =
      split.count * static_cast<std::size_t>(ranks.rank + 1) / static_cast<std::size_t>(ranks.count);
  std::vector<std::size_t> rows;
  for (std::size_t i = begin; i < end; i += static_cast<std::size_t>(batch)) {
    rows.resize(std::min(static_cast<std::size_t>(batch), end - i));
    std::iota(rows.begin(), rows.end(), i);
    const Batch b = batches.make(rows);
    const at::Tensor output = forward(graph, weights, b.x, {});
    if (each) each(output, b);
    sums.add(output, b, loss_of(used, kind, output, b).item<double>() * static_cast<double>(b.size()));
  }
  if (ranks.sum) ranks.sum(sums.sums());
  return sums.result();
}

void Training::write_history(h5::Output& file) const {
  history_.write(file, "/history/epoch");
  if (!step_history_.columns.empty()) step_history_.write(file, "/history/step");
}

}  // namespace fachwerk::neural
