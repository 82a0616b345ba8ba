#include "newton.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "cli/error.hpp"

namespace fachwerk::dpf {
namespace {

double square(std::span<const double> f) {
  double sum = 0;
  for (const double x : f)
    sum += x * x;
  return sum;
}

int worst_node(std::span<const double> f) {
  const auto worst = std::ranges::max_element(f, {}, [](double x) { return std::abs(x); });
  return static_cast<int>(worst - f.begin()) / 2;
}

// A state, its phasors, and F there.
struct Point {
  Point(const Problem& problem, State at) : state(std::move(at)), v(phasors(state)), f(2 * v.size()) {
    std::vector<Complex> s(v.size());
    injections(problem, v, s);
    worst = mismatch(problem, state, s, f);
  }
  State state;
  std::vector<Complex> v;
  std::vector<double> f;
  double worst;
};

}  // namespace

std::string name(Status status) {
  static constexpr const char* names[] = {
      "converged", "iteration limit", "diverged", "infeasible", "dead", "reactive limits infeasible", "not started"};
  return names[static_cast<int>(status)];
}

Iteration measure(const Problem& problem, std::span<const double> f, double max_mismatch) {
  double sum = 0, absolute = 0, target = 0;
  int equations = 0;
  for (std::size_t i = 0; i < problem.type.size(); ++i) {
    if (problem.type[i] != NodeType::reference) {
      ++equations;
      target += std::abs(problem.p[i]);
    }
    if (problem.type[i] == NodeType::pq) {
      ++equations;
      target += std::abs(problem.q[i]);
    }
  }
  for (const double x : f) {
    sum += x * x;
    absolute += std::abs(x);
  }
  return {max_mismatch, equations > 0 ? sum / equations : 0, target > 0 ? absolute / target : 0};
}

bool reached(const Problem& problem, std::span<const double> f, std::span<const double> floor, double tolerance,
             double stop_mismatch) {
  if (within(f, floor, tolerance)) return true;
  return stop_mismatch > 0 && measure(problem, f, 0).relative <= stop_mismatch;
}

double loose_tolerance(const Problem& problem, double stop_mismatch) {
  double specified = 0;
  int equations = 0;
  for (std::size_t i = 0; i < problem.type.size(); ++i) {
    if (problem.type[i] == NodeType::reference) continue;
    specified += std::abs(problem.p[i]);
    ++equations;
    if (problem.type[i] != NodeType::pq) continue;
    specified += std::abs(problem.q[i]);
    ++equations;
  }
  return stop_mismatch * specified / std::max(1, equations);
}

Newton::Newton(const Network& network)
    : network_(&network), factor_(network.pattern), jacobian_(network.pattern.column.size()) {}

double Newton::backward_error(std::span<const double> x, std::span<const double> f) const {
  const Pattern& pattern = network_->pattern;
  double error = 0;
  for (int i = 0; i < pattern.rows(); ++i) {
    double r0 = f[2 * i], r1 = f[2 * i + 1], s0 = std::abs(r0), s1 = std::abs(r1);
    for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k) {
      const Block& a = jacobian_[k];
      const double x0 = x[2 * pattern.column[k]], x1 = x[2 * pattern.column[k] + 1];
      r0 -= a[0] * x0 + a[1] * x1;
      r1 -= a[2] * x0 + a[3] * x1;
      s0 += std::abs(a[0] * x0) + std::abs(a[1] * x1);
      s1 += std::abs(a[2] * x0) + std::abs(a[3] * x1);
    }
    if (s0 > 0) error = std::max(error, std::abs(r0) / s0);
    if (s1 > 0) error = std::max(error, std::abs(r1) / s1);
    if (std::isnan(r0 + r1)) return std::numeric_limits<double>::infinity();
  }
  return error;
}

// dx = J^-1 f with the factors at hand; componentwise backward error decides about pivoting.
bool Newton::direction(std::span<const double> f, std::span<double> dx, Solution& solution) {
  std::ranges::copy(f, dx.begin());
  if (!solution.pivoted) {
    factor_.solve(dx);
    if (backward_error(dx, f) <= 1e-10) return true;
    if (!pivoting_) pivoting_ = std::make_unique<PivotingFactor>(network_->pattern);
    if (!pivoting_->factor(jacobian_)) return false;
    solution.pivoted = true;
    std::ranges::copy(f, dx.begin());
  }
  return pivoting_->solve(dx);
}

bool Newton::refactor(const Problem& problem, const State& state, std::span<const Complex> v, Solution& solution) {
  jacobian_rows(problem, v, state.vm, 0, network_->nodes(), jacobian_);
  solution.pivoted = !factor_.factor(jacobian_);
  if (!solution.pivoted) {
    solution.negative_determinant = factor_.negative_determinant();
    return true;
  }
  if (!pivoting_) pivoting_ = std::make_unique<PivotingFactor>(network_->pattern);
  return pivoting_->factor(jacobian_);
}

// -J^-1 F into dx. With distributed slack, F = S(x) - S - w lambda: the angle of the reference is fixed, its P equation
// gives the change of lambda (the bordered system, eliminated): dlambda = (F_r - r y) / (w_r - r z), y = J^-1 F, z =
// J^-1 w.
bool Newton::step(const Problem& problem, const State& state, std::span<const Complex> v, std::span<const double> f,
                  std::span<double> dx, std::span<double> dlambda, Solution& solution) {
  if (!refactor(problem, state, v, solution)) return false;
  const int n = network_->nodes();
  std::vector<double> rhs(f.begin(), f.end()), weight, z;
  if (!dlambda.empty()) {
    weight.assign(rhs.size(), 0.0);
    z.resize(rhs.size());
    for (int i = 0; i < n; ++i)
      (problem.type[i] == NodeType::reference ? rhs : weight)[2 * i] =
          problem.type[i] == NodeType::reference ? 0 : problem.slack_weight[i];
  }
  if (!direction(rhs, dx, solution)) return false;
  for (double& x : dx)
    x = -x;
  if (dlambda.empty()) return true;
  if (!direction(weight, z, solution)) return false;
  const Pattern& pattern = network_->pattern;
  for (int i = 0; i < n; ++i) {
    if (problem.type[i] != NodeType::reference) continue;
    double numerator = f[2 * i], denominator = problem.slack_weight[i];
    for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k) {
      const int j = pattern.column[k];
      if (j == i) continue;  // its unknowns are fixed
      const Complex s = v[i] * std::conj(problem.y[k] * v[j]);
      const double to_magnitude = problem.type[j] == NodeType::pq ? s.real() : 0;
      numerator += s.imag() * dx[2 * j] + to_magnitude * dx[2 * j + 1];
      denominator -= s.imag() * z[2 * j] + to_magnitude * z[2 * j + 1];
    }
    dlambda[network_->island[i]] = denominator == 0 ? 0 : numerator / denominator;
  }
  for (int i = 0; i < n; ++i)
    for (int half = 0; half < 2; ++half)
      dx[2 * i + half] += z[2 * i + half] * dlambda[network_->island[i]];
  return true;
}

Solution Newton::solve(const Problem& problem, State start, const NewtonOptions& options) {
  Solution out;
  const std::vector<double> floor = rounding_floor(problem, start);
  Point now(problem, std::move(start));
  const double first = now.worst;
  std::vector<double> dx(now.f.size()), dlambda(now.state.lambda.size());
  const auto record = [&] {
    if (options.trace) out.trace.push_back(measure(problem, now.f, now.worst));
  };
  const auto moved = [&](double scale) {
    State state = now.state;
    apply_step(state, dx, scale);
    for (std::size_t i = 0; i < dlambda.size(); ++i)
      state.lambda[i] += scale * dlambda[i];
    return Point(problem, std::move(state));
  };
  record();
  bool polished = !options.polish || options.stop_mismatch > 0;
  for (;;) {
    const bool met = reached(problem, now.f, floor, options.tolerance, options.stop_mismatch);
    if (met) out.status = Status::converged;
    if (met && polished) break;
    if (!met && out.iterations >= options.max_iterations) {
      out.status = Status::iteration_limit;
      break;
    }
    if (!std::isfinite(now.worst) || now.worst > 1e6 * std::max(first, options.tolerance)) {
      out.status = Status::diverged;
      break;
    }
    if (!step(problem, now.state, now.v, now.f, dx, dlambda, out)) {
      if (!met) out.status = Status::diverged;
      break;
    }
    Point next = moved(1);
    if (met) {  // polish: keep the step only if it helps
      if (next.worst < now.worst) now = std::move(next);
      break;
    }
    if (options.line_search) {
      const double merit = square(now.f);
      for (double scale = 0.5; scale > 1e-4 && !(square(next.f) <= (1 - 2e-4 * scale) * merit); scale /= 2)
        next = moved(scale);
    }
    now = std::move(next);
    ++out.iterations;
    record();
  }
  out.state = std::move(now.state);
  out.max_mismatch = now.worst;
  out.worst_node = worst_node(now.f);
  return out;
}

const BlockFactor& Newton::factor_at(const Problem& problem, const State& state) {
  Solution solution;
  if (!refactor(problem, state, phasors(state), solution) || solution.pivoted)
    throw method_failed("the Jacobian of the base state is singular");
  return factor_;
}

// B_ij of a branch is -1/(x tap); a branch without reactance takes its susceptance instead.
State dc_angles(const Grid& grid, const Network& network, const Problem& problem, State state) {
  const Pattern& pattern = network.pattern;
  std::vector<Block> b(pattern.column.size(), Block{});
  std::vector<double> rhs(2 * state.va.size(), 0.0);
  const auto fixed = [&](int i) { return problem.type[i] == NodeType::reference; };
  for (int i = 0; i < pattern.rows(); ++i) {
    b[pattern.diagonal[i]][3] = 1;
    rhs[2 * i] = problem.p[i] - dependent_load(problem, i, 1).real();
  }
  for (std::size_t i = 0; i < grid.bus.size(); ++i)
    if (const int k = network.node_of_bus[i]; k >= 0) rhs[2 * k] -= grid.bus.gs[i] / grid.base_mva;
  for (std::size_t k = 0; k < network.slots.size(); ++k) {
    const BranchSlots& s = network.slots[k];
    if (s.ff < 0) continue;
    const int f = network.from_of_branch[k], t = network.to_of_branch[k];
    const double r = grid.branch.r[k], x = grid.branch.x[k], tap = grid.branch.tap[k] == 0 ? 1 : grid.branch.tap[k];
    const double weight = (x != 0 ? 1 / x : 1 / r) / tap;
    const double shift = grid.branch.shift[k] * std::numbers::pi / 180;
    rhs[2 * f] += weight * shift;
    rhs[2 * t] -= weight * shift;
    b[s.ff][0] += weight;
    b[s.tt][0] += weight;
    b[s.ft][0] -= weight;
    b[s.tf][0] -= weight;
  }
  for (int i = 0; i < pattern.rows(); ++i)
    for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k) {
      const int j = pattern.column[k];
      if (j == i || (!fixed(i) && !fixed(j))) continue;
      if (fixed(j) && !fixed(i)) rhs[2 * i] -= b[k][0] * state.va[j];
      b[k][0] = 0;
    }
  for (int i = 0; i < pattern.rows(); ++i)
    if (fixed(i)) {
      b[pattern.diagonal[i]][0] = 1;
      rhs[2 * i] = state.va[i];
    }
  std::vector<double> angles = rhs;
  if (BlockFactor factor(pattern); factor.factor(b)) {
    factor.solve(angles);
  } else {
    PivotingFactor pivoting(pattern);
    if (!pivoting.factor(b) || !pivoting.solve(angles)) return state;
  }
  for (std::size_t i = 0; i < state.va.size(); ++i)
    if (std::isfinite(angles[2 * i])) state.va[i] = angles[2 * i];
  return state;
}

State starting_point(const Grid& grid, const Problem& problem, Start start) {
  const auto flat = [&] {
    for (std::size_t i = 0; i < grid.bus.size(); ++i)
      if (grid.bus.type[i] != 3 && (grid.bus.vm[i] != 1 || grid.bus.va[i] != 0)) return false;
    return true;
  };
  if (start == Start::automatic) start = flat() ? Start::dc : Start::file;
  if (start == Start::file) return file_start(problem);
  if (start == Start::flat) return flat_start(problem);
  return dc_angles(grid, *problem.network, problem, flat_start(problem));
}

}  // namespace fachwerk::dpf
