#include "mismatch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace fachwerk::dpf {
namespace {

// Complex product without the NaN bookkeeping of operator*.
Complex times(Complex a, Complex b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

bool angle_is_free(NodeType type) {
  return type != NodeType::reference;
}
bool magnitude_is_free(NodeType type) {
  return type == NodeType::pq;
}

Complex injection(const Problem& problem, std::span<const Complex> v, int i) {
  const Pattern& pattern = problem.network->pattern;
  Complex current = 0;
  for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k)
    current += times(problem.y[k], v[pattern.column[k]]);
  return times(v[i], std::conj(current));
}

// The two equations of node i, 0 where an unknown is fixed.
std::array<double, 2> balance(const Problem& problem, std::span<const double> lambda, int i, double vm, Complex s) {
  Complex left = s + dependent_load(problem, i, vm) - Complex(problem.p[i], problem.q[i]);
  if (!problem.slack_weight.empty()) left -= problem.slack_weight[i] * lambda[problem.network->island[i]];
  const bool p_counts = angle_is_free(problem.type[i]) || !problem.slack_weight.empty();
  return {p_counts ? left.real() : 0, magnitude_is_free(problem.type[i]) ? left.imag() : 0};
}

// With S_ij = V_i conj(Y_ij V_j): dS_i/dtheta_j = -j S_ij, dS_i/dlnV_j = S_ij for j != i.
Block off_diagonal(bool p_row, bool q_row, NodeType column, Complex s) {
  const bool angle = angle_is_free(column), magnitude = magnitude_is_free(column);
  return {p_row && angle ? s.imag() : 0, p_row && magnitude ? s.real() : 0, q_row && angle ? -s.real() : 0,
          q_row && magnitude ? s.imag() : 0};
}

}  // namespace

Problem problem_of(const Network& network) {
  return {&network,  network.y,         network.type, network.p,
          network.q, network.set_point, network.zip,  network.slack_weight};
}

State file_start(const Problem& problem) {
  State state{problem.network->vm, problem.network->va, {}};
  for (std::size_t i = 0; i < state.vm.size(); ++i)
    if (problem.type[i] != NodeType::pq) state.vm[i] = problem.set_point[i];
  if (!problem.slack_weight.empty()) state.lambda.assign(static_cast<std::size_t>(problem.network->islands), 0.0);
  return state;
}

State flat_start(const Problem& problem) {
  State state = file_start(problem);
  std::vector<double> angle(static_cast<std::size_t>(problem.network->islands), 0.0);
  for (std::size_t i = state.va.size(); i-- > 0;)
    if (problem.type[i] == NodeType::reference) angle[problem.network->island[i]] = state.va[i];
  for (std::size_t i = 0; i < state.vm.size(); ++i) {
    if (problem.type[i] == NodeType::pq) state.vm[i] = 1;
    if (problem.type[i] != NodeType::reference) state.va[i] = angle[problem.network->island[i]];
  }
  return state;
}

std::vector<Complex> phasors(const State& state) {
  std::vector<Complex> v(state.vm.size());
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = std::polar(1.0, state.va[i]) * state.vm[i];
  return v;
}

void injections(const Problem& problem, std::span<const Complex> v, std::span<Complex> s) {
  for (int i = 0; i < problem.network->nodes(); ++i)
    s[i] = injection(problem, v, i);
}

void injections(const Problem& problem, const State& state, std::span<Complex> s) {
  injections(problem, phasors(state), s);
}

Complex dependent_load(const Problem& problem, int node, double vm) {
  if (problem.zip.empty()) return 0;
  const VoltageDependence& z = problem.zip[node];
  return {(z.p_current + z.p_impedance * vm) * vm, (z.q_current + z.q_impedance * vm) * vm};
}

double mismatch(const Problem& problem, const State& state, std::span<const Complex> s, std::span<double> f) {
  const int n = problem.network->nodes();
  double worst = 0;
  for (int i = 0; i < n; ++i) {
    const auto [p, q] = balance(problem, state.lambda, i, state.vm[i], s[i]);
    f[2 * i] = p;
    f[2 * i + 1] = q;
    worst = std::max({worst, std::abs(p), std::abs(q)});
    if (!(std::abs(p) + std::abs(q) < std::numeric_limits<double>::infinity()))
      return std::numeric_limits<double>::infinity();
  }
  return worst;
}

void mismatch_rows(const Problem& problem, std::span<const Complex> v, std::span<const double> vm, int first, int last,
                   std::span<double> f) {
  for (int i = first; i < last; ++i) {
    const auto [p, q] = balance(problem, {}, i, vm[i], injection(problem, v, i));
    f[2 * (i - first)] = p;
    f[2 * (i - first) + 1] = q;
  }
}

double mismatch(const Problem& problem, const State& state, std::span<double> f) {
  std::vector<Complex> s(state.vm.size());
  injections(problem, state, s);
  return mismatch(problem, state, s, f);
}

std::vector<double> rounding_floor(const Problem& problem, const State& state) {
  const Pattern& pattern = problem.network->pattern;
  std::vector<double> floor(state.vm.size());
  for (int i = 0; i < pattern.rows(); ++i) {
    double sum = 0;
    for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k)
      sum += std::sqrt(std::norm(problem.y[k])) * state.vm[pattern.column[k]];
    floor[i] = 8 * std::numeric_limits<double>::epsilon() * state.vm[i] * sum;
  }
  return floor;
}

bool within(std::span<const double> f, std::span<const double> floor, double tolerance) {
  for (std::size_t i = 0; i < floor.size(); ++i)
    if (!(std::max(std::abs(f[2 * i]), std::abs(f[2 * i + 1])) <= tolerance + floor[i])) return false;
  return true;
}

Block jacobian_block(const Problem& problem, int i, int j, Complex s) {
  return off_diagonal(angle_is_free(problem.type[i]), magnitude_is_free(problem.type[i]), problem.type[j], s);
}

// On the diagonal dS_i/dtheta_i = j (S_i - S_ii), dS_i/dlnV_i = S_i + S_ii.
void jacobian_rows(const Problem& problem, std::span<const Complex> v, std::span<const double> vm, int first, int last,
                   std::span<Block> a) {
  const Pattern& pattern = problem.network->pattern;
  const int offset = pattern.start[first];
  for (int i = first; i < last; ++i) {
    const bool p_row = angle_is_free(problem.type[i]), q_row = magnitude_is_free(problem.type[i]);
    const int diagonal = pattern.diagonal[i], end = pattern.start[i + 1];
    Complex total = 0;
    for (int k = pattern.start[i]; k < end; ++k) {
      const int j = pattern.column[k];
      const Complex s = times(v[i], std::conj(times(problem.y[k], v[j])));
      total += s;
      a[k - offset] = off_diagonal(p_row, q_row, problem.type[j], s);
    }
    const Complex own = times(v[i], std::conj(times(problem.y[diagonal], v[i])));
    Complex change;  // of the dependent load with ln|V|
    if (!problem.zip.empty()) {
      const VoltageDependence& z = problem.zip[i];
      change = {(z.p_current + 2 * z.p_impedance * vm[i]) * vm[i], (z.q_current + 2 * z.q_impedance * vm[i]) * vm[i]};
    }
    const Complex to_magnitude = total + own + change;
    Block& d = a[diagonal - offset];
    d = {-(total.imag() - own.imag()), to_magnitude.real(), total.real() - own.real(), to_magnitude.imag()};
    if (!p_row) d[0] = 1, d[1] = d[2] = 0;
    if (!q_row) d[3] = 1, d[1] = d[2] = 0;
  }
}

void jacobian(const Problem& problem, const State& state, std::span<Block> a) {
  jacobian_rows(problem, phasors(state), state.vm, 0, problem.network->nodes(), a);
}

void apply_step(State& state, std::span<const double> dx, double scale) {
  for (std::size_t i = 0; i < state.vm.size(); ++i) {
    state.va[i] += std::clamp(scale * dx[2 * i], -1.0, 1.0);
    state.vm[i] *= 1 + std::clamp(scale * dx[2 * i + 1], -0.3, 0.3);
  }
}

}  // namespace fachwerk::dpf
