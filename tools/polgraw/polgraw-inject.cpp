#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "cli/command.hpp"
#include "dataset.hpp"
#include "ephemeris.hpp"
#include "inject.hpp"
#include "io/bytes.hpp"
#include "io/delimited.hpp"
#include "legacy.hpp"
#include "site_option.hpp"

using namespace fachwerk;
using namespace fachwerk::polgraw;

namespace {

struct Options {
  std::string input, output, psd, segments, catalogue, sig;
  std::vector<std::string> detectors = {"H1", "L1"}, sites, lines, combs;
  std::vector<double> noise, duty, params, glitches, calibration, power_law;
  std::optional<double> snr, amp, fdot_min, fdot_max, fpo, gps;
  double dt = 2, days = 2;
  std::optional<int> band;
  std::int64_t frame = 1, number = 0, count = 1;
  double fddot = 0;
  std::optional<std::int64_t> reference;
  int frames_in_band = 0;
  bool random = false, exact_phase = false, shapiro = false;
};

Frame make_frame(const Options& o) {
  if (!o.gps) throw usage_error("without input data --gps is needed");
  if (!o.fpo && !o.band) throw usage_error("without input data --fpo or --band is needed");
  const std::size_t N = frame_length(o.days, o.dt);
  if (N < 64 || N > 100000000)
    throw usage_error("--days {} at --dt {}: {} samples, expected 64 to 1e8", o.days, o.dt, N);
  Frame frame;
  frame.info = {o.frame, o.fpo ? -1 : *o.band, 0.03125, *o.gps};
  frame.observation.band = make_band(o.fpo ? *o.fpo : band_edge(*o.band, o.dt), o.dt, N);
  for (const auto& site : resolve_sites(o.detectors, o.sites)) {
    Series series;
    series.site = site;
    series.gps_start = *o.gps;
    series.ephemeris = make_ephemeris(site, *o.gps, o.dt, N, TimeScales::built_in());
    if (o.shapiro) series.ephemeris.sun = sun_positions(*o.gps, o.dt, N);
    frame.observation.detectors.push_back(std::move(series));
  }
  return frame;
}

double second_of(const Band& band, double fddot) {
  return pi * fddot * std::pow(band.dt, 3) / 3;
}

Injection from_physical(const Band& band, const std::vector<double>& p) {
  if (!std::ranges::all_of(p, [](double v) { return std::isfinite(v); }))
    throw usage_error("a signal's parameters: expected finite numbers");
  if (!(std::abs(p[1]) <= pi / 2)) throw usage_error("delta is {}, expected -pi/2 to pi/2", p[1]);
  Injection injection;
  injection.point = {band.omega(p[2]), band.s(p[3]), p[1], p[0], p.size() > 8 ? second_of(band, p[8]) : 0};
  injection.polarisation = {p[4], p[5], p[6], p[7]};
  if (!(injection.point.omega > 0 && injection.point.omega < pi))
    throw usage_error("frequency {} Hz is not in the band {} to {} Hz", p[2], band.fpo, band.fpo + band.width());
  if (std::abs(p[5]) > 1) throw usage_error("cos iota is {}, expected -1 to 1", p[5]);
  return injection;
}

/// A signal of the community code's file; its snr or amplitude is applied by the caller's options.
Injection from_file(const legacy::SignalFile& signal) {
  Injection injection;
  injection.point = {signal.omega, signal.s, signal.delta, signal.alpha};
  injection.polarisation = polarisation(signal.amplitudes);
  if (!signal.is_snr) injection.polarisation.h0 *= signal.value;
  return injection;
}

std::vector<Injection> injections_of(const Options& o, const Band& band, std::uint64_t seed) {
  std::vector<Injection> list;
  if (!o.params.empty()) {
    if (o.params.size() != 8)
      throw usage_error("--params: expected alpha,delta,f,fdot,h0,cosi,psi,phi0, found {} numbers", o.params.size());
    auto p = o.params;
    p.push_back(o.fddot);
    list.push_back(from_physical(band, p));
  }
  if (!o.catalogue.empty()) {
    const auto file = formats::File::open(o.catalogue);
    const auto table = formats::read_delimited(file.text(), o.catalogue);
    if (table.columns.size() != 8 && table.columns.size() != 9)
      throw bad_input("{}: expected the columns alpha,delta,f,fdot,h0,cosi,psi,phi0 and perhaps fddot, found {}",
                      o.catalogue, table.columns.size());
    std::vector<std::vector<double>> columns;
    for (const auto& c : table.columns)
      columns.push_back(formats::as_reals(c.values, o.catalogue));
    for (std::size_t i = 0; i < columns[0].size(); ++i) {
      std::vector<double> row;
      for (const auto& c : columns)
        row.push_back(c[i]);
      list.push_back(from_physical(band, row));
    }
  }
  if (!o.sig.empty()) list.push_back(from_file(legacy::parse_signal(formats::File::open(o.sig).text(), o.sig)));
  if (o.random) {
    const double lo = o.fdot_min ? band.s(*o.fdot_min) : -o1_prior(band).s_max,
                 hi = o.fdot_max ? band.s(*o.fdot_max) : o1_prior(band).s_min;
    if (lo > hi) throw usage_error("--fdot-min is above --fdot-max");
    for (std::int64_t k = 0; k < o.count; ++k)
      list.push_back(draw_signal(band, {lo, hi, o.frames_in_band}, seed, static_cast<std::uint64_t>(o.number + k)));
  }
  return list;
}

std::vector<std::array<double, 2>> read_pairs(const std::string& path) {
  const auto file = formats::File::open(path);
  const auto table = formats::read_delimited(file.text(), path);
  if (table.columns.size() < 2) throw bad_input("{}: expected two columns", path);
  const auto a = formats::as_reals(table.columns[0].values, path), b = formats::as_reals(table.columns[1].values, path);
  std::vector<std::array<double, 2>> pairs;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) throw bad_input("{}: row {}: expected two numbers", path, i + 1);
    pairs.push_back({a[i], b[i]});
  }
  return pairs;
}

/// One signal as entries, several as a table.
void report(cli::Session& session, const std::vector<Injection>& injections, const std::vector<double>& snr,
            const Band& band) {
  auto& s = session.summary;
  if (injections.size() > 1) {
    cli::Table table{"signals",
                     {"alpha", "delta", "frequency Hz", "fdot Hz/s", "h0", "cos iota", "psi", "phi0", "snr"}};
    for (std::size_t k = 0; k < injections.size(); ++k) {
      const auto& p = injections[k].point;
      const auto& q = injections[k].polarisation;
      table.rows.push_back(
          {p.alpha, p.delta, band.frequency(p.omega), band.spindown(p.s), q.h0, q.cos_iota, q.psi, q.phi0, snr[k]});
    }
    s.add(std::move(table));
    return;
  }
  for (std::size_t k = 0; k < injections.size(); ++k) {
    const auto& injection = injections[k];
    const auto A = amplitudes(injection.polarisation);
    s.add("alpha", injection.point.alpha, "rad");
    s.add("delta", injection.point.delta, "rad");
    s.add("frequency", band.frequency(injection.point.omega), "Hz");
    s.add("fdot", band.spindown(injection.point.s), "Hz/s");
    if (injection.point.s2 != 0) s.add("fddot", injection.point.s2 / second_of(band, 1), "Hz/s^2");
    s.add("omega", injection.point.omega);
    s.add("s", injection.point.s);
    s.add("h0", injection.polarisation.h0);
    s.add("cos iota", injection.polarisation.cos_iota);
    s.add("psi", injection.polarisation.psi, "rad");
    s.add("phi0", injection.polarisation.phi0, "rad");
    s.add("amplitudes", std::vector<double>(A.begin(), A.end()));
    s.add("optimal snr", snr[k]);
  }
}

/// The numbers of a word such as f:amplitude:phase.
std::vector<double> numbers_of(const std::string& word) {
  std::vector<double> p;
  for (std::size_t begin = 0; begin <= word.size();) {
    const auto end = std::min(word.find(':', begin), word.size());
    const auto value = formats::parse_real(word.substr(begin, end - begin));
    if (!value || !std::isfinite(*value)) return {};
    p.push_back(*value);
    begin = end + 1;
  }
  return p;
}

struct InstrumentalLine {
  double frequency, amplitude, phase, wander;
};
/// Of --line and, inside the band, of --comb.
std::vector<InstrumentalLine> lines_of(const Options& o, const Band& band) {
  std::vector<InstrumentalLine> lines;
  for (const auto& word : o.lines) {
    const auto p = numbers_of(word);
    if (p.size() != 3 && p.size() != 4)
      throw usage_error("--line {}: expected f:amplitude:phase or f:amplitude:phase:wander", word);
    lines.push_back({p[0], p[1], p[2], p.size() == 4 ? p[3] : 0});
  }
  for (const auto& word : o.combs) {
    const auto p = numbers_of(word);
    if ((p.size() != 3 && p.size() != 4) || !(p[0] > 0))
      throw usage_error(
          "--comb {}: expected spacing:offset:amplitude or spacing:offset:amplitude:wander, spacing above 0", word);
    if (band.width() / p[0] > 1e5) throw usage_error("--comb {}: more than 1e5 teeth in the band", word);
    for (double k = std::max(1.0, std::ceil((band.fpo - p[1]) / p[0])); p[1] + k * p[0] < band.fpo + band.width(); ++k)
      lines.push_back({p[1] + k * p[0], p[2], 0, p.size() == 4 ? p[3] : 0});
  }
  return lines;
}

/// Amplitude A (f / f0)^index as rows of a table across the band.
std::vector<std::array<double, 2>> power_law_of(const std::vector<double>& p, const Band& band) {
  constexpr int rows = 256;
  std::vector<std::array<double, 2>> table;
  for (int k = 0; k <= rows; ++k) {
    const double f = band.fpo + band.width() * k / rows;
    table.push_back({f, p[0] * std::pow(f / p[1], p[2])});
  }
  return table;
}

void run(const Options& options, cli::Session& session) {
  std::optional<h5::Input> input;
  Frame frame;
  if (!options.input.empty()) {
    input = h5::Input::open(options.input);
    input->require_kind({"gw-data", "polgraw-data"});
    frame = read_frame(*input, Needs::ephemeris);
    if (options.shapiro) read_sun(*input, frame.observation);
    if (frame.observation.band.fpo == 0) {
      if (!options.fpo && !options.band) throw usage_error("{} has no band: expected --fpo or --band", options.input);
      frame.info.band = options.fpo ? -1 : *options.band;
      const auto& b = frame.observation.band;
      frame.observation.band = make_band(options.fpo ? *options.fpo : band_edge(*options.band, b.dt), b.dt, b.N);
    }
  } else {
    frame = make_frame(options);
  }
  auto& o = frame.observation;
  if (std::ranges::all_of(o.detectors, [](const Series& s) { return s.x.empty(); }))
    o.mixing_gps = frame.info.gps_start;
  if (!options.noise.empty() && options.noise.size() != 1 && options.noise.size() != o.detectors.size())
    throw usage_error("--noise: expected one value or {}, found {}", o.detectors.size(), options.noise.size());
  const auto number = static_cast<std::uint64_t>(frame.info.frame);
  auto psd = options.psd.empty() ? std::vector<std::array<double, 2>>{} : read_pairs(options.psd);
  if (!options.psd.empty() && psd.empty()) throw bad_input("{}: no rows", options.psd);
  if (!options.power_law.empty()) psd = power_law_of(options.power_law, o.band);
  for (std::size_t d = 0; d < o.detectors.size(); ++d) {
    auto& series = o.detectors[d];
    const auto key = stream_of(o, d);
    const bool fresh = series.x.empty();
    const auto missing = series.x;
    series.x.resize(o.band.N);
    const double sigma = options.noise.empty() ? 0 : options.noise[options.noise.size() == 1 ? 0 : d];
    if (sigma > 0) add_noise(series.x, sigma, session.seed, number, key);
    if (!psd.empty()) add_coloured_noise(series.x, o.band, psd, session.seed, number, key);
    if (!options.glitches.empty())
      add_glitches(series.x, o.band, {options.glitches[0], options.glitches[1], options.glitches[2]}, session.seed,
                   number, key);
    if (!fresh)
      for (std::size_t i = 0; i < o.band.N; ++i)
        if (missing[i] == 0) series.x[i] = 0;
    if (!options.segments.empty())
      keep_segments(series.x, frame.info.gps_start, o.band.dt, read_pairs(options.segments));
    if (!options.duty.empty())
      add_gaps(series.x, o.band.dt, 3600 * options.duty[0], 3600 * options.duty[1], session.seed, number, key);
    series.sigma2 = noise_variance(series.x);
    if (!(series.sigma2 > 0)) series.sigma2 = 1;  // signals alone
  }
  const double elapsed = static_cast<double>(frame.info.frame - options.reference.value_or(frame.info.frame)) *
                         static_cast<double>(o.band.N);
  // Data whose mixing is not known counts as cut from one series that the reference frame began.
  const double mixing_seconds = o.mixing_gps ? *o.mixing_gps - frame.info.gps_start + elapsed * o.band.dt : 0;
  // Without noise the signal fills what would be exact zeros.
  const bool silent =
      std::ranges::all_of(o.detectors, [](const Series& s) { return missing_samples(s.x) == s.x.size(); });
  auto blank = o;
  if (silent)
    for (auto& d : blank.detectors)
      d.x.clear();
  const auto signals = injections_of(options, o.band, session.seed);
  auto snr = options.snr;
  if (!options.sig.empty()) {
    const auto signal = legacy::parse_signal(formats::File::open(options.sig).text(), options.sig);
    if (signal.is_snr && !snr) snr = signal.value;
  }
  std::vector<Injection> reported;
  std::vector<double> snrs;
  for (auto injection : signals) {
    auto here = at_frame(injection, o.band, elapsed, mixing_seconds);
    if (!(here.point.omega > 0 && here.point.omega < pi))
      throw usage_error("the signal leaves the band by frame {}: see --nfr-in-band", frame.info.frame);
    if (options.amp) here.polarisation.h0 = *options.amp;
    if (snr) here.polarisation.h0 *= *snr / optimal_snr(blank, here);
    injection.polarisation.h0 = here.polarisation.h0;
    reported.push_back(injection);
    snrs.push_back(optimal_snr(blank, here));
    for (std::size_t d = 0; d < o.detectors.size(); ++d) {
      auto& series = o.detectors[d];
      const auto recorded = options.calibration.empty()
                                ? here
                                : miscalibrated(here, options.calibration[0], options.calibration[1], session.seed,
                                                number, stream_of(o, d));
      const auto h = signal_series(series, o.band, recorded, options.exact_phase);
      for (std::size_t i = 0; i < o.band.N; ++i)
        if (silent || series.x[i] != 0) series.x[i] += h[i];
    }
  }
  report(session, reported, snrs, o.band);
  std::uint32_t number_of_line = 0;
  for (const auto& line : lines_of(options, o.band)) {
    for (std::size_t d = 0; d < o.detectors.size(); ++d) {
      auto& series = o.detectors[d];
      auto with = series.x;
      add_line(with, o.band, line.frequency, line.amplitude, line.phase, line.wander, session.seed + number,
               stream_of(o, d) + 16 * number_of_line);
      for (std::size_t i = 0; i < with.size(); ++i)
        if (silent || series.x[i] != 0) series.x[i] = with[i];
    }
    ++number_of_line;
  }
  for (auto& series : o.detectors)
    series.sigma2 = noise_variance(series.x);
  auto file = h5::Output::create(options.output, session.force);
  write_frame(file, frame);
  file.stamp(session, "gw-data", input ? &*input : nullptr);
  if (input) file.carry(*input);
  file.commit();
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  const cli::Command command{
      .name = "polgraw-inject",
      .purpose = "simulate narrow-band detector data, or add signals to it",
      .description =
          "Without DATA makes a frame: ephemeris, noise, gaps. Then adds signals (--params, --catalogue, --random) and lines. "
          "Signals are added where there is data; --snr scales to the network's optimal signal-to-noise ratio with the "
          "variances estimated from the data. Parameters are those at the start of frame --ref-frame; the phase phi0 goes on from there too. Random numbers are "
          "keyed by seed, frame, detector (its name where it is a known one) and sample.",
      .arguments = {cli::optional_input("DATA", o.input, "gw-data: data or ephemerides alone"),
                    cli::output("OUT", o.output, "gw-data")},
      .options =
          {{"--gps", &o.gps, "start of a new frame", {.unit = "s", .minimum = 0, .maximum = 1e10}},
           {"--detectors", &o.detectors, "of a new frame"},
           {"--site", &o.sites, "NAME:lat:lon:height:gamma[:zeta], degrees and m", {.value_name = "SITE"}},
           {"--dt", &o.dt, "sampling interval of a new frame", {.unit = "s", .minimum = 1e-4, .maximum = 1e5}},
           {"--days", &o.days, "sidereal days in a new frame", {.minimum = 0.001, .maximum = 1000}},
           {"--fpo", &o.fpo, "lower edge of the band", {.unit = "Hz", .minimum = 1e-3, .maximum = 1e6}},
           {"--band", &o.band, "number of the band instead of --fpo", {.minimum = 0}},
           {"--frame", &o.frame, "number of a new frame", {.minimum = 0}},
           {"--noise", &o.noise, "standard deviation of white noise, one or one a detector"},
           {"--psd", &o.psd, "two columns, Hz and amplitude of coloured noise (1: variance 1)", {.value_name = "FILE"}},
           {"--gaps", &o.segments, "two columns, GPS begin and end of science segments", {.value_name = "FILE"}},
           {"--duty", &o.duty, "mean hours locked and lost of random gaps, e.g. 10,3"},
           {"--params", &o.params, "alpha,delta,f,fdot,h0,cosi,psi,phi0 (rad, Hz, Hz/s)"},
           {"--catalogue", &o.catalogue, "CSV with these eight columns, a ninth may be fddot", {.value_name = "FILE"}},
           {"--sig", &o.sig, "signal file of the community code", {.value_name = "FILE"}},
           {"--random", &o.random, "draw a signal"},
           {"--number", &o.number, "which of the seed's random signals", {.minimum = 0}},
           {"--count", &o.count, "draw so many random signals", {.minimum = 1, .maximum = 100000}},
           {"--fddot", &o.fddot, "second derivative of --params", {.unit = "Hz/s^2"}},
           {"--snr", &o.snr, "scale h0 to this optimal signal-to-noise ratio", {.minimum = 0}},
           {"--amp", &o.amp, "h0 instead", {.minimum = 0}},
           {"--fdot-min", &o.fdot_min, "of random signals", {.unit = "Hz/s"}},
           {"--fdot-max", &o.fdot_max, "of random signals", {.unit = "Hz/s"}},
           {"--ref-frame", &o.reference, "frame at whose start the parameters hold; default: this one"},
           {"--nfr-in-band", &o.frames_in_band, "random signals stay in the band for so many frames", {.minimum = 0}},
           {"--line",
            &o.lines,
            "f:amplitude:phase of a line; :wander, its random walk in Hz an hour",
            {.value_name = "LINE"}},
           {"--comb",
            &o.combs,
            "spacing:offset:amplitude of a comb, its teeth at offset + k spacing; :wander as above",
            {.value_name = "COMB"}},
           {"--power-law", &o.power_law, "coloured noise of amplitude A (f/f0)^index: A,f0,index"},
           {"--glitches", &o.glitches, "bursts: rate an hour, mean amplitude, quality, e.g. 2,8,10"},
           {"--calibration", &o.calibration,
            "errors of each detector: relative amplitude, phase in rad, e.g. 0.05,0.1"},
           {"--exact-phase", &o.exact_phase, "keep the terms of the phase that the search drops"},
           {"--shapiro", &o.shapiro, "signals are delayed in the Sun's gravity (/DET/ephem/sun_ssb)"}},
      .examples =
          {{"polgraw-inject --gps 1187008512 --fpo 20.171875 --noise 1 --random --snr 20 --seed 7 - | polgraw-search - - "
            "--threshold 14.5 | polgraw-convert - - --to csv | head",
            "A loud signal, searched for."},
           {"polgraw-inject frame1.h5 with.h5 --params 2.3,0.4,20.27,-2.5e-9,0.05,0.3,0.1,1",
            "A signal in given data."}},
      .reference =
          "Jaranowski, Krolak, Schutz, Phys. Rev. D 58 (1998) 063001; Poghosyan et al., Comput. Phys. Commun. 188 (2015) 167",
      .reads = "gw-data: see polgraw-search; /DET/x may be missing",
      .writes = "gw-data: see polgraw-search",
      .standard = {.seed = true}};
  return command.run(argc, argv, [&](cli::Session& session) {
    if (!o.duty.empty() && (o.duty.size() != 2 || !(o.duty[0] > 0) || !(o.duty[1] > 0)))
      throw usage_error("--duty: expected two durations above 0 h");
    if (!o.glitches.empty() && (o.glitches.size() != 3 || !(o.glitches[0] > 0) || !(o.glitches[2] > 0)))
      throw usage_error("--glitches: expected rate, amplitude and quality, rate and quality above 0");
    if (!o.calibration.empty() && o.calibration.size() != 2)
      throw usage_error("--calibration: expected two standard deviations");
    if (!o.power_law.empty() && (o.power_law.size() != 3 || !(o.power_law[0] >= 0) || !(o.power_law[1] > 0)))
      throw usage_error("--power-law: expected A,f0,index with A of at least 0 and f0 above 0");
    if (!o.power_law.empty() && !o.psd.empty()) throw usage_error("--psd and --power-law exclude each other");
    for (double sigma : o.noise)
      if (!(sigma >= 0)) throw usage_error("--noise: expected values of at least 0");
    if (o.snr && o.amp) throw usage_error("--snr and --amp exclude each other");
    run(o, session);
  });
}
