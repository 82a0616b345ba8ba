#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "chord_kernel.hpp"
#include "mismatch.hpp"

/// Scenarios whose unknowns differ from those of the factor that a batch shares: the factor M stays, and every scenario
/// borders it with the rows and columns of what it has besides, or lacks (spec 2.8). An unknown is named by its slot in
/// x: 2 i + 1 is the magnitude of node i; 2 r, the fixed angle of a reference r, stands for the power of its island's
/// distributed slack, whose equation is the balance of P at r.
namespace fachwerk::dpf {

/// The border of one slot, the same for all scenarios.
struct Border {
  int slot = 0;
  bool added = false;         ///< M lacks the unknown; else M has it and the scenario fixes it
  std::vector<float> u;       ///< M^-1 times its column, or M^-1 e_slot where it is taken out
  std::vector<int> row_slot;  ///< its equation over the unknowns of M
  std::vector<float> row_value;
};

/// Borders of the factor of J(base), each computed when first asked for. Threads may ask at once.
class Borders {
 public:
  /// All arguments must outlive it; `factor` is that of the Jacobian of `problem` at `base`.
  Borders(const Problem& problem, const State& base, const BlockFactor& factor);
  const Border& of(int slot);
  /// Derivative of the equation of slot `row` with respect to the unknown of slot `column`, both added.
  double corner(int row, int column) const;
  const Problem& problem() const { return problem_; }

 private:
  bool in_factor(int slot) const;
  std::unique_ptr<Border> make(int slot) const;

  Problem problem_;
  const BlockFactor& factor_;
  std::vector<Block> jacobian_;  ///< of all unknowns, fixed ones too
  std::vector<std::unique_ptr<Border>> borders_;
  std::mutex mutex_;
};

/// The borders of the lanes of one tile, for the kernel.
class TileBorders {
 public:
  /// `slots`: by lane, ascending.
  TileBorders(Borders& borders, std::span<const std::vector<int>> slots);
  const ChordBorders& view() const { return view_; }
  bool singular(std::size_t lane) const { return singular_[lane]; }

 private:
  std::vector<int> slot_, row_start_{0}, row_slot_, lane_start_{0}, lane_border_, mask_of_;
  std::vector<float> row_value_;
  std::vector<const float*> u_, inverse_of_;
  std::vector<std::uint8_t> added_, singular_;
  std::vector<std::vector<float>> inverse_;
  std::vector<double> mask_;
  ChordBorders view_{};
};

}  // namespace fachwerk::dpf
