#pragma once

#include <string_view>

#include "search.hpp"

/// Known instrumental lines as intervals of the band that are not searched (Aasi et al. 2014, sec. 4).
namespace fachwerk::polgraw {

struct Line {
  double spacing = 0;  ///< line frequency or spacing of a comb, Hz
  int type = 0;        ///< 0 single, 1 comb of fixed width, 2 comb whose width grows with the harmonic
  double offset = 0;   ///< Hz
  int first = 1, last = 1;
  double left = 0, right = 0;  ///< widths, Hz
};
struct Interval {
  double lo = 0, hi = 0;  ///< Hz
};

/// Comma- or blank-separated columns, % comments; empty fields keep their place. Throws bad input naming file and line.
std::vector<Line> parse_lines(std::string_view text, const std::string& file);
/// The intervals of the lines within [lo, hi] Hz.
std::vector<Interval> line_intervals(std::span<const Line> lines, double lo, double hi);
/// Largest shift of a line at frequency f by the demodulation of any template, Hz: 2 fdot_max (N dt + |d(t r)/dt|) +
/// f |dr/dt|, the maxima over samples of each axis combined as a vector's length.
double largest_drift(const Observation& observation, double fdot_max, double frequency);
/// Widened by the drift, clipped to the band, joined, in omega.
std::vector<std::array<double, 2>> veto_bands(const Observation& observation, std::span<const Line> lines,
                                              double fdot_max);
/// Part of [0, pi] that they cover.
double veto_fraction(std::span<const std::array<double, 2>> bands);

}  // namespace fachwerk::polgraw
