#pragma once

#include <optional>

#include "grid.hpp"

/// Directed searches: one sky position; frequency, spindown and, if the grid has it, the second spindown.
namespace fachwerk::polgraw {

struct Directed {
  SkyPosition sky;
  bool second = false;          ///< the grid has an axis of s2
  std::array<double, 3> row{};  ///< lattice vector of s2, normalised: its omega, s, s2
  std::array<double, 9>
      fisher{};  ///< reduced Fisher matrix of omega, s, s2 times N, N^2, N^3; zero where there is no s2
};

/// The lattice point of number tt of the second spindown, without frequency and spindown.
SkyPoint directed_point(const Directed& directed, double obliquity, int tt);
/// Numbers of the second spindown whose s2 lies in [lo, hi]; 0 alone where the grid has no such axis.
Range second_range(const Directed& directed, double s2_lo, double s2_hi);
/// Spindown numbers whose s lies in the prior, at number tt of the second spindown.
Range directed_spindowns(const Grid& grid, const SpindownPrior& prior, const SkyPoint& point);

}  // namespace fachwerk::polgraw
