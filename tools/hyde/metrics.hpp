#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cube.hpp"

namespace fachwerk::hyde {

/// How near a cube is to its reference. Values that are not finite in either are left out, as are pixels with `valid`
/// 0.
struct Quality {
  double psnr = 0;       ///< dB, peak = largest value of the reference
  double mean_psnr = 0;  ///< dB, mean over bands of the PSNR with each band's own peak
  double snr = 0;        ///< dB, 10 log10(Σ r² / Σ (x - r)²)
  double sam = 0;        ///< radians, mean spectral angle; zero spectra are left out
  double ergas = 0;      ///< 100 sqrt(mean over bands of MSE_b / mean_b²)
  double rmse = 0;
  double mean_ssim = 0;  ///< mean over bands
  std::size_t zero_spectra = 0;
  std::size_t left_out = 0;  ///< values not compared
  std::vector<double> band_psnr, band_rmse, band_ssim;
};

/// Throws bad_input if there is nothing to compare.
Quality compare(std::span<const float> reference, std::span<const float> test, Extent extent,
                std::span<const std::uint8_t> valid = {});

/// Structural similarity of two planes (Wang et al. 2004): 11 x 11 Gaussian window of 1.5, K = 0.01 and 0.03, mean over
/// windows inside the image. NaN where the image is smaller than the window.
double ssim(std::span<const float> a, std::span<const float> b, std::size_t rows, std::size_t cols, double range);

/// What the removed part looks like when no reference is known: white noise has no correlation with itself or the
/// signal.
struct Residual {
  double row_correlation = 0, col_correlation = 0,
         band_correlation = 0;    ///< lag-1 autocorrelation of noisy - denoised, by band scaled
  double signal_correlation = 0;  ///< mean over bands of |corr(residual, denoised)|
  double anomaly_ratio =
      0;  ///< RX score of the 0.1 % most anomalous pixels: denoised over noisy, each relative to its median
};
Residual residual_statistics(std::span<const float> noisy, std::span<const float> denoised, Extent extent,
                             std::span<const std::uint8_t> valid = {});

}  // namespace fachwerk::hyde
