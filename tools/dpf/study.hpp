#pragma once

#include "batch.hpp"
#include "decoupled.hpp"
#include "first_order.hpp"
#include "flows.hpp"
#include "qlimits.hpp"
#include "scenarios.hpp"

/// One state of a grid by any of the methods, and what it means for the elements.
namespace fachwerk::dpf {

enum class Method { nr, nr_ls, chord, lm, lbfgs, fdxb, fdbx, gs, bfs, dc, adam, rmsprop, sgd };
/// Throws usage_error for an unknown word.
Method method_of(const std::string& word);
std::string name(Method method);

struct MethodOptions {
  Method method = Method::nr;
  double tolerance = 1e-8;
  double stop_mismatch = 0;  ///< also enough: sum|F| at most this times sum|specified|; 0: no
  int max_iterations = 0;    ///< 0: the method's own
  int memory = 6;            ///< Anderson columns of chord
  QLimits q_limits = QLimits::off;
  Start start = Start::automatic;
  FirstOrderOptions first_order = {};  ///< adam, rmsprop, sgd: all but tolerance and iterations
  bool trace = false;
  bool branches = true;     ///< flows in branches are wanted
  bool mismatches = false;  ///< those of every bus are wanted
};

/// What tells a low-voltage solution from the operating one (spec 2.5, solution_check).
struct SolutionCheck {
  double lowest_vm = 1;
  int wide_angles = 0;               ///< branches with more than 90 degrees between their ends
  bool determinant_changed = false;  ///< sign of det J differs from that at the flat start
  int bits() const { return (lowest_vm < 0.5 ? 1 : 0) + (wide_angles > 0 ? 2 : 0) + (determinant_changed ? 4 : 0); }
  bool suspicious() const { return bits() != 0; }
};

/// A solved state with the flows that follow from it.
struct Outcome {
  Solution solution;
  Path path = Path::nr;
  Iteration measured{};
  Flows flows;
  int limited = 0;  ///< generators at a reactive limit
  double lost_load_mw = 0;
  SolutionCheck check{};
};

/// Solves operating points of one grid, one after the other; keeps its workspace. One for each thread.
class Desk {
 public:
  /// Copies the network; `grid` must outlive the desk.
  Desk(const Grid& grid, const Network& network, const MethodOptions& options);

  /// The grid's own operating point, to be changed and handed to the calls below, which may leave it changed.
  OperatingPoint& fresh_point();

  /// The operating point by the chosen method, from `start` or from where the options say.
  Outcome solve(const OperatingPoint& point, const State* start = nullptr);
  /// The same by the ladder of methods of a batch, from its base state.
  Outcome climb(OperatingPoint& point, const State& base);
  /// Completes what a batch found: reactive limits where asked for, flows, measures. Valid until the next call.
  const Outcome& finish(OperatingPoint& point, ScenarioResult&& solved);

  /// Reactive limits in a batch, round by round (see QLimitRounds): the first round of an operating point, those after
  /// it, and what comes of the last. A round that the batch did not solve is solved here, by Newton.
  QLimitRounds first_round(OperatingPoint& point);
  bool accept(OperatingPoint& point, QLimitRounds& rounds, ScenarioResult&& solved);
  const Outcome& finish(OperatingPoint& point, QLimitRounds&& rounds, Path path);

 private:
  void put(const OperatingPoint& point);
  void put_own(OperatingPoint& point);
  std::span<const Complex> injections_of(const ScenarioView& view);
  void complete(const Problem& problem, LimitedSolution&& limited, Path path, const ScenarioView& view);

  const Grid* grid_;
  Grid changed_;  ///< with the operating point put in
  Network network_;
  MethodOptions options_;
  Newton newton_;
  FlowWork flow_work_;
  OperatingPoint point_;
  Outcome out_;
  std::vector<Complex> v_, s_;
  std::vector<double> f_;
};

/// A grid with a topology of its own: built and solved up the whole ladder.
Outcome solve_anew(const Grid& grid, const NetworkOptions& network, const MethodOptions& options);

/// The check but for the determinant.
SolutionCheck check_voltages(const Problem& problem, const State& state);

/// Mismatches of the nodes as those of buses; the first of fused buses stands for all.
void put_mismatches(const Network& network, std::span<const double> mismatch, Flows& flows);

/// What is written for a scenario that was not looked at, all NaN.
Outcome not_started(const Grid& grid, const Network& network);

}  // namespace fachwerk::dpf
