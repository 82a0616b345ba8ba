#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "scenarios.hpp"

/// A time series of loads as a table in text.
namespace fachwerk::dpf {

/// Factors of the grid's loads over time.
struct Profile {
  struct Column {
    std::vector<int> rows;       ///< buses
    std::vector<double> factor;  ///< by step, of P and Q
  };
  std::vector<double> time;  ///< s
  std::vector<Column> columns;

  /// Multiplies the loads; factors of several columns that mean one bus multiply.
  void apply(std::size_t step, OperatingPoint& point) const;
};

/// Reads delimited text with a header: `time` (s; "time [h]", "time [min]" and "time [d]" too), then columns named
/// "load" (every bus), "area N", "zone N" or "bus N". Throws bad input, naming the column, for anything else, for
/// areas, zones and buses that are not there, and for a time that is missing.
Profile read_profile(std::string_view text, const std::string& name, const Grid& grid);

}  // namespace fachwerk::dpf
