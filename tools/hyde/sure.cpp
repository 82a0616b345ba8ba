#include "sure.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "clones.hpp"

namespace fachwerk::hyde {

Threshold sure_grid(std::span<const float> x, double largest, std::size_t count) {
  const double step = count > 1 ? largest / static_cast<double>(count - 1) : 0;
  const auto t = [&](std::size_t k) { return step * static_cast<double>(k); };
  // Bin k holds values in (t_(k-1), t_k], bin 0 the zeros, bin `count` what is above the largest threshold.
  std::vector<double> number(count + 1), energy(count + 1);
  for (float v : x) {
    const double a = std::abs(static_cast<double>(v));
    std::size_t k =
        step > 0 ? static_cast<std::size_t>(std::min(std::ceil(a / step), static_cast<double>(count))) : (a > 0);
    if (k > 0 && k <= count && a <= t(k - 1)) --k;
    number[k] += 1;
    energy[k] += a * a;
  }
  Threshold best{0, INFINITY};
  double above = 0, square = 0;
  for (std::size_t k = count; k-- > 0;) {
    above += number[k + 1];
    square += energy[k + 1];
    const double gain = 2 * above - square + above * t(k) * t(k);
    if (gain <= best.gain) best = {t(k), gain};
  }
  return best;
}

Threshold sure_exact(std::span<const float> x) {
  if (x.empty()) return {};
  const double limit = std::sqrt(2 * std::log(static_cast<double>(x.size())));
  std::vector<double> small;
  double above = 0, square = 0;
  for (float v : x) {
    const double a = std::abs(static_cast<double>(v));
    if (a <= limit) {
      small.push_back(a);
    } else {
      above += 1;
      square += a * a;
    }
  }
  std::sort(small.begin(), small.end());
  // Downwards: at candidate small[k] everything behind it is above the threshold.
  Threshold best{0, INFINITY};
  for (std::size_t k = small.size() + 1; k-- > 0;) {
    const double t = k == 0 ? 0 : small[k - 1];
    if (k < small.size()) {
      above += 1;
      square += small[k] * small[k];
    }
    if (k < small.size() && small[k] == t) continue;  // equal values: not above this one
    const double gain = 2 * above - square + above * t * t;
    if (gain <= best.gain) best = {t, gain};
  }
  return best;
}

FACHWERK_CLONES
void soft_threshold(std::span<float> x, float t) {
  for (float& v : x)
    v -= std::min(std::max(v, -t), t);
}

}  // namespace fachwerk::hyde
