#include <chrono>
#include <cmath>
#include <fstream>

#include <unistd.h>

#include "accelerator.hpp"
#include "cli/command.hpp"
#include "cluster/hdf5.hpp"
#include "cluster/world.hpp"
#include "io/bytes.hpp"
#include "quicklook.hpp"
#include "ranks.hpp"
#include "run.hpp"

using namespace fachwerk;
using namespace fachwerk::hyde;

namespace {

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

// High-water mark of resident memory; getrusage would count what the parent had before it became this program.
double peak_memory_gb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::strtod(line.c_str() + 6, nullptr) * 1024e-9;
  return NAN;
}

double median_sigma(const Noise& noise) {
  std::vector<float> sigma(noise.sigma.begin(), noise.sigma.end());
  return median_of(sigma);
}

void write_noise(h5::Output& file, const Prepared& p, const Noise& noise) {
  if (noise.sigma.empty()) return;
  const Extent extent = p.input.info.extent;
  std::vector<double> sigma(extent.bands, NAN), snr(extent.bands, NAN);
  for (std::size_t k = 0; k < p.bands.size(); ++k) {
    sigma[p.bands[k]] = noise.sigma[k];
    if (p.gram.rows == p.bands.size())
      snr[p.bands[k]] =
          10 * std::log10(std::max(
                   p.gram(k, k) / static_cast<double>(p.source.valid_pixels()) / (noise.sigma[k] * noise.sigma[k]) - 1,
                   1e-12));
  }
  file.column("/noise/sigma", sigma,
              {p.input.info.units, "standard deviation of the noise; NaN for bands left out", {"bands"}});
  file.column("/noise/snr_db", snr, {"dB", "signal-to-noise ratio before denoising", {"bands"}});
}

void write_model(h5::Output& file, const Outcome& out) {
  if (out.rank > 0)
    file.write("/model/rank", std::vector<std::int64_t>{static_cast<std::int64_t>(out.rank)}, {},
               {"", "components kept", {}});
  if (!out.thresholds.empty())
    file.column("/model/thresholds", out.thresholds,
                {"sigma", "soft thresholds, component by component", {"thresholds"}});
  if (!out.risk.empty()) file.column("/model/risk", out.risk, {"", "Stein's risk by rank from 0", {"ranks"}});
  if (!out.lambda.empty()) file.column("/model/lambda", out.lambda, {"", "regularisation", {"lambdas"}});
}

// Components and the spectra that they multiply.
void write_components(h5::Output& file, const Prepared& p, const LowRank& model) {
  const std::size_t r = model.rank(), pixels = p.source.extent.pixels();
  const Extent extent = p.input.info.extent;
  std::vector<float> planes(r * pixels);
  for (std::size_t i = 0; i < r; ++i)
    for (std::size_t q = 0; q < pixels; ++q)
      planes[q * r + i] = model.plane(i)[q];
  file.create_dataset<float>("/components", {extent.rows, extent.cols, r},
                             {"", "coefficients of the basis", {"rows", "cols", "components"}});
  file.write_slab<float>("/components", {p.first_row, 0, 0}, {p.source.extent.rows, extent.cols, r},
                         std::span<const float>(planes));
  file.write("/model/basis", model.basis.values, {p.bands.size(), r},
             {p.input.info.units, "spectra that the components multiply", {"bands", "components"}});
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
           {"--search",
            &s.search,
            "forpdn: lambda of least risk, or the published steps: 3 levels, up to the first increase",
            {.choices = {"continuous", "grid"}}},
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
      .standard = {.threads = true, .device = true}};
}

void check(const Settings& s, const CubeInput& input) {
  const Extent file = input.info.extent;
  if (file.bands < 2 && needs_gram(s.method))
    throw bad_input("{}: {} needs at least 2 bands, found {}", input.name, s.method, file.bands);
  if (file.rows < 2 || file.cols < 2)
    throw bad_input("{}: expected at least 2 x 2 pixels, found {} x {}", input.name, file.rows, file.cols);
  if (const auto rank = number_or_auto(s.rank, "--rank"); rank && *rank > file.bands)
    throw usage_error("--rank {} is more than the {} bands", *rank, file.bands);
  if (s.outliers <= 0) throw usage_error("--outliers must be above 0");
  if (s.window % 2 == 0) throw usage_error("--window {} is not odd", s.window);
}

void check_shared(const Settings& s, const cluster::Communicator& world) {
  if (world.size() == 1) return;
  if (!shares_rows(s.method))
    throw usage_error("{} runs on one rank", s.method)
        .with_hint("hyres, hyminor, forpdn, wsrrr, pca and mnf share a cube among ranks");
  if (format_of(s.output) != Format::hdf5) throw usage_error("several ranks write HDF5 alone, not {}", s.output);
  if (!s.plot.empty()) throw usage_error("--plot needs one rank").with_hint("h5-plot draws the result");
}

PrepareOptions prepare_options(const Settings& s, const CubeInput& input, const cluster::Communicator& world,
                               const compute::Device& device) {
  const Extent file = input.info.extent;
  PrepareOptions options;
  if (!s.bands.empty()) options.bands = parse_bands(s.bands, file.bands);
  options.use_bad_bands = s.exclude == "auto";
  if (s.exclude != "auto" && s.exclude != "none")
    for (std::size_t b : parse_bands(s.exclude, file.bands))
      options.exclude.insert(b);
  const int ranks_here = world.size() > 1 ? world.node().size() : 1;
  options.memory =
      s.memory.empty() ? machine_memory() / 10 * 8 / static_cast<std::size_t>(ranks_here) : parse_bytes(s.memory);
  options.block_rows = static_cast<std::size_t>(s.tile);
  options.partial_pixels = s.method == "fasthyin";
  if (!s.mask.empty())
    options.mask = read_mask(s.mask, file);
  else if (options.partial_pixels && input.hdf5 && input.hdf5->is_dataset("/mask"))
    options.mask = read_mask(*input.hdf5, "/mask", file);
  options.team = team_of(world, file.rows);
  if (device.is_cuda()) options.accelerator = std::make_shared<Accelerator>(device);
  return options;
}

void write_noise_alone(const Settings& s, const Prepared& p, cli::Session& session,
                       const cluster::Communicator& world) {
  if (!needs_gram(s.method) || p.below_precision) throw bad_input("{}: there is no noise to estimate", p.input.name);
  const Noise noise = estimate_noise(s, p, p.input.info.extent.bands);
  h5::Output output = cluster::create_output(world, s.output, session.force);
  output.stamp(session, "table", p.input.hdf5.get());
  write_noise(output, p, noise);
  output.commit();
  session.summary.add("median sigma", median_sigma(noise), p.input.info.units);
}

void pass_unchanged(const Prepared& p, const Sink& sink) {
  std::vector<float> scratch;
  const std::size_t step = rows_per_block(p.source.extent);
  for (std::size_t row = 0; row < p.source.extent.rows; row += step) {
    const std::size_t rows = std::min(step, p.source.extent.rows - row);
    sink(row, rows, p.source.read(row, rows, scratch));
  }
}

// Power of what was removed over that of the noise, mean over bands; 0 if unknown.
double removed_over_noise(const Noise& noise, const ResultWriter& writer) {
  const std::vector<double> power = writer.residual_power();
  if (noise.sigma.size() != power.size()) return 0;
  double ratio = 0;
  for (std::size_t k = 0; k < power.size(); ++k)
    ratio += power[k] / (noise.sigma[k] * noise.sigma[k]) / static_cast<double>(power.size());
  return ratio;
}

double noise_snr(const Prepared& p, const Noise& noise) {
  const auto valid = static_cast<double>(p.source.valid_pixels());
  double signal = 0, power = 0;
  for (std::size_t k = 0; k < noise.sigma.size(); ++k) {
    signal += p.gram(k, k) / valid;
    power += noise.sigma[k] * noise.sigma[k];
  }
  return 10 * std::log10(std::max(signal / power - 1, 1e-12));
}

void summarise(cli::Summary& summary, const Prepared& p, const Outcome& out) {
  summary.add("method", out.method);
  if (out.rank > 0) summary.add("rank", out.rank);
  if (!out.lambda.empty()) summary.add("lambda", out.lambda);
  if (out.iterations > 0) summary.add("iterations", out.iterations);
  for (const auto& [key, value] : out.notes)
    summary.add(key, value);
  if (!out.noise.sigma.empty() && p.gram.rows == out.noise.sigma.size())
    summary.add("noise snr", noise_snr(p, out.noise), "dB");
  summary.add("bands used", p.bands.size());
  summary.add("bands constant", p.constant.size());
  summary.add("bands empty", p.empty.size());
  summary.add("bands dependent", p.dependent.size());
  summary.add("pixels without data", p.invalid_pixels);
  summary.add("below precision", p.below_precision);
  summary.add("streamed", p.streaming);
  summary.add("device", p.source.accelerator ? p.source.accelerator->device().name() : "cpu");
}

void denoise(const Settings& s, cli::Session& session, const cluster::Communicator& world) {
  refuse_same(s.input, s.output);
  check_shared(s, world);
  const compute::Device device = compute::Device::parse(session.device);
  Stopwatch watch;
  CubeInput input = open_cube(s.input, s.dataset, [&](const std::string& path) {
    return cluster::open_input(world, path, cluster::Transfer::independent);
  });
  check(s, input);
  const PrepareOptions options = prepare_options(s, input, world, device);
  const Prepared p = prepare(std::move(input), options, needs_gram(s.method));
  if (s.noise_only) return write_noise_alone(s, p, session, world);

  CubeInfo info = p.input.info;
  if (!s.keep_dtype) info.type = Element::f32;
  if (s.method == "fasthyin") info.nodata.reset();
  WriteOptions write{.force = session.force, .long_name = "denoised cube"};
  if (world.size() > 1)
    write.create = [&](const std::string& path, bool force) {
      return cluster::create_output(world, path, force, cluster::Transfer::independent);
    };
  CubeOutput output(s.output, info, write, session, &p.input);
  ResultWriter writer(p, output, info.type, s.keep_residual, s.method == "fasthyin");
  const Sink to_file = writer.sink();
  Quicklook quicklook(p);
  const Sink sink = s.plot.empty() ? to_file : quicklook.watch(to_file);

  const bool pass_through = p.below_precision && !needs_no_noise(s.method);
  Outcome out{.method = s.method};
  if (pass_through) {
    session.warn("noise below precision: most bands are exact combinations of few; the cube passes unchanged");
    pass_unchanged(p, sink);
  } else {
    out = run_method(s, p, sink, session);
  }
  writer.finish();
  const double seconds_working = watch.lap();
  if (!out.failure.empty()) session.fail(out.failure);
  if (!out.warning.empty()) session.warn(out.warning);

  const double ratio = pass_through ? 0 : removed_over_noise(out.noise, writer);
  if (out.biased_by_design && ratio > 2)
    session.warn(fmt::format(
        "what was removed has {:.1f} times the power of the noise: the result is biased by more than the noise",
        ratio));
  if (h5::Output* file = output.hdf5()) {
    write_noise(*file, p, out.noise);
    write_model(*file, out);
    if (s.components && out.model) write_components(*file, p, *out.model);
    if (p.input.hdf5)
      file->carry(*p.input.hdf5,
                  p.input.dataset == "/cube" ? std::set<std::string>{} : std::set<std::string>{p.input.dataset});
  }
  output.commit();
  if (!s.plot.empty()) quicklook.save_composite(s.plot, session.force);
  if (!s.plot_noise.empty() && !out.noise.sigma.empty() && world.root())
    quicklook.save_noise(out.noise, s.plot_noise, session.force);

  cli::Summary& summary = session.summary;
  summarise(summary, p, out);
  if (ratio > 0) summary.add("removed power over noise power", ratio);
  if (!pass_through) summary.add("residual correlation along cols", writer.residual_correlation());
  summary.add("seconds reading", p.seconds_reading, "s");
  summary.add("seconds computing", seconds_working - p.seconds_reading - writer.seconds(), "s");
  summary.add("seconds writing", writer.seconds(), "s");
  summary.add("seconds finishing", watch.lap(), "s");
  double peak = peak_memory_gb();
  summary.add("peak memory", world.size() > 1 ? world.allreduce_value(peak, cluster::Op::max) : peak, "GB");
  if (s.report.empty() || !world.root()) return;
  formats::Sink report = formats::Sink::create(s.report, session.force, false);
  report.write(std::string_view(summary.json(session.tool) + "\n"));
  report.commit();
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  return declare(s).run(argc, argv, [&](cli::Session& session) {
    cluster::run(session, [&](const cluster::Communicator& world) { denoise(s, session, world); });
  });
}
