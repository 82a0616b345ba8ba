#include "descent.hpp"

#include <algorithm>
#include <cmath>
#include <deque>

#include "cli/error.hpp"

namespace fachwerk::dpf {
namespace {

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += a[i] * b[i];
  return sum;
}

double clamped(double value, const Box& box) {
  return std::clamp(value, box.low, box.high);
}

// Work in units of `size`.
struct Scaled {
  const Objective& objective;
  const std::vector<Box>& boxes;
  std::vector<double> size;

  Scaled(const Objective& f, const std::vector<Box>& limits, const DescentOptions& options)
      : objective(f), boxes(limits), size(options.size) {
    if (size.empty()) size.assign(limits.size(), 1.0);
  }
  bool evaluate(const std::vector<double>& y, double& value, std::vector<double>& gradient) const {
    if (!objective(unscaled(y), value, gradient) || !std::isfinite(value)) return false;
    for (std::size_t i = 0; i < y.size(); ++i)
      gradient[i] *= size[i];
    return true;
  }
  /// What is at a bound comes out at the bound, not beside it by rounding.
  std::vector<double> unscaled(std::vector<double> y) const {
    for (std::size_t i = 0; i < y.size(); ++i)
      y[i] = y[i] == boxes[i].low / size[i]    ? boxes[i].low
             : y[i] == boxes[i].high / size[i] ? boxes[i].high
                                               : clamped(y[i] * size[i], boxes[i]);
    return y;
  }
  std::vector<double> scaled(std::vector<double> x) const {
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] /= size[i];
    return x;
  }
  std::vector<Box> scaled_boxes() const {
    std::vector<Box> out;
    for (std::size_t i = 0; i < boxes.size(); ++i)
      out.push_back({boxes[i].low / size[i], boxes[i].high / size[i]});
    return out;
  }
};

std::vector<double> negative(std::vector<double> x) {
  for (double& value : x)
    value = -value;
  return x;
}

// Two-loop recursion over the unknowns that are free.
class Memory {
 public:
  std::vector<double> direction(const std::vector<double>& gradient, const std::vector<char>& frozen) const {
    std::vector<double> d = negative(gradient), alpha(pairs_.size());
    const auto hold = [&] {
      for (std::size_t i = 0; i < d.size(); ++i)
        if (frozen[i]) d[i] = 0;
    };
    hold();
    for (std::size_t k = pairs_.size(); k-- > 0;) {
      alpha[k] = dot(pairs_[k].step, d) / pairs_[k].curvature;
      for (std::size_t i = 0; i < d.size(); ++i)
        d[i] -= alpha[k] * pairs_[k].change[i];
    }
    if (!pairs_.empty()) {
      const Pair& last = pairs_.back();
      const double scale = last.curvature / dot(last.change, last.change);
      for (double& value : d)
        value *= scale;
    }
    for (std::size_t k = 0; k < pairs_.size(); ++k) {
      const double beta = dot(pairs_[k].change, d) / pairs_[k].curvature;
      for (std::size_t i = 0; i < d.size(); ++i)
        d[i] += (alpha[k] - beta) * pairs_[k].step[i];
    }
    hold();
    return d;
  }
  void add(std::vector<double> step, std::vector<double> change) {
    const double curvature = dot(step, change);
    if (!(curvature > 1e-14 * std::sqrt(dot(step, step) * dot(change, change)))) return;
    pairs_.push_back({std::move(step), std::move(change), curvature});
    if (pairs_.size() > 20) pairs_.pop_front();
  }
  void clear() { pairs_.clear(); }
  bool empty() const { return pairs_.empty(); }

 private:
  struct Pair {
    std::vector<double> step, change;
    double curvature;
  };
  std::deque<Pair> pairs_;
};

}  // namespace

Minimum projected_lbfgs(const Objective& objective, std::vector<double> start, const std::vector<Box>& boxes,
                        const DescentOptions& options) {
  const Scaled f(objective, boxes, options);
  const std::vector<Box> box = f.scaled_boxes();
  std::vector<double> y = f.scaled(std::move(start)), gradient;
  Minimum out;
  double value = 0;
  if (!f.evaluate(y, value, gradient)) throw method_failed("a snapshot has no solution at the start parameters");
  Memory memory;
  int quiet = 0;
  while (out.iterations < options.max_iterations) {
    ++out.iterations;
    const std::vector<char> frozen = frozen_at(y, negative(gradient), box);
    std::vector<double> d = memory.direction(gradient, frozen);
    if (dot(d, gradient) >= 0) {
      memory.clear();
      d = memory.direction(gradient, frozen);
    }
    double longest = 0;
    for (const double x : d)
      longest = std::max(longest, std::abs(x));
    if (longest == 0) {
      out.converged = true;
      break;
    }
    // Without history the gradient says little about how far: at most a tenth of a unit.
    double scale = std::min(1.0, (memory.empty() ? 0.1 : 1.0) / longest), next_value = 0;
    std::vector<double> trial(y.size()), next_gradient, step(y.size());
    bool accepted = false;
    for (int halving = 0; halving < 40 && !accepted; ++halving, scale /= 2) {
      double slope = 0;
      for (std::size_t i = 0; i < y.size(); ++i) {
        trial[i] = clamped(y[i] + scale * d[i], box[i]);
        step[i] = trial[i] - y[i];
        slope += gradient[i] * step[i];
      }
      accepted = f.evaluate(trial, next_value, next_gradient) && next_value <= value + 1e-4 * slope;
    }
    if (!accepted) {
      out.converged = memory.empty() || longest < 1e-8;
      if (out.converged) break;
      memory.clear();
      continue;
    }
    const double gain = value - next_value;
    std::vector<double> change(y.size());
    for (std::size_t i = 0; i < y.size(); ++i)
      change[i] = next_gradient[i] - gradient[i];
    memory.add(step, std::move(change));
    y = trial;
    value = next_value;
    gradient.swap(next_gradient);
    // One small gain may be an unlucky direction, twenty are none.
    quiet = gain <= options.tolerance * value || value < 1e-12 * options.scale ? quiet + 1 : 0;
    if (quiet >= 20) {
      out.converged = true;
      break;
    }
  }
  out.at = f.unscaled(std::move(y));
  return out;
}

Minimum projected_adam(const Objective& objective, std::vector<double> start, const std::vector<Box>& boxes,
                       const DescentOptions& options) {
  constexpr double beta1 = 0.9, beta2 = 0.999;
  const Scaled f(objective, boxes, options);
  const std::vector<Box> box = f.scaled_boxes();
  std::vector<double> y = f.scaled(std::move(start)), gradient, m(y.size(), 0.0), v(y.size(), 0.0), best = y;
  double rate = 0.02, lowest = std::numeric_limits<double>::infinity(), decay1 = 1, decay2 = 1;
  Minimum out;
  int idle = 0;
  for (; out.iterations < options.max_iterations; ++out.iterations) {
    double value = 0;
    if (!f.evaluate(y, value, gradient)) {
      if (!std::isfinite(lowest)) throw method_failed("a snapshot has no solution at the start parameters");
      value = std::numeric_limits<double>::infinity();
    }
    const bool better = value < lowest * (1 - options.tolerance);
    if (value < lowest) {
      lowest = value;
      best = y;
    }
    idle = better ? 0 : idle + 1;
    if (idle >= 50 || !std::isfinite(value)) {
      idle = 0;
      rate /= 2;
      if (!std::isfinite(value)) {  // back to where there was one
        y = best;
        continue;
      }
    }
    if (rate < 1e-7 || lowest < 1e-12 * options.scale) {
      out.converged = true;
      break;
    }
    decay1 *= beta1;
    decay2 *= beta2;
    for (std::size_t i = 0; i < y.size(); ++i) {
      m[i] = beta1 * m[i] + (1 - beta1) * gradient[i];
      v[i] = beta2 * v[i] + (1 - beta2) * gradient[i] * gradient[i];
      const double slope = m[i] / (1 - decay1), size = std::sqrt(v[i] / (1 - decay2));
      if (size > 0) y[i] = clamped(y[i] - rate * slope / (size + 1e-30), box[i]);
    }
  }
  out.at = f.unscaled(std::move(best));
  return out;
}

}  // namespace fachwerk::dpf
