#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "observation.hpp"

/// Where a detector is: analytic Earth ephemeris (IAU SOFA's Epv00 through ERFA), tables, time scales.
namespace fachwerk::polgraw {

/// Leap seconds since 1980, and UT1 - UTC where it is known.
struct TimeScales {
  struct Leap {
    double mjd;      ///< UTC, from then on
    double tai_utc;  ///< s
  };
  std::vector<Leap> leaps;                     ///< increasing
  std::vector<std::array<double, 2>> ut1_utc;  ///< (MJD, s), increasing; linear between, constant beyond; empty: 0

  static TimeScales built_in();  ///< all leap seconds to 2017-01-01
  double tai_minus_utc(double mjd_utc) const;
  double ut1_minus_utc(double mjd_utc) const;
};
/// The IETF list of leap seconds (NTP seconds, TAI - UTC; # comments) and two columns MJD, UT1 - UTC.
std::vector<TimeScales::Leap> parse_leap_seconds(std::string_view text, const std::string& file);
std::vector<std::array<double, 2>> parse_ut1(std::string_view text, const std::string& file);

/// GPS seconds to UTC as MJD.
double mjd_utc(double gps, const TimeScales& scales);
/// Greenwich mean sidereal time (IAU 2006) plus longitude, in [0, 2 pi).
double local_sidereal_time(double gps, double longitude, const TimeScales& scales);

/// Position of Earth's or the Sun's centre relative to the barycentre in light-seconds at a GPS time, ICRS.
using EarthPosition = std::function<Vector3(double gps)>;

/// A table of the LAL text format: GPS of the first row, step, number of rows; then GPS, position, velocity,
/// acceleration in light-seconds. Evaluated by Taylor's series to second order from the nearest row.
class EphemerisTable {
 public:
  /// Throws bad input naming file and row.
  EphemerisTable(std::string_view text, std::string file);
  Vector3 position(double gps) const;  ///< throws bad input outside the table

 private:
  std::string file_;
  double start_, step_;
  std::vector<std::array<double, 9>> rows_;
};

/// Chebyshev ephemeris of a JPL SPK file (DAF, segment types 2 and 3): Earth (399 via 3) and the Sun (10) relative to
/// the barycentre (0).
class SpkFile {
 public:
  SpkFile(std::span<const std::byte> bytes, std::string file);
  /// Position of `body` relative to `centre` in km at TDB seconds past J2000.
  Vector3 position(int body, int centre, double tdb) const;
  Vector3 earth(double tdb) const;  ///< relative to the barycentre
  Vector3 sun(double tdb) const { return position(10, 0, tdb); }
  bool has_sun() const;

 private:
  struct Segment {
    int target, centre, type;
    double start, stop, first, interval;
    std::size_t record, count;
    std::vector<double> data;
  };
  std::string file_;
  std::vector<Segment> segments_;
};

/// The ephemeris of N samples from GPS `start`: Earth by `earth` (the analytic one when empty), detector by IAU
/// 2006/2000A precession-nutation and Earth rotation, Einstein delay TDB - TT by Fairhead & Bretagnon (topocentric).
Ephemeris make_ephemeris(const Site& site, double start, double dt, std::size_t N, const TimeScales& scales,
                         const EarthPosition& earth = {});
Vector3 analytic_earth(double gps, const TimeScales& scales);
/// The Sun's centre relative to the barycentre, as Ephemeris::sun, of the same samples; by `sun` (the analytic series
/// when empty).
std::vector<Vector3> sun_positions(double start, double dt, std::size_t N, const EarthPosition& sun = {});
Vector3 analytic_sun(double gps);
/// TDB seconds past J2000.
double tdb_seconds(double gps);

}  // namespace fachwerk::polgraw
