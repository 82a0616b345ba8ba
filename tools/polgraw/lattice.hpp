#pragma once

#include "search.hpp"

/// Grids of templates: the reduced Fisher matrix and four-dimensional lattices of small thickness whose first vector
/// fits the Fourier transform (Astone et al. 2010, sec. IV; Pisarski & Jaranowski 2015).
namespace fachwerk::polgraw {

/// Reduced Fisher matrix of (omega, s, al1, al2), un-normalised, of the linear phase model; time origin at the start.
/// The detectors' matrices are weighted with 1/sigma^2 (equal weights where a variance is not set).
Matrix4 reduced_fisher(const Observation& observation);

/// Distance from the lattice (rows) of its deepest hole, exact up to rounding: the farthest vertex of the Voronoi cell.
double covering_radius(const Matrix4& basis);
double thickness(const Matrix4& basis);  ///< (pi^2 / 2) / |det|, for covering radius 1
Matrix4 cholesky(const Matrix4& m);      ///< lower L with m = L L^T; throws bad input unless m is positive definite
Matrix4 multiply(const Matrix4& a, const Matrix4& b);
Matrix4 transpose(const Matrix4& a);
Matrix4 inverse_lower(const Matrix4& L);
double determinant(const Matrix4& a);
/// Eigenvalues, ascending, and eigenvectors (columns, first component that is not zero positive) of a symmetric matrix,
/// by Jacobi's rotations: the same bits everywhere.
struct Eigen4 {
  std::array<double, 4> values{};
  Matrix4 vectors{};
};
Eigen4 symmetric_eigen(Matrix4 a);

/// Rows of a lattice of covering radius at most 1, lower triangular, the first row (length, 0, 0, 0).
enum class Lattice {
  s1,   ///< A4* turned and shrunk
  s2,   ///< A4* stretched along a shortest vector
  s3,   ///< A4* stretched along and across the best vector
  best  ///< the thinnest of these
};
struct LatticeBasis {
  Matrix4 Q{};
  Lattice algorithm = Lattice::best;
};
/// Throws method_failed where the construction has no solution (s2 for length above 2).
LatticeBasis constrained_lattice(double length, Lattice algorithm);

struct GridSettings {
  double c0 = 0.75;  ///< square of the minimal match
  int fftpad = 1;
  Lattice algorithm = Lattice::best;
  std::size_t nfft = 0;  ///< 0: the band's
};
struct MadeGrid {
  Grid grid;
  double thickness = 0;
  double covering_radius = 0;  ///< in units of the allowed one
  Lattice algorithm = Lattice::best;
};
/// Throws method_failed unless the grid's covering radius was found to be at most 1.
MadeGrid make_grid(const Observation& observation, const GridSettings& settings);
/// The same from a Fisher matrix.
MadeGrid make_grid(const Matrix4& fisher, std::size_t N, std::size_t nfft, const GridSettings& settings);

}  // namespace fachwerk::polgraw
