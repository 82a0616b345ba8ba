#include <algorithm>

#include <fmt/format.h>

#include "cli/command.hpp"
#include "dataset.hpp"
#include "ephemeris.hpp"
#include "io/bytes.hpp"
#include "io/delimited.hpp"
#include "prep.hpp"

using namespace fachwerk;
using namespace fachwerk::polgraw;

namespace {

struct Options {
  std::vector<std::string> inputs;
  std::string output, detector, segments, replace = "zero";
  std::optional<double> fpo, gps, lines_alpha;
  std::optional<int> band;
  double overlap = 0.03125, dt = 2, days = 2, taper = 600, outliers = 0, grubbs = 0, stretch = 1800;
  std::int64_t frame = 1;
};

/// What one input file holds, as transforms of the band.
std::vector<ShortTransform> read_transforms(const std::string& name, const Options& o, double fpo) {
  const auto file = formats::File::open(name);
  const auto bytes = file.bytes();
  constexpr std::array<unsigned char, 4> hdf5{0x89, 'H', 'D', 'F'};
  if (bytes.size() < 4 ||
      !std::ranges::equal(bytes.first(4), hdf5, {}, [](std::byte b) { return std::to_integer<unsigned char>(b); }))
    return bytes.size() > 0 && std::to_integer<char>(bytes[0]) == '%' ? parse_text_transforms(file.text(), name)
                                                                      : parse_sft(bytes, name);
  // GWOSC: /strain/Strain with attributes Xspacing and Xstart.
  const auto h5 = h5::Input::open(name);
  const auto strain = h5.column<double>("/strain/Strain");
  const auto spacing = h5.number("/strain/Strain", "Xspacing"), start = h5.number("/strain/Strain", "Xstart");
  if (!spacing || !start || !(*spacing > 0))
    throw bad_input("{}:/strain/Strain: expected the attributes Xspacing and Xstart", name);
  return transforms_from_series(strain, 1 / *spacing, *start, o.stretch, fpo, 0.5 / o.dt);
}

void run(const Options& o, cli::Session& session) {
  const Site* site = find_site(o.detector);
  if (site == nullptr) throw usage_error("--detector {}: not known", o.detector);
  if (!o.fpo && !o.band) throw usage_error("expected --fpo or --band");
  const double fpo = o.fpo ? *o.fpo : band_edge(*o.band, o.dt, o.overlap);
  const std::size_t N = frame_length(o.days, o.dt);
  if (N < 64 || N > 100000000)
    throw usage_error("--days {} at --dt {}: {} samples, expected 64 to 1e8", o.days, o.dt, N);
  std::vector<ShortTransform> transforms;
  for (const auto& name : o.inputs) {
    auto more = read_transforms(name, o, fpo);
    std::ranges::move(more, std::back_inserter(transforms));
  }
  if (transforms.empty()) throw bad_input("{}: no data that can be used", o.inputs.front());
  std::ranges::sort(transforms, {}, &ShortTransform::gps);
  const double start = o.gps.value_or(transforms.front().gps);
  Frame frame;
  frame.info = {o.frame, o.fpo ? -1 : *o.band, o.overlap, start};
  frame.observation.band = make_band(fpo, o.dt, N);
  Series series;
  series.site = *site;
  series.gps_start = start;
  series.x = band_from_transforms(transforms, fpo, o.dt, start, N);
  if (!o.segments.empty()) {
    const auto file = formats::File::open(o.segments);
    const auto table = formats::read_delimited(file.text(), o.segments);
    if (table.columns.size() < 2) throw bad_input("{}: expected GPS begin and end", o.segments);
    const auto a = formats::as_reals(table.columns[0].values, o.segments),
               b = formats::as_reals(table.columns[1].values, o.segments);
    std::vector<std::array<double, 2>> segments;
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (!(a[i] < b[i])) throw bad_input("{}: row {}: expected begin before end", o.segments, i + 1);
      segments.push_back({a[i], b[i]});
    }
    apply_segments(series.x, start, o.dt, segments, o.taper);
  }
  const auto replacement = o.replace == "zero" ? Replacement::zero : Replacement::gauss;
  auto& s = session.summary;
  if (o.outliers > 0) s.add("outliers", replace_outliers(series.x, o.outliers, replacement, session.seed));
  if (o.grubbs > 0)
    s.add("outliers by Grubbs' test", replace_grubbs(series.x, o.grubbs, 32768, replacement, session.seed));
  series.sigma2 = noise_variance(series.x);
  if (!(series.sigma2 > 0)) throw bad_input("{}: no samples in the frame from GPS {:.0f} on", o.inputs.front(), start);
  series.ephemeris = make_ephemeris(*site, start, o.dt, N, TimeScales::built_in());
  if (o.lines_alpha) {
    cli::Table table{"lines", {"frequency Hz", "amplitude", "power"}};
    for (const auto& line : find_lines(series.x, frame.observation.band, *o.lines_alpha, 2, 4096, 100))
      table.rows.push_back({line.frequency, line.amplitude, line.F});
    s.add(std::move(table));
  }
  s.add("samples", N);
  s.add("missing", missing_samples(series.x));
  s.add("standard deviation", std::sqrt(series.sigma2));
  frame.observation.detectors.push_back(std::move(series));
  auto file = h5::Output::create(o.output, session.force);
  write_frame(file, frame);
  file.stamp(session, "gw-data");
  file.commit();
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  const cli::Command command{
      .name = "polgraw-prep",
      .purpose = "make a frame of narrow-band data from strain or short Fourier transforms",
      .description =
          "Reads SFT files (versions 2 and 3), text dumps of transforms (% gps, % length, % band_start, then re im) or GWOSC "
          "HDF5 strain of one detector, cuts out the band, mixes it down to start "
          "at 0 Hz, keeps the middle half of half-overlapping stretches, masks and tapers by science segments, and replaces "
          "outliers. Samples without data are 0. Frames of several detectors are joined by h5-import or h5py: one group each.",
      .arguments = {cli::inputs("IN", o.inputs, "SFT files, text dumps or GWOSC HDF5 of one detector"),
                    cli::output("OUT", o.output, "gw-data")},
      .options = {{"--detector", &o.detector, "which one: H1 L1 V1 K1 G1", {.required = true}},
                  {"--fpo", &o.fpo, "lower edge of the band", {.unit = "Hz", .minimum = 1e-3, .maximum = 1e6}},
                  {"--band", &o.band, "its number instead", {.minimum = 0}},
                  {"--overlap", &o.overlap, "of bands", {.minimum = 0, .maximum = 0.9}},
                  {"--gps", &o.gps, "start of the frame; default: of the data", {.unit = "s"}},
                  {"--dt", &o.dt, "sampling interval", {.unit = "s", .minimum = 1e-3, .maximum = 1e5}},
                  {"--days", &o.days, "sidereal days in the frame", {.minimum = 0.001, .maximum = 1000}},
                  {"--frame", &o.frame, "number of the frame"},
                  {"--stretch", &o.stretch, "length of the transforms made from strain", {.unit = "s", .minimum = 1}},
                  {"--segments", &o.segments, "two columns: GPS begin and end of science data", {.value_name = "FILE"}},
                  {"--taper", &o.taper, "at the edges of segments", {.unit = "s", .minimum = 0}},
                  {"--outliers", &o.outliers, "replace |x| above this times sigma; 0: none", {.minimum = 0}},
                  {"--grubbs", &o.grubbs, "level of Grubbs' test; 0: none", {.minimum = 0, .maximum = 0.5}},
                  {"--replace", &o.replace, "what outliers become", {.choices = {"zero", "gauss"}}},
                  {"--lines-find",
                   &o.lines_alpha,
                   "list lines above this global false-alarm probability",
                   {.minimum = 1e-12, .maximum = 0.5}}},
      .examples = {{"polgraw-prep H-*.sft h1.h5 --detector H1 --band 42 --segments h1.txt --grubbs 0.1", "From SFTs."},
                   {"polgraw-prep H-H1_GWOSC_4KHZ*.hdf5 h1.h5 --detector H1 --fpo 100 --outliers 6",
                    "From open strain data."}},
      .reference = "Poghosyan et al., Comput. Phys. Commun. 188 (2015) 167; Grubbs, Ann. Math. Statist. 21 (1950) 27",
      .reads = "GWOSC: /strain/Strain with attributes Xspacing, Xstart",
      .writes = "gw-data: see polgraw-search",
      .standard = {.seed = true}};
  return command.run(argc, argv, [&](cli::Session& session) { run(o, session); });
}
