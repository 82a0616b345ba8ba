#pragma once

#include <complex>
#include <vector>

#include "observation.hpp"

/// The F-statistic from its two demodulated sums, its normalisation and its peaks (Jaranowski, Krolak, Schutz 1998,
/// sec. III).
namespace fachwerk::polgraw {

enum class Form {
  full,     ///< (B|Fa|^2 + A|Fb|^2 - 2 C Re(Fa Fb*)) / (AB - C^2)
  diagonal  ///< |Fa|^2/A + |Fb|^2/B: the cross term left out
};
enum class Norm {
  block,   ///< divide by half the mean of each block
  median,  ///< divide by the median of each block over that of chi^2_4/2: a strong line does not pull it down
  none     ///< white noise of known variance
};
enum class Peaks {
  run,   ///< the largest value of every run of bins above threshold (the last among equals)
  local  ///< every strict local maximum above threshold
};

/// Noise-weighted sums over samples and detectors of a^2, b^2 and ab.
struct AntennaSums {
  double A = 0, B = 0, C = 0;

  void add(double a, double b) {
    A += a * a;
    B += b * b;
    C += a * b;
  }
  void add(const AntennaSums& other, double weight) {
    A += weight * other.A;
    B += weight * other.B;
    C += weight * other.C;
  }
};

/// F = waa |Fa|^2 + wbb |Fb|^2 + wab Re(Fa Fb*).
struct FWeights {
  double aa = 0, bb = 0, ab = 0;
};
FWeights f_weights(const AntennaSums& sums, Form form);

/// Lengths of the blocks in which `bins` bins are normalised: `nav` each; the last takes a remainder below nav/2, a
/// larger one is a block of its own. With `drop_remainder` (the original's error) the remainder belongs to no block.
std::vector<std::size_t> normalisation_blocks(std::size_t bins, std::size_t nav, bool drop_remainder);
/// Divides each block of F so that its mean (or median) is that of noise.
void normalise(std::span<double> F, std::span<const std::size_t> blocks, Norm norm);
constexpr double median_of_f = 1.6783469900166612;  ///< of (1 + F) e^-F = 1/2

struct Peak {
  std::size_t bin = 0;
  double F = 0;
};
std::vector<Peak> find_peaks(std::span<const double> F, double threshold, Peaks peaks);

/// ln of the odds for a signal against noise or a line in one detector, with prior odds even between detectors and
/// between noise and line at F = `transition`: F - ln((e^F* + mean_X e^F_X) / 2) (Keitel et al., Phys. Rev. D 89 (2014)
/// 064023, with p_L = 1/2).
double line_robust(double F, std::span<const double> of_detectors, double transition);

/// rho = sqrt(2 (F - 2)).
inline double snr(double F) {
  return std::sqrt(std::max(0.0, 2 * (F - 2)));
}
/// Probability that F of noise exceeds F0 in one bin: (1 + F0) exp(-F0).
inline double exceedance(double F0) {
  return (1 + F0) * std::exp(-F0);
}

}  // namespace fachwerk::polgraw
