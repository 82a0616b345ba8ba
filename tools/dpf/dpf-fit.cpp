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
  std::vector<std::string> learn = {"r", "x"};
  int max_iterations = 100;
  double tolerance = 1e-10, prior = 0;
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
  if (p.kind <= dpf::ParameterKind::shift)
    return fmt::format("{} {}-{}", dpf::name(p.kind), grid.branch.from[p.row], grid.branch.to[p.row]);
  return fmt::format("{} {}", dpf::name(p.kind),
                     p.kind == dpf::ParameterKind::set_point ? grid.gen.bus[p.row] : grid.bus.id[p.row]);
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

// "vm:14", "loading:3", ...: bus numbers for voltages, branch rows from 1 for flows.
dpf::Observation observation_of(const std::string& word, const dpf::Grid& grid, const dpf::Network& network) {
  using Kind = dpf::Observation::Kind;
  static const std::map<std::string, Kind> kinds = {{"vm", Kind::vm},          {"va", Kind::va}, {"pf", Kind::pf},
                                                    {"qf", Kind::qf},          {"pt", Kind::pt}, {"qt", Kind::qt},
                                                    {"loading", Kind::loading}};
  const std::size_t colon = word.find(':');
  const auto kind = kinds.find(word.substr(0, colon));
  std::int64_t number = 0;
  const char* last = word.data() + word.size();
  const char* first = colon == std::string::npos ? last : word.data() + colon + 1;
  const auto result = std::from_chars(first, last, number);
  if (kind == kinds.end() || result.ec != std::errc() || result.ptr != last)
    throw usage_error(
        "--gradient-only: expected vm:BUS, va:BUS, pf:ROW, qf:ROW, pt:ROW, qt:ROW or loading:ROW, found \"{}\"", word);
  if (kind->second == Kind::vm || kind->second == Kind::va) {
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

void gradient(const Options& options, cli::Session& session, const dpf::LoadedGrid& input) {
  const dpf::Grid& grid = input.grid;
  const dpf::Network network = dpf::build_network(grid);
  const dpf::Problem problem = dpf::problem_of(network);
  const auto parameters = parameters_of(options, grid, network);
  const dpf::Observation what = observation_of(options.gradient, grid, network);
  const dpf::Solution solution =
      dpf::Newton(network).solve(problem, dpf::starting_point(grid, problem, dpf::Start::automatic));
  if (solution.status != dpf::Status::converged)
    throw method_failed("{}: {} after {} iterations, max mismatch {:.3g} pu", input.name, dpf::name(solution.status),
                        solution.iterations, solution.max_mismatch);
  const auto values = dpf::adjoint_gradient(grid, problem, solution.state, what, parameters);
  h5::Output file = h5::Output::create(options.output, session.force);
  file.stamp(session, "power-case", input.file ? &*input.file : nullptr);
  dpf::write_grid(file, grid);
  write_parameters(file, grid, parameters, "/gradient");
  file.attribute("/gradient", "of", options.gradient);
  file.column("/gradient/value", values,
              {.units = "unit of the observation over unit of the parameter",
               .long_name = "derivative of " + options.gradient,
               .dims = {"parameter"}});
  file.commit();
  session.summary.add("of", options.gradient);
  session.summary.add("value", dpf::observe(grid, problem, solution.state, what));
  session.summary.add("parameters", parameters.size());
  std::vector<std::size_t> order(values.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return std::abs(values[i]); });
  cli::Table table{"largest", {"parameter", "derivative"}};
  for (std::size_t i = 0; i < std::min<std::size_t>(10, order.size()); ++i)
    table.rows.push_back({label(grid, parameters[order[i]]), values[order[i]]});
  session.summary.add(std::move(table));
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
  const std::array columns = {block("vm", n, &noise.vm),   block("va", n, &noise.va),   block("pf", m, &noise.flow),
                              block("qf", m, &noise.flow), block("pt", m, &noise.flow), block("qt", m, &noise.flow)};
  if (snapshots == 0) throw bad_input("{}: expected at least one of /measurement/vm, va, pf, qf, pt, qt", data.name());
  std::vector<dpf::Measurements> measured(snapshots);
  const std::array members = {&dpf::Measurements::vm, &dpf::Measurements::va, &dpf::Measurements::pf,
                              &dpf::Measurements::qf, &dpf::Measurements::pt, &dpf::Measurements::qt};
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
      dpf::fit(grid, points, measured, noise, parameters,
               {.max_iterations = options.max_iterations, .tolerance = options.tolerance, .prior = options.prior});
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
  summary.add("iterations", result.iterations);
  summary.add("chi2", result.chi2);
  summary.add("chi2 per degree of freedom", result.degrees > 0 ? result.chi2 / result.degrees : NAN);
  double worst = 0;
  for (const double r : result.normalised_residuals)
    worst = std::max(worst, std::abs(r));
  summary.add("largest normalised residual", worst);
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
          "With --gradient-only no fit is made: the derivatives of one voltage, flow or loading by all parameters are computed by one "
          "adjoint solve.",
      .arguments = {cli::input("IN", options.input,
                               "grid with the start values, or a MATPOWER case file (.m); - is stdin (HDF5)"),
                    cli::optional_input("MEAS", options.measurements, "measurements (not with --gradient-only)"),
                    cli::output("OUT", options.output, "grid with the fitted values, kind power-case")},
      .options = {{"--learn",
                   &options.learn,
                   "parameters: r, x, b, tap, shift, gs, bs, load_p, load_q, set_point",
                   {.value_name = "LIST"}},
                  {"--gradient-only",
                   &options.gradient,
                   "derivatives of vm:BUS, va:BUS, pf:ROW, qf:ROW, pt:ROW, qt:ROW or loading:ROW",
                   {.value_name = "SCALAR"}},
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
          "/measurement/{pf,qf,pt,qt}[snapshot,branch]  MW, MVAr\n/scenarios/*  loads and generation of the snapshots (default: those of IN)",
      .writes =
          "/grid/*  with the fitted values\n/fit/{names,row,p0,p,sigma,flag}[parameter]  attributes chi2, degrees_of_freedom\n"
          "/fit/residuals[observation]\n/fit/null_directions[direction,parameter]\n/gradient/{names,row,value}[parameter]  with --gradient-only",
      .standard = {.threads = true}};
  return command.run(argc, argv, [&](cli::Session& session) {
    if (options.gradient.empty() && options.measurements.empty())
      throw usage_error("measurements MEAS are missing (or --gradient-only)");
    if (!options.gradient.empty() && !options.measurements.empty())
      throw usage_error("--gradient-only takes no measurements");
    const dpf::LoadedGrid input = dpf::load_grid(options.input);
    for (const auto& warning : input.warnings)
      session.warn(warning);
    options.gradient.empty() ? identify(options, session, input) : gradient(options, session, input);
  });
}
