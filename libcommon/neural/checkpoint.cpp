#include <fmt/format.h>

#include "neural/train.hpp"

namespace fachwerk::neural {

namespace {

void write_tensor(h5::Output& file, const std::string& path, const at::Tensor& tensor) {
  const formats::Variable v = to_variable(path, tensor);
  std::visit(
      [&](const auto& values) {
        using T = typename std::decay_t<decltype(values)>::value_type;
        if constexpr (h5::Numeric<T>) file.write(path, values, v.shape, {.units = "1", .long_name = path});
      },
      v.values);
}

void read_tensor(const h5::Node& file, const std::string& path, const at::Tensor& tensor) {
  at::NoGradGuard no_grad;
  h5::Shape shape(tensor.sizes().begin(), tensor.sizes().end());
  const at::Tensor to = tensor.detach();
  const auto copy = [&]<class T>(T) {
    auto values = file.read<T>(path, {.rank = static_cast<int>(shape.size()), .shape = shape}).values;
    to.copy_(at::from_blob(values.data(), tensor.sizes(), c10::CppTypeToScalarType<T>::value));
  };
  if (tensor.scalar_type() == at::kLong)
    copy(std::int64_t());
  else if (tensor.scalar_type() == at::kDouble)
    copy(double());
  else
    copy(float());
}

/// What must be the same for a run to go on bit by bit.
std::string fingerprint(const TrainOptions& o, const Network& network, const Dataset& data) {
  return fmt::format("{} parameters, {} samples, {} {}, lr {}, schedule {}, batch {}, loss {}, seed {}, {}",
                     network.graph.count(), data.train.count, o.optimiser.name, o.optimiser.momentum, o.optimiser.lr,
                     o.schedule.name, o.batch, o.loss.name, o.seed, o.type);
}

}  // namespace

void Training::save(const std::string& path) {
  std::vector<std::pair<std::string, at::Tensor>> method;
  if (hooks_.state) method = hooks_.state(*this);
  std::vector<std::vector<double>> of_ranks;
  if (ranks_.gather) of_ranks = ranks_.gather(private_state());
  if (ranks_.rank != 0) return;
  h5::Output file = h5::Output::create(path, true);
  if (session_ != nullptr) file.stamp(*session_, "checkpoint");
  for (std::size_t i = 0; i < network_.weights.size(); ++i)
    write_tensor(file, "/model/state/" + network_.graph.parameters[i].name, network_.weights[i]);
  const Parameters& p = trained();
  for (std::size_t i = 0; hooks_.trained && i < p.size(); ++i)
    write_tensor(file, "/trained/" + p.names[i], p.values[i]);
  for (const auto& [moment, flat] : optimiser_.moments())
    for (std::size_t i = 0; i < p.size(); ++i)
      write_tensor(file, fmt::format("/optim/state/{}/{}", p.names[i], moment),
                   flat.narrow(0, p.offsets[i], p.offsets[i + 1] - p.offsets[i]).view(p.values[i].sizes()));
  for (const auto& [name, tensor] : method)
    write_tensor(file, "/method/" + name, tensor);
  for (std::size_t i = 0; i < best_.size(); ++i)
    write_tensor(file, "/best/" + network_.graph.parameters[i].name, best_[i]);
  for (std::size_t r = 0; r < of_ranks.size(); ++r)
    file.column(
        fmt::format("/rank/{}/state", r), of_ranks[r],
        {.units = "1", .long_name = "sums of the epoch and running statistics of this rank", .dims = {"value"}});
  write_history(file);
  file.group("/loop");
  file.attribute("/loop", "fingerprint", fingerprint(options_, network_, data_));
  const auto put = [&](const char* key, std::int64_t value) { file.attribute("/loop", key, value); };
  put("ranks", ranks_.count);
  put("step", step_);
  put("optimiser_steps", optimiser_.steps);
  put("epoch", epoch_);
  put("position", position_);
  put("samples", samples_);
  put("best_epoch", best_epoch_);
  put("plateau_bad", schedule_.state.bad);
  put("plateau_started", schedule_.state.started ? 1 : 0);
  file.attribute("/loop", "sums",
                 std::vector<double>{epoch_loss_, epoch_right_, epoch_count_, epoch_seconds_, train_seconds_,
                                     best_loss_, schedule_.state.factor, schedule_.state.best});
  file.commit();
}

void Training::resume(const std::string& path) {
  const h5::Input file = h5::Input::open(path);
  const std::string wanted = fingerprint(options_, network_, data_);
  const auto found = file.text("/loop", "fingerprint");
  if (!found) throw bad_input("{}:/loop: not a checkpoint of a training run", path);
  if (*found != wanted)
    throw usage_error("{}: the checkpoint is of another run: {}", path, *found).with_hint("this run: " + wanted);
  for (std::size_t i = 0; i < network_.weights.size(); ++i)
    read_tensor(file, "/model/state/" + network_.graph.parameters[i].name, network_.weights[i]);
  const Parameters& p = trained();
  for (std::size_t i = 0; hooks_.trained && i < p.size(); ++i)
    read_tensor(file, "/trained/" + p.names[i], p.values[i]);
  for (const auto& [moment, flat] : optimiser_.moments())
    for (std::size_t i = 0; i < p.size(); ++i)
      read_tensor(file, fmt::format("/optim/state/{}/{}", p.names[i], moment),
                  flat.narrow(0, p.offsets[i], p.offsets[i + 1] - p.offsets[i]).view(p.values[i].sizes()));
  if (hooks_.state)
    for (const auto& [name, tensor] : hooks_.state(*this))
      read_tensor(file, "/method/" + name, tensor);
  best_.clear();
  if (file.exists("/best"))
    for (std::size_t i = 0; i < network_.weights.size(); ++i) {
      best_.push_back(network_.weights[i].detach().clone());
      read_tensor(file, "/best/" + network_.graph.parameters[i].name, best_.back());
    }
  history_.read(file, "/history/epoch");
  step_history_.read(file, "/history/step");
  const auto get = [&](const char* key) { return static_cast<std::int64_t>(file.number("/loop", key).value_or(0)); };
  step_ = get("step");
  optimiser_.steps = get("optimiser_steps");
  epoch_ = get("epoch");
  position_ = get("position");
  samples_ = get("samples");
  best_epoch_ = get("best_epoch");
  const auto sums = file.numbers("/loop", "sums");
  if (sums.size() != 8) throw bad_input("{}:/loop: attribute sums: expected 8 values", path);
  epoch_loss_ = sums[0], epoch_right_ = sums[1], epoch_count_ = sums[2], epoch_seconds_ = sums[3];
  train_seconds_ = sums[4], best_loss_ = sums[5];
  // After a whole epoch all ranks have the same: any number of them may go on, with other roundings.
  const std::int64_t ranks = get("ranks");
  if (ranks != ranks_.count && position_ != 0)
    throw usage_error("{}: stopped inside an epoch of {} ranks, this run has {}", path, ranks, ranks_.count);
  if (ranks_.gather && ranks == ranks_.count)
    set_private_state(file.column<double>(fmt::format("/rank/{}/state", ranks_.rank), private_state().size(), true));
  schedule_.state = {sums[6], sums[7], get("plateau_bad"), get("plateau_started") != 0};
  if (session_ != nullptr) session_->note(fmt::format("going on from step {} of epoch {}", step_, epoch_));
}

}  // namespace fachwerk::neural
