#include "sensitivity.hpp"

#include <algorithm>
#include <cmath>

#include "cli/error.hpp"
#include "compute/random.hpp"

namespace fachwerk::polgraw {

namespace {

double logistic(double y) {
  return 1 / (1 + std::exp(-y));
}

}  // namespace

double Logistic::at_efficiency(double p) const {
  return x0 - std::log(1 / p - 1) / k;
}

Logistic fit_likelihood(std::span<const EfficiencyPoint> points) {
  // Logistic regression in b + k (h - centre), by Newton's method with halved steps.
  double centre = 0, spread = 0;
  for (const auto& p : points)
    centre += p.h0 / static_cast<double>(points.size());
  for (const auto& p : points)
    spread = std::max(spread, std::abs(p.h0 - centre));
  if (!(spread > 0)) throw method_failed("the efficiency is known at one amplitude alone: no fit");
  const auto likelihood = [&](double b, double k) {
    double sum = 0;
    for (const auto& p : points) {
      const double y = b + k * (p.h0 - centre) / spread;
      sum += p.detected * y - p.trials * (y > 0 ? y + std::log1p(std::exp(-y)) : std::log1p(std::exp(y)));
    }
    return sum;
  };
  double b = 0, k = 0;
  for (int step = 0; step < 200; ++step) {
    double gb = 0, gk = 0, hbb = 0, hbk = 0, hkk = 0;
    for (const auto& p : points) {
      const double x = (p.h0 - centre) / spread, q = logistic(b + k * x), w = p.trials * q * (1 - q);
      gb += p.detected - p.trials * q;
      gk += (p.detected - p.trials * q) * x;
      hbb += w;
      hbk += w * x;
      hkk += w * x * x;
    }
    const double determinant = hbb * hkk - hbk * hbk;
    if (!(determinant > 1e-12))
      throw method_failed("the efficiencies do not bound the fit: use amplitudes nearer to the limit");
    const double db = (hkk * gb - hbk * gk) / determinant, dk = (hbb * gk - hbk * gb) / determinant;
    double t = 1;
    const double here = likelihood(b, k);
    while (t > 1e-6 && likelihood(b + t * db, k + t * dk) < here)
      t /= 2;
    b += t * db;
    k += t * dk;
    if (std::abs(db) + std::abs(dk) < 1e-12 * (1 + std::abs(b) + std::abs(k))) break;
  }
  if (!(k > 0) || k > 1e4)
    throw method_failed("the efficiency does not rise with the amplitude in a way that can be fitted");
  return {centre - b * spread / k, k / spread};
}

Logistic fit_least_squares(std::span<const EfficiencyPoint> points) {
  if (points.size() < 2) throw method_failed("the efficiency is known at one amplitude alone: no fit");
  // From the straight line through the logits, by Gauss-Newton with damping.
  double sx = 0, sy = 0, sxx = 0, sxy = 0;
  const auto n = static_cast<double>(points.size());
  for (const auto& p : points) {
    const double f = std::clamp(p.fraction(), 0.01, 0.99), y = std::log(f / (1 - f));
    sx += p.h0;
    sy += y;
    sxx += p.h0 * p.h0;
    sxy += p.h0 * y;
  }
  double k = (n * sxy - sx * sy) / (n * sxx - sx * sx), x0 = sx / n - sy / n / k;
  const auto residual = [&](double x, double slope) {
    double sum = 0;
    for (const auto& p : points) {
      const double d = p.fraction() - logistic(slope * (p.h0 - x));
      sum += d * d;
    }
    return sum;
  };
  double damping = 1e-6;
  for (int step = 0; step < 500; ++step) {
    double a = 0, b = 0, c = 0, gx = 0, gk = 0;
    for (const auto& p : points) {
      const double q = logistic(k * (p.h0 - x0)), w = q * (1 - q), jx = -k * w, jk = (p.h0 - x0) * w,
                   d = p.fraction() - q;
      a += jx * jx;
      b += jx * jk;
      c += jk * jk;
      gx += jx * d;
      gk += jk * d;
    }
    const double aa = a * (1 + damping), cc = c * (1 + damping), determinant = aa * cc - b * b;
    if (!(determinant > 0)) throw method_failed("the efficiencies do not bound the fit");
    const double dx = (cc * gx - b * gk) / determinant, dk = (aa * gk - b * gx) / determinant;
    if (residual(x0 + dx, k + dk) <= residual(x0, k)) {
      x0 += dx;
      k += dk;
      damping /= 10;
      if (std::abs(dx) < 1e-14 * std::abs(x0) && std::abs(dk) < 1e-12 * std::abs(k)) break;
    } else {
      damping *= 10;
      if (damping > 1e12) break;
    }
  }
  if (!(k > 0)) throw method_failed("the efficiency does not rise with the amplitude");
  return {x0, k};
}

Interval68 bootstrap(std::span<const EfficiencyPoint> points, const Logistic& fit, double p, int samples,
                     std::uint64_t seed) {
  std::vector<double> limits;
  for (int sample = 0; sample < samples; ++sample) {
    compute::Stream random(seed, static_cast<std::uint64_t>(sample), 5000);
    std::vector<EfficiencyPoint> drawn(points.begin(), points.end());
    for (auto& point : drawn) {
      const double q = logistic(fit.k * (point.h0 - fit.x0));
      point.detected = 0;
      for (int trial = 0; trial < static_cast<int>(point.trials); ++trial)
        point.detected += random.uniform() < q ? 1 : 0;
    }
    try {
      limits.push_back(fit_likelihood(drawn).at_efficiency(p));
    } catch (const Error&) {  // a draw without information says nothing
    }
  }
  if (limits.size() < 10) throw method_failed("the efficiencies do not bound the fit's interval");
  std::ranges::sort(limits);
  const auto at = [&](double q) {
    return limits[static_cast<std::size_t>(q * static_cast<double>(limits.size() - 1))];
  };
  return {at(0.16), at(0.84)};
}

}  // namespace fachwerk::polgraw
