#include "statistics.hpp"

#include <cmath>

#include <doctest.h>

using namespace fachwerk;
using statistics::moments;

TEST_CASE("moments of a few numbers") {
  const auto m = moments(std::vector<double>{2, 4, 4, 4, 5, 5, 7, 9});
  CHECK(m.count == 8);
  CHECK(m.mean == 5);
  CHECK(m.deviation() == 2);
  CHECK(m.minimum == 2);
  CHECK(m.maximum == 9);
}

TEST_CASE("what is not finite is counted") {
  const auto m = moments(std::vector<double>{1, NAN, INFINITY, -INFINITY, 3, -99}, -99);
  CHECK(m.count == 2);
  CHECK(m.nan == 2);
  CHECK(m.infinite == 2);
  CHECK(m.mean == 2);
  CHECK(std::isnan(moments(std::vector<float>{}).deviation()));
  CHECK(moments(std::vector<std::string>{"a"}).count == 0);
}

TEST_CASE("a large offset and large numbers do no harm") {
  std::vector<double> values(1000003);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = 1e9 + static_cast<double>(i % 7);
  // Of 0..6 repeated: mean close to 3, variance close to 4.
  const double n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    sum += static_cast<double>(i % 7);
  for (std::size_t i = 0; i < values.size(); ++i)
    squares += std::pow(static_cast<double>(i % 7) - sum / n, 2);
  const auto m = moments(values);
  // The mean is good to its last bit or two. Means of pieces are doubles near 1e9, known to 1e-7: where they are
  // combined, that times their distance of 1e-4 or so is what the variance may be off.
  CHECK(std::abs(m.mean - (1e9 + sum / n)) <= 2 * (std::nextafter(1e9, 2e9) - 1e9));
  CHECK(m.deviation() == doctest::Approx(std::sqrt(squares / n)).epsilon(1e-11));
  CHECK(moments(std::vector<double>{1.5e308, 1.5e308, 1.2e308}).mean == doctest::Approx(1.4e308).epsilon(1e-15));
  CHECK(moments(std::vector<std::complex<float>>{{3, 4}, {0, 5}}).mean == 5);
}

TEST_CASE("two sets together") {
  const std::vector<double> a = {1, 2, 4}, b = {8, 16}, all = {1, 2, 4, 8, 16};
  const auto joined = combined(moments(a), moments(b)), whole = moments(all);
  CHECK(joined.count == whole.count);
  CHECK(joined.mean == doctest::Approx(whole.mean).epsilon(1e-15));
  CHECK(joined.squares == doctest::Approx(whole.squares).epsilon(1e-14));
  CHECK(combined(moments(a), {}).mean == moments(a).mean);
}
