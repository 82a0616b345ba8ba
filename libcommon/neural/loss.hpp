#pragma once

#include <span>
#include <string>
#include <vector>

#include "neural/batches.hpp"
#include "neural/network.hpp"

namespace fachwerk::neural {

struct LossOptions {
  std::string name = {};  ///< ce, bce, mse, nll; empty: ce for classes, mse for regression
  double smoothing = 0;   ///< label smoothing of ce
};

/// What the last node of a network gives.
enum class OutputKind { values, sigmoid, softmax };
OutputKind output_kind(const Graph& graph);

/// Sum over the batch of the loss of each sample, divided by the size of the global batch: summed over ranks it is the
/// mean. ce: of logits. bce: of each class against the rest (logits, or what a sigmoid gave). nll: minus log of what a
/// softmax gave. mse: mean over the outputs.
at::Tensor loss_of(const LossOptions& options, OutputKind kind, const at::Tensor& output, const Batch& batch);

/// Quality on a set. Of classes: accuracy to brier; of a regression, in units of the targets: mse to r2.
struct Metrics {
  std::int64_t count = 0;
  double loss = 0;  ///< mean loss as trained
  double accuracy = 0;
  double nll = 0;    ///< mean negative log of the probability of the true class
  double ece = 0;    ///< expected calibration error, 15 bins of equal width (C. Guo et al., ICML 2017)
  double brier = 0;  ///< mean squared distance of the probabilities from the truth, summed over classes
  double mse = 0, mae = 0, r2 = 0;
  double mape = 0;  ///< mean absolute error relative to |target|, that at least 1.17e-6
  /// The number that is shown as quality: accuracy, or mse.
  double quality(bool classification) const { return classification ? accuracy : mse; }
};

/// Adds up over batches.
class MetricSums {
 public:
  MetricSums(bool classification, OutputKind kind, const Standard& outputs);
  void add(const at::Tensor& output, const Batch& batch, double loss_sum);
  Metrics result() const;
  std::vector<double>& sums() { return sums_; }  ///< for adding over ranks

 private:
  bool classification_;
  OutputKind kind_;
  Standard outputs_;
  std::vector<double> sums_;
};

/// Area under the receiver operating characteristic, one class against the rest, mean over the classes that have both
/// kinds of samples; equal scores count half (mid-ranks). `scores` [n, classes]. NaN where no class has both.
double auroc(std::span<const float> scores, std::span<const std::int64_t> labels, std::int64_t classes);

/// Right answers in a batch: largest output against label or largest target.
std::int64_t count_correct(const at::Tensor& output, const Batch& batch);

}  // namespace fachwerk::neural
