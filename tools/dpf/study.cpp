#include "study.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

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

// The sign of det J costs two factorisations: chord follows it from the base case, so only what is odd besides is
// asked.
SolutionCheck check_solution(const Problem& problem, const Solution& solution, Path path, Newton& newton) {
  SolutionCheck out = check_voltages(problem, solution.state);
  if (path == Path::chord && !out.suspicious()) return out;
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
    : grid_(&grid),
      changed_(grid),
      network_(network),
      options_(options),
      newton_(network_),
      flow_work_(network_),
      point_(grid),
      s_(network_.type.size()),
      f_(2 * s_.size()) {}

OperatingPoint& Desk::fresh_point() {
  point_.pd = grid_->bus.pd;
  point_.qd = grid_->bus.qd;
  point_.pg = grid_->gen.pg;
  point_.vg = grid_->gen.vg;
  return point_;
}

void Desk::put(const OperatingPoint& point) {
  changed_.bus.pd = point.pd;
  changed_.bus.qd = point.qd;
  changed_.gen.pg = point.pg;
  changed_.gen.vg = point.vg;
  specify(*grid_, network_, point, {network_.p, network_.q, network_.set_point, network_.zip});
}

// The same without copying.
void Desk::put_own(OperatingPoint& point) {
  changed_.bus.pd.swap(point.pd);
  changed_.bus.qd.swap(point.qd);
  changed_.gen.pg.swap(point.pg);
  changed_.gen.vg.swap(point.vg);
  if (!network_.zip.empty())  // a point solved by itself before may have left others
    specify(changed_, network_, OperatingPoint(changed_), {network_.p, network_.q, network_.set_point, network_.zip});
}

// Empty where the batch does not know them.
std::span<const Complex> Desk::injections_of(const ScenarioView& view) {
  if (view.injected_p.empty()) return {};
  for (std::size_t i = 0; i < s_.size(); ++i)
    s_[i] = {view.injected_p[i], view.injected_q[i]};
  return s_;
}

// Flows and measures of a solution, into out_. `view`: what is known of it already.
void Desk::complete(const Problem& problem, LimitedSolution&& limited, Path path, const ScenarioView& view) {
  const State& state = limited.solution.state;
  v_.clear();
  if (!view.e.empty() && options_.branches) {
    v_.resize(s_.size());
    for (std::size_t i = 0; i < v_.size(); ++i)
      v_[i] = {view.e[i], view.f[i]};
  } else if (options_.branches || view.injected_p.empty()) {
    v_ = phasors(state);
  }
  if (injections_of(view).empty()) injections(problem, v_, s_);
  if (!options_.branches) v_.clear();
  flow_work_.flows(changed_, problem, state, v_, s_, limited.held, out_.flows);
  std::ranges::fill(f_, 0.0);
  const double worst = mismatch(problem, state, s_, f_);
  out_.measured = measure(problem, f_, worst);
  const auto at = std::ranges::max_element(f_, {}, [](double x) { return std::abs(x); });
  out_.limited = limited.limited;
  out_.solution = std::move(limited.solution);
  out_.solution.max_mismatch = worst;
  out_.solution.worst_node = static_cast<int>(at - f_.begin()) / 2;
  out_.path = path;
  out_.lost_load_mw = network_.lost_load_mw;
  out_.check = {};
  if (out_.solution.status == Status::converged) out_.check = check_solution(problem, out_.solution, path, newton_);
  if (options_.mismatches) put_mismatches(network_, f_, out_.flows);
}

Outcome Desk::solve(const OperatingPoint& point, const State* start) {
  put(point);
  const Problem problem = problem_of(network_);
  State from = start != nullptr ? *start : starting_point(changed_, problem, options_.start);
  for (std::size_t i = 0; start != nullptr && i < from.vm.size(); ++i)
    if (problem.type[i] != NodeType::pq) from.vm[i] = problem.set_point[i];
  Path path;
  LimitedSolution limited = by_method(changed_, network_, newton_, std::move(from), options_, path);
  const LimitedSolution types{{}, limited.type, limited.p, limited.q, {}, 0, 0};
  complete(problem_of(network_, types), std::move(limited), path, {});
  return std::move(out_);
}

Outcome Desk::climb(OperatingPoint& point, const State& base) {
  put(point);
  return finish(point, dpf::climb(changed_, newton_, problem_of(network_), base, {.tolerance = options_.tolerance}));
}

const Outcome& Desk::finish(OperatingPoint& point, ScenarioResult&& solved) {
  if (solved.solution.status == Status::converged && options_.q_limits != QLimits::off) {
    put(point);
    const int spent = solved.solution.iterations;
    LimitedSolution limited =
        solve_with_q_limits(changed_, network_, newton_, std::move(solved.solution.state),
                            {.tolerance = options_.tolerance, .polish = false}, options_.q_limits);
    limited.solution.iterations += spent;
    const LimitedSolution types{{}, limited.type, limited.p, limited.q, {}, 0, 0};
    complete(problem_of(network_, types), std::move(limited), solved.path, {});
    return out_;
  }
  Problem problem = problem_of(network_);
  if (solved.view.p.empty()) {
    put(point);
  } else {
    put_own(point);
    problem.p = solved.view.p;
    problem.q = solved.view.q;
    problem.set_point = solved.view.set_point;
  }
  LimitedSolution plain;
  plain.solution = std::move(solved.solution);
  complete(problem, std::move(plain), solved.path, solved.view);
  return out_;
}

QLimitRounds Desk::first_round(OperatingPoint& point) {
  put(point);
  return {changed_, network_, options_.q_limits};
}

bool Desk::accept(OperatingPoint& point, QLimitRounds& rounds, ScenarioResult&& solved) {
  put(point);
  if (rounds.now().rounds > 0 && solved.solution.status != Status::converged) {
    const int spent = solved.solution.iterations;
    solved.solution =
        newton_.solve(rounds.problem(network_), rounds.start(), {.tolerance = options_.tolerance, .polish = false});
    solved.solution.iterations += spent;
    solved.view = {};
  }
  return rounds.accept(changed_, network_, flow_work_, std::move(solved.solution), injections_of(solved.view));
}

const Outcome& Desk::finish(OperatingPoint& point, QLimitRounds&& rounds, Path path) {
  put(point);
  bool turned;
  LimitedSolution limited = rounds.finish(network_, turned);
  const LimitedSolution types{{}, limited.type, limited.p, limited.q, {}, 0, 0};
  complete(problem_of(network_, types), std::move(limited), path, {});
  return out_;
}

Outcome solve_anew(const Grid& grid, const NetworkOptions& network_options, const MethodOptions& options) {
  const Network network = build_network(grid, network_options);
  const Problem problem = problem_of(network);
  Newton newton(network);
  ScenarioResult solved =
      climb(grid, newton, problem, starting_point(grid, problem, options.start), {.tolerance = options.tolerance});
  OperatingPoint point(grid);
  return Desk(grid, network, options).finish(point, std::move(solved));
}

SolutionCheck check_voltages(const Problem& problem, const State& state) {
  const Network& network = *problem.network;
  SolutionCheck out;
  out.lowest_vm = *std::ranges::min_element(state.vm);
  const auto [least, largest] = std::ranges::minmax(state.va);
  for (std::size_t k = 0; largest - least > std::numbers::pi / 2 && k < network.slots.size(); ++k)
    if (const int f = network.from_of_branch[k], t = network.to_of_branch[k]; f >= 0) {
      const double across = state.va[f] - state.va[t];
      out.wide_angles += std::abs(across) > std::numbers::pi / 2 && std::cos(across) < 0;
    }
  return out;
}

void put_mismatches(const Network& network, std::span<const double> mismatch, Flows& flows) {
  const std::size_t n = network.node_of_bus.size();
  flows.mismatch_p.assign(n, std::nan(""));
  flows.mismatch_q.assign(n, std::nan(""));
  for (std::size_t i = 0; i < n; ++i) {
    const int k = network.node_of_bus[i];
    if (k < 0) continue;
    const double here = network.bus_of_node[k] == static_cast<int>(i) ? network.base_mva : 0;
    flows.mismatch_p[i] = here * mismatch[2 * k];
    flows.mismatch_q[i] = here * mismatch[2 * k + 1];
  }
}

Outcome not_started(const Grid& grid, const Network& network) {
  Desk desk(grid, network, {.mismatches = true});
  ScenarioResult nothing;
  const std::vector<double> nan(static_cast<std::size_t>(network.nodes()), std::nan(""));
  nothing.solution.state = {nan, nan, {}};
  if (!network.slack_weight.empty())
    nothing.solution.state.lambda.assign(static_cast<std::size_t>(network.islands), 0.0);
  return desk.finish(desk.fresh_point(), std::move(nothing));
}

}  // namespace fachwerk::dpf
