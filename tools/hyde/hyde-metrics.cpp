#include <cmath>
#include <numbers>

#include "cli/command.hpp"
#include "cube_file.hpp"
#include "io/bytes.hpp"
#include "metrics.hpp"

using namespace fachwerk;

namespace {

std::vector<float> read_all(const hyde::CubeInput& cube) {
  std::vector<float> values(cube.info.extent.size());
  cube.read_float(0, cube.info.extent.rows, values);
  if (cube.info.nodata)
    for (float& v : values)
      if (static_cast<double>(v) == *cube.info.nodata) v = NAN;
  return values;
}

void write_csv(const std::string& path, const hyde::Quality& q, const std::vector<double>& wavelength, bool force) {
  formats::Sink sink = formats::Sink::create(path, force, false);
  sink.write(std::string_view("band,wavelength_nm,psnr_db,rmse,ssim\n"));
  for (std::size_t b = 0; b < q.band_psnr.size(); ++b)
    sink.write(std::string_view(fmt::format("{},{},{:.6f},{:.9g},{:.6f}\n", b,
                                            wavelength.empty() ? "" : fmt::format("{}", wavelength[b]), q.band_psnr[b],
                                            q.band_rmse[b], q.band_ssim[b])));
  sink.commit();
}

}  // namespace

int main(int argc, char** argv) {
  std::string reference, test, csv, dataset, test_dataset;
  bool per_band = false, no_reference = false, force = false;
  std::optional<double> least_psnr, least_ssim, largest_sam;
  cli::Command command{
      .name = "hyde-metrics",
      .purpose = "compare a hyperspectral cube with its reference, and gate on the result",
      .description =
          "PSNR (peak: largest value of the reference, whole cube), mean over bands of the PSNR with each band's own peak (MPSNR), SNR, spectral angle "
          "(zero spectra are left out and counted), ERGAS, RMSE, SSIM (11 x 11 Gaussian window of 1.5, K = 0.01 and 0.03). Pixels with a value that is "
          "not finite, or no data, in either cube are left out.\n\n"
          "With --no-reference REF is the noisy cube and TEST the denoised one: lag-1 autocorrelation of what was removed along rows, columns and bands, "
          "its correlation with the signal, and what became of anomalies (RX scores).\n\n"
          "A gate that is not met gives exit code 1.",
      .arguments = {cli::input("REF", reference, "reference cube; with --no-reference the noisy one"),
                    cli::input("TEST", test, "cube to judge")},
      .options = {{"--csv", &csv, "write a table of bands", {.value_name = "FILE"}},
                  {"-f,--force", &force, "overwrite FILE of --csv"},
                  {"--per-band", &per_band, "show the table of bands"},
                  {"--no-reference", &no_reference, "judge what was removed"},
                  {"--min-psnr", &least_psnr, "exit 1 below this", {.unit = "dB"}},
                  {"--min-ssim", &least_ssim, "exit 1 below this mean SSIM"},
                  {"--max-sam", &largest_sam, "exit 1 above this", {.unit = "deg"}},
                  {"--input-dataset", &dataset, "dataset or variable of REF", {.value_name = "NAME"}},
                  {"--test-dataset",
                   &test_dataset,
                   "dataset or variable of TEST; as REF's otherwise",
                   {.value_name = "NAME"}}},
      .examples = {{"hyde-metrics clean.h5 denoised.h5 --csv bands.csv --min-psnr 38", "table and gate"},
                   {"hyde-denoise hyres noisy.h5 - | hyde-metrics clean.h5 -", "at the end of a pipeline"},
                   {"hyde-metrics --no-reference noisy.h5 denoised.h5", "where no clean cube is known"}},
      .reference =
          "Z. Wang et al., \"Image quality assessment: from error visibility to structural similarity\", IEEE TIP 13 (2004); L. Wald, "
          "\"Data fusion\" (2002) for ERGAS",
      .reads = "/cube [rows, cols, bands] any real type, in both files",
      .writes = "",
      .standard = {.threads = true}};
  return command.run(argc, argv, [&](cli::Session& session) {
    if (reference == "-" && test == "-") throw usage_error("only one of REF and TEST can be stdin");
    const hyde::CubeInput a = hyde::open_cube(reference, dataset),
                          b = hyde::open_cube(test, test_dataset.empty() ? (test == "-" ? "" : dataset) : test_dataset);
    const hyde::Extent extent = a.info.extent;
    if (!(extent == b.info.extent))
      throw bad_input("{}: expected {} x {} x {} as in {}, found {} x {} x {}", b.name, extent.rows, extent.cols,
                      extent.bands, a.name, b.info.extent.rows, b.info.extent.cols, b.info.extent.bands);
    const std::vector<float> x = read_all(a), y = read_all(b);
    if (no_reference) {
      const hyde::Residual r = hyde::residual_statistics(x, y, extent);
      session.summary.add("residual correlation along rows", r.row_correlation);
      session.summary.add("residual correlation along cols", r.col_correlation);
      session.summary.add("residual correlation along bands", r.band_correlation);
      session.summary.add("residual correlation with signal", r.signal_correlation);
      session.summary.add("anomaly score ratio", r.anomaly_ratio);
      return;
    }
    const hyde::Quality q = hyde::compare(x, y, extent);
    session.summary.add("psnr", q.psnr, "dB");
    session.summary.add("mpsnr", q.mean_psnr, "dB");
    session.summary.add("snr", q.snr, "dB");
    session.summary.add("sam", q.sam * 180 / std::numbers::pi, "deg");
    session.summary.add("sam", q.sam, "rad");
    session.summary.add("ergas", q.ergas);
    session.summary.add("mssim", q.mean_ssim);
    session.summary.add("rmse", q.rmse);
    session.summary.add("zero spectra", q.zero_spectra);
    session.summary.add("values left out", q.left_out);
    if (per_band) {
      cli::Table table{"bands", {"band", "psnr dB", "rmse", "ssim"}};
      for (std::size_t i = 0; i < extent.bands; ++i)
        table.rows.push_back({static_cast<std::int64_t>(i), q.band_psnr[i], q.band_rmse[i], q.band_ssim[i]});
      session.summary.add(table);
    }
    if (!csv.empty()) write_csv(csv, q, a.info.wavelength, force);
    if (least_psnr && !(q.psnr >= *least_psnr))
      session.fail(fmt::format("PSNR {:.2f} dB is below {} dB", q.psnr, *least_psnr));
    if (least_ssim && !(q.mean_ssim >= *least_ssim))
      session.fail(fmt::format("mean SSIM {:.4f} is below {}", q.mean_ssim, *least_ssim));
    const double degrees = q.sam * 180 / std::numbers::pi;
    if (largest_sam && !(degrees <= *largest_sam))
      session.fail(fmt::format("spectral angle {:.3f} deg is above {}", degrees, *largest_sam));
  });
}
