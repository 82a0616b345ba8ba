// FORPDN and HyMiNoR against closed forms.
#include <doctest.h>

#include "cli/error.hpp"
#include "forpdn.hpp"
#include "gram.hpp"
#include "hyminor.hpp"
#include "support.hpp"

using namespace support;

namespace {

// Gains g(k) applied to the DCT-II coefficients of h.
template <class Gain>
std::vector<double> dct_filter(const std::vector<double>& h, const Gain& gain) {
  const std::size_t n = h.size();
  std::vector<double> out(n);
  for (std::size_t k = 0; k < n; ++k) {
    double c = 0;
    for (std::size_t i = 0; i < n; ++i)
      c += h[i] * std::cos(M_PI * static_cast<double>(k) * (static_cast<double>(i) + 0.5) / static_cast<double>(n));
    c *= (k == 0 ? 1.0 : 2.0) / static_cast<double>(n) * gain(static_cast<double>(k));
    for (std::size_t i = 0; i < n; ++i)
      out[i] += c * std::cos(M_PI * static_cast<double>(k) * (static_cast<double>(i) + 0.5) / static_cast<double>(n));
  }
  return out;
}

}  // namespace

TEST_CASE("HyMiNoR's iteration is (I + DᵀD)⁻¹ while nothing saturates, for every number of bands") {
  for (std::size_t bands : {31, 48, 64, 100, 144, 181, 200, 220, 224}) {
    std::vector<double> h(bands);
    for (std::size_t i = 0; i < bands; ++i)
      h[i] = 0.5 + 0.02 * std::cos(0.3 * static_cast<double>(i));
    const std::vector<double> expected =
        dct_filter(h, [&](double k) { return 1 / (3 - 2 * std::cos(M_PI * k / static_cast<double>(bands))); });
    std::vector<double> x = h;
    hyminor_admm<double>(x, bands, {});
    for (std::size_t i = 0; i < bands; ++i)
      CHECK(std::abs(x[i] - expected[i]) < 1e-12);
  }
}

TEST_CASE("the iteration itself gives what the shortcut gives") {
  const std::size_t bands = 64;
  std::vector<double> h(bands);
  for (std::size_t i = 0; i < bands; ++i)
    h[i] = 0.5 + 0.02 * std::cos(0.3 * static_cast<double>(i));
  HyminorOptions nearly;
  nearly.mu2 = 0.5 * (1 + 1e-12);  // the shortcut asks for equal weights
  std::vector<double> shortcut = h, iterated = h;
  hyminor_admm<double>(shortcut, bands, {});
  hyminor_admm<double>(iterated, bands, nearly);
  for (std::size_t i = 0; i < bands; ++i)
    CHECK(std::abs(shortcut[i] - iterated[i]) < 1e-9);
}

TEST_CASE("the exact solver is not worse than the iteration after 20000 steps") {
  const std::size_t bands = 60;
  for (double lambda : {0.3, 0.5, 1.0, 3.0, 10.0}) {
    std::vector<double> h(bands, 0.2);
    const std::vector<float> noise = normal(bands, 21, 0.05);
    for (std::size_t i = 0; i < bands; ++i)
      h[i] += noise[i] + (i == 30 ? 0.7 : 0) + (i >= 40 ? 0.3 : 0);
    HyminorOptions o;
    o.lambda = lambda;
    o.iterations = 20000;
    o.mu1 = o.mu2 = 5;
    std::vector<double> admm = h, exact = h;
    hyminor_admm<double>(admm, bands, o);
    fused_lasso_l1(exact, lambda);
    const double best = fused_lasso_objective(h, exact, lambda);
    CHECK(best <= fused_lasso_objective(h, admm, lambda) + 1e-6);
    CHECK(best == doctest::Approx(fused_lasso_objective(h, admm, lambda)).epsilon(2e-2));
  }
}

TEST_CASE("the exact solver finds the minimum of small problems by enumeration") {
  // The minimiser takes its values among those of the signal.
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const std::vector<float> draw = normal(5, seed);
    const std::vector<double> h(draw.begin(), draw.end());
    std::vector<double> x = h;
    const double lambda = 0.2 + 0.1 * static_cast<double>(seed);
    fused_lasso_l1(x, lambda);
    double best = INFINITY;
    for (int code = 0; code < 3125; ++code) {
      std::vector<double> candidate(5);
      for (int i = 0, c = code; i < 5; ++i, c /= 5)
        candidate[static_cast<std::size_t>(i)] = h[static_cast<std::size_t>(c % 5)];
      best = std::min(best, fused_lasso_objective(h, candidate, lambda));
    }
    CHECK(fused_lasso_objective(h, x, lambda) == doctest::Approx(best).epsilon(1e-12));
  }
}

TEST_CASE("roughness smoothing with equal noise is a DCT filter, the identity for 0 and the mean for infinity") {
  const std::size_t bands = 50;
  const double sigma = 0.7, lambda = 3;
  const std::vector<double> sigmas(bands, sigma);
  const std::vector<float> draw = normal(bands, 31);
  const std::vector<double> y(draw.begin(), draw.end());
  std::vector<double> x = y;
  RoughnessSmoother<double>(sigmas, lambda).apply(x.data(), 1, 1);
  const std::vector<double> expected = dct_filter(y, [&](double k) {
    return 1 / (1 + lambda * sigma * sigma * (2 - 2 * std::cos(M_PI * k / static_cast<double>(bands))));
  });
  for (std::size_t b = 0; b < bands; ++b)
    CHECK(std::abs(x[b] - expected[b]) < 1e-12);
  x = y;
  RoughnessSmoother<double>(sigmas, 0).apply(x.data(), 1, 1);
  CHECK(x[17] == doctest::Approx(y[17]));
  double mean = 0;
  for (double v : y)
    mean += v / static_cast<double>(bands);
  x = y;
  RoughnessSmoother<double>(sigmas, 1e14).apply(x.data(), 1, 1);
  for (double v : x)
    CHECK(v == doctest::Approx(mean).epsilon(1e-8));
}

TEST_CASE("the risk by eigenvalues is that of the definition, and its minimiser is one") {
  const std::size_t bands = 20, n = 50;
  std::vector<double> sigma(bands);
  for (std::size_t b = 0; b < bands; ++b)
    sigma[b] = 0.5 + 0.05 * static_cast<double>(b);
  std::vector<std::vector<double>> y(n, std::vector<double>(bands));
  const std::vector<float> draw = normal(n * bands, 41);
  for (std::size_t p = 0; p < n; ++p)
    for (std::size_t b = 0; b < bands; ++b)
      y[p][b] = std::sin(0.2 * static_cast<double>(b)) + sigma[b] * draw[p * bands + b];
  const Eigen eigen = roughness_eigen(sigma);
  RoughnessRisk risk{eigen.values, std::vector<double>(bands), static_cast<double>(n)};
  for (std::size_t k = 0; k < bands; ++k)
    for (std::size_t p = 0; p < n; ++p) {
      double z = 0;
      for (std::size_t b = 0; b < bands; ++b)
        z += eigen.vectors(b, k) * y[p][b] / sigma[b];
      risk.energies[k] += z * z;
    }
  const double lambda = 2;
  const RoughnessSmoother<double> smoother(sigma, lambda);
  double trace = 0, fit = 0;
  for (std::size_t b = 0; b < bands; ++b) {
    std::vector<double> unit(bands);
    unit[b] = 1;
    smoother.apply(unit.data(), 1, 1);
    trace += unit[b];
  }
  for (std::size_t p = 0; p < n; ++p) {
    std::vector<double> x = y[p];
    smoother.apply(x.data(), 1, 1);
    for (std::size_t b = 0; b < bands; ++b)
      fit += std::pow((x[b] - y[p][b]) / sigma[b], 2);
  }
  const double direct = fit + 2 * static_cast<double>(n) * trace - static_cast<double>(n * bands);
  CHECK(risk(lambda) == doctest::Approx(direct).epsilon(1e-9));
  const double best = risk.minimiser();
  for (double factor : {0.5, 0.9, 1.1, 2.0})
    CHECK(risk(best) <= risk(best * factor));
  CHECK(risk(best) <= risk(0));
}

TEST_CASE("the published steps stop before the risk increases") {
  RoughnessRisk risk{{0, 1, 4}, {100, 130, 90}, 50};
  const double step = 0.01, found = risk.first_minimum(step, 10 * step);
  CHECK(risk(found) <= risk(0));
  for (double lambda = step; lambda < found + step / 2; lambda += step)
    CHECK(risk(lambda) <= risk(lambda - step));
  if (found < 10 * step - step / 2) CHECK(risk(found + step) > risk(found));
  RoughnessRisk rough{{0, 1, 4}, {100, 1e6, 1e6}, 50};  // all signal: any smoothing costs
  CHECK(rough.first_minimum(step, 10 * step) == 0);
}

TEST_CASE("FORPDN does not depend on blocks, and leaves one band alone") {
  const Case c = scene({30, 37, 24}, 4, 20, 12);
  const Source whole = memory_source(c.noisy, c.extent), parts = memory_source(c.noisy, c.extent, 7);
  const Noise noise = regression_noise(gram(whole), c.extent.pixels());
  std::vector<float> a(c.noisy.size()), b(a);
  forpdn(whole, noise, {}, memory_sink(a, c.extent));
  forpdn(parts, noise, {}, memory_sink(b, c.extent));
  CHECK(largest_difference(a, b) == 0);
  CHECK(psnr(c.clean, a) > psnr(c.clean, c.noisy) + 3);
  ForpdnOptions zero;
  zero.lambda = 0;
  forpdn(whole, noise, zero, memory_sink(a, c.extent));
  CHECK(largest_difference(a, c.noisy) < 1e-5);
}
