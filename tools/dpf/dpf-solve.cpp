#include <cmath>
#include <optional>

#include "cli/command.hpp"
#include "cluster/world.hpp"
#include "io/plot.hpp"
#include "solve_scenarios.hpp"
#include "solve_state.hpp"

using namespace fachwerk;

namespace {

using Options = dpf::SolveOptions;

/// Voltages of another solved flow as the start: --init h5:PATH.
void start_from_file(const std::string& path, dpf::Grid& grid) {
  const h5::Input file = h5::Input::open(path);
  for (const char* name : {"vm", "va"}) {
    const std::string dataset = std::string("/result/") + name;
    const auto values = file.read<double>(dataset, {.axes = {"scenario", "bus"}, .shape = {0, grid.bus.size()}});
    auto& column = name[1] == 'm' ? grid.bus.vm : grid.bus.va;
    if (values.shape[0] == 0) throw bad_input("{}:{}: there is no scenario in it", file.name(), dataset);
    for (std::size_t i = 0; i < column.size(); ++i)
      if (std::isfinite(values.values[i])) column[i] = values.values[i];
  }
}

void solve(const Options& options, cli::Session& session, const cluster::Communicator& world) {
  for (const std::string& path : {options.plot, options.plot_convergence})
    if (!path.empty()) plot::format_of(path);  // before any work
  if (options.chain && options.precision == "double") throw usage_error("--chain goes with --precision mixed");
  if (world.size() > 1 && (options.input == "-" || options.output == "-" || options.scenarios == "-"))
    throw usage_error("- is a pipe of one process, and there are {} ranks", world.size()).with_hint("give a file name");
  if (is_series(options) && world.size() > 1)
    throw usage_error("--preset series solves one scenario after the other: run it on one rank");
  if (!options.profile.empty() && !options.scenarios.empty())
    throw usage_error("--profile and --scenarios are two names of what is solved: give one");
  outputs_of(options);
  const auto clock = dpf::Clock::now();
  dpf::LoadedGrid input = dpf::load_grid(options.input);
  for (const auto& warning : input.warnings)
    session.warn(warning);
  if (options.init.starts_with("h5:")) start_from_file(options.init.substr(3), input.grid);
  std::optional<dpf::ScenarioSource> source;
  if (const std::string& path = options.profile.empty() ? options.scenarios : options.profile; !path.empty())
    source = dpf::ScenarioSource::open(path, input.grid, options.area);
  else if (input.file)
    source = dpf::ScenarioSource::in(*input.file, input.grid, options.area);
  const double read_time = dpf::seconds_since(clock);
  const bool many = source && source->count() > 0;
  if (many && !options.areas.empty())
    throw usage_error("--areas goes with one state, and there are {} scenarios", source->count());
  if (!options.areas.empty() && options.method != "auto")
    throw usage_error("--areas has methods of its own: see --area-method");
  for (const char* output : {"jacobian", "adjoint", "history"})
    if (many && asks_for(options, output))
      throw usage_error("--outputs {} goes with one state, and there are {} scenarios", output, source->count())
          .with_hint("dpf-fit --gradient-only differentiates scenarios");
  if ((asks_for(options, "jacobian") || asks_for(options, "adjoint")) &&
      (options.q_limits != "off" || options.slack != "single"))
    throw usage_error("--outputs jacobian and adjoint go without --qlim and with --slack single");
  const dpf::Method method = method_options(options, many ? "chord" : "nr").method;
  const bool keeps_steps = method != dpf::Method::chord && method != dpf::Method::lm && method != dpf::Method::dc;
  if (!options.plot_convergence.empty() && (many || !keeps_steps))
    throw usage_error(
        "--plot-convergence goes with one state and a method that keeps its steps: nr, nr-ls, lbfgs, "
        "fdxb, fdbx, gs, bfs, adam, rmsprop, sgd");
  if (many)
    dpf::solve_many(options, session, world, input, std::move(*source), read_time);
  else if (world.root() || !options.areas.empty())
    dpf::solve_one(options, session, world, input, read_time);
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
          "there. Buses that no source reaches are reported with voltage NaN and their load as lost. Unless --method says "
          "what to use, a state that Newton cannot solve goes up the ladder below; where Levenberg-Marquardt ends at a minimum of the "
          "mismatch the verdict is infeasible, and /result/mismatch_p and mismatch_q are a change of injections that would make it "
          "solvable, the least one in the neighbourhood of that minimum.\n\n"
          "Scenarios (time series, Monte Carlo, change tables) are solved side by side with the factor of the base case's Jacobian "
          "in single precision, while states and mismatches stay in double precision: the tolerance is the same as Newton's. A "
          "scenario that contracts too slowly goes up a ladder: Newton, Newton with line search, Newton from DC angles, homotopy; "
          "/result/path tells which solved it. Reactive limits and a distributed slack border the shared factor by the rows and columns that "
          "a scenario has besides. Other methods solve every scenario by itself. Scenarios are read "
          "and written in blocks, so memory does not grow with their number. Under mpirun the ranks share the blocks and each writes its own rows, unpacked, into an output on a file system that all of them see; results do not depend on the number of ranks or threads.\n\n"
          "The results are written even where the method did not converge (/result/status tells); the exit code is 1 then unless "
          "--allow-failures is given.",
      .arguments = {cli::input("IN", options.input,
                               "grid, kind power-case or power-flow, or a MATPOWER case file (.m); - is stdin (HDF5)"),
                    cli::output("OUT", options.output, "solved flow, kind power-flow")},
      .options =
          {{"--method",
            &options.method,
            "nr: Newton; nr-ls: with line search; chord: one shared factor and Anderson acceleration; lm: Levenberg-Marquardt; lbfgs: preconditioned L-BFGS; fdxb, fdbx: fast decoupled; gs: Gauss-Seidel; bfs: backward/forward sweep of radial grids; dc: linear; adam, rmsprop, sgd: the paper's gradient descent; auto: nr for one state, chord for scenarios",
            {.choices = {"auto", "nr", "nr-ls", "chord", "lm", "lbfgs", "fdxb", "fdbx", "gs", "bfs", "dc", "adam",
                         "rmsprop", "sgd"}}},
           {"--tol", &options.tolerance, "largest power mismatch", {.unit = "pu", .minimum = 1e-14, .maximum = 1}},
           {"--max-iter",
            &options.max_iterations,
            "most iterations; 0: by method (nr 20, chord 60, fast decoupled 100, lm and bfs 200, lbfgs 2000, gs and gradient descent 10000)",
            {.minimum = 0, .maximum = 10000000}},
           {"--init",
            &options.init,
            "start: auto, file, flat, dc (DC angles), h5:PATH (another solved flow), or previous (as --chain); auto: file unless it is flat, then dc",
            {.value_name = "START"}},
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
           {"--profile",
            &options.profile,
            "time series: HDF5 with /scenarios, or a table .csv with a column time (s; \"time [h]\" too) and columns load, \"area N\", \"zone N\" or \"bus N\" of factors of the file's loads",
            {.value_name = "FILE"}},
           {"--area-column",
            &options.area,
            "what area numbers of a change table mean; auto: zone where a number is no area",
            {.choices = {"auto", "area", "zone"}}},
           {"--scale-generation", &options.scale_generation,
            "generator outputs follow the total load of each scenario"},
           {"--chain", &options.chain, "time series: every scenario starts at the solution of the one before it"},
           {"--chunk",
            &options.chunk,
            "steps of a chain; chains run side by side from the base case",
            {.minimum = 1, .maximum = 100000}},
           {"--time-limit",
            &options.time_limit,
            "scenarios not begun after this time are left out (status 6); 0: none",
            {.unit = "s", .minimum = 0}},
           {"--outputs",
            &options.outputs,
            "what is written: v, flows, gen, loss, mismatch (of every bus); of one state also jacobian, adjoint (see --adjoint-of) and history (as --trace)",
            {.value_name = "LIST"}},
           {"--adjoint-of",
            &options.adjoint_of,
            "scalar whose derivatives by the injections of all buses are written: loss, vm:BUS, va:BUS or loading:ROW",
            {.value_name = "SCALAR"}},
           {"--stop-mismatch",
            &options.stop_mismatch,
            "screening quality: also enough is a sum of mismatches of this share of the sum of specified powers; 0: no",
            {.minimum = 0, .maximum = 1}},
           {"--compress",
            &options.compress,
            "results of scenarios: packed, or not; auto: packed unless several ranks run",
            {.choices = {"auto", "yes", "no"}}},
           {"--memory",
            &options.memory,
            "columns of Anderson acceleration, 0: none; else 4, for one state 6",
            {.minimum = 0, .maximum = 8}},
           {"--precision",
            &options.precision,
            "factor shared by the scenarios: single (states and mismatches are double all the same), or double",
            {.choices = {"mixed", "double"}}},
           {"--slack",
            &options.slack,
            "who balances the losses: the reference bus, or all generators by participation factor (else headroom); file: by the participation factors of the file",
            {.choices = {"single", "distributed", "file"}}},
           {"--areas",
            &options.areas,
            "solve one large grid area by area, ranks sharing the areas: a number of areas to cut it into, or a dataset of /grid that numbers them, as bus/area",
            {.value_name = "N|DATASET"}},
           {"--area-method",
            &options.area_method,
            "anderson: factors of the areas alone, accelerated (weak ties); schur: Newton by the Schur complement of the buses between areas (strong ties, few); krylov: Newton by GMRES(30) with those factors (strong ties, many); auto: by ties and sizes",
            {.choices = {"auto", "anderson", "schur", "krylov"}}},
           {"--plot",
            &options.plot,
            "picture of the voltage profile, or of the envelope over the scenarios (.png, .svg)",
            {.value_name = "FILE"}},
           {"--plot-convergence",
            &options.plot_convergence,
            "picture of the mismatch over the steps of one state (.png, .svg)",
            {.value_name = "FILE"}},
           {"--preset",
            &options.preset,
            "gradient descent with the paper's settings: single, batch, series (scenarios in order, each from the one before), case118, case300, ...; paper:NAME means the same",
            {.value_name = "NAME"}},
           {"--loss", &options.loss, "of gradient descent", {.choices = {"mse", "l1", "l1sum", "huber"}}},
           {"--lr", &options.rate, "learning rate", {.minimum = 0}},
           {"--beta1", &options.beta1, "of adam", {.minimum = 0, .maximum = 1}},
           {"--beta2", &options.beta2, "of adam", {.minimum = 0, .maximum = 1}},
           {"--alpha", &options.alpha, "of rmsprop", {.minimum = 0, .maximum = 1}},
           {"--momentum", &options.momentum, "of rmsprop and sgd", {.minimum = 0, .maximum = 1}},
           {"--weight-decay", &options.weight_decay, "of rmsprop and sgd", {.minimum = 0}},
           {"--dampening", &options.dampening, "of sgd", {.minimum = 0, .maximum = 1}},
           {"--schedule",
            &options.schedule,
            "of the learning rate, as PyTorch's",
            {.choices = {"constant", "step", "multistep", "plateau"}}},
           {"--factor", &options.factor, "of step, multistep and plateau", {.minimum = 0, .maximum = 1}},
           {"--patience",
            &options.patience,
            "steps without improvement (plateau), or between falls (step)",
            {.minimum = 1}},
           {"--threshold", &options.threshold, "improvement that counts for plateau", {.minimum = 0}},
           {"--threshold-mode",
            &options.threshold_mode,
            "the threshold is relative to the best loss, or of the loss itself",
            {.choices = {"rel", "abs"}}},
           {"--min-lr", &options.least_rate, "plateau does not lower the rate below", {.minimum = 0}},
           {"--cooldown", &options.cooldown, "steps that plateau rests after a fall", {.minimum = 0}},
           {"--milestones", &options.milestones, "steps after which multistep falls", {.value_name = "LIST"}},
           {"--trace", &options.trace,
            "write the mismatch before every step to /history (one state, iterative methods)"},
           {"--allow-failures", &options.allow_failures, "exit 0 even if something did not converge"}},
      .examples = {{"dpf-solve case14.h5 flow.h5", "Solve a grid."},
                   {"dpf-import case300.m - | dpf-solve --qlim all - flow.h5",
                    "From a case file, with reactive limits enforced."},
                   {"dpf-solve --scenarios scenarios_ACTIVSg200.m case_ACTIVSg200.m year.h5",
                    "A year of hourly loads."},
                   {"mpirun -n 8 dpf-solve --threads 4 --outputs v case.h5 flows.h5",
                    "Scenarios of case.h5 on eight ranks."}},
      .reference =
          "Oez, Hoerter, Phipps, Debus, Streit, Goetz: Differentiable Power-Flow Optimization. arXiv 2603.28203 (2026). Newton "
          "power flow: Tinney, Hart: IEEE Transactions on Power Apparatus and Systems 86 (1967) 1449-1460.",
      .reads =
          "/grid/{bus,gen,branch}/*  as dpf-import writes it\n"
          "/scenarios/{load_p,load_q}[scenario,load]  MW, MVAr, columns named by /scenarios/bus (default: all buses)\n"
          "/scenarios/{gen_p,gen_v}[scenario,gen]  MW, pu\n/scenarios/time[scenario]  s\n"
          "/scenarios/branch_status[scenario,byte]  branch k in service: bit k % 8 of byte k / 8, k from 0 (numpy.packbits, bitorder little)\n"
          "/scenarios/{table,row,col,op,value}[change], ptr[scenario + 1]  instead: scenario s makes changes ptr[s] to ptr[s + 1]; table 1 bus, 2 gen, 3 branch, 7 load, 8 load of an area, row from 1 (0: all), col of the case format, op 0 replace, 1 add, 2 scale\n"
          "/changes/*  a change table, as dpf-import writes it",
      .writes =
          "/grid/*  as read\n/result/{status,iters,max_mismatch,rel_mismatch,mse,path,check,slack_mw,loss_mw,lost_load_mw}[scenario]\n"
          "/result/{vm,va}[scenario,bus]  pu, deg\n/result/{pf,qf,pt,qt,loading}[scenario,branch]  MW, MVAr, percent\n"
          "/result/{pg,qg}[scenario,gen]  MW, MVAr\n/result/{mismatch_p,mismatch_q}[scenario,bus]  MW, MVAr, with --outputs mismatch or where one state has no solution\n/result/{time,label}[scenario]\n/history/{max_mismatch,mse,rel_mismatch}[step]  with --trace\n"
          "/jacobian/{bus,kind}[unknown], {row,column,value}[entry]  dF/dx, x = angles of PV and PQ buses, then |V| of PQ buses; with --outputs jacobian\n"
          "/adjoint/{p,q}[bus]  derivatives of the scalar per MW and MVAr injected; with --outputs adjoint",
      .standard = {.threads = true, .device = true}};
  return command.run(argc, argv, [&](cli::Session& session) {
    if (options.init != "auto" && options.init != "file" && options.init != "flat" && options.init != "dc" &&
        options.init != "previous" && !options.init.starts_with("h5:"))
      throw usage_error("--init: expected auto, file, flat, dc, previous or h5:PATH, found \"{}\"", options.init);
    if (options.init == "previous") options.chain = true, options.init = "auto";
    cluster::run(session, [&](const cluster::Communicator& world) { solve(options, session, world); });
  });
}
