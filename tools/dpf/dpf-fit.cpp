#include <algorithm>
#include <charconv>
#include <cmath>

#include "cli/command.hpp"
#include "cli/progress.hpp"
#include "fit.hpp"
#include "layout.hpp"

using namespace fachwerk;

namespace {

struct Options {
  std::string input, measurements, output, gradient;
  std::string formulation = "output", robust = "none", group;
  std::vector<std::string> learn = {"r", "x"}, bounds;
  int max_iterations = 100;
  double tolerance = 1e-10, prior = 0, mismatch_sigma = 1e-4;
  bool sensitivity = false, check = false;
};

std::vector<dpf::Parameter> parameters_of(const Options& options, const dpf::Grid& grid, const dpf::Network& network) {
  std::vector<dpf::Parameter> out;
  for (const auto& word : options.learn) {
    const auto some = dpf::parameters_of(grid, network, dpf::parameter_kind(word));
    out.insert(out.end(), some.begin(), some.end());
  }
  if (out.empty()) throw usage_error("--learn: the grid has no such parameter");
  return out;
}

std::string label(const dpf::Grid& grid, const dpf::Parameter& p) {
  if (dpf::of_branch(p.kind))
    return fmt::format("{} {}-{}", dpf::name(p.kind), grid.branch.from[p.row], grid.branch.to[p.row]);
  return fmt::format("{} {}", dpf::name(p.kind),
                     p.kind >= dpf::ParameterKind::gen_p ? grid.gen.bus[p.row] : grid.bus.id[p.row]);
}

void write_parameters(h5::Output& file, const dpf::Grid& grid, const std::vector<dpf::Parameter>& parameters,
                      const std::string& group) {
  std::vector<std::string> names;
  std::vector<std::int64_t> rows;
  for (const auto& p : parameters) {
    names.push_back(label(grid, p));
    rows.push_back(p.row + 1);
  }
  file.strings(group + "/names", names, {.long_name = "parameter and its element", .dims = {"parameter"}});
  file.column(group + "/row", rows, {.long_name = "row of the element, from 1", .dims = {"parameter"}});
}

// "vm:14", "loading:3", "loss", ...: bus numbers for voltages and injections, branch rows from 1 for flows.
dpf::Observation observation_of(const std::string& word, const dpf::Grid& grid, const dpf::Network& network) {
  using Kind = dpf::Observation::Kind;
  static const std::map<std::string, Kind> kinds = {
      {"vm", Kind::vm},           {"va", Kind::va},           {"pf", Kind::pf},        {"qf", Kind::qf},
      {"pt", Kind::pt},           {"qt", Kind::qt},           {"p", Kind::p},          {"q", Kind::q},
      {"loading", Kind::loading}, {"if", Kind::current_from}, {"it", Kind::current_to}};
  if (word == "loss") return {Kind::loss, 0};
  const std::size_t colon = word.find(':');
  const auto kind = kinds.find(word.substr(0, colon));
  std::int64_t number = 0;
  const char* last = word.data() + word.size();
  const char* first = colon == std::string::npos ? last : word.data() + colon + 1;
  const auto result = std::from_chars(first, last, number);
  if (kind == kinds.end() || result.ec != std::errc() || result.ptr != last)
    throw usage_error(
        "--gradient-only: expected loss, vm:BUS, va:BUS, p:BUS, q:BUS, pf:ROW, qf:ROW, pt:ROW, qt:ROW, if:ROW, it:ROW or "
        "loading:ROW, found \"{}\"",
        word);
  if (kind->second == Kind::vm || kind->second == Kind::va || kind->second == Kind::p || kind->second == Kind::q) {
    const auto rows = dpf::bus_rows(grid);
    const auto row = rows.find(number);
    if (row == rows.end() || network.node_of_bus[row->second] < 0)
      throw usage_error("--gradient-only: there is no live bus {}", number);
    return {kind->second, row->second};
  }
  if (number < 1 || static_cast<std::size_t>(number) > grid.branch.size() || network.from_of_branch[number - 1] < 0)
    throw usage_error("--gradient-only: branch row {} is not in service", number);
  if (kind->second == Kind::loading && !(grid.branch.rate_a[number - 1] > 0))
    throw usage_error("--gradient-only: branch row {} has no rating", number);
  return {kind->second, static_cast<int>(number - 1)};
}

dpf::Solution solved(const dpf::LoadedGrid& input, const dpf::Grid& grid, const dpf::Network& network,
                     double tolerance) {
  const dpf::Problem problem = dpf::problem_of(network);
  dpf::Solution solution = dpf::Newton(network).solve(
      problem, dpf::starting_point(grid, problem, dpf::Start::automatic), {.tolerance = tolerance});
  if (solution.status != dpf::Status::converged)
    throw method_failed("{}: {} after {} iterations, max mismatch {:.3g} pu", input.name, dpf::name(solution.status),
                        solution.iterations, solution.max_mismatch);
  return solution;
}

// Central differences of solved flows beside the derivatives.
void check_gradient(cli::Session& session, const dpf::LoadedGrid& input, const dpf::Observation& what,
                    const std::vector<dpf::Parameter>& parameters, const std::vector<double>& values) {
  const auto value_with = [&](const dpf::Parameter& p, double value) {
    dpf::Grid grid = input.grid;
    dpf::set(grid, p, value);
    const dpf::Network network = dpf::build_network(grid);
    return dpf::observe(grid, dpf::problem_of(network), solved(input, grid, network, 1e-12).state, what);
  };
  double largest = 0, worst = 0;
  for (const double v : values)
    largest = std::max(largest, std::abs(v));
  cli::Progress progress(session, "checking", parameters.size(), "parameters");
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const double p = dpf::get(input.grid, parameters[i]), h = 1e-3 * std::max(std::abs(p), 0.1);
    const auto slope = [&](double step) {
      return (value_with(parameters[i], p + step) - value_with(parameters[i], p - step)) / (2 * step);
    };
    const double difference = (4 * slope(h / 2) - slope(h)) / 3;  // of fourth order
    worst = std::max(worst, std::abs(values[i] - difference) / std::max(std::abs(difference), 1e-3 * largest));
    progress.advance();
  }
  session.summary.add("largest relative difference to central differences", worst);
  if (!(worst < 1e-4))
    session.fail(fmt::format("{}: derivatives differ from central differences by {:.3g}", input.name, worst));
}

void write_sensitivities(h5::Output& file, const dpf::Grid& grid, const dpf::Problem& problem, const dpf::State& state,
                         const std::vector<dpf::Parameter>& parameters) {
  const std::size_t n = grid.bus.size(), size = 2 * state.vm.size();
  const std::vector<double> dx = dpf::sensitivities(grid, problem, state, parameters);
  std::vector<double> vm(parameters.size() * n, NAN), va(vm);
  for (std::size_t i = 0; i < parameters.size(); ++i)
    for (std::size_t b = 0; b < n; ++b) {
      const int k = problem.network->node_of_bus[b];
      if (k < 0) continue;
      vm[i * n + b] = dx[i * size + 2 * static_cast<std::size_t>(k) + 1] * state.vm[k];
      va[i * n + b] = dx[i * size + 2 * static_cast<std::size_t>(k)] * 57.29577951308232;
    }
  const auto write = [&](const char* name, const std::vector<double>& values, const char* units) {
    file.write(
        std::string("/sensitivity/") + name, values, {parameters.size(), n},
        {.units = units, .long_name = "derivative of the voltage by the parameter", .dims = {"parameter", "bus"}});
  };
  write("vm", vm, "pu over unit of the parameter");
  write("va", va, "deg over unit of the parameter");
}

// Derivatives of the solved flow instead of a fit.
void gradient(const Options& options, cli::Session& session, const dpf::LoadedGrid& input) {
  const dpf::Grid& grid = input.grid;
  const dpf::Network network = dpf::build_network(grid);
  const dpf::Problem problem = dpf::problem_of(network);
  const auto parameters = parameters_of(options, grid, network);
  const dpf::Solution solution = solved(input, grid, network, 1e-10);
  h5::Output file = h5::Output::create(options.output, session.force);
  file.stamp(session, "power-case", input.file ? &*input.file : nullptr);
  dpf::write_grid(file, grid);
  session.summary.add("parameters", parameters.size());
  if (options.sensitivity) {
    write_parameters(file, grid, parameters, "/sensitivity");
    write_sensitivities(file, grid, problem, solution.state, parameters);
  }
  if (options.gradient.empty()) return file.commit();
  const dpf::Observation what = observation_of(options.gradient, grid, network);
  const auto values = dpf::adjoint_gradient(grid, problem, solution.state, what, parameters);
  write_parameters(file, grid, parameters, "/gradient");
  file.attribute("/gradient", "of", options.gradient);
  file.column("/gradient/value", values,
              {.units = "unit of the observation over unit of the parameter",
               .long_name = "derivative of " + options.gradient,
               .dims = {"parameter"}});
  file.commit();
  session.summary.add("of", options.gradient);
  session.summary.add("value", dpf::observe(grid, problem, solution.state, what));
  if (options.check) check_gradient(session, input, what, parameters, values);
  std::vector<std::size_t> order(values.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return std::abs(values[i]); });
  cli::Table table{"largest", {"parameter", "derivative"}};
  for (std::size_t i = 0; i < std::min<std::size_t>(10, order.size()); ++i)
    table.rows.push_back({label(grid, parameters[order[i]]), values[order[i]]});
  session.summary.add(std::move(table));
}

// "r:1e-4:0.5"
dpf::Bound bound_of(const std::string& word) {
  const std::size_t first = word.find(':'), second = word.find(':', first + 1);
  dpf::Bound out{};
  const auto number = [&](std::size_t begin, std::size_t end, double& value) {
    const auto result = std::from_chars(word.data() + begin, word.data() + end, value);
    return result.ec == std::errc() && result.ptr == word.data() + end;
  };
  if (first == std::string::npos || second == std::string::npos || !number(first + 1, second, out.low) ||
      !number(second + 1, word.size(), out.high) || !(out.low < out.high))
    throw usage_error("--bounds: expected KIND:LOW:HIGH, found \"{}\"", word);
  out.kind = dpf::parameter_kind(word.substr(0, first));
  return out;
}

// Number of the group of every parameter: its kind and the entry of the dataset in its row; below 0 alone.
std::vector<int> groups_of(const Options& options, const dpf::LoadedGrid& input,
                           const std::vector<dpf::Parameter>& parameters) {
  if (options.group.empty()) return {};
  if (!input.file) throw usage_error("--group names a dataset of IN, and {} is no HDF5 file", input.name);
  const auto entries = input.file->column<std::int64_t>(options.group);
  std::map<std::pair<dpf::ParameterKind, std::int64_t>, int> numbers;
  std::vector<int> out;
  for (const auto& p : parameters) {
    const bool applies = dpf::of_branch(p.kind);
    if (applies && entries.size() != input.grid.branch.size())
      throw bad_input("{}:{}: expected {} entries, one a branch, found {}", input.name, options.group,
                      input.grid.branch.size(), entries.size());
    const std::int64_t entry = applies ? entries[static_cast<std::size_t>(p.row)] : -1;
    out.push_back(entry < 0 ? -1
                            : numbers.try_emplace({p.kind, entry}, static_cast<int>(numbers.size())).first->second);
  }
  return out;
}

dpf::FitOptions fit_options(const Options& options, const dpf::LoadedGrid& input,
                            const std::vector<dpf::Parameter>& parameters) {
  dpf::FitOptions out{.max_iterations = options.max_iterations,
                      .tolerance = options.tolerance,
                      .prior = options.prior,
                      .mismatch_sigma = options.mismatch_sigma};
  out.formulation = options.formulation == "residual" ? dpf::Formulation::residual
                    : options.formulation == "joint"  ? dpf::Formulation::joint
                                                      : dpf::Formulation::output;
  out.robust = options.robust == "huber"    ? dpf::Robust::huber
               : options.robust == "cauchy" ? dpf::Robust::cauchy
                                            : dpf::Robust::none;
  for (const auto& word : options.bounds)
    out.bounds.push_back(bound_of(word));
  out.group = groups_of(options, input, parameters);
  return out;
}

void identify(const Options& options, cli::Session& session, const dpf::LoadedGrid& input) {
  const dpf::Grid& grid = input.grid;
  const dpf::Network network = dpf::build_network(grid);
  const auto parameters = parameters_of(options, grid, network);
  const h5::Input data = h5::Input::open(options.measurements);
  std::size_t snapshots = 0;
  dpf::MeasurementNoise noise;
  const auto block = [&](const char* name, std::size_t width, double* sigma) {
    const std::string path = std::string("/measurement/") + name;
    std::vector<double> values;
    if (!data.exists(path)) return values;
    auto array = data.read<double>(path, {.axes = {"snapshot", "element"}, .shape = {snapshots, width}});
    snapshots = array.shape[0];
    if (const auto stated = data.number(path, "sigma")) {
      if (!(*stated > 0))
        throw bad_input("{}:{}: the attribute sigma must be positive, found {}", data.name(), path, *stated);
      *sigma = *stated;
    }
    return std::move(array.values);
  };
  const std::size_t n = grid.bus.size(), m = grid.branch.size();
  const std::array columns = {block("vm", n, &noise.vm),       block("va", n, &noise.va),
                              block("pf", m, &noise.flow),     block("qf", m, &noise.flow),
                              block("pt", m, &noise.flow),     block("qt", m, &noise.flow),
                              block("if", m, &noise.current),  block("it", m, &noise.current),
                              block("p", n, &noise.injection), block("q", n, &noise.injection)};
  if (snapshots == 0)
    throw bad_input("{}: expected at least one of /measurement/vm, va, pf, qf, pt, qt, if, it, p, q", data.name());
  std::vector<dpf::Measurements> measured(snapshots);
  const std::array members = {
      &dpf::Measurements::vm, &dpf::Measurements::va, &dpf::Measurements::pf,           &dpf::Measurements::qf,
      &dpf::Measurements::pt, &dpf::Measurements::qt, &dpf::Measurements::current_from, &dpf::Measurements::current_to,
      &dpf::Measurements::p,  &dpf::Measurements::q};
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const std::size_t width = columns[c].size() / snapshots;
    for (std::size_t s = 0; s < snapshots && width > 0; ++s)
      (measured[s].*members[c])
          .assign(columns[c].begin() + static_cast<std::ptrdiff_t>(s * width),
                  columns[c].begin() + static_cast<std::ptrdiff_t>((s + 1) * width));
  }
  std::vector<dpf::OperatingPoint> points(snapshots, dpf::OperatingPoint(grid));
  if (auto source = dpf::ScenarioSource::in(data, grid, "auto")) {
    if (source->count() != snapshots)
      throw bad_input("{}:/scenarios: expected {} scenarios, one a snapshot, found {}", data.name(), snapshots,
                      source->count());
    source->load(0, snapshots);
    for (std::size_t s = 0; s < snapshots; ++s)
      source->point(s, points[s]);
  }
  const dpf::FitResult result =
      dpf::fit(grid, points, measured, noise, parameters, fit_options(options, input, parameters));
  dpf::Grid fitted = grid;
  for (std::size_t i = 0; i < parameters.size(); ++i)
    dpf::set(fitted, parameters[i], result.value[i]);
  h5::Output file = h5::Output::create(options.output, session.force);
  file.stamp(session, "power-case", input.file ? &*input.file : nullptr);
  dpf::write_grid(file, fitted);
  write_parameters(file, grid, parameters, "/fit");
  const auto column = [&](const char* name, const char* meaning, const std::vector<double>& values, const char* axis) {
    file.column(std::string("/fit/") + name, values,
                {.units = "unit of the parameter", .long_name = meaning, .dims = {axis}});
  };
  column("p0", "start", result.start, "parameter");
  column("p", "fitted value", result.value, "parameter");
  column("sigma", "standard deviation", result.sigma, "parameter");
  file.column("/fit/flag", std::vector<std::int8_t>(result.unidentifiable.begin(), result.unidentifiable.end()),
              {.long_name = "1: the measurements do not determine it", .dims = {"parameter"}});
  file.column("/fit/at_bound", std::vector<std::int8_t>(result.at_bound.begin(), result.at_bound.end()),
              {.long_name = "1: at a bound of --bounds", .dims = {"parameter"}});
  file.column("/fit/residuals", result.normalised_residuals,
              {.units = "1", .long_name = "residual over sigma", .dims = {"observation"}});
  if (!result.null_directions.empty()) {
    std::vector<double> directions;
    for (const auto& d : result.null_directions)
      directions.insert(directions.end(), d.begin(), d.end());
    file.write(
        "/fit/null_directions", directions, {result.null_directions.size(), parameters.size()},
        {.units = "1",
         .long_name = "combinations that the measurements do not determine, parameters scaled to unit sensitivity",
         .dims = {"direction", "parameter"}});
  }
  file.attribute("/fit", "chi2", result.chi2);
  file.attribute("/fit", "degrees_of_freedom", result.degrees);
  file.commit();
  auto& summary = session.summary;
  summary.add("snapshots", snapshots);
  summary.add("observations", result.normalised_residuals.size());
  summary.add("parameters", parameters.size());
  summary.add("not identifiable", std::ranges::count(result.unidentifiable, 1));
  summary.add("null directions", result.null_directions.size());
  if (!options.bounds.empty()) summary.add("at a bound", std::ranges::count(result.at_bound, 1));
  summary.add("iterations", result.iterations);
  summary.add("chi2", result.chi2);
  summary.add("chi2 per degree of freedom", result.degrees > 0 ? result.chi2 / result.degrees : NAN);
  double worst = 0;
  for (const double r : result.normalised_residuals)
    worst = std::max(worst, std::abs(r));
  summary.add("largest normalised residual", worst);
  summary.add("residuals above 3.5",
              std::ranges::count_if(result.normalised_residuals, [](double r) { return std::abs(r) > 3.5; }));
  cli::Table table{"fitted values", {"parameter", "start", "fitted", "sigma", "identifiable"}};
  for (std::size_t i = 0; i < std::min<std::size_t>(parameters.size(), 50); ++i)
    table.rows.push_back({label(grid, parameters[i]), result.start[i], result.value[i], result.sigma[i],
                          result.unidentifiable[i] ? "no" : "yes"});
  summary.add(std::move(table));
  if (!result.converged)
    session.fail(fmt::format("{}: the fit did not converge in {} iterations", data.name(), result.iterations));
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  const cli::Command command{
      .name = "dpf-fit",
      .purpose = "identify grid parameters from measurements, or differentiate a power flow",
      .description =
          "Finds the parameters of a grid (impedances, chargings, taps, shifts, shunts, loads, set-points) with which its power flow "
          "agrees best with measured voltages and flows, in the sense of least squares weighted by the standard deviations; every "
          "snapshot obeys the power-flow equations exactly. Gauss-Newton steps with exact sensitivities and Levenberg-Marquardt "
          "damping; r and x move in logarithms.\n\n"
          "The report gives each parameter's standard deviation. Combinations that the measurements do not determine (eigenvalue below "
          "1e-10 of the largest) are left as they were, listed, and their parameters flagged.\n\n"
          "With --gradient-only no fit is made: the derivatives of one voltage, flow, loading or of the losses by all parameters are computed by one "
          "adjoint solve.",
      .arguments = {cli::input("IN", options.input,
                               "grid with the start values, or a MATPOWER case file (.m); - is stdin (HDF5)"),
                    cli::optional_input("MEAS", options.measurements, "measurements (not with --gradient-only)"),
                    cli::output("OUT", options.output, "grid with the fitted values, kind power-case")},
      .options =
          {{"--learn",
            &options.learn,
            "parameters: r, x, b, g, tap, shift, gs, bs, load_p, load_q, gen_p, set_point",
            {.value_name = "LIST"}},
           {"--gradient-only",
            &options.gradient,
            "derivatives of loss, vm:BUS, va:BUS, p:BUS, q:BUS, pf:ROW, qf:ROW, pt:ROW, qt:ROW, if:ROW, it:ROW or loading:ROW",
            {.value_name = "SCALAR"}},
           {"--sensitivity", &options.sensitivity, "derivatives of every voltage by every parameter, no fit"},
           {"--check-gradient", &options.check, "compare with central differences of solved flows"},
           {"--formulation",
            &options.formulation,
            "what is minimised: output: measurements, every snapshot obeying the power-flow equations; residual: the mismatch at the measured voltages; joint: both, with the voltages as unknowns",
            {.choices = {"output", "residual", "joint"}}},
           {"--sigma-mismatch",
            &options.mismatch_sigma,
            "standard deviation of the equations in residual and joint",
            {.unit = "pu", .minimum = 1e-12}},
           {"--robust",
            &options.robust,
            "loss of large residuals: squares, linear beyond 1.345 sigma, or Cauchy's",
            {.choices = {"none", "huber", "cauchy"}}},
           {"--bounds", &options.bounds, "boxes by kind, as r:1e-4:0.5,x:1e-3:1", {.value_name = "LIST"}},
           {"--group",
            &options.group,
            "dataset of IN with a number for every branch: parameters of one kind and number move by a common factor, below 0 alone",
            {.value_name = "DATASET"}},
           {"--prior",
            &options.prior,
            "standard deviation of the parameters about their start (of the logarithm for r, x); 0: none",
            {.minimum = 0}},
           {"--max-iter", &options.max_iterations, "most steps", {.minimum = 1, .maximum = 100000}},
           {"--tol",
            &options.tolerance,
            "relative change of chi2 at which the fit ends",
            {.minimum = 0, .maximum = 1}}},
      .examples = {{"dpf-fit --learn r,x start.h5 pmu.h5 fitted.h5", "Line impedances from phasor measurements."},
                   {"dpf-synth measure --sigma 1e-4 flows.h5 pmu.h5",
                    "Make measurements from solved scenarios to try it."},
                   {"dpf-fit --gradient-only vm:14 --learn r,x,load_p case14.h5 sensitivity.h5",
                    "What moves the voltage of bus 14."}},
      .reference =
          "Oez, Hoerter, Phipps, Debus, Streit, Goetz: Differentiable Power-Flow Optimization. arXiv 2603.28203 (2026), section 3.",
      .reads =
          "/grid/{bus,gen,branch}/*  as dpf-import writes it\n/measurement/{vm,va}[snapshot,bus]  pu, deg; NaN = missing; attribute sigma\n"
          "/measurement/{pf,qf,pt,qt,if,it}[snapshot,branch]  MW, MVAr, pu\n/measurement/{p,q}[snapshot,bus]  injections, MW, MVAr\n/scenarios/*  loads and generation of the snapshots (default: those of IN)",
      .writes =
          "/grid/*  with the fitted values\n/fit/{names,row,p0,p,sigma,flag,at_bound}[parameter]  attributes chi2, degrees_of_freedom\n"
          "/fit/residuals[observation]\n/fit/null_directions[direction,parameter]\n/gradient/{names,row,value}[parameter]  with --gradient-only\n"
          "/sensitivity/{vm,va}[parameter,bus]  with --sensitivity",
      .standard = {.threads = true}};
  return command.run(argc, argv, [&](cli::Session& session) {
    const bool derivatives = !options.gradient.empty() || options.sensitivity;
    if (!derivatives && options.measurements.empty())
      throw usage_error("measurements MEAS are missing (or --gradient-only, --sensitivity)");
    if (derivatives && !options.measurements.empty())
      throw usage_error("--gradient-only and --sensitivity take no measurements");
    if (options.check && options.gradient.empty()) throw usage_error("--check-gradient goes with --gradient-only");
    const dpf::LoadedGrid input = dpf::load_grid(options.input);
    for (const auto& warning : input.warnings)
      session.warn(warning);
    derivatives ? gradient(options, session, input) : identify(options, session, input);
  });
}
