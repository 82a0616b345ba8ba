#include <doctest.h>

#include "neural/fusion.hpp"
#include "neural/loss.hpp"
#include "neural/network.hpp"
#include "neural/streams.hpp"

using namespace fachwerk::neural;

namespace {

struct Case {
  ModelOptions options;
  Dims input;
  int norms, pools;  ///< fused chains that are expected
};

std::vector<Case> cases() {
  return {{{.name = "lenet5"}, {1, 28, 28}, 2, 2},
          {{.name = "lenet5", .norm = "none"}, {1, 28, 28}, 0, 2},
          {{.name = "resnet20"}, {3, 12, 12}, 21, 0},
          {{.name = "resnet20", .shortcut = "A"}, {3, 12, 12}, 19, 0},
          {{.name = "resnet50"}, {3, 16, 16}, 53, 0},
          {{.name = "vgg11", .norm = "batch"}, {3, 32, 32}, 8, 5},
          {{.name = "spec:conv5,3-relu-pool3-conv4,3-bn-relu-pool2--bn-flatten-fc3"}, {2, 13, 17}, 2, 2}};
}

struct Outcome {
  at::Tensor output, gradient;
  std::vector<at::Tensor> weights;
};

Outcome one_step(const Case& c, at::ScalarType type, bool fused) {
  Network network = make_network(make_graph(c.options, c.input, 3), 2, type);
  Dims shape = c.input;
  shape.insert(shape.begin(), 5);
  at::Tensor x = at::empty(shape, at::kDouble);
  auto random = stream(9, Channel::tangent, 1);
  for (std::int64_t i = 0; i < x.numel(); ++i)
    x.data_ptr<double>()[i] = 3 + random.normal();
  Batch batch;
  batch.x = x.to(type);
  batch.labels = at::arange(5, at::kLong).remainder(3);
  batch.global = 5;
  batch.rows.resize(5);
  const Pass pass{.training = true, .fused = fused};
  Outcome out;
  out.output = forward(network.graph, network.weights, batch.x, pass);
  loss_of({.name = "ce"}, OutputKind::values, out.output, batch).backward();
  out.gradient = network.trained.flat_gradient.clone();
  for (const at::Tensor& w : network.weights)
    out.weights.push_back(w.detach().clone());
  return out;
}

double relative(const at::Tensor& a, const at::Tensor& b) {
  return ((a.to(at::kDouble) - b).norm() / b.norm().clamp_min(1e-30)).item<double>();
}

}  // namespace

TEST_CASE("chains computed together give what the single operations give: outputs, gradients, running averages") {
  for (const Case& c : cases()) {
    CAPTURE(c.options.name);
    const Outcome exact = one_step(c, at::kDouble, false);
    const Outcome doubles = one_step(c, at::kDouble, true);
    // In single precision roundings flip a few ReLUs: no further from the exact gradient than the single operations.
    const Outcome floats = one_step(c, at::kFloat, true), singles = one_step(c, at::kFloat, false);
    CHECK(relative(doubles.output, exact.output) <= 1e-11);
    CHECK(relative(doubles.gradient, exact.gradient) <= 1e-11);
    CHECK(relative(floats.output, exact.output) <= 3 * relative(singles.output, exact.output) + 1e-6);
    CHECK(relative(floats.gradient, exact.gradient) <= 3 * relative(singles.gradient, exact.gradient) + 1e-5);
    for (std::size_t i = 0; i < exact.weights.size(); ++i) {
      CHECK(relative(doubles.weights[i].to(at::kDouble), exact.weights[i].to(at::kDouble)) <= 1e-11);
      CHECK(relative(floats.weights[i].to(at::kDouble), exact.weights[i].to(at::kDouble)) <= 1e-4);
    }
    CHECK(at::equal(one_step(c, at::kFloat, true).gradient, floats.gradient));
  }
}

TEST_CASE("what is fused") {
  for (const Case& c : cases()) {
    CAPTURE(c.options.name);
    const Graph graph = make_graph(c.options, c.input, 3);
    int norms = 0, pools = 0;
    for (const Fused& f : fuse(graph, 1, static_cast<int>(graph.nodes.size()))) {
      norms += f.kind == Fused::Kind::norm ? 1 : 0;
      pools += f.kind == Fused::Kind::pool ? 1 : 0;
    }
    CHECK(norms == c.norms);
    CHECK(pools == c.pools);
  }
  // A piece ends where its caller says: its last value is computed.
  const Graph graph = make_graph({.name = "resnet20"}, {3, 8, 8}, 3);
  for (const Block& block : graph.blocks)
    CHECK(fuse(graph, block.begin, block.end)[static_cast<std::size_t>(block.end - 1)].kind != Fused::Kind::absorbed);
}

TEST_CASE("a value that is not a number is not lost in a fused chain") {
  Case c = cases().front();
  Network network = make_network(make_graph(c.options, c.input, 3), 2);
  at::Tensor x = at::ones({2, 1, 28, 28});
  x[0][0][5][5] = std::nan("");
  CHECK(at::isnan(forward(network.graph, network.weights, x, {.training = true, .fused = true})).any().item<bool>());
}
