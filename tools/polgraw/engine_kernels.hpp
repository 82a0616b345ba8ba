#pragma once

#include <array>
#include <cstddef>

/// Inner loops of the fast search, one compiled variant for each vector unit. Complex numbers are interleaved (re, im).
/// Real is float (mixed precision) or double; phases are always formed and reduced in double.
namespace fachwerk::polgraw {

/// Demodulation of one detector at one sky point.
template <class Real>
struct Demodulation {
  std::size_t N;
  const double *x, *y, *z, *delay_common;   ///< position in samples; delay that is the same for all directions
  const Real *cos_sidereal, *sin_sidereal;  ///< of the local sidereal time
  const Real* data;
  std::array<double, 3> direction;
  double shift_origin;                       ///< shift_0
  double turns_per_shift, turns_per_sample;  ///< oms / 2 pi and het0 / 2 pi
  double centre_turns;                       ///< centre of the band, turns a sample
  Real cos_alpha, sin_alpha;
  std::array<Real, 5> a, b;  ///< of AmplitudeModulation::AtDeclination
};

/// Phase exp(-2 pi i (linear t + quadratic t^2 + cubic t^3)), t = -origin, step - origin, 2 step - origin, ..., in
/// turns.
struct Chirp {
  double linear, quadratic, cubic;
  int step, origin;
};

/// Resampling of one detector's pair of series.
struct Resampling {
  std::size_t outputs;  ///< length of the resampled series
  int step, origin;     ///< output j is barycentric sample j step - origin
  std::size_t N;
  const double* delay;  ///< N + tail + margin values
  bool refine;          ///< second step of the inversion of time
  double node_scale;    ///< nodes a sample
  int margin;           ///< samples beyond both ends of the data in which interpolated values are taken
  int degree;           ///< 3, 5 or 7
};

/// F from the spectra, w as in FWeights.
template <class Real>
struct FBlock {
  Real aa, bb, ab;
};

/// F half-way between two bins: the spectra there are the sums of the lower one and the upper one times `turn`
/// (half_bin_window), the weights those of the window.
template <class Real>
struct HalfBins {
  FBlock<Real> weights;
  Real turn_re, turn_im;
};

struct SumAndMax {
  double sum;
  double max;
};

template <class Real>
struct Kernels {
  /// Writes a x e^{-i phase}, b x e^{-i phase}, the delay shift_i - shift_0, and the sums of a^2, b^2, ab where data is
  /// present.
  void (*demodulate)(const Demodulation<Real>&, Real* ya, Real* yb, double* delay, double* sums);
  /// out[k] = spectrum[k] filter[k] weight for the `n` bins.
  void (*filter)(std::size_t n, const Real* filter, Real weight, const Real* spectrum, Real* out);
  /// Adds the B-splines with coefficients a, b at the nodes 0, 1, 2, ... (which go on for `margin` samples and the taps
  /// at both ends).
  void (*resample)(const Resampling&, const Real* a, const Real* b, Real* out_a, Real* out_b);
  /// table[j] = chirp.
  void (*chirp)(std::size_t n, const Chirp&, Real* table);
  /// xa = ya * chirp, xb = yb * chirp.
  void (*anchor)(std::size_t n, const Chirp&, const Real* ya, const Real* yb, Real* xa, Real* xb);
  /// x *= table.
  void (*advance)(std::size_t n, const Real* table, Real* x);
  /// F of n bins; its sum and maximum.
  SumAndMax (*f_statistic)(std::size_t n, const FBlock<Real>&, const Real* xa, const Real* xb, Real* F);
  /// The same half a bin above n bins; of the spectra n + 1 bins are read.
  SumAndMax (*half_bins)(std::size_t n, const HalfBins<Real>&, const Real* xa, const Real* xb, Real* F);
};

namespace isa_baseline {
const Kernels<float>& kernels(float);
const Kernels<double>& kernels(double);
}  // namespace isa_baseline
namespace isa_avx2 {
const Kernels<float>& kernels(float);
const Kernels<double>& kernels(double);
}  // namespace isa_avx2
namespace isa_avx512 {
const Kernels<float>& kernels(float);
const Kernels<double>& kernels(double);
}  // namespace isa_avx512

}  // namespace fachwerk::polgraw
