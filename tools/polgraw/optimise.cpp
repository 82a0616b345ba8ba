#include <algorithm>

#include "followup.hpp"

namespace fachwerk::polgraw {

namespace {

Maximum finish(const JointStatistic& statistic, const LocalCoordinates& c, const Local& u, double F,
               std::int64_t before, bool converged) {
  return {c.point(u), F, statistic.evaluations() - before, converged};
}

double value_at(const JointStatistic& statistic, const LocalCoordinates& c, const Local& u) {
  return statistic.F(c.point(u));
}

}  // namespace

Maximum simplex(const JointStatistic& statistic, const LocalCoordinates& c, double edge, double tolerance) {
  const auto before = statistic.evaluations();
  struct Corner {
    Local u;
    double F;
  };
  const std::size_t n = c.dimensions();
  std::vector<Corner> corners(n + 1);
  for (std::size_t k = 0; k <= n; ++k) {
    corners[k].u = {};
    if (k > 0) corners[k].u[k - 1] = edge;
    corners[k].F = value_at(statistic, c, corners[k].u);
  }
  const auto order = [&] { std::ranges::sort(corners, [](const Corner& a, const Corner& b) { return a.F > b.F; }); };
  bool converged = false;
  for (int step = 0; step < 2000 && !converged; ++step) {
    order();
    double size = 0;
    for (const auto& corner : corners)
      for (std::size_t k = 0; k < n; ++k)
        size = std::max(size, std::abs(corner.u[k] - corners[0].u[k]));
    converged = corners[0].F - corners[n].F < tolerance && size < 1e-2;
    Local middle{};
    for (std::size_t j = 0; j < n; ++j)
      for (std::size_t k = 0; k < n; ++k)
        middle[k] += corners[j].u[k] / static_cast<double>(n);
    const auto along = [&](double t) {
      Corner x{};
      for (std::size_t k = 0; k < n; ++k)
        x.u[k] = middle[k] + t * (corners[n].u[k] - middle[k]);
      x.F = value_at(statistic, c, x.u);
      return x;
    };
    const auto reflected = along(-1);
    if (reflected.F > corners[0].F) {
      const auto expanded = along(-2);
      corners[n] = expanded.F > reflected.F ? expanded : reflected;
    } else if (reflected.F > corners[n - 1].F) {
      corners[n] = reflected;
    } else {
      const auto contracted = along(reflected.F > corners[n].F ? -0.5 : 0.5);
      if (contracted.F > std::max(reflected.F, corners[n].F)) {
        corners[n] = contracted;
      } else {
        for (std::size_t j = 1; j <= n; ++j) {
          for (std::size_t k = 0; k < n; ++k)
            corners[j].u[k] = (corners[j].u[k] + corners[0].u[k]) / 2;
          corners[j].F = value_at(statistic, c, corners[j].u);
        }
      }
    }
  }
  order();
  return finish(statistic, c, corners[0].u, corners[0].F, before, converged);
}

namespace {

/// The best of the points centre + step * direction; true if it is better than `F`.
bool poll(const JointStatistic& statistic, const LocalCoordinates& c, const std::vector<Local>& directions, double step,
          Local& centre, double& F) {
  Local best = centre;
  double highest = F;
  for (const auto& d : directions) {
    auto u = centre;
    for (std::size_t k = 0; k < u.size(); ++k)
      u[k] += step * d[k];
    if (const double value = value_at(statistic, c, u); value > highest) highest = value, best = u;
  }
  const bool better = highest > F;
  centre = best;
  F = highest;
  return better;
}

/// Steps of -1, 0 and 1 along n axes: all of them, or those along one axis or all at once.
std::vector<Local> neighbours(std::size_t n, bool all) {
  std::vector<Local> directions;
  std::size_t codes = 1;
  for (std::size_t k = 0; k < n; ++k)
    codes *= 3;
  for (std::size_t code = 0; code < codes; ++code) {
    Local d{};
    std::size_t rest = code, zeros = 0;
    for (std::size_t k = 0; k < n; ++k, rest /= 3) {
      d[k] = static_cast<double>(rest % 3) - 1;
      zeros += d[k] == 0 ? 1 : 0;
    }
    if (zeros == n || (!all && zeros != 0 && zeros != n - 1)) continue;
    directions.push_back(d);
  }
  return directions;
}

/// Polls until the mesh is finer than `smallest`.
Maximum shrinking_mesh(const JointStatistic& statistic, const LocalCoordinates& c, const std::vector<Local>& directions,
                       double step, double smallest) {
  const auto before = statistic.evaluations();
  Local u{};
  double F = value_at(statistic, c, u);
  for (int round = 0; round < 600 && step > smallest; ++round)
    if (!poll(statistic, c, directions, step, u, F)) step /= 2;
  return finish(statistic, c, u, F, before, step <= smallest);
}

}  // namespace

Maximum mads(const JointStatistic& statistic, const LocalCoordinates& c, double step, double smallest) {
  return shrinking_mesh(statistic, c, neighbours(c.dimensions(), false), step, smallest);
}

Maximum sky_mads(const JointStatistic& statistic, const LocalCoordinates& c, double step, double smallest) {
  constexpr int points = 16;
  std::vector<Local> circle;
  for (int k = 0; k < points; ++k)
    circle.push_back({std::cos(2 * pi * k / points), std::sin(2 * pi * k / points)});
  return shrinking_mesh(statistic, c, circle, step, smallest);
}

Maximum inverted_mads(const JointStatistic& statistic, const LocalCoordinates& c, double step, double range) {
  const auto before = statistic.evaluations();
  const auto directions = neighbours(c.dimensions(), true);
  Local u{};
  double F = value_at(statistic, c, u), now = step;
  for (int round = 0; round < 4000 && now <= range; ++round)
    now = poll(statistic, c, directions, now, u, F) ? step : now + step;
  return finish(statistic, c, u, F, before, now > range);
}

namespace {

/// omega, s, s2, delta, alpha of u, alpha continued from `centre`.
Phase coordinates_at(const LocalCoordinates& c, const Local& u, double centre) {
  const auto p = c.point(u);
  return {p.omega, p.s, p.s2, p.delta, centre + std::remainder(p.alpha - centre, 2 * pi)};
}

/// F with its derivatives by u. The map from u to the parameters is differentiated numerically: it costs nothing. Along
/// coordinates that are not free it falls off by itself, so that no step goes there.
FDerivatives derivatives_by_u(const JointStatistic& statistic, const LocalCoordinates& c, const Local& u) {
  constexpr double h = 1e-3;
  constexpr std::size_t n = phase_parameters;
  const auto middle = c.point(u);
  const auto by = statistic.derivatives(middle);
  const auto at = [&](std::size_t j, double dj, std::size_t k, double dk) {
    auto moved = u;
    moved[j] += dj;
    moved[k] += dk;
    return coordinates_at(c, moved, middle.alpha);
  };
  PhaseMatrix jacobian{};
  FDerivatives out;
  out.F = by.F;
  for (std::size_t j = 0; j < c.dimensions(); ++j) {
    const auto hi = at(j, h, j, 0), lo = at(j, -h, j, 0);
    for (std::size_t i = 0; i < n; ++i)
      jacobian[n * i + j] = (hi[i] - lo[i]) / (2 * h);
  }
  out.hessian = multiply(multiply(transpose(jacobian), by.hessian), jacobian);
  for (std::size_t j = 0; j < n; ++j) {
    if (j >= c.dimensions()) {
      out.hessian[(n + 1) * j] = -1;
      continue;
    }
    for (std::size_t i = 0; i < n; ++i)
      out.gradient[j] += jacobian[n * i + j] * by.gradient[i];
    for (std::size_t k = 0; k < c.dimensions(); ++k) {
      const auto a = at(j, h, k, h), b = at(j, h, k, -h), d = at(j, -h, k, h), e = at(j, -h, k, -h);
      for (std::size_t i = 0; i < n; ++i)
        out.hessian[n * j + k] += by.gradient[i] * (a[i] - b[i] - d[i] + e[i]) / (4 * h * h);
    }
  }
  return out;
}

struct Step {
  Local u{};
  double gain = 0, length = 0;
};
/// The step of at most `radius` to the summit of the quadratic that the derivatives make, and what it would gain.
Step trusted_step(const FDerivatives& f, double radius) {
  const auto eigen = symmetric_eigen(f.hessian);
  constexpr std::size_t n = phase_parameters;
  Local slope{};  // along the eigenvectors
  for (std::size_t k = 0; k < n; ++k)
    for (std::size_t i = 0; i < n; ++i)
      slope[k] += eigen.vectors[n * i + k] * f.gradient[i];
  const double top = eigen.values[n - 1];
  const auto length = [&](double shift) {  // of (shift - Hessian)^-1 gradient
    double sum = 0;
    for (std::size_t k = 0; k < n; ++k)
      sum += std::pow(slope[k] / (shift - eigen.values[k]), 2);
    return std::sqrt(sum);
  };
  double steepness = 0;
  for (double s : slope)
    steepness = std::hypot(steepness, s);
  double shift = 0;
  if (top >= 0 || length(0) > radius) {
    double lo = std::max(0.0, top), hi = lo + 1e-12 + 4 * steepness / radius;
    for (int halving = 0; halving < 60; ++halving)
      (length((lo + hi) / 2) > radius ? lo : hi) = (lo + hi) / 2;
    shift = hi;
  }
  Step step;
  for (std::size_t k = 0; k < n; ++k) {
    const double along = slope[k] / (shift - eigen.values[k]);
    step.gain += along * (slope[k] + eigen.values[k] * along / 2);
    step.length += along * along;
    for (std::size_t i = 0; i < n; ++i)
      step.u[i] += along * eigen.vectors[n * i + k];
  }
  step.length = std::sqrt(step.length);
  return step;
}

}  // namespace

Maximum newton(const JointStatistic& statistic, const LocalCoordinates& c, double tolerance) {
  constexpr double rounding = 1e-10;  // of F: phases are large
  const auto before = statistic.evaluations();
  Local u{};
  auto here = derivatives_by_u(statistic, c, u);
  double radius = 0.7;
  bool converged = false;
  for (int attempt = 0; attempt < 200 && !converged && radius > 1e-9; ++attempt) {
    const auto step = trusted_step(here, radius);
    converged = step.gain < tolerance && step.length < radius * (1 - 1e-6);
    if (converged) break;
    auto next = u;
    for (std::size_t k = 0; k < next.size(); ++k)
      next[k] += step.u[k];
    const auto there = derivatives_by_u(statistic, c, next);
    const double gained = there.F - here.F + rounding * std::max(here.F, 1.0);
    if (gained < 0.25 * step.gain) radius = step.length / 4;
    if (gained > 0.75 * step.gain && step.length > 0.9 * radius) radius = std::min(2 * radius, 2.0);
    if (gained <= 0) continue;
    u = next;
    here = there;
  }
  return finish(statistic, c, u, here.F, before, converged);
}

}  // namespace fachwerk::polgraw
