#include <chrono>
#include <cmath>
#include <fstream>

#include "baselines.hpp"
#include "cli/command.hpp"
#include "fasthyde.hpp"
#include "forpdn.hpp"
#include "gram.hpp"
#include "hyminor.hpp"
#include "hyres.hpp"
#include "io/bytes.hpp"
#include "l1hymixde.hpp"
#include "lowrank.hpp"
#include "otvca.hpp"
#include "prepare.hpp"
#include "quicklook.hpp"
#include "select.hpp"
#include "wsrrr.hpp"

using namespace fachwerk;
using namespace fachwerk::hyde;

namespace {

struct Settings {
  std::string method, input, output, dataset,
      noise_estimate = "regression", noise_file, noise_type = "gaussian", core = "bm3d", mask, robust = "admm",
      solver = "admm", domain = "wavelet", thresholds, sure, wavelet, rank = "auto", subspace = "10",
      normalize = "global", bands, exclude = "auto", memory, protect, report, plot, plot_noise, gain = "auto";
  std::optional<double> lambda;
  std::optional<int> iterations, levels;
  double largest_threshold = 1.645605, tolerance = 0, outliers = 0.05, time_limit = 0;
  int tile = 0, window = 3, reach = 0;
  bool keep_residual = false, components = false, keep_dtype = false, clean_input = false, no_whiten = false,
       noise_only = false;
};

class Stopwatch {
 public:
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - start_).count();
    start_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

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
  } else if (s.noise_estimate == "regression") {
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

// What a method leaves besides the cube.
struct Outcome {
  std::string method;
  std::optional<LowRank> model = {};
  std::size_t rank = 0;
  std::vector<double> thresholds = {}, lambda = {}, risk = {};
  int iterations = 0;
  bool converged = true;
  bool biased_by_design = false;  ///< fixed rank or λ: worth a warning when the bias exceeds the noise
  std::vector<std::pair<std::string, double>> notes = {};
};

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

void run_hyres(const Settings& s, const Prepared& p, const Noise& noise, const Sink& sink, Outcome& out) {
  HyresOptions o;
  if (!s.wavelet.empty()) o.wavelet = wavelet_by_name(s.wavelet);
  o.levels = s.levels.value_or(5);
  o.rank = number_or_auto(s.rank, "--rank");
  o.scope = s.thresholds == "subband" ? ThresholdScope::subband : ThresholdScope::component;
  o.exact_thresholds = s.sure == "exact";
  o.largest_threshold = s.largest_threshold;
  HyresResult r = hyres(p.source, p.gram, noise, o);
  out.rank = r.model.rank();
  out.thresholds = r.thresholds;
  out.risk = r.risk;
  reconstruct(r.model, sink);
  out.model = std::move(r.model);
}

void run_fasthyde(const Settings& s, const Prepared& p, const Noise& noise, const Sink& sink, Outcome& out) {
  out.model = fasthyde(p.source, p.gram, noise, fasthyde_options(s, p));
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
                  Outcome& out, Noise& noise) {
  const Source complete = complete_only(p.source, observed);
  const std::size_t count = complete.valid_pixels();
  const Matrix g = gram(complete);
  noise = regression_noise(g, count);
  FasthyinResult r = fasthyin(p.source, observed, g, count, noise, fasthyde_options(s, p));
  out.rank = r.model.rank();
  out.notes.emplace_back("incomplete pixels", static_cast<double>(r.incomplete));
  out.notes.emplace_back("filled from neighbours", static_cast<double>(r.filled));
  out.notes.emplace_back("mask patterns", static_cast<double>(r.patterns));
  reconstruct(r.model, sink);
  out.model = std::move(r.model);
}

void run_wsrrr(const Settings& s, const Prepared& p, const Noise& noise, std::size_t automatic_rank, const Sink& sink,
               Outcome& out) {
  WsrrrOptions o;
  if (!s.wavelet.empty()) o.wavelet = wavelet_by_name(s.wavelet);
  o.levels = s.levels.value_or(3);
  o.rank = number_or_auto(s.rank, "--rank").value_or(automatic_rank);
  o.exact_thresholds = s.sure != "bounded" && s.sure != "grid";
  o.iterations = s.iterations.value_or(200);
  if (s.tolerance > 0) o.tolerance = s.tolerance;
  WsrrrResult r = wsrrr(p.source, p.gram, noise, o);
  out.rank = r.model.rank();
  out.iterations = r.iterations;
  out.notes.emplace_back("last change of V", r.change);
  reconstruct(r.model, sink);
  out.model = std::move(r.model);
}

void run_otvca(const Settings& s, const Prepared& p, const Noise& noise, std::size_t automatic_rank, const Sink& sink,
               Outcome& out) {
  OtvcaOptions o;
  o.rank = number_or_auto(s.rank, "--rank").value_or(automatic_rank);
  o.iterations = s.iterations.value_or(10);
  if (s.tolerance > 0) o.tv.tolerance = s.tolerance;
  Noise scale = noise;
  if (s.no_whiten) {
    std::fill(scale.sigma.begin(), scale.sigma.end(), 1.0 / global_scale(s, p));
    o.lambda = s.lambda.value_or(0.01);
  } else {
    o.lambda = s.lambda.value_or(o.lambda);
  }
  OtvcaResult r = otvca(p.source, p.gram, scale, o);
  out.rank = r.model.rank();
  out.lambda = {o.lambda};
  out.converged = r.converged;
  reconstruct(r.model, sink);
  out.model = std::move(r.model);
}

void run_l1hymixde(const Settings& s, const Prepared& p, const Sink& sink, Outcome& out, Noise& noise) {
  if (s.robust == "mask") {
    Prepared masked = p;
    run_fasthyin(s, masked, outlier_mask(p.source, s.outliers), sink, out, noise);
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
  noise.sigma = r.sigma;
  out.rank = r.model.rank();
  out.iterations = r.iterations;
  reconstruct(r.model, sink);
  out.model = std::move(r.model);
}

void run_forpdn(const Settings& s, const Prepared& p, const Noise& noise, const Sink& sink, Outcome& out) {
  ForpdnOptions o;
  if (!s.wavelet.empty()) o.wavelet = wavelet_by_name(s.wavelet);
  o.levels = s.levels.value_or(5);
  o.wavelet_domain = s.domain == "wavelet";
  o.per_subband = s.thresholds != "component";
  o.lambda = s.lambda;
  o.scratch = p.scratch;
  out.lambda = forpdn(p.source, noise, o, sink).lambda;
}

double median_sigma(const Noise& noise) {
  std::vector<float> sigma(noise.sigma.begin(), noise.sigma.end());
  return median_of(sigma);
}

bool needs_gram(const std::string& method) {
  return method != "median" && method != "destripe";
}

// High-water mark of resident memory; getrusage would count what the parent had before it became this program.
double peak_memory_gb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::strtod(line.c_str() + 6, nullptr) * 1024e-9;
  return NAN;
}

void write_model(h5::Output& file, const Settings& s, const Prepared& p, const Noise& noise, const Outcome& out) {
  const Extent extent = p.input.info.extent;
  if (!noise.sigma.empty()) {
    std::vector<double> sigma(extent.bands, NAN), snr(extent.bands, NAN);
    for (std::size_t k = 0; k < p.bands.size(); ++k) {
      sigma[p.bands[k]] = noise.sigma[k];
      if (p.gram.rows == p.bands.size())
        snr[p.bands[k]] =
            10 *
            std::log10(std::max(
                p.gram(k, k) / static_cast<double>(p.source.valid_pixels()) / (noise.sigma[k] * noise.sigma[k]) - 1,
                1e-12));
    }
    file.column("/noise/sigma", sigma,
                {p.input.info.units, "standard deviation of the noise; NaN for bands left out", {"bands"}});
    file.column("/noise/snr_db", snr, {"dB", "signal-to-noise ratio before denoising", {"bands"}});
  }
  if (s.noise_only) return;
  if (out.rank > 0)
    file.write("/model/rank", std::vector<std::int64_t>{static_cast<std::int64_t>(out.rank)}, {},
               {"", "components kept", {}});
  if (!out.thresholds.empty())
    file.column("/model/thresholds", out.thresholds,
                {"sigma", "soft thresholds, component by component", {"thresholds"}});
  if (!out.risk.empty()) file.column("/model/risk", out.risk, {"", "Stein's risk by rank from 0", {"ranks"}});
  if (!out.lambda.empty()) file.column("/model/lambda", out.lambda, {"", "regularisation", {"lambdas"}});
  if (s.components && out.model) {
    const std::size_t r = out.model->rank(), pixels = extent.pixels();
    std::vector<float> planes(r * pixels);
    for (std::size_t i = 0; i < r; ++i)
      for (std::size_t q = 0; q < pixels; ++q)
        planes[q * r + i] = out.model->plane(i)[q];
    file.write("/components", planes, {extent.rows, extent.cols, r},
               {"", "coefficients of the basis", {"rows", "cols", "components"}});
    file.write("/model/basis", out.model->basis.values, {p.bands.size(), r},
               {p.input.info.units, "spectra that the components multiply", {"bands", "components"}});
  }
}

cli::Command declare(Settings& s) {
  return {
      .name = "hyde-denoise",
      .purpose = "remove noise from a hyperspectral cube",
      .description =
          "Methods: hyres (wavelet-sparse low rank, no parameters), fasthyde (subspace and BM3D; the best on Gaussian noise), fasthyin (the same with "
          "missing values filled), l1hymixde (Gaussian noise with impulses, stripes and dead lines), wsrrr, otvca, forpdn, hyminor, and the baselines "
          "pca, mnf, median, destripe. auto looks at outliers, stripes and the growth of variance with the signal, says what it found, and picks one.\n\n"
          "Bands that are constant, empty, marked bad or exact combinations of others, and pixels without data, take no part and pass unchanged; "
          "they are counted. If most bands are combinations of few, the noise is below the data's precision and the cube passes unchanged.\n\n"
          "Cubes that do not fit in --max-mem are streamed by blocks of rows; methods that need the whole cube then work in a temporary file in "
          "$TMPDIR. Results do not depend on threads, and not on blocks beyond 1e-5 of the range.",
      .arguments = {cli::choice("METHOD", s.method,
                                {"hyres", "hyminor", "forpdn", "wsrrr", "otvca", "fasthyde", "fasthyin", "l1hymixde",
                                 "pca", "mnf", "median", "destripe", "auto"},
                                "what to do"),
                    cli::input("IN", s.input, "noisy cube: HDF5, NetCDF-4, ENVI, GeoTIFF, MATLAB, NumPy"),
                    cli::output("OUT", s.output, "denoised cube; format by its name, as hyde-convert")},
      .options =
          {{"--rank", &s.rank, "components to keep: auto or a number", {.value_name = "N"}},
           {"--subspace",
            &s.subspace,
            "most dimensions for fasthyde, fasthyin, l1hymixde: a number, or auto for HySime's",
            {.value_name = "N"}},
           {"--wavelet", &s.wavelet, "db1 to db20, sym2 to sym10; db5 (forpdn: db6) otherwise", {.value_name = "NAME"}},
           {"--levels", &s.levels, "wavelet levels; 5 (wsrrr: 3) otherwise", {.minimum = 1, .maximum = 12}},
           {"--thresholds",
            &s.thresholds,
            "hyres: one threshold a component (default) or a subband. forpdn: one lambda a level (component) or a subband (default)",
            {.choices = {"component", "subband"}}},
           {"--sure",
            &s.sure,
            "where thresholds are looked for: a bounded grid (hyres' default) or all values (wsrrr's)",
            {.choices = {"bounded", "grid", "exact"}}},
           {"--tmax", &s.largest_threshold, "end of the bounded grid", {.unit = "sigma", .minimum = 0, .maximum = 100}},
           {"--noise-est",
            &s.noise_estimate,
            "how the noise is estimated; wsrrr takes mad unless told",
            {.choices = {"regression", "mad", "shift", "given", "poisson"}}},
           {"--noise",
            &s.noise_file,
            "take sigma from a file: HDF5 with /noise/sigma, or text with one number a band",
            {.value_name = "FILE"}},
           {"--noise-only", &s.noise_only, "write the noise estimate alone"},
           {"--noise-type", &s.noise_type, "model of fasthyde", {.choices = {"gaussian", "iid", "poisson"}}},
           {"--gain", &s.gain, "data per count of Poisson noise: auto or a number", {.value_name = "X"}},
           {"--lambda",
            &s.lambda,
            "regularisation: hyminor 10 (exact 0.5), otvca 0.5 in units of the noise, forpdn by risk",
            {.minimum = 0}},
           {"--iterations",
            &s.iterations,
            "hyminor 50, wsrrr at most 200, otvca 10, l1hymixde at most 10",
            {.minimum = 1}},
           {"--tol", &s.tolerance, "stopping tolerance; the method's own if 0", {.minimum = 0}},
           {"--core",
            &s.core,
            "image denoiser of fasthyde, fasthyin and l1hymixde",
            {.choices = {"bm3d", "nlm", "tv", "dwt-sure", "wiener"}}},
           {"--outliers",
            &s.outliers,
            "fraction of values that l1hymixde takes for outliers at first",
            {.minimum = 0, .maximum = 0.5}},
           {"--robust",
            &s.robust,
            "l1hymixde: alternate (admm), or take outliers for missing and fill them (mask)",
            {.choices = {"admm", "mask"}}},
           {"--mask",
            &s.mask,
            "1 = valid: FILE or FILE:/dataset, [rows, cols] or [rows, cols, bands]; /mask of IN for fasthyin otherwise",
            {.value_name = "FILE"}},
           {"--solver",
            &s.solver,
            "hyminor: published iteration, or the exact minimiser",
            {.choices = {"admm", "exact"}}},
           {"--input-is-clean", &s.clean_input, "hyminor: leave out the HyRes step"},
           {"--normalize",
            &s.normalize,
            "hyminor and otvca --no-whiten: scale of the data, undone on output",
            {.choices = {"none", "global"}}},
           {"--no-whiten", &s.no_whiten, "otvca: do not scale bands by their noise"},
           {"--domain",
            &s.domain,
            "forpdn: smooth wavelet coefficients or spectra",
            {.choices = {"wavelet", "signal"}}},
           {"--window", &s.window, "median: width of the window", {.unit = "pixels", .minimum = 3, .maximum = 101}},
           {"--reach",
            &s.reach,
            "destripe: columns on either side that say what a column should be; 0 = all",
            {.minimum = 0}},
           {"--bands", &s.bands, "work on these alone, as in 0:50,60", {.value_name = "LIST"}},
           {"--exclude-bands",
            &s.exclude,
            "leave these out; auto: those that the file marks as bad; none",
            {.value_name = "LIST"}},
           {"--protect",
            &s.protect,
            "spectra whose directions stay in the subspace of fasthyde: HDF5 with /spectra, or CSV, one a column",
            {.value_name = "FILE"}},
           {"--max-mem", &s.memory, "memory to use, as in 4G; most of the machine's otherwise", {.value_name = "SIZE"}},
           {"--tile", &s.tile, "rows of a block; 0: chosen", {.minimum = 0}},
           {"--time-limit",
            &s.time_limit,
            "auto: take the faster method if fasthyde would need longer",
            {.unit = "s", .minimum = 0}},
           {"--keep-residual", &s.keep_residual, "also write /residual"},
           {"--components", &s.components, "also write /components and /model/basis"},
           {"--keep-dtype", &s.keep_dtype, "write the input's type: rounded and saturated for integers"},
           {"--plot",
            &s.plot,
            "picture of the cube before and after, and of what was removed: .png or .svg",
            {.value_name = "FILE"}},
           {"--plot-noise", &s.plot_noise, "picture of the noise by band", {.value_name = "FILE"}},
           {"--report", &s.report, "also write the summary as JSON", {.value_name = "FILE"}},
           {"--input-dataset",
            &s.dataset,
            "dataset or variable with the cube; /cube or the only three-dimensional one otherwise",
            {.value_name = "NAME"}}},
      .examples = {{"hyde-denoise hyres noisy.h5 clean.h5", "no parameters"},
                   {"hyde-denoise auto scene.hdr clean.hdr --keep-dtype", "ENVI in and out, method by the data"},
                   {"hyde-denoise fasthyin gaps.h5 filled.h5 --mask gaps.h5:/mask", "fill missing values"},
                   {"hyde-synth - | hyde-noise gaussian --snr 20 - - | hyde-denoise hyres - out.h5", "a pipeline"}},
      .reference =
          "B. Rasti et al., HyRes (IEEE GRSL 14, 2017), HyMiNoR (IEEE GRSL 17, 2020), FORPDN (IEEE TGRS 52, 2014), WSRRR (IEEE TGRS 52, 2014), OTVCA "
          "(Remote Sensing 8, 2016); L. Zhuang, J. M. Bioucas-Dias, FastHyDe and FastHyIn (IEEE JSTARS 11, 2018); L. Zhuang, M. K. Ng, L1HyMixDe (2020); D. Coquelin "
          "et al., HyDe (WHISPERS 2022)",
      .reads =
          "/cube [rows, cols, bands] any real type; /mask uint8 [rows, cols(, bands)] 1 = valid; /bad_bands [bands]; /wavelength [bands] nm; attribute nodata of /cube",
      .writes =
          "/cube float32 [rows, cols, bands] (or IN's type); /noise/sigma /noise/snr_db [bands]; /model/rank /model/thresholds /model/lambda /model/risk; on "
          "request /residual [rows, cols, bands], /components [rows, cols, rank], /model/basis; everything else of IN is carried over",
      .standard = {.threads = true}};
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  return declare(s).run(argc, argv, [&](cli::Session& session) {
    refuse_same(s.input, s.output);
    if (s.window % 2 == 0) throw usage_error("--window {} is not odd", s.window);
    Stopwatch watch;
    CubeInput input = open_cube(s.input, s.dataset);
    const Extent file = input.info.extent;
    if (file.bands < 2 && needs_gram(s.method))
      throw bad_input("{}: {} needs at least 2 bands, found {}", input.name, s.method, file.bands);
    if (file.rows < 2 || file.cols < 2)
      throw bad_input("{}: expected at least 2 x 2 pixels, found {} x {}", input.name, file.rows, file.cols);
    if (const auto rank = number_or_auto(s.rank, "--rank"); rank && *rank > file.bands)
      throw usage_error("--rank {} is more than the {} bands", *rank, file.bands);
    if (s.outliers <= 0) throw usage_error("--outliers must be above 0");

    PrepareOptions options;
    if (!s.bands.empty()) options.bands = parse_bands(s.bands, file.bands);
    options.use_bad_bands = s.exclude == "auto";
    if (s.exclude != "auto" && s.exclude != "none")
      for (std::size_t b : parse_bands(s.exclude, file.bands))
        options.exclude.insert(b);
    if (!s.memory.empty()) options.memory = parse_bytes(s.memory);
    options.block_rows = static_cast<std::size_t>(s.tile);
    options.partial_pixels = s.method == "fasthyin";
    if (!s.mask.empty())
      options.mask = read_mask(s.mask, file);
    else if (options.partial_pixels && input.hdf5 && input.hdf5->is_dataset("/mask"))
      options.mask = read_mask(*input.hdf5, "/mask", file);
    const Prepared p = prepare(std::move(input), options, needs_gram(s.method));
    const double seconds_read = watch.lap();

    if (s.noise_only) {
      if (!needs_gram(s.method) || p.below_precision)
        throw bad_input("{}: there is no noise to estimate", p.input.name);
      const Noise noise = estimate_noise(s, p, file.bands);
      h5::Output output = h5::Output::create(s.output, session.force);
      output.stamp(session, "table", p.input.hdf5.get());
      write_model(output, s, p, noise, {});
      output.commit();
      session.summary.add("median sigma", median_sigma(noise), p.input.info.units);
      return;
    }

    CubeInfo info = p.input.info;
    if (!s.keep_dtype) info.type = Element::f32;
    if (s.method == "fasthyin") info.nodata.reset();
    CubeOutput output(s.output, info, {.force = session.force, .long_name = "denoised cube"}, session, &p.input);
    ResultWriter writer(p, output, info.type, s.keep_residual, s.method == "fasthyin");
    const Sink to_file = writer.sink();
    Quicklook quicklook(p);
    const Sink sink = s.plot.empty() ? to_file : quicklook.watch(to_file);

    Outcome out{.method = s.method};
    Noise noise;
    std::size_t automatic_rank = 1;
    const std::size_t valid = p.source.valid_pixels();
    const bool pass_through =
        p.below_precision && s.method != "median" && s.method != "destripe" && s.method != "fasthyin";
    if (pass_through) {
      session.warn("noise below precision: most bands are exact combinations of few; the cube passes unchanged");
      std::vector<float> scratch;
      const std::size_t step = rows_per_block(p.source.extent);
      for (std::size_t row = 0; row < file.rows; row += step) {
        const std::size_t rows = std::min(step, file.rows - row);
        sink(row, rows, p.source.read(row, rows, scratch));
      }
    } else {
      if (p.gram.rows > 0 && s.method != "pca" && s.method != "l1hymixde") {
        Settings estimate = s;
        if (s.method == "wsrrr" && s.noise_estimate == "regression" && s.noise_file.empty())
          estimate.noise_estimate = "mad";
        noise = estimate_noise(estimate, p, file.bands);
        automatic_rank = std::max<std::size_t>(
            1, hysime_whitened(
                   p.gram, valid,
                   s.method == "wsrrr" && valid > p.bands.size() + 10 ? regression_noise(p.gram, valid) : noise)
                   .rank);
      }
      if (s.method == "auto") {
        const Evidence e = examine(p.source, noise);
        const bool integers = p.input.info.type != Element::f32 && p.input.info.type != Element::f64;
        // BM3D needs about 12 microseconds a pixel, component and thread on a current core.
        const double estimate = 1.2e-5 * static_cast<double>(file.pixels()) *
                                static_cast<double>(std::min<std::size_t>(10, automatic_rank)) / session.threads;
        out.method = choose_method(e, integers, s.time_limit > 0 && estimate > s.time_limit);
        out.notes = {
            {"outlier fraction", e.outlier_fraction}, {"striped bands", e.striped_bands}, {"poisson r2", e.poisson_r2}};
      }
      if (s.method == "fasthyde" && s.noise_type == "poisson") out.method = "poisson";
      if (out.method == "poisson" && p.negative_values > 0)
        session.warn(fmt::format("{} negative values count as zero in the Poisson model", p.negative_values));
      if (out.method == "hyres") {
        run_hyres(s, p, noise, sink, out);
      } else if (out.method == "hyminor") {
        out.biased_by_design = true;
        const Sink second = hyminor_sink(s, p, sink);
        if (s.clean_input)
          p.source.each_block(
              [&](std::size_t row, std::size_t rows, std::span<const float> spectra) { second(row, rows, spectra); });
        else
          run_hyres(s, p, noise, second, out);
      } else if (out.method == "forpdn") {
        run_forpdn(s, p, noise, sink, out);
      } else if (out.method == "wsrrr") {
        out.biased_by_design = true;
        run_wsrrr(s, p, noise, automatic_rank, sink, out);
      } else if (out.method == "otvca") {
        out.biased_by_design = true;
        run_otvca(s, p, noise, automatic_rank, sink, out);
      } else if (out.method == "fasthyde") {
        run_fasthyde(s, p, noise, sink, out);
      } else if (out.method == "poisson") {
        run_poisson(s, p, sink, out);
      } else if (out.method == "fasthyin") {
        run_fasthyin(s, p, p.observed, sink, out, noise);
      } else if (out.method == "l1hymixde") {
        run_l1hymixde(s, p, sink, out, noise);
      } else if (out.method == "pca" || out.method == "mnf") {
        out.biased_by_design = true;
        if (out.method == "pca" && p.gram.rows > 0 && s.rank == "auto")
          automatic_rank =
              std::max<std::size_t>(1, hysime_whitened(p.gram, valid, regression_noise(p.gram, valid)).rank);
        const std::size_t rank = number_or_auto(s.rank, "--rank").value_or(automatic_rank);
        out.model = out.method == "pca" ? principal_components(p.source, p.gram, rank)
                                        : minimum_noise_fraction(p.source, p.gram, noise, rank);
        out.rank = rank;
        reconstruct(*out.model, sink);
      } else if (out.method == "median") {
        median_bands(p.source, static_cast<std::size_t>(s.window / 2), sink, p.scratch);
      } else {
        destripe(p.source, static_cast<std::size_t>(s.reach), sink, p.scratch);
      }
    }
    const double seconds_method = watch.lap();
    if (!out.converged) session.fail("a total variation step did not reach its duality gap");

    double ratio = 0;
    if (!noise.sigma.empty() && !pass_through) {
      const std::vector<double> power = writer.residual_power();
      for (std::size_t k = 0; k < power.size(); ++k)
        ratio += power[k] / (noise.sigma[k] * noise.sigma[k]) / static_cast<double>(power.size());
      if (out.biased_by_design && ratio > 2)
        session.warn(fmt::format(
            "what was removed has {:.1f} times the power of the noise: the result is biased by more than the noise",
            ratio));
    }
    if (h5::Output* h5file = output.hdf5()) {
      write_model(*h5file, s, p, noise, out);
      if (p.input.hdf5)
        h5file->carry(*p.input.hdf5,
                      p.input.dataset == "/cube" ? std::set<std::string>{} : std::set<std::string>{p.input.dataset});
    }
    output.commit();
    if (!s.plot.empty()) quicklook.save_composite(s.plot, session.force);
    if (!s.plot_noise.empty() && !noise.sigma.empty()) quicklook.save_noise(noise, s.plot_noise, session.force);

    cli::Summary& summary = session.summary;
    summary.add("method", out.method);
    if (out.rank > 0) summary.add("rank", out.rank);
    if (!out.lambda.empty()) summary.add("lambda", out.lambda);
    if (out.iterations > 0) summary.add("iterations", out.iterations);
    for (const auto& [key, value] : out.notes)
      summary.add(key, value);
    if (!noise.sigma.empty() && p.gram.rows == noise.sigma.size()) {
      double signal = 0, power = 0;
      for (std::size_t k = 0; k < noise.sigma.size(); ++k) {
        signal += p.gram(k, k) / static_cast<double>(valid);
        power += noise.sigma[k] * noise.sigma[k];
      }
      summary.add("noise snr", 10 * std::log10(std::max(signal / power - 1, 1e-12)), "dB");
    }
    if (ratio > 0) summary.add("removed power over noise power", ratio);
    if (!pass_through) summary.add("residual correlation along cols", writer.residual_correlation());
    summary.add("bands used", p.bands.size());
    summary.add("bands constant", p.constant.size());
    summary.add("bands empty", p.empty.size());
    summary.add("bands dependent", p.dependent.size());
    summary.add("pixels without data", p.invalid_pixels);
    summary.add("below precision", p.below_precision);
    summary.add("streamed", p.streaming);
    summary.add("seconds reading", seconds_read, "s");
    summary.add("seconds denoising and writing", seconds_method, "s");
    summary.add("seconds computing", seconds_method - writer.seconds(), "s");
    summary.add("seconds finishing", watch.lap(), "s");
    summary.add("peak memory", peak_memory_gb(), "GB");
    if (!s.report.empty()) {
      formats::Sink report = formats::Sink::create(s.report, session.force, false);
      report.write(std::string_view(summary.json(session.tool) + "\n"));
      report.commit();
    }
  });
}
