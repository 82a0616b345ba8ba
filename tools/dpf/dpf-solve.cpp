#include <algorithm>
#include <chrono>
#include <cmath>

#include "cli/command.hpp"
#include "layout.hpp"
#include "qlimits.hpp"

using namespace fachwerk;

namespace {

struct Options {
  std::string input, output;
  std::string method = "auto", init = "auto", q_limits = "off", reference_rule = "largest", zero_impedance = "error";
  double tolerance = 1e-8;
  int max_iterations = 20;
  bool allow_failures = false;
};

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
    cli::Table buses{"buses", {"bus", "vm pu", "va deg", "load MW", "load MVAr"}};
    for (std::size_t i = 0; i < grid.bus.size(); ++i)
      buses.rows.push_back({grid.bus.id[i], result.vm[i], result.va[i], grid.bus.pd[i], grid.bus.qd[i]});
    session.summary.add(std::move(buses));
    cli::Table generators{"generators", {"bus", "pg MW", "qg MVAr"}};
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

void solve(const Options& options, cli::Session& session) {
  auto clock = Clock::now();
  const dpf::LoadedGrid input = dpf::load_grid(options.input);
  const dpf::Grid& grid = input.grid;
  for (const auto& warning : input.warnings)
    session.warn(warning);
  const double read_time = seconds_since(clock);

  clock = Clock::now();
  const dpf::Network network = dpf::build_network(grid, {.first_reference = options.reference_rule == "first",
                                                         .merge_zero_impedance = options.zero_impedance == "merge"});
  for (const auto& warning : network.warnings)
    session.warn(warning);
  dpf::Newton newton(network);
  const dpf::NewtonOptions newton_options{.tolerance = options.tolerance,
                                          .max_iterations = options.max_iterations,
                                          .line_search = options.method == "nr-ls",
                                          .polish = true,
                                          .trace = false};
  const dpf::LimitedSolution limited = dpf::solve_with_q_limits(
      grid, network, newton, dpf::starting_point(grid, dpf::problem_of(network), start_of(options.init)),
      newton_options, q_limits(options.q_limits));
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
  dpf::write_header(file, {.status = {static_cast<std::int8_t>(solution.status)},
                           .iterations = {solution.iterations},
                           .max_mismatch = {solution.max_mismatch},
                           .relative = {measured.relative},
                           .mean_square = {measured.mean_square},
                           .path = {static_cast<std::uint8_t>(newton_options.line_search ? 2 : 1)},
                           .slack_mw = {result.slack_mw},
                           .loss_mw = {result.loss_mw},
                           .lost_load_mw = {network.lost_load_mw}});
  const dpf::Outputs outputs;
  dpf::create_flows(file, 1, grid, outputs);
  dpf::write_flows(file, 0, result, outputs);
  if (input.file) file.carry(*input.file, {"/result"});
  file.commit();
  const double write_time = seconds_since(clock);

  auto& summary = session.summary;
  summarise_grid(session, grid, network);
  summary.add("method", newton_options.line_search ? "nr-ls" : "nr");
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

}  // namespace

int main(int argc, char** argv) {
  Options options;
  const cli::Command command{
      .name = "dpf-solve",
      .purpose = "solve the AC power flow of a grid",
      .description =
          "Finds the bus voltages at which the power that flows into every bus is the power specified for it, then the "
          "flows in "
          "the branches, the outputs of the generators and the losses.\n\n"
          "Newton's method in polar form, with the elimination order and the pattern of the factors computed once. "
          "Converged "
          "means that the largest power mismatch is below --tol at every bus, plus what rounding alone leaves there. "
          "Buses that "
          "no source reaches are reported with voltage NaN and their load as lost.\n\n"
          "The results are written even where the method did not converge (status tells); the exit code is 1 then "
          "unless "
          "--allow-failures is given.",
      .arguments = {cli::input("IN", options.input,
                               "grid, kind power-case or power-flow, or a MATPOWER case file (.m); - is stdin (HDF5)"),
                    cli::output("OUT", options.output, "solved flow, kind power-flow")},
      .options =
          {{"--method",
            &options.method,
            "nr: Newton; nr-ls: with line search; auto: nr",
            {.choices = {"auto", "nr", "nr-ls"}}},
           {"--tol", &options.tolerance, "largest power mismatch", {.unit = "pu", .minimum = 1e-14, .maximum = 1}},
           {"--max-iter", &options.max_iterations, "most iterations", {.minimum = 1, .maximum = 100000}},
           {"--init",
            &options.init,
            "start: voltages of the file, flat, DC angles; auto: file unless it is flat, then dc",
            {.choices = {"auto", "file", "flat", "dc"}}},
           {"--qlim",
            &options.q_limits,
            "reactive limits of generators: ignored, all violated ones held at once, the worst one at a time, or with "
            "return to voltage control",
            {.choices = {"off", "all", "one", "smooth"}}},
           {"--ref-rule",
            &options.reference_rule,
            "which PV bus becomes the reference of an island without one",
            {.choices = {"largest", "first"}}},
           {"--zero-impedance",
            &options.zero_impedance,
            "branches with r = x = 0: refuse, or fuse their buses",
            {.choices = {"error", "merge"}}},
           {"--allow-failures", &options.allow_failures, "exit 0 even if it did not converge"}},
      .examples = {{"dpf-solve case14.h5 flow.h5", "Solve a grid."},
                   {"dpf-import case300.m - | dpf-solve --qlim all - flow.h5",
                    "From a case file, with reactive limits enforced."},
                   {"dpf-solve case14.h5 - | h5-plot - voltages.png", "Plot the voltage profile."}},
      .reference =
          "Oez, Hoerter, Phipps, Debus, Streit, Goetz: Differentiable Power-Flow Optimization. arXiv 2603.28203 "
          "(2026). Newton "
          "power flow: Tinney, Hart: IEEE Transactions on Power Apparatus and Systems 86 (1967) 1449-1460.",
      .reads = "/grid/{bus,gen,branch}/*  as dpf-import writes it",
      .writes =
          "/grid/*  as "
          "read\n/result/{status,iters,max_mismatch,rel_mismatch,mse,path,slack_mw,loss_mw,lost_load_mw}[scenario]\n"
          "/result/{vm,va}[scenario,bus]  pu, deg\n/result/{pf,qf,pt,qt,loading}[scenario,branch]  MW, MVAr, percent\n"
          "/result/{pg,qg}[scenario,gen]  MW, MVAr",
      .standard = {}};
  return command.run(argc, argv, [&](cli::Session& session) { solve(options, session); });
}
