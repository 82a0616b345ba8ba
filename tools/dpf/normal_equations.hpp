#pragma once

#include <optional>
#include <span>
#include <vector>

#include "factor.hpp"
#include "mismatch.hpp"

/// Least squares over the state: J^T J of 2 x 2 blocks on its own pattern (nodes at distance two), in an elimination
/// order of its own.
namespace fachwerk::dpf {

class NormalEquations {
 public:
  /// `pattern`, of the Jacobian, must outlive it.
  explicit NormalEquations(const Pattern& pattern);

  void clear();
  /// Adds weight * J^T J.
  void add_squares(std::span<const Block> jacobian, double weight);
  /// Adds a block between two nodes that share a neighbour or are one.
  void add(int i, int j, const Block& block);
  /// Adds sum F_i times the second derivatives of F_i, so that the Hessian of |F|^2 / 2 is complete.
  void add_curvature(const Problem& problem, const State& state, std::span<const double> f);
  /// Keeps the present diagonal as the measure of the damping.
  void measure_diagonal();
  double measure(std::size_t unknown) const { return measure_[unknown]; }

  /// Factors the matrix plus mu times the measure. False if it is singular.
  bool factor(double mu);
  void solve(std::span<const double> rhs, std::span<double> x) const;
  /// In place, `columns` right-hand sides side by side (2n x columns, row-major).
  void solve_columns(std::span<double> x, std::size_t columns) const;

 private:
  const Pattern& given_;
  Pattern permuted_;
  std::vector<int> place_;
  std::optional<BlockFactor> factor_;
  std::vector<Block> values_;
  std::vector<double> measure_;  ///< by unknown
};

}  // namespace fachwerk::dpf
