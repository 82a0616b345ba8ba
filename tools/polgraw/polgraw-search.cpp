#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>

#include <fmt/format.h>

#include "candidates.hpp"
#include "cli/command.hpp"
#include "cli/progress.hpp"
#include "cluster/hdf5.hpp"
#include "cluster/task_queue.hpp"
#include "cluster/world.hpp"
#include "dataset.hpp"
#include "farm.hpp"
#include "io/bytes.hpp"
#include "io/delimited.hpp"
#include "lattice.hpp"
#include "legacy.hpp"
#include "search_input.hpp"
#include "trigger_output.hpp"
#include "veto.hpp"

using namespace fachwerk;
using namespace fachwerk::polgraw;

namespace {

compute::fft::Planner planner_of(const std::string& name) {
  if (name == "estimate") return compute::fft::Planner::estimate;
  return name == "patient" ? compute::fft::Planner::patient : compute::fft::Planner::measure;
}

FarmSettings farm_settings(const SearchOptions& o, int threads, compute::Device device) {
  FarmSettings farm;
  const bool compat = o.compat != "none";
  if (compat) farm.search = compatible(o.compat == "original-omp");
  auto& s = farm.search;
  if (!compat) s.form = o.form == "full" ? Form::full : Form::diagonal;
  s.norm = o.whitenoise || o.norm == "none" ? Norm::none : (o.norm == "median" ? Norm::median : Norm::block);
  s.peaks = o.peaks == "run" ? Peaks::run : Peaks::local;
  s.threshold = o.threshold;
  s.nav = static_cast<std::size_t>(o.nav);
  if (o.guard) s.guard_hz = *o.guard;
  s.planner = planner_of(o.planning);
  s.interbin = o.interbin;
  farm.engine.half_rate = o.halfrate != "off";
  farm.engine.spline_degree = o.degree;
  farm.precision = o.precision == "double" ? Precision::double_precision : Precision::mixed;
  farm.plain = compat || o.engine == "plain";
  farm.device = device;
  farm.batched = o.engine == "batched" || (device.is_cuda() && !farm.plain);
  if (farm.batched && s.norm == Norm::median) throw usage_error("--norm median: the CPU's fast form alone has it");
  if (o.interbin && compat) throw usage_error("--interbin: the original has no half-bins");
  if (o.interbin && farm.batched) throw usage_error("--interbin: the batched form has no half-bins");
  farm.threads = farm.batched ? 1 : threads;  // a batch keeps all of them busy
  return farm;
}

/// The ranks of a machine take its devices in turn, unless one is named.
compute::Device device_of(const cli::Session& session, const cluster::Communicator& world) {
  const auto device = compute::Device::parse(session.device);
  if (device.is_cpu() || session.device.find(':') != std::string::npos) return device;
  return compute::Device::parse(fmt::format("cuda:{}", world.node().rank() % compute::cuda_devices()));
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

/// F over frequency at one sky point and spindown.
void dump_f(const SearchOptions& options, const FarmSource& source, FarmSettings settings, cli::Session& session) {
  const auto n = parse_numbers(options.dump_f, 4);
  const auto& o = source.observation;
  if (n[0] < 1 || n[0] > 2) throw usage_error("--dump-F: expected pm 1 or 2, found {}", n[0]);
  const auto point = o.directed ? directed_point(*o.directed, o.obliquity, 0)
                                : sky_point(o.grid, o.band, o.obliquity, Hemisphere(n[0]), n[1], n[2]);
  if (!point) throw usage_error("--dump-F {}: the point lies outside the sky", options.dump_f);
  std::vector<double> F;
  if (settings.plain) {
    PlainEngine engine(o, settings.search);
    engine.set_sky(*point);
    F = engine.f_statistic(n[3]);
  } else {
    FastEngine<double> engine(std::make_shared<EnginePlan<double>>(o, settings.search, settings.engine));
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
  file.stamp(session, "array");
  file.commit();
  const auto loudest = std::ranges::max_element(F);
  session.summary.add("bins", F.size());
  session.summary.add("largest F", *loudest);
  session.summary.add("at", frequency[static_cast<std::size_t>(loudest - F.begin())], "Hz");
}

/// What decides the triggers: a checkpoint of other work must not be resumed.
std::string fingerprint(const SearchOptions& o, const std::vector<std::string>& files, std::span<const Task> tasks,
                        const std::vector<Loaded>& frames) {
  std::string text = fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {} {} {}", cli::version(), o.compat, o.form,
                                 o.norm, o.peaks, o.precision, o.engine, o.halfrate, o.threshold, o.narrowdown, o.nav,
                                 o.degree, o.whitenoise, o.shapiro, o.interbin);
  for (const auto& name : files)
    text += "|" + name;
  for (const auto& name : o.vetoes)
    text += "|veto " + name;
  for (const auto& f : frames) {
    double sum = 0;
    for (const auto& d : f.source->observation.detectors)
      for (std::size_t i = 0; i < d.x.size(); ++i)
        sum += d.x[i] * std::cos(static_cast<double>(i));
    text += fmt::format("|{} {:a}", f.info.gps_start, sum);
  }
  std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a over the tasks
  for (const auto& t : tasks)
    for (const int v : {t.source, static_cast<int>(t.hemisphere), t.mm, t.nn, t.tt, t.spindowns.lo, t.spindowns.hi})
      hash = (hash ^ static_cast<std::uint32_t>(v)) * 1099511628211ULL;
  return text + fmt::format("|{:016x}", hash);
}

void check_options(const SearchOptions& o) {
  if (!(o.threshold > 2))
    throw usage_error("--threshold: expected above 2 (the mean of F in noise), found {}", o.threshold);
  for (const auto& [name, cone] : {std::pair("--cone", &o.cone), std::pair("--exclude-cone", &o.exclude_cone)})
    if (cone->size() % 3 != 0)
      throw usage_error("{}: expected alpha,delta,radius in rad for each cone, found {} numbers", name, cone->size());
  if (!o.f2.empty() && (o.f2.size() != 2 || o.f2[0] > o.f2[1]))
    throw usage_error("--f2: expected the lowest and the highest second spindown in Hz/s^2");
  if (o.shapiro && o.compat != "none") throw usage_error("--shapiro: the original has no such delay");
  if (o.shards && o.output == "-") throw usage_error("--shards: a pipe cannot be several files");
  if (!o.around.empty() && o.around.size() != 4)
    throw usage_error("--around: expected f,fdot,alpha,delta, found {} numbers", o.around.size());
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

void load_plans(const std::string& path, const cli::Session& session) {
  try {
    compute::fft::load_wisdom(path);
  } catch (const Error& error) {
    session.note(error.what());  // plans are measured again
  }
}

/// Makes the plans of a frame.
void prepare(const FarmSource& source, const FarmSettings& settings) {
  if (settings.plain)
    PlainEngine engine(source.observation, settings.search);
  else if (settings.precision == Precision::mixed)
    EnginePlan<float> plan(source.observation, settings.search, settings.engine);
  else
    EnginePlan<double> plan(source.observation, settings.search, settings.engine);
}

/// Takes up saved work, of any number of ranks, on rank 0; every rank gets the numbers of the tasks that are still
/// open.
std::vector<std::size_t> open_tasks(const cli::Session& session, const cluster::Communicator& world,
                                    const Checkpoints& checkpoints, Progress& progress) {
  world.on_root([&] {
    if (session.resume) progress = checkpoints.join(progress.done.size());
    if (!session.resume && !session.checkpoint.empty()) checkpoints.remove_parts();
  });
  auto done = progress.done;
  world.broadcast(done);
  std::vector<std::size_t> open;
  for (std::size_t t = 0; t < done.size(); ++t)
    if (done[t] == 0) open.push_back(t);
  return open;
}

/// What a search would be: sizes, ranges, and the time that it would take.
void dry_run(const std::vector<std::string>& files, const std::vector<Loaded>& frames, const std::vector<Task>& tasks,
             const FarmSettings& settings, cli::Session& session) {
  cli::Table table{"frames", {"file", "fpo Hz", "sky points", "templates", "vetoed %"}};
  for (std::size_t f = 0; f < frames.size(); ++f) {
    std::vector<Task> mine;
    std::ranges::copy_if(tasks, std::back_inserter(mine),
                         [&](const Task& t) { return t.source == static_cast<int>(f); });
    table.rows.push_back({files[f], frames[f].source->observation.band.fpo, static_cast<std::int64_t>(mine.size()),
                          template_count(mine), 100 * frames[f].vetoed});
  }
  const auto& s = frames.front();
  const auto& o = s.source->observation;
  if (!o.directed) {
    const auto range = s.selection.range
                           ? *s.selection.range
                           : covering_range(o.grid, o.band, -s.selection.prior.s_max, s.selection.prior.s_min);
    session.summary.add("spindown numbers", fmt::format("{}..{}", range.spindown.lo, range.spindown.hi));
    session.summary.add("nn", fmt::format("{}..{}", range.nn.lo, range.nn.hi));
    session.summary.add("mm", fmt::format("{}..{}", range.mm.lo, range.mm.hi));
  }
  session.summary.add("templates", template_count(tasks));
  if (!tasks.empty()) {  // time of a few templates of the first sky point, and of its preparation
    Task probe = tasks.front();
    const auto timed = [&](int count) {
      probe.spindowns.hi = probe.spindowns.lo + count - 1;
      const auto start = std::chrono::steady_clock::now();
      auto one = settings;
      one.threads = 1;
      search_frame(*frames[static_cast<std::size_t>(probe.source)].source, std::span(&probe, 1), one);
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    timed(1);
    const double few = timed(2), more = timed(22);
    const double each = std::max(0.0, (more - few) / 20), preparation = std::max(0.0, few - 2 * each);
    session.summary.add(
        "predicted time",
        (each * static_cast<double>(template_count(tasks)) + preparation * static_cast<double>(tasks.size())) /
            session.threads,
        "s");
  }
  session.summary.add(std::move(table));
}

using Clock = std::chrono::steady_clock;

/// One sky point at a time from a counter that all ranks raise; its triggers stay with who found them. Checkpoints are
/// written in the background.
void run_open_tasks(const SearchOptions& options, const std::vector<Loaded>& frames, const std::vector<Task>& tasks,
                    const FarmSettings& settings, const std::vector<std::size_t>& open, cli::Session& session,
                    const cluster::Communicator& world, Checkpoints& checkpoints, Progress& progress) {
  auto saved = Clock::now();
  cli::Progress bar(session, "searching", open.size() / static_cast<std::size_t>(world.size()), "sky points");
  std::int64_t count = 0;
  const std::chrono::duration<double> interval(options.checkpoint_interval);
  cluster::TaskQueue queue(world, open.size(), settings.threads > 1 ? 1 : 0);
  std::size_t next = 0, end = 0;
  run_tasks(
      tasks, settings, [&](int source) { return frames[static_cast<std::size_t>(source)].source; },
      [&]() -> std::optional<std::size_t> {
        if (cli::stop_requested()) return std::nullopt;
        if (next == end) {
          const auto block = queue.next();
          if (!block) return std::nullopt;
          next = block->begin;
          end = block->end();
        }
        return open[next++];
      },
      [&](std::size_t task, std::vector<Trigger>&& found) {
        count += static_cast<std::int64_t>(found.size());
        if (count > options.max_triggers)
          throw method_failed("more than {} triggers: raise --threshold or --max-triggers", options.max_triggers);
        progress.triggers[task] = std::move(found);
        progress.done[task] = 1;
        bar.advance();
        if (!session.checkpoint.empty() && Clock::now() - saved > interval) {
          checkpoints.start(progress);
          saved = Clock::now();
        }
      });
  checkpoints.finish();
}

/// How many of `open` this rank has done.
std::uint64_t finished(const Progress& progress, const std::vector<std::size_t>& open) {
  return static_cast<std::uint64_t>(
      std::ranges::count_if(open, [&](std::size_t task) { return progress.done[task] != 0; }));
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
  return std::ranges::any_of(frames, [](const Loaded& f) {
    const auto& directed = f.source->observation.directed;
    return directed && directed->second;
  });
}

std::string shard_name(const std::string& output, int rank) {
  const std::filesystem::path path(output);
  return (path.parent_path() / fmt::format("{}.{}{}", path.stem().string(), rank, path.extension().string())).string();
}

/// The triggers of all ranks in one file, each rank writing its share; into a pipe rank 0 writes all.
void write_output(const SearchOptions& options, const std::vector<Loaded>& frames, const std::vector<Task>& tasks,
                  Progress&& progress, cli::Session& session, const cluster::Communicator& world, double seconds) {
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

void search(const SearchOptions& options, cli::Session& session, const cluster::Communicator& world) {
  check_options(options);
  const auto files = resolve_inputs(options.inputs);
  auto settings = farm_settings(options, session.threads, device_of(session, world));
  std::vector<Loaded> frames;
  std::vector<Task> tasks;
  for (const auto& name : files) {
    frames.push_back(load(options, name, session));
    const auto& f = frames.back();
    const auto bins = search_bins(f.source->observation.band, f.source->observation.grid.fftpad, settings.search);
    if (options.interbin && f.source->observation.grid.fftpad != 1)
      throw usage_error("--interbin: expected a grid with fftpad 1, that of {} has {}", name,
                        f.source->observation.grid.fftpad);
    if (bins.lo >= bins.hi) throw usage_error("--guard leaves nothing of the band of {}", name);
    if (f.vetoed >= 1 - 1e-9) continue;  // nothing is left of the band: no triggers
    const auto more = make_tasks(f.source->observation, f.selection, static_cast<int>(frames.size()) - 1);
    tasks.insert(tasks.end(), more.begin(), more.end());
  }
  if (!options.genvlines.empty() && world.root())
    write_veto_list(options.genvlines, session.force, *frames.front().source);
  const auto wisdom = compute::fft::wisdom_path();
  if (settings.search.planner != compute::fft::Planner::estimate) {
    load_plans(wisdom, session);
    // All ranks execute the plans that rank 0 finds.
    world.on_root([&] {
      if (world.size() == 1 || tasks.empty()) return;
      prepare(*frames.front().source, settings);
      compute::fft::save_wisdom(wisdom);
    });
    if (world.size() > 1) load_plans(wisdom, session);
  }

  if (world.size() > 1 && (options.dry_run || !options.dump_f.empty()))
    throw usage_error("--dry-run and --dump-F: expected one rank, found {}", world.size());
  if (options.dry_run) return dry_run(files, frames, tasks, settings, session);
  if (!options.dump_f.empty()) return dump_f(options, *frames.front().source, settings, session);

  const auto mark = fingerprint(options, files, tasks, frames);
  Progress progress(tasks.size());
  Checkpoints checkpoints(session.checkpoint, mark, world.rank());
  const auto open = open_tasks(session, world, checkpoints, progress);
  const auto start = Clock::now();
  run_open_tasks(options, frames, tasks, settings, open, session, world, checkpoints, progress);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  if (world.root() && settings.search.planner != compute::fft::Planner::estimate) {
    try {
      compute::fft::save_wisdom(wisdom);
    } catch (const Error& error) {
      session.note(error.what());  // no home folder: the next run measures again
    }
  }
  if (world.allreduce_value(finished(progress, open)) < open.size()) {
    gather_progress(world, progress);
    world.on_root([&] {
      checkpoints.save(progress);
      checkpoints.remove_parts();
    });
    if (!world.root()) return;
    throw cli::stopped_error(session.checkpoint);
  }
  write_output(options, frames, tasks, std::move(progress), session, world, open.size() == tasks.size() ? seconds : 0);
  world.on_root([&] {
    if (!session.checkpoint.empty()) checkpoints.remove_all();
  });
}

}  // namespace

int main(int argc, char** argv) {
  SearchOptions o;
  const cli::Command command{
      .name = "polgraw-search",
      .purpose = "search frames of narrow-band data for periodic gravitational waves",
      .description =
          "Computes the F-statistic on every point of a four-dimensional grid (frequency, spindown, sky) and writes "
          "the "
          "triggers above threshold. By default the network statistic with its cross term, gaps masked, one time "
          "origin for "
          "all detectors, every bin normalised, at half the sampling rate in mixed precision: phases in double, "
          "transforms in "
          "single.\n\n"
          "--compat original reproduces the triggers of the community code's serial program: amplitude functions not "
          "masked "
          "in gaps, diagonal form, each detector's own time origin, bins after the last whole block of 4096 raw. "
          "original-omp is its OpenMP branch: gaps masked, prior narrow.\n\n"
          "DATA may be a .txt file that lists data files. Without --grid and without a grid in the file one is made "
          "for "
          "--min-match. Triggers are ordered by frame, hemisphere, mm, nn, spindown and bin, whatever the number of "
          "threads. "
          "Under mpirun all ranks take sky points from one counter. FFTW plans are measured once and kept in ~/.cache/fachwerk; with the same plans results are the same bits.",
      .arguments = {cli::inputs("DATA", o.inputs, "gw-data files, or .txt lists of them"),
                    cli::output("OUT", o.output, "triggers; --dry-run does not write it")},
      .options =
          {{"--grid", &o.grid, "HDF5 or grid.bin with the grid", {.value_name = "FILE"}},
           {"--min-match",
            &o.min_match,
            "minimal match of a grid that is made here",
            {.minimum = 0.1, .maximum = 0.99}},
           {"--threshold", &o.threshold, "lowest F of a trigger; noise has mean 2"},
           {"--hemisphere", &o.hemisphere, "ecliptic: 1 north, 2 south, 0 both", {.minimum = 0, .maximum = 2}},
           {"--prior",
            &o.prior,
            "spindown: o1 (-1e-8..1e-9 Hz/s), age (1000 years), narrow (age below 200 Hz)",
            {.choices = {"o1", "age", "narrow"}}},
           {"--tau-min", &o.tau_min, "spindown from the age instead", {.unit = "yr", .minimum = 1e-3}},
           {"--fdot-min", &o.fdot_min, "lowest spindown instead", {.unit = "Hz/s"}},
           {"--fdot-max", &o.fdot_max, "highest spindown instead", {.unit = "Hz/s"}},
           {"--no-spindown", &o.no_spindown, "spindown number 0 alone"},
           {"--range", &o.range, "file of 8 integers: lowest and highest ss, nn, mm, pm", {.value_name = "FILE"}},
           {"--regions",
            &o.regions,
            "CSV of grid points: pm,nn,mm,ss_lo,ss_hi, or HDF5 with these columns in /regions",
            {.value_name = "FILE"}},
           {"--cone", &o.cone, "sky points within: alpha,delta,radius in rad, of one cone or several"},
           {"--exclude-cone", &o.exclude_cone, "no sky points within: alpha,delta,radius, one cone or several"},
           {"--f2", &o.f2, "second spindown of a directed grid: lowest,highest in Hz/s^2; default 0,0"},
           {"--shapiro", &o.shapiro, "with the Shapiro delay; needs /DET/ephem/sun_ssb"},
           {"--around", &o.around, "grid points next to a signal: f,fdot,alpha,delta (Hz, Hz/s, rad)"},
           {"--gsize", &o.gsize, "how many grid steps round it", {.minimum = 0, .maximum = 1000}},
           {"--detectors", &o.detectors, "names, in the order in which they are taken"},
           {"--veto", &o.vetoes, "files of known lines", {.value_name = "FILE"}},
           {"--genvlines", &o.genvlines, "write the vetoed intervals", {.value_name = "FILE"}},
           {"--narrowdown",
            &o.narrowdown,
            "keep |omega - pi/2| below this times pi; 0.5 keeps all",
            {.minimum = 0, .maximum = 0.5}},
           {"--guard",
            &o.guard,
            "part of the band left out at both ends; default: 4096 B bins",
            {.unit = "Hz", .minimum = 0}},
           {"--whitenoise", &o.whitenoise, "no normalisation in blocks"},
           {"--norm", &o.norm, "normalise blocks of bins by mean or median", {.choices = {"block", "median", "none"}}},
           {"--nav", &o.nav, "bins in a block", {.minimum = 16, .maximum = 1048576}},
           {"--form", &o.form, "of F: with or without the cross term", {.choices = {"full", "diagonal"}}},
           {"--peaks",
            &o.peaks,
            "one trigger a run of bins above threshold, or each local maximum",
            {.choices = {"run", "local"}}},
           {"--precision", &o.precision, "mixed: single-precision transforms", {.choices = {"mixed", "double"}}},
           {"--engine",
            &o.engine,
            "plain: the same statistic without any of the fast form's means; batched: as on a GPU",
            {.choices = {"fast", "plain", "batched"}}},
           {"--interbin", &o.interbin, "F half-way between the bins too; for grids with fftpad 1"},
           {"--halfrate", &o.halfrate, "off: keep the full sampling rate", {.choices = {"auto", "off"}}},
           {"--interpolation",
            &o.degree,
            "degree of the spline of the fast form: 3, 5 or 7",
            {.minimum = 3, .maximum = 7}},
           {"--fft-planning",
            &o.planning,
            "how long FFTW looks for a plan",
            {.choices = {"estimate", "measure", "patient"}}},
           {"--refine",
            &o.refine,
            "maximise F off the grid next to so many of the loudest clusters of triggers",
            {.minimum = 0, .maximum = 100000}},
           {"--top", &o.top, "keep the loudest alone; 0 keeps all", {.minimum = 0}},
           {"--max-triggers", &o.max_triggers, "stop beyond this many", {.minimum = 1}},
           {"--compat", &o.compat, "reproduce the community code", {.choices = {"none", "original", "original-omp"}}},
           {"--dump-F", &o.dump_f, "write F over frequency at pm,nn,mm,ss instead"},
           {"--dry-run", &o.dry_run, "print ranges, templates and predicted time"},
           {"--checkpoint-interval", &o.checkpoint_interval, "time between checkpoints", {.unit = "s", .minimum = 0}},
           {"--shards", &o.shards, "under mpirun each rank writes a file of its own: OUT.0.h5, OUT.1.h5, ..."},
           {"--detector-F", &o.detector_f,
            "write 2F of each detector at the triggers, and two statistics that tell lines"}},
      .examples = {{"polgraw-search frame1.h5 triggers.h5 --threshold 14.5", "Both hemispheres, the whole sky."},
                   {"polgraw-search frame1.h5 triggers.h5 --dry-run",
                    "How large the search is, and how long it will take."},
                   {"polgraw-search bands.txt all.h5 --checkpoint state.h5", "Many frames; continue with --resume."}},
      .reference =
          "Poghosyan, Matta, Streit, Bejger, Krolak, Comput. Phys. Commun. 188 (2015) 167 (arXiv:1410.3677); Astone "
          "et al., Phys. Rev. D 82 (2010) 022005; Jaranowski, Krolak, Schutz, Phys. Rev. D 58 (1998) 063001",
      .reads =
          "/ attributes fpo, dt, nod, gps_start, frame, band\n"
          "/DET/x (N) data, zero where missing; /DET/mask (N) optional\n"
          "/DET/ephem/earth_ssb, det_geo (N,3) s; /DET/ephem/einstein (N) s\n"
          "/DET attributes phir, eps, lat, lon, gamma, gps_start\n"
          "/DET/ephem/sun_ssb (N,3) s: --shapiro\n"
          "/grid/M, /grid/fisher (4,4), attribute fftpad: optional; directed: (2,2) or (3,3), attributes axes = \"omega,s\" or "
          "\"omega,s,s2\", alpha, delta",
      .writes =
          "/triggers/omega, s, delta, alpha, snr, f_hz, fdot (n) f64\n"
          "/triggers/pm, mm, nn, ss, k, source (n) i32\n"
          "/triggers/half (n) i32: --interbin\n"
          "/triggers/tt (n) i32, s2, fddot (n) f64: second spindown\n"
          "/triggers/twoF_det (n, detectors) f32, line (n) i32, log10_bsgl (n) f32: --detector-F\n"
          "/candidates/F, grid_F, snr, f_hz, fdot, fddot, alpha, delta, omega, s, source, trigger, converged: --refine, "
          "loudest first\n"
          "/sources/frame, band, fpo, dt, N, gps_start, obliquity, templates: one row a frame\n"
          "--dump-F: /frequency, /F",
      .standard = {.threads = true, .device = true, .checkpoint = true}};
  return command.run(argc, argv, [&](cli::Session& session) {
    if (o.degree % 2 == 0) throw usage_error("--interpolation: expected 3, 5 or 7, found {}", o.degree);
    cluster::run(session, [&](const cluster::Communicator& world) { search(o, session, world); });
  });
}
