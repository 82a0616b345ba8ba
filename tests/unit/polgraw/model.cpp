#include <algorithm>
#include <bit>
#include <random>

#include <doctest.h>

#include "amplitude.hpp"
#include "direct.hpp"
#include "ephemeris.hpp"
#include "followup.hpp"
#include "inject.hpp"
#include "lattice.hpp"
#include "sky.hpp"

using namespace fachwerk::polgraw;

namespace {

Vector3 cross(const Vector3& a, const Vector3& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}
double dot(const Vector3& a, const Vector3& b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/// A short frame of two detectors, quick to search.
Observation small_frame(std::size_t N, double fpo) {
  Observation o;
  o.band = make_band(fpo, 2, N);
  for (const char* name : {"H1", "L1"}) {
    Series s;
    s.site = *find_site(name);
    s.x.assign(N, 0);
    s.sigma2 = 1;
    s.ephemeris = make_ephemeris(s.site, 1187008512, 2, N, TimeScales::built_in());
    o.detectors.push_back(std::move(s));
  }
  return o;
}

}  // namespace

TEST_CASE("amplitude functions against the response tensor of the arms") {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (const auto& site : known_sites()) {
    const AmplitudeModulation modulation(site);
    for (int trial = 0; trial < 100; ++trial) {
      const double alpha = 2 * pi * uniform(random), delta = std::asin(2 * uniform(random) - 1),
                   lst = 2 * pi * uniform(random);
      double a, b;
      modulation.at(std::sin(delta), std::cos(delta)).evaluate(std::cos(alpha - lst), std::sin(alpha - lst), a, b);
      // Local east and north at sidereal time lst; the arms lie symmetrically about the bisector.
      const Vector3 east{-std::sin(lst), std::cos(lst), 0};
      const Vector3 north{-std::sin(site.latitude) * std::cos(lst), -std::sin(site.latitude) * std::sin(lst),
                          std::cos(site.latitude)};
      const auto arm = [&](double angle) {
        Vector3 v;
        for (std::size_t k = 0; k < 3; ++k)
          v[k] = std::cos(angle) * east[k] + std::sin(angle) * north[k];
        return v;
      };
      const auto x = arm(site.orientation - site.opening / 2), y = arm(site.orientation + site.opening / 2);
      // Wave frame: m along increasing right ascension negated, n towards north, as the pattern's psi = 0 has it.
      const Vector3 k{std::cos(alpha) * std::cos(delta), std::sin(alpha) * std::cos(delta), std::sin(delta)};
      const Vector3 m{std::sin(alpha), -std::cos(alpha), 0};
      const auto n = cross(m, k);
      const double plus =
          0.5 * ((dot(x, m) * dot(x, m) - dot(y, m) * dot(y, m)) - (dot(x, n) * dot(x, n) - dot(y, n) * dot(y, n)));
      const double times = dot(x, m) * dot(x, n) - dot(y, m) * dot(y, n);
      CHECK(std::abs(std::abs(a) - std::abs(plus)) < 1e-6);
      CHECK(std::abs(std::abs(b) - std::abs(times)) < 1e-6);
      CHECK(a * b * plus * times >= -1e-12);  // one sign convention for both
    }
  }
}

TEST_CASE("means of a^2 over a sidereal day do not depend on right ascension, and <ab> vanishes") {
  const AmplitudeModulation modulation(*find_site("V1"));
  constexpr std::size_t n = 4096;
  const double dt = sidereal_day / n;
  std::vector<double> a(n), b(n);
  double first = 0;
  for (double alpha : {0.1, 2.0, 5.5}) {
    amplitude_functions(modulation, alpha, 0.4, 1.0, dt, a, b);
    double aa = 0, bb = 0, ab = 0;
    for (std::size_t i = 0; i < n; ++i)
      aa += a[i] * a[i] / n, bb += b[i] * b[i] / n, ab += a[i] * b[i] / n;
    CHECK(std::abs(ab) < 1e-12);
    if (first == 0) first = aa + bb;
    CHECK(aa + bb == doctest::Approx(first).epsilon(1e-12));
  }
}

TEST_CASE("amplitudes and polarisation are each other's inverse") {
  std::mt19937 random(5);
  std::uniform_real_distribution<double> uniform(-1, 1);
  for (int trial = 0; trial < 200; ++trial) {
    const Polarisation p{0.5 + uniform(random) * 0.4, uniform(random), uniform(random), 3 * uniform(random)};
    const auto A = amplitudes(p), again = amplitudes(polarisation(A));
    for (std::size_t k = 0; k < 4; ++k)
      CHECK(again[k] == doctest::Approx(A[k]).epsilon(1e-10));
    CHECK(polarisation(A).h0 == doctest::Approx(p.h0).epsilon(1e-10));
    CHECK(polarisation(A).cos_iota == doctest::Approx(p.cos_iota).epsilon(1e-9));
  }
}

TEST_CASE("sky to ecliptic and back, poles and hemispheres") {
  std::mt19937_64 random(11);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (int trial = 0; trial < 100000; ++trial) {
    const auto sky = make_sky(2 * pi * uniform(random), std::asin(2 * uniform(random) - 1));
    const auto e = to_ecliptic(sky, mean_obliquity);
    if (1 - e.be1 * e.be1 - e.be2 * e.be2 < 1e-4) continue;  // at the rim both hemispheres meet
    const auto back = from_ecliptic(e.be1, e.be2, e.hemisphere, mean_obliquity);
    REQUIRE(back);
    if (separation(sky, *back) > 1e-12) CHECK(separation(sky, *back) < 1e-12);
  }
  for (double sign : {1.0, -1.0}) {
    const auto e = to_ecliptic(make_sky(0, sign * pi / 2), mean_obliquity);
    const auto back = from_ecliptic(e.be1, e.be2, e.hemisphere, mean_obliquity);
    REQUIRE(back);
    CHECK(back->delta == doctest::Approx(sign * pi / 2).epsilon(1e-7));
  }
  CHECK(!from_ecliptic(0.8, 0.7, Hemisphere::north, mean_obliquity));
}

TEST_CASE("F at a signal's own point: its amplitudes, and d^2/2 without noise") {
  auto o = small_frame(4096, 30);
  for (auto& d : o.detectors)
    d.sigma2 = 2.5;
  Injection injection{{1.1, -2e-8, 0.5, 2.1}, {0.3, 0.4, 0.7, 1.9}};
  const double d = optimal_snr(o, injection);
  for (auto& series : o.detectors) {
    for (double& x : series.x)
      x = 1e-300;  // present
    const auto h = signal_series(series, o.band, injection, false);
    for (std::size_t i = 0; i < h.size(); ++i)
      series.x[i] += h[i];
  }
  CHECK(optimal_snr(o, injection) > 1);
  const auto sums = DirectStatistic(o).network(injection.point);
  CHECK(f_of(sums) == doctest::Approx(optimal_snr(o, injection) * optimal_snr(o, injection) / 2).epsilon(2e-3));
  const auto A = estimate_amplitudes(sums), expected = amplitudes(injection.polarisation);
  for (std::size_t k = 0; k < 4; ++k)
    CHECK(A[k] == doctest::Approx(expected[k]).epsilon(5e-3));
  CHECK(d == 0);  // where everything is missing there is no signal
}

TEST_CASE("noise: mean and variance of F, exceedance, and a signal's expectation") {
  auto o = small_frame(2048, 30);
  constexpr int seeds = 400;
  const Injection injection{{1.1, -2e-8, 0.5, 2.1}, {0.11, 0.4, 0.7, 1.9}};
  double mean = 0, squares = 0, with = 0, with_squares = 0, d = 0;
  std::vector<double> values;
  for (int seed = 0; seed < seeds; ++seed) {
    for (std::size_t k = 0; k < 2; ++k) {
      std::ranges::fill(o.detectors[k].x, 0.0);
      add_noise(o.detectors[k].x, 1, static_cast<std::uint64_t>(seed), 1, static_cast<std::uint32_t>(k));
    }
    const DirectStatistic statistic(o);
    const double F = statistic.F(injection.point);
    values.push_back(F);
    mean += F / seeds;
    squares += F * F / seeds;
    if (seed == 0) d = optimal_snr(o, injection);
    auto loud = o;
    for (auto& series : loud.detectors) {
      const auto h = signal_series(series, o.band, injection, false);
      for (std::size_t i = 0; i < h.size(); ++i)
        series.x[i] += h[i];
    }
    const double G = DirectStatistic(loud).F(injection.point);
    with += G / seeds;
    with_squares += G * G / seeds;
  }
  CHECK(std::abs(mean - 2) < 4 * std::sqrt(2.0 / seeds));
  CHECK(squares - mean * mean == doctest::Approx(2).epsilon(0.4));
  CHECK(std::abs(with - (2 + d * d / 2)) < 4 * std::sqrt((d * d + 2) / seeds));
  CHECK(with_squares - with * with == doctest::Approx(d * d + 2).epsilon(0.4));
  std::ranges::sort(values);  // Kolmogorov-Smirnov against 1 - (1 + F) e^-F
  double distance = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    distance = std::max(distance, std::abs(1 - exceedance(values[i]) - (static_cast<double>(i) + 0.5) / seeds));
  CHECK(distance * std::sqrt(double(seeds)) < 1.95);  // p > 1e-3
  CHECK(exceedance(14.5) == doctest::Approx(7.82e-6).epsilon(1e-2));
  CHECK(exceedance(20) == doctest::Approx(4.33e-8).epsilon(1e-2));
}

TEST_CASE("gradient of F against finite differences; optimisers agree; newton needs few evaluations") {
  auto o = small_frame(8192, 200);
  const Injection injection{{1.1, -2e-8, 0.5, 2.1}, {1.0, 0.4, 0.7, 1.9}};
  for (std::size_t k = 0; k < 2; ++k) {
    auto& series = o.detectors[k];
    add_noise(series.x, 1, 8, 1, static_cast<std::uint32_t>(k));
    std::fill(series.x.begin() + 1000, series.x.begin() + 1500, 0.0);
    const auto h = signal_series(series, o.band, injection, false);
    for (std::size_t i = 0; i < h.size(); ++i)
      if (series.x[i] != 0) series.x[i] += 0.5 * h[i];
  }
  const JointStatistic statistic({&o}, {100});
  const SignalPoint at{1.1 + 1e-4, -2e-8, 0.5 + 1e-3, 2.1 - 2e-3, 1e-14};
  const auto derived = statistic.derivatives(at);
  const auto& g = derived.gradient;
  CHECK(derived.F == doctest::Approx(statistic.F(at)).epsilon(1e-9));
  const Phase step{1e-8, 1e-13, 1e-17, 1e-6, 1e-6};
  for (std::size_t k = 0; k < 5; ++k) {
    auto hi = at, lo = at;
    const auto move = [&](SignalPoint& p, double h) {
      double* x[5] = {&p.omega, &p.s, &p.s2, &p.delta, &p.alpha};
      *x[k] += h;
    };
    move(hi, step[k]);
    move(lo, -step[k]);
    CHECK(g[k] == doctest::Approx((statistic.F(hi) - statistic.F(lo)) / (2 * step[k])).epsilon(1e-4));
    const auto above = statistic.derivatives(hi).gradient, below = statistic.derivatives(lo).gradient;
    for (std::size_t j = 0; j < 5; ++j)
      CHECK(derived.hessian[5 * k + j] ==
            doctest::Approx((above[j] - below[j]) / (2 * step[k]))
                .epsilon(1e-4)
                .scale(std::sqrt(std::abs(derived.hessian[6 * k] * derived.hessian[6 * j]))));
  }
  const JointStatistic alone({&o}, {0});
  const LocalCoordinates coordinates(alone, {1.1, -2e-8, 0.5, 2.1});
  const auto by_newton = newton(alone, coordinates, 1e-9), by_simplex = simplex(alone, coordinates, 0.3, 1e-8),
             by_mads = mads(alone, coordinates, 0.5, 1e-4);
  MESSAGE("evaluations: newton " << by_newton.evaluations << ", simplex " << by_simplex.evaluations << ", mads "
                                 << by_mads.evaluations);
  CHECK(by_newton.converged);
  CHECK(by_newton.F >= by_simplex.F - 1e-6);
  CHECK(by_newton.F >= by_mads.F - 1e-6);
  CHECK(by_newton.evaluations * 20 <= by_simplex.evaluations);
}

TEST_CASE("Fisher information against finite differences of the signal, and its inverse") {
  auto o = small_frame(2048, 30);
  for (auto& d : o.detectors)
    std::ranges::fill(d.x, 1.0);
  const Injection injection{{1.1, -2e-8, 0.5, 2.1}, {0.3, 0.4, 0.7, 1.9}};
  const auto A = amplitudes(injection.polarisation);
  const auto information = fisher_information(o, injection.point, A);
  const std::array<double, 4> step{1e-7, 1e-11, 1e-7, 1e-7};
  std::array<double, 16> sums{};
  for (const auto& series : o.detectors) {
    std::array<std::vector<double>, 4> derivative;
    for (std::size_t k = 0; k < 4; ++k) {
      auto hi = injection, lo = injection;
      double* up[4] = {&hi.point.omega, &hi.point.s, &hi.point.delta, &hi.point.alpha};
      double* down[4] = {&lo.point.omega, &lo.point.s, &lo.point.delta, &lo.point.alpha};
      *up[k] += step[k];
      *down[k] -= step[k];
      derivative[k] = signal_series(series, o.band, hi, false);
      const auto below = signal_series(series, o.band, lo, false);
      for (std::size_t i = 0; i < below.size(); ++i)
        derivative[k][i] = (derivative[k][i] - below[i]) / (2 * step[k]);
    }
    for (std::size_t i = 0; i < 4; ++i)
      for (std::size_t k = 0; k < 4; ++k)
        for (std::size_t t = 0; t < o.band.N; ++t)
          sums[4 * i + k] += derivative[i][t] * derivative[k][t] / series.sigma2;
  }
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t k = 0; k < 4; ++k)
      CHECK(information.matrix[8 * i + k] == doctest::Approx(sums[4 * i + k]).epsilon(1e-3));
}
