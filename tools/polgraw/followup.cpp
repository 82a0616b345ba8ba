#include "followup.hpp"

#include <algorithm>

#include "compute/parallel.hpp"

namespace fachwerk::polgraw {

namespace {

/// Slope and bend of the detector's path, x(t) = p0 + p1 t + p2 t^2, by least squares over all frames: what of a change
/// of the sky position looks like one of frequency and spindown.
std::array<Vector3, 2> path_of(const JointStatistic& statistic) {
  double span = 1;
  for (std::size_t f = 0; f < statistic.frames().size(); ++f)
    span = std::max({span, std::abs(statistic.samples(f)),
                     statistic.samples(f) + static_cast<double>(statistic.frames()[f].observation().band.N)});
  std::array<double, 5> powers{};
  std::array<Vector3, 3> moments{};
  for (std::size_t f = 0; f < statistic.frames().size(); ++f) {
    const auto& r = statistic.frames()[f].observation().detectors.front().ephemeris.position;
    for (std::size_t i = 0; i < r.size(); i += 32) {
      const double t = (statistic.samples(f) + static_cast<double>(i)) / span;
      double power = 1;
      for (std::size_t n = 0; n < 5; ++n, power *= t) {
        powers[n] += power;
        for (std::size_t k = 0; k < 3 && n < 3; ++k)
          moments[n][k] += power * r[i][k];
      }
    }
  }
  // The 3x3 normal equations in a 4x4 with one row to spare.
  Matrix4 normal{};
  normal[15] = 1;
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t k = 0; k < 3; ++k)
      normal[4 * i + k] = powers[i + k];
  const Matrix4 inverse = inverse_lower(cholesky(normal));
  const Matrix4 solve = multiply(transpose(inverse), inverse);
  std::array<Vector3, 2> path{};
  for (std::size_t n = 0; n < 2; ++n)
    for (std::size_t k = 0; k < 3; ++k)
      for (std::size_t m = 0; m < 3; ++m)
        path[n][k] += solve[4 * (n + 1) + m] * moments[m][k] / (n == 0 ? span : span * span);
  return path;
}

}  // namespace

LocalCoordinates::LocalCoordinates(const JointStatistic& statistic, const SignalPoint& start,
                                   const FreeParameters& free)
    : start_(start),
      sky_(make_sky(start.alpha, start.delta)),
      places_(free.list()),
      path_(path_of(statistic)),
      reach_(statistic.frames().front().observation().band.oms() + start.omega) {
  constexpr std::size_t n = phase_parameters;
  // East is cos(delta) d alpha, which has no meaning at a pole: the metric is then that of a point beside it.
  auto beside = start;
  beside.delta = std::clamp(start.delta, -pi / 2 + 1e-4, pi / 2 - 1e-4);
  PhaseMatrix all{};
  for (std::size_t f = 0; f < statistic.frames().size(); ++f) {
    // To (omega, s, s2, east, north) at the reference time.
    auto jacobian = frame_jacobian(statistic.samples(f));
    jacobian[n * 3 + 3] = jacobian[n * 4 + 4] = 0;
    jacobian[n * 3 + 4] = 1;
    jacobian[n * 4 + 3] = 1 / std::cos(beside.delta);
    const auto g = multiply(
        multiply(transpose(jacobian), mismatch_metric(statistic.frames()[f], statistic.in_frame(beside, f))), jacobian);
    for (std::size_t k = 0; k < g.size(); ++k)
      all[k] += g[k] / static_cast<double>(statistic.frames().size());
  }
  // Of the free parameters: metric = D L L^T D with unit diagonal between, u = L^T D x, so x = D^-1 L^-T u.
  const std::size_t d = places_.size();
  Local scale{};
  PhaseMatrix L{};
  for (std::size_t k = 0; k < n; ++k) {
    scale[k] = k < d ? std::sqrt(std::max(all[(n + 1) * places_[k]], 1e-300)) : 1;
    L[(n + 1) * k] = 1;
  }
  constexpr double longest = 0.5;  // rad
  for (std::size_t i = 0; i < d; ++i)
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = all[n * places_[i] + places_[j]] / (scale[i] * scale[j]);
      for (std::size_t k = 0; k < j; ++k)
        sum -= L[n * i + k] * L[n * j + k];
      if (i != j) {
        L[n * i + j] = sum / L[(n + 1) * j];
        continue;
      }
      const double least = places_[i] < 3 ? 1e-7 : 1 / (longest * scale[i]);
      L[(n + 1) * i] = std::max(std::sqrt(std::max(sum, 0.0)), least);
    }
  const auto inverse = inverse_lower(L);
  for (std::size_t i = 0; i < d; ++i)
    for (std::size_t k = 0; k < d; ++k)
      axes_[n * places_[i] + k] = inverse[n * k + i] / scale[i];
}

SignalPoint LocalCoordinates::point(const Local& u) const {
  Local x{};
  for (std::size_t i = 0; i < phase_parameters; ++i)
    for (std::size_t k = 0; k < phase_parameters; ++k)
      x[i] += axes_[phase_parameters * i + k] * u[k];
  SignalPoint p = start_;
  p.omega += x[0];
  p.s += x[1];
  p.s2 += x[2];
  const double angle = std::hypot(x[3], x[4]);
  if (angle == 0) return p;
  // Along the great circle that leaves the start in the direction (east, north).
  const Vector3 n = sky_.direction(), east{-sky_.sin_a, sky_.cos_a, 0},
                north{-sky_.cos_a * sky_.sin_d, -sky_.sin_a * sky_.sin_d, sky_.cos_d};
  Vector3 v;
  for (std::size_t k = 0; k < 3; ++k)
    v[k] = std::cos(angle) * n[k] + std::sin(angle) * (x[3] * east[k] + x[4] * north[k]) / angle;
  for (std::size_t k = 0; k < 3; ++k) {  // what the sphere's curvature does to the phase's slope and bend is taken back
    const double bent = v[k] - n[k] - x[3] * east[k] - x[4] * north[k];
    p.omega -= reach_ * bent * path_[0][k];
    p.s -= reach_ * bent * path_[1][k];
  }
  p.delta = std::atan2(v[2], std::hypot(v[0], v[1]));
  p.alpha = std::atan2(v[1], v[0]);
  if (p.alpha < 0) p.alpha += 2 * pi;
  return p;
}

namespace {

/// The best of the start and `count` points.
template <class PointOf>
Maximum best_of(const JointStatistic& statistic, const SignalPoint& start, std::size_t count, const PointOf& point_of) {
  const auto before = statistic.evaluations();
  std::vector<double> F(count);
  compute::parallel_tasks(count, [&](std::size_t k) { F[k] = statistic.F(point_of(k)); });
  Maximum best{start, statistic.F(start), 0, true};
  for (std::size_t k = 0; k < count; ++k)
    if (F[k] > best.F) best.F = F[k], best.point = point_of(k);
  best.evaluations = statistic.evaluations() - before;
  return best;
}

std::size_t whole_power(std::size_t base, std::size_t exponent) {
  std::size_t p = 1;
  while (exponent-- > 0)
    p *= base;
  return p;
}

}  // namespace

Maximum lattice_start(const JointStatistic& statistic, const LocalCoordinates& c, int half, double minimal_match) {
  // The Gram matrix (d + 1) I - 1 1^T has the covering radius sqrt(d (d + 2) / 12); its factor is the basis.
  const std::size_t d = c.dimensions(), side = static_cast<std::size_t>(2 * half + 1);
  const auto n = static_cast<double>(d);
  PhaseMatrix gram{};
  for (std::size_t i = 0; i < phase_parameters; ++i)
    for (std::size_t k = 0; k < phase_parameters; ++k)
      gram[phase_parameters * i + k] = i < d && k < d ? (i == k ? n : -1.0) : (i == k ? 1.0 : 0.0);
  const auto basis = cholesky(gram);
  const double scale = std::sqrt((1 - minimal_match * minimal_match) / (n * (n + 2) / 12));
  return best_of(statistic, c.point({}), whole_power(side, d), [&](std::size_t code) {
    Local u{};
    for (std::size_t k = 0; k < d; ++k, code /= side)
      for (std::size_t x = 0; x <= k; ++x)
        u[x] += scale * (static_cast<double>(code % side) - half) * basis[phase_parameters * k + x];
    return c.point(u);
  });
}

Maximum box_start(const JointStatistic& statistic, const SignalPoint& start, const Phase& step, int half) {
  const auto side = static_cast<std::size_t>(2 * half + 1);
  const auto axes = static_cast<std::size_t>(std::ranges::count_if(step, [](double h) { return h != 0; }));
  return best_of(statistic, start, whole_power(side, axes), [&](std::size_t code) {
    auto p = start;
    const std::array<double*, phase_parameters> values{&p.omega, &p.s, &p.s2, &p.delta, &p.alpha};
    for (std::size_t k = 0; k < phase_parameters; ++k) {
      if (step[k] == 0) continue;
      *values[k] += step[k] * (static_cast<double>(code % side) - half);
      code /= side;
    }
    p.delta = std::clamp(p.delta, -pi / 2, pi / 2);
    p.alpha = std::fmod(std::fmod(p.alpha, 2 * pi) + 2 * pi, 2 * pi);
    return p;
  });
}

}  // namespace fachwerk::polgraw
