#pragma once

#include <span>
#include <vector>

#include "least_squares.hpp"

namespace fachwerk::dpf {

/// The normal matrix G of a minimum, scaled to unit diagonal, without frozen unknowns: what it says about variances. By
/// Cholesky's factor where it is well conditioned, else by its eigenvectors, where those whose eigenvalue is below
/// 1e-10 of the largest are left out (G^+ in place of its inverse).
class NormalSolver {
 public:
  NormalSolver(const Normal& normal, const std::vector<char>& frozen);

  /// Diagonal of G^+.
  std::vector<double> variances() const;
  /// Diagonal of H G^+ H^T, H of `count` rows (row-major). `rows` is overwritten.
  std::vector<double> leverages(std::vector<double>& rows, std::size_t count) const;
  bool determines_all() const;
  /// Unit vectors, in scaled unknowns, that the matrix does not determine.
  std::vector<std::vector<double>> null_directions() const;
  /// Inverse root of the diagonal of G: one scaled unknown in unknowns. 0 where nothing depends on it, or it is frozen.
  double unit(std::size_t i) const { return unit_[i]; }

 private:
  bool cholesky();
  void diagonalise();
  bool determined(std::size_t e) const { return values_[e] > 0 && values_[e] >= negligible * values_.back(); }

  static constexpr double negligible = 1e-10;
  std::size_t size_;
  std::vector<double> unit_, factor_;     ///< factor_: upper triangle U, U^T U = scaled G; empty: eigenvectors
  std::vector<double> values_, vectors_;  ///< ascending; columns
};

}  // namespace fachwerk::dpf
