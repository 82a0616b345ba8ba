#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace fachwerk::hyde {

struct TvOptions {
  double weight = 1;  ///< λ
  double tolerance =
      1e-4;  ///< the duality gap may be this times ‖f - mean f‖², and at most `noise_tolerance` λ² a pixel
  double noise_tolerance = 1e-2;
  int iterations = 2000;
};

/// Dual field of the total variation, kept between calls as a warm start. Empty: starts from zero.
struct TvDual {
  std::vector<float> horizontal, vertical;
};

struct TvResult {
  int iterations = 0;
  double gap = 0;  ///< of the result: ½‖x - x*‖² <= gap
  bool converged = false;
  std::vector<double> gaps;  ///< least gap so far, each time it was computed
};

/// x = argmin ½‖x - f‖² + λ TV(x), isotropic total variation with forward differences (Rudin, Osher, Fatemi 1992), by
/// the accelerated projected gradient on the dual (Beck & Teboulle 2009). In place; the gap of primal and dual is the
/// stopping rule.
TvResult tv_denoise(std::span<float> image, std::size_t rows, std::size_t cols, const TvOptions& options, TvDual& dual);

}  // namespace fachwerk::hyde
