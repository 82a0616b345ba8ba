#include "lm.hpp"

#include <algorithm>
#include <cmath>

#include "normal_equations.hpp"

namespace fachwerk::dpf {
namespace {

double square(std::span<const double> f) {
  double sum = 0;
  for (const double x : f)
    sum += x * x;
  return sum;
}

}  // namespace

Solution levenberg_marquardt(const Problem& problem, State start, const LevenbergOptions& options) {
  const Pattern& pattern = problem.network->pattern;
  const std::size_t size = 2 * static_cast<std::size_t>(pattern.rows());
  Solution out;
  out.state = std::move(start);
  std::vector<double> f(size), next(size), gradient(size), dx(size);
  std::vector<Block> a(pattern.column.size());
  NormalEquations equations(pattern);
  const std::vector<double> floor = rounding_floor(problem, out.state);
  out.max_mismatch = mismatch(problem, out.state, f);
  double mu = 1e-3, growth = 2;
  bool crawls = false;  // near a minimum that is no solution J^T J alone converges slowly
  for (bool fresh = true;;) {
    if (reached(problem, f, floor, options.tolerance, options.stop_mismatch)) {
      out.status = Status::converged;
      break;
    }
    if (fresh) {
      jacobian(problem, out.state, a);
      std::ranges::fill(gradient, 0.0);
      for (int i = 0; i < pattern.rows(); ++i)
        for (int s = pattern.start[i]; s < pattern.start[i + 1]; ++s) {
          const std::size_t j = 2 * static_cast<std::size_t>(pattern.column[s]);
          gradient[j] -= a[s][0] * f[2 * i] + a[s][2] * f[2 * i + 1];
          gradient[j + 1] -= a[s][1] * f[2 * i] + a[s][3] * f[2 * i + 1];
        }
      equations.clear();
      equations.add_squares(a, 1);
      equations.measure_diagonal();
      if (crawls) equations.add_curvature(problem, out.state, f);
    }
    const double steepest = std::abs(*std::ranges::max_element(gradient, {}, [](double g) { return std::abs(g); }));
    // Rounding of F alone may leave more than `stationary` on large grids: then no damping lets |F| fall any more.
    const double stationary = mu > 1e12 ? 100 * options.stationary : options.stationary;
    // Close to a solution the gradient is small because F is: a minimum that is none has J^T F small beside F.
    if (steepest < stationary && steepest < 1e-4 * std::sqrt(square(f))) {
      out.status = Status::infeasible;
      break;
    }
    if (out.iterations >= options.max_iterations || mu > 1e12) {
      out.status = Status::iteration_limit;
      break;
    }
    ++out.iterations;
    double predicted = 0, worst = 0;
    State moved = out.state;
    const bool solved = equations.factor(mu);
    if (solved) {
      equations.solve(gradient, dx);
      for (std::size_t i = 0; i < size; ++i)
        predicted += dx[i] * (gradient[i] + mu * equations.measure(i) * dx[i]);
      apply_step(moved, dx);
      worst = mismatch(problem, moved, next);
    }
    const double gain = solved && std::isfinite(worst) && predicted > 0 ? (square(f) - square(next)) / predicted : -1;
    fresh = gain > 0;
    if (fresh) {  // Nielsen's rule
      crawls = square(next) > 0.9 * square(f);
      mu *= std::max(1.0 / 3, 1 - std::pow(2 * gain - 1, 3));
      growth = 2;
      out.state = std::move(moved);
      f.swap(next);
      out.max_mismatch = worst;
    } else {
      mu *= growth;
      growth *= 2;
    }
  }
  out.worst_node =
      static_cast<int>(std::ranges::max_element(f, {}, [](double x) { return std::abs(x); }) - f.begin()) / 2;
  return out;
}

}  // namespace fachwerk::dpf
