#pragma once

#include "grid_builder.hpp"

/// Transformers by their short-circuit and no-load tests, as equipment tables state them.
namespace fachwerk::dpf {

/// A two-winding transformer in the units of its tests. Windings are named after the ends of the branch they become:
/// the ratio stands at the from end, the impedance is seen from the to end.
struct TransformerTest {
  double base_mva;         ///< of the grid
  double sn;               ///< MVA, rated
  double vn_from, vn_to;   ///< rated voltages with the tap's effect, kV
  double kv_from, kv_to;   ///< base voltages of the buses, kV
  double vk, vkr;          ///< short-circuit voltage and its active part, pu of sn; vk < 0: capacitive
  double pfe, i0;          ///< no-load loss, MW; no-load current, pu of sn
  double parallel = 1;     ///< how many of them
  bool t_circuit = false;  ///< magnetising branch between two halves of the leakage, instead of half at each end
  double r_from = 0.5, x_from = 0.5;  ///< share of the leakage at the from winding (T circuit)
};

/// Impedance, tap and end admittances of it; buses, shift and status are the caller's. Throws bad input, beginning with
/// `what`, for ratings that are not positive and vkr > |vk|.
BranchRow branch_of(const TransformerTest& test, const std::string& what);

/// Star of three pairwise values (12, 23, 31).
std::array<double, 3> star_of(double z12, double z23, double z31);

/// Turns a tap of `steps` times a step (pu of the winding's voltage, at an angle in degrees) into the factor of the
/// winding's voltage and the angle by which it turns, degrees.
struct TapEffect {
  double factor = 1, degrees = 0;
};
TapEffect complex_tap(double steps, double step, double degrees);

}  // namespace fachwerk::dpf
