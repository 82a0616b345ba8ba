#include "study.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "cli/error.hpp"
#include "lbfgs.hpp"
#include "lm.hpp"

namespace fachwerk::dpf {
namespace {

constexpr std::array<const char*, 13> names = {"nr", "nr-ls", "chord", "lm",   "lbfgs",   "fdxb", "fdbx",
                                               "gs", "bfs",   "dc",    "adam", "rmsprop", "sgd"};

Path path_of(Method method) {
  if (method == Method::nr) return Path::nr;
  if (method == Method::nr_ls) return Path::line_search;
  if (method == Method::lm) return Path::lm;
  return Path::other;
}

// Chord on one state: M is the Jacobian at its start.
Solution chord(const Grid& grid, const Problem& problem, State start, const MethodOptions& options, Path& path) {
  BatchOptions batch_options{.tolerance = std::max(options.tolerance, loose_tolerance(problem, options.stop_mismatch)),
                             .max_iterations = options.max_iterations > 0 ? options.max_iterations : 60,
                             .memory = options.memory,
                             .rate_limit = 0.98};
  Batch batch(grid, problem, std::move(start), batch_options);
  Solution out;
  batch.solve(
      0, 1, [](std::size_t, const Specified&) {},
      [&](std::size_t, ScenarioResult&& result) {
        out = std::move(result.solution);
        path = result.path;
      });
  return out;
}

// The linear problem has nothing to iterate; its AC mismatch tells how good the approximation is.
Solution linear(const Grid& grid, const Problem& problem) {
  Solution out;
  out.state = dc_angles(grid, *problem.network, problem, flat_start(problem));
  out.status = Status::converged;
  return out;
}

Solution without_limits(const Grid& grid, const Problem& problem, State start, const MethodOptions& options,
                        Path& path) {
  const int most = options.max_iterations;
  const auto simple = [&](int own) {
    return SimpleOptions{.tolerance = options.tolerance,
                         .stop_mismatch = options.stop_mismatch,
                         .max_iterations = most > 0 ? most : own,
                         .trace = options.trace};
  };
  switch (options.method) {
    case Method::chord:
      return chord(grid, problem, std::move(start), options, path);
    case Method::lm:
      return levenberg_marquardt(problem, std::move(start),
                                 {.tolerance = options.tolerance,
                                  .stop_mismatch = options.stop_mismatch,
                                  .max_iterations = most > 0 ? most : 200});
    case Method::lbfgs:
      return lbfgs(problem, std::move(start),
                   {.tolerance = options.tolerance,
                    .stop_mismatch = options.stop_mismatch,
                    .max_iterations = most > 0 ? most : 2000,
                    .trace = options.trace});
    case Method::fdxb:
      return fast_decoupled(grid, problem, std::move(start), Decoupling::xb, simple(100));
    case Method::fdbx:
      return fast_decoupled(grid, problem, std::move(start), Decoupling::bx, simple(100));
    case Method::gs:
      return gauss_seidel(problem, std::move(start), simple(10000));
    case Method::bfs:
      return sweep(problem, std::move(start), simple(200));
    case Method::dc:
      return linear(grid, problem);
    default: {
      FirstOrderOptions first = options.first_order;
      first.tolerance = options.tolerance;
      first.stop_mismatch = options.stop_mismatch;
      first.trace = options.trace;
      if (most > 0) first.max_iterations = most;
      return first_order(problem, std::move(start), first);
    }
  }
}

LimitedSolution by_method(const Grid& grid, const Network& network, Newton& newton, State start,
                          const MethodOptions& options, Path& path) {
  path = path_of(options.method);
  if (options.method == Method::nr || options.method == Method::nr_ls) {
    const NewtonOptions newton_options{.tolerance = options.tolerance,
                                       .stop_mismatch = options.stop_mismatch,
                                       .max_iterations = options.max_iterations > 0 ? options.max_iterations : 20,
                                       .line_search = options.method == Method::nr_ls,
                                       .polish = true,
                                       .trace = options.trace};
    return solve_with_q_limits(grid, network, newton, std::move(start), newton_options, options.q_limits);
  }
  if (options.q_limits != QLimits::off)
    throw usage_error("--qlim goes with Newton's method, not with --method {}", name(options.method));
  if (!network.slack_weight.empty())
    throw usage_error("--slack distributed goes with Newton's method, not with --method {}", name(options.method));
  LimitedSolution out;
  out.type = network.type;
  out.p = network.p;
  out.q = network.q;
  out.solution = without_limits(grid, problem_of(network), std::move(start), options, path);
  return out;
}

SolutionCheck check_solution(const Problem& problem, const Solution& solution, Newton& newton) {
  const Network& network = *problem.network;
  SolutionCheck out;
  out.lowest_vm = *std::ranges::min_element(solution.state.vm);
  for (std::size_t k = 0; k < network.slots.size(); ++k)
    if (const int f = network.from_of_branch[k], t = network.to_of_branch[k]; f >= 0)
      out.wide_angles += std::cos(solution.state.va[f] - solution.state.va[t]) < 0;
  try {
    const bool flat = newton.factor_at(problem, flat_start(problem)).negative_determinant();
    out.determinant_changed = newton.factor_at(problem, solution.state).negative_determinant() != flat;
  } catch (const Error&) {
    // A Jacobian that needs pivoting has no cheap sign.
  }
  return out;
}

}  // namespace

Method method_of(const std::string& word) {
  const auto found = std::ranges::find(names, word);
  if (found == names.end()) throw usage_error("there is no method {}", word);
  return static_cast<Method>(found - names.begin());
}
std::string name(Method method) {
  return names[static_cast<std::size_t>(method)];
}

Desk::Desk(const Grid& grid, const Network& network, const MethodOptions& options)
    : grid_(&grid), changed_(grid), network_(network), options_(options), newton_(network_) {}

void Desk::put(const OperatingPoint& point) {
  changed_.bus.pd = point.pd;
  changed_.bus.qd = point.qd;
  changed_.gen.pg = point.pg;
  changed_.gen.vg = point.vg;
  specify(*grid_, network_, point, {network_.p, network_.q, network_.set_point});
}

Outcome Desk::outcome(LimitedSolution&& limited, Path path) {
  Outcome out;
  const Problem problem = problem_of(network_, limited);
  const State& state = limited.solution.state;
  const std::vector<Complex> v = phasors(state);
  std::vector<Complex> s(v.size());
  injections(problem, v, s);
  out.flows = flows(changed_, problem, state, v, s, limited.held, options_.branches);
  std::vector<double> f(2 * v.size());
  const double worst = mismatch(problem, state, s, f);
  out.measured = measure(problem, f, worst);
  const auto at = std::ranges::max_element(f, {}, [](double x) { return std::abs(x); });
  out.limited = limited.limited;
  out.solution = std::move(limited.solution);
  out.solution.max_mismatch = worst;
  out.solution.worst_node = static_cast<int>(at - f.begin()) / 2;
  out.path = path;
  out.lost_load_mw = network_.lost_load_mw;
  if (options_.check && out.solution.status == Status::converged)
    out.check = check_solution(problem, out.solution, newton_);
  return out;
}

Outcome Desk::solve(const OperatingPoint& point, const State* start) {
  put(point);
  const Problem problem = problem_of(network_);
  State from = start != nullptr ? *start : starting_point(changed_, problem, options_.start);
  for (std::size_t i = 0; start != nullptr && i < from.vm.size(); ++i)
    if (problem.type[i] != NodeType::pq) from.vm[i] = problem.set_point[i];
  Path path;
  LimitedSolution limited = by_method(changed_, network_, newton_, std::move(from), options_, path);
  return outcome(std::move(limited), path);
}

Outcome Desk::finish(const OperatingPoint& point, ScenarioResult&& solved) {
  put(point);
  if (solved.solution.status == Status::converged && options_.q_limits != QLimits::off) {
    const int spent = solved.solution.iterations;
    LimitedSolution limited =
        solve_with_q_limits(changed_, network_, newton_, std::move(solved.solution.state),
                            {.tolerance = options_.tolerance, .polish = false}, options_.q_limits);
    limited.solution.iterations += spent;
    return outcome(std::move(limited), solved.path);
  }
  LimitedSolution plain;
  plain.solution = std::move(solved.solution);
  plain.type = network_.type;
  plain.p = network_.p;
  plain.q = network_.q;
  return outcome(std::move(plain), solved.path);
}

Outcome solve_anew(const Grid& grid, const NetworkOptions& network_options, const MethodOptions& options) {
  const Network network = build_network(grid, network_options);
  const Problem problem = problem_of(network);
  Newton newton(network);
  ScenarioResult solved =
      climb(grid, newton, problem, starting_point(grid, problem, options.start), {.tolerance = options.tolerance});
  return Desk(grid, network, options).finish(OperatingPoint(grid), std::move(solved));
}

Outcome not_started(const Grid& grid, const Network& network) {
  Desk desk(grid, network, {});
  ScenarioResult nothing;
  const std::vector<double> nan(static_cast<std::size_t>(network.nodes()), std::nan(""));
  nothing.solution.state = {nan, nan, {}};
  if (!network.slack_weight.empty())
    nothing.solution.state.lambda.assign(static_cast<std::size_t>(network.islands), 0.0);
  return desk.finish(OperatingPoint(grid), std::move(nothing));
}

}  // namespace fachwerk::dpf
