#pragma once

#include "direct.hpp"
#include "matrix.hpp"

/// The summits of F next to the triggers of a search: clusters of triggers, and F maximised off the grid by means of
/// short sums of the data, at a small part of what F itself costs. polgraw-follow-up's optimisers use F itself.
namespace fachwerk::polgraw {

/// F next to a point. The data, demodulated with the phase of the point, is summed over pieces of at most 300 s; F
/// elsewhere follows from the change of phase between the pieces and a, b at their middles. With n pieces a phase that
/// changes by x over the frame costs (x / n)^2 / 12 of the power, the change of a and b some 1e-5.
class LocalStatistic {
 public:
  LocalStatistic(const Observation& observation, const SignalPoint& centre);

  double F(const SignalPoint& point) const;
  /// Coordinates in which a signal's power falls off as |u|^2 round the centre: of frequency, spindown, second spindown
  /// and two of the sky, those that the observation's grid has; a step in the sky is at most half a radian for |u| = 1.
  using U = std::array<double, 5>;
  SignalPoint at(const U& u) const;
  bool has(std::size_t coordinate) const { return axes_[6 * coordinate] != 0; }

 private:
  struct Piece {
    double t, count;  ///< sample at its middle, samples that are present
    std::complex<double> z;
    Vector3 position;
    double delay, cos_sidereal, sin_sidereal;
    double phase;  ///< of the centre
  };
  struct Detector {
    AmplitudeModulation modulation;
    double weight;
    std::vector<Piece> pieces;
  };
  double phase(const SignalPoint& point, const Vector3& n, const Piece& piece) const;
  SignalPoint moved(const U& step) const;

  const Observation& observation_;
  SignalPoint centre_;
  Vector3 n_, east_, north_;
  Vector3 slope_{}, bend_{};  ///< of the detector's path, which is position + slope t + bend t^2 nearly
  std::vector<Detector> detectors_;
  Square<5> axes_{};  ///< column k: the step of unit u_k
};

/// A local maximum of F.
struct Summit {
  SignalPoint point;
  double F = 0;
  int evaluations = 0;  ///< of F from short sums
  bool converged = false;
};
/// Newton's method from `start`, by differences of F from short sums.
Summit refine(const Observation& observation, const SignalPoint& start);

inline SignalPoint signal_point(const Trigger& t) {
  return {t.omega, t.s, t.delta, t.alpha, t.s2};
}
/// Square root of the part of the power that the grid's metric says is lost from a to b. Points of the grid that are
/// neighbours are at most two covering radii apart, 2 sqrt(1 - c0).
double grid_distance(const Observation& observation, const SignalPoint& a, const SignalPoint& b);

/// Clusters of triggers, the loudest first: a trigger within a distance of 1 of a louder one that heads a cluster
/// belongs to that one.
class Clusters {
 public:
  Clusters(std::span<const Trigger> triggers, std::span<const int> source, std::span<const Observation* const> sources);
  /// Row of the loudest trigger that no cluster has (the first among equals); nothing when all are taken.
  std::optional<std::size_t> next();
  /// A cluster round a trigger, which need not be one of these.
  void add(const Trigger& head, int source) { heads_.push_back({signal_point(head), source}); }

 private:
  struct Head {
    SignalPoint point;
    int source;
  };
  std::span<const Trigger> triggers_;
  std::span<const int> source_;
  std::span<const Observation* const> sources_;
  std::vector<std::size_t> order_;  ///< rows by falling snr
  std::size_t at_ = 0;
  std::vector<Head> heads_;
};

}  // namespace fachwerk::polgraw
