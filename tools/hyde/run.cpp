#include "run.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "baselines.hpp"
#include "cli/error.hpp"
#include "fasthyde.hpp"
#include "forpdn.hpp"
#include "gram.hpp"
#include "hyminor.hpp"
#include "hyres.hpp"
#include "l1hymixde.hpp"
#include "otvca.hpp"
#include "select.hpp"
#include "wsrrr.hpp"

namespace fachwerk::hyde {

std::optional<std::size_t> number_or_auto(const std::string& text, const char* option) {
  if (text == "auto") return std::nullopt;
  int value = 0;
  try {
    std::size_t end = 0;
    value = std::stoi(text, &end);
    if (end != text.size()) value = 0;
  } catch (const std::exception&) {
    value = 0;
  }
  if (value < 1) throw usage_error("{} {}: expected auto or a number of at least 1", option, text);
  return static_cast<std::size_t>(value);
}

Noise estimate_noise(const Settings& s, const Prepared& p, std::size_t all_bands) {
  Noise noise;
  if (!s.noise_file.empty()) {
    const std::vector<double> all = read_band_values(s.noise_file, all_bands);
    for (std::size_t b : p.bands)
      noise.sigma.push_back(all[b]);
  } else if (s.noise_estimate.empty() || s.noise_estimate == "regression") {
    noise = regression_noise(p.gram, p.source.valid_pixels());
  } else if (s.noise_estimate == "mad") {
    noise = mad_noise(p.source);
  } else if (s.noise_estimate == "shift") {
    noise = shift_noise(p.source);
  } else if (s.noise_estimate == "poisson") {
    noise = poisson_noise(p.source);
  } else {
    throw usage_error("--noise-est given needs --noise FILE");
  }
  for (std::size_t k = 0; k < noise.sigma.size(); ++k)
    if (!(noise.sigma[k] > 0))
      throw bad_input("{}: band {}: estimated noise is zero", p.input.name, p.bands[k])
          .with_hint("leave the band out with --exclude-bands");
  return noise;
}

bool needs_gram(const std::string& method) {
  return method != "median" && method != "destripe";
}

bool shares_rows(const std::string& method) {
  return method == "hyres" || method == "hyminor" || method == "forpdn" || method == "wsrrr" || method == "pca" ||
         method == "mnf";
}

bool needs_no_noise(const std::string& method) {
  return !needs_gram(method) || method == "fasthyin";
}

namespace {

FasthydeOptions fasthyde_options(const Settings& s, const Prepared& p) {
  FasthydeOptions o;
  o.core = core_by_name(s.core);
  o.noise_type = s.noise_type == "iid" ? NoiseType::iid : NoiseType::gaussian;
  o.subspace = number_or_auto(s.subspace, "--subspace").value_or(0);
  if (const auto rank = number_or_auto(s.rank, "--rank")) {
    o.subspace = *rank;
    o.exact_subspace = true;
  }
  if (!s.protect.empty()) {
    const Matrix all = read_spectra(s.protect, p.input.info.extent.bands);
    o.protect = Matrix(p.bands.size(), all.rows);
    for (std::size_t k = 0; k < p.bands.size(); ++k)
      for (std::size_t j = 0; j < all.rows; ++j)
        o.protect(k, j) = all(j, p.bands[k]);
  }
  return o;
}

double global_scale(const Settings& s, const Prepared& p) {
  if (s.normalize == "none") return 1;
  const double range = p.high - std::min(p.low, 0.0);
  return range > 0 ? 1 / range : 1;
}

// The second step of HyMiNoR, block by block on its way to the file.
Sink hyminor_sink(const Settings& s, const Prepared& p, const Sink& next) {
  const auto scale = static_cast<float>(global_scale(s, p));
  return [&s, &next, scale, bands = p.bands.size()](std::size_t row, std::size_t rows, std::span<const float> spectra) {
    std::vector<float> x(spectra.size());
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = spectra[i] * scale;
    if (s.solver == "exact") {
      hyminor_exact(x, bands, s.lambda.value_or(0.5));
    } else {
      HyminorOptions o;
      o.lambda = s.lambda.value_or(10);
      o.iterations = s.iterations.value_or(50);
      hyminor_admm<float>(x, bands, o);
    }
    for (float& v : x)
      v /= scale;
    next(row, rows, x);
  };
}

void run_hyres(const Settings& s, const Prepared& p, const Sink& sink, Outcome& out) {
  HyresOptions o;
  if (!s.wavelet.empty()) o.wavelet = wavelet_by_name(s.wavelet);
  o.levels = s.levels.value_or(5);
  o.rank = number_or_auto(s.rank, "--rank");
  o.scope = s.thresholds == "subband" ? ThresholdScope::subband : ThresholdScope::component;
  o.exact_thresholds = s.sure == "exact";
  o.largest_threshold = s.largest_threshold;
  HyresResult r = hyres(p.source, p.gram, out.noise, o);
  out.rank = r.model.rank();
  out.thresholds = r.thresholds;
  out.risk = r.risk;
  reconstruct(r.model, sink);
  out.model = std::move(r.model);
}

void run_fasthyde(const Settings& s, const Prepared& p, const Sink& sink, Outcome& out) {
  out.model = fasthyde(p.source, p.gram, out.noise, fasthyde_options(s, p));
  out.rank = out.model->rank();
  reconstruct(*out.model, sink);
}

// FastHyDe on Poisson data: stabilise, denoise, invert without bias.
void run_poisson(const Settings& s, const Prepared& p, const Sink& sink, Outcome& out) {
  const double gain =
      s.gain == "auto" ? examine(p.source, regression_noise(p.gram, p.source.valid_pixels())).gain : std::stod(s.gain);
  if (!(gain > 0))
    throw bad_input("{}: the variance does not grow with the signal: this is not Poisson noise", p.input.name)
        .with_hint("--gain, or --noise-type gaussian");
  const Source stabilised = anscombe_source(p.source, gain);
  const Matrix g = gram(stabilised);
  const Noise noise = regression_noise(g, stabilised.valid_pixels());
  out.model = fasthyde(stabilised, g, noise, fasthyde_options(s, p));
  out.rank = out.model->rank();
  out.notes.emplace_back("gain", gain);
  reconstruct(*out.model, [&](std::size_t row, std::size_t rows, std::span<const float> spectra) {
    std::vector<float> counts(spectra.begin(), spectra.end());
    anscombe_inverse(counts, gain);
    sink(row, rows, counts);
  });
}

void run_fasthyin(const Settings& s, const Prepared& p, std::span<const std::uint8_t> observed, const Sink& sink,
                  Outcome& out) {
  const Source complete = complete_only(p.source, observed);
  const std::size_t count = complete.valid_pixels();
  const Matrix g = gram(complete);
  out.noise = regression_noise(g, count);
  FasthyinResult r = fasthyin(p.source, observed, g, count, out.noise, fasthyde_options(s, p));
  out.rank = r.model.rank();
  out.notes.emplace_back("incomplete pixels", static_cast<double>(r.incomplete));
  out.notes.emplace_back("filled from neighbours", static_cast<double>(r.filled));
  out.notes.emplace_back("mask patterns", static_cast<double>(r.patterns));
  reconstruct(r.model, sink);
  out.model = std::move(r.model);
}

void run_wsrrr(const Settings& s, const Prepared& p, std::size_t automatic_rank, const Sink& sink, Outcome& out) {
  WsrrrOptions o;
  if (!s.wavelet.empty()) o.wavelet = wavelet_by_name(s.wavelet);
  o.levels = s.levels.value_or(3);
  o.rank = number_or_auto(s.rank, "--rank").value_or(automatic_rank);
  o.exact_thresholds = s.sure != "bounded" && s.sure != "grid";
  o.iterations = s.iterations.value_or(200);
  if (s.tolerance > 0) o.tolerance = s.tolerance;
  WsrrrResult r = wsrrr(p.source, p.gram, out.noise, o);
  out.rank = r.model.rank();
  out.iterations = r.iterations;
  out.notes.emplace_back("last change of V", r.change);
  if (!r.converged)
    out.warning = fmt::format("{} iterations changed the basis by {:.1e} at last, more than the tolerance {:.1e}",
                              r.iterations, r.change, o.tolerance);
  reconstruct(r.model, sink);
  out.model = std::move(r.model);
}

void run_otvca(const Settings& s, const Prepared& p, std::size_t automatic_rank, const Sink& sink, Outcome& out) {
  OtvcaOptions o;
  o.rank = number_or_auto(s.rank, "--rank").value_or(automatic_rank);
  o.iterations = s.iterations.value_or(10);
  if (s.tolerance > 0) o.tv.tolerance = s.tolerance;
  Noise scale = out.noise;
  if (s.no_whiten) {
    std::fill(scale.sigma.begin(), scale.sigma.end(), 1.0 / global_scale(s, p));
    o.lambda = s.lambda.value_or(0.01);
  } else {
    o.lambda = s.lambda.value_or(o.lambda);
  }
  OtvcaResult r = otvca(p.source, p.gram, scale, o);
  out.rank = r.model.rank();
  out.lambda = {o.lambda};
  if (!r.converged) out.failure = "a total variation step did not reach its duality gap";
  reconstruct(r.model, sink);
  out.model = std::move(r.model);
}

void run_l1hymixde(const Settings& s, const Prepared& p, const Sink& sink, Outcome& out) {
  if (s.robust == "mask") {
    Prepared masked = p;
    run_fasthyin(s, masked, outlier_mask(p.source, s.outliers), sink, out);
    return;
  }
  L1HyMixDeOptions o;
  o.subspace = number_or_auto(s.rank, "--rank").value_or(number_or_auto(s.subspace, "--subspace").value_or(10));
  o.outliers = s.outliers;
  o.iterations = s.iterations.value_or(10);
  if (s.tolerance > 0) o.tolerance = s.tolerance;
  o.core = core_by_name(s.core);
  o.scratch = p.scratch;
  L1HyMixDeResult r = l1hymixde(p.source, o);
  out.noise.sigma = r.sigma;
  out.rank = r.model.rank();
  out.iterations = r.iterations;
  reconstruct(r.model, sink);
  out.model = std::move(r.model);
}

void run_forpdn(const Settings& s, const Prepared& p, const Sink& sink, Outcome& out) {
  ForpdnOptions o;
  if (!s.wavelet.empty()) o.wavelet = wavelet_by_name(s.wavelet);
  o.levels = s.levels.value_or(5);
  o.wavelet_domain = s.domain == "wavelet";
  o.per_subband = s.thresholds != "component";
  o.lambda = s.lambda;
  o.published_grid = s.search == "grid";
  if (o.published_grid) {
    o.levels = s.levels.value_or(3);
    o.per_subband = s.thresholds == "subband";
  }
  o.scratch = p.scratch;
  out.lambda = forpdn(p.source, out.noise, o, sink).lambda;
}

void run_subspace(const Settings& s, const Prepared& p, std::size_t automatic_rank, const Sink& sink, Outcome& out) {
  const std::size_t rank = number_or_auto(s.rank, "--rank").value_or(automatic_rank);
  out.model = out.method == "pca" ? principal_components(p.source, p.gram, rank)
                                  : minimum_noise_fraction(p.source, p.gram, out.noise, rank);
  out.rank = rank;
  reconstruct(*out.model, sink);
}

void run_hyminor(const Settings& s, const Prepared& p, const Sink& sink, Outcome& out) {
  const Sink second = hyminor_sink(s, p, sink);
  if (!s.clean_input) return run_hyres(s, p, second, out);
  p.source.each_block(
      [&](std::size_t row, std::size_t rows, std::span<const float> spectra) { second(row, rows, spectra); });
}

// What `auto` takes, and why.
void choose(const Settings& s, const Prepared& p, std::size_t automatic_rank, int threads, Outcome& out) {
  const Evidence e = examine(p.source, out.noise);
  const bool integers = p.input.info.type != Element::f32 && p.input.info.type != Element::f64;
  // BM3D needs about 12 microseconds a pixel, component and thread on a current core.
  const double estimate = 1.2e-5 * static_cast<double>(p.source.extent.pixels()) *
                          static_cast<double>(std::min<std::size_t>(10, automatic_rank)) / threads;
  out.method = choose_method(e, integers, s.time_limit > 0 && estimate > s.time_limit);
  out.notes = {
      {"outlier fraction", e.outlier_fraction}, {"striped bands", e.striped_bands}, {"poisson r2", e.poisson_r2}};
}

// WSRRR takes the noise of its paper unless told; the rank is HySime's, which needs that of the regression.
Noise noise_of(const Settings& s, const Prepared& p) {
  Settings estimate = s;
  if (s.method == "wsrrr" && s.noise_estimate.empty() && s.noise_file.empty()) estimate.noise_estimate = "mad";
  return estimate_noise(estimate, p, p.input.info.extent.bands);
}

std::size_t rank_of(const Settings& s, const Prepared& p, const Noise& noise) {
  const std::size_t valid = p.source.valid_pixels();
  const bool regress = (s.method == "wsrrr" || s.method == "pca") && valid > p.bands.size() + 10;
  return std::max<std::size_t>(1,
                               hysime_whitened(p.gram, valid, regress ? regression_noise(p.gram, valid) : noise).rank);
}

}  // namespace

Outcome run_method(const Settings& s, const Prepared& p, const Sink& sink, const cli::Session& session) {
  Outcome out{.method = s.method};
  std::size_t automatic_rank = 1;
  const bool fixed_subspace = s.method == "pca" && s.rank != "auto";
  if (needs_gram(s.method) && s.method != "l1hymixde" && s.method != "fasthyin" && !fixed_subspace) {
    out.noise = noise_of(s, p);
    for (const char* method : {"wsrrr", "otvca", "pca", "mnf", "auto"})
      if (s.method == method) automatic_rank = rank_of(s, p, out.noise);
  }
  if (s.method == "auto") choose(s, p, automatic_rank, session.threads, out);
  if (s.method == "fasthyde" && s.noise_type == "poisson") out.method = "poisson";
  if (out.method == "poisson" && p.negative_values > 0)
    session.warn(fmt::format("{} negative values count as zero in the Poisson model", p.negative_values));
  if (out.method == "hyres") {
    run_hyres(s, p, sink, out);
  } else if (out.method == "hyminor") {
    run_hyminor(s, p, sink, out);
  } else if (out.method == "forpdn") {
    run_forpdn(s, p, sink, out);
  } else if (out.method == "wsrrr") {
    run_wsrrr(s, p, automatic_rank, sink, out);
  } else if (out.method == "otvca") {
    run_otvca(s, p, automatic_rank, sink, out);
  } else if (out.method == "fasthyde") {
    run_fasthyde(s, p, sink, out);
  } else if (out.method == "poisson") {
    run_poisson(s, p, sink, out);
  } else if (out.method == "fasthyin") {
    run_fasthyin(s, p, p.observed, sink, out);
  } else if (out.method == "l1hymixde") {
    run_l1hymixde(s, p, sink, out);
  } else if (out.method == "pca" || out.method == "mnf") {
    run_subspace(s, p, automatic_rank, sink, out);
  } else if (out.method == "median") {
    median_bands(p.source, static_cast<std::size_t>(s.window / 2), sink, p.scratch);
  } else {
    destripe(p.source, static_cast<std::size_t>(s.reach), sink, p.scratch);
  }
  for (const char* biased : {"hyminor", "wsrrr", "otvca", "pca", "mnf"})
    out.biased_by_design = out.biased_by_design || out.method == biased;
  return out;
}

}  // namespace fachwerk::hyde
