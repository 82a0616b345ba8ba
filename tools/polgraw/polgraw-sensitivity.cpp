#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/progress.hpp"
#include "coincidences.hpp"
#include "dataset.hpp"
#include "farm.hpp"
#include "inject.hpp"
#include "lattice.hpp"
#include "sensitivity.hpp"

using namespace fachwerk;
using namespace fachwerk::polgraw;

namespace {

struct Options {
  std::vector<std::string> data;
  std::string output, fit = "likelihood", planning = "measure";
  std::vector<double> h0;
  int n = 100, gsize = 2, bootstraps = 400;
  double threshold = 14.5, snr_cut = 5, fraction = 0.7, efficiency = 0.95;
  std::optional<double> fdot_min, fdot_max;
};

/// From the start of one frame to that of another.
double samples_from(const Frame& reference, const Frame& frame) {
  return (frame.info.gps_start - reference.info.gps_start) / reference.observation.band.dt;
}

/// Injects one signal into copies of the frames, searches round it, and tells whether enough frames agree on a trigger
/// within a cell of it.
bool detected(const std::vector<Frame>& frames, const Options& o, const FarmSettings& farm, const Injection& signal) {
  std::vector<Candidates> candidates;
  CoincidenceSettings settings;
  const auto& first = frames.front().observation;
  settings.snr_cut = o.snr_cut;
  settings.N = first.band.N;
  settings.oms = first.band.oms();
  settings.obliquity = first.obliquity;
  const auto axes = cell_axes(first.grid, first.band.N, false);
  const Trigger injected{.omega = signal.point.omega,
                         .s = signal.point.s,
                         .delta = signal.point.delta,
                         .alpha = signal.point.alpha,
                         .snr = o.snr_cut + 1};
  const std::size_t zero = 0;
  const auto truth = at_reference({&injected, 1}, {&zero, 1}, 0, 0, axes, settings);
  if (truth.empty()) return false;
  const auto near = [&](const Candidates& c) {
    for (std::size_t k = 0; k < 4; ++k)
      if (!(std::abs(c.z[k] - truth[0].z[k]) <= 1)) return false;
    return true;
  };
  for (const auto& frame : frames) {
    const double elapsed = samples_from(frames.front(), frame);
    FarmSource source{frame.observation, {}};
    auto here = signal;
    here.point = at_frame(signal.point, elapsed);
    auto& observation = source.observation;
    for (auto& d : observation.detectors) {
      const auto h = signal_series(d, observation.band, here, false);
      for (std::size_t i = 0; i < h.size(); ++i)
        if (d.x[i] != 0) d.x[i] += h[i];
      d.sigma2 = noise_variance(d.x);
    }
    Selection selection;
    selection.range = range_around(observation, here.point, o.gsize);
    selection.range_spindowns = true;
    const auto tasks = make_tasks(observation, selection, 0);
    const auto triggers = search_frame(source, tasks, farm);
    std::vector<std::size_t> rows(triggers.size());
    for (std::size_t i = 0; i < rows.size(); ++i)
      rows[i] = i;
    const auto more = at_reference(triggers, rows, static_cast<int>(frame.info.frame), -elapsed, axes, settings);
    std::ranges::copy_if(more, std::back_inserter(candidates), near);
  }
  std::size_t most = 0;
  for (int code = 0; code < 16; ++code) {
    const auto found = find_coincidences(candidates, {code >> 3 & 1, code >> 2 & 1, code >> 1 & 1, code & 1}, 1);
    if (!found.coincidences.empty()) most = std::max(most, found.coincidences.front().members.size());
  }
  return static_cast<double>(most) > o.fraction * static_cast<double>(frames.size());
}

/// Outcomes so far: -1 open, 0 missed, 1 detected.
struct State {
  std::string path, mark;
  std::vector<std::int8_t> outcome;

  void load() {
    const auto file = h5::Input::open(path);
    if (file.text("/", "fingerprint").value_or("") != mark)
      throw bad_input("{}: the checkpoint is of another run (other data or options)", path);
    outcome = file.column<std::int8_t>("/outcome", outcome.size());
  }
  void save() const {
    if (path.empty()) return;
    auto file = h5::Output::create(path, true);
    file.attribute("/", "kind", "gw-sensitivity-checkpoint");
    file.attribute("/", "fingerprint", mark);
    file.column("/outcome", outcome,
                {.units = "1", .long_name = "-1 open, 0 missed, 1 detected", .dims = {"injection"}});
    file.commit();
  }
};

void run(const Options& o, cli::Session& session) {
  if (o.h0.size() < 2 || std::ranges::any_of(o.h0, [](double h) { return !(h > 0); }))
    throw usage_error("--h0: expected at least two amplitudes above 0");
  if (!(o.threshold > 2)) throw usage_error("--threshold: expected above 2, found {}", o.threshold);
  std::vector<Frame> frames;
  for (const auto& name : o.data) {
    const auto file = h5::Input::open(name);
    file.require_kind({"gw-data", "polgraw-data"});
    frames.push_back(read_frame(file, Needs::data));
    for (const auto& gone : drop_empty_detectors(frames.back().observation, name))
      session.warn(fmt::format("{}: {} has no data and is left out", name, gone));
    auto& frame = frames.back();
    const auto &band = frame.observation.band, &first = frames.front().observation.band;
    if (band.fpo != first.fpo || band.dt != first.dt || band.N != first.N)
      throw bad_input("{}: another band than {}", name, o.data[0]);
    check_sky_grid(frame.observation, name);
    if (!frame.has_grid) frame.observation.grid = make_grid(frame.observation, {}).grid;
  }
  const auto& band = frames.front().observation.band;
  int widest = 0;  // in frames
  for (const auto& f : frames)
    widest = std::max(
        widest,
        static_cast<int>(std::ceil(std::abs(samples_from(frames.front(), f)) / static_cast<double>(band.N) - 1e-3)));
  const Population population{o.fdot_min ? band.s(*o.fdot_min) : -o1_prior(band).s_max,
                              o.fdot_max ? band.s(*o.fdot_max) : o1_prior(band).s_min, widest};
  if (population.s_min > population.s_max) throw usage_error("--fdot-min is above --fdot-max");

  FarmSettings farm;
  farm.search.threshold = o.threshold;
  farm.search.planner = o.planning == "estimate" ? compute::fft::Planner::estimate : compute::fft::Planner::measure;
  farm.threads = session.threads;
  State state{session.checkpoint,
              fmt::format("{} {} {} {} {} {} {} {} {} {}", population.s_min, population.s_max, session.seed, o.n,
                          o.gsize, o.threshold, o.snr_cut, o.fraction, fmt::join(o.h0, ","), fmt::join(o.data, ",")),
              std::vector<std::int8_t>(o.h0.size() * static_cast<std::size_t>(o.n), -1)};
  if (session.resume) state.load();
  {
    cli::Progress bar(session, "injecting", state.outcome.size(), "signals");
    for (std::size_t i = 0; i < state.outcome.size(); ++i, bar.advance()) {
      if (state.outcome[i] >= 0) continue;
      if (cli::stop_requested()) {
        state.save();
        throw cli::stopped_error(session.checkpoint);
      }
      auto signal = draw_signal(band, population, session.seed, i);
      signal.polarisation.h0 = o.h0[i / static_cast<std::size_t>(o.n)];
      state.outcome[i] = detected(frames, o, farm, signal) ? 1 : 0;
      if (i % 16 == 15) state.save();
    }
  }
  std::vector<EfficiencyPoint> points;
  cli::Table table{"efficiency", {"h0", "injections", "detected", "efficiency"}};
  for (std::size_t k = 0; k < o.h0.size(); ++k) {
    EfficiencyPoint p{o.h0[k], static_cast<double>(o.n), 0};
    for (int i = 0; i < o.n; ++i)
      p.detected += state.outcome[k * static_cast<std::size_t>(o.n) + static_cast<std::size_t>(i)];
    points.push_back(p);
    table.rows.push_back(
        {p.h0, static_cast<std::int64_t>(p.trials), static_cast<std::int64_t>(p.detected), p.fraction()});
  }
  auto file = h5::Output::create(o.output, session.force);
  std::vector<double> trials, hits;
  for (const auto& p : points) {
    trials.push_back(p.trials);
    hits.push_back(p.detected);
  }
  file.column("/efficiency/h0", o.h0, {.units = "1", .long_name = "amplitude", .dims = {"amplitude"}});
  file.column("/efficiency/injections", trials, {.units = "1", .long_name = "injections", .dims = {"amplitude"}});
  file.column("/efficiency/detected", hits, {.units = "1", .long_name = "detected", .dims = {"amplitude"}});
  session.summary.add(std::move(table));
  try {
    const auto fit = o.fit == "likelihood" ? fit_likelihood(points) : fit_least_squares(points);
    const double limit = fit.at_efficiency(o.efficiency);
    const auto interval = bootstrap(points, fit, o.efficiency, o.bootstraps, session.seed);
    session.summary.add(fmt::format("h0 at {:.3g} %", 100 * o.efficiency), limit);
    session.summary.add("68 % interval", std::vector<double>{interval.lo, interval.hi});
    file.attribute("/efficiency", "x0", fit.x0);
    file.attribute("/efficiency", "k", fit.k);
    file.attribute("/efficiency", "h0_limit", limit);
    file.attribute("/efficiency", "h0_limit_interval", std::vector<double>{interval.lo, interval.hi});
  } catch (const Error& error) {
    session.fail(error.what());  // the table is worth keeping
  }
  file.stamp(session, "table");
  file.commit();
  if (!session.checkpoint.empty()) std::filesystem::remove(session.checkpoint);
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  const cli::Command command{
      .name = "polgraw-sensitivity",
      .purpose = "upper limit of the amplitude from injected signals",
      .description =
          "For each amplitude draws signals, adds them to the frames, searches the grid points next to each, and counts it as "
          "detected when more than --fraction of the frames coincide, within a cell of it, in one of the 16 shifts of the cells. The efficiency is "
          "fitted by 1/(1 + exp(k (x0 - h0))) by binomial likelihood (or, as published runs, by least squares); the limit is "
          "where it reaches --efficiency, its interval from a bootstrap.",
      .arguments = {cli::inputs("DATA", o.data, "gw-data of one band, with or without grids"),
                    cli::output("OUT", o.output, "efficiencies and limit")},
      .options =
          {{"--h0", &o.h0, "amplitudes", {.required = true}},
           {"--n", &o.n, "injections at each", {.minimum = 1, .maximum = 1000000}},
           {"--threshold", &o.threshold, "lowest F of a trigger"},
           {"--snr-cut", &o.snr_cut, "of triggers in coincidences", {.minimum = 0}},
           {"--gsize", &o.gsize, "grid steps searched round a signal", {.minimum = 0, .maximum = 100}},
           {"--fraction", &o.fraction, "of the frames that must coincide", {.minimum = 0, .maximum = 1}},
           {"--efficiency", &o.efficiency, "at which the limit is taken", {.minimum = 0.01, .maximum = 0.999}},
           {"--fdot-min", &o.fdot_min, "of the signals", {.unit = "Hz/s"}},
           {"--fdot-max", &o.fdot_max, "of the signals", {.unit = "Hz/s"}},
           {"--fit", &o.fit, "how the efficiency is fitted", {.choices = {"likelihood", "least-squares"}}},
           {"--bootstrap", &o.bootstraps, "draws for the interval", {.minimum = 10, .maximum = 100000}},
           {"--fft-planning", &o.planning, "how long FFTW looks for a plan", {.choices = {"estimate", "measure"}}}},
      .examples = {{"polgraw-sensitivity f1.h5 f2.h5 f4.h5 limit.h5 --h0 0.06,0.09,0.12,0.15 --n 100",
                    "Four amplitudes."},
                   {"polgraw-sensitivity f*.h5 limit.h5 --h0 0.1,0.2 --checkpoint state.h5 --resume",
                    "Continue a stopped run."}},
      .reference = "Aasi et al., Class. Quantum Grav. 31 (2014) 165014, sec. 8",
      .reads = "gw-data: see polgraw-search",
      .writes = "/efficiency/h0, injections, detected; attributes x0, k, h0_limit, h0_limit_interval",
      .standard = {.threads = true, .seed = true, .checkpoint = true}};
  return command.run(argc, argv, [&](cli::Session& session) { run(o, session); });
}
