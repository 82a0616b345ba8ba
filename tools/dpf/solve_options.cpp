#include "solve_options.hpp"

#include <algorithm>
#include <array>

#include <fmt/ranges.h>

#include "cli/error.hpp"

namespace fachwerk::dpf {
namespace {

constexpr std::array<std::string_view, 8> output_words = {"v",        "flows",    "gen",     "loss",
                                                          "mismatch", "jacobian", "adjoint", "history"};

FirstOrderOptions first_order_options(const SolveOptions& options) {
  if (!options.preset.empty()) return paper_preset(options.preset);
  FirstOrderOptions out;
  out.optimiser = options.method == "rmsprop" ? Optimiser::rmsprop
                  : options.method == "sgd"   ? Optimiser::sgd
                                              : Optimiser::adam;
  out.rate = options.rate;
  out.beta1 = options.beta1;
  out.beta2 = options.beta2;
  out.alpha = options.alpha;
  out.momentum = options.momentum;
  out.weight_decay = options.weight_decay;
  out.dampening = options.dampening;
  using Schedule = FirstOrderOptions::Schedule;
  out.schedule = options.schedule == "step"        ? Schedule::step
                 : options.schedule == "multistep" ? Schedule::multistep
                 : options.schedule == "plateau"   ? Schedule::plateau
                                                   : Schedule::constant;
  out.factor = options.factor;
  out.patience = options.patience;
  out.threshold = options.threshold;
  out.absolute_threshold = options.threshold_mode == "abs";
  out.least_rate = options.least_rate;
  out.cooldown = options.cooldown;
  out.milestones = options.milestones;
  out.loss = options.loss == "l1"      ? Loss::l1
             : options.loss == "l1sum" ? Loss::l1_sum
             : options.loss == "huber" ? Loss::huber
                                       : Loss::mse;
  return out;
}

QLimits q_limits(const std::string& word) {
  if (word == "all") return QLimits::all;
  if (word == "one") return QLimits::one;
  if (word == "smooth") return QLimits::smooth;
  return QLimits::off;
}

}  // namespace

bool asks_for(const SolveOptions& options, std::string_view output) {
  return std::ranges::find(options.outputs, output) != options.outputs.end();
}

bool traced(const SolveOptions& options) {
  return options.trace || !options.plot_convergence.empty() || asks_for(options, "history");
}

bool is_series(const SolveOptions& options) {
  return options.preset == "series" || options.preset == "paper:series";
}

Outputs outputs_of(const SolveOptions& options) {
  for (const auto& word : options.outputs)
    if (std::ranges::find(output_words, word) == output_words.end())
      throw usage_error("--outputs: {} is not one of {}", word, fmt::join(output_words, ", "));
  return {.voltages = asks_for(options, "v"),
          .flows = asks_for(options, "flows"),
          .generators = asks_for(options, "gen"),
          .mismatches = asks_for(options, "mismatch")};
}

Start start_of(const std::string& word) {
  if (word == "file" || word.starts_with("h5:")) return Start::file;
  if (word == "flat") return Start::flat;
  if (word == "dc") return Start::dc;
  return Start::automatic;
}

NetworkOptions network_options(const SolveOptions& options) {
  return {.first_reference = options.reference_rule == "first",
          .merge_zero_impedance = options.zero_impedance == "merge"};
}

MethodOptions method_options(const SolveOptions& options, const char* chosen) {
  const FirstOrderOptions first_order = first_order_options(options);
  const char* automatic = options.preset.empty()                        ? chosen
                          : first_order.optimiser == Optimiser::rmsprop ? "rmsprop"
                                                                        : "adam";
  return {.method = method_of(options.method == "auto" ? automatic : options.method),
          .tolerance = options.tolerance,
          .stop_mismatch = options.stop_mismatch,
          .max_iterations = options.max_iterations,
          .memory = options.memory.value_or(4),
          .q_limits = q_limits(options.q_limits),
          .start = start_of(options.init),
          .first_order = first_order,
          .trace = traced(options),
          .branches = outputs_of(options).flows,
          .mismatches = outputs_of(options).mismatches};
}

Network network_of(const SolveOptions& options, cli::Session& session, const Grid& grid) {
  Network network = about(options.input == "-" ? "stdin" : options.input,
                          [&] { return build_network(grid, network_options(options)); });
  if (options.slack == "file" && std::ranges::none_of(grid.gen.apf, [](double weight) { return weight != 0; }))
    throw bad_input("gen.apf: --slack file needs participation factors, and all are 0");
  if (options.slack != "single") distribute_slack(network, grid);
  for (const auto& warning : network.warnings)
    session.warn(warning);
  return network;
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace fachwerk::dpf
