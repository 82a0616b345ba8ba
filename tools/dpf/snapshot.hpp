#pragma once

#include <optional>
#include <vector>

#include "observe.hpp"
#include "scenarios.hpp"

/// One snapshot of measurements, and its share in the objective of a fit (spec 2.9).
namespace fachwerk::dpf {

/// A measured value with its standard deviation, in the units of the observation.
struct Reading {
  Observation what;
  double value, sigma;
};
using Readings = std::vector<Reading>;

/// output: every snapshot obeys the power-flow equations. residual: the equations are what is minimised, at the
/// measured voltages. joint: voltages are unknowns too, measurements and equations both weighted.
enum class Formulation { output, residual, joint };

/// Losses of a residual of r standard deviations: r^2; Huber's (linear beyond 1.345); Cauchy's (2.385).
enum class Robust { none, huber, cauchy };
double robust_loss(Robust kind, double residual);
double robust_weight(Robust kind, double residual);

/// Parameters that move together: one parameter, or several by a common factor.
struct Unknown {
  std::vector<std::size_t> parameters;
  bool logarithmic = false;
};

/// How the snapshots are judged.
struct Judgement {
  Formulation formulation = Formulation::output;
  Robust robust = Robust::none;
  double mismatch_sigma = 1e-4;  ///< of the equations in the residual and joint formulations, pu
  /// The voltages are what is learnt. joint: set-points are not held, every |V| is free. residual: the voltages are
  /// unknowns instead of being taken from the measurements, set-points held (the paper's own use).
  bool free_voltages = false;
};

/// The grid as the fit has it now, for all snapshots. A parameter alone replaces the snapshot's load or generation;
/// those of a group scale it by value over start.
struct FitGrid {
  const Grid& grid;
  const Network& network;
  const std::vector<Parameter>& parameters;
  const std::vector<double>& start;
  const std::vector<Unknown>& unknowns;
  const std::vector<std::size_t>& unknown_of;              ///< by parameter
  const std::vector<std::vector<std::size_t>>& on_branch;  ///< parameters of every branch row
  const std::vector<std::vector<std::size_t>>& at_node;    ///< branch and shunt parameters that touch a node
};

/// What is computed of a snapshot; each includes those before it but for the gradient.
enum class Depth { value, gradient, rows, full };

/// A residual is that of an equation (joint, residual) or of a reading.
struct Share {
  bool solved = true;
  double objective = 0;
  int equations = 0;                     ///< the first residuals are those of equations
  int freed = 0;                         ///< voltages that are unknowns of their own
  std::vector<double> residual, weight;  ///< r = (z - h)/sigma; of the robust loss
  std::vector<double> gradient;          ///< of the objective by the unknowns
  std::vector<double> rows;              ///< residuals x unknowns, row-major: -dr/d(unknown), voltages eliminated
  std::vector<double> leverage;          ///< full, joint: what the free voltages take of every residual's variance
  std::vector<double> state_variance;    ///< full, free voltages: of angle and ln|V|, parameters held
  std::vector<double> state_rows;        ///< full, free voltages: 2n x unknowns, d(state)/d(unknown)
};

/// `state` is where the solve starts; from Depth::gradient on it becomes where it ended. Throws bad input where the
/// residual formulation lacks a voltage.
Share share_of_snapshot(const FitGrid& fit, const OperatingPoint& point, const Readings& readings,
                        const Judgement& judgement, State& state, Depth depth);

/// Bus rows and halves of the equations in the order in which they are residuals: false is P, true Q.
std::vector<std::pair<int, bool>> equations_of(const Network& network);

}  // namespace fachwerk::dpf
