#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// What is observed: the narrow band, the detectors, their data and positions. Units are those of the method: time in
/// samples of dt, angular frequency in radians a sample, position in light-travel samples.
namespace fachwerk::polgraw {

constexpr double pi = std::numbers::pi;
constexpr double earth_rotation = 7.2921151467064e-5;     ///< rad/s
constexpr double sidereal_day = 2 * pi / earth_rotation;  ///< s
constexpr double year = 365.25 * 86400;                   ///< s
constexpr double speed_of_light = 299792.458;             ///< km/s
constexpr double astronomical_unit = 149597870.7;         ///< km
constexpr double mean_obliquity = 0.4090928042223289;     ///< rad, J2000
constexpr std::size_t normalisation_block = 4096;         ///< bins, NAV of the original

using Vector3 = std::array<double, 3>;

/// A narrow band of one coherent segment ("frame").
struct Band {
  double fpo = 0;        ///< lower edge, Hz
  double dt = 0;         ///< sampling interval, s
  std::size_t N = 0;     ///< samples in a frame
  std::size_t nfft = 0;  ///< smallest power of two that is at least N

  double width() const { return 0.5 / dt; }                                               ///< Hz
  double oms() const { return 2 * pi * fpo * dt; }                                        ///< rad/sample
  double frequency(double omega) const { return fpo + omega / (2 * pi * dt); }            ///< Hz
  double omega(double frequency_hz) const { return 2 * pi * (frequency_hz - fpo) * dt; }  ///< rad/sample
  double spindown(double s) const { return s / (pi * dt * dt); }                          ///< Hz/s
  double s(double fdot) const { return pi * fdot * dt * dt; }                             ///< rad/sample^2
  double fddot(double s2) const { return 3 * s2 / (pi * dt * dt * dt); }                  ///< Hz/s^2
  double s2(double fddot_hz) const { return pi * fddot_hz * dt * dt * dt / 3; }           ///< rad/sample^3
};

/// Samples in `days` sidereal days: round(days * 86164.0989 / dt).
std::size_t frame_length(double days, double dt);
std::size_t power_of_two_at_least(std::size_t n);
/// Phase 2 pi fpo t of the mixing, t in seconds, reduced without the rounding of the product: rad, within +-2 pi.
double mixing_phase(const Band& band, double seconds);
Band make_band(double fpo, double dt, std::size_t N);
/// Lower edge of band number b with relative overlap v: 10 + (1 - v) b / (2 dt) Hz.
double band_edge(int band, double dt, double overlap = 0.03125);

/// A detector on the ground.
struct Site {
  std::string name;
  double latitude = 0;      ///< geodetic, rad
  double longitude = 0;     ///< east, rad
  double height = 0;        ///< m
  double orientation = 0;   ///< of the arms' bisector, counter-clockwise from local east, rad
  double opening = pi / 2;  ///< angle between the arms, rad
  Vector3 position = {};    ///< geocentric, ITRF, m
};

std::span<const Site> known_sites();
/// Null when the name is not known.
const Site* find_site(std::string_view name);
/// Geocentric position in metres on the WGS84 ellipsoid.
Vector3 geodetic_position(double latitude, double longitude, double height);

/// Where a detector was: position relative to the solar-system barycentre, sample by sample.
struct Ephemeris {
  std::vector<Vector3>
      position;  ///< Earth's centre + detector, light-travel samples; without Einstein delay unless in_axes
  std::vector<Vector3> detector;  ///< geocentric part alone
  std::vector<double>
      einstein;              ///< Einstein delay in samples; empty when it is already on every axis (original's form)
  std::vector<Vector3> sun;  ///< Sun's centre, as position; empty: no Shapiro delay
  double phir = 0;           ///< local sidereal time at sample 0, rad
  double obliquity = mean_obliquity;
};

/// How much later a signal from direction n arrives for the Sun's gravitation, in samples: 2 G M / c^3 ln(1 AU / (|e| +
/// e.n)) with e from the Sun to the detector, light-travel samples, as LAL has it. Behind the Sun that of its limb.
double shapiro_delay(const Vector3& detector, const Vector3& sun, const Vector3& n, double dt);

/// One detector's data of one frame and band.
struct Series {
  Site site;
  std::vector<double> x;  ///< N samples; exact zeros are missing data
  Ephemeris ephemeris;
  double sigma2 = 0;     ///< variance of the noise
  double gps_start = 0;  ///< s
  /// By how much the mixing's phase runs ahead of that of the first sample's frame, rad, sample by sample, in series of
  /// frames mixed one by one; empty: nowhere. Only the direct sums take it.
  std::vector<double> mixing = {};
};

/// Variance of the noise: original: N/(N - zeros) times the n-1 variance of all samples, zeros included.
double noise_variance_original(std::span<const double> x);
/// n-1 variance of the samples that are present; 0 when fewer than two are.
double noise_variance(std::span<const double> x);
std::size_t missing_samples(std::span<const double> x);

}  // namespace fachwerk::polgraw
