#pragma once

#include <cstddef>
#include <span>

namespace fachwerk::hyde {

/// min_x ‖h - x‖₁ + λ‖Dx‖₁ for every spectrum by ADMM (Rasti, Ghamisi, Benediktsson 2020, the second step of HyMiNoR).
/// Data are expected in [0, 1].
struct HyminorOptions {
  double lambda = 10;
  double mu1 = 0.5, mu2 = 0.5;
  int iterations = 50;
};

/// In place, spectra [pixels][bands].
///   X = A⁻¹(-μ₁(V₁ - H - L₁) + μ₂Dᵀ(V₂ - L₂)), A = μ₁I + μ₂DᵀD (tridiagonal), V₁ = soft(H - X + L₁, 1/μ₁),
///   V₂ = soft(DX + L₂, λ/μ₂), L₁ += H - X - V₁, L₂ += DX - V₂.
/// While neither multiplier saturates (and μ₁ = μ₂) the iterate stays exactly (I + DᵀD)⁻¹H; such spectra are done in
/// one solve.
template <class Real>
void hyminor_admm(std::span<Real> spectra, std::size_t bands, const HyminorOptions& options);

/// The exact minimiser of ‖h - x‖₁ + λ‖Dx‖₁ (L1-L1 fused lasso) by dynamic programming over the derivative of the value
/// function, a step function clipped to [-λ, λ]. In place, spectra [pixels][bands].
void hyminor_exact(std::span<float> spectra, std::size_t bands, double lambda);
void fused_lasso_l1(std::span<double> signal, double lambda);

/// ‖h - x‖₁ + λ‖Dx‖₁
double fused_lasso_objective(std::span<const double> h, std::span<const double> x, double lambda);

}  // namespace fachwerk::hyde
