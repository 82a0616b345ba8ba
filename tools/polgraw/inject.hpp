#pragma once

#include "compute/random.hpp"
#include "direct.hpp"

/// Simulated data: noise, gaps, signals, lines. Random numbers are keyed by (seed, frame, detector, sample).
namespace fachwerk::polgraw {

struct Injection {
  SignalPoint point;          ///< at the start of the reference frame
  Polarisation polarisation;  ///< h0 in the units of the data
};

/// The signal's parameters at a frame that starts `samples` samples after the reference frame.
SignalPoint at_frame(const SignalPoint& reference, double samples);
/// The same signal there: its phase phi0 goes on too. The mixing's phase is 0 at `mixing_seconds` after the reference
/// frame's start, where it was 0 for the reference frame at its own.
Injection at_frame(const Injection& reference, const Band& band, double samples, double mixing_seconds);

/// The signal in one detector (h_i of sec. 2.4). `exact_phase` keeps every term: omega tau + s tau^2 + oms n.r with
/// tau = i + n.r.
std::vector<double> signal_series(const Series& series, const Band& band, const Injection& injection, bool exact_phase);
/// sqrt(sum over detectors and present samples of h^2 / sigma^2) of a signal with the given variances.
double optimal_snr(const Observation& observation, const Injection& injection);

/// What a random signal is drawn from.
struct Population {
  double s_min = 0, s_max = 0;
  int frames_in_band = 0;  ///< stay inside the band for so many frames before and after
};
/// omega uniform in [pi/20, 19 pi/20], sky isotropic, cos iota uniform, psi and phi0 uniform (redrawn until it stays in
/// the band); h0 is 1.
Injection draw_signal(const Band& band, const Population& population, std::uint64_t seed, std::uint64_t number);

/// The number by which random series of detector `d` are told apart: that of its name among the known sites, so that
/// it does not matter which others are there; of other names that of their place.
std::uint32_t stream_of(const Observation& observation, std::size_t d);
/// White Gaussian noise of standard deviation sigma.
void add_noise(std::span<double> x, double sigma, std::uint64_t seed, std::uint64_t frame, std::uint32_t detector);
/// Gaussian noise whose amplitude spectral density follows the table (Hz, relative amplitude), linear between rows.
void add_coloured_noise(std::span<double> x, const Band& band, std::span<const std::array<double, 2>> table,
                        std::uint64_t seed, std::uint64_t frame, std::uint32_t detector);
/// Two-state Markov gaps: mean durations in seconds of being locked and not. Missing samples become 0.
void add_gaps(std::span<double> x, double dt, double locked, double lost, std::uint64_t seed, std::uint64_t frame,
              std::uint32_t detector);
/// Zero outside the segments (GPS begin, end).
void keep_segments(std::span<double> x, double gps_start, double dt, std::span<const std::array<double, 2>> segments);
/// amplitude cos(omega i + phase): a line, constant in the detector's frame, or, with `wander` (Hz), one whose
/// frequency walks at random by so much in an hour.
void add_line(std::span<double> x, const Band& band, double frequency, double amplitude, double phase,
              double wander = 0, std::uint64_t seed = 0, std::uint32_t detector = 0);
/// Bursts of instrumental noise: sine-Gaussians of any frequency of the band, on average `rate` an hour; the amplitude
/// is exponentially distributed with the given mean, the width Q / (sqrt(2) pi f) with f counted from the band's edge.
struct Glitches {
  double rate = 0, amplitude = 0, quality = 10;
};
void add_glitches(std::span<double> x, const Band& band, const Glitches& glitches, std::uint64_t seed,
                  std::uint64_t frame, std::uint32_t detector);
/// The signal as a detector with a calibration error records it: relative amplitude and phase (rad) drawn once for each
/// frame and detector from normal distributions.
Injection miscalibrated(Injection injection, double amplitude_error, double phase_error, std::uint64_t seed,
                        std::uint64_t frame, std::uint32_t detector);

}  // namespace fachwerk::polgraw
