#pragma once

#include <cstdint>
#include <span>
#include <vector>

/// Efficiency against amplitude and the upper limit that follows from it.
namespace fachwerk::polgraw {

struct EfficiencyPoint {
  double h0 = 0;
  double trials = 0, detected = 0;
  double fraction() const { return trials > 0 ? detected / trials : 0; }
};

/// p(h0) = 1 / (1 + exp(k (x0 - h0))).
struct Logistic {
  double x0 = 0, k = 0;
  double at_efficiency(double p) const;  ///< h0 where it reaches p
};
/// Binomial maximum likelihood. Throws method_failed when the data does not bound it (all or none detected, or a clean
/// step).
Logistic fit_likelihood(std::span<const EfficiencyPoint> points);
/// Unweighted least squares on the fractions, as in the published runs.
Logistic fit_least_squares(std::span<const EfficiencyPoint> points);

struct Interval68 {
  double lo = 0, hi = 0;
};
/// 68 % interval of h0 at efficiency p by parametric bootstrap.
Interval68 bootstrap(std::span<const EfficiencyPoint> points, const Logistic& fit, double p, int samples,
                     std::uint64_t seed);

}  // namespace fachwerk::polgraw
