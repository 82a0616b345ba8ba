#pragma once

#include "neural/torch.hpp"

/// Chains of operations of a training step on images [N,C,H,W], each computed in as few passes over memory as it can.
/// Values and gradients are those of the single operations up to rounding and do not depend on the number of threads;
/// there is no forward-mode and no second derivative.
namespace fachwerk::neural {

struct NormWeights {
  at::Tensor weight, bias;                    ///< [C]
  at::Tensor running_mean, running_variance;  ///< [C], updated in place: 0.9 old + 0.1 of this batch (n - 1)
  double epsilon = 1e-5;
};

/// relu(batch_norm(x) + skip) with the statistics of the batch. `skip` may be undefined; without `relu` the last part
/// is left out. x: float or double, contiguous.
at::Tensor fused_norm(const at::Tensor& x, const NormWeights& norm, const at::Tensor& skip, bool relu);

/// The largest value, but at least 0, of each `kernel` x `kernel` tile; what does not fill a tile is left out.
at::Tensor fused_relu_pool(const at::Tensor& x, std::int64_t kernel);

}  // namespace fachwerk::neural
