#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mismatch.hpp"

/// Solvers of one power flow: Newton-Raphson (with line search), DC, fast decoupled, Gauss-Seidel.
namespace fachwerk::dpf {

/// Outcome of a scenario; the numbers are those of /result/status.
enum class Status : std::int8_t {
  converged = 0,
  iteration_limit = 1,
  diverged = 2,
  infeasible = 3,
  dead = 4,
  q_limits_infeasible = 5,
  not_started = 6
};
std::string name(Status status);

struct Iteration {
  double max_mismatch, mean_square, relative;  ///< max|F| pu, MSE pu^2, sum|F| / sum|specified|
};

struct NewtonOptions {
  double tolerance = 1e-8;   ///< of max|F|, pu, above the rounding floor
  double stop_mismatch = 0;  ///< also enough: sum|F| at most this times sum|specified|; 0: no
  int max_iterations = 20;
  bool line_search = false;  ///< Armijo backtracking on |F|^2 / 2
  bool polish = true;        ///< one more step once the tolerance is met, kept if it lowers max|F|
  bool trace = false;
};

struct Solution {
  State state;
  Status status = Status::not_started;
  int iterations = 0;
  double max_mismatch = 0;  ///< pu
  int worst_node = -1;
  bool negative_determinant = false;  ///< sign of det J at the last iterate
  bool pivoted = false;               ///< the fixed pivot order did not do, KLU took over
  std::vector<Iteration> trace;
};

/// MSE over the equations and relative mismatch of `f` (spec 2.3: over the rows that are equations).
Iteration measure(const Problem& problem, std::span<const double> f, double max_mismatch);

/// Is `f` within the tolerance above the floor at every row, or its relative mismatch at most `stop_mismatch` > 0?
bool reached(const Problem& problem, std::span<const double> f, std::span<const double> floor, double tolerance,
             double stop_mismatch);

/// Mismatches below this at every row make a relative mismatch of at most `stop_mismatch`: for methods that test the
/// largest mismatch alone.
double loose_tolerance(const Problem& problem, double stop_mismatch);

/// Newton-Raphson with one symbolic factorisation, refactored in a fixed pivot order; a solve whose backward error
/// exceeds 1e-10 is repeated with partial pivoting (KLU). Keeps its workspace between solves on one network.
class Newton {
 public:
  explicit Newton(const Network& network);
  Solution solve(const Problem& problem, State start, const NewtonOptions& options = {});
  /// Factors of the Jacobian at `state` (throws method_failed if singular).
  const BlockFactor& factor_at(const Problem& problem, const State& state);
  const BlockFactor& factor() const { return factor_; }  ///< the last ones

 private:
  bool refactor(const Problem& problem, const State& state, std::span<const Complex> v, Solution& solution);
  bool step(const Problem& problem, const State& state, std::span<const Complex> v, std::span<const double> f,
            std::span<double> dx, std::span<double> dlambda, Solution& solution);
  bool direction(std::span<const double> f, std::span<double> dx, Solution& solution);
  double backward_error(std::span<const double> x, std::span<const double> f) const;

  const Network* network_;
  BlockFactor factor_;
  std::unique_ptr<PivotingFactor> pivoting_;
  std::vector<Block> jacobian_;
};

/// Angles of the DC power flow (B' theta = P - P_shift - Gs, MATPOWER manual 3.6), magnitudes of `state` kept.
State dc_angles(const Grid& grid, const Network& network, const Problem& problem, State state);

/// Where a solve starts. `automatic`: the file's voltages, unless all of them are 1 at angle 0, then DC angles.
enum class Start { automatic, file, flat, dc };
State starting_point(const Grid& grid, const Problem& problem, Start start);

}  // namespace fachwerk::dpf
