#include "directed.hpp"

#include <algorithm>

#include <doctest.h>

#include "engine.hpp"
#include "farm.hpp"
#include "short_frame.hpp"

using namespace fachwerk::polgraw;

namespace {

/// A grid of one sky position with second spindown.
void make_directed(Observation& o) {
  const double n = static_cast<double>(o.band.N), step = 2 * pi / static_cast<double>(o.band.nfft);
  o.grid = {};
  o.grid.M = {step, 0, 0, 0, 0.3 * step, 8 / (n * n), 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
  o.directed = {make_sky(1.1, -0.4), true, {-0.4 * step, 9 / (n * n), 40 / (n * n * n)}};
}

/// Largest |F - direct sum| over bins a stride apart.
template <class Engine>
double worst_error(Engine& engine, const Observation& o, const SearchSettings& settings, const SkyPoint& point,
                   int ss) {
  const DirectStatistic direct(o);
  const auto bins = search_bins(o.band, o.grid.fftpad, settings);
  const auto F = engine.f_statistic(ss);
  double worst = 0;
  for (std::size_t k = 7; k < F.size(); k += 311) {
    const auto t = make_trigger(o, point, ss, static_cast<double>(bins.lo + k), 2);
    worst = std::max(worst, std::abs(F[k] - direct.F({t.omega, t.s, t.delta, t.alpha, t.s2})));
  }
  return worst;
}

}  // namespace

TEST_CASE("directed search: a signal with second spindown, by every form and by the direct sum") {
  auto o = short_frame();
  make_directed(o);
  const auto n = static_cast<double>(o.band.N);
  const auto settings = quick_settings(Norm::none);
  const auto point = directed_point(*o.directed, o.obliquity, 7);
  const int ss = -6;
  auto at = make_trigger(o, point, ss, 9000, 2);
  CHECK(at.tt == 7);
  CHECK(at.s2 == doctest::Approx(280 / (n * n * n)));
  CHECK(at.s == doctest::Approx((-48 + 63) / (n * n)));
  Injection signal{{at.omega, at.s, at.delta, at.alpha, at.s2}, {1, 0.3, 0.2, 1}};
  signal.polarisation.h0 = 12 / optimal_snr(o, signal);
  for (auto& series : o.detectors) {
    const auto h = signal_series(series, o.band, signal, true);
    for (std::size_t i = 0; i < o.band.N; ++i)
      series.x[i] += series.x[i] == 0 ? 0 : h[i];
  }
  const auto plan = std::make_shared<EnginePlan<double>>(o, settings, EngineSettings{});
  FastEngine<double> fast(plan);
  PlainEngine plain(o, settings);
  fast.set_sky(point);
  plain.set_sky(point);
  CHECK(worst_error(fast, o, settings, point, ss) < 0.02);
  CHECK(worst_error(plain, o, settings, point, ss) < 0.2);
  FarmSource source{o, {}};
  Selection selection;
  selection.prior = {60 / (n * n), 40 / (n * n)};
  selection.s2_min = -390 / (n * n * n);
  selection.s2_max = 390 / (n * n * n);
  FarmSettings farm;
  farm.search = settings;
  farm.search.threshold = 14;
  const auto tasks = make_tasks(o, selection, 0);
  CHECK(tasks.size() == 21);
  for (const bool batched : {false, true}) {
    farm.batched = batched;
    const auto found = search_frame(source, tasks, farm);
    const auto loudest = std::ranges::max_element(found, {}, &Trigger::snr);
    REQUIRE(loudest != found.end());
    CHECK(loudest->tt == 7);
    CHECK(loudest->ss == -6);
    CHECK(loudest->s2 == at.s2);
    CHECK(std::abs(loudest->snr - 12) < 4);
  }
}

TEST_CASE("directed search with second spindown: E[F] = 2 + d^2 / 2 over the noise") {
  auto o = short_frame(5000);
  make_directed(o);
  const auto settings = quick_settings(Norm::none);
  const auto point = directed_point(*o.directed, o.obliquity, -2);
  for (auto& d : o.detectors)
    d.sigma2 = 1;
  constexpr double d = 8;
  const auto at = make_trigger(o, point, 3, 2000, 2);
  CHECK(at.s2 < 0);
  Injection signal{{at.omega, at.s, at.delta, at.alpha, at.s2}, {1, -0.6, 1.2, 0.4}};
  signal.polarisation.h0 = d / optimal_snr(o, signal);
  std::vector<std::vector<double>> h;
  for (const auto& series : o.detectors)
    h.push_back(signal_series(series, o.band, signal, false));
  const std::size_t k = 2000 - search_bins(o.band, 1, settings).lo;
  const auto F_with_noise = [&](double sigma, std::uint64_t seed) {
    for (std::size_t which = 0; which < h.size(); ++which) {
      auto& x = o.detectors[which].x;
      std::vector<double> noise(o.band.N);
      add_noise(noise, sigma, seed, 4, static_cast<std::uint32_t>(which));
      for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = x[i] == 0 ? 0 : noise[i] + h[which][i];
    }
    FastEngine<double> engine(std::make_shared<EnginePlan<double>>(o, settings, EngineSettings{}));
    engine.set_sky(point);
    return engine.f_statistic(3)[k];
  };
  CHECK(F_with_noise(0, 0) == doctest::Approx(d * d / 2).epsilon(1e-3));
  constexpr int seeds = 400;
  double mean = 0;
  for (std::uint64_t seed = 0; seed < seeds; ++seed)
    mean += F_with_noise(1, seed) / seeds;
  MESSAGE("mean F " << mean << ", expected " << 2 + d * d / 2);
  CHECK(std::abs(mean - 2 - d * d / 2) < 4 * std::sqrt((d * d + 2) / seeds));
}
