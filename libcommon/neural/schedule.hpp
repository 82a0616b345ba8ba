#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// The learning rate of each optimiser step.
namespace fachwerk::neural {

struct ScheduleOptions {
  std::string name = "constant";  ///< constant, step, cosine, exp, plateau, linear
  double min_lr = 0;
  double warmup_lr = 0;  ///< rises from here to the rate, linearly
  std::int64_t warmup_steps = 0;
  double warmup_epochs = 0, cooldown_epochs = 0;       ///< at min_lr, at the end
  std::vector<double> milestones = {0.5, 0.75};        ///< step: fractions of the run
  double gamma = 0.1;                                  ///< step: factor at each milestone
  double exp_rate = 1e-4;                              ///< exp: lr exp(-rate t)
  double cycle_mul = 1, cycle_decay = 1, k_decay = 1;  ///< cosine, as in timm
  std::int64_t cycle_limit = 1;
  double plateau_factor = 0.5, plateau_threshold = 0.05, plateau_min_lr = 1e-4;
  std::int64_t plateau_patience = 5;
};

class Schedule {
 public:
  Schedule() = default;
  /// Throws a usage error for impossible settings.
  Schedule(const ScheduleOptions& options, double lr, std::int64_t total_steps, std::int64_t steps_per_epoch);
  double at(std::int64_t step) const;
  /// plateau: the loss at the end of an epoch.
  void observe(double loss);

  /// State of `plateau`, for checkpoints.
  struct State {
    double factor = 1, best = 0;
    std::int64_t bad = 0;
    bool started = false;
  };
  State state = {};

 private:
  ScheduleOptions options_;
  double lr_ = 0;
  std::int64_t total_ = 0, warmup_ = 0, cooldown_ = 0;
};

}  // namespace fachwerk::neural
