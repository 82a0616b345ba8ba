#include <algorithm>
#include <bit>
#include <optional>
#include <random>
#include <set>

#include <doctest.h>

#include "cell_sort.hpp"
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

TEST_CASE("false-alarm probability with unequal counts against exhaustive enumeration of the frames that are hit") {
  std::mt19937 random(4);
  std::uniform_int_distribution<std::int64_t> counts(500, 4000);
  const double cells = 2e5;
  for (std::size_t L : {3U, 8U, 12U}) {
    std::vector<std::int64_t> unique(L);
    for (auto& k : unique)
      k = counts(random);
    const auto chance = [&](double factor, unsigned least) {  // of a cell `factor` times as small
      double sum = 0;
      for (unsigned subset = 0; subset < 1U << L; ++subset) {
        if (static_cast<unsigned>(std::popcount(subset)) < least) continue;
        double p = 1;
        for (std::size_t l = 0; l < L; ++l) {
          const double eps = static_cast<double>(unique[l]) / (factor * cells);
          p *= subset >> l & 1 ? eps : 1 - eps;
        }
        sum += p;
      }
      return sum;
    };
    for (unsigned n : {2U, 3U}) {
      const double c1 = chance(1, n), c2 = chance(2, n), c4 = chance(4, n), c8 = chance(8, n), c16 = chance(16, n);
      const double p = 16 * c1 - 4 * c2 - 12 * c4 - 12 * c8 - 4 * c16;
      const double expected = -std::expm1(cells * std::log1p(-p));
      CHECK(false_alarm(cells, unique, static_cast<int>(n)).probability == doctest::Approx(expected).epsilon(1e-12));
    }
  }
}

TEST_CASE("false-alarm probability: the two published figures, as far as their inputs are") {
  // Eight frames of band 1234 and twenty of band 6666, both with dt = 2, two days, -1e-8..1e-9 Hz/s, cells of four grid
  // steps. The second's number of cells is known; the first's follows, since nothing but the band differs.
  const Band low = make_band(band_edge(1234, 2), 2, 86164), high = make_band(band_edge(6666, 2), 2, 86164);
  Matrix4 fisher{};
  for (std::size_t k = 0; k < 4; ++k)
    fisher[5 * k] = 1;
  const auto cells = [&](const Band& band) {  // any metric: it drops out of the ratio
    return cell_count(fisher, band, 0, 1e-9, 1e-8, {1e-3, 1e-3, 1e-3, 1e-3});
  };
  const std::vector<std::int64_t> eight{1987, 2419, 2193, 2137, 2363, 2172, 2220, 2191};
  CHECK(false_alarm(137267823 * cells(low) / cells(high), eight, 5).probability ==
        doctest::Approx(7.665713e-08).epsilon(5e-4));
  // The figure was printed as 1 - (1 - p)^N in double precision, where 1 - p has steps of 2^-53. Its p, some 1.5e-14,
  // is 139 of them, and no other number of steps fits: p falls with N^5, so that the N of 138 or 140 steps would give
  // 134 or 144. All its digits are those of 139 steps and N = 4967382, of the grid of another frame than the second
  // figure's.
  const double ulp = 0x1p-53;
  const auto steps_of = [&](double N) { return false_alarm(N, eight, 5).probability / N / ulp; };
  const double N = std::round(7.665713e-08 / (139 * ulp));
  CHECK(N == 4967382);
  CHECK(std::nearbyint(steps_of(N)) == 139);
  CHECK(std::abs(1 - std::pow(1 - 139 * ulp, N) - 7.665713e-08) < 5e-15);
  for (const int other : {138, 140})
    CHECK(std::abs(steps_of(7.665713e-08 / (other * ulp)) - other) > 3);
  CHECK(137267823 * cells(low) / cells(high) == doctest::Approx(N).epsilon(5e-4));
  // Of the twenty frames the sum of the counts alone is known. Whatever their spread, the one that gives the figure of
  // exactly five frames must give that of five or more.
  for (const bool two_kinds : {false, true}) {
    const auto counts = [&](double spread) {
      std::vector<std::int64_t> unique;
      for (int l = 0; l < 20; ++l) {
        const double away = two_kinds ? (l < 10 ? -1.0 : 1.0) : l / 9.5 - 1;
        unique.push_back(std::llround(8619321 / 20.0 * (1 + spread * away)));
      }
      return unique;
    };
    double lo = 0, hi = 0.99;
    for (int step = 0; step < 50; ++step) {
      const double spread = (lo + hi) / 2;
      (false_alarm(137267823, counts(spread), 5, {.truncated = true}).probability > 0.9997341383 ? lo : hi) = spread;
    }
    CHECK(std::abs(false_alarm(137267823, counts(lo), 5, {.truncated = true}).probability - 0.9997341383) <
          5e-8);  // counts are whole
    CHECK(std::abs(false_alarm(137267823, counts(lo), 5).probability - 0.9997496532) < 2e-7);
  }
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
  const auto check_best = [&](const ShiftResult& found, double omega, double s, double delta, double alpha) {
    const auto& best = found.coincidences.front();
    CHECK(best.members.size() == 4);
    CHECK(best.omega == doctest::Approx(omega).epsilon(1e-8));
    CHECK(best.s == doctest::Approx(s).epsilon(1e-8));
    CHECK(best.delta == doctest::Approx(delta).epsilon(1e-8));
    double linear = 0;  // the original's mean; ours is circular
    for (const auto& m : best.members)
      linear += std::ranges::find_if(candidates, [&](const auto& c) { return c.frame == m.frame && c.row == m.row; })
                    ->trigger.alpha /
                4;
    CHECK(linear == doctest::Approx(alpha).epsilon(1e-8));
    CHECK(best.alpha == doctest::Approx(alpha).epsilon(1e-3));
  };
  check_best(whole, 1.24747100, -3.07295258e-08, 2.87631776e-01, 2.39803749);
  check_best(check({1, 1, 1, 1}, {2937, 3828, 4135, 5063}, 78, 55, 14.891624), 1.25071970, -3.03850081e-08,
             2.72548669e-02, 2.45255526);
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
  for (const std::array<int, 4>& shift : {std::array{1, 0, 1, 0}, std::array{1, 1, 1, 1}}) {
    const auto found = find_coincidences(candidates, shift, 3);
    // Every pair of triggers is compared: no sorting, no cell numbers as keys.
    const auto cell_of = [&](const Candidates& c) {
      Cell cell;
      for (std::size_t j = 0; j < 4; ++j)
        cell[j] = static_cast<std::int32_t>(std::lround(c.z[j] + 0.5 * shift[j]));
      return cell;
    };
    std::vector<Cell> places;
    for (const auto& c : candidates)
      places.push_back(cell_of(c));
    std::set<std::set<std::size_t>> expected, got;
    std::int64_t unique = 0, counted = 0;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      std::array<std::optional<std::size_t>, 6> loudest;
      bool first = true, first_of_frame = true;
      for (std::size_t k = 0; k < candidates.size() && first; ++k) {
        if (places[k] != places[i]) continue;
        if (k < i) first = false;
        auto& best = loudest[static_cast<std::size_t>(candidates[k].frame)];
        if (!best || candidates[k].snr > candidates[*best].snr) best = k;
      }
      for (std::size_t k = 0; k < i && first_of_frame; ++k)
        first_of_frame = places[k] != places[i] || candidates[k].frame != candidates[i].frame;
      unique += first_of_frame ? 1 : 0;
      if (!first) continue;
      std::set<std::size_t> rows;
      for (const auto& best : loudest)
        if (best) rows.insert(*best);
      if (rows.size() >= 3) expected.insert(rows);
    }
    for (const auto& c : found.coincidences) {
      std::set<std::size_t> rows;
      for (const auto& m : c.members)
        rows.insert(m.row);
      got.insert(rows);
      CHECK(c.cell == places[c.members.front().row]);
    }
    for (const auto& f : found.frames)
      counted += f[2];
    CHECK(expected.size() > 10);
    CHECK(got == expected);
    CHECK(counted == unique);
  }
}

TEST_CASE("the radix sort is a stable sort by the whole key") {
  std::mt19937_64 random(3);
  std::vector<PackedCell> cells(5000);
  for (std::uint32_t i = 0; i < 5000; ++i)
    cells[i] = {random() & 0xf000000000000fffULL, random() & 0xc00000000000000fULL, i};
  auto expected = cells;
  std::ranges::stable_sort(expected, [](const PackedCell& a, const PackedCell& b) { return (a <=> b) < 0; });
  radix_sort(cells, 128);
  CHECK(std::ranges::equal(cells, expected, [](const auto& a, const auto& b) { return a.index == b.index; }));
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

TEST_CASE("noise of a known detector does not depend on the others; a signal that cannot stay in the band is refused") {
  Observation both, alone;
  both.detectors.resize(3);
  both.detectors[0].site = *find_site("H1");
  both.detectors[1].site = *find_site("L1");
  both.detectors[2].site.name = "OWN";
  alone.detectors.push_back(both.detectors[1]);
  CHECK(stream_of(alone, 0) == stream_of(both, 1));
  CHECK(stream_of(both, 0) == 0);  // as ever
  CHECK(stream_of(both, 1) == 1);
  CHECK(stream_of(both, 2) > known_sites().size());
  const auto band = make_band(20.171875, 2, 86164);
  CHECK_THROWS(draw_signal(band, {-1.2e-7, -1.1e-7, 10000}, 1, 0));
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
  const auto found =
      find_lines(std::span(x).subspan(600, 2048), make_band(fpo, dt, 2048), {.alpha = 0.01, .pad = 4, .most = 3});
  REQUIRE(found.size() >= 1);
  CHECK(found[0].frequency == doctest::Approx(f).epsilon(1e-6));
  CHECK(found[0].amplitude == doctest::Approx(3).epsilon(1e-2));
  CHECK(std::abs(std::remainder(found[0].phase - (0.4 + 600 * omega), 2 * pi)) < 0.02);
  // Bins at the band's edges are left out.
  const auto band = make_band(fpo, dt, 2048);
  const auto away = static_cast<std::size_t>((f - fpo) / band.width() * 4 * 2048 / 2) + 20;
  for (const auto& line : find_lines(std::span(x).subspan(600, 2048), band, {.pad = 4, .exclude = away, .most = 3}))
    CHECK(line.frequency > f);
}

TEST_CASE("segments: the Tukey taper, edges behind large outliers, gaps") {
  std::vector<double> x(1000, 1.0);
  apply_segments(x, 5000, 2, std::vector<std::array<double, 2>>{{5100, 5900}, {6200, 6600}}, 100);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double gps = 5000 + 2.0 * static_cast<double>(i);
    double expected = 0;
    for (const auto& [lo, hi] : {std::array{5100.0, 5900.0}, std::array{6200.0, 6600.0}})
      if (gps >= lo && gps < hi) {
        const double edge = std::min(gps - lo, hi - gps);
        expected = edge < 100 ? std::pow(std::sin(pi * edge / 200), 2) : 1;
      }
    CHECK(x[i] == doctest::Approx(expected).epsilon(1e-12));
  }
  std::vector<double> y(1000);
  add_noise(y, 1, 3, 1, 0);
  y[55] = 40;   // GPS 5110, ten seconds behind an edge
  y[440] = 40;  // GPS 5880
  y[250] = 40;  // in the middle
  const auto narrower =
      narrowed_segments(y, 5000, 2, std::vector<std::array<double, 2>>{{5100, 5900}, {6200, 6600}}, 6, 60);
  REQUIRE(narrower.size() == 2);
  CHECK(narrower[0] == std::array<double, 2>{5112, 5880});
  CHECK(narrower[1] == std::array<double, 2>{6200, 6600});
}

TEST_CASE("outliers: six sigma, replaced by zero or a draw") {
  std::vector<double> x(20000);
  add_noise(x, 2, 11, 1, 0);
  for (std::size_t i : {100U, 7000U, 19999U})
    x[i] = 50;
  auto zeros = x, drawn = x;
  CHECK(replace_outliers(zeros, 6, Replacement::zero, 1) == 3);
  CHECK(missing_samples(zeros) == 3);
  CHECK(replace_outliers(drawn, 6, Replacement::gauss, 1) == 3);
  CHECK(missing_samples(drawn) == 0);
  CHECK(std::abs(drawn[7000]) < 12);
  CHECK(drawn[101] == x[101]);
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
  CHECK(legacy::parse_triggers("", "empty").empty());
  CHECK_THROWS(legacy::parse_triggers(bytes.substr(1), "t"));
  CHECK_THROWS(legacy::parse_grid(bytes, "g"));
  CHECK(legacy::format_det_ssb(frame->detectors[0].ephemeris) == file_bytes(shared_polgraw() + "001/H1/DetSSB.bin"));
}
