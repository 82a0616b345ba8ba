#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "device_engine.hpp"
#include "direct.hpp"

/// The work of a search as independent tasks, one for each sky point of each frame, done in any order by any number of
/// threads; triggers come out the same.
namespace fachwerk::polgraw {

struct Task {
  int source = 0;  ///< number of the frame
  Hemisphere hemisphere = Hemisphere::north;
  int mm = 0, nn = 0;
  Range spindowns;
  int tt = 0;  ///< number of the second spindown
};
/// The lattice point of a task, which lies on the sky.
SkyPoint task_point(const Observation& observation, const Task& task);

/// Part of the sky or of the grid.
struct Region {
  int hemisphere = 0, nn = 0, mm = 0;
  Range spindowns;
};
struct Cone {
  SkyPosition centre;
  double radius = 0;  ///< rad
};
/// What to search of a frame. Later members restrict further.
struct Selection {
  SpindownPrior prior;
  bool no_spindown = false;               ///< spindown number 0 alone
  std::optional<SearchRange> range = {};  ///< grid numbers as given; otherwise all of the sky and the prior
  bool range_spindowns = false;           ///< the range's spindown numbers replace the prior's
  std::vector<Cone> cones = {};           ///< if any, sky points in one of these
  std::vector<Cone> excluded = {};        ///< sky points in none of these
  std::vector<Region> regions = {};       ///< if any, these points alone
  int hemisphere = 0;                     ///< 1, 2, or 0 for both
  double s2_min = 0, s2_max = 0;          ///< second spindown, for grids that have it
};
/// Tasks of one frame in the order of the output: hemisphere, mm, nn.
std::vector<Task> make_tasks(const Observation& observation, const Selection& selection, int source);
std::int64_t template_count(std::span<const Task> tasks);

/// Numbers within +-size (nn, mm) and +-2 size (ss) of the grid point nearest to a signal, one spindown.
SearchRange range_around(const Observation& observation, const SignalPoint& signal, int size);

struct FarmSettings {
  SearchSettings search;
  EngineSettings engine;
  Precision precision = Precision::mixed;
  bool plain = false;
  bool batched = false;  ///< DeviceEngine; always on a device that is not the CPU
  compute::Device device = {};
  int threads = 1;
};

/// The fast form as a frame's tasks need it: at half the sampling rate only while no template's frequency drifts across
/// the part of the band that is left out at its ends (the cut there takes noise and signal beyond it away).
EngineSettings engine_settings(const Observation& observation, std::span<const Task> tasks,
                               const FarmSettings& settings);

/// One frame as tasks need it.
struct FarmSource {
  Observation observation;
  Exclusions exclusions;
};

/// Runs tasks, those of a frame one behind the other, on `threads` threads. `load(source)` gives a frame, `claim()` the
/// number of the next task or nothing when there is none left, `done(task, triggers)` takes a result; these three are
/// called by one thread at a time.
void run_tasks(std::span<const Task> tasks, const FarmSettings& settings,
               const std::function<std::shared_ptr<const FarmSource>(int)>& load,
               const std::function<std::optional<std::size_t>()>& claim,
               const std::function<void(std::size_t, std::vector<Trigger>&&)>& done);

/// All tasks of one frame, triggers in order.
std::vector<Trigger> search_frame(const FarmSource& source, std::span<const Task> tasks, const FarmSettings& settings);

}  // namespace fachwerk::polgraw
