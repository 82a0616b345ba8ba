#pragma once

#include <cstdint>
#include <vector>

#include "cube.hpp"
#include "linear.hpp"

namespace fachwerk::hyde {

/// Bands whose Cholesky pivot, relative to their own energy, is below 1e-10: exact linear combinations of those before
/// them. Zero bands too. [bands], 1 = dependent.
std::vector<std::uint8_t> dependent_bands(const Matrix& gram);

/// What is known of the noise of a cube: its standard deviation per band and, from the regression, an estimate of the
/// signal's correlation matrix.
struct Noise {
  std::vector<double> sigma;  ///< [bands]
  Matrix signal = {};         ///< R_x = X̂ X̂ᵀ / N; empty when the estimator gives none
};

/// Residuals of regressing each band on all others (Bioucas-Dias & Nascimento 2008), from the Gram matrix alone: with
/// P = R⁻¹ the residual of band i is (P Y)_i / P_ii and its energy 1/P_ii. sigma² = energy / (N - B + 1), unbiased for
/// white Gaussian noise. Throws bad_input when there are too few pixels (N <= B + 10).
Noise regression_noise(const Matrix& gram, std::size_t pixels);

/// Median of the absolute finest wavelet details over 0.6745, band by band.
Noise mad_noise(const Source& source, int wavelet_order = 5);

/// From neighbour differences (see shift_covariance).
Noise shift_noise(const Source& source);

/// For noise whose variance follows the signal: with s = sqrt(max(y, 0)) regressed to s = x + u, the noise of y is
/// w = 2 sqrt(x̂) u with x̂ = (s - u)². Two passes. `sigma` is the root of the mean of w².
Noise poisson_noise(const Source& source);

/// The signal subspace after HySime (Bioucas-Dias & Nascimento 2008): eigenvectors of R_x, ordered by the cost
/// -eᵀR_y e + 2 eᵀR_n e; the first `rank` have negative cost.
struct Subspace {
  std::size_t rank = 0;
  Matrix basis;              ///< [bands, bands] columns by cost
  std::vector<double> cost;  ///< ascending
};

/// `gram` = sum of y yᵀ over `pixels`. Where the noise has no signal estimate, R_x = R_y - diag(sigma²) stands in.
Subspace hysime(const Matrix& gram, std::size_t pixels, const Noise& noise);

/// The same in the whitened scale y_b / sigma_b, where the noise is the identity.
Subspace hysime_whitened(const Matrix& gram, std::size_t pixels, const Noise& noise);

/// Median of the values; reorders them. Throws bad_input if there are none.
double median_of(std::vector<float>& values);

}  // namespace fachwerk::hyde
