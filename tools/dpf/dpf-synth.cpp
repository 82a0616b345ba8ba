#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <optional>

#include "cli/command.hpp"
#include "cli/progress.hpp"
#include "compute/parallel.hpp"
#include "compute/random.hpp"
#include "layout.hpp"
#include "metering.hpp"
#include "scenario_source.hpp"
#include "synth.hpp"
#include "weather.hpp"

using namespace fachwerk;

namespace {

struct Options {
  std::string kind, input, output;
  int steps = 288, buses = 2000, copies = 2, ties = 20;
  double dt = 300, start_day = 0, sigma = -1, correlation = 0, low = 1, high = 1, tie_r = 0, tie_x = 0.1, missing = 0,
         outliers = 0;
  double wind = 0, solar = 0, coverage = 0.2, length = 0;
  std::string tie_kind = "ring", dispatch = "proportional", references = "one";
  std::vector<std::string> quantities = {"vm", "va"}, pmu = {"all"};
  double power_sigma = -1;
};

void summarise(cli::Session& session, const dpf::Grid& grid) {
  session.summary.add("grid", grid.name);
  session.summary.add("buses", grid.bus.size());
  session.summary.add("branches", grid.branch.size());
  session.summary.add("generators", grid.gen.size());
}

void write_grid_only(const Options& options, cli::Session& session, const dpf::Grid& grid, const h5::Node* source) {
  h5::Output file = h5::Output::create(options.output, session.force);
  file.stamp(session, "power-case", source);
  dpf::write_grid(file, grid);
  file.commit();
  summarise(session, grid);
}

void make_scenarios(const Options& options, cli::Session& session, const dpf::LoadedGrid& input) {
  const dpf::Grid& grid = input.grid;
  const bool profile = options.kind == "profile";
  const auto count = static_cast<std::size_t>(options.steps);
  const dpf::ProfileOptions series{.seed = session.seed,
                                   .step = options.dt,
                                   .start_day = options.start_day,
                                   .sigma = options.sigma < 0 ? 0.003 : options.sigma,
                                   .correlation = options.correlation,
                                   .renewables = {options.wind, options.solar, options.coverage},
                                   .merit = options.dispatch == "merit"};
  const dpf::MonteCarloOptions random{.seed = session.seed,
                                      .sigma = options.sigma < 0 ? 0.05 : options.sigma,
                                      .low = options.low,
                                      .high = options.high,
                                      .merit = options.dispatch == "merit"};
  if (!profile && (options.wind > 0 || options.solar > 0))
    throw usage_error("--wind and --solar go with profile: they have an hour and a day");
  std::optional<dpf::CorrelatedNoise> together;
  if (options.length > 0) together.emplace(grid, options.length);
  const dpf::CorrelatedNoise* noise = together ? &*together : nullptr;
  std::vector<double> time;
  if (profile)
    for (std::size_t s = 0; s < count; ++s)
      time.push_back(static_cast<double>(s) * options.dt);
  h5::Output file = h5::Output::create(options.output, session.force);
  file.stamp(session, "power-case", input.file ? &*input.file : nullptr);
  dpf::write_grid(file, grid);
  dpf::create_scenarios(file, grid, time, count);
  file.attribute("/scenarios", "seed", static_cast<std::int64_t>(session.seed));
  cli::Progress progress(session, "making", count, "scenarios");
  constexpr std::size_t chunk = 256;
  for (std::size_t first = 0; first < count; first += chunk) {
    std::vector<dpf::OperatingPoint> points(std::min(chunk, count - first), dpf::OperatingPoint(grid));
    compute::parallel_tasks(points.size(), [&](std::size_t i) {
      if (profile)
        dpf::profile_point(grid, series, first + i, points[i], noise);
      else
        dpf::monte_carlo_point(grid, random, first + i, points[i], noise);
    });
    dpf::write_scenarios(file, grid, first, points);
    progress.advance(points.size());
  }
  if (input.file) file.carry(*input.file, {"/scenarios", "/result"});
  file.commit();
  summarise(session, grid);
  session.summary.add("scenarios", count);
  session.summary.add("seed", static_cast<std::int64_t>(session.seed));
}

dpf::Ties ties_of(const std::string& word) {
  if (word == "random") return dpf::Ties::random;
  if (word == "grid2d") return dpf::Ties::grid2d;
  if (word == "tree") return dpf::Ties::tree;
  return dpf::Ties::ring;
}

// Which buses have a phasor measurement unit: all, those of a cover, or a list of numbers.
std::vector<char> metered_buses(const Options& options, const dpf::Grid& grid, const dpf::Network& network) {
  std::vector<char> out(grid.bus.size(), options.pmu.size() == 1 && options.pmu[0] == "all");
  if (out[0]) return out;
  if (options.pmu.size() == 1 && options.pmu[0] == "cover") {
    for (const int row : dpf::covering_buses(grid, network))
      out[row] = 1;
    return out;
  }
  const auto rows = dpf::bus_rows(grid);
  for (const std::string& word : options.pmu) {
    std::int64_t number = 0;
    const char* end = word.data() + word.size();
    const auto parsed = std::from_chars(word.data(), end, number);
    const auto found = rows.find(number);
    if (parsed.ec != std::errc() || parsed.ptr != end || found == rows.end())
      throw usage_error("--pmu: expected all, cover or numbers of buses of the grid, found \"{}\"", word);
    out[found->second] = 1;
  }
  return out;
}

// What meters read in every scenario of a solved flow.
void measure(const Options& options, cli::Session& session, const dpf::LoadedGrid& input) {
  if (!input.file || !input.file->exists("/result/vm"))
    throw bad_input("{}: expected a solved flow with /result/vm", input.name);
  const dpf::Grid& grid = input.grid;
  const dpf::Network network = dpf::build_network(grid);
  const dpf::Problem problem = dpf::problem_of(network);
  const std::vector<char> metered = metered_buses(options, grid, network);
  const double sigma = options.sigma < 0 ? 1e-3 : options.sigma;
  const double power_sigma = options.power_sigma < 0 ? sigma : options.power_sigma;
  const auto result = [&](const char* name) {
    return input.file->read<double>(std::string("/result/") + name,
                                    {.axes = {"scenario", "bus"}, .shape = {0, grid.bus.size()}});
  };
  const auto vm = result("vm"), va = result("va");
  const std::size_t snapshots = std::min(vm.shape[0], va.shape[0]);
  std::vector<dpf::State> states(snapshots, dpf::file_start(problem));
  for (std::size_t s = 0; s < snapshots; ++s)
    for (std::size_t i = 0; i < grid.bus.size(); ++i)
      if (const int k = network.node_of_bus[i]; k >= 0) {
        states[s].vm[k] = vm.values[s * grid.bus.size() + i];
        states[s].va[k] = va.values[s * grid.bus.size() + i] * std::numbers::pi / 180;
      }
  h5::Output file = h5::Output::create(options.output, session.force);
  file.stamp(session, "power-case", &*input.file);
  dpf::write_grid(file, grid);
  for (const std::string& word : options.quantities) {
    const dpf::Quantity quantity = dpf::quantity_of(word);
    const std::string units = dpf::units(quantity);
    const double own_sigma = units == "deg"                     ? sigma * 180 / std::numbers::pi
                             : units == "MW" || units == "MVAr" ? power_sigma * grid.base_mva
                                                                : sigma;
    std::vector<double> values;
    for (const dpf::State& state : states) {
      const auto row = dpf::readings(grid, problem, state, quantity, metered);
      values.insert(values.end(), row.begin(), row.end());
    }
    dpf::disturb(values, 0, quantity, {session.seed, own_sigma, options.missing, options.outliers});
    const std::size_t width = dpf::of_bus(quantity) ? grid.bus.size() : grid.branch.size();
    const std::string path = "/measurement/" + word;
    file.write(path, values, {snapshots, width},
               {.units = units,
                .long_name = "measured, NaN = missing",
                .dims = {"snapshot", dpf::of_bus(quantity) ? "bus" : "branch"}});
    file.attribute(path, "sigma", std::max(own_sigma, 1e-12));
  }
  file.carry(*input.file, {"/result", "/measurement"});
  file.commit();
  session.summary.add("snapshots", snapshots);
  session.summary.add("buses with a phasor measurement unit", std::ranges::count(metered, 1));
  session.summary.add("sigma", sigma, "pu");
  session.summary.add("seed", static_cast<std::int64_t>(session.seed));
}

void make(const Options& options, cli::Session& session) {
  if (options.low > options.high) throw usage_error("--low {} is above --high {}", options.low, options.high);
  if (options.tie_r == 0 && options.tie_x == 0) throw usage_error("--tie-r and --tie-x must not both be 0");
  if (options.kind == "ring") {
    if (!options.input.empty()) throw usage_error("ring makes a grid from nothing: give only OUT");
    return write_grid_only(options, session, dpf::ring_grid(options.buses, session.seed), nullptr);
  }
  if (options.input.empty()) throw usage_error("{} needs a grid IN", options.kind);
  const dpf::LoadedGrid input = dpf::load_grid(options.input);
  for (const auto& warning : input.warnings)
    session.warn(warning);
  if (options.kind == "supergrid")
    return write_grid_only(options, session,
                           dpf::super_grid(input.grid, options.copies, options.ties, ties_of(options.tie_kind),
                                           options.tie_r, options.tie_x, session.seed, options.references == "each"),
                           input.file ? &*input.file : nullptr);
  if (options.kind == "measure") return measure(options, session, input);
  make_scenarios(options, session, input);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  const cli::Command command{
      .name = "dpf-synth",
      .purpose = "make grids and scenarios for power-flow studies",
      .description =
          "profile: a time series of loads with the hourly, weekly and yearly shape of a country's demand and lognormal noise on "
          "every load. montecarlo: random load patterns. In both, generator outputs follow the total load, in proportion or in merit order. supergrid: copies of a "
          "grid joined by tie lines. ring: a random meshed grid of any size, made from its solution: voltages are drawn first and "
          "the injections computed from them, so the voltages in the file solve it exactly. measure: noisy measurements of a solved flow, for dpf-fit: voltages and flows where phasor measurement units stand, injections everywhere.\n\n"
          "Random numbers are keyed by seed, scenario and element: the same seed gives the same data with any number of threads.",
      .arguments = {cli::choice("KIND", options.kind, {"profile", "montecarlo", "supergrid", "ring", "measure"},
                                "what to make"),
                    cli::optional_input("IN", options.input, "grid (not for ring); - is stdin"),
                    cli::output("OUT", options.output, "grid with /scenarios, or the made grid, kind power-case")},
      .options =
          {{"--steps", &options.steps, "scenarios of profile and montecarlo", {.minimum = 1, .maximum = 100000000}},
           {"--dt", &options.dt, "time step of profile", {.unit = "s", .minimum = 1e-3}},
           {"--start-day",
            &options.start_day,
            "day of the year at the first step, 0 = 1 January, a Sunday",
            {.minimum = 0, .maximum = 366}},
           {"--sigma",
            &options.sigma,
            "of the lognormal noise of a load; default .003 for profile, .05 for montecarlo, .001 pu for measure",
            {.minimum = -1, .maximum = 2}},
           {"--correlation",
            &options.correlation,
            "of the noise from step to step (AR(1))",
            {.minimum = 0, .maximum = 0.9999}},
           {"--length",
            &options.length,
            "loads vary together with their neighbours: noise with correlation exp(-d / length), d the least series reactance between the buses; 0: each by itself",
            {.unit = "pu", .minimum = 0}},
           {"--wind",
            &options.wind,
            "profile: capacity of wind farms over the grid's load; output a logistic function of AR(1) noise",
            {.minimum = 0, .maximum = 100}},
           {"--solar",
            &options.solar,
            "profile: capacity of solar plants over the grid's load; clear sky at 47 degrees times beta-distributed clouds",
            {.minimum = 0, .maximum = 100}},
           {"--coverage",
            &options.coverage,
            "share of the loaded buses with a wind farm, and of those with a solar plant",
            {.minimum = 1e-3, .maximum = 1}},
           {"--dispatch",
            &options.dispatch,
            "generator outputs: in proportion to the load, or in merit order (slope of the table gencost, else order of the file)",
            {.choices = {"proportional", "merit"}}},
           {"--low",
            &options.low,
            "lower end of the factor that all loads of a montecarlo scenario share",
            {.minimum = 0}},
           {"--high", &options.high, "its upper end", {.minimum = 0}},
           {"--quantities",
            &options.quantities,
            "measure: what is measured: vm, va, p, q (injections), pf, qf, pt, qt (into branches), if, it (currents)",
            {.value_name = "LIST"}},
           {"--pmu",
            &options.pmu,
            "measure: buses with a phasor measurement unit, which gives voltages and the branches at that bus: all, cover (few, each other bus beside one), or numbers of buses",
            {.value_name = "LIST"}},
           {"--sigma-power",
            &options.power_sigma,
            "measure: noise of powers, over the power base; default as --sigma",
            {.unit = "pu", .minimum = -1, .maximum = 2}},
           {"--missing", &options.missing, "fraction of missing measurements", {.minimum = 0, .maximum = 1}},
           {"--outliers",
            &options.outliers,
            "fraction of measurements with fifty times the noise",
            {.minimum = 0, .maximum = 1}},
           {"--buses", &options.buses, "size of a ring grid", {.minimum = 4, .maximum = 100000000}},
           {"--copies", &options.copies, "copies of a supergrid", {.minimum = 1, .maximum = 100000}},
           {"--ties", &options.ties, "tie lines a copy", {.minimum = 0, .maximum = 100000}},
           {"--tie-kind",
            &options.tie_kind,
            "which copies are joined",
            {.choices = {"random", "ring", "grid2d", "tree"}}},
           {"--references",
            &options.references,
            "reference buses of a supergrid: that of the first copy, or one in each",
            {.choices = {"one", "each"}}},
           {"--tie-r", &options.tie_r, "series resistance of a tie", {.unit = "pu"}},
           {"--tie-x", &options.tie_x, "series reactance of a tie", {.unit = "pu"}}},
      .examples =
          {{"dpf-synth profile --steps 288 case14.h5 day.h5", "A day in steps of five minutes."},
           {"dpf-synth montecarlo --steps 10000 --sigma .1 --low .7 --high 1.1 case118.h5 - | dpf-solve - out.h5",
            "Random load patterns, solved at once."},
           {"dpf-synth ring --buses 3000 grid.h5", "A made grid whose solution is known."}},
      .reference =
          "Oez, Hoerter, Phipps, Debus, Streit, Goetz: Differentiable Power-Flow Optimization. arXiv 2603.28203 (2026), section 4.",
      .reads = "/grid/{bus,gen,branch}/*  as dpf-import writes it",
      .writes =
          "/grid/*\n/scenarios/bus[load]  numbers of the buses with load\n/scenarios/{load_p,load_q}[scenario,load]  MW, MVAr\n"
          "/scenarios/gen_p[scenario,gen]  MW\n/scenarios/time[scenario]  s (profile)\n/measurement/{vm,va,p,q}[snapshot,bus]  (measure)\n/measurement/{pf,qf,pt,qt,if,it}[snapshot,branch]",
      .standard = {.threads = true, .seed = true}};
  return command.run(argc, argv, [&](cli::Session& session) { make(options, session); });
}
