#include "grid.hpp"

#include <algorithm>
#include <limits>

#include "cli/error.hpp"

namespace fachwerk::polgraw {

namespace {

constexpr double most_numbers = 1e8;  // of an axis, of the sky's points: more are no search but a wrong grid or prior

int number_of(double x) {
  if (!(std::abs(x) <= most_numbers))
    throw bad_input("the search has grid numbers up to {:.3g}: expected 1e8 at most", x);
  return static_cast<int>(x);
}

/// Integers from the one below lo to the one above hi: what lies between is within a step of them.
Range covering(double lo, double hi) {
  if (lo > hi) std::swap(lo, hi);
  if (!(hi - lo < 1e8 && std::abs(lo) < 1e9 && std::abs(hi) < 1e9))
    throw usage_error("more than 1e8 numbers of a spindown: expected a smaller range");
  return {static_cast<int>(std::floor(lo)), static_cast<int>(std::ceil(hi))};
}

Matrix4 without_s2(const Matrix5& m) {
  constexpr std::array<std::size_t, 4> at{0, 1, 3, 4};
  Matrix4 four{};
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t k = 0; k < 4; ++k)
      four[4 * i + k] = m[5 * at[i] + at[k]];
  return four;
}

}  // namespace

Grid grid_of_five(const Matrix5& M, const Matrix5& unnormalised, const Matrix5& fisher, int fftpad) {
  return {fftpad, without_s2(M), without_s2(fisher), without_s2(unnormalised),
          SecondAxis{{M[10], M[11], M[12]}, M[17], M[22], fisher}};
}

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
    return Range{number_of(std::floor(lo[axis])), number_of(std::ceil(hi[axis]))};
  };
  const SearchRange found{range(1), range(2), range(3), {1, 2}};
  if (found.nn.count() * found.mm.count() > most_numbers)
    throw bad_input("the grid has {:.3g} points next to the sky: expected 1e8 at most",
                    found.nn.count() * found.mm.count());
  return found;
}

Range spindown_range(const Grid& grid, const SpindownPrior& prior, int nn, int mm) {
  const double shift = nn * grid.M[9] + mm * grid.M[13];
  const int a = number_of(std::trunc((prior.s_min - nn * grid.M[9] - mm * grid.M[13]) / grid.M[5]));
  const int b = number_of(std::trunc(-(shift + prior.s_max) / grid.M[5]));
  return {std::min(a, b), std::max(a, b)};
}

SecondSpindown second_spindown(const Grid& grid, int nn, int mm, int tt) {
  if (!grid.second) return {};
  const auto& axis = *grid.second;
  return {tt, tt * axis.row[0], tt * axis.row[1], tt * axis.row[2] + nn * axis.nn + mm * axis.mm};
}

std::optional<SkyPoint> sky_point(const Grid& grid, const Band& band, double obliquity, Hemisphere hemisphere, int nn,
                                  int mm, int tt) {
  const double al1 = nn * grid.M[10] + mm * grid.M[14], al2 = nn * grid.M[11] + mm * grid.M[15];
  const auto sky = from_ecliptic(al1 / band.oms(), al2 / band.oms(), hemisphere, obliquity);
  if (!sky) return std::nullopt;
  return SkyPoint{hemisphere,
                  nn,
                  mm,
                  *sky,
                  std::fmod(nn * grid.M[8] + mm * grid.M[12], grid.M[0]),
                  second_spindown(grid, nn, mm, tt)};
}

SkyPoint directed_point(const Grid& grid, const SkyPosition& sky, double obliquity, int tt) {
  return {to_ecliptic(sky, obliquity).hemisphere, 0, 0, sky, 0, second_spindown(grid, 0, 0, tt)};
}

Range second_range(const Grid& grid, int nn, int mm, double s2_lo, double s2_hi) {
  if (!grid.second) return {0, 0};
  const double sky = second_spindown(grid, nn, mm, 0).s2, step = grid.second->row[2];
  return covering((s2_lo - sky) / step, (s2_hi - sky) / step);
}

Range spindown_cover(const Grid& grid, const SpindownPrior& prior, const SkyPoint& point) {
  const double here = spindown_of(grid, 0, point);
  return covering((-prior.s_max - here) / grid.M[5], (prior.s_min - here) / grid.M[5]);
}

double spindown_of(const Grid& grid, int ss, const SkyPoint& point) {
  return ss * grid.M[5] + point.nn * grid.M[9] + point.mm * grid.M[13] + point.second.s;
}

double spindown_offset(const Grid& grid, int ss, const SkyPoint& point) {
  const double offset = std::fmod(ss * grid.M[4] + point.second.omega, grid.M[0]);
  return offset < 0 ? offset + grid.M[0] : offset;
}

}  // namespace fachwerk::polgraw
