#pragma once

#include <functional>
#include <span>
#include <vector>

#include "cluster/communicator.hpp"
#include "cluster/partition.hpp"
#include "mismatch.hpp"

/// A power flow spread over areas and ranks: nodes renumbered area by area, each rank with the rows of consecutive
/// areas, voltages of neighbouring nodes exchanged.
namespace fachwerk::dpf {

class AreaSystem {
 public:
  /// `area` by node of the problem, 0, 1, ... without gaps. What `problem` views must outlive it. Collective, as all
  /// that exchanges or sums.
  AreaSystem(const Problem& problem, std::span<const int> area, const cluster::Communicator& world);

  // ---- numbering: nodes sorted by area, by file row within it ----
  const Network& network() const { return network_; }  ///< renumbered; node_of_bus and branches are left out
  Problem problem() const { return problem_of(network_); }
  int areas() const { return static_cast<int>(start_.size()) - 1; }
  int begin(int area) const { return start_[area]; }
  int end(int area) const { return start_[area + 1]; }
  int area_of(int node) const { return area_[node]; }
  const std::vector<int>& place() const { return place_; }            ///< place of every node of the given problem
  std::span<const Complex> inner_diagonal() const { return inner_; }  ///< Y_ii without the branches to other areas
  const cluster::Communicator& world() const { return world_; }

  // ---- the rows of this rank ----
  cluster::Block own_areas() const { return own_; }
  int first() const { return start_[own_.begin]; }
  int last() const { return start_[own_.end()]; }
  std::size_t size() const { return 2 * static_cast<std::size_t>(last() - first()); }
  /// Runs `body(area)` for the areas of this rank, on all threads where there is enough to do.
  void each_area(const std::function<void(int)>& body) const;

  /// `width` numbers an area, added up in the order of the areas: the same bits with any number of ranks and threads.
  std::vector<double> sum(std::size_t width, const std::function<void(int, std::span<double>)>& part) const;
  /// The same numbers by area, [area][width], on every rank.
  std::vector<double> gather(std::size_t width, const std::function<void(int, std::span<double>)>& part) const;

  /// Two numbers a node, [node][2] for all nodes: those of this rank to the ranks that need them, theirs to it.
  void exchange(std::span<double> values) const;
  /// The rows of all ranks on every rank: [node][2].
  std::vector<double> collect(std::span<const double> own) const;

  /// F of this rank's rows from phasors and magnitudes of them and their neighbours; returns max |F| over all ranks.
  double mismatch(std::span<const Complex> v, std::span<const double> vm, std::span<double> f) const;
  /// J of this rank's rows, by position in the pattern from that of row first() on.
  void jacobian(std::span<const Complex> v, std::span<const double> vm, std::span<Block> j) const;
  /// y = J x for this rank's rows; exchanges x.
  void product(std::span<const Block> j, std::span<const double> x, std::span<double> y) const;

 private:
  void number(const Problem& problem, std::span<const int> area);
  void find_neighbours();

  cluster::Communicator world_;
  Network network_;
  std::vector<Complex> inner_;
  std::vector<int> place_, area_, start_{0};
  cluster::Block own_;
  std::vector<int> send_, receive_;  ///< nodes, by rank
  std::vector<std::size_t> send_count_, receive_count_;
};

}  // namespace fachwerk::dpf
