#include "neural/schedule.hpp"

#include <algorithm>
#include <cmath>

#include "cli/error.hpp"

namespace fachwerk::neural {

Schedule::Schedule(const ScheduleOptions& options, double lr, std::int64_t total_steps, std::int64_t steps_per_epoch)
    : options_(options), lr_(lr), total_(total_steps) {
  const auto steps = [&](double epochs) { return std::llround(epochs * static_cast<double>(steps_per_epoch)); };
  warmup_ = options.warmup_steps > 0 ? options.warmup_steps : steps(options.warmup_epochs);
  cooldown_ = steps(options.cooldown_epochs);
  if (warmup_ < 0 || cooldown_ < 0 || warmup_ + cooldown_ > total_)
    throw usage_error("warm-up ({}) and cool-down ({}) take more than the {} steps of the run", warmup_, cooldown_,
                      total_);
  if (options.cycle_limit < 1 || options.cycle_mul <= 0 || options.k_decay <= 0)
    throw usage_error("impossible cosine cycles");
}

double Schedule::at(std::int64_t step) const {
  const ScheduleOptions& o = options_;
  if (step < warmup_)
    return o.warmup_lr + (lr_ - o.warmup_lr) * static_cast<double>(step) / static_cast<double>(warmup_);
  if (cooldown_ > 0 && step >= total_ - cooldown_) return o.min_lr;
  const auto t = static_cast<double>(step - warmup_);
  const auto length = static_cast<double>(std::max<std::int64_t>(1, total_ - warmup_ - cooldown_));
  if (o.name == "linear") return lr_ + (o.min_lr - lr_) * std::min(1.0, t / length);
  if (o.name == "exp") return std::max(o.min_lr, lr_ * std::exp(-o.exp_rate * t));
  if (o.name == "plateau") return std::max(std::min(lr_, o.plateau_min_lr), lr_ * state.factor);
  if (o.name == "step") {
    double lr = lr_;
    for (const double m : o.milestones)
      if (static_cast<double>(step) >= m * static_cast<double>(total_)) lr *= o.gamma;
    return lr;
  }
  if (o.name == "cosine") {
    // Cycles of lengths T, T mul, T mul^2, ... that fill the run; timm's meaning of decay and k.
    double weights = 0;
    for (std::int64_t i = 0; i < o.cycle_limit; ++i)
      weights += std::pow(o.cycle_mul, i);
    double begin = 0, cycle = length / weights;
    for (std::int64_t i = 0; i < o.cycle_limit; ++i, begin += cycle, cycle *= o.cycle_mul)
      if (t < begin + cycle) {
        const double top = lr_ * std::pow(o.cycle_decay, i), k = o.k_decay;
        const double fraction = std::pow(t - begin, k) / std::pow(cycle, k);
        return o.min_lr + 0.5 * (top - o.min_lr) * (1 + std::cos(3.14159265358979323846 * fraction));
      }
    return o.min_lr;
  }
  return lr_;
}

void Schedule::observe(double loss) {
  if (options_.name != "plateau") return;
  if (!state.started || loss < state.best * (1 - options_.plateau_threshold)) {
    state.started = true;
    state.best = loss;
    state.bad = 0;
  } else if (++state.bad > options_.plateau_patience) {
    state.factor *= options_.plateau_factor;
    state.bad = 0;
  }
}

}  // namespace fachwerk::neural
