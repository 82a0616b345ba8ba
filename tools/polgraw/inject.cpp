#include "inject.hpp"

#include <algorithm>

#include "cli/error.hpp"
#include "compute/fft.hpp"

namespace fachwerk::polgraw {

namespace {

enum Channel : std::uint32_t {
  noise_channel = 1000,
  gap_channel = 2000,
  signal_channel = 3000,
  colour_channel = 4000,
  line_channel = 7000,
  glitch_channel = 8000,
  calibration_channel = 9000
};

}  // namespace

SignalPoint at_frame(const SignalPoint& reference, double samples) {
  SignalPoint point = reference;
  point.omega += 2 * reference.s * samples + 3 * reference.s2 * samples * samples;
  point.s += 3 * reference.s2 * samples;
  return point;
}

Injection at_frame(const Injection& reference, const Band& band, double samples, double mixing_seconds) {
  const auto& p = reference.point;
  Injection injection{at_frame(p, samples), reference.polarisation};
  const double phase = samples * (p.omega + samples * (p.s + samples * p.s2)) + mixing_phase(band, mixing_seconds);
  injection.polarisation.phi0 = std::remainder(reference.polarisation.phi0 + phase, 2 * pi);
  return injection;
}

std::vector<double> signal_series(const Series& series, const Band& band, const Injection& injection,
                                  bool exact_phase) {
  const auto sky = make_sky(injection.point.alpha, injection.point.delta);
  const auto A = amplitudes(injection.polarisation);
  std::vector<double> shift(band.N), a(band.N), b(band.N), h(band.N);
  barycentric_shift(series.ephemeris, sky.direction(), band.dt, series.ephemeris.einstein.empty(), shift);
  amplitude_functions(AmplitudeModulation(series.site), sky.alpha, sky.delta, series.ephemeris.phir, band.dt, a, b);
  const auto& p = injection.point;
  const double oms = band.oms();
  for (std::size_t i = 0; i < band.N; ++i) {
    const auto t = static_cast<double>(i);
    const double tau = t + shift[i];
    const double phase =
        exact_phase ? p.omega * tau + p.s * tau * tau + p.s2 * tau * tau * tau + oms * shift[i]
                    : p.omega * tau + p.s * t * t + (oms + 2 * p.s * t) * shift[i] + p.s2 * t * t * (t + 3 * shift[i]);
    const double c = std::cos(phase), s = std::sin(phase);
    h[i] = (A[0] * a[i] + A[1] * b[i]) * c + (A[2] * a[i] + A[3] * b[i]) * s;
  }
  return h;
}

double optimal_snr(const Observation& o, const Injection& injection) {
  double total = 0;
  for (const auto& d : o.detectors) {
    const auto h = signal_series(d, o.band, injection, false);
    double sum = 0;
    for (std::size_t i = 0; i < h.size(); ++i)
      if (d.x.empty() || d.x[i] != 0) sum += h[i] * h[i];
    total += sum / d.sigma2;
  }
  return std::sqrt(total);
}

Injection draw_signal(const Band& band, const Population& population, std::uint64_t seed, std::uint64_t number) {
  compute::Stream random(seed, number, signal_channel);
  Injection injection;
  auto& p = injection.point;
  const double span = 2 * static_cast<double>(band.N) * population.frames_in_band;
  int draws = 0;
  do {
    if (++draws > 100000)
      throw usage_error("no random signal stays in the band for {} frames: expected fewer, or smaller spindowns",
                        population.frames_in_band);
    p.omega = pi / 20 + random.uniform() * 18 * pi / 20;
    p.s = population.s_min + random.uniform() * (population.s_max - population.s_min);
  } while (p.omega - std::abs(p.s) * span <= 0 || p.omega + std::abs(p.s) * span >= pi);
  p.delta = std::asin(2 * random.uniform() - 1);
  p.alpha = 2 * pi * random.uniform();
  auto& q = injection.polarisation;
  q.h0 = 1;
  q.cos_iota = 2 * random.uniform() - 1;
  q.psi = 2 * pi * random.uniform();
  q.phi0 = 2 * pi * random.uniform();
  return injection;
}

std::uint32_t stream_of(const Observation& o, std::size_t d) {
  const auto sites = known_sites();
  const auto known = std::ranges::find(sites, o.detectors[d].site.name, &Site::name);
  const auto place = static_cast<std::size_t>(known - sites.begin());
  return static_cast<std::uint32_t>(known == sites.end() ? place + d : place);
}

void add_noise(std::span<double> x, double sigma, std::uint64_t seed, std::uint64_t frame, std::uint32_t detector) {
  constexpr std::size_t stretch = 4096;
  for (std::size_t begin = 0; begin < x.size(); begin += stretch) {
    compute::Stream random(seed, frame << 32 | begin / stretch, noise_channel + detector);
    for (std::size_t i = begin; i < std::min(x.size(), begin + stretch); ++i)
      x[i] += sigma * random.normal();
  }
}

void add_coloured_noise(std::span<double> x, const Band& band, std::span<const std::array<double, 2>> table,
                        std::uint64_t seed, std::uint64_t frame, std::uint32_t detector) {
  const std::size_t n = power_of_two_at_least(x.size()) * 2, half = n / 2 + 1;
  std::vector<double> white(n);
  add_noise(white, 1, seed, frame, detector);
  std::vector<std::complex<double>> spectrum(half);
  const compute::fft::Real<double> transform(n);
  transform.forward(white, spectrum);
  for (std::size_t k = 0; k < half; ++k) {
    const double f = band.fpo + band.width() * static_cast<double>(k) / static_cast<double>(half - 1);
    const auto above = std::ranges::find_if(table, [&](const auto& row) { return row[0] > f; });
    double amplitude = 0;
    if (above == table.begin())
      amplitude = table.front()[1];
    else if (above == table.end())
      amplitude = table.back()[1];
    else {
      const auto &a = *(above - 1), &b = *above;
      amplitude = a[1] + (b[1] - a[1]) * (f - a[0]) / (b[0] - a[0]);
    }
    spectrum[k] *= amplitude / static_cast<double>(n);
  }
  transform.inverse(spectrum, white);
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] += white[i];
}

void add_gaps(std::span<double> x, double dt, double locked, double lost, std::uint64_t seed, std::uint64_t frame,
              std::uint32_t detector) {
  compute::Stream random(seed, frame, gap_channel + detector);
  bool on = random.uniform() < locked / (locked + lost);
  for (std::size_t i = 0; i < x.size();) {
    const double samples = random.exponential() * (on ? locked : lost) / dt;
    const auto end = std::min(x.size(), i + static_cast<std::size_t>(std::min(samples, 1e15)) + 1);
    if (!on) std::fill(x.begin() + static_cast<std::ptrdiff_t>(i), x.begin() + static_cast<std::ptrdiff_t>(end), 0.0);
    i = end;
    on = !on;
  }
}

void keep_segments(std::span<double> x, double gps_start, double dt, std::span<const std::array<double, 2>> segments) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double gps = gps_start + dt * static_cast<double>(i);
    if (std::ranges::none_of(segments, [&](const auto& s) { return gps >= s[0] && gps < s[1]; })) x[i] = 0;
  }
}

void add_line(std::span<double> x, const Band& band, double frequency, double amplitude, double phase, double wander,
              std::uint64_t seed, std::uint32_t detector) {
  compute::Stream random(seed, detector / 16, line_channel + detector % 16);
  const double omega = band.omega(frequency), step = 2 * pi * band.dt * wander * std::sqrt(band.dt / 3600);
  double walked = 0, turned = 0;  // frequency and phase away from the line's own
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] += amplitude * std::cos(omega * static_cast<double>(i) + phase + turned);
    if (wander > 0) walked += step * random.normal();
    turned += walked;
  }
}

void add_glitches(std::span<double> x, const Band& band, const Glitches& glitches, std::uint64_t seed,
                  std::uint64_t frame, std::uint32_t detector) {
  compute::Stream random(seed, frame, glitch_channel + detector);
  const double between = 3600 / band.dt / glitches.rate;  // samples
  const auto n = static_cast<double>(x.size());
  for (double at = between * random.exponential(); at < n; at += between * random.exponential()) {
    const double omega = pi * (0.05 + 0.9 * random.uniform()), phase = 2 * pi * random.uniform(),
                 amplitude = glitches.amplitude * random.exponential(),
                 width = std::sqrt(2.0) * glitches.quality / omega;
    const auto first = static_cast<std::size_t>(std::max(0.0, at - 6 * width)),
               last = static_cast<std::size_t>(std::min(n, at + 6 * width));
    for (std::size_t i = first; i < last; ++i) {
      const double t = static_cast<double>(i) - at;
      x[i] += amplitude * std::exp(-t * t / (width * width)) * std::cos(omega * t + phase);
    }
  }
}

Injection miscalibrated(Injection injection, double amplitude_error, double phase_error, std::uint64_t seed,
                        std::uint64_t frame, std::uint32_t detector) {
  compute::Stream random(seed, frame, calibration_channel + detector);
  injection.polarisation.h0 *= 1 + amplitude_error * random.normal();
  injection.polarisation.phi0 += phase_error * random.normal();
  return injection;
}

}  // namespace fachwerk::polgraw
