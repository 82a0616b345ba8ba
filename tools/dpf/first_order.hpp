#pragma once

#include <string>
#include <vector>

#include "newton.hpp"

/// The paper's method: gradient descent on a scalar loss of the power mismatch over the voltages (spec 2.2, 2.3). Kept
/// for comparison: it does not reach Newton's accuracy in any useful number of steps (spec 2.4).
namespace fachwerk::dpf {

enum class Loss { mse, l1, l1_sum, huber };

struct LossGradient {
  double value = 0;
  std::vector<double> angle;      ///< dL/dangle by node, 0 where fixed
  std::vector<double> magnitude;  ///< dL/d|V| by node, 0 where fixed
};
/// Loss over the N equations and its exact gradient c J^T psi(F).
LossGradient loss_gradient(const Problem& problem, const State& state, Loss loss = Loss::mse);

enum class Optimiser { adam, rmsprop, sgd };

struct FirstOrderOptions {
  Optimiser optimiser = Optimiser::adam;
  Loss loss = Loss::mse;
  double tolerance = 1e-8;   ///< of max |F|, as for every method here
  double stop_mismatch = 0;  ///< also enough: sum|F| at most this times sum|specified|; 0: no
  int max_iterations = 10000;
  double rate = 0.003377, beta1 = 0.979681, beta2 = 0.963442;                ///< Adam
  double alpha = 0.86468552, momentum = 0, weight_decay = 0, dampening = 0;  ///< RMSprop, SGD
  enum class Schedule { constant, step, multistep, plateau } schedule = Schedule::constant;
  double factor = 0.5;               ///< of step, multistep and plateau
  std::vector<int> milestones = {};  ///< multistep: after these steps
  int patience = 40;                 ///< plateau: steps without improvement; step: length
  double threshold = 1e-4;           ///< plateau: improvement that counts
  bool absolute_threshold = false;   ///< of the loss itself, else relative to it
  int cooldown = 0;
  double least_rate = 0;  ///< plateau does not go below
  bool trace = false;     ///< record every step
};

/// What an optimiser remembers: moments by unknown, decay^k of both, steps done.
struct Moments {
  std::vector<double> first, second;
  double decay1 = 1, decay2 = 1;
  int steps = 0;
};

/// PyTorch's update rules (Adam with bias correction and eps 1e-8, RMSprop, SGD), per-scenario schedule, real early
/// stop. `moments`: where the optimiser begins and what it ends with, or null.
Solution first_order(const Problem& problem, State start, const FirstOrderOptions& options, Moments* moments = nullptr);

/// The paper's settings: "case118", "case2869pegase", ... (Adam, constant rate, 10 000 steps), "single" (RMSprop with
/// plateau schedule), "batch" (Adam with plateau schedule), "series" (the first step of its time series), "series-next"
/// (the later steps). Throws usage_error for another name.
FirstOrderOptions paper_preset(const std::string& name);

/// The paper's time series: the first step by "series", every later one by "series-next" from the voltages before it,
/// with the first moment zeroed, second moment and step count kept, and a new schedule.
class PaperSeries {
 public:
  explicit PaperSeries(double tolerance, double stop_mismatch = 0);
  /// The next step in time; `start` counts for the first one alone.
  Solution solve(const Problem& problem, const State& start);

 private:
  FirstOrderOptions first_, next_;
  State state_;
  Moments moments_;
};

}  // namespace fachwerk::dpf
