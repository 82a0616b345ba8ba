#include "direct.hpp"

#include "engine_bodies.hpp"

namespace fachwerk::polgraw {

DirectSums& DirectSums::operator+=(const DirectSums& other) {
  Xa += other.Xa;
  Xb += other.Xb;
  sums.A += other.sums.A;
  sums.B += other.sums.B;
  sums.C += other.sums.C;
  return *this;
}

double f_of(const DirectSums& sums, Form form) {
  const auto w = f_weights(sums.sums, form);
  return w.aa * std::norm(sums.Xa) + w.bb * std::norm(sums.Xb) + w.ab * (sums.Xa * std::conj(sums.Xb)).real();
}

Amplitudes estimate_amplitudes(const DirectSums& x) {
  const double determinant = x.sums.A * x.sums.B - x.sums.C * x.sums.C;
  const auto first = 2.0 * (x.sums.B * x.Xa - x.sums.C * x.Xb) / determinant;
  const auto second = 2.0 * (x.sums.A * x.Xb - x.sums.C * x.Xa) / determinant;
  return {first.real(), second.real(), -first.imag(), -second.imag()};
}

DirectStatistic::DirectStatistic(const Observation& observation, bool mask_gaps, bool einstein_in_axes)
    : observation_(observation), mask_gaps_(mask_gaps), einstein_in_axes_(einstein_in_axes) {
  for (const auto& series : observation.detectors)
    modulation_.emplace_back(series.site);
}

DirectSums DirectStatistic::detector(std::size_t d, const SignalPoint& point) const {
  const auto& series = observation_.detectors[d];
  const auto& band = observation_.band;
  const auto& e = series.ephemeris;
  const auto sky = make_sky(point.alpha, point.delta);
  const auto n = sky.direction();
  const auto modulation = modulation_[d].at(sky.sin_d, sky.cos_d);
  const double einstein_factor = e.einstein.empty() ? 0 : (einstein_in_axes_ ? n[0] + n[1] + n[2] : 1);
  const double oms = band.oms();
  // cos u and sin u by rotation, anchored every 256 samples; the phase itself is exact for each sample.
  constexpr std::size_t stretch = 256;
  const std::complex<double> turn = std::polar(1.0, -earth_rotation * band.dt);
  double xa_re = 0, xa_im = 0, xb_re = 0, xb_im = 0;
  DirectSums out;
  for (std::size_t begin = 0; begin < band.N; begin += stretch) {
    const std::size_t end = std::min(band.N, begin + stretch);
    auto u = std::polar(1.0, point.alpha - e.phir - earth_rotation * band.dt * static_cast<double>(begin));
    for (std::size_t i = begin; i < end; ++i, u *= turn) {
      const double x = series.x[i];
      if (x == 0 && mask_gaps_) continue;
      double a, b;
      modulation.evaluate(u.real(), u.imag(), a, b);
      out.sums.A += a * a;
      out.sums.B += b * b;
      out.sums.C += a * b;
      if (x == 0) continue;
      const auto& r = e.position[i];
      const double shift = n[0] * r[0] + n[1] * r[1] + n[2] * r[2] +
                           (einstein_factor == 0 ? 0 : einstein_factor * e.einstein[i]) -
                           (e.sun.empty() ? 0 : shapiro_delay(r, e.sun[i], n, band.dt));
      const auto t = static_cast<double>(i);
      const double phase = point.omega * (t + shift) + point.s * t * t + (oms + 2 * point.s * t) * shift +
                           point.s2 * t * t * (t + 3 * shift) + (series.mixing.empty() ? 0 : series.mixing[i]);
      const auto back = FACHWERK_ISA::turn_back<double>(phase * (1 / (2 * pi)));
      xa_re += x * a * back.re;
      xa_im += x * a * back.im;
      xb_re += x * b * back.re;
      xb_im += x * b * back.im;
    }
  }
  const double weight = 1 / series.sigma2;
  out.Xa = weight * std::complex<double>(xa_re, xa_im);
  out.Xb = weight * std::complex<double>(xb_re, xb_im);
  out.sums = {weight * out.sums.A, weight * out.sums.B, weight * out.sums.C};
  return out;
}

DirectSums DirectStatistic::network(const SignalPoint& point) const {
  DirectSums total;
  for (std::size_t d = 0; d < observation_.detectors.size(); ++d)
    total += detector(d, point);
  return total;
}

}  // namespace fachwerk::polgraw
