#pragma once

#include <vector>

#include "fitter.hpp"

/// Parameter identification from measurements (spec 2.9).
namespace fachwerk::dpf {

/// Box for all parameters of a kind, in the units of the file.
struct Bound {
  ParameterKind kind;
  double low, high;
};

/// lm: Levenberg-Marquardt, for some thousand unknowns. lbfgs, adam: by the adjoint gradient, for any number.
enum class FitOptimiser { lm, lbfgs, adam };

struct FitOptions {
  int max_iterations = 100;
  double tolerance = 1e-10;  ///< of the relative change of the objective
  FitOptimiser optimiser = FitOptimiser::lm;
  Judgement judgement = {};
  double prior = 0;  ///< standard deviation of every unknown's coordinate about its start, 0: none
  std::vector<Prior> priors = {};
  bool distributed_slack = false;  ///< participation factors as make_explicit leaves them
  std::vector<Bound> bounds = {};
  std::vector<int> group =
      {};  ///< by parameter: those of one number move by a common factor, -1 alone; empty: all alone
  double bad_data_threshold = 3.5;  ///< of normalised residuals
  bool remove_bad_data = false;     ///< remove the largest above the threshold and fit again, until none is left
  bool uncertainties = true;        ///< standard deviations, identifiability and normalised residuals
};

/// A residual of the fit. Normalised by its own standard deviation, which the fit makes smaller than that of the
/// reading: sqrt(1 - leverage). NaN where nothing checks the reading (leverage 1).
struct Residual {
  std::size_t snapshot;
  Observation what;
  bool equation;  ///< P or Q balance of bus `what.row` (kinds p and q), residual and joint formulations
  double value;   ///< (measured - computed) / sigma
  double normalised;
  bool removed;  ///< as bad data; values are those before
};

struct FitResult {
  std::vector<double> start, value, sigma;  ///< by parameter
  std::vector<char> unidentifiable;
  std::vector<char> at_bound;
  std::vector<std::vector<double>> null_directions;  ///< unit vectors over the parameters (scaled units)
  double chi2 = 0;
  int degrees = 0;
  int iterations = 0;
  bool converged = false;
  std::vector<Residual> residuals;
  std::vector<State> states;                     ///< of the snapshots
  std::vector<std::vector<double>> state_sigma;  ///< free voltages: of angle and ln|V| by node
};

/// Least squares (or a robust loss) over all snapshots. r, x and slack weights move in logarithms. With lm, directions
/// whose eigenvalue is below 1e-10 of the largest are left at the start and reported. Throws method_failed if a
/// snapshot cannot be solved at the start, usage_error for set-points, slack weights or distributed slack in another
/// than the output formulation.
FitResult fit(const Grid& grid, const std::vector<OperatingPoint>& points, const std::vector<Readings>& measured,
              const std::vector<Parameter>& parameters, const FitOptions& options);

}  // namespace fachwerk::dpf
