#pragma once

#include <vector>

#include "least_squares.hpp"
#include "snapshot.hpp"

/// The objective of a fit: the shares of all snapshots and of the priors, over the unknowns.
namespace fachwerk::dpf {

/// A parameter is known to be about `mean`.
struct Prior {
  std::size_t parameter;
  double mean, sigma;  ///< units of the file
};

class Fitter {
 public:
  /// `prior`: standard deviation of every unknown's coordinate about its start, 0: none. `group`, by parameter: those
  /// of one number move by a common factor, -1 alone; empty: all alone. Everything but `group` must outlive it.
  Fitter(const Grid& grid, bool distributed_slack, const std::vector<OperatingPoint>& points,
         std::vector<Readings> readings, const Judgement& judgement, const std::vector<Parameter>& parameters,
         const std::vector<int>& group, double prior, const std::vector<Prior>& priors);

  std::size_t size() const { return unknowns_.size(); }
  const std::vector<Unknown>& unknowns() const { return unknowns_; }
  std::size_t unknown_of(std::size_t parameter) const { return unknown_of_[parameter]; }
  const Grid& grid() const { return grid_; }
  const Network& network() const { return network_; }
  const std::vector<State>& states() const { return states_; }
  const std::vector<Readings>& readings() const { return readings_; }
  void remove(std::size_t snapshot, std::size_t reading);

  const std::vector<Parameter>& parameters() const { return parameters_; }
  double start_value(std::size_t parameter) const { return start_[parameter]; }
  /// Of a value of one of its parameters: ln(value / start) where it moves in logarithms, else the value.
  double coordinate(std::size_t unknown, std::size_t parameter, double value) const;
  std::vector<double> start() const;
  /// dp/d(coordinate).
  double scale(std::size_t parameter) const;

  void move(const std::vector<double>& at);
  Normal normal(const std::vector<double>& at);
  /// Objective and gradient; false where a snapshot has no solution.
  bool objective(const std::vector<double>& at, double& value, std::vector<double>& gradient);
  /// Roots of the diagonal of the normal matrix, 1 where it is 0.
  std::vector<double> column_sizes(const std::vector<double>& at);
  /// Shares of all snapshots where the fit is now, in order.
  void each_share(Depth depth, const std::function<void(std::size_t snapshot, Share&)>& use);

 private:
  void each_wave(Depth depth, const std::function<void(std::size_t first, std::vector<Share>&)>& use);
  template <class Add>
  void each_prior(const std::vector<double>& at, const Add& add) const;

  Grid grid_;
  Network network_;
  bool distributed_slack_;
  const std::vector<OperatingPoint>& points_;
  std::vector<Readings> readings_;
  Judgement judgement_;
  const std::vector<Parameter>& parameters_;
  double prior_;
  const std::vector<Prior>& priors_;
  std::vector<Unknown> unknowns_;
  std::vector<std::size_t> unknown_of_;
  std::vector<std::vector<std::size_t>> on_branch_, at_node_;
  std::vector<State> states_;
  std::vector<double> start_;
};

}  // namespace fachwerk::dpf
