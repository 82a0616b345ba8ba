#include <cmath>

#include <doctest.h>

#include "neural/loss.hpp"
#include "neural/network.hpp"
#include "neural/streams.hpp"

using namespace fachwerk::neural;

namespace {

struct Case {
  ModelOptions options;
  Dims input;
};

/// Small members of every family of the registry.
std::vector<Case> cases() {
  return {{{.name = "mlp", .hidden = {7, 5}, .activation = "tanh"}, {6}},
          {{.name = "mlp", .hidden = {7}, .activation = "gelu", .output_activation = "sigmoid"}, {6}},
          {{.name = "lenet5"}, {1, 28, 28}},
          {{.name = "lenet-300-100"}, {1, 8, 8}},
          {{.name = "resnet20"}, {3, 8, 8}},
          {{.name = "resnet20", .shortcut = "A"}, {3, 8, 8}},
          {{.name = "resnet18"}, {3, 16, 16}},
          {{.name = "resnet50"}, {3, 16, 16}},
          {{.name = "vgg11"}, {3, 32, 32}},
          {{.name = "vit", .patch = 4, .dim = 12, .depth = 2, .heads = 3, .mlp_dim = 16}, {3, 8, 8}},
          {{.name = "mixer", .patch = 4, .dim = 12, .depth = 2, .heads = 5, .mlp_dim = 16}, {3, 8, 8}},
          {{.name = "transformer", .patch = 2, .depth = 1, .heads = 2}, {1, 8, 8}},
          {{.name = "spec:conv4,3-tanh--bn-pool2--flatten-fc6-gelu-ln-fc3"}, {2, 6, 6}}};
}

at::Tensor random_tensor(const Dims& shape, std::uint64_t item) {
  at::Tensor t = at::empty(shape, at::kDouble);
  auto random = stream(9, Channel::tangent, item);
  for (std::int64_t i = 0; i < t.numel(); ++i)
    t.data_ptr<double>()[i] = random.normal();
  return t;
}

}  // namespace

TEST_CASE("gradients of every model against finite differences, double precision") {
  for (const Case& c : cases()) {
    CAPTURE(c.options.name);
    Network network = make_network(make_graph(c.options, c.input, 3), 2, at::kDouble);
    Dims shape = c.input;
    shape.insert(shape.begin(), 3);
    Batch batch;
    batch.x = random_tensor(shape, 1);
    batch.labels = at::arange(3, at::kLong);
    batch.global = 3;
    batch.rows = {0, 1, 2};
    const OutputKind kind = output_kind(network.graph);
    const LossOptions loss{.name = kind == OutputKind::sigmoid ? "bce" : "ce"};
    const auto value = [&] {
      return loss_of(loss, kind, forward(network.graph, network.weights, batch.x, {.training = true}), batch);
    };
    network.trained.clear_gradients();
    value().backward();
    // Along a direction that every weight takes part in: half random, half the gradient so that the slope is not small.
    const auto unit = [](const at::Tensor& t) { return t / t.norm(); };
    const at::Tensor gradient = network.trained.flat_gradient.clone();
    const at::Tensor direction = unit(random_tensor({gradient.numel()}, 2)) + unit(gradient);
    const double slope = (gradient * direction).sum().item<double>();
    double best = 1;
    for (const double h :
         {1e-4, 1e-5, 1e-6, 1e-7, 1e-8}) {  // the largest step that crosses no kink of a ReLU or a pool
      at::NoGradGuard no_grad;
      const auto at_offset = [&](double offset) {
        network.trained.flat.add_(direction, offset);
        const double v = value().item<double>();
        network.trained.flat.sub_(direction, offset);
        return v;
      };
      const double difference =
          (8 * (at_offset(h) - at_offset(-h)) - (at_offset(2 * h) - at_offset(-2 * h))) / (12 * h);
      best = std::min(best, std::abs(difference - slope) / std::abs(slope));
    }
    CHECK(best <= 1e-6);
  }
}

TEST_CASE("blocks put together are the network; graphs survive JSON") {
  for (const Case& c : cases()) {
    CAPTURE(c.options.name);
    const Graph graph = make_graph(c.options, c.input, 3);
    const Graph again = graph_from_json(to_json(graph), "test");
    CHECK(to_json(again) == to_json(graph));
    CHECK(again.count(false) == graph.count(false));
    const Network network = make_network(again, 2, at::kDouble);
    at::NoGradGuard no_grad;
    Dims shape = c.input;
    shape.insert(shape.begin(), 2);
    const at::Tensor x = random_tensor(shape, 3);
    at::Tensor y = x;
    for (const Block& block : graph.blocks)
      y = forward(graph, network.weights, y, {}, block.begin, block.end);
    CHECK(at::equal(y, forward(graph, network.weights, x, {})));
    const ModelOptions read = ModelOptions::from_json(c.options.to_json(), c.options.name);
    CHECK(to_json(make_graph(read, c.input, 3)) == to_json(graph));
  }
}

TEST_CASE("initial values: bounds, moments, and independence of the rest of the network") {
  const Network a = make_network(make_graph({.name = "mlp", .hidden = {200}}, {300}, 10), 4);
  const Network b = make_network(make_graph({.name = "mlp", .hidden = {200, 50}}, {300}, 10), 4);
  CHECK(at::equal(a.weights[0], b.weights[0]));
  const double bound = 1 / std::sqrt(300.0);
  CHECK(a.weights[0].abs().max().item<double>() <= bound);
  CHECK(a.weights[0].std().item<double>() == doctest::Approx(bound / std::sqrt(3.0)).epsilon(0.01));
  CHECK(std::abs(a.weights[0].mean().item<double>()) < 4 * bound / std::sqrt(3.0 * 60000));
  CHECK(!at::equal(a.weights[0], make_network(a.graph, 5).weights[0]));
}

TEST_CASE("models that do not fit say which layer") {
  CHECK_THROWS_WITH_AS(make_graph({.name = "vgg11"}, {3, 16, 16}, 10), doctest::Contains("window does not fit"),
                       fachwerk::Error);
  CHECK_THROWS_WITH_AS(make_graph({.name = "resnet20"}, {30}, 10), doctest::Contains("needs images"), fachwerk::Error);
  CHECK_THROWS_WITH_AS(make_graph({.name = "spec:fc5"}, {30}, 10), doctest::Contains("gives 5"), fachwerk::Error);
  CHECK_THROWS_WITH_AS(make_graph({.name = "mlp", .hidden = {0}}, {30}, 10), doctest::Contains("0 units"),
                       fachwerk::Error);
  CHECK_THROWS_AS(graph_from_json("{\"input\":[3],\"nodes\":[{\"op\":\"linear\",\"inputs\":[7],\"out\":3}]}", "x"),
                  fachwerk::Error);
}
