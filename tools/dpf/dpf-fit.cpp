#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "cli/command.hpp"
#include "cli/progress.hpp"
#include "compute/parallel.hpp"
#include "differences.hpp"
#include "fit_layout.hpp"
#include "fit_report.hpp"
#include "io/delimited.hpp"
#include "io/plot.hpp"

using namespace fachwerk;

namespace {

constexpr const char* all_learnt = "learn";  // --sensitivity without a list

struct Options {
  std::string input, measurements, output, gradient, prior = "0", plot, residual_plot;
  std::string formulation = "output", robust = "none", optimizer = "auto", bad_data = "report", slack = "single";
  std::vector<std::string> learn = {"r", "x"}, sensitivity, bounds, groups;
  std::optional<int> max_iterations;
  double tolerance = 1e-10, mismatch_sigma = 1e-4, threshold = 3.5;
  bool check = false;

  bool distributed() const { return slack == "distributed"; }
};

dpf::Network network_of(const dpf::Grid& grid, bool distributed) {
  dpf::Network network = dpf::build_network(grid);
  if (distributed) dpf::distribute_slack(network, grid);
  return network;
}

std::vector<dpf::Parameter> parameters_of(const std::vector<dpf::ParameterKind>& kinds, const dpf::Grid& grid,
                                          const dpf::Network& network) {
  std::vector<dpf::Parameter> out;
  for (const auto kind : kinds) {
    const auto some = dpf::parameters_of(grid, network, kind);
    out.insert(out.end(), some.begin(), some.end());
  }
  return out;
}

dpf::Solution solve(const dpf::Grid& grid, const dpf::Network& network, double tolerance,
                    const dpf::State* start = nullptr) {
  const dpf::Problem problem = dpf::problem_of(network);
  dpf::Newton newton(network);
  if (start != nullptr && start->vm.size() == network.type.size()) {
    dpf::State state = *start;
    for (std::size_t i = 0; i < state.vm.size(); ++i)
      if (network.type[i] != dpf::NodeType::pq) state.vm[i] = network.set_point[i];
    dpf::Solution warm = newton.solve(problem, std::move(state), {.tolerance = tolerance});
    if (warm.status == dpf::Status::converged) return warm;
  }
  return newton.solve(problem, dpf::starting_point(grid, problem, dpf::Start::automatic), {.tolerance = tolerance});
}

dpf::Solution solved(const std::string& name, const dpf::Grid& grid, const dpf::Network& network, double tolerance) {
  dpf::Solution solution = solve(grid, network, tolerance);
  if (solution.status != dpf::Status::converged)
    throw method_failed("{}: {} after {} iterations, max mismatch {:.3g} pu", name, dpf::name(solution.status),
                        solution.iterations, solution.max_mismatch);
  return solution;
}

// How far a parameter is moved for differences at first; `typical`: median size of such parameters.
double first_step(const dpf::Grid& grid, const dpf::Parameter& p, double typical) {
  using Kind = dpf::ParameterKind;
  const double size = std::max(std::abs(dpf::get(grid, p)), typical);
  // Beside those of the grid a switch has next to none: its own size would drown in rounding.
  if (p.kind == Kind::r || p.kind == Kind::x)
    return .2 * std::max(std::hypot(grid.branch.r[p.row], grid.branch.x[p.row]), typical);
  if (p.kind == Kind::tap || p.kind == Kind::set_point) return .004;
  if (p.kind == Kind::shift) return .5;
  if (p.kind == Kind::slack_weight) return .3 * dpf::get(grid, p);  // below 0 they do not count
  if (dpf::is_share(p.kind)) return .1;
  return size > 0 ? .3 * size : 1e-3;
}

// Central differences of solved flows beside the derivatives.
void check_gradient(const Options& options, cli::Session& session, const dpf::LoadedGrid& input,
                    const dpf::State& state, const dpf::Functional& what, const std::vector<dpf::Parameter>& parameters,
                    const std::vector<double>& values) {
  const auto value_with = [&](const dpf::Parameter& p, double value) {
    dpf::Grid grid = input.grid;
    dpf::set(grid, p, value);
    const dpf::Network network = network_of(grid, options.distributed());
    const dpf::Solution solution = solve(grid, network, 1e-12, &state);
    return solution.status == dpf::Status::converged
               ? dpf::observe(grid, dpf::problem_of(network), solution.state, what)
               : NAN;
  };
  std::map<dpf::ParameterKind, std::vector<double>> sizes;
  for (const dpf::Parameter& p : parameters)
    sizes[p.kind].push_back(std::abs(dpf::get(input.grid, p)));
  for (auto& [kind, all] : sizes)
    std::ranges::sort(all);
  double largest = 0, worst = 0;
  std::string where = "no parameter";
  int unclear = 0;
  for (const double v : values)
    largest = std::max(largest, std::abs(v));
  cli::Progress progress(session, "checking", parameters.size(), "parameters");
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto& all = sizes[parameters[i].kind];
    const double p = dpf::get(input.grid, parameters[i]), scale = std::max(std::abs(values[i]), 1e-3 * largest);
    const dpf::Extrapolated difference =
        dpf::extrapolated_derivative([&](double h) { return value_with(parameters[i], p + h); },
                                     first_step(input.grid, parameters[i], all[all.size() / 2]), 1e-9 * scale);
    const double off = std::abs(values[i] - difference.value) / scale;
    // Beside admittances of 1e6 pu differences drown in rounding: they tell nothing then.
    if (!(difference.error < 1e-6 * scale))
      ++unclear;
    else if (off > worst)
      worst = off, where = dpf::label(input.grid, parameters[i]);
    progress.advance();
  }
  session.summary.add("largest relative difference to central differences", worst);
  session.summary.add("at", where);
  session.summary.add("differences too rough to tell", unclear);
  if (!(worst < 1e-4))
    session.fail(
        fmt::format("{}: the derivative by {} differs from central differences by {:.3g}", input.name, where, worst));
}

// What is differentiated by what, in every scenario.
struct Derivatives {
  dpf::Functional what;                      ///< empty: no gradient
  std::vector<dpf::Parameter> by;            ///< of the gradient
  std::vector<dpf::Parameter> sensitive_to;  ///< of the voltages; empty: none
};
struct ScenarioDerivatives {
  dpf::Status status = dpf::Status::not_started;
  double observed = NAN;
  std::vector<double> gradient, vm, va;
};

bool acts(const dpf::Network& network, const dpf::Parameter& p) {
  return (dpf::of_branch(p.kind)      ? network.from_of_branch[p.row]
          : dpf::of_generator(p.kind) ? network.node_of_gen[p.row]
                                      : network.node_of_bus[p.row]) >= 0;
}
bool visible(const dpf::Network& network, const dpf::Observation& what) {
  using Kind = dpf::Observation::Kind;
  if (what.kind == Kind::loss) return true;
  const bool bus = what.kind == Kind::vm || what.kind == Kind::va || what.kind == Kind::p || what.kind == Kind::q;
  return (bus ? network.node_of_bus[what.row] : network.from_of_branch[what.row]) >= 0;
}

// dV/dp: vm and va by parameter, then bus; NaN on dead buses.
void add_sensitivities(const dpf::Grid& grid, const dpf::Network& network, const dpf::State& state,
                       const std::vector<dpf::Parameter>& parameters, ScenarioDerivatives& out) {
  const std::size_t n = grid.bus.size(), size = 2 * state.vm.size();
  const std::vector<double> dx = dpf::sensitivities(grid, dpf::problem_of(network), state, parameters);
  for (std::size_t i = 0; i < parameters.size(); ++i)
    for (std::size_t b = 0; b < n; ++b) {
      const int k = network.node_of_bus[b];
      if (k < 0) continue;
      out.vm[i * n + b] = dx[i * size + 2 * static_cast<std::size_t>(k) + 1] * state.vm[k];
      out.va[i * n + b] = dx[i * size + 2 * static_cast<std::size_t>(k)] * 57.29577951308232;
    }
}

ScenarioDerivatives unsolved(const Derivatives& wanted, std::size_t buses) {
  ScenarioDerivatives out;
  out.gradient.assign(wanted.what.empty() ? 0 : wanted.by.size(), NAN);
  out.vm.assign(wanted.sensitive_to.size() * buses, NAN);
  out.va = out.vm;
  return out;
}

ScenarioDerivatives derivatives_of(const Derivatives& wanted, const dpf::Grid& grid, const dpf::Network& network,
                                   const dpf::State* start) {
  ScenarioDerivatives out = unsolved(wanted, grid.bus.size());
  const dpf::Solution solution = solve(grid, network, 1e-10, start);
  out.status = solution.status;
  if (solution.status != dpf::Status::converged) return out;
  const dpf::Problem problem = dpf::problem_of(network);
  // What a scenario has switched off moves nothing.
  const auto acting = [&](const std::vector<dpf::Parameter>& all, std::vector<std::size_t>& places) {
    std::vector<dpf::Parameter> some;
    for (std::size_t i = 0; i < all.size(); ++i)
      if (acts(network, all[i])) some.push_back(all[i]), places.push_back(i);
    return some;
  };
  std::vector<std::size_t> places;
  if (!out.gradient.empty() &&
      std::ranges::all_of(wanted.what, [&](const auto& w) { return visible(network, w.first); })) {
    out.observed = dpf::observe(grid, problem, solution.state, wanted.what);
    out.gradient.assign(wanted.by.size(), 0.0);
    const auto values = dpf::adjoint_gradient(grid, problem, solution.state, wanted.what, acting(wanted.by, places));
    for (std::size_t i = 0; i < values.size(); ++i)
      out.gradient[places[i]] = values[i];
  }
  if (!out.vm.empty()) {
    places.clear();
    const auto some = acting(wanted.sensitive_to, places);
    if (some.size() == wanted.sensitive_to.size()) {
      add_sensitivities(grid, network, solution.state, some, out);
    } else {
      ScenarioDerivatives part;
      part.vm.assign(some.size() * grid.bus.size(), NAN);
      part.va = part.vm;
      add_sensitivities(grid, network, solution.state, some, part);
      const auto width = static_cast<std::ptrdiff_t>(grid.bus.size());
      for (std::size_t i = 0; i < places.size(); ++i) {
        const auto from = static_cast<std::ptrdiff_t>(i) * width, to = static_cast<std::ptrdiff_t>(places[i]) * width;
        std::copy_n(part.vm.begin() + from, width, out.vm.begin() + to);
        std::copy_n(part.va.begin() + from, width, out.va.begin() + to);
      }
    }
  }
  return out;
}

// Datasets of derivatives, with an axis of scenarios where there are scenarios.
class DerivativeWriter {
 public:
  DerivativeWriter(h5::Output& file, const Options& options, const dpf::Grid& grid, const Derivatives& wanted,
                   std::optional<std::size_t> scenarios)
      : file_(file), scenarios_(scenarios) {
    if (!wanted.what.empty()) {
      dpf::write_parameters(file, grid, wanted.by, "/gradient");
      file.attribute("/gradient", "of", options.gradient);
      create("/gradient/value", {wanted.by.size()}, {"parameter"}, "unit of the observation over unit of the parameter",
             "derivative of " + options.gradient);
      create("/gradient/observed", {}, {}, "unit of the observation", options.gradient);
    }
    if (!wanted.sensitive_to.empty()) {
      dpf::write_parameters(file, grid, wanted.sensitive_to, "/sensitivity");
      for (const auto& [name, units] :
           {std::pair{"vm", "pu over unit of the parameter"}, std::pair{"va", "deg over unit of the parameter"}})
        create(std::string("/sensitivity/") + name, {wanted.sensitive_to.size(), grid.bus.size()}, {"parameter", "bus"},
               units, "derivative of the voltage by the parameter");
    }
  }
  void write(std::size_t scenario, const ScenarioDerivatives& d) {
    if (!d.gradient.empty()) {
      put("/gradient/value", scenario, d.gradient);
      put("/gradient/observed", scenario, {d.observed});
    }
    if (!d.vm.empty()) {
      put("/sensitivity/vm", scenario, d.vm);
      put("/sensitivity/va", scenario, d.va);
    }
  }

 private:
  void create(const std::string& path, h5::Shape shape, std::vector<std::string> dims, const std::string& units,
              const std::string& meaning) {
    if (scenarios_) {
      shape.insert(shape.begin(), *scenarios_);
      dims.insert(dims.begin(), "scenario");
    }
    if (shape.empty()) shape = {1}, dims = {"scenario"};
    file_.create_dataset<double>(path, shape, {.units = units, .long_name = meaning, .dims = dims});
    shapes_[path] = shape;
  }
  void put(const std::string& path, std::size_t scenario, const std::vector<double>& values) {
    h5::Shape length = shapes_.at(path), offset(length.size(), 0);
    if (scenarios_) {
      length[0] = 1;
      offset[0] = scenario;
    }
    file_.write_slab<double>(path, offset, length, values);
  }

  h5::Output& file_;
  std::optional<std::size_t> scenarios_;
  std::map<std::string, h5::Shape> shapes_;
};

// Derivatives in every scenario of IN, side by side; returns how many have a solution.
std::size_t scenario_derivatives(const Options& options, cli::Session& session, const dpf::Grid& grid,
                                 const dpf::Network& network, dpf::ScenarioSource& source, const Derivatives& wanted,
                                 h5::Output& file) {
  const dpf::Solution base = solve(grid, network, 1e-8);
  DerivativeWriter writer(file, options, grid, wanted, source.count());
  std::vector<std::int8_t> status;
  std::size_t converged = 0;
  constexpr std::size_t block = 256;
  cli::Progress progress(session, "scenarios", source.count(), "scenarios");
  for (std::size_t first = 0; first < source.count(); first += block) {
    std::vector<ScenarioDerivatives> results(std::min(block, source.count() - first));
    source.load(first, results.size());
    compute::parallel_tasks(results.size(), [&](std::size_t i) {
      const std::optional<dpf::Grid> changed = source.grid(first + i);
      if (!changed) {
        results[i] = unsolved(wanted, grid.bus.size());
        return;
      }
      if (source.changes_topology(first + i)) {
        results[i] = derivatives_of(wanted, *changed, network_of(*changed, options.distributed()), nullptr);
        return;
      }
      dpf::Network own = network;
      dpf::specify_injections(own, *changed);
      results[i] = derivatives_of(wanted, *changed, own, &base.state);
    });
    for (std::size_t i = 0; i < results.size(); ++i) {
      writer.write(first + i, results[i]);
      status.push_back(static_cast<std::int8_t>(results[i].status));
      converged += results[i].status == dpf::Status::converged;
      progress.advance();
    }
  }
  file.column(wanted.what.empty() ? "/sensitivity/status" : "/gradient/status", status,
              {.long_name = "0: solved; as /result/status of dpf-solve", .dims = {"scenario"}});
  return converged;
}

// Derivatives of the solved flow instead of a fit.
void gradient(const Options& options, cli::Session& session, dpf::LoadedGrid& input) {
  auto kinds = dpf::parameter_kinds_of(options.learn), sensitive = kinds;
  const bool listed = !options.sensitivity.empty() && options.sensitivity[0] != all_learnt;
  if (listed) sensitive = dpf::parameter_kinds_of(options.sensitivity);
  auto all = kinds;
  all.insert(all.end(), sensitive.begin(), sensitive.end());
  dpf::make_explicit(input.grid, all, options.distributed());
  const dpf::Grid& grid = input.grid;
  const dpf::Network network = network_of(grid, options.distributed());
  Derivatives wanted;
  if (!options.gradient.empty()) {
    wanted.what = dpf::functional_of(options.gradient, input, network);
    wanted.by = parameters_of(kinds, grid, network);
  }
  if (!options.sensitivity.empty()) wanted.sensitive_to = parameters_of(sensitive, grid, network);
  if (wanted.by.empty() && wanted.sensitive_to.empty()) throw usage_error("--learn: the grid has no such parameter");
  h5::Output file = h5::Output::create(options.output, session.force);
  file.stamp(session, "power-case", input.file ? &*input.file : nullptr);
  dpf::write_grid(file, grid);
  session.summary.add("parameters", (options.gradient.empty() ? wanted.sensitive_to : wanted.by).size());
  std::optional<dpf::ScenarioSource> scenarios;
  if (input.file) scenarios = dpf::ScenarioSource::in(*input.file, grid, "auto");
  if (scenarios) {
    if (options.check) throw usage_error("--check-gradient is for one state, and {} has scenarios", input.name);
    const std::size_t count = scenarios->count(),
                      converged = scenario_derivatives(options, session, grid, network, *scenarios, wanted, file);
    file.commit();
    session.summary.add("scenarios", count);
    session.summary.add("converged", converged);
    if (converged < count)
      session.fail(fmt::format("{}: {} of {} scenarios have no solution", input.name, count - converged, count));
    return;
  }
  const dpf::Solution solution = solved(input.name, grid, network, 1e-10);
  const ScenarioDerivatives result = derivatives_of(wanted, grid, network, &solution.state);
  DerivativeWriter(file, options, grid, wanted, std::nullopt).write(0, result);
  file.commit();
  if (options.gradient.empty()) return;
  session.summary.add("of", options.gradient);
  session.summary.add("value", result.observed);
  if (options.check) check_gradient(options, session, input, solution.state, wanted.what, wanted.by, result.gradient);
  std::vector<std::size_t> order(result.gradient.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return std::abs(result.gradient[i]); });
  cli::Table table{"largest", {"parameter", "derivative"}};
  for (std::size_t i = 0; i < std::min<std::size_t>(10, order.size()); ++i)
    table.rows.push_back({dpf::label(grid, wanted.by[order[i]]), result.gradient[order[i]]});
  session.summary.add(std::move(table));
}

// "r:1e-4:0.5"
dpf::Bound bound_of(const std::string& word) {
  const std::size_t first = word.find(':'), second = word.find(':', first + 1);
  if (first == std::string::npos || second == std::string::npos)
    throw usage_error("--bounds: expected KIND:LOW:HIGH, found \"{}\"", word);
  const auto low = formats::parse_real(word.substr(first + 1, second - first - 1)),
             high = formats::parse_real(word.substr(second + 1));
  if (!low || !high || !(*low < *high)) throw usage_error("--bounds: expected KIND:LOW:HIGH, found \"{}\"", word);
  return {dpf::parameter_kind(word.substr(0, first)), *low, *high};
}

dpf::FitOptions fit_options(const Options& options, const dpf::LoadedGrid& input,
                            const std::vector<dpf::Parameter>& parameters, bool free_voltages) {
  dpf::FitOptions out{.tolerance = options.tolerance, .distributed_slack = options.distributed()};
  out.judgement = {.formulation = options.formulation == "residual" ? dpf::Formulation::residual
                                  : options.formulation == "joint"  ? dpf::Formulation::joint
                                                                    : dpf::Formulation::output,
                   .robust = options.robust == "huber"    ? dpf::Robust::huber
                             : options.robust == "cauchy" ? dpf::Robust::cauchy
                                                          : dpf::Robust::none,
                   .mismatch_sigma = options.mismatch_sigma,
                   .free_voltages = free_voltages};
  constexpr std::size_t many = 5000;
  const bool by_gradient = options.optimizer == "lbfgs" || (options.optimizer == "auto" && parameters.size() > many);
  out.optimiser = options.optimizer == "adam" ? dpf::FitOptimiser::adam
                  : by_gradient               ? dpf::FitOptimiser::lbfgs
                                              : dpf::FitOptimiser::lm;
  out.max_iterations = options.max_iterations.value_or(out.optimiser == dpf::FitOptimiser::lm      ? 100
                                                       : out.optimiser == dpf::FitOptimiser::lbfgs ? 5000
                                                                                                   : 50000);
  out.uncertainties = parameters.size() <= many;
  out.bad_data_threshold = options.threshold;
  out.remove_bad_data = options.bad_data == "remove";
  for (const auto& word : options.bounds)
    out.bounds.push_back(bound_of(word));
  out.group = dpf::read_groups(input, options.groups, parameters);
  if (const auto number = formats::parse_real(options.prior)) {
    if (!(*number >= 0)) throw usage_error("--prior: expected a standard deviation or a file, found {}", options.prior);
    out.prior = *number;
  } else {
    out.priors = dpf::read_priors(options.prior, input.grid, parameters);
  }
  return out;
}

// Only ratios of slack weights count: the first of each island stays.
void hold_first_weights(const dpf::Network& network, std::vector<dpf::Parameter>& parameters) {
  std::vector<char> held(static_cast<std::size_t>(network.islands), 0);
  std::erase_if(parameters, [&](const dpf::Parameter& p) {
    if (p.kind != dpf::ParameterKind::slack_weight) return false;
    char& first = held[network.island[network.node_of_gen[p.row]]];
    return !std::exchange(first, 1);
  });
}

void identify(const Options& options, cli::Session& session, dpf::LoadedGrid& input) {
  std::vector<std::string> words = options.learn;
  const bool free_voltages = std::erase(words, "v") > 0;
  const auto kinds = dpf::parameter_kinds_of(words);
  dpf::make_explicit(input.grid, kinds, options.distributed());
  const dpf::Grid& grid = input.grid;
  const dpf::Network network = network_of(grid, options.distributed());
  auto parameters = parameters_of(kinds, grid, network);
  hold_first_weights(network, parameters);
  if (parameters.empty() && !free_voltages) throw usage_error("--learn: the grid has no such parameter");
  const h5::Input data = h5::Input::open(options.measurements);
  const dpf::MeasuredSnapshots measured = dpf::read_measurements(data, grid, network);
  const dpf::FitResult result = dpf::fit(grid, measured.points, measured.readings, parameters,
                                         fit_options(options, input, parameters, free_voltages));
  dpf::Grid fitted = grid;
  for (std::size_t i = 0; i < parameters.size(); ++i)
    dpf::set(fitted, parameters[i], result.value[i]);
  h5::Output file = h5::Output::create(options.output, session.force);
  file.stamp(session, "power-case", input.file ? &*input.file : nullptr);
  dpf::write_grid(file, fitted);
  dpf::write_fit(file, grid, network, parameters, result);
  file.commit();
  if (!options.plot.empty()) dpf::plot_parameters(options.plot, session.force, grid, parameters, result);
  if (!options.residual_plot.empty()) dpf::plot_residuals(options.residual_plot, session.force, grid, result);
  dpf::summarise_fit(session, grid, parameters, result, options.threshold);
  if (!result.converged)
    session.fail(fmt::format("{}: the fit did not converge in {} iterations", data.name(), result.iterations));
}

// `--sensitivity` may stand alone: then what --learn names. A list follows it only if all of its words are parameters.
std::vector<std::string> with_lists(int argc, char** argv) {
  std::vector<std::string> words(argv, argv + argc);
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[i] != "--sensitivity") continue;
    const std::string next = i + 1 < words.size() ? words[i + 1] : std::string();
    bool list = true;
    for (std::size_t first = 0; first <= next.size();) {
      const std::size_t comma = std::min(next.find(',', first), next.size());
      const std::string word = next.substr(first, comma - first);
      list = list && (word == "zip" || dpf::find_parameter_kind(word));
      first = comma + 1;
    }
    if (!list) words[i] += std::string("=") + all_learnt;
  }
  return words;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  const cli::Command command{
      .name = "dpf-fit",
      .purpose = "identify grid parameters from measurements, or differentiate a power flow",
      .description =
          "Finds the parameters of a grid (impedances, chargings, taps, shifts, shunts, loads, shares of voltage-dependent loads, "
          "generation, set-points, slack weights) with which its power flow "
          "agrees best with measured voltages and flows, in the sense of least squares weighted by the standard deviations; every "
          "snapshot obeys the power-flow equations exactly. Gauss-Newton steps with exact sensitivities and Levenberg-Marquardt "
          "damping, or L-BFGS or Adam with the adjoint gradient; r, x and slack weights move in logarithms. A load or output that is "
          "learnt alone replaces that of the snapshots; those of a group scale it.\n\n"
          "The report gives each parameter's standard deviation. Combinations that the measurements do not determine (eigenvalue below "
          "1e-10 of the largest) are left as they were, listed, and their parameters flagged. Residuals are normalised by their own "
          "standard deviations, which the fit makes smaller than those of the readings; above 3.5 they are named as bad data. With --bad-data remove the "
          "largest of each snapshot are left out and the fit is repeated until none is left.\n\n"
          "With v among --learn the voltages are unknowns: --formulation joint estimates the state of every snapshot from the "
          "measurements and the balance of the buses, set-points not held; --formulation residual minimises the mismatch over the voltages, "
          "set-points held.\n\n"
          "A file of priors has one row a parameter: as CSV with the columns name (\"r 1-2\", \"load_p 14\", as in /fit/names), mean and sigma, or kind, row (from 1), "
          "mean and sigma; as HDF5 a group /prior with datasets of these names, or /fit of an earlier fit, whose values and standard deviations "
          "then are the priors. Means and sigmas are in the parameter's own unit.\n\n"
          "With --gradient-only no fit is made: the derivatives of one voltage, flow, loading, of the losses or of a weighted sum by all parameters are computed by one "
          "adjoint solve, in every scenario of IN where it has any.",
      .arguments = {cli::input("IN", options.input,
                               "grid with the start values, or a MATPOWER case file (.m); - is stdin (HDF5)"),
                    cli::optional_input("MEAS", options.measurements, "measurements (not with --gradient-only)"),
                    cli::output("OUT", options.output, "grid with the fitted values, kind power-case")},
      .options =
          {{"--learn",
            &options.learn,
            "parameters: r, x, b, g, tap, shift, gs, bs, load_p, load_q, p_power, p_current, p_impedance, q_power, q_current, "
            "q_impedance (zip: these six), gen_p, set_point, slack_weight, v",
            {.value_name = "LIST"}},
           {"--gradient-only",
            &options.gradient,
            "derivatives of loss, vm:BUS, va:BUS, p:BUS, q:BUS, pf:ROW, qf:ROW, pt:ROW, qt:ROW, if:ROW, it:ROW, loading:ROW or weights:DATASET: "
            "the sum of what the dataset (or group of datasets) vm, va, pf, ... of IN weighs",
            {.value_name = "SCALAR"}},
           {"--sensitivity",
            &options.sensitivity,
            "derivatives of every voltage by every parameter of these kinds (without LIST: those of --learn), no fit",
            {.value_name = "LIST"}},
           {"--check-gradient", &options.check, "compare with central differences of solved flows"},
           {"--formulation",
            &options.formulation,
            "what is minimised: output: measurements, every snapshot obeying the power-flow equations; residual: the mismatch at the measured voltages; joint: both, with the voltages as unknowns",
            {.choices = {"output", "residual", "joint"}}},
           {"--sigma-mismatch",
            &options.mismatch_sigma,
            "standard deviation of the equations in residual and joint",
            {.unit = "pu", .minimum = 1e-12}},
           {"--optimizer",
            &options.optimizer,
            "auto: lm for up to 5000 parameters, else lbfgs; adam: for comparison. All minimise the same within the bounds",
            {.choices = {"auto", "lm", "lbfgs", "adam"}}},
           {"--robust",
            &options.robust,
            "loss of large residuals: squares, linear beyond 1.345 sigma, or Cauchy's",
            {.choices = {"none", "huber", "cauchy"}}},
           {"--bounds", &options.bounds, "boxes by kind, as r:1e-4:0.5,x:1e-3:1", {.value_name = "LIST"}},
           {"--group",
            &options.groups,
            "datasets of IN with a number or word for every branch, bus or generator: parameters of one kind and entry move by a common factor, "
            "below 0 or empty alone; TABLE:DATASET (bus, branch, gen) where the lengths do not tell",
            {.value_name = "LIST"}},
           {"--prior",
            &options.prior,
            "standard deviation of the parameters about their start (of the logarithm for r, x and groups), 0: none; or a file with a mean and sigma for each",
            {.value_name = "SIGMA|FILE"}},
           {"--slack",
            &options.slack,
            "who takes what the schedule leaves: the reference, or all generators by participation factor (else by headroom)",
            {.choices = {"single", "distributed"}}},
           {"--bad-data",
            &options.bad_data,
            "what is done with normalised residuals above the threshold",
            {.choices = {"report", "remove"}}},
           {"--bad-data-threshold", &options.threshold, "see --bad-data", {.minimum = 0}},
           {"--plot",
            &options.plot,
            "picture of fitted over start with error bars, .png or .svg",
            {.value_name = "FILE"}},
           {"--plot-residuals",
            &options.residual_plot,
            "picture of the distribution of the normalised residuals",
            {.value_name = "FILE"}},
           {"--max-iter",
            &options.max_iterations,
            "most steps (default 100 for lm, 5000 for lbfgs, 50000 for adam)",
            {.minimum = 1, .maximum = 1000000}},
           {"--tol",
            &options.tolerance,
            "relative change of chi2 at which the fit ends",
            {.minimum = 0, .maximum = 1}}},
      .examples = {{"dpf-fit --learn r,x start.h5 pmu.h5 fitted.h5", "Line impedances from phasor measurements."},
                   {"dpf-synth measure --sigma 1e-4 flows.h5 pmu.h5",
                    "Make measurements from solved scenarios to try it."},
                   {"dpf-fit --learn v --formulation joint --bad-data remove case14.h5 scada.h5 state.h5",
                    "Estimate the state, leaving out bad data."},
                   {"dpf-fit --gradient-only vm:14 --learn r,x,load_p case14.h5 sensitivity.h5",
                    "What moves the voltage of bus 14."}},
      .reference =
          "Oez, Hoerter, Phipps, Debus, Streit, Goetz: Differentiable Power-Flow Optimization. arXiv 2603.28203 (2026), section 3.",
      .reads =
          "/grid/{bus,gen,branch}/*  as dpf-import writes it\n/measurement/{vm,va}[snapshot,bus]  pu, deg; NaN = missing; attribute sigma\n"
          "/measurement/{pf,qf,pt,qt,if,it}[snapshot,branch]  MW, MVAr, pu\n/measurement/{p,q}[snapshot,bus]  injections, MW, MVAr\n"
          "/measurement/NAME_sigma[snapshot,element] or [element]  standard deviation of each (default: attribute sigma, else 1e-3 pu)\n"
          "/scenarios/*  of MEAS: loads and generation of the snapshots (default: those of IN); of IN with --gradient-only: scenarios\n"
          "/prior/{names or kind,row,mean,sigma}[prior]  of --prior FILE",
      .writes =
          "/grid/*  with the fitted values\n/fit/{names,row,p0,p,sigma,flag,at_bound}[parameter]  attributes chi2, degrees_of_freedom\n"
          "/fit/{observations,snapshot,residuals,normalised_residuals,removed}[observation]\n/fit/null_directions[direction,parameter]\n"
          "/fit/{vm,va,sigma_vm,sigma_va}[snapshot,bus]  with v among --learn\n"
          "/gradient/{names,row,value}[parameter]  with --gradient-only; value[scenario,parameter], observed, status with scenarios\n"
          "/sensitivity/{vm,va}[parameter,bus]  with --sensitivity; [scenario,parameter,bus] with scenarios",
      .standard = {.threads = true}};
  std::vector<std::string> words = with_lists(argc, argv);
  std::vector<char*> arguments;
  for (auto& word : words)
    arguments.push_back(word.data());
  return command.run(argc, arguments.data(), [&](cli::Session& session) {
    const bool derivatives = !options.gradient.empty() || !options.sensitivity.empty();
    if (!derivatives && options.measurements.empty())
      throw usage_error("measurements MEAS are missing (or --gradient-only, --sensitivity)");
    if (derivatives && !options.measurements.empty())
      throw usage_error("--gradient-only and --sensitivity take no measurements");
    if (options.check && options.gradient.empty()) throw usage_error("--check-gradient goes with --gradient-only");
    for (const auto& path : {options.plot, options.residual_plot}) {
      if (path.empty()) continue;
      if (derivatives) throw usage_error("--plot shows a fit");
      plot::format_of(path);
    }
    dpf::LoadedGrid input = dpf::load_grid(options.input);
    for (const auto& warning : input.warnings)
      session.warn(warning);
    derivatives ? gradient(options, session, input) : identify(options, session, input);
  });
}
