#pragma once

#include <complex>
#include <vector>

#include "compute/fft.hpp"
#include "observation.hpp"

/// Resampling of a demodulated series from detector time to barycentric time (Astone et al. 2010, sec. III D): the
/// plain two-stage form of the community code. The search's fast form is in engine.cpp.
namespace fachwerk::polgraw {

/// Values of the natural cubic spline through (0, y0), (1, y1), ... at `at`; 0 outside [0, n-1].
void natural_spline(std::span<const std::complex<double>> y, std::span<const double> at,
                    std::span<std::complex<double>> out);

/// Two-stage interpolation: zero-pad to nfft, transform, insert zeros up to pad * nfft, transform back, natural spline
/// through the first pad * N points, evaluated at pad * time.
class PlainResampler {
 public:
  PlainResampler(std::size_t N, std::size_t nfft, int pad, compute::fft::Planner planner);
  /// y: N values at 0..N-1; out[i] = y(time[i]).
  void operator()(std::span<const std::complex<double>> y, std::span<const double> time,
                  std::span<std::complex<double>> out);

 private:
  std::size_t N_, nfft_, padded_;
  int pad_;
  compute::fft::Complex<double> forward_, backward_;
  std::vector<std::complex<double>> work_, spectrum_;
  std::vector<double> at_;
};

/// Detector times at which the signal has barycentric time i: solves t + delay(t) = i for t to first order (t = i -
/// delay_i) and, with `refine`, by one fixed-point step more, the delay being linear between samples. `time` may be
/// longer than `delay`, which goes on linearly.
void detector_times(std::span<const double> delay, bool refine, std::span<double> time);
/// `delay` continued linearly from its first n values.
void extend_delay(std::span<double> delay, std::size_t n);

}  // namespace fachwerk::polgraw
