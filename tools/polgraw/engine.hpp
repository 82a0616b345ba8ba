#pragma once

#include <memory>

#include "engine_kernels.hpp"
#include "search.hpp"

/// The fast search. Same statistic as PlainEngine, with
/// - the detectors merged for each sky point (one shift_0, so that the spindown's phase is common to all);
/// - half the sampling rate: only omega in [0, pi] is kept, as N/2 complex samples, so every transform is half as long;
/// - interpolation by B-splines whose prefilter is part of the spectrum's product: no spline is solved;
/// - from one spindown to the next one complex product by a table, with exact phases every `anchor_interval` steps;
/// - F, block sums and threshold in one pass over cached blocks.
namespace fachwerk::polgraw {

struct EngineSettings {
  bool half_rate = true;
  int spline_degree = 5;  ///< 3, 5 or 7
  int anchor_interval = 16;
};

/// A bin above threshold before peaks are chosen.
struct Candidate {
  std::size_t bin = 0;  ///< of fftpad * nfft; with interbinning of twice as many
  double F = 0;
};

/// What all threads share: tables of the detectors, filters, transforms.
template <class Real>
class EnginePlan {
 public:
  EnginePlan(const Observation& observation, const SearchSettings& settings, const EngineSettings& engine);

 private:
  template <class>
  friend class FastEngine;
  template <class>
  friend class DeviceEngine;
  struct Detector {
    std::vector<double> x, y, z, delay;
    std::vector<Real> cos_sidereal, sin_sidereal, data;
    AmplitudeModulation modulation;
    double weight;  ///< 1 / sigma^2
  };
  /// Phase after resampling, where t counts barycentric time from shift_0 on, without its constant: frequency t + s (t
  /// + shift_0)^2 + s2 (t + shift_0)^3, the terms of s2 in shift_0^2 left out as in the signal's model.
  Chirp chirp(double frequency, double s, double s2, double shift_origin) const {
    return {(frequency + 2 * s * shift_origin) / (2 * pi), (s + 3 * s2 * shift_origin) / (2 * pi), s2 / (2 * pi), step_,
            margin_};
  }
  /// Delay of detector d that is not n.r; `work` holds it where it depends on the direction (Shapiro).
  std::span<const double> sky_delay(std::size_t d, const Vector3& n, std::vector<double>& work) const;
  AntennaSums windowed_sums(const SkyPoint& point) const;
  HalfBins<Real> half_bins(const SkyPoint& point) const;
  double shift_origin(const Vector3& n) const;  ///< shift_0: that of the first detector

  const Observation* observation_;
  bool sun_;  ///< the Shapiro delay is taken
  SearchSettings settings_;
  EngineSettings engine_;
  const Kernels<Real>* kernels_;
  std::vector<Detector> detectors_;
  int step_;                  ///< samples of data for one of the reduced series: 2 or 1
  std::size_t tail_;          ///< samples of the resampled series beyond N
  int margin_;                ///< and beyond both ends, where the band-limited series still has values
  std::size_t outputs_;       ///< length of the reduced series
  std::size_t length_;        ///< of its transform, without fftpad
  std::size_t nodes_;         ///< spline nodes: 2 length
  std::size_t centre_bin_;    ///< of nfft
  std::vector<Real> filter_;  ///< band of `length` bins, from the lowest: prefilter and scale
  Bins bins_;
  std::vector<std::size_t> blocks_;
  compute::fft::Complex<Real> forward_, backward_, transform_;
};

/// One thread's buffers.
template <class Real>
class FastEngine {
 public:
  explicit FastEngine(std::shared_ptr<const EnginePlan<Real>> plan);

  void set_sky(const SkyPoint& point);
  /// Another number of the second spindown at the same sky position.
  void move_to(const SkyPoint& point);
  /// The sky point of another engine of the same plan, which must stay there until this returns. Both may search on.
  void adopt(const FastEngine& other);
  /// Bins above threshold, normalised, for spindown number ss, in increasing order. Cheapest when ss grows by one.
  const std::vector<Candidate>& candidates(int ss);
  /// F in all searched bins, normalised; with interbinning each followed by the value half a bin above.
  std::vector<double> f_statistic(int ss);
  const AntennaSums& sums() const { return sums_; }

 private:
  void form_spectra(int ss);
  SumAndMax between_bins(std::size_t begin, std::size_t count, std::span<Real> F) const;
  template <class Visit>
  void visit_blocks(const Visit& visit);

  static compute::Buffer<std::complex<Real>> zeros(std::size_t n) {
    return compute::Buffer<std::complex<Real>>::zeros({}, n);
  }

  std::shared_ptr<const EnginePlan<Real>> plan_;
  compute::Buffer<std::complex<Real>> work_, nodes_, Ya_, Yb_, X_, spectrum_, table_;
  compute::Buffer<Real> F_, half_;
  std::vector<double> delay_, sky_delay_;
  std::vector<Real> sorted_;
  std::vector<Candidate> candidates_;
  SkyPoint point_;
  AntennaSums sums_;
  FWeights weights_;
  HalfBins<Real> half_bins_{};
  double shift_origin_ = 0;
  int anchored_ = 0, current_ = 0;  ///< spindown numbers of the last exact phases and of X_
  bool valid_ = false;
  std::ptrdiff_t bin_offset_ = 0;  ///< searched bin k lies at (k + bin_offset) mod transform length
};

/// Peaks of a sparse, increasing list of bins above threshold.
std::vector<Peak> choose_peaks(std::span<const Candidate> candidates, Peaks peaks);
/// The triggers that one template's bins above threshold make.
void append_triggers(const Observation& observation, const SearchSettings& settings, const SkyPoint& point, int ss,
                     std::span<const Candidate> candidates, const Exclusions& exclusions, std::vector<Trigger>& out);

template <class Real>
void search_spindowns(FastEngine<Real>& engine, const Observation& observation, const SearchSettings& settings,
                      const SkyPoint& point, Range spindowns, const Exclusions& exclusions, std::vector<Trigger>& out);

}  // namespace fachwerk::polgraw
