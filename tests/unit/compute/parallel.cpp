#include "compute/parallel.hpp"

#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <vector>

#include <doctest.h>
#include <omp.h>

#include "compute/example.kernel.hpp"
#include "compute/random.hpp"
#include "compute/reduce.hpp"

using namespace fachwerk::compute;

namespace {

/// Runs fn with each of these numbers of threads.
template <class Fn>
void with_threads(const Fn& fn) {
  const int before = omp_get_max_threads();
  for (const int n : {1, 2, 7}) {
    omp_set_num_threads(n);
    fn(n);
  }
  omp_set_num_threads(before);
}

std::vector<double> random_values(std::size_t n, std::uint64_t seed) {
  std::vector<double> values(n);
  for (std::size_t i = 0; i < n; ++i) {
    Stream stream(seed, i);
    values[i] = stream.normal() * std::pow(10.0, double(stream.below(12)));
  }
  return values;
}

}  // namespace

TEST_CASE("parallel_for meets every index once") {
  with_threads([](int) {
    for (const std::size_t n : {0UL, 1UL, 5UL, 6UL, 7UL, 8UL, 10007UL}) {
      std::vector<int> met(n);
      parallel_for(Device(), n, [&](std::size_t i) { ++met[i]; });
      for (const int times : met)
        REQUIRE(times == 1);
    }
    std::vector<int> cells(35);
    parallel_for_2d(Device(), 5, 7, [&](std::size_t i, std::size_t j) { cells[i * 7 + j] += int(10 * i + j); });
    for (std::size_t i = 0; i < 5; ++i)
      for (std::size_t j = 0; j < 7; ++j)
        REQUIRE(cells[i * 7 + j] == int(10 * i + j));
    parallel_for_2d(Device(), 3, 0, [&](std::size_t, std::size_t) { FAIL("no columns"); });
  });
}

TEST_CASE("exceptions come out of parallel loops, the one of the lowest index") {
  with_threads([](int) {
    const auto loop = [] {
      parallel_for(Device(), 1000, [](std::size_t i) {
        if (i >= 600) throw std::runtime_error(std::to_string(i));
      });
    };
    CHECK_THROWS_WITH(loop(), "600");
    std::atomic<int> begun = 0;
    const auto tasks = [&] {
      parallel_tasks(100000, [&](std::size_t i) {
        ++begun;
        if (i == 10) throw std::out_of_range("ten");
      });
    };
    CHECK_THROWS_AS(tasks(), std::out_of_range);
    CHECK(begun >= 1);
  });
}

TEST_CASE("parallel_tasks meets every index once") {
  with_threads([](int) {
    std::vector<int> met(1000);
    parallel_tasks(met.size(), [&](std::size_t i) { ++met[i]; });
    for (const int times : met)
      REQUIRE(times == 1);
  });
}

TEST_CASE("reductions against closed forms") {
  for (const std::size_t n : {1UL, 15UL, 16UL, 17UL, 4095UL, 4096UL, 4097UL, 8192UL, 100001UL}) {
    std::vector<double> x(n);
    std::iota(x.begin(), x.end(), 1.0);
    const double m = double(n);
    CHECK(sum(x) == m * (m + 1) / 2);
    CHECK(dot(x, x) == m * (m + 1) * (2 * m + 1) / 6);
    CHECK(argmax(x) == n - 1);
    CHECK(max(x).value == m);
    CHECK(argmin(x) == 0);
    std::vector<float> y(n, 0.1F);
    CHECK(sum(y) == doctest::Approx(double(0.1F) * m).epsilon(1e-14));
    CHECK(dot(y, y) == doctest::Approx(double(0.1F) * double(0.1F) * m).epsilon(1e-14));
  }
  CHECK(sum(std::vector<double>{}) == 0);
  CHECK_THROWS_AS(max(std::vector<double>{}), std::invalid_argument);
  CHECK_THROWS_AS(dot(std::vector<double>(2), std::vector<double>(3)), std::invalid_argument);
}

TEST_CASE("pairwise order: the rounding error of a long sum stays below its bound") {
  const std::vector<double> x(10'000'000, 0.1);
  const double exact = 1e6 + 10'000'000 * 5.551115123125783e-18;    // 0.1 is stored 5.55e-18 too large
  CHECK(std::abs(sum(x) - exact) / exact < (64 + 23.3) * 1.1e-16);  // adding one by one gives 1.6e-10
}

TEST_CASE("extremes: ties, infinities and NaN") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> x(10000, -3.0);
  CHECK(argmax(x) == 0);
  CHECK(argmin(x) == 0);
  x[7777] = x[9999] = 5;
  x[4000] = x[4001] = -4;
  CHECK(argmax(x) == 7777);
  CHECK(argmin(x) == 4000);
  CHECK(max(x).value == 5);
  CHECK(min(x).value == -4);
  CHECK(all_finite(x));
  x[5000] = -inf;
  CHECK(min(x).index == 5000);
  CHECK(!all_finite(x));
  x[9000] = nan;
  x[8000] = nan;
  CHECK(max(x).index == 8000);
  CHECK(std::isnan(max(x).value));
  CHECK(min(x).index == 8000);
  CHECK(max(std::vector<double>{-inf, -inf}).index == 0);
}

TEST_CASE("reductions give the same bits with any number of threads") {
  const std::vector<double> x = random_values(300'001, 1), y = random_values(300'001, 2);
  double s = 0, d = 0;
  with_threads([&](int n) {
    if (n == 1) {
      s = sum(x);
      d = dot(x, y);
    }
    CHECK(sum(x) == s);
    CHECK(dot(x, y) == d);
    CHECK(argmax(x) == static_cast<std::size_t>(std::max_element(x.begin(), x.end()) - x.begin()));
    CHECK(argmin(x) == static_cast<std::size_t>(std::min_element(x.begin(), x.end()) - x.begin()));
  });
  // The order itself, written out plainly: the promise of ReductionOrder.
  std::vector<double> blocks;
  for (std::size_t begin = 0; begin < x.size(); begin += 1024) {
    std::vector<double> lane(16, 0.0);
    for (std::size_t i = begin; i < std::min(begin + 1024, x.size()); ++i)
      lane[(i - begin) % 16] += x[i];
    for (std::size_t gap = 1; gap < 16; gap *= 2)
      for (std::size_t i = 0; i < 16; i += 2 * gap)
        lane[i] += lane[i + gap];
    blocks.push_back(lane[0]);
  }
  while (blocks.size() > 1) {
    std::vector<double> next;
    for (std::size_t i = 0; i < blocks.size(); i += 2)
      next.push_back(i + 1 < blocks.size() ? blocks[i] + blocks[i + 1] : blocks[i]);
    blocks = next;
  }
  CHECK(blocks[0] == s);
}

namespace {
/// The slowest-decaying mode after `steps`: sin(pi i / (n - 1)) times (1 - 4 r sin^2(pi / (2 (n - 1))))^steps.
void check_heat(Device device) {
  const std::size_t n = 65;
  const double r = 0.4, pi = std::acos(-1.0), h = pi / double(n - 1);
  std::vector<double> start(n);
  for (std::size_t i = 0; i < n; ++i)
    start[i] = std::sin(h * double(i));
  start[0] = start[n - 1] = 0;
  Buffer<double> now(device, start), next(device, n);
  for (int step = 0; step < 100; ++step) {
    example::heat_step(r, now, next);
    now.swap(next);
  }
  const double factor = std::pow(1 - 4 * r * std::pow(std::sin(h / 2), 2), 100);
  const std::vector<double> end = now.vector();
  for (std::size_t i = 0; i < n; ++i)
    REQUIRE(end[i] == doctest::Approx(factor * start[i]).epsilon(1e-12));
}
}  // namespace

TEST_CASE("the example kernel against the exact solution") {
  check_heat(Device());
  CHECK_THROWS_AS(example::heat_step(0.1, std::vector<double>(3), std::span<double>()), std::invalid_argument);
}

TEST_CASE("the example kernel and reductions on a CUDA device") {
  std::string reason;
  if (cuda_devices(&reason) == 0) {
    MESSAGE("skipped, needs a CUDA device: ", reason);
    return;
  }
  const Device device = Device::parse("cuda");
  check_heat(device);
  const std::vector<double> x = random_values(300'001, 1), y = random_values(300'001, 2);
  const Buffer<double> dx(device, x), dy(device, y);
  CHECK(sum(dx) == sum(x));
  CHECK(dot(dx, dy) == dot(x, y));
  CHECK(argmax(dx) == argmax(x));
  CHECK(argmin(dx) == argmin(x));
}
