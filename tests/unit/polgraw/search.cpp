#include "search.hpp"

#include <algorithm>

#include <doctest.h>

#include "device_engine.hpp"
#include "direct.hpp"
#include "engine.hpp"
#include "ephemeris.hpp"
#include "farm.hpp"
#include "inject.hpp"
#include "lattice.hpp"
#include "shared_frame.hpp"
#include "short_frame.hpp"

using namespace fachwerk::polgraw;

TEST_CASE("frame lengths and searched bins are those of the published runs") {
  CHECK(frame_length(2, 2) == 86164);
  CHECK(frame_length(6, 2) == 258492);
  CHECK(frame_length(2, 0.5) == 344656);
  const auto band = make_band(band_edge(42, 2), 2, 86164);
  CHECK(band.fpo == 20.171875);
  CHECK(band.nfft == 131072);
  const auto bins = search_bins(band, 1, {});
  CHECK(bins.lo == 1024);
  CHECK(bins.hi == 64512);
}

TEST_CASE(
    "the last block of normalisation takes a short remainder, keeps a long one, or drops it as the original does") {
  CHECK(normalisation_blocks(63488, 4096, true).size() == 15);
  CHECK(normalisation_blocks(63488, 4096, false).back() == 2048);
  CHECK(normalisation_blocks(4096 + 2047, 4096, false) == std::vector<std::size_t>{6143});
  CHECK(normalisation_blocks(100, 4096, false) == std::vector<std::size_t>{100});
}

TEST_CASE("peaks: one a run, the last among equals; strict local maxima; sparse and dense agree") {
  const std::vector<double> F = {1, 5, 7, 7, 6, 2, 9, 1, 3, 8, 5, 8.5};
  const auto run = find_peaks(F, 4, Peaks::run);
  REQUIRE(run.size() == 3);
  CHECK(run[0].bin == 3);
  CHECK(run[1].bin == 6);
  CHECK(run[2].bin == 11);
  std::vector<Candidate> sparse;
  for (std::size_t i = 0; i < F.size(); ++i)
    if (F[i] > 4) sparse.push_back({i, F[i]});
  for (auto peaks : {Peaks::run, Peaks::local}) {
    const auto a = find_peaks(F, 4, peaks), b = choose_peaks(sparse, peaks);
    REQUIRE(a.size() == b.size());
    REQUIRE(a.size() == 3);
    for (std::size_t i = 0; i < a.size(); ++i)
      CHECK(a[i].bin == b[i].bin);
  }
}

TEST_CASE("compatible search: some sky points of the stored triggers, one by one") {
  const auto maybe = shared_frame(true);
  if (!maybe) {
    MESSAGE("skipped: no ../shared/data/polgraw");
    return;
  }
  const Observation& frame = *maybe;
  const auto prior = o1_prior(frame.band);
  const auto range = covering_range(frame.grid, frame.band, -prior.s_max, 0);
  CHECK(range.spindown == Range{-115, 5});
  CHECK(range.nn == Range{-7, 7});
  CHECK(range.mm == Range{-5, 5});
  auto settings = compatible(false);
  settings.threshold = 14.5;
  settings.planner = fachwerk::compute::fft::Planner::estimate;
  PlainEngine engine(frame, settings);
  for (int hemisphere : {1, 2}) {
    const auto expected = legacy::parse_triggers(
        file_bytes(shared_polgraw() + "triggers/triggers_001_0042_" + std::to_string(hemisphere) + ".bin"), "triggers");
    std::vector<Trigger> found;
    int points = 0;
    for (int mm = range.mm.lo; mm <= range.mm.hi && points < 2; ++mm)
      for (int nn = range.nn.lo; nn <= range.nn.hi && points < 2; ++nn)
        if (const auto point = sky_point(frame.grid, frame.band, frame.obliquity, Hemisphere(hemisphere), nn, mm)) {
          ++points;
          search_sky_point(engine, frame, settings, *point, spindown_range(frame.grid, prior, nn, mm), {}, found);
        }
    REQUIRE(found.size() > 50);
    REQUIRE(found.size() < expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      CHECK(std::abs(found[i].omega - expected[i].omega) < 1e-12);
      CHECK(std::abs(found[i].s - expected[i].s) < 1e-20);
      CHECK(std::abs(found[i].delta - expected[i].delta) < 1e-12);
      CHECK(std::abs(found[i].alpha - expected[i].alpha) < 1e-12);
      CHECK(std::abs(found[i].snr - expected[i].snr) < 1e-6);
    }
    CHECK(expected[found.size()].alpha != found.back().alpha);  // no trigger of these points is missing
  }
}

TEST_CASE("transform forms against the direct sum at grid points, with gaps") {
  const auto maybe = shared_frame(false);
  if (!maybe) {
    MESSAGE("skipped: no ../shared/data/polgraw");
    return;
  }
  const Observation& frame = *maybe;
  SearchSettings settings;
  settings.norm = Norm::none;
  settings.planner = fachwerk::compute::fft::Planner::estimate;
  const auto point = *sky_point(frame.grid, frame.band, frame.obliquity, Hemisphere::north, 2, 1);
  const int ss = -40;
  const auto bins = search_bins(frame.band, 1, settings);
  const DirectStatistic direct(frame);
  std::vector<std::size_t> at;
  for (std::size_t i = 0; i < 80; ++i)
    at.push_back(i * 793 + (i * 37) % 97);
  std::vector<double> exact;
  for (std::size_t k : at) {
    const auto t = make_trigger(frame, point, ss, static_cast<double>(bins.lo + k), 2);
    exact.push_back(direct.F({t.omega, t.s, t.delta, t.alpha}));
  }
  const auto rms = [&](const std::vector<double>& F) {
    double sum = 0;
    for (std::size_t i = 0; i < at.size(); ++i)
      sum += (F[at[i]] - exact[i]) * (F[at[i]] - exact[i]);
    return std::sqrt(sum / static_cast<double>(at.size()));
  };
  const auto fast = [&](auto real, EngineSettings engine_settings) {
    FastEngine<decltype(real)> engine(std::make_shared<EnginePlan<decltype(real)>>(frame, settings, engine_settings));
    engine.set_sky(point);
    return engine.f_statistic(ss);
  };
  settings.interpolation_pad = 4;
  PlainEngine plain(frame, settings);
  plain.set_sky(point);
  const double plain_error = rms(plain.f_statistic(ss)), full = rms(fast(0.0, {.half_rate = false})),
               half = rms(fast(0.0, {})), mixed = rms(fast(0.0F, {}));
  MESSAGE("rms dF: plain, interpolation 4: " << plain_error << ", fast full rate: " << full << ", half rate: " << half
                                             << ", mixed: " << mixed);
  CHECK(plain_error < 0.005);
  CHECK(full < 0.003);
  CHECK(half < 0.005);
  CHECK(mixed < 0.005);
  // Half rate against full rate, single against double, over all bins.
  const auto a = fast(0.0, {.half_rate = false}), b = fast(0.0, {}), c = fast(0.0F, {});
  double half_max = 0, half_rms = 0, float_max = 0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    half_max = std::max(half_max, std::abs(a[k] - b[k]));
    half_rms += (a[k] - b[k]) * (a[k] - b[k]);
    if (b[k] > 0.1) float_max = std::max(float_max, std::abs(c[k] - b[k]) / b[k]);
  }
  MESSAGE("half against full rate: max dF " << half_max << ", rms "
                                            << std::sqrt(half_rms / static_cast<double>(a.size()))
                                            << "; float against double: max dF/F " << float_max);
  CHECK(half_max < 0.02);
  CHECK(float_max < 1e-4);
}

TEST_CASE("half rate is left where the frequency drifts across the band's edge") {
  auto o = short_frame();
  o.grid = make_grid(o, {.c0 = 0.75}).grid;
  FarmSettings farm;
  farm.search = quick_settings(Norm::none);
  const auto point = *sky_point(o.grid, o.band, o.obliquity, Hemisphere::north, 0, 0);
  const auto per_number = std::abs(2 * o.grid.M[5] * static_cast<double>(o.band.N));  // rad/sample, over the frame
  const double guard = 2 * pi * 1024 / static_cast<double>(o.band.nfft);
  int halves = 0;
  for (const double drift : {-1.3, -0.9, -0.55, -0.3, 0.0, 0.55, 1.3}) {
    const int ss = static_cast<int>(std::lround(drift * guard / per_number));
    const Task task{0, point.hemisphere, 0, 0, {ss, ss}, 0};
    const auto chosen = engine_settings(o, {&task, 1}, farm);
    CHECK(chosen.half_rate == (std::abs(drift) < 0.6));
    const auto F = [&](EngineSettings form) {
      FastEngine<double> engine(std::make_shared<EnginePlan<double>>(o, farm.search, form));
      engine.set_sky(point);
      return engine.f_statistic(ss);
    };
    const auto full = F({.half_rate = false}), half = F({});
    double worst = 0;
    for (std::size_t k = 0; k < full.size(); ++k)
      worst = std::max(worst, std::abs(full[k] - half[k]));
    MESSAGE("drift of " << drift << " times the guard: largest difference " << worst);
    if (chosen.half_rate) CHECK(worst < 0.02);
    if (std::abs(drift) > 1) CHECK(worst > 0.1);
    halves += chosen.half_rate ? 1 : 0;
  }
  CHECK(halves == 4);
  farm.engine.half_rate = false;
  CHECK(!engine_settings(o, {}, farm).half_rate);
}

TEST_CASE("stepping through spindowns gives what exact phases give") {
  const auto maybe = shared_frame(false);
  if (!maybe) {
    MESSAGE("skipped: no ../shared/data/polgraw");
    return;
  }
  const Observation& frame = *maybe;
  SearchSettings settings;
  settings.planner = fachwerk::compute::fft::Planner::estimate;
  const auto point = *sky_point(frame.grid, frame.band, frame.obliquity, Hemisphere::south, -1, 1);
  auto plan = std::make_shared<EnginePlan<double>>(frame, settings, EngineSettings{});
  FastEngine<double> stepping(plan), jumping(plan);
  stepping.set_sky(point);
  for (int ss = -20; ss < 12; ++ss) {
    const auto a = stepping.f_statistic(ss);
    if (ss % 5 != 0) continue;
    jumping.set_sky(point);
    const auto b = jumping.f_statistic(ss);
    double worst = 0;
    for (std::size_t k = 0; k < a.size(); ++k)
      worst = std::max(worst, std::abs(a[k] - b[k]));
    CHECK(worst < 1e-6);
  }
}

TEST_CASE("the device's form finds what the fast form finds, in batches of any size") {
  auto o = short_frame();
  for (int fftpad : {1, 2}) {
    o.grid = make_grid(o, {.c0 = 0.75, .fftpad = fftpad}).grid;
    for (auto norm : {Norm::block, Norm::none}) {
      SearchSettings settings;
      settings.threshold = 7;
      settings.norm = norm;
      settings.planner = fachwerk::compute::fft::Planner::estimate;
      const auto plan = std::make_shared<EnginePlan<double>>(o, settings, EngineSettings{});
      FastEngine<double> fast(plan);
      DeviceEngine<double> device(plan, fachwerk::compute::Device::cpu(), 5);
      const auto single = std::make_shared<EnginePlan<float>>(o, settings, EngineSettings{});
      DeviceEngine<float> mixed(single, fachwerk::compute::Device::cpu(), 5);
      for (const auto hemisphere : {Hemisphere::north, Hemisphere::south}) {
        const auto point = *sky_point(o.grid, o.band, o.obliquity, hemisphere, 0, 0);
        std::vector<Trigger> expected, found, approximate;
        const Range spindowns{-8, 4};  // two batches and a part
        search_sky_point(fast, o, settings, point, spindowns, {}, expected);
        search_sky_point(device, o, settings, point, spindowns, {}, found);
        search_sky_point(mixed, o, settings, point, spindowns, {}, approximate);
        REQUIRE(expected.size() > 20);
        REQUIRE(found.size() == expected.size());
        for (std::size_t i = 0; i < found.size(); ++i) {
          CHECK(found[i].ss == expected[i].ss);
          CHECK(found[i].bin == expected[i].bin);
          CHECK(found[i].snr == doctest::Approx(expected[i].snr).epsilon(1e-9));
        }
        CHECK(std::abs(static_cast<double>(approximate.size()) - static_cast<double>(expected.size())) <= 2);
      }
    }
  }
}

TEST_CASE("Shapiro delay: the limb of the Sun, a quarter of the sky, and the search's forms against the direct sum") {
  constexpr double au = astronomical_unit / speed_of_light;  // s
  const Vector3 earth{au / 2, 0, 0}, sun{0, 0, 0};
  // dt = 2: behind the Sun's limb 2 G M / c^3 ln(2 r^2 / R^2), at right angles nothing, opposite -2 G M / c^3 ln 2.
  CHECK(2 * shapiro_delay(earth, sun, {-1, 0, 0}, 2) ==
        doctest::Approx(9.8509819e-6 * std::log(2 * au * au / (2.3206 * 2.3206))));
  CHECK(std::abs(shapiro_delay(earth, sun, {0, 1, 0}, 2)) < 1e-18);
  CHECK(2 * shapiro_delay(earth, sun, {1, 0, 0}, 2) == doctest::Approx(-9.8509819e-6 * std::log(2)));
  auto o = short_frame();
  o.grid = make_grid(o, {.c0 = 0.75}).grid;
  const auto settings = quick_settings(Norm::none);
  const auto point = *sky_point(o.grid, o.band, o.obliquity, Hemisphere::north, 0, 0);
  const auto bins = search_bins(o.band, o.grid.fftpad, settings);
  const std::vector<std::size_t> at{100, 3333, 9000, 12345};
  const auto fast = [&] {
    FastEngine<double> engine(std::make_shared<EnginePlan<double>>(o, settings, EngineSettings{}));
    engine.set_sky(point);
    return engine.f_statistic(-3);
  };
  const auto plain = [&] {
    PlainEngine engine(o, settings);
    engine.set_sky(point);
    return engine.f_statistic(-3);
  };
  const auto direct = [&] {
    std::vector<double> F(16384);
    for (std::size_t k : at) {
      const auto t = make_trigger(o, point, -3, static_cast<double>(bins.lo + k), 2);
      F[k] = DirectStatistic(o).F({t.omega, t.s, t.delta, t.alpha});
    }
    return F;
  };
  const auto fast_without = fast(), plain_without = plain(), direct_without = direct();
  for (auto& series : o.detectors)  // nearby, so that the delay changes within the frame
    for (std::size_t i = 0; i < o.band.N; ++i) {
      const auto& r = series.ephemeris.position[i];
      series.ephemeris.sun.push_back({r[0] + 1e-3 * static_cast<double>(i), r[1] + 4, r[2] - 3});
    }
  const auto fast_with = fast(), plain_with = plain(), direct_with = direct();
  for (std::size_t k : at) {
    const double change = direct_with[k] - direct_without[k];
    CHECK(std::abs(change) > 1e-6);
    CHECK(fast_with[k] - fast_without[k] == doctest::Approx(change).epsilon(0.1));
    CHECK(plain_with[k] - plain_without[k] == doctest::Approx(change).epsilon(0.1));
  }
}

TEST_CASE("line-robust statistic: a signal's odds grow with F, a line's do not") {
  const std::vector<double> equal{20, 22}, one{40, 2}, quiet{1, 3};
  CHECK(line_robust(40, equal, 14) > 16);
  CHECK(line_robust(40, one, 14) < 2);
  CHECK(line_robust(30, quiet, 14) == doctest::Approx(30 - 14 + std::log(2)).epsilon(1e-3));
  CHECK(std::isfinite(line_robust(1e5, std::vector<double>{5e4, 6e4}, 14)));
}
