#pragma once

#include "matrix.hpp"
#include "search.hpp"

/// Reduced Fisher matrices of the phase parameters, un-normalised (times N, N^2, N^3 for frequency and spindowns, N for
/// the sky), time origin at the frame's start: the power lost at a small step d is d^T Gamma d. Detectors are weighted
/// with 1/sigma^2 (equally where a variance is not set).
namespace fachwerk::polgraw {

/// Of (omega, s, al1, al2), linear phase model (Astone et al. 2010, sec. III).
Matrix4 reduced_fisher(const Observation& observation);
/// The same of (omega, s), (omega, s, s2), (omega, s, al1, al2) or (omega, s, s2, al1, al2), by n.
template <std::size_t n>
Square<n> linear_fisher(const Observation& observation);

/// The same parameters with the whole phase at a sky position and the weights a, b of the F-statistic there: the Fisher
/// matrix with the four amplitudes, of a circularly polarised signal, whose amplitudes are then taken out by Schur's
/// complement. The sky's axes lie in the ecliptic plane; what the third component adds towards the ecliptic is left
/// out.
template <std::size_t n>
Square<n> exact_fisher(const Observation& observation, const SkyPosition& sky);
/// Mean of it over directions spread evenly over the sphere.
template <std::size_t n>
Square<n> exact_fisher(const Observation& observation);

}  // namespace fachwerk::polgraw
