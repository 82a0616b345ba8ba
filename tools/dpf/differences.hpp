#pragma once

#include <functional>

namespace fachwerk::dpf {

/// A derivative, and by how much its last estimates differ or rounding may be in them.
struct Extrapolated {
  double value, error;
};

/// Derivative of `value` at 0 by central differences of steps that are halved from `step` on, extrapolated to no step
/// (Ridders, Advances in Engineering Software 4 (1982) 75-76). Ends where two estimates agree within `enough`, else
/// gives the one that changed least. Steps where `value` is not finite are passed over; of none, NaN and infinity.
Extrapolated extrapolated_derivative(const std::function<double(double)>& value, double step, double enough);

}  // namespace fachwerk::dpf
