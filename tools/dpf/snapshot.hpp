#pragma once

#include <optional>
#include <vector>

#include "observe.hpp"
#include "scenarios.hpp"

/// One snapshot of measurements, and its share in the normal equations of a fit (spec 2.9).
namespace fachwerk::dpf {

/// What was measured, by file row, NaN = missing. Empty: nothing of that kind.
struct Measurements {
  std::vector<double> vm, va;                    ///< pu, degrees
  std::vector<double> pf, qf, pt, qt;            ///< MW, MVAr
  std::vector<double> current_from, current_to;  ///< pu
  std::vector<double> p, q;                      ///< injections of buses, MW, MVAr
};
/// Standard deviations, in the same units.
struct MeasurementNoise {
  double vm = 1e-3, va = 1e-3 * 57.29577951308232, flow = 0.1, current = 1e-3, injection = 0.1;
};

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
  MeasurementNoise noise = {};
  double mismatch_sigma = 1e-4;  ///< of the equations in the residual and joint formulations, pu
};

/// A^T A and A^T (z - h) over the unknowns, and what the residuals add up to.
struct Normal {
  std::vector<double> matrix, rhs;
  double chi2 = 0;
  int count = 0;
  std::vector<double> residuals = {};
  bool solved = true;
};

/// The grid as the fit has it now, for all snapshots.
struct FitGrid {
  const Grid& grid;
  const Network& network;
  const std::vector<Parameter>& parameters;
  const std::vector<Unknown>& unknowns;
  /// dp/d(coordinate) of parameter `i` in unknown `u`.
  double scale(std::size_t u, std::size_t i) const { return unknowns[u].logarithmic ? get(grid, parameters[i]) : 1; }
};

/// The normal equations of one snapshot. `state` is where the solve starts and, if `derivatives` are asked for, where
/// it ended. Throws bad input where the residual formulation lacks a voltage.
Normal assemble_snapshot(const FitGrid& fit, const OperatingPoint& point, const Measurements& measured,
                         const Judgement& judgement, State& state, bool derivatives);

}  // namespace fachwerk::dpf
