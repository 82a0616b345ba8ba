#include <cmath>

#include "cli/command.hpp"
#include "cube_file.hpp"
#include "degrade.hpp"

using namespace fachwerk;

namespace {

struct Settings {
  std::string type, profile = "uniform", sigma_file, preset_range;
  std::optional<double> sigma, snr;
  std::vector<double> snr_range, range{0, 1}, amounts{0.1, 0.3, 0.5, 0.7}, band_range;
  double largest_sigma = 0.05, salt = 0.5, bands = 1.0 / 3, least = 0.05, most = 0.15;
  int lines = 10;
};

struct Added {
  std::vector<double> sigma;
  std::vector<std::uint8_t> impulse = {}, stripe = {}, dead = {}, observed = {};
};

Added apply(std::span<float> cube, hyde::Extent extent, const Settings& s, std::uint64_t seed) {
  Added added{std::vector<double>(extent.bands)};
  const auto white = [&](double sigma) {
    added.sigma = hyde::add_gaussian(cube, extent, std::vector<double>(extent.bands, sigma), seed).sigma;
  };
  const auto noniid = [&] {
    const auto sigma = s.sigma_file.empty() ? hyde::noniid_profile(s.profile, extent.bands, s.largest_sigma, seed)
                                            : hyde::read_band_values(s.sigma_file, extent.bands);
    added.sigma = hyde::add_gaussian(cube, extent, sigma, seed).sigma;
  };
  const auto impulses = [&](double bands) {
    added.impulse = hyde::add_impulses(cube, extent, s.amounts, s.salt, bands, seed).bands;
  };
  const auto stripes = [&](double bands) {
    added.stripe = hyde::add_stripes(cube, extent, s.least, s.most, bands, seed).bands;
  };
  const auto deadlines = [&](double bands) {
    added.dead = hyde::add_deadlines(cube, extent, s.least, s.most, bands, seed).bands;
  };
  if (s.type == "gaussian") {
    if (s.sigma.has_value() == s.snr.has_value()) throw usage_error("gaussian noise needs one of --sigma and --snr");
    white(s.sigma ? *s.sigma : hyde::sigma_for_snr(cube, *s.snr));
  } else if (s.type == "gaussian-blind") {
    if (s.snr_range.size() != 2 || s.snr_range[0] > s.snr_range[1])
      throw usage_error("gaussian-blind noise needs --snr-range LEAST,MOST");
    white(hyde::sigma_for_snr(cube, hyde::blind_snr(s.snr_range[0], s.snr_range[1], seed)));
  } else if (s.type == "noniid") {
    noniid();
  } else if (s.type == "poisson") {
    hyde::add_poisson(cube, extent, s.snr.value_or(15), seed);
  } else if (s.type == "impulse") {
    impulses(s.bands);
  } else if (s.type == "stripe") {
    stripes(s.bands);
  } else if (s.type == "deadline") {
    deadlines(s.bands);
  } else if (s.type == "mixed") {
    noniid();
    impulses(s.bands);
    stripes(s.bands);
    deadlines(s.bands / 2);
  } else {
    const auto first = s.band_range.empty() ? std::size_t{0} : static_cast<std::size_t>(s.band_range[0]);
    const auto last = s.band_range.empty() ? extent.bands : static_cast<std::size_t>(s.band_range[1]);
    if ((!s.band_range.empty() && s.band_range.size() != 2) || first >= last || last > extent.bands)
      throw usage_error("--band-range takes FIRST,LAST with 0 <= FIRST < LAST <= {}", extent.bands);
    added.observed = hyde::drop_lines(cube, extent, static_cast<std::size_t>(s.lines), first, last, seed);
  }
  return added;
}

}  // namespace

int main(int argc, char** argv) {
  std::string input, output, dataset;
  Settings s;
  cli::Command command{
      .name = "hyde-noise",
      .purpose = "add noise of known kind and strength to a hyperspectral cube",
      .description =
          "gaussian: white, --sigma or --snr (sigma² = mean(x²)/10^(dB/10)). gaussian-blind: the same with a ratio drawn from --snr-range. "
          "noniid: its own sigma for each band, by --profile. poisson: counts a x with a = 10^(dB/10) Σx/Σx² for each band, divided by a again. "
          "impulse: salt and pepper, one of --amounts for each of a fraction of the bands. stripe: columns with an offset from U(-0.25, 0.25). "
          "deadline: columns of zeros. lines: columns of missing values in a band range, with a mask. mixed: noniid, then impulse and stripe each "
          "in --bands of the bands, dead lines in half as many.\n\n"
          "Data count as lying in --range, 0 to 1 by default: sigma, offsets and salt are in units of it. Random numbers are drawn by (seed, "
          "band, pixel): results do not depend on threads.",
      .arguments = {cli::choice("TYPE", s.type,
                                {"gaussian", "gaussian-blind", "noniid", "poisson", "impulse", "stripe", "deadline",
                                 "lines", "mixed"},
                                "noise model"),
                    cli::input("IN", input, "cube"), cli::output("OUT", output, "noisy cube")},
      .options = {{"--sigma", &s.sigma, "standard deviation", {.minimum = 0}},
                  {"--snr", &s.snr, "signal-to-noise ratio", {.unit = "dB", .minimum = -100, .maximum = 200}},
                  {"--snr-range",
                   &s.snr_range,
                   "for gaussian-blind",
                   {.unit = "dB", .minimum = -100, .maximum = 200, .value_name = "LEAST,MOST"}},
                  {"--max-sigma", &s.largest_sigma, "largest sigma of noniid and mixed", {.minimum = 0}},
                  {"--profile", &s.profile, "how sigma varies with the band", {.choices = {"uniform", "bell"}}},
                  {"--sigma-file",
                   &s.sigma_file,
                   "sigma for every band instead: HDF5 with /noise/sigma, or text, one number a line",
                   {.value_name = "FILE"}},
                  {"--amounts", &s.amounts, "fractions of pixels that impulses hit", {.minimum = 0, .maximum = 1}},
                  {"--salt", &s.salt, "share of impulses that are 1, the others being 0", {.minimum = 0, .maximum = 1}},
                  {"--bands", &s.bands, "fraction of the bands that are hit", {.minimum = 0, .maximum = 1}},
                  {"--min", &s.least, "least fraction of columns", {.minimum = 0, .maximum = 1}},
                  {"--max", &s.most, "largest fraction of columns", {.minimum = 0, .maximum = 1}},
                  {"--lines", &s.lines, "number of columns with missing values", {.minimum = 0}},
                  {"--band-range",
                   &s.band_range,
                   "bands of the missing values; all otherwise",
                   {.minimum = 0, .value_name = "FIRST,LAST"}},
                  {"--range", &s.range, "values that count as 0 and 1", {.value_name = "LOW,HIGH"}},
                  {"--input-dataset", &dataset, "dataset or variable with the cube", {.value_name = "NAME"}}},
      .examples = {{"hyde-noise gaussian --snr 20 clean.h5 noisy.h5", "white noise"},
                   {"hyde-noise mixed clean.h5 noisy.h5 --seed 7", "Gaussian noise, impulses, stripes and dead lines"},
                   {"hyde-noise lines --lines 12 clean.h5 gaps.h5",
                    "missing columns; the mask is /mask of the output"}},
      .reference =
          "D. Coquelin et al., \"HyDe: the first open-source, Python-based, GPU-accelerated hyperspectral denoising package\", WHISPERS 2022",
      .reads = "/cube [rows, cols, bands] any real type",
      .writes =
          "/cube float32 [rows, cols, bands]; /truth/sigma [bands] of the Gaussian part; /truth/impulse /truth/stripe /truth/deadline uint8 [bands] 1 "
          "where hit; /mask uint8 [rows, cols, bands] of `lines`, 1 = observed",
      .standard = {.threads = true, .seed = true}};
  return command.run(argc, argv, [&](cli::Session& session) {
    hyde::refuse_same(input, output);
    if (s.range.size() != 2 || !(s.range[0] < s.range[1])) throw usage_error("--range takes LOW,HIGH with LOW < HIGH");
    if (s.least > s.most) throw usage_error("--min {} is above --max {}", s.least, s.most);
    if (s.amounts.empty()) throw usage_error("--amounts needs a number");
    const hyde::CubeInput cube = hyde::open_cube(input, dataset);
    const hyde::Extent extent = cube.info.extent;
    std::vector<float> values(extent.size());
    cube.read_float(0, extent.rows, values);
    const auto low = static_cast<float>(s.range[0]), width = static_cast<float>(s.range[1] - s.range[0]);
    const bool scaled = low != 0 || width != 1;
    if (scaled)
      for (float& v : values)
        v = (v - low) / width;
    const Added added = apply(values, extent, s, session.seed);
    if (scaled)
      for (float& v : values)
        v = v * width + low;
    hyde::CubeInfo info = cube.info;
    info.type = hyde::Element::f32;
    hyde::CubeOutput out(output, info, {.force = session.force, .long_name = "noisy cube"}, session, &cube);
    out.write(0, extent.rows, reinterpret_cast<const std::byte*>(values.data()));
    if (h5::Output* file = out.hdf5()) {
      std::vector<double> sigma = added.sigma;
      for (double& v : sigma)
        v *= static_cast<double>(width);
      file->column("/truth/sigma", sigma, {info.units, "standard deviation of the Gaussian noise added", {"bands"}});
      const auto flags = [&](const char* path, const std::vector<std::uint8_t>& v, const char* what) {
        if (!v.empty()) file->column(path, v, {"", what, {"bands"}});
      };
      flags("/truth/impulse", added.impulse, "1 where a band has impulses");
      flags("/truth/stripe", added.stripe, "1 where a band has stripes");
      flags("/truth/deadline", added.dead, "1 where a band has dead lines");
      if (!added.observed.empty())
        file->write("/mask", added.observed, {extent.rows, extent.cols, extent.bands},
                    {"", "1 where a value was observed", {"rows", "cols", "bands"}});
      if (cube.hdf5)
        file->carry(*cube.hdf5,
                    cube.dataset == "/cube" ? std::set<std::string>{} : std::set<std::string>{cube.dataset});
    }
    out.commit();
    double mean = 0;
    for (double v : added.sigma)
      mean += v * static_cast<double>(width) / static_cast<double>(extent.bands);
    session.summary.add("type", s.type);
    session.summary.add("mean sigma", mean, info.units);
    session.summary.add("seed", static_cast<std::int64_t>(session.seed));
  });
}
