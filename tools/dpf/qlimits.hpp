#pragma once

#include <span>

#include "flows.hpp"
#include "newton.hpp"

/// Reactive limits of generators: violated ones are held at the limit, their bus becomes PQ, and the flow is solved
/// again.
namespace fachwerk::dpf {

enum class QLimits { off, all, one, smooth };

struct LimitedSolution {
  Solution solution;
  std::vector<NodeType> type;  ///< of the last round
  std::vector<double> p, q;    ///< specified injections of the last round, pu
  HeldGenerators held;
  int rounds = 0;
  int limited = 0;  ///< generators held
};

/// MATPOWER's rule (`all`: every violator at once, `one`: the largest violation alone). `smooth` also lets a held bus
/// return to voltage control when its voltage shows that the limit no longer binds, at most three switches a bus. Q
/// limits count as violated beyond 5e-6 MVAr. A converted reference is replaced by the first PV node of its island, and
/// the angles are turned back to the original reference at the end. Status q_limits_infeasible when all generators that
/// still control voltage violate the same side.
LimitedSolution solve_with_q_limits(const Grid& grid, const Network& network, Newton& newton, State start,
                                    const NewtonOptions& options, QLimits mode);

/// The problem a limited solution solved, as views into it.
Problem problem_of(const Network& network, const LimitedSolution& limited);

/// The same in rounds, for solvers that take many operating points side by side: solve problem() from start(), hand the
/// solution to `accept`, and again while that returns true. `grid` and `network` of all calls must hold the operating
/// point.
class QLimitRounds {
 public:
  QLimitRounds(const Grid& grid, const Network& network, QLimits mode);
  Problem problem(const Network& network) const { return problem_of(network, out_); }
  const LimitedSolution& now() const { return out_; }
  /// Where the next round starts: the last state with the set-points put in.
  const State& start() const { return out_.solution.state; }
  /// `s` are the injections of the solution, or empty: they are computed then.
  bool accept(const Grid& grid, const Network& network, FlowWork& work, Solution&& solution,
              std::span<const Complex> s = {});
  /// The end. `turned`: the angles were turned back to the original reference.
  LimitedSolution finish(const Network& network, bool& turned);

 private:
  bool hold(const Flows& result);
  bool controls(int generator) const;
  void convert(int node, const Flows& result);
  bool replace_references();
  bool release();

  const Grid* grid_ = nullptr;  ///< during a call
  const Network* network_ = nullptr;
  QLimits mode_;
  LimitedSolution out_;
  std::vector<int> references_, switches_;
};

}  // namespace fachwerk::dpf
