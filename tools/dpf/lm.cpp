#include "lm.hpp"

#include <algorithm>
#include <cmath>

namespace fachwerk::dpf {
namespace {

// J^T J on its own pattern (buses at distance two), eliminated in an order of its own.
class NormalEquations {
 public:
  explicit NormalEquations(const Pattern& pattern) : given_(pattern), squared_(square(pattern)) {
    order_ = minimum_degree(squared_);
    place_.resize(order_.size());
    for (std::size_t k = 0; k < order_.size(); ++k)
      place_[order_[k]] = static_cast<int>(k);
    permuted_ = permute(squared_, place_);
    factor_.emplace(permuted_);
    values_.resize(permuted_.column.size());
    measure_.resize(2 * order_.size());
  }

  // Sum of J_i^T J_i over the rows i; its diagonal is the measure of the damping.
  void assemble(std::span<const Block> jacobian) {
    std::ranges::fill(values_, Block{});
    for (int i = 0; i < given_.rows(); ++i)
      for (int s = given_.start[i]; s < given_.start[i + 1]; ++s)
        for (int t = given_.start[i]; t < given_.start[i + 1]; ++t) {
          const Block &a = jacobian[s], &b = jacobian[t];
          Block& c = values_[permuted_.position(place_[given_.column[s]], place_[given_.column[t]])];
          c[0] += a[0] * b[0] + a[2] * b[2];
          c[1] += a[0] * b[1] + a[2] * b[3];
          c[2] += a[1] * b[0] + a[3] * b[2];
          c[3] += a[1] * b[1] + a[3] * b[3];
        }
    for (std::size_t i = 0; i < place_.size(); ++i)
      for (int half = 0; half < 2; ++half)
        measure_[2 * i + static_cast<std::size_t>(half)] = values_[permuted_.diagonal[place_[i]]][3 * half];
  }

  // Adds sum F_i times the second derivatives of F_i: the Hessian of |F|^2 / 2 is complete then. S_i = sum_j s_ij with
  // s_ij = exp(u_i + u_j + j (a_i - a_j)) conj(Y_ij), u = ln|V|, a the angle: every derivative is s_ij times a
  // constant.
  void add_curvature(const Problem& problem, const State& state, std::span<const double> f) {
    const auto is_free = [&](int node, int half) {
      return half == 0 ? problem.type[node] != NodeType::reference : problem.type[node] == NodeType::pq;
    };
    const auto add = [&](int i, int j, const Block& block) {
      Block& c = values_[permuted_.position(place_[i], place_[j])];
      for (int r = 0; r < 2; ++r)
        for (int k = 0; k < 2; ++k)
          if (is_free(i, r) && is_free(j, k)) c[2 * r + k] += block[2 * r + k];
    };
    for (int i = 0; i < given_.rows(); ++i)
      for (int k = given_.start[i]; k < given_.start[i + 1]; ++k) {
        const int j = given_.column[k];
        const Complex w = Complex(f[2 * i], -f[2 * i + 1]) * std::polar(state.vm[i], state.va[i]) *
                          std::conj(problem.y[k] * std::polar(state.vm[j], state.va[j]));
        const double re = w.real(), im = w.imag();
        if (i == j) {
          add(i, i, {0, 0, 0, 4 * re});
          continue;
        }
        add(i, i, {-re, -im, -im, re});
        add(j, j, {-re, im, im, re});
        add(i, j, {re, -im, im, re});
        add(j, i, {re, im, -im, re});
      }
  }
  bool solve(double mu, std::span<const double> rhs, std::span<double> x) {
    std::vector<Block> damped = values_;
    for (std::size_t i = 0; i < place_.size(); ++i)
      for (std::size_t half = 0; half < 2; ++half)
        damped[permuted_.diagonal[place_[i]]][3 * half] += mu * measure_[2 * i + half];
    if (!factor_->factor(damped)) return false;
    std::vector<double> y(rhs.size());
    for (std::size_t i = 0; i < place_.size(); ++i) {
      y[2 * static_cast<std::size_t>(place_[i])] = rhs[2 * i];
      y[2 * static_cast<std::size_t>(place_[i]) + 1] = rhs[2 * i + 1];
    }
    factor_->solve(y);
    for (std::size_t i = 0; i < place_.size(); ++i) {
      x[2 * i] = y[2 * static_cast<std::size_t>(place_[i])];
      x[2 * i + 1] = y[2 * static_cast<std::size_t>(place_[i]) + 1];
    }
    return true;
  }
  double measure(std::size_t unknown) const { return measure_[unknown]; }

 private:
  static Pattern from_rows(std::vector<std::vector<int>>& rows) {
    Pattern out;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      std::ranges::sort(rows[i]);
      rows[i].erase(std::ranges::unique(rows[i]).begin(), rows[i].end());
      out.diagonal.push_back(
          out.entries() + static_cast<int>(std::ranges::lower_bound(rows[i], static_cast<int>(i)) - rows[i].begin()));
      out.column.insert(out.column.end(), rows[i].begin(), rows[i].end());
      out.start.push_back(out.entries());
    }
    return out;
  }
  static Pattern square(const Pattern& a) {
    std::vector<std::vector<int>> rows(static_cast<std::size_t>(a.rows()));
    for (int i = 0; i < a.rows(); ++i)
      for (int s = a.start[i]; s < a.start[i + 1]; ++s) {
        const int j = a.column[s];
        rows[i].insert(rows[i].end(), a.column.begin() + a.start[j], a.column.begin() + a.start[j + 1]);
      }
    return from_rows(rows);
  }
  static Pattern permute(const Pattern& a, const std::vector<int>& place) {
    std::vector<std::vector<int>> rows(static_cast<std::size_t>(a.rows()));
    for (int i = 0; i < a.rows(); ++i)
      for (int s = a.start[i]; s < a.start[i + 1]; ++s)
        rows[place[i]].push_back(place[a.column[s]]);
    return from_rows(rows);
  }

  const Pattern& given_;
  Pattern squared_, permuted_;
  std::vector<int> order_, place_;
  std::optional<BlockFactor> factor_;
  std::vector<Block> values_;
  std::vector<double> measure_;  ///< diagonal of J^T J by unknown
};

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
    if (within(f, floor, options.tolerance)) {
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
      equations.assemble(a);
      if (crawls) equations.add_curvature(problem, out.state, f);
    }
    const double steepest = std::abs(*std::ranges::max_element(gradient, {}, [](double g) { return std::abs(g); }));
    // Close to a solution the gradient is small because F is: a minimum that is none has J^T F small beside F.
    if (steepest < options.stationary && steepest < 1e-4 * std::sqrt(square(f))) {
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
    const bool solved = equations.solve(mu, gradient, dx);
    if (solved) {
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
