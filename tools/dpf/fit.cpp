#include "fit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include <lapacke.h>

#include "cli/error.hpp"
#include "compute/parallel.hpp"

namespace fachwerk::dpf {
namespace {

constexpr double negligible = 1e-10;  // eigenvalue beside the largest: not determined

// The network of changed parameters, on the pattern and order of the first.
void refresh(Network& network, const Grid& grid) {
  for (std::size_t k = 0; k < grid.branch.size(); ++k)
    if (network.from_of_branch[k] >= 0) network.admittance[k] = branch_admittance(grid.branch, k);
  assemble_admittance(network, grid);
}

std::vector<Unknown> unknowns_of(const Grid& grid, const std::vector<Parameter>& parameters,
                                 const std::vector<int>& group) {
  std::vector<Unknown> out;
  std::map<int, std::size_t> of_group;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const int number = group.empty() ? -1 : group[i];
    const auto found = of_group.find(number);
    if (number >= 0 && found != of_group.end()) {
      out[found->second].parameters.push_back(i);
      out[found->second].logarithmic = true;  // a common factor
      continue;
    }
    if (number >= 0) of_group[number] = out.size();
    out.push_back({{i}, logarithmic(parameters[i].kind) && get(grid, parameters[i]) > 0});
  }
  return out;
}

// The grid at the present unknowns, and the normal equations of all snapshots there.
class Fitter {
 public:
  Fitter(const Grid& grid, const std::vector<OperatingPoint>& points, const std::vector<Measurements>& measured,
         const Judgement& judgement, const std::vector<Parameter>& parameters, const std::vector<int>& group)
      : grid_(grid),
        points_(points),
        measured_(measured),
        judgement_(judgement),
        parameters_(parameters),
        unknowns_(unknowns_of(grid, parameters, group)),
        network_(build_network(grid)),
        states_(points.size(), file_start(problem_of(network_))) {
    for (const Parameter& p : parameters)
      start_.push_back(get(grid, p));
  }

  std::size_t size() const { return unknowns_.size(); }
  const std::vector<Unknown>& unknowns() const { return unknowns_; }
  const Grid& grid() const { return grid_; }
  bool in_logarithm(std::size_t u) const { return unknowns_[u].logarithmic; }
  /// ln(value / start) where it moves in logarithms, else the value.
  double coordinate(std::size_t u, double value) const {
    const std::size_t i = unknowns_[u].parameters[0];
    return in_logarithm(u) ? std::log(value / start_[i]) : value;
  }
  double scale(std::size_t u, std::size_t i) const { return in_logarithm(u) ? get(grid_, parameters_[i]) : 1; }

  void move(const std::vector<double>& at) {
    for (std::size_t u = 0; u < size(); ++u)
      for (const std::size_t i : unknowns_[u].parameters)
        set(grid_, parameters_[i], in_logarithm(u) ? start_[i] * std::exp(at[u]) : at[u]);
    refresh(network_, grid_);
  }

  Normal assemble() {
    Normal total{std::vector<double>(size() * size(), 0.0), std::vector<double>(size(), 0.0)};
    std::vector<Normal> parts(points_.size());
    const FitGrid now{grid_, network_, parameters_, unknowns_};
    compute::parallel_tasks(points_.size(), [&](std::size_t s) {
      parts[s] = assemble_snapshot(now, points_[s], measured_[s], judgement_, states_[s], true);
    });
    for (const Normal& part : parts) {  // in order: the same sums with any number of threads
      total.solved = total.solved && part.solved;
      total.chi2 += part.chi2;
      total.count += part.count;
      total.residuals.insert(total.residuals.end(), part.residuals.begin(), part.residuals.end());
      if (!part.solved) continue;
      for (std::size_t i = 0; i < total.matrix.size(); ++i)
        total.matrix[i] += part.matrix[i];
      for (std::size_t i = 0; i < size(); ++i)
        total.rhs[i] += part.rhs[i];
    }
    return total;
  }

 private:
  Grid grid_;
  const std::vector<OperatingPoint>& points_;
  const std::vector<Measurements>& measured_;
  Judgement judgement_;
  const std::vector<Parameter>& parameters_;
  std::vector<Unknown> unknowns_;
  Network network_;
  std::vector<State> states_;
  std::vector<double> start_;
};

// Steps in the eigenvectors of the normal matrix scaled to unit diagonal; directions of negligible eigenvalue are left
// out.
class Spectrum {
 public:
  /// `frozen`: unknowns that stay where they are.
  Spectrum(const Normal& normal, const std::vector<char>& frozen) : size_(normal.rhs.size()), unit_(size_) {
    for (std::size_t i = 0; i < size_; ++i)
      unit_[i] = normal.matrix[i * size_ + i] > 0 && !frozen[i] ? 1 / std::sqrt(normal.matrix[i * size_ + i]) : 0;
    vectors_ = normal.matrix;
    for (std::size_t i = 0; i < size_; ++i)
      for (std::size_t k = 0; k < size_; ++k)
        vectors_[i * size_ + k] *= unit_[i] * unit_[k];
    values_.resize(size_);
    const auto n = static_cast<lapack_int>(size_);
    if (LAPACKE_dsyevd(LAPACK_ROW_MAJOR, 'V', 'U', n, vectors_.data(), n, values_.data()) != 0)
      throw method_failed("the eigenvalues of the normal matrix did not converge");
  }

  std::vector<double> step(const std::vector<double>& rhs, double damping) const {
    std::vector<double> out(size_, 0.0);
    for (std::size_t e = 0; e < size_; ++e) {
      if (!determined(e)) continue;
      double along = 0;
      for (std::size_t i = 0; i < size_; ++i)
        along += vectors_[i * size_ + e] * unit_[i] * rhs[i];
      along /= values_[e] + damping * values_.back();
      for (std::size_t i = 0; i < size_; ++i)
        out[i] += unit_[i] * vectors_[i * size_ + e] * along;
    }
    return out;
  }
  bool determined(std::size_t e) const { return values_[e] > 0 && values_[e] >= negligible * values_.back(); }
  bool insensitive(std::size_t i) const { return unit_[i] == 0; }
  double component(std::size_t e, std::size_t i) const { return vectors_[i * size_ + e]; }
  std::size_t size() const { return size_; }
  double variance(std::size_t i) const {
    double sum = 0;
    for (std::size_t e = 0; e < size_; ++e)
      if (determined(e)) sum += component(e, i) * component(e, i) / values_[e];
    return sum * unit_[i] * unit_[i];
  }

 private:
  std::size_t size_;
  std::vector<double> unit_, values_, vectors_;
};

// Boxes by unknown, in its coordinate.
struct Box {
  double low = -std::numeric_limits<double>::infinity(), high = -low;
};
std::vector<Box> boxes_of(const Fitter& fitter, const std::vector<Parameter>& parameters,
                          const std::vector<Bound>& bounds) {
  std::vector<Box> out(fitter.size());
  for (std::size_t u = 0; u < out.size(); ++u) {
    const auto& members = fitter.unknowns()[u].parameters;
    if (members.size() > 1) continue;  // a common factor has no box
    for (const Bound& bound : bounds) {
      if (bound.kind != parameters[members[0]].kind) continue;
      out[u].low = bound.low > 0 || !fitter.in_logarithm(u) ? fitter.coordinate(u, bound.low) : out[u].low;
      out[u].high = fitter.coordinate(u, bound.high);
    }
  }
  return out;
}

// What lies at a bound and would go beyond.
std::vector<char> frozen_at(const std::vector<double>& at, const std::vector<double>& rhs,
                            const std::vector<Box>& boxes) {
  std::vector<char> out(at.size(), 0);
  for (std::size_t u = 0; u < at.size(); ++u)
    out[u] = (at[u] <= boxes[u].low && rhs[u] < 0) || (at[u] >= boxes[u].high && rhs[u] > 0);
  return out;
}

// A damped step inside the boxes: what would leave its box is put on the bound, and the others are solved for again.
std::vector<double> bounded_step(const Normal& normal, const Fitter& fitter, const std::vector<double>& at,
                                 const std::vector<Box>& boxes, std::vector<char> fixed, double damping) {
  const std::size_t size = at.size();
  std::vector<double> moved(size, 0.0);
  for (;;) {
    std::vector<double> rhs = normal.rhs;
    for (std::size_t i = 0; i < size; ++i)
      for (std::size_t k = 0; k < size; ++k)
        if (fixed[k]) rhs[i] -= normal.matrix[i * size + k] * moved[k];
    std::vector<double> step = Spectrum(normal, fixed).step(rhs, damping);
    bool again = false;
    for (std::size_t u = 0; u < size; ++u) {
      if (fixed[u]) {
        step[u] = moved[u];
        continue;
      }
      if (fitter.in_logarithm(u)) step[u] = std::clamp(step[u], -1.0, 1.0);
      const double target = std::clamp(at[u] + step[u], boxes[u].low, boxes[u].high);
      if (target == at[u] + step[u]) continue;
      fixed[u] = 1;
      moved[u] = target - at[u];
      again = true;
    }
    if (!again) return step;
  }
}

void add_prior(Normal& normal, const std::vector<double>& at, const std::vector<double>& start, double sigma) {
  if (!(sigma > 0)) return;
  const double weight = 1 / (sigma * sigma);
  for (std::size_t u = 0; u < at.size(); ++u) {
    const double off = at[u] - start[u];
    normal.chi2 += weight * off * off;
    normal.matrix[u * at.size() + u] += weight;
    normal.rhs[u] -= weight * off;
  }
}

void report(const Fitter& fitter, const Normal& normal, const Spectrum& spectrum,
            const std::vector<Parameter>& parameters, FitResult& out) {
  const std::size_t np = parameters.size();
  std::vector<std::size_t> unknown(np);
  for (std::size_t u = 0; u < fitter.size(); ++u)
    for (const std::size_t i : fitter.unknowns()[u].parameters)
      unknown[i] = u;
  out.unidentifiable.assign(np, 0);
  for (std::size_t e = 0; e < spectrum.size(); ++e) {
    if (spectrum.determined(e)) continue;
    std::vector<double> direction(np);
    bool counts = false;
    for (std::size_t i = 0; i < np; ++i) {
      direction[i] = spectrum.component(e, unknown[i]);
      if (out.at_bound[i] || std::abs(direction[i]) <= 0.1) continue;
      out.unidentifiable[i] = 1;
      counts = true;
    }
    if (counts) out.null_directions.push_back(std::move(direction));
  }
  for (std::size_t i = 0; i < np; ++i) {
    const std::size_t u = unknown[i];
    if (spectrum.insensitive(u) && !out.at_bound[i]) out.unidentifiable[i] = 1;
    out.value.push_back(get(fitter.grid(), parameters[i]));
    out.sigma.push_back(std::sqrt(spectrum.variance(u)) * std::abs(fitter.scale(u, i)));
  }
  out.chi2 = normal.chi2;
  out.degrees = normal.count - static_cast<int>(fitter.size() - out.null_directions.size());
  out.normalised_residuals = normal.residuals;
}

}  // namespace

FitResult fit(const Grid& grid, const std::vector<OperatingPoint>& points, const std::vector<Measurements>& measured,
              const MeasurementNoise& noise, const std::vector<Parameter>& parameters, const FitOptions& options) {
  if (options.formulation != Formulation::output &&
      std::ranges::any_of(parameters, [](const Parameter& p) { return p.kind == ParameterKind::set_point; }))
    throw usage_error("set-points are learnt in the output formulation alone");
  Fitter fitter(grid, points, measured, {options.formulation, options.robust, noise, options.mismatch_sigma},
                parameters, options.group);
  FitResult out;
  std::vector<double> at(fitter.size());
  for (const Parameter& p : parameters)
    out.start.push_back(get(grid, p));
  for (std::size_t u = 0; u < at.size(); ++u)
    at[u] = fitter.coordinate(u, out.start[fitter.unknowns()[u].parameters[0]]);
  const std::vector<double> start = at;
  const std::vector<Box> boxes = boxes_of(fitter, parameters, options.bounds);
  for (std::size_t u = 0; u < at.size(); ++u)
    at[u] = std::clamp(at[u], boxes[u].low, boxes[u].high);
  fitter.move(at);
  Normal normal = fitter.assemble();
  if (!normal.solved) throw method_failed("a snapshot has no solution at the start parameters");
  add_prior(normal, at, start, options.prior);
  std::vector<char> frozen = frozen_at(at, normal.rhs, boxes);
  double mu = 0;  // Gauss-Newton first
  int quiet = 0;
  while (out.iterations < options.max_iterations) {
    ++out.iterations;
    const std::vector<double> step = bounded_step(normal, fitter, at, boxes, frozen, mu);
    std::vector<double> trial = at;
    double relative = 0;
    for (std::size_t u = 0; u < at.size(); ++u) {
      trial[u] = std::clamp(at[u] + step[u], boxes[u].low, boxes[u].high);
      relative = std::max(relative,
                          std::abs(trial[u] - at[u]) / (fitter.in_logarithm(u) ? 1 : std::max(std::abs(at[u]), 1e-6)));
    }
    fitter.move(trial);
    Normal next = fitter.assemble();
    if (next.solved) add_prior(next, trial, start, options.prior);
    if (next.solved && (next.chi2 <= normal.chi2 || relative < 1e-9)) {
      const double gain = normal.chi2 - next.chi2;
      quiet = gain <= options.tolerance * normal.chi2 || relative < 1e-12 ? quiet + 1 : 0;
      at = trial;
      normal = std::move(next);
      frozen = frozen_at(at, normal.rhs, boxes);
      mu = mu < 1e-8 ? 0 : mu / 10;
      // Perfect data go on until the rounding floor is reached.
      if (quiet >= 1 && (normal.chi2 > 1e-12 * normal.count || relative < 1e-12 || quiet >= 3)) {
        out.converged = true;
        break;
      }
    } else {
      fitter.move(at);
      mu = mu == 0 ? 1e-6 : mu * 10;
      if (mu > 1e3) {
        out.converged = relative < 1e-6 || normal.chi2 < 1e-12 * normal.count;
        break;
      }
    }
  }
  fitter.move(at);
  out.at_bound.assign(parameters.size(), 0);
  for (std::size_t u = 0; u < at.size(); ++u)
    for (const std::size_t i : fitter.unknowns()[u].parameters)
      out.at_bound[i] = frozen[u];
  report(fitter, normal, Spectrum(normal, frozen), parameters, out);
  return out;
}

}  // namespace fachwerk::dpf
