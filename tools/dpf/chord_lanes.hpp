#pragma once

#include <memory>
#include <span>
#include <vector>

#include "chord_kernel.hpp"
#include "compute/device.hpp"

/// The batched chord method with one thread a scenario: for CUDA devices, and with factors in double precision. The
/// same iteration as chord_kernel.hpp, which is the fast one on a CPU.
namespace fachwerk::dpf {

/// Factors of a plan in double precision: 2 x 2 blocks by filled position, inverse diagonal blocks by node.
struct DoubleFactor {
  std::span<const double> factor, inverse;
};

/// Scenarios side by side: [node][scenario] arrays. Start in, solution out.
struct LaneStates {
  std::size_t count = 0;
  std::vector<double> vm, va, p, q;
  // results by scenario
  std::vector<double> max_mismatch;
  std::vector<int> iterations;
  std::vector<std::uint8_t> state;  ///< 0 converged, 1 slow or out of iterations, 2 diverged

  LaneStates(std::size_t nodes, std::size_t scenarios)
      : count(scenarios),
        vm(nodes * scenarios),
        va(vm.size()),
        p(vm.size()),
        q(vm.size()),
        max_mismatch(scenarios),
        iterations(scenarios),
        state(scenarios) {}
};

class ChordLanes {
 public:
  virtual ~ChordLanes() = default;
  /// Solves all scenarios of `states`.
  virtual void run(LaneStates& states) = 0;
};

/// Copies the plan to the device. Iterates with the plan's single-precision factors, or with `exact` where it is not
/// empty.
std::unique_ptr<ChordLanes> chord_lanes(compute::Device device, const ChordPlan& plan, const DoubleFactor& exact = {});

}  // namespace fachwerk::dpf
