#include "search.hpp"

#include <algorithm>

#include "resampling.hpp"

namespace fachwerk::polgraw {

SearchSettings compatible(bool openmp_branch) {
  SearchSettings settings;
  settings.form = Form::diagonal;
  settings.mask_gaps = openmp_branch;
  settings.common_shift = false;
  settings.drop_remainder = true;
  settings.einstein_in_axes = true;
  settings.refine_times = false;
  settings.keep_tail = false;
  settings.interpolation_pad = 2;
  return settings;
}

Bins search_bins(const Band& band, int fftpad, const SearchSettings& settings) {
  const auto pad = static_cast<std::size_t>(fftpad);
  const double total = static_cast<double>(pad * band.nfft);
  const auto guard = settings.guard_hz < 0
                         ? static_cast<std::size_t>(static_cast<double>(pad * normalisation_block) * band.width())
                         : static_cast<std::size_t>(std::llround(std::min(settings.guard_hz * band.dt, 1.0) * total));
  const std::size_t half = pad * band.nfft / 2;
  return {std::min(guard, half), half - std::min(guard, half)};
}

bool Exclusions::rejects(double value) const {
  if (narrowdown < 0.5 && !(std::abs(value - pi / 2) < narrowdown * pi)) return true;
  return std::ranges::any_of(omega, [&](const auto& interval) { return value >= interval[0] && value <= interval[1]; });
}

void barycentric_shift(const Ephemeris& ephemeris, const Vector3& n, double dt, bool einstein_in_axes,
                       std::span<double> shift) {
  for (std::size_t i = 0; i < shift.size(); ++i) {
    const auto& r = ephemeris.position[i];
    shift[i] = n[0] * r[0] + n[1] * r[1] + n[2] * r[2];
  }
  const double factor = einstein_in_axes ? n[0] + n[1] + n[2] : 1;
  if (!ephemeris.einstein.empty())
    for (std::size_t i = 0; i < shift.size(); ++i)
      shift[i] += factor * ephemeris.einstein[i];
  if (!ephemeris.sun.empty())
    for (std::size_t i = 0; i < shift.size(); ++i)
      shift[i] -= shapiro_delay(ephemeris.position[i], ephemeris.sun[i], n, dt);
}

std::size_t resampled_tail(const Observation& observation) {
  double longest = 0;
  const auto& origin = observation.detectors.front().ephemeris.position.front();
  for (const auto& series : observation.detectors)
    for (const auto& r : series.ephemeris.position)
      longest = std::max(longest, std::hypot(r[0] - origin[0], r[1] - origin[1], r[2] - origin[2]));
  const auto wanted = static_cast<std::size_t>(std::ceil(longest)) + 2;
  return std::min(wanted, observation.band.nfft - observation.band.N);
}

struct PlainEngine::Plans {
  PlainResampler resampler;
  compute::fft::Complex<double> transform;
  std::vector<std::complex<double>> Xa, Xb;
};

PlainEngine::PlainEngine(const Observation& observation, const SearchSettings& settings)
    : observation_(observation),
      settings_(settings),
      bins_(search_bins(observation.band, observation.grid.fftpad, settings)),
      blocks_(normalisation_blocks(bins_.hi - bins_.lo, settings.nav, settings.drop_remainder)) {
  const auto& band = observation.band;
  const std::size_t total = band.nfft * static_cast<std::size_t>(observation.grid.fftpad);
  plans_.reset(new Plans{
      PlainResampler(band.N, band.nfft, settings.interpolation_pad, settings.planner),
      compute::fft::Complex<double>(
          total, {.planner = settings.planner, .directions = compute::fft::Directions::forward, .in_place = true}),
      std::vector<std::complex<double>>(total), std::vector<std::complex<double>>(total)});
  const std::size_t length = band.N + (settings.keep_tail ? resampled_tail(observation) : 0);
  for (const auto& detector : observation.detectors) {
    modulation_.emplace_back(detector.site);
    resampled_.push_back({std::vector<std::complex<double>>(length), std::vector<std::complex<double>>(length),
                          std::vector<double>(band.N)});
  }
}

void PlainEngine::set_sky(const SkyPoint& point) {
  point_ = point;
  sums_ = half_sums_ = {};
  const auto& band = observation_.band;
  const std::size_t N = band.N;
  const double oms = band.oms();
  std::vector<double> a(N), b(N), delay(N), time(resampled_.front().a.size());
  std::vector<std::complex<double>> ya(N), yb(N);
  for (std::size_t d = 0; d < observation_.detectors.size(); ++d) {
    const auto& detector = observation_.detectors[d];
    auto& out = resampled_[d];
    barycentric_shift(detector.ephemeris, point.sky.direction(), band.dt, settings_.einstein_in_axes, out.shift);
    amplitude_functions(modulation_[d], point.sky.alpha, point.sky.delta, detector.ephemeris.phir, band.dt, a, b);
    AntennaSums sums, half_sums;
    for (std::size_t i = 0; i < N; ++i) {
      if (settings_.mask_gaps && detector.x[i] == 0) a[i] = b[i] = 0;
      sums.add(a[i], b[i]);
      if (settings_.interbin) {
        const double window = half_bin_window(band, static_cast<double>(i));
        half_sums.add(window * a[i], window * b[i]);
      }
      const double phase = point.het0 * static_cast<double>(i) + oms * out.shift[i];
      const std::complex<double> demodulated = detector.x[i] * std::complex<double>(std::cos(phase), -std::sin(phase));
      ya[i] = a[i] * demodulated;
      yb[i] = b[i] * demodulated;
    }
    sums_.add(sums, 1 / detector.sigma2);
    half_sums_.add(half_sums, 1 / detector.sigma2);
    const double origin = settings_.common_shift ? resampled_[0].shift[0] : out.shift[0];
    for (std::size_t i = 0; i < N; ++i)
      delay[i] = out.shift[i] - origin;
    detector_times(delay, settings_.refine_times, time);
    plans_->resampler(ya, time, out.a);
    plans_->resampler(yb, time, out.b);
    for (std::size_t i = 0; i < time.size(); ++i) {
      out.a[i] /= detector.sigma2;
      out.b[i] /= detector.sigma2;
    }
  }
}

void PlainEngine::adopt(const PlainEngine& other) {
  resampled_ = other.resampled_;
  sums_ = other.sums_;
  half_sums_ = other.half_sums_;
  point_ = other.point_;
}

/// F in the searched bins, or half a bin above each.
std::vector<double> PlainEngine::f_of_bins(int ss, bool half) {
  const auto& band = observation_.band;
  auto& [resampler, transform, Xa, Xb] = *plans_;
  const double het1 = spindown_offset(observation_.grid, ss, point_);
  const double s = spindown_of(observation_.grid, ss, point_), s2 = point_.second.s2;
  std::ranges::fill(Xa, 0.0);
  std::ranges::fill(Xb, 0.0);
  const double origin = resampled_[0].shift[0];
  for (const auto& series : resampled_) {
    for (std::size_t i = 0; i < series.a.size(); ++i) {
      const auto t = static_cast<double>(i);
      // After resampling, i counts barycentric time from shift_0 on: s (i + shift_0)^2 without its constant. The
      // original uses each sample's own shift, which counts the delay twice.
      const double shift = settings_.common_shift ? origin : series.shift[i];
      double phase = het1 * t + s * (t * t + 2 * t * shift) + s2 * t * t * (t + 3 * shift);
      if (half) phase += pi * t / static_cast<double>(band.nfft);
      const double window = half ? half_bin_window(band, t) : 1;
      const std::complex<double> turn(window * std::cos(phase), -window * std::sin(phase));
      Xa[i] += series.a[i] * turn;
      Xb[i] += series.b[i] * turn;
    }
  }
  transform.forward(Xa, Xa);
  transform.forward(Xb, Xb);
  const auto w = f_weights(half ? half_sums_ : sums_, settings_.form);
  std::vector<double> F;
  for (std::size_t k = bins_.lo; k < bins_.hi; ++k)
    F.push_back(w.aa * std::norm(Xa[k]) + w.bb * std::norm(Xb[k]) +
                w.ab * (Xa[k].real() * Xb[k].real() + Xa[k].imag() * Xb[k].imag()));
  normalise(F, blocks_, settings_.norm);
  return F;
}

const std::vector<double>& PlainEngine::f_statistic(int ss) {
  F_ = f_of_bins(ss, false);
  if (!settings_.interbin) return F_;
  const auto whole = std::move(F_), half = f_of_bins(ss, true);
  F_.clear();
  for (std::size_t k = 0; k < whole.size(); ++k)
    F_.insert(F_.end(), {whole[k], half[k]});
  return F_;
}

Trigger make_trigger(const Observation& observation, const SkyPoint& point, int ss, double bin, double F) {
  const auto& grid = observation.grid;
  const double bins = static_cast<double>(observation.band.nfft * static_cast<std::size_t>(grid.fftpad));
  return {2 * pi * bin / bins + point.het0 + spindown_offset(grid, ss, point),
          spindown_of(grid, ss, point),
          point.sky.delta,
          point.sky.alpha,
          snr(F),
          static_cast<int>(point.hemisphere),
          point.mm,
          point.nn,
          ss,
          static_cast<int>(bin),
          point.second.number,
          point.second.s2,
          bin == std::floor(bin) ? 0 : 1};
}

void collect_triggers(const Observation& observation, const SearchSettings& settings, const SkyPoint& point, int ss,
                      std::span<const double> F, const Exclusions& exclusions, std::vector<Trigger>& out) {
  const auto bins = search_bins(observation.band, observation.grid.fftpad, settings);
  for (const auto& peak : find_peaks(F, settings.threshold, settings.peaks)) {
    const double bin = static_cast<double>(peak.bin) / (settings.interbin ? 2 : 1);
    const auto trigger = make_trigger(observation, point, ss, static_cast<double>(bins.lo) + bin, peak.F);
    if (!exclusions.rejects(trigger.omega)) out.push_back(trigger);
  }
}

template <class Engine>
void search_spindowns(Engine& engine, const Observation& observation, const SearchSettings& settings,
                      const SkyPoint& point, Range spindowns, const Exclusions& exclusions, std::vector<Trigger>& out) {
  for (int ss = spindowns.lo; ss <= spindowns.hi; ++ss)
    collect_triggers(observation, settings, point, ss, engine.f_statistic(ss), exclusions, out);
}
template void search_spindowns(PlainEngine&, const Observation&, const SearchSettings&, const SkyPoint&, Range,
                               const Exclusions&, std::vector<Trigger>&);

}  // namespace fachwerk::polgraw
