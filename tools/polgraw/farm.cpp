#include "farm.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <list>
#include <mutex>
#include <tuple>
#include <utility>
#include <variant>

#include <omp.h>

#include "cli/error.hpp"

namespace fachwerk::polgraw {

SkyPoint task_point(const Observation& o, const Task& task) {
  if (o.directed) return directed_point(o.grid, *o.directed, o.obliquity, task.tt);
  return *sky_point(o.grid, o.band, o.obliquity, task.hemisphere, task.nn, task.mm, task.tt);
}

namespace {

/// Spindown numbers at a point of the other axes. The truncated ones of the community code leave out what lies between
/// the last number and the end of the prior; further axes are covered.
Range spindowns_at(const Observation& o, const Selection& selection, const SkyPoint& point) {
  if (selection.no_spindown) return {0, 0};
  if (selection.range && selection.range_spindowns) return selection.range->spindown;
  return o.directed || o.grid.second ? spindown_cover(o.grid, selection.prior, point)
                                     : spindown_range(o.grid, selection.prior, point.nn, point.mm);
}

/// The tasks of a sky point: one for each number of the second spindown. `spindowns` replaces all other rules.
void add_tasks(const Observation& o, const Selection& selection, int source, SkyPoint point, const Range* spindowns,
               std::vector<Task>& tasks) {
  const auto seconds = second_range(o.grid, point.nn, point.mm, selection.s2_min, selection.s2_max);
  for (int tt = seconds.lo; tt <= seconds.hi; ++tt) {
    point.second = second_spindown(o.grid, point.nn, point.mm, tt);
    const Range range = spindowns != nullptr && !selection.no_spindown ? *spindowns : spindowns_at(o, selection, point);
    if (range.lo <= range.hi) tasks.push_back({source, point.hemisphere, point.mm, point.nn, range, tt});
  }
}

}  // namespace

std::vector<Task> make_tasks(const Observation& o, const Selection& selection, int source) {
  std::vector<Task> tasks;
  if (o.directed) {
    add_tasks(o, selection, source, directed_point(o.grid, *o.directed, o.obliquity, 0), nullptr, tasks);
    return tasks;
  }
  const auto wanted = [&](int hemisphere) { return selection.hemisphere == 0 || selection.hemisphere == hemisphere; };
  const auto add = [&](int hemisphere, int nn, int mm, const Range* spindowns) {
    if (!wanted(hemisphere)) return;
    const auto point = sky_point(o.grid, o.band, o.obliquity, Hemisphere(hemisphere), nn, mm);
    if (!point) return;
    const auto lies_in = [&](const Cone& cone) { return separation(point->sky, cone.centre) <= cone.radius; };
    if (!selection.cones.empty() && std::ranges::none_of(selection.cones, lies_in)) return;
    if (std::ranges::any_of(selection.excluded, lies_in)) return;
    add_tasks(o, selection, source, *point, spindowns, tasks);
  };
  if (!selection.regions.empty()) {
    for (const auto& region : selection.regions)
      add(region.hemisphere, region.nn, region.mm, &region.spindowns);
    std::ranges::stable_sort(tasks, {}, [](const Task& t) { return std::tuple(int(t.hemisphere), t.mm, t.nn); });
    return tasks;
  }
  const SearchRange range = selection.range
                                ? *selection.range
                                : covering_range(o.grid, o.band, -selection.prior.s_max, selection.prior.s_min);
  for (int hemisphere = range.hemisphere.lo; hemisphere <= range.hemisphere.hi; ++hemisphere)
    for (int mm = range.mm.lo; mm <= range.mm.hi; ++mm)
      for (int nn = range.nn.lo; nn <= range.nn.hi; ++nn)
        add(hemisphere, nn, mm, nullptr);
  return tasks;
}

std::int64_t template_count(std::span<const Task> tasks) {
  std::int64_t count = 0;
  for (const auto& t : tasks)
    count += t.spindowns.hi - t.spindowns.lo + 1;
  return count;
}

SearchRange range_around(const Observation& o, const SignalPoint& signal, int size) {
  const auto ecliptic = to_ecliptic(make_sky(signal.alpha, signal.delta), o.obliquity);
  // The grid's linear parameters at this frequency.
  const double reach = o.band.oms() + signal.omega;
  const auto z = lattice_coordinates(o.grid.M, {signal.omega, signal.s, ecliptic.be1 * reach, ecliptic.be2 * reach});
  const auto around = [](double x, int half) {
    if (!(std::abs(x) < 1e8)) throw usage_error("the point is {:.3g} grid steps away: expected one of this band", x);
    const int centre = static_cast<int>(std::lround(x));
    return Range{centre - half, centre + half};
  };
  const int hemisphere = static_cast<int>(ecliptic.hemisphere);
  return {around(z[1], 2 * size), around(z[2], size), around(z[3], size), {hemisphere, hemisphere}};
}

namespace {

/// The most by which the frequency of a task's templates changes within the frame, rad/sample.
double frequency_drift(const Observation& o, const Task& task) {
  const auto point = task_point(o, task);
  const auto n = static_cast<double>(o.band.N);
  double drift = 0;
  for (const int ss : {task.spindowns.lo, task.spindowns.hi})
    drift = std::max(drift, n * std::abs(2 * spindown_of(o.grid, ss, point) + 3 * n * point.second.s2));
  return drift;
}

}  // namespace

EngineSettings engine_settings(const Observation& o, std::span<const Task> tasks, const FarmSettings& settings) {
  auto engine = settings.engine;
  if (!engine.half_rate) return engine;
  // Near the cut it rings: two fifths of the guard, 256 bins at least, are kept between it and every template.
  const double bin = 2 * pi / static_cast<double>(o.band.nfft);
  const auto bins = search_bins(o.band, o.grid.fftpad, settings.search);
  const double guard = static_cast<double>(bins.lo) / o.grid.fftpad * bin;
  const double room = std::min(0.6 * guard, guard - 256 * bin);
  engine.half_rate = std::ranges::all_of(tasks, [&](const Task& t) { return frequency_drift(o, t) <= room; });
  return engine;
}

namespace {

constexpr int batch_of_spindowns = 32;

/// A sky point in work. Its spindowns are taken block by block, by the thread whose it is and, once no tasks are left,
/// by threads that have nothing else to do. A block begins with exact phases, so that who does it makes no difference.
struct Job {
  std::size_t task = 0;
  Task what;
  std::size_t next = 0, finished = 0;
  std::vector<Range> blocks;
  std::vector<std::vector<Trigger>> found;  ///< of each block
  const class Worker* owner = nullptr;      ///< once the sky point is prepared

  struct Begun {
    Task what;
    const class Worker* owner;
  };
  bool open() const { return next < blocks.size(); }
  std::size_t left() const { return blocks.size() - next; }
};

Job make_job(std::size_t number, const Task& task, const FarmSettings& settings) {
  Job job{number, task, 0, 0, {}, {}, nullptr};
  const int all = task.spindowns.hi - task.spindowns.lo + 1;
  const int size = settings.threads == 1 ? all : settings.engine.anchor_interval;
  for (int lo = task.spindowns.lo; lo <= task.spindowns.hi; lo += size)
    job.blocks.push_back({lo, std::min(lo + size - 1, task.spindowns.hi)});
  job.found.resize(job.blocks.size());
  return job;
}

/// The frame that threads are at, with what they share of it.
struct Current {
  int number = -1;
  std::shared_ptr<const FarmSource> source;
  std::shared_ptr<const EnginePlan<float>> mixed;
  std::shared_ptr<const EnginePlan<double>> exact;
};

/// A thread's engine for the frame that it is at.
class Worker {
 public:
  Worker(const FarmSettings& settings) : settings_(settings) {}

  void attach(const Current& frame) {
    engine_.emplace<std::monostate>();
    frame_ = frame;
    task_.reset();
    if (settings_.plain)
      engine_.emplace<PlainEngine>(frame_.source->observation, settings_.search);
    else if (settings_.batched && settings_.precision == Precision::mixed)
      engine_.emplace<DeviceEngine<float>>(frame_.mixed, settings_.device, batch_of_spindowns);
    else if (settings_.batched)
      engine_.emplace<DeviceEngine<double>>(frame_.exact, settings_.device, batch_of_spindowns);
    else if (settings_.precision == Precision::mixed)
      engine_.emplace<FastEngine<float>>(frame_.mixed);
    else
      engine_.emplace<FastEngine<double>>(frame_.exact);
  }
  const Current& frame() const { return frame_; }

  /// Prepares a task's sky point.
  void set_task(const Task& task) {
    const auto point = task_point(frame_.source->observation, task);
    const auto sky = [](const Task& t) { return std::tuple(t.source, t.hemisphere, t.mm, t.nn); };
    visit([&](auto& engine) {
      if (task_ && sky(*task_) == sky(task))
        engine.move_to(point);
      else
        engine.set_sky(point);
    });
    task_ = task;
  }
  /// Takes a prepared sky point over from another thread's engine, or prepares it again.
  void join(const Worker& owner, const Task& task) {
    visit([&](auto& engine) {
      using Engine = std::decay_t<decltype(engine)>;
      if constexpr (requires { engine.adopt(engine); })
        engine.adopt(std::get<Engine>(owner.engine_));
      else
        engine.set_sky(task_point(frame_.source->observation, task));
    });
    task_ = task;
  }
  std::vector<Trigger> run(const Range& spindowns) {
    std::vector<Trigger> triggers;
    const auto& o = frame_.source->observation;
    visit([&](auto& engine) {
      search_spindowns(engine, o, settings_.search, task_point(o, *task_), spindowns, frame_.source->exclusions,
                       triggers);
    });
    return triggers;
  }

 private:
  template <class Function>
  void visit(const Function& function) {
    std::visit(
        [&](auto& engine) {
          if constexpr (!std::is_same_v<std::decay_t<decltype(engine)>, std::monostate>) function(engine);
        },
        engine_);
  }

  const FarmSettings& settings_;
  Current frame_;
  std::optional<Task> task_;
  std::variant<std::monostate, PlainEngine, FastEngine<float>, FastEngine<double>, DeviceEngine<float>,
               DeviceEngine<double>>
      engine_;
};

Current load_frame(int number, std::span<const Task> tasks, const FarmSettings& settings,
                   const std::function<std::shared_ptr<const FarmSource>(int)>& load) {
  Current frame{number, load(number), nullptr, nullptr};
  const auto& o = frame.source->observation;
  if (settings.plain) return frame;
  const auto mine = std::ranges::equal_range(tasks, number, {}, &Task::source);
  const auto engine = engine_settings(o, {mine.begin(), mine.end()}, settings);
  if (settings.precision == Precision::mixed)
    frame.mixed = std::make_shared<EnginePlan<float>>(o, settings.search, engine);
  else
    frame.exact = std::make_shared<EnginePlan<double>>(o, settings.search, engine);
  return frame;
}

/// What the threads of run_tasks share: one of them at a time uses it, but for the spindowns themselves.
class Farm {
 public:
  Farm(std::span<const Task> tasks, const FarmSettings& settings,
       const std::function<std::shared_ptr<const FarmSource>(int)>& load,
       const std::function<std::optional<std::size_t>()>& claim,
       const std::function<void(std::size_t, std::vector<Trigger>&&)>& done)
      : tasks_(tasks), settings_(settings), load_(load), claim_(claim), done_(done), first_(claim()) {
    if (first_) enter(tasks_[*first_].source);  // the first frame is made ready by all threads together
  }
  bool empty() const { return !first_; }

  /// What one thread does. The worker must outlive all threads' work.
  void work(Worker& worker) {
    try {
      std::unique_lock lock(mutex_);
      while (Job* job = next_job()) {
        enter(job->what.source);
        if (worker.frame().number != current_.number) worker.attach(current_);
        lock.unlock();
        worker.set_task(job->what);
        lock.lock();
        job->owner = &worker;
        prepared_.notify_all();
        do_blocks(worker, *job, lock);
      }
      // No task is left, so that no engine moves to another sky point: help with what is in work.
      while (Job* job = job_to_help(lock)) {
        const Job::Begun begun{job->what, job->owner};
        lock.unlock();
        if (worker.frame().number != begun.what.source) worker.attach(begun.owner->frame());
        worker.join(*begun.owner, begun.what);
        lock.lock();
        if (is_in_work(job)) do_blocks(worker, *job, lock);
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
      prepared_.notify_all();
    }
  }
  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  void enter(int number) {
    if (current_.number != number) current_ = load_frame(number, tasks_, settings_, load_);
  }

  Job* next_job() {
    if (failure_ || exhausted_) return nullptr;
    const auto task = first_taken_ ? claim_() : first_;
    first_taken_ = true;
    exhausted_ = !task;
    prepared_.notify_all();
    return task ? &jobs_.emplace_back(make_job(*task, tasks_[*task], settings_)) : nullptr;
  }

  /// The job with most blocks left; waits while one may still become ready.
  Job* job_to_help(std::unique_lock<std::mutex>& lock) {
    for (;;) {
      Job* best = nullptr;
      bool preparing = false;
      for (auto& job : jobs_) {
        preparing = preparing || job.owner == nullptr;
        if (job.owner != nullptr && job.open() && (best == nullptr || job.left() > best->left())) best = &job;
      }
      if (failure_) return nullptr;
      if (best != nullptr || !preparing) return best;
      prepared_.wait(lock);
    }
  }
  bool is_in_work(const Job* job) const {
    return std::ranges::any_of(jobs_, [&](const Job& j) { return &j == job; });
  }

  void do_blocks(Worker& worker, Job& job, std::unique_lock<std::mutex>& lock) {
    while (job.open() && !failure_) {
      const std::size_t block = job.next++;
      lock.unlock();
      auto found = worker.run(job.blocks[block]);
      lock.lock();
      job.found[block] = std::move(found);
      if (++job.finished < job.blocks.size()) continue;
      std::vector<Trigger> all;
      for (const auto& part : job.found)
        all.insert(all.end(), part.begin(), part.end());
      done_(job.task, std::move(all));
      jobs_.remove_if([&](const Job& j) { return &j == &job; });
      return;
    }
  }

  std::span<const Task> tasks_;
  const FarmSettings& settings_;
  const std::function<std::shared_ptr<const FarmSource>(int)>& load_;
  const std::function<std::optional<std::size_t>()>& claim_;
  const std::function<void(std::size_t, std::vector<Trigger>&&)>& done_;
  std::optional<std::size_t> first_;
  bool first_taken_ = false, exhausted_ = false;
  std::mutex mutex_;
  std::condition_variable prepared_;
  std::list<Job> jobs_;
  Current current_;
  std::exception_ptr failure_;
};

}  // namespace

void run_tasks(std::span<const Task> tasks, const FarmSettings& settings,
               const std::function<std::shared_ptr<const FarmSource>(int)>& load,
               const std::function<std::optional<std::size_t>()>& claim,
               const std::function<void(std::size_t, std::vector<Trigger>&&)>& done) {
  Farm farm(tasks, settings, load, claim, done);
  if (farm.empty()) return;
  std::deque<Worker> workers;
  for (int t = 0; t < settings.threads; ++t)
    workers.emplace_back(settings);
#pragma omp parallel num_threads(settings.threads)
  farm.work(workers[static_cast<std::size_t>(omp_get_thread_num())]);
  farm.rethrow();
}

std::vector<Trigger> search_frame(const FarmSource& source, std::span<const Task> tasks, const FarmSettings& settings) {
  std::vector<std::vector<Trigger>> results(tasks.size());
  std::size_t next = 0;
  const std::shared_ptr<const FarmSource> shared(std::shared_ptr<void>(), &source);
  run_tasks(
      tasks, settings, [&](int) { return shared; },
      [&]() { return next < tasks.size() ? std::optional(next++) : std::nullopt; },
      [&](std::size_t task, std::vector<Trigger>&& found) { results[task] = std::move(found); });
  std::vector<Trigger> all;
  for (auto& r : results)
    all.insert(all.end(), r.begin(), r.end());
  return all;
}

}  // namespace fachwerk::polgraw
