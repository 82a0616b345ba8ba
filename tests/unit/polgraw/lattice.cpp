#include "lattice.hpp"

#include <random>

#include <doctest.h>

#include "direct.hpp"
#include "ephemeris.hpp"
#include "inject.hpp"
#include "shared_frame.hpp"

using namespace fachwerk::polgraw;

namespace {

double frequency_step(double c0, double N, double nfft) {
  return 2 * pi * N / nfft / (2 * std::sqrt(3 * (1 - c0)));
}

/// Largest distance from the lattice found by random starts and local ascent, with nearest points by enumeration: knows
/// nothing of Voronoi cells.
template <std::size_t L>
double deepest_hole_found(const std::array<double, L>& basis) {
  constexpr std::size_t n = order_of<L>();
  constexpr int reach = n < 5 ? 3 : 2;
  int codes = 1;
  for (std::size_t k = 0; k < n; ++k)
    codes *= 2 * reach + 1;
  std::mt19937 random(7);
  std::uniform_real_distribution<double> uniform(0, 1);
  const auto distance = [&](const std::array<double, n>& x) {
    double best = 1e300;
    for (int code = 0; code < codes; ++code) {
      auto y = x;
      int rest = code;
      for (std::size_t k = 0; k < n; ++k, rest /= 2 * reach + 1)
        for (std::size_t c = 0; c < n; ++c)
          y[c] -= (rest % (2 * reach + 1) - reach) * basis[n * k + c];
      double sum = 0;
      for (double c : y)
        sum += c * c;
      best = std::min(best, sum);
    }
    return std::sqrt(best);
  };
  double deepest = 0;
  for (int start = 0; start < (n < 5 ? 12 : 2); ++start) {
    std::array<double, n> x{};
    for (std::size_t k = 0; k < n; ++k) {
      const double u = uniform(random);
      for (std::size_t c = 0; c < n; ++c)
        x[c] += u * basis[n * k + c];
    }
    double here = distance(x);
    for (double step = 0.2; step > (n < 5 ? 1e-4 : 1e-2);) {
      bool rose = false;
      for (int attempt = 0; attempt < 12 && !rose; ++attempt) {
        auto y = x;
        for (double& c : y)
          c += step * (2 * uniform(random) - 1);
        const double there = distance(y);
        if (there > here) here = there, x = y, rose = true;
      }
      if (!rose) step /= 2;
    }
    deepest = std::max(deepest, here);
  }
  return deepest;
}

/// A frame without data.
Observation empty_frame(std::size_t N, double fpo) {
  Observation o;
  o.band = make_band(fpo, 2, N);
  for (const char* name : {"H1", "L1"}) {
    Series series;
    series.site = *find_site(name);
    series.sigma2 = 1;
    series.ephemeris = make_ephemeris(series.site, 1187008512, 2, N, TimeScales::built_in());
    o.detectors.push_back(std::move(series));
  }
  return o;
}

/// An* scaled to covering radius 1, from its Gram matrix.
template <std::size_t n>
Square<n> an_star() {
  Square<n> gram{};
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < n; ++k)
      gram[n * i + k] = ((i == k ? n + 1.0 : 0.0) - 1) * 12 / (n * (n + 2.0));
  return cholesky(gram);
}

}  // namespace

TEST_CASE("covering radius of known lattices") {
  Matrix4 cubic{};
  for (std::size_t k = 0; k < 4; ++k)
    cubic[5 * k] = 1;
  CHECK(covering_radius(cubic) == doctest::Approx(1).epsilon(1e-12));  // half the diagonal of the unit cube
  const Matrix4 d4 = {1, 1, 0, 0, 1, -1, 0, 0, 0, 1, -1, 0, 0, 0, 1, -1};
  CHECK(covering_radius(d4) == doctest::Approx(1).epsilon(1e-12));
  Matrix4 gram{};
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t k = 0; k < 4; ++k)
      gram[4 * i + k] = (i == k ? 2.5 : 0) - 0.5;
  CHECK(covering_radius(cholesky(gram)) == doctest::Approx(1).epsilon(1e-12));
  CHECK(thickness(cholesky(gram)) == doctest::Approx(1.765529).epsilon(1e-6));  // A4*, the optimum
  // The optima of two, three and five dimensions, and Z^5, whose holes are at half its diagonal.
  CHECK(covering_radius(an_star<2>()) == doctest::Approx(1).epsilon(1e-12));
  CHECK(thickness(an_star<2>()) == doctest::Approx(2 * pi / (3 * std::sqrt(3))).epsilon(1e-12));
  CHECK(covering_radius(an_star<3>()) == doctest::Approx(1).epsilon(1e-12));
  CHECK(thickness(an_star<3>()) == doctest::Approx(5 * std::sqrt(5) * pi / 24).epsilon(1e-12));
  CHECK(covering_radius(an_star<5>()) == doctest::Approx(1).epsilon(1e-12));
  CHECK(thickness(an_star<5>()) == doctest::Approx(2.124286).epsilon(1e-6));
  Square<5> z5{};
  for (std::size_t k = 0; k < 5; ++k)
    z5[6 * k] = 1;
  z5[20] = 3;  // the same lattice, another basis
  CHECK(covering_radius(z5) == doctest::Approx(std::sqrt(5) / 2).epsilon(1e-12));
}

TEST_CASE("lattices of directed searches and of two spindowns: closed forms, covering") {
  // In the plane S2 is the triangle with the step as its side in the unit circle.
  for (double step : {0.7, 1.3, 1.9}) {
    const double area = step * (1 + std::sqrt(1 - step * step / 4));
    CHECK(thickness(constrained_lattice<2>(step, Lattice::s2).Q) == doctest::Approx(pi / area).epsilon(1e-9));
  }
  const auto check = [](const auto& lattice, double step, double least) {
    CHECK(lattice.Q[0] == doctest::Approx(step).epsilon(1e-12));
    CHECK(covering_radius(lattice.Q) <= 1 + 1e-9);
    const double found = deepest_hole_found(lattice.Q);
    CHECK(found <= 1 + 1e-9);
    CHECK(found > least);
    MESSAGE("first vector " << step << ": thickness " << thickness(lattice.Q));
  };
  const double low = frequency_step(0.25, 86164, 131072), high = frequency_step(0.75, 86164, 131072);
  for (double step : {low, high}) {
    check(constrained_lattice<2>(step, Lattice::best), step, 0.99);
    check(constrained_lattice<3>(step, Lattice::best), step, 0.98);
  }
  check(constrained_lattice<5>(low, Lattice::s1), low, 0.7);
  check(constrained_lattice<5>(low, Lattice::s2), low, 0.7);
  check(constrained_lattice<5>(high, Lattice::best), high, 0.7);
}

namespace {

/// Largest |M Gamma M^T - (1 - c0) Q Q^T| of the grid as it is stored.
template <std::size_t L>
double metric_error(const std::array<double, L>& fisher, const Band& band, double c0) {
  constexpr std::size_t n = order_of<L>();
  const auto made = make_grid(fisher, band.N, band.nfft, {.c0 = c0});
  const double step = 2 * pi * static_cast<double>(band.N) / static_cast<double>(band.nfft);
  const auto Q = constrained_lattice<n>(step * std::sqrt(fisher[0]) / std::sqrt(1 - c0), made.algorithm).Q;
  const auto& M = made.grid.unnormalised;
  long double worst = 0;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) {
      long double sum = 0, wanted = 0;
      for (std::size_t k = 0; k < n; ++k) {
        wanted += (1 - static_cast<long double>(c0)) * Q[n * i + k] * Q[n * j + k];
        for (std::size_t l = 0; l < n; ++l)
          sum += static_cast<long double>(M[n * i + k]) * fisher[n * k + l] * M[n * j + l];
      }
      worst = std::max(worst, std::abs(sum - wanted));
    }
  return static_cast<double>(worst);
}

}  // namespace

TEST_CASE("the stored grid has the metric of its lattice: M Gamma M^T = (1 - c0) Q Q^T") {
  for (const double days : {1.0, 2.0, 6.0}) {
    const auto o = empty_frame(frame_length(days, 10), 10);
    for (const double c0 : {0.25, 0.75}) {
      const double four = metric_error(linear_fisher<4>(o), o.band, c0);
      MESSAGE(days << " d, c0 " << c0 << ": " << four);
      CHECK(four < 1e-12);
    }
    CHECK(metric_error(linear_fisher<3>(o), o.band, 0.75) < 1e-12);
    if (days == 2) CHECK(metric_error(linear_fisher<5>(o), o.band, 0.75) < 1e-12);
  }
}

TEST_CASE("Fisher matrices of the linear phase are covariances of its derivatives") {
  const auto o = empty_frame(4096, 30);
  const auto G = linear_fisher<5>(o);
  const auto G4 = linear_fisher<4>(o);
  const auto G3 = linear_fisher<3>(o);
  // Midpoint sums over one detector's path each; here the derivatives as such.
  Square<5> expected{};
  for (const auto& d : o.detectors) {
    std::array<double, 5> mean{};
    Square<5> products{};
    const double n = static_cast<double>(o.band.N), c = std::cos(o.obliquity);
    for (std::size_t i = 0; i < o.band.N; ++i) {
      const double t = (static_cast<double>(i) + 0.5) / n;
      const auto &r = d.ephemeris.position[i], &g = d.ephemeris.detector[i];
      const double e = d.ephemeris.einstein[i];
      const std::array<double, 5> by{t, t * t, t * t * t, ((r[1] - g[1] + e) / c + g[1] * c) / n, (r[0] + e) / n};
      for (std::size_t j = 0; j < 5; ++j) {
        mean[j] += by[j] / n;
        for (std::size_t k = 0; k < 5; ++k)
          products[5 * j + k] += by[j] * by[k] / n;
      }
    }
    for (std::size_t j = 0; j < 5; ++j)
      for (std::size_t k = 0; k < 5; ++k)
        expected[5 * j + k] += (products[5 * j + k] - mean[j] * mean[k]) / 2;
  }
  for (std::size_t j = 0; j < 5; ++j)
    for (std::size_t k = 0; k < 5; ++k)
      CHECK(std::abs(G[5 * j + k] - expected[5 * j + k]) < 2e-3 * std::sqrt(expected[6 * j] * expected[6 * k]));
  const std::array<std::size_t, 4> place{0, 1, 3, 4};
  for (std::size_t j = 0; j < 4; ++j)
    for (std::size_t k = 0; k < 4; ++k)
      CHECK(G4[4 * j + k] == G[5 * place[j] + place[k]]);
  for (std::size_t j = 0; j < 3; ++j)
    for (std::size_t k = 0; k < 3; ++k)
      CHECK(G3[3 * j + k] == G[5 * j + k]);
}

TEST_CASE("the exact Fisher matrix foretells what F loses at a small step") {
  auto o = empty_frame(frame_length(1, 2), 100);
  const auto n = static_cast<double>(o.band.N);
  const auto sky = make_sky(2.1, 0.5);
  const Injection injection{{1.1, -2e-8, 0.5, 2.1, 0}, {0.3, 1, 0.7, 1.9}};  // circular
  for (auto& d : o.detectors) {
    d.x = signal_series(d, o.band, injection, false);
    std::fill(d.x.begin() + 5000, d.x.begin() + 17000, 0.0);
  }
  const DirectStatistic statistic(o);
  const double F = statistic.F(injection.point);
  const auto three = exact_fisher<3>(o, sky);
  const auto five = exact_fisher<5>(o, sky);
  const auto ecliptic = to_ecliptic(sky, o.obliquity);
  for (const std::array<double, 5>& step : std::initializer_list<std::array<double, 5>>{{.3, 0, 0, 0, 0},
                                                                                        {0, .3, 0, 0, 0},
                                                                                        {0, 0, .3, 0, 0},
                                                                                        {.3, -.4, .2, 0, 0},
                                                                                        {0, 0, 0, 1500, 0},
                                                                                        {0, 0, 0, 1000, -3000}}) {
    auto moved = injection.point;
    moved.omega += step[0] / n;
    moved.s += step[1] / (n * n);
    moved.s2 += step[2] / (n * n * n);
    const double oms = o.band.oms() + moved.omega;
    const auto there = *from_ecliptic(ecliptic.be1 + step[3] / n / oms, ecliptic.be2 + step[4] / n / oms,
                                      ecliptic.hemisphere, o.obliquity);
    moved.alpha = there.alpha;
    moved.delta = there.delta;
    double loss = 0, loss3 = 0;
    for (std::size_t j = 0; j < 5; ++j)
      for (std::size_t k = 0; k < 5; ++k)
        loss += step[j] * step[k] * five[5 * j + k];
    for (std::size_t j = 0; j < 3; ++j)
      for (std::size_t k = 0; k < 3; ++k)
        loss3 += step[j] * step[k] * three[3 * j + k];
    const double measured = 1 - statistic.F(moved) / F;
    MESSAGE("loss " << loss << " foretold, " << measured << " measured");
    CHECK(measured == doctest::Approx(loss).epsilon(0.05));
    if (step[3] == 0 && step[4] == 0) CHECK(loss3 == doctest::Approx(loss).epsilon(1e-9));
  }
}

TEST_CASE("lattices for the published grids: thickness and covering") {
  const auto s2 = constrained_lattice(frequency_step(0.25, 86164, 131072), Lattice::s2);
  CHECK(thickness(s2.Q) == doctest::Approx(1.76768559142).epsilon(1e-9));
  const auto s2b = constrained_lattice(frequency_step(0.86, 344656, 1 << 20), Lattice::s2);
  CHECK(thickness(s2b.Q) == doctest::Approx(1.82299890).epsilon(1e-8));
  CHECK(thickness(constrained_lattice(frequency_step(0.25, 86164, 131072), Lattice::s1).Q) ==
        doctest::Approx(1.9653).epsilon(1e-4));
  CHECK(thickness(constrained_lattice(frequency_step(0.75, 86164, 131072), Lattice::s1).Q) ==
        doctest::Approx(2.675).epsilon(1e-3));
  CHECK_THROWS(constrained_lattice(frequency_step(0.75, 86164, 131072), Lattice::s2));
  const auto low = constrained_lattice(frequency_step(0.25, 86164, 131072), Lattice::best);
  const auto high = constrained_lattice(frequency_step(0.75, 86164, 131072), Lattice::best);
  MESSAGE("thickness: " << thickness(low.Q) << " at c0 0.25, " << thickness(high.Q) << " at c0 0.75");
  CHECK(thickness(low.Q) <= 1.7677);
  CHECK(thickness(high.Q) <= 1.96);
  for (const auto& Q : {s2.Q, low.Q, high.Q}) {
    CHECK(covering_radius(Q) <= 1 + 1e-9);
    const double found = deepest_hole_found(Q);
    CHECK(found <= 1 + 1e-9);
    CHECK(found > 0.97);
  }
}

TEST_CASE("the Fisher matrix and the grid of the sample frame") {
  auto frame = shared_frame(true);
  if (!frame) {
    MESSAGE("skipped: no ../shared/data/polgraw");
    return;
  }
  frame->detectors[0].sigma2 = 1;
  frame->detectors[1].sigma2 = 1.96;
  const auto fisher = reduced_fisher(*frame);
  for (std::size_t k = 0; k < 16; ++k)
    CHECK(fisher[k] == doctest::Approx(frame->grid.fisher[k]).epsilon(1e-6));
  const auto made = make_grid(*frame, {.c0 = 0.75});
  CHECK(made.grid.M[0] == doctest::Approx(2 * pi / 131072).epsilon(1e-14));
  // M Gamma M^T is the lattice's own Gram matrix scaled by 1 - c0: its covering radius in that metric is that of the
  // match.
  const auto metric = multiply(multiply(made.grid.unnormalised, made.grid.fisher), transpose(made.grid.unnormalised));
  CHECK(covering_radius(cholesky(metric)) <= 0.5 * (1 + 1e-9));
  CHECK(made.thickness <= 1.96);
}
