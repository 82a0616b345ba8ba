#pragma once

#include <memory>
#include <span>
#include <vector>

#include "area_system.hpp"
#include "factor.hpp"

/// Linear systems with the Jacobian of an AreaSystem: approximately by the factors of the areas, or exactly by the
/// Schur complement of the nodes between them. Vectors are the rows of the rank.
namespace fachwerk::dpf {

/// Block Jacobi: one factor an area. Areas with bitwise equal matrices share one, as copies of a grid do.
///
/// `alone`: the matrix of an area is that of its grid without the ties to others, which makes copies equal; every area
/// then needs a reference of its own. Otherwise it is the diagonal block of J; areas without a reference get a second
/// level then, the common shift of all their angles (one unknown an area, Petrov-Galerkin).
class BlockJacobi {
 public:
  /// `j` must stay as it is. Throws method_failed, naming the area, where its matrix is singular.
  BlockJacobi(const AreaSystem& system, std::span<const Block> j, std::span<const Complex> v,
              std::span<const double> vm, bool alone);
  ~BlockJacobi();
  void apply(std::span<const double> r, std::span<double> z) const;
  /// Factors that this rank keeps.
  std::size_t factors() const { return factors_.size(); }

 private:
  struct AreaFactor;
  struct Coarse;
  AreaFactor local(int area, std::span<const Complex> v, std::span<const double> vm, bool alone) const;
  void find_coarse();
  std::vector<double> shift(std::span<const double> r) const;

  const AreaSystem* system_;
  std::span<const Block> j_;
  std::vector<std::unique_ptr<AreaFactor>> factors_;
  std::vector<std::size_t> factor_of_;  ///< by own area
  std::unique_ptr<Coarse> coarse_;      ///< factors of the matrix of shifts; none without second level
};

/// J dx = r by eliminating the inner nodes of each area, then the Schur complement of a set of nodes that covers all
/// edges between areas. Every rank has the Schur complement, and eliminates its own areas.
class SchurComplement {
 public:
  explicit SchurComplement(const AreaSystem& system);
  ~SchurComplement();
  int boundary() const { return static_cast<int>(boundary_.size()); }
  /// Blocks in the factors of the boundary, and in those of the areas of all ranks.
  std::size_t boundary_blocks() const;
  std::size_t inner_blocks() const { return inner_blocks_; }
  /// False where a pivot is singular.
  bool factor(std::span<const Block> j, std::span<const Complex> v);
  void solve(std::span<const double> r, std::span<double> x) const;

 private:
  struct Inner;
  void cover();
  void set_up_area(int area);
  void set_up_boundary();

  const AreaSystem* system_;
  std::vector<int> boundary_;  ///< nodes, ascending
  std::vector<int> number_;    ///< of every node in `boundary_`, or -1
  std::vector<std::unique_ptr<Inner>> inner_;
  Pattern pattern_;           ///< of the Schur complement, in elimination order
  std::vector<int> place_;    ///< of every boundary node in that order
  std::vector<int> scatter_;  ///< place in pattern_ of every gathered block
  std::unique_ptr<BlockFactor> factor_;
  std::size_t inner_blocks_ = 0;
};

}  // namespace fachwerk::dpf
