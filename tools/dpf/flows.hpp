#pragma once

#include <span>
#include <vector>

#include "grid.hpp"
#include "mismatch.hpp"

/// What a solved state means for the file's elements: flows, generator outputs, losses.
namespace fachwerk::dpf {

/// Results of one state by file row. Dead buses have voltage NaN, branches and generators out of service 0.
struct Flows {
  std::vector<double> vm, va;                  ///< pu, degrees
  std::vector<double> pf, qf, pt, qt;          ///< MW, MVAr entering the branch at its two ends
  std::vector<float> loading;                  ///< percent of rate A, NaN where unlimited
  std::vector<double> pg, qg;                  ///< MW, MVAr
  std::vector<double> mismatch_p, mismatch_q;  ///< MW, MVAr by bus; empty unless asked for
  double slack_mw = 0;                         ///< generation at reference buses
  double loss_mw = 0;                          ///< of branches and shunt conductances
  double load_mw = 0, generation_mw = 0;
};

/// Generator outputs that differ from the file's. A held generator gives exactly `q`; the others of a controlled bus
/// share what it needs, and those of a PQ bus give `q` too.
struct HeldGenerators {
  std::vector<char> held;    ///< by file row, empty: as in the file
  std::vector<double> p, q;  ///< MW, MVAr
};

Flows flows(const Grid& grid, const Problem& problem, const State& state, const HeldGenerators& held = {});

/// Flows of many states of one network: keeps what does not change, and its memory.
class FlowWork {
 public:
  explicit FlowWork(const Network& network);
  /// The same from injections that are known already; flows in branches only where their phasors `v` are given.
  void flows(const Grid& grid, const Problem& problem, const State& state, std::span<const Complex> v,
             std::span<const Complex> s, const HeldGenerators& held, Flows& out);

 private:
  std::vector<std::pair<int, int>> generators_;  ///< (node, file row) of those in service
  std::vector<Complex> load_, needed_;
  std::vector<int> sharing_;
  std::vector<double> low_, high_;
};

/// Loading of every branch in percent of rate A (NaN: unlimited or out of service), straight from the voltages.
void branch_loading(const Grid& grid, const Problem& problem, const State& state, std::span<double> percent);

/// Reactive power of generators of one bus: in proportion to their ranges, infinite limits replaced, equal excess where
/// the ranges are zero (MATPOWER, pfsoln). `total`, limits and result in MVAr.
std::vector<double> share_reactive(double total, std::span<const double> qmin, std::span<const double> qmax);

}  // namespace fachwerk::dpf
