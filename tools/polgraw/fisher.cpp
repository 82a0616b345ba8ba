#include "fisher.hpp"

#include "amplitude.hpp"

namespace fachwerk::polgraw {

namespace {

constexpr std::size_t spindowns(std::size_t n) {
  return n == 2 || n == 4 ? 1 : 2;
}

double weight_of(const Series& d) {
  return d.sigma2 > 0 ? 1 / d.sigma2 : 1;
}

}  // namespace

template <std::size_t n>
Square<n> linear_fisher(const Observation& o) {
  const std::size_t N = o.band.N;
  const auto samples = static_cast<double>(N);
  const double cos_e = std::cos(o.obliquity);
  // The part that is the same for every detector: powers of t = x + 1/2, in closed form.
  constexpr double xi = 0.5;
  constexpr double powers[3][3] = {
      {1.0 / 12, xi / 6, 1.0 / 80 + xi * xi / 4},
      {xi / 6, 1.0 / 180 + xi * xi / 3, xi / 24 + xi * xi * xi / 2},
      {1.0 / 80 + xi * xi / 4, xi / 24 + xi * xi * xi / 2, 1.0 / 448 + xi * xi / 8 + 0.75 * xi * xi * xi * xi}};
  constexpr std::size_t m = spindowns(n) + 1;
  Square<n> total{};
  double weights = 0;
  for (const auto& d : o.detectors) {
    Square<n> gamma{};
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t k = 0; k < m; ++k)
        gamma[n * i + k] = powers[i][k];
    if constexpr (n > 3) {
      const auto& e = d.ephemeris;
      // Means over the frame by Simpson's rule; with an even number of samples the last interval is a trapezium.
      std::array<std::array<double, 2>, 4> x_mu{};  // <x^p mu>
      double m11 = 0, m22 = 0, m12 = 0;
      const std::size_t odd = N % 2 == 1 ? N : N - 1;
      const double step = 1 / (samples - 1);
      for (std::size_t i = 0; i < N; ++i) {
        double w = 0;
        if (i < odd) w = step / 3 * (i == 0 || i + 1 == odd ? 1 : (i % 2 == 1 ? 4 : 2));
        if (odd < N && i + 2 >= N) w += step / 2;
        const double x = static_cast<double>(i) * step - 0.5;
        const Vector3 det = e.detector.empty() ? Vector3{} : e.detector[i];
        const double einstein = e.einstein.empty() ? 0 : e.einstein[i];
        const auto& r = e.position[i];
        const double mu1 = ((r[1] - det[1] + einstein) / cos_e + det[1] * cos_e) / samples,
                     mu2 = (r[0] + einstein) / samples;
        double power = w;
        for (auto& row : x_mu) {
          row[0] += power * mu1;
          row[1] += power * mu2;
          power *= x;
        }
        m11 += w * mu1 * mu1;
        m22 += w * mu2 * mu2;
        m12 += w * mu1 * mu2;
      }
      const auto set = [&](std::size_t i, std::size_t k, double value) { gamma[n * i + k] = gamma[n * k + i] = value; };
      for (std::size_t k = 0; k < 2; ++k) {
        const double mu = x_mu[0][k], xm = x_mu[1][k], xxm = x_mu[2][k], xxxm = x_mu[3][k];
        set(0, m + k, xm);
        set(1, m + k, xxm + 2 * xi * xm - mu / 12);
        if (m > 2) set(2, m + k, xxxm + xi * (3 * (xxm + xi * xm) - mu / 4));
      }
      set(m, m, m11 - x_mu[0][0] * x_mu[0][0]);
      set(m + 1, m + 1, m22 - x_mu[0][1] * x_mu[0][1]);
      set(m, m + 1, m12 - x_mu[0][0] * x_mu[0][1]);
    }
    const double weight = weight_of(d);
    for (std::size_t k = 0; k < n * n; ++k)
      total[k] += weight * gamma[k];
    weights += weight;
  }
  for (double& g : total)
    g /= weights;
  return total;
}

template <std::size_t n>
Square<n> exact_fisher(const Observation& o, const SkyPosition& sky) {
  // Of a circular signal A = (1, 0, 0, -1) the phase and the amplitudes, fast phase averaged: the signal is
  // a cos Phi - b sin Phi, its power a^2 + b^2, and the amplitudes' own derivatives are a, b times cos and sin.
  constexpr std::size_t m = spindowns(n) + 1;
  const auto samples = static_cast<double>(o.band.N);
  const double cos_e = std::cos(o.obliquity), sin_e = std::sin(o.obliquity);
  const Vector3 direction = sky.direction();
  constexpr std::size_t all = n + 4;
  Square<all> G{};
  double power = 0;
  for (const auto& d : o.detectors) {
    const auto& e = d.ephemeris;
    const AmplitudeModulation site(d.site);
    const auto modulation = site.at(sky.sin_d, sky.cos_d);
    const double weight = weight_of(d);
    const std::size_t stride = std::max<std::size_t>(1, o.band.N / 8192);  // nothing here turns faster than the day
    for (std::size_t i = 0; i < o.band.N; i += stride) {
      if (!d.x.empty() && d.x[i] == 0) continue;
      const double u = sky.alpha - e.phir - earth_rotation * o.band.dt * static_cast<double>(i);
      double a, b;
      modulation.evaluate(std::cos(u), std::sin(u), a, b);
      const auto& r = e.position[i];
      const double einstein = e.einstein.empty() ? 0 : e.einstein[i];
      const double t = static_cast<double>(i) / samples,
                   delay = (r[0] * direction[0] + r[1] * direction[1] + r[2] * direction[2] + einstein) / samples;
      std::array<double, n> by{};
      by[0] = t + delay;
      by[1] = t * t + 2 * t * delay;
      if (m > 2) by[2] = t * t * t + 3 * t * t * delay;
      if constexpr (n > 3) {
        by[m] = (r[1] * cos_e + r[2] * sin_e) / samples;
        by[m + 1] = r[0] / samples;
      }
      std::array<double, all> cosine{}, sine{};  // the derivatives' parts with cos Phi and sin Phi
      for (std::size_t k = 0; k < n; ++k) {
        cosine[k] = -b * by[k];
        sine[k] = -a * by[k];
      }
      cosine[n] = sine[n + 2] = a;
      cosine[n + 1] = sine[n + 3] = b;
      for (std::size_t j = 0; j < all; ++j)
        for (std::size_t k = 0; k <= j; ++k)
          G[all * j + k] += weight * (cosine[j] * cosine[k] + sine[j] * sine[k]);
      power += weight * (a * a + b * b);
    }
  }
  for (std::size_t j = 0; j < all; ++j)
    for (std::size_t k = 0; k < j; ++k)
      G[all * k + j] = G[all * j + k];
  for (std::size_t p = all; p-- > n;) {  // Schur's complement, one amplitude after the other
    if (!(G[(all + 1) * p] > 0)) throw bad_input("no data: the Fisher matrix has no information on amplitudes");
    for (std::size_t j = 0; j < p; ++j)
      for (std::size_t k = 0; k < p; ++k)
        G[all * j + k] -= G[all * j + p] * G[all * p + k] / G[(all + 1) * p];
  }
  Square<n> reduced{};
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t k = 0; k < n; ++k)
      reduced[n * j + k] = G[all * j + k] / power;
  return reduced;
}

template <std::size_t n>
Square<n> exact_fisher(const Observation& o) {
  constexpr int directions = 24;
  Square<n> mean{};
  for (int k = 0; k < directions; ++k) {  // Fibonacci's spiral
    const double z = (2 * k + 1.0) / directions - 1;
    const auto here = exact_fisher<n>(o, make_sky(std::fmod(k * pi * (3 - std::sqrt(5.0)), 2 * pi), std::asin(z)));
    for (std::size_t i = 0; i < n * n; ++i)
      mean[i] += here[i] / directions;
  }
  return mean;
}

Matrix4 reduced_fisher(const Observation& o) {
  return linear_fisher<4>(o);
}

template Square<2> linear_fisher<2>(const Observation&);
template Square<3> linear_fisher<3>(const Observation&);
template Square<4> linear_fisher<4>(const Observation&);
template Square<5> linear_fisher<5>(const Observation&);
template Square<2> exact_fisher<2>(const Observation&, const SkyPosition&);
template Square<3> exact_fisher<3>(const Observation&, const SkyPosition&);
template Square<4> exact_fisher<4>(const Observation&, const SkyPosition&);
template Square<5> exact_fisher<5>(const Observation&, const SkyPosition&);
template Square<2> exact_fisher<2>(const Observation&);
template Square<3> exact_fisher<3>(const Observation&);
template Square<4> exact_fisher<4>(const Observation&);
template Square<5> exact_fisher<5>(const Observation&);

}  // namespace fachwerk::polgraw
