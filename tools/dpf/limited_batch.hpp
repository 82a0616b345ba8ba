#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "study.hpp"

/// Reactive limits of many scenarios side by side.
namespace fachwerk::dpf {

/// The rounds of QLimitRounds for blocks of scenarios. A round of a scenario is a chord solve with its own node types,
/// on the factor of whichever round of the base case has the most similar types, bordered by what differs (spec 2.8);
/// Newton does it where none is near or the chord iteration fails. Which factor that is depends on the scenario alone,
/// so results do not depend on its neighbours.
class LimitedBatch {
 public:
  /// `plain` solves without limits, at the base case; all arguments must outlive this.
  LimitedBatch(const Grid& grid, const Network& network, Batch& plain, QLimits mode);

  struct Access {
    std::function<Desk&()> desk;                              ///< of this thread
    std::function<void(std::size_t, OperatingPoint&)> point;  ///< fills in scenario s
    std::function<void(std::size_t, const Outcome&)> done;    ///< receives its result; from several threads
  };
  void solve(std::size_t first, std::size_t count, const Access& access);

 private:
  struct Anchor {
    LimitedSolution types;         ///< what `batch` views; of the plain batch empty
    std::unique_ptr<Batch> owned;  ///< likewise
    Batch* batch;
  };
  struct Part;
  /// The nearest factor, or null.
  Batch* nearest(const LimitedSolution& limited) const;

  const Grid& grid_;
  const Network& network_;
  std::deque<Anchor> anchors_;
  std::vector<int> controlled_;  ///< nodes that are PV or reference without limits
};

}  // namespace fachwerk::dpf
