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

// |F|^2 is known to 2 sum |F_i| floor_i. Along unknown j alone it falls by at most g_j^2 / (J^T J)_jj: where no unknown
// has more to give than that, no damping lets the computed |F| fall any more.
bool flat_to_rounding(std::span<const double> gradient, const NormalEquations& equations, std::span<const double> f,
                      std::span<const double> floor) {
  double known_to = 0, largest_fall = 0;
  for (std::size_t k = 0; k < f.size(); ++k) {
    known_to += 2 * std::abs(f[k]) * floor[k / 2];
    largest_fall = std::max(largest_fall, gradient[k] * gradient[k] / equations.measure(k));
  }
  return largest_fall <= known_to;
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
    // Close to a solution the gradient is small because F is: a minimum that is none has J^T F small beside F.
    const bool flat = steepest < options.stationary || (mu > 1e12 && flat_to_rounding(gradient, equations, f, floor));
    if (flat && steepest < 1e-4 * std::sqrt(square(f))) {
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
