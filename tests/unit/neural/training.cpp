#include <filesystem>

#include <doctest.h>
#include <torch/csrc/autograd/forward_grad.h>
#include <unistd.h>

#include "neural/streams.hpp"
#include "neural/synthesis.hpp"
#include "neural/train.hpp"

using namespace fachwerk::neural;
using fachwerk::cli::Session;

namespace {

Dataset blobs() {
  Dataset data = synthesise("blobs", {.n = 300, .features = 6, .classes = 3, .separation = 3});
  split(data, {.fractions = {0.8, 0.1, 0.1}});
  data.inputs = standard_of(data.train);
  return data;
}

Dataset stripes() {
  Dataset data = synthesise("stripes", {.n = 60, .classes = 3});
  split(data, {.fractions = {0.8, 0, 0.2}});
  data.inputs = standard_of(data.train);
  return data;
}

Network network_for(const Dataset& data, ModelOptions options, at::ScalarType type = at::kFloat) {
  return make_network(make_graph(options, data.train.sample, data.classes), 1, type);
}

double difference(const Network& a, const Network& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.weights.size(); ++i)
    if (a.weights[i].numel() > 0) most = std::max(most, (a.weights[i] - b.weights[i]).abs().max().item<double>());
  return most;
}

std::string temporary(const char* name) {
  return (std::filesystem::temp_directory_path() / (std::string(name) + std::to_string(getpid()))).string();
}

}  // namespace

TEST_CASE("a hook after the gradient: masked weights stay zero, the rest learns") {
  const Dataset data = blobs();
  Network network = network_for(data, {.name = "mlp", .hidden = {16}});
  std::vector<at::Tensor> masks;
  Hooks hooks;
  hooks.begin = [&](Training& t) {
    at::NoGradGuard no_grad;
    for (const at::Tensor& w : t.trained().values) {
      masks.push_back(w.dim() > 1 ? (w.abs() > w.abs().median()).to(w.scalar_type()) : at::ones_like(w));
      w.detach().mul_(masks.back());
    }
  };
  hooks.constrain = [&](Training& t) {
    for (std::size_t i = 0; i < masks.size(); ++i)
      t.trained().gradients[i].mul_(masks[i]);
  };
  hooks.epoch_end = [&](Training& t) { t.note("density", masks[0].mean().item<double>()); };
  Training training(network, data, {.epochs = 20, .batch = 20}, hooks);
  training.run();
  CHECK((network.weights[0] * (1 - masks[0])).abs().max().item<double>() == 0);
  CHECK(training.evaluate(data.test).accuracy > 0.7);
  CHECK(training.history().columns.back() == "density");
  CHECK(training.history().rows.size() == 20);
}

TEST_CASE("a gradient without a backward pass: the slope along a random tangent, times the tangent") {
  const Dataset data = blobs();
  Network network = network_for(data, {.name = "mlp", .hidden = {8}, .activation = "tanh"}, at::kDouble);
  double worst = 0;
  Hooks hooks;
  hooks.gradient = [&](Training& t) {
    // What back-propagation says, to compare with.
    back_propagation(t);
    const at::Tensor exact = t.trained().flat_gradient.clone();
    auto random = stream(1, Channel::tangent, static_cast<std::uint64_t>(t.step()));
    at::Tensor tangent = at::empty_like(exact);
    for (std::int64_t i = 0; i < tangent.numel(); ++i)
      tangent.data_ptr<double>()[i] = random.normal();
    const auto level = torch::autograd::ForwardADLevel::get_next_idx();
    double slope = 0;
    {
      std::vector<at::Tensor> dual;
      const Parameters& p = t.trained();
      for (std::size_t i = 0; i < p.size(); ++i)
        dual.push_back(
            at::_make_dual(p.values[i].detach(),
                           tangent.narrow(0, p.offsets[i], p.offsets[i + 1] - p.offsets[i]).view(p.values[i].sizes()),
                           static_cast<std::int64_t>(level)));
      const at::Tensor output = forward(t.network().graph, dual, t.batch().x, t.pass());
      const at::Tensor loss = loss_of(t.options().loss, t.output_kind(), output, t.batch());
      slope = std::get<1>(at::_unpack_dual(loss, static_cast<std::int64_t>(level))).item<double>();
    }
    torch::autograd::ForwardADLevel::release_idx(level);
    worst = std::max(worst, std::abs(slope - (exact * tangent).sum().item<double>()));
    t.trained().flat_gradient.copy_(slope * tangent);
  };
  TrainOptions options{.epochs = 5, .batch = 40, .type = "f64"};
  options.optimiser = {.name = "sgd", .lr = 0.002, .momentum = 0};
  Training training(network, data, options, hooks);
  const double before = training.evaluate(data.train).loss;
  training.run();
  CHECK(worst < 1e-10);
  CHECK(training.evaluate(data.train).loss < before);
}

TEST_CASE("other things to train: two factors instead of a weight matrix") {
  const Dataset data = blobs();
  Network network = network_for(data, {.name = "mlp", .hidden = {16}});
  Hooks hooks;
  const auto shape = network.weights[0].sizes();
  const auto factor = [](const char* name, Dims dims) {
    return std::pair(std::string(name), initial_value({name, dims, Initial::fan_in, 4, true}, 1, at::kFloat));
  };
  hooks.trained =
      std::make_shared<Parameters>(std::vector{factor("left", {shape[0], 2}), factor("right", {2, shape[1]})});
  hooks.weights = [](Training& t) {
    auto weights = t.network().weights;
    weights[0] = at::mm(t.trained().values[0], t.trained().values[1]);
    return weights;
  };
  hooks.epoch_end = [](Training& t) {  // what is written is what is used
    at::NoGradGuard no_grad;
    t.network().weights[0].detach().copy_(t.weights()[0]);
  };
  const at::Tensor untouched = network.weights[2].detach().clone();
  TrainOptions options{.epochs = 30, .batch = 20};
  options.optimiser.lr = 0.02;
  Training training(network, data, options, hooks);
  training.run();
  CHECK(training.evaluate(data.test).accuracy > 0.6);
  CHECK(at::equal(network.weights[2], untouched));
  const auto used = hooks.weights(training);
  CHECK((network.weights[0] - used[0]).abs().max().item<double>() == 0);
}

TEST_CASE("two epochs and two more are four, bit by bit, whatever is inside") {
  const std::string path = temporary("checkpoint");
  for (const char* optimiser : {"sgd", "adam", "lamb"}) {
    CAPTURE(optimiser);
    const Dataset data = stripes();
    TrainOptions options{.epochs = 4, .batch = 9};
    options.optimiser = {.name = optimiser, .lr = 0.01};
    options.schedule.name = "plateau";
    options.augmentation = {.crop = true, .flip = true};
    const ModelOptions model{.name = "spec:conv4,3-bn-relu-pool2-flatten-drop30-fc3"};
    Network whole = network_for(data, model), part = network_for(data, model), rest = network_for(data, model);
    Training(whole, data, options).run();
    TrainOptions half = options;
    half.epochs = 2;
    Training first(part, data, half);
    first.run();
    first.save(path);
    Training second(rest, data, options);
    second.resume(path);
    CHECK(second.step() == first.step());
    second.run();
    CHECK(difference(whole, rest) == 0);
    CHECK(difference(whole, part) > 0);
    CHECK(second.history().rows.size() == 4);
  }
  std::filesystem::remove(path);
}

TEST_CASE("parts of a batch on several ranks add up to its gradient") {
  const Dataset data = blobs();
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    Network whole = network_for(data, {.name = "mlp", .hidden = {16}}, type),
            parts = network_for(data, {.name = "mlp", .hidden = {16}}, type);
    TrainOptions options{.steps = 100, .batch = 21, .type = type == at::kFloat ? "f32" : "f64"};
    options.optimiser = {.name = "sgd", .lr = 0.05};
    Training(whole, data, options).run();
    Hooks hooks;  // three ranks, played one after another
    hooks.gradient = [&](Training& t) {
      const Batches batches(data, data.train, type, false);
      const auto& rows = t.batch().rows;
      t.loss() = 0;
      for (std::size_t rank = 0; rank < 3; ++rank) {
        const std::size_t begin = rows.size() * rank / 3, end = rows.size() * (rank + 1) / 3;
        if (begin == end) continue;
        const Batch batch = batches.make(std::span(rows).subspan(begin, end - begin), -1, 0,
                                         static_cast<std::int64_t>(begin), t.batch().global);
        const at::Tensor loss = loss_of(t.options().loss, t.output_kind(),
                                        forward(t.network().graph, t.weights(), batch.x, t.pass()), batch);
        t.loss() += loss.item<double>();
        loss.backward();
      }
      t.output() = at::zeros({t.batch().size(), data.classes}, type);
    };
    Training(parts, data, options, hooks).run();
    CHECK(difference(whole, parts) <= (type == at::kFloat ? 1e-5 : 1e-12));
  }
}

TEST_CASE("schedules by their formulas") {
  const Schedule cosine({.name = "cosine", .min_lr = 0.01, .warmup_steps = 10}, 1, 110, 10);
  CHECK(cosine.at(0) == 0);
  CHECK(cosine.at(5) == doctest::Approx(0.5));
  CHECK(cosine.at(10) == 1);
  CHECK(cosine.at(60) == doctest::Approx(0.505));
  CHECK(cosine.at(35) == doctest::Approx(0.01 + 0.495 * (1 + std::cos(3.14159265358979 / 4))));
  const Schedule cycles({.name = "cosine", .cycle_mul = 2, .cycle_decay = 0.5, .cycle_limit = 2}, 1, 30, 10);
  CHECK(cycles.at(0) == 1);
  CHECK(cycles.at(10) == doctest::Approx(0.5));
  CHECK(cycles.at(20) == doctest::Approx(0.25));
  const Schedule step({.name = "step"}, 1, 100, 10);
  CHECK(step.at(49) == 1);
  CHECK(step.at(50) == doctest::Approx(0.1));
  CHECK(step.at(75) == doctest::Approx(0.01));
  CHECK(Schedule({.name = "exp"}, 2, 100, 10).at(50) == doctest::Approx(2 * std::exp(-0.005)));
  CHECK(Schedule({.name = "linear"}, 2, 100, 10).at(25) == doctest::Approx(1.5));
  Schedule plateau({.name = "plateau"}, 1, 1000, 10);
  plateau.observe(1);
  for (int i = 0; i < 6; ++i)
    plateau.observe(0.99);
  CHECK(plateau.at(5) == doctest::Approx(0.5));
  CHECK_THROWS_AS(Schedule({.warmup_steps = 50}, 1, 20, 10), fachwerk::Error);
}

TEST_CASE("area under the ROC: ties count half (bnn, section 5.4)") {
  const std::vector<float> in = {0.9F, 0.8F, 0.7F, 0.7F, 0.4F}, out = {0.85F, 0.6F, 0.4F, 0.3F};
  std::vector<float> scores;
  std::vector<std::int64_t> labels;
  for (const auto* group : {&in, &out})
    for (const float s : *group) {
      scores.insert(scores.end(), {1 - s, s});
      labels.push_back(group == &in ? 1 : 0);
    }
  CHECK(auroc(scores, labels, 2) == doctest::Approx(0.725));
  CHECK(std::isnan(auroc(std::vector<float>{1, 0}, std::vector<std::int64_t>{0}, 2)));
}

TEST_CASE("metrics of a case small enough for paper") {
  Batch batch;
  batch.labels = at::tensor({0, 1}, at::kLong);
  batch.global = 2;
  const at::Tensor probabilities = at::tensor({0.8, 0.2, 0.6, 0.4}, at::kDouble).view({2, 2});
  MetricSums sums(true, OutputKind::softmax, {});
  sums.add(probabilities, batch, 0);
  const Metrics m = sums.result();
  CHECK(m.accuracy == 0.5);
  CHECK(m.nll == doctest::Approx(-(std::log(0.8) + std::log(0.4)) / 2));
  CHECK(m.brier == doctest::Approx((0.04 + 0.04 + 0.36 + 0.36) / 2));
  CHECK(m.ece == doctest::Approx((0.2 + 0.6) / 2));
  Batch values;
  values.targets = at::tensor({0.0, 1.0, 2.0}, at::kDouble).view({3, 1});
  MetricSums regression(false, OutputKind::values, {{10}, {2}});
  regression.add(at::tensor({0.5, 1.0, 1.5}, at::kDouble).view({3, 1}), values, 0);
  const Metrics r = regression.result();
  CHECK(r.mse == doctest::Approx(2.0 / 3));
  CHECK(r.mae == doctest::Approx(2.0 / 3));
  CHECK(r.r2 == doctest::Approx(1 - 2.0 / 3 / (8.0 / 3)));
}
