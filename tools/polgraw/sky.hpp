#pragma once

#include <optional>

#include "observation.hpp"

/// Sky positions and their projection on the ecliptic plane, in which the grid is linear (Astone et al. 2010, eqs.
/// 43-45).
namespace fachwerk::polgraw {

struct SkyPosition {
  double alpha = 0, delta = 0;  ///< right ascension in [0, 2 pi), declination, rad
  double sin_a = 0, cos_a = 1, sin_d = 0, cos_d = 1;
  Vector3 direction() const { return {cos_a * cos_d, sin_a * cos_d, sin_d}; }
};
SkyPosition make_sky(double alpha, double delta);

enum class Hemisphere : int { north = 1, south = 2 };  ///< ecliptic

struct Ecliptic {
  double be1 = 0, be2 = 0;  ///< components of the direction in the ecliptic plane
  Hemisphere hemisphere = Hemisphere::north;
};

/// No value outside the unit circle.
std::optional<SkyPosition> from_ecliptic(double be1, double be2, Hemisphere hemisphere, double obliquity);
Ecliptic to_ecliptic(const SkyPosition& sky, double obliquity);
/// Angle between two directions, rad.
double separation(const SkyPosition& a, const SkyPosition& b);

}  // namespace fachwerk::polgraw
