#include "solve_state.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "adjoint.hpp"
#include "areas.hpp"
#include "cli/error.hpp"
#include "partition.hpp"
#include "report.hpp"

namespace fachwerk::dpf {
namespace {

constexpr std::array<const char*, 6> rungs = {"chord", "nr", "nr-ls", "nr from DC", "homotopy", "lm"};

void write_history(h5::Output& file, const std::vector<Iteration>& trace) {
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

// The scalar whose sensitivities --outputs adjoint writes: loss, vm:BUS, va:BUS or loading:ROW.
Observation scalar_of(const SolveOptions& options, const Grid& grid) {
  using Kind = Observation::Kind;
  if (options.adjoint_of == "loss") return {Kind::loss, 0};
  const std::size_t colon = options.adjoint_of.find(':');
  const std::string kind = options.adjoint_of.substr(0, colon);
  std::int64_t number = 0;
  if (colon != std::string::npos) {
    const char *begin = options.adjoint_of.data() + colon + 1,
               *end = options.adjoint_of.data() + options.adjoint_of.size();
    if (const auto found = std::from_chars(begin, end, number); found.ec == std::errc() && found.ptr == end) {
      const auto rows = static_cast<std::int64_t>(grid.branch.size());
      if (kind == "loading" && number >= 1 && number <= rows) return {Kind::loading, static_cast<int>(number - 1)};
      const auto bus = std::ranges::find(grid.bus.id, number);
      if ((kind == "vm" || kind == "va") && bus != grid.bus.id.end())
        return {kind == "vm" ? Kind::vm : Kind::va, static_cast<int>(bus - grid.bus.id.begin())};
    }
  }
  throw usage_error("--adjoint-of: expected loss, vm:BUS, va:BUS or loading:ROW of this grid, found \"{}\"",
                    options.adjoint_of);
}

void write_jacobian(h5::Output& file, const Grid& grid, const Problem& problem, const State& state) {
  const SparseJacobian j = sparse_jacobian(problem, state);
  std::vector<std::int64_t> bus;
  for (const int row : j.bus)
    bus.push_back(grid.bus.id[row]);
  file.column("/jacobian/bus", bus, {.long_name = "bus of every unknown and of its equation", .dims = {"unknown"}});
  file.column("/jacobian/kind", j.kind, {.long_name = "0 angle and P, 1 voltage magnitude and Q", .dims = {"unknown"}});
  file.column("/jacobian/row", j.row, {.long_name = "equation, from 0", .dims = {"entry"}});
  file.column("/jacobian/column", j.column, {.long_name = "unknown, from 0", .dims = {"entry"}});
  file.column("/jacobian/value", j.value,
              {.units = "pu/rad or pu/pu", .long_name = "dF/dx at the solution", .dims = {"entry"}});
}

void write_adjoint(h5::Output& file, const SolveOptions& options, const Grid& grid, const Problem& problem,
                   const State& state) {
  const Adjoint adjoint = injection_adjoint(grid, problem, state, scalar_of(options, grid));
  const std::string unit = options.adjoint_of == "loss"           ? "MW"
                           : options.adjoint_of.starts_with("vm") ? "pu"
                           : options.adjoint_of.starts_with("va") ? "deg"
                                                                  : "percent";
  const std::string meaning = " of " + options.adjoint_of + " by the power injected at the bus";
  file.column("/adjoint/p", adjoint.p, {.units = unit + "/MW", .long_name = "derivative" + meaning, .dims = {"bus"}});
  file.column("/adjoint/q", adjoint.q, {.units = unit + "/MVAr", .long_name = "derivative" + meaning, .dims = {"bus"}});
}

// Area of every node: by bisection into a number of areas, or from a column of /grid.
std::vector<int> chosen_areas(const SolveOptions& options, const LoadedGrid& input, const Network& network) {
  const Grid& grid = input.grid;
  int parts = 0;
  const char *begin = options.areas.data(), *end = begin + options.areas.size();
  if (const auto number = std::from_chars(begin, end, parts); number.ec == std::errc() && number.ptr == end) {
    if (parts < 1) throw usage_error("--areas: expected 1 or more areas, found {}", parts);
    return bisect(network.pattern, parts);
  }
  if (options.areas == "bus/area" || options.areas == "bus/zone") {
    const auto& column = options.areas == "bus/area" ? grid.bus.area : grid.bus.zone;
    return areas_of(network, std::vector<double>(column.begin(), column.end()));
  }
  if (!input.file || !input.file->exists("/grid/" + options.areas))
    throw usage_error("--areas: expected a number or a dataset of /grid, found \"{}\"", options.areas)
        .with_hint("bus/area and bus/zone are always there");
  return areas_of(
      network,
      input.file->read<double>("/grid/" + options.areas, {.axes = {"bus"}, .shape = {grid.bus.size()}, .finite = true})
          .values);
}

// All ranks solve their areas; the flows that follow are the first rank's work.
AreaSolution solve_by_areas(const SolveOptions& options, const cluster::Communicator& world, const LoadedGrid& input,
                            const Network& network) {
  if (options.q_limits != "off" || options.slack != "single")
    throw usage_error("--areas goes without --qlim and with --slack single");
  const Problem problem = problem_of(network);
  return solve_areas(problem, starting_point(input.grid, problem, start_of(options.init)),
                     chosen_areas(options, input, network),
                     {.method = area_method_of(options.area_method),
                      .tolerance = options.tolerance,
                      .stop_mismatch = options.stop_mismatch,
                      .max_iterations = options.max_iterations,
                      .memory = options.memory.value_or(6),
                      .trace = traced(options)},
                     world);
}

Outcome outcome_of(const Grid& grid, const Network& network, Solution&& solution) {
  Outcome out;
  const Problem problem = problem_of(network);
  const std::vector<Complex> v = phasors(solution.state);
  std::vector<Complex> s(v.size());
  injections(problem, v, s);
  FlowWork(network).flows(grid, problem, solution.state, v, s, {}, out.flows);
  std::vector<double> f(2 * v.size());
  out.measured = measure(problem, f, mismatch(problem, solution.state, s, f));
  put_mismatches(network, f, out.flows);
  if (solution.status == Status::converged) out.check = check_voltages(problem, solution.state);
  solution.max_mismatch = out.measured.max_mismatch;
  solution.worst_node =
      static_cast<int>(std::ranges::max_element(f, {}, [](double x) { return std::abs(x); }) - f.begin()) / 2;
  out.solution = std::move(solution);
  out.path = Path::other;
  out.lost_load_mw = network.lost_load_mw;
  return out;
}

// By the chosen method. Where none was chosen, what Newton cannot solve goes up the ladder, as scenarios do.
Outcome solve_state(const SolveOptions& options, const Grid& grid, const Network& network,
                    const MethodOptions& method) {
  Desk desk(grid, network, method);
  Outcome out = desk.solve(OperatingPoint(grid));
  if (out.solution.status == Status::converged || options.method != "auto" || method.method != Method::nr ||
      options.max_iterations > 0 || method.q_limits != QLimits::off || options.slack != "single")
    return out;
  OperatingPoint point(grid);
  Outcome climbed = desk.climb(point, starting_point(grid, problem_of(network), method.start));
  climbed.solution.iterations += out.solution.iterations;
  climbed.solution.trace = std::move(out.solution.trace);
  return climbed;
}

}  // namespace

void solve_one(const SolveOptions& options, cli::Session& session, const cluster::Communicator& world,
               const LoadedGrid& input, double read_time) {
  const Grid& grid = input.grid;
  auto clock = Clock::now();
  const Network network = network_of(options, session, grid);
  MethodOptions method = method_options(options, "nr");
  method.branches = true;                      // the highest loadings are printed
  method.mismatches = true;                    // written where there is no solution
  method.memory = options.memory.value_or(6);  // one state starts further away than the scenarios round a base case
  std::optional<AreaSolution> by_areas;
  if (!options.areas.empty()) by_areas = solve_by_areas(options, world, input, network);
  if (!world.root()) return;
  const Outcome out =
      by_areas ? outcome_of(grid, network, std::move(by_areas->solution)) : solve_state(options, grid, network, method);
  const Solution& solution = out.solution;
  const Flows& result = out.flows;
  const double solve_time = seconds_since(clock);

  clock = Clock::now();
  h5::Output file = h5::Output::create(options.output, session.force);
  file.stamp(session, "power-flow", input.file ? &*input.file : nullptr);
  write_grid(file, grid);
  write_header(file, {.status = {static_cast<std::int8_t>(solution.status)},
                      .iterations = {solution.iterations},
                      .max_mismatch = {solution.max_mismatch},
                      .relative = {out.measured.relative},
                      .mean_square = {out.measured.mean_square},
                      .path = {static_cast<std::uint8_t>(out.path)},
                      .check = {static_cast<std::uint8_t>(out.check.bits())},
                      .slack_mw = {result.slack_mw},
                      .loss_mw = {result.loss_mw},
                      .lost_load_mw = {out.lost_load_mw}});
  Outputs outputs = outputs_of(options);
  outputs.mismatches = outputs.mismatches || solution.status != Status::converged;
  create_flows(file, 1, grid, outputs);
  write_flows(file, 0, {&result}, outputs);
  write_history(file, solution.trace);
  const Problem problem = problem_of(network);
  if (asks_for(options, "jacobian")) write_jacobian(file, grid, problem, solution.state);
  if (asks_for(options, "adjoint")) write_adjoint(file, options, grid, problem, solution.state);
  if (input.file) file.carry(*input.file, {"/result", "/history", "/jacobian", "/adjoint"});
  file.commit();
  if (!options.plot.empty()) plot_profile(options.plot, session.force, grid, result);
  if (!options.plot_convergence.empty())
    plot_convergence(options.plot_convergence, session.force, grid, solution.trace);
  const double write_time = seconds_since(clock);

  auto& summary = session.summary;
  const std::int64_t worst_bus = grid.bus.id[network.bus_of_node[solution.worst_node]];
  summarise_grid(session, grid, network);
  summary.add("method", by_areas ? "areas, " + name(by_areas->method) : name(method.method));
  if (by_areas) {
    summary.add("areas", by_areas->areas);
    summary.add("factors", by_areas->factors);
    if (by_areas->boundary > 0) summary.add("boundary buses", by_areas->boundary);
    if (by_areas->inner_iterations > 0) summary.add("iterations of GMRES", by_areas->inner_iterations);
    if (world.size() > 1) summary.add("ranks", world.size());
  }
  if (options.slack != "single") summary.add("distributed slack", solution.state.lambda[0] * grid.base_mva, "MW");
  if (out.path > Path::nr && out.path < Path::other && options.method == "auto")
    summary.add("last tried", rungs[static_cast<std::size_t>(out.path)]);
  summary.add("status", name(solution.status));
  summary.add("iterations", solution.iterations);
  summary.add("max mismatch", solution.max_mismatch, "pu");
  summary.add("max mismatch bus", worst_bus);
  if (options.q_limits != "off") summary.add("generators at a reactive limit", out.limited);
  summary.add("generation", result.generation_mw, "MW");
  summary.add("load", result.load_mw, "MW");
  summary.add("losses", result.loss_mw, "MW");
  summary.add("slack", result.slack_mw, "MW");
  summarise_voltages(session, grid, result);
  if (out.check.suspicious())
    session.warn(
        fmt::format("this may be a low-voltage solution: lowest |V| {:.4f} pu, {} branches with over 90 degrees, "
                    "sign of det J {} that of the flat start",
                    out.check.lowest_vm, out.check.wide_angles, out.check.determinant_changed ? "differs from" : "as"));
  summary.add("time to read", read_time, "s");
  summary.add("time to solve", solve_time, "s");
  summary.add("time to write", write_time, "s");
  tabulate(session, grid, result);
  if (solution.status != Status::converged && !options.allow_failures)
    session.fail(fmt::format("{}: {} after {} iterations, max mismatch {:.3g} pu at bus {}", input.name,
                             name(solution.status), solution.iterations, solution.max_mismatch, worst_bus));
}

}  // namespace fachwerk::dpf
