#include "amplitude.hpp"

#include <complex>

namespace fachwerk::polgraw {

AmplitudeModulation::AmplitudeModulation(const Site& site) {
  const double sin2g = std::sin(2 * site.orientation), cos2g = std::cos(2 * site.orientation);
  const double sin_phi = std::sin(site.latitude), cos_phi = std::cos(site.latitude);
  const double sin2phi = std::sin(2 * site.latitude);
  c_[1] = sin2g * (1 + sin_phi * sin_phi) / 4;
  c_[2] = -cos2g * sin_phi / 2;
  c_[3] = sin2g * sin2phi / 2;
  c_[4] = -cos2g * cos_phi;
  c_[5] = 0.75 * sin2g * cos_phi * cos_phi;
  c_[6] = cos2g * sin_phi;
  c_[7] = sin2g * (1 + sin_phi * sin_phi) / 2;
  c_[8] = cos2g * cos_phi;
  c_[9] = sin2g * sin2phi / 2;
  if (site.opening != pi / 2)
    for (double& c : c_)
      c *= std::sin(site.opening);
}

AmplitudeModulation::AtDeclination AmplitudeModulation::at(double sin_declination, double cos_declination) const {
  const double s = sin_declination, c = cos_declination, D = c * c;
  AtDeclination p;
  p.a = {-c_[1] * (2 - D) + c_[5] * D, c_[3] * s * c, c_[4] * s * c, c_[1] * (2 - D), c_[2] * (2 - D)};
  p.b = {-c_[6] * s, c_[8] * c, c_[9] * c, c_[6] * s, c_[7] * s};
  return p;
}

void amplitude_functions(const AmplitudeModulation& site, double alpha, double delta, double phir, double dt,
                         std::span<double> a, std::span<double> b) {
  const auto p = site.at(std::sin(delta), std::cos(delta));
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double u = alpha - phir - earth_rotation * dt * static_cast<double>(i);
    p.evaluate(std::cos(u), std::sin(u), a[i], b[i]);
  }
}

Amplitudes amplitudes(const Polarisation& p) {
  const double plus = (1 + p.cos_iota * p.cos_iota) / 2, cross = p.cos_iota;
  const double c2 = std::cos(2 * p.psi), s2 = std::sin(2 * p.psi), c0 = std::cos(p.phi0), s0 = std::sin(p.phi0);
  return {p.h0 * (c2 * plus * c0 - s2 * cross * s0), p.h0 * (s2 * plus * c0 + c2 * cross * s0),
          p.h0 * (-c2 * plus * s0 - s2 * cross * c0), p.h0 * (-s2 * plus * s0 + c2 * cross * c0)};
}

Polarisation polarisation(const Amplitudes& A) {
  // With z1 = A1 - i A3 and z2 = A2 - i A4 the two circular parts separate:
  // z1 + i z2 = h0 (plus + cross) e^{i (phi0 + 2 psi)},  z1 - i z2 = h0 (plus - cross) e^{i (phi0 - 2 psi)},
  // and plus +- cross = (1 +- cos iota)^2 / 2.
  const std::complex<double> z1{A[0], -A[2]}, z2{A[1], -A[3]}, i{0, 1};
  const auto left = z1 + i * z2, right = z1 - i * z2;
  const double root_sum = std::sqrt(2 * std::abs(left)), root_minus = std::sqrt(2 * std::abs(right));
  Polarisation p;
  const double root_h0 = (root_minus + root_sum) / 2;
  p.h0 = root_h0 * root_h0;
  if (p.h0 == 0) return p;
  p.cos_iota = (root_sum - root_minus) / (2 * root_h0);
  const double phase_left = std::arg(left), phase_right = std::arg(right);
  if (root_minus == 0 || root_sum == 0) {  // circular: only phi0 +- 2 psi is defined
    p.phi0 = root_minus == 0 ? phase_left : phase_right;
    return p;
  }
  p.phi0 = std::remainder((phase_left + phase_right) / 2, 2 * pi);
  p.psi = (phase_left - phase_right) / 4;
  return p;
}

}  // namespace fachwerk::polgraw
