#include "followup.hpp"

#include <algorithm>

#include "cli/error.hpp"
#include "inject.hpp"
#include "lattice.hpp"

namespace fachwerk::polgraw {

namespace {

using U = std::array<double, 4>;

/// A function of the sky with its derivatives by delta and alpha.
struct SkyFunction {
  double value, by_delta, by_alpha, delta_delta, delta_alpha, alpha_alpha;
};

/// One sample of a signal: a, b, the phase, and its derivatives.
struct SampleModel {
  SkyFunction a, b;
  double phase;
  U phase_by;                          ///< omega, s, delta, alpha
  std::array<double, 10> phase_twice;  ///< second derivatives: lower triangle, row by row
};

/// Calls visit(i, model) for the samples that are present.
template <class Visit>
void for_each_sample(const Observation& o, const Series& series, const SignalPoint& p, const Visit& visit) {
  const auto sky = make_sky(p.alpha, p.delta);
  const AmplitudeModulation site(series.site);
  const auto here = site.at(sky.sin_d, sky.cos_d);
  // The coefficients are polynomials of second degree in sin and cos of delta: these differences are good to 1e-8.
  constexpr double h = 1e-4;
  const auto above = site.at(std::sin(p.delta + h), std::cos(p.delta + h)),
             below = site.at(std::sin(p.delta - h), std::cos(p.delta - h));
  using Coefficients = std::array<double, 5>;
  const auto combine = [](const Coefficients& x, double f, const Coefficients& y, double g, const Coefficients& z,
                          double e) {
    Coefficients out;
    for (std::size_t k = 0; k < 5; ++k)
      out[k] = f * x[k] + g * y[k] + e * z[k];
    return out;
  };
  const auto slope = [&](const Coefficients& hi, const Coefficients& mid, const Coefficients& lo) {
    return combine(hi, 0.5 / h, mid, 0, lo, -0.5 / h);
  };
  const auto bend = [&](const Coefficients& hi, const Coefficients& mid, const Coefficients& lo) {
    return combine(hi, 1 / (h * h), mid, -2 / (h * h), lo, 1 / (h * h));
  };
  const auto slope_a = slope(above.a, here.a, below.a), slope_b = slope(above.b, here.b, below.b),
             bend_a = bend(above.a, here.a, below.a), bend_b = bend(above.b, here.b, below.b);
  const Vector3 n = sky.direction(), n_delta{-sky.cos_a * sky.sin_d, -sky.sin_a * sky.sin_d, sky.cos_d},
                n_alpha{-sky.sin_a * sky.cos_d, sky.cos_a * sky.cos_d, 0},
                n_delta_alpha{sky.sin_a * sky.sin_d, -sky.cos_a * sky.sin_d, 0},
                n_alpha_alpha{-sky.cos_a * sky.cos_d, -sky.sin_a * sky.cos_d, 0};
  const auto& e = series.ephemeris;
  const bool separate = !e.einstein.empty();
  const double oms = o.band.oms();
  const auto dot = [](const Vector3& x, const Vector3& y) { return x[0] * y[0] + x[1] * y[1] + x[2] * y[2]; };
  for (std::size_t i = 0; i < o.band.N; ++i) {
    if (!series.x.empty() && series.x[i] == 0) continue;
    const auto t = static_cast<double>(i);
    const double u = p.alpha - e.phir - earth_rotation * o.band.dt * t;
    const double C = std::cos(u), S = std::sin(u);
    const auto value = [&](const Coefficients& k) {
      return k[0] + k[1] * C + k[2] * S + 2 * k[3] * C * C + 2 * k[4] * C * S;
    };
    const auto turn = [&](const Coefficients& k) {
      return -k[1] * S + k[2] * C - 4 * k[3] * C * S + 2 * k[4] * (C * C - S * S);
    };
    const auto turn_twice = [&](const Coefficients& k) {
      return -k[1] * C - k[2] * S - 4 * k[3] * (C * C - S * S) - 8 * k[4] * C * S;
    };
    const auto function = [&](const Coefficients& k, const Coefficients& by, const Coefficients& twice) {
      return SkyFunction{value(k), value(by), turn(k), value(twice), turn(by), turn_twice(k)};
    };
    const auto& r = e.position[i];
    const double shift = dot(n, r) + (separate ? e.einstein[i] : 0);
    const double rate = oms + p.omega + 2 * p.s * t;
    SampleModel m{function(here.a, slope_a, bend_a), function(here.b, slope_b, bend_b), 0, {}, {}};
    m.phase = p.omega * t + p.s * t * t + rate * shift;
    m.phase_by = {t + shift, t * t + 2 * t * shift, rate * dot(n_delta, r), rate * dot(n_alpha, r)};
    const double by_delta = dot(n_delta, r), by_alpha = dot(n_alpha, r);
    m.phase_twice = {0,
                     0,
                     0,
                     by_delta,
                     2 * t * by_delta,
                     -rate * dot(n, r),
                     by_alpha,
                     2 * t * by_alpha,
                     rate * dot(n_delta_alpha, r),
                     rate * dot(n_alpha_alpha, r)};
    visit(i, m);
  }
}

/// The 8x8 Fisher matrix of fisher_information.
std::array<double, 64> fisher_sums(const Observation& o, const SignalPoint& point, const Amplitudes& A) {
  std::array<double, 64> sum{};
  for (const auto& series : o.detectors)
    for_each_sample(o, series, point, [&](std::size_t, const SampleModel& m) {
      const double c = std::cos(m.phase), s = std::sin(m.phase);
      const double in_phase = A[0] * m.a.value + A[1] * m.b.value, quadrature = A[2] * m.a.value + A[3] * m.b.value;
      const double by_phase = -in_phase * s + quadrature * c;
      std::array<double, 8> h{};
      for (std::size_t k = 0; k < 4; ++k)
        h[k] = by_phase * m.phase_by[k];
      h[2] += (A[0] * m.a.by_delta + A[1] * m.b.by_delta) * c + (A[2] * m.a.by_delta + A[3] * m.b.by_delta) * s;
      h[3] += (A[0] * m.a.by_alpha + A[1] * m.b.by_alpha) * c + (A[2] * m.a.by_alpha + A[3] * m.b.by_alpha) * s;
      h[4] = m.a.value * c;
      h[5] = m.b.value * c;
      h[6] = m.a.value * s;
      h[7] = m.b.value * s;
      for (std::size_t i = 0; i < 8; ++i)
        for (std::size_t k = 0; k <= i; ++k)
          sum[8 * i + k] += h[i] * h[k] / series.sigma2;
    });
  for (std::size_t i = 0; i < 8; ++i)
    for (std::size_t k = 0; k < i; ++k)
      sum[8 * k + i] = sum[8 * i + k];
  return sum;
}

Maximum finish(const JointStatistic& statistic, const LocalCoordinates& c, const U& u, double F, std::int64_t before,
               bool converged) {
  return {c.point(u), F, statistic.evaluations() - before, converged};
}

double value_at(const JointStatistic& statistic, const LocalCoordinates& c, const U& u) {
  return statistic.F(c.point(u));
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

namespace {

/// Derivatives of a sky function by (omega, s, delta, alpha): lower triangle, row by row.
U first_of(const SkyFunction& f) {
  return {0, 0, f.by_delta, f.by_alpha};
}
std::array<double, 10> second_of(const SkyFunction& f) {
  return {0, 0, 0, 0, 0, f.delta_delta, 0, 0, f.delta_alpha, f.alpha_alpha};
}

template <class T>
struct Derived {
  T value{};
  std::array<T, 4> first{};
  std::array<T, 10> second{};  ///< lower triangle, row by row
};
/// sum of f x e^{-i Phi}.
void add_signal(Derived<std::complex<double>>& sum, std::complex<double> x, const SkyFunction& f,
                const SampleModel& m) {
  const auto by = first_of(f);
  const auto twice = second_of(f);
  const auto& phase = m.phase_by;
  sum.value += f.value * x;
  for (std::size_t j = 0, jk = 0; j < 4; ++j) {
    sum.first[j] += std::complex<double>(by[j], -f.value * phase[j]) * x;
    for (std::size_t k = 0; k <= j; ++k, ++jk)
      sum.second[jk] += std::complex<double>(twice[jk] - f.value * phase[j] * phase[k],
                                             -(by[j] * phase[k] + by[k] * phase[j] + f.value * m.phase_twice[jk])) *
                        x;
  }
}
/// sum of w f g.
void add_product(Derived<double>& sum, double w, const SkyFunction& f, const SkyFunction& g) {
  const auto f1 = first_of(f), g1 = first_of(g);
  const auto f2 = second_of(f), g2 = second_of(g);
  sum.value += w * f.value * g.value;
  for (std::size_t j = 2, jk = 3; j < 4; ++j) {
    sum.first[j] += w * (f1[j] * g.value + f.value * g1[j]);
    for (std::size_t k = 0; k <= j; ++k, ++jk)
      sum.second[jk] += w * (f2[jk] * g.value + f.value * g2[jk] + f1[j] * g1[k] + f1[k] * g1[j]);
  }
}

double real_product(double x, double y) {
  return x * y;
}
double real_product(const std::complex<double>& x, const std::complex<double>& y) {
  return x.real() * y.real() + x.imag() * y.imag();
}
/// Re(x y*) by the product rule.
template <class T>
Derived<double> product(const Derived<T>& x, const Derived<T>& y) {
  Derived<double> out;
  out.value = real_product(x.value, y.value);
  for (std::size_t j = 0, jk = 0; j < 4; ++j) {
    out.first[j] = real_product(x.first[j], y.value) + real_product(x.value, y.first[j]);
    for (std::size_t k = 0; k <= j; ++k, ++jk)
      out.second[jk] = real_product(x.second[jk], y.value) + real_product(x.value, y.second[jk]) +
                       real_product(x.first[j], y.first[k]) + real_product(x.first[k], y.first[j]);
  }
  return out;
}
Derived<double> sum(const Derived<double>& x, double factor, const Derived<double>& y) {
  Derived<double> out = x;
  out.value += factor * y.value;
  for (std::size_t k = 0; k < 4; ++k)
    out.first[k] += factor * y.first[k];
  for (std::size_t k = 0; k < 10; ++k)
    out.second[k] += factor * y.second[k];
  return out;
}

FDerivatives derivatives_in_frame(const Observation& o, const SignalPoint& p) {
  Derived<std::complex<double>> Xa, Xb;
  Derived<double> A, B, C;
  for (const auto& series : o.detectors) {
    const double w = 1 / series.sigma2;
    for_each_sample(o, series, p, [&](std::size_t i, const SampleModel& m) {
      const auto x = w * series.x[i] * std::complex<double>(std::cos(m.phase), -std::sin(m.phase));
      add_signal(Xa, x, m.a, m);
      add_signal(Xb, x, m.b, m);
      add_product(A, w, m.a, m.a);
      add_product(B, w, m.b, m.b);
      add_product(C, w, m.a, m.b);
    });
  }
  // F = P / D with P = B |Xa|^2 + A |Xb|^2 - 2 C Re(Xa Xb*), D = A B - C^2.
  const auto P = sum(sum(product(B, product(Xa, Xa)), 1, product(A, product(Xb, Xb))), -2, product(C, product(Xa, Xb))),
             D = sum(product(A, B), -1, product(C, C));
  FDerivatives f;
  f.F = P.value / D.value;
  for (std::size_t j = 0, jk = 0; j < 4; ++j) {
    f.gradient[j] = (P.first[j] - f.F * D.first[j]) / D.value;
    for (std::size_t k = 0; k <= j; ++k, ++jk)
      f.hessian[4 * j + k] = f.hessian[4 * k + j] =
          (P.second[jk] - f.gradient[j] * D.first[k] - f.gradient[k] * D.first[j] - f.F * D.second[jk]) / D.value;
  }
  return f;
}

}  // namespace

FDerivatives JointStatistic::derivatives(const SignalPoint& point) const {
  ++evaluations_;
  FDerivatives sum;
  for (std::size_t f = 0; f < frames_.size(); ++f) {
    const auto here = derivatives_in_frame(frames_[f].observation(), in_frame(point, f));
    // The frame's omega is omega + 2 s samples of the reference time.
    const double lag = 2 * samples_[f];
    const Matrix4 jacobian = {1, lag, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
    const auto hessian = multiply(multiply(transpose(jacobian), here.hessian), jacobian);
    sum.F += here.F;
    for (std::size_t k = 0; k < 16; ++k)
      sum.hessian[k] += hessian[k];
    for (std::size_t k = 0; k < 4; ++k)
      sum.gradient[k] += here.gradient[k];
    sum.gradient[1] += lag * here.gradient[0];
  }
  return sum;
}

namespace {

/// Fisher matrix of (omega, s, delta, alpha) with the amplitudes projected out, relative to the signal's own power:
/// the mismatch of a small step. Amplitudes are those of the data at the point.
Matrix4 mismatch_metric(const DirectStatistic& statistic, const SignalPoint& point) {
  const auto A = estimate_amplitudes(statistic.network(point));
  auto G = fisher_sums(statistic.observation(), point, A);
  double power = 0;
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t k = 0; k < 4; ++k)
      power += A[i] * A[k] * G[8 * (4 + i) + 4 + k];
  for (std::size_t p = 8; p-- > 4;)  // Schur's complement, one amplitude after the other
    for (std::size_t i = 0; i < p; ++i)
      for (std::size_t k = 0; k < p; ++k)
        G[8 * i + k] -= G[8 * i + p] * G[8 * p + k] / G[9 * p];
  Matrix4 metric;
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t k = 0; k < 4; ++k)
      metric[4 * i + k] = G[8 * i + k] / power;
  return metric;
}

}  // namespace

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

LocalCoordinates::LocalCoordinates(const JointStatistic& statistic, const SignalPoint& start)
    : start_(start),
      sky_(make_sky(start.alpha, start.delta)),
      path_(path_of(statistic)),
      reach_(statistic.frames().front().observation().band.oms() + start.omega) {
  // East is cos(delta) d alpha, which has no meaning at a pole: the metric is then that of a point beside it.
  auto beside = start;
  beside.delta = std::clamp(start.delta, -pi / 2 + 1e-4, pi / 2 - 1e-4);
  Matrix4 metric{};
  for (std::size_t f = 0; f < statistic.frames().size(); ++f) {
    const auto here = statistic.in_frame(beside, f);
    auto g = mismatch_metric(statistic.frames()[f], here);
    // To (omega, s, east, north) at the reference time: the frame's omega is omega + 2 s samples.
    const double lag = 2 * statistic.samples(f), east = 1 / std::cos(beside.delta);
    const Matrix4 jacobian = {1, lag, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, east, 0};
    g = multiply(multiply(transpose(jacobian), g), jacobian);
    for (std::size_t k = 0; k < 16; ++k)
      metric[k] += g[k] / static_cast<double>(statistic.frames().size());
  }
  // metric = D L L^T D with unit diagonal between: u = L^T D x, so x = D^-1 L^-T u.
  std::array<double, 4> scale;
  for (std::size_t k = 0; k < 4; ++k)
    scale[k] = std::sqrt(std::max(metric[5 * k], 1e-300));
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t k = 0; k < 4; ++k)
      metric[4 * i + k] /= scale[i] * scale[k];
  constexpr double longest = 0.5;  // rad
  Matrix4 L{};
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = metric[4 * i + j];
      for (std::size_t k = 0; k < j; ++k)
        sum -= L[4 * i + k] * L[4 * j + k];
      if (i != j) {
        L[4 * i + j] = sum / L[5 * j];
        continue;
      }
      const double least = i < 2 ? 1e-7 : 1 / (longest * scale[i]);
      L[5 * i] = std::max(std::sqrt(std::max(sum, 0.0)), least);
    }
  const Matrix4 inverse = inverse_lower(L);
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t k = 0; k < 4; ++k)
      axes_[4 * i + k] = inverse[4 * k + i] / scale[i];
}

SignalPoint LocalCoordinates::point(const U& u) const {
  U x{};
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t k = 0; k < 4; ++k)
      x[i] += axes_[4 * i + k] * u[k];
  SignalPoint p = start_;
  p.omega += x[0];
  p.s += x[1];
  const double angle = std::hypot(x[2], x[3]);
  if (angle == 0) return p;
  // Along the great circle that leaves the start in the direction (east, north).
  const Vector3 n = sky_.direction(), east{-sky_.sin_a, sky_.cos_a, 0},
                north{-sky_.cos_a * sky_.sin_d, -sky_.sin_a * sky_.sin_d, sky_.cos_d};
  Vector3 v;
  for (std::size_t k = 0; k < 3; ++k)
    v[k] = std::cos(angle) * n[k] + std::sin(angle) * (x[2] * east[k] + x[3] * north[k]) / angle;
  for (std::size_t k = 0; k < 3; ++k) {  // what the sphere's curvature does to the phase's slope and bend is taken back
    const double bent = v[k] - n[k] - x[2] * east[k] - x[3] * north[k];
    p.omega -= reach_ * bent * path_[0][k];
    p.s -= reach_ * bent * path_[1][k];
  }
  p.delta = std::atan2(v[2], std::hypot(v[0], v[1]));
  p.alpha = std::atan2(v[1], v[0]);
  if (p.alpha < 0) p.alpha += 2 * pi;
  return p;
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

namespace {

/// omega, s, delta, alpha of u, alpha continued from `centre`.
U coordinates_at(const LocalCoordinates& c, const U& u, double centre) {
  const auto p = c.point(u);
  return {p.omega, p.s, p.delta, centre + std::remainder(p.alpha - centre, 2 * pi)};
}

/// F with its derivatives by u. The map from u to the parameters is differentiated numerically: it costs nothing.
FDerivatives derivatives_by_u(const JointStatistic& statistic, const LocalCoordinates& c, const U& u) {
  constexpr double h = 1e-3;
  const auto middle = c.point(u);
  const auto by = statistic.derivatives(middle);
  const auto at = [&](std::size_t j, double dj, std::size_t k, double dk) {
    auto moved = u;
    moved[j] += dj;
    moved[k] += dk;
    return coordinates_at(c, moved, middle.alpha);
  };
  Matrix4 jacobian{};
  FDerivatives out;
  out.F = by.F;
  for (std::size_t j = 0; j < 4; ++j) {
    const auto hi = at(j, h, j, 0), lo = at(j, -h, j, 0);
    for (std::size_t i = 0; i < 4; ++i)
      jacobian[4 * i + j] = (hi[i] - lo[i]) / (2 * h);
  }
  out.hessian = multiply(multiply(transpose(jacobian), by.hessian), jacobian);
  for (std::size_t j = 0; j < 4; ++j) {
    for (std::size_t i = 0; i < 4; ++i)
      out.gradient[j] += jacobian[4 * i + j] * by.gradient[i];
    for (std::size_t k = 0; k < 4; ++k) {
      const auto a = at(j, h, k, h), b = at(j, h, k, -h), d = at(j, -h, k, h), e = at(j, -h, k, -h);
      for (std::size_t i = 0; i < 4; ++i)
        out.hessian[4 * j + k] += by.gradient[i] * (a[i] - b[i] - d[i] + e[i]) / (4 * h * h);
    }
  }
  return out;
}

struct Step {
  U u{};
  double gain = 0, length = 0;
};
/// The step of at most `radius` to the summit of the quadratic that the derivatives make, and what it would gain.
Step trusted_step(const FDerivatives& f, double radius) {
  const auto eigen = symmetric_eigen(f.hessian);
  U slope{};  // along the eigenvectors
  for (std::size_t k = 0; k < 4; ++k)
    for (std::size_t i = 0; i < 4; ++i)
      slope[k] += eigen.vectors[4 * i + k] * f.gradient[i];
  const double top = eigen.values[3];
  const auto length = [&](double shift) {  // of (shift - Hessian)^-1 gradient
    double sum = 0;
    for (std::size_t k = 0; k < 4; ++k)
      sum += std::pow(slope[k] / (shift - eigen.values[k]), 2);
    return std::sqrt(sum);
  };
  double shift = 0;
  if (top >= 0 || length(0) > radius) {
    double lo = std::max(0.0, top),
           hi = lo + 1e-12 + 4 * std::hypot(slope[0], slope[1], std::hypot(slope[2], slope[3])) / radius;
    for (int halving = 0; halving < 60; ++halving)
      (length((lo + hi) / 2) > radius ? lo : hi) = (lo + hi) / 2;
    shift = hi;
  }
  Step step;
  for (std::size_t k = 0; k < 4; ++k) {
    const double along = slope[k] / (shift - eigen.values[k]);
    step.gain += along * (slope[k] + eigen.values[k] * along / 2);
    step.length += along * along;
    for (std::size_t i = 0; i < 4; ++i)
      step.u[i] += along * eigen.vectors[4 * i + k];
  }
  step.length = std::sqrt(step.length);
  return step;
}

}  // namespace

Maximum newton(const JointStatistic& statistic, const LocalCoordinates& c, double tolerance) {
  constexpr double rounding = 1e-10;  // of F: phases are large
  const auto before = statistic.evaluations();
  U u{};
  auto here = derivatives_by_u(statistic, c, u);
  double radius = 0.7;
  bool converged = false;
  for (int attempt = 0; attempt < 200 && !converged && radius > 1e-9; ++attempt) {
    const auto step = trusted_step(here, radius);
    converged = step.gain < tolerance && step.length < radius * (1 - 1e-6);
    if (converged) break;
    auto next = u;
    for (std::size_t k = 0; k < 4; ++k)
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

FisherInformation fisher_information(const Observation& o, const SignalPoint& point, const Amplitudes& A) {
  FisherInformation out;
  out.matrix = fisher_sums(o, point, A);
  std::array<double, 8> scale;
  for (std::size_t i = 0; i < 8; ++i) {
    if (!(out.matrix[9 * i] > 0)) throw method_failed("the Fisher matrix has no information on parameter {}", i);
    scale[i] = std::sqrt(out.matrix[9 * i]);
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
