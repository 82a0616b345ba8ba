#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "neural/graph.hpp"
#include "neural/model_file.hpp"
#include "neural/torch.hpp"

/// Running graphs on libtorch.
namespace fachwerk::neural {

/// Named tensors that are trained. All values lie in one piece of memory and all gradients in another, in order: an
/// optimiser is one loop, and a collective sends whole stretches. `values` are leaves of autograd whose .grad() are
/// `gradients`.
struct Parameters {
  std::vector<std::string> names;
  std::vector<at::Tensor> values, gradients;
  std::vector<std::int64_t> offsets;  ///< of each in `flat`; one more at the end: the length
  at::Tensor flat, flat_gradient;     ///< float or double, one axis

  Parameters() = default;
  /// Copies the initial values.
  explicit Parameters(const std::vector<std::pair<std::string, at::Tensor>>& initial);
  std::size_t size() const { return values.size(); }
  void clear_gradients();
  /// For a single backward pass: autograd keeps what it computes instead of adding it to zeros; collect puts it in its
  /// place. Before collect, `gradients` hold nothing.
  void release_gradients();
  void collect_gradient(std::size_t i);
  void collect_gradients();
};

struct Network {
  Graph graph;
  Parameters trained;               ///< the graph's trainable parameters
  std::vector<at::Tensor> weights;  ///< one for each of graph.parameters: trained values and buffers
  at::ScalarType type = at::kFloat;

  Network() = default;
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;
  Network(Network&&) = default;
  Network& operator=(Network&&) = default;
};

/// A network with initial values drawn from stream `initial`, each parameter by its name. `type` is kFloat or kDouble.
Network make_network(Graph graph, std::uint64_t seed, at::ScalarType type = at::kFloat);
/// A network with the weights of a model file.
Network make_network(const ModelFile& model, at::ScalarType type = at::kFloat);
/// Initial values of one parameter.
at::Tensor initial_value(const Parameter& parameter, std::uint64_t seed, at::ScalarType type);

/// The state_dict: float32 (float64 for networks in double precision), and int64 for counters.
State state_of(const Network& network);
/// Sets parameters and buffers. See match_state for what is refused.
void load_state(Network& network, const State& state, const std::string& file, bool partial = false);
at::Tensor to_tensor(const formats::Variable& variable);
formats::Variable to_variable(const std::string& name, const at::Tensor& tensor);

/// How a forward pass is made.
struct Pass {
  bool training = false;                ///< dropout, batch statistics (and their running averages)
  std::uint64_t seed = 1;               ///< of dropout masks
  std::int64_t step = 0;                ///< masks differ from step to step,
  std::int64_t offset = 0;              ///< and from sample to sample of the global batch; this is x's first
  at::ScalarType compute = at::kFloat;  ///< kBFloat16: weights and activations are rounded to it, the output is not
  /// Training: chains such as normalisation, addition and ReLU are computed together (fused.hpp). For plain reverse
  /// differentiation; off where a method wants tangents or second derivatives.
  bool fused = false;
};

/// The network's output for x [N, sample]. `weights` are as in Network::weights; any differentiable function of what a
/// method trains may stand in their place.
at::Tensor forward(const Graph& graph, std::span<const at::Tensor> weights, const at::Tensor& x, const Pass& pass);
/// The same from the output of node begin - 1 to that of node end - 1: one or several blocks.
at::Tensor forward(const Graph& graph, std::span<const at::Tensor> weights, const at::Tensor& x, const Pass& pass,
                   int begin, int end);

}  // namespace fachwerk::neural
