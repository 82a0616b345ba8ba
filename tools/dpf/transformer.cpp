#include "transformer.hpp"

#include <cmath>
#include <numbers>

#include "cli/error.hpp"

namespace fachwerk::dpf {
namespace {

// T circuit of leakage z (parts a and b = z - a) and magnetising y as the pi circuit with the same ends.
void to_pi(BranchRow& branch, Complex a, Complex y) {
  const Complex b = branch.z - a;
  const Complex together = branch.z + a * b * y;  // (a b + a/y + b/y) y
  branch.end_from = b * y / together;
  branch.end_to = a * y / together;
  branch.z = together;
}

}  // namespace

BranchRow branch_of(const TransformerTest& t, const std::string& what) {
  const auto positive = [&](double value, const char* name) {
    if (!(value > 0) || !std::isfinite(value)) throw bad_input("{}: {} must be positive, found {}", what, name, value);
  };
  positive(t.sn, "rated power");
  positive(t.vn_from, "rated voltage");
  positive(t.vn_to, "rated voltage");
  positive(t.kv_from, "base voltage of its bus");
  positive(t.kv_to, "base voltage of its bus");
  positive(t.parallel, "number in parallel");
  if (std::abs(t.vkr) > std::abs(t.vk) * (1 + 1e-12))
    throw bad_input("{}: active part of the short-circuit voltage {} exceeds the whole {}", what, t.vkr, t.vk);
  const double side = t.vn_to / t.kv_to, scale = side * side * t.base_mva / t.sn / t.parallel;
  const double r = t.vkr * scale, z = t.vk * scale;
  BranchRow branch;
  branch.z = {r, std::copysign(std::sqrt(std::max(0.0, z * z - r * r)), z)};
  branch.tap = t.vn_from / t.vn_to * (t.kv_to / t.kv_from);
  const double s0 = t.i0 * t.sn;
  const Complex magnetising =
      Complex(t.pfe, -std::sqrt(std::max(0.0, s0 * s0 - t.pfe * t.pfe))) * (t.parallel / (t.base_mva * side * side));
  if (magnetising == 0.0) return branch;
  if (t.t_circuit)
    to_pi(branch, {branch.z.real() * t.r_from, branch.z.imag() * t.x_from}, magnetising);
  else
    branch.end_from = branch.end_to = magnetising / 2.0;
  return branch;
}

std::array<double, 3> star_of(double z12, double z23, double z31) {
  return {(z12 + z31 - z23) / 2, (z12 + z23 - z31) / 2, (z23 + z31 - z12) / 2};
}

TapEffect complex_tap(double steps, double step, double degrees) {
  const Complex turned = 1.0 + std::polar(steps * step, degrees * std::numbers::pi / 180);
  return {std::abs(turned), std::arg(turned) * 180 / std::numbers::pi};
}

}  // namespace fachwerk::dpf
