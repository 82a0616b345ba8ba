#include "engine.hpp"

#include <algorithm>
#include <stdexcept>

#include "compute/isa.hpp"
#include "compute/parallel.hpp"
#include "resampling.hpp"

namespace fachwerk::polgraw {

namespace {

constexpr std::size_t most_margin = 512;            // samples beyond both ends of the data: the cut of the band rings
constexpr std::size_t halo = 2 * most_margin + 16;  // nodes beyond both ends: the margin and the spline's taps

template <class Real>
const Kernels<Real>& best_kernels() {
  using Get = const Kernels<Real>&(Real);
  return compute::dispatch<Get>(isa_baseline::kernels, isa_avx2::kernels, isa_avx512::kernels)(Real{});
}

/// Fourier transform of the centred B-spline of odd degree, frequency in turns a node. Dividing the band by it makes
/// every frequency of the band exact; what is left is the spline's images, (x / (1 - x))^(degree + 1) of the signal
/// with x <= 1/4.
double bspline_transform(int degree, double turns) {
  const double x = pi * turns;
  const double sinc = x == 0 ? 1 : std::sin(x) / x;
  return std::pow(sinc, degree + 1);
}

/// An even number of samples for which the transform still has room.
int margin(const Band& band, std::size_t tail) {
  return static_cast<int>(std::min(most_margin, (band.nfft - band.N - tail) / 4 * 2));
}
std::size_t count_outputs(std::size_t samples, int step) {
  return (samples + static_cast<std::size_t>(step) - 1) / static_cast<std::size_t>(step);
}

template <class T>
std::complex<T>* nodes_begin(compute::Buffer<std::complex<T>>& buffer, std::size_t nodes, int which) {
  return buffer.data() + static_cast<std::size_t>(which) * (nodes + 2 * halo) + halo;
}

template <class T>
T* real(std::complex<T>* z) {
  return reinterpret_cast<T*>(z);
}
template <class T>
const T* real(const std::complex<T>* z) {
  return reinterpret_cast<const T*>(z);
}

}  // namespace

template <class Real>
EnginePlan<Real>::EnginePlan(const Observation& observation, const SearchSettings& settings,
                             const EngineSettings& engine)
    : observation_(&observation),
      sun_(std::ranges::any_of(observation.detectors, [](const Series& d) { return !d.ephemeris.sun.empty(); })),
      settings_(settings),
      engine_(engine),
      kernels_(&best_kernels<Real>()),
      step_(engine.half_rate ? 2 : 1),
      tail_(resampled_tail(observation)),
      margin_(margin(observation.band, tail_)),
      outputs_(count_outputs(observation.band.N + tail_ + 2 * static_cast<std::size_t>(margin_), step_)),
      length_(observation.band.nfft / static_cast<std::size_t>(step_)),
      nodes_(2 * length_),
      centre_bin_(engine.half_rate ? observation.band.nfft / 4 : 0),
      bins_(search_bins(observation.band, observation.grid.fftpad, settings)),
      blocks_(normalisation_blocks(bins_.hi - bins_.lo, settings.nav, false)),
      forward_(observation.band.nfft,
               {.planner = settings.planner, .directions = compute::fft::Directions::forward, .in_place = true}),
      backward_(nodes_,
                {.planner = settings.planner, .directions = compute::fft::Directions::inverse, .in_place = true}),
      transform_(length_ * static_cast<std::size_t>(observation.grid.fftpad),
                 {.planner = settings.planner, .directions = compute::fft::Directions::forward}) {
  const auto& band = observation.band;
  for (const auto& series : observation.detectors) {
    Detector d{.x = std::vector<double>(band.N),
               .y = std::vector<double>(band.N),
               .z = std::vector<double>(band.N),
               .delay = std::vector<double>(band.N),
               .cos_sidereal = std::vector<Real>(band.N),
               .sin_sidereal = std::vector<Real>(band.N),
               .data = std::vector<Real>(band.N),
               .modulation = AmplitudeModulation(series.site),
               .weight = 1 / series.sigma2};
    const auto& e = series.ephemeris;
    compute::parallel_for(compute::Device::cpu(), band.N, [&](std::size_t i) {
      const double einstein = e.einstein.empty() ? 0 : e.einstein[i];
      const double axes = settings.einstein_in_axes ? einstein : 0;
      d.x[i] = e.position[i][0] + axes;
      d.y[i] = e.position[i][1] + axes;
      d.z[i] = e.position[i][2] + axes;
      d.delay[i] = settings.einstein_in_axes ? 0 : einstein;
      const double sidereal = e.phir + earth_rotation * band.dt * static_cast<double>(i);
      d.cos_sidereal[i] = static_cast<Real>(std::cos(sidereal));
      d.sin_sidereal[i] = static_cast<Real>(std::sin(sidereal));
      d.data[i] = static_cast<Real>(series.x[i]);
    });
    detectors_.push_back(std::move(d));
  }
  // Scale: the transform's 1/nfft, and each sample of the reduced series stands for `step` samples of data.
  filter_.resize(length_);
  compute::parallel_for(compute::Device::cpu(), length_, [&](std::size_t k) {
    const double turns = (static_cast<double>(k) - static_cast<double>(length_) / 2) / static_cast<double>(nodes_);
    filter_[k] =
        static_cast<Real>(step_ / bspline_transform(engine.spline_degree, turns) / static_cast<double>(band.nfft));
  });
}

template <class Real>
std::span<const double> EnginePlan<Real>::sky_delay(std::size_t d, const Vector3& n, std::vector<double>& work) const {
  const auto& delay = detectors_[d].delay;
  const auto& e = observation_->detectors[d].ephemeris;
  if (e.sun.empty()) {
    if (sun_) work = delay;
    return delay;
  }
  work.resize(delay.size());
  for (std::size_t i = 0; i < delay.size(); ++i)
    work[i] = delay[i] - shapiro_delay(e.position[i], e.sun[i], n, observation_->band.dt);
  return work;
}

template <class Real>
double EnginePlan<Real>::shift_origin(const Vector3& n) const {
  double shift = 0;
  const Series& first = observation_->detectors.front();
  barycentric_shift(first.ephemeris, n, observation_->band.dt, settings_.einstein_in_axes, {&shift, 1});
  return shift;
}

template <class Real>
FastEngine<Real>::FastEngine(std::shared_ptr<const EnginePlan<Real>> plan)
    : plan_(std::move(plan)),
      work_(zeros(plan_->observation_->band.nfft * 2)),
      nodes_(zeros(2 * (plan_->nodes_ + 2 * halo))),
      Ya_(zeros(plan_->outputs_)),
      Yb_(zeros(plan_->outputs_)),
      X_(zeros(2 * plan_->length_ * static_cast<std::size_t>(plan_->observation_->grid.fftpad))),
      spectrum_(zeros(X_.size())),
      table_(zeros(plan_->outputs_)),
      F_({}, *std::ranges::max_element(plan_->blocks_)),
      half_({}, plan_->settings_.interbin ? F_.size() : 0),
      delay_(plan_->observation_->band.N + plan_->tail_ + most_margin + 2) {}

template <class Real>
void FastEngine<Real>::set_sky(const SkyPoint& point) {
  const auto& p = *plan_;
  const auto& band = p.observation_->band;
  point_ = point;
  valid_ = false;
  sums_ = {};
  std::fill(Ya_.data(), Ya_.data() + Ya_.size(), std::complex<Real>{});
  std::fill(Yb_.data(), Yb_.data() + Yb_.size(), std::complex<Real>{});
  const auto n = point.sky.direction();
  const std::size_t half = p.length_ / 2;
  shift_origin_ = p.shift_origin(n);
  for (std::size_t which = 0; which < p.detectors_.size(); ++which) {
    const auto& d = p.detectors_[which];
    const auto modulation = d.modulation.at(point.sky.sin_d, point.sky.cos_d);
    Demodulation<Real> job{.N = band.N,
                           .x = d.x.data(),
                           .y = d.y.data(),
                           .z = d.z.data(),
                           .delay_common = p.sky_delay(which, n, sky_delay_).data(),
                           .cos_sidereal = d.cos_sidereal.data(),
                           .sin_sidereal = d.sin_sidereal.data(),
                           .data = d.data.data(),
                           .direction = n,
                           .shift_origin = shift_origin_,
                           .turns_per_shift = band.oms() / (2 * pi),
                           .turns_per_sample = point.het0 / (2 * pi),
                           .centre_turns = static_cast<double>(p.centre_bin_) / static_cast<double>(band.nfft),
                           .cos_alpha = static_cast<Real>(point.sky.cos_a),
                           .sin_alpha = static_cast<Real>(point.sky.sin_a),
                           .a = {},
                           .b = {}};
    for (std::size_t k = 0; k < 5; ++k) {
      job.a[k] = static_cast<Real>(modulation.a[k]);
      job.b[k] = static_cast<Real>(modulation.b[k]);
    }
    auto *ya = work_.data(), *yb = work_.data() + band.nfft;
    double sums[3];
    p.kernels_->demodulate(job, real(ya), real(yb), delay_.data(), sums);
    extend_delay(delay_, band.N);
    sums_.A += d.weight * sums[0];
    sums_.B += d.weight * sums[1];
    sums_.C += d.weight * sums[2];
    for (auto* y : {ya, yb}) {
      std::fill(y + band.N, y + band.nfft, std::complex<Real>{});
      p.forward_.forward({y, band.nfft}, {y, band.nfft});
      auto* nodes = nodes_begin(nodes_, p.nodes_, y == yb);
      // The band of `length` bins round its centre, below zero frequency at the top of the longer spectrum.
      const auto weight = static_cast<Real>(d.weight);
      const std::complex<Real>* low = y + band.nfft - half;
      p.kernels_->filter(half, p.filter_.data() + half, weight, real(y), real(nodes));
      std::fill(nodes + half, nodes + p.nodes_ - half, std::complex<Real>{});
      p.kernels_->filter(half, p.filter_.data(), weight, real(low), real(nodes + p.nodes_ - half));
      p.backward_.inverse({nodes, p.nodes_}, {nodes, p.nodes_});
      std::copy(nodes + p.nodes_ - halo, nodes + p.nodes_, nodes - halo);
      std::copy(nodes, nodes + halo, nodes + p.nodes_);
    }
    const Resampling resampling{.outputs = p.outputs_,
                                .step = p.step_,
                                .origin = p.margin_,
                                .N = band.N,
                                .delay = delay_.data(),
                                .refine = p.settings_.refine_times,
                                .node_scale = static_cast<double>(p.nodes_) / static_cast<double>(band.nfft),
                                .margin = p.margin_,
                                .degree = p.engine_.spline_degree};
    p.kernels_->resample(resampling, real(nodes_begin(nodes_, p.nodes_, 0)), real(nodes_begin(nodes_, p.nodes_, 1)),
                         real(Ya_.data()), real(Yb_.data()));
  }
  weights_ = f_weights(sums_, p.settings_.form);
  if (p.settings_.interbin) half_bins_ = p.half_bins(point);
}

template <class Real>
void FastEngine<Real>::move_to(const SkyPoint& point) {
  point_ = point;
  valid_ = false;
}

template <class Real>
void FastEngine<Real>::adopt(const FastEngine& other) {
  std::copy_n(other.Ya_.data(), Ya_.size(), Ya_.data());
  std::copy_n(other.Yb_.data(), Yb_.size(), Yb_.data());
  sums_ = other.sums_;
  weights_ = other.weights_;
  half_bins_ = other.half_bins_;
  shift_origin_ = other.shift_origin_;
  move_to(other.point_);
}

/// X = Y times the phase of spindown number ss, and its spectra. In frequency it may be off by whole bins, which
/// bin_offset_ takes back.
template <class Real>
void FastEngine<Real>::form_spectra(int ss) {
  const auto& p = *plan_;
  const auto& grid = p.observation_->grid;
  auto *xa = X_.data(), *xb = X_.data() + X_.size() / 2;
  // From one spindown number to the next the frequency grows by M4, here less whole bins.
  const double step_frequency = grid.M[4] - std::nearbyint(grid.M[4] / grid.M[0]) * grid.M[0];
  if (!valid_) p.kernels_->chirp(p.outputs_, p.chirp(step_frequency, grid.M[5], 0, shift_origin_), real(table_.data()));
  const bool next = valid_ && ss == current_ + 1 && ss - anchored_ < p.engine_.anchor_interval;
  if (!next) {
    p.kernels_->anchor(
        p.outputs_,
        p.chirp(spindown_offset(grid, ss, point_), spindown_of(grid, ss, point_), point_.second.s2, shift_origin_),
        real(Ya_.data()), real(Yb_.data()), real(xa), real(xb));
    anchored_ = ss;
  }
  for (auto* x : {xa, xb}) {  // one after the other, while it is in the cache
    if (next) p.kernels_->advance(p.outputs_, real(table_.data()), real(x));
    const std::size_t length = X_.size() / 2;
    p.transform_.forward({x, length}, {spectrum_.data() + (x - xa), length});
  }
  valid_ = true;
  current_ = ss;
  const double frequency = spindown_offset(grid, anchored_, point_) + (ss - anchored_) * step_frequency;
  bin_offset_ = std::lround((spindown_offset(grid, ss, point_) - frequency) / grid.M[0]) -
                static_cast<std::ptrdiff_t>(p.centre_bin_) * grid.fftpad;
}

/// F half a bin above `count` bins from `begin` on.
template <class Real>
SumAndMax FastEngine<Real>::between_bins(std::size_t begin, std::size_t count, std::span<Real> F) const {
  const auto& p = *plan_;
  const std::size_t length = spectrum_.size() / 2;
  const auto *fa = spectrum_.data(), *fb = fa + length;
  SumAndMax total{0, 0};
  for (std::size_t done = 0; done < count;) {
    const auto at = static_cast<std::size_t>(static_cast<std::ptrdiff_t>(begin + done) + bin_offset_) & (length - 1);
    // The neighbour of the last bin is the first.
    const std::array<std::complex<Real>, 2> last_a{fa[length - 1], fa[0]}, last_b{fb[length - 1], fb[0]};
    const bool last = at == length - 1;
    const std::size_t part = last ? 1 : std::min(count - done, length - 1 - at);
    const auto found = p.kernels_->half_bins(part, half_bins_, real(last ? last_a.data() : fa + at),
                                             real(last ? last_b.data() : fb + at), F.data() + done);
    total = {total.sum + found.sum, std::max(total.max, found.max)};
    done += part;
  }
  return total;
}

/// How the spectra between two bins follow from theirs, with the middle of the data as origin (half_bin_window).
template <class Real>
HalfBins<Real> EnginePlan<Real>::half_bins(const SkyPoint& point) const {
  const auto& band = observation_->band;
  const double middle = static_cast<double>(band.N - 1) / 2 + margin_;
  const auto turn = std::polar(1.0, 2 * pi * middle / static_cast<double>(band.nfft));
  const auto w = f_weights(windowed_sums(point), settings_.form);
  return {{static_cast<Real>(w.aa), static_cast<Real>(w.bb), static_cast<Real>(w.ab)},
          static_cast<Real>(turn.real()),
          static_cast<Real>(turn.imag())};
}

/// A, B, C of the amplitude functions times the half-bins' window.
template <class Real>
AntennaSums EnginePlan<Real>::windowed_sums(const SkyPoint& point) const {
  const auto& band = observation_->band;
  AntennaSums all;
  for (const auto& d : detectors_) {
    const auto modulation = d.modulation.at(point.sky.sin_d, point.sky.cos_d);
    AntennaSums sums;
    for (std::size_t i = 0; i < band.N; ++i) {
      if (d.data[i] == 0) continue;
      const double c = static_cast<double>(d.cos_sidereal[i]), s = static_cast<double>(d.sin_sidereal[i]);
      double a, b;
      modulation.evaluate(point.sky.cos_a * c + point.sky.sin_a * s, point.sky.sin_a * c - point.sky.cos_a * s, a, b);
      const double window = half_bin_window(band, static_cast<double>(i));
      sums.add(window * a, window * b);
    }
    all.add(sums, d.weight);
  }
  return all;
}

/// Calls visit(first searched bin, F of the block, sum, max) for every block of normalisation.
template <class Real>
template <class Visit>
void FastEngine<Real>::visit_blocks(const Visit& visit) {
  const auto& p = *plan_;
  const std::size_t length = spectrum_.size() / 2;
  const auto *fa = spectrum_.data(), *fb = fa + length;
  const FBlock<Real> w{static_cast<Real>(weights_.aa), static_cast<Real>(weights_.bb), static_cast<Real>(weights_.ab)};
  std::size_t bin = p.bins_.lo;
  for (const std::size_t count : p.blocks_) {
    SumAndMax total{0, 0};
    for (std::size_t done = 0; done < count;) {  // the bins wrap round at most once
      const auto at = static_cast<std::size_t>((static_cast<std::ptrdiff_t>(bin + done) + bin_offset_)) & (length - 1);
      const std::size_t part = std::min(count - done, length - at);
      const auto found = p.kernels_->f_statistic(part, w, real(fa + at), real(fb + at), F_.data() + done);
      total = {total.sum + found.sum, std::max(total.max, found.max)};
      done += part;
    }
    visit(bin, std::span<const Real>(F_.data(), count), total);
    bin += count;
  }
}

namespace {

/// What F of a block is divided by.
template <class Real>
double block_scale(std::span<const Real> F, double sum, Norm norm, std::vector<Real>& sorted) {
  if (norm == Norm::none) return 1;
  if (norm == Norm::block) return sum / (2 * static_cast<double>(F.size()));
  sorted.assign(F.begin(), F.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(F.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return static_cast<double>(*middle) / median_of_f;
}

}  // namespace

template <class Real>
const std::vector<Candidate>& FastEngine<Real>::candidates(int ss) {
  form_spectra(ss);
  candidates_.clear();
  const double threshold = plan_->settings_.threshold;
  visit_blocks([&](std::size_t bin, std::span<const Real> F, const SumAndMax& total) {
    const double scale = block_scale(F, total.sum, plan_->settings_.norm, sorted_);
    if (plan_->settings_.interbin) {
      const std::span<Real> half(half_.data(), F.size());
      const auto between = between_bins(bin, F.size(), half);
      const double half_scale = block_scale<Real>(half, between.sum, plan_->settings_.norm, sorted_);
      if (!(total.max > threshold * scale || between.max > threshold * half_scale)) return;
      for (std::size_t k = 0; k < F.size(); ++k) {
        if (static_cast<double>(F[k]) > threshold * scale)
          candidates_.push_back({2 * (bin + k), static_cast<double>(F[k]) / scale});
        if (static_cast<double>(half[k]) > threshold * half_scale)
          candidates_.push_back({2 * (bin + k) + 1, static_cast<double>(half[k]) / half_scale});
      }
      return;
    }
    if (!(total.max > threshold * scale)) return;
    for (std::size_t k = 0; k < F.size(); ++k)
      if (static_cast<double>(F[k]) > threshold * scale)
        candidates_.push_back({bin + k, static_cast<double>(F[k]) / scale});
  });
  return candidates_;
}

template <class Real>
std::vector<double> FastEngine<Real>::f_statistic(int ss) {
  form_spectra(ss);
  std::vector<double> all;
  visit_blocks([&](std::size_t bin, std::span<const Real> F, const SumAndMax& total) {
    const double scale = block_scale(F, total.sum, plan_->settings_.norm, sorted_);
    const std::span<Real> half(half_.data(), half_.size() == 0 ? 0 : F.size());
    const double half_scale = half.empty() ? 1
                                           : block_scale<Real>(half, between_bins(bin, half.size(), half).sum,
                                                               plan_->settings_.norm, sorted_);
    for (std::size_t k = 0; k < F.size(); ++k) {
      all.push_back(static_cast<double>(F[k]) / scale);
      if (!half.empty()) all.push_back(static_cast<double>(half[k]) / half_scale);
    }
  });
  return all;
}

std::vector<Peak> choose_peaks(std::span<const Candidate> candidates, Peaks peaks) {
  std::vector<Peak> found;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const auto follows = [&](std::size_t k) {
      return k < candidates.size() && candidates[k].bin == candidates[k - 1].bin + 1;
    };
    if (peaks == Peaks::local) {
      const bool rises = !(i > 0 && follows(i)) || candidates[i].F > candidates[i - 1].F;
      const bool falls = !follows(i + 1) || candidates[i].F > candidates[i + 1].F;
      if (rises && falls) found.push_back({candidates[i].bin, candidates[i].F});
      continue;
    }
    Peak best{candidates[i].bin, candidates[i].F};
    for (; follows(i + 1); ++i)
      if (candidates[i + 1].F >= best.F) best = {candidates[i + 1].bin, candidates[i + 1].F};
    found.push_back(best);
  }
  return found;
}

void append_triggers(const Observation& observation, const SearchSettings& settings, const SkyPoint& point, int ss,
                     std::span<const Candidate> candidates, const Exclusions& exclusions, std::vector<Trigger>& out) {
  for (const auto& peak : choose_peaks(candidates, settings.peaks)) {
    const double bin = static_cast<double>(peak.bin) / (settings.interbin ? 2 : 1);
    const auto trigger = make_trigger(observation, point, ss, bin, peak.F);
    if (!exclusions.rejects(trigger.omega)) out.push_back(trigger);
  }
}

template <class Real>
void search_spindowns(FastEngine<Real>& engine, const Observation& observation, const SearchSettings& settings,
                      const SkyPoint& point, Range spindowns, const Exclusions& exclusions, std::vector<Trigger>& out) {
  for (int ss = spindowns.lo; ss <= spindowns.hi; ++ss)
    append_triggers(observation, settings, point, ss, engine.candidates(ss), exclusions, out);
}

template class EnginePlan<float>;
template class EnginePlan<double>;
template class FastEngine<float>;
template class FastEngine<double>;
template void search_spindowns(FastEngine<float>&, const Observation&, const SearchSettings&, const SkyPoint&, Range,
                               const Exclusions&, std::vector<Trigger>&);
template void search_spindowns(FastEngine<double>&, const Observation&, const SearchSettings&, const SkyPoint&, Range,
                               const Exclusions&, std::vector<Trigger>&);

}  // namespace fachwerk::polgraw
