#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "neural/dataset.hpp"

/// Synthetic data sets. Sample i depends on the seed and i alone, so a larger set begins with the smaller one.
namespace fachwerk::neural {

struct SynthesisOptions {
  std::int64_t n = 1000;
  std::uint64_t seed = 1;
  std::int64_t features = 20, classes = 4;  ///< seqcopy: length and vocabulary
  double noise = 0.1;       ///< teacher: part of wrong labels, or deviation of the target; spiral, stripes: deviation
  double separation = 4;    ///< blobs: distance of any two centres, in standard deviations
  bool regression = false;  ///< teacher
};

const std::vector<std::string>& synthesis_names();
/// teacher, sgemm, blobs, spiral, stripes or seqcopy. `source` of the result says what it is and, where known, the best
/// possible error.
Dataset synthesise(const std::string& name, const SynthesisOptions& options);

/// Bayes error of `classes` unit Gaussians at equal mutual distance d and equal prior: one minus the probability that
/// the true centre is the nearest.
double blobs_bayes_error(std::int64_t classes, double separation);

}  // namespace fachwerk::neural
