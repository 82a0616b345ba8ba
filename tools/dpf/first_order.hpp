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
  double tolerance = 1e-8;  ///< of max |F|, as for every method here
  int max_iterations = 10000;
  double rate = 0.003377, beta1 = 0.979681, beta2 = 0.963442;                ///< Adam
  double alpha = 0.86468552, momentum = 0, weight_decay = 0, dampening = 0;  ///< RMSprop, SGD
  enum class Schedule { constant, step, multistep, plateau } schedule = Schedule::constant;
  double factor = 0.5;               ///< of step, multistep and plateau
  std::vector<int> milestones = {};  ///< multistep: after these steps
  int patience = 40;                 ///< plateau: steps without improvement; step: length
  double threshold = 1e-4;           ///< plateau: relative improvement that counts
  int cooldown = 0;
  bool trace = false;  ///< record every step
};

/// PyTorch's update rules (Adam with bias correction and eps 1e-8, RMSprop, SGD), per-scenario schedule, real early
/// stop.
Solution first_order(const Problem& problem, State start, const FirstOrderOptions& options);

/// The paper's tuned settings: "case118", "case2869pegase", ... (Adam, constant rate, 10 000 steps) or "single"
/// (RMSprop with plateau schedule). Throws usage_error for another name.
FirstOrderOptions paper_preset(const std::string& name);

}  // namespace fachwerk::dpf
