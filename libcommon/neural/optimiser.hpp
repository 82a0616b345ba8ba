#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "neural/network.hpp"

namespace fachwerk::neural {

struct OptimiserOptions {
  std::string name = "adam";  ///< sgd, adam (weight decay in the gradient), adamw (decoupled), lamb
  double lr = 1e-3, momentum = 0.9, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool nesterov = false, decay_1d = true;  ///< decay_1d: biases and normalisations decay too
  double clip_norm = 0;                    ///< largest norm of the gradient; 0: no limit
};

/// Updates all parameters in one pass over their memory. The formulas, and their order of operations, are PyTorch's
/// (lamb: Y. You et al., ICLR 2020, algorithm 2, no clipping of the trust ratio).
class Optimiser {
 public:
  Optimiser() = default;
  Optimiser(const OptimiserOptions& options, const Parameters& parameters);
  /// One step with learning rate `lr` along parameters.flat_gradient.
  void step(Parameters& parameters, double lr);
  const OptimiserOptions& options() const { return options_; }

  /// exp_avg and exp_avg_sq, or momentum_buffer; each as long as the parameters. What a checkpoint keeps.
  std::vector<std::pair<std::string, at::Tensor>> moments() const;
  std::int64_t steps = 0;  ///< done so far

 private:
  template <class T>
  void run(Parameters& parameters, double lr);
  OptimiserOptions options_;
  at::Tensor first_, second_;
};

/// Euclidean norm of the whole gradient, summed in a fixed order.
double gradient_norm(const Parameters& parameters);
void scale_gradient(Parameters& parameters, double factor);

}  // namespace fachwerk::neural
