#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "compute/host_device.hpp"

/// Counter-based random numbers: a stream is named by (seed, item, channel), so results depend neither on the number of
/// threads nor on ranks, and any item can be drawn again alone. Runs on CPU and GPU alike.
namespace fachwerk::compute {

/// Philox 4x32 with 10 rounds: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as
/// 1, 2, 3", SC 2011, section 3.3. Four random words for each 128-bit counter and 64-bit key.
struct Philox {
  struct Words {
    std::uint32_t word[4];
    bool operator==(const Words&) const = default;
  };

  FACHWERK_HD static constexpr Words block(Words counter, std::uint32_t key0, std::uint32_t key1) {
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t product0 = std::uint64_t(0xD2511F53U) * counter.word[0];
      const std::uint64_t product1 = std::uint64_t(0xCD9E8D57U) * counter.word[2];
      counter = {{std::uint32_t(product1 >> 32) ^ counter.word[1] ^ key0, std::uint32_t(product1),
                  std::uint32_t(product0 >> 32) ^ counter.word[3] ^ key1, std::uint32_t(product0)}};
      key0 += 0x9E3779B9U;
      key1 += 0xBB67AE85U;
    }
    return counter;
  }
};

/// The random numbers of one item. Cheap to make (no state but a counter): make one for each item inside a loop.
/// `seed` is the user's; `item` numbers pixels, samples, particles, ...; `channel` separates uses that must not disturb
/// one another (initial weights, shuffling, noise). A stream has 2^34 words. Normal and Poisson numbers agree between
/// CPU and GPU to the rounding of log, sin and exp; everything else to the bit.
class Stream {
 public:
  FACHWERK_HD Stream(std::uint64_t seed, std::uint64_t item, std::uint32_t channel = 0)
      : key0_(std::uint32_t(seed)),
        key1_(std::uint32_t(seed >> 32)),
        counter_{{0, channel, std::uint32_t(item), std::uint32_t(item >> 32)}} {}

  /// 32 and 64 random bits.
  FACHWERK_HD std::uint32_t bits() {
    if (used_ == 4) {
      words_ = Philox::block(counter_, key0_, key1_);
      ++counter_.word[0];
      used_ = 0;
    }
    return words_.word[used_++];
  }
  FACHWERK_HD std::uint64_t bits64() {
    const std::uint64_t high = bits();
    return high << 32 | bits();
  }

  /// Uniform in the open interval (0, 1): never 0, never 1. Steps of 2^-52 and 2^-23, symmetric about 1/2.
  FACHWERK_HD double uniform() { return (double(bits64() >> 12) + 0.5) * 0x1p-52; }
  FACHWERK_HD float uniform_float() { return (float(bits() >> 9) + 0.5F) * 0x1p-23F; }

  /// Standard normal: Box-Muller, both values used in turn.
  FACHWERK_HD double normal() {
    if (has_spare_) {
      has_spare_ = false;
      return spare_;
    }
    const double radius = std::sqrt(-2 * std::log(uniform()));
    const double angle = 6.283185307179586477 * uniform();
    spare_ = radius * std::sin(angle);
    has_spare_ = true;
    return radius * std::cos(angle);
  }

  /// Exponential with mean 1.
  FACHWERK_HD double exponential() { return -std::log(uniform()); }

  /// Uniform integer in [0, n), every one equally likely (multiplication with rejection: D. Lemire, ACM TOMACS 29(1),
  /// 2019). n = 0 stands for 2^64.
  FACHWERK_HD std::uint64_t below(std::uint64_t n) {
    if (n == 0) return bits64();
    if (n == 1) return 0;
    if (n <= 0xFFFFFFFFU) {
      std::uint64_t product = std::uint64_t(bits()) * n;
      if (std::uint32_t(product) < n) {
        const std::uint32_t threshold = std::uint32_t(-std::uint32_t(n)) % std::uint32_t(n);
        while (std::uint32_t(product) < threshold)
          product = std::uint64_t(bits()) * n;
      }
      return product >> 32;
    }
    const std::uint64_t threshold = (0 - n) % n;
    for (;;) {
      const std::uint64_t word = bits64();
      if (word * n >= threshold) return multiply_high(word, n);
    }
  }

  /// Poisson with mean `mean`: inversion by products below 10, else the transformed rejection of W. Hormann, "The
  /// transformed rejection method for generating Poisson random variables", Insurance: Mathematics and Economics 12
  /// (1993), algorithm PTRS. 0 for a mean that is not positive; means up to 1e15.
  FACHWERK_HD std::uint64_t poisson(double mean) {
    if (!(mean > 0)) return 0;
    return mean < 10 ? poisson_small(mean) : poisson_large(mean);
  }

  /// Shuffles in place (Fisher-Yates), every order equally likely.
  template <class T>
  FACHWERK_HD void shuffle(T* values, std::size_t n) {
    for (std::size_t i = n; i > 1; --i) {
      const std::size_t j = below(i);
      T kept = values[i - 1];
      values[i - 1] = values[j];
      values[j] = kept;
    }
  }
  template <class T>
  void shuffle(std::span<T> values) {
    shuffle(values.data(), values.size());
  }

 private:
  FACHWERK_HD static std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) {
    const std::uint64_t a0 = std::uint32_t(a), a1 = a >> 32, b0 = std::uint32_t(b), b1 = b >> 32;
    const std::uint64_t middle = a1 * b0 + (a0 * b0 >> 32);
    const std::uint64_t lower = a0 * b1 + std::uint32_t(middle);
    return a1 * b1 + (middle >> 32) + (lower >> 32);
  }

  FACHWERK_HD std::uint64_t poisson_small(double mean) {
    const double limit = std::exp(-mean);
    std::uint64_t count = 0;
    for (double product = uniform(); product > limit; product *= uniform())
      ++count;
    return count;
  }

  /// log of the Poisson probability of k. From k = 10 on by Stirling's series, arranged so that nothing big cancels.
  FACHWERK_HD static double log_poisson(double k, double mean) {
    if (k < 10) {
      double factorial = 1;
      for (double i = 2; i <= k; ++i)
        factorial *= i;
      return k * std::log(mean) - mean - std::log(factorial);
    }
    const double q = 1 / (k * k);
    const double series = (1.0 / 12 - q * (1.0 / 360 - q * (1.0 / 1260 - q * (1.0 / 1680 - q / 1188)))) / k;
    const double excess = k - mean;
    return excess - k * std::log1p(excess / mean) - 0.5 * std::log(6.283185307179586477 * k) - series;
  }

  FACHWERK_HD std::uint64_t poisson_large(double mean) {
    const double b = 0.931 + 2.53 * std::sqrt(mean);
    const double a = -0.059 + 0.02483 * b;
    const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
    const double v_r = 0.9277 - 3.6224 / (b - 2);
    for (;;) {
      const double u = uniform() - 0.5;
      const double v = uniform();
      const double us = 0.5 - std::fabs(u);
      const double k = std::floor((2 * a / us + b) * u + mean + 0.43);
      if (us >= 0.07 && v <= v_r) return std::uint64_t(k);
      if (k < 0 || (us < 0.013 && v > us)) continue;
      if (std::log(v * inverse_alpha / (a / (us * us) + b)) <= log_poisson(k, mean)) return std::uint64_t(k);
    }
  }

  std::uint32_t key0_, key1_;
  Philox::Words counter_;
  Philox::Words words_ = {};
  int used_ = 4;
  bool has_spare_ = false;
  double spare_ = 0;
};

}  // namespace fachwerk::compute
