#pragma once

#include "cube.hpp"
#include "linear.hpp"

namespace fachwerk::hyde {

/// R = sum over pixels of y yᵀ (bands x bands), in double: with float the small eigenvalues, which carry weak targets,
/// drown in the rounding of bright spectra. One pass; the sum's order does not depend on the number of threads.
Matrix gram(const Source& source);

/// Covariance of the noise from neighbour differences, (y_p - y_q)/sqrt 2 over horizontal and vertical pairs of valid
/// pixels (minimum noise fraction; Green et al. 1988). One pass.
Matrix shift_covariance(const Source& source);

/// Sum over pixels of planes[i][p] y_p: [planes x bands]. `planes` is [count][pixels].
Matrix correlate(const Source& source, std::span<const float> planes);

}  // namespace fachwerk::hyde
