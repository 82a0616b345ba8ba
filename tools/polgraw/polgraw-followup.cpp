#include <algorithm>

#include <fmt/format.h>

#include "cli/command.hpp"
#include "coincidences.hpp"
#include "dataset.hpp"
#include "followup.hpp"
#include "io/hdf5.hpp"

using namespace fachwerk;
using namespace fachwerk::polgraw;

namespace {

struct Options {
  std::vector<std::string> data;
  std::string output, candidates, method = "newton";
  std::vector<double> point;
  std::int64_t row = -1;
  std::optional<std::int64_t> reference;
  int grid_points = 0;
  double spacing = 0.3, tolerance = 1e-7;
  bool one_point = false;
};

struct Start {
  double frequency, fdot, alpha, delta;
  std::optional<double> gps;  ///< time to which they refer
};

/// The loudest trigger, or the one of --row; or the best coincidence.
Start read_candidate(const Options& o) {
  const auto file = h5::Input::open(o.candidates);
  if (file.is_dataset("/triggers/omega")) {
    const auto set = read_triggers(file);
    if (set.triggers.empty()) throw bad_input("{}: no triggers", o.candidates);
    std::size_t row = 0;
    for (std::size_t i = 0; i < set.triggers.size(); ++i)
      if (set.triggers[i].snr > set.triggers[row].snr) row = i;
    if (o.row >= 0) row = static_cast<std::size_t>(o.row);
    if (row >= set.triggers.size()) throw usage_error("--row {}: the file has {} triggers", o.row, set.triggers.size());
    const auto& t = set.triggers[row];
    const auto& source = set.sources[static_cast<std::size_t>(set.source[row])];
    return {source.band.frequency(t.omega), source.band.spindown(t.s), t.alpha, t.delta, source.info.gps_start};
  }
  const auto shift = file.text("/summary", "best_shift");
  if (!shift) throw bad_input("{}: expected triggers or coincidences", o.candidates);
  const auto mean = file.read<double>("/shift_" + *shift + "/mean", {.shape = {0, 5}, .finite = true});
  const auto row = static_cast<std::size_t>(std::max<std::int64_t>(o.row, 0));
  if (row >= mean.shape[0]) throw usage_error("--row {}: the file has {} coincidences", row, mean.shape[0]);
  const auto band = make_band(file.number("/summary", "fpo").value_or(0), file.number("/summary", "dt").value_or(0),
                              static_cast<std::size_t>(file.number("/summary", "N").value_or(0)));
  if (!(band.fpo > 0) || !(band.dt > 0))
    throw bad_input("{}:/summary: expected the attributes fpo, dt and N", o.candidates);
  const double* m = mean.values.data() + 5 * row;
  return {band.frequency(m[0]), band.spindown(m[1]), m[3], m[2], std::nullopt};
}

void run(const Options& o, cli::Session& session) {
  std::vector<Frame> frames;
  for (const auto& name : o.data) {
    const auto file = h5::Input::open(name);
    file.require_kind({"gw-data", "polgraw-data"});
    frames.push_back(read_frame(file, Needs::data));
    const auto& first = frames.front().observation.band;
    const auto& band = frames.back().observation.band;
    if (band.fpo != first.fpo || band.dt != first.dt) throw bad_input("{}: another band than {}", name, o.data[0]);
    for (const auto& d : frames.back().observation.detectors)
      if (!(d.sigma2 > 0)) throw bad_input("{}:/{}/x: no data", name, d.site.name);
  }
  Start start{};
  if (!o.point.empty()) {
    if (o.point.size() != 4)
      throw usage_error("--point: expected f,fdot,alpha,delta, found {} numbers", o.point.size());
    start = {o.point[0], o.point[1], o.point[2], o.point[3], std::nullopt};
  } else if (!o.candidates.empty()) {
    start = read_candidate(o);
  } else {
    throw usage_error("expected --point or --candidates");
  }
  double reference = start.gps.value_or(frames.front().info.gps_start);
  if (o.reference) {
    const auto found = std::ranges::find(frames, *o.reference, [](const Frame& f) { return f.info.frame; });
    if (found == frames.end()) throw usage_error("--ref-frame {}: not among the data", *o.reference);
    reference = found->info.gps_start;
  }
  const auto& band = frames.front().observation.band;
  const SignalPoint point{band.omega(start.frequency), band.s(start.fdot), start.delta, start.alpha};
  std::vector<const Observation*> observations;
  std::vector<double> samples;
  for (const auto& f : frames) {
    observations.push_back(&f.observation);
    samples.push_back((f.info.gps_start - reference) / band.dt);
  }
  const JointStatistic statistic(observations, samples);
  const double before = statistic.F(point);
  auto origin = point;
  if (o.grid_points > 0)
    origin = evaluate_grid(statistic, LocalCoordinates(statistic, origin), o.grid_points, o.spacing).point;
  const LocalCoordinates coordinates(statistic, origin);
  Maximum found{point, before, 1, true};
  if (!o.one_point) {
    if (o.method == "simplex")
      found = simplex(statistic, coordinates, 0.3, o.tolerance);
    else if (o.method == "mads")
      found = mads(statistic, coordinates, 0.5, 1e-4);
    else if (o.method == "imads")
      found = inverted_mads(statistic, coordinates, 0.01, 0.3);
    else
      found = newton(statistic, coordinates, o.tolerance);
  }
  std::vector<double> per_frame, per_detector;
  for (std::size_t f = 0; f < frames.size(); ++f) {
    const auto here = statistic.in_frame(found.point, f);
    const auto sums = statistic.frames()[f].network(here);
    per_frame.push_back(f_of(sums));
    for (std::size_t d = 0; d < frames[f].observation.detectors.size(); ++d)
      per_detector.push_back(f_of(statistic.frames()[f].detector(d, here)));
  }
  const auto sums = statistic.frames()[0].network(statistic.in_frame(found.point, 0));
  const auto A = estimate_amplitudes(sums);
  const auto p = polarisation(A);
  const auto information = fisher_information(frames[0].observation, statistic.in_frame(found.point, 0), A);
  const auto error = [&](std::size_t k) { return std::sqrt(information.covariance[9 * k]); };
  auto& s = session.summary;
  s.add("F at the start", before);
  s.add("F", found.F);
  s.add("snr", std::sqrt(std::max(0.0, 2 * (found.F - 2 * static_cast<double>(frames.size())))));
  s.add("evaluations", found.evaluations);
  s.add("frequency", band.frequency(found.point.omega), "Hz");
  s.add("frequency error", error(0) / (2 * pi * band.dt), "Hz");
  s.add("fdot", band.spindown(found.point.s), "Hz/s");
  s.add("fdot error", band.spindown(error(1)), "Hz/s");
  s.add("delta", found.point.delta, "rad");
  s.add("delta error", error(2), "rad");
  s.add("alpha", found.point.alpha, "rad");
  s.add("alpha error", error(3), "rad");
  s.add("omega", found.point.omega);
  s.add("s", found.point.s);
  s.add("F of frames", per_frame);
  s.add("F of detectors", per_detector);
  s.add("amplitudes", std::vector<double>(A.begin(), A.end()));
  s.add("h0", p.h0);
  s.add("cos iota", p.cos_iota);
  s.add("psi", p.psi, "rad");
  s.add("phi0", p.phi0, "rad");
  if (!found.converged) session.fail("no maximum found: the search ended before it converged");
  auto file = h5::Output::create(o.output, session.force);
  file.column("/parameters",
              std::vector<double>{found.point.omega, found.point.s, found.point.delta, found.point.alpha},
              {.units = "", .long_name = "omega, s, delta, alpha at the reference time", .dims = {"parameter"}});
  file.column("/F_frames", per_frame, {.units = "1", .long_name = "F of each frame", .dims = {"frame"}});
  file.column("/F_detectors", per_detector,
              {.units = "1", .long_name = "F of each frame's detectors", .dims = {"frame_detector"}});
  file.column("/amplitudes", std::vector<double>(A.begin(), A.end()),
              {.units = "1", .long_name = "A1..A4 in the first frame", .dims = {"amplitude"}});
  file.write("/fisher", std::span<const double>(information.matrix), {8, 8},
             {.units = "",
              .long_name = "Fisher matrix of omega, s, delta, alpha, A1..A4, first frame",
              .dims = {"parameter", "parameter"}});
  file.write("/covariance", std::span<const double>(information.covariance), {8, 8},
             {.units = "", .long_name = "its inverse: the Cramer-Rao bound", .dims = {"parameter", "parameter"}});
  file.attribute("/", "F", found.F);
  file.attribute("/", "f_hz", band.frequency(found.point.omega));
  file.attribute("/", "fdot", band.spindown(found.point.s));
  file.attribute("/", "reference_gps", reference);
  file.attribute("/", "evaluations", found.evaluations);
  file.stamp(session, "table");
  file.commit();
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  const cli::Command command{
      .name = "polgraw-followup",
      .purpose = "maximise F around a candidate",
      .description =
          "Sums F over the frames by direct summation with the exact phase and maximises it over frequency, spindown and sky "
          "from a candidate: a trigger, a coincidence, or --point. Optionally a local grid first. Coordinates are those in "
          "which the grid's mismatch is the squared distance. newton uses exact derivatives in a region of trust; simplex Nelder and Mead; "
          "mads polls 24 points of a shrinking mesh, imads 80 of a growing one.\n\n"
          "Reports F by frame and detector, amplitudes, and errors from the 8x8 Fisher matrix.",
      .arguments = {cli::inputs("DATA", o.data, "gw-data of one band"), cli::output("OUT", o.output, "the maximum")},
      .options =
          {{"--candidates",
            &o.candidates,
            "gw-triggers (the loudest) or coincidences (the best)",
            {.value_name = "FILE"}},
           {"--row", &o.row, "another row of them"},
           {"--point", &o.point, "f,fdot,alpha,delta (Hz, Hz/s, rad) instead"},
           {"--ref-frame", &o.reference, "frame at whose start they hold; default: the trigger's, or the first"},
           {"--method", &o.method, "optimiser", {.choices = {"newton", "simplex", "mads", "imads"}}},
           {"--grid-points", &o.grid_points, "local grid of +-N points an axis first", {.minimum = 0, .maximum = 10}},
           {"--spacing", &o.spacing, "of that grid; 1 loses all power", {.minimum = 1e-3, .maximum = 2}},
           {"--tolerance", &o.tolerance, "in F", {.minimum = 1e-14, .maximum = 1}},
           {"--one-point", &o.one_point, "evaluate the candidate alone"}},
      .examples = {{"polgraw-followup frame1.h5 max.h5 --candidates triggers.h5", "The loudest trigger."},
                   {"polgraw-followup f1.h5 f2.h5 f4.h5 max.h5 --candidates coin.h5 --ref-frame 1",
                    "A coincidence in several frames."}},
      .reference =
          "Poghosyan et al., Comput. Phys. Commun. 188 (2015) 167; Jaranowski & Krolak, Living Rev. Relativ. 15 (2012) 4",
      .reads = "gw-data, gw-triggers: see polgraw-search; coincidences: see polgraw-coincidences",
      .writes = "/parameters (4), /F_frames, /F_detectors, /amplitudes (4), /fisher, /covariance (8,8)",
      .standard = {}};
  return command.run(argc, argv, [&](cli::Session& session) { run(o, session); });
}
