#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "borders.hpp"
#include "chord_kernel.hpp"
#include "chord_lanes.hpp"
#include "newton.hpp"

/// Many scenarios of one grid: chord iterations x <- x - M^-1 F(x) with one factor M = J(base) for all of them,
/// Anderson acceleration, and a ladder of stronger methods for those that do not converge (spec 2.5).
namespace fachwerk::dpf {

/// Memory aligned for vector loads.
template <class T>
class Aligned {
 public:
  explicit Aligned(std::size_t size = 0) : size_(size), data_(size == 0 ? nullptr : allocate(size)) {}
  T* data() const { return data_.get(); }
  T& operator[](std::size_t i) const { return data_.get()[i]; }
  std::size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  static T* allocate(std::size_t size) {
    const std::size_t bytes = (size * sizeof(T) + 63) / 64 * 64;
    T* p = static_cast<T*>(std::aligned_alloc(64, bytes));
    if (p == nullptr) throw std::bad_alloc();
    std::fill_n(p, size, T{});
    return p;
  }
  std::size_t size_;
  std::unique_ptr<T, Free> data_;
};

/// Which rung of the ladder solved a scenario; the numbers are those of /result/path.
enum class Path : std::uint8_t { chord = 0, nr = 1, line_search = 2, dc_start = 3, homotopy = 4, lm = 5, other = 6 };

/// What a scenario changes in the base problem, by node.
struct Specified {
  std::span<double> p, q, set_point;
  std::span<VoltageDependence> zip = {};  ///< empty in a batch, whose scenarios share it
};

/// What a batch knows of a scenario besides its solution: views that end with the call that receives them.
struct ScenarioView {
  std::span<const double> p, q, set_point;         ///< as specified, by node
  std::span<const double> e, f;                    ///< V at the solution; empty where not asked for or not known
  std::span<const double> injected_p, injected_q;  ///< S at the solution; likewise
};

struct ScenarioResult {
  Solution solution;
  Path path = Path::chord;
  ScenarioView view = {};
};

/// A scenario whose node types differ from the batch's (spec 2.8), and where it starts. Views.
struct TypedScenario {
  std::span<const NodeType> type;  ///< the same references as the batch's
  std::span<const double> p, q;
  const State* start;  ///< set-points put in
};

struct BatchOptions {
  double tolerance = 1e-8;
  int max_iterations = 30;  ///< of chord
  int memory = 4;           ///< Anderson columns
  double rate_limit = 0.7;  ///< slower contraction goes up the ladder
  int newton_iterations = 20;
  bool ladder = true;
  compute::Device device = {};               ///< CUDA: one thread a scenario, thousands at a time
  bool exact_factor = false;                 ///< factor in double precision, also one scenario at a time
  bool injections = false, phasors = false;  ///< fill in ScenarioResult::view
};

/// Stronger methods in turn, for one scenario that chord (or plain Newton) left unsolved: Newton from `base`, with line
/// search, from DC angles, homotopy from `base`, Levenberg-Marquardt. The last state is kept where none converges.
ScenarioResult climb(const Grid& grid, Newton& newton, const Problem& problem, const State& base,
                     const BatchOptions& options);

/// Memory of one thread for one tile.
struct TileMemory {
  TileMemory(int nodes, int lanes, int columns, int islands = 0);
  ChordTile view();

  Aligned<double> vm, va, p, q, e, f, lambda;
  Aligned<float> g, last_g, step, history;
  std::vector<double> lane_p, lane_q, set_points;                        ///< by lane, then node
  std::vector<double> lane_e, lane_f, lane_injected_p, lane_injected_q;  ///< likewise, where asked for
  Aligned<double> injected_p, injected_q;                                ///< [node][lane], where asked for
  Aligned<double> max_mismatch, first_mismatch;
  std::vector<int> iterations;
  std::vector<std::uint8_t> state, wanted;
  std::unique_ptr<Newton> newton;  ///< for the ladder
};

class Batch {
 public:
  /// `grid` and what `problem` views must outlive the batch. `base` must solve (or nearly solve) `problem`: M is its
  /// Jacobian there. Throws method_failed if M is singular.
  Batch(const Grid& grid, const Problem& problem, State base, const BatchOptions& options = {});
  ~Batch();

  /// Solves scenarios [first, first + count): `specify(s, x)` fills in scenario s, starting from the base's values;
  /// `done(s, r)` receives its result. Both are called from several threads, each scenario once. A scenario whose
  /// numbers are not finite gets status not_started.
  void solve(std::size_t first, std::size_t count, const std::function<void(std::size_t, const Specified&)>& specify,
             const std::function<void(std::size_t, ScenarioResult&&)>& done);
  /// The same from `start` instead of the base state: warm starts of time series.
  void solve_from(const State& start, std::size_t first, std::size_t count,
                  const std::function<void(std::size_t, const Specified&)>& specify,
                  const std::function<void(std::size_t, ScenarioResult&&)>& done);

  /// Scenarios of other node types, by bordering the factor (spec 2.8): `given(i)` describes scenario i. One that this
  /// does not solve comes back unsolved: the ladder knows only the batch's types.
  void solve_typed(std::size_t count, const std::function<TypedScenario(std::size_t)>& given,
                   const std::function<void(std::size_t, ScenarioResult&&)>& done);

  /// Scenarios in chains of `length` consecutive ones: the first of a chain starts at the base state, every other at
  /// the solution before it. Chains run side by side.
  void solve_chains(std::size_t first, std::size_t count, std::size_t length,
                    const std::function<void(std::size_t, const Specified&)>& specify,
                    const std::function<void(std::size_t, ScenarioResult&&)>& done);

  const State& base() const { return base_; }
  const BlockFactor& factor() const { return newton_->factor_at(problem_, base_); }
  /// Scenarios that are solved side by side by one thread, or by the device at once.
  int lanes() const { return wide_ ? wide_count : kernel_.lanes; }
  const ChordPlan& plan() const { return plan_; }
  const ChordKernel& kernel() const { return kernel_; }
  const Problem& problem() const { return problem_; }
  const BatchOptions& options() const { return options_; }

 private:
  static constexpr std::size_t no_scenario = std::size_t(-1);
  static constexpr int wide_count = 4096;
  void solve_wide(const State& start, std::size_t first, std::size_t count,
                  const std::function<void(std::size_t, const Specified&)>& specify,
                  const std::function<void(std::size_t, ScenarioResult&&)>& done);
  ScenarioResult rescue(std::unique_ptr<Newton>& newton, std::span<const double> p, std::span<const double> q,
                        std::span<const double> set_point, int spent) const;
  /// One scenario a lane, from `start`, or from what the lane holds where that is null.
  void tile(TileMemory& work, const State* start, std::span<const std::size_t> scenarios,
            const std::function<void(std::size_t, const Specified&)>& specify,
            const std::function<void(std::size_t, ScenarioResult&&)>& done);
  void specify_lane(TileMemory& work, std::size_t lane, std::size_t scenario,
                    const std::function<void(std::size_t, const Specified&)>& specify) const;
  void iterate(TileMemory& work, std::span<const std::vector<int>> slots);
  /// Results of all lanes; where `ladder`, of failed ones what it finds.
  std::vector<ScenarioResult> results_of(TileMemory& work, std::size_t count, bool ladder) const;
  void set_lane(TileMemory& work, std::size_t lane, const State& state) const;
  void each_tile(std::size_t tiles, const std::function<void(TileMemory&, std::size_t)>& body) const;

  const Grid* grid_;
  Problem problem_;
  State base_;
  BatchOptions options_;
  std::unique_ptr<Newton> newton_;
  ChordKernel kernel_;
  ChordPlan plan_{};
  std::vector<double> conductance_, susceptance_, floor_, zip_;
  std::vector<float> factor_, inverse_;
  std::vector<std::uint8_t> has_p_, has_q_, holds_slack_;
  std::vector<int> slack_slots_;  ///< borders that every scenario has
  std::unique_ptr<Borders> borders_;
  std::vector<int> f_start_, f_diagonal_, f_column_;
  std::unique_ptr<ChordLanes> wide_;  ///< on a device, or with exact factors; else null
};

}  // namespace fachwerk::dpf
