#pragma once

#include "joint_statistic.hpp"

/// Local maximisation of F around a candidate (Sieniawska et al. 2019 for the optimisers).
namespace fachwerk::polgraw {

/// Local coordinates; those beyond the number of free parameters stay 0.
using Local = std::array<double, phase_parameters>;

/// Coordinates in which F falls off as |u|^2 times its signal part: u = 0 is the start. The sky is that of the tangent
/// plane at the start, wrapped round the sphere, so that every u is a point of the sky, with frequency and spindown
/// moved along so that its curvature does not bend the summit's ridge; directions in which the frames hardly tell sky
/// positions apart are kept shorter than half a radian for |u| = 1.
class LocalCoordinates {
 public:
  /// Metric from the Fisher matrices of all frames at the start, the amplitudes projected out.
  LocalCoordinates(const JointStatistic& statistic, const SignalPoint& start, const FreeParameters& free = {});
  SignalPoint point(const Local& u) const;
  std::size_t dimensions() const { return places_.size(); }

 private:
  SignalPoint start_;
  SkyPosition sky_;
  std::vector<std::size_t> places_;
  std::array<Vector3, 2> path_;  ///< slope and bend of the detector's path
  double reach_;                 ///< oms + omega
  PhaseMatrix axes_{};           ///< column k: step of (omega, s, s2, eastward, northward) for unit u_k
};

struct Maximum {
  SignalPoint point;
  double F = 0;
  std::int64_t evaluations = 0;
  bool converged = false;
};

/// The best of the points of a lattice An* round the start whose covering radius is that of a minimal match, `half`
/// steps to either side along each of its vectors.
Maximum lattice_start(const JointStatistic& statistic, const LocalCoordinates& coordinates, int half,
                      double minimal_match);
/// The best of the (2 half + 1)^n points of a box: `step` apart in the parameters (omega, s, s2, delta, alpha); those
/// with no step stay as they are.
Maximum box_start(const JointStatistic& statistic, const SignalPoint& start, const Phase& step, int half);

/// Nelder & Mead with reflection 1, expansion 2, contraction 1/2 and shrinking by 1/2.
Maximum simplex(const JointStatistic& statistic, const LocalCoordinates& coordinates, double edge, double tolerance);
/// Mesh-adaptive polls of axis and corner points (8 and 16 of four parameters); the mesh halves when none is better.
Maximum mads(const JointStatistic& statistic, const LocalCoordinates& coordinates, double step, double smallest);
/// Inverted: all neighbours (80 of four parameters) at a small step, which grows when none is better and starts again
/// when one is.
Maximum inverted_mads(const JointStatistic& statistic, const LocalCoordinates& coordinates, double step, double range);
/// Polls 16 points on a circle in frequency and spindown; everything else stays. The circle halves when none is better.
Maximum sky_mads(const JointStatistic& statistic, const LocalCoordinates& coordinates, double step, double smallest);
/// Newton's method with exact derivatives in a region of trust, which shrinks where F is not the quadratic.
Maximum newton(const JointStatistic& statistic, const LocalCoordinates& coordinates, double tolerance);

}  // namespace fachwerk::polgraw
