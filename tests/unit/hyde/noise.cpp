#include "noise.hpp"

#include <doctest.h>

#include "cli/error.hpp"
#include "fasthyde.hpp"
#include "gram.hpp"
#include "support.hpp"

using namespace support;

TEST_CASE("residual energies equal those of an explicit regression of each band on the others") {
  const std::size_t bands = 12, pixels = 300;
  const Case c = scene({15, 20, bands}, 3, 25, 3);
  const Matrix r = gram(memory_source(c.noisy, c.extent));
  const Noise noise = regression_noise(r, pixels);
  for (std::size_t i = 0; i < bands; ++i) {
    // Normal equations of the others, solved by their inverse.
    Matrix others(bands - 1, bands - 1);
    std::vector<double> right(bands - 1);
    const auto index = [i](std::size_t k) { return k < i ? k : k + 1; };
    for (std::size_t a = 0; a + 1 < bands; ++a) {
      right[a] = r(index(a), i);
      for (std::size_t b = 0; b + 1 < bands; ++b)
        others(a, b) = r(index(a), index(b));
    }
    const Matrix inverse = inverse_spd(others);
    std::vector<double> beta(bands - 1);
    for (std::size_t a = 0; a + 1 < bands; ++a)
      for (std::size_t b = 0; b + 1 < bands; ++b)
        beta[a] += inverse(a, b) * right[b];
    double energy = 0;  // of the residual, summed over pixels
    for (std::size_t p = 0; p < pixels; ++p) {
      double e = c.noisy[p * bands + i];
      for (std::size_t a = 0; a + 1 < bands; ++a)
        e -= beta[a] * c.noisy[p * bands + index(a)];
      energy += e * e;
    }
    CHECK(noise.sigma[i] == doctest::Approx(std::sqrt(energy / (pixels - bands + 1))).epsilon(1e-9));
  }
}

TEST_CASE("the estimate is near the truth") {
  const Case c = scene({72, 104, 64}, 4, 20, 4);
  double power = 0;
  for (float v : c.clean)
    power += static_cast<double>(v) * v / static_cast<double>(c.clean.size());
  const double truth = std::sqrt(power / 100);
  const Source source = memory_source(c.noisy, c.extent);
  const Noise regression = regression_noise(gram(source), c.extent.pixels());
  double mean = 0;
  for (double s : regression.sigma)
    mean += s / 64;
  CHECK(mean / truth > 0.95);
  CHECK(mean / truth < 1.15);
  CHECK(hysime_whitened(gram(source), c.extent.pixels(), regression).rank == 4);
}

TEST_CASE("every estimator sees white noise") {
  const Extent extent{40, 50, 8};
  std::vector<float> cube = normal(extent.size(), 9, 0.3);
  for (float& v : cube)
    v += 5;
  const Source source = memory_source(cube, extent);
  const auto check = [](const Noise& noise, double truth, double tolerance) {
    for (double s : noise.sigma)
      CHECK(s == doctest::Approx(truth).epsilon(tolerance));
  };
  check(shift_noise(source), 0.3, 0.06);
  check(mad_noise(source), 0.3, 0.08);
  Noise regression = regression_noise(gram(source), extent.pixels());
  check(regression, 0.3, 0.12);  // eight bands alike: the mean of the others is itself noisy
}

TEST_CASE("Poisson noise follows the signal") {
  const Extent extent{60, 60, 60};
  const Case c = scene(extent, 3, 60, 8);
  std::vector<float> counts(c.clean.size());
  double mean = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double expected = 200.0 * c.clean[i];
    counts[i] = static_cast<float>(fachwerk::compute::Stream(6, i).poisson(expected));
    if (i % extent.bands == 4) mean += expected / static_cast<double>(extent.pixels());
  }
  const Noise noise = poisson_noise(memory_source(counts, extent));
  CHECK(noise.sigma[4] == doctest::Approx(std::sqrt(mean)).epsilon(0.1));
}

TEST_CASE("dependent bands are found, whatever their scale") {
  Case c = scene({30, 30, 10}, 4, 20, 5);
  for (std::size_t p = 0; p < c.extent.pixels(); ++p) {
    float* y = &c.noisy[p * 10];
    y[6] = 0;
    y[8] = 1000 * y[2];
  }
  const auto dependent = dependent_bands(gram(memory_source(c.noisy, c.extent)));
  for (std::size_t b = 0; b < 10; ++b)
    CHECK(int(dependent[b]) == (b == 6 || b == 8 ? 1 : 0));
}

TEST_CASE("too few pixels are refused with advice") {
  const Extent extent{3, 4, 8};
  const std::vector<float> cube = normal(extent.size(), 1);
  try {
    regression_noise(gram(memory_source(cube, extent)), extent.pixels());
    FAIL("accepted");
  } catch (const fachwerk::Error& e) {
    CHECK(e.code() == fachwerk::Exit::bad_input);
    CHECK(e.hint().find("mad") != std::string::npos);
  }
}

TEST_CASE("the Gram matrix keeps small eigenvalues of bright spectra (60 dB)") {
  Case c = scene({64, 64, 60}, 3, 60, 6);
  for (float& v : c.noisy)
    v *= 1e4F;
  double power = 0;
  for (float v : c.clean)
    power += static_cast<double>(v) * v / static_cast<double>(c.clean.size());
  const Noise noise = regression_noise(gram(memory_source(c.noisy, c.extent)), c.extent.pixels());
  for (double s : noise.sigma)
    CHECK(s == doctest::Approx(1e4 * std::sqrt(power * 1e-6)).epsilon(0.1));
}

TEST_CASE("the Gram matrix does not depend on blocks") {
  const Case c = scene({33, 21, 16}, 3, 20, 7);
  const Matrix whole = gram(memory_source(c.noisy, c.extent)), parts = gram(memory_source(c.noisy, c.extent, 5));
  for (std::size_t i = 0; i < whole.values.size(); ++i)
    CHECK(whole.values[i] == doctest::Approx(parts.values[i]).epsilon(1e-13));
}

TEST_CASE("the inverse of the stabiliser is unbiased") {
  for (double mean : {0.5, 2.0, 10.0, 50.0}) {
    double stabilised = 0;
    const int draws = 200000;
    for (int i = 0; i < draws; ++i) {
      const double k = static_cast<double>(fachwerk::compute::Stream(11, static_cast<std::uint64_t>(i)).poisson(mean));
      stabilised += 2 * std::sqrt(k + 0.375) / draws;
    }
    CHECK(anscombe_inverse(stabilised) == doctest::Approx(mean).epsilon(mean < 1 ? 0.05 : 0.01));
  }
  CHECK(anscombe_inverse(0.0) == 0);
}
