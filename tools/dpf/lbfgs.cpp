#include "lbfgs.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>

namespace fachwerk::dpf {
namespace {

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// |F|^2 / 2 and its gradient in the preconditioned unknowns.
class Objective {
 public:
  Objective(const Problem& problem, const State& start)
      : problem_(problem), start_(start), newton_(*problem.network), jacobian_(problem.network->pattern.column.size()) {
    newton_.factor_at(problem, start);
  }

  struct Point {
    std::vector<double> y, gradient, f;
    State state;
    double value = 0, max_mismatch = 0;
  };

  Point at(std::vector<double> y) {
    Point out{std::move(y), {}, std::vector<double>(2 * start_.vm.size()), start_};
    std::vector<double> x = out.y;
    newton_.factor().solve(x);
    for (std::size_t i = 0; i < start_.vm.size(); ++i) {
      out.state.va[i] += x[2 * i];
      out.state.vm[i] *= std::exp(x[2 * i + 1]);
    }
    out.max_mismatch = mismatch(problem_, out.state, out.f);
    out.value = dot(out.f, out.f) / 2;
    out.gradient.assign(out.f.size(), 0.0);
    if (!std::isfinite(out.value)) return out;
    jacobian(problem_, out.state, jacobian_);
    const Pattern& pattern = problem_.network->pattern;
    for (int i = 0; i < pattern.rows(); ++i)
      for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k) {
        const int j = pattern.column[k];
        const Block& a = jacobian_[k];
        out.gradient[2 * j] += a[0] * out.f[2 * i] + a[2] * out.f[2 * i + 1];
        out.gradient[2 * j + 1] += a[1] * out.f[2 * i] + a[3] * out.f[2 * i + 1];
      }
    newton_.factor().solve_transposed(out.gradient);
    return out;
  }

 private:
  const Problem& problem_;
  State start_;
  Newton newton_;
  std::vector<Block> jacobian_;
};

// A step that satisfies the strong Wolfe conditions, or the best that was found.
class LineSearch {
 public:
  LineSearch(Objective& objective, const Objective::Point& from, const std::vector<double>& direction)
      : objective_(objective), from_(from), direction_(direction), slope_(dot(from.gradient, direction)) {}

  Objective::Point run() {
    Trial last{0, from_.value, slope_, from_};
    double length = 1;
    for (int k = 0; k < 12; ++k, length *= 2) {
      Trial now = at(length);
      if (!sufficient(now) || (k > 0 && now.value >= last.value)) return zoom(std::move(last), std::move(now));
      if (flat(now)) return std::move(now.point);
      if (now.slope >= 0) return zoom(std::move(now), std::move(last));
      last = std::move(now);
    }
    return std::move(last.point);
  }

 private:
  struct Trial {
    double length, value, slope;
    Objective::Point point;
  };
  Trial at(double length) {
    std::vector<double> y = from_.y;
    for (std::size_t i = 0; i < y.size(); ++i)
      y[i] += length * direction_[i];
    Objective::Point point = objective_.at(std::move(y));
    const double slope = dot(point.gradient, direction_);
    return {length, point.value, slope, std::move(point)};
  }
  bool sufficient(const Trial& t) const {
    return std::isfinite(t.value) && t.value <= from_.value + 1e-4 * t.length * slope_;
  }
  bool flat(const Trial& t) const { return std::abs(t.slope) <= 0.9 * std::abs(slope_); }

  Objective::Point zoom(Trial low, Trial high) {
    for (int k = 0; k < 30; ++k) {
      // Minimum of the parabola through value and slope at the low end, kept off the ends.
      const double width = high.length - low.length;
      double inner = 0.5;
      if (std::isfinite(high.value)) {
        const double curvature = high.value - low.value - low.slope * width;
        if (curvature > 0) inner = std::clamp(-low.slope * width / (2 * curvature), 0.1, 0.9);
      }
      Trial now = at(low.length + inner * width);
      if (!sufficient(now) || now.value >= low.value) {
        high = std::move(now);
        continue;
      }
      if (flat(now)) return std::move(now.point);
      if (now.slope * width >= 0) high = low;
      low = std::move(now);
    }
    return std::move(low.point);
  }

  Objective& objective_;
  const Objective::Point& from_;
  const std::vector<double>& direction_;
  double slope_;
};

// The last pairs (s, t) of steps and changes of the gradient, and the two-loop recursion (algorithm 7.4).
class Memory {
 public:
  explicit Memory(std::size_t most) : most_(most) {}
  void keep(std::vector<double> s, std::vector<double> t) {
    const double product = dot(s, t);
    if (!(product > 1e-14 * dot(t, t))) return;
    pairs_.push_back({std::move(s), std::move(t), product});
    if (pairs_.size() > most_) pairs_.pop_front();
  }
  std::vector<double> direction(std::vector<double> q) const {
    std::vector<double> alpha(pairs_.size());
    for (std::size_t k = pairs_.size(); k-- > 0;) {
      alpha[k] = dot(pairs_[k].s, q) / pairs_[k].product;
      for (std::size_t i = 0; i < q.size(); ++i)
        q[i] -= alpha[k] * pairs_[k].t[i];
    }
    if (!pairs_.empty()) {
      const double scale = pairs_.back().product / dot(pairs_.back().t, pairs_.back().t);
      for (double& x : q)
        x *= scale;
    }
    for (std::size_t k = 0; k < pairs_.size(); ++k) {
      const double beta = dot(pairs_[k].t, q) / pairs_[k].product;
      for (std::size_t i = 0; i < q.size(); ++i)
        q[i] += (alpha[k] - beta) * pairs_[k].s[i];
    }
    for (double& x : q)
      x = -x;
    return q;
  }
  bool forget() {
    const bool any = !pairs_.empty();
    pairs_.clear();
    return any;
  }

 private:
  struct Pair {
    std::vector<double> s, t;
    double product;
  };
  std::size_t most_;
  std::deque<Pair> pairs_;
};

std::vector<double> difference(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> out(a.size());
  std::ranges::transform(a, b, out.begin(), std::minus{});
  return out;
}

}  // namespace

Solution lbfgs(const Problem& problem, State start, const LbfgsOptions& options) {
  const std::vector<double> floor = rounding_floor(problem, start);
  Objective objective(problem, start);
  Objective::Point now = objective.at(std::vector<double>(2 * start.vm.size(), 0.0));
  Memory memory(static_cast<std::size_t>(options.memory));
  Solution out;
  out.status = Status::iteration_limit;
  for (;;) {
    if (options.trace) out.trace.push_back(measure(problem, now.f, now.max_mismatch));
    if (reached(problem, now.f, floor, options.tolerance, options.stop_mismatch)) out.status = Status::converged;
    if (out.status == Status::converged || out.iterations >= options.max_iterations) break;
    ++out.iterations;
    std::vector<double> direction = memory.direction(now.gradient);
    Objective::Point next = LineSearch(objective, now, direction).run();
    if (!(next.value < now.value)) {
      // No descent along this direction: once more along the gradient, then it is a minimum to working precision.
      if (memory.forget()) continue;
      out.status = Status::infeasible;
      break;
    }
    memory.keep(difference(next.y, now.y), difference(next.gradient, now.gradient));
    now = std::move(next);
  }
  out.max_mismatch = now.max_mismatch;
  const auto worst = std::ranges::max_element(now.f, {}, [](double x) { return std::abs(x); });
  out.worst_node = static_cast<int>(worst - now.f.begin()) / 2;
  out.state = std::move(now.state);
  return out;
}

}  // namespace fachwerk::dpf
