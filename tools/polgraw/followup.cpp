#include "followup.hpp"

#include <algorithm>

#include "cli/error.hpp"
#include "coincidences.hpp"
#include "inject.hpp"
#include "lattice.hpp"

namespace fachwerk::polgraw {

namespace {

using U = std::array<double, 4>;

/// One sample of a signal: a, b, the phase, and their derivatives by delta and alpha (and the phase's by omega and s).
struct SampleModel {
  double a, b, a_delta, b_delta, a_alpha, b_alpha;
  double phase;
  U phase_by;  ///< omega, s, delta, alpha
};

/// Calls visit(i, model) for the samples that are present.
template <class Visit>
void for_each_sample(const Observation& o, const Series& series, const SignalPoint& p, const Visit& visit) {
  const auto sky = make_sky(p.alpha, p.delta);
  const AmplitudeModulation site(series.site);
  const auto here = site.at(sky.sin_d, sky.cos_d);
  constexpr double h = 1e-5;
  const auto above = site.at(std::sin(p.delta + h), std::cos(p.delta + h)),
             below = site.at(std::sin(p.delta - h), std::cos(p.delta - h));
  std::array<double, 5> slope_a, slope_b;
  for (std::size_t k = 0; k < 5; ++k) {
    slope_a[k] = (above.a[k] - below.a[k]) / (2 * h);
    slope_b[k] = (above.b[k] - below.b[k]) / (2 * h);
  }
  const Vector3 n = sky.direction(), n_delta{-sky.cos_a * sky.sin_d, -sky.sin_a * sky.sin_d, sky.cos_d},
                n_alpha{-sky.sin_a * sky.cos_d, sky.cos_a * sky.cos_d, 0};
  const auto& e = series.ephemeris;
  const bool separate = !e.einstein.empty();
  const double oms = o.band.oms();
  const auto dot = [](const Vector3& x, const Vector3& y) { return x[0] * y[0] + x[1] * y[1] + x[2] * y[2]; };
  for (std::size_t i = 0; i < o.band.N; ++i) {
    if (!series.x.empty() && series.x[i] == 0) continue;
    const auto t = static_cast<double>(i);
    const double u = p.alpha - e.phir - earth_rotation * o.band.dt * t;
    const double C = std::cos(u), S = std::sin(u);
    const auto value = [&](const std::array<double, 5>& k) {
      return k[0] + k[1] * C + k[2] * S + 2 * k[3] * C * C + 2 * k[4] * C * S;
    };
    const auto turn = [&](const std::array<double, 5>& k) {
      return -k[1] * S + k[2] * C - 4 * k[3] * C * S + 2 * k[4] * (C * C - S * S);
    };
    const auto& r = e.position[i];
    const double shift = dot(n, r) + (separate ? e.einstein[i] : 0);
    const double rate = oms + p.omega + 2 * p.s * t;
    SampleModel m{value(here.a), value(here.b), value(slope_a), value(slope_b), turn(here.a), turn(here.b), 0, {}};
    m.phase = p.omega * t + p.s * t * t + rate * shift;
    m.phase_by = {t + shift, t * t + 2 * t * shift, rate * dot(n_delta, r), rate * dot(n_alpha, r)};
    visit(i, m);
  }
}

Maximum finish(const JointStatistic& statistic, const LocalCoordinates& c, const U& u, double F, std::int64_t before,
               bool converged) {
  return {c.point(u), F, statistic.evaluations() - before, converged};
}

double value_at(const JointStatistic& statistic, const LocalCoordinates& c, const U& u) {
  return c.inside(u) ? statistic.F(c.point(u)) : 0;
}

}  // namespace

JointStatistic::JointStatistic(std::vector<const Observation*> frames, std::vector<double> samples)
    : samples_(std::move(samples)) {
  for (const auto* frame : frames)
    frames_.emplace_back(*frame);
}

SignalPoint JointStatistic::in_frame(const SignalPoint& point, std::size_t frame) const {
  return at_frame(point, samples_[frame]);
}

double JointStatistic::F(const SignalPoint& point) const {
  ++evaluations_;
  double sum = 0;
  for (std::size_t f = 0; f < frames_.size(); ++f)
    sum += frames_[f].F(in_frame(point, f));
  return sum;
}

double JointStatistic::gradient(const SignalPoint& point, std::array<double, 4>& derivative) const {
  ++evaluations_;
  derivative = {};
  double sum = 0;
  for (std::size_t f = 0; f < frames_.size(); ++f) {
    const auto& o = frames_[f].observation();
    const auto p = in_frame(point, f);
    std::complex<double> Xa, Xb;
    std::array<std::complex<double>, 4> Xa_by{}, Xb_by{};
    AntennaSums n;
    std::array<AntennaSums, 2> n_by{};  // delta, alpha
    for (const auto& series : o.detectors) {
      const double w = 1 / series.sigma2;
      for_each_sample(o, series, p, [&](std::size_t i, const SampleModel& m) {
        const auto x = w * series.x[i] * std::complex<double>(std::cos(m.phase), -std::sin(m.phase));
        Xa += m.a * x;
        Xb += m.b * x;
        n.A += w * m.a * m.a;
        n.B += w * m.b * m.b;
        n.C += w * m.a * m.b;
        for (std::size_t k = 0; k < 4; ++k) {
          const std::complex<double> turned(x.imag() * m.phase_by[k], -x.real() * m.phase_by[k]);  // -i Phi_k x
          Xa_by[k] += m.a * turned;
          Xb_by[k] += m.b * turned;
        }
        Xa_by[2] += m.a_delta * x;
        Xb_by[2] += m.b_delta * x;
        Xa_by[3] += m.a_alpha * x;
        Xb_by[3] += m.b_alpha * x;
        n_by[0].A += 2 * w * m.a * m.a_delta;
        n_by[0].B += 2 * w * m.b * m.b_delta;
        n_by[0].C += w * (m.a * m.b_delta + m.b * m.a_delta);
        n_by[1].A += 2 * w * m.a * m.a_alpha;
        n_by[1].B += 2 * w * m.b * m.b_alpha;
        n_by[1].C += w * (m.a * m.b_alpha + m.b * m.a_alpha);
      });
    }
    const double D = n.A * n.B - n.C * n.C, aa = std::norm(Xa), bb = std::norm(Xb), ab = (Xa * std::conj(Xb)).real();
    const double F = (n.B * aa + n.A * bb - 2 * n.C * ab) / D;
    sum += F;
    for (std::size_t k = 0; k < 4; ++k) {
      double numerator = 2 * (n.B * (Xa_by[k] * std::conj(Xa)).real() + n.A * (Xb_by[k] * std::conj(Xb)).real() -
                              n.C * ((Xa_by[k] * std::conj(Xb)).real() + (Xa * std::conj(Xb_by[k])).real()));
      if (k >= 2) {
        const auto& d = n_by[k - 2];
        numerator += d.B * aa + d.A * bb - 2 * d.C * ab - F * (d.A * n.B + n.A * d.B - 2 * n.C * d.C);
      }
      // omega here is omega + 2 s samples at the reference time.
      derivative[k] += numerator / D;
      if (k == 0) derivative[1] += numerator / D * 2 * samples_[f];
    }
  }
  return sum;
}

LocalCoordinates::LocalCoordinates(const Observation& o, const SignalPoint& start)
    : oms_(o.band.oms()), obliquity_(o.obliquity) {
  const auto ecliptic = to_ecliptic(make_sky(start.alpha, start.delta), obliquity_);
  hemisphere_ = ecliptic.hemisphere;
  const double reach = oms_ + start.omega;
  oms_ = reach;
  centre_ = {start.omega, start.s, ecliptic.be1 * reach, ecliptic.be2 * reach};
  Grid reference;
  reference.fisher = reduced_fisher(o);
  const auto n = static_cast<double>(o.band.N);
  const std::array<double, 4> scale{n, n * n, n, n};
  // u = V^T z with V = E sqrt(Lambda), so z = E Lambda^-1/2 u = V Lambda^-1 u.
  const auto V = cell_axes(reference, o.band.N, false);
  for (std::size_t k = 0; k < 4; ++k) {
    double lambda = 0;
    for (std::size_t i = 0; i < 4; ++i)
      lambda += V[4 * i + k] * V[4 * i + k];
    for (std::size_t i = 0; i < 4; ++i)
      axes_[4 * i + k] = V[4 * i + k] / lambda / scale[i];
  }
}

bool LocalCoordinates::inside(const U& u) const {
  double al1 = centre_[2], al2 = centre_[3];
  for (std::size_t k = 0; k < 4; ++k) {
    al1 += axes_[8 + k] * u[k];
    al2 += axes_[12 + k] * u[k];
  }
  return al1 * al1 + al2 * al2 < oms_ * oms_;
}

SignalPoint LocalCoordinates::point(const U& u) const {
  auto z = centre_;
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t k = 0; k < 4; ++k)
      z[i] += axes_[4 * i + k] * u[k];
  const auto sky = from_ecliptic(z[2] / oms_, z[3] / oms_, hemisphere_, obliquity_);
  if (!sky) throw method_failed("the search for the maximum left the sky");
  return {z[0], z[1], sky->delta, sky->alpha};
}

Maximum evaluate_grid(const JointStatistic& statistic, const LocalCoordinates& c, int half_points, double spacing) {
  const auto before = statistic.evaluations();
  U best{};
  double F = value_at(statistic, c, best);
  const int side = 2 * half_points + 1;
  for (int code = 0; code < side * side * side * side; ++code) {
    U u;
    int rest = code;
    for (double& x : u) {
      x = spacing * (rest % side - half_points);
      rest /= side;
    }
    if (const double value = value_at(statistic, c, u); value > F) F = value, best = u;
  }
  return finish(statistic, c, best, F, before, true);
}

Maximum simplex(const JointStatistic& statistic, const LocalCoordinates& c, double edge, double tolerance) {
  const auto before = statistic.evaluations();
  struct Corner {
    U u;
    double F;
  };
  std::vector<Corner> corners(5);
  for (std::size_t k = 0; k < 5; ++k) {
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
      for (std::size_t k = 0; k < 4; ++k)
        size = std::max(size, std::abs(corner.u[k] - corners[0].u[k]));
    converged = corners[0].F - corners[4].F < tolerance && size < 1e-2;
    U middle{};
    for (std::size_t j = 0; j < 4; ++j)
      for (std::size_t k = 0; k < 4; ++k)
        middle[k] += corners[j].u[k] / 4;
    const auto along = [&](double t) {
      Corner x;
      for (std::size_t k = 0; k < 4; ++k)
        x.u[k] = middle[k] + t * (corners[4].u[k] - middle[k]);
      x.F = value_at(statistic, c, x.u);
      return x;
    };
    const auto reflected = along(-1);
    if (reflected.F > corners[0].F) {
      const auto expanded = along(-2);
      corners[4] = expanded.F > reflected.F ? expanded : reflected;
    } else if (reflected.F > corners[3].F) {
      corners[4] = reflected;
    } else {
      const auto contracted = along(reflected.F > corners[4].F ? -0.5 : 0.5);
      if (contracted.F > std::max(reflected.F, corners[4].F)) {
        corners[4] = contracted;
      } else {
        for (std::size_t j = 1; j < 5; ++j) {
          for (std::size_t k = 0; k < 4; ++k)
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
bool poll(const JointStatistic& statistic, const LocalCoordinates& c, const std::vector<U>& directions, double step,
          U& centre, double& F) {
  U best = centre;
  double highest = F;
  for (const auto& d : directions) {
    U u = centre;
    for (std::size_t k = 0; k < 4; ++k)
      u[k] += step * d[k];
    if (const double value = value_at(statistic, c, u); value > highest) highest = value, best = u;
  }
  const bool better = highest > F;
  centre = best;
  F = highest;
  return better;
}

std::vector<U> neighbours(bool all) {
  std::vector<U> directions;
  for (int code = 0; code < 81; ++code) {
    U d;
    int rest = code, zeros = 0;
    for (double& x : d) {
      x = rest % 3 - 1;
      zeros += x == 0 ? 1 : 0;
      rest /= 3;
    }
    if (zeros == 4 || (!all && zeros != 0 && zeros != 3)) continue;
    directions.push_back(d);
  }
  return directions;
}

}  // namespace

Maximum mads(const JointStatistic& statistic, const LocalCoordinates& c, double step, double smallest) {
  const auto before = statistic.evaluations();
  const auto directions = neighbours(false);
  U u{};
  double F = value_at(statistic, c, u);
  for (int round = 0; round < 600 && step > smallest; ++round)
    if (!poll(statistic, c, directions, step, u, F)) step /= 2;
  return finish(statistic, c, u, F, before, step <= smallest);
}

Maximum inverted_mads(const JointStatistic& statistic, const LocalCoordinates& c, double step, double range) {
  const auto before = statistic.evaluations();
  const auto directions = neighbours(true);
  U u{};
  double F = value_at(statistic, c, u), now = step;
  for (int round = 0; round < 4000 && now <= range; ++round)
    now = poll(statistic, c, directions, now, u, F) ? step : now + step;
  return finish(statistic, c, u, F, before, now > range);
}

Maximum newton(const JointStatistic& statistic, const LocalCoordinates& c, double tolerance) {
  const auto before = statistic.evaluations();
  // Gradient by u through the map from u to the parameters, whose derivatives are taken numerically: it costs nothing.
  const auto evaluate = [&](const U& u, U& gradient) {
    const auto p = c.point(u);
    U by{};
    const double F = statistic.gradient(p, by);
    for (std::size_t k = 0; k < 4; ++k) {
      constexpr double h = 1e-4;
      auto hi = u, lo = u;
      hi[k] += h;
      lo[k] -= h;
      const auto a = c.point(hi), b = c.point(lo);
      gradient[k] = (by[0] * (a.omega - b.omega) + by[1] * (a.s - b.s) + by[2] * (a.delta - b.delta) +
                     by[3] * std::remainder(a.alpha - b.alpha, 2 * pi)) /
                    (2 * h);
    }
    return F;
  };
  U u{}, g{};
  double F = evaluate(u, g);
  // F is about F0 (1 - |u|^2) near the maximum: the inverse of minus its Hessian is 1 / (2 F0).
  std::array<double, 16> H{};
  for (std::size_t k = 0; k < 4; ++k)
    H[5 * k] = 1 / (2 * std::max(F, 2.0));
  bool converged = false;
  for (int step = 0; step < 100 && !converged; ++step) {
    U direction{};
    for (std::size_t i = 0; i < 4; ++i)
      for (std::size_t k = 0; k < 4; ++k)
        direction[i] += H[4 * i + k] * g[k];
    double gain = 0, length = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      gain += direction[k] * g[k];
      length += direction[k] * direction[k];
    }
    if (gain < 0) {  // not a direction of ascent: start over along the gradient
      H = {};
      for (std::size_t k = 0; k < 4; ++k)
        H[5 * k] = 1 / (2 * std::max(F, 2.0));
      continue;
    }
    if (gain < tolerance) {
      converged = true;
      break;
    }
    double t = std::min(1.0, 0.7 / std::sqrt(length));
    U next{}, next_g{};
    double next_F = 0;
    for (int halving = 0; halving < 30; ++halving, t /= 2) {
      for (std::size_t k = 0; k < 4; ++k)
        next[k] = u[k] + t * direction[k];
      if (!c.inside(next)) continue;
      next_F = evaluate(next, next_g);
      if (next_F >= F + 1e-4 * t * gain) break;
    }
    if (next_F <= F) break;
    U s{}, y{};
    double sy = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      s[k] = next[k] - u[k];
      y[k] = g[k] - next_g[k];
      sy += s[k] * y[k];
    }
    if (sy > 0) {
      U Hy{};
      double yHy = 0;
      for (std::size_t i = 0; i < 4; ++i) {
        for (std::size_t k = 0; k < 4; ++k)
          Hy[i] += H[4 * i + k] * y[k];
        yHy += y[i] * Hy[i];
      }
      for (std::size_t i = 0; i < 4; ++i)
        for (std::size_t k = 0; k < 4; ++k)
          H[4 * i + k] += (1 + yHy / sy) * s[i] * s[k] / sy - (Hy[i] * s[k] + s[i] * Hy[k]) / sy;
    }
    u = next;
    g = next_g;
    F = next_F;
  }
  return finish(statistic, c, u, F, before, converged);
}

FisherInformation fisher_information(const Observation& o, const SignalPoint& point, const Amplitudes& A) {
  std::array<double, 64> sum{};
  for (const auto& series : o.detectors)
    for_each_sample(o, series, point, [&](std::size_t, const SampleModel& m) {
      const double c = std::cos(m.phase), s = std::sin(m.phase);
      const double in_phase = A[0] * m.a + A[1] * m.b, quadrature = A[2] * m.a + A[3] * m.b;
      const double by_phase = -in_phase * s + quadrature * c;
      std::array<double, 8> h{};
      for (std::size_t k = 0; k < 4; ++k)
        h[k] = by_phase * m.phase_by[k];
      h[2] += (A[0] * m.a_delta + A[1] * m.b_delta) * c + (A[2] * m.a_delta + A[3] * m.b_delta) * s;
      h[3] += (A[0] * m.a_alpha + A[1] * m.b_alpha) * c + (A[2] * m.a_alpha + A[3] * m.b_alpha) * s;
      h[4] = m.a * c;
      h[5] = m.b * c;
      h[6] = m.a * s;
      h[7] = m.b * s;
      for (std::size_t i = 0; i < 8; ++i)
        for (std::size_t k = 0; k <= i; ++k)
          sum[8 * i + k] += h[i] * h[k] / series.sigma2;
    });
  FisherInformation out;
  std::array<double, 8> scale;
  for (std::size_t i = 0; i < 8; ++i) {
    for (std::size_t k = 0; k <= i; ++k)
      out.matrix[8 * i + k] = out.matrix[8 * k + i] = sum[8 * i + k];
    if (!(sum[9 * i] > 0)) throw method_failed("the Fisher matrix has no information on parameter {}", i);
    scale[i] = std::sqrt(sum[9 * i]);
  }
  // Cholesky factor of the matrix scaled to unit diagonal, its inverse, and the product of the inverses.
  std::array<long double, 64> L{}, inverse{};
  for (std::size_t i = 0; i < 8; ++i)
    for (std::size_t j = 0; j <= i; ++j) {
      long double x = static_cast<long double>(out.matrix[8 * i + j]) / scale[i] / scale[j];
      for (std::size_t k = 0; k < j; ++k)
        x -= L[8 * i + k] * L[8 * j + k];
      if (i == j && !(x > 0)) throw method_failed("the Fisher matrix is not positive definite");
      L[8 * i + j] = i == j ? std::sqrt(x) : x / L[9 * j];
    }
  for (std::size_t j = 0; j < 8; ++j)
    for (std::size_t i = j; i < 8; ++i) {
      long double x = i == j ? 1 : 0;
      for (std::size_t k = j; k < i; ++k)
        x -= L[8 * i + k] * inverse[8 * k + j];
      inverse[8 * i + j] = x / L[9 * i];
    }
  for (std::size_t i = 0; i < 8; ++i)
    for (std::size_t k = 0; k < 8; ++k) {
      long double x = 0;
      for (std::size_t m = std::max(i, k); m < 8; ++m)
        x += inverse[8 * m + i] * inverse[8 * m + k];
      out.covariance[8 * i + k] = static_cast<double>(x / scale[i] / scale[k]);
    }
  return out;
}

}  // namespace fachwerk::polgraw
