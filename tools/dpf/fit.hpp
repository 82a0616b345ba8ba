#pragma once

#include <string>
#include <vector>

#include "snapshot.hpp"

/// Parameter identification from measurements (spec 2.9).
namespace fachwerk::dpf {

/// Box for all parameters of a kind, in the units of the file.
struct Bound {
  ParameterKind kind;
  double low, high;
};

struct FitOptions {
  int max_iterations = 100;
  double tolerance = 1e-10;  ///< of the relative change of chi^2
  double prior = 0;          ///< standard deviation of ln(parameter) or of the parameter about its start, 0: none
  Formulation formulation = Formulation::output;
  Robust robust = Robust::none;
  double mismatch_sigma = 1e-4;  ///< see Judgement
  std::vector<Bound> bounds = {};
  std::vector<int> group =
      {};  ///< by parameter: those of one number move by a common factor, -1 alone; empty: all alone
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
  std::vector<double> normalised_residuals;  ///< by observation, in order of snapshots
};

/// Levenberg-Marquardt on the sum of squared (or robust) residuals of all snapshots. r and x move in logarithms.
/// Directions whose eigenvalue is below 1e-10 of the largest are left at the start and reported. Throws method_failed
/// if a snapshot cannot be solved at the start, usage_error for a set-point in another than the output formulation.
FitResult fit(const Grid& grid, const std::vector<OperatingPoint>& points, const std::vector<Measurements>& measured,
              const MeasurementNoise& noise, const std::vector<Parameter>& parameters, const FitOptions& options);

}  // namespace fachwerk::dpf
