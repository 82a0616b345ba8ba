#include "refine.hpp"

#include <algorithm>
#include <numeric>
#include <ranges>

#include "engine_bodies.hpp"

namespace fachwerk::polgraw {

namespace {

using U = LocalStatistic::U;
constexpr std::size_t coordinates = 5;
using Matrix = Square<coordinates>;

/// Coefficients of t and t^2 of a path over its whole length, by Legendre polynomials.
void fit_path(const std::vector<Vector3>& position, Vector3& slope, Vector3& bend) {
  constexpr std::size_t points = 256;
  const auto n = static_cast<double>(position.size());
  for (std::size_t k = 0; k < 3; ++k) {
    double first = 0, second = 0, first_norm = 0, second_norm = 0;
    for (std::size_t j = 0; j < points; ++j) {
      const double x = (2 * static_cast<double>(j) + 1) / points - 1, p2 = (3 * x * x - 1) / 2;
      const double r = position[position.size() * (2 * j + 1) / (2 * points)][k] - position.front()[k];
      first += r * x;
      first_norm += x * x;
      second += r * p2;
      second_norm += p2 * p2;
    }
    bend[k] = 6 * second / second_norm / (n * n);
    slope[k] = (2 * first / first_norm - 6 * second / second_norm) / n;
  }
}

double dot(const Vector3& x, const Vector3& y) {
  return x[0] * y[0] + x[1] * y[1] + x[2] * y[2];
}

Vector3 direction_of(const SignalPoint& point) {
  return make_sky(point.alpha, point.delta).direction();
}

}  // namespace

LocalStatistic::LocalStatistic(const Observation& o, const SignalPoint& centre)
    : observation_(o), centre_(centre), n_(direction_of(centre)) {
  const auto sky = make_sky(centre.alpha, centre.delta);
  east_ = {-sky.sin_a, sky.cos_a, 0};
  north_ = {-sky.cos_a * sky.sin_d, -sky.sin_a * sky.sin_d, sky.cos_d};
  fit_path(o.detectors.front().ephemeris.position, slope_, bend_);
  const auto N = o.band.N;
  const auto count =
      std::clamp<std::size_t>(static_cast<std::size_t>(static_cast<double>(N) * o.band.dt / 300), 512, N);
  for (const auto& series : o.detectors) {
    const auto& e = series.ephemeris;
    std::vector<double> shift(N);
    barycentric_shift(e, n_, o.band.dt, e.einstein.empty(), shift);
    Detector d{AmplitudeModulation(series.site), 1 / series.sigma2, {}};
    for (std::size_t k = 0; k < count; ++k) {
      const std::size_t begin = N * k / count, end = N * (k + 1) / count;
      double re = 0, im = 0, present = 0, time = 0;
      for (std::size_t i = begin; i < end; ++i) {
        const auto t = static_cast<double>(i);
        const Piece here{t, 1, {}, {}, shift[i], 0, 0, 0};
        const auto back = FACHWERK_ISA::turn_back<double>(phase(centre_, {}, here) * (1 / (2 * pi)));
        re += series.x[i] * back.re;
        im += series.x[i] * back.im;
        const double one = series.x[i] == 0 ? 0 : 1;
        present += one;
        time += one * t;
      }
      if (present == 0) continue;
      const auto middle = static_cast<std::size_t>(std::lround(time / present));
      const auto t = static_cast<double>(middle);
      const double sidereal = e.phir + earth_rotation * o.band.dt * t;
      d.pieces.push_back({t,
                          present,
                          {re, im},
                          e.position[middle],
                          shift[middle] - dot(n_, e.position[middle]),
                          std::cos(sidereal),
                          std::sin(sidereal),
                          0});
      d.pieces.back().phase = phase(centre_, n_, d.pieces.back());
    }
    detectors_.push_back(std::move(d));
  }
  // Metric of the phase over the pieces, from small steps in each parameter.
  const auto n = static_cast<double>(N);
  U scale{1 / n, 1 / (n * n)};
  if (o.grid.second) scale[2] = 1 / (n * n * n);
  if (!o.directed) scale[3] = scale[4] = 1e-3;
  Matrix metric{};
  U mean{};
  double total = 0;
  for (const auto& d : detectors_)
    for (const auto& piece : d.pieces) {
      U change{};
      const double weight = d.weight * piece.count;
      for (std::size_t k = 0; k < coordinates; ++k) {
        if (scale[k] == 0) continue;
        U step{};
        step[k] = scale[k];
        const auto point = moved(step);
        change[k] = phase(point, direction_of(point), piece) - piece.phase;
      }
      for (std::size_t i = 0; i < coordinates; ++i) {
        mean[i] += weight * change[i];
        for (std::size_t k = 0; k < coordinates; ++k)
          metric[coordinates * i + k] += weight * change[i] * change[k];
      }
      total += weight;
    }
  for (std::size_t i = 0; i < coordinates; ++i) {
    for (std::size_t k = 0; k < coordinates; ++k)
      metric[coordinates * i + k] = metric[coordinates * i + k] / total - mean[i] * mean[k] / (total * total);
    // Directions of the sky that the frame hardly tells apart are not longer than half a radian.
    metric[(coordinates + 1) * i] +=
        scale[i] == 0 ? 1 : (i >= 3 ? 4 * scale[i] * scale[i] : 1e-12 * metric[(coordinates + 1) * i]);
  }
  const auto inverse = inverse_lower(cholesky(metric));  // L^-1; a step is L^-T u
  for (std::size_t i = 0; i < coordinates; ++i)
    for (std::size_t k = 0; k < coordinates; ++k)
      axes_[coordinates * i + k] = scale[i] * inverse[coordinates * k + i];
}

double LocalStatistic::phase(const SignalPoint& p, const Vector3& n, const Piece& piece) const {
  const double t = piece.t, shift = dot(n, piece.position) + piece.delay;
  return p.omega * (t + shift) + p.s * t * t + (observation_.band.oms() + 2 * p.s * t) * shift +
         p.s2 * t * t * (t + 3 * shift);
}

SignalPoint LocalStatistic::moved(const U& step) const {
  SignalPoint p = centre_;
  p.omega += step[0];
  p.s += step[1];
  p.s2 += step[2];
  if (observation_.directed) return p;
  Vector3 v;
  for (std::size_t k = 0; k < 3; ++k)
    v[k] = n_[k] + step[3] * east_[k] + step[4] * north_[k];
  // On the sphere the direction bends back: what that does to frequency and spindown is taken back, or else the
  // summit's ridge would be bent.
  const double length = std::sqrt(dot(v, v)), reach = observation_.band.oms() + centre_.omega;
  for (std::size_t k = 0; k < 3; ++k) {
    const double bent = v[k] / length - v[k];
    p.omega -= reach * bent * slope_[k];
    p.s -= reach * bent * bend_[k];
  }
  p.delta = std::atan2(v[2], std::hypot(v[0], v[1]));
  p.alpha = std::atan2(v[1], v[0]);
  if (p.alpha < 0) p.alpha += 2 * pi;
  return p;
}

SignalPoint LocalStatistic::at(const U& u) const {
  U step{};
  for (std::size_t i = 0; i < coordinates; ++i)
    for (std::size_t k = 0; k < coordinates; ++k)
      step[i] += axes_[coordinates * i + k] * u[k];
  return moved(step);
}

double LocalStatistic::F(const SignalPoint& point) const {
  const auto sky = make_sky(point.alpha, point.delta);
  const auto n = sky.direction();
  DirectSums total;
  for (const auto& d : detectors_) {
    const auto modulation = d.modulation.at(sky.sin_d, sky.cos_d);
    DirectSums sum;
    for (const auto& piece : d.pieces) {
      double a, b;
      modulation.evaluate(sky.cos_a * piece.cos_sidereal + sky.sin_a * piece.sin_sidereal,
                          sky.sin_a * piece.cos_sidereal - sky.cos_a * piece.sin_sidereal, a, b);
      const double change = phase(point, n, piece) - piece.phase;
      const auto back = FACHWERK_ISA::turn_back<double>(change * (1 / (2 * pi)));
      const auto z = piece.z * std::complex<double>(back.re, back.im);
      sum.Xa += a * z;
      sum.Xb += b * z;
      sum.sums.A += piece.count * a * a;
      sum.sums.B += piece.count * b * b;
      sum.sums.C += piece.count * a * b;
    }
    total +=
        {d.weight * sum.Xa, d.weight * sum.Xb, {d.weight * sum.sums.A, d.weight * sum.sums.B, d.weight * sum.sums.C}};
  }
  return f_of(total);
}

namespace {

struct Derivatives {
  U gradient{};
  Matrix hessian{};
};
Derivatives differences(const LocalStatistic& statistic, const U& u, double F) {
  constexpr double h = 0.03;
  const auto value = [&](std::size_t i, double di, std::size_t k, double dk) {
    U v = u;
    v[i] += di;
    v[k] += dk;
    return statistic.F(statistic.at(v));
  };
  Derivatives out;
  for (std::size_t i = 0; i < coordinates; ++i) {
    if (!statistic.has(i)) continue;
    const double up = value(i, h, i, 0), down = value(i, -h, i, 0);
    out.gradient[i] = (up - down) / (2 * h);
    out.hessian[(coordinates + 1) * i] = (up + down - 2 * F) / (h * h);
    for (std::size_t k = 0; k < i; ++k) {
      if (!statistic.has(k)) continue;
      out.hessian[coordinates * i + k] = out.hessian[coordinates * k + i] =
          (value(i, h, k, h) - value(i, h, k, -h) - value(i, -h, k, h) + value(i, -h, k, -h)) / (4 * h * h);
    }
  }
  return out;
}

/// Newton's step, uphill along every eigenvector, of at most `radius`.
U uphill_step(const Derivatives& d, double radius) {
  const auto eigen = symmetric_eigen(d.hessian);
  U step{};
  double length = 0;
  for (std::size_t k = 0; k < coordinates; ++k) {
    double slope = 0;
    for (std::size_t i = 0; i < coordinates; ++i)
      slope += eigen.vectors[coordinates * i + k] * d.gradient[i];
    const double along = slope / std::max(std::abs(eigen.values[k]), 1e-3);
    length = std::hypot(length, along);
    for (std::size_t i = 0; i < coordinates; ++i)
      step[i] += along * eigen.vectors[coordinates * i + k];
  }
  for (double& x : step)
    x *= std::min(1.0, radius / length);
  return step;
}

double norm(const U& u) {
  double sum = 0;
  for (const double x : u)
    sum += x * x;
  return std::sqrt(sum);
}

}  // namespace

Summit refine(const Observation& observation, const SignalPoint& start) {
  Summit summit{start, 0, 0, false};
  for (int round = 0; round < 4 && !summit.converged; ++round) {  // the sums are made anew where it moves far
    const LocalStatistic statistic(observation, summit.point);
    const auto free = std::ranges::count_if(std::views::iota(std::size_t{0}, coordinates),
                                            [&](std::size_t k) { return statistic.has(k); });
    U u{};
    double F = statistic.F(summit.point), radius = 0.4;
    for (int step = 0; step < 20 && !summit.converged && norm(u) < 1; ++step) {
      auto move = uphill_step(differences(statistic, u, F), radius);
      summit.evaluations += static_cast<int>(1 + 2 * free * free);
      for (; radius > 1e-4; radius /= 4) {
        U next = u;
        const double length = norm(move), factor = std::min(1.0, radius / length);
        for (std::size_t k = 0; k < coordinates; ++k)
          next[k] += factor * move[k];
        const double value = statistic.F(statistic.at(next));
        if (value < F) continue;
        summit.converged = length < 1e-2;
        u = next;
        F = value;
        radius = std::min(2 * radius, 0.4);
        break;
      }
      if (radius <= 1e-4) summit.converged = true;  // no way up is left
    }
    summit.point = statistic.at(u);
    summit.F = F;
  }
  return summit;
}

double grid_distance(const Observation& o, const SignalPoint& a, const SignalPoint& b) {
  const auto n = static_cast<double>(o.band.N);
  U step{(a.omega - b.omega) * n, (a.s - b.s) * n * n, (a.s2 - b.s2) * n * n * n};
  if (!o.directed) {
    const auto e = to_ecliptic(make_sky(a.alpha, a.delta), o.obliquity),
               f = to_ecliptic(make_sky(b.alpha, b.delta), o.obliquity);
    const double reach = (o.band.oms() + b.omega) * n;
    step[3] = reach * (e.be1 - f.be1);
    step[4] = reach * (e.be2 - f.be2);
  }
  double sum = 0;
  if (o.grid.second) {
    for (std::size_t i = 0; i < 5; ++i)
      for (std::size_t k = 0; k < 5; ++k)
        sum += step[i] * o.grid.second->fisher[5 * i + k] * step[k];
  } else {
    const std::array<double, 4> four{step[0], step[1], step[3], step[4]};
    for (std::size_t i = 0; i < 4; ++i)
      for (std::size_t k = 0; k < 4; ++k)
        sum += four[i] * o.grid.fisher[4 * i + k] * four[k];
  }
  return std::sqrt(std::max(0.0, sum));
}

Clusters::Clusters(std::span<const Trigger> triggers, std::span<const int> source,
                   std::span<const Observation* const> sources)
    : triggers_(triggers), source_(source), sources_(sources), order_(triggers.size()) {
  std::iota(order_.begin(), order_.end(), std::size_t{0});
  std::ranges::stable_sort(order_, std::greater{}, [&](std::size_t row) { return triggers_[row].snr; });
}

std::optional<std::size_t> Clusters::next() {
  for (; at_ < order_.size(); ++at_) {
    const std::size_t row = order_[at_];
    const auto point = signal_point(triggers_[row]);
    const auto& observation = *sources_[static_cast<std::size_t>(source_[row])];
    if (std::ranges::none_of(heads_, [&](const Head& head) {
          return head.source == source_[row] && grid_distance(observation, point, head.point) <= 1;
        }))
      return row;
  }
  return std::nullopt;
}

}  // namespace fachwerk::polgraw
