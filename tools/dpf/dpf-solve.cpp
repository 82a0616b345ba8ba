#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cmath>
#include <functional>
#include <future>
#include <optional>
#include <utility>

#include "adjoint.hpp"
#include "areas.hpp"
#include "cli/command.hpp"
#include "cli/progress.hpp"
#include "cluster/world.hpp"
#include "compute/parallel.hpp"
#include "farm.hpp"
#include "io/plot.hpp"
#include "limited_batch.hpp"
#include "partition.hpp"
#include "report.hpp"
#include "results.hpp"
#include "study.hpp"

using namespace fachwerk;

namespace {

struct Options {
  std::string input, output;
  std::string method = "auto", init = "auto", q_limits = "off", reference_rule = "largest", zero_impedance = "error";
  double tolerance = 1e-8, time_limit = 0;
  int max_iterations = 0;
  bool allow_failures = false, scale_generation = false, chain = false;
  std::string scenarios, area = "auto";
  std::vector<std::string> outputs = {"v", "flows", "gen", "loss"};
  int chunk = 64;
  std::optional<int> memory;
  std::string slack = "single", plot, plot_convergence, preset, precision = "mixed", compress = "auto";
  double rate = 0.003377, beta1 = 0.979681, beta2 = 0.963442, alpha = 0.86468552, momentum = 0, weight_decay = 0,
         dampening = 0;
  std::string loss = "mse", schedule = "constant";
  double factor = 0.5, threshold = 1e-4;
  int patience = 40, cooldown = 0;
  std::vector<int> milestones;
  bool trace = false;
  std::string areas, area_method = "auto", profile, adjoint_of = "loss", threshold_mode = "rel";
  double stop_mismatch = 0, least_rate = 0;
};

dpf::FirstOrderOptions first_order_options(const Options& options) {
  if (!options.preset.empty()) return dpf::paper_preset(options.preset);
  dpf::FirstOrderOptions out;
  out.optimiser = options.method == "rmsprop" ? dpf::Optimiser::rmsprop
                  : options.method == "sgd"   ? dpf::Optimiser::sgd
                                              : dpf::Optimiser::adam;
  out.rate = options.rate;
  out.beta1 = options.beta1;
  out.beta2 = options.beta2;
  out.alpha = options.alpha;
  out.momentum = options.momentum;
  out.weight_decay = options.weight_decay;
  out.dampening = options.dampening;
  using Schedule = dpf::FirstOrderOptions::Schedule;
  out.schedule = options.schedule == "step"        ? Schedule::step
                 : options.schedule == "multistep" ? Schedule::multistep
                 : options.schedule == "plateau"   ? Schedule::plateau
                                                   : Schedule::constant;
  out.factor = options.factor;
  out.patience = options.patience;
  out.threshold = options.threshold;
  out.absolute_threshold = options.threshold_mode == "abs";
  out.least_rate = options.least_rate;
  out.cooldown = options.cooldown;
  out.milestones = options.milestones;
  out.loss = options.loss == "l1"      ? dpf::Loss::l1
             : options.loss == "l1sum" ? dpf::Loss::l1_sum
             : options.loss == "huber" ? dpf::Loss::huber
                                       : dpf::Loss::mse;
  return out;
}

constexpr std::array<std::string_view, 7> output_words = {"v",        "flows",   "gen",    "loss",
                                                          "jacobian", "adjoint", "history"};

bool asks_for(const Options& options, std::string_view output) {
  return std::ranges::find(options.outputs, output) != options.outputs.end();
}

bool traced(const Options& options) {
  return options.trace || !options.plot_convergence.empty() || asks_for(options, "history");
}

bool is_series(const Options& options) {
  return options.preset == "series" || options.preset == "paper:series";
}

dpf::Outputs outputs_of(const Options& options) {
  for (const auto& word : options.outputs)
    if (std::ranges::find(output_words, word) == output_words.end())
      throw usage_error("--outputs: {} is not one of {}", word, fmt::join(output_words, ", "));
  return {
      .voltages = asks_for(options, "v"), .flows = asks_for(options, "flows"), .generators = asks_for(options, "gen")};
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
  if (word == "file" || word.starts_with("h5:")) return dpf::Start::file;
  if (word == "flat") return dpf::Start::flat;
  if (word == "dc") return dpf::Start::dc;
  return dpf::Start::automatic;
}

dpf::NetworkOptions network_options(const Options& options) {
  return {.first_reference = options.reference_rule == "first",
          .merge_zero_impedance = options.zero_impedance == "merge"};
}

// `chosen`: what auto means.
dpf::MethodOptions method_options(const Options& options, const char* chosen) {
  const dpf::FirstOrderOptions first_order = first_order_options(options);
  const char* automatic = options.preset.empty()                             ? chosen
                          : first_order.optimiser == dpf::Optimiser::rmsprop ? "rmsprop"
                                                                             : "adam";
  return {.method = dpf::method_of(options.method == "auto" ? automatic : options.method),
          .tolerance = options.tolerance,
          .stop_mismatch = options.stop_mismatch,
          .max_iterations = options.max_iterations,
          .memory = options.memory.value_or(4),
          .q_limits = q_limits(options.q_limits),
          .start = start_of(options.init),
          .first_order = first_order,
          .trace = traced(options),
          .branches = outputs_of(options).flows};
}

dpf::Network network_of(const Options& options, cli::Session& session, const dpf::Grid& grid) {
  dpf::Network network = dpf::build_network(grid, network_options(options));
  if (options.slack == "file" && std::ranges::none_of(grid.gen.apf, [](double weight) { return weight != 0; }))
    throw bad_input("gen.apf: --slack file needs participation factors, and all are 0");
  if (options.slack != "single") dpf::distribute_slack(network, grid);
  for (const auto& warning : network.warnings)
    session.warn(warning);
  return network;
}

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

// The scalar whose sensitivities --outputs adjoint writes: loss, vm:BUS, va:BUS or loading:ROW.
dpf::Observation scalar_of(const Options& options, const dpf::Grid& grid) {
  using Kind = dpf::Observation::Kind;
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

void write_jacobian(h5::Output& file, const dpf::Grid& grid, const dpf::Problem& problem, const dpf::State& state) {
  const dpf::SparseJacobian j = dpf::sparse_jacobian(problem, state);
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

void write_adjoint(h5::Output& file, const Options& options, const dpf::Grid& grid, const dpf::Problem& problem,
                   const dpf::State& state) {
  const dpf::Adjoint adjoint = dpf::injection_adjoint(grid, problem, state, scalar_of(options, grid));
  const std::string unit = options.adjoint_of == "loss"           ? "MW"
                           : options.adjoint_of.starts_with("vm") ? "pu"
                           : options.adjoint_of.starts_with("va") ? "deg"
                                                                  : "percent";
  const std::string meaning = " of " + options.adjoint_of + " by the power injected at the bus";
  file.column("/adjoint/p", adjoint.p, {.units = unit + "/MW", .long_name = "derivative" + meaning, .dims = {"bus"}});
  file.column("/adjoint/q", adjoint.q, {.units = unit + "/MVAr", .long_name = "derivative" + meaning, .dims = {"bus"}});
}

// Area of every node: by bisection into a number of areas, or from a column of /grid.
std::vector<int> areas_of(const Options& options, const dpf::LoadedGrid& input, const dpf::Network& network) {
  const dpf::Grid& grid = input.grid;
  int parts = 0;
  const char *begin = options.areas.data(), *end = begin + options.areas.size();
  if (const auto number = std::from_chars(begin, end, parts); number.ec == std::errc() && number.ptr == end) {
    if (parts < 1) throw usage_error("--areas: expected 1 or more areas, found {}", parts);
    return dpf::bisect(network.pattern, parts);
  }
  if (options.areas == "bus/area" || options.areas == "bus/zone") {
    const auto& column = options.areas == "bus/area" ? grid.bus.area : grid.bus.zone;
    return dpf::areas_of(network, std::vector<double>(column.begin(), column.end()));
  }
  if (!input.file || !input.file->exists("/grid/" + options.areas))
    throw usage_error("--areas: expected a number or a dataset of /grid, found \"{}\"", options.areas)
        .with_hint("bus/area and bus/zone are always there");
  return dpf::areas_of(
      network,
      input.file->read<double>("/grid/" + options.areas, {.axes = {"bus"}, .shape = {grid.bus.size()}, .finite = true})
          .values);
}

// All ranks solve their areas; the flows that follow are the first rank's work.
dpf::AreaSolution solve_areas(const Options& options, const cluster::Communicator& world, const dpf::LoadedGrid& input,
                              const dpf::Network& network) {
  if (options.q_limits != "off" || options.slack != "single")
    throw usage_error("--areas goes without --qlim and with --slack single");
  const dpf::Problem problem = dpf::problem_of(network);
  return dpf::solve_areas(problem, dpf::starting_point(input.grid, problem, start_of(options.init)),
                          areas_of(options, input, network),
                          {.method = dpf::area_method_of(options.area_method),
                           .tolerance = options.tolerance,
                           .stop_mismatch = options.stop_mismatch,
                           .max_iterations = options.max_iterations,
                           .memory = options.memory.value_or(6),
                           .trace = traced(options)},
                          world);
}

dpf::Outcome outcome_of(const dpf::Grid& grid, const dpf::Network& network, dpf::Solution&& solution) {
  dpf::Outcome out;
  const dpf::Problem problem = dpf::problem_of(network);
  const std::vector<dpf::Complex> v = dpf::phasors(solution.state);
  std::vector<dpf::Complex> s(v.size());
  dpf::injections(problem, v, s);
  dpf::FlowWork(network).flows(grid, problem, solution.state, v, s, {}, out.flows);
  std::vector<double> f(2 * v.size());
  out.measured = dpf::measure(problem, f, dpf::mismatch(problem, solution.state, s, f));
  solution.max_mismatch = out.measured.max_mismatch;
  solution.worst_node =
      static_cast<int>(std::ranges::max_element(f, {}, [](double x) { return std::abs(x); }) - f.begin()) / 2;
  out.solution = std::move(solution);
  out.path = dpf::Path::other;
  out.lost_load_mw = network.lost_load_mw;
  return out;
}

void solve_one(const Options& options, cli::Session& session, const cluster::Communicator& world,
               const dpf::LoadedGrid& input, double read_time) {
  const dpf::Grid& grid = input.grid;
  auto clock = Clock::now();
  const dpf::Network network = network_of(options, session, grid);
  dpf::MethodOptions method = method_options(options, "nr");
  method.check = method.branches = true;       // the highest loadings are printed
  method.memory = options.memory.value_or(6);  // one state starts further away than the scenarios round a base case
  std::optional<dpf::AreaSolution> by_areas;
  if (!options.areas.empty()) by_areas = solve_areas(options, world, input, network);
  if (!world.root()) return;
  const dpf::Outcome out = by_areas ? outcome_of(grid, network, std::move(by_areas->solution))
                                    : dpf::Desk(grid, network, method).solve(dpf::OperatingPoint(grid));
  const dpf::Solution& solution = out.solution;
  const dpf::Flows& result = out.flows;
  const double solve_time = seconds_since(clock);

  clock = Clock::now();
  h5::Output file = h5::Output::create(options.output, session.force);
  file.stamp(session, "power-flow", input.file ? &*input.file : nullptr);
  dpf::write_grid(file, grid);
  dpf::write_header(file, {.status = {static_cast<std::int8_t>(solution.status)},
                           .iterations = {solution.iterations},
                           .max_mismatch = {solution.max_mismatch},
                           .relative = {out.measured.relative},
                           .mean_square = {out.measured.mean_square},
                           .path = {static_cast<std::uint8_t>(out.path)},
                           .slack_mw = {result.slack_mw},
                           .loss_mw = {result.loss_mw},
                           .lost_load_mw = {out.lost_load_mw}});
  const dpf::Outputs outputs = outputs_of(options);
  dpf::create_flows(file, 1, grid, outputs);
  dpf::write_flows(file, 0, {&result}, outputs);
  write_history(file, solution.trace);
  const dpf::Problem problem = dpf::problem_of(network);
  if (asks_for(options, "jacobian")) write_jacobian(file, grid, problem, solution.state);
  if (asks_for(options, "adjoint")) write_adjoint(file, options, grid, problem, solution.state);
  if (input.file) file.carry(*input.file, {"/result", "/history", "/jacobian", "/adjoint"});
  file.commit();
  if (!options.plot.empty()) dpf::plot_profile(options.plot, session.force, grid, result);
  if (!options.plot_convergence.empty())
    dpf::plot_convergence(options.plot_convergence, session.force, grid, solution.trace);
  const double write_time = seconds_since(clock);

  auto& summary = session.summary;
  const std::int64_t worst_bus = grid.bus.id[network.bus_of_node[solution.worst_node]];
  dpf::summarise_grid(session, grid, network);
  summary.add("method", by_areas ? "areas, " + dpf::name(by_areas->method) : dpf::name(method.method));
  if (by_areas) {
    summary.add("areas", by_areas->areas);
    summary.add("factors", by_areas->factors);
    if (by_areas->boundary > 0) summary.add("boundary buses", by_areas->boundary);
    if (by_areas->inner_iterations > 0) summary.add("iterations of GMRES", by_areas->inner_iterations);
    if (world.size() > 1) summary.add("ranks", world.size());
  }
  if (options.slack != "single") summary.add("distributed slack", solution.state.lambda[0] * grid.base_mva, "MW");
  summary.add("status", dpf::name(solution.status));
  summary.add("iterations", solution.iterations);
  summary.add("max mismatch", solution.max_mismatch, "pu");
  summary.add("max mismatch bus", worst_bus);
  if (options.q_limits != "off") summary.add("generators at a reactive limit", out.limited);
  summary.add("generation", result.generation_mw, "MW");
  summary.add("load", result.load_mw, "MW");
  summary.add("losses", result.loss_mw, "MW");
  summary.add("slack", result.slack_mw, "MW");
  dpf::summarise_voltages(session, grid, result);
  if (out.check.suspicious())
    session.warn(
        fmt::format("this may be a low-voltage solution: lowest |V| {:.4f} pu, {} branches with over 90 degrees, "
                    "sign of det J {} that of the flat start",
                    out.check.lowest_vm, out.check.wide_angles, out.check.determinant_changed ? "differs from" : "as"));
  summary.add("time to read", read_time, "s");
  summary.add("time to solve", solve_time, "s");
  summary.add("time to write", write_time, "s");
  dpf::tabulate(session, grid, result);
  if (solution.status != dpf::Status::converged && !options.allow_failures)
    session.fail(fmt::format("{}: {} after {} iterations, max mismatch {:.3g} pu at bus {}", input.name,
                             dpf::name(solution.status), solution.iterations, solution.max_mismatch, worst_bus));
}

// The output of many scenarios, on the rank that writes.
class ScenarioWriter {
 public:
  ScenarioWriter(const Options& options, cli::Session& session, const dpf::LoadedGrid& input,
                 const dpf::ResultLayout& layout, std::size_t count, int ranks)
      : options_(options), layout_(layout), file_(h5::Output::create(options.output, session.force)) {
    file_.stamp(session, "power-flow", input.file ? &*input.file : nullptr);
    dpf::write_grid(file_, input.grid);
    // Compressing for several ranks would keep the one that writes busier than the others together.
    dpf::create_flows(file_, count, input.grid, outputs_of(options),
                      options.compress == "auto" ? ranks == 1 : options.compress == "yes");
    header.status.resize(count);
    header.iterations.resize(count);
    header.path.resize(count);
    for (auto* column : {&header.max_mismatch, &header.relative, &header.mean_square, &header.slack_mw, &header.loss_mw,
                         &header.lost_load_mw, &envelope[0], &envelope[1], &envelope[2]})
      column->resize(count);
  }

  // What the input has besides: the scenarios themselves may be as large as the results.
  void carry(const dpf::LoadedGrid& input) {
    if (input.file) file_.carry(*input.file, {"/result"});
  }
  dpf::PlainTables::Places places() const { return dpf::PlainTables::places(file_, layout_); }

  // The scalars of a block, and its tables where `values` still holds them.
  void write(cluster::Block block, std::span<const double> values) {
    for (std::size_t i = 0; i < block.count; ++i) {
      const auto head = layout_.head(i, values);
      const std::size_t s = block.begin + i;
      header.status[s] = static_cast<std::int8_t>(head[0]);
      header.iterations[s] = static_cast<std::int32_t>(head[1]);
      header.max_mismatch[s] = head[2];
      header.relative[s] = head[3];
      header.mean_square[s] = head[4];
      header.path[s] = static_cast<std::uint8_t>(head[5]);
      header.slack_mw[s] = head[6];
      header.loss_mw[s] = head[7];
      header.lost_load_mw[s] = head[8];
      for (std::size_t k = 0; k < 3; ++k)
        envelope[k][s] = head[9 + k];
    }
    if (values.size() == layout_.size(block.count)) dpf::write_tables(file_, layout_, block.begin, block.count, values);
  }

  void finish(cli::Session& session, const dpf::LoadedGrid& input, const dpf::ScenarioSource& source) {
    dpf::write_header(file_, header);
    source.write_labels(file_);
    file_.commit();
    if (!options_.plot.empty()) dpf::plot_envelope(options_.plot, session.force, input.grid, envelope, source.time());
  }

  dpf::ResultHeader header;
  std::array<std::vector<double>, 3> envelope;

 private:
  const Options& options_;
  const dpf::ResultLayout& layout_;
  h5::Output file_;
};

// One desk for each thread, made when first used.
class Desks {
 public:
  Desks(const dpf::Grid& grid, const dpf::Network& network, const dpf::MethodOptions& options, int threads)
      : grid_(grid), network_(network), options_(options), desks_(static_cast<std::size_t>(threads)) {}
  dpf::Desk& mine() {
#ifdef _OPENMP
    auto& desk = desks_[static_cast<std::size_t>(omp_get_thread_num())];
#else
    auto& desk = desks_[0];
#endif
    if (!desk) desk = std::make_unique<dpf::Desk>(grid_, network_, options_);
    return *desk;
  }

 private:
  const dpf::Grid& grid_;
  const dpf::Network& network_;
  dpf::MethodOptions options_;
  std::vector<std::unique_ptr<dpf::Desk>> desks_;
};

compute::Device device_of(const Options& options, const cli::Session& session) {
  const compute::Device device = compute::Device::parse(session.device);
  if (options.chain && device.is_cuda()) throw usage_error("--chain goes with --device cpu");
  return device;
}

// Solves blocks of scenarios: side by side with one factor, or each by the chosen method.
class ScenarioSolver {
 public:
  ScenarioSolver(const Options& options, cli::Session& session, const dpf::LoadedGrid& input,
                 dpf::ScenarioSource& source)
      : options_(options),
        grid_(input.grid),
        source_(source),
        device_(device_of(options, session)),
        network_(network_of(options, session, grid_)),
        method_(method_options(options, "chord")),
        together_((method_.method == dpf::Method::chord || method_.method == dpf::Method::nr) &&
                  (options.slack == "single" || !wide())),
        desks_(grid_, network_, each_method(), session.threads),
        layout_(grid_, outputs_of(options)),
        nothing_(dpf::not_started(grid_, network_)) {
    if (together_) make_batch(input.name);
    if (is_series(options)) series_.emplace(options.tolerance, options.stop_mismatch);
  }

  const dpf::ResultLayout& layout() const { return layout_; }
  const dpf::Network& network() const { return network_; }
  std::string method() const { return dpf::name(together_ ? method_.method : each_method().method); }
  /// Scenarios that stay together: whole tiles, whole chains, whole chunks of the input and output where there are
  /// many.
  std::size_t grain(int threads, int ranks) const {
    if (!together_) return static_cast<std::size_t>(16 * threads);
    const auto lanes = static_cast<std::size_t>(batch_->lanes());
    if (device_.is_cuda()) return lanes;
    if (options_.precision == "double") return static_cast<std::size_t>(64 * threads);
    if (options_.chain) return lanes * static_cast<std::size_t>(options_.chunk);
    std::size_t rows = dpf::scenario_rows(grid_.bus.size());
    for (const auto& table : layout_.tables())
      rows = std::max(rows, dpf::scenario_rows(table.width));
    std::size_t out = 64;
    while (out < std::min<std::size_t>(rows, 1024) && out * 16 * static_cast<std::size_t>(ranks) <= source_.count())
      out *= 2;
    return out;
  }
  /// Scenarios in memory at once.
  std::size_t most(int threads, int ranks) const {
    const std::size_t least = grain(threads, ranks);
    if (!together_ || device_.is_cuda() || options_.chain || options_.time_limit > 0) return least;
    const std::size_t bytes = 8 * (layout_.size(1) + 4 * grid_.bus.size());
    return std::max({least, (std::size_t{128} << 20) / bytes,
                     4 * static_cast<std::size_t>(batch_->lanes()) * static_cast<std::size_t>(threads)});
  }
  double read_time = 0;
  std::function<void()> meanwhile;  ///< done once, beside the solution of the first block: the only use of HDF5 then

  /// Results of a block, in the layout; of its scalars alone where its tables went straight into the file.
  std::span<const double> solve(cluster::Block block, const dpf::PlainTables* tables) {
    values_.resize(layout_.size(block.count));
    Rows rows(block, layout_, values_, tables);
    const auto keep = [&](std::size_t s, const dpf::Outcome& out) { rows.put(s - block.begin, out); };
    if (options_.time_limit > 0 && seconds_since(start_) > options_.time_limit) {
      for (std::size_t s = block.begin; s < block.end(); ++s)
        keep(s, nothing_);
    } else {
      const auto clock = Clock::now();
      source_.load(block.begin, block.count);
      read_time += seconds_since(clock);
      std::future<void> other;
      if (meanwhile) other = std::async(std::launch::async, std::exchange(meanwhile, {}));
      if (together_)
        solve_together(block, keep);
      else if (series_)
        for (std::size_t s = block.begin; s < block.end(); ++s)
          keep(s, solve_next(s));
      else
        compute::parallel_tasks(block.count, [&](std::size_t i) {
          const std::size_t s = block.begin + i;
          keep(s, alone(s) ? solve_changed(s) : solve_each(s));
        });
      if (other.valid()) other.get();
    }
    const std::span<const double> all = values_;
    return tables != nullptr ? all.first(block.count * dpf::ResultLayout::scalars) : all;
  }

 private:
  // Results of a block as they come; rows of a few scenarios that are complete go into the file at once.
  class Rows {
   public:
    Rows(cluster::Block block, const dpf::ResultLayout& layout, std::span<double> values,
         const dpf::PlainTables* tables)
        : block_(block), layout_(layout), values_(values), tables_(tables), done_((block.count + group - 1) / group) {}
    void put(std::size_t row, const dpf::Outcome& out) {
      layout_.put(out, row, block_.count, values_);
      if (tables_ == nullptr) return;
      const std::size_t begin = row / group * group, rows = std::min(group, block_.count - begin);
      if (++done_[row / group] == rows) tables_->write(block_.begin, block_.count, begin, rows, values_);
    }

   private:
    static constexpr std::size_t group = 16;
    cluster::Block block_;
    const dpf::ResultLayout& layout_;
    std::span<double> values_;
    const dpf::PlainTables* tables_;
    std::vector<std::atomic<std::size_t>> done_;
  };

  // One scenario a thread: on a device, or with a factor in double precision.
  bool wide() const { return device_.is_cuda() || options_.precision == "double"; }

  dpf::MethodOptions each_method() const {
    dpf::MethodOptions out = method_;
    // A distributed slack is Newton's.
    if (options_.slack != "single" && out.method == dpf::Method::chord) out.method = dpf::Method::nr;
    return out;
  }

  void make_batch(const std::string& name) {
    const dpf::Problem problem = dpf::problem_of(network_);
    dpf::Newton newton(network_);
    const dpf::ScenarioResult base =
        dpf::climb(grid_, newton, problem, dpf::starting_point(grid_, problem, start_of(options_.init)),
                   {.tolerance = options_.tolerance});
    if (base.solution.status != dpf::Status::converged)
      throw method_failed(
          "{}: the base case has no solution ({}, max mismatch {:.3g} pu): its Jacobian is what the scenarios share",
          name, dpf::name(base.solution.status), base.solution.max_mismatch);
    dpf::BatchOptions batch_options;
    batch_options.tolerance = std::max(options_.tolerance, dpf::loose_tolerance(problem, options_.stop_mismatch));
    batch_options.memory = method_.memory;
    batch_options.device = device_;
    batch_options.exact_factor = options_.precision == "double";
    batch_options.injections = true;
    batch_options.phasors = outputs_of(options_).flows;
    if (options_.max_iterations > 0) batch_options.newton_iterations = options_.max_iterations;
    if (method_.method == dpf::Method::nr) batch_options.max_iterations = 0;  // straight to Newton, the first rung
    batch_.emplace(grid_, problem, base.solution.state, batch_options);
    if (method_.method == dpf::Method::chord && method_.q_limits != dpf::QLimits::off && !options_.chain && !wide())
      limited_.emplace(grid_, network_, *batch_, method_.q_limits);
  }

  void specify(std::size_t s, dpf::OperatingPoint& point) const {
    source_.point(s, point);
    if (options_.scale_generation) dpf::scale_generation(grid_, point);
  }
  dpf::OperatingPoint& point_of(std::size_t s) {
    dpf::OperatingPoint& point = desks_.mine().fresh_point();
    specify(s, point);
    return point;
  }
  bool alone(std::size_t s) const { return source_.changes() != nullptr && source_.changes()->changes_topology(s); }
  dpf::Outcome solve_changed(std::size_t s) const {
    return dpf::solve_anew(source_.changes()->apply(s, grid_), network_options(options_), method_);
  }
  dpf::Outcome solve_each(std::size_t s) {
    const dpf::OperatingPoint& point = point_of(s);
    double finite = 0;
    for (const auto* column : {&point.pd, &point.qd, &point.pg, &point.vg})
      for (const double x : *column)
        finite += x * 0;
    return finite == 0 ? desks_.mine().solve(point) : nothing_;
  }

  // The paper's time series: each step from the one before.
  dpf::Outcome solve_next(std::size_t s) {
    dpf::OperatingPoint& point = point_of(s);
    dpf::Problem problem = dpf::problem_of(network_);
    std::vector<double> p(problem.p.size()), q(p.size()), set_point(problem.set_point.begin(), problem.set_point.end());
    dpf::specify(grid_, network_, point, {p, q, set_point});
    problem.p = p;
    problem.q = q;
    problem.set_point = set_point;
    const dpf::State start = dpf::starting_point(grid_, problem, start_of(options_.init));
    return desks_.mine().finish(point, {series_->solve(problem, start), dpf::Path::other});
  }

  template <class Keep>
  void solve_together(cluster::Block block, const Keep& keep) {
    const auto specify = [&](std::size_t s, const dpf::Specified& x) {
      if (!alone(s)) dpf::specify(grid_, network_, point_of(s), x);
    };
    const auto done = [&](std::size_t s, dpf::ScenarioResult&& result) {
      if (alone(s))
        keep(s, solve_changed(s));
      else
        keep(s, desks_.mine().finish(point_of(s), std::move(result)));
    };
    bool any_alone = false;
    for (std::size_t s = block.begin; limited_ && s < block.end(); ++s)
      any_alone = any_alone || alone(s);
    if (limited_ && !any_alone)
      return limited_->solve(block.begin, block.count,
                             {[&]() -> dpf::Desk& { return desks_.mine(); },
                              [&](std::size_t s, dpf::OperatingPoint& point) { this->specify(s, point); }, keep});
    if (options_.chain)
      batch_->solve_chains(block.begin, block.count, static_cast<std::size_t>(options_.chunk), specify, done);
    else
      batch_->solve(block.begin, block.count, specify, done);
  }

  const Options& options_;
  const dpf::Grid& grid_;
  dpf::ScenarioSource& source_;
  compute::Device device_;
  dpf::Network network_;
  dpf::MethodOptions method_;
  bool together_;
  Desks desks_;
  dpf::ResultLayout layout_;
  dpf::Outcome nothing_;
  std::optional<dpf::Batch> batch_;
  std::optional<dpf::PaperSeries> series_;
  std::optional<dpf::LimitedBatch> limited_;
  std::vector<double> values_;
  Clock::time_point start_ = Clock::now();
};

// What the first rank knows of its output, on every rank.
dpf::PlainTables::Places shared_places(const cluster::Communicator& world, dpf::PlainTables::Places places) {
  places.file = world.broadcast_text(places.file);
  places.offsets.resize(world.broadcast_value(places.offsets.size()));
  world.broadcast(places.offsets);
  return places;
}

// Scenarios in blocks that ranks take as they get free, so that memory does not grow with their number: read, solve,
// write. Tables that are not packed are written by every rank, the rest by the first.
void solve_many(const Options& options, cli::Session& session, const cluster::Communicator& world,
                const dpf::LoadedGrid& input, dpf::ScenarioSource source, double read_time) {
  const auto clock = Clock::now();
  const std::size_t count = source.count();
  ScenarioSolver solver(options, session, input, source);
  std::optional<ScenarioWriter> writer;
  if (world.root()) writer.emplace(options, session, input, solver.layout(), count, world.size());
  const auto places = shared_places(world, writer ? writer->places() : dpf::PlainTables::Places{});
  std::optional<dpf::PlainTables> tables;
  if (!places.offsets.empty()) tables.emplace(solver.layout(), places);
  double write_time = 0;
  if (world.root() && (world.size() > 1 || session.threads == 1)) {
    const auto start = Clock::now();
    writer->carry(input);  // the other ranks compute meanwhile
    write_time += seconds_since(start);
  } else if (world.root()) {
    solver.meanwhile = [&] { writer->carry(input); };
  }
  {
    cli::Progress progress(session, "solving", count, "scenarios");
    dpf::farm_out(
        world, count, solver.grain(session.threads, world.size()), solver.most(session.threads, world.size()),
        [&](cluster::Block block) { return solver.solve(block, tables ? &*tables : nullptr); },
        [&](cluster::Block block, std::span<const double> values) {
          const auto start = Clock::now();
          writer->write(block, values);
          write_time += seconds_since(start);
          progress.advance(block.count);
        });
  }
  if (!world.root()) return;
  if (solver.meanwhile) solver.meanwhile();
  const double solve_time = seconds_since(clock) - write_time - solver.read_time;
  const auto start = Clock::now();
  writer->finish(session, input, source);
  write_time += seconds_since(start);

  const dpf::ResultHeader& header = writer->header;
  dpf::summarise_grid(session, input.grid, solver.network());
  session.summary.add("method", solver.method());
  if (world.size() > 1) session.summary.add("ranks", world.size());
  dpf::summarise_scenarios(session, header);
  session.summary.add("time to read", read_time + solver.read_time, "s");
  session.summary.add("time to solve", solve_time, "s");
  session.summary.add("time to write", write_time, "s");
  session.summary.add("scenarios per second", static_cast<double>(count) / std::max(1e-9, solve_time));
  const auto failed = static_cast<std::ptrdiff_t>(count) - std::ranges::count(header.status, 0);
  if (failed > 0 && !options.allow_failures)
    session.fail(
        fmt::format("{}: {} of {} scenarios did not converge (see /result/status)", input.name, failed, count));
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
  const auto clock = Clock::now();
  dpf::LoadedGrid input = dpf::load_grid(options.input);
  for (const auto& warning : input.warnings)
    session.warn(warning);
  if (options.init.starts_with("h5:")) start_from_file(options.init.substr(3), input.grid);
  std::optional<dpf::ScenarioSource> source;
  if (const std::string& path = options.profile.empty() ? options.scenarios : options.profile; !path.empty())
    source = dpf::ScenarioSource::open(path, input.grid, options.area);
  else if (input.file)
    source = dpf::ScenarioSource::in(*input.file, input.grid, options.area);
  const double read_time = seconds_since(clock);
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
    solve_many(options, session, world, input, std::move(*source), read_time);
  else if (world.root() || !options.areas.empty())
    solve_one(options, session, world, input, read_time);
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
            "start: auto, file, flat, dc (DC angles), or h5:PATH (another solved flow); auto: file unless it is flat, then dc",
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
            "what is written: v, flows, gen, loss; of one state also jacobian, adjoint (see --adjoint-of) and history (as --trace)",
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
          "/changes/*  a change table, as dpf-import writes it",
      .writes =
          "/grid/*  as read\n/result/{status,iters,max_mismatch,rel_mismatch,mse,path,slack_mw,loss_mw,lost_load_mw}[scenario]\n"
          "/result/{vm,va}[scenario,bus]  pu, deg\n/result/{pf,qf,pt,qt,loading}[scenario,branch]  MW, MVAr, percent\n"
          "/result/{pg,qg}[scenario,gen]  MW, MVAr\n/result/{time,label}[scenario]\n/history/{max_mismatch,mse,rel_mismatch}[step]  with --trace\n"
          "/jacobian/{bus,kind}[unknown], {row,column,value}[entry]  dF/dx, x = angles of PV and PQ buses, then |V| of PQ buses; with --outputs jacobian\n"
          "/adjoint/{p,q}[bus]  derivatives of the scalar per MW and MVAr injected; with --outputs adjoint",
      .standard = {.threads = true, .device = true}};
  return command.run(argc, argv, [&](cli::Session& session) {
    if (options.init != "auto" && options.init != "file" && options.init != "flat" && options.init != "dc" &&
        !options.init.starts_with("h5:"))
      throw usage_error("--init: expected auto, file, flat, dc or h5:PATH, found \"{}\"", options.init);
    cluster::run(session, [&](const cluster::Communicator& world) { solve(options, session, world); });
  });
}
