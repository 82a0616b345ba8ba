#pragma once

#include "lowrank.hpp"
#include "noise.hpp"
#include "wavelet.hpp"

namespace fachwerk::hyde {

struct WsrrrOptions {
  Wavelet wavelet = daubechies(5);
  int levels = 3;
  std::size_t rank = 0;  ///< required
  bool exact_thresholds = true;
  int iterations = 200;
  double tolerance = 1e-4;
};

struct WsrrrResult {
  LowRank model;
  int iterations = 0;
  double change = 0;  ///< ‖ΔV‖/‖V‖ of the last iteration
  bool converged = false;
};

/// Wavelet-based sparse reduced-rank regression (Rasti, Sveinsson, Ulfarsson 2014) of whitened data: alternates X =
/// soft(W Y V, T) and V = G Cᵀ from the singular vectors of Xᵀ W Y. T comes from SURE per component and subband at the
/// start. The wavelet transform W acts on pixels and V on bands, so W Y V = W (Y V): only `rank` planes are ever
/// transformed.
WsrrrResult wsrrr(const Source& source, const Matrix& gram, const Noise& noise, const WsrrrOptions& options);

}  // namespace fachwerk::hyde
