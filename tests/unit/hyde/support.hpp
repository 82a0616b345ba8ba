#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "compute/random.hpp"
#include "cube.hpp"
#include "synth.hpp"

namespace support {

using namespace fachwerk::hyde;

inline std::vector<float> normal(std::size_t n, std::uint64_t seed, double sigma = 1) {
  std::vector<float> v(n);
  for (std::size_t i = 0; i < n; ++i)
    v[i] = static_cast<float>(sigma * fachwerk::compute::Stream(seed, i, 77).normal());
  return v;
}

struct Case {
  Extent extent;
  std::vector<float> clean, noisy;
};

// A scene of `rank` endmembers with white noise of the given ratio.
inline Case scene(Extent extent, std::size_t rank, double snr_db, std::uint64_t seed) {
  SynthOptions options;
  options.endmembers = rank;
  options.seed = seed;
  Case c{extent, synthesise(extent, options).cube, {}};
  double power = 0;
  for (float v : c.clean)
    power += static_cast<double>(v) * v / static_cast<double>(c.clean.size());
  c.noisy = c.clean;
  const std::vector<float> noise = normal(c.clean.size(), seed + 1000, std::sqrt(power / std::pow(10, snr_db / 10)));
  for (std::size_t i = 0; i < noise.size(); ++i)
    c.noisy[i] += noise[i];
  return c;
}

inline double psnr(const std::vector<float>& a, const std::vector<float>& b) {
  double peak = 0, sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    peak = std::max(peak, static_cast<double>(a[i]));
    sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
  }
  return 10 * std::log10(peak * peak / (sum / static_cast<double>(a.size())));
}

inline double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double d = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    d = std::max(d, std::abs(static_cast<double>(a[i]) - b[i]));
  return d;
}

}  // namespace support
