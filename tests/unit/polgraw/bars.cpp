// The closed forms and quality bars of the method that need more than a sample or two.
#include <algorithm>
#include <numeric>

#include <doctest.h>

#include "coincidences.hpp"
#include "compute/parallel.hpp"
#include "engine.hpp"
#include "ephemeris.hpp"
#include "farm.hpp"
#include "inject.hpp"
#include "lattice.hpp"
#include "refine.hpp"

using namespace fachwerk::polgraw;

namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr int effort = 1;  // of 20: the sanitizers are slow, and look for other things
#else
constexpr int effort = 20;
#endif

/// Whole sidereal days of white noise from the named detectors.
Observation quiet_frame(double days, double fpo, const std::vector<std::string>& names) {
  Observation o;
  const std::size_t N = frame_length(days, 2);
  o.band = make_band(fpo, 2, N);
  for (const auto& name : names) {
    Series s;
    s.site = *find_site(name);
    s.x.assign(N, 0);
    s.sigma2 = 1;
    s.ephemeris = make_ephemeris(s.site, 1187008512, 2, N, TimeScales::built_in());
    o.detectors.push_back(std::move(s));
  }
  return o;
}

SearchSettings raw_settings() {
  SearchSettings settings;
  settings.norm = Norm::none;
  settings.planner = fachwerk::compute::fft::Planner::estimate;
  return settings;
}

}  // namespace

TEST_CASE("F of white noise is chi^2 of four degrees over a million bins, for each detector and the network") {
  for (const std::vector<std::string>& names :
       {std::vector<std::string>{"H1"}, std::vector<std::string>{"L1"}, std::vector<std::string>{"H1", "L1"}}) {
    auto o = quiet_frame(1, 30, names);
    o.grid = make_grid(o, {.c0 = 0.75}).grid;
    const auto settings = raw_settings();
    const auto point = *sky_point(o.grid, o.band, o.obliquity, Hemisphere::north, 1, 0);
    // Neighbouring bins share noise through the zero padding and the daily modulation: one in twelve is taken.
    constexpr std::size_t stride = 12, wanted = 50000 * effort;
    std::vector<double> values;
    for (std::uint64_t seed = 0; values.size() < wanted; ++seed) {
      for (std::size_t d = 0; d < o.detectors.size(); ++d) {
        std::ranges::fill(o.detectors[d].x, 0.0);
        add_noise(o.detectors[d].x, 1, seed, 1, static_cast<std::uint32_t>(d));
      }
      FastEngine<double> engine(std::make_shared<EnginePlan<double>>(o, settings, EngineSettings{}));
      engine.set_sky(point);
      const auto F = engine.f_statistic(-3);
      for (std::size_t k = 0; k < F.size(); k += stride)
        values.push_back(F[k]);
    }
    const auto n = static_cast<double>(values.size());
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
    CHECK(std::abs(mean - 2) < 4 * std::sqrt(2 / n));
    const auto above = static_cast<double>(std::ranges::count_if(values, [](double F) { return F > 10; }));
    CHECK(std::abs(above - n * exceedance(10)) < 4 * std::sqrt(n * exceedance(10)));
    std::ranges::sort(values);
    double distance = 0;
    for (std::size_t i = 0; i < values.size(); ++i)
      distance = std::max(distance, std::abs(1 - exceedance(values[i]) - (static_cast<double>(i) + 0.5) / n));
    MESSAGE(names.back() << " of " << names.size() << ": mean " << mean << ", Kolmogorov-Smirnov "
                         << distance * std::sqrt(n));
    CHECK(distance * std::sqrt(n) < 1.95);  // p > 1e-3
  }
}

TEST_CASE("<a^2> and <b^2> over whole sidereal days against their closed forms in the declination") {
  for (const auto& site : known_sites()) {
    const AmplitudeModulation modulation(site);
    constexpr std::size_t n = 2048;
    std::vector<double> a(n), b(n);
    const double s2 = std::pow(std::sin(2 * site.orientation), 2), c2 = std::pow(std::cos(2 * site.orientation), 2);
    const double cp = std::cos(2 * site.latitude), sp = std::sin(2 * site.latitude),
                 cos2 = std::pow(std::cos(site.latitude), 2), sin2 = std::pow(std::sin(site.latitude), 2);
    for (double delta : {-1.4, -0.5, 0.0, 0.3, 1.1}) {
      amplitude_functions(modulation, 1.3, delta, 0.7, 2 * sidereal_day / n, a, b);
      double aa = 0, bb = 0, ab = 0;
      for (std::size_t i = 0; i < n; ++i)
        aa += a[i] * a[i] / n, bb += b[i] * b[i] / n, ab += a[i] * b[i] / n;
      const double cd = std::cos(2 * delta), sd = std::sin(2 * delta), cosd2 = std::pow(std::cos(delta), 2);
      // Jaranowski, Krolak, Schutz 1998, appendix B.
      const double expected_a = s2 / 16 *
                                    (9 * cos2 * cos2 * cosd2 * cosd2 + sp * sp * sd * sd / 2 +
                                     std::pow(3 - cp, 2) * std::pow(3 - cd, 2) / 32) +
                                c2 / 32 * (4 * cos2 * sd * sd + sin2 * std::pow(3 - cd, 2));
      const double expected_b =
          s2 / 32 * (std::pow(3 - cp, 2) * (1 - cosd2) + 4 * sp * sp * cosd2) + c2 / 4 * (1 + cp * cd);
      const double arms = std::pow(std::sin(site.opening), 2);
      CHECK(aa == doctest::Approx(arms * expected_a).epsilon(1e-9));
      CHECK(bb == doctest::Approx(arms * expected_b).epsilon(1e-9));
      CHECK(std::abs(ab) < 1e-6);
    }
  }
}

TEST_CASE("signal-to-noise ratio grows with the square root of time and of the number of detectors") {
  const Injection injection{{1.1, -2e-9, 0.5, 2.1}, {0.3, 0.4, 0.7, 1.9}};
  const auto snr = [&](double days, const std::vector<std::string>& names) {
    auto o = quiet_frame(days, 30, names);
    for (auto& d : o.detectors)
      d.x.clear();
    return optimal_snr(o, injection);
  };
  const double one = snr(1, {"H1"});
  CHECK(snr(2, {"H1"}) == doctest::Approx(std::sqrt(2) * one).epsilon(1e-3));
  CHECK(snr(1, {"H1", "H1"}) == doctest::Approx(std::sqrt(2) * one).epsilon(1e-12));
}

TEST_CASE("M Gamma M^T is the lattice's Gram matrix times 1 - c0") {
  auto o = quiet_frame(2, 30, {"H1", "L1"});
  for (double c0 : {0.25, 0.75}) {
    const auto made = make_grid(o, {.c0 = c0});
    const auto& g = made.grid;
    const auto L = cholesky(g.fisher);
    const auto Q = constrained_lattice(g.unnormalised[0] * L[0] / std::sqrt(1 - c0), Lattice::best).Q;
    const auto left = multiply(multiply(g.unnormalised, g.fisher), transpose(g.unnormalised)),
               right = multiply(Q, transpose(Q));
    // The sky's rows are differences of large terms: to 1e-12 of those, as far as M has digits for it.
    const auto magnitude = [](Matrix4 m) {
      for (double& x : m)
        x = std::abs(x);
      return m;
    };
    const auto M = magnitude(g.unnormalised), terms = multiply(multiply(M, magnitude(g.fisher)), transpose(M));
    for (std::size_t k = 0; k < 16; ++k)
      CHECK(std::abs(left[k] - (1 - c0) * right[k]) < 1e-12 * terms[k]);
  }
}

TEST_CASE("false alarm of one frame and one cell shift is 1 - (1 - eps)^cells") {
  const double cells = 1e5, eps = 3 / cells;
  const auto found = false_alarm(cells, std::vector<std::int64_t>{3}, 1, {.shifts = false});
  CHECK(found.probability == doctest::Approx(1 - std::pow(1 - eps, cells)).epsilon(1e-12));
}

TEST_CASE("200 injections: recovered next to where they are, and the grid loses what its covering allows") {
  auto o = quiet_frame(2, 171.296875, {"H1", "L1"});
  o.grid = make_grid(o, {.c0 = 0.75}).grid;
  auto noisy = raw_settings();
  noisy.norm = Norm::block;
  noisy.threshold = 14.5;
  auto clean = raw_settings();
  clean.threshold = 2.5;
  const Population population{-o1_prior(o.band).s_max, 0, 0};
  constexpr int trials = 10 * effort;
  constexpr double d = 8;
  auto silent_frame = o;
  for (auto& series : silent_frame.detectors)
    series.x.clear();
  FarmSource source{o, {}};
  // Neighbours in the lattice are at most two covering radii apart in the grid's metric, 2 sqrt(1 - c0) = 1 here.
  const auto within = [&](const SignalPoint& found, const SignalPoint& signal) {
    return grid_distance(o, found, signal) <= 1;
  };
  // Whether some frequency at a grid point is within: the square of the distance is a parabola in omega.
  const auto reaches = [&](const SkyPoint& point, int ss, const SignalPoint& signal) {
    const double h = 1 / static_cast<double>(o.band.N);
    const auto square = [&](double step) {
      return std::pow(
          grid_distance(o, {signal.omega + step, spindown_of(o.grid, ss, point), point.sky.delta, point.sky.alpha},
                        signal),
          2);
    };
    const double middle = square(0), up = square(h), down = square(-h);
    return middle - std::pow(up - down, 2) / (8 * (up + down - 2 * middle)) <= 1;
  };
  // All grid points next to the signal, or those that can be within a cell of it.
  const auto tasks_of = [&](const SignalPoint& signal, bool all) {
    Selection selection;
    selection.range = range_around(o, signal, 2);
    selection.range_spindowns = true;
    const auto tasks = make_tasks(o, selection, 0);
    if (all) return tasks;
    std::vector<Task> near;
    for (const auto& task : tasks)
      for (int ss = task.spindowns.lo; ss <= task.spindowns.hi; ++ss) {
        if (!reaches(task_point(o, task), ss, signal)) continue;
        if (near.empty() || near.back().hemisphere != task.hemisphere || near.back().mm != task.mm ||
            near.back().nn != task.nn) {
          near.push_back(task);
          near.back().spindowns.lo = ss;
        }
        near.back().spindowns.hi = ss;
      }
    return near;
  };
  const auto triggers_of = [&](const Injection& signal, const SearchSettings& settings, int noise, bool all) {
    for (std::size_t k = 0; k < 2; ++k) {
      auto& series = source.observation.detectors[k];
      series.x = signal_series(series, o.band, signal, false);
      if (noise >= 0) add_noise(series.x, 1, static_cast<std::uint64_t>(noise), 1, static_cast<std::uint32_t>(k));
    }
    FarmSettings farm;
    farm.search = settings;
    farm.threads = fachwerk::compute::threads();
    return search_frame(source, tasks_of(signal.point, all), farm);
  };
  int recovered = 0, loudest_within = 0, refined_trials = 0, refined_within = 0, ideal_within = 0, clean_trials = 0;
  double loss = 0;
  for (int trial = 0; trial < trials; ++trial) {
    auto signal = draw_signal(o.band, population, 99, static_cast<std::uint64_t>(trial));
    signal.polarisation.h0 = d / optimal_snr(silent_frame, signal);
    const bool all = trial % 4 == 0;
    const auto found = triggers_of(signal, noisy, trial, all);
    if (std::ranges::any_of(found, [&](const Trigger& t) { return within(signal_point(t), signal.point); }))
      ++recovered;
    if (!all) continue;
    const auto loudest = std::ranges::max_element(found, {}, &Trigger::snr);
    if (loudest != found.end() && within(signal_point(*loudest), signal.point)) ++loudest_within;
    // The summits of the loudest clusters, and the one of the signal itself.
    const std::vector<int> sources(found.size());
    const Observation* const frame = &source.observation;
    Clusters clusters(found, sources, {&frame, 1});
    ++refined_trials;
    std::vector<SignalPoint> heads;
    for (std::size_t row; heads.size() < 16 && clusters.next();) {
      row = *clusters.next();
      clusters.add(found[row], 0);
      heads.push_back(signal_point(found[row]));
    }
    heads.push_back(signal.point);
    std::vector<Summit> summits(heads.size());
    fachwerk::compute::parallel_for(fachwerk::compute::Device::cpu(), heads.size(),
                                    [&](std::size_t k) { summits[k] = refine(*frame, heads[k]); });
    const auto own = summits.back();
    const auto highest = *std::ranges::max_element(summits, {}, &Summit::F);
    summits.pop_back();
    const auto best = std::ranges::max_element(summits, {}, &Summit::F);
    if (best != summits.end() && within(best->point, signal.point)) ++refined_within;
    if (within(own.point, signal.point) && highest.F <= own.F + 0.3) ++ideal_within;
    if (trial % 8 != 0) continue;
    ++clean_trials;
    double F = 0;  // without noise it is d^2/2 at the signal's own point
    for (const auto& t : triggers_of(signal, clean, -1, false))
      F = std::max(F, 2 + t.snr * t.snr / 2);
    loss += 1 - std::sqrt(2 * F) / d;
  }
  loss /= clean_trials;
  // The highest summit of F itself lies on a side lobe, some sidereal days^-1 away, in one signal of eight at this
  // strength: the signal's power there is r d^2, and noise turns the order round with probability Phi(-d sqrt(1 - r) /
  // 2) for each of them. Nothing that looks at F alone does better; the refined search is to be as good as that.
  MESSAGE("of " << trials << " signals " << recovered << " have a trigger within a cell; of " << refined_trials << " "
                << loudest_within << " their loudest, " << refined_within << " have their loudest candidate, "
                << ideal_within << " the highest summit of F itself; mean loss of rho " << loss);
  CHECK(recovered >= 0.99 * trials);
  CHECK(refined_within >= ideal_within - 0.02 * refined_trials);
  CHECK(refined_within >= loudest_within);
  CHECK(loss <= 0.075);
}
