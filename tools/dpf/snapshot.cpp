#include "snapshot.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "cli/error.hpp"
#include "newton.hpp"
#include "normal_equations.hpp"

namespace fachwerk::dpf {
namespace {

constexpr double huber_bend = 1.345, cauchy_width = 2.385;

// A snapshot's problem with the arrays that it views.
class Snapshot {
 public:
  Snapshot(const FitGrid& fit, OperatingPoint point, const Measurements& measured, const Judgement& judgement)
      : fit_(fit),
        measured_(measured),
        judgement_(judgement),
        n_(static_cast<std::size_t>(fit.network.nodes())),
        p_(n_),
        q_(n_),
        set_point_(fit.network.set_point) {
    for (const Parameter& parameter : fit.parameters) {  // what is learnt replaces the values of the snapshot
      const auto row = static_cast<std::size_t>(parameter.row);
      if (parameter.kind == ParameterKind::load_p) point.pd[row] = fit.grid.bus.pd[row];
      if (parameter.kind == ParameterKind::load_q) point.qd[row] = fit.grid.bus.qd[row];
      if (parameter.kind == ParameterKind::gen_p) point.pg[row] = fit.grid.gen.pg[row];
      if (parameter.kind == ParameterKind::set_point) point.vg[row] = fit.grid.gen.vg[row];
    }
    specify(fit.grid, fit.network, point, {p_, q_, set_point_});
    problem_ = problem_of(fit.network);
    problem_.p = p_;
    problem_.q = q_;
    problem_.set_point = set_point_;
  }

  Normal output(State& state, bool derivatives) {
    Newton newton(fit_.network);
    Solution solution = newton.solve(problem_, with_set_points(state), {.tolerance = 1e-10});
    Normal out = start(derivatives);
    out.solved = solution.status == Status::converged;
    if (!out.solved) return out;
    std::vector<double> sensitivity;
    if (derivatives) {
      state = solution.state;
      const BlockFactor& factor = newton.factor_at(problem_, solution.state);
      sensitivity = mismatch_columns(solution.state, -1);
      for (std::size_t u = 0; u < unknowns(); ++u) {
        const std::span<double> x = column(sensitivity, u);
        factor.solve(x);
        for (const std::size_t i : fit_.unknowns[u].parameters)
          add_own_change(problem_, solution.state, fit_.parameters[i], fit_.scale(u, i), x);
      }
    }
    std::vector<double> row(unknowns());
    each_observation([&](const Observation& what, double measured, double sigma) {
      const Weighed r = weigh(out, (measured - observe(fit_.grid, problem_, solution.state, what)) / sigma);
      if (!derivatives) return;
      const Sparse by_state = derivative(solution.state, what, 1 / sigma);
      for (std::size_t u = 0; u < unknowns(); ++u)
        row[u] = direct(solution.state, what, u) / sigma + by_state.dot(column(sensitivity, u));
      add_row(out, row, r);
    });
    return out;
  }

  // The mismatch at the measured voltages is the residual; it is nearly linear in the parameters.
  Normal residual(bool derivatives) {
    const State state = measured_state();
    std::vector<double> f(2 * n_), columns, row(unknowns());
    mismatch(problem_, state, f);
    Normal out = start(derivatives);
    if (derivatives) columns = mismatch_columns(state, 1 / judgement_.mismatch_sigma);
    for (std::size_t k = 0; k < f.size(); ++k) {
      if (!is_free(k)) continue;
      const Weighed r = weigh(out, -f[k] / judgement_.mismatch_sigma);
      for (std::size_t u = 0; derivatives && u < unknowns(); ++u)
        row[u] = columns[u * 2 * n_ + k];
      if (derivatives) add_row(out, row, r);
    }
    return out;
  }

  // Voltages minimise measurements and mismatch together, then are eliminated: the matrix left for the parameters is
  // the Schur complement G^T G - G^T K (K^T K)^-1 K^T G, K the derivatives by the voltages, G those by the parameters.
  Normal joint(State& state, bool derivatives) {
    State at = with_set_points(state);
    NormalEquations equations(fit_.network.pattern);
    if (!minimise(equations, at)) {
      Normal out = start(derivatives);
      out.solved = false;
      return out;
    }
    std::vector<double> f(2 * n_), g, cross, row(unknowns());
    mismatch(problem_, at, f);
    Normal out = start(derivatives);
    const double weight = 1 / judgement_.mismatch_sigma;
    if (derivatives) {
      state = at;
      g = mismatch_columns(at, weight);
      cross = times_transposed_jacobian(at, g, weight);
    }
    for (std::size_t k = 0; k < f.size(); ++k) {
      if (!is_free(k)) continue;
      const double r = -f[k] * weight;
      out.chi2 += r * r;
      out.residuals.push_back(r);
      ++out.count;
      for (std::size_t u = 0; derivatives && u < unknowns(); ++u)
        row[u] = g[u * 2 * n_ + k];
      if (derivatives) add_row(out, row, {r, 1});
    }
    each_observation([&](const Observation& what, double measured, double sigma) {
      const Weighed r = weigh(out, (measured - observe(fit_.grid, problem_, at, what)) / sigma);
      if (!derivatives) return;
      const Sparse by_state = derivative(at, what, 1 / sigma);
      for (std::size_t u = 0; u < unknowns(); ++u) {
        row[u] = direct(at, what, u) / sigma;
        if (row[u] != 0) by_state.add(r.weight * row[u], column(cross, u));
      }
      add_row(out, row, r);
    });
    // The voltages are unknowns of their own: they cost degrees of freedom.
    for (std::size_t k = 0; k < f.size(); ++k)
      out.count -= is_free(k);
    if (derivatives) eliminate(equations, cross, out);
    return out;
  }

 private:
  // Derivative by the state where it is not zero.
  struct Sparse {
    std::vector<std::pair<std::size_t, double>> entries;
    double dot(std::span<const double> x) const {
      double sum = 0;
      for (const auto& [k, value] : entries)
        sum += value * x[k];
      return sum;
    }
    void add(double scale, std::span<double> x) const {
      for (const auto& [k, value] : entries)
        x[k] += scale * value;
    }
  };
  struct Weighed {
    double residual, weight;
  };

  std::size_t unknowns() const { return fit_.unknowns.size(); }
  std::span<double> column(std::vector<double>& columns, std::size_t u) const {
    return std::span(columns).subspan(u * 2 * n_, 2 * n_);
  }
  bool is_free(std::size_t k) const {
    const NodeType type = problem_.type[k / 2];
    return k % 2 == 0 ? type != NodeType::reference : type == NodeType::pq;
  }
  Normal start(bool derivatives) const {
    Normal out;
    if (derivatives) {
      out.matrix.assign(unknowns() * unknowns(), 0.0);
      out.rhs.assign(unknowns(), 0.0);
    }
    return out;
  }

  State with_set_points(State state) const {
    for (std::size_t i = 0; i < n_; ++i)
      if (problem_.type[i] != NodeType::pq) state.vm[i] = set_point_[i];
    return state;
  }
  State measured_state() const {
    State state{std::vector<double>(n_), std::vector<double>(n_), {}};
    for (std::size_t b = 0; b < fit_.network.node_of_bus.size(); ++b) {
      const int k = fit_.network.node_of_bus[b];
      if (k < 0) continue;
      if (measured_.vm.empty() || measured_.va.empty() || std::isnan(measured_.vm[b] + measured_.va[b]))
        throw bad_input("the residual formulation needs |V| and angle of every bus: bus row {} lacks one", b + 1)
            .with_hint("--formulation output or joint");
      state.vm[k] = measured_.vm[b];
      state.va[k] = measured_.va[b] * std::numbers::pi / 180;
    }
    return state;
  }

  // scale * dF/d(coordinate) of every unknown.
  std::vector<double> mismatch_columns(const State& state, double scale) {
    std::vector<double> out(unknowns() * 2 * n_, 0.0);
    for (std::size_t u = 0; u < unknowns(); ++u)
      for (const std::size_t i : fit_.unknowns[u].parameters)
        add_mismatch_derivative(fit_.grid, problem_, state, fit_.parameters[i], scale * fit_.scale(u, i),
                                column(out, u));
    return out;
  }
  double direct(const State& state, const Observation& what, std::size_t u) const {
    double sum = 0;
    for (const std::size_t i : fit_.unknowns[u].parameters)
      sum += fit_.scale(u, i) * observe_direct(fit_.grid, problem_, state, what, fit_.parameters[i]);
    return sum;
  }
  Sparse derivative(const State& state, const Observation& what, double scale) const {
    std::vector<double> dense(2 * n_, 0.0);
    observe_derivative(fit_.grid, problem_, state, what, scale, dense);
    Sparse out;
    for (std::size_t k = 0; k < dense.size(); ++k)
      if (dense[k] != 0) out.entries.emplace_back(k, dense[k]);
    return out;
  }

  Weighed weigh(Normal& out, double residual) const {
    out.chi2 += robust_loss(judgement_.robust, residual);
    out.residuals.push_back(residual);
    ++out.count;
    return {residual, robust_weight(judgement_.robust, residual)};
  }
  void add_row(Normal& out, const std::vector<double>& row, Weighed r) const {
    for (std::size_t u = 0; u < row.size(); ++u) {
      if (row[u] == 0) continue;
      out.rhs[u] += r.weight * row[u] * r.residual;
      for (std::size_t v = 0; v < row.size(); ++v)
        out.matrix[u * row.size() + v] += r.weight * row[u] * row[v];
    }
  }

  template <class Visit>
  void each_observation(const Visit& visit) const {
    using Kind = Observation::Kind;
    const Network& network = fit_.network;
    const MeasurementNoise& noise = judgement_.noise;
    const auto all = [&](const std::vector<double>& values, Kind kind, double sigma, const std::vector<int>& live) {
      for (std::size_t i = 0; i < values.size(); ++i)
        if (live[i] >= 0 && !std::isnan(values[i])) visit({kind, static_cast<int>(i)}, values[i], sigma);
    };
    all(measured_.vm, Kind::vm, noise.vm, network.node_of_bus);
    all(measured_.va, Kind::va, noise.va, network.node_of_bus);
    all(measured_.pf, Kind::pf, noise.flow, network.from_of_branch);
    all(measured_.qf, Kind::qf, noise.flow, network.from_of_branch);
    all(measured_.pt, Kind::pt, noise.flow, network.from_of_branch);
    all(measured_.qt, Kind::qt, noise.flow, network.from_of_branch);
    all(measured_.current_from, Kind::current_from, noise.current, network.from_of_branch);
    all(measured_.current_to, Kind::current_to, noise.current, network.from_of_branch);
    all(measured_.p, Kind::p, noise.injection, network.node_of_bus);
    all(measured_.q, Kind::q, noise.injection, network.node_of_bus);
  }

  // K^T K and K^T r of the joint formulation at `at`; returns its objective.
  double joint_equations(NormalEquations& equations, const State& at, std::vector<double>& rhs) const {
    const double weight = 1 / judgement_.mismatch_sigma;
    std::vector<double> f(2 * n_);
    std::vector<Block> a(fit_.network.pattern.column.size());
    mismatch(problem_, at, f);
    jacobian(problem_, at, a);
    equations.clear();
    equations.add_squares(a, weight * weight);
    rhs = transposed_product(a, f, -weight * weight);
    double objective = 0;
    for (const double x : f)
      objective += x * x * weight * weight;
    each_observation([&](const Observation& what, double measured, double sigma) {
      const double r = (measured - observe(fit_.grid, problem_, at, what)) / sigma;
      const double w = robust_weight(judgement_.robust, r);
      objective += robust_loss(judgement_.robust, r);
      const Sparse row = free_part(derivative(at, what, 1 / sigma));
      row.add(w * r, rhs);
      for (const auto& [k, x] : row.entries)
        for (const auto& [l, y] : row.entries) {
          Block block{};
          block[2 * (k % 2) + l % 2] = w * x * y;
          equations.add(static_cast<int>(k / 2), static_cast<int>(l / 2), block);
        }
    });
    equations.measure_diagonal();
    return objective;
  }
  Sparse free_part(Sparse row) const {
    std::erase_if(row.entries, [&](const auto& entry) { return !is_free(entry.first); });
    return row;
  }

  // Gauss-Newton over the voltages, damped where it has to be. The equations are those of the minimum at the end.
  bool minimise(NormalEquations& equations, State& at) const {
    std::vector<double> rhs, dx(2 * n_), next_rhs;
    double objective = joint_equations(equations, at, rhs), mu = 0;
    for (int iteration = 0; iteration < 100 && mu < 1e6; ++iteration) {
      if (!std::isfinite(objective) || !equations.factor(mu)) return false;
      equations.solve(rhs, dx);
      double largest = 0;
      for (const double x : dx)
        largest = std::max(largest, std::abs(x));
      if (largest < 1e-12) return equations.factor(0);
      State moved = at;
      apply_step(moved, dx);
      const double next = joint_equations(equations, moved, next_rhs);
      if (next <= objective * (1 + 1e-12)) {
        at = std::move(moved);
        objective = next;
        rhs.swap(next_rhs);
        mu = mu < 1e-8 ? 0 : mu / 10;
      } else {
        if (largest < 1e-9) return joint_equations(equations, at, rhs), equations.factor(0);
        joint_equations(equations, at, rhs);
        mu = mu == 0 ? 1e-6 : mu * 10;
      }
    }
    return false;
  }

  std::vector<double> transposed_product(const std::vector<Block>& a, std::span<const double> f, double scale) const {
    std::vector<double> out(2 * n_, 0.0);
    const Pattern& pattern = fit_.network.pattern;
    for (int i = 0; i < pattern.rows(); ++i)
      for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k) {
        const std::size_t j = 2 * static_cast<std::size_t>(pattern.column[k]);
        out[j] += scale * (a[k][0] * f[2 * i] + a[k][2] * f[2 * i + 1]);
        out[j + 1] += scale * (a[k][1] * f[2 * i] + a[k][3] * f[2 * i + 1]);
      }
    for (std::size_t k = 0; k < out.size(); ++k)
      if (!is_free(k)) out[k] = 0;
    return out;
  }
  std::vector<double> times_transposed_jacobian(const State& at, std::vector<double>& columns, double scale) {
    std::vector<Block> a(fit_.network.pattern.column.size());
    jacobian(problem_, at, a);
    std::vector<double> out;
    for (std::size_t u = 0; u < unknowns(); ++u) {
      const auto product = transposed_product(a, column(columns, u), scale);
      out.insert(out.end(), product.begin(), product.end());
    }
    return out;
  }

  void eliminate(const NormalEquations& equations, std::vector<double>& cross, Normal& out) {
    std::vector<double> y(2 * n_);
    for (std::size_t u = 0; u < unknowns(); ++u) {
      for (std::size_t k = 0; k < 2 * n_; ++k)
        if (!is_free(k)) column(cross, u)[k] = 0;
      equations.solve(column(cross, u), y);
      for (std::size_t v = 0; v < unknowns(); ++v) {
        double sum = 0;
        for (std::size_t k = 0; k < 2 * n_; ++k)
          sum += column(cross, v)[k] * y[k];
        out.matrix[u * unknowns() + v] -= sum;
      }
    }
  }

  const FitGrid& fit_;
  const Measurements& measured_;
  const Judgement& judgement_;
  std::size_t n_;
  std::vector<double> p_, q_, set_point_;
  Problem problem_;
};

}  // namespace

double robust_loss(Robust kind, double r) {
  if (kind == Robust::huber && std::abs(r) > huber_bend) return 2 * huber_bend * std::abs(r) - huber_bend * huber_bend;
  if (kind == Robust::cauchy) return cauchy_width * cauchy_width * std::log1p(r * r / (cauchy_width * cauchy_width));
  return r * r;
}
double robust_weight(Robust kind, double r) {
  if (kind == Robust::huber && std::abs(r) > huber_bend) return huber_bend / std::abs(r);
  if (kind == Robust::cauchy) return 1 / (1 + r * r / (cauchy_width * cauchy_width));
  return 1;
}

Normal assemble_snapshot(const FitGrid& fit, const OperatingPoint& point, const Measurements& measured,
                         const Judgement& judgement, State& state, bool derivatives) {
  Snapshot snapshot(fit, point, measured, judgement);
  if (judgement.formulation == Formulation::residual) return snapshot.residual(derivatives);
  if (judgement.formulation == Formulation::joint) return snapshot.joint(state, derivatives);
  return snapshot.output(state, derivatives);
}

}  // namespace fachwerk::dpf
