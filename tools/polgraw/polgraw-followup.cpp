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
  std::string output, candidates, method = "newton", start = "point";
  std::vector<double> point;
  std::int64_t row = -1;
  std::optional<std::int64_t> reference;
  int grid_points = 0, spindowns = 1;
  double min_match = 0.9, percent = 1, tolerance = 1e-7;
  bool one_point = false, sum_frames = false, glue = false, directed = false, fisher = false, shapiro = false;
};

struct Start {
  double frequency, fdot, alpha, delta;
  std::optional<double> gps = {};          ///< time to which they refer
  std::optional<std::int64_t> frame = {};  ///< frame to whose start they refer
  double fddot = 0;
};

double second_of(const Band& band, double fddot) {
  return pi * fddot * std::pow(band.dt, 3) / 3;
}

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
    return {source.band.frequency(t.omega),  source.band.spindown(t.s), t.alpha, t.delta, source.info.gps_start, {},
            t.s2 / second_of(source.band, 1)};
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
  Start start{band.frequency(m[0]), band.spindown(m[1]), m[3], m[2]};
  if (const auto frame = file.number("/summary", "reference_frame")) start.frame = static_cast<std::int64_t>(*frame);
  return start;
}

/// The point where the optimiser starts: the candidate, or the best of points round it.
Maximum start_from(const Options& o, const JointStatistic& statistic, const SignalPoint& point,
                   const FreeParameters& free, const Frame& first) {
  const auto kind = o.start == "point" && o.grid_points > 0 ? "lattice" : o.start;
  if (kind == "lattice")
    return lattice_start(statistic, LocalCoordinates(statistic, point, free), o.grid_points > 0 ? o.grid_points : 5,
                         o.min_match);
  if (kind == "point") return {point, statistic.F(point), 1, true};
  Phase reach{};  // half the box in omega, s, s2, delta, alpha
  if (kind == "neigh") {
    const Phase values{point.omega, point.s, point.s2, point.delta, point.alpha};
    for (std::size_t k = 0; k < reach.size(); ++k)
      reach[k] = std::abs(values[k]) * o.percent / 100;
  } else {
    if (!first.has_grid) throw usage_error("--start naive: the first frame has no grid");
    const auto& M = first.observation.grid.M;
    const double oms = first.observation.band.oms();
    const auto& second = first.observation.grid.second;
    reach = {std::abs(M[0]), std::abs(M[5]), second ? std::abs(second->row[2]) : 0, std::abs(M[10]) / oms,
             std::abs(M[15]) / oms};
  }
  const int half = o.grid_points > 0 ? o.grid_points : (kind == "neigh" ? 8 : 2);
  if (!free.second_spindown) reach[2] = 0;
  if (!free.sky) reach[3] = reach[4] = 0;
  for (double& h : reach)
    h /= half;
  return box_start(statistic, point, reach, half);
}

Maximum maximise(const Options& o, const JointStatistic& statistic, const SignalPoint& origin,
                 const FreeParameters& free) {
  const LocalCoordinates coordinates(statistic, origin, free);
  if (o.method == "simplex") return simplex(statistic, coordinates, 0.3, o.tolerance);
  if (o.method == "mads") return mads(statistic, coordinates, 0.5, 1e-4);
  if (o.method == "imads") return inverted_mads(statistic, coordinates, 0.01, 0.3);
  if (o.method == "skymads") return sky_mads(statistic, coordinates, 0.5, 1e-4);
  return newton(statistic, coordinates, o.tolerance);
}

/// The matrix as a table, its rows named.
cli::Table table_of(const std::string& name, const std::vector<std::string>& axes, const std::vector<double>& m) {
  cli::Table table{name, {"parameter"}};
  table.columns.insert(table.columns.end(), axes.begin(), axes.end());
  for (std::size_t i = 0; i < axes.size(); ++i) {
    table.rows.emplace_back();
    table.rows.back().emplace_back(axes[i]);
    for (std::size_t k = 0; k < axes.size(); ++k)
      table.rows.back().emplace_back(m[axes.size() * i + k]);
  }
  return table;
}

void run(const Options& o, cli::Session& session) {
  std::vector<Frame> frames;
  for (const auto& name : o.data) {
    const auto file = h5::Input::open(name);
    file.require_kind({"gw-data", "polgraw-data"});
    frames.push_back(read_frame(file, Needs::data));
    if (o.shapiro) read_sun(file, frames.back().observation);
    const auto& first = frames.front().observation.band;
    const auto& band = frames.back().observation.band;
    if (band.fpo != first.fpo || band.dt != first.dt) throw bad_input("{}: another band than {}", name, o.data[0]);
    for (const auto& gone : drop_empty_detectors(frames.back().observation, name))
      session.warn(fmt::format("{}: {} has no data and is left out", name, gone));
    for (const auto& d : frames.back().observation.detectors)
      if (!(d.sigma2 > 0)) throw bad_input("{}:/{}/x: the data does not vary", name, d.site.name);
  }
  Start start{};
  if (!o.point.empty()) {
    if (o.point.size() != 4 && o.point.size() != 5)
      throw usage_error("--point: expected f,fdot,alpha,delta or f,fdot,alpha,delta,fddot, found {} numbers",
                        o.point.size());
    if (!std::ranges::all_of(o.point, [](double v) { return std::isfinite(v); }) || !(std::abs(o.point[3]) <= pi / 2))
      throw usage_error("--point: expected finite numbers, delta from -pi/2 to pi/2");
    start = {o.point[0], o.point[1], o.point[2], o.point[3]};
    if (o.point.size() == 5) start.fddot = o.point[4];
  } else if (!o.candidates.empty()) {
    start = read_candidate(o);
  } else {
    throw usage_error("expected --point or --candidates");
  }
  double reference = start.gps.value_or(frames.front().info.gps_start);
  if (const auto number = o.reference ? o.reference : start.frame) {
    const auto found = std::ranges::find(frames, *number, [](const Frame& f) { return f.info.frame; });
    if (found == frames.end())
      throw usage_error("frame {}, to whose start the candidate refers, is not among the data", *number);
    reference = found->info.gps_start;
  }
  const auto& band = frames.front().observation.band;
  const SignalPoint point{band.omega(start.frequency), band.s(start.fdot), start.delta, start.alpha,
                          second_of(band, start.fddot)};
  std::ranges::sort(frames, {}, [](const Frame& f) { return f.info.gps_start; });
  std::vector<const Observation*> observations;
  std::vector<double> samples;
  for (const auto& f : frames) {
    observations.push_back(&f.observation);
    samples.push_back((f.info.gps_start - reference) / band.dt);
  }
  Observation glued;
  if (o.glue) {
    glued = glue_frames(observations, samples);
    observations = {&glued};
    samples.resize(1);
  }
  const JointStatistic statistic(observations, samples);
  const FreeParameters free{.second_spindown = o.spindowns == 2, .sky = !o.directed && o.method != "skymads"};
  const double before = statistic.F(point);
  Maximum found{point, before, 1, true};
  if (!o.one_point) {
    const auto origin = start_from(o, statistic, point, free, frames.front());
    found = maximise(o, statistic, origin.point, free);
    session.summary.add("evaluations of the start", origin.evaluations);
  }
  std::vector<double> per_frame, per_detector;
  for (std::size_t f = 0; f < observations.size(); ++f) {
    const auto here = statistic.in_frame(found.point, f);
    per_frame.push_back(statistic.frames()[f].F(here));
    for (std::size_t d = 0; d < observations[f]->detectors.size(); ++d)
      per_detector.push_back(f_of(statistic.frames()[f].detector(d, here)));
  }
  const auto sums = statistic.frames()[0].network(statistic.in_frame(found.point, 0));
  const auto A = estimate_amplitudes(sums);
  const auto p = polarisation(A);
  const FreeParameters shown{.second_spindown = o.spindowns == 2, .sky = !o.directed};
  const auto information = fisher_information(*observations[0], statistic.in_frame(found.point, 0), A, shown);
  const auto places = shown.list();
  const auto error = [&](std::size_t parameter) -> std::optional<double> {
    const auto at = std::ranges::find(places, parameter);
    if (at == places.end()) return std::nullopt;
    return std::sqrt(information.covariance[(information.order + 1) * static_cast<std::size_t>(at - places.begin())]);
  };
  auto& s = session.summary;
  s.add("F at the start", before);
  s.add("F", found.F);
  s.add("snr", std::sqrt(std::max(0.0, 2 * (found.F - 2 * static_cast<double>(observations.size())))));
  s.add("evaluations", found.evaluations);
  s.add("frequency", band.frequency(found.point.omega), "Hz");
  s.add("frequency error", *error(0) / (2 * pi * band.dt), "Hz");
  s.add("fdot", band.spindown(found.point.s), "Hz/s");
  s.add("fdot error", band.spindown(*error(1)), "Hz/s");
  s.add("delta", found.point.delta, "rad");
  if (error(3)) s.add("delta error", *error(3), "rad");
  s.add("alpha", found.point.alpha, "rad");
  if (error(4)) s.add("alpha error", *error(4), "rad");
  if (o.spindowns == 2) {
    const double unit = second_of(band, 1);
    s.add("fddot", found.point.s2 / unit, "Hz/s^2");
    s.add("fddot error", *error(2) / unit, "Hz/s^2");
  }
  s.add("omega", found.point.omega);
  s.add("s", found.point.s);
  s.add("F of frames", per_frame);
  s.add("F of detectors", per_detector);
  std::vector<double> twice(per_detector);
  for (double& F : twice)
    F *= 2;
  s.add("2F of detectors", twice);
  s.add("amplitudes", std::vector<double>(A.begin(), A.end()));
  s.add("h0", p.h0);
  s.add("cos iota", p.cos_iota);
  s.add("psi", p.psi, "rad");
  s.add("phi0", p.phi0, "rad");
  if (!found.converged) session.fail("no maximum found: the search ended before it converged");
  auto file = h5::Output::create(o.output, session.force);
  const auto& p5 = found.point;
  std::vector<double> parameters{p5.omega, p5.s, p5.delta, p5.alpha};
  if (o.spindowns == 2) parameters.push_back(p5.s2);
  file.column("/parameters", parameters,
              {.units = "", .long_name = "omega, s, delta, alpha (, s2) at the reference time", .dims = {"parameter"}});
  file.column("/F_frames", per_frame, {.units = "1", .long_name = "F of each frame", .dims = {"frame"}});
  file.column("/F_detectors", per_detector,
              {.units = "1", .long_name = "F of each frame's detectors", .dims = {"frame_detector"}});
  file.column("/amplitudes", std::vector<double>(A.begin(), A.end()),
              {.units = "1", .long_name = "A1..A4 in the first frame", .dims = {"amplitude"}});
  const auto order = information.order;
  file.write("/fisher", information.matrix, {order, order},
             {.units = "",
              .long_name = "Fisher matrix of the parameters in /fisher_axes, first frame",
              .dims = {"parameter", "parameter"}});
  file.write("/covariance", information.covariance, {order, order},
             {.units = "", .long_name = "its inverse: the Cramer-Rao bound", .dims = {"parameter", "parameter"}});
  const std::vector<std::string> names{"omega", "s", "s2", "delta", "alpha"};
  std::vector<std::string> axes;
  for (const auto place : places)
    axes.push_back(names[place]);
  axes.insert(axes.end(), {"A1", "A2", "A3", "A4"});
  file.strings("/fisher_axes", axes, {.units = "", .long_name = "parameters", .dims = {"parameter"}});
  if (o.fisher) {
    s.add(table_of("Fisher matrix", axes, information.matrix));
    s.add(table_of("covariance", axes, information.covariance));
  }
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
          "Sums F over the frames by direct summation with the exact phase (--sum-frames, the default), or joins them to one "
          "coherent series (--glue), and maximises it over frequency, spindown and sky "
          "from a candidate: a trigger, a coincidence, or --point. Coordinates are those in "
          "which the grid's mismatch is the squared distance. newton uses exact derivatives in a region of trust; simplex Nelder and Mead; "
          "mads polls 24 points of a shrinking mesh, imads 80 of a growing one, skymads 16 on a circle in frequency and "
          "spindown. --directed keeps the sky position, --spindowns 2 frees the second spindown.\n\n"
          "--start looks at points round the candidate first: lattice at those of an An* with --min-match, +-N (5) along "
          "each of its vectors; neigh in a box of +-PERCENT of each value (17 points a side); naive in a box of one step of "
          "the search's grid.\n\n"
          "Reports F by frame and detector, amplitudes, and errors from the 8x8 Fisher matrix.",
      .arguments = {cli::inputs("DATA", o.data, "gw-data of one band"), cli::output("OUT", o.output, "the maximum")},
      .options =
          {{"--candidates",
            &o.candidates,
            "gw-triggers (the loudest) or coincidences (the best)",
            {.value_name = "FILE"}},
           {"--row", &o.row, "another row of them"},
           {"--point", &o.point, "f,fdot,alpha,delta (Hz, Hz/s, rad) instead, and fddot (Hz/s^2)"},
           {"--ref-frame", &o.reference, "frame at whose start they hold; default: the trigger's, or the first"},
           {"--method", &o.method, "optimiser", {.choices = {"newton", "simplex", "mads", "imads", "skymads"}}},
           {"--start", &o.start, "points looked at first", {.choices = {"point", "lattice", "neigh", "naive"}}},
           {"--grid-points",
            &o.grid_points,
            "+-N of them an axis; alone: of the lattice",
            {.minimum = 0, .maximum = 10}},
           {"--min-match", &o.min_match, "of the lattice", {.minimum = 0.05, .maximum = 0.9999}},
           {"--percent", &o.percent, "half the box of neigh", {.minimum = 1e-9, .maximum = 100}},
           {"--directed", &o.directed, "the sky position is known"},
           {"--spindowns", &o.spindowns, "1, or 2: with the second derivative", {.minimum = 1, .maximum = 2}},
           {"--sum-frames", &o.sum_frames, "sum F over the frames"},
           {"--glue", &o.glue,
            "one coherent series of all frames instead; frames without the attribute mixing_gps count as cut from one series"},
           {"--shapiro", &o.shapiro, "delay in the Sun's gravity (/DET/ephem/sun_ssb)"},
           {"--fisher", &o.fisher, "print the Fisher matrix and its inverse"},
           {"--tolerance", &o.tolerance, "in F", {.minimum = 1e-14, .maximum = 1}},
           {"--one-point", &o.one_point, "evaluate the candidate alone"}},
      .examples = {{"polgraw-followup frame1.h5 max.h5 --candidates triggers.h5", "The loudest trigger."},
                   {"polgraw-followup f1.h5 f2.h5 f4.h5 max.h5 --candidates coin.h5 --ref-frame 1",
                    "A coincidence in several frames."}},
      .reference =
          "Poghosyan et al., Comput. Phys. Commun. 188 (2015) 167; Jaranowski & Krolak, Living Rev. Relativ. 15 (2012) 4",
      .reads = "gw-data, gw-triggers: see polgraw-search; coincidences: see polgraw-coincidences",
      .writes =
          "/parameters (4 or 5), /F_frames, /F_detectors, /amplitudes (4), /fisher, /covariance (n,n), /fisher_axes (n)",
      .standard = {.threads = true}};
  return command.run(argc, argv, [&](cli::Session& session) {
    if (o.sum_frames && o.glue) throw usage_error("--sum-frames and --glue exclude each other");
    run(o, session);
  });
}
