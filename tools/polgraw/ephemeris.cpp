#include "ephemeris.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>

#include <erfa.h>

#include "cli/error.hpp"

namespace fachwerk::polgraw {

namespace {

constexpr double gps_epoch_mjd = 44244;  // 1980-01-06 UTC
constexpr double day = 86400;
constexpr double j2000 = 2451545.0;
constexpr double tt_minus_gps = 32.184 + 19;

/// Terrestrial time as a two-part Julian date: days of the GPS scale from a whole day, so that nothing is lost.
std::array<double, 2> tt_date(double gps) {
  const double seconds = gps + tt_minus_gps;
  const double days = std::floor(seconds / day);
  return {2400000.5 + gps_epoch_mjd + days, (seconds - days * day) / day};
}

std::vector<std::vector<double>> parse_columns(std::string_view text, const std::string& file, std::size_t least) {
  std::vector<std::vector<double>> rows;
  int number = 0;
  while (!text.empty()) {
    const auto end = text.find('\n');
    auto line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    ++number;
    line = line.substr(0, line.find_first_of("#%"));
    std::vector<double> row;
    for (;;) {
      const auto begin = line.find_first_not_of(" \t\r,");
      if (begin == std::string_view::npos) break;
      line = line.substr(begin);
      const auto word = line.substr(0, line.find_first_of(" \t\r,"));
      double value = 0;
      const auto [at, error] =
          std::from_chars(word.data() + (word.front() == '+' ? 1 : 0), word.data() + word.size(), value);
      if (error != std::errc{} || at != word.data() + word.size() || !std::isfinite(value))
        throw bad_input("{}: line {}: expected a number, found \"{}\"", file, number, word);
      row.push_back(value);
      line = line.substr(word.size());
    }
    if (row.empty()) continue;
    if (row.size() < least)
      throw bad_input("{}: line {}: expected {} numbers, found {}", file, number, least, row.size());
    rows.push_back(std::move(row));
  }
  return rows;
}

/// Cubic Lagrange interpolation on uniform nodes.
template <std::size_t K>
class Nodes {
 public:
  template <class Fn>
  Nodes(double start, double length, double step, const Fn& fn) : start_(start - step), step_(step) {
    const auto count = static_cast<std::size_t>(std::ceil(length / step)) + 4;
    for (std::size_t i = 0; i < count; ++i)
      values_.push_back(fn(start_ + static_cast<double>(i) * step));
  }
  std::array<double, K> at(double time) const {
    const double u = (time - start_) / step_;
    const auto i = std::clamp<std::size_t>(static_cast<std::size_t>(std::max(u, 1.0)), 1, values_.size() - 3);
    const double f = u - static_cast<double>(i);
    const std::array<double, 4> w = {-f * (f - 1) * (f - 2) / 6, (f + 1) * (f - 1) * (f - 2) / 2,
                                     -(f + 1) * f * (f - 2) / 2, (f + 1) * f * (f - 1) / 6};
    std::array<double, K> out{};
    for (std::size_t k = 0; k < K; ++k)
      for (std::size_t j = 0; j < 4; ++j)
        out[k] += w[j] * values_[i - 1 + j][k];
    return out;
  }

 private:
  double start_, step_;
  std::vector<std::array<double, K>> values_;
};

}  // namespace

TimeScales TimeScales::built_in() {
  TimeScales scales;
  scales.leaps = {{44239, 19}, {44786, 20}, {45151, 21}, {45516, 22}, {46247, 23}, {47161, 24}, {47892, 25},
                  {48257, 26}, {48804, 27}, {49169, 28}, {49534, 29}, {50083, 30}, {50630, 31}, {51179, 32},
                  {53736, 33}, {54832, 34}, {56109, 35}, {57204, 36}, {57754, 37}};
  return scales;
}

double TimeScales::tai_minus_utc(double mjd) const {
  double offset = leaps.front().tai_utc;
  for (const auto& leap : leaps)
    if (mjd >= leap.mjd) offset = leap.tai_utc;
  return offset;
}

double TimeScales::ut1_minus_utc(double mjd) const {
  if (ut1_utc.empty()) return 0;
  const auto above = std::ranges::find_if(ut1_utc, [&](const auto& row) { return row[0] > mjd; });
  if (above == ut1_utc.begin()) return ut1_utc.front()[1];
  if (above == ut1_utc.end()) return ut1_utc.back()[1];
  const auto& a = *(above - 1);
  const auto& b = *above;
  // UT1 - TAI runs smoothly where UTC has a leap second between the rows.
  const double from = a[1] - tai_minus_utc(a[0]), to = b[1] - tai_minus_utc(b[0]);
  return from + (to - from) * (mjd - a[0]) / (b[0] - a[0]) + tai_minus_utc(mjd);
}

std::vector<TimeScales::Leap> parse_leap_seconds(std::string_view text, const std::string& file) {
  constexpr double ntp_epoch_mjd = 15020;
  std::vector<TimeScales::Leap> leaps;
  for (const auto& row : parse_columns(text, file, 2))
    leaps.push_back({ntp_epoch_mjd + row[0] / day, row[1]});
  if (leaps.empty()) throw bad_input("{}: no leap seconds", file);
  std::ranges::sort(leaps, {}, &TimeScales::Leap::mjd);
  return leaps;
}

std::vector<std::array<double, 2>> parse_ut1(std::string_view text, const std::string& file) {
  std::vector<std::array<double, 2>> table;
  for (const auto& row : parse_columns(text, file, 2))
    table.push_back({row[0], row[1]});
  std::ranges::sort(table);
  return table;
}

double mjd_utc(double gps, const TimeScales& scales) {
  // TAI - UTC at the time itself: one step from TAI's own date is enough except within a leap second.
  const double tai = gps_epoch_mjd + (gps + 19) / day;
  const double first = tai - scales.tai_minus_utc(tai) / day;
  return tai - scales.tai_minus_utc(first) / day;
}

double local_sidereal_time(double gps, double longitude, const TimeScales& scales) {
  const double utc = mjd_utc(gps, scales), tt_offset = tt_minus_gps;
  const double tt = gps_epoch_mjd + (gps + tt_offset) / day;
  const double ut1 = utc + scales.ut1_minus_utc(utc) / day;
  const double angle = std::fmod(eraGmst06(2400000.5, ut1, 2400000.5, tt) + longitude, 2 * pi);
  return angle < 0 ? angle + 2 * pi : angle;
}

double tdb_seconds(double gps) {
  const auto tt = tt_date(gps);
  return ((tt[0] - j2000) + tt[1]) * day + eraDtdb(tt[0], tt[1], 0, 0, 0, 0);
}

namespace {

/// Earth's centre relative to the Sun's and to the barycentre, light-seconds.
std::array<Vector3, 2> earth_series(double gps) {
  const auto tt = tt_date(gps);
  const double tdb_tt = eraDtdb(tt[0], tt[1], 0, 0, 0, 0) / day;
  double heliocentric[2][3], barycentric[2][3];
  eraEpv00(tt[0], tt[1] + tdb_tt, heliocentric, barycentric);
  constexpr double au = astronomical_unit / speed_of_light;
  std::array<Vector3, 2> out;
  for (std::size_t k = 0; k < 3; ++k)
    out[0][k] = heliocentric[0][k] * au, out[1][k] = barycentric[0][k] * au;
  return out;
}

}  // namespace

Vector3 analytic_earth(double gps, const TimeScales&) {
  return earth_series(gps)[1];
}

Vector3 analytic_sun(double gps) {
  const auto [from_sun, earth] = earth_series(gps);
  return {earth[0] - from_sun[0], earth[1] - from_sun[1], earth[2] - from_sun[2]};
}

std::vector<Vector3> sun_positions(double start, double dt, std::size_t N, const EarthPosition& sun) {
  const Nodes<3> nodes(start, static_cast<double>(N - 1) * dt, 7200,  // some 13 m/s: slow
                       [&](double gps) { return sun ? sun(gps) : analytic_sun(gps); });
  std::vector<Vector3> positions(N);
  for (std::size_t i = 0; i < N; ++i) {
    positions[i] = nodes.at(start + static_cast<double>(i) * dt);
    for (double& x : positions[i])
      x /= dt;
  }
  return positions;
}

Ephemeris make_ephemeris(const Site& site, double start, double dt, std::size_t N, const TimeScales& scales,
                         const EarthPosition& earth) {
  const double length = static_cast<double>(N - 1) * dt;
  // The series are slow: evaluated on nodes. Errors of the interpolation: Earth 1e-11 s, Einstein 1e-10 s, polar motion
  // of the celestial pole 1e-9 rad.
  const Nodes<3> earth_nodes(start, length, 900,
                             [&](double gps) { return earth ? earth(gps) : analytic_earth(gps, scales); });
  const double u = std::hypot(site.position[0], site.position[1]) / 1000, v = site.position[2] / 1000;
  const double east = std::atan2(site.position[1], site.position[0]);
  const Nodes<4> slow(start, length, 900, [&](double gps) {
    const auto tt = tt_date(gps);
    const double utc = mjd_utc(gps, scales), ut1 = utc + scales.ut1_minus_utc(utc) / day;
    double x, y, s;
    eraXys06a(tt[0], tt[1], &x, &y, &s);
    return std::array<double, 4>{x, y, s, eraDtdb(tt[0], tt[1], ut1 - std::floor(ut1), east, u, v)};
  });
  Ephemeris e;
  e.position.resize(N);
  e.detector.resize(N);
  e.einstein.resize(N);
  for (std::size_t i = 0; i < N; ++i) {
    const double gps = start + static_cast<double>(i) * dt;
    const auto pole = slow.at(gps);
    const auto centre = earth_nodes.at(gps);
    const double utc = mjd_utc(start, scales) + static_cast<double>(i) * dt / day;
    double to_cirs[3][3], to_gcrs[3][3];
    eraC2ixys(pole[0], pole[1], pole[2], to_cirs);
    eraRz(eraEra00(2400000.5, utc + scales.ut1_minus_utc(utc) / day), to_cirs);
    eraTr(to_cirs, to_gcrs);
    double terrestrial[3] = {site.position[0], site.position[1], site.position[2]}, celestial[3];
    eraRxp(to_gcrs, terrestrial, celestial);
    for (std::size_t k = 0; k < 3; ++k) {
      e.detector[i][k] = celestial[k] / (1000 * speed_of_light) / dt;
      e.position[i][k] = centre[k] / dt + e.detector[i][k];
    }
    e.einstein[i] = pole[3] / dt;
  }
  e.phir = local_sidereal_time(start, site.longitude, scales);
  return e;
}

EphemerisTable::EphemerisTable(std::string_view text, std::string file) : file_(std::move(file)) {
  const auto rows = parse_columns(text, file_, 3);
  if (rows.size() < 2) throw bad_input("{}: expected a header (GPS, step, rows) and rows", file_);
  start_ = rows[0][0];
  step_ = rows[0][1];
  if (!(step_ > 0)) throw bad_input("{}: expected a step above 0 s, found {}", file_, step_);
  // A row may be spread over several lines: ten numbers each.
  std::vector<double> flat;
  for (std::size_t i = 1; i < rows.size(); ++i)
    flat.insert(flat.end(), rows[i].begin(), rows[i].end());
  const auto count = static_cast<std::size_t>(std::max(0.0, rows[0][2]));
  if (flat.size() != 10 * count)
    throw bad_input("{}: expected {} rows of 10 numbers, found {} numbers", file_, count, flat.size());
  for (std::size_t i = 0; i < count; ++i) {
    std::array<double, 9> row;
    std::copy_n(flat.begin() + static_cast<std::ptrdiff_t>(10 * i + 1), 9, row.begin());
    rows_.push_back(row);
  }
}

Vector3 EphemerisTable::position(double gps) const {
  const double place = (gps - start_) / step_;
  const double nearest = std::nearbyint(place);
  if (!(nearest >= 0 && nearest < static_cast<double>(rows_.size())))
    throw bad_input("{}: no entry for GPS {:.0f}; the table has {:.0f} to {:.0f}", file_, gps, start_,
                    start_ + step_ * static_cast<double>(rows_.size() - 1));
  const auto& row = rows_[static_cast<std::size_t>(nearest)];
  const double t = (place - nearest) * step_;
  Vector3 r;
  for (std::size_t k = 0; k < 3; ++k)
    r[k] = row[k] + t * (row[3 + k] + t / 2 * row[6 + k]);
  return r;
}

namespace {

template <class T>
T load(std::span<const std::byte> bytes, std::size_t at, bool swap, const std::string& file) {
  if (at > bytes.size() || sizeof(T) > bytes.size() - at) throw bad_input("{}: truncated at byte {}", file, at);
  std::array<std::byte, sizeof(T)> raw;
  std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), sizeof(T), raw.begin());
  if (swap) std::ranges::reverse(raw);
  return std::bit_cast<T>(raw);
}

}  // namespace

SpkFile::SpkFile(std::span<const std::byte> bytes, std::string file) : file_(std::move(file)) {
  if (bytes.size() < 1024 || std::memcmp(bytes.data(), "DAF/SPK", 7) != 0)
    throw bad_input("{}: expected a DAF/SPK file", file_);
  const bool swap = std::memcmp(bytes.data() + 88, "BIG-IEEE", 8) == 0;
  const auto integer = [&](std::size_t at) { return load<std::int32_t>(bytes, at, swap, file_); };
  const auto real = [&](std::size_t at) { return load<double>(bytes, at, swap, file_); };
  if (integer(8) != 2 || integer(12) != 6) throw bad_input("{}: expected summaries of 2 doubles and 6 integers", file_);
  std::size_t visited = 0;
  for (auto record = integer(76); record > 0 && visited++ < 10000;) {
    const std::size_t base = 1024 * (static_cast<std::size_t>(record) - 1);
    const auto summaries = static_cast<int>(real(base + 16));
    if (summaries < 0 || summaries > 25) throw bad_input("{}: record {}: {} summaries", file_, record, summaries);
    for (int k = 0; k < summaries; ++k) {
      const std::size_t at = base + 24 + 40 * static_cast<std::size_t>(k);
      Segment s{};
      s.start = real(at);
      s.stop = real(at + 8);
      s.target = integer(at + 16);
      s.centre = integer(at + 20);
      s.type = integer(at + 28);
      const auto first = static_cast<std::size_t>(integer(at + 32)), last = static_cast<std::size_t>(integer(at + 36));
      if (s.type != 2 && s.type != 3) continue;
      if (first < 1 || last < first + 3 || last > bytes.size() / 8)
        throw bad_input("{}: a segment points outside the file", file_);
      s.data.resize(last - first + 1);
      for (std::size_t i = 0; i < s.data.size(); ++i)
        s.data[i] = real(8 * (first - 1 + i));
      const double* directory = s.data.data() + s.data.size() - 4;
      s.first = directory[0];
      s.interval = directory[1];
      s.record = directory[2] > 0 && directory[2] < 1e6 ? static_cast<std::size_t>(directory[2]) : 0;
      s.count = directory[3] > 0 && directory[3] < 1e9 ? static_cast<std::size_t>(directory[3]) : 0;
      const std::size_t parts = s.type == 2 ? 3 : 6;
      if (s.record < 2 + parts || (s.record - 2) % parts != 0 || !(s.interval > 0) || s.count == 0 ||
          s.record * s.count + 4 > s.data.size())
        throw bad_input("{}: the directory of the segment of body {} does not fit", file_, s.target);
      segments_.push_back(std::move(s));
    }
    record = static_cast<std::int32_t>(real(base));
  }
}

Vector3 SpkFile::position(int body, int centre, double tdb) const {
  for (const auto& s : segments_) {
    if (s.target != body || s.centre != centre || tdb < s.start || tdb > s.stop) continue;
    const auto index = std::min(static_cast<std::size_t>(std::max(0.0, (tdb - s.first) / s.interval)), s.count - 1);
    const double* record = s.data.data() + index * s.record;
    const double x = (tdb - record[0]) / record[1];
    const std::size_t terms = (s.record - 2) / (s.type == 2 ? 3 : 6);
    Vector3 r{};
    for (std::size_t k = 0; k < 3; ++k) {  // Clenshaw's recurrence
      double b1 = 0, b2 = 0;
      for (std::size_t j = terms; j-- > 1;) {
        const double b = 2 * x * b1 - b2 + record[2 + k * terms + j];
        b2 = b1;
        b1 = b;
      }
      r[k] = x * b1 - b2 + record[2 + k * terms];
    }
    return r;
  }
  throw bad_input("{}: no segment of body {} relative to {} at TDB {:.0f} s", file_, body, centre, tdb);
}

bool SpkFile::has_sun() const {
  return std::ranges::any_of(segments_, [](const Segment& s) { return s.target == 10 && s.centre == 0; });
}

Vector3 SpkFile::earth(double tdb) const {
  const auto a = position(3, 0, tdb), b = position(399, 3, tdb);
  return {a[0] + b[0], a[1] + b[1], a[2] + b[2]};
}

}  // namespace fachwerk::polgraw
