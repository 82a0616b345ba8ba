#include "followup.hpp"

#include <algorithm>

#include <doctest.h>

#include "ephemeris.hpp"
#include "inject.hpp"

using namespace fachwerk::polgraw;

namespace {

/// Coarsely sampled, so that long frames are short series.
Observation coarse_frame(double dt, std::size_t N, double fpo, double start = 1187008512) {
  Observation o;
  o.band = make_band(fpo, dt, N);
  for (const char* name : {"H1", "L1"}) {
    Series s;
    s.site = *find_site(name);
    s.x.assign(N, 0);
    s.sigma2 = 1;
    s.gps_start = start;
    s.ephemeris = make_ephemeris(s.site, start, dt, N, TimeScales::built_in());
    o.detectors.push_back(std::move(s));
  }
  return o;
}

void fill(Observation& o, const Injection& injection, std::uint64_t seed, double noise = 1) {
  for (std::size_t d = 0; d < o.detectors.size(); ++d) {
    auto& series = o.detectors[d];
    std::ranges::fill(series.x, 0.0);
    if (noise > 0) add_noise(series.x, noise, seed, 1, static_cast<std::uint32_t>(d));
    const auto h = signal_series(series, o.band, injection, false);
    for (std::size_t i = 0; i < h.size(); ++i)
      series.x[i] += h[i];
  }
}

}  // namespace

TEST_CASE("every optimiser of the follow-up reaches the same maximum") {
  auto o = coarse_frame(20, 8616, 20);
  const Injection injection{{1.1, -2e-7, 0.5, 2.1, 0}, {0.6, 0.4, 0.7, 1.9}};
  fill(o, injection, 5);
  const JointStatistic statistic({&o}, {0});
  const LocalCoordinates coordinates(statistic, injection.point);
  const auto best = newton(statistic, coordinates, 1e-9);
  CHECK(best.converged);
  for (const auto& other : {simplex(statistic, coordinates, 0.3, 1e-9), mads(statistic, coordinates, 0.5, 1e-5),
                            inverted_mads(statistic, coordinates, 0.01, 0.05)}) {
    MESSAGE("F " << best.F << " of newton with " << best.evaluations << " evaluations, " << other.F << " with "
                 << other.evaluations);
    CHECK(other.F <= best.F + 1e-6);
    CHECK(other.F > best.F - 1e-2);
  }
  CHECK(simplex(statistic, coordinates, 0.3, 1e-9).F > best.F - 1e-6);
  CHECK(20 * best.evaluations <= simplex(statistic, coordinates, 0.3, 1e-9).evaluations);
  // With the sky held: frequency and spindown alone.
  const LocalCoordinates two(statistic, injection.point, {.sky = false});
  CHECK(two.dimensions() == 2);
  const auto directed = newton(statistic, two, 1e-9), circle = sky_mads(statistic, two, 0.5, 1e-5);
  CHECK(directed.point.alpha == injection.point.alpha);
  CHECK(directed.point.delta == injection.point.delta);
  CHECK(circle.F == doctest::Approx(directed.F).epsilon(1e-6));
  CHECK(directed.F <= best.F + 1e-9);
}

TEST_CASE("the Sun's gravity delays the signal: F has it, by sums and by derivatives alike") {
  auto o = coarse_frame(20, 4308, 1500);
  for (auto& d : o.detectors)
    d.ephemeris.sun = sun_positions(1187008512, 20, o.band.N);
  const Injection injection{{1.1, -2e-7, 0.25, 2.5, 0}, {0.6, 0.4, 0.7, 1.9}};  // some degrees from the Sun
  fill(o, injection, 5, 0);
  const JointStatistic with({&o}, {0});
  const double d = optimal_snr(o, injection);
  CHECK(with.F(injection.point) == doctest::Approx(d * d / 2).epsilon(1e-2));
  CHECK(with.derivatives(injection.point).F == doctest::Approx(with.F(injection.point)).epsilon(1e-9));
  auto without = o;
  for (auto& series : without.detectors)
    series.ephemeris.sun.clear();
  const auto phase = [&](const Observation& observation) {
    return polarisation(estimate_amplitudes(DirectStatistic(observation).network(injection.point))).phi0;
  };
  // psi + pi/2 with phi0 + pi is the same signal.
  CHECK(std::abs(std::remainder(phase(o) - 1.9, pi)) < 0.05);
  CHECK(std::abs(std::remainder(phase(without) - 1.9, pi)) > 0.1);  // 2 pi 1500 Hz times some 20 us and more
}

TEST_CASE("the second spindown of a directed follow-up") {
  auto o = coarse_frame(20, 8616, 20);
  const Injection injection{{1.1, -2e-7, 0.5, 2.1, 1e-11}, {0.6, 0.4, 0.7, 1.9}};
  fill(o, injection, 5, 0);
  const JointStatistic statistic({&o}, {0});
  const FreeParameters free{.second_spindown = true, .sky = false};
  auto start = injection.point;
  start.s2 = 6e-12;
  start.omega += 1e-5;
  const auto found = newton(statistic, LocalCoordinates(statistic, start, free), 1e-10);
  CHECK(found.converged);
  CHECK(found.F == doctest::Approx(statistic.F(injection.point)).epsilon(1e-6));
  CHECK(found.point.s2 == doctest::Approx(1e-11).epsilon(1e-3));
  CHECK(found.point.s == doctest::Approx(-2e-7).epsilon(1e-3));
  // Held where the candidate has it, it costs power.
  CHECK(newton(statistic, LocalCoordinates(statistic, start, {.sky = false}), 1e-10).F < 0.9995 * found.F);
  // Errors of the free parameters alone.
  const auto information = fisher_information(o, injection.point, amplitudes(injection.polarisation), free);
  CHECK(information.order == 7);
  double product = 0;
  for (std::size_t k = 0; k < 7; ++k)
    product += information.matrix[7 * 2 + k] * information.covariance[7 * k + 2];
  CHECK(product == doctest::Approx(1).epsilon(1e-6));
}

TEST_CASE("frames glued to one series are the one long frame; summed ones add up") {
  auto whole = coarse_frame(20, 4000, 20);
  const Injection injection{{1.1, -2e-7, 0.5, 2.1, 0}, {0.6, 0.4, 0.7, 1.9}};
  fill(whole, injection, 6);
  for (auto& d : whole.detectors)
    std::fill(d.x.begin() + 1500, d.x.begin() + 2100, 0.0);
  const auto part = [&](std::size_t begin, std::size_t end) {
    auto o = coarse_frame(20, end - begin, 20, 1187008512 + 20.0 * static_cast<double>(begin));
    for (std::size_t d = 0; d < 2; ++d)
      std::copy(whole.detectors[d].x.begin() + static_cast<std::ptrdiff_t>(begin),
                whole.detectors[d].x.begin() + static_cast<std::ptrdiff_t>(end), o.detectors[d].x.begin());
    return o;
  };
  const auto a = part(0, 1500), b = part(2100, 4000);
  const std::vector<const Observation*> frames{&a, &b};
  const auto glued = glue_frames(frames, std::vector<double>{0, 2100});
  CHECK(glued.band.N == 4000);
  auto point = injection.point;
  point.omega += 2e-5;
  CHECK(DirectStatistic(glued).F(point) == doctest::Approx(DirectStatistic(whole).F(point)).epsilon(1e-6));
  const JointStatistic sum({&a, &b}, {0, 2100});
  CHECK(sum.F(point) ==
        doctest::Approx(DirectStatistic(a).F(point) + DirectStatistic(b).F(at_frame(point, 2100))).epsilon(1e-12));
  // The second frame mixed from its own start: its phases run ahead by those of the mixing until then.
  auto first = a, own = b;
  first.mixing_gps = 1187008512;
  own.mixing_gps = 1187008512 + 20.0 * 2100;
  const auto there = at_frame(injection, whole.band, 2100, 20.0 * 2100);
  for (auto& d : own.detectors) {
    const auto h = signal_series(d, own.band, there, false);
    for (std::size_t i = 0; i < h.size(); ++i)
      if (d.x[i] != 0) d.x[i] = h[i];
  }
  for (std::size_t d = 0; d < 2; ++d) {
    const auto h = signal_series(whole.detectors[d], whole.band, injection, false);
    for (std::size_t i = 0; i < h.size(); ++i)
      if (whole.detectors[d].x[i] != 0) whole.detectors[d].x[i] = h[i];
    std::copy_n(whole.detectors[d].x.begin(), 1500, first.detectors[d].x.begin());
  }
  const std::vector<const Observation*> one_by_one{&first, &own};
  const auto bridged = glue_frames(one_by_one, std::vector<double>{0, 2100});
  const DirectStatistic of_whole(whole), of_bridged(bridged);
  CHECK(of_bridged.F(point) == doctest::Approx(of_whole.F(point)).epsilon(1e-6));
  const auto wanted = estimate_amplitudes(of_whole.network(injection.point)),
             got = estimate_amplitudes(of_bridged.network(injection.point));
  for (std::size_t k = 0; k < 4; ++k)
    CHECK(got[k] == doctest::Approx(wanted[k]).epsilon(1e-6));
  const auto slope = JointStatistic({&bridged}, {0}).derivatives(point).gradient,
             wanted_slope = JointStatistic({&whole}, {0}).derivatives(point).gradient;
  CHECK(std::abs(slope[0] - wanted_slope[0]) < 1e-6 * of_whole.F(point) * 4000);  // of F N
  auto unknown = own;
  unknown.mixing_gps.reset();
  const std::vector<const Observation*> odd{&first, &unknown};
  CHECK_THROWS(glue_frames(odd, std::vector<double>{0, 2100}));
  // The product fpo t is far beyond the digits of its fraction.
  const Band high = make_band(1999.3, 0.5, 1000);
  CHECK(std::abs(std::remainder(mixing_phase(high, 1e9) - mixing_phase(high, 1e9 - 10.0) - 2 * pi * 19993, 2 * pi)) <
        1e-6);
  CHECK_THROWS(glue_frames(frames, std::vector<double>{0, 2100.5}));
  CHECK_THROWS(glue_frames(frames, std::vector<double>{0, 1499}));
}

TEST_CASE("points round the candidate: the lattice keeps its minimal match, boxes find what lies in them") {
  auto o = coarse_frame(20, 8616, 20);
  const Injection injection{{1.1, -2e-7, 0.5, 2.1, 0}, {0.6, 0.4, 0.7, 1.9}};
  fill(o, injection, 7, 0);
  const JointStatistic statistic({&o}, {0});
  const FreeParameters free{.sky = false};
  const double F = statistic.F(injection.point);
  const LocalCoordinates at_signal(statistic, injection.point, free);
  for (const auto& u : {Local{0.5, 0.3}, Local{-0.4, 0.6}, Local{0.2, -0.7}}) {
    // From a candidate away from the signal the lattice has a point with the match asked for.
    const LocalCoordinates coordinates(statistic, at_signal.point(u), free);
    const auto found = lattice_start(statistic, coordinates, 5, 0.95);
    CHECK(found.F >= 0.95 * 0.95 * F * (1 - 0.02));
    CHECK(found.evaluations == 11 * 11 + 1);
  }
  auto near = injection.point;
  near.omega *= 1 + 3e-6;
  near.s *= 1 - 2e-3;
  const auto box = box_start(statistic, near, {near.omega * 1e-6, std::abs(near.s) * 1e-3, 0, 0, 0}, 3);
  CHECK(box.F == doctest::Approx(F).epsilon(1e-3));
  CHECK(box.evaluations == 7 * 7 + 1);
}

TEST_CASE("errors of the parameters: the Cramer-Rao bound is the scatter over many noises") {
  auto o = coarse_frame(40, 4308, 20);
  const Injection injection{{1.1, -6e-7, 0.5, 2.1, 0}, {0.9, 0.4, 0.7, 1.9}};
  fill(o, injection, 0, 0);
  for (auto& d : o.detectors)
    for (double& x : d.x)
      x += 1e-300;
  const auto information = fisher_information(o, injection.point, amplitudes(injection.polarisation));
  const double d = optimal_snr(o, injection);
  constexpr int seeds = 100;
  std::array<double, 4> mean{}, squares{};
  for (int seed = 1; seed <= seeds; ++seed) {
    fill(o, injection, static_cast<std::uint64_t>(seed));
    const JointStatistic statistic({&o}, {0});
    const auto found = newton(statistic, LocalCoordinates(statistic, injection.point), 1e-9);
    const auto& p = found.point;
    const std::array<double, 4> away{p.omega - 1.1, p.s + 6e-7, p.delta - 0.5, p.alpha - 2.1};
    for (std::size_t k = 0; k < 4; ++k) {
      mean[k] += away[k] / seeds;
      squares[k] += away[k] * away[k] / seeds;
    }
  }
  for (std::size_t k = 0; k < 4; ++k) {
    const double bound = std::sqrt(information.covariance[9 * k]), scatter = std::sqrt(squares[k] - mean[k] * mean[k]);
    MESSAGE("snr " << d << ", parameter " << k << ": scatter " << scatter << ", bound " << bound);
    CHECK(scatter == doctest::Approx(bound).epsilon(0.25));  // four standard errors of 100 draws
    CHECK(std::abs(mean[k]) < 5 * bound / std::sqrt(double(seeds)));
  }
}

TEST_CASE("a frame of one day hardly tells sky positions apart: the follow-up stays on the sky and converges") {
  auto o = coarse_frame(20, 4308, 20);
  const Injection injection{{1.1, -2e-7, 1.4, 2.1, 0}, {0.6, 0.4, 0.7, 1.9}};
  fill(o, injection, 9);
  const JointStatistic statistic({&o}, {0});
  for (const double delta : {1.4, 1.55, 0.9}) {
    auto start = injection.point;
    start.delta = delta;
    start.alpha += 0.3;
    const auto found = newton(statistic, LocalCoordinates(statistic, start), 1e-8);
    CHECK(found.converged);
    CHECK(std::abs(found.point.delta) <= pi / 2);
    CHECK(found.point.alpha >= 0);
    CHECK(found.point.alpha < 2 * pi);
    CHECK(found.F >= statistic.F(start));
  }
}
