#pragma once

#include "observation.hpp"

/// Amplitude modulation of a detector's response (Jaranowski, Krolak, Schutz 1998, eqs. 10-13) and the signal's
/// amplitudes.
namespace fachwerk::polgraw {

/// The functions a(t), b(t) of one site as polynomials in cos u, sin u, u = alpha - local sidereal time.
class AmplitudeModulation {
 public:
  explicit AmplitudeModulation(const Site& site);

  /// The factors that depend on declination alone: a = p0 + p1 cos u + p2 sin u + p3 2cos^2 u + p4 2 cos u sin u, b
  /// alike.
  struct AtDeclination {
    std::array<double, 5> a, b;
    void evaluate(double cos_u, double sin_u, double& value_a, double& value_b) const {
      const double twice_cc = 2 * cos_u * cos_u, twice_cs = 2 * cos_u * sin_u;
      value_a = a[0] + a[1] * cos_u + a[2] * sin_u + a[3] * twice_cc + a[4] * twice_cs;
      value_b = b[0] + b[1] * cos_u + b[2] * sin_u + b[3] * twice_cc + b[4] * twice_cs;
    }
  };
  AtDeclination at(double sin_declination, double cos_declination) const;

 private:
  std::array<double, 10> c_{};  ///< c[1]..c[9] of the method, times sin(opening)
};

/// a_i and b_i at samples 0..n-1 for a direction; `phir` is the local sidereal time at sample 0.
void amplitude_functions(const AmplitudeModulation& site, double alpha, double delta, double phir, double dt,
                         std::span<double> a, std::span<double> b);

/// Physical amplitude parameters of a signal.
struct Polarisation {
  double h0 = 0, cos_iota = 0, psi = 0, phi0 = 0;
};
using Amplitudes = std::array<double, 4>;  ///< A1..A4 of h = A1 a cos + A2 b cos + A3 a sin + A4 b sin

Amplitudes amplitudes(const Polarisation& p);
/// The inverse; psi in (-pi/4, pi/4], phi0 in (-pi, pi].
Polarisation polarisation(const Amplitudes& A);

}  // namespace fachwerk::polgraw
