#include <algorithm>
#include <set>

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
  std::string output, detector, segments, replace = "zero", dataset = "/strain/Strain";
  std::optional<double> fpo, gps, origin, lines_alpha, rate;
  std::optional<int> band;
  double overlap = 0.03125, dt = 2, days = 2, taper = 600, narrow = 0, outliers = 0, grubbs = 0, stretch = 1800,
         edge = 0;
  int pad = 2;
  std::int64_t frame = 1;
};

bool is_hdf5(formats::Bytes bytes) {
  constexpr std::array<unsigned char, 4> magic{0x89, 'H', 'D', 'F'};
  return bytes.size() >= 4 &&
         std::ranges::equal(bytes.first(4), magic, {}, [](std::byte b) { return std::to_integer<unsigned char>(b); });
}

/// What one input file holds, as transforms of the band.
std::vector<ShortTransform> read_transforms(const std::string& name, const Options& o, double fpo) {
  const auto file = formats::File::open(name);
  const auto bytes = file.bytes();
  if (!is_hdf5(bytes))
    return bytes.size() > 0 && std::to_integer<char>(bytes[0]) == '%' ? parse_text_transforms(file.text(), name)
                                                                      : parse_sft(bytes, name);
  // A series of strain: GWOSC's with attributes Xspacing and Xstart, or any with --rate and --gps.
  const auto h5 = h5::Input::open(name);
  const auto strain = h5.column<double>(o.dataset);
  const auto spacing = o.rate ? 1 / *o.rate : h5.number(o.dataset, "Xspacing"),
             start = h5.has_attribute(o.dataset, "Xstart") ? h5.number(o.dataset, "Xstart") : o.gps;
  if (!spacing || !start || !(*spacing > 0))
    throw bad_input("{}:{}: expected the attributes Xspacing and Xstart, or --rate and --gps", name, o.dataset);
  return transforms_from_series(strain, 1 / *spacing, *start, o.stretch, fpo, 0.5 / o.dt);
}

/// A frame of one detector, cut from its transforms.
Frame cut_frame(const Options& o) {
  if (o.detector.empty()) throw usage_error("--detector is needed");
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
  double start = o.gps.value_or(transforms.front().gps);
  if (o.origin) start = *o.origin + static_cast<double>(o.frame - 1) * static_cast<double>(N) * o.dt;
  Frame frame;
  frame.info = {o.frame, o.fpo ? -1 : *o.band, o.overlap, start};
  frame.observation.band = make_band(fpo, o.dt, N);
  frame.observation.mixing_gps = start;
  Series series;
  series.site = *site;
  series.gps_start = start;
  series.x = band_from_transforms(transforms, fpo, o.dt, start, N);
  series.ephemeris = make_ephemeris(*site, start, o.dt, N, TimeScales::built_in());
  series.ephemeris.sun = sun_positions(start, o.dt, N);
  frame.observation.detectors.push_back(std::move(series));
  return frame;
}

std::vector<std::array<double, 2>> read_segments(const std::string& path) {
  const auto file = formats::File::open(path);
  const auto table = formats::read_delimited(file.text(), path);
  if (table.columns.size() < 2) throw bad_input("{}: expected GPS begin and end", path);
  const auto a = formats::as_reals(table.columns[0].values, path), b = formats::as_reals(table.columns[1].values, path);
  std::vector<std::array<double, 2>> segments;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!(a[i] < b[i])) throw bad_input("{}: row {}: expected begin before end", path, i + 1);
    segments.push_back({a[i], b[i]});
  }
  return segments;
}

/// Segments, outliers, lines of one detector's series; adds to the summary.
void clean(Series& series, const Band& band, const Options& o, cli::Session& session, const std::string& prefix) {
  auto& s = session.summary;
  const auto name = [&](const char* what) { return prefix + what; };
  if (!o.segments.empty()) {
    auto segments = read_segments(o.segments);
    if (o.narrow > 0) segments = narrowed_segments(series.x, series.gps_start, o.dt, segments, o.narrow, o.taper);
    s.add(name("segments"), segments.size());
    apply_segments(series.x, series.gps_start, o.dt, segments, o.taper);
  }
  const auto replacement = o.replace == "zero" ? Replacement::zero : Replacement::gauss;
  if (o.outliers > 0) s.add(name("outliers"), replace_outliers(series.x, o.outliers, replacement, session.seed));
  if (o.grubbs > 0)
    s.add(name("outliers by Grubbs' test"), replace_grubbs(series.x, o.grubbs, 32768, replacement, session.seed));
  series.sigma2 = noise_variance(series.x);
  if (!(series.sigma2 > 0))
    throw bad_input("{}: no samples in the frame from GPS {:.0f} on", o.inputs.front(), series.gps_start);
  if (o.lines_alpha) {
    cli::Table table{name("lines"), {"frequency Hz", "amplitude", "power", "phase"}};
    const auto bins = static_cast<std::size_t>(o.edge / band.width() * static_cast<double>(band.nfft) / 2 * o.pad);
    for (const auto& line : find_lines(series.x, band, {.alpha = *o.lines_alpha, .pad = o.pad, .exclude = bins}))
      table.rows.push_back({line.frequency, line.amplitude, line.F, line.phase});
    s.add(std::move(table));
  }
  s.add(name("samples"), series.x.size());
  s.add(name("missing"), missing_samples(series.x));
  s.add(name("standard deviation"), std::sqrt(series.sigma2));
}

void run(const Options& o, cli::Session& session) {
  // A frame that exists already (of polgraw-convert, say) is cleaned as it is.
  std::optional<h5::Input> input;
  if (o.inputs.size() == 1) {
    const bool piped = o.inputs[0] == "-";
    if (piped || is_hdf5(formats::File::open(o.inputs[0]).bytes())) input = h5::Input::open(o.inputs[0]);
    if (input && input->kind() != "gw-data") {
      if (piped) throw bad_input("stdin: expected kind gw-data");
      input.reset();
    }
  }
  auto options = o;
  Frame frame;
  if (input) {
    frame = read_frame(*input, Needs::data, o.detector.empty() ? std::vector<std::string>{} : std::vector{o.detector});
    options.dt = frame.observation.band.dt;
  } else {
    frame = cut_frame(o);
  }
  auto& detectors = frame.observation.detectors;
  for (auto& series : detectors)
    clean(series, frame.observation.band, options, session, detectors.size() > 1 ? series.site.name + " " : "");
  auto file = h5::Output::create(o.output, session.force);
  write_frame(file, frame);
  file.stamp(session, "gw-data", input ? &*input : nullptr);
  if (input) {
    std::set<std::string> stay;
    for (const auto& child : input->children("/"))
      if (input->is_dataset("/" + child + "/ephem/earth_ssb") &&
          std::ranges::none_of(detectors, [&](const Series& d) { return d.site.name == child; }))
        stay.insert("/" + child);
    file.carry(*input, stay);
  }
  file.commit();
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  const cli::Command command{
      .name = "polgraw-prep",
      .purpose = "make a frame of narrow-band data from strain or short Fourier transforms",
      .description =
          "Reads SFT files (versions 2 and 3), text dumps of transforms (% gps, % length, % band_start, then re im) or "
          "HDF5 series of strain (GWOSC's, or any with --dataset, --rate and --gps) of one detector, cuts out the band, mixes it down to start "
          "at 0 Hz, keeps the middle half of half-overlapping stretches, masks and tapers by science segments, and replaces "
          "outliers. A gw-data file, such as polgraw-convert makes of the community code's folders, is masked and cleaned as "
          "it is. Samples without data are 0. Frames of several detectors are joined by h5-import or h5py: one group each.",
      .arguments = {cli::inputs("IN", o.inputs, "SFT files, text dumps or HDF5 strain of one detector; or gw-data"),
                    cli::output("OUT", o.output, "gw-data")},
      .options =
          {{"--detector", &o.detector, "which one: H1 L1 V1 K1 G1; of gw-data all by default"},
           {"--fpo", &o.fpo, "lower edge of the band", {.unit = "Hz", .minimum = 1e-3, .maximum = 1e6}},
           {"--band", &o.band, "its number instead", {.minimum = 0}},
           {"--overlap", &o.overlap, "of bands", {.minimum = 0, .maximum = 0.9}},
           {"--gps", &o.gps, "start of the frame; default: of the data", {.unit = "s"}},
           {"--dt", &o.dt, "sampling interval", {.unit = "s", .minimum = 1e-3, .maximum = 1e5}},
           {"--days", &o.days, "sidereal days in the frame", {.minimum = 0.001, .maximum = 1000}},
           {"--frame", &o.frame, "number of the frame"},
           {"--origin", &o.origin, "start of frame 1: frames follow one another from there", {.unit = "s"}},
           {"--dataset", &o.dataset, "of the strain in HDF5", {.value_name = "PATH"}},
           {"--rate", &o.rate, "of the strain where no attribute Xspacing tells", {.unit = "Hz", .minimum = 1e-3}},
           {"--stretch", &o.stretch, "length of the transforms made from strain", {.unit = "s", .minimum = 1}},
           {"--segments", &o.segments, "two columns: GPS begin and end of science data", {.value_name = "FILE"}},
           {"--taper", &o.taper, "at the edges of segments", {.unit = "s", .minimum = 0}},
           {"--narrow",
            &o.narrow,
            "segments end behind samples above this times sigma within the taper's reach; 0: not",
            {.minimum = 0}},
           {"--outliers", &o.outliers, "replace |x| above this times sigma; 0: none", {.minimum = 0}},
           {"--grubbs", &o.grubbs, "level of Grubbs' test; 0: none", {.minimum = 0, .maximum = 0.5}},
           {"--replace", &o.replace, "what outliers become", {.choices = {"zero", "gauss"}}},
           {"--lines-find",
            &o.lines_alpha,
            "list lines above this global false-alarm probability",
            {.minimum = 1e-12, .maximum = 0.5}},
           {"--lines-pad", &o.pad, "zero padding of the periodogram", {.minimum = 1, .maximum = 64}},
           {"--lines-edge", &o.edge, "no lines so near the band's edges", {.unit = "Hz", .minimum = 0}}},
      .examples = {{"polgraw-prep H-*.sft h1.h5 --detector H1 --band 42 --segments h1.txt --grubbs 0.1", "From SFTs."},
                   {"polgraw-prep H-H1_GWOSC_4KHZ*.hdf5 h1.h5 --detector H1 --fpo 100 --outliers 6",
                    "From open strain data."},
                   {"polgraw-convert 001 - | polgraw-prep - clean.h5 --segments science.txt --grubbs 0.1",
                    "A frame of the community code, cleaned."}},
      .reference = "Poghosyan et al., Comput. Phys. Commun. 188 (2015) 167; Grubbs, Ann. Math. Statist. 21 (1950) 27",
      .reads = "GWOSC: /strain/Strain with attributes Xspacing, Xstart; gw-data: see polgraw-search",
      .writes = "gw-data: see polgraw-search",
      .standard = {.seed = true}};
  return command.run(argc, argv, [&](cli::Session& session) { run(o, session); });
}
