#include "observation.hpp"

#include <algorithm>

namespace fachwerk::polgraw {

namespace {

constexpr double degrees(double d, double minutes = 0, double seconds = 0) {
  return (d + minutes / 60 + seconds / 3600) * pi / 180;
}

/// Sites from public tables; positions as published where they are, else on WGS84.
std::vector<Site> make_sites() {
  std::vector<Site> sites = {
      {"H1",
       degrees(46, 27, 18.528),
       -degrees(119, 24, 27.5657),
       142.554,
       degrees(170.9994),
       pi / 2,
       {-2161414.92636, -3834695.17889, 4600350.22664}},
      {"L1",
       degrees(30, 33, 46.4196),
       -degrees(90, 46, 27.2654),
       -6.574,
       degrees(242.7165),
       pi / 2,
       {-74276.0447238, -5496283.71971, 3224257.01744}},
      {"V1",
       degrees(43, 37, 53.0880),
       degrees(10, 30, 16.1885),
       51.884,
       degrees(135) - degrees(19, 25, 57.96),
       pi / 2,
       {4546374.099, 842989.697626, 4378576.96241}},
  };
  // Azimuths of the arms, clockwise from north, from the public tables. An orientation counts modulo half a turn.
  const auto add = [&](const char* name, double lat, double lon, double height, double azimuth_x, double azimuth_y) {
    sites.push_back({name, lat, lon, height, pi / 2 - (azimuth_x + azimuth_y) / 2,
                     std::abs(std::remainder(azimuth_x - azimuth_y, 2 * pi)), geodetic_position(lat, lon, height)});
  };
  add("G1", degrees(52, 14, 42.528), degrees(9, 48, 25.894), 114.425, 1.19360100484, 5.83039279401);
  add("K1", degrees(36, 24, 42.69722), degrees(137, 18, 21.44171), 414.181, 1.054113, -0.5166798);
  // Einstein Telescope: the corners of a triangle of 10 km at the site of Virgo.
  add("E1", 0.76151183984, 0.18333805213, 51.884, 0.33916285634, 5.57515048981);
  add("E2", 0.7629930799, 0.1840585887, 59.735, 4.52845096588, 3.48125314713);
  add("E3", 0.76270463257, 0.1819299673, 59.727, 2.43258571625, 1.38538765907);
  for (const char* name : {"H2", "CE"}) {  // Cosmic Explorer: studied at Hanford's place and orientation
    sites.push_back(sites[0]);
    sites.back().name = name;
  }
  return sites;
}

}  // namespace

std::size_t power_of_two_at_least(std::size_t n) {
  std::size_t p = 1;
  while (p < n)
    p *= 2;
  return p;
}

std::size_t frame_length(double days, double dt) {
  return static_cast<std::size_t>(std::llround(days * 86164.0989 / dt));
}

double mixing_phase(const Band& band, double seconds) {
  const double turns = band.fpo * seconds;
  return 2 * pi * (std::fmod(turns, 1.0) + std::fma(band.fpo, seconds, -turns));
}

Band make_band(double fpo, double dt, std::size_t N) {
  return {fpo, dt, N, power_of_two_at_least(N)};
}

double band_edge(int band, double dt, double overlap) {
  return 10 + (1 - overlap) * band / (2 * dt);
}

std::span<const Site> known_sites() {
  static const std::vector<Site> sites = make_sites();
  return sites;
}

const Site* find_site(std::string_view name) {
  const auto sites = known_sites();
  const auto found = std::ranges::find(sites, name, &Site::name);
  return found == sites.end() ? nullptr : &*found;
}

Vector3 geodetic_position(double latitude, double longitude, double height) {
  constexpr double a = 6378137.0, flattening = 1 / 298.257223563;
  constexpr double e2 = flattening * (2 - flattening);
  const double normal = a / std::sqrt(1 - e2 * std::sin(latitude) * std::sin(latitude));
  const double across = (normal + height) * std::cos(latitude);
  return {across * std::cos(longitude), across * std::sin(longitude),
          (normal * (1 - e2) + height) * std::sin(latitude)};
}

double shapiro_delay(const Vector3& detector, const Vector3& sun, const Vector3& n, double dt) {
  constexpr double twice_solar_mass = 9.8509819e-6;  // 2 G M / c^3, s
  constexpr double solar_radius = 2.3206;            // s
  const Vector3 e{(detector[0] - sun[0]) * dt, (detector[1] - sun[1]) * dt, (detector[2] - sun[2]) * dt};
  const double distance = std::hypot(e[0], e[1], e[2]);
  const double limb = solar_radius * solar_radius / (2 * distance);
  const double path = std::max(distance + e[0] * n[0] + e[1] * n[1] + e[2] * n[2], limb);
  return twice_solar_mass * std::log(astronomical_unit / speed_of_light / path) / dt;
}

std::size_t missing_samples(std::span<const double> x) {
  return static_cast<std::size_t>(std::ranges::count(x, 0.0));
}

double noise_variance_original(std::span<const double> x) {
  const auto n = static_cast<double>(x.size());
  const auto present = n - static_cast<double>(missing_samples(x));
  if (present < 2) return 0;
  double mean = 0, squares = 0;
  for (double v : x)
    mean += v;
  mean /= n;
  for (double v : x)
    squares += (v - mean) * (v - mean);
  return n / present * squares / (n - 1);
}

double noise_variance(std::span<const double> x) {
  const auto present = static_cast<double>(x.size() - missing_samples(x));
  if (present < 2) return 0;
  double mean = 0, squares = 0;
  for (double v : x)
    mean += v;
  mean /= present;
  for (double v : x)
    squares += v == 0 ? 0 : (v - mean) * (v - mean);
  return squares / (present - 1);
}

}  // namespace fachwerk::polgraw
