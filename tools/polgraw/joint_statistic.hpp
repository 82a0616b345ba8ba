#pragma once

#include "direct.hpp"
#include "matrix.hpp"

/// F of one signal in several frames, with its derivatives, and the Fisher matrix of a signal's parameters.
namespace fachwerk::polgraw {

/// Parameters of the phase in this order: omega, s, s2, delta, alpha.
constexpr std::size_t phase_parameters = 5;
using Phase = std::array<double, phase_parameters>;
using PhaseMatrix = Square<phase_parameters>;

/// F and its exact derivatives by the phase's parameters.
struct FDerivatives {
  double F = 0;
  Phase gradient{};
  PhaseMatrix hessian{};
};

/// How the parameters at a frame that starts `samples` later depend on those at the reference time.
PhaseMatrix frame_jacobian(double samples);

/// F summed over frames, each with the candidate brought to its start.
class JointStatistic {
 public:
  /// Frames and how many samples each starts after the candidate's reference time.
  JointStatistic(std::vector<const Observation*> frames, std::vector<double> samples);

  double F(const SignalPoint& point) const;  ///< may be called by several threads
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

/// Fisher matrix of a signal's phase parameters with the amplitudes projected out, relative to its own power: the power
/// lost at a small step. Amplitudes are those of the data at the point.
PhaseMatrix mismatch_metric(const DirectStatistic& statistic, const SignalPoint& point);

/// Which of the phase's parameters are free.
struct FreeParameters {
  bool second_spindown = false, sky = true;
  std::vector<std::size_t> list() const;  ///< their places in Phase
};

/// Fisher matrix of the free parameters of the phase and of A1..A4 of a signal in one frame, row-major, and its
/// inverse, the Cramer-Rao bound. Scaled to unit diagonal and inverted in extended precision. Throws method_failed when
/// it is not positive definite.
struct FisherInformation {
  std::size_t order = 0;
  std::vector<double> matrix, covariance;
};
FisherInformation fisher_information(const Observation& observation, const SignalPoint& point, const Amplitudes& A,
                                     const FreeParameters& free = {});

/// Frames as one coherent series: what lies between them is missing. Only detectors of the first frame. Where the
/// frames say when the phase of their mixing was 0 their phases are joined; otherwise they count as cut from one
/// series. Throws bad input when the frames do not begin a whole number of samples apart or overlap.
Observation glue_frames(std::span<const Observation* const> frames, std::span<const double> samples);

}  // namespace fachwerk::polgraw
