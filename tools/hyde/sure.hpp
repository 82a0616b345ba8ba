#pragma once

#include <cstddef>
#include <span>

namespace fachwerk::hyde {

/// A threshold and its gain s(t) = sum_i [2·1(|x_i| > t) - (x_i² - t²)_+] over setting everything to zero: Stein's
/// unbiased risk of soft thresholding x = theta + N(0, 1), less (‖x‖² - n).
struct Threshold {
  double value = 0;
  double gain = 0;
};

/// Least gain over `count` thresholds from 0 to `largest`; the smallest one of equal ones. One pass. The bounded grid
/// is what makes the choice of a rank meaningful: see hyres.hpp.
Threshold sure_grid(std::span<const float> x, double largest, std::size_t count);

/// Least gain over all thresholds from 0 to sqrt(2 ln n): candidates are 0 and the values themselves.
Threshold sure_exact(std::span<const float> x);

/// soft(x, t) = sign(x) max(|x| - t, 0), in place.
void soft_threshold(std::span<float> x, float t);

}  // namespace fachwerk::hyde
