#pragma once

#include <cstdint>
#include <vector>

#include "scenarios.hpp"

/// Wind and sun at the buses of a time series, loads that vary together with their neighbours, and who balances it all
/// (spec section 6). Random numbers are keyed by (seed, step, bus): any step can be made alone.
namespace fachwerk::dpf {

/// Output of a wind farm over its capacity at `step`: logistic function of an AR(1) process of unit variance,
/// correlation `rho` from step to step; about a third in the mean.
double wind_output(std::uint64_t seed, std::size_t step, std::size_t bus, double rho = .98);

/// Output of a solar plant over its capacity: clear sky (elevation of the sun at latitude 47 degrees) times a cloud
/// factor, beta distributed with 5 and 2, new every hour.
double solar_output(std::uint64_t seed, double seconds, double start_day, std::size_t bus);

struct Renewables {
  double wind = 0, solar = 0;  ///< capacity over the grid's load, spread over the loads in proportion
  double coverage = 0.2;       ///< share of the buses with load that have a plant, each kind for itself
};

/// Takes what plants at the buses give off the loads of `point`: net loads, negative where they give more.
void add_renewables(const Grid& grid, const Renewables& renewables, std::uint64_t seed, std::size_t step,
                    double seconds, double start_day, OperatingPoint& point);

/// Standard normal numbers by bus whose correlation is exp(-d / length), d the least series reactance between the
/// buses, pu. Dense: throws usage_error for more than 5000 loads.
class CorrelatedNoise {
 public:
  CorrelatedNoise(const Grid& grid, double length);
  /// By bus row, 0 where there is no load; `draw(bus)` gives independent standard normal numbers.
  template <class Draw>
  std::vector<double> sample(const Draw& draw) const {
    std::vector<double> z(rows_.size()), out(buses_, 0.0);
    for (std::size_t i = 0; i < z.size(); ++i)
      z[i] = draw(static_cast<std::size_t>(rows_[i]));
    for (std::size_t i = 0; i < z.size(); ++i)
      for (std::size_t k = 0; k <= i; ++k)
        out[static_cast<std::size_t>(rows_[i])] += lower_[i * z.size() + k] * z[k];
    return out;
  }

 private:
  std::size_t buses_;
  std::vector<int> rows_;      ///< buses with load
  std::vector<double> lower_;  ///< Cholesky factor of the correlations, row-major
};

/// Active outputs in merit order: the cheapest generators first, each up to Pmax (none below Pmin while in service),
/// until they cover the loads of `point` and losses of `loss` times them. Cost is the slope of the table gencost at
/// half of Pmax; without that table the order is that of the file.
void merit_order(const Grid& grid, double loss, OperatingPoint& point);

}  // namespace fachwerk::dpf
