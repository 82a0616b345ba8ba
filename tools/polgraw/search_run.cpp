#include "search_run.hpp"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "cli/progress.hpp"
#include "cluster/task_queue.hpp"

namespace fachwerk::polgraw {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void load_plans(const std::string& path, const cli::Session& session) {
  try {
    compute::fft::load_wisdom(path);
  } catch (const Error& error) {
    session.note(error.what());  // plans are measured again
  }
}

/// Makes the plans of a frame.
void prepare(const FarmSource& source, std::span<const Task> tasks, const FarmSettings& settings) {
  const auto form = engine_settings(source.observation, tasks, settings);
  if (settings.plain)
    PlainEngine engine(source.observation, settings.search);
  else if (settings.precision == Precision::mixed)
    EnginePlan<float> plan(source.observation, settings.search, form);
  else
    EnginePlan<double> plan(source.observation, settings.search, form);
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

/// One sky point at a time from a counter that all ranks raise; its triggers stay with who found them. Checkpoints are
/// written in the background.
void run_open_tasks(const SearchOptions& options, const SearchWork& work, const FarmSettings& settings,
                    const std::vector<std::size_t>& open, cli::Session& session, const cluster::Communicator& world,
                    Checkpoints& checkpoints, Progress& progress) {
  auto saved = Clock::now();
  cli::Progress bar(session, "searching", open.size() / static_cast<std::size_t>(world.size()), "sky points");
  std::int64_t count = 0;
  const std::chrono::duration<double> interval(options.checkpoint_interval);
  cluster::TaskQueue queue(world, open.size(), settings.threads > 1 ? 1 : 0);
  std::size_t next = 0, end = 0;
  run_tasks(
      work.tasks, settings, [&](int source) { return work.frames[static_cast<std::size_t>(source)].source; },
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

}  // namespace

void prepare_plans(const SearchWork& work, const FarmSettings& settings, const cli::Session& session,
                   const cluster::Communicator& world) {
  if (settings.search.planner == compute::fft::Planner::estimate) return;
  const auto wisdom = compute::fft::wisdom_path();
  load_plans(wisdom, session);
  world.on_root([&] {
    if (world.size() == 1 || work.tasks.empty()) return;
    const auto first = std::ranges::equal_range(work.tasks, 0, {}, &Task::source);
    prepare(*work.frames.front().source, {first.begin(), first.end()}, settings);
    compute::fft::save_wisdom(wisdom);
  });
  if (world.size() > 1) load_plans(wisdom, session);
}

void dry_run(const SearchWork& work, const FarmSettings& settings, cli::Session& session) {
  const auto& frames = work.frames;
  const auto& tasks = work.tasks;
  cli::Table table{"frames", {"file", "fpo Hz", "sky points", "templates", "vetoed %"}};
  for (std::size_t f = 0; f < frames.size(); ++f) {
    std::vector<Task> mine;
    std::ranges::copy_if(tasks, std::back_inserter(mine),
                         [&](const Task& t) { return t.source == static_cast<int>(f); });
    table.rows.push_back({frames[f].path, frames[f].source->observation.band.fpo,
                          static_cast<std::int64_t>(mine.size()), template_count(mine), 100 * frames[f].vetoed});
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
  if (o.grid.second && !tasks.empty()) {
    const auto [lo, hi] = std::ranges::minmax(tasks, {}, &Task::tt);
    session.summary.add("second spindown numbers", fmt::format("{}..{}", lo.tt, hi.tt));
  }
  session.summary.add("templates", template_count(tasks));
  if (!tasks.empty()) {  // time of a few templates of the first sky point, and of its preparation
    Task probe = tasks.front();
    const auto timed = [&](int count) {
      probe.spindowns.hi = probe.spindowns.lo + count - 1;
      const auto start = Clock::now();
      auto one = settings;
      one.threads = 1;
      search_frame(*frames[static_cast<std::size_t>(probe.source)].source, std::span(&probe, 1), one);
      return seconds_since(start);
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

std::string fingerprint(const SearchOptions& o, const SearchWork& work) {
  std::string text = fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {}", cli::version(), o.compat, o.form,
                                 o.norm, o.peaks, o.precision, o.engine, o.halfrate, o.threshold, o.narrowdown,
                                 o.guard.value_or(-1), o.nav, o.degree, o.whitenoise, o.shapiro, o.interbin);
  for (const auto& f : work.frames) {
    const auto& observation = f.source->observation;
    double sum = 0;
    for (const auto& d : observation.detectors)
      for (std::size_t i = 0; i < d.x.size(); ++i)
        sum += d.x[i] * std::cos(static_cast<double>(i));
    text += fmt::format("|{} {} {:a}", f.path, f.info.gps_start, sum);
    for (const double m : observation.grid.M)
      text += fmt::format(" {:a}", m);
    if (const auto& axis = observation.grid.second)
      text += fmt::format(" s2 {:a} {:a} {:a} {:a} {:a}", axis->row[0], axis->row[1], axis->row[2], axis->nn, axis->mm);
    for (const auto& [lo, hi] : f.source->exclusions.omega)
      text += fmt::format(" veto {:a} {:a}", lo, hi);
  }
  std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a over the tasks
  for (const auto& t : work.tasks)
    for (const int v : {t.source, static_cast<int>(t.hemisphere), t.mm, t.nn, t.tt, t.spindowns.lo, t.spindowns.hi})
      hash = (hash ^ static_cast<std::uint32_t>(v)) * 1099511628211ULL;
  return text + fmt::format("|{:016x}", hash);
}

std::optional<Done> run_search(const SearchOptions& options, const SearchWork& work, const FarmSettings& settings,
                               cli::Session& session, const cluster::Communicator& world, Checkpoints& checkpoints) {
  Done done{Progress(work.tasks.size()), 0};
  const auto open = open_tasks(session, world, checkpoints, done.progress);
  const auto start = Clock::now();
  run_open_tasks(options, work, settings, open, session, world, checkpoints, done.progress);
  if (open.size() == work.tasks.size()) done.seconds = seconds_since(start);
  if (world.root() && settings.search.planner != compute::fft::Planner::estimate) {
    try {
      compute::fft::save_wisdom(compute::fft::wisdom_path());
    } catch (const Error& error) {
      session.note(error.what());  // no home folder: the next run measures again
    }
  }
  if (world.allreduce_value(finished(done.progress, open)) == open.size()) return done;
  gather_progress(world, done.progress);
  world.on_root([&] {
    checkpoints.save(done.progress);
    checkpoints.remove_parts();
  });
  if (!world.root()) return std::nullopt;
  throw cli::stopped_error(session.checkpoint);
}

}  // namespace fachwerk::polgraw
