#pragma once

#include <type_traits>

#include "fisher.hpp"

/// Lattices of small thickness in two to five dimensions whose first vector fits the Fourier transform, and the grids
/// of templates made of them (Astone et al. 2010, sec. IV; Pisarski & Jaranowski 2015).
///
/// The dimensions are those of a grid: 2 directed search, 3 with a second spindown, 4 the whole sky, 5 both.
namespace fachwerk::polgraw {

/// Distance from the lattice (rows) of its deepest hole, exact up to rounding: the farthest vertex of the Voronoi cell.
template <std::size_t L>
double covering_radius(const std::array<double, L>& basis);
/// Volume of the unit ball over |det|, for covering radius 1.
template <std::size_t L>
double thickness(const std::array<double, L>& basis) {
  constexpr std::size_t n = order_of<L>();
  return std::pow(pi, n / 2.0) / std::tgamma(n / 2.0 + 1) / std::abs(determinant(basis));
}

/// Rows of a lattice of covering radius at most 1, lower triangular, the first row (length, 0, 0, 0).
enum class Lattice {
  s1,   ///< An* turned and shrunk
  s2,   ///< An* stretched along a shortest vector
  s3,   ///< An* stretched along and across the best vector
  best  ///< the thinnest of these
};
template <std::size_t n>
struct LatticeBasis {
  Square<n> Q{};
  Lattice algorithm = Lattice::best;
};
/// Throws method_failed where the construction has no solution (s2 for length above 2).
template <std::size_t n = 4>
LatticeBasis<n> constrained_lattice(double length, Lattice algorithm);

/// A grid of other parameters than those of the all-sky search.
template <std::size_t n>
struct GridOf {
  int fftpad = 1;
  Square<n> M{};             ///< normalised: rows are lattice vectors in the parameters; lower triangular
  Square<n> fisher{};        ///< reduced Fisher matrix Gamma in un-normalised coordinates
  Square<n> unnormalised{};  ///< M with columns times N, N^2 (and N^3) for frequency and spindowns, N for the sky
};

struct GridSettings {
  double c0 = 0.75;  ///< square of the minimal match
  int fftpad = 1;
  Lattice algorithm = Lattice::best;
  std::size_t nfft = 0;  ///< 0: the band's
};
template <std::size_t n>
struct MadeGrid {
  std::conditional_t<n == 4, Grid, GridOf<n>> grid;
  double thickness = 0;
  double covering_radius = 0;  ///< in units of the allowed one
  Lattice algorithm = Lattice::best;
};
/// From a Fisher matrix of un-normalised parameters. Throws method_failed unless the covering radius of the grid
/// itself, in the metric of the Fisher matrix, was found to be at most the allowed one.
template <std::size_t L>
MadeGrid<order_of<L>()> make_grid(const std::array<double, L>& fisher, std::size_t N, std::size_t nfft,
                                  const GridSettings& settings);
/// All-sky, one spindown, of the linear phase model.
MadeGrid<4> make_grid(const Observation& observation, const GridSettings& settings);
/// The same with the second spindown.
Grid make_grid_of_two_spindowns(const Observation& observation, const GridSettings& settings);

}  // namespace fachwerk::polgraw
