#include "sure.hpp"

#include <doctest.h>

#include "support.hpp"

using namespace support;

TEST_CASE("the exact threshold of a small example") {
  const std::vector<float> x{0.1F, 0.5F, 3, -4, 0.2F, -0.3F, 2.5F};
  // sqrt(2 ln 7) = 1.97 bounds the candidates.
  const Threshold t = sure_exact(x);
  CHECK(t.value == doctest::Approx(0.5).epsilon(1e-6));
  CHECK(t.gain == doctest::Approx(-24.5).epsilon(1e-6));
}

TEST_CASE("grid and exact agree with the definition") {
  const std::vector<float> x = normal(500, 5, 1.7);
  const auto gain = [&](double t) {
    double s = 0;
    for (float v : x) {
      const double a = std::abs(static_cast<double>(v));
      if (a > t) s += 2 - (a * a - t * t);
    }
    return s;
  };
  const Threshold grid = sure_grid(x, 1.645605, 15);
  double best = INFINITY, best_t = 0;
  for (int k = 0; k < 15; ++k)
    if (const double t = 1.645605 * k / 14; gain(t) < best) {
      best = gain(t);
      best_t = t;
    }
  CHECK(grid.value == doctest::Approx(best_t));
  CHECK(grid.gain == doctest::Approx(best));
  const Threshold exact = sure_exact(x);
  CHECK(exact.gain == doctest::Approx(gain(exact.value)));
  CHECK(exact.gain <= gain(0) + 1e-9);
  for (float v : x)
    if (std::abs(v) <= std::sqrt(2 * std::log(500.0)))
      CHECK(exact.gain <= gain(std::abs(static_cast<double>(v))) + 1e-6);
}

TEST_CASE("the risk estimate is unbiased") {
  const std::size_t n = 64;
  const double t = 1.1;
  std::vector<double> theta(n);
  for (std::size_t i = 0; i < n; ++i)
    theta[i] = i % 5 == 0 ? 3.0 : i % 7 == 0 ? -1.0 : 0.0;
  double mean = 0, square = 0;
  const int draws = 1000;
  for (int d = 0; d < draws; ++d) {
    std::vector<float> x = normal(n, 100 + static_cast<std::uint64_t>(d));
    double risk = static_cast<double>(n), loss = 0;
    for (std::size_t i = 0; i < n; ++i) {
      x[i] += static_cast<float>(theta[i]);
      const double a = std::abs(static_cast<double>(x[i]));
      risk += (a <= t ? -2 : 0) + std::min(a * a, t * t);
    }
    soft_threshold(x, static_cast<float>(t));
    for (std::size_t i = 0; i < n; ++i)
      loss += std::pow(x[i] - theta[i], 2);
    mean += (risk - loss) / draws;
    square += (risk - loss) * (risk - loss) / draws;
  }
  CHECK(std::abs(mean) < 3 * std::sqrt((square - mean * mean) / draws));
}
