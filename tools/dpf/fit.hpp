#pragma once

#include <span>
#include <string>
#include <vector>

#include "scenarios.hpp"

/// Exact gradients of solved flows with respect to grid parameters, and parameter identification from measurements
/// (spec 2.9).
namespace fachwerk::dpf {

enum class ParameterKind : std::uint8_t { r, x, b, tap, shift, gs, bs, load_p, load_q, set_point };
std::string name(ParameterKind kind);
/// Throws usage_error for an unknown word.
ParameterKind parameter_kind(const std::string& word);

/// A scalar of the grid that may be learnt: kind and file row (of branch, bus, or generator for set_point). Units of
/// the file.
struct Parameter {
  ParameterKind kind;
  int row;
};
/// All parameters of a kind that have any effect: in-service branches (b, tap and shift only where the file has one),
/// live buses with a shunt or load, generators that set a voltage.
std::vector<Parameter> parameters_of(const Grid& grid, const Network& network, ParameterKind kind);
double get(const Grid& grid, const Parameter& parameter);
void set(Grid& grid, const Parameter& parameter, double value);

/// What was measured in one snapshot, by file row, NaN = missing. Empty: nothing of that kind.
struct Measurements {
  std::vector<double> vm, va;          ///< pu, degrees
  std::vector<double> pf, qf, pt, qt;  ///< MW, MVAr
};
/// Standard deviations, in the same units.
struct MeasurementNoise {
  double vm = 1e-3, va = 1e-3 * 57.29577951308232, flow = 0.1;
};

/// A function of the solution: value and derivatives with respect to the state unknowns (angle, ln|V| interleaved) and
/// directly to parameters.
struct Observation {
  enum class Kind { vm, va, pf, qf, pt, qt, loading } kind;
  int row;  ///< bus or branch
};

/// dF/dparameter: at most four nonzero entries of the interleaved mismatch.
struct SparseColumn {
  int index[4] = {-1, -1, -1, -1};
  double value[4] = {};
};
SparseColumn mismatch_derivative(const Grid& grid, const Problem& problem, const State& state,
                                 const Parameter& parameter);

double observe(const Grid& grid, const Problem& problem, const State& state, const Observation& what);
/// Adds weight times d(observation)/d(state) to `row` (length 2n).
void observe_derivative(const Grid& grid, const Problem& problem, const State& state, const Observation& what,
                        double weight, std::span<double> row);
/// Direct derivative of an observation by a parameter at fixed voltages.
double observe_direct(const Grid& grid, const Problem& problem, const State& state, const Observation& what,
                      const Parameter& parameter);

/// d(observation)/dp of a solved flow for all parameters by one transposed solve (adjoint): dl/dp = partial - mu^T
/// dF/dp, J^T mu = dl/dx.
std::vector<double> adjoint_gradient(const Grid& grid, const Problem& problem, const State& state,
                                     const Observation& what, const std::vector<Parameter>& parameters);

struct FitOptions {
  int max_iterations = 100;
  double tolerance = 1e-10;  ///< of the relative change of chi^2
  double prior = 0;          ///< standard deviation of ln(parameter) or of the parameter about its start, 0: none
};

struct FitResult {
  std::vector<double> start, value, sigma;
  std::vector<char> unidentifiable;
  std::vector<std::vector<double>> null_directions;  ///< unit vectors over the parameters (scaled units)
  double chi2 = 0;
  int degrees = 0;
  int iterations = 0;
  bool converged = false;
  std::vector<double> normalised_residuals;  ///< by observation, in order of snapshots
};

/// Levenberg-Marquardt on sum ((h(x(p)) - z) / sigma)^2 with F(x, p) = 0 in every snapshot. r and x move in logarithms.
/// Directions whose eigenvalue is below 1e-10 of the largest are left at the start and reported. Throws method_failed
/// if a snapshot cannot be solved at the start.
FitResult fit(const Grid& grid, const std::vector<OperatingPoint>& points, const std::vector<Measurements>& measured,
              const MeasurementNoise& noise, const std::vector<Parameter>& parameters, const FitOptions& options);

}  // namespace fachwerk::dpf
