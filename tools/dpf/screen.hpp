#pragma once

#include <functional>
#include <string>
#include <vector>

#include "batch.hpp"
#include "flows.hpp"
#include "lm.hpp"

/// Contingency analysis: what happens when branches or generators fail (spec 2.7).
namespace fachwerk::dpf {

/// Elements that are out together, by file row.
struct Contingency {
  std::vector<int> branches, generators;
  std::string label = {};
};

enum class Verdict : std::int8_t {
  solved = 0,
  split = 1,       ///< splits the grid: the islands with the reference are solved, the rest is lost
  infeasible = 2,  ///< Levenberg-Marquardt ended at a minimum of the mismatch that is no solution
  unsolved = 3,    ///< no method converged
  no_source = 4,   ///< nothing is left that could be solved
  skipped = 5,     ///< splits the grid, and --split skip
  prefiltered = 6  ///< not solved: the linear guess of every loading is far below its limit
};
std::string name(Verdict verdict);

struct ScreenOptions {
  double tolerance = 1e-8;
  int max_iterations = 20;
  bool solve_split = true;  ///< else `skipped`
  bool keep_islands =
      false;  ///< islands that a split cuts off go on with a reference of their own if they have a generator
  char rating = 'A';
  double vmin = 0, vmax = 0;  ///< limits for all buses where vmax > 0, else those of the file
  double guard = 0;      ///< > 0: a contingency is decided early once all quantities are further from their limits than
                         ///< `guard` estimated errors
  double prefilter = 0;  ///< > 0: outages whose loadings all stay below the limit in the linear guess, by this many
                         ///< guessed changes and 2 percent, are not solved
  double check = 0;      ///< fraction solved again by Newton and compared
  std::uint64_t seed = 1;
};

struct Violation {
  std::int8_t kind;  ///< 0 branch over its rating, 1 bus below, 2 bus above its voltage limit
  int element;       ///< file row
  double value;      ///< percent, pu
};

struct ContingencyResult {
  Verdict verdict = Verdict::unsolved;
  int iterations = 0;
  Path path = Path::chord;
  bool early = false;         ///< decided by the guard band
  double max_mismatch = 0;    ///< pu; for infeasible ones the residual of the closest point
  double worst_loading = 0;   ///< percent
  int worst_branch = -1;      ///< file row
  double vmin = 0, vmax = 0;  ///< pu
  int vmin_bus = -1, vmax_bus = -1;
  double sum_vm = 0;
  double performance_mw = 0, performance_v = 0;  ///< sum of (S/Smax)^2 and of ((|V| - middle)/half range)^2
  double severity = 0;  ///< largest loading or voltage deviation over its limit: above 1 is a violation
  double lost_load_mw = 0;
  std::vector<Violation> violations;
  double check_difference = -1;  ///< largest |V| difference to Newton's, where checked
};

class Screen {
 public:
  /// `base` solves the intact grid.
  Screen(const Grid& grid, const Network& network, State base, const ScreenOptions& options);

  /// Results in the order of the contingencies. `advanced` is called with the number just finished. `voltages`, if
  /// given, gets |V| and angle (pu, radians, NaN where dead) by file row of every contingency that has a state, from
  /// several threads.
  std::vector<ContingencyResult> run(
      const std::vector<Contingency>& contingencies, const std::function<void(std::size_t)>& advanced,
      const std::function<void(std::size_t, const std::vector<double>&, const std::vector<double>&)>& voltages = {});

 private:
  struct Tile;
  void solve_tile(const std::vector<Contingency>& contingencies, const std::vector<int>& chosen, std::size_t first,
                  std::vector<ContingencyResult>& results);
  void solve_alone(std::size_t index, const Contingency& contingency, ContingencyResult& result);
  void solve_rebuilt(std::size_t index, const Contingency& contingency, ContingencyResult& result, bool split);
  void prefilter(const std::vector<Contingency>& contingencies, std::vector<int>& chosen,
                 std::vector<ContingencyResult>& results) const;
  void emit(std::size_t contingency, const Grid& grid, const Network& network, const State& state) const;
  void evaluate(const Grid& grid, const Network& network, const State& state, ContingencyResult& result) const;
  bool outside_guard(const Network& network, const State& last, const State& now, double rate) const;
  double limit_low(std::size_t bus) const { return options_.vmax > 0 ? options_.vmin : grid_->bus.vmin[bus]; }
  double limit_high(std::size_t bus) const { return options_.vmax > 0 ? options_.vmax : grid_->bus.vmax[bus]; }

  const Grid* grid_;
  const Network* network_;
  State base_;
  ScreenOptions options_;
  Grid rated_;  ///< the grid with the chosen rating in rate_a
  std::vector<bool> bridge_;
  Batch batch_;
  std::function<void(std::size_t, const std::vector<double>&, const std::vector<double>&)> voltages_;
};

/// Every in-service branch, every in-service generator, one at a time.
std::vector<Contingency> all_branches(const Network& network);
std::vector<Contingency> all_generators(const Network& network);

}  // namespace fachwerk::dpf
