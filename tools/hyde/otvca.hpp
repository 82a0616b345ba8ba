#pragma once

#include "lowrank.hpp"
#include "noise.hpp"
#include "tv.hpp"

namespace fachwerk::hyde {

struct OtvcaOptions {
  std::size_t rank = 0;  ///< number of features, required
  double lambda = 0.5;   ///< in units of the noise when `noise` whitens, else of the data
  int iterations = 10;
  TvOptions tv = {};
};

struct OtvcaResult {
  LowRank model;
  bool converged = true;  ///< every total variation step reached its duality gap
};

/// Orthogonal total variation component analysis (Rasti, Ulfarsson, Sveinsson 2016): min ½‖Y - V Fᵀ‖² + λ Σ TV(f_i),
/// VᵀV = I, alternating F by TV denoising of Yᵀ V and V = P Qᵀ from Y F = P S Qᵀ. With sigma of ones nothing is
/// whitened.
OtvcaResult otvca(const Source& source, const Matrix& gram, const Noise& noise, const OtvcaOptions& options);

}  // namespace fachwerk::hyde
