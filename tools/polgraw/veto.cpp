#include "veto.hpp"

#include <algorithm>
#include <charconv>

#include "cli/error.hpp"

namespace fachwerk::polgraw {

namespace {

std::string_view trim(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> fields;
  const bool comma = line.find(',') != std::string_view::npos;
  while (true) {
    const auto cut = comma ? line.find(',') : line.find_first_of(" \t");
    fields.push_back(trim(line.substr(0, cut)));
    if (cut == std::string_view::npos) return fields;
    line = comma ? line.substr(cut + 1) : trim(line.substr(cut));
  }
}

}  // namespace

std::vector<Line> parse_lines(std::string_view text, const std::string& file) {
  std::vector<Line> lines;
  int number = 0;
  while (!text.empty()) {
    const auto end = text.find('\n');
    auto row = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    ++number;
    row = trim(row.substr(0, row.find('%')));
    if (row.empty() || row.front() == '#') continue;
    const auto fields = split(row);
    std::array<double, 7> values{0, 0, 0, 1, 1, 0, 0};
    for (std::size_t k = 0; k < 7 && k < fields.size(); ++k) {
      if (fields[k].empty()) continue;
      const auto [at, error] = std::from_chars(fields[k].data(), fields[k].data() + fields[k].size(), values[k]);
      if (error != std::errc{} || at != fields[k].data() + fields[k].size() || !std::isfinite(values[k]))
        throw bad_input("{}: line {}, column {}: expected a number, found \"{}\"", file, number, k + 1, fields[k]);
    }
    if (fields.size() < 7 || values[0] < 0 || values[1] < 0 || values[1] > 2 || values[5] < 0 || values[6] < 0 ||
        std::abs(values[3]) > 1e7 || std::abs(values[4]) > 1e7)
      throw bad_input("{}: line {}: expected frequency, type 0..2, offset, first, last, left and right width", file,
                      number);
    lines.push_back({values[0], static_cast<int>(values[1]), values[2], static_cast<int>(values[3]),
                     static_cast<int>(values[4]), values[5], values[6]});
  }
  return lines;
}

std::vector<Interval> line_intervals(std::span<const Line> lines, double lo, double hi) {
  std::vector<Interval> found;
  for (const auto& line : lines) {
    const int last = line.type == 0 ? line.first : line.last;
    for (int k = line.first; k <= last; ++k) {
      const double f = line.type == 0 ? line.spacing + line.offset : line.offset + k * line.spacing;
      const double widen = line.type == 2 ? k : 1;
      const Interval interval{f - widen * line.left, f + widen * line.right};
      if (interval.hi >= lo && interval.lo <= hi) found.push_back(interval);
    }
  }
  return found;
}

double largest_drift(const Observation& o, double fdot_max, double frequency) {
  double drift = 0;
  const double dt = o.band.dt;
  for (const auto& d : o.detectors) {
    const auto& r = d.ephemeris.position;
    Vector3 velocity{}, moment{};
    for (std::size_t i = 0; i + 1 < r.size(); ++i)
      for (std::size_t k = 0; k < 3; ++k) {
        const auto t = static_cast<double>(i);
        velocity[k] = std::max(velocity[k], std::abs(r[i + 1][k] - r[i][k]));
        moment[k] = std::max(moment[k], std::abs((t + 1) * r[i + 1][k] - t * r[i][k]));
      }
    const auto length = [](const Vector3& v) { return std::hypot(v[0], v[1], v[2]); };
    drift = std::max(
        drift, 2 * fdot_max * (static_cast<double>(o.band.N) + length(moment)) * dt + frequency * length(velocity));
  }
  return drift;
}

std::vector<std::array<double, 2>> veto_bands(const Observation& o, std::span<const Line> lines, double fdot_max) {
  const double lo = o.band.fpo, hi = o.band.fpo + o.band.width(), drift = largest_drift(o, fdot_max, hi);
  std::vector<std::array<double, 2>> bands;
  for (const auto& interval : line_intervals(lines, lo - drift, hi + drift)) {
    const double a = std::max(interval.lo - drift, lo), b = std::min(interval.hi + drift, hi);
    if (a <= b) bands.push_back({o.band.omega(a), o.band.omega(b)});
  }
  std::ranges::sort(bands);
  std::vector<std::array<double, 2>> joined;
  for (const auto& band : bands) {
    if (!joined.empty() && band[0] <= joined.back()[1])
      joined.back()[1] = std::max(joined.back()[1], band[1]);
    else
      joined.push_back(band);
  }
  return joined;
}

double veto_fraction(std::span<const std::array<double, 2>> bands) {
  double length = 0;
  for (const auto& band : bands)
    length += band[1] - band[0];
  return length / pi;
}

}  // namespace fachwerk::polgraw
