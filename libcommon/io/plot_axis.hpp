#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "io/plot_canvas.hpp"

/// Axes of figures: their ranges and their ticks.
namespace fachwerk::plot {

struct Tick {
  double value;
  std::string text;  ///< empty: a minor tick
};

struct Axis {
  double low, high;
  bool log = false;
  std::vector<Tick> ticks = {};
  std::string multiplier = {};  ///< "×10#u6#d" where the ticks' texts leave that out

  /// 0 at the low end, 1 at the high one.
  double fraction(double value) const {
    if (log) return (std::log10(value) - std::log10(low)) / (std::log10(high) - std::log10(low));
    return (value - low) / (high - low);
  }
  double text_width() const {
    double width = 0;
    for (const auto& tick : ticks)
      width = std::max(width, text_length(tick.text));
    return width;
  }
};

/// The axis from `low` to `high` with at most `most` ticks that have a text.
Axis make_axis(double low, double high, bool log, int most);

/// Smallest and largest finite values, positive ones only for a logarithmic axis.
struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void add(double value, bool log) {
    if (!std::isfinite(value) || (log && value <= 0)) return;
    // So that the length of an axis is a finite number, with room around.
    value = log ? std::clamp(value, 1e-250, 1e250) : std::clamp(value, -1e307, 1e307);
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

/// The range with `padding` (a fraction of it) around, never empty, and the limits that were asked for.
/// Throws usage_error where the lower limit is not below the upper.
Range padded(Range range, bool log, double padding, std::optional<double> low, std::optional<double> high);

}  // namespace fachwerk::plot
