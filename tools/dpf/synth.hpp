#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "scenarios.hpp"
#include "weather.hpp"

/// Made grids and made scenarios. Random numbers are keyed by (seed, scenario, element): any scenario can be made
/// alone.
namespace fachwerk::dpf {

struct ProfileOptions {
  std::uint64_t seed = 1;
  double step = 300;       ///< s
  double start_day = 0;    ///< day of the year at scenario 0, 0 = 1 January, a Sunday as in 2012
  double sigma = 0.003;    ///< of the lognormal noise of every load
  double correlation = 0;  ///< AR(1) coefficient of the noise from step to step
  Renewables renewables = {};
  bool merit = false;  ///< generation in merit order, not in proportion
};

/// Load relative to the annual mean at `seconds` after 1 January: hour, weekday and month of France 2012 (spec section
/// 6), each interpolated by a periodic cubic.
double load_shape(double seconds, double start_day);

/// Sets the loads of step `s` of a time series; generation follows the total load, or is in merit order.
/// `together`: noise of the loads correlated in space, or null.
void profile_point(const Grid& grid, const ProfileOptions& options, std::size_t s, OperatingPoint& point,
                   const CorrelatedNoise* together = nullptr);

struct MonteCarloOptions {
  std::uint64_t seed = 1;
  double sigma = 0.05;       ///< of the lognormal factor of every load
  double low = 1, high = 1;  ///< range of the factor that all loads share
  bool merit = false;        ///< generation in merit order, not in proportion
};
void monte_carlo_point(const Grid& grid, const MonteCarloOptions& options, std::size_t s, OperatingPoint& point,
                       const CorrelatedNoise* together = nullptr);

/// A random geometric grid of `buses` buses whose operating point is known: voltages are drawn first, injections follow
/// from them, so the voltages in the file are the solution. Mean degree about 2.7, lognormal r/x, some transformers.
Grid ring_grid(int buses, std::uint64_t seed);

/// `copies` of a grid joined by `ties` pi lines a copy of the given impedance. Either the copies keep one reference and
/// those of the others become PV buses, or each keeps its own. `area` holds the copy number, from 1.
enum class Ties { random, ring, grid2d, tree };
Grid super_grid(const Grid& grid, int copies, int ties, Ties kind, double r, double x, std::uint64_t seed,
                bool own_references = false);

}  // namespace fachwerk::dpf
