#include "first_order.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "cli/error.hpp"

namespace fachwerk::dpf {
namespace {

int equations(const Problem& problem) {
  int count = 0;
  for (const NodeType type : problem.type)
    count += type == NodeType::pq ? 2 : type == NodeType::pv ? 1 : 0;
  return count;
}

// Derivative of the loss term of one mismatch, without the common factor; adds the term to `sum`.
double weigh(Loss loss, double f, double& sum) {
  switch (loss) {
    case Loss::mse:
      sum += f * f;
      return 2 * f;
    case Loss::huber:
      sum += std::abs(f) < 1 ? f * f / 2 : std::abs(f) - 0.5;
      return std::clamp(f, -1.0, 1.0);
    default:
      sum += std::abs(f);
      return f > 0 ? 1 : f < 0 ? -1 : 0;
  }
}

// Learning-rate schedules with the semantics of torch.optim.lr_scheduler.
class Schedule {
 public:
  explicit Schedule(const FirstOrderOptions& options) : options_(options), rate_(options.rate) {}
  double rate() const { return rate_; }
  void advance(double loss) {
    ++steps_;
    using Kind = FirstOrderOptions::Schedule;
    if (options_.schedule == Kind::step && steps_ % std::max(1, options_.patience) == 0) rate_ *= options_.factor;
    if (options_.schedule == Kind::multistep &&
        std::ranges::find(options_.milestones, steps_) != options_.milestones.end())
      rate_ *= options_.factor;
    if (options_.schedule != Kind::plateau) return;
    if (loss < (options_.absolute_threshold ? best_ - options_.threshold : best_ * (1 - options_.threshold))) {
      best_ = loss;
      bad_ = 0;
    } else {
      ++bad_;
    }
    if (cooling_ > 0) {
      --cooling_;
      bad_ = 0;
    }
    if (bad_ > options_.patience) {
      const double lower = std::max(rate_ * options_.factor, options_.least_rate);
      if (rate_ - lower > 1e-8) rate_ = lower;  // torch's eps
      cooling_ = options_.cooldown;
      bad_ = 0;
    }
  }

 private:
  const FirstOrderOptions& options_;
  double rate_, best_ = std::numeric_limits<double>::infinity();
  int steps_ = 0, bad_ = 0, cooling_ = 0;
};

}  // namespace

LossGradient loss_gradient(const Problem& problem, const State& state, Loss loss) {
  const Pattern& pattern = problem.network->pattern;
  const std::size_t n = state.vm.size();
  std::vector<double> f(2 * n);
  std::vector<Block> a(pattern.column.size());
  mismatch(problem, state, f);
  jacobian(problem, state, a);
  LossGradient out{0, std::vector<double>(n, 0.0), std::vector<double>(n, 0.0)};
  for (double& x : f)
    x = weigh(loss, x, out.value);
  const double scale = loss == Loss::l1_sum ? 1 : 1.0 / equations(problem);
  out.value *= scale;
  for (int i = 0; i < pattern.rows(); ++i)
    for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k) {
      const int j = pattern.column[k];
      out.angle[j] += scale * (a[k][0] * f[2 * i] + a[k][2] * f[2 * i + 1]);
      out.magnitude[j] += scale * (a[k][1] * f[2 * i] + a[k][3] * f[2 * i + 1]);
    }
  for (std::size_t i = 0; i < n; ++i) {
    // Fixed unknowns have unit rows in the Jacobian, but no equation.
    out.angle[i] = problem.type[i] == NodeType::reference ? 0 : out.angle[i];
    out.magnitude[i] = problem.type[i] == NodeType::pq ? out.magnitude[i] / state.vm[i] : 0;
  }
  return out;
}

Solution first_order(const Problem& problem, State start, const FirstOrderOptions& options, Moments* moments) {
  const std::size_t n = start.vm.size();
  Solution out;
  out.state = std::move(start);
  std::vector<double> f(2 * n);
  Moments own;
  Moments& memory = moments != nullptr ? *moments : own;
  memory.first.resize(2 * n, 0.0);
  memory.second.resize(2 * n, 0.0);
  const std::vector<double> floor = rounding_floor(problem, out.state);
  Schedule schedule(options);
  const double initial = mismatch(problem, out.state, f);
  for (;;) {
    out.max_mismatch = mismatch(problem, out.state, f);
    if (options.trace) out.trace.push_back(measure(problem, f, out.max_mismatch));
    if (reached(problem, f, floor, options.tolerance, options.stop_mismatch)) {
      out.status = Status::converged;
      break;
    }
    if (!std::isfinite(out.max_mismatch) || out.max_mismatch > 1e6 * std::max(initial, 1.0)) {
      out.status = Status::diverged;
      break;
    }
    if (out.iterations >= options.max_iterations) {
      out.status = Status::iteration_limit;
      break;
    }
    ++out.iterations;
    const LossGradient gradient = loss_gradient(problem, out.state, options.loss);
    ++memory.steps;
    memory.decay1 *= options.beta1;
    memory.decay2 *= options.beta2;
    const auto update = [&](double& x, double g, double& m, double& v) {
      g += options.weight_decay * x;
      switch (options.optimiser) {
        case Optimiser::adam:
          m = options.beta1 * m + (1 - options.beta1) * g;
          v = options.beta2 * v + (1 - options.beta2) * g * g;
          x -= schedule.rate() * (m / (1 - memory.decay1)) / (std::sqrt(v / (1 - memory.decay2)) + 1e-8);
          break;
        case Optimiser::rmsprop:
          v = options.alpha * v + (1 - options.alpha) * g * g;
          m = options.momentum * m + g / (std::sqrt(v) + 1e-8);
          x -= schedule.rate() * m;
          break;
        case Optimiser::sgd:
          m = memory.steps == 1 ? g : options.momentum * m + (1 - options.dampening) * g;
          x -= schedule.rate() * (options.momentum != 0 ? m : g);
          break;
      }
    };
    for (std::size_t i = 0; i < n; ++i) {
      if (problem.type[i] != NodeType::reference)
        update(out.state.va[i], gradient.angle[i], memory.first[2 * i], memory.second[2 * i]);
      if (problem.type[i] == NodeType::pq)
        update(out.state.vm[i], gradient.magnitude[i], memory.first[2 * i + 1], memory.second[2 * i + 1]);
    }
    schedule.advance(gradient.value);
  }
  out.worst_node =
      static_cast<int>(std::ranges::max_element(f, {}, [](double x) { return std::abs(x); }) - f.begin()) / 2;
  return out;
}

FirstOrderOptions paper_preset(const std::string& word) {
  const std::string name = word.starts_with("paper:") ? word.substr(6) : word;
  struct Row {
    double rate, beta1, beta2;
  };
  static const std::map<std::string, Row> rows = {
      {"case118", {.0038228432728267107, .9978031774325471, .9972913604183515}},
      {"case_ACTIVSg200", {1.10847e-3, .98139, .98712}},
      {"case200", {1.10847e-3, .98139, .98712}},
      {"case300", {1.70532e-3, .985923, .988491}},
      {"case1354pegase", {2.58276e-4, .991285, .971003}},
      {"case1888rte", {2.17832e-3, .973041, .997611}},
      {"case2869pegase", {1.29996e-3, .997711, .996495}},
      {"case3120sp", {2.19670e-4, .961877, .950059}},
      {"case6495rte", {1.93086e-4, .979989, .931100}},
      {"case6515rte", {2.59689e-3, .992347, .986806}},
      {"case9241pegase", {5.90263e-3, .994765, .991291}}};
  FirstOrderOptions out;
  using Kind = FirstOrderOptions::Schedule;
  if (name == "batch") {  // Adam's own numbers are the defaults
    out.schedule = Kind::plateau;
    out.factor = .547191;
    out.patience = 41;
    out.threshold = .067321;
    out.cooldown = 97;
    return out;
  }
  if (name == "series") {
    out.rate = .0356;
    out.beta1 = .9802;
    out.beta2 = .9440;
    out.schedule = Kind::step;
    out.patience = 100;
    out.factor = .773;
    out.max_iterations = 1000;
    return out;
  }
  if (name == "series-next") {
    out.rate = 2.7075e-4;
    out.beta1 = .78477;
    out.beta2 = .66243;
    out.schedule = Kind::plateau;
    out.factor = .8;
    out.patience = 2;
    out.threshold = .0388;
    out.cooldown = 2;
    out.max_iterations = 300;
    return out;
  }
  if (name == "single") {
    out.optimiser = Optimiser::rmsprop;
    out.rate = 1.2283e-4;
    out.weight_decay = .15580241;
    out.momentum = .9985862;
    out.schedule = Kind::plateau;
    out.factor = .4737;
    out.threshold = .091412;
    out.cooldown = 80;
    out.max_iterations = 1000;
    return out;
  }
  const auto found = rows.find(name);
  if (found == rows.end())
    throw usage_error(
        "there is no preset {}: single, batch, series, or a case the paper tuned (case118, case2869pegase, ...)", word);
  out.rate = found->second.rate;
  out.beta1 = found->second.beta1;
  out.beta2 = found->second.beta2;
  return out;
}

PaperSeries::PaperSeries(double tolerance, double stop_mismatch)
    : first_(paper_preset("series")), next_(paper_preset("series-next")) {
  for (FirstOrderOptions* options : {&first_, &next_}) {
    options->tolerance = tolerance;
    options->stop_mismatch = stop_mismatch;
  }
}

Solution PaperSeries::solve(const Problem& problem, const State& start) {
  const bool begins = state_.vm.empty();
  State from = begins ? start : state_;
  for (std::size_t i = 0; i < from.vm.size(); ++i)
    if (problem.type[i] != NodeType::pq) from.vm[i] = problem.set_point[i];
  std::ranges::fill(moments_.first, 0.0);
  Solution out = first_order(problem, std::move(from), begins ? first_ : next_, &moments_);
  state_ = out.state;
  return out;
}

}  // namespace fachwerk::dpf
