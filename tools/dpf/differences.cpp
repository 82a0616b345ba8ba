#include "differences.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace fachwerk::dpf {

Extrapolated extrapolated_derivative(const std::function<double(double)>& value, double step, double enough) {
  constexpr int levels = 9;
  // What rounding alone does to the value: it moves with a step too small to matter.
  double noise = 0;
  for (const double tiny : {-3e-12, -1e-12, 1e-12, 3e-12})
    noise = std::max(noise, std::abs(value(tiny * step) - value(0)));
  std::vector<double> last, next;
  Extrapolated best{std::nan(""), std::numeric_limits<double>::infinity()};
  for (int level = 0; level < levels && !(best.error < enough); ++level, step /= 2) {
    next.assign(1, (value(step) - value(-step)) / (2 * step));
    if (!std::isfinite(next[0])) {
      last.clear();
      continue;
    }
    double factor = 4;
    for (const double previous : last) {
      next.push_back((factor * next.back() - previous) / (factor - 1));
      factor *= 4;
      const double change =
          std::max({std::abs(next.back() - next[next.size() - 2]), std::abs(next.back() - previous), 2 * noise / step});
      if (change < best.error) best = {next.back(), change};
    }
    last.swap(next);
  }
  return best;
}

}  // namespace fachwerk::dpf
