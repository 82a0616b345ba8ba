#pragma once

#include <optional>
#include <vector>

#include "lowrank.hpp"
#include "noise.hpp"
#include "wavelet.hpp"

namespace fachwerk::hyde {

enum class ThresholdScope { component, subband };

struct HyresOptions {
  Wavelet wavelet = daubechies(5);
  int levels = 5;
  std::optional<std::size_t> rank = {};  ///< chosen by the risk when empty
  ThresholdScope scope = ThresholdScope::component;
  bool exact_thresholds = false;        ///< refine the thresholds of accepted components over all values
  double largest_threshold = 1.645605;  ///< sqrt(ln 15)
  std::size_t grid = 15;
};

struct HyresResult {
  LowRank model;
  std::vector<double>
      thresholds;            ///< of the accepted components (component scope) or their subbands, one after another
  std::vector<double> risk;  ///< T_r for r = 0, 1, ... as far as scanned
};

/// Hyperspectral restoration (Rasti, Ulfarsson, Ghamisi 2017): the noise is whitened, principal components without
/// centring are soft-thresholded in the wavelet domain, and Stein's unbiased risk T_r = sum_(i<=r) s_i picks both
/// thresholds and rank. The thresholds are chosen on a bounded grid: with an unbounded one every component of pure
/// noise could be set to zero at no cost, and the rank would not be determined. `gram` = gram(source). Two passes over
/// the source.
HyresResult hyres(const Source& source, const Matrix& gram, const Noise& noise, const HyresOptions& options = {});

}  // namespace fachwerk::hyde
