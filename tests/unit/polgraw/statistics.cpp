#include <algorithm>
#include <bit>
#include <map>
#include <random>
#include <set>

#include <doctest.h>

#include "coincidences.hpp"
#include "inject.hpp"
#include "prep.hpp"
#include "sensitivity.hpp"
#include "shared_frame.hpp"
#include "veto.hpp"

using namespace fachwerk::polgraw;

TEST_CASE("Poisson-binomial probabilities: binomial for equal ones, exhaustive enumeration for others") {
  std::mt19937 random(2);
  std::uniform_real_distribution<double> uniform(0, 0.4);
  for (int L : {1, 5, 12}) {
    std::vector<double> eps(static_cast<std::size_t>(L));
    for (double& e : eps)
      e = uniform(random);
    std::vector<double> expected(eps.size() + 1);
    for (unsigned subset = 0; subset < 1U << L; ++subset) {
      double p = 1;
      for (int l = 0; l < L; ++l)
        p *= subset >> l & 1 ? eps[static_cast<std::size_t>(l)] : 1 - eps[static_cast<std::size_t>(l)];
      expected[static_cast<std::size_t>(std::popcount(subset))] += p;
    }
    const auto p = poisson_binomial(eps);
    for (std::size_t n = 0; n < p.size(); ++n)
      CHECK(p[n] == doctest::Approx(expected[n]).epsilon(1e-12));
  }
  const auto equal = poisson_binomial(std::vector<double>(4, 0.25));
  CHECK(equal[2] == doctest::Approx(6 * 0.0625 * 0.5625).epsilon(1e-14));
}

TEST_CASE("false-alarm probability: the published sample of 20 frames, and its limits") {
  // 137267823 cells, 8619321 unique triggers in 20 frames, 5-fold: 0.9997341 for exactly five, 0.9997497 for five or
  // more (published counts differ from frame to frame; with equal ones the values move in the fourth digit).
  const std::vector<std::int64_t> unique(20, 8619321 / 20);
  CHECK(false_alarm(137267823, unique, 5, {.truncated = true}).probability == doctest::Approx(0.99973).epsilon(2e-4));
  CHECK(false_alarm(137267823, unique, 5).probability >
        false_alarm(137267823, unique, 5, {.truncated = true}).probability);
  CHECK(false_alarm(1e6, std::vector<std::int64_t>{0, 0, 0}, 2, {.exact_hits = true}).probability == 0);
}

TEST_CASE("coincidences of the sample frames: the stored numbers, shift by shift") {
  const auto frame = shared_frame(true);
  if (!frame) {
    MESSAGE("skipped: no ../shared/data/polgraw");
    return;
  }
  CoincidenceSettings settings;
  settings.snr_cut = 5;
  settings.N = frame->band.N;
  settings.oms = frame->band.oms();
  settings.obliquity = frame->obliquity;
  const auto axes = cell_axes(frame->grid, frame->band.N, false);
  std::vector<Candidates> candidates;
  for (int l : {1, 2, 4, 5}) {
    std::vector<Trigger> triggers;
    for (int pm : {1, 2}) {
      const auto more = legacy::parse_triggers(file_bytes(shared_polgraw() + "triggers/triggers_00" +
                                                          std::to_string(l) + "_0042_" + std::to_string(pm) + ".bin"),
                                               "t");
      triggers.insert(triggers.end(), more.begin(), more.end());
    }
    std::vector<std::size_t> rows(triggers.size());
    for (std::size_t i = 0; i < rows.size(); ++i)
      rows[i] = i;
    const auto more = at_reference(triggers, rows, l, (1 - l) * static_cast<double>(frame->band.N), axes, settings);
    candidates.insert(candidates.end(), more.begin(), more.end());
  }
  const auto check = [&](std::array<int, 4> shift, std::array<std::int64_t, 4> unique, std::size_t groups,
                         std::size_t threes, double best) {
    const auto found = find_coincidences(candidates, shift, 3);
    REQUIRE(found.frames.size() == 4);
    for (std::size_t k = 0; k < 4; ++k)
      CHECK(found.frames[k][2] == unique[k]);
    CHECK(found.coincidences.size() == groups);
    CHECK(static_cast<std::size_t>(std::ranges::count_if(
              found.coincidences, [](const auto& c) { return c.members.size() == 3; })) == threes);
    CHECK(found.coincidences.front().rho_total == doctest::Approx(best).epsilon(1e-7));
    return found;
  };
  const auto whole = check({0, 0, 0, 0}, {2443, 3112, 3576, 4180}, 31, 24, 15.983416);
  const std::array<std::int64_t, 4> in_band{4842, 6190, 4962, 6347};
  for (std::size_t k = 0; k < 4; ++k)
    CHECK(whole.frames[k][1] == in_band[k]);
  CHECK(whole.coincidences.front().omega == doctest::Approx(1.24747100).epsilon(1e-8));
  CHECK(whole.coincidences.front().s == doctest::Approx(-3.07295258e-08).epsilon(1e-8));
  CHECK(whole.coincidences.front().delta == doctest::Approx(2.87631776e-01).epsilon(1e-8));
  CHECK(whole.coincidences.front().alpha == doctest::Approx(2.39803749).epsilon(1e-4));
  check({1, 1, 1, 1}, {2937, 3828, 4135, 5063}, 78, 55, 14.891624);
  check({0, 1, 0, 1}, {2749, 3479, 3879, 4672}, 49, 34, 14.990654);
}

TEST_CASE("coincidences against brute force") {
  std::mt19937 random(9);
  std::uniform_real_distribution<double> uniform(0, 12);
  std::vector<Candidates> candidates(10000);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    candidates[i].frame = static_cast<int>(i % 6);
    candidates[i].row = i;
    candidates[i].snr = 5 + uniform(random);
    for (double& z : candidates[i].z)
      z = uniform(random) - 6;
  }
  const auto found = find_coincidences(candidates, {1, 0, 1, 0}, 3);
  std::map<Cell, std::map<int, std::size_t>> cells;  // loudest of each frame
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const auto& c = candidates[i];
    const Cell cell{static_cast<int>(std::lround(c.z[0] + 0.5)), static_cast<int>(std::lround(c.z[1])),
                    static_cast<int>(std::lround(c.z[2] + 0.5)), static_cast<int>(std::lround(c.z[3]))};
    const auto [place, fresh] = cells[cell].emplace(c.frame, i);
    if (!fresh && c.snr > candidates[place->second].snr) place->second = i;
  }
  std::set<std::set<std::size_t>> expected, got;
  for (const auto& [cell, frames] : cells) {
    if (frames.size() < 3) continue;
    std::set<std::size_t> rows;
    for (const auto& [frame, row] : frames)
      rows.insert(row);
    expected.insert(rows);
  }
  for (const auto& c : found.coincidences) {
    std::set<std::size_t> rows;
    for (const auto& m : c.members)
      rows.insert(m.row);
    got.insert(rows);
  }
  CHECK(expected.size() > 10);
  CHECK(got == expected);
}

TEST_CASE("efficiency: the published least-squares limit; likelihood recovers its own curve") {
  const std::vector<EfficiencyPoint> published = {{0.15, 100, 61}, {0.20, 100, 78}, {0.25, 100, 95}, {0.30, 100, 99}};
  CHECK(fit_least_squares(published).at_efficiency(0.95) == doctest::Approx(2.7026e-01).epsilon(1e-4));
  std::vector<EfficiencyPoint> exact;
  for (double h : {0.05, 0.08, 0.1, 0.12, 0.16})
    exact.push_back({h, 1e6, 1e6 / (1 + std::exp(60 * (0.1 - h)))});
  const auto fit = fit_likelihood(exact);
  CHECK(fit.x0 == doctest::Approx(0.1).epsilon(1e-6));
  CHECK(fit.k == doctest::Approx(60).epsilon(1e-5));
  const auto interval = bootstrap(published, fit_likelihood(published), 0.95, 200, 1);
  CHECK(interval.lo < fit_likelihood(published).at_efficiency(0.95));
  CHECK(interval.hi > fit_likelihood(published).at_efficiency(0.95));
  CHECK_THROWS(fit_likelihood(std::vector<EfficiencyPoint>{{0.1, 10, 10}, {0.2, 10, 10}}));
}

TEST_CASE("veto files: empty fields keep their place, combs, widths") {
  const auto lines = parse_lines(
      "% comment\n60,1,0,1,3,0.1,0.2,mains\n16.5,0,,,,0.05,0.05,single\n10 2 0.5 1 2 0.1 0.1 comb\n", "lines.csv");
  REQUIRE(lines.size() == 3);
  CHECK(lines[1].first == 1);
  const auto intervals = line_intervals(lines, 0, 1000);
  REQUIRE(intervals.size() == 6);
  CHECK(intervals[1].lo == doctest::Approx(119.9));
  CHECK(intervals[1].hi == doctest::Approx(120.2));
  CHECK(intervals[3].lo == doctest::Approx(16.45));
  CHECK(intervals[5].lo == doctest::Approx(20.3));  // the second harmonic is twice as wide
  CHECK_THROWS(parse_lines("60,1,zero,1,3,0.1,0.2\n", "bad.csv"));
  CHECK_THROWS(parse_lines("60,1\n", "short.csv"));
}

TEST_CASE("Grubbs' critical values of the tables, and outliers removed") {
  // Two-sided, alpha 0.05: G = 2.290 (n = 10), 2.709 (n = 20), 3.128 (n = 50).
  CHECK(grubbs_critical(10, 0.05) == doctest::Approx(2.290).epsilon(1e-3));
  CHECK(grubbs_critical(20, 0.05) == doctest::Approx(2.709).epsilon(1e-3));
  CHECK(grubbs_critical(50, 0.05) == doctest::Approx(3.128).epsilon(1e-3));
  std::vector<double> x(5000);
  add_noise(x, 1, 4, 1, 0);
  x[100] = 30;
  x[2000] = -25;
  CHECK(replace_grubbs(x, 0.01, 32768, Replacement::zero, 1) == 2);
  CHECK(x[100] == 0);
  CHECK(x[2000] == 0);
}

TEST_CASE("a sinusoid through short transforms comes back with its frequency, amplitude and phase") {
  const double rate = 64, f = 20.3, start = 1000000000, seconds = 7200;
  std::vector<double> strain(static_cast<std::size_t>(seconds * rate));
  for (std::size_t i = 0; i < strain.size(); ++i)
    strain[i] = 3 * std::cos(2 * pi * f * static_cast<double>(i) / rate + 0.4);
  const double fpo = 20.171875, dt = 2;
  const auto transforms = transforms_from_series(strain, rate, start, 1024, fpo, 0.25);
  CHECK(transforms.size() == 13);
  const std::size_t N = 3000;
  const auto x = band_from_transforms(transforms, fpo, dt, start, N);
  const double omega = 2 * pi * (f - fpo) * dt;
  double worst = 0;
  for (std::size_t i = 600; i < 2900; ++i)
    worst = std::max(worst, std::abs(x[i] - 3 * std::cos(omega * static_cast<double>(i) + 0.4)));
  CHECK(worst < 0.05);
  const auto found = find_lines(std::span(x).subspan(600, 2048), make_band(fpo, dt, 2048), 0.01, 4, 4096, 3);
  REQUIRE(found.size() >= 1);
  CHECK(found[0].frequency == doctest::Approx(f).epsilon(1e-6));
  CHECK(found[0].amplitude == doctest::Approx(3).epsilon(1e-2));
}

TEST_CASE("SFT files: round trip of both byte orders, and what is refused") {
  const auto make = [](bool swap, double version, int count) {
    std::string bytes;
    const auto put = [&](auto value) {
      std::string raw(reinterpret_cast<const char*>(&value), sizeof value);
      if (swap) std::ranges::reverse(raw);
      bytes += raw;
    };
    put(version);
    put(std::int32_t{1000000000});
    put(std::int32_t{500000000});
    put(1800.0);
    put(std::int32_t{36000});
    put(std::int32_t{count});
    put(std::uint64_t{0});
    bytes += "H1";
    bytes += std::string(2, '\0');
    put(std::int32_t{0});
    for (int k = 0; k < 4; ++k)
      put(1.0F + static_cast<float>(k)), put(-2.0F);
    return bytes;
  };
  const auto parse = [](const std::string& bytes) { return parse_sft(std::as_bytes(std::span(bytes)), "x.sft"); };
  for (bool swap : {false, true})
    for (double version : {2.0, 3.0}) {
      const auto t = parse(make(swap, version, 4) + make(swap, version, 4));
      REQUIRE(t.size() == 2);
      CHECK(t[1].gps == 1000000000.5);
      CHECK(t[1].first_bin == 36000);
      CHECK(t[1].bins[3] == std::complex<double>(4, -2));
    }
  CHECK_THROWS(parse(make(false, 2, 5)));
  CHECK_THROWS(parse(make(false, 1, 4)));
  CHECK_THROWS(parse("short"));
}

TEST_CASE("legacy grid and triggers: byte-exact round trip") {
  const auto frame = shared_frame(true);
  if (!frame) {
    MESSAGE("skipped: no ../shared/data/polgraw");
    return;
  }
  CHECK(legacy::format_grid(frame->grid) == file_bytes(shared_polgraw() + "001/grid.bin"));
  const auto bytes = file_bytes(shared_polgraw() + "triggers/triggers_001_0042_1.bin");
  CHECK(legacy::format_triggers(legacy::parse_triggers(bytes, "t")) == bytes);
  CHECK_THROWS(legacy::parse_triggers(bytes.substr(1), "t"));
  CHECK_THROWS(legacy::parse_grid(bytes, "g"));
  CHECK(legacy::format_det_ssb(frame->detectors[0].ephemeris) == file_bytes(shared_polgraw() + "001/H1/DetSSB.bin"));
}
