#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "neural/graph.hpp"

/// The registry of models: nn-trainer's and nt's tables. Parameters carry the names of torchvision (residual and VGG
/// nets) and timm (vision transformer, mixer).
namespace fachwerk::neural {

/// What the model options say; zeros and empty words stand for the model's own default.
struct ModelOptions {
  std::string name = "mlp";                ///< one of model_names(), or "spec:LAYERS"
  std::vector<std::int64_t> hidden = {};   ///< mlp: widths of the hidden layers
  std::string activation = {};             ///< mlp, transformer: relu, tanh, gelu, sigmoid
  std::string output_activation = "none";  ///< mlp: none, sigmoid, softmax
  std::string norm = {};                   ///< lenet5, vgg: batch or none
  bool bias = true;                        ///< of every linear and conv layer
  bool head_bias = true;                   ///< of the last layer
  std::string shortcut = "B";              ///< residual nets for small images: A (padding) or B (1 x 1 convolution)
  std::string stem = {};                   ///< resnet18 and larger: imagenet (7 x 7, stride 2, pool) or cifar (3 x 3)
  std::string classifier = "small";        ///< vgg: small (mean and one layer) or full (4096, 4096)
  double dropout = 0;
  std::int64_t patch = 0, dim = 0, depth = 0, heads = 0, mlp_dim = 0;  ///< transformers and the mixer
  std::int64_t vocabulary = 0;  ///< transformer on whole numbers: how many there are

  std::string to_json() const;  ///< what differs from the defaults
  static ModelOptions from_json(const std::string& text, const std::string& name);
};

const std::vector<std::string>& model_names();

/// The graph of a model for samples of shape `input` and `outputs` values. Throws a usage error naming the layer where
/// model and samples do not fit.
Graph make_graph(const ModelOptions& options, const Dims& input, std::int64_t outputs);

}  // namespace fachwerk::neural
