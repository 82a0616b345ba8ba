#include "fit_chart.hpp"

#include <algorithm>
#include <cmath>
#include <map>

namespace fachwerk::dpf {
namespace {

constexpr double vanishing = 1e-9;  // of an impedance

// Arc from infinite `moving` part to this one, on the circle of 1 / (moving + j fixed).
double arc(double moving, double fixed) {
  return fixed == 0 ? 1 / moving : std::atan2(std::abs(fixed), moving) / std::abs(fixed);
}
double part_of_arc(double arc, double fixed) {
  return fixed == 0 ? 1 / arc : std::abs(fixed) / std::tan(arc * std::abs(fixed));
}

double part(const Complex& z, std::size_t half) {
  return half == 0 ? z.real() : z.imag();
}

// Root mean square of the start values of each kind; 1 where all are zero.
std::map<ParameterKind, double> usual_values(const Fitter& fitter) {
  std::map<ParameterKind, std::pair<double, double>> sums;
  for (std::size_t i = 0; i < fitter.parameters().size(); ++i) {
    auto& [sum, count] = sums[fitter.parameters()[i].kind];
    sum += fitter.start_value(i) * fitter.start_value(i);
    count += 1;
  }
  std::map<ParameterKind, double> out;
  for (const auto& [kind, total] : sums)
    out[kind] = total.first > 0 ? std::sqrt(total.first / total.second) : 1;
  return out;
}

}  // namespace

FitChart::FitChart(const Fitter& fitter, const std::vector<Box>& boxes)
    : given_(boxes), boxes_(boxes), usual_(fitter.size(), 1.0), factor_(fitter.size()) {
  const auto usual = usual_values(fitter);
  const Branches& branch = fitter.grid().branch;
  std::map<int, Impedance> of_branch;
  for (std::size_t u = 0; u < fitter.size(); ++u) {
    const Unknown& unknown = fitter.unknowns()[u];
    const Parameter& p = fitter.parameters()[unknown.parameters[0]];  // stands for its group
    factor_[u] = unknown.logarithmic;
    if (!unknown.logarithmic) usual_[u] = usual.at(p.kind);
    if (p.kind != ParameterKind::r && p.kind != ParameterKind::x) continue;
    const std::size_t half = p.kind == ParameterKind::x;
    Impedance& z = of_branch[p.row];
    z.start = {branch.r[p.row], branch.x[p.row]};
    z.unknown[half] = u;
    z.logarithmic[half] = unknown.logarithmic;
  }
  const auto bounded = [&](std::size_t u) { return std::isfinite(boxes[u].low) || std::isfinite(boxes[u].high); };
  for (const auto& [row, z] : of_branch) {
    if (z.pair() && (bounded(z.unknown[0]) || bounded(z.unknown[1]))) continue;
    impedances_.push_back(z);
    restrict_signs(z);
  }
}

void FitChart::restrict_signs(const Impedance& z) {
  constexpr double infinite = std::numeric_limits<double>::infinity();
  const double size = std::abs(z.start);
  if (z.pair()) {
    if (z.logarithmic[0]) boxes_[z.unknown[0]] = {vanishing / size, infinite};
    if (z.logarithmic[1]) boxes_[z.unknown[1]] = {-infinite, -vanishing / size};
    return;
  }
  const std::size_t half = z.moving(), u = z.unknown[half];
  const double fixed = part(z.start, 1 - half);
  const auto value = [&](double at) { return z.logarithmic[half] ? part(z.start, half) * std::exp(at) : at; };
  Box box{z.logarithmic[half] || fixed != 0 ? vanishing / size : -infinite, infinite};
  if (z.logarithmic[half])
    box.high = arc(vanishing * size, fixed);
  else if (fixed != 0)
    box.high = arc(-size / vanishing, fixed);
  if (std::isfinite(given_[u].high)) box.low = arc(value(given_[u].high), fixed);
  if (std::isfinite(given_[u].low)) box.high = arc(value(given_[u].low), fixed);
  boxes_[u] = box;
}

std::vector<double> FitChart::coordinates(const std::vector<double>& unknowns) const {
  std::vector<double> out = unknowns;
  for (const Impedance& branch : impedances_) {
    double z[2] = {branch.start.real(), branch.start.imag()};
    for (std::size_t half = 0; half < 2; ++half)
      if (const std::size_t u = branch.unknown[half]; u != none)
        z[half] = branch.logarithmic[half] ? z[half] * std::exp(unknowns[u]) : unknowns[u];
    if (branch.pair()) {
      const Complex y = 1.0 / Complex(z[0], z[1]);
      out[branch.unknown[0]] = y.real();
      out[branch.unknown[1]] = y.imag();
    } else {
      out[branch.unknown[branch.moving()]] = arc(z[branch.moving()], z[1 - branch.moving()]);
    }
  }
  for (std::size_t u = 0; u < out.size(); ++u)
    out[u] = std::clamp(out[u], boxes_[u].low, boxes_[u].high);
  return out;
}

Complex FitChart::impedance(const Impedance& branch, const std::vector<double>& at) const {
  if (branch.pair()) return 1.0 / Complex(at[branch.unknown[0]], at[branch.unknown[1]]);
  const std::size_t half = branch.moving();
  const double fixed = part(branch.start, 1 - half), moving = part_of_arc(at[branch.unknown[half]], fixed);
  return half == 0 ? Complex(moving, fixed) : Complex(fixed, moving);
}

std::vector<double> FitChart::unknowns(const std::vector<double>& coordinates) const {
  std::vector<double> out = coordinates;
  for (const Impedance& branch : impedances_) {
    const Complex z = impedance(branch, coordinates);
    for (std::size_t half = 0; half < 2; ++half)
      if (const std::size_t u = branch.unknown[half]; u != none) {
        out[u] = branch.logarithmic[half] ? std::log(part(z, half) / part(branch.start, half)) : part(z, half);
        if (branch.pair()) continue;
        if (coordinates[u] <= boxes_[u].low && std::isfinite(given_[u].high)) out[u] = given_[u].high;
        if (coordinates[u] >= boxes_[u].high && std::isfinite(given_[u].low)) out[u] = given_[u].low;
      }
  }
  return out;
}

std::vector<double> FitChart::sizes(const std::vector<double>& coordinates) const {
  std::vector<double> out = usual_;
  for (const Impedance& branch : impedances_)
    for (const std::size_t u : branch.unknown)
      if (u != none) out[u] = 1 / std::abs(impedance(branch, coordinates));
  return out;
}

std::vector<double> FitChart::longest() const {
  std::vector<double> out(usual_.size(), std::numeric_limits<double>::infinity());
  for (std::size_t u = 0; u < out.size(); ++u)
    if (factor_[u]) out[u] = 1;
  for (const Impedance& branch : impedances_)
    for (const std::size_t u : branch.unknown)
      if (u != none) out[u] = 0.7;
  return out;
}

// dz = -z^2 dy; along an arc d(moving) = -|z|^2 d(arc). Logarithms divide by the part.
FitChart::Slope FitChart::slope(const Impedance& branch, const std::vector<double>& coordinates) const {
  const Complex z = impedance(branch, coordinates);
  const auto divisor = [&](std::size_t half) { return branch.logarithmic[half] ? part(z, half) : 1; };
  if (!branch.pair()) return {{-std::norm(z) / divisor(branch.moving()), 0, 0, 0}};
  const Complex square = z * z;
  return {{-square.real() / divisor(0), square.imag() / divisor(0), -square.imag() / divisor(1),
           -square.real() / divisor(1)}};
}

// T^T A T and T^T A^T r with T the slopes, or their inverses.
template <class Inverse>
void FitChart::transform(Normal& normal, const std::vector<double>& coordinates, const Inverse& inverse) const {
  const std::size_t n = usual_.size();
  if (normal.rhs.size() != n || normal.matrix.size() != n * n) return;
  for (const Impedance& branch : impedances_) {
    const Slope t = inverse(slope(branch, coordinates), branch.pair());
    const std::size_t u = branch.unknown[branch.moving()], w = branch.pair() ? branch.unknown[1] : none;
    const auto combine = [&](double& first, double* second) {
      const double a = first, b = second == nullptr ? 0 : *second;
      first = t.at[0] * a + t.at[2] * b;
      if (second != nullptr) *second = t.at[1] * a + t.at[3] * b;
    };
    for (std::size_t k = 0; k < n; ++k)
      combine(normal.matrix[u * n + k], w == none ? nullptr : &normal.matrix[w * n + k]);
    for (std::size_t k = 0; k < n; ++k)
      combine(normal.matrix[k * n + u], w == none ? nullptr : &normal.matrix[k * n + w]);
    combine(normal.rhs[u], w == none ? nullptr : &normal.rhs[w]);
  }
}

void FitChart::to_coordinates(Normal& normal, const std::vector<double>& coordinates) const {
  transform(normal, coordinates, [](const Slope& t, bool) { return t; });
}

void FitChart::to_unknowns(Normal& normal, const std::vector<double>& coordinates) const {
  transform(normal, coordinates, [](const Slope& t, bool pair) {
    if (!pair) return Slope{{1 / t.at[0], 0, 0, 0}};
    const double d = t.at[0] * t.at[3] - t.at[1] * t.at[2];
    return Slope{{t.at[3] / d, -t.at[1] / d, -t.at[2] / d, t.at[0] / d}};
  });
}

}  // namespace fachwerk::dpf
