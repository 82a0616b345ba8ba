#pragma once

#include <complex>
#include <cstddef>
#include <string_view>

#include "observation.hpp"

/// Narrow-band series from detector data: bands of short Fourier transforms, mixing and decimation, gaps, tapers,
/// outliers.
namespace fachwerk::polgraw {

/// One short Fourier transform: its start, and the bins from `first_bin` on (bin k is k / length Hz).
struct ShortTransform {
  double gps = 0;
  double length = 0;  ///< s
  std::size_t first_bin = 0;
  std::vector<std::complex<double>> bins;
};
/// SFT files, versions 2 and 3 (the latter with the detector's name in the header; data the same). Throws bad input.
std::vector<ShortTransform> parse_sft(std::span<const std::byte> bytes, const std::string& file);

/// Text dumps of transforms: header lines "% gps T", "% length T", "% band_start F" and "% scale S" hold until the next
/// of their kind, a "% gps" begins a transform, and every other line is one bin, "re im". Throws bad input naming the
/// line.
std::vector<ShortTransform> parse_text_transforms(std::string_view text, const std::string& file);

/// Series of `N` samples of interval dt from GPS `start`: of each transform the bins of the band, as the lower half of
/// an analytic spectrum, transformed back; the middle half of each stretch is taken where transforms overlap by half.
/// Samples that no transform covers are 0.
std::vector<double> band_from_transforms(std::span<const ShortTransform> transforms, double fpo, double dt,
                                         double start, std::size_t N);

/// Transforms of `length` seconds, overlapping by half, of a time series sampled at `rate` Hz; stretches with missing
/// data (NaN) are left out, as far as the band [fpo, fpo + width] is concerned.
std::vector<ShortTransform> transforms_from_series(std::span<const double> strain, double rate, double series_start,
                                                   double length, double fpo, double width);

/// Zero outside the segments, with a cosine (Tukey) taper of `taper` seconds at each of their edges.
void apply_segments(std::span<double> x, double gps_start, double dt, std::span<const std::array<double, 2>> segments,
                    double taper);

/// Segments made narrower at their edges: a sample above `factor` sigma within `reach` seconds of an edge takes the
/// edge behind it. Segments of which nothing is left go.
std::vector<std::array<double, 2>> narrowed_segments(std::span<const double> x, double gps_start, double dt,
                                                     std::span<const std::array<double, 2>> segments, double factor,
                                                     double reach);

enum class Replacement { zero, gauss };
/// |x| > factor sigma; returns how many.
std::size_t replace_outliers(std::span<double> x, double factor, Replacement replacement, std::uint64_t seed);
/// Grubbs' test at level alpha in buffers of `buffer` samples that are present, until none is left; returns how many.
std::size_t replace_grubbs(std::span<double> x, double alpha, std::size_t buffer, Replacement replacement,
                           std::uint64_t seed);
/// Largest distance from the mean, in standard deviations, of n samples of a normal distribution at level alpha.
double grubbs_critical(std::size_t n, double alpha);

/// A sinusoid in the data.
struct FoundLine {
  double frequency = 0, amplitude = 0, F = 0;
  double phase = 0;  ///< at sample 0: amplitude cos(omega i + phase)
};
struct LineSearch {
  double alpha = 0.01;      ///< global false-alarm probability
  int pad = 2;              ///< zero padding of the periodogram
  std::size_t nav = 4096;   ///< bins of a block that is normalised
  std::size_t exclude = 0;  ///< bins left out at both edges of the band
  bool refine = true;       ///< frequencies between bins by a parabola
  std::size_t most = 100;
};
/// Lines in the normalised periodogram, strongest first, each subtracted before the next is looked for.
std::vector<FoundLine> find_lines(std::span<const double> x, const Band& band, const LineSearch& settings);

}  // namespace fachwerk::polgraw
