#include <algorithm>

#include <doctest.h>

#include "engine.hpp"
#include "farm.hpp"
#include "lattice.hpp"
#include "refine.hpp"
#include "short_frame.hpp"

using namespace fachwerk::polgraw;

namespace {

/// A grid of one sky position with second spindown.
void make_directed(Observation& o) {
  const double n = static_cast<double>(o.band.N), step = 2 * pi / static_cast<double>(o.band.nfft);
  o.grid = {};
  o.grid.M = {step, 0, 0, 0, 0.3 * step, 8 / (n * n), 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
  o.grid.second = SecondAxis{{-0.4 * step, 9 / (n * n), 40 / (n * n * n)}};
  o.directed = make_sky(1.1, -0.4);
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
  const auto point = directed_point(o.grid, *o.directed, o.obliquity, 7);
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
  const auto point = directed_point(o.grid, *o.directed, o.obliquity, -2);
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

namespace {

/// The data becomes a signal alone, so that F is what is left of its power.
void put_signal(Observation& o, Injection& signal, double d) {
  for (auto& series : o.detectors)
    series.sigma2 = 1;
  signal.polarisation.h0 = 1;
  signal.polarisation.h0 = d / optimal_snr(o, signal);
  for (auto& series : o.detectors) {
    const auto h = signal_series(series, o.band, signal, false);
    for (std::size_t i = 0; i < o.band.N; ++i)
      if (series.x[i] != 0) series.x[i] = h[i];
  }
}

}  // namespace

TEST_CASE("all-sky grid with second spindown: F at its points by every form and by the direct sum") {
  auto o = short_frame();
  o.grid = make_grid_of_two_spindowns(o, {});
  const auto n = static_cast<double>(o.band.N);
  const auto settings = quick_settings(Norm::none);
  Selection selection;
  selection.prior = {60 / (n * n), 40 / (n * n)};
  selection.s2_min = -300 / (n * n * n);
  selection.s2_max = 300 / (n * n * n);
  const auto tasks = make_tasks(o, selection, 0);
  // Every number of the lattice is what it says: the point is the sum of the lattice's vectors.
  const auto& axis = *o.grid.second;
  FastEngine<double> fast(std::make_shared<EnginePlan<double>>(o, settings, EngineSettings{}));
  PlainEngine plain(o, settings);
  std::size_t looked_at = 0;
  for (std::size_t which = 0; which < tasks.size(); which += std::max<std::size_t>(1, tasks.size() / 5)) {
    const auto& task = tasks[which];
    const auto point = task_point(o, task);
    const int ss = task.spindowns.hi;
    const auto t = make_trigger(o, point, ss, 5000, 2);
    CHECK(t.s2 == doctest::Approx(task.tt * axis.row[2] + task.nn * axis.nn + task.mm * axis.mm).epsilon(1e-14));
    CHECK(t.s ==
          doctest::Approx(ss * o.grid.M[5] + task.tt * axis.row[1] + task.nn * o.grid.M[9] + task.mm * o.grid.M[13])
              .epsilon(1e-14));
    const double omega =
        5000 * o.grid.M[0] + ss * o.grid.M[4] + task.tt * axis.row[0] + task.nn * o.grid.M[8] + task.mm * o.grid.M[12];
    const double turns = (t.omega - omega) / o.grid.M[0];
    CHECK(turns == doctest::Approx(std::round(turns)).epsilon(1e-9));
    fast.set_sky(point);
    plain.set_sky(point);
    CHECK(worst_error(fast, o, settings, point, ss) < 0.02);
    CHECK(worst_error(plain, o, settings, point, ss) < 0.2);
    ++looked_at;
  }
  CHECK(looked_at >= 5);
  CHECK(std::ranges::max(tasks, {}, &Task::tt).tt > std::ranges::min(tasks, {}, &Task::tt).tt + 2);
}

TEST_CASE("all-sky search with second spindown: injected signals are found within the grid's covering radius") {
  auto empty = short_frame();
  empty.band = make_band(140.171875, 2, empty.band.N);  // the sky holds many points there
  const auto n = static_cast<double>(empty.band.N);
  auto grid_of = empty;
  grid_of.grid = make_grid_of_two_spindowns(empty, {});
  FarmSettings farm;
  farm.search = quick_settings(Norm::none);
  farm.search.threshold = 40;
  farm.precision = Precision::double_precision;
  constexpr double d = 12;
  const auto uniform = [](int k, double lo, double hi) {
    return lo + (hi - lo) * std::fmod(k * 0.618033988749895, 1.0);
  };
  int signals = 0;
  for (int k = 1; k <= 6; ++k) {
    auto o = grid_of;
    Injection signal{{uniform(k, 0.5, 2.6), uniform(2 * k, -50, 30) / (n * n), std::asin(uniform(3 * k, -0.95, 0.95)),
                      uniform(5 * k, 0, 6.28), (k % 2 == 0 ? 1 : -1) * uniform(7 * k, 120, 280) / (n * n * n)},
                     {1, uniform(k, -0.9, 0.9), uniform(4 * k, 0, 6.28), uniform(6 * k, 0, 6.28)}};
    // At the rim of the ecliptic disc the nearest lattice point may be of no direction.
    const auto ecliptic = to_ecliptic(make_sky(signal.point.alpha, signal.point.delta), o.obliquity);
    if (std::hypot(ecliptic.be1, ecliptic.be2) > 0.9) continue;
    ++signals;
    put_signal(o, signal, d);
    const DirectStatistic direct(o);
    CHECK(direct.F(signal.point) == doctest::Approx(d * d / 2).epsilon(1e-3));
    Selection selection;  // next to the signal
    selection.cones = {{make_sky(signal.point.alpha, signal.point.delta), 0.3}};
    selection.prior = {30 / (n * n) - signal.point.s, 30 / (n * n) + signal.point.s};
    selection.s2_min = signal.point.s2 - 30 / (n * n * n);
    selection.s2_max = signal.point.s2 + 30 / (n * n * n);
    const auto tasks = make_tasks(o, selection, 0);

    for (const bool batched : {false, true}) {
      farm.batched = batched;
      const auto found = search_frame({o, {}}, tasks, farm);
      const auto loudest = std::ranges::max_element(found, {}, &Trigger::snr);
      REQUIRE(loudest != found.end());
      const double F = 2 + loudest->snr * loudest->snr / 2;
      MESSAGE("signal " << k << ": F " << F << " of " << d * d / 2 << ", distance "
                        << grid_distance(o, signal_point(*loudest), signal.point));
      CHECK(F > 0.75 * d * d / 2);
      const auto summit = refine(o, signal_point(*loudest));
      CHECK(summit.F == doctest::Approx(d * d / 2).epsilon(5e-3));
      CHECK(grid_distance(o, summit.point, signal.point) < 0.05);
    }
    // Without the axis most of it is lost.
    auto flat = o;
    flat.grid = make_grid(o, {}).grid;
    farm.batched = false;
    farm.search.threshold = 5;
    const auto lost = search_frame({flat, {}}, make_tasks(flat, selection, 0), farm);
    farm.search.threshold = 40;
    const auto best = std::ranges::max_element(lost, {}, &Trigger::snr);
    CHECK((best == lost.end() || 2 + best->snr * best->snr / 2 < d * d / 4));
  }
  CHECK(signals >= 4);
}
