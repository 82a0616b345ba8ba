#include "neural/zoo.hpp"

#include <doctest.h>

using namespace fachwerk::neural;

TEST_CASE("parameter counts of nt, section 5.6, and of the published models") {
  const auto count = [](ModelOptions o, Dims input, std::int64_t outputs) {
    return make_graph(o, input, outputs).count();
  };
  CHECK(count({.name = "mlp", .hidden = {512, 512, 512}, .bias = false}, {3072}, 10) == 2102272);
  CHECK(count({.name = "lenet5", .norm = "none", .bias = false}, {3, 32, 32}, 10) == 61770);
  CHECK(count({.name = "lenet-300-100"}, {1, 28, 28}, 10) == 266610);
  CHECK(count({.name = "vgg11", .bias = false}, {3, 32, 32}, 10) == 9222848);
  CHECK(count({.name = "resnet18", .head_bias = false}, {3, 32, 32}, 10) == 11173952);
  CHECK(count({.name = "resnet18"}, {3, 224, 224}, 1000) == 11689512);
  CHECK(count({.name = "resnet34"}, {3, 224, 224}, 1000) == 21797672);
  CHECK(count({.name = "resnet50"}, {3, 224, 224}, 1000) == 25557032);
  CHECK(count({.name = "vgg11", .classifier = "full"}, {3, 224, 224}, 1000) == 132863336);
  CHECK(count({.name = "vgg16", .norm = "batch", .classifier = "full"}, {3, 224, 224}, 1000) == 138365992);
  CHECK(count({.name = "resnet20", .shortcut = "A"}, {3, 32, 32}, 10) == 269722);
  CHECK(count({.name = "vit-tiny", .patch = 16}, {3, 224, 224}, 1000) == 5717416);
}
