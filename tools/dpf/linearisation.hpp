#pragma once

#include <span>
#include <vector>

#include "newton.hpp"

/// The power-flow equations linearised at a solution: what changes of the equations do to the state, and the adjoint.
namespace fachwerk::dpf {

/// Solves A X = B in place for many right-hand sides at once: `x` is 2n x columns, row-major. Tiles of columns side by
/// side.
void solve_columns(const BlockFactor& factor, std::span<double> x, std::size_t columns);

/// dF/dx, factored. With distributed slack the system is bordered: J x - w lambda = b and, for the P equation of each
/// island's reference, c x - w_r lambda = b_r.
///
/// Arrays by equation and by unknown have length 2n, laid out as F and x are: that of the angle of a reference is its P
/// equation (with distributed slack), and the angle itself, which never changes.
class Linearisation {
 public:
  /// Factors with `newton`, which must outlive it and not factor anything else. Throws method_failed if J is singular.
  Linearisation(Newton& newton, const Problem& problem, const State& state);

  /// In: right-hand side by equation. Out: change of the state. `columns` of them side by side, row-major.
  void solve(std::span<double> x, std::size_t columns = 1) const;
  /// In: derivative of a scalar by the state (that by fixed unknowns is not looked at). Out: multipliers mu by
  /// equation, so that d(scalar) = mu^T d(right-hand side). Refined where the residual exceeds 1e-10 of the right-hand
  /// side.
  void solve_transposed(std::span<double> mu) const;

 private:
  struct Border {
    int reference;
    double weight;                                    ///< w_r
    std::vector<std::pair<std::size_t, double>> row;  ///< c: P of the reference by the unknowns
    double pivot;                                     ///< w_r - c z
  };
  void border(const State& state);
  double residual(std::span<const double> mu, std::span<const double> rhs, std::span<double> left) const;
  void adjoint(std::span<double> mu) const;

  Problem problem_;
  const BlockFactor* factor_;
  std::vector<Block> jacobian_;
  std::vector<Border> borders_;             ///< by island; empty without distributed slack
  std::vector<double> weight_, by_weight_;  ///< w by equation (references left out), z = J^-1 w
  std::vector<double> by_row_;              ///< u = J^-T c
};

}  // namespace fachwerk::dpf
