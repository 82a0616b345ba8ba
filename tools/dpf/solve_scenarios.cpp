#include "solve_scenarios.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <future>
#include <utility>

#include "cli/error.hpp"
#include "cli/progress.hpp"
#include "compute/parallel.hpp"
#include "farm.hpp"
#include "limited_batch.hpp"
#include "report.hpp"
#include "results.hpp"

namespace fachwerk::dpf {
namespace {

// The output of many scenarios, on the rank that writes.
class ScenarioWriter {
 public:
  ScenarioWriter(const SolveOptions& options, cli::Session& session, const LoadedGrid& input,
                 const ResultLayout& layout, std::size_t count, int ranks)
      : options_(options), layout_(layout), file_(h5::Output::create(options.output, session.force)) {
    file_.stamp(session, "power-flow", input.file ? &*input.file : nullptr);
    write_grid(file_, input.grid);
    // Compressing for several ranks would keep the one that writes busier than the others together.
    create_flows(file_, count, input.grid, outputs_of(options),
                 options.compress == "auto" ? ranks == 1 : options.compress == "yes");
    header.status.resize(count);
    header.iterations.resize(count);
    header.path.resize(count);
    header.check.resize(count);
    for (auto* column : {&header.max_mismatch, &header.relative, &header.mean_square, &header.slack_mw, &header.loss_mw,
                         &header.lost_load_mw, &envelope[0], &envelope[1], &envelope[2]})
      column->resize(count);
  }

  // What the input has besides: the scenarios themselves may be as large as the results.
  void carry(const LoadedGrid& input) {
    if (input.file) file_.carry(*input.file, {"/result"});
  }
  PlainTables::Places places() const { return PlainTables::places(file_, layout_); }

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
      header.check[s] = static_cast<std::uint8_t>(head[6]);
      header.slack_mw[s] = head[7];
      header.loss_mw[s] = head[8];
      header.lost_load_mw[s] = head[9];
      for (std::size_t k = 0; k < 3; ++k)
        envelope[k][s] = head[10 + k];
    }
    if (values.size() == layout_.size(block.count)) write_tables(file_, layout_, block.begin, block.count, values);
  }

  void finish(cli::Session& session, const LoadedGrid& input, const ScenarioSource& source) {
    write_header(file_, header);
    source.write_labels(file_);
    file_.commit();
    if (!options_.plot.empty()) plot_envelope(options_.plot, session.force, input.grid, envelope, source.time());
  }

  ResultHeader header;
  std::array<std::vector<double>, 3> envelope;

 private:
  const SolveOptions& options_;
  const ResultLayout& layout_;
  h5::Output file_;
};

// One desk for each thread, made when first used.
class Desks {
 public:
  Desks(const Grid& grid, const Network& network, const MethodOptions& options, int threads)
      : grid_(grid), network_(network), options_(options), desks_(static_cast<std::size_t>(threads)) {}
  Desk& mine() {
#ifdef _OPENMP
    auto& desk = desks_[static_cast<std::size_t>(omp_get_thread_num())];
#else
    auto& desk = desks_[0];
#endif
    if (!desk) desk = std::make_unique<Desk>(grid_, network_, options_);
    return *desk;
  }

 private:
  const Grid& grid_;
  const Network& network_;
  MethodOptions options_;
  std::vector<std::unique_ptr<Desk>> desks_;
};

compute::Device device_of(const SolveOptions& options, const cli::Session& session) {
  const compute::Device device = compute::Device::parse(session.device);
  if (options.chain && device.is_cuda()) throw usage_error("--chain goes with --device cpu");
  return device;
}

// Solves blocks of scenarios: side by side with one factor, or each by the chosen method.
class ScenarioSolver {
 public:
  ScenarioSolver(const SolveOptions& options, cli::Session& session, const LoadedGrid& input, ScenarioSource& source)
      : options_(options),
        grid_(input.grid),
        source_(source),
        device_(device_of(options, session)),
        network_(network_of(options, session, grid_)),
        method_(method_options(options, "chord")),
        together_((method_.method == Method::chord || method_.method == Method::nr) &&
                  (options.slack == "single" || !wide())),
        desks_(grid_, network_, each_method(), session.threads),
        layout_(grid_, outputs_of(options)),
        nothing_(not_started(grid_, network_)) {
    if (together_) make_batch(input.name);
    if (is_series(options)) series_.emplace(options.tolerance, options.stop_mismatch);
  }

  const ResultLayout& layout() const { return layout_; }
  const Network& network() const { return network_; }
  std::string method() const { return name(together_ ? method_.method : each_method().method); }
  /// Scenarios that stay together: whole tiles, whole chains, whole chunks of the input and output where there are
  /// many.
  std::size_t grain(int threads, int ranks) const {
    if (!together_) return static_cast<std::size_t>(16 * threads);
    const auto lanes = static_cast<std::size_t>(batch_->lanes());
    if (device_.is_cuda()) return lanes;
    if (options_.precision == "double") return static_cast<std::size_t>(64 * threads);
    if (options_.chain) return lanes * static_cast<std::size_t>(options_.chunk);
    std::size_t rows = scenario_rows(grid_.bus.size());
    for (const auto& table : layout_.tables())
      rows = std::max(rows, scenario_rows(table.width));
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
  std::span<const double> solve(cluster::Block block, const PlainTables* tables) {
    values_.resize(layout_.size(block.count));
    Rows rows(block, layout_, values_, tables);
    const auto keep = [&](std::size_t s, const Outcome& out) { rows.put(s - block.begin, out); };
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
    return tables != nullptr ? all.first(block.count * ResultLayout::scalars) : all;
  }

 private:
  // Results of a block as they come; rows of a few scenarios that are complete go into the file at once.
  class Rows {
   public:
    Rows(cluster::Block block, const ResultLayout& layout, std::span<double> values, const PlainTables* tables)
        : block_(block), layout_(layout), values_(values), tables_(tables), done_((block.count + group - 1) / group) {}
    void put(std::size_t row, const Outcome& out) {
      layout_.put(out, row, block_.count, values_);
      if (tables_ == nullptr) return;
      const std::size_t begin = row / group * group, rows = std::min(group, block_.count - begin);
      if (++done_[row / group] == rows) tables_->write(block_.begin, block_.count, begin, rows, values_);
    }

   private:
    static constexpr std::size_t group = 16;
    cluster::Block block_;
    const ResultLayout& layout_;
    std::span<double> values_;
    const PlainTables* tables_;
    std::vector<std::atomic<std::size_t>> done_;
  };

  // One scenario a thread: on a device, or with a factor in double precision.
  bool wide() const { return device_.is_cuda() || options_.precision == "double"; }

  MethodOptions each_method() const {
    MethodOptions out = method_;
    // A distributed slack is Newton's.
    if (options_.slack != "single" && out.method == Method::chord) out.method = Method::nr;
    return out;
  }

  void make_batch(const std::string& name) {
    const Problem problem = problem_of(network_);
    Newton newton(network_);
    const ScenarioResult base = climb(grid_, newton, problem, starting_point(grid_, problem, start_of(options_.init)),
                                      {.tolerance = options_.tolerance});
    if (base.solution.status != Status::converged)
      throw method_failed(
          "{}: the base case has no solution ({}, max mismatch {:.3g} pu): its Jacobian is what the scenarios share",
          name, dpf::name(base.solution.status), base.solution.max_mismatch);
    BatchOptions batch_options;
    batch_options.tolerance = std::max(options_.tolerance, loose_tolerance(problem, options_.stop_mismatch));
    batch_options.memory = method_.memory;
    batch_options.device = device_;
    batch_options.exact_factor = options_.precision == "double";
    batch_options.injections = true;
    batch_options.phasors = outputs_of(options_).flows;
    if (options_.max_iterations > 0) batch_options.newton_iterations = options_.max_iterations;
    if (method_.method == Method::nr) batch_options.max_iterations = 0;  // straight to Newton, the first rung
    batch_.emplace(grid_, problem, base.solution.state, batch_options);
    if (method_.method == Method::chord && method_.q_limits != QLimits::off && !options_.chain && !wide())
      limited_.emplace(grid_, network_, *batch_, method_.q_limits);
  }

  void specify(std::size_t s, OperatingPoint& point) const {
    source_.point(s, point);
    if (options_.scale_generation) scale_generation(grid_, point);
  }
  OperatingPoint& point_of(std::size_t s) {
    OperatingPoint& point = desks_.mine().fresh_point();
    specify(s, point);
    return point;
  }
  // Loads that depend on the voltage are the same in all scenarios of a batch.
  bool changes_dependence(std::size_t s) {
    return !network_.zip.empty() && !alone(s) && dpf::changes_dependence(grid_, point_of(s));
  }
  Outcome solve_apart(std::size_t s) {
    OperatingPoint& point = point_of(s);
    return point.finite() ? desks_.mine().climb(point, batch_->base()) : nothing_;
  }
  bool alone(std::size_t s) const { return source_.changes_topology(s); }
  Outcome solve_changed(std::size_t s) const {
    const std::optional<Grid> grid = source_.grid(s);
    return grid ? solve_anew(*grid, network_options(options_), method_) : nothing_;
  }
  Outcome solve_each(std::size_t s) {
    const OperatingPoint& point = point_of(s);
    return point.finite() ? desks_.mine().solve(point) : nothing_;
  }

  // The paper's time series: each step from the one before.
  Outcome solve_next(std::size_t s) {
    OperatingPoint& point = point_of(s);
    Problem problem = problem_of(network_);
    std::vector<double> p(problem.p.size()), q(p.size()), set_point(problem.set_point.begin(), problem.set_point.end());
    std::vector<VoltageDependence> zip(problem.zip.size());
    dpf::specify(grid_, network_, point, {p, q, set_point, zip});
    problem.zip = zip;
    problem.p = p;
    problem.q = q;
    problem.set_point = set_point;
    const State start = starting_point(grid_, problem, start_of(options_.init));
    return desks_.mine().finish(point, {series_->solve(problem, start), Path::other});
  }

  template <class Keep>
  void solve_together(cluster::Block block, const Keep& keep) {
    const auto specify = [&](std::size_t s, const Specified& x) {
      if (!alone(s) && !changes_dependence(s)) dpf::specify(grid_, network_, point_of(s), x);
    };
    const auto done = [&](std::size_t s, ScenarioResult&& result) {
      if (alone(s))
        keep(s, solve_changed(s));
      else if (changes_dependence(s))
        keep(s, solve_apart(s));
      else
        keep(s, desks_.mine().finish(point_of(s), std::move(result)));
    };
    bool any_alone = false;
    for (std::size_t s = block.begin; limited_ && s < block.end(); ++s)
      any_alone = any_alone || alone(s) || changes_dependence(s);
    if (limited_ && !any_alone)
      return limited_->solve(block.begin, block.count,
                             {[&]() -> Desk& { return desks_.mine(); },
                              [&](std::size_t s, OperatingPoint& point) { this->specify(s, point); }, keep});
    if (options_.chain)
      batch_->solve_chains(block.begin, block.count, static_cast<std::size_t>(options_.chunk), specify, done);
    else
      batch_->solve(block.begin, block.count, specify, done);
  }

  const SolveOptions& options_;
  const Grid& grid_;
  ScenarioSource& source_;
  compute::Device device_;
  Network network_;
  MethodOptions method_;
  bool together_;
  Desks desks_;
  ResultLayout layout_;
  Outcome nothing_;
  std::optional<Batch> batch_;
  std::optional<PaperSeries> series_;
  std::optional<LimitedBatch> limited_;
  std::vector<double> values_;
  Clock::time_point start_ = Clock::now();
};

// What the first rank knows of its output, on every rank.
PlainTables::Places shared_places(const cluster::Communicator& world, PlainTables::Places places) {
  places.file = world.broadcast_text(places.file);
  places.offsets.resize(world.broadcast_value(places.offsets.size()));
  world.broadcast(places.offsets);
  return places;
}

}  // namespace

void solve_many(const SolveOptions& options, cli::Session& session, const cluster::Communicator& world,
                const LoadedGrid& input, ScenarioSource source, double read_time) {
  const auto clock = Clock::now();
  const std::size_t count = source.count();
  ScenarioSolver solver(options, session, input, source);
  std::optional<ScenarioWriter> writer;
  if (world.root()) writer.emplace(options, session, input, solver.layout(), count, world.size());
  const auto places = shared_places(world, writer ? writer->places() : PlainTables::Places{});
  std::optional<PlainTables> tables;
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
    farm_out(
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

  const ResultHeader& header = writer->header;
  summarise_grid(session, input.grid, solver.network());
  session.summary.add("method", solver.method());
  if (world.size() > 1) session.summary.add("ranks", world.size());
  summarise_scenarios(session, header);
  session.summary.add("time to read", read_time + solver.read_time, "s");
  session.summary.add("time to solve", solve_time, "s");
  session.summary.add("time to write", write_time, "s");
  session.summary.add("scenarios per second", static_cast<double>(count) / std::max(1e-9, solve_time));
  const auto failed = static_cast<std::ptrdiff_t>(count) - std::ranges::count(header.status, 0);
  if (failed > 0 && !options.allow_failures)
    session.fail(
        fmt::format("{}: {} of {} scenarios did not converge (see /result/status)", input.name, failed, count));
}

}  // namespace fachwerk::dpf
