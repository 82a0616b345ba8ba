#pragma once

#include <memory>

#include "engine.hpp"

/// The fast search on a device: the statistic of FastEngine from the same functions of a sample and a bin, one kernel a
/// step, the spindowns of a sky point in batches. Runs on the CPU too, where its tests are.
namespace fachwerk::polgraw {

template <class Real>
class DeviceEngine {
 public:
  /// `batch` spindowns at once. Norm::median is not offered: throws std::invalid_argument.
  DeviceEngine(std::shared_ptr<const EnginePlan<Real>> plan, compute::Device device, int batch);
  ~DeviceEngine();
  DeviceEngine(DeviceEngine&&) noexcept;
  DeviceEngine& operator=(DeviceEngine&&) noexcept;

  void set_sky(const SkyPoint& point);
  void move_to(const SkyPoint& point);  ///< another second spindown at the same sky position
  /// Bins above threshold, normalised, in increasing order: one list for each of the spindown numbers first, first + 1,
  /// ...; `count` is at most the batch.
  std::vector<std::vector<Candidate>> candidates(int first, int count);
  int batch() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

template <class Real>
void search_spindowns(DeviceEngine<Real>& engine, const Observation& observation, const SearchSettings& settings,
                      const SkyPoint& point, Range spindowns, const Exclusions& exclusions, std::vector<Trigger>& out);

}  // namespace fachwerk::polgraw
