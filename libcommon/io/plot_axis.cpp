#include "io/plot_axis.hpp"

#include <array>
#include <cstdint>

#include "cli/error.hpp"

namespace fachwerk::plot {
namespace {

/// Steps of 1, 2, 2.5 or 5 times a power of ten, at most `most` of them.
void linear_ticks(Axis& axis, int most) {
  const double span = axis.high - axis.low;
  const double raw = span / most;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  int minor = 5;
  constexpr std::array<std::pair<double, int>, 4> steps = {{{1, 5}, {2, 4}, {2.5, 5}, {5, 5}}};
  for (const auto& [factor, parts] : steps)
    if (factor * power >= raw * (1 - 1e-9)) {
      step = factor * power;
      minor = parts;
      break;
    }
  const double largest = std::max(std::abs(axis.low), std::abs(axis.high));
  const int size = static_cast<int>(std::floor(std::log10(largest)));
  const int digits = size - static_cast<int>(std::floor(std::log10(step))) + 1;  // that tell the ticks apart
  const bool scaled = (size >= 5 || size <= -4) && digits <= 5;
  const double unit = scaled ? std::pow(10, size) : 1;
  if (scaled) axis.multiplier = "\u00d7" + power_text(size);
  const double shown = step / unit;
  int decimals = std::max(0, -static_cast<int>(std::floor(std::log10(shown) + 1e-9)));
  if (std::abs(shown * std::pow(10, decimals) - std::round(shown * std::pow(10, decimals))) > 1e-6) ++decimals;
  decimals = std::min(decimals, 15);
  const double part = step / minor;
  const auto first = static_cast<std::int64_t>(std::ceil(axis.low / part - 1e-6));
  const auto last = static_cast<std::int64_t>(std::floor(axis.high / part + 1e-6));
  for (auto i = first; i <= last && i - first < 1000; ++i) {
    const double value = static_cast<double>(i) * part;
    axis.ticks.push_back({value, i % minor == 0 ? number_text(value / unit, decimals) : ""});
  }
}

void logarithmic_ticks(Axis& axis, int most) {
  const int first = static_cast<int>(std::floor(std::log10(axis.low) + 1e-9));
  const int last = static_cast<int>(std::ceil(std::log10(axis.high) - 1e-9));
  const int decades = last - first;
  const int every = std::max(1, (decades + most - 1) / most);
  for (int exponent = first; exponent <= last; ++exponent)
    for (int digit = 1; digit < 10; ++digit) {
      const double value = digit * std::pow(10, exponent);
      if (value < axis.low * (1 - 1e-9) || value > axis.high * (1 + 1e-9)) continue;
      const bool major = digit == 1 && (exponent - first) % every == 0;
      // Within two decades the powers of ten alone say too little.
      const bool between = decades <= 2 && (digit == 2 || digit == 5);
      if (digit != 1 && every > 1) continue;
      std::string text;
      if (major)
        text = power_text(exponent);
      else if (between)
        text = fmt::format("{}\u00b7{}", digit, power_text(exponent));
      axis.ticks.push_back({value, text});
    }
}

}  // namespace

Axis make_axis(double low, double high, bool log, int most) {
  Axis axis{.low = low, .high = high, .log = log};
  log ? logarithmic_ticks(axis, most) : linear_ticks(axis, most);
  return axis;
}

Range padded(Range range, bool log, double padding, std::optional<double> low, std::optional<double> high) {
  constexpr double shortest = 1e-300;
  if (range.empty()) range = log ? Range{1, 10} : Range{0, 1};
  if (log) {
    const double factor =
        range.low == range.high ? 2 : std::pow(10, padding * (std::log10(range.high) - std::log10(range.low)));
    range = {range.low / factor, range.high * factor};
  } else {
    double by = padding * (range.high - range.low);
    if (range.high - range.low <= std::max(1e-12 * std::max(std::abs(range.low), std::abs(range.high)), shortest))
      by = std::max(0.1 * std::abs(range.low), range.low == 0 ? 1.0 : 2 * shortest);
    range = {range.low - by, range.high + by};
  }
  if (low && !(log && *low <= 0)) range.low = *low;
  if (high && !(log && *high <= 0)) range.high = *high;
  if (!(range.high - range.low > (log ? 0 : shortest)) || !std::isfinite(range.high - range.low))
    throw usage_error("plot: the lower limit {} must be below the upper {}", range.low, range.high);
  return range;
}

}  // namespace fachwerk::plot
