#pragma once

#include <string>
#include <vector>

#include "noise.hpp"
#include "prepare.hpp"

namespace fachwerk::hyde {

/// Pictures of a run: the cube in natural colours before and after beside what was removed, and the noise by band.
class Quicklook {
 public:
  explicit Quicklook(const Prepared& prepared);
  /// Passes spectra on to `next`, which must outlive the result, and keeps three bands of them and of the input.
  Sink watch(const Sink& next);
  void save_composite(const std::string& path, bool force) const;
  void save_noise(const Noise& noise, const std::string& path, bool force) const;

 private:
  const Prepared& prepared_;
  std::vector<std::size_t> bands_;     ///< of the source: red, green, blue
  std::vector<float> before_, after_;  ///< [pixels][3]
};

}  // namespace fachwerk::hyde
