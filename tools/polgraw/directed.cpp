#include "directed.hpp"

#include <algorithm>

#include "cli/error.hpp"

namespace fachwerk::polgraw {

namespace {

/// Integers from the one below lo to the one above hi: what lies between is within a step of them.
Range covering(double lo, double hi) {
  if (lo > hi) std::swap(lo, hi);
  if (!(hi - lo < 1e8 && std::abs(lo) < 1e9 && std::abs(hi) < 1e9))
    throw usage_error("more than 1e8 numbers of a spindown: expected a smaller range");
  return {static_cast<int>(std::floor(lo)), static_cast<int>(std::ceil(hi))};
}

}  // namespace

SkyPoint directed_point(const Directed& directed, double obliquity, int tt) {
  const auto& row = directed.row;
  return {to_ecliptic(directed.sky, obliquity).hemisphere, 0, 0, directed.sky, 0,
          {tt, tt * row[0], tt * row[1], tt * row[2]}};
}

Range second_range(const Directed& directed, double s2_lo, double s2_hi) {
  return directed.second ? covering(s2_lo / directed.row[2], s2_hi / directed.row[2]) : Range{0, 0};
}

Range directed_spindowns(const Grid& grid, const SpindownPrior& prior, const SkyPoint& point) {
  return covering((-prior.s_max - point.second.s) / grid.M[5], (prior.s_min - point.second.s) / grid.M[5]);
}

}  // namespace fachwerk::polgraw
