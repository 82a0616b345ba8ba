#pragma once

#include <functional>

#include "direct.hpp"

/// Local maximisation of F around a candidate, and the errors of its parameters (Sieniawska et al. 2019 for the
/// optimisers).
namespace fachwerk::polgraw {

/// F and its exact derivatives by omega, s, delta, alpha.
struct FDerivatives {
  double F = 0;
  std::array<double, 4> gradient{};
  Matrix4 hessian{};
};

/// F summed over frames, each with the candidate brought to its start.
class JointStatistic {
 public:
  /// Frames and how many samples each starts after the candidate's reference time.
  JointStatistic(std::vector<const Observation*> frames, std::vector<double> samples);

  double F(const SignalPoint& point) const;
  /// At the cost of some three evaluations of F.
  FDerivatives derivatives(const SignalPoint& point) const;
  std::int64_t evaluations() const { return evaluations_; }
  const std::vector<DirectStatistic>& frames() const { return frames_; }
  double samples(std::size_t frame) const { return samples_[frame]; }
  SignalPoint in_frame(const SignalPoint& point, std::size_t frame) const;

 private:
  std::vector<DirectStatistic> frames_;
  std::vector<double> samples_;
  mutable std::int64_t evaluations_ = 0;  ///< of F or of its derivatives
};

/// Coordinates in which F falls off as |u|^2 times its signal part: u = 0 is the start. The sky is that of the tangent
/// plane at the start, wrapped round the sphere, so that every u is a point of the sky, with frequency and spindown
/// moved along so that its curvature does not bend the summit's ridge; directions in which the frames hardly tell sky
/// positions apart are kept shorter than half a radian for |u| = 1.
class LocalCoordinates {
 public:
  /// Metric from the Fisher matrices of all frames at the start, the amplitudes projected out.
  LocalCoordinates(const JointStatistic& statistic, const SignalPoint& start);
  SignalPoint point(const std::array<double, 4>& u) const;

 private:
  SignalPoint start_;
  SkyPosition sky_;
  std::array<Vector3, 2> path_;    ///< slope and bend of the detector's path
  double reach_;                   ///< oms + omega
  std::array<double, 16> axes_{};  ///< column k: step of (omega, s, eastward, northward) for unit u_k
};

struct Maximum {
  SignalPoint point;
  double F = 0;
  std::int64_t evaluations = 0;
  bool converged = false;
};
Maximum evaluate_grid(const JointStatistic& statistic, const LocalCoordinates& coordinates, int half_points,
                      double spacing);
/// Nelder & Mead with reflection 1, expansion 2, contraction 1/2 and shrinking by 1/2.
Maximum simplex(const JointStatistic& statistic, const LocalCoordinates& coordinates, double edge, double tolerance);
/// Mesh-adaptive polls of 8 axis and 16 corner points; the mesh halves when none is better.
Maximum mads(const JointStatistic& statistic, const LocalCoordinates& coordinates, double step, double smallest);
/// Inverted: all 80 neighbours at a small step, which grows when none is better and starts again when one is.
Maximum inverted_mads(const JointStatistic& statistic, const LocalCoordinates& coordinates, double step, double range);
/// Newton's method with exact derivatives in a region of trust, which shrinks where F is not the quadratic.
Maximum newton(const JointStatistic& statistic, const LocalCoordinates& coordinates, double tolerance);

/// Fisher matrix of (omega, s, delta, alpha, A1..A4) of a signal in one frame, row-major 8x8, and its inverse. Scaled
/// to unit diagonal and inverted in extended precision. Throws method_failed when it is not positive definite.
struct FisherInformation {
  std::array<double, 64> matrix{}, covariance{};
};
FisherInformation fisher_information(const Observation& observation, const SignalPoint& point, const Amplitudes& A);

}  // namespace fachwerk::polgraw
