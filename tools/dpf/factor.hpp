#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "network.hpp"

/// Sparse LU of matrices of 2 x 2 blocks on a symmetric pattern, in a fixed elimination order: the two unknowns of a
/// node, angle and magnitude, are eliminated together, so that the inverse of a diagonal block pivots within the node.
namespace fachwerk::dpf {

/// A 2 x 2 block, row-major.
using Block = std::array<double, 4>;

/// Approximate minimum degree order (AMD): entry k is the node that is eliminated k-th.
std::vector<int> minimum_degree(const Pattern& pattern);

/// Pattern of L + U under elimination in natural order. Computed once for a topology.
struct FactorPattern {
  Pattern filled;  ///< L below, U above the diagonal
};
FactorPattern symbolic_factor(const Pattern& pattern);

/// Numeric factors. `factor` may be called any number of times for matrices on the same pattern.
class BlockFactor {
 public:
  /// Only the first `pivots` nodes are eliminated (negative: all): the rows and columns of the others then hold their
  /// Schur complement, and `solve` is not for them.
  explicit BlockFactor(const Pattern& pattern, int pivots = -1);

  /// Row by row elimination. Returns false if a diagonal block is singular to working precision.
  bool factor(std::span<const Block> values);
  void solve(std::span<double> x) const;             ///< x of length 2 n: right-hand side in, solution out
  void eliminate(std::span<double> x) const;         ///< first half of it: L^-1, also of the rows without pivot
  void substitute(std::span<double> x) const;        ///< second half: U^-1, given the unknowns without pivot
  void solve_transposed(std::span<double> x) const;  ///< with the transposed matrix
  /// Number of negative determinants of pivot blocks is odd: the sign of det J is negative.
  bool negative_determinant() const { return negative_; }

  const FactorPattern& pattern() const { return symbolic_; }
  std::span<const Block> values() const { return values_; }  ///< L (unit diagonal left out) and U, by filled position
  std::span<const Block> inverse_diagonal() const { return inverse_; }  ///< of U's diagonal blocks

 private:
  const Pattern* pattern_;
  int pivots_;
  FactorPattern symbolic_;
  std::vector<Block> values_, inverse_, work_;
  bool negative_ = false;
};

/// LU with partial pivoting (SuiteSparse KLU) for what a fixed order cannot do.
class PivotingFactor {
 public:
  explicit PivotingFactor(const Pattern& pattern);
  ~PivotingFactor();
  PivotingFactor(const PivotingFactor&) = delete;
  PivotingFactor& operator=(const PivotingFactor&) = delete;

  bool factor(std::span<const Block> values);
  bool solve(std::span<double> x);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fachwerk::dpf
