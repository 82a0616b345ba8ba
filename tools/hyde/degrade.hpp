#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cube.hpp"

namespace fachwerk::hyde {

/// Noise models of hyperspectral cubes. All work in place on a cube [rows][cols][bands] scaled to [0, 1], and draw
/// numbers by (seed, band, pixel): the same for any threads and tiles.
struct Degraded {
  std::vector<double> sigma;             ///< Gaussian part, per band; 0 where none
  std::vector<std::uint8_t> bands = {};  ///< 1 where a band was hit (impulses, stripes, dead lines)
};

/// sigma for a signal-to-noise ratio: sqrt(mean(x²)/10^(dB/10)).
double sigma_for_snr(std::span<const float> cube, double snr_db);

/// A ratio drawn from U(least, most) for a blind experiment.
double blind_snr(double least, double most, std::uint64_t seed);

/// White Gaussian noise, the given sigma per band.
Degraded add_gaussian(std::span<float> cube, Extent extent, const std::vector<double>& sigma, std::uint64_t seed);

/// sigma per band: "uniform" draws from U(0, largest); "bell" is a Gaussian curve over bands that peaks in the middle.
std::vector<double> noniid_profile(const std::string& profile, std::size_t bands, double largest, std::uint64_t seed);

/// Poisson noise of a given signal-to-noise ratio: Poisson(a_b x)/a_b with a_b = 10^(dB/10) Σx/Σx² per band. Negative
/// values count as zero.
void add_poisson(std::span<float> cube, Extent extent, double snr_db, std::uint64_t seed);

/// Salt and pepper in a fraction of the bands, one of `amounts` (fraction of pixels) each; `salt` is the share of ones.
Degraded add_impulses(std::span<float> cube, Extent extent, const std::vector<double>& amounts, double salt,
                      double bands, std::uint64_t seed);

/// Stripes in a fraction of the bands: between least and most of the columns get an offset from U(-0.25, 0.25).
Degraded add_stripes(std::span<float> cube, Extent extent, double least, double most, double bands, std::uint64_t seed);

/// Dead lines: the same number of columns set to zero.
Degraded add_deadlines(std::span<float> cube, Extent extent, double least, double most, double bands,
                       std::uint64_t seed);

/// Lines of missing values: `lines` columns chosen at random lose bands [first, last). Values become zero; returns the
/// mask [pixels][bands], 1 = observed.
std::vector<std::uint8_t> drop_lines(std::span<float> cube, Extent extent, std::size_t lines, std::size_t first,
                                     std::size_t last, std::uint64_t seed);

}  // namespace fachwerk::hyde
