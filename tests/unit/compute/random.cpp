#include "compute/random.hpp"

#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include <doctest.h>

using namespace fachwerk::compute;

// Known answers of Philox 4x32-10: file kat_vectors of the authors' Random123 distribution.
TEST_CASE("Philox 4x32-10 known answers") {
  const auto words = [](std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
    return Philox::Words{{a, b, c, d}};
  };
  CHECK(Philox::block(words(0, 0, 0, 0), 0, 0) == words(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  const std::uint32_t f = 0xffffffff;
  CHECK(Philox::block(words(f, f, f, f), f, f) == words(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  CHECK(Philox::block(words(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344), 0xa4093822, 0x299f31d0) ==
        words(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
  static_assert(Philox::block({{0, 0, 0, 0}}, 0, 0).word[0] == 0x6627e8d5);
}

TEST_CASE("a stream is Philox at counter (block, channel, item) with the seed as key") {
  const std::uint64_t seed = 0x123456789abcdef0, item = 0xfedcba9876543210;
  Stream stream(seed, item, 7);
  for (std::uint32_t block = 0; block < 3; ++block) {
    const auto expected = Philox::block({{block, 7, 0x76543210, 0xfedcba98}}, 0x9abcdef0, 0x12345678);
    for (const std::uint32_t word : expected.word)
      CHECK(stream.bits() == word);
  }
  CHECK(Stream(1, 2, 0).bits64() != Stream(1, 2, 1).bits64());
  CHECK(Stream(1, 2).bits64() != Stream(1, 3).bits64());
  CHECK(Stream(1, 2).bits64() != Stream(2, 2).bits64());
}

namespace {

struct Moments {
  double mean = 0, variance = 0, skewness = 0, kurtosis = 0;
};

/// Sample moments (central, standardised) of n draws over many items, as the tools use streams.
template <class Draw>
Moments moments(std::size_t n, const Draw& draw) {
  std::vector<double> x(n);
  for (std::size_t i = 0; i < n; ++i) {
    Stream stream(42, i / 8);  // eight draws from each item: the ones after the first matter too
    for (std::size_t skip = 0; skip < i % 8; ++skip)
      draw(stream);
    x[i] = draw(stream);
  }
  Moments m;
  for (const double v : x)
    m.mean += v / double(n);
  for (const double v : x)
    m.variance += (v - m.mean) * (v - m.mean) / double(n);
  for (const double v : x) {
    const double z = (v - m.mean) / std::sqrt(m.variance);
    m.skewness += z * z * z / double(n);
    m.kurtosis += z * z * z * z / double(n);
  }
  return m;
}

/// |a - b| within five standard errors.
bool near(double a, double b, double standard_error) {
  return std::abs(a - b) < 5 * standard_error;
}

}  // namespace

TEST_CASE("uniform numbers: moments, open interval, symmetric grid") {
  const std::size_t n = 400'000;
  const double root = std::sqrt(double(n));
  const Moments d = moments(n, [](Stream& s) { return s.uniform(); });
  CHECK(near(d.mean, 0.5, std::sqrt(1 / 12.) / root));
  CHECK(near(d.variance, 1 / 12., std::sqrt(1 / 180.) / root));
  const Moments f = moments(n, [](Stream& s) { return double(s.uniform_float()); });
  CHECK(near(f.mean, 0.5, std::sqrt(1 / 12.) / root));
  CHECK(near(f.variance, 1 / 12., std::sqrt(1 / 180.) / root));
  for (std::uint64_t item = 0; item < 10000; ++item) {
    Stream stream(3, item);
    const double x = stream.uniform();
    REQUIRE((x > 0 && x < 1));
    REQUIRE(std::fmod(x * 0x1p52 - 0.5, 1) == 0);
    const float y = stream.uniform_float();
    REQUIRE((y > 0 && y < 1));
  }
}

TEST_CASE("normal and exponential numbers: four moments") {
  const std::size_t n = 400'000;
  const double root = std::sqrt(double(n));
  const Moments z = moments(n, [](Stream& s) { return s.normal(); });
  CHECK(near(z.mean, 0, 1 / root));
  CHECK(near(z.variance, 1, std::sqrt(2.) / root));
  CHECK(near(z.skewness, 0, std::sqrt(6.) / root));
  CHECK(near(z.kurtosis, 3, std::sqrt(24.) / root));
  const Moments e = moments(n, [](Stream& s) { return s.exponential(); });
  CHECK(near(e.mean, 1, 1 / root));
  CHECK(near(e.variance, 1, std::sqrt(8.) / root));
}

TEST_CASE("the tail of the normal distribution") {
  const std::size_t n = 1'000'000;
  std::size_t beyond = 0;
  for (std::size_t i = 0; i < n / 2; ++i) {
    Stream stream(5, i);
    beyond += std::abs(stream.normal()) > 3;
    beyond += std::abs(stream.normal()) > 3;
  }
  const double p = std::erfc(3 / std::sqrt(2.));
  CHECK(near(double(beyond), double(n) * p, std::sqrt(double(n) * p)));
}

TEST_CASE("Poisson numbers: mean = variance, skewness 1/sqrt(mean)") {
  const std::size_t n = 200'000;
  const double root = std::sqrt(double(n));
  for (const double mean : {0.01, 0.5, 3.0, 9.99, 10.0, 25.0, 1000.0, 1e6, 1e12}) {
    CAPTURE(mean);
    const Moments m = moments(n, [&](Stream& s) { return double(s.poisson(mean)); });
    CHECK(near(m.mean, mean, std::sqrt(mean) / root));
    CHECK(near(m.variance, mean, std::sqrt(mean + 2 * mean * mean) / root));
    if (mean >= 3) CHECK(near(m.skewness, 1 / std::sqrt(mean), std::sqrt(6 + 20 / mean) / root));
  }
  CHECK(Stream(1, 1).poisson(0) == 0);
  CHECK(Stream(1, 1).poisson(-1) == 0);
  CHECK(Stream(1, 1).poisson(std::nan("")) == 0);
}

TEST_CASE("Poisson numbers: every probability") {
  const std::size_t n = 400'000;
  for (const double mean : {4.0, 12.0}) {
    std::vector<double> count(60);
    for (std::size_t i = 0; i < n; ++i)
      ++count.at(Stream(11, i).poisson(mean));
    double chi2 = 0, probability = std::exp(-mean);
    int cells = 0;
    for (std::size_t k = 0; k < count.size(); ++k) {
      const double expected = double(n) * probability;
      if (expected > 20) {
        chi2 += std::pow(count[k] - expected, 2) / expected;
        ++cells;
      }
      probability *= mean / double(k + 1);
    }
    CAPTURE(mean);
    CHECK(chi2 < cells + 5 * std::sqrt(2. * cells));
  }
}

TEST_CASE("integers below n are all equally likely") {
  for (const std::uint64_t n : {1ULL, 2ULL, 3ULL, 7ULL, 100ULL}) {
    std::vector<double> count(n);
    const std::size_t draws = 70'000;
    for (std::size_t i = 0; i < draws; ++i)
      ++count.at(Stream(9, i).below(n));
    double chi2 = 0;
    const double expected = double(draws) / double(n);
    for (const double c : count)
      chi2 += (c - expected) * (c - expected) / expected;
    CHECK(chi2 <= double(n - 1) + 5 * std::sqrt(2. * double(n)));
  }
  // n = 3 * 2^30 of 2^32 words: without rejection a quarter of the numbers would come twice as often.
  std::size_t low = 0;
  const std::size_t draws = 100'000;
  for (std::size_t i = 0; i < draws; ++i)
    low += Stream(13, i).below(3ULL << 30) % 3 == 0;
  CHECK(near(double(low), double(draws) / 3, std::sqrt(double(draws) * 2 / 9)));
  // Above 2^32, against 128-bit arithmetic.
  __extension__ using Wide = unsigned __int128;
  const std::uint64_t big = 0xF000000000000001ULL;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    Stream stream(17, i), words(17, i);
    std::uint64_t word = words.bits64();
    while (std::uint64_t(Wide(word) * big) < (0 - big) % big)
      word = words.bits64();
    REQUIRE(stream.below(big) == std::uint64_t(Wide(word) * big >> 64));
  }
  Stream whole(1, 1), bits(1, 1);
  CHECK(whole.below(0) == bits.bits64());
}

TEST_CASE("shuffles are permutations, all equally likely") {
  std::array<int, 24> count{};
  for (std::uint64_t i = 0; i < 48'000; ++i) {
    std::array<int, 4> order{0, 1, 2, 3};
    Stream(19, i).shuffle(std::span<int>(order));
    int rank = 0;
    for (int a = 0; a < 4; ++a) {
      int smaller = 0;
      for (int b = a + 1; b < 4; ++b)
        smaller += order[std::size_t(b)] < order[std::size_t(a)];
      rank = rank * (4 - a) + smaller;
    }
    ++count.at(std::size_t(rank));
  }
  double chi2 = 0;
  for (const int c : count)
    chi2 += std::pow(c - 2000., 2) / 2000;
  CHECK(chi2 < 23 + 5 * std::sqrt(46.));
}
