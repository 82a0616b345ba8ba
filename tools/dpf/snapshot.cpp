#include "snapshot.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "cli/error.hpp"
#include "linearisation.hpp"
#include "normal_equations.hpp"

namespace fachwerk::dpf {
namespace {

constexpr double huber_bend = 1.345, cauchy_width = 2.385;

// The grid of a snapshot: its operating point, with what is learnt put in.
Grid grid_of(const FitGrid& fit, OperatingPoint point) {
  for (std::size_t i = 0; i < fit.parameters.size(); ++i) {
    const Parameter& p = fit.parameters[i];
    const auto row = static_cast<std::size_t>(p.row);
    const double value = get(fit.grid, p);
    const bool grouped = fit.unknowns[fit.unknown_of[i]].parameters.size() > 1;
    const auto put = [&](double& target) { target = grouped ? target * value / fit.start[i] : value; };
    if (p.kind == ParameterKind::load_p) put(point.pd[row]);
    if (p.kind == ParameterKind::load_q) put(point.qd[row]);
    if (p.kind == ParameterKind::gen_p) put(point.pg[row]);
    if (p.kind == ParameterKind::set_point) put(point.vg[row]);
  }
  return with_point(fit.grid, point);
}

class Snapshot {
 public:
  Snapshot(const FitGrid& fit, const OperatingPoint& point, const Readings& readings, const Judgement& judgement)
      : fit_(fit),
        grid_(grid_of(fit, point)),
        network_(fit.network),
        readings_(readings),
        judgement_(judgement),
        n_(static_cast<std::size_t>(fit.network.nodes())) {
    specify_injections(network_, grid_);
    problem_ = problem_of(network_);
  }

  Share output(State& state, Depth depth) {
    Newton newton(network_);
    const Solution solution = newton.solve(problem_, with_set_points(state), {.tolerance = 1e-10});
    Share out;
    out.solved = solution.status == Status::converged;
    if (!out.solved) return out;
    const State& at = solution.state;
    weigh_readings(out, at);
    if (depth == Depth::value) return out;
    state = at;
    const Linearisation linear(newton, problem_, at);
    if (depth == Depth::gradient) {
      const std::vector<double> by_state = objective_by_state(out, at);
      std::vector<double> mu = by_state;
      linear.solve_transposed(mu);
      out.gradient = direct_gradient(out, at);
      for (std::size_t i = 0; i < fit_.parameters.size(); ++i) {
        double sum = 0;
        for (const auto& [unknown, change] : own_change(problem_, at, fit_.parameters[i]))
          sum += by_state[unknown] * change;
        for (const auto& [equation, change] : mismatch_derivative(grid_, problem_, at, fit_.parameters[i]))
          sum -= mu[equation] * change;
        out.gradient[fit_.unknown_of[i]] += scale(i) * sum;
      }
      return out;
    }
    std::vector<double> sensitivity = mismatch_columns(at, -1);
    linear.solve(sensitivity, unknowns());
    for (std::size_t i = 0; i < fit_.parameters.size(); ++i)
      for (const auto& [unknown, change] : own_change(problem_, at, fit_.parameters[i]))
        sensitivity[unknown * unknowns() + fit_.unknown_of[i]] += scale(i) * change;
    fill_rows(out, at, sensitivity);
    return out;
  }

  // The mismatch at the measured voltages is the residual; it is nearly linear in the parameters.
  Share residual(Depth depth) {
    const State state = measured_state();
    Share out;
    weigh_equations(out, state, true);
    if (depth == Depth::value) return out;
    const std::vector<double> columns = mismatch_columns(state, 1 / judgement_.mismatch_sigma);
    fill_equation_rows(out, columns);
    if (depth == Depth::gradient) out.gradient = gradient_of_rows(out);
    return out;
  }

  // Voltages minimise measurements and mismatch together, then are eliminated. With K the derivatives of the residuals
  // by the voltages and G those by the parameters, what is left for the parameters are the rows
  // G - K (K^T K)^-1 K^T G: their normal matrix is the Schur complement G^T G - G^T K (K^T K)^-1 K^T G.
  Share joint(State& state, Depth depth) {
    State at =
        judgement_.free_voltages && judgement_.formulation == Formulation::joint ? state : with_set_points(state);
    if (equations_only()) at = measured_where_possible(at);
    NormalEquations normal(network_.pattern);
    Share out;
    out.solved = minimise(normal, at);
    if (!out.solved) return out;
    weigh_equations(out, at, false);
    if (!equations_only()) weigh_readings(out, at);
    for (std::size_t k = 0; k < 2 * n_; ++k)
      out.freed += is_free(k);
    if (depth == Depth::value) return out;
    state = at;
    const std::vector<double> columns = mismatch_columns(at, 1 / judgement_.mismatch_sigma);
    fill_equation_rows(out, columns);
    if (!equations_only()) fill_rows(out, at, {});
    if (depth == Depth::gradient) {  // the voltages are at their minimum: only the direct part counts
      out.gradient = gradient_of_rows(out);
      return out;
    }
    const std::vector<Sparse> by_state = derivatives_by_state(out, at);
    if (depth == Depth::full) judge_states(normal, by_state, out);
    eliminate(normal, by_state, out, depth == Depth::full);
    return out;
  }

 private:
  using Sparse = std::vector<std::pair<std::size_t, double>>;

  std::size_t unknowns() const { return fit_.unknowns.size(); }
  double scale(std::size_t i) const {
    return fit_.unknowns[fit_.unknown_of[i]].logarithmic ? get(grid_, fit_.parameters[i]) : 1;
  }
  bool is_equation(std::size_t k) const {
    return k % 2 == 0 ? network_.type[k / 2] != NodeType::reference : network_.type[k / 2] == NodeType::pq;
  }
  bool is_free(std::size_t k) const {
    return is_equation(k) || (k % 2 == 1 && judgement_.free_voltages && judgement_.formulation == Formulation::joint);
  }
  bool equations_only() const { return judgement_.formulation == Formulation::residual; }

  State with_set_points(State state) const {
    for (std::size_t i = 0; i < n_; ++i)
      if (network_.type[i] != NodeType::pq) state.vm[i] = network_.set_point[i];
    return state;
  }
  State measured_where_possible(State state) const {
    for (const Reading& reading : readings_) {
      const bool magnitude = reading.what.kind == Observation::Kind::vm;
      if (!magnitude && reading.what.kind != Observation::Kind::va) continue;
      const int k = network_.node_of_bus[reading.what.row];
      if (magnitude && network_.type[k] == NodeType::pq) state.vm[k] = reading.value;
      if (!magnitude && network_.type[k] != NodeType::reference) state.va[k] = reading.value * std::numbers::pi / 180;
    }
    return state;
  }
  State measured_state() const {
    State state = file_start(problem_);
    std::vector<char> known(2 * n_, 0);
    for (const Reading& reading : readings_) {
      const bool magnitude = reading.what.kind == Observation::Kind::vm;
      if (!magnitude && reading.what.kind != Observation::Kind::va) continue;
      const auto k = static_cast<std::size_t>(network_.node_of_bus[reading.what.row]);
      (magnitude ? state.vm : state.va)[k] = magnitude ? reading.value : reading.value * std::numbers::pi / 180;
      known[2 * k + magnitude] = 1;
    }
    for (std::size_t i = 0; i < grid_.bus.size(); ++i)
      if (const int k = network_.node_of_bus[i]; k >= 0 && (!known[2 * k] || !known[2 * k + 1]))
        throw bad_input("the residual formulation needs vm and va of every bus in every snapshot, and bus {} lacks one",
                        grid_.bus.id[i])
            .with_hint("--formulation output or joint");
    return state;
  }

  // factor * dF/d(unknown): 2n x unknowns.
  std::vector<double> mismatch_columns(const State& state, double factor) const {
    std::vector<double> out(2 * n_ * unknowns(), 0.0);
    for (std::size_t i = 0; i < fit_.parameters.size(); ++i)
      for (const auto& [equation, change] : mismatch_derivative(grid_, problem_, state, fit_.parameters[i]))
        out[equation * unknowns() + fit_.unknown_of[i]] += factor * scale(i) * change;
    return out;
  }
  Sparse derivative(const State& state, const Observation& what, double factor) const {
    scratch_.resize(2 * n_, 0.0);
    observe_derivative(grid_, problem_, state, what, factor, scratch_);
    Sparse out;
    const auto take = [&](std::size_t node) {
      for (const std::size_t k : {2 * node, 2 * node + 1}) {
        if (scratch_[k] != 0) out.emplace_back(k, scratch_[k]);
        scratch_[k] = 0;
      }
    };
    each_node(what, take);
    return out;
  }
  // Nodes whose voltage an observation depends on, each once.
  template <class Visit>
  void each_node(const Observation& what, const Visit& visit) const {
    using Kind = Observation::Kind;
    const auto all = [&](int node) {
      const Pattern& pattern = network_.pattern;
      for (int k = pattern.start[node]; k < pattern.start[node + 1]; ++k)
        visit(static_cast<std::size_t>(pattern.column[k]));
    };
    if (what.kind == Kind::loss) {
      for (std::size_t node = 0; node < n_; ++node)
        visit(node);
    } else if (what.kind == Kind::p || what.kind == Kind::q) {
      all(network_.node_of_bus[what.row]);
    } else if (what.kind == Kind::vm || what.kind == Kind::va) {
      visit(static_cast<std::size_t>(network_.node_of_bus[what.row]));
    } else {
      visit(static_cast<std::size_t>(network_.from_of_branch[what.row]));
      visit(static_cast<std::size_t>(network_.to_of_branch[what.row]));
    }
  }
  // Parameters that an observation depends on at fixed voltages.
  const std::vector<std::size_t>& touching(const Observation& what) const {
    using Kind = Observation::Kind;
    static const std::vector<std::size_t> none;
    if (what.kind == Kind::vm || what.kind == Kind::va) return none;
    if (what.kind == Kind::p || what.kind == Kind::q) return fit_.at_node[network_.node_of_bus[what.row]];
    return fit_.on_branch[what.row];
  }

  void weigh(Share& out, double residual, bool robust) const {
    const Robust kind = robust ? judgement_.robust : Robust::none;
    out.objective += robust_loss(kind, residual);
    out.residual.push_back(residual);
    out.weight.push_back(robust_weight(kind, residual));
  }
  void weigh_readings(Share& out, const State& at) const {
    for (const Reading& reading : readings_)
      weigh(out, (reading.value - observe(grid_, problem_, at, reading.what)) / reading.sigma, true);
  }
  void weigh_equations(Share& out, const State& at, bool robust) const {
    std::vector<double> f(2 * n_);
    mismatch(problem_, at, f);
    for (std::size_t k = 0; k < f.size(); ++k)
      if (is_equation(k)) weigh(out, -f[k] / judgement_.mismatch_sigma, robust);
    out.equations = static_cast<int>(out.residual.size());
  }

  // -2 sum w r dh/dx / sigma over the readings.
  std::vector<double> objective_by_state(const Share& out, const State& at) const {
    std::vector<double> sum(2 * n_, 0.0);
    for (std::size_t o = 0; o < readings_.size(); ++o) {
      const std::size_t k = static_cast<std::size_t>(out.equations) + o;
      observe_derivative(grid_, problem_, at, readings_[o].what,
                         -2 * out.weight[k] * out.residual[k] / readings_[o].sigma, sum);
    }
    return sum;
  }
  std::vector<double> direct_gradient(const Share& out, const State& at) const {
    std::vector<double> sum(unknowns(), 0.0);
    for (std::size_t o = 0; o < readings_.size(); ++o) {
      const std::size_t k = static_cast<std::size_t>(out.equations) + o;
      const double factor = -2 * out.weight[k] * out.residual[k] / readings_[o].sigma;
      for (const std::size_t i : touching(readings_[o].what))
        sum[fit_.unknown_of[i]] +=
            factor * scale(i) * observe_direct(grid_, problem_, at, readings_[o].what, fit_.parameters[i]);
    }
    return sum;
  }
  std::vector<double> gradient_of_rows(const Share& out) const {
    std::vector<double> sum(unknowns(), 0.0);
    for (std::size_t k = 0; k < out.residual.size(); ++k)
      for (std::size_t u = 0; u < unknowns(); ++u)
        sum[u] -= 2 * out.weight[k] * out.residual[k] * out.rows[k * unknowns() + u];
    return sum;
  }

  void fill_equation_rows(Share& out, const std::vector<double>& columns) const {
    out.rows.reserve(out.residual.size() * unknowns());
    for (std::size_t k = 0; k < 2 * n_; ++k)
      if (is_equation(k))
        out.rows.insert(out.rows.end(), columns.begin() + static_cast<std::ptrdiff_t>(k * unknowns()),
                        columns.begin() + static_cast<std::ptrdiff_t>((k + 1) * unknowns()));
  }
  // Rows of the readings: dh/dp at fixed voltages, and through the voltages where their sensitivity is given.
  void fill_rows(Share& out, const State& at, const std::vector<double>& sensitivity) const {
    const std::size_t first = out.rows.size();
    out.rows.resize(first + readings_.size() * unknowns(), 0.0);
    for (std::size_t o = 0; o < readings_.size(); ++o) {
      const Reading& reading = readings_[o];
      double* row = out.rows.data() + first + o * unknowns();
      for (const std::size_t i : touching(reading.what))
        row[fit_.unknown_of[i]] +=
            scale(i) * observe_direct(grid_, problem_, at, reading.what, fit_.parameters[i]) / reading.sigma;
      if (sensitivity.empty()) continue;
      for (const auto& [k, value] : derivative(at, reading.what, 1 / reading.sigma))
        for (std::size_t u = 0; u < unknowns(); ++u)
          row[u] += value * sensitivity[k * unknowns() + u];
    }
  }

  // Jacobian of the equations by the free voltages.
  void free_jacobian(const State& at, std::vector<Block>& a) const {
    const std::vector<NodeType> all(n_, NodeType::pq);
    Problem relaxed = problem_;
    relaxed.type = all;
    jacobian(relaxed, at, a);
    const Pattern& pattern = network_.pattern;
    for (int i = 0; i < pattern.rows(); ++i)
      for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k)
        for (int half = 0; half < 4; ++half) {
          const auto row = static_cast<std::size_t>(2 * i + half / 2);
          const auto column = static_cast<std::size_t>(2 * pattern.column[k] + half % 2);
          if (!is_equation(row) || !is_free(column)) a[k][half] = 0;
        }
  }
  Sparse free_part(Sparse row) const {
    std::erase_if(row, [&](const auto& entry) { return !is_free(entry.first); });
    return row;
  }

  // K^T K and K^T r of the joint formulation at `at`; returns its objective.
  double joint_equations(NormalEquations& normal, const State& at, std::vector<double>& rhs) const {
    const double weight = 1 / judgement_.mismatch_sigma;
    std::vector<double> f(2 * n_);
    std::vector<Block> a(network_.pattern.column.size());
    mismatch(problem_, at, f);
    free_jacobian(at, a);
    normal.clear();
    normal.add_squares(a, weight * weight);
    for (std::size_t k = 0; k < f.size(); ++k)
      if (!is_free(k)) {
        Block unit{};
        unit[3 * (k % 2)] = 1;
        normal.add(static_cast<int>(k / 2), static_cast<int>(k / 2), unit);
      }
    rhs = transposed_product(a, f, -weight * weight);
    double objective = 0;
    for (const double x : f)
      objective += x * x * weight * weight;
    for (std::size_t o = 0; o < readings_.size() && !equations_only(); ++o) {
      const Reading& reading = readings_[o];
      const double r = (reading.value - observe(grid_, problem_, at, reading.what)) / reading.sigma;
      const double w = robust_weight(judgement_.robust, r);
      objective += robust_loss(judgement_.robust, r);
      const Sparse row = free_part(derivative(at, reading.what, 1 / reading.sigma));
      for (const auto& [k, x] : row) {
        rhs[k] += w * r * x;
        for (const auto& [l, y] : row) {
          Block block{};
          block[2 * (k % 2) + l % 2] = w * x * y;
          normal.add(static_cast<int>(k / 2), static_cast<int>(l / 2), block);
        }
      }
    }
    normal.measure_diagonal();
    return objective;
  }

  // Gauss-Newton over the voltages, damped where it has to be. The equations are those of the minimum at the end.
  bool minimise(NormalEquations& normal, State& at) const {
    std::vector<double> rhs, dx(2 * n_), next_rhs;
    double objective = joint_equations(normal, at, rhs), mu = 0;
    int idle = 0;  // steps of robust losses get small slowly
    double gain = objective;
    for (int iteration = 0; iteration < 300 && mu < 1e6; ++iteration) {
      if (!std::isfinite(objective) || !normal.factor(mu)) return false;
      normal.solve(rhs, dx);
      double largest = 0;
      for (const double x : dx)
        largest = std::max(largest, std::abs(x));
      if (largest < 1e-12 || idle >= 3) return normal.factor(0);
      State moved = at;
      apply_step(moved, dx);
      const double next = joint_equations(normal, moved, next_rhs);
      if (next <= objective * (1 + 1e-12)) {
        gain = objective - next;
        idle = gain <= 1e-14 * objective && largest < 1e-7 ? idle + 1 : 0;
        at = std::move(moved);
        objective = next;
        rhs.swap(next_rhs);
        mu = mu < 1e-8 ? 0 : mu / 10;
      } else {
        joint_equations(normal, at, rhs);
        if (largest < 1e-9) return normal.factor(0);
        mu = mu == 0 ? 1e-6 : mu * 10;
      }
    }
    return gain <= 1e-6 * objective && normal.factor(0);
  }

  std::vector<double> transposed_product(const std::vector<Block>& a, std::span<const double> f, double factor) const {
    std::vector<double> out(2 * n_, 0.0);
    const Pattern& pattern = network_.pattern;
    for (int i = 0; i < pattern.rows(); ++i)
      for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k) {
        const std::size_t j = 2 * static_cast<std::size_t>(pattern.column[k]);
        out[j] += factor * (a[k][0] * f[2 * i] + a[k][2] * f[2 * i + 1]);
        out[j + 1] += factor * (a[k][1] * f[2 * i] + a[k][3] * f[2 * i + 1]);
      }
    return out;
  }

  // K by its rows, in the order of the residuals.
  std::vector<Sparse> derivatives_by_state(const Share& out, const State& at) const {
    std::vector<Block> a(network_.pattern.column.size());
    free_jacobian(at, a);
    const Pattern& pattern = network_.pattern;
    std::vector<Sparse> rows;
    rows.reserve(out.residual.size());
    for (std::size_t k = 0; k < 2 * n_; ++k) {
      if (!is_equation(k)) continue;
      Sparse row;
      for (int s = pattern.start[k / 2]; s < pattern.start[k / 2 + 1]; ++s)
        for (std::size_t half = 0; half < 2; ++half)
          if (const double value = a[s][2 * (k % 2) + half]; value != 0)
            row.emplace_back(2 * static_cast<std::size_t>(pattern.column[s]) + half, value / judgement_.mismatch_sigma);
      rows.push_back(std::move(row));
    }
    for (std::size_t o = 0; o < readings_.size() && !equations_only(); ++o)
      rows.push_back(free_part(derivative(at, readings_[o].what, 1 / readings_[o].sigma)));
    return rows;
  }

  // Y = (K^T W K)^-1 K^T W G, and G - K Y in place of G.
  void eliminate(const NormalEquations& normal, const std::vector<Sparse>& by_state, Share& out, bool keep) const {
    std::vector<double> y(2 * n_ * unknowns(), 0.0);
    for (std::size_t k = 0; k < by_state.size(); ++k)
      for (const auto& [unknown, value] : by_state[k])
        for (std::size_t u = 0; u < unknowns(); ++u)
          y[unknown * unknowns() + u] += out.weight[k] * value * out.rows[k * unknowns() + u];
    if (unknowns() > 0) normal.solve_columns(y, unknowns());
    for (std::size_t k = 0; k < by_state.size(); ++k)
      for (const auto& [unknown, value] : by_state[k])
        for (std::size_t u = 0; u < unknowns(); ++u)
          out.rows[k * unknowns() + u] -= value * y[unknown * unknowns() + u];
    if (!keep || !judgement_.free_voltages) return;
    for (double& value : y)
      value = -value;
    out.state_rows = std::move(y);
  }

  // Diagonals of K (K^T W K)^-1 K^T and of (K^T W K)^-1.
  void judge_states(const NormalEquations& normal, const std::vector<Sparse>& by_state, Share& out) const {
    std::vector<double> rhs(2 * n_, 0.0), x(2 * n_);
    for (const Sparse& row : by_state) {
      for (const auto& [k, value] : row)
        rhs[k] += value;
      normal.solve(rhs, x);
      double sum = 0;
      for (const auto& [k, value] : row) {
        sum += value * x[k];
        rhs[k] = 0;
      }
      out.leverage.push_back(sum);
    }
    if (!judgement_.free_voltages) return;
    for (std::size_t k = 0; k < 2 * n_; ++k) {
      rhs[k] = 1;
      normal.solve(rhs, x);
      rhs[k] = 0;
      out.state_variance.push_back(is_free(k) ? x[k] : 0);
    }
  }

  const FitGrid& fit_;
  Grid grid_;
  Network network_;
  const Readings& readings_;
  const Judgement& judgement_;
  std::size_t n_;
  Problem problem_;
  mutable std::vector<double> scratch_ = {};  ///< zero between calls of derivative()
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

Share share_of_snapshot(const FitGrid& fit, const OperatingPoint& point, const Readings& readings,
                        const Judgement& judgement, State& state, Depth depth) {
  Snapshot snapshot(fit, point, readings, judgement);
  if (judgement.formulation == Formulation::output) return snapshot.output(state, depth);
  if (judgement.formulation == Formulation::joint || judgement.free_voltages) return snapshot.joint(state, depth);
  return snapshot.residual(depth);
}

std::vector<std::pair<int, bool>> equations_of(const Network& network) {
  std::vector<std::pair<int, bool>> out;
  for (std::size_t i = 0; i < network.type.size(); ++i) {
    if (network.type[i] != NodeType::reference) out.emplace_back(network.bus_of_node[i], false);
    if (network.type[i] == NodeType::pq) out.emplace_back(network.bus_of_node[i], true);
  }
  return out;
}

}  // namespace fachwerk::dpf
