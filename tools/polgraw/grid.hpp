#pragma once

#include <optional>

#include "sky.hpp"

/// The four-dimensional grid of templates: lattice points, their parameters, and the ranges that cover a search.
namespace fachwerk::polgraw {

using Matrix4 = std::array<double, 16>;  ///< row-major
using Matrix5 = std::array<double, 25>;

/// What the second spindown s2 adds to a grid: its own lattice vector, and what the sky's vectors have of it.
struct SecondAxis {
  std::array<double, 3> row{};  ///< its omega, s, s2, normalised
  double nn = 0, mm = 0;        ///< s2 of the sky's lattice vectors, normalised
  Matrix5 fisher{};             ///< reduced Fisher matrix of (omega, s, s2, al1, al2), un-normalised
};

struct Grid {
  int fftpad = 1;
  Matrix4 M{};             ///< normalised: rows are lattice vectors in (omega, s, al1, al2); lower triangular
  Matrix4 fisher{};        ///< reduced Fisher matrix Gamma in un-normalised coordinates
  Matrix4 unnormalised{};  ///< M with columns times (N, N^2, N, N)
  std::optional<SecondAxis> second = {};
};
/// A grid with second spindown from matrices in omega, s, s2, al1, al2.
Grid grid_of_five(const Matrix5& M, const Matrix5& unnormalised, const Matrix5& fisher, int fftpad);
/// M from its un-normalised form.
Matrix4 normalise_grid(const Matrix4& unnormalised, std::size_t N);

/// Numbers lo..hi, inclusive.
struct Range {
  int lo = 0, hi = -1;
  double count() const { return static_cast<double>(hi) - lo + 1; }
  bool operator==(const Range&) const = default;
};

/// Spindown prior in the method's units; positive numbers on both sides: s from -s_max to +s_min.
struct SpindownPrior {
  double s_max = 0;  ///< largest spin-down, rad/sample^2
  double s_min = 0;  ///< largest spin-up
};
/// The three priors of the community code and a free one.
SpindownPrior age_prior(const Band& band, double age_seconds);
SpindownPrior o1_prior(const Band& band);      ///< -1e-8..+1e-9 Hz/s as f-dot/2 counts there
SpindownPrior narrow_prior(const Band& band);  ///< age below 200 Hz, -2e-10..2e-11 above
SpindownPrior frequency_prior(const Band& band, double fdot_min, double fdot_max);

struct SearchRange {
  Range spindown, nn, mm, hemisphere{1, 2};
};
/// Ranges that cover omega in +-pi, s in [s_lo, s_hi], |al| <= oms + pi: the 16 corners in lattice integers.
SearchRange covering_range(const Grid& grid, const Band& band, double s_lo, double s_hi);
/// Spindown numbers of one sky point: truncated, in increasing order.
Range spindown_range(const Grid& grid, const SpindownPrior& prior, int nn, int mm);

/// What a number of the second spindown adds to a grid point.
struct SecondSpindown {
  int number = 0;
  double omega = 0, s = 0, s2 = 0;
};

SecondSpindown second_spindown(const Grid& grid, int nn, int mm, int tt);

/// One sky point of the grid.
struct SkyPoint {
  Hemisphere hemisphere = Hemisphere::north;
  int nn = 0, mm = 0;
  SkyPosition sky;
  double het0 = 0;  ///< fmod(nn M8 + mm M12, M0): frequency of bin 0 at spindown number 0
  SecondSpindown second = {};
};
/// At number tt of the second spindown. No value where the point lies outside the sky.
std::optional<SkyPoint> sky_point(const Grid& grid, const Band& band, double obliquity, Hemisphere hemisphere, int nn,
                                  int mm, int tt = 0);
/// The lattice point of a directed search, where the sky's lattice vectors have no meaning.
SkyPoint directed_point(const Grid& grid, const SkyPosition& sky, double obliquity, int tt);
double spindown_of(const Grid& grid, int ss, const SkyPoint& point);      ///< s of a grid point
double spindown_offset(const Grid& grid, int ss, const SkyPoint& point);  ///< het1 = fmod(ss M4, M0) in [0, M0)

/// Numbers of the second spindown from the one below s2_lo to the one above s2_hi; 0 alone where the grid has no such
/// axis. Throws usage_error where they are more than 1e8.
Range second_range(const Grid& grid, int nn, int mm, double s2_lo, double s2_hi);
/// Spindown numbers from the one below the prior to the one above it, at a point of the other axes.
Range spindown_cover(const Grid& grid, const SpindownPrior& prior, const SkyPoint& point);

/// Real-valued lattice coordinates (k, ss, nn, mm) of a point: solves M^T z = (omega, s, al1, al2).
std::array<double, 4> lattice_coordinates(const Matrix4& M, const std::array<double, 4>& point);

}  // namespace fachwerk::polgraw
