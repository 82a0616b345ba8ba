#include "search_output.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include <fmt/format.h>

#include "candidates.hpp"
#include "cluster/hdf5.hpp"
#include "io/bytes.hpp"
#include "legacy.hpp"

namespace fachwerk::polgraw {
namespace {

std::vector<int> parse_numbers(const std::string& text, std::size_t count) {
  std::vector<int> numbers;
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto word = rest.substr(0, rest.find(','));
    int value = 0;
    const auto [at, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc{} || at != word.data() + word.size()) break;
    numbers.push_back(value);
    rest = rest.substr(std::min(rest.size(), word.size() + 1));
  }
  if (numbers.size() != count) throw usage_error("expected {} integers separated by commas, found \"{}\"", count, text);
  return numbers;
}

void summarise(cli::Session& session, const std::vector<TriggerSource>& sources, std::size_t triggers,
               const std::optional<Loudest>& loudest, double seconds) {
  std::int64_t templates = 0;
  for (const auto& s : sources)
    templates += s.templates;
  session.summary.add("frames", sources.size());
  session.summary.add("templates", templates);
  session.summary.add("triggers", triggers);
  if (seconds > 0) session.summary.add("rate", static_cast<double>(templates) / seconds, "templates/s");
  if (!loudest) return;
  const auto& t = loudest->trigger;
  const auto& band = sources[static_cast<std::size_t>(loudest->source)].band;
  session.summary.add("loudest snr", t.snr);
  session.summary.add("loudest frequency", band.frequency(t.omega), "Hz");
  session.summary.add("loudest fdot", band.spindown(t.s), "Hz/s");
  session.summary.add("loudest alpha", t.alpha, "rad");
  session.summary.add("loudest delta", t.delta, "rad");
}

void summarise(cli::Session& session, const std::vector<TriggerSource>& sources, const Candidates& candidates) {
  session.summary.add("candidates", candidates.trigger.size());
  if (candidates.trigger.empty()) return;
  const auto& t = candidates.trigger.front();
  const auto& band = sources[static_cast<std::size_t>(candidates.source.front())].band;
  session.summary.add("refined snr", t.snr);
  session.summary.add("refined frequency", band.frequency(t.omega), "Hz");
  session.summary.add("refined fdot", band.spindown(t.s), "Hz/s");
  session.summary.add("refined alpha", t.alpha, "rad");
  session.summary.add("refined delta", t.delta, "rad");
}

void write_attributes(h5::Output& file, const SearchOptions& o, const std::vector<Loaded>& frames) {
  const auto text = [&](const char* key, const std::string& value) { file.attribute("/triggers", key, value); };
  text("compat", o.compat);
  text("form", o.compat != "none" ? "diagonal" : o.form);
  text("norm", o.whitenoise ? "none" : o.norm);
  text("peaks", o.peaks);
  text("precision", o.compat != "none" || o.engine == "plain" ? "double" : o.precision);
  text("prior", o.prior);
  text("snr_definition", "sqrt(2 (F - 2))");
  file.attribute("/triggers", "threshold", o.threshold);
  file.attribute("/triggers", "narrowdown", o.narrowdown);
  file.attribute("/triggers", "nav", o.nav);
  file.attribute("/triggers", "veto_files", o.vetoes);
  std::vector<double> vetoed;
  for (const auto& f : frames)
    vetoed.push_back(f.vetoed);
  file.attribute("/triggers", "veto_fraction", vetoed);
}

std::vector<TriggerSource> sources_of(const std::vector<Loaded>& frames, std::span<const Task> tasks) {
  std::vector<TriggerSource> sources;
  for (const auto& f : frames)
    sources.push_back({f.info, f.source->observation.band, f.source->observation.obliquity, 0});
  for (const auto& t : tasks)
    sources[static_cast<std::size_t>(t.source)].templates += t.spindowns.hi - t.spindowns.lo + 1;
  return sources;
}

std::vector<const Observation*> observations_of(const std::vector<Loaded>& frames) {
  std::vector<const Observation*> sources;
  for (const auto& f : frames)
    sources.push_back(&f.source->observation);
  return sources;
}

/// Where a trigger is loud in one detector alone: 2F of each.
void write_detector_statistics(h5::Output& file, const Share& share, const TriggerRows& rows,
                               const std::vector<Loaded>& frames, double threshold, int threads) {
  const auto sources = observations_of(frames);
  std::size_t detectors = 0;
  std::vector<std::string> names;
  for (const auto& f : frames) {
    if (f.source->observation.detectors.size() <= detectors) continue;
    detectors = f.source->observation.detectors.size();
    names.clear();
    for (const auto& d : f.source->observation.detectors)
      names.push_back(d.site.name);
  }
  const auto found = detector_statistics(share, sources, detectors, threshold, threads);
  file.create_dataset<float>("/triggers/twoF_det", {rows.total, detectors},
                             {.units = "1", .long_name = "2F of each detector alone", .dims = {"trigger", "detector"}});
  if (rows.total > 0)
    file.write_slab<float>("/triggers/twoF_det", {rows.first, 0}, {rows.triggers.size(), detectors}, found.twoF);
  file.attribute("/triggers/twoF_det", "detectors", names);
  write_column(file, "line", found.line, rows, "1", "1: 2F of one detector is above that of the network");
  write_column(file, "log10_bsgl", found.log10_bsgl, rows, "1",
               "log10 of the odds of a signal against noise or a line in one detector");
  file.attribute("/triggers/log10_bsgl", "transition_F", threshold);
}

bool has_second_spindown(const std::vector<Loaded>& frames) {
  return std::ranges::any_of(frames, [](const Loaded& f) { return f.source->observation.grid.second.has_value(); });
}

std::string shard_name(const std::string& output, int rank) {
  const std::filesystem::path path(output);
  return (path.parent_path() / fmt::format("{}.{}{}", path.stem().string(), rank, path.extension().string())).string();
}

}  // namespace

void write_output(const SearchOptions& options, const SearchWork& work, Progress&& progress, cli::Session& session,
                  const cluster::Communicator& world, double seconds) {
  const auto& frames = work.frames;
  const auto& tasks = work.tasks;
  const bool piped = options.output == "-";
  auto share = distribute(world, tasks, std::move(progress), piped ? 1 : world.size());
  if (options.top > 0) keep_loudest(world, static_cast<std::size_t>(options.top), share);
  const auto sources = sources_of(frames, tasks);
  auto rows = share.rows();
  std::optional<Candidates> candidates;
  if (options.refine > 0)
    candidates = refine_candidates(world, share, observations_of(frames), static_cast<std::size_t>(options.refine),
                                   session.threads);
  const auto write = [&](h5::Output file) {
    write_triggers(file, sources, rows);
    if (has_second_spindown(frames)) write_second_spindown(file, sources, rows);
    if (options.detector_f) write_detector_statistics(file, share, rows, frames, options.threshold, session.threads);
    if (options.interbin) {
      std::vector<std::int32_t> half;
      for (const auto& t : rows.triggers)
        half.push_back(t.half);
      write_column(file, "half", half, rows, "1", "1: half a bin above bin k");
    }
    if (candidates) write_candidates(file, sources, *candidates, world.root());
    write_attributes(file, options, frames);
    file.stamp(session, "gw-triggers");
    file.commit();
  };
  if (options.shards && world.size() > 1) {
    rows.first = 0;
    rows.total = rows.triggers.size();
    write(h5::Output::create(shard_name(options.output, world.rank()), session.force));
  } else if (!piped) {
    write(cluster::create_output(world, options.output, session.force));
  } else if (world.root()) {
    write(h5::Output::create("-", session.force));
  }
  summarise(session, sources, share.total, loudest(world, share), seconds);
  if (candidates) summarise(session, sources, *candidates);
}

void write_veto_list(const std::string& path, bool force, const FarmSource& source) {
  std::vector<legacy::VetoLine> lines;
  const auto& band = source.observation.band;
  for (const auto& [lo, hi] : source.exclusions.omega)
    lines.push_back({band.frequency(lo), band.frequency(hi), lo, hi, "line"});
  auto sink = formats::Sink::create(path, force, false);
  sink.write(legacy::format_veto_lines(lines));
  sink.commit();
}

void dump_f(const SearchOptions& options, const FarmSource& source, const FarmSettings& settings,
            cli::Session& session) {
  const auto& o = source.observation;
  const auto n = parse_numbers(options.dump_f, o.grid.second ? 5 : 4);
  if (n[0] < 1 || n[0] > 2) throw usage_error("--dump-F: expected pm 1 or 2, found {}", n[0]);
  const int tt = o.grid.second ? n[4] : 0;
  const auto point = o.directed ? directed_point(o.grid, *o.directed, o.obliquity, tt)
                                : sky_point(o.grid, o.band, o.obliquity, Hemisphere(n[0]), n[1], n[2], tt);
  if (!point) throw usage_error("--dump-F {}: the point lies outside the sky", options.dump_f);
  std::vector<double> F;
  if (settings.plain) {
    PlainEngine engine(o, settings.search);
    engine.set_sky(*point);
    F = engine.f_statistic(n[3]);
  } else {
    const Task task{0, Hemisphere(n[0]), n[2], n[1], {n[3], n[3]}, 0};
    const auto form = engine_settings(o, {&task, 1}, settings);
    FastEngine<double> engine(std::make_shared<EnginePlan<double>>(o, settings.search, form));
    engine.set_sky(*point);
    F = engine.f_statistic(n[3]);
  }
  const auto bins = search_bins(o.band, o.grid.fftpad, settings.search);
  std::vector<double> frequency(F.size());
  const double steps = settings.search.interbin ? 2 : 1;
  for (std::size_t k = 0; k < F.size(); ++k)
    frequency[k] = o.band.frequency(
        make_trigger(o, *point, n[3], static_cast<double>(bins.lo) + static_cast<double>(k) / steps, 2).omega);
  auto file = h5::Output::create(options.output, session.force);
  file.column("/frequency", frequency, {.units = "Hz", .long_name = "frequency", .dims = {"frequency"}});
  file.column("/F", F, {.units = "1", .long_name = "F-statistic", .dims = {"frequency"}});
  file.attribute("/", "alpha", point->sky.alpha);
  file.attribute("/", "delta", point->sky.delta);
  file.attribute("/", "fdot", o.band.spindown(spindown_of(o.grid, n[3], *point)));
  if (o.grid.second) file.attribute("/", "fddot", o.band.fddot(point->second.s2));
  file.stamp(session, "array");
  file.commit();
  const auto loudest = std::ranges::max_element(F);
  session.summary.add("bins", F.size());
  session.summary.add("largest F", *loudest);
  session.summary.add("at", frequency[static_cast<std::size_t>(loudest - F.begin())], "Hz");
}

}  // namespace fachwerk::polgraw
