#include "batch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

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

TileMemory::TileMemory(int nodes, int lanes, int columns)
    : vm(area(nodes, lanes)),
      va(area(nodes, lanes)),
      p(area(nodes, lanes)),
      q(area(nodes, lanes)),
      e(area(nodes, lanes)),
      f(area(nodes, lanes)),
      g(2 * area(nodes, lanes)),
      last_g(2 * area(nodes, lanes)),
      step(2 * area(nodes, lanes)),
      history(4 * area(nodes, lanes) * static_cast<std::size_t>(columns)),
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
    has_p_.push_back(type != NodeType::reference);
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
}

Batch::~Batch() = default;

void Batch::tile(TileMemory& work, const State& start, std::size_t first, int count,
                 const std::function<void(std::size_t, const Specified&)>& specify,
                 const std::function<void(std::size_t, ScenarioResult&&)>& done) {
  const Network& network = *problem_.network;
  const std::size_t n = static_cast<std::size_t>(network.nodes()), lanes = static_cast<std::size_t>(kernel_.lanes);
  std::vector<double> p(n), q(n), set_point(n);
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    // Empty lanes repeat the base, which is solved.
    std::ranges::copy(problem_.p, p.begin());
    std::ranges::copy(problem_.q, q.begin());
    std::ranges::copy(problem_.set_point, set_point.begin());
    work.wanted[lane] = lane < static_cast<std::size_t>(count);
    if (work.wanted[lane]) specify(first + lane, {p, q, set_point});
    double finite = 0;
    for (std::size_t i = 0; i < n; ++i)
      finite += p[i] * 0 + q[i] * 0 + set_point[i] * 0;
    if (!(finite == 0)) work.wanted[lane] = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t at = i * lanes + lane;
      work.p[at] = p[i];
      work.q[at] = q[i];
      work.vm[at] = problem_.type[i] == NodeType::pq ? start.vm[i] : set_point[i];
      work.va[at] = start.va[i];
    }
    std::ranges::copy(set_point, work.set_points.begin() + static_cast<std::ptrdiff_t>(lane * n));
  }
  kernel_.iterate(plan_, work.view());
  for (std::size_t lane = 0; lane < static_cast<std::size_t>(count); ++lane) {
    ScenarioResult result;
    if (!work.wanted[lane]) {
      result.solution.state = {std::vector<double>(n, std::numeric_limits<double>::quiet_NaN()),
                               std::vector<double>(n, std::numeric_limits<double>::quiet_NaN()),
                               {}};
      done(first + lane, std::move(result));
      continue;
    }
    Solution& solution = result.solution;
    solution.iterations = work.iterations[lane];
    if (work.state[lane] == 0) {
      solution.status = Status::converged;
      solution.max_mismatch = work.max_mismatch[lane];
      solution.state.vm.resize(n);
      solution.state.va.resize(n);
      for (std::size_t i = 0; i < n; ++i) {
        solution.state.vm[i] = work.vm[i * lanes + lane];
        solution.state.va[i] = work.va[i * lanes + lane];
      }
    } else {
      if (!work.newton) work.newton = std::make_unique<Newton>(network);
      for (std::size_t i = 0; i < n; ++i) {
        p[i] = work.p[i * lanes + lane];
        q[i] = work.q[i * lanes + lane];
      }
      Problem problem = problem_;
      problem.p = p;
      problem.q = q;
      problem.set_point = std::span(work.set_points).subspan(lane * n, n);
      const int spent = solution.iterations;
      result = climb(*grid_, *work.newton, problem, base_, options_);
      result.solution.iterations += spent;
    }
    done(first + lane, std::move(result));
  }
}

void Batch::solve_from(const State& start, std::size_t first, std::size_t count,
                       const std::function<void(std::size_t, const Specified&)>& specify,
                       const std::function<void(std::size_t, ScenarioResult&&)>& done) {
  const std::size_t lanes = static_cast<std::size_t>(kernel_.lanes);
  const std::size_t tiles = (count + lanes - 1) / lanes;
  std::vector<std::unique_ptr<TileMemory>> workspaces(static_cast<std::size_t>(compute::threads()));
  compute::parallel_tasks(tiles, [&](std::size_t t) {
#ifdef _OPENMP
    auto& work = workspaces[static_cast<std::size_t>(omp_get_thread_num())];
#else
    auto& work = workspaces[0];
#endif
    if (!work) work = std::make_unique<TileMemory>(plan_.nodes, kernel_.lanes, options_.memory);
    const std::size_t begin = t * lanes;
    tile(*work, start, first + begin, static_cast<int>(std::min(lanes, count - begin)), specify, done);
  });
}

void Batch::solve(std::size_t first, std::size_t count,
                  const std::function<void(std::size_t, const Specified&)>& specify,
                  const std::function<void(std::size_t, ScenarioResult&&)>& done) {
  solve_from(base_, first, count, specify, done);
}

}  // namespace fachwerk::dpf
