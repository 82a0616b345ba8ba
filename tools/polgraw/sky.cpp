#include "sky.hpp"

#include <algorithm>

namespace fachwerk::polgraw {

SkyPosition make_sky(double alpha, double delta) {
  return {alpha, delta, std::sin(alpha), std::cos(alpha), std::sin(delta), std::cos(delta)};
}

std::optional<SkyPosition> from_ecliptic(double be1, double be2, Hemisphere hemisphere, double obliquity) {
  const double rim = 1 - be1 * be1 - be2 * be2;
  if (!(rim >= 0)) return std::nullopt;
  const double sin_e = std::sin(obliquity), cos_e = std::cos(obliquity);
  const double sign = hemisphere == Hemisphere::north ? 1 : -1;
  SkyPosition sky;
  sky.sin_d = std::clamp(be1 * sin_e + sign * std::sqrt(rim) * cos_e, -1.0, 1.0);
  sky.delta = std::asin(sky.sin_d);
  // Near a pole 1 - sin^2 cancels; the same cosine from the equatorial components does not.
  const double x = be2, y_cos_e = be1 - sin_e * sky.sin_d, y = y_cos_e / cos_e;
  sky.cos_d = std::sqrt(1 - sky.sin_d * sky.sin_d);
  if (sky.cos_d < 1e-4) {
    sky.cos_d = std::hypot(x, y);
    sky.delta = std::copysign(std::acos(std::min(1.0, sky.cos_d)), sky.sin_d);
  }
  if (sky.cos_d < 1e-12) {
    sky.sin_a = 0, sky.cos_a = 1, sky.alpha = 0;
    return sky;
  }
  sky.sin_a = y_cos_e / (cos_e * sky.cos_d);
  sky.cos_a = be2 / sky.cos_d;
  sky.alpha = std::atan2(sky.sin_a, sky.cos_a);
  if (sky.alpha < 0) sky.alpha += 2 * pi;
  return sky;
}

Ecliptic to_ecliptic(const SkyPosition& sky, double obliquity) {
  const double sin_e = std::sin(obliquity), cos_e = std::cos(obliquity);
  return {cos_e * sky.sin_a * sky.cos_d + sin_e * sky.sin_d, sky.cos_a * sky.cos_d,
          cos_e * sky.sin_d - sin_e * sky.sin_a * sky.cos_d >= 0 ? Hemisphere::north : Hemisphere::south};
}

double separation(const SkyPosition& a, const SkyPosition& b) {
  const auto u = a.direction(), v = b.direction();
  const double dot = u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
  const double cx = u[1] * v[2] - u[2] * v[1], cy = u[2] * v[0] - u[0] * v[2], cz = u[0] * v[1] - u[1] * v[0];
  return std::atan2(std::sqrt(cx * cx + cy * cy + cz * cz), dot);
}

}  // namespace fachwerk::polgraw
