#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/session.hpp"
#include "lowrank.hpp"
#include "prepare.hpp"

/// From the options of hyde-denoise to a method and its results.
namespace fachwerk::hyde {

/// The options as given; empty where the method decides.
struct Settings {
  std::string method, input, output, dataset, noise_estimate, noise_file,
      noise_type = "gaussian", core = "bm3d", mask, robust = "admm", solver = "admm", domain = "wavelet",
      search = "continuous", thresholds, sure, wavelet, rank = "auto", subspace = "10", normalize = "global", bands,
      exclude = "auto", memory, protect, report, plot, plot_noise, gain = "auto";
  std::optional<double> lambda;
  std::optional<int> iterations, levels;
  double largest_threshold = 1.645605, tolerance = 0, outliers = 0.05, time_limit = 0;
  int tile = 0, window = 3, reach = 0;
  bool keep_residual = false, components = false, keep_dtype = false, clean_input = false, no_whiten = false,
       noise_only = false;
};

/// "auto" is nullopt. Throws usage_error for what is no number of at least 1.
std::optional<std::size_t> number_or_auto(const std::string& text, const char* option);

/// By the estimator that the settings name. Throws bad_input for a band without noise.
Noise estimate_noise(const Settings& s, const Prepared& p, std::size_t all_bands);

bool needs_gram(const std::string& method);
/// True of methods that several processes can run on one cube.
bool shares_rows(const std::string& method);
/// True of methods whose result does not depend on how much noise is estimated: they also run where there is none.
bool needs_no_noise(const std::string& method);

/// What a method leaves besides the cube.
struct Outcome {
  std::string method;
  Noise noise = {};
  std::optional<LowRank> model = {};
  std::size_t rank = 0;
  std::vector<double> thresholds = {}, lambda = {}, risk = {};
  int iterations = 0;
  std::string failure = {};       ///< what did not converge
  std::string warning = {};       ///< what to know of the result
  bool biased_by_design = false;  ///< fixed rank or λ: worth a warning when the bias exceeds the noise
  std::vector<std::pair<std::string, double>> notes = {};
};

/// Runs the method on the prepared cube; spectra of p.bands go to `sink`.
Outcome run_method(const Settings& s, const Prepared& p, const Sink& sink, const cli::Session& session);

}  // namespace fachwerk::hyde
