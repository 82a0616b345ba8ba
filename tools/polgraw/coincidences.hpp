#pragma once

#include <optional>

#include "search.hpp"

/// Coincidences of triggers between frames, and their false-alarm probability (Aasi et al. 2014, secs. 5 and 6, app.
/// A).
namespace fachwerk::polgraw {

struct CoincidenceSettings {
  std::array<double, 4> scale{4, 4, 4, 4};  ///< cell size in units of the grid, along each axis
  double snr_cut = 6;
  double narrowdown = 0.5;
  int least = 3;            ///< frames that make a coincidence
  bool grid_basis = false;  ///< cells along the grid's vectors instead of the Fisher matrix's axes
  int hemisphere = 0;
  std::size_t N = 0;
  double oms = 0, obliquity = mean_obliquity;
};

/// A trigger brought to the reference frame.
struct Candidates {
  int frame = 0;
  double snr = 0;
  Trigger trigger;            ///< omega at the reference time
  std::array<double, 4> z{};  ///< in units of cells, before shift and rounding
  std::size_t row = 0;        ///< in the input
};

/// Axes of the cells: columns by which (omega N, s N^2, oms N be1, oms N be2) is multiplied. For the Fisher basis
/// eigenvalues ascend and the first non-zero component of each eigenvector is positive.
Matrix4 cell_axes(const Grid& reference, std::size_t N, bool grid_basis);

/// Brings one frame's triggers to the reference time, `samples` after the frame's start, and drops those outside the
/// band, below the cut, or in another hemisphere.
std::vector<Candidates> at_reference(std::span<const Trigger> triggers, std::span<const std::size_t> rows, int frame,
                                     double samples, const Matrix4& axes, const CoincidenceSettings& settings);

using Cell = std::array<std::int32_t, 4>;
struct Member {
  int frame = 0;
  std::size_t row = 0;
};
struct Coincidence {
  Cell cell{};
  double omega = 0, s = 0, delta = 0, alpha = 0;  ///< means
  double rho_total = 0;                           ///< sqrt(sum snr^2)
  std::vector<Member> members;
};
struct ShiftResult {
  std::array<int, 4> shift{};
  std::vector<Coincidence> coincidences;            ///< largest multiplicity first, then loudest
  std::vector<std::array<std::int64_t, 3>> frames;  ///< frame, candidates in band, unique cells
};
/// One shift of the cells by half a cell along the axes where `shift` is 1.
ShiftResult find_coincidences(std::span<const Candidates> candidates, std::array<int, 4> shift, int least);

/// Probability that exactly n of the cells' frames are hit, n = 0..L, for hit probabilities eps.
std::vector<double> poisson_binomial(std::span<const double> eps);
struct FalseAlarm {
  double cells = 0;        ///< independent cells N_cell
  double probability = 0;  ///< of at least one such coincidence by chance, over the 16 shifts
};
/// Number of cells: parameter space over the volume of a cell of the grid's metric.
double cell_count(const Matrix4& fisher, const Band& band, double veto_fraction, double fdot_min, double fdot_max,
                  const std::array<double, 4>& scale);
struct FalseAlarmSettings {
  bool truncated = false;   ///< sums n frames alone, as the original
  bool exact_hits = false;  ///< 1 - (1 - 1/N)^k for the chance that a cell is hit, instead of k / N
  bool shifts = true;       ///< the coincidence was looked for with all 16 shifts of the cells
};
/// `unique` triggers of each frame, coincidences of at least `n` frames.
FalseAlarm false_alarm(double cells, std::span<const std::int64_t> unique, int n,
                       const FalseAlarmSettings& settings = {});

}  // namespace fachwerk::polgraw
