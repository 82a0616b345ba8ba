#pragma once

#include "fasthyde.hpp"
#include "lowrank.hpp"
#include "scratch.hpp"

namespace fachwerk::hyde {

struct L1HyMixDeOptions {
  std::size_t subspace = 10;
  double outliers = 0.05;  ///< fraction of values farthest from their median that the noise estimate leaves out
  int iterations = 10;
  double tolerance = 1e-3;  ///< ‖ΔZ‖/‖Z‖
  Core core = Core::bm3d;
  ScratchLimit scratch = {};
};

struct L1HyMixDeResult {
  LowRank model;
  std::vector<double> sigma;  ///< of the Gaussian part, per band
  int iterations = 0;
  bool converged = false;
};

/// Gaussian noise mixed with impulses, stripes and dead lines (Zhuang & Ng 2020): min ½‖Y - EZ - V‖² + ‖V‖₁ + φ(Z) in
/// whitened scale by ADMM, where E is the subspace of the cube with its outliers replaced by adaptive medians and the
/// step in Z denoises eigen-images.
L1HyMixDeResult l1hymixde(const Source& source, const L1HyMixDeOptions& options = {});

/// Outliers as missing values: 1 = observed, [pixels][bands]. A value is an outlier when it is among the fraction
/// `outliers` farthest from its adaptive median.
std::vector<std::uint8_t> outlier_mask(const Source& source, double outliers);

}  // namespace fachwerk::hyde
