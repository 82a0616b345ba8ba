#pragma once

#include <vector>

#include "neural/graph.hpp"

/// Which operations of a training step are computed together: memory is read once where the graph has several nodes.
namespace fachwerk::neural {

/// What stands at a node after fusion.
struct Fused {
  enum class Kind { plain, absorbed, norm, pool, relu_in_place } kind = Kind::plain;
  int norm = -1;      ///< kind norm: the batch normalisation at the head of the chain
  int skip = -1;      ///< the node that is added to it; -1: none
  bool relu = false;  ///< the chain ends with a ReLU
};

/// Fusion of the nodes [begin, end) of a graph:
///   norm: batch_norm [+ another node] [relu] of images; pool: relu, then maximum over tiles;
///   relu_in_place: a relu that may overwrite the layer's output before it.
/// A node is absorbed when its value is needed by the chain alone.
std::vector<Fused> fuse(const Graph& graph, int begin, int end);

}  // namespace fachwerk::neural
