#include "fit.hpp"

#include <algorithm>
#include <cmath>

#include "cli/error.hpp"
#include "compute/blas.hpp"

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

MinimiserOptions minimiser_options(const Fitter& fitter, const FitOptions& options, const std::vector<double>& at) {
  MinimiserOptions out{.max_iterations = options.max_iterations, .tolerance = options.tolerance};
  double count = 0;
  for (const Readings& readings : fitter.readings())
    count += static_cast<double>(readings.size());
  out.scale = std::max(count, 1.0);
  for (std::size_t u = 0; u < fitter.size(); ++u) {
    const bool logarithmic = fitter.unknowns()[u].logarithmic;
    out.most.push_back(logarithmic ? 1 : std::numeric_limits<double>::infinity());
    out.size.push_back(logarithmic ? 1 : std::max(std::abs(at[u]), 1e-6));
  }
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

Minimum minimise(Fitter& fitter, const FitOptions& options, const std::vector<double>& at, Normal& normal,
                 const std::vector<Box>& boxes) {
  MinimiserOptions settings = minimiser_options(fitter, options, at);
  if (options.optimiser == FitOptimiser::lm) {
    normal = fitter.normal(at);
    if (!normal.solved) throw method_failed("a snapshot has no solution at the start parameters");
    return levenberg_marquardt([&](const std::vector<double>& x) { return fitter.normal(x); }, at, normal, boxes,
                               settings);
  }
  settings.size = preconditioner(fitter, at, settings.size);
  const Objective objective = [&](const std::vector<double>& x, double& value, std::vector<double>& gradient) {
    return fitter.objective(x, value, gradient);
  };
  return options.optimiser == FitOptimiser::lbfgs ? projected_lbfgs(objective, at, boxes, settings)
                                                  : projected_adam(objective, at, boxes, settings);
}

void report_parameters(const Fitter& fitter, const Normal& normal, const NormalSolver& solver,
                       const std::vector<double>& whitener, const std::vector<char>& frozen, FitResult& out) {
  const std::size_t np = out.value.size(), size = fitter.size();
  for (const auto& scaled : solver.null_directions()) {
    std::vector<double> direction(np);
    bool counts = false;
    for (std::size_t i = 0; i < np; ++i) {
      const std::size_t u = fitter.unknown_of(i);
      direction[i] = scaled[u];
      if (frozen[u] || std::abs(direction[i]) <= 0.1) continue;
      out.unidentifiable[i] = 1;
      counts = true;
    }
    if (counts) out.null_directions.push_back(std::move(direction));
  }
  for (std::size_t i = 0; i < np; ++i) {
    const std::size_t u = fitter.unknown_of(i);
    if (!(normal.matrix[u * size + u] > 0)) out.unidentifiable[i] = 1;
    double variance = 0;
    for (std::size_t e = 0; e < size; ++e)
      variance += whitener[u * size + e] * whitener[u * size + e];
    out.sigma[i] = std::sqrt(variance) * std::abs(fitter.scale(i));
  }
}

// Rows times the whitener: squared lengths of the products' rows.
std::vector<double> lengths(const std::vector<double>& rows, const std::vector<double>& whitener, std::size_t count,
                            std::size_t size) {
  std::vector<double> product(count * size), out(count, 0.0);
  if (count == 0 || size == 0) return out;
  compute::blas::gemm(1, compute::matrix(rows, count, size), compute::matrix(whitener, size, size), 0,
                      compute::matrix(product, count, size));
  for (std::size_t k = 0; k < product.size(); ++k)
    out[k / size] += product[k] * product[k];
  return out;
}

// Residuals of what is left, with their places among the fitter's readings.
std::vector<Residual> judge(Fitter& fitter, const std::vector<double>& whitener, bool uncertainties, FitResult& out) {
  std::vector<Residual> residuals;
  const auto equations = equations_of(fitter.network());
  out.state_sigma.clear();
  out.degrees = 0;
  fitter.each_share(uncertainties ? Depth::full : Depth::value, [&](std::size_t s, const Share& share) {
    const std::size_t count = share.residual.size();
    out.degrees += static_cast<int>(count) - share.freed;
    const std::vector<double> taken =
        uncertainties ? lengths(share.rows, whitener, count, fitter.size()) : std::vector<double>();
    for (std::size_t k = 0; k < count; ++k) {
      const bool equation = k < static_cast<std::size_t>(share.equations);
      const Observation what =
          equation ? Observation{equations[k].second ? Observation::Kind::q : Observation::Kind::p, equations[k].first}
                   : fitter.readings()[s][k - static_cast<std::size_t>(share.equations)].what;
      double left = std::numeric_limits<double>::quiet_NaN();
      if (uncertainties) left = 1 - taken[k] - (share.leverage.empty() ? 0 : share.leverage[k]);
      residuals.push_back({s, what, equation, share.residual[k],
                           left > critical ? share.residual[k] / std::sqrt(left) : std::nan(""), false});
    }
    if (share.state_variance.empty()) return;
    std::vector<double> sigma = lengths(share.state_rows, whitener, share.state_variance.size(), fitter.size());
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
    std::vector<double> whitener;
    if (judged) {
      const NormalSolver solver(normal, frozen);
      whitener = solver.whitener();
      report_parameters(fitter, normal, solver, whitener, frozen, out);
    }
    residuals = judge(fitter, whitener, judged, out);
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
