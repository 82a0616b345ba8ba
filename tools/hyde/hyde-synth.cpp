#include "cli/command.hpp"
#include "cube_file.hpp"
#include "io/delimited.hpp"
#include "synth.hpp"

using namespace fachwerk;

int main(int argc, char** argv) {
  std::string output, spectra;
  std::vector<std::int64_t> size{96, 96, 100};
  int endmembers = 5, rectangles = 6;
  hyde::SynthOptions options;
  cli::Command command{
      .name = "hyde-synth",
      .purpose = "make a synthetic hyperspectral scene without noise",
      .description =
          "Linear mixtures of endmember spectra (sums of Gaussians on a baseline, 400 to 2500 nm, clipped to [0.02, 1]). Abundances are the "
          "softmax of Gaussian random fields whose amplitude falls as k^-beta, plus rectangles of one endmember with a pure fraction of 0.9. "
          "Optional: brightness field, spectral variability, bilinear mixing, spectral smile, blur. Noise is added by hyde-noise, so that the "
          "clean cube stays known. The same seed gives the same scene for any number of threads.",
      .arguments = {cli::output("OUT", output, "cube (HDF5)")},
      .options =
          {{"--size", &size, "rows, cols and bands", {.minimum = 1, .maximum = 100000, .value_name = "H,W,B"}},
           {"--endmembers",
            &endmembers,
            "number of spectra: the rank of a linear scene",
            {.minimum = 1, .maximum = 1000}},
           {"--spectra",
            &spectra,
            "CSV with one spectrum a column, one band a row, instead of random ones",
            {.value_name = "FILE"}},
           {"--beta", &options.beta, "exponent of the fields", {.minimum = 0, .maximum = 5}},
           {"--contrast", &options.contrast, "of the fields in the softmax", {.minimum = 0, .maximum = 100}},
           {"--rectangles", &rectangles, "number of nearly pure areas", {.minimum = 0, .maximum = 10000}},
           {"--illumination", &options.illumination, "strength of a brightness field", {.minimum = 0, .maximum = 2}},
           {"--variability", &options.variability, "scale every pixel by 1 ± this", {.minimum = 0, .maximum = 0.9}},
           {"--bilinear", &options.bilinear, "strength of bilinear mixing", {.minimum = 0, .maximum = 10}},
           {"--smile",
            &options.smile,
            "shift of the spectra at the image's edges",
            {.unit = "bands", .minimum = 0, .maximum = 10}},
           {"--blur",
            &options.blur,
            "standard deviation of the point spread",
            {.unit = "pixels", .minimum = 0, .maximum = 50}}},
      .examples = {{"hyde-synth --size 128,128,100 clean.h5", "a scene of five endmembers"},
                   {"hyde-synth - --size 128,128,100 | hyde-noise gaussian --snr 20 - - | hyde-denoise hyres - out.h5",
                    "a whole pipeline"}},
      .reference =
          "N. Keshava, J. F. Mustard, \"Spectral unmixing\", IEEE Signal Processing Magazine 19 (2002): the linear mixing model",
      .reads = "",
      .writes =
          "/cube float32 [rows, cols, bands] reflectance, /wavelength [bands] nm, /abundances float32 [rows, cols, endmembers], "
          "/spectra float64 [endmembers, bands]",
      .standard = {.threads = true, .seed = true}};
  return command.run(argc, argv, [&](cli::Session& session) {
    if (size.size() != 3) throw usage_error("--size takes three numbers H,W,B, not {}", size.size());
    hyde::Extent extent{static_cast<std::size_t>(size[0]), static_cast<std::size_t>(size[1]),
                        static_cast<std::size_t>(size[2])};
    if (static_cast<double>(extent.pixels()) * static_cast<double>(extent.bands) > 1e12)
      throw usage_error("--size {},{},{} is too large", size[0], size[1], size[2]);
    options.endmembers = static_cast<std::size_t>(endmembers);
    options.rectangles = static_cast<std::size_t>(rectangles);
    options.seed = session.seed;
    if (!spectra.empty()) options.spectra = hyde::read_spectra(spectra, extent.bands);
    const hyde::Scene scene = hyde::synthesise(extent, options);
    hyde::CubeInfo info{extent};
    info.wavelength = scene.wavelength;
    info.units = "reflectance";
    hyde::CubeOutput out(output, info, {.force = session.force, .long_name = "synthetic scene without noise"}, session);
    out.write(0, extent.rows, reinterpret_cast<const std::byte*>(scene.cube.data()));
    if (h5::Output* file = out.hdf5()) {
      file->write("/abundances", scene.abundances, {extent.rows, extent.cols, scene.spectra.rows},
                  {"", "fraction of each endmember", {"rows", "cols", "endmembers"}});
      file->write("/spectra", scene.spectra.values, {scene.spectra.rows, extent.bands},
                  {"reflectance", "endmember spectra", {"endmembers", "bands"}});
      file->attribute("/cube", "rank", static_cast<std::int64_t>(scene.spectra.rows));
      for (const auto& [key, value] :
           std::vector<std::pair<std::string, double>>{{"beta", options.beta},
                                                       {"contrast", options.contrast},
                                                       {"illumination", options.illumination},
                                                       {"variability", options.variability},
                                                       {"bilinear", options.bilinear},
                                                       {"smile", options.smile},
                                                       {"blur", options.blur},
                                                       {"seed", static_cast<double>(session.seed)}})
        file->attribute("/cube", "synth_" + key, value);
    }
    out.commit();
    session.summary.add("rows", extent.rows);
    session.summary.add("cols", extent.cols);
    session.summary.add("bands", extent.bands);
    session.summary.add("endmembers", scene.spectra.rows);
    session.summary.add("seed", static_cast<std::int64_t>(session.seed));
  });
}
