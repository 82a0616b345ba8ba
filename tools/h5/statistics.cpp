#include "statistics.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <span>
#include <type_traits>
#include <variant>
#include <vector>

namespace fachwerk::statistics {
namespace {

/// Complex numbers count by their absolute values.
template <class T>
double real_value(T value) {
  if constexpr (std::is_arithmetic_v<T>)
    return static_cast<double>(value);
  else
    return std::abs(std::complex<double>(value));
}

/// Of one piece.
template <class T>
Moments piece_moments(std::span<const T> values, double missing) {
  Moments result;
  double sum = 0;
  for (const T element : values) {
    const double value = real_value(element);
    if (std::isnan(value) || value == missing) {
      ++result.nan;
    } else if (std::isinf(value)) {
      ++result.infinite;
    } else {
      ++result.count;
      sum += value;
      result.minimum = std::min(result.minimum, value);
      result.maximum = std::max(result.maximum, value);
    }
  }
  if (result.count == 0) return result;
  result.mean = sum / static_cast<double>(result.count);
  if (!std::isfinite(result.mean)) {  // the sum overflowed: scale it
    result.mean = 0;
    for (const T element : values)
      if (const double value = real_value(element); std::isfinite(value) && value != missing)
        result.mean += value / static_cast<double>(result.count);
  }
  // The second pass also corrects the mean by what rounding left over (corrected two-pass algorithm, Chan et al. 1983).
  double left_over = 0;
  for (const T element : values) {
    const double value = real_value(element);
    if (!std::isfinite(value) || value == missing) continue;
    left_over += value - result.mean;
    result.squares += (value - result.mean) * (value - result.mean);
  }
  const double correction = left_over / static_cast<double>(result.count);
  result.mean += correction;
  result.squares = std::max(0.0, result.squares - correction * left_over);
  return result;
}

template <class T>
Moments array_moments(std::span<const T> values, double missing) {
  constexpr std::size_t piece = std::size_t{1} << 14;
  const std::size_t pieces = (values.size() + piece - 1) / piece;
  std::vector<Moments> parts(pieces);
#pragma omp parallel for schedule(static) if (pieces > 4)
  for (std::size_t p = 0; p < pieces; ++p)
    parts[p] = piece_moments(values.subspan(p * piece, std::min(piece, values.size() - p * piece)), missing);
  // Neighbours are combined pairwise, level by level: rounding errors grow with the logarithm of the number of pieces.
  for (std::size_t width = 1; width < pieces; width *= 2)
    for (std::size_t p = 0; p + width < pieces; p += 2 * width)
      parts[p] = combined(parts[p], parts[p + width]);
  return pieces == 0 ? Moments{} : parts[0];
}

}  // namespace

double Moments::deviation() const {
  return count == 0 ? std::numeric_limits<double>::quiet_NaN() : std::sqrt(squares / static_cast<double>(count));
}

Moments combined(const Moments& a, const Moments& b) {
  Moments result;
  result.count = a.count + b.count;
  result.nan = a.nan + b.nan;
  result.infinite = a.infinite + b.infinite;
  result.minimum = std::min(a.minimum, b.minimum);
  result.maximum = std::max(a.maximum, b.maximum);
  if (result.count == 0) return result;
  const double share = static_cast<double>(b.count) / static_cast<double>(result.count);
  const double apart = b.mean - a.mean;
  result.mean = a.count == 0 ? b.mean : a.mean + apart * share;
  result.squares = a.squares + b.squares;
  if (a.count > 0 && b.count > 0) result.squares += apart * apart * share * static_cast<double>(a.count);
  return result;
}

Moments moments(const formats::Values& values, double missing) {
  return std::visit(
      [&](const auto& list) {
        using T = typename std::decay_t<decltype(list)>::value_type;
        if constexpr (std::is_same_v<T, std::string>)
          return Moments{};
        else
          return array_moments(std::span<const T>(list), missing);
      },
      values);
}

}  // namespace fachwerk::statistics
