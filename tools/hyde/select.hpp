#pragma once

#include <string>

#include "cube.hpp"
#include "noise.hpp"

namespace fachwerk::hyde {

/// Statistics by which `auto` picks a method.
struct Evidence {
  double outlier_fraction = 0;  ///< of |Y - med₃ₓ₃| > 6 sigma
  double striped_bands = 0;     ///< fraction of bands whose column means jump more than noise and scene explain
  double poisson_r2 = 0;        ///< of sigma² against the mean over bands, through the origin
  double gain = 0;              ///< its slope
  bool mixed() const { return outlier_fraction > 0.002 || striped_bands > 0.02; }
};

Evidence examine(const Source& source, const Noise& noise);

/// "l1hymixde", "poisson" (FastHyDe after variance stabilisation), "fasthyde" or "hyres".
std::string choose_method(const Evidence& evidence, bool integer_counts, bool time_is_short);

}  // namespace fachwerk::hyde
