#pragma once

#include <span>
#include <string>
#include <vector>

#include "neural/dataset.hpp"
#include "neural/torch.hpp"

namespace fachwerk::neural {

/// Samples of one step, standardised, on this rank.
struct Batch {
  at::Tensor x;                   ///< [n, sample]
  at::Tensor labels;              ///< [n] int64; undefined unless every sample has one class
  at::Tensor targets;             ///< [n, outputs]: scaled regression targets or probabilities of classes
  std::vector<std::size_t> rows;  ///< their rows in the split
  std::int64_t offset = 0;        ///< place of the first in the global batch
  std::int64_t global = 0;        ///< size of the global batch
  std::int64_t size() const { return static_cast<std::int64_t>(rows.size()); }
};

/// Random changes of training images. What a sample gets depends on seed, epoch and the sample's id alone.
struct Augmentation {
  bool crop = false;  ///< zeros around the image, a random cut of the old size
  bool flip = false;  ///< left-right, with probability 1/2
  std::int64_t pad = 4;
  std::int64_t cutout = 0;       ///< side of a square that is set to the mean
  double noise = 0;              ///< standard deviation of Gaussian noise, in units of standardised values
  double rotate = 0;             ///< degrees, uniform in [-rotate, rotate], nearest pixel
  double mixup = 0, cutmix = 0;  ///< alpha of the Beta distribution; 0: off
  bool any() const { return crop || flip || cutout > 0 || noise > 0 || rotate > 0; }
};

/// Makes batches of a split.
class Batches {
 public:
  Batches(const Dataset& data, const Split& split, at::ScalarType type, bool whole_numbers,
          const Augmentation& augmentation = {}, std::uint64_t seed = 1);
  /// `epoch` selects the augmentation; negative: none. `step` keys the mixing of samples.
  Batch make(std::span<const std::size_t> rows, std::int64_t epoch = -1, std::int64_t step = 0, std::int64_t offset = 0,
             std::int64_t global = 0) const;

 private:
  void fill(float* to, std::size_t row, std::int64_t epoch) const;
  void mix(Batch& batch, std::int64_t step) const;
  const Split& split_;
  bool classification_;
  std::int64_t classes_;
  std::vector<float> scale_, shift_;  ///< of each value of a sample: x * scale + shift
  Standard outputs_;
  at::ScalarType type_;
  Augmentation augmentation_;
  std::uint64_t seed_;
};

/// 0 to n-1 in the order of an epoch: drawn from stream `shuffle`, keyed by (seed, epoch).
std::vector<std::size_t> shuffled(std::size_t n, std::uint64_t seed, std::int64_t epoch);

}  // namespace fachwerk::neural
