#include <algorithm>
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
          {{.name = "swin-lite", .dim = 6, .depth = 2, .heads = 1, .mlp_dim = 8}, {3, 16, 16}},
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

/// The loss of a network on three samples, and its gradient, in double precision.
class Slope {
 public:
  Slope(const Graph& graph, bool fused) : network_(make_network(graph, 2, at::kDouble)), fused_(fused) {
    Dims shape = graph.input;
    shape.insert(shape.begin(), 3);
    batch_.x = random_tensor(shape, 1);
    batch_.labels = at::arange(3, at::kLong);
    batch_.global = 3;
    batch_.rows = {0, 1, 2};
    loss_.name = output_kind(graph) == OutputKind::sigmoid ? "bce" : "ce";
    network_.trained.clear_gradients();
    value().backward();
  }

  /// |difference - derivative| / |derivative| along a direction of length 1, by central differences of fourth order.
  double error(const at::Tensor& direction, double step) {
    at::NoGradGuard no_grad;
    Parameters& p = network_.trained;
    const auto at_offset = [&](double offset) {
      const at::Tensor before = p.flat.clone();
      p.flat.add_(direction, offset);
      const double v = value().item<double>();
      p.flat.copy_(before);
      return v;
    };
    const double difference =
        (8 * (at_offset(step) - at_offset(-step)) - (at_offset(2 * step) - at_offset(-2 * step))) / (12 * step);
    const double derivative = (p.flat_gradient * direction).sum().item<double>();
    return std::abs(difference - derivative) / std::abs(derivative);
  }

  /// Random, over all parameters or those of one tensor.
  at::Tensor direction(std::size_t tensor, bool all) const {
    const Parameters& p = network_.trained;
    at::Tensor d = random_tensor({p.flat.numel()}, 2 + tensor);
    if (!all) {
      d.narrow(0, 0, p.offsets[tensor]).zero_();
      d.narrow(0, p.offsets[tensor + 1], d.numel() - p.offsets[tensor + 1]).zero_();
    }
    return d / d.norm();
  }
  const Parameters& parameters() const { return network_.trained; }

 private:
  at::Tensor value() {
    const Pass pass{.training = true, .fused = fused_};
    return loss_of(loss_, output_kind(network_.graph), forward(network_.graph, network_.weights, batch_.x, pass),
                   batch_);
  }
  Network network_;
  Batch batch_;
  LossOptions loss_;
  bool fused_;
};

/// The same network without kinks: gelu for relu, means for maxima.
Graph smooth(Graph graph) {
  for (Node& node : graph.nodes) {
    if (node.op == Op::relu) node.op = Op::gelu;
    if (node.op == Op::max_pool) node.op = Op::mean_pool;
  }
  return graph;
}

}  // namespace

TEST_CASE("gradients of every model against finite differences, double precision") {
  for (const Case& c : cases())
    for (const bool fused : {false, true}) {
      CAPTURE(c.options.name);
      CAPTURE(fused);
      Slope slope(smooth(make_graph(c.options, c.input, 3)), fused);
      // Every weight moves by some 1e-5, so that rounding stays small beside the slope of large networks; not by more
      // than 0.01 together, where normalisations of three samples bend too much.
      const double step = std::min(1e-2, 1e-5 * std::sqrt(static_cast<double>(slope.parameters().flat.numel())));
      CHECK(slope.error(slope.direction(0, true), step) <= 1e-6);
      if (slope.parameters().flat.numel() > 300000) continue;
      for (std::size_t t = 0; t < slope.parameters().size(); ++t) {
        CAPTURE(slope.parameters().names[t]);
        // A bias before a batch normalisation has no effect: nothing to compare.
        if (slope.parameters().gradients[t].norm().item<double>() < 1e-12) continue;
        CHECK(slope.error(slope.direction(t, false), 1e-4) <= 1e-6);
      }
    }
}

TEST_CASE("gradients of ReLU and of pooling against finite differences, where no kink is near") {
  // Steps so short that none of the few hundred values passes a kink; rounding then leaves seven digits.
  for (const char* layers : {"spec:conv3,3-bn-relu-conv3,3-relu-pool2--flatten-fc6-relu-fc3",
                             "spec:conv4,3-relu--conv4,3-bn-pool3--flatten-fc3"})
    for (const bool fused : {false, true}) {
      CAPTURE(layers);
      Slope slope(make_graph({.name = layers}, {2, 6, 6}, 3), fused);
      for (std::size_t t = 0; t < 8; ++t)
        CHECK(slope.error(slope.direction(t, true), 1e-6) <= 1e-6);
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
