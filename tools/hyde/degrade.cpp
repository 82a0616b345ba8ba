#include "degrade.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cli/error.hpp"
#include "compute/random.hpp"

namespace fachwerk::hyde {
namespace {

// Channels keep the models' random numbers apart.
enum Channel : std::uint32_t {
  gaussian = 1,
  profile_channel,
  poisson,
  impulse_bands,
  impulses,
  stripe_bands,
  stripes,
  dead_bands,
  dead,
  line_columns
};

std::uint64_t item(Extent extent, std::size_t pixel, std::size_t band) {
  return band * std::uint64_t{extent.pixels()} + pixel;
}

// A fraction of 0 .. n - 1, at random, in order.
std::vector<std::size_t> choose(std::size_t n, double fraction, compute::Stream stream) {
  std::vector<std::size_t> all(n);
  std::iota(all.begin(), all.end(), std::size_t{0});
  stream.shuffle(std::span<std::size_t>(all));
  all.resize(std::min(n, static_cast<std::size_t>(std::llround(fraction * static_cast<double>(n)))));
  std::sort(all.begin(), all.end());
  return all;
}

template <class Fn>
Degraded each_column(std::span<float> cube, Extent extent, double least, double most, double bands, std::uint64_t seed,
                     Channel bands_channel, Channel channel, const Fn& fn) {
  Degraded result{std::vector<double>(extent.bands), std::vector<std::uint8_t>(extent.bands)};
  for (std::size_t b : choose(extent.bands, bands, compute::Stream(seed, 0, bands_channel))) {
    result.bands[b] = 1;
    compute::Stream stream(seed, b, channel);
    const double fraction = least + (most - least) * stream.uniform();
    std::vector<std::size_t> order(extent.cols);
    std::iota(order.begin(), order.end(), std::size_t{0});
    stream.shuffle(std::span<std::size_t>(order));
    order.resize(static_cast<std::size_t>(std::llround(fraction * static_cast<double>(extent.cols))));
    for (std::size_t c : order) {
      const double draw = stream.uniform();
      for (std::size_t r = 0; r < extent.rows; ++r)
        fn(cube[(r * extent.cols + c) * extent.bands + b], draw);
    }
  }
  return result;
}

}  // namespace

double sigma_for_snr(std::span<const float> cube, double snr_db) {
  double sum = 0;
  std::size_t count = 0;
  for (float v : cube)
    if (std::isfinite(v)) {
      sum += static_cast<double>(v) * v;
      ++count;
    }
  if (count == 0) throw bad_input("the cube has no finite values");
  return std::sqrt(sum / static_cast<double>(count) / std::pow(10, snr_db / 10));
}

double blind_snr(double least, double most, std::uint64_t seed) {
  return least + (most - least) * compute::Stream(seed, 0, profile_channel).uniform();
}

Degraded add_gaussian(std::span<float> cube, Extent extent, const std::vector<double>& sigma, std::uint64_t seed) {
#pragma omp parallel for schedule(static)
  for (std::size_t p = 0; p < extent.pixels(); ++p)
    for (std::size_t b = 0; b < extent.bands; ++b)
      cube[p * extent.bands + b] +=
          static_cast<float>(sigma[b] * compute::Stream(seed, item(extent, p, b), gaussian).normal());
  return {sigma};
}

std::vector<double> noniid_profile(const std::string& profile, std::size_t bands, double largest, std::uint64_t seed) {
  std::vector<double> sigma(bands);
  for (std::size_t b = 0; b < bands; ++b) {
    const double x = (static_cast<double>(b) - static_cast<double>(bands - 1) / 2) / (static_cast<double>(bands) / 5);
    sigma[b] = profile == "bell" ? largest * std::exp(-x * x / 2)
                                 : largest * compute::Stream(seed, b, profile_channel).uniform();
  }
  return sigma;
}

void add_poisson(std::span<float> cube, Extent extent, double snr_db, std::uint64_t seed) {
  const std::size_t bands = extent.bands;
  std::vector<double> sum(bands), square(bands);
  for (std::size_t p = 0; p < extent.pixels(); ++p)
    for (std::size_t b = 0; b < bands; ++b) {
      const double x = std::max(static_cast<double>(cube[p * bands + b]), 0.0);
      sum[b] += x;
      square[b] += x * x;
    }
  for (std::size_t b = 0; b < bands; ++b)
    if (square[b] > 0) sum[b] *= std::pow(10, snr_db / 10) / square[b];  // a_b
#pragma omp parallel for schedule(static)
  for (std::size_t p = 0; p < extent.pixels(); ++p)
    for (std::size_t b = 0; b < bands; ++b) {
      float& v = cube[p * bands + b];
      if (sum[b] > 0)
        v = static_cast<float>(static_cast<double>(compute::Stream(seed, item(extent, p, b), poisson)
                                                       .poisson(sum[b] * std::max(static_cast<double>(v), 0.0))) /
                               sum[b]);
    }
}

Degraded add_impulses(std::span<float> cube, Extent extent, const std::vector<double>& amounts, double salt,
                      double bands, std::uint64_t seed) {
  Degraded result{std::vector<double>(extent.bands), std::vector<std::uint8_t>(extent.bands)};
  for (std::size_t b : choose(extent.bands, bands, compute::Stream(seed, 0, impulse_bands))) {
    result.bands[b] = 1;
    const double amount = amounts[compute::Stream(seed, b + 1, impulse_bands).below(amounts.size())];
#pragma omp parallel for schedule(static)
    for (std::size_t p = 0; p < extent.pixels(); ++p) {
      compute::Stream stream(seed, item(extent, p, b), impulses);
      if (stream.uniform() >= amount) continue;
      cube[p * extent.bands + b] = stream.uniform() < salt ? 1.0F : 0.0F;
    }
  }
  return result;
}

Degraded add_stripes(std::span<float> cube, Extent extent, double least, double most, double bands,
                     std::uint64_t seed) {
  return each_column(cube, extent, least, most, bands, seed, stripe_bands, stripes,
                     [](float& v, double draw) { v += static_cast<float>(0.5 * draw - 0.25); });
}

Degraded add_deadlines(std::span<float> cube, Extent extent, double least, double most, double bands,
                       std::uint64_t seed) {
  return each_column(cube, extent, least, most, bands, seed, dead_bands, dead, [](float& v, double) { v = 0; });
}

std::vector<std::uint8_t> drop_lines(std::span<float> cube, Extent extent, std::size_t lines, std::size_t first,
                                     std::size_t last, std::uint64_t seed) {
  std::vector<std::uint8_t> observed(extent.size(), 1);
  const double fraction = static_cast<double>(std::min(lines, extent.cols)) / static_cast<double>(extent.cols);
  for (std::size_t c : choose(extent.cols, fraction, compute::Stream(seed, 0, line_columns)))
    for (std::size_t r = 0; r < extent.rows; ++r)
      for (std::size_t b = first; b < last; ++b) {
        const std::size_t i = (r * extent.cols + c) * extent.bands + b;
        cube[i] = 0;
        observed[i] = 0;
      }
  return observed;
}

}  // namespace fachwerk::hyde
