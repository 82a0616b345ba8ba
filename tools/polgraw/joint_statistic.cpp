#include "joint_statistic.hpp"

#include <algorithm>
#include <atomic>

#include "cli/error.hpp"
#include "inject.hpp"

namespace fachwerk::polgraw {

namespace {

/// A function of the sky with its derivatives by delta and alpha.
struct SkyFunction {
  double value, by_delta, by_alpha, delta_delta, delta_alpha, alpha_alpha;
};

/// One sample of a signal: a, b, the phase, and its derivatives.
struct SampleModel {
  SkyFunction a, b;
  double phase;
  Phase phase_by;
  std::array<double, 15> phase_twice;  ///< second derivatives: lower triangle, row by row
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
    const double shift = dot(n, r) + (separate ? e.einstein[i] : 0) -
                         (e.sun.empty() ? 0 : shapiro_delay(r, e.sun[i], n, o.band.dt));  // its slope is some 1e-5 s
    const double rate = oms + p.omega + 2 * p.s * t + 3 * p.s2 * t * t;
    SampleModel m{function(here.a, slope_a, bend_a), function(here.b, slope_b, bend_b), 0, {}, {}};
    m.phase =
        p.omega * t + p.s * t * t + p.s2 * t * t * t + rate * shift + (series.mixing.empty() ? 0 : series.mixing[i]);
    m.phase_by = {t + shift, t * t + 2 * t * shift, t * t * t + 3 * t * t * shift, rate * dot(n_delta, r),
                  rate * dot(n_alpha, r)};
    const double by_delta = dot(n_delta, r), by_alpha = dot(n_alpha, r);
    const double t1 = 2 * t, t2 = 3 * t * t;
    m.phase_twice = {0,
                     0,
                     0,
                     0,
                     0,
                     0,
                     by_delta,
                     t1 * by_delta,
                     t2 * by_delta,
                     -rate * dot(n, r),
                     by_alpha,
                     t1 * by_alpha,
                     t2 * by_alpha,
                     rate * dot(n_delta_alpha, r),
                     rate * dot(n_alpha_alpha, r)};
    visit(i, m);
  }
}

constexpr std::size_t all_parameters = phase_parameters + 4;

/// The Fisher matrix of the phase's parameters and the amplitudes.
Square<all_parameters> fisher_sums(const Observation& o, const SignalPoint& point, const Amplitudes& A) {
  constexpr std::size_t n = phase_parameters;
  Square<all_parameters> sum{};
  for (const auto& series : o.detectors)
    for_each_sample(o, series, point, [&](std::size_t, const SampleModel& m) {
      const double c = std::cos(m.phase), s = std::sin(m.phase);
      const double in_phase = A[0] * m.a.value + A[1] * m.b.value, quadrature = A[2] * m.a.value + A[3] * m.b.value;
      const double by_phase = -in_phase * s + quadrature * c;
      std::array<double, all_parameters> h{};
      for (std::size_t k = 0; k < n; ++k)
        h[k] = by_phase * m.phase_by[k];
      h[3] += (A[0] * m.a.by_delta + A[1] * m.b.by_delta) * c + (A[2] * m.a.by_delta + A[3] * m.b.by_delta) * s;
      h[4] += (A[0] * m.a.by_alpha + A[1] * m.b.by_alpha) * c + (A[2] * m.a.by_alpha + A[3] * m.b.by_alpha) * s;
      h[n] = m.a.value * c;
      h[n + 1] = m.b.value * c;
      h[n + 2] = m.a.value * s;
      h[n + 3] = m.b.value * s;
      for (std::size_t i = 0; i < all_parameters; ++i)
        for (std::size_t k = 0; k <= i; ++k)
          sum[all_parameters * i + k] += h[i] * h[k] / series.sigma2;
    });
  for (std::size_t i = 0; i < all_parameters; ++i)
    for (std::size_t k = 0; k < i; ++k)
      sum[all_parameters * k + i] = sum[all_parameters * i + k];
  return sum;
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
  ++std::atomic_ref(evaluations_);
  double sum = 0;
  for (std::size_t f = 0; f < frames_.size(); ++f)
    sum += frames_[f].F(in_frame(point, f));
  return sum;
}

namespace {

/// Derivatives of a sky function by the phase's parameters; second ones: lower triangle, row by row.
Phase first_of(const SkyFunction& f) {
  return {0, 0, 0, f.by_delta, f.by_alpha};
}
std::array<double, 15> second_of(const SkyFunction& f) {
  return {0, 0, 0, 0, 0, 0, 0, 0, 0, f.delta_delta, 0, 0, 0, f.delta_alpha, f.alpha_alpha};
}

template <class T>
struct Derived {
  T value{};
  std::array<T, phase_parameters> first{};
  std::array<T, 15> second{};  ///< lower triangle, row by row
};
/// sum of f x e^{-i Phi}.
void add_signal(Derived<std::complex<double>>& sum, std::complex<double> x, const SkyFunction& f,
                const SampleModel& m) {
  const auto by = first_of(f);
  const auto twice = second_of(f);
  const auto& phase = m.phase_by;
  sum.value += f.value * x;
  for (std::size_t j = 0, jk = 0; j < phase_parameters; ++j) {
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
  for (std::size_t j = 3, jk = 6; j < phase_parameters; ++j) {  // amplitudes depend on the sky alone
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
  for (std::size_t j = 0, jk = 0; j < phase_parameters; ++j) {
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
  for (std::size_t k = 0; k < phase_parameters; ++k)
    out.first[k] += factor * y.first[k];
  for (std::size_t k = 0; k < 15; ++k)
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
  for (std::size_t j = 0, jk = 0; j < phase_parameters; ++j) {
    f.gradient[j] = (P.first[j] - f.F * D.first[j]) / D.value;
    for (std::size_t k = 0; k <= j; ++k, ++jk)
      f.hessian[phase_parameters * j + k] = f.hessian[phase_parameters * k + j] =
          (P.second[jk] - f.gradient[j] * D.first[k] - f.gradient[k] * D.first[j] - f.F * D.second[jk]) / D.value;
  }
  return f;
}

}  // namespace

PhaseMatrix frame_jacobian(double samples) {
  PhaseMatrix jacobian{};
  for (std::size_t k = 0; k < phase_parameters; ++k)
    jacobian[(phase_parameters + 1) * k] = 1;
  jacobian[1] = 2 * samples;
  jacobian[2] = 3 * samples * samples;
  jacobian[phase_parameters + 2] = 3 * samples;
  return jacobian;
}

FDerivatives JointStatistic::derivatives(const SignalPoint& point) const {
  ++std::atomic_ref(evaluations_);
  FDerivatives sum;
  for (std::size_t f = 0; f < frames_.size(); ++f) {
    const auto here = derivatives_in_frame(frames_[f].observation(), in_frame(point, f));
    const auto jacobian = frame_jacobian(samples_[f]);
    const auto hessian = multiply(multiply(transpose(jacobian), here.hessian), jacobian);
    sum.F += here.F;
    for (std::size_t k = 0; k < hessian.size(); ++k)
      sum.hessian[k] += hessian[k];
    for (std::size_t i = 0; i < phase_parameters; ++i)
      for (std::size_t k = 0; k < phase_parameters; ++k)
        sum.gradient[k] += jacobian[phase_parameters * i + k] * here.gradient[i];
  }
  return sum;
}

PhaseMatrix mismatch_metric(const DirectStatistic& statistic, const SignalPoint& point) {
  constexpr std::size_t n = phase_parameters, all = all_parameters;
  const auto A = estimate_amplitudes(statistic.network(point));
  auto G = fisher_sums(statistic.observation(), point, A);
  double power = 0;
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t k = 0; k < 4; ++k)
      power += A[i] * A[k] * G[all * (n + i) + n + k];
  for (std::size_t p = all; p-- > n;)  // Schur's complement, one amplitude after the other
    for (std::size_t i = 0; i < p; ++i)
      for (std::size_t k = 0; k < p; ++k)
        G[all * i + k] -= G[all * i + p] * G[all * p + k] / G[(all + 1) * p];
  PhaseMatrix metric;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < n; ++k)
      metric[n * i + k] = G[all * i + k] / power;
  return metric;
}

std::vector<std::size_t> FreeParameters::list() const {
  std::vector<std::size_t> places{0, 1};
  if (second_spindown) places.push_back(2);
  if (sky) places.insert(places.end(), {3, 4});
  return places;
}

FisherInformation fisher_information(const Observation& o, const SignalPoint& point, const Amplitudes& A,
                                     const FreeParameters& free) {
  auto places = free.list();
  for (std::size_t k = 0; k < 4; ++k)
    places.push_back(phase_parameters + k);
  const std::size_t n = places.size();
  const auto sums = fisher_sums(o, point, A);
  FisherInformation out{n, std::vector<double>(n * n), std::vector<double>(n * n)};
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < n; ++k)
      out.matrix[n * i + k] = sums[all_parameters * places[i] + places[k]];
  std::vector<double> scale(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (!(out.matrix[(n + 1) * i] > 0)) throw method_failed("the Fisher matrix has no information on parameter {}", i);
    scale[i] = std::sqrt(out.matrix[(n + 1) * i]);
  }
  // Cholesky factor of the matrix scaled to unit diagonal, its inverse, and the product of the inverses.
  std::vector<long double> L(n * n), inverse(n * n);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j <= i; ++j) {
      long double x = static_cast<long double>(out.matrix[n * i + j]) / scale[i] / scale[j];
      for (std::size_t k = 0; k < j; ++k)
        x -= L[n * i + k] * L[n * j + k];
      if (i == j && !(x > 0)) throw method_failed("the Fisher matrix is not positive definite");
      L[n * i + j] = i == j ? std::sqrt(x) : x / L[(n + 1) * j];
    }
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = j; i < n; ++i) {
      long double x = i == j ? 1 : 0;
      for (std::size_t k = j; k < i; ++k)
        x -= L[n * i + k] * inverse[n * k + j];
      inverse[n * i + j] = x / L[(n + 1) * i];
    }
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < n; ++k) {
      long double x = 0;
      for (std::size_t m = std::max(i, k); m < n; ++m)
        x += inverse[n * m + i] * inverse[n * m + k];
      out.covariance[n * i + k] = static_cast<double>(x / scale[i] / scale[k]);
    }
  return out;
}

Observation glue_frames(std::span<const Observation* const> frames, std::span<const double> samples) {
  const auto& first = *frames.front();
  std::vector<std::size_t> begins;
  std::size_t N = 0;
  for (std::size_t f = 0; f < frames.size(); ++f) {
    const double begin = samples[f] - samples[0];
    if (std::abs(begin - std::round(begin)) > 1e-6)
      throw bad_input("frame {} begins {} samples after the first: expected a whole number", f + 1, begin);
    if (begin + 0.5 < static_cast<double>(N)) throw bad_input("frame {} begins before the one ahead of it ends", f + 1);
    if (begin > 1e9) throw bad_input("frame {} begins {} samples after the first: too many", f + 1, begin);
    begins.push_back(static_cast<std::size_t>(std::llround(begin)));
    N = begins.back() + frames[f]->band.N;
  }
  // A signal at frequency f, mixed by frame k whose mixing begins at M_k, has the phase 2 pi (f - fpo) t + 2 pi fpo
  // (M_k - t_0) at time t: against the first frame's it runs ahead by 2 pi fpo (M_k - M_0).
  std::vector<double> ahead;
  for (std::size_t f = 0; f < frames.size(); ++f) {
    if (frames[f]->mixing_gps.has_value() != first.mixing_gps.has_value())
      throw bad_input("frame {}: of some frames the start of the mixing (mixing_gps) is known, of others not", f + 1);
    ahead.push_back(first.mixing_gps ? mixing_phase(first.band, *frames[f]->mixing_gps - *first.mixing_gps) : 0);
  }
  const bool bridged = std::ranges::any_of(ahead, [](double phase) { return phase != 0; });
  Observation glued;
  glued.mixing_gps = first.mixing_gps;
  glued.band = make_band(first.band.fpo, first.band.dt, N);
  glued.obliquity = first.obliquity;
  for (const auto& detector : first.detectors) {
    Series series = detector;
    auto& e = series.ephemeris;
    const bool separate = !e.einstein.empty();
    series.x.assign(N, 0);
    e.position.assign(N, {});
    e.detector.clear();
    if (separate) e.einstein.assign(N, 0);
    if (bridged) series.mixing.assign(N, 0);
    const bool sun = !e.sun.empty();
    if (sun) e.sun.assign(N, Vector3{});
    double weight = 0, squares = 0;
    for (std::size_t f = 0; f < frames.size(); ++f) {
      const auto same = std::ranges::find(frames[f]->detectors, detector.site.name,
                                          [](const Series& d) -> const std::string& { return d.site.name; });
      if (same == frames[f]->detectors.end()) continue;
      if (separate != !same->ephemeris.einstein.empty())
        throw bad_input("{}: frames with and without the Einstein delay on every axis", detector.site.name);
      const auto at = static_cast<std::ptrdiff_t>(begins[f]);
      std::ranges::copy(same->x, series.x.begin() + at);
      std::ranges::copy(same->ephemeris.position, e.position.begin() + at);
      if (bridged) std::fill_n(series.mixing.begin() + at, same->x.size(), ahead[f]);
      if (separate) std::ranges::copy(same->ephemeris.einstein, e.einstein.begin() + at);
      if (sun) std::ranges::copy(same->ephemeris.sun, e.sun.begin() + at);
      const auto present = static_cast<double>(same->x.size() - missing_samples(same->x));
      weight += present;
      squares += present * same->sigma2;
    }
    series.sigma2 = squares / weight;
    glued.detectors.push_back(std::move(series));
  }
  return glued;
}

}  // namespace fachwerk::polgraw
