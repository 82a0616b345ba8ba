#pragma once

#include <cstdint>
#include <vector>

#include "cube.hpp"
#include "linear.hpp"

namespace fachwerk::hyde {

struct SynthOptions {
  std::size_t endmembers = 5;
  double beta = 1.7;           ///< amplitude of the random fields falls as k^-beta
  double contrast = 3;         ///< of the fields in the softmax
  std::size_t rectangles = 6;  ///< areas of one endmember with a pure fraction of 0.9
  double illumination = 0;     ///< relative strength of a smooth brightness field
  double variability = 0;      ///< every pixel's spectrum is scaled by 1 ± this
  double bilinear = 0;         ///< strength of products of endmember pairs
  double smile = 0;            ///< largest shift across columns, in bands
  double blur = 0;             ///< standard deviation of the point spread, pixels
  std::uint64_t seed = 1;
  Matrix spectra = {};  ///< [endmembers, bands] given ones
};

struct Scene {
  Extent extent;
  std::vector<float> cube;         ///< [rows][cols][bands]
  std::vector<float> abundances;   ///< [rows][cols][endmembers], sum 1
  Matrix spectra;                  ///< [endmembers, bands] in [0.02, 1]
  std::vector<double> wavelength;  ///< nm, 400 to 2500
};

/// A scene without noise: linear mixtures of endmember spectra (sums of Gaussians on a baseline) whose abundances are
/// the softmax of Gaussian random fields, plus the effects asked for.
Scene synthesise(Extent extent, const SynthOptions& options);

}  // namespace fachwerk::hyde
