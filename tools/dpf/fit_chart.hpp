#pragma once

#include <vector>

#include "fitter.hpp"

/// Coordinates in which a fit steps.
namespace fachwerk::dpf {

/// Series impedances move in the admittance plane: at given voltages the mismatch is linear in admittances, while in
/// impedances the valleys of poorly determined combinations are narrow and bent. Resistance and reactance of one branch
/// become g and b, one of them alone the arc on which the admittance moves. Everything else stays the unknown of the
/// fitter. Signs do not change: what would vanish stays at 1e-9 of its impedance.
class FitChart {
 public:
  /// `boxes` are of the unknowns. Pairs with a box move in logarithms.
  FitChart(const Fitter& fitter, const std::vector<Box>& boxes);

  std::vector<double> coordinates(const std::vector<double>& unknowns) const;
  std::vector<double> unknowns(const std::vector<double>& coordinates) const;
  const std::vector<Box>& boxes() const { return boxes_; }
  /// By coordinate, what counts as one step: of an admittance its magnitude, of others what is usual among their kind,
  /// or one in logarithms.
  std::vector<double> sizes(const std::vector<double>& coordinates) const;
  /// Longest step, in sizes: admittances and factors do not leave where they are at once, others go anywhere.
  std::vector<double> longest() const;

  /// A normal matrix over the unknowns, over the coordinates, and back.
  void to_coordinates(Normal& normal, const std::vector<double>& coordinates) const;
  void to_unknowns(Normal& normal, const std::vector<double>& coordinates) const;

 private:
  static constexpr std::size_t none = static_cast<std::size_t>(-1);
  /// Unknowns of r and x of one branch. One of them may be none.
  struct Impedance {
    std::size_t unknown[2] = {none, none};
    Complex start;
    bool logarithmic[2] = {};
    bool pair() const { return unknown[0] != none && unknown[1] != none; }
    std::size_t moving() const { return unknown[0] != none ? 0 : 1; }
  };
  /// d(unknowns)/d(coordinates) of r and x, row-major; of one alone the first entry.
  struct Slope {
    double at[4];
  };
  Complex impedance(const Impedance& branch, const std::vector<double>& coordinates) const;
  Slope slope(const Impedance& branch, const std::vector<double>& coordinates) const;
  void restrict_signs(const Impedance& branch);
  template <class Inverse>
  void transform(Normal& normal, const std::vector<double>& coordinates, const Inverse& inverse) const;

  std::vector<Impedance> impedances_;
  std::vector<Box> given_, boxes_;
  std::vector<double> usual_;  ///< by unknown
  std::vector<char> factor_;   ///< by unknown: a logarithm
};

}  // namespace fachwerk::dpf
