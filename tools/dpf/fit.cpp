#include "fit.hpp"

#include <algorithm>
#include <cmath>

#include "cli/error.hpp"
#include "descent.hpp"
#include "fit_chart.hpp"
#include "normal_solver.hpp"

namespace fachwerk::dpf {
namespace {

constexpr double critical = 1e-6;  // share of a residual's variance below which nothing checks the reading

void check_formulation(const std::vector<Parameter>& parameters, const FitOptions& options) {
  if (options.judgement.formulation == Formulation::output) {
    if (options.judgement.free_voltages)
      throw usage_error("voltages are learnt in the residual and joint formulations");
    return;
  }
  if (options.distributed_slack) throw usage_error("distributed slack goes with the output formulation alone");
  if (std::ranges::any_of(parameters, [](const Parameter& p) { return p.kind == ParameterKind::set_point; }))
    throw usage_error("set-points are learnt in the output formulation alone");
  if (options.judgement.free_voltages && options.judgement.formulation == Formulation::residual && !parameters.empty())
    throw usage_error(
        "voltages are learnt alone in the residual formulation: they fulfil the equations of any parameters");
}

// Boxes by unknown, in its coordinate; a common factor must keep all of its parameters inside theirs.
std::vector<Box> boxes_of(const Fitter& fitter, const std::vector<Parameter>& parameters,
                          const std::vector<Bound>& bounds) {
  std::vector<Box> out(fitter.size());
  for (std::size_t u = 0; u < out.size(); ++u) {
    const Unknown& unknown = fitter.unknowns()[u];
    for (const std::size_t i : unknown.parameters)
      for (const Bound& bound : bounds) {
        if (bound.kind != parameters[i].kind) continue;
        double low = bound.low, high = bound.high;
        const double start = get(fitter.grid(), parameters[i]);
        if (unknown.logarithmic && start < 0) std::swap(low, high);  // the factor is what moves
        const auto inside = [&](double value) { return !unknown.logarithmic || value / start > 0; };
        if (inside(low)) out[u].low = std::max(out[u].low, fitter.coordinate(u, i, low));
        if (!inside(high)) throw usage_error("--bounds: {} cannot become {} by a factor", name(bound.kind), high);
        out[u].high = std::min(out[u].high, fitter.coordinate(u, i, high));
      }
    if (out[u].low > out[u].high)
      throw usage_error("--bounds: no common factor keeps every {} of a group inside",
                        name(parameters[unknown.parameters[0]].kind));
  }
  return out;
}

double readings_of(const Fitter& fitter) {
  double count = 0;
  for (const Readings& readings : fitter.readings())
    count += static_cast<double>(readings.size());
  return std::max(count, 1.0);
}

std::vector<double> usual_sizes(const Fitter& fitter, const std::vector<double>& at) {
  std::vector<double> out;
  for (std::size_t u = 0; u < fitter.size(); ++u)
    out.push_back(fitter.unknowns()[u].logarithmic ? 1 : std::max(std::abs(at[u]), 1e-6));
  return out;
}

// Units in which the normal matrix has a constant diagonal, a tenth of the unknowns' sizes in the geometric mean.
std::vector<double> preconditioner(Fitter& fitter, const std::vector<double>& at, const std::vector<double>& sizes) {
  std::vector<double> out = fitter.column_sizes(at);
  double sum = 0;
  for (std::size_t u = 0; u < out.size(); ++u)
    sum += std::log(sizes[u] * out[u]);
  const double common = out.empty() ? 1 : 0.1 * std::exp(sum / static_cast<double>(out.size()));
  for (double& x : out)
    x = common / x;
  return out;
}

// weight |(x - origin) / sizes|^2 beside the objective.
void add_ridge(Normal& normal, const std::vector<double>& x, const std::vector<double>& origin,
               const std::vector<double>& sizes, double weight) {
  for (std::size_t u = 0; u < x.size() && normal.solved; ++u) {
    const double w = weight / (sizes[u] * sizes[u]);
    normal.objective += w * (x[u] - origin[u]) * (x[u] - origin[u]);
    normal.rhs[u] -= w * (x[u] - origin[u]);
    normal.matrix[u * x.size() + u] += w;
  }
}

// Levenberg-Marquardt in the coordinates of the chart. Where the measurements do not determine all, the solution
// nearest to the start is wanted: once more with a weak pull to there, which then is let go.
Minimum damped_least_squares(Fitter& fitter, const FitOptions& options, const std::vector<double>& start,
                             Normal& normal, const std::vector<Box>& boxes) {
  constexpr double pull = 1e-9;  // of the largest curvature
  const FitChart chart(fitter, boxes);
  const std::vector<double> origin = chart.coordinates(start), sizes = chart.sizes(origin);
  Minimum out{.at = origin};
  double steepest = 0;
  const auto assemble = [&](const std::vector<double>& x, double weight) {
    Normal at = fitter.normal(chart.unknowns(x));
    chart.to_coordinates(at, x);
    if (steepest == 0)
      for (std::size_t u = 0; u < x.size() && at.solved; ++u)
        steepest = std::max(steepest, at.matrix[u * x.size() + u] * sizes[u] * sizes[u]);
    add_ridge(at, x, origin, sizes, weight * steepest);
    return at;
  };
  const auto minimise = [&](double weight) {
    normal = assemble(out.at, weight);
    if (!normal.solved) throw method_failed("a snapshot has no solution at the start parameters");
    const int done = out.iterations;
    out = levenberg_marquardt({.normal = [&](const auto& x) { return assemble(x, weight); },
                               .size = [&](const auto& x) { return chart.sizes(x); },
                               .longest = chart.longest()},
                              out.at, normal, chart.boxes(),
                              {.max_iterations = options.max_iterations - done,
                               .tolerance = options.tolerance,
                               .scale = readings_of(fitter)});
    out.iterations += done;
  };
  minimise(pull);
  if (out.converged) minimise(0);
  chart.to_unknowns(normal, out.at);
  out.at = chart.unknowns(out.at);
  return out;
}

Minimum minimise(Fitter& fitter, const FitOptions& options, const std::vector<double>& at, Normal& normal,
                 const std::vector<Box>& boxes) {
  if (options.optimiser == FitOptimiser::lm) return damped_least_squares(fitter, options, at, normal, boxes);
  const DescentOptions settings{.max_iterations = options.max_iterations,
                                .tolerance = options.tolerance,
                                .scale = readings_of(fitter),
                                .size = preconditioner(fitter, at, usual_sizes(fitter, at))};
  const Objective objective = [&](const std::vector<double>& x, double& value, std::vector<double>& gradient) {
    return fitter.objective(x, value, gradient);
  };
  return options.optimiser == FitOptimiser::lbfgs ? projected_lbfgs(objective, at, boxes, settings)
                                                  : projected_adam(objective, at, boxes, settings);
}

void report_parameters(const Fitter& fitter, const Normal& normal, const NormalSolver& solver,
                       const std::vector<char>& frozen, FitResult& out) {
  const std::size_t np = out.value.size(), size = fitter.size();
  // How much of a parameter lies in the null space: independent of the basis that spans it.
  std::vector<double> undetermined(np, 0.0);
  for (const auto& scaled : solver.null_directions()) {
    std::vector<double> direction(np);
    double length = 0;
    for (std::size_t i = 0; i < np; ++i) {
      const std::size_t u = fitter.unknown_of(i);
      direction[i] = scaled[u];
      if (!frozen[u]) undetermined[i] += direction[i] * direction[i];
      length += frozen[u] ? 0 : direction[i] * direction[i];
    }
    if (length > 0.25) out.null_directions.push_back(std::move(direction));
  }
  for (std::size_t i = 0; i < np; ++i)
    if (undetermined[i] > 0.01) out.unidentifiable[i] = 1;
  const std::vector<double> variances = solver.variances();
  for (std::size_t i = 0; i < np; ++i) {
    const std::size_t u = fitter.unknown_of(i);
    if (!(normal.matrix[u * size + u] > 0)) out.unidentifiable[i] = 1;
    out.sigma[i] = std::sqrt(variances[u]) * std::abs(fitter.scale(i));
  }
}

// Residuals of what is left, with their places among the fitter's readings.
std::vector<Residual> judge(Fitter& fitter, const NormalSolver* solver, FitResult& out) {
  std::vector<Residual> residuals;
  const auto equations = equations_of(fitter.network());
  out.state_sigma.clear();
  out.degrees = 0;
  fitter.each_share(solver != nullptr ? Depth::full : Depth::value, [&](std::size_t s, Share& share) {
    const std::size_t count = share.residual.size();
    out.degrees += static_cast<int>(count) - share.freed;
    const std::vector<double> taken = solver != nullptr ? solver->leverages(share.rows, count) : std::vector<double>();
    for (std::size_t k = 0; k < count; ++k) {
      const bool equation = k < static_cast<std::size_t>(share.equations);
      const Observation what =
          equation ? Observation{equations[k].second ? Observation::Kind::q : Observation::Kind::p, equations[k].first}
                   : fitter.readings()[s][k - static_cast<std::size_t>(share.equations)].what;
      double left = std::numeric_limits<double>::quiet_NaN();
      if (solver != nullptr) left = 1 - taken[k] - (share.leverage.empty() ? 0 : share.leverage[k]);
      residuals.push_back({s, what, equation, share.residual[k],
                           left > critical ? share.residual[k] / std::sqrt(left) : std::nan(""), false});
    }
    if (share.state_variance.empty()) return;
    std::vector<double> sigma = solver->leverages(share.state_rows, share.state_variance.size());
    for (std::size_t k = 0; k < sigma.size(); ++k)
      sigma[k] = std::sqrt(sigma[k] + share.state_variance[k]);
    out.state_sigma.push_back(std::move(sigma));
  });
  return residuals;
}

// The largest normalised residual of each snapshot, where it is above the threshold and at least half of the largest of
// all: smaller ones may be what those do to other snapshots. Moves them to `removed`; false if there is none.
bool remove_bad(Fitter& fitter, const std::vector<Residual>& residuals, double threshold,
                std::vector<Residual>& removed) {
  struct Worst {
    double size = 0;
    std::size_t place = 0, reading = 0;
  };
  std::vector<Worst> worst(fitter.readings().size());
  std::vector<std::size_t> next(worst.size(), 0);
  double largest = 0;
  for (std::size_t k = 0; k < residuals.size(); ++k) {
    const Residual& r = residuals[k];
    if (r.equation) continue;
    const std::size_t reading = next[r.snapshot]++;
    const double size = std::abs(r.normalised);
    if (!(size > worst[r.snapshot].size)) continue;  // NaN: nothing checks it
    worst[r.snapshot] = {size, k, reading};
    largest = std::max(largest, size);
  }
  if (largest <= threshold) return false;
  for (std::size_t s = 0; s < worst.size(); ++s) {
    if (worst[s].size <= threshold || worst[s].size < largest / 2) continue;
    removed.push_back(residuals[worst[s].place]);
    removed.back().removed = true;
    fitter.remove(s, worst[s].reading);
  }
  return true;
}

}  // namespace

FitResult fit(const Grid& grid, const std::vector<OperatingPoint>& points, const std::vector<Readings>& measured,
              const std::vector<Parameter>& parameters, const FitOptions& options) {
  check_formulation(parameters, options);
  Fitter fitter(grid, options.distributed_slack, points, measured, options.judgement, parameters, options.group,
                options.prior, options.priors);
  const std::vector<Box> boxes = boxes_of(fitter, parameters, options.bounds);
  FitResult out;
  for (const Parameter& p : parameters)
    out.start.push_back(get(grid, p));
  std::vector<double> start = fitter.start();
  for (std::size_t u = 0; u < start.size(); ++u)
    start[u] = std::clamp(start[u], boxes[u].low, boxes[u].high);
  std::vector<Residual> removed, residuals;
  for (;;) {
    Normal normal;
    // Every time from the start: bad data may have driven parameters to where they matter no more.
    const Minimum minimum = minimise(fitter, options, start, normal, boxes);
    const std::vector<double>& at = minimum.at;
    out.iterations += minimum.iterations;
    out.converged = minimum.converged;
    fitter.move(at);
    const bool judged = options.uncertainties;
    if (options.optimiser != FitOptimiser::lm && judged) normal = fitter.normal(at);
    std::vector<double> gradient;
    if (judged)
      out.chi2 = normal.objective;
    else
      fitter.objective(at, out.chi2, gradient);
    out.value.clear();
    for (const Parameter& p : parameters)
      out.value.push_back(get(fitter.grid(), p));
    std::vector<double> downhill = normal.rhs;
    if (!judged)
      for (const double g : gradient)
        downhill.push_back(-g);
    const std::vector<char> frozen = frozen_at(at, downhill, boxes);
    out.at_bound.assign(parameters.size(), 0);
    for (std::size_t i = 0; i < parameters.size(); ++i)
      out.at_bound[i] = frozen[fitter.unknown_of(i)];
    out.unidentifiable.assign(parameters.size(), 0);
    out.sigma.assign(parameters.size(), std::nan(""));
    out.null_directions.clear();
    std::optional<NormalSolver> solver;
    if (judged) {
      solver.emplace(normal, frozen);
      report_parameters(fitter, normal, *solver, frozen, out);
    }
    residuals = judge(fitter, solver ? &*solver : nullptr, out);
    if (!options.remove_bad_data || !remove_bad(fitter, residuals, options.bad_data_threshold, removed)) break;
  }
  out.degrees += static_cast<int>(options.priors.size() + (options.prior > 0 ? fitter.size() : 0));
  out.degrees -= static_cast<int>(fitter.size() - out.null_directions.size());
  residuals.insert(residuals.end(), removed.begin(), removed.end());
  std::ranges::stable_sort(residuals, {}, &Residual::snapshot);
  out.residuals = std::move(residuals);
  out.states = fitter.states();
  return out;
}

}  // namespace fachwerk::dpf
