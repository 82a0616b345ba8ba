#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/error.hpp"

/// Networks as data. A graph names every operation and every parameter; running it (network.hpp), counting it, storing
/// it and cutting it all read this one description. Nothing here knows libtorch.
namespace fachwerk::neural {

using Dims = std::vector<std::int64_t>;

enum class Op {
  input,       ///< the sample
  linear,      ///< y = W x + b over the last axis
  conv,        ///< 2-d convolution of [C,H,W]
  batch_norm,  ///< over the batch and, for images, their pixels
  layer_norm,  ///< over the last axis
  relu,
  tanh,
  gelu,  ///< exact, with the error function
  sigmoid,
  softmax,  ///< over the last axis
  dropout,
  max_pool,
  mean_pool,
  global_mean,  ///< [C,H,W] -> [C]; [T,D] -> [D]
  resize_pool,  ///< adaptive mean to out x out pixels
  flatten,
  unflatten,         ///< [F] -> [out, F/out]
  add,               ///< of two equal shapes
  shortcut,          ///< every stride-th pixel, channels padded with zeros to out: He et al. 2016, option A
  tokens,            ///< [C,H,W] -> [HW,C]
  patches,           ///< [C,H,W] -> [HW/kernel^2, C kernel^2]: the pixels of each patch
  class_token,       ///< [T,D] -> [1+T,D], a learned token first
  position,          ///< adds a learned [T,D]
  attention,         ///< the core: [T,3D] of q, k, v -> [T,D], `heads` heads
  window_attention,  ///< the same within windows of kernel x kernel tokens of a grid of `out` rows, moved by `padding`
  merge,             ///< [T,D] of a grid of `out` rows -> [T/4,4D]: neighbours side by side
  first_token,       ///< [T,D] -> [D]
  transpose,         ///< [T,D] -> [D,T]
  embedding          ///< whole numbers [T] below `classes` -> [T,out]
};

/// The settings of an operation; those that it does not use keep their defaults.
struct Setting {
  std::int64_t out = 0;     ///< features, channels, pixels
  std::int64_t kernel = 0;  ///< pixels on a side
  std::int64_t stride = 1;
  std::int64_t padding = 0;
  std::int64_t groups = 1;
  std::int64_t heads = 1;
  std::int64_t classes = 0;  ///< vocabulary of an embedding
  double rate = 0;           ///< of dropout; epsilon of a normalisation (0: 1e-5)
  bool bias = true;
  bool operator==(const Setting&) const = default;
};

struct Node {
  Op op;
  std::string name;         ///< prefix of its parameters in the state_dict; empty when it has none
  std::vector<int> inputs;  ///< indices of earlier nodes
  Setting setting;
  std::vector<int> parameters;  ///< indices into Graph::parameters: weight, bias, running mean, variance, count
  Dims shape;                   ///< of one sample's output
  double flops = 0;             ///< of one sample's forward pass: 2 for a multiplication with an addition
};

enum class Initial {
  fan_in,  ///< uniform within 1/sqrt(fan in): PyTorch's default for linear and conv
  zeros,
  ones,
  small,  ///< normal, standard deviation 0.02
  normal  ///< standard normal
};

/// A tensor of the state_dict.
struct Parameter {
  std::string name;  ///< PyTorch's
  Dims shape;
  Initial initial;
  std::int64_t fan_in;   ///< inputs that one output sees
  bool trainable;        ///< false: a buffer (running statistics)
  bool integer = false;  ///< int64 rather than real
};

/// Nodes [begin, end) whose only output is that of the last: the unit of methods that train piece by piece.
struct Block {
  std::string name;
  int begin, end;
};

struct Graph {
  Dims input;
  std::vector<Node> nodes;
  std::vector<Parameter> parameters;
  std::vector<Block> blocks;

  const Dims& output() const { return nodes.back().shape; }
  std::int64_t count(bool trainable_only = true) const;  ///< of numbers in the parameters
  double flops() const;                                  ///< of one sample's forward pass
  int parameter(const std::string& name) const;          ///< its index; -1 when there is none
};

/// Builds a graph node by node; shapes are inferred and checked at once: a layer that does not fit is a usage error.
class Builder {
 public:
  explicit Builder(Dims input);

  /// The general form; returns the node's index. The rest are short names for it.
  int append(Op op, const std::vector<int>& inputs, const std::string& name = {}, const Setting& setting = {});

  int linear(int in, const std::string& name, std::int64_t out, bool bias = true) {
    return append(Op::linear, {in}, name, {.out = out, .bias = bias});
  }
  int conv(int in, const std::string& name, std::int64_t out, std::int64_t kernel, std::int64_t stride = 1,
           std::int64_t padding = 0, bool bias = true) {
    return append(Op::conv, {in}, name,
                  {.out = out, .kernel = kernel, .stride = stride, .padding = padding, .bias = bias});
  }
  int batch_norm(int in, const std::string& name) { return append(Op::batch_norm, {in}, name); }
  int layer_norm(int in, const std::string& name, double epsilon = 0) {
    return append(Op::layer_norm, {in}, name, {.rate = epsilon});
  }
  int max_pool(int in, std::int64_t kernel, std::int64_t stride, std::int64_t padding = 0) {
    return append(Op::max_pool, {in}, {}, {.kernel = kernel, .stride = stride, .padding = padding});
  }
  int plain(Op op, int in) { return append(op, {in}); }
  int dropout(int in, double rate) { return rate > 0 ? append(Op::dropout, {in}, {}, {.rate = rate}) : in; }

  int last() const { return static_cast<int>(graph_.nodes.size()) - 1; }
  const Dims& shape(int node) const { return graph_.nodes[static_cast<std::size_t>(node)].shape; }
  /// Ends a block here. Throws std::logic_error if anything but the last node's output is needed later.
  void end_block(const std::string& name);
  Graph build();

 private:
  int parameter(const std::string& name, Dims shape, Initial initial, std::int64_t fan_in, bool trainable = true,
                bool integer = false);
  Graph graph_;
  int block_begin_ = 1;
};

/// The graph as JSON, and back: how a network of any shape travels in a model file (`/graph`).
std::string to_json(const Graph& graph);
Graph graph_from_json(const std::string& text, const std::string& name);

const std::string& op_name(Op op);
std::int64_t product(const Dims& dims);
std::string text(const Dims& dims);  ///< "3 x 32 x 32"

}  // namespace fachwerk::neural
