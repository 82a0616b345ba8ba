#pragma once

#include "lowrank.hpp"
#include "noise.hpp"
#include "scratch.hpp"

namespace fachwerk::hyde {

/// The first `rank` principal components of the spectra as they are (not centred).
LowRank principal_components(const Source& source, const Matrix& gram, std::size_t rank);

/// Minimum noise fraction (Green et al. 1988): the same of noise-whitened spectra.
LowRank minimum_noise_fraction(const Source& source, const Matrix& gram, const Noise& noise, std::size_t rank);

/// (2 radius + 1)² median of every band.
void median_bands(const Source& source, std::size_t radius, const Sink& sink, ScratchLimit limit = {});

/// Moment matching along columns: every column of a band gets the mean and standard deviation that a smooth curve
/// through its neighbours' (a median over 2 * `reach` + 1 columns) says; reach 0 takes those of the whole band.
void destripe(const Source& source, std::size_t reach, const Sink& sink, ScratchLimit limit = {});

}  // namespace fachwerk::hyde
