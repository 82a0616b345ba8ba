#include "farm.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <utility>
#include <variant>

namespace fachwerk::polgraw {

SkyPoint task_point(const Observation& o, const Task& task) {
  if (o.directed) return directed_point(*o.directed, o.obliquity, task.tt);
  return *sky_point(o.grid, o.band, o.obliquity, task.hemisphere, task.nn, task.mm);
}

namespace {

std::vector<Task> directed_tasks(const Observation& o, const Selection& selection, int source) {
  std::vector<Task> tasks;
  const auto seconds = second_range(*o.directed, selection.s2_min, selection.s2_max);
  for (int tt = seconds.lo; tt <= seconds.hi; ++tt) {
    const auto point = directed_point(*o.directed, o.obliquity, tt);
    Range range =
        selection.range_spindowns ? selection.range->spindown : directed_spindowns(o.grid, selection.prior, point);
    if (selection.no_spindown) range = {0, 0};
    tasks.push_back({source, point.hemisphere, 0, 0, range, tt});
  }
  return tasks;
}

}  // namespace

std::vector<Task> make_tasks(const Observation& o, const Selection& selection, int source) {
  if (o.directed) return directed_tasks(o, selection, source);
  std::vector<Task> tasks;
  const auto wanted = [&](int hemisphere) { return selection.hemisphere == 0 || selection.hemisphere == hemisphere; };
  const auto add = [&](int hemisphere, int nn, int mm, const Range* spindowns) {
    if (!wanted(hemisphere)) return;
    const auto point = sky_point(o.grid, o.band, o.obliquity, Hemisphere(hemisphere), nn, mm);
    if (!point) return;
    const auto lies_in = [&](const Cone& cone) { return separation(point->sky, cone.centre) <= cone.radius; };
    if (!selection.cones.empty() && std::ranges::none_of(selection.cones, lies_in)) return;
    if (std::ranges::any_of(selection.excluded, lies_in)) return;
    Range range = spindowns ? *spindowns : spindown_range(o.grid, selection.prior, nn, mm);
    if (selection.no_spindown) range = {0, 0};
    if (range.lo <= range.hi) tasks.push_back({source, Hemisphere(hemisphere), mm, nn, range, 0});
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
  const Range* spindowns = selection.range_spindowns ? &range.spindown : nullptr;
  for (int hemisphere = range.hemisphere.lo; hemisphere <= range.hemisphere.hi; ++hemisphere)
    for (int mm = range.mm.lo; mm <= range.mm.hi; ++mm)
      for (int nn = range.nn.lo; nn <= range.nn.hi; ++nn)
        add(hemisphere, nn, mm, spindowns);
  return tasks;
}

std::int64_t template_count(std::span<const Task> tasks) {
  std::int64_t count = 0;
  for (const auto& t : tasks)
    count += t.spindowns.hi - t.spindowns.lo + 1;
  return count;
}

SearchRange range_around(const Observation& o, double omega, double s, const SkyPosition& sky, int size) {
  const auto ecliptic = to_ecliptic(sky, o.obliquity);
  // The grid's linear parameters at this frequency.
  const double reach = o.band.oms() + omega;
  const auto z = lattice_coordinates(o.grid.M, {omega, s, ecliptic.be1 * reach, ecliptic.be2 * reach});
  const auto around = [](double x, int half) {
    const int centre = static_cast<int>(std::lround(x));
    return Range{centre - half, centre + half};
  };
  const int hemisphere = static_cast<int>(ecliptic.hemisphere);
  return {around(z[1], 2 * size), around(z[2], size), around(z[3], size), {hemisphere, hemisphere}};
}

namespace {

constexpr int batch_of_spindowns = 32;

/// A thread's engine for the frame that it is at.
class Worker {
 public:
  Worker(const FarmSettings& settings) : settings_(settings) {}

  void attach(int number, std::shared_ptr<const FarmSource> source, std::shared_ptr<const EnginePlan<float>> mixed,
              std::shared_ptr<const EnginePlan<double>> exact) {
    engine_.emplace<std::monostate>();
    source_ = std::move(source);
    number_ = number;
    if (settings_.plain)
      engine_.emplace<PlainEngine>(source_->observation, settings_.search);
    else if (settings_.batched && settings_.precision == Precision::mixed)
      engine_.emplace<DeviceEngine<float>>(std::move(mixed), settings_.device, batch_of_spindowns);
    else if (settings_.batched)
      engine_.emplace<DeviceEngine<double>>(std::move(exact), settings_.device, batch_of_spindowns);
    else if (settings_.precision == Precision::mixed)
      engine_.emplace<FastEngine<float>>(std::move(mixed));
    else
      engine_.emplace<FastEngine<double>>(std::move(exact));
  }
  int source() const { return number_; }

  std::vector<Trigger> run(const Task& task) {
    std::vector<Trigger> triggers;
    const auto& o = source_->observation;
    std::visit(
        [&](auto& engine) {
          if constexpr (!std::is_same_v<std::decay_t<decltype(engine)>, std::monostate>)
            search_sky_point(engine, o, settings_.search, task_point(o, task), task.spindowns, source_->exclusions,
                             triggers);
        },
        engine_);
    return triggers;
  }

 private:
  const FarmSettings& settings_;
  std::shared_ptr<const FarmSource> source_;
  int number_ = -1;
  std::variant<std::monostate, PlainEngine, FastEngine<float>, FastEngine<double>, DeviceEngine<float>,
               DeviceEngine<double>>
      engine_;
};

/// The frame that threads are at, with what they share of it.
struct Current {
  int number = -1;
  std::shared_ptr<const FarmSource> source;
  std::shared_ptr<const EnginePlan<float>> mixed;
  std::shared_ptr<const EnginePlan<double>> exact;
};

}  // namespace

void run_tasks(std::span<const Task> tasks, const FarmSettings& settings,
               const std::function<std::shared_ptr<const FarmSource>(int)>& load,
               const std::function<std::optional<std::size_t>()>& claim,
               const std::function<void(std::size_t, std::vector<Trigger>&&)>& done) {
  std::mutex mutex;
  Current current;
  std::exception_ptr failure;
  const auto enter = [&](int number) {
    if (current.number == number) return;
    current = {number, load(number), nullptr, nullptr};
    const auto& o = current.source->observation;
    if (!settings.plain && settings.precision == Precision::mixed)
      current.mixed = std::make_shared<EnginePlan<float>>(o, settings.search, settings.engine);
    else if (!settings.plain)
      current.exact = std::make_shared<EnginePlan<double>>(o, settings.search, settings.engine);
  };
  // The first frame is made ready by all threads together.
  std::optional<std::size_t> first = claim();
  if (!first) return;
  enter(tasks[*first].source);
#pragma omp parallel num_threads(settings.threads)
  {
    Worker worker(settings);
    try {
      for (;;) {
        std::size_t task = 0;
        {
          const std::lock_guard lock(mutex);
          if (failure) break;
          const auto next = first ? std::exchange(first, std::nullopt) : claim();
          if (!next) break;
          task = *next;
          const int number = tasks[task].source;
          if (worker.source() != number) {
            enter(number);
            worker.attach(number, current.source, current.mixed, current.exact);
          }
        }
        auto triggers = worker.run(tasks[task]);
        const std::lock_guard lock(mutex);
        done(task, std::move(triggers));
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
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
