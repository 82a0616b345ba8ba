#include "ephemeris.hpp"

#include <algorithm>
#include <cstring>

#include <doctest.h>

#include "shared_frame.hpp"

using namespace fachwerk::polgraw;

TEST_CASE("leap seconds and sidereal time") {
  const auto scales = TimeScales::built_in();
  CHECK(scales.leaps.size() == 19);  // the value of 1980 and 18 steps since
  CHECK(mjd_utc(0, scales) == doctest::Approx(44244).epsilon(1e-15));
  // 2017-08-17 12:41:04 UTC is GPS 1187008882 (18 leap seconds).
  CHECK((mjd_utc(1187008882, scales) - 57982) * 86400 == doctest::Approx(12 * 3600 + 41 * 60 + 4).epsilon(1e-9));
  // The formula of the community code.
  const double gps = 966190240, mjd = mjd_utc(gps, scales), t = mjd + 2400000.5 - 2451545;
  const double longitude = find_site("L1")->longitude;
  const double expected =
      pi * std::fmod(1.55811454652 + std::fmod(2 * t, 2.0) +
                         t * (.547581870159e-2 + t * (1.61549e-15 - 1.473e-24 * t)) + longitude / pi,
                     2.0);
  CHECK(std::remainder(local_sidereal_time(gps, longitude, scales) - expected, 2 * pi) ==
        doctest::Approx(0).epsilon(1e-12).scale(2e-7 / 1e-12));
}

TEST_CASE("UT1 runs on through a leap second") {
  auto scales = TimeScales::built_in();
  // IERS Bulletin B about the end of 2016, when UTC had its last leap second.
  scales.ut1_utc = {{57752, -0.4069}, {57753, -0.4080}, {57754, 0.5908}, {57755, 0.5896}};
  for (const double mjd : {57753.0, 57753.25, 57753.999, 57754.0, 57754.5})
    CHECK(std::abs(scales.ut1_minus_utc(mjd) - (mjd < 57754 ? -0.408 : 0.591)) < 2e-3);
  const double gps = 1167264017;  // 2017-01-01
  CHECK(std::abs(std::remainder(
            local_sidereal_time(gps + 10, 0, scales) - local_sidereal_time(gps - 10, 0, scales) - 20 * earth_rotation,
            2 * pi)) < 1e-7);
}

TEST_CASE("the corners of the Einstein Telescope lie 10 km apart, their arms along its sides") {
  for (const auto& [one, other] : {std::pair("E1", "E2"), std::pair("E2", "E3"), std::pair("E3", "E1")}) {
    const auto &a = *find_site(one), &b = *find_site(other);
    const Vector3 d{b.position[0] - a.position[0], b.position[1] - a.position[1], b.position[2] - a.position[2]};
    CHECK(std::hypot(d[0], d[1], d[2]) == doctest::Approx(1e4).epsilon(1e-3));
    const double east = -std::sin(a.longitude) * d[0] + std::cos(a.longitude) * d[1],
                 north = -std::sin(a.latitude) * (std::cos(a.longitude) * d[0] + std::sin(a.longitude) * d[1]) +
                         std::cos(a.latitude) * d[2];
    const double along =
        std::remainder(std::atan2(north, east) - a.orientation, pi);  // of the bisector or its other end
    CHECK(std::abs(std::abs(along) - a.opening / 2) < 2e-3);
  }
  CHECK(find_site("CE")->latitude == find_site("H1")->latitude);
}

TEST_CASE("ephemeris against the sample frame's (computed elsewhere with the IAU's own routines)") {
  const auto frame = shared_frame(true);
  if (!frame) {
    MESSAGE("skipped: no ../shared/data/polgraw");
    return;
  }
  for (const auto& d : frame->detectors) {
    const auto made = make_ephemeris(d.site, 1187008512, 2, frame->band.N, TimeScales::built_in());
    // The sample's Einstein delay is that of Earth's centre; ours is the detector's own, which runs up to 2.1 us ahead
    // or behind with the day: v . r / c^2.
    double total = 0, apart = 0, detector = 0;
    const auto& r = made.position;
    for (std::size_t i = 8; i + 8 < frame->band.N; i += 7) {
      double diurnal = 0;
      for (std::size_t k = 0; k < 3; ++k) {
        const double velocity =
            ((r[i + 8][k] - made.detector[i + 8][k]) - (r[i - 8][k] - made.detector[i - 8][k])) / 16;
        diurnal += velocity * made.detector[i][k];
      }
      for (std::size_t k = 0; k < 3; ++k) {
        const double difference = 2 * (r[i][k] + made.einstein[i] - d.ephemeris.position[i][k]);
        total = std::max(total, std::abs(difference));
        apart = std::max(apart, std::abs(difference - 2 * diurnal));
        detector = std::max(detector, 2 * std::abs(made.detector[i][k] - d.ephemeris.detector[i][k]));
      }
    }
    MESSAGE(d.site.name << ": largest difference " << total << " s, " << apart
                        << " s but for the diurnal Einstein delay, " << detector << " s in the detector's part, "
                        << std::remainder(made.phir - d.ephemeris.phir, 2 * pi) << " rad in phir");
    CHECK(total < 2.2e-6);
    CHECK(apart < 2e-7);
    CHECK(detector < 1e-11);
    CHECK(std::abs(std::remainder(made.phir - d.ephemeris.phir, 2 * pi)) < 1e-9);
  }
}

TEST_CASE("tables of the LAL format: Taylor's series from the nearest row") {
  std::string text = "# comment\n1000 100 3\n";
  for (int i = 0; i < 3; ++i) {
    const double t = 100.0 * i;
    text += std::to_string(1000 + i * 100) + " " + std::to_string(5 + 2 * t + 0.5 * t * t) + " 1 2\n" +
            std::to_string(2 + t) + " 0 0\n1 0 0\n";
  }
  const EphemerisTable table(text, "earth");
  CHECK(table.position(1130)[0] == doctest::Approx(5 + 2 * 130 + 0.5 * 130 * 130).epsilon(1e-9));
  CHECK_THROWS(table.position(1400));
  CHECK_THROWS(EphemerisTable("1000 100 3\n1000 1 2 3\n", "short"));
}

namespace {

/// A DAF/SPK file with the Earth-Moon barycentre (type 2) and Earth relative to it (type 3), three records each, whose
/// Chebyshev coefficients are those of polynomials in the record's own time.
std::string make_spk(bool big_endian, double interval) {
  std::string file(2 * 1024, '\0');
  const auto put = [&](std::size_t at, auto value) {
    std::string raw(reinterpret_cast<const char*>(&value), sizeof value);
    if (big_endian) std::ranges::reverse(raw);
    if (file.size() < at + raw.size()) file.resize(at + raw.size());
    file.replace(at, raw.size(), raw);
  };
  file.replace(0, 8, "DAF/SPK ");
  put(8, std::int32_t{2});
  put(12, std::int32_t{6});
  put(76, std::int32_t{2});
  file.replace(88, 8, big_endian ? "BIG-IEEE" : "LTL-IEEE");
  put(1024 + 16, 2.0);
  std::size_t word = 257;  // 1-based, after two records of 128 doubles
  for (int segment = 0; segment < 2; ++segment) {
    const int type = segment + 2;
    const std::size_t first = word, parts = type == 2 ? 3 : 6, terms = 4;
    for (int record = 0; record < 3; ++record) {
      put(8 * (word++ - 1), (record + 0.5) * interval);
      put(8 * (word++ - 1), interval / 2);
      for (std::size_t k = 0; k < parts; ++k)
        for (std::size_t n = 0; n < terms; ++n)
          put(8 * (word++ - 1), (segment + 1) * 1e3 * (static_cast<double>(k + 1) + 10.0 * record) / std::pow(7.0, n));
    }
    for (double value : {0.0, interval, 2.0 + static_cast<double>(parts * terms), 3.0})
      put(8 * (word++ - 1), value);
    const std::size_t at = 1024 + 24 + 40 * static_cast<std::size_t>(segment);
    put(at, 0.0);
    put(at + 8, 3 * interval);
    const std::array<std::int32_t, 6> numbers{segment == 0 ? 3 : 399,
                                              segment == 0 ? 0 : 3,
                                              1,
                                              type,
                                              static_cast<std::int32_t>(first),
                                              static_cast<std::int32_t>(word - 1)};
    for (std::size_t k = 0; k < 6; ++k)
      put(at + 16 + 4 * k, numbers[k]);
  }
  return file;
}

}  // namespace

TEST_CASE("SPK files of both byte orders, types 2 and 3: Chebyshev series against their definition") {
  constexpr double interval = 86400;
  for (bool big_endian : {false, true}) {
    const std::string bytes = make_spk(big_endian, interval);
    const SpkFile file(std::as_bytes(std::span(bytes)), "made.bsp");
    for (double t : {0.0, 1000.0, 86399.0, 86401.0, 150000.0, 3 * interval}) {
      const int record = std::min(2, static_cast<int>(t / interval));
      const double x = (t - (record + 0.5) * interval) / (interval / 2);
      const auto earth = file.earth(t);
      for (std::size_t k = 0; k < 3; ++k) {
        double series = 0;
        for (int n = 0; n < 4; ++n)
          series += std::cos(n * std::acos(x)) / std::pow(7.0, n);
        const double expected = 3e3 * (static_cast<double>(k + 1) + 10.0 * record) * series;  // both segments
        CHECK(std::abs(earth[k] - expected) < 1e-9);                                          // km
      }
    }
    CHECK_THROWS(file.earth(4 * interval));
    CHECK_THROWS(file.position(10, 0, 0));
    CHECK(!file.has_sun());
    CHECK_THROWS(SpkFile(std::as_bytes(std::span(bytes)).first(3000), "cut.bsp"));
  }
}
