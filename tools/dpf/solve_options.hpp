#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/session.hpp"
#include "layout.hpp"
#include "network.hpp"
#include "study.hpp"

/// The options of dpf-solve, and what they mean for the methods.
namespace fachwerk::dpf {

/// What the options of dpf-solve say; the words are those of its help.
struct SolveOptions {
  std::string input, output;
  std::string method = "auto", init = "auto", q_limits = "off", reference_rule = "largest", zero_impedance = "error";
  double tolerance = 1e-8, time_limit = 0;
  int max_iterations = 0;
  bool allow_failures = false, scale_generation = false, chain = false;
  std::string scenarios, area = "auto";
  std::vector<std::string> outputs = {"v", "flows", "gen", "loss"};
  int chunk = 64;
  std::optional<int> memory;
  std::string slack = "single", plot, plot_convergence, preset, precision = "mixed", compress = "auto";
  double rate = 0.003377, beta1 = 0.979681, beta2 = 0.963442, alpha = 0.86468552, momentum = 0, weight_decay = 0,
         dampening = 0;
  std::string loss = "mse", schedule = "constant";
  double factor = 0.5, threshold = 1e-4;
  int patience = 40, cooldown = 0;
  std::vector<int> milestones;
  bool trace = false;
  std::string areas, area_method = "auto", profile, adjoint_of = "loss", threshold_mode = "rel";
  double stop_mismatch = 0, least_rate = 0;
};

/// Is `output` among --outputs?
bool asks_for(const SolveOptions& options, std::string_view output);
/// Are the steps of the iteration wanted, in the file or as a picture?
bool traced(const SolveOptions& options);
/// The paper's time series, each step from the one before.
bool is_series(const SolveOptions& options);
/// Throws usage_error for an unknown word of --outputs.
Outputs outputs_of(const SolveOptions& options);
Start start_of(const std::string& word);
NetworkOptions network_options(const SolveOptions& options);
/// `chosen`: what --method auto means. Throws usage_error for unknown words.
MethodOptions method_options(const SolveOptions& options, const char* chosen);
/// The network with its slack, warnings told. Throws bad input where --slack file finds no participation factors.
Network network_of(const SolveOptions& options, cli::Session& session, const Grid& grid);

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start);

}  // namespace fachwerk::dpf
