#include "grid.hpp"

#include <algorithm>
#include <limits>

namespace fachwerk::polgraw {

Matrix4 normalise_grid(const Matrix4& unnormalised, std::size_t N) {
  const auto n = static_cast<double>(N);
  const std::array<double, 4> scale = {n, n * n, n, n};
  Matrix4 M{};
  for (std::size_t row = 0; row < 4; ++row)
    for (std::size_t column = 0; column < 4; ++column)
      M[4 * row + column] = unnormalised[4 * row + column] / scale[column];
  return M;
}

SpindownPrior age_prior(const Band& band, double age_seconds) {
  return {pi * (band.fpo + band.width()) / age_seconds * band.dt * band.dt, 0};
}
SpindownPrior o1_prior(const Band& band) {
  return {2 * pi * 0.5e-8 * band.dt * band.dt, 2 * pi * 0.5e-9 * band.dt * band.dt};
}
SpindownPrior narrow_prior(const Band& band) {
  if (band.fpo < 200) return age_prior(band, 1000 * year);
  return {2 * pi * 1e-10 * band.dt * band.dt, 2 * pi * 1e-11 * band.dt * band.dt};
}
SpindownPrior frequency_prior(const Band& band, double fdot_min, double fdot_max) {
  return {-band.s(fdot_min), band.s(fdot_max)};
}

std::array<double, 4> lattice_coordinates(const Matrix4& M, const std::array<double, 4>& point) {
  // M is lower triangular, so M^T is solved from the last row up.
  const double mm = point[3] / M[15];
  const double nn = (point[2] - mm * M[14]) / M[10];
  const double ss = (point[1] - nn * M[9] - mm * M[13]) / M[5];
  return {(point[0] - ss * M[4] - nn * M[8] - mm * M[12]) / M[0], ss, nn, mm};
}

SearchRange covering_range(const Grid& grid, const Band& band, double s_lo, double s_hi) {
  const double reach = band.oms() + pi;
  std::array<double, 4> lo, hi;
  lo.fill(std::numeric_limits<double>::max());
  hi.fill(std::numeric_limits<double>::lowest());
  for (int corner = 0; corner < 16; ++corner) {
    const auto z = lattice_coordinates(grid.M, {corner & 1 ? pi : -pi, corner & 2 ? s_hi : s_lo,
                                                corner & 4 ? reach : -reach, corner & 8 ? reach : -reach});
    for (std::size_t axis = 0; axis < 4; ++axis) {
      lo[axis] = std::min(lo[axis], z[axis]);
      hi[axis] = std::max(hi[axis], z[axis]);
    }
  }
  const auto range = [&](std::size_t axis) {
    return Range{static_cast<int>(std::floor(lo[axis])), static_cast<int>(std::ceil(hi[axis]))};
  };
  return {range(1), range(2), range(3), {1, 2}};
}

Range spindown_range(const Grid& grid, const SpindownPrior& prior, int nn, int mm) {
  const double shift = nn * grid.M[9] + mm * grid.M[13];
  const int a = static_cast<int>(std::trunc((prior.s_min - nn * grid.M[9] - mm * grid.M[13]) / grid.M[5]));
  const int b = static_cast<int>(std::trunc(-(shift + prior.s_max) / grid.M[5]));
  return {std::min(a, b), std::max(a, b)};
}

std::optional<SkyPoint> sky_point(const Grid& grid, const Band& band, double obliquity, Hemisphere hemisphere, int nn,
                                  int mm) {
  const double al1 = nn * grid.M[10] + mm * grid.M[14], al2 = nn * grid.M[11] + mm * grid.M[15];
  const auto sky = from_ecliptic(al1 / band.oms(), al2 / band.oms(), hemisphere, obliquity);
  if (!sky) return std::nullopt;
  return SkyPoint{hemisphere, nn, mm, *sky, std::fmod(nn * grid.M[8] + mm * grid.M[12], grid.M[0]), {}};
}

double spindown_of(const Grid& grid, int ss, const SkyPoint& point) {
  return ss * grid.M[5] + point.nn * grid.M[9] + point.mm * grid.M[13] + point.second.s;
}

double spindown_offset(const Grid& grid, int ss, const SkyPoint& point) {
  const double offset = std::fmod(ss * grid.M[4] + point.second.omega, grid.M[0]);
  return offset < 0 ? offset + grid.M[0] : offset;
}

}  // namespace fachwerk::polgraw
