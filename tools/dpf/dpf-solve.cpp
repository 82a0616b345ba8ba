#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "batch.hpp"
#include "cli/command.hpp"
#include "cli/progress.hpp"
#include "first_order.hpp"
#include "io/plot.hpp"
#include "layout.hpp"
#include "lm.hpp"
#include "qlimits.hpp"

using namespace fachwerk;

namespace {

struct Options {
  std::string input, output;
  std::string method = "auto", init = "auto", q_limits = "off", reference_rule = "largest", zero_impedance = "error";
  double tolerance = 1e-8;
  int max_iterations = 0;
  bool allow_failures = false, scale_generation = false;
  std::string scenarios, area = "auto";
  std::vector<std::string> outputs = {"v", "flows", "gen", "loss"};
  int memory = 4;
  std::string slack = "single", plot, preset;
  double rate = 0.003377, beta1 = 0.979681, beta2 = 0.963442, alpha = 0.86468552, momentum = 0, weight_decay = 0;
  std::string loss = "mse";
  bool trace = false;
};

dpf::FirstOrderOptions first_order_options(const Options& options) {
  dpf::FirstOrderOptions out;
  if (!options.preset.empty()) {
    out = dpf::paper_preset(options.preset);
  } else {
    out.optimiser = options.method == "rmsprop" ? dpf::Optimiser::rmsprop
                    : options.method == "sgd"   ? dpf::Optimiser::sgd
                                                : dpf::Optimiser::adam;
    out.rate = options.rate;
    out.beta1 = options.beta1;
    out.beta2 = options.beta2;
    out.alpha = options.alpha;
    out.momentum = options.momentum;
    out.weight_decay = options.weight_decay;
  }
  out.loss = options.loss == "l1"      ? dpf::Loss::l1
             : options.loss == "l1sum" ? dpf::Loss::l1_sum
             : options.loss == "huber" ? dpf::Loss::huber
                                       : dpf::Loss::mse;
  out.tolerance = options.tolerance;
  if (options.max_iterations > 0) out.max_iterations = options.max_iterations;
  out.trace = options.trace;
  return out;
}

bool is_first_order(const std::string& method) {
  return method == "adam" || method == "rmsprop" || method == "sgd";
}

dpf::Outputs outputs_of(const Options& options) {
  const auto has = [&](const char* word) { return std::ranges::find(options.outputs, word) != options.outputs.end(); };
  for (const auto& word : options.outputs)
    if (word != "v" && word != "flows" && word != "gen" && word != "loss")
      throw usage_error("--outputs: {} is not one of v, flows, gen, loss", word);
  return {.voltages = has("v"), .flows = has("flows"), .generators = has("gen")};
}

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

dpf::QLimits q_limits(const std::string& word) {
  if (word == "all") return dpf::QLimits::all;
  if (word == "one") return dpf::QLimits::one;
  if (word == "smooth") return dpf::QLimits::smooth;
  return dpf::QLimits::off;
}

dpf::Start start_of(const std::string& word) {
  if (word == "file") return dpf::Start::file;
  if (word == "flat") return dpf::Start::flat;
  if (word == "dc") return dpf::Start::dc;
  return dpf::Start::automatic;
}

// What tells a low-voltage solution from the operating one (spec 2.5, solution_check).
struct SolutionCheck {
  double lowest_vm = 0;
  int wide_angles = 0;  ///< branches with more than 90 degrees between their ends
  bool determinant_changed = false;
};

SolutionCheck check_solution(const dpf::Problem& problem, const dpf::Solution& solution, dpf::Newton& newton) {
  const dpf::Network& network = *problem.network;
  SolutionCheck out;
  out.lowest_vm = *std::ranges::min_element(solution.state.vm);
  for (std::size_t k = 0; k < network.slots.size(); ++k)
    if (const int f = network.from_of_branch[k], t = network.to_of_branch[k]; f >= 0)
      out.wide_angles += std::cos(solution.state.va[f] - solution.state.va[t]) < 0;
  try {
    const bool flat = newton.factor_at(problem, dpf::flat_start(problem)).negative_determinant();
    out.determinant_changed = newton.factor_at(problem, solution.state).negative_determinant() != flat;
  } catch (const Error&) {
    // A Jacobian that needs pivoting has no cheap sign.
  }
  return out;
}

void summarise_grid(cli::Session& session, const dpf::Grid& grid, const dpf::Network& network) {
  auto& summary = session.summary;
  summary.add("case", grid.name);
  summary.add("buses", grid.bus.size());
  summary.add("branches in service", std::ranges::count_if(network.from_of_branch, [](int f) { return f >= 0; }));
  summary.add("generators in service", std::ranges::count_if(network.node_of_gen, [](int k) { return k >= 0; }));
  summary.add("islands", network.islands);
  const auto dead = std::ranges::count(network.node_of_bus, -1);
  if (dead > 0) {
    summary.add("dead buses", dead);
    summary.add("lost load", network.lost_load_mw, "MW");
  }
}

void summarise_voltages(cli::Session& session, const dpf::Grid& grid, const dpf::Flows& result) {
  std::size_t low = grid.bus.size(), high = low;
  for (std::size_t i = 0; i < result.vm.size(); ++i) {
    if (std::isnan(result.vm[i])) continue;
    if (low == grid.bus.size() || result.vm[i] < result.vm[low]) low = i;
    if (high == grid.bus.size() || result.vm[i] > result.vm[high]) high = i;
  }
  session.summary.add("lowest voltage", result.vm[low], "pu");
  session.summary.add("lowest voltage bus", grid.bus.id[low]);
  session.summary.add("highest voltage", result.vm[high], "pu");
  session.summary.add("highest voltage bus", grid.bus.id[high]);
}

void tabulate(cli::Session& session, const dpf::Grid& grid, const dpf::Flows& result) {
  if (grid.bus.size() <= 40) {
    cli::Table buses{"bus voltages", {"bus", "vm pu", "va deg", "load MW", "load MVAr"}};
    for (std::size_t i = 0; i < grid.bus.size(); ++i)
      buses.rows.push_back({grid.bus.id[i], result.vm[i], result.va[i], grid.bus.pd[i], grid.bus.qd[i]});
    session.summary.add(std::move(buses));
    cli::Table generators{"generator outputs", {"bus", "pg MW", "qg MVAr"}};
    for (std::size_t g = 0; g < grid.gen.size(); ++g)
      generators.rows.push_back({grid.gen.bus[g], result.pg[g], result.qg[g]});
    session.summary.add(std::move(generators));
  }
  std::vector<std::size_t> rated;
  for (std::size_t k = 0; k < result.loading.size(); ++k)
    if (!std::isnan(result.loading[k])) rated.push_back(k);
  const std::size_t count = std::min<std::size_t>(5, rated.size());
  std::ranges::partial_sort(rated, rated.begin() + static_cast<std::ptrdiff_t>(count), std::greater{},
                            [&](std::size_t k) { return result.loading[k]; });
  if (count == 0) return;
  cli::Table loadings{"highest loadings", {"branch", "from", "to", "loading %", "p MW", "q MVAr"}};
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t k = rated[i];
    loadings.rows.push_back({static_cast<std::int64_t>(k + 1), grid.branch.from[k], grid.branch.to[k],
                             static_cast<double>(result.loading[k]), result.pf[k], result.qf[k]});
  }
  session.summary.add(std::move(loadings));
}

dpf::NetworkOptions network_options(const Options& options) {
  return {.first_reference = options.reference_rule == "first",
          .merge_zero_impedance = options.zero_impedance == "merge"};
}

void write_history(h5::Output& file, const std::vector<dpf::Iteration>& trace) {
  if (trace.empty()) return;
  std::vector<double> worst, mean, relative;
  for (const auto& t : trace) {
    worst.push_back(t.max_mismatch);
    mean.push_back(t.mean_square);
    relative.push_back(t.relative);
  }
  file.column("/history/max_mismatch", worst,
              {.units = "pu", .long_name = "largest mismatch before each step", .dims = {"step"}});
  file.column("/history/mse", mean, {.units = "pu2", .long_name = "mean square mismatch", .dims = {"step"}});
  file.column("/history/rel_mismatch", relative, {.units = "1", .long_name = "relative mismatch", .dims = {"step"}});
}

// The chosen method on one state. Only Newton's goes with reactive limits.
dpf::LimitedSolution by_method(const Options& options, const dpf::Grid& grid, const dpf::Network& network,
                               dpf::Newton& newton, const dpf::NewtonOptions& newton_options) {
  const dpf::Problem problem = dpf::problem_of(network);
  dpf::State start = dpf::starting_point(grid, problem, start_of(options.init));
  const bool other = options.method == "lm" || options.method == "dc" || is_first_order(options.method);
  if (!other)
    return dpf::solve_with_q_limits(grid, network, newton, std::move(start), newton_options,
                                    q_limits(options.q_limits));
  if (options.q_limits != "off")
    throw usage_error("--qlim goes with Newton's method, not with --method {}", options.method);
  if (options.slack != "single")
    throw usage_error("--slack distributed goes with Newton's method, not with --method {}", options.method);
  dpf::LimitedSolution out;
  out.type = network.type;
  out.p = network.p;
  out.q = network.q;
  if (options.method == "lm") {
    out.solution = dpf::levenberg_marquardt(
        problem, std::move(start),
        {.tolerance = options.tolerance, .max_iterations = options.max_iterations > 0 ? options.max_iterations : 200});
  } else if (options.method == "dc") {
    out.solution.state = dpf::dc_angles(grid, network, problem, dpf::flat_start(problem));
    std::vector<double> f(2 * out.solution.state.vm.size());
    out.solution.max_mismatch = dpf::mismatch(problem, out.solution.state, f);
    out.solution.worst_node =
        static_cast<int>(std::ranges::max_element(f, {}, [](double x) { return std::abs(x); }) - f.begin()) / 2;
    out.solution.status = dpf::Status::converged;  // of the linear problem: there is nothing to iterate
  } else {
    out.solution = dpf::first_order(problem, std::move(start), first_order_options(options));
  }
  return out;
}

// Voltage profile of one state; the envelope over the scenarios of many.
void plot_profile(const Options& options, cli::Session& session, const dpf::Grid& grid, const dpf::Flows& result) {
  plot::Figure figure;
  figure.title = fmt::format("{}: voltage profile", grid.name);
  figure.x_label = "bus (row of the file)";
  figure.y_label = plot::label("voltage", "pu");
  std::vector<double> x, low, high;
  for (std::size_t i = 0; i < grid.bus.size(); ++i) {
    x.push_back(static_cast<double>(i + 1));
    low.push_back(grid.bus.vmin[i]);
    high.push_back(grid.bus.vmax[i]);
  }
  figure.series.push_back({.name = "voltage", .x = x, .y = result.vm, .points = grid.bus.size() > 60});
  if (std::ranges::all_of(low, [](double v) { return std::isfinite(v) && v > 0; }))
    figure.series.push_back({.name = "lower limit", .x = x, .y = low});
  if (std::ranges::all_of(high, [](double v) { return std::isfinite(v) && v > 0; }))
    figure.series.push_back({.name = "upper limit", .x = x, .y = high});
  plot::save(figure, options.plot, session.force);
}

void plot_envelope(const Options& options, cli::Session& session, const dpf::Grid& grid,
                   const std::array<std::vector<double>, 3>& envelope) {
  plot::Figure figure;
  figure.title = fmt::format("{}: voltages over the scenarios", grid.name);
  figure.x_label = "scenario";
  figure.y_label = plot::label("voltage", "pu");
  static constexpr const char* names[] = {"lowest", "mean", "highest"};
  for (std::size_t k = 0; k < 3; ++k)
    figure.series.push_back({.name = names[k], .y = envelope[k]});
  plot::save(figure, options.plot, session.force);
}

void solve_one(const Options& options, cli::Session& session, const dpf::LoadedGrid& input, double read_time) {
  const dpf::Grid& grid = input.grid;
  auto clock = Clock::now();
  dpf::Network network = dpf::build_network(grid, network_options(options));
  if (options.slack == "distributed") dpf::distribute_slack(network, grid);
  for (const auto& warning : network.warnings)
    session.warn(warning);
  dpf::Newton newton(network);
  const dpf::NewtonOptions newton_options{.tolerance = options.tolerance,
                                          .max_iterations = options.max_iterations > 0 ? options.max_iterations : 20,
                                          .line_search = options.method == "nr-ls",
                                          .polish = true,
                                          .trace = options.trace};
  const dpf::LimitedSolution limited = by_method(options, grid, network, newton, newton_options);
  const dpf::Solution& solution = limited.solution;
  const dpf::Problem problem = dpf::problem_of(network, limited);
  const double solve_time = seconds_since(clock);

  clock = Clock::now();
  const dpf::Flows result = dpf::flows(grid, problem, solution.state, limited.held);
  std::vector<double> f(2 * solution.state.vm.size());
  const auto measured = dpf::measure(problem, f, dpf::mismatch(problem, solution.state, f));
  h5::Output file = h5::Output::create(options.output, session.force);
  file.stamp(session, "power-flow", input.file ? &*input.file : nullptr);
  dpf::write_grid(file, grid);
  dpf::write_header(file,
                    {.status = {static_cast<std::int8_t>(solution.status)},
                     .iterations = {solution.iterations},
                     .max_mismatch = {solution.max_mismatch},
                     .relative = {measured.relative},
                     .mean_square = {measured.mean_square},
                     .path = {static_cast<std::uint8_t>(options.method == "nr-ls"                            ? 2
                                                        : options.method == "lm"                             ? 5
                                                        : options.method == "auto" || options.method == "nr" ? 1
                                                                                                             : 6)},
                     .slack_mw = {result.slack_mw},
                     .loss_mw = {result.loss_mw},
                     .lost_load_mw = {network.lost_load_mw}});
  const dpf::Outputs outputs = outputs_of(options);
  dpf::create_flows(file, 1, grid, outputs);
  dpf::write_flows(file, 0, {&result}, outputs);
  write_history(file, solution.trace);
  if (input.file) file.carry(*input.file, {"/result", "/history"});
  file.commit();
  if (!options.plot.empty()) plot_profile(options, session, grid, result);
  const double write_time = seconds_since(clock);

  auto& summary = session.summary;
  summarise_grid(session, grid, network);
  summary.add("method", options.method == "auto" ? "nr" : options.method);
  if (options.slack == "distributed") summary.add("distributed slack", solution.state.lambda[0] * grid.base_mva, "MW");
  summary.add("status", dpf::name(solution.status));
  summary.add("iterations", solution.iterations);
  summary.add("max mismatch", solution.max_mismatch, "pu");
  summary.add("max mismatch bus", grid.bus.id[network.bus_of_node[solution.worst_node]]);
  if (options.q_limits != "off") summary.add("generators at a reactive limit", limited.limited);
  summary.add("generation", result.generation_mw, "MW");
  summary.add("load", result.load_mw, "MW");
  summary.add("losses", result.loss_mw, "MW");
  summary.add("slack", result.slack_mw, "MW");
  summarise_voltages(session, grid, result);
  if (solution.status == dpf::Status::converged) {
    const SolutionCheck check = check_solution(problem, solution, newton);
    if (check.lowest_vm < 0.5 || check.wide_angles > 0 || check.determinant_changed)
      session.warn(
          fmt::format("this may be a low-voltage solution: lowest |V| {:.4f} pu, {} branches with over 90 degrees, "
                      "sign of det J {} that of the flat start",
                      check.lowest_vm, check.wide_angles, check.determinant_changed ? "differs from" : "as"));
  }
  summary.add("time to read", read_time, "s");
  summary.add("time to solve", solve_time, "s");
  summary.add("time to write", write_time, "s");
  tabulate(session, grid, result);
  if (solution.status != dpf::Status::converged && !options.allow_failures)
    session.fail(fmt::format("{}: {} after {} iterations, max mismatch {:.3g} pu at bus {}", input.name,
                             dpf::name(solution.status), solution.iterations, solution.max_mismatch,
                             grid.bus.id[network.bus_of_node[solution.worst_node]]));
}

// What a chunk of scenarios leaves behind until it is written.
struct Solved {
  dpf::ScenarioResult result;
  dpf::Flows flows;
  dpf::Iteration measured{};
  double lost_load = 0;
};

// One scenario after its voltages are known: reactive limits where asked for, flows, measures of the mismatch.
void finish(const Options& options, const dpf::Grid& grid, const dpf::Network& network,
            const dpf::OperatingPoint& point, Solved& out) {
  const std::size_t n = static_cast<std::size_t>(network.nodes());
  dpf::Network own;  // with the scenario's injections; the matrices are not looked at
  std::vector<double> p(n), q(n), set_point = network.set_point;
  dpf::specify(grid, network, point, {p, q, set_point});
  const dpf::Grid changed = dpf::with_point(grid, point);
  dpf::Problem problem = dpf::problem_of(network);
  problem.p = p;
  problem.q = q;
  problem.set_point = set_point;
  dpf::Solution& solution = out.result.solution;
  if (solution.status == dpf::Status::converged && options.q_limits != "off") {
    own = network;
    own.p = p;
    own.q = q;
    own.set_point = set_point;
    dpf::Newton newton(own);
    dpf::LimitedSolution limited =
        dpf::solve_with_q_limits(changed, own, newton, solution.state,
                                 {.tolerance = options.tolerance, .polish = false}, q_limits(options.q_limits));
    limited.solution.iterations += solution.iterations;
    out.flows = dpf::flows(changed, dpf::problem_of(own, limited), limited.solution.state, limited.held);
    solution = std::move(limited.solution);
  } else {
    out.flows = dpf::flows(changed, problem, solution.state);
    std::vector<double> f(2 * n);
    out.measured = dpf::measure(problem, f, dpf::mismatch(problem, solution.state, f));
    solution.max_mismatch = out.measured.max_mismatch;
  }
  out.lost_load = network.lost_load_mw;
}

// A scenario whose topology is its own: built and solved alone.
void solve_alone(const Options& options, const dpf::Grid& grid, Solved& out) {
  const dpf::Network network = dpf::build_network(grid, network_options(options));
  const dpf::Problem problem = dpf::problem_of(network);
  dpf::Newton newton(network);
  out.result = dpf::climb(grid, newton, problem, dpf::starting_point(grid, problem, start_of(options.init)),
                          {.tolerance = options.tolerance});
  out.flows = dpf::flows(grid, problem, out.result.solution.state);
  std::vector<double> f(2 * static_cast<std::size_t>(network.nodes()));
  out.measured = dpf::measure(problem, f, dpf::mismatch(problem, out.result.solution.state, f));
  out.lost_load = network.lost_load_mw;
}

void summarise_scenarios(cli::Session& session, const dpf::ResultHeader& header) {
  auto& summary = session.summary;
  std::vector<std::int32_t> iterations = header.iterations;
  std::ranges::sort(iterations);
  summary.add("scenarios", header.status.size());
  for (int status = 0; status <= 6; ++status)
    if (const auto count = std::ranges::count(header.status, status); count > 0 || status == 0)
      summary.add(dpf::name(static_cast<dpf::Status>(status)), count);
  summary.add("solved beyond chord", std::ranges::count_if(header.path, [](std::uint8_t p) { return p != 0; }));
  summary.add("iterations, least", iterations.front());
  summary.add("iterations, median", iterations[iterations.size() / 2]);
  summary.add("iterations, most", iterations.back());
  double worst = 0;
  for (std::size_t s = 0; s < header.status.size(); ++s)
    if (header.status[s] == 0) worst = std::max(worst, header.max_mismatch[s]);
  summary.add("largest mismatch of the converged", worst, "pu");
}

// Scenarios in chunks: read, solve, write, so that memory does not grow with their number.
void solve_many(const Options& options, cli::Session& session, const dpf::LoadedGrid& input, dpf::ScenarioSource source,
                double read_time) {
  const dpf::Grid& grid = input.grid;
  const dpf::Outputs outputs = outputs_of(options);
  auto clock = Clock::now();
  const dpf::Network network = dpf::build_network(grid, network_options(options));
  for (const auto& warning : network.warnings)
    session.warn(warning);
  const dpf::Problem problem = dpf::problem_of(network);
  dpf::Newton newton(network);
  const dpf::ScenarioResult base =
      dpf::climb(grid, newton, problem, dpf::starting_point(grid, problem, start_of(options.init)),
                 {.tolerance = options.tolerance});
  if (base.solution.status != dpf::Status::converged)
    throw method_failed(
        "{}: the base case has no solution ({}, max mismatch {:.3g} pu): its Jacobian is what the scenarios share",
        input.name, dpf::name(base.solution.status), base.solution.max_mismatch);
  dpf::BatchOptions batch_options;
  batch_options.tolerance = options.tolerance;
  batch_options.memory = options.memory;
  if (options.method == "nr") batch_options.max_iterations = 0;  // straight to the ladder, whose first rung is Newton
  dpf::Batch batch(grid, problem, base.solution.state, batch_options);

  const std::size_t count = source.count();
  h5::Output file = h5::Output::create(options.output, session.force);
  file.stamp(session, "power-flow", input.file ? &*input.file : nullptr);
  dpf::write_grid(file, grid);
  dpf::create_flows(file, count, grid, outputs);
  dpf::ResultHeader header;
  std::array<std::vector<double>, 3> envelope;
  double solve_time = 0, write_time = 0;
  cli::Progress progress(session, "solving", count, "scenarios");
  const auto chunk = static_cast<std::size_t>(std::max(64, 4 * batch.lanes() * session.threads));
  for (std::size_t first = 0; first < count; first += chunk) {
    const std::size_t size = std::min(chunk, count - first);
    clock = Clock::now();
    source.load(first, size);
    read_time += seconds_since(clock);
    clock = Clock::now();
    std::vector<Solved> solved(size);
    const auto point_of = [&](std::size_t s) {
      dpf::OperatingPoint point(grid);
      source.point(s, point);
      if (options.scale_generation) dpf::scale_generation(grid, point);
      return point;
    };
    const auto alone = [&](std::size_t s) {
      return source.changes() != nullptr && source.changes()->changes_topology(s);
    };
    batch.solve(
        first, size,
        [&](std::size_t s, const dpf::Specified& x) {
          if (!alone(s)) dpf::specify(grid, network, point_of(s), x);
        },
        [&](std::size_t s, dpf::ScenarioResult&& result) {
          solved[s - first].result = std::move(result);
          if (alone(s))
            solve_alone(options, source.changes()->apply(s, grid), solved[s - first]);
          else
            finish(options, grid, network, point_of(s), solved[s - first]);
          progress.advance();
        });
    solve_time += seconds_since(clock);
    clock = Clock::now();
    for (std::size_t i = 0; i < size; ++i) {
      const Solved& s = solved[i];
      header.status.push_back(static_cast<std::int8_t>(s.result.solution.status));
      header.iterations.push_back(s.result.solution.iterations);
      header.max_mismatch.push_back(s.result.solution.max_mismatch);
      header.relative.push_back(s.measured.relative);
      header.mean_square.push_back(s.measured.mean_square);
      header.path.push_back(static_cast<std::uint8_t>(s.result.path));
      header.slack_mw.push_back(s.flows.slack_mw);
      header.loss_mw.push_back(s.flows.loss_mw);
      header.lost_load_mw.push_back(s.lost_load);
      double low = NAN, high = NAN, sum = 0, live = 0;
      for (const double v : s.flows.vm) {
        if (std::isnan(v)) continue;
        low = std::fmin(low, v);
        high = std::fmax(high, v);
        sum += v;
        ++live;
      }
      envelope[0].push_back(low);
      envelope[1].push_back(sum / live);
      envelope[2].push_back(high);
    }
    std::vector<const dpf::Flows*> rows;
    for (const Solved& s : solved)
      rows.push_back(&s.flows);
    dpf::write_flows(file, first, rows, outputs);
    write_time += seconds_since(clock);
  }
  clock = Clock::now();
  dpf::write_header(file, header);
  source.write_labels(file);
  if (input.file) file.carry(*input.file, {"/result"});
  file.commit();
  if (!options.plot.empty()) plot_envelope(options, session, grid, envelope);
  write_time += seconds_since(clock);

  summarise_grid(session, grid, network);
  session.summary.add("method", options.method == "nr" ? "nr" : "chord");
  summarise_scenarios(session, header);
  session.summary.add("time to read", read_time, "s");
  session.summary.add("time to solve", solve_time, "s");
  session.summary.add("time to write", write_time, "s");
  session.summary.add("scenarios per second", static_cast<double>(count) / std::max(1e-9, solve_time));
  const auto failed = static_cast<std::ptrdiff_t>(count) - std::ranges::count(header.status, 0);
  if (failed > 0 && !options.allow_failures)
    session.fail(
        fmt::format("{}: {} of {} scenarios did not converge (see /result/status)", input.name, failed, count));
}

void solve(const Options& options, cli::Session& session) {
  if (!options.plot.empty()) plot::format_of(options.plot);  // before any work
  const auto clock = Clock::now();
  const dpf::LoadedGrid input = dpf::load_grid(options.input);
  for (const auto& warning : input.warnings)
    session.warn(warning);
  std::optional<dpf::ScenarioSource> source;
  if (!options.scenarios.empty())
    source = dpf::ScenarioSource::open(options.scenarios, input.grid, options.area);
  else if (input.file)
    source = dpf::ScenarioSource::in(*input.file, input.grid, options.area);
  const double read_time = seconds_since(clock);
  const bool many = source && source->count() > 0;
  if (many &&
      (options.slack != "single" || options.method == "lm" || options.method == "dc" || is_first_order(options.method)))
    throw usage_error("scenarios are solved by --method chord, nr or nr-ls with a single slack");
  if (many)
    solve_many(options, session, input, std::move(*source), read_time);
  else
    solve_one(options, session, input, read_time);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  const cli::Command command{
      .name = "dpf-solve",
      .purpose = "solve the AC power flow of a grid, for one state or many",
      .description =
          "Finds the bus voltages at which the power that flows into every bus is the power specified for it, then the flows in "
          "the branches, the outputs of the generators and the losses.\n\n"
          "One state is solved by Newton's method in polar form, with the elimination order and the pattern of the factors computed "
          "once. Converged means that the largest power mismatch is below --tol at every bus, plus what rounding alone leaves "
          "there. Buses that no source reaches are reported with voltage NaN and their load as lost.\n\n"
          "Scenarios (time series, Monte Carlo, change tables) are solved side by side with the factor of the base case's Jacobian "
          "in single precision, while states and mismatches stay in double precision: the tolerance is the same as Newton's. A "
          "scenario that contracts too slowly goes up a ladder: Newton, Newton with line search, Newton from DC angles, homotopy; "
          "/result/path tells which solved it. They are read and written in blocks, so memory does not grow with their number.\n\n"
          "The results are written even where the method did not converge (/result/status tells); the exit code is 1 then unless "
          "--allow-failures is given.",
      .arguments = {cli::input("IN", options.input,
                               "grid, kind power-case or power-flow, or a MATPOWER case file (.m); - is stdin (HDF5)"),
                    cli::output("OUT", options.output, "solved flow, kind power-flow")},
      .options =
          {{"--method",
            &options.method,
            "nr: Newton; nr-ls: with line search; chord: one shared factor and Anderson acceleration; lm: Levenberg-Marquardt; dc: linear; adam, rmsprop, sgd: the paper's gradient descent; auto: nr for one state, chord for scenarios",
            {.choices = {"auto", "nr", "nr-ls", "chord", "lm", "dc", "adam", "rmsprop", "sgd"}}},
           {"--tol", &options.tolerance, "largest power mismatch", {.unit = "pu", .minimum = 1e-14, .maximum = 1}},
           {"--max-iter",
            &options.max_iterations,
            "most iterations; 0: by method (nr 20, lm 200, gradient descent 10000)",
            {.minimum = 0, .maximum = 10000000}},
           {"--init",
            &options.init,
            "start: voltages of the file, flat, DC angles; auto: file unless it is flat, then dc",
            {.choices = {"auto", "file", "flat", "dc"}}},
           {"--qlim",
            &options.q_limits,
            "reactive limits of generators: ignored, all violated ones held at once, the worst one at a time, or with return to voltage control",
            {.choices = {"off", "all", "one", "smooth"}}},
           {"--ref-rule",
            &options.reference_rule,
            "which PV bus becomes the reference of an island without one",
            {.choices = {"largest", "first"}}},
           {"--zero-impedance",
            &options.zero_impedance,
            "branches with r = x = 0: refuse, or fuse their buses",
            {.choices = {"error", "merge"}}},
           {"--scenarios",
            &options.scenarios,
            "HDF5 with /scenarios or /changes, or a MATPOWER change table (.m); default: those of IN",
            {.value_name = "FILE"}},
           {"--area-column",
            &options.area,
            "what area numbers of a change table mean; auto: zone where a number is no area",
            {.choices = {"auto", "area", "zone"}}},
           {"--scale-generation", &options.scale_generation,
            "generator outputs follow the total load of each scenario"},
           {"--outputs", &options.outputs, "what is written: v, flows, gen, loss", {.value_name = "LIST"}},
           {"--memory", &options.memory, "columns of Anderson acceleration, 0: none", {.minimum = 0, .maximum = 8}},
           {"--slack",
            &options.slack,
            "who balances the losses: the reference bus, or all generators by participation factor (else headroom)",
            {.choices = {"single", "distributed"}}},
           {"--plot",
            &options.plot,
            "picture of the voltage profile, or of the envelope over the scenarios (.png, .svg)",
            {.value_name = "FILE"}},
           {"--preset",
            &options.preset,
            "gradient descent with the paper's settings: single, case118, case300, ...",
            {.value_name = "NAME"}},
           {"--loss", &options.loss, "of gradient descent", {.choices = {"mse", "l1", "l1sum", "huber"}}},
           {"--lr", &options.rate, "learning rate", {.minimum = 0}},
           {"--beta1", &options.beta1, "of adam", {.minimum = 0, .maximum = 1}},
           {"--beta2", &options.beta2, "of adam", {.minimum = 0, .maximum = 1}},
           {"--alpha", &options.alpha, "of rmsprop", {.minimum = 0, .maximum = 1}},
           {"--momentum", &options.momentum, "of rmsprop and sgd", {.minimum = 0, .maximum = 1}},
           {"--weight-decay", &options.weight_decay, "of rmsprop and sgd", {.minimum = 0}},
           {"--trace", &options.trace, "write the mismatch before every step to /history (nr and gradient descent)"},
           {"--allow-failures", &options.allow_failures, "exit 0 even if something did not converge"}},
      .examples = {{"dpf-solve case14.h5 flow.h5", "Solve a grid."},
                   {"dpf-import case300.m - | dpf-solve --qlim all - flow.h5",
                    "From a case file, with reactive limits enforced."},
                   {"dpf-solve --scenarios scenarios_ACTIVSg200.m case_ACTIVSg200.m year.h5",
                    "A year of hourly loads."}},
      .reference =
          "Oez, Hoerter, Phipps, Debus, Streit, Goetz: Differentiable Power-Flow Optimization. arXiv 2603.28203 (2026). Newton "
          "power flow: Tinney, Hart: IEEE Transactions on Power Apparatus and Systems 86 (1967) 1449-1460.",
      .reads =
          "/grid/{bus,gen,branch}/*  as dpf-import writes it\n"
          "/scenarios/{load_p,load_q}[scenario,load]  MW, MVAr, columns named by /scenarios/bus (default: all buses)\n"
          "/scenarios/{gen_p,gen_v}[scenario,gen]  MW, pu\n/scenarios/time[scenario]  s\n"
          "/changes/*  a change table, as dpf-import writes it",
      .writes =
          "/grid/*  as read\n/result/{status,iters,max_mismatch,rel_mismatch,mse,path,slack_mw,loss_mw,lost_load_mw}[scenario]\n"
          "/result/{vm,va}[scenario,bus]  pu, deg\n/result/{pf,qf,pt,qt,loading}[scenario,branch]  MW, MVAr, percent\n"
          "/result/{pg,qg}[scenario,gen]  MW, MVAr\n/result/{time,label}[scenario]\n/history/{max_mismatch,mse,rel_mismatch}[step]  with --trace",
      .standard = {.threads = true}};
  return command.run(argc, argv, [&](cli::Session& session) { solve(options, session); });
}
