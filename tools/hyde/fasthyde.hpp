#pragma once

#include <cstdint>
#include <span>

#include "image.hpp"
#include "lowrank.hpp"
#include "noise.hpp"

namespace fachwerk::hyde {

enum class NoiseType { gaussian, iid };

struct FasthydeOptions {
  std::size_t subspace = 10;                   ///< most dimensions; HySime's rank where that is lower. 0: HySime's rank
  bool exact_subspace = false;                 ///< take `subspace` even where HySime says less
  NoiseType noise_type = NoiseType::gaussian;  ///< gaussian: its own sigma per band; iid: one for all
  Core core = Core::bm3d;
  Matrix protect = {};  ///< [bands, targets] spectra whose directions stay in the subspace
};

/// Fast hyperspectral denoising (Zhuang & Bioucas-Dias 2018): the noise is whitened, the spectra are projected to the
/// signal subspace of HySime, and each eigen-image is denoised on its own. `gram` = gram(source).
LowRank fasthyde(const Source& source, const Matrix& gram, const Noise& noise, const FasthydeOptions& options = {});

struct FasthyinResult {
  LowRank model;
  std::size_t incomplete = 0;  ///< pixels with missing bands
  std::size_t filled = 0;      ///< of these, pixels with too few bands, filled from their surroundings
  std::size_t patterns = 0;    ///< distinct sets of missing bands
};

/// The same with missing values: `observed` is [pixels][bands] or [pixels], 1 = observed. Noise and subspace (`gram`,
/// `noise`) come from the complete pixels; an incomplete one with observed bands Ω has z = (E_Ωᵀ E_Ω)⁻¹ E_Ωᵀ y_Ω; one
/// with fewer observed bands than dimensions is filled by harmonic extension of the eigen-images. Values of `source`
/// that were not observed are not looked at. `source.valid` is ignored.
FasthyinResult fasthyin(const Source& source, std::span<const std::uint8_t> observed, const Matrix& gram,
                        std::size_t complete_pixels, const Noise& noise, const FasthydeOptions& options = {});

/// The source's complete pixels alone: incomplete ones are invalid and read as zero.
Source complete_only(const Source& source, std::span<const std::uint8_t> observed);

/// Variance stabilisation of Poisson data y = gain * counts: 2 sqrt(max(y/gain, 0) + 3/8) (Anscombe 1948).
Source anscombe_source(const Source& source, double gain);
/// Its exact unbiased inverse (closed form of Mäkitalo & Foi 2011), in place; never negative.
void anscombe_inverse(std::span<float> values, double gain);
double anscombe_inverse(double z);

/// Basis with the directions of the given spectra added: [basis, what of the spectra lies outside it], orthonormal.
Matrix with_protected(const Matrix& basis, const Matrix& spectra);

}  // namespace fachwerk::hyde
