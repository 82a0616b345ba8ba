#pragma once

#include <cstddef>

#include "compute/host_device.hpp"
#include "engine_kernels.hpp"

/// What the fast search does with one sample or bin: plain functions that the CPU's loops and the CUDA kernels share.
/// They live in the namespace of the vector unit that they are compiled for.
#ifndef FACHWERK_ISA
#define FACHWERK_ISA isa_portable
#endif

namespace fachwerk::polgraw::FACHWERK_ISA {

template <class Real>
struct Complex2 {
  Real re, im;
};

/// Nearest integer of |x| < 2^51, by the rounding of an addition: vectorises on any unit.
FACHWERK_HD inline double nearest(double x) {
  constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52
  return (x + magic) - magic;
}
FACHWERK_HD inline float nearest(float x) {
  constexpr float magic = 12582912.0F;  // 1.5 * 2^23
  return (x + magic) - magic;
}

/// sin x and cos x for |x| <= pi/4 by their Taylor series, to rounding.
template <class Real>
FACHWERK_HD inline Real sine_series(Real x) {
  const Real q = x * x;
  if constexpr (sizeof(Real) == 4) {
    return x + x * q * (Real(-1.0 / 6) + q * (Real(1.0 / 120) + q * (Real(-1.0 / 5040) + q * Real(1.0 / 362880))));
  } else {
    return x +
           x * q *
               (-1.0 / 6 +
                q * (1.0 / 120 + q * (-1.0 / 5040 +
                                      q * (1.0 / 362880 + q * (-1.0 / 39916800 +
                                                               q * (1.0 / 6227020800 + q * (-1.0 / 1307674368000)))))));
  }
}
template <class Real>
FACHWERK_HD inline Real cosine_series(Real x) {
  const Real q = x * x;
  if constexpr (sizeof(Real) == 4) {
    return 1 + q * (Real(-0.5) +
                    q * (Real(1.0 / 24) + q * (Real(-1.0 / 720) + q * (Real(1.0 / 40320) - q * Real(1.0 / 3628800)))));
  } else {
    return 1 + q * (-0.5 + q * (1.0 / 24 + q * (-1.0 / 720 +
                                                q * (1.0 / 40320 +
                                                     q * (-1.0 / 3628800 +
                                                          q * (1.0 / 479001600 + q * (-1.0 / 87178291200 +
                                                                                      q * (1.0 / 20922789888000))))))));
  }
}

/// exp(-2 pi i turns): reduced in double to an eighth of a turn, then evaluated in Real.
template <class Real>
FACHWERK_HD inline Complex2<Real> turn_back(double turns) {
  const Real r = Real(turns - nearest(turns));
  const Real q = nearest(4 * r);
  const Real x = (r - Real(0.25) * q) * Real(6.283185307179586477);
  const Real s = sine_series(x), c = cosine_series(x);
  // q is -2..2: an odd quarter swaps sine and cosine.
  const bool odd = q * q == 1, opposite = q * q == 4;
  const Real cos_q = odd ? -q * s : (opposite ? -c : c);
  const Real sin_q = odd ? q * c : (opposite ? -s : s);
  return {cos_q, -sin_q};
}

template <class Real>
FACHWERK_HD inline Complex2<Real> multiply(Complex2<Real> a, Complex2<Real> b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

/// One sample of the demodulation.
template <class Real>
struct Demodulated {
  Complex2<Real> a, b;
  double delay;
  Real amplitude_a, amplitude_b;  ///< 0 where data is missing
};
template <class Real>
FACHWERK_HD inline Demodulated<Real> demodulate_sample(const Demodulation<Real>& d, std::size_t i) {
  const double t = double(int(i));
  const double shift = d.direction[0] * d.x[i] + d.direction[1] * d.y[i] + d.direction[2] * d.z[i] + d.delay_common[i];
  const double delay = shift - d.shift_origin;
  const double turns = d.turns_per_shift * shift + d.turns_per_sample * t + d.centre_turns * (t + delay);
  const auto phase = turn_back<Real>(turns);
  const Real cos_u = d.cos_alpha * d.cos_sidereal[i] + d.sin_alpha * d.sin_sidereal[i];
  const Real sin_u = d.sin_alpha * d.cos_sidereal[i] - d.cos_alpha * d.sin_sidereal[i];
  const Real cc = 2 * cos_u * cos_u, cs = 2 * cos_u * sin_u;
  const Real data = d.data[i];
  const Real present = data == 0 ? Real(0) : Real(1);
  const Real a = present * (d.a[0] + d.a[1] * cos_u + d.a[2] * sin_u + d.a[3] * cc + d.a[4] * cs);
  const Real b = present * (d.b[0] + d.b[1] * cos_u + d.b[2] * sin_u + d.b[3] * cc + d.b[4] * cs);
  const Real xa = a * data, xb = b * data;
  return {{xa * phase.re, xa * phase.im}, {xb * phase.re, xb * phase.im}, delay, a, b};
}

FACHWERK_HD inline double chirp_turns(const Chirp& chirp, std::size_t j) {
  const double t = double(int(j) * chirp.step - chirp.origin);
  return t * (chirp.linear + t * (chirp.quadratic + t * chirp.cubic));
}

/// Weights of the centred B-spline of odd degree D at fraction f of an interval, for the D + 1 nodes around it, by the
/// recurrence of Cox and de Boor on a uniform grid.
template <int D, class Real>
FACHWERK_HD inline void bspline_weights(Real f, Real (&w)[8]) {
  w[0] = 1;
  for (int d = 1; d <= D; ++d) {
    const Real inverse = Real(1.0 / d);
    w[d] = f * w[d - 1] * inverse;
    for (int k = d - 1; k > 0; --k)
      w[k] = ((f + Real(d - k)) * w[k - 1] + (Real(k + 1) - f) * w[k]) * inverse;
    w[0] = (1 - f) * w[0] * inverse;
  }
}

/// Detector time of barycentric time `barycentric` (whole samples): solves t + delay(t) = barycentric to first order,
/// with `refine` one step further. `delay` reaches two samples beyond N and is constant before 0.
FACHWERK_HD inline double detector_time(int barycentric, std::size_t N, const double* delay, bool refine) {
  const double last = double(int(N - 1));
  double t = double(barycentric) - delay[barycentric < 0 ? 0 : barycentric];
  if (refine) {
    const double inside = t < 0 ? 0 : (t > last ? last : t);
    const int k = int(inside);
    const double fraction = inside - double(k);
    t = double(barycentric) - (delay[k] + fraction * (delay[k + 1] - delay[k]));
  }
  return t;
}

template <class Real>
FACHWERK_HD inline Real f_value(const FBlock<Real>& w, Complex2<Real> a, Complex2<Real> b) {
  return w.aa * (a.re * a.re + a.im * a.im) + w.bb * (b.re * b.re + b.im * b.im) + w.ab * (a.re * b.re + a.im * b.im);
}

template <class Real>
FACHWERK_HD inline Real half_bin_value(const HalfBins<Real>& h, Complex2<Real> a, Complex2<Real> a_next,
                                       Complex2<Real> b, Complex2<Real> b_next) {
  const auto ta = multiply(a_next, {h.turn_re, h.turn_im}), tb = multiply(b_next, {h.turn_re, h.turn_im});
  return f_value<Real>(h.weights, {a.re + ta.re, a.im + ta.im}, {b.re + tb.re, b.im + tb.im});
}

}  // namespace fachwerk::polgraw::FACHWERK_ISA
