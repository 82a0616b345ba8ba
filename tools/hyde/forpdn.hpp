#pragma once

#include <optional>
#include <vector>

#include "cube.hpp"
#include "linear.hpp"
#include "noise.hpp"
#include "scratch.hpp"
#include "wavelet.hpp"

namespace fachwerk::hyde {

struct ForpdnOptions {
  Wavelet wavelet = daubechies(6);
  int levels = 5;
  bool wavelet_domain = true;         ///< false: smooth the spectra themselves, one lambda
  bool per_subband = true;            ///< one lambda a subband; false: one a level, as in the paper (about 0.3 dB less)
  std::optional<double> lambda = {};  ///< for all of them; chosen by the risk when empty
  bool published_grid = false;        ///< look for λ in the steps of the published toolbox, with the right risk
  ScratchLimit scratch = {};
};

struct ForpdnResult {
  std::vector<double> lambda;  ///< of the smooth part, then of the details from coarse to fine; for bands scaled to 255
};

/// First-order roughness penalty denoising (Rasti et al. 2014): every spectrum of wavelet coefficients x becomes
/// argmin ½‖C^-½(y - x)‖² + (λ/2)‖Dx‖² = (C⁻¹ + λ DᵀD)⁻¹ C⁻¹ y, λ chosen by Stein's unbiased risk. Bands are
/// scaled to a range of 255 for it and scaled back. The denoised cube goes to `sink` in blocks.
ForpdnResult forpdn(const Source& source, const Noise& noise, const ForpdnOptions& options, const Sink& sink);

/// The risk of one level as a function of λ: SURE(λ) = Σ (1 - f_k)² E_k + 2n Σ f_k - nB with f_k = 1/(1 + λ e_k), where
/// e are the eigenvalues of K = C^½ DᵀD C^½ and E_k the energies of the data along its eigenvectors.
struct RoughnessRisk {
  std::vector<double> eigenvalues, energies;
  double count = 0;  ///< n
  double operator()(double lambda) const;
  /// λ of least risk: 281 points on a log scale, then golden section; 0 is always a candidate.
  double minimiser() const;
  /// The last of 0, step, 2 step, ... <= end before the risk increases.
  double first_minimum(double step, double end) const;
};

/// K's eigenvalues and eigenvectors for noise levels sigma.
Eigen roughness_eigen(const std::vector<double>& sigma);

/// x = (C⁻¹ + λ DᵀD)⁻¹ C⁻¹ y by the LDLᵀ factors of the tridiagonal matrix.
template <class Real>
class RoughnessSmoother {
 public:
  RoughnessSmoother(const std::vector<double>& sigma, double lambda);
  /// In place, for `lanes` neighbouring columns of y; bands are `stride` apart.
  void apply(Real* y, std::size_t stride, std::size_t lanes) const;

 private:
  std::vector<Real> weight_, carry_;  // per band, see the source
};

}  // namespace fachwerk::hyde
