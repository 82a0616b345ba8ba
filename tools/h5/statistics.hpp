#pragma once

#include <cstddef>
#include <limits>

#include "io/variable.hpp"

/// Statistics of data that passes by once, in pieces.
namespace fachwerk::statistics {

/// Moments of the finite values; what is not finite is counted. Standard deviation is that of the values as a whole
/// population.
struct Moments {
  std::size_t count = 0, nan = 0, infinite = 0;
  double minimum = std::numeric_limits<double>::infinity(), maximum = -std::numeric_limits<double>::infinity();
  double mean = 0;
  double squares = 0;  ///< sum of squared deviations from the mean

  double deviation() const;  ///< NaN without values
};

/// Moments of two sets of values together (Chan, Golub and LeVeque 1979).
Moments combined(const Moments& a, const Moments& b);

/// Moments of numbers; those of complex numbers are of their absolute values, text has none. A value equal to `missing`
/// counts as NaN. Pieces of fixed size are worked on in parallel (each in two passes: mean, then deviations from it)
/// and combined in order, so that the result does not depend on the number of threads.
Moments moments(const formats::Values& values, double missing = std::numeric_limits<double>::quiet_NaN());

}  // namespace fachwerk::statistics
