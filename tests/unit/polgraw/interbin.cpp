#include <algorithm>
#include <complex>
#include <numeric>

#include <doctest.h>

#include "device_engine.hpp"
#include "lattice.hpp"
#include "short_frame.hpp"

using namespace fachwerk::polgraw;

namespace {

SearchSettings half_bins() {
  auto settings = quick_settings(Norm::none);
  settings.interbin = true;
  return settings;
}

template <class Engine>
std::vector<double> F_of(Engine&& engine, const SkyPoint& point, int ss) {
  engine.set_sky(point);
  return engine.f_statistic(ss);
}
std::vector<double> fast_F(const Observation& o, const SearchSettings& settings, const SkyPoint& point, int ss) {
  return F_of(FastEngine<double>(std::make_shared<EnginePlan<double>>(o, settings, EngineSettings{})), point, ss);
}

/// F without noise in a transform of the demodulated data times window(t), with the weights of noise that has gone
/// through noise_window(t). With z = ((A1, A2) - i (A3, A4)) / 2 the two sums are W z, W = sum window (aa ab; ab bb);
/// both windows 1 give d^2 / 2.
template <class Window, class NoiseWindow>
double expected_F(const Observation& o, const Injection& signal, const Window& window,
                  const NoiseWindow& noise_window) {
  const std::size_t N = o.band.N;
  std::complex<double> A = 0, B = 0, C = 0;
  AntennaSums noise;
  std::vector<double> a(N), b(N);
  for (const auto& d : o.detectors) {
    amplitude_functions(AmplitudeModulation(d.site), signal.point.alpha, signal.point.delta, d.ephemeris.phir,
                        o.band.dt, a, b);
    AntennaSums sums;
    for (std::size_t i = 0; i < N; ++i) {
      if (d.x[i] == 0) continue;
      const auto t = static_cast<double>(i);
      const std::complex<double> w = window(t) / d.sigma2;
      A += w * a[i] * a[i];
      B += w * b[i] * b[i];
      C += w * a[i] * b[i];
      sums.add(noise_window(t) * a[i], noise_window(t) * b[i]);
    }
    noise.add(sums, 1 / d.sigma2);
  }
  const auto amplitude = amplitudes(signal.polarisation);
  const std::complex<double> z1(amplitude[0] / 2, -amplitude[2] / 2), z2(amplitude[1] / 2, -amplitude[3] / 2);
  const auto Xa = A * z1 + C * z2, Xb = C * z1 + B * z2;
  const auto w = f_weights(noise, Form::full);
  return w.aa * std::norm(Xa) + w.bb * std::norm(Xb) + w.ab * (Xa * std::conj(Xb)).real();
}
/// Of a signal half a bin above a bin: there, in the half-bin.
double in_bin(const Observation& o, const Injection& signal) {
  return expected_F(
      o, signal, [&](double t) { return std::polar(1.0, pi * t / static_cast<double>(o.band.nfft)); },
      [](double) { return 1.0; });
}
double in_half_bin(const Observation& o, const Injection& signal) {
  const auto window = [&](double t) { return half_bin_window(o.band, t); };
  return expected_F(o, signal, window, window);
}

/// A signal of signal-to-noise ratio d on a half-bin of the grid, and the data where it is all there is.
Injection signal_at(const Observation& o, const SkyPoint& point, int ss, double bin, double d) {
  const auto at = make_trigger(o, point, ss, bin, 2);
  Injection signal{{at.omega, at.s, at.delta, at.alpha}, {1, 0.3, 0.2, 1}};
  signal.polarisation.h0 = d / optimal_snr(o, signal);
  return signal;
}
std::vector<std::vector<double>> series_of(const Observation& o, const Injection& signal) {
  std::vector<std::vector<double>> all;
  for (const auto& d : o.detectors) {
    all.push_back(signal_series(d, o.band, signal, false));
    for (std::size_t i = 0; i < o.band.N; ++i)
      if (d.x[i] == 0) all.back()[i] = 0;
  }
  return all;
}

}  // namespace

TEST_CASE(
    "interbinning: a series without modulation loses 1 - sinc^2 in the bin, 1 - 2 sinc^2 / (1 + rho) in between") {
  const auto band = make_band(20, 2, 20000);
  const auto n = static_cast<double>(band.N);
  std::complex<double> bin = 0;
  double window_sum = 0, squares = 0;
  for (std::size_t i = 0; i < band.N; ++i) {
    const auto t = static_cast<double>(i);
    const double w = half_bin_window(band, t);
    bin += std::polar(1 / n, pi * t / static_cast<double>(band.nfft));
    window_sum += w / n;
    squares += w * w / n;
  }
  const double x = pi / 2 * n / static_cast<double>(band.nfft);
  const double sinc2 = std::pow(std::sin(x) / x, 2), rho = std::sin(2 * x) / (2 * x);
  CHECK(std::abs(std::norm(bin) - sinc2) < 1e-6);
  CHECK(std::abs(window_sum * window_sum / squares - 2 * sinc2 / (1 + rho)) < 1e-6);
}

TEST_CASE("interbinning: the loss of a signal between two bins is that of its windows") {
  auto o = short_frame();
  o.grid = make_grid(o, {.c0 = 0.75}).grid;
  const auto settings = half_bins();
  const auto point = *sky_point(o.grid, o.band, o.obliquity, Hemisphere::north, 0, 0);
  const auto bins = search_bins(o.band, 1, settings);
  const double d = 40;
  const auto signal = signal_at(o, point, 0, 9000.5, d);
  const double whole = d * d / 2, bin = in_bin(o, signal), half_bin = in_half_bin(o, signal);
  const double one = expected_F(
      o, signal, [](double) { return 1.0; }, [](double) { return 1.0; });
  CHECK(one == doctest::Approx(whole).epsilon(1e-3));
  const auto h = series_of(o, signal);
  for (std::size_t k = 0; k < h.size(); ++k)
    o.detectors[k].x = h[k];
  const std::size_t k = 2 * (9000 - bins.lo);
  for (const auto& F : {fast_F(o, settings, point, 0), F_of(PlainEngine(o, settings), point, 0)}) {
    REQUIRE(F.size() == 2 * (bins.hi - bins.lo));
    MESSAGE("of the power " << F[k] / whole << " in the bin, " << F[k + 1] / whole << " in the half-bin; windows "
                            << bin / whole << ", " << half_bin / whole);
    CHECK(F[k] == doctest::Approx(bin).epsilon(5e-4));
    CHECK(F[k + 1] == doctest::Approx(half_bin).epsilon(5e-4));
    CHECK(std::ranges::max_element(F) - F.begin() == static_cast<std::ptrdiff_t>(k + 1));
  }
}

TEST_CASE("interbinning: E[F] = 2 + d^2 / 2 over the noise, with d of the window") {
  auto o = short_frame(5000);
  o.grid = make_grid(o, {.c0 = 0.75}).grid;
  const auto settings = half_bins();
  const auto point = *sky_point(o.grid, o.band, o.obliquity, Hemisphere::south, 0, 0);
  for (auto& d : o.detectors)
    d.sigma2 = 1;
  const auto signal = signal_at(o, point, -2, 2000.5, 8);
  const double bin = in_bin(o, signal), half_bin = in_half_bin(o, signal);
  const auto h = series_of(o, signal);
  const std::size_t k = 2 * (2000 - search_bins(o.band, 1, settings).lo);
  constexpr int seeds = 400;
  double bin_mean = 0, half_mean = 0;
  for (int seed = 0; seed < seeds; ++seed) {
    for (std::size_t d = 0; d < h.size(); ++d) {
      std::vector<double> x(o.band.N);
      add_noise(x, 1, static_cast<std::uint64_t>(seed), 3, static_cast<std::uint32_t>(d));
      for (std::size_t i = 0; i < o.band.N; ++i)
        o.detectors[d].x[i] = h[d][i] == 0 ? 0 : x[i] + h[d][i];
    }
    const auto F = fast_F(o, settings, point, -2);
    bin_mean += F[k] / seeds;
    half_mean += F[k + 1] / seeds;
  }
  MESSAGE("mean F in the half-bin " << half_mean << ", expected " << 2 + half_bin << "; in the bin " << bin_mean << ", "
                                    << 2 + bin);
  // The variance of F is d^2 + 2 = 2 (expected + 1).
  CHECK(std::abs(half_mean - 2 - half_bin) < 4 * std::sqrt(2 * (half_bin + 1) / seeds));
  CHECK(std::abs(bin_mean - 2 - bin) < 4 * std::sqrt(2 * (bin + 1) / seeds));
}

TEST_CASE("interbinning: the plain form, the fast form, and twice the padding") {
  auto o = short_frame();
  o.grid = make_grid(o, {.c0 = 0.75}).grid;
  const auto point = *sky_point(o.grid, o.band, o.obliquity, Hemisphere::north, 0, 0);
  for (const auto norm : {Norm::none, Norm::block}) {
    auto settings = half_bins();
    settings.norm = norm;
    settings.threshold = 8;
    const auto fast = fast_F(o, settings, point, -4);
    settings.interpolation_pad = 4;
    const auto plain = F_of(PlainEngine(o, settings), point, -4);
    REQUIRE(plain.size() == fast.size());
    double sum = 0;
    for (std::size_t k = 1; k < fast.size(); k += 2)
      sum += std::pow(fast[k] - plain[k], 2);
    const double rms = std::sqrt(2 * sum / static_cast<double>(fast.size()));
    MESSAGE("half-bins, plain against fast: rms dF " << rms);
    CHECK(rms < 0.01);
    std::vector<Trigger> a, b;
    FastEngine<double> engine(std::make_shared<EnginePlan<double>>(o, settings, EngineSettings{}));
    search_sky_point(engine, o, settings, point, {-4, -4}, {}, a);
    PlainEngine slow(o, settings);
    search_sky_point(slow, o, settings, point, {-4, -4}, {}, b);
    std::vector<Trigger> c;
    DeviceEngine<double> batch(std::make_shared<EnginePlan<double>>(o, settings, EngineSettings{}), {}, 4);
    search_sky_point(batch, o, settings, point, {-6, -2}, {}, c);
    std::erase_if(c, [](const Trigger& t) { return t.ss != -4; });
    REQUIRE(c.size() == a.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      CHECK(c[i].bin == a[i].bin);
      CHECK(c[i].half == a[i].half);
      CHECK(c[i].snr == doctest::Approx(a[i].snr).epsilon(1e-9));
    }
    REQUIRE(a.size() > 5);
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      CHECK(a[i].bin == b[i].bin);
      CHECK(a[i].half == b[i].half);
      CHECK(a[i].omega == b[i].omega);
    }
  }
  auto settings = quick_settings(Norm::none);
  const auto half = fast_F(o, half_bins(), point, 0);
  o.grid.fftpad = 2;
  o.grid.M[0] /= 2;
  const auto fine = fast_F(o, settings, point, 0);
  REQUIRE(fine.size() == half.size());
  double product = 0, squares = 0, other_squares = 0;
  for (std::size_t i = 1; i < fine.size(); i += 2) {
    product += (fine[i] - 2) * (half[i] - 2);
    squares += (fine[i] - 2) * (fine[i] - 2);
    other_squares += (half[i] - 2) * (half[i] - 2);
  }
  MESSAGE("correlation with fftpad 2 " << product / std::sqrt(squares * other_squares));
  CHECK(product / std::sqrt(squares * other_squares) > 0.9);
}

TEST_CASE("interbinning: noise in half-bins has the distribution of F") {
  auto o = short_frame();
  o.grid = make_grid(o, {.c0 = 0.75}).grid;
  const auto point = *sky_point(o.grid, o.band, o.obliquity, Hemisphere::north, 0, 0);
  double mean = 0, above = 0, n = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    for (std::size_t d = 0; d < 2; ++d) {
      std::ranges::fill(o.detectors[d].x, 0.0);
      add_noise(o.detectors[d].x, 1, seed, 9, static_cast<std::uint32_t>(d));
      o.detectors[d].sigma2 = 1;
    }
    const auto noise = fast_F(o, half_bins(), point, 0);
    for (std::size_t i = 1; i < noise.size(); i += 2) {
      mean += noise[i];
      above += noise[i] > 8 ? 1 : 0;
      ++n;
    }
  }
  mean /= n;
  MESSAGE("half-bins: mean " << mean << ", above 8: " << above / n << " (" << exceedance(8) << ")");
  CHECK(std::abs(mean - 2) < 0.02);
  CHECK(std::abs(above / n - exceedance(8)) < 0.15 * exceedance(8));
}
