#pragma once

#include "search.hpp"

/// The F-statistic at one point of parameter space by direct summation with the exact phase: no grid, no transform.
namespace fachwerk::polgraw {

struct SignalPoint {
  double omega = 0, s = 0;
  double delta = 0, alpha = 0;
  double s2 = 0;  ///< second spindown, pi fddot dt^3 / 3
};

/// Demodulated sums Xa = sum x a e^{-i Phi} / sigma^2, Xb alike, with A, B, C of one detector or summed over a network.
struct DirectSums {
  std::complex<double> Xa, Xb;
  AntennaSums sums;
  DirectSums& operator+=(const DirectSums& other);
};
double f_of(const DirectSums& sums, Form form = Form::full);
/// Maximum-likelihood amplitudes; the full form solves the 2x2 system, which for C = 0 is A1 = 2 Re Xa / A, A2 = 2 Re
/// Xb / B, A3 = -2 Im Xa / A, A4 = -2 Im Xb / B.
Amplitudes estimate_amplitudes(const DirectSums& sums);

/// Phi_i = omega (i + n.r) + s i^2 + (oms + 2 s i) n.r [+ s2 (i^3 + 3 i^2 n.r)] (Jaranowski, Krolak, Schutz 1998, eq.
/// 14).
class DirectStatistic {
 public:
  explicit DirectStatistic(const Observation& observation, bool mask_gaps = true, bool einstein_in_axes = false);

  DirectSums detector(std::size_t d, const SignalPoint& point) const;
  DirectSums network(const SignalPoint& point) const;
  double F(const SignalPoint& point) const { return f_of(network(point)); }
  const Observation& observation() const { return observation_; }

 private:
  const Observation& observation_;
  bool mask_gaps_, einstein_in_axes_;
  std::vector<AmplitudeModulation> modulation_;
};

}  // namespace fachwerk::polgraw
