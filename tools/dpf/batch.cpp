#include "batch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "cli/error.hpp"
#include "compute/isa.hpp"
#include "compute/parallel.hpp"
#include "lm.hpp"

namespace fachwerk::dpf {
namespace {

// Newton along (1 - t) F(x0) = F_t(x): the powers move from what `base` needs to what is specified, in steps that halve
// on failure.
Solution homotopy(Newton& newton, const Problem& problem, const State& base, const NewtonOptions& options) {
  const std::size_t n = base.vm.size();
  State state = base;
  for (std::size_t i = 0; i < n; ++i)
    if (problem.type[i] != NodeType::pq) state.vm[i] = problem.set_point[i];
  std::vector<Complex> s(n);
  injections(problem, state, s);
  std::vector<double> p(n), q(n);
  Problem partial = problem;
  partial.p = p;
  partial.q = q;
  Solution solution;
  double reached = 0, step = 0.25;
  int iterations = 0;
  while (reached < 1 && step > 1.0 / 256) {
    const double next = std::min(1.0, reached + step);
    for (std::size_t i = 0; i < n; ++i) {
      const Complex start = s[i] + dependent_load(problem, static_cast<int>(i), state.vm[i]);
      p[i] = (1 - next) * start.real() + next * problem.p[i];
      q[i] = (1 - next) * start.imag() + next * problem.q[i];
    }
    solution = newton.solve(partial, state, options);
    iterations += solution.iterations;
    if (solution.status == Status::converged) {
      state = solution.state;
      // From here on the path starts at the point reached.
      reached = next;
      step *= 2;
      injections(problem, state, s);
      for (std::size_t i = 0; i < n; ++i)
        if (reached < 1) s[i] = (s[i] - reached * Complex(problem.p[i], problem.q[i])) / (1 - reached);
    } else {
      step /= 2;
    }
  }
  solution.iterations = iterations;
  if (reached < 1) solution.status = Status::diverged;
  return solution;
}

}  // namespace

ScenarioResult climb(const Grid& grid, Newton& newton, const Problem& problem, const State& base,
                     const BatchOptions& options) {
  const auto with_set_points = [&](State state) {
    for (std::size_t i = 0; i < state.vm.size(); ++i)
      if (problem.type[i] != NodeType::pq) state.vm[i] = problem.set_point[i];
    return state;
  };
  NewtonOptions newton_options{.tolerance = options.tolerance, .max_iterations = options.newton_iterations};
  ScenarioResult out{newton.solve(problem, with_set_points(base), newton_options), Path::nr};
  if (out.solution.status == Status::converged || !options.ladder) return out;
  newton_options.line_search = true;
  newton_options.max_iterations = 2 * options.newton_iterations;
  const auto attempt = [&](Path path, Solution solution) {
    if (solution.status != Status::converged) return false;
    out = {std::move(solution), path};
    return true;
  };
  if (attempt(Path::line_search, newton.solve(problem, with_set_points(base), newton_options))) return out;
  if (attempt(Path::dc_start,
              newton.solve(problem, dc_angles(grid, *problem.network, problem, flat_start(problem)), newton_options)))
    return out;
  newton_options.line_search = false;
  if (attempt(Path::homotopy, homotopy(newton, problem, base, newton_options))) return out;
  out = {levenberg_marquardt(problem, with_set_points(base), {.tolerance = options.tolerance}), Path::lm};
  return out;
}

namespace {
std::size_t area(int nodes, int lanes) {
  return static_cast<std::size_t>(nodes) * static_cast<std::size_t>(lanes);
}
}  // namespace

TileMemory::TileMemory(int nodes, int lanes, int columns, int islands)
    : vm(area(nodes, lanes)),
      va(area(nodes, lanes)),
      p(area(nodes, lanes)),
      q(area(nodes, lanes)),
      e(area(nodes, lanes)),
      f(area(nodes, lanes)),
      lambda(area(islands, lanes)),
      g(2 * area(nodes, lanes)),
      last_g(2 * area(nodes, lanes)),
      step(2 * area(nodes, lanes)),
      history(4 * area(nodes, lanes) * static_cast<std::size_t>(columns)),
      lane_p(area(nodes, lanes)),
      lane_q(area(nodes, lanes)),
      set_points(area(nodes, lanes)),
      max_mismatch(static_cast<std::size_t>(lanes)),
      first_mismatch(static_cast<std::size_t>(lanes)),
      iterations(static_cast<std::size_t>(lanes)),
      state(static_cast<std::size_t>(lanes)),
      wanted(static_cast<std::size_t>(lanes)) {}

ChordTile TileMemory::view() {
  return {.vm = vm.data(),
          .va = va.data(),
          .p = p.data(),
          .q = q.data(),
          .e = e.data(),
          .f = f.data(),
          .g = g.data(),
          .last_g = last_g.data(),
          .step = step.data(),
          .history = history.data(),
          .z = nullptr,
          .outage = nullptr,
          .outages = 0,
          .borders = nullptr,
          .lambda = lambda.data(),
          .injected_p = injected_p.data(),
          .injected_q = injected_q.data(),
          .wanted = wanted.data(),
          .max_mismatch = max_mismatch.data(),
          .first_mismatch = first_mismatch.data(),
          .iterations = iterations.data(),
          .state = state.data()};
}

Batch::Batch(const Grid& grid, const Problem& problem, State base, const BatchOptions& options)
    : grid_(&grid),
      problem_(problem),
      base_(std::move(base)),
      options_(options),
      newton_(std::make_unique<Newton>(*problem.network)),
      kernel_(compute::dispatch(isa_baseline::chord_kernel, isa_avx2::chord_kernel, isa_avx512::chord_kernel)()) {
  const Network& network = *problem.network;
  const BlockFactor& factor = newton_->factor_at(problem, base_);
  const Pattern& filled = factor.pattern().filled;
  for (const Complex y : problem.y) {
    conductance_.push_back(y.real());
    susceptance_.push_back(y.imag());
  }
  for (const Block& block : factor.values())
    for (const double x : block)
      factor_.push_back(static_cast<float>(x));
  for (const Block& block : factor.inverse_diagonal())
    for (const double x : block)
      inverse_.push_back(static_cast<float>(x));
  for (const NodeType type : problem.type) {
    has_p_.push_back(type != NodeType::reference || !problem.slack_weight.empty());
    has_q_.push_back(type == NodeType::pq);
  }
  for (const auto& z : problem.zip)
    zip_.insert(zip_.end(), {z.p_current, z.p_impedance, z.q_current, z.q_impedance});
  floor_ = rounding_floor(problem, base_);
  plan_ = {.nodes = network.nodes(),
           .y_start = network.pattern.start.data(),
           .y_column = network.pattern.column.data(),
           .conductance = conductance_.data(),
           .susceptance = susceptance_.data(),
           .f_start = nullptr,
           .f_diagonal = nullptr,
           .f_column = nullptr,
           .factor = factor_.data(),
           .inverse = inverse_.data(),
           .has_p = has_p_.data(),
           .has_q = has_q_.data(),
           .zip = zip_.empty() ? nullptr : zip_.data(),
           .slack_weight = nullptr,
           .island = network.island.data(),
           .holds_slack = nullptr,
           .floor = floor_.data(),
           .tolerance = options.tolerance,
           .rate_limit = options.rate_limit,
           .max_iterations = options.max_iterations,
           .memory = options.memory};
  f_start_ = filled.start;
  f_diagonal_ = filled.diagonal;
  f_column_ = filled.column;
  plan_.f_start = f_start_.data();
  plan_.f_diagonal = f_diagonal_.data();
  plan_.f_column = f_column_.data();
  borders_ = std::make_unique<Borders>(problem_, base_, factor);
  if (!problem.slack_weight.empty()) {
    for (const NodeType type : problem.type)
      holds_slack_.push_back(type == NodeType::reference);
    plan_.slack_weight = problem_.slack_weight.data();
    plan_.holds_slack = holds_slack_.data();
    for (int i = 0; i < network.nodes(); ++i)
      if (holds_slack_[i]) slack_slots_.push_back(2 * i);
  }
  if (options.exact_factor)
    wide_ = chord_lanes(options.device, plan_,
                        {{factor.values()[0].data(), 4 * factor.values().size()},
                         {factor.inverse_diagonal()[0].data(), 4 * factor.inverse_diagonal().size()}});
  else if (options.device.is_cuda())
    wide_ = chord_lanes(options.device, plan_);
}

Batch::~Batch() = default;

namespace {

// [lane][node] to [node][lane] and back, in blocks that stay in the first cache.
constexpr std::size_t together = 8;
void interlace(const double* rows, std::size_t nodes, std::size_t lanes, double* out) {
  for (std::size_t begin = 0; begin < nodes; begin += together)
    for (std::size_t lane = 0; lane < lanes; ++lane)
      for (std::size_t i = begin; i < std::min(begin + together, nodes); ++i)
        out[i * lanes + lane] = rows[lane * nodes + i];
}
template <class Row>
void separate(const double* in, std::size_t nodes, std::size_t lanes, std::size_t count, const Row& row) {
  for (std::size_t begin = 0; begin < nodes; begin += together)
    for (std::size_t lane = 0; lane < count; ++lane)
      for (std::size_t i = begin; i < std::min(begin + together, nodes); ++i)
        row(lane)[i] = in[i * lanes + lane];
}

}  // namespace

// Injections of a lane. Lanes without a scenario repeat the base, which is solved; scenarios whose numbers are not
// finite are not wanted.
void Batch::specify_lane(TileMemory& work, std::size_t lane, std::size_t scenario,
                         const std::function<void(std::size_t, const Specified&)>& specify) const {
  const std::size_t n = static_cast<std::size_t>(plan_.nodes);
  const std::span<double> p = std::span(work.lane_p).subspan(lane * n, n),
                          q = std::span(work.lane_q).subspan(lane * n, n),
                          set_point = std::span(work.set_points).subspan(lane * n, n);
  std::ranges::copy(problem_.p, p.begin());
  std::ranges::copy(problem_.q, q.begin());
  std::ranges::copy(problem_.set_point, set_point.begin());
  work.wanted[lane] = scenario != no_scenario;
  if (work.wanted[lane]) specify(scenario, {p, q, set_point});
  double finite = 0;
  for (std::size_t i = 0; i < n; ++i)
    finite += p[i] * 0 + q[i] * 0 + set_point[i] * 0;
  if (!(finite == 0)) work.wanted[lane] = 0;
}

void Batch::set_lane(TileMemory& work, std::size_t lane, const State& state) const {
  const std::size_t lanes = static_cast<std::size_t>(kernel_.lanes);
  for (std::size_t i = 0; i < state.vm.size(); ++i) {
    work.vm[i * lanes + lane] = state.vm[i];
    work.va[i * lanes + lane] = state.va[i];
  }
  for (std::size_t i = 0; i < state.lambda.size(); ++i)
    work.lambda[i * lanes + lane] = state.lambda[i];
}

// Iterates the lanes that are wanted; `slots` are the borders of each, empty where no lane has any.
void Batch::iterate(TileMemory& work, std::span<const std::vector<int>> slots) {
  const std::size_t n = static_cast<std::size_t>(plan_.nodes), lanes = static_cast<std::size_t>(kernel_.lanes);
  interlace(work.lane_p.data(), n, lanes, work.p.data());
  interlace(work.lane_q.data(), n, lanes, work.q.data());
  if (options_.injections && work.injected_p.size() == 0) {
    work.injected_p = Aligned<double>(n * lanes);
    work.injected_q = Aligned<double>(n * lanes);
  }
  ChordTile tile = work.view();
  std::optional<TileBorders> borders;
  if (!slots.empty()) {
    borders.emplace(*borders_, slots);
    for (std::size_t lane = 0; lane < lanes; ++lane)
      if (borders->singular(lane)) work.wanted[lane] = 0;
    tile.borders = &borders->view();
  }
  kernel_.iterate(plan_, tile);
}

std::vector<ScenarioResult> Batch::results_of(TileMemory& work, std::size_t count, bool ladder) const {
  const std::size_t n = static_cast<std::size_t>(plan_.nodes), lanes = static_cast<std::size_t>(kernel_.lanes);
  std::vector<ScenarioResult> results(count);
  for (ScenarioResult& result : results) {
    result.solution.state.vm.resize(n);
    result.solution.state.va.resize(n);
  }
  separate(work.vm.data(), n, lanes, count, [&](std::size_t lane) { return results[lane].solution.state.vm.data(); });
  separate(work.va.data(), n, lanes, count, [&](std::size_t lane) { return results[lane].solution.state.va.data(); });
  const auto rows = [&](bool wanted, const Aligned<double>& from, std::vector<double>& to) {
    if (!wanted) return;
    to.resize(n * lanes);
    separate(from.data(), n, lanes, count, [&](std::size_t lane) { return &to[lane * n]; });
  };
  rows(options_.phasors, work.e, work.lane_e);
  rows(options_.phasors, work.f, work.lane_f);
  rows(options_.injections, work.injected_p, work.lane_injected_p);
  rows(options_.injections, work.injected_q, work.lane_injected_q);
  for (std::size_t lane = 0; lane < count; ++lane) {
    ScenarioResult& result = results[lane];
    Solution& solution = result.solution;
    const auto row = [&](std::vector<double>& values) { return std::span<const double>(values).subspan(lane * n, n); };
    const ScenarioView specified{row(work.lane_p), row(work.lane_q), row(work.set_points), {}, {}, {}, {}};
    if (work.wanted[lane] && work.state[lane] == 0) {
      solution.iterations = work.iterations[lane];
      solution.status = Status::converged;
      solution.max_mismatch = work.max_mismatch[lane];
      for (std::size_t i = 0; i < base_.lambda.size(); ++i)
        solution.state.lambda.push_back(work.lambda[i * lanes + lane]);
      result.view = specified;
      if (options_.phasors) result.view.e = row(work.lane_e), result.view.f = row(work.lane_f);
      if (options_.injections)
        result.view.injected_p = row(work.lane_injected_p), result.view.injected_q = row(work.lane_injected_q);
      continue;
    }
    solution.iterations = work.iterations[lane];
    if (work.wanted[lane] && ladder)
      result = rescue(work.newton, specified.p, specified.q, specified.set_point, work.iterations[lane]);
    else {
      std::ranges::fill(solution.state.vm, std::numeric_limits<double>::quiet_NaN());
      std::ranges::fill(solution.state.va, std::numeric_limits<double>::quiet_NaN());
      solution.state.lambda.assign(base_.lambda.size(), 0.0);
    }
    result.view = specified;
  }
  return results;
}

ScenarioResult Batch::rescue(std::unique_ptr<Newton>& newton, std::span<const double> p, std::span<const double> q,
                             std::span<const double> set_point, int spent) const {
  if (!newton) newton = std::make_unique<Newton>(*problem_.network);
  Problem problem = problem_;
  problem.p = p;
  problem.q = q;
  problem.set_point = set_point;
  ScenarioResult result = climb(*grid_, *newton, problem, base_, options_);
  result.solution.iterations += spent;
  return result;
}

void Batch::tile(TileMemory& work, const State* start, std::span<const std::size_t> scenarios,
                 const std::function<void(std::size_t, const Specified&)>& specify,
                 const std::function<void(std::size_t, ScenarioResult&&)>& done) {
  const auto lanes = static_cast<std::size_t>(kernel_.lanes), n = static_cast<std::size_t>(plan_.nodes);
  for (std::size_t lane = 0; lane < lanes; ++lane)
    specify_lane(work, lane, lane < scenarios.size() ? scenarios[lane] : no_scenario, specify);
  for (std::size_t i = 0; i < n; ++i) {
    const bool pq = problem_.type[i] == NodeType::pq;
    for (std::size_t lane = 0; lane < lanes; ++lane)
      if (!pq)
        work.vm[i * lanes + lane] = work.set_points[lane * n + i];
      else if (start != nullptr)
        work.vm[i * lanes + lane] = start->vm[i];
    if (start != nullptr) std::fill_n(&work.va[i * lanes], lanes, start->va[i]);
  }
  for (std::size_t i = 0; start != nullptr && i < start->lambda.size(); ++i)
    std::fill_n(&work.lambda[i * lanes], lanes, start->lambda[i]);
  std::vector<std::vector<int>> slots;
  if (!slack_slots_.empty()) slots.assign(lanes, slack_slots_);
  iterate(work, slots);
  std::vector<ScenarioResult> results = results_of(work, scenarios.size(), true);
  for (std::size_t lane = 0; lane < scenarios.size(); ++lane) {
    if (scenarios[lane] == no_scenario) continue;
    // For the next of a chain: what the ladder found, or the base after a failure.
    if (!work.wanted[lane] || work.state[lane] != 0)
      set_lane(work, lane, results[lane].solution.status == Status::converged ? results[lane].solution.state : base_);
    done(scenarios[lane], std::move(results[lane]));
  }
}

void Batch::solve_typed(std::size_t count, const std::function<TypedScenario(std::size_t)>& given,
                        const std::function<void(std::size_t, ScenarioResult&&)>& done) {
  const auto lanes = static_cast<std::size_t>(kernel_.lanes), n = static_cast<std::size_t>(plan_.nodes);
  each_tile((count + lanes - 1) / lanes, [&](TileMemory& work, std::size_t t) {
    const std::size_t size = std::min(lanes, count - t * lanes);
    std::vector<std::vector<int>> slots(lanes);
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      work.wanted[lane] = lane < size;
      if (lane >= size) {
        std::ranges::copy(problem_.p, work.lane_p.begin() + static_cast<std::ptrdiff_t>(lane * n));
        std::ranges::copy(problem_.q, work.lane_q.begin() + static_cast<std::ptrdiff_t>(lane * n));
        set_lane(work, lane, base_);
        continue;
      }
      const TypedScenario scenario = given(t * lanes + lane);
      std::ranges::copy(scenario.p, work.lane_p.begin() + static_cast<std::ptrdiff_t>(lane * n));
      std::ranges::copy(scenario.q, work.lane_q.begin() + static_cast<std::ptrdiff_t>(lane * n));
      set_lane(work, lane, *scenario.start);
      slots[lane] = slack_slots_;
      for (std::size_t i = 0; i < n; ++i)
        if ((scenario.type[i] == NodeType::pq) != (problem_.type[i] == NodeType::pq))
          slots[lane].push_back(2 * static_cast<int>(i) + 1);
      std::ranges::sort(slots[lane]);
    }
    iterate(work, slots);
    std::vector<ScenarioResult> results = results_of(work, size, false);
    for (std::size_t lane = 0; lane < size; ++lane)
      done(t * lanes + lane, std::move(results[lane]));
  });
}

void Batch::each_tile(std::size_t tiles, const std::function<void(TileMemory&, std::size_t)>& body) const {
  std::vector<std::unique_ptr<TileMemory>> workspaces(static_cast<std::size_t>(compute::threads()));
  compute::parallel_tasks(tiles, [&](std::size_t t) {
#ifdef _OPENMP
    auto& work = workspaces[static_cast<std::size_t>(omp_get_thread_num())];
#else
    auto& work = workspaces[0];
#endif
    if (!work)
      work = std::make_unique<TileMemory>(plan_.nodes, kernel_.lanes, options_.memory,
                                          static_cast<int>(base_.lambda.size()));
    body(*work, t);
  });
}

void Batch::solve_from(const State& start, std::size_t first, std::size_t count,
                       const std::function<void(std::size_t, const Specified&)>& specify,
                       const std::function<void(std::size_t, ScenarioResult&&)>& done) {
  if (wide_) return solve_wide(start, first, count, specify, done);
  const std::size_t lanes = static_cast<std::size_t>(kernel_.lanes);
  each_tile((count + lanes - 1) / lanes, [&](TileMemory& work, std::size_t t) {
    std::vector<std::size_t> scenarios(std::min(lanes, count - t * lanes));
    std::iota(scenarios.begin(), scenarios.end(), first + t * lanes);
    tile(work, &start, scenarios, specify, done);
  });
}

void Batch::solve_wide(const State& start, std::size_t first, std::size_t count,
                       const std::function<void(std::size_t, const Specified&)>& specify,
                       const std::function<void(std::size_t, ScenarioResult&&)>& done) {
  const std::size_t n = static_cast<std::size_t>(plan_.nodes), most = static_cast<std::size_t>(wide_count);
  for (std::size_t begin = 0; begin < count; begin += most) {
    const std::size_t size = std::min(most, count - begin);
    LaneStates states(n, size);
    std::vector<double> set_points(n * size);
    std::vector<char> finite(size, 1);
    compute::parallel_tasks(size, [&](std::size_t lane) {
      std::vector<double> p(problem_.p.begin(), problem_.p.end()), q(problem_.q.begin(), problem_.q.end());
      const std::span<double> set_point = std::span(set_points).subspan(lane * n, n);
      std::ranges::copy(problem_.set_point, set_point.begin());
      specify(first + begin + lane, {p, q, set_point});
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t at = i * size + lane;
        finite[lane] = finite[lane] && std::isfinite(p[i] + q[i] + set_point[i]);
        states.p[at] = p[i];
        states.q[at] = q[i];
        states.vm[at] = problem_.type[i] == NodeType::pq ? start.vm[i] : set_point[i];
        states.va[at] = start.va[i];
      }
    });
    wide_->run(states);
    compute::parallel_tasks(size, [&](std::size_t lane) {
      ScenarioResult result;
      Solution& solution = result.solution;
      solution.state.vm.assign(n, std::numeric_limits<double>::quiet_NaN());
      solution.state.va = solution.state.vm;
      std::vector<double> p(n), q(n);
      for (std::size_t i = 0; i < n && finite[lane]; ++i) {
        const std::size_t at = i * size + lane;
        solution.state.vm[i] = states.vm[at];
        solution.state.va[i] = states.va[at];
        p[i] = states.p[at];
        q[i] = states.q[at];
      }
      solution.iterations = states.iterations[lane];
      solution.max_mismatch = states.max_mismatch[lane];
      std::unique_ptr<Newton> newton;
      if (finite[lane] && states.state[lane] == 0)
        solution.status = Status::converged;
      else if (finite[lane])
        result = rescue(newton, p, q, std::span(set_points).subspan(lane * n, n), solution.iterations);
      result.view = {p, q, std::span(set_points).subspan(lane * n, n), {}, {}, {}, {}};
      done(first + begin + lane, std::move(result));
    });
  }
}

void Batch::solve_chains(std::size_t first, std::size_t count, std::size_t length,
                         const std::function<void(std::size_t, const Specified&)>& specify,
                         const std::function<void(std::size_t, ScenarioResult&&)>& done) {
  const std::size_t lanes = static_cast<std::size_t>(kernel_.lanes);
  const std::size_t chains = (count + length - 1) / length;
  each_tile((chains + lanes - 1) / lanes, [&](TileMemory& work, std::size_t t) {
    std::vector<std::size_t> scenarios(std::min(lanes, chains - t * lanes));
    for (std::size_t step = 0; step < length; ++step) {
      for (std::size_t lane = 0; lane < scenarios.size(); ++lane) {
        const std::size_t s = (t * lanes + lane) * length + step;
        scenarios[lane] = s < count ? first + s : no_scenario;
      }
      tile(work, step == 0 ? &base_ : nullptr, scenarios, specify, done);
    }
  });
}

void Batch::solve(std::size_t first, std::size_t count,
                  const std::function<void(std::size_t, const Specified&)>& specify,
                  const std::function<void(std::size_t, ScenarioResult&&)>& done) {
  solve_from(base_, first, count, specify, done);
}

}  // namespace fachwerk::dpf
