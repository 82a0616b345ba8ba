#include "fit.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <lapacke.h>

#include "cli/error.hpp"
#include "compute/parallel.hpp"

namespace fachwerk::dpf {
namespace {

constexpr double radians = std::numbers::pi / 180;

std::vector<double>& column_of(Grid& grid, ParameterKind kind) {
  switch (kind) {
    case ParameterKind::r:
      return grid.branch.r;
    case ParameterKind::x:
      return grid.branch.x;
    case ParameterKind::b:
      return grid.branch.b;
    case ParameterKind::tap:
      return grid.branch.tap;
    case ParameterKind::shift:
      return grid.branch.shift;
    case ParameterKind::gs:
      return grid.bus.gs;
    case ParameterKind::bs:
      return grid.bus.bs;
    case ParameterKind::load_p:
      return grid.bus.pd;
    case ParameterKind::load_q:
      return grid.bus.qd;
    default:
      return grid.gen.vg;
  }
}

bool of_branch(ParameterKind kind) {
  return kind <= ParameterKind::shift;
}
bool logarithmic(ParameterKind kind) {
  return kind == ParameterKind::r || kind == ParameterKind::x;
}

// d(ff, ft, tf, tt)/dp of a branch (spec 2.2). Shifts per degree.
BranchAdmittance admittance_derivative(const Branches& branch, const Parameter& p) {
  const std::size_t k = static_cast<std::size_t>(p.row);
  const Complex series = 1.0 / Complex(branch.r[k], branch.x[k]);
  const double ratio = branch.tap[k] == 0 ? 1 : branch.tap[k];
  const Complex tap = std::polar(ratio, branch.shift[k] * radians), j(0, 1);
  Complex from(0, branch.b[k] / 2);
  if (!branch.end_y.empty()) from += branch.end_y[k][0];
  const auto by_series = [&](Complex change) {
    return BranchAdmittance{change / (ratio * ratio), -change / std::conj(tap), -change / tap, change};
  };
  switch (p.kind) {
    case ParameterKind::r:
      return by_series(-series * series);
    case ParameterKind::x:
      return by_series(-j * series * series);
    case ParameterKind::b:
      return {j / (2 * ratio * ratio), 0, 0, j / 2.0};
    case ParameterKind::tap:
      return {-2.0 * (series + from) / (ratio * ratio * ratio), series / (ratio * std::conj(tap)),
              series / (ratio * tap), 0};
    case ParameterKind::shift:
      return {0, -j * series / std::conj(tap) * radians, j * series / tap * radians, 0};
    default:
      return {};
  }
}

struct Ends {
  int from, to;
  Complex vf, vt;
};
Ends ends_of(const Problem& problem, const State& state, int branch) {
  const int f = problem.network->from_of_branch[branch], t = problem.network->to_of_branch[branch];
  return {f, t, std::polar(state.vm[f], state.va[f]), std::polar(state.vm[t], state.va[t])};
}

bool at_from(Observation::Kind kind) {
  return kind == Observation::Kind::pf || kind == Observation::Kind::qf;
}
bool is_active(Observation::Kind kind) {
  return kind == Observation::Kind::pf || kind == Observation::Kind::pt;
}

// S at one end and its two parts: own = V conj(Y_own V), other = V conj(Y_other V_other).
struct EndPower {
  Complex own, other;
  Complex total() const { return own + other; }
};
EndPower end_power(const BranchAdmittance& y, const Ends& e, bool from) {
  return from ? EndPower{e.vf * std::conj(y.ff * e.vf), e.vf * std::conj(y.ft * e.vt)}
              : EndPower{e.vt * std::conj(y.tt * e.vt), e.vt * std::conj(y.tf * e.vf)};
}

bool larger_end_is_from(const BranchAdmittance& y, const Ends& e) {
  return std::abs(end_power(y, e, true).total()) >= std::abs(end_power(y, e, false).total());
}

}  // namespace

std::string name(ParameterKind kind) {
  static constexpr const char* names[] = {"r", "x", "b", "tap", "shift", "gs", "bs", "load_p", "load_q", "set_point"};
  return names[static_cast<int>(kind)];
}

ParameterKind parameter_kind(const std::string& word) {
  for (int k = 0; k <= static_cast<int>(ParameterKind::set_point); ++k)
    if (name(static_cast<ParameterKind>(k)) == word) return static_cast<ParameterKind>(k);
  throw usage_error("there is no parameter {}: r, x, b, tap, shift, gs, bs, load_p, load_q, set_point", word);
}

double get(const Grid& grid, const Parameter& p) {
  const double value = column_of(const_cast<Grid&>(grid), p.kind)[static_cast<std::size_t>(p.row)];
  return p.kind == ParameterKind::tap && value == 0 ? 1 : value;
}

void set(Grid& grid, const Parameter& p, double value) {
  column_of(grid, p.kind)[static_cast<std::size_t>(p.row)] = value;
}

std::vector<Parameter> parameters_of(const Grid& grid, const Network& network, ParameterKind kind) {
  std::vector<Parameter> out;
  const std::size_t rows = column_of(const_cast<Grid&>(grid), kind).size();
  for (std::size_t i = 0; i < rows; ++i) {
    const Parameter p{kind, static_cast<int>(i)};
    bool counts;
    if (of_branch(kind)) {
      const bool has_value = kind == ParameterKind::tap ? grid.branch.tap[i] != 0 : get(grid, p) != 0;
      counts = network.from_of_branch[i] >= 0 && has_value;
    } else if (kind == ParameterKind::set_point) {
      const int k = network.node_of_gen[i];
      counts = k >= 0 && network.type[k] != NodeType::pq && network.set_point[k] == grid.gen.vg[i];
      for (std::size_t later = i + 1; counts && later < rows; ++later)
        counts = network.node_of_gen[later] != k;
    } else {
      counts = network.node_of_bus[i] >= 0 && get(grid, p) != 0;
    }
    if (counts) out.push_back(p);
  }
  return out;
}

SparseColumn mismatch_derivative(const Grid& grid, const Problem& problem, const State& state, const Parameter& p) {
  const Network& network = *problem.network;
  SparseColumn out;
  int used = 0;
  // Power that enters the network at a node changes by `s`, where the node has the equations.
  const auto put = [&](int node, Complex s) {
    if (problem.type[node] != NodeType::reference) {
      out.index[used] = 2 * node;
      out.value[used++] = s.real();
    }
    if (problem.type[node] == NodeType::pq) {
      out.index[used] = 2 * node + 1;
      out.value[used++] = s.imag();
    }
  };
  const auto row = static_cast<std::size_t>(p.row);
  if (of_branch(p.kind)) {
    const Ends e = ends_of(problem, state, p.row);
    const BranchAdmittance d = admittance_derivative(grid.branch, p);
    put(e.from, end_power(d, e, true).total());
    put(e.to, end_power(d, e, false).total());
    return out;
  }
  if (p.kind == ParameterKind::set_point) throw usage_error("set-points change the state itself: see set_point_column");
  const int node = network.node_of_bus[row];
  const double square = state.vm[node] * state.vm[node] / grid.base_mva;
  switch (p.kind) {
    case ParameterKind::gs:
      put(node, square);
      break;
    case ParameterKind::bs:
      put(node, Complex(0, -square));
      break;
    case ParameterKind::load_p:
      put(node, 1 / grid.base_mva);
      break;
    default:
      put(node, Complex(0, 1 / grid.base_mva));
      break;
  }
  return out;
}

double observe(const Grid& grid, const Problem& problem, const State& state, const Observation& what) {
  using Kind = Observation::Kind;
  if (what.kind == Kind::vm) return state.vm[problem.network->node_of_bus[what.row]];
  if (what.kind == Kind::va) return state.va[problem.network->node_of_bus[what.row]] / radians;
  const Ends e = ends_of(problem, state, what.row);
  const BranchAdmittance& y = problem.network->admittance[what.row];
  if (what.kind == Kind::loading)
    return 100 * grid.base_mva / grid.branch.rate_a[what.row] *
           std::max(std::abs(end_power(y, e, true).total()), std::abs(end_power(y, e, false).total()));
  const Complex s = end_power(y, e, at_from(what.kind)).total() * grid.base_mva;
  return is_active(what.kind) ? s.real() : s.imag();
}

namespace {

// How a flow observation depends on the complex power of one end: d(observation) = Re(conj(weight) dS), S in pu.
struct EndWeight {
  bool from;
  Complex weight;
};
EndWeight end_weight(const Grid& grid, const Problem& problem, const Ends& e, const Observation& what) {
  if (what.kind != Observation::Kind::loading)
    return {at_from(what.kind), grid.base_mva * (is_active(what.kind) ? Complex(1, 0) : Complex(0, 1))};
  const BranchAdmittance& y = problem.network->admittance[what.row];
  const bool from = larger_end_is_from(y, e);
  const Complex s = end_power(y, e, from).total();
  return {from, std::abs(s) == 0 ? Complex(0) : s / std::abs(s) * (100 * grid.base_mva / grid.branch.rate_a[what.row])};
}
double along(Complex weight, Complex change) {
  return (std::conj(weight) * change).real();
}

}  // namespace

void observe_derivative(const Grid& grid, const Problem& problem, const State& state, const Observation& what,
                        double scale, std::span<double> row) {
  using Kind = Observation::Kind;
  if (what.kind == Kind::vm || what.kind == Kind::va) {
    const int k = problem.network->node_of_bus[what.row];
    row[2 * k + (what.kind == Kind::vm)] += scale * (what.kind == Kind::vm ? state.vm[k] : 1 / radians);
    return;
  }
  const Ends e = ends_of(problem, state, what.row);
  const EndWeight w = end_weight(grid, problem, e, what);
  const EndPower s = end_power(problem.network->admittance[what.row], e, w.from);
  const int own = w.from ? e.from : e.to, other = w.from ? e.to : e.from;
  const Complex j(0, 1);
  row[2 * own] += scale * along(w.weight, j * s.other);
  row[2 * own + 1] += scale * along(w.weight, 2.0 * s.own + s.other);
  row[2 * other] += scale * along(w.weight, -j * s.other);
  row[2 * other + 1] += scale * along(w.weight, s.other);
}

double observe_direct(const Grid& grid, const Problem& problem, const State& state, const Observation& what,
                      const Parameter& p) {
  if (what.kind == Observation::Kind::vm || what.kind == Observation::Kind::va) return 0;
  if (!of_branch(p.kind) || p.row != what.row) return 0;
  const Ends e = ends_of(problem, state, what.row);
  const EndWeight w = end_weight(grid, problem, e, what);
  return along(w.weight, end_power(admittance_derivative(grid.branch, p), e, w.from).total());
}

namespace {

// A set-point moves ln|V| of its node by 1/|V|: the column -dF/dlnV / |V| that the Jacobian leaves out, and the state
// itself.
void set_point_column(const Problem& problem, const State& state, int node, std::span<double> df) {
  const Pattern& pattern = problem.network->pattern;
  for (int k = pattern.start[node]; k < pattern.start[node + 1]; ++k) {
    const int i = pattern.column[k];
    const Complex vi = std::polar(state.vm[i], state.va[i]), vn = std::polar(state.vm[node], state.va[node]);
    Complex s;
    if (i == node) {
      Complex total = 0;
      for (int m = pattern.start[i]; m < pattern.start[i + 1]; ++m)
        total += vi * std::conj(problem.y[m] * std::polar(state.vm[pattern.column[m]], state.va[pattern.column[m]]));
      s = total + vi * std::conj(problem.y[pattern.diagonal[i]] * vi);
    } else {
      s = vi * std::conj(problem.y[pattern.position(i, node)] * vn);
    }
    if (problem.type[i] != NodeType::reference) df[2 * i] += s.real() / state.vm[node];
    if (problem.type[i] == NodeType::pq) df[2 * i + 1] += s.imag() / state.vm[node];
  }
}

}  // namespace

std::vector<double> adjoint_gradient(const Grid& grid, const Problem& problem, const State& state,
                                     const Observation& what, const std::vector<Parameter>& parameters) {
  const std::size_t size = 2 * state.vm.size();
  std::vector<double> by_state(size, 0.0);
  observe_derivative(grid, problem, state, what, 1, by_state);
  // Fixed unknowns do not move with the mismatch.
  std::vector<double> mu = by_state;
  for (std::size_t i = 0; i < state.vm.size(); ++i) {
    if (problem.type[i] == NodeType::reference) mu[2 * i] = 0;
    if (problem.type[i] != NodeType::pq) mu[2 * i + 1] = 0;
  }
  Newton newton(*problem.network);
  newton.factor_at(problem, state).solve_transposed(mu);
  std::vector<double> out;
  for (const Parameter& p : parameters) {
    double value = observe_direct(grid, problem, state, what, p);
    if (p.kind == ParameterKind::set_point) {
      const int node = problem.network->node_of_gen[p.row];
      std::vector<double> df(size, 0.0);
      set_point_column(problem, state, node, df);
      value += by_state[2 * static_cast<std::size_t>(node) + 1] / state.vm[node];
      for (std::size_t i = 0; i < size; ++i)
        value -= mu[i] * df[i];
    } else {
      const SparseColumn df = mismatch_derivative(grid, problem, state, p);
      for (int e = 0; e < 4; ++e)
        if (df.index[e] >= 0) value -= mu[df.index[e]] * df.value[e];
    }
    out.push_back(value);
  }
  return out;
}

namespace {

// The network of changed parameters, on the pattern and order of the first.
void refresh(Network& network, const Grid& grid) {
  for (std::size_t k = 0; k < grid.branch.size(); ++k)
    if (network.from_of_branch[k] >= 0) network.admittance[k] = branch_admittance(grid.branch, k);
  assemble_admittance(network, grid);
}

// Normal equations of the fit at one parameter vector.
struct Normal {
  std::vector<double> matrix, rhs;  ///< A^T A (np x np), A^T (z - h)
  double chi2 = 0;
  int count = 0;
  std::vector<double> residuals = {};
  bool solved = true;
};

class Fitter {
 public:
  Fitter(const Grid& grid, const std::vector<OperatingPoint>& points, const std::vector<Measurements>& measured,
         const MeasurementNoise& noise, const std::vector<Parameter>& parameters)
      : grid_(grid),
        points_(points),
        measured_(measured),
        noise_(noise),
        parameters_(parameters),
        network_(build_network(grid)),
        states_(points.size(), file_start(problem_of(network_))) {}

  // Parameters in their own coordinates: logarithms of r and x.
  double coordinate(std::size_t i) const {
    const double value = get(grid_, parameters_[i]);
    return logarithmic(parameters_[i].kind) && value > 0 ? std::log(value) : value;
  }
  void move(std::span<const double> coordinates) {
    for (std::size_t i = 0; i < parameters_.size(); ++i)
      set(grid_, parameters_[i], in_logarithm(i) ? std::exp(coordinates[i]) : coordinates[i]);
    refresh(network_, grid_);
  }
  bool in_logarithm(std::size_t i) const { return logarithmic(parameters_[i].kind) && get(grid_, parameters_[i]) > 0; }
  double scale(std::size_t i) const { return in_logarithm(i) ? get(grid_, parameters_[i]) : 1; }  ///< dp/dcoordinate

  Normal assemble(bool derivatives) {
    const std::size_t np = parameters_.size();
    Normal total{std::vector<double>(np * np, 0.0), std::vector<double>(np, 0.0)};
    std::vector<Normal> parts(points_.size());
    compute::parallel_tasks(points_.size(), [&](std::size_t s) { parts[s] = snapshot(s, derivatives); });
    for (const Normal& part : parts) {  // in order: the same sums with any number of threads
      total.solved = total.solved && part.solved;
      total.chi2 += part.chi2;
      total.count += part.count;
      total.residuals.insert(total.residuals.end(), part.residuals.begin(), part.residuals.end());
      if (!derivatives || !part.solved) continue;
      for (std::size_t i = 0; i < np * np; ++i)
        total.matrix[i] += part.matrix[i];
      for (std::size_t i = 0; i < np; ++i)
        total.rhs[i] += part.rhs[i];
    }
    return total;
  }

  const Network& network() const { return network_; }
  Grid& grid() { return grid_; }

 private:
  Normal snapshot(std::size_t s, bool derivatives) {
    const std::size_t n = static_cast<std::size_t>(network_.nodes()), np = parameters_.size();
    std::vector<double> p(n), q(n), set_point = network_.set_point;
    OperatingPoint point = points_[s];
    for (const Parameter& parameter : parameters_) {  // learnt loads and set-points replace those of the snapshot
      const auto row = static_cast<std::size_t>(parameter.row);
      if (parameter.kind == ParameterKind::load_p) point.pd[row] = grid_.bus.pd[row];
      if (parameter.kind == ParameterKind::load_q) point.qd[row] = grid_.bus.qd[row];
      if (parameter.kind == ParameterKind::set_point) point.vg[row] = grid_.gen.vg[row];
    }
    specify(grid_, network_, point, {p, q, set_point});
    Problem problem = problem_of(network_);
    problem.p = p;
    problem.q = q;
    problem.set_point = set_point;
    Newton newton(network_);
    State start = states_[s];
    for (std::size_t i = 0; i < n; ++i)
      if (problem.type[i] != NodeType::pq) start.vm[i] = set_point[i];
    Solution solution = newton.solve(problem, std::move(start), {.tolerance = 1e-10});
    Normal out;
    out.solved = solution.status == Status::converged;
    if (!out.solved) return out;
    const State& state = solution.state;
    if (derivatives) states_[s] = state;

    // dx/dp = -J^-1 dF/dp, one solve a parameter.
    std::vector<double> sensitivity;
    if (derivatives) {
      const BlockFactor& factor = newton.factor_at(problem, state);
      sensitivity.assign(np * 2 * n, 0.0);
      for (std::size_t i = 0; i < np; ++i) {
        const std::span<double> x = std::span(sensitivity).subspan(i * 2 * n, 2 * n);
        const Parameter& parameter = parameters_[i];
        if (parameter.kind == ParameterKind::set_point) {
          set_point_column(problem, state, network_.node_of_gen[parameter.row], x);
        } else {
          const SparseColumn df = mismatch_derivative(grid_, problem, state, parameter);
          for (int e = 0; e < 4; ++e)
            if (df.index[e] >= 0) x[df.index[e]] += df.value[e];
        }
        factor.solve(x);
        for (double& value : x)
          value = -value;
        if (parameter.kind == ParameterKind::set_point) {
          const int node = network_.node_of_gen[parameter.row];
          x[2 * node + 1] = 1 / state.vm[node];
        }
      }
      out.matrix.assign(np * np, 0.0);
      out.rhs.assign(np, 0.0);
    }
    std::vector<double> row(np), by_state(2 * n);
    const auto add = [&](Observation what, double measured, double sigma) {
      if (std::isnan(measured)) return;
      const double residual = (measured - observe(grid_, problem, state, what)) / sigma;
      out.chi2 += residual * residual;
      out.residuals.push_back(residual);
      ++out.count;
      if (!derivatives) return;
      std::ranges::fill(by_state, 0.0);
      observe_derivative(grid_, problem, state, what, 1 / sigma, by_state);
      std::vector<std::size_t> touched;
      for (std::size_t k = 0; k < by_state.size(); ++k)
        if (by_state[k] != 0) touched.push_back(k);
      for (std::size_t i = 0; i < np; ++i) {
        double value = observe_direct(grid_, problem, state, what, parameters_[i]) / sigma;
        for (const std::size_t k : touched)
          value += by_state[k] * sensitivity[i * 2 * n + k];
        row[i] = value * scale(i);
      }
      for (std::size_t i = 0; i < np; ++i) {
        if (row[i] == 0) continue;
        out.rhs[i] += row[i] * residual;
        for (std::size_t k = 0; k < np; ++k)
          out.matrix[i * np + k] += row[i] * row[k];
      }
    };
    using Kind = Observation::Kind;
    const Measurements& z = measured_[s];
    const auto all = [&](const std::vector<double>& values, Kind kind, double sigma, const std::vector<int>& live) {
      for (std::size_t i = 0; i < values.size(); ++i)
        if (live[i] >= 0) add({kind, static_cast<int>(i)}, values[i], sigma);
    };
    all(z.vm, Kind::vm, noise_.vm, network_.node_of_bus);
    all(z.va, Kind::va, noise_.va, network_.node_of_bus);
    all(z.pf, Kind::pf, noise_.flow, network_.from_of_branch);
    all(z.qf, Kind::qf, noise_.flow, network_.from_of_branch);
    all(z.pt, Kind::pt, noise_.flow, network_.from_of_branch);
    all(z.qt, Kind::qt, noise_.flow, network_.from_of_branch);
    return out;
  }

  Grid grid_;
  const std::vector<OperatingPoint>& points_;
  const std::vector<Measurements>& measured_;
  MeasurementNoise noise_;
  const std::vector<Parameter>& parameters_;
  Network network_;
  std::vector<State> states_;
};

// Eigenvalues (ascending) and eigenvectors (columns) of a symmetric matrix.
struct Eigen {
  std::vector<double> values, vectors;
};
Eigen eigen(std::vector<double> matrix, std::size_t n) {
  Eigen out{std::vector<double>(n), std::move(matrix)};
  const auto size = static_cast<lapack_int>(n);
  if (LAPACKE_dsyevd(LAPACK_ROW_MAJOR, 'V', 'U', size, out.vectors.data(), size, out.values.data()) != 0)
    throw method_failed("the eigenvalues of the normal matrix did not converge");
  return out;
}

}  // namespace

FitResult fit(const Grid& grid, const std::vector<OperatingPoint>& points, const std::vector<Measurements>& measured,
              const MeasurementNoise& noise, const std::vector<Parameter>& parameters, const FitOptions& options) {
  const std::size_t np = parameters.size();
  Fitter fitter(grid, points, measured, noise, parameters);
  FitResult out;
  std::vector<double> at(np), prior(np);
  for (std::size_t i = 0; i < np; ++i) {
    at[i] = prior[i] = fitter.coordinate(i);
    out.start.push_back(get(grid, parameters[i]));
  }
  Normal normal = fitter.assemble(true);
  if (!normal.solved) throw method_failed("a snapshot has no solution at the start parameters");
  const double weight = options.prior > 0 ? 1 / (options.prior * options.prior) : 0;
  const auto with_prior = [&](Normal& m, const std::vector<double>& where) {
    for (std::size_t i = 0; i < np; ++i) {
      m.chi2 += weight * (where[i] - prior[i]) * (where[i] - prior[i]);
      if (m.matrix.empty()) continue;
      m.matrix[i * np + i] += weight;
      m.rhs[i] -= weight * (where[i] - prior[i]);
    }
  };
  with_prior(normal, at);
  // Steps live in the eigenvectors of the matrix scaled to unit diagonal; those of negligible eigenvalue are left out.
  constexpr double negligible = 1e-10;
  std::vector<double> unit(np);
  Eigen decomposition;
  const auto decompose = [&] {
    std::vector<double> scaled = normal.matrix;
    for (std::size_t i = 0; i < np; ++i)
      unit[i] = normal.matrix[i * np + i] > 0 ? 1 / std::sqrt(normal.matrix[i * np + i]) : 0;
    for (std::size_t i = 0; i < np; ++i)
      for (std::size_t k = 0; k < np; ++k)
        scaled[i * np + k] *= unit[i] * unit[k];
    decomposition = eigen(std::move(scaled), np);
  };
  double mu = 0;  // Gauss-Newton first
  int quiet = 0;
  for (decompose(); out.iterations < options.max_iterations;) {
    ++out.iterations;
    const double largest = decomposition.values.back();
    std::vector<double> step(np, 0.0);
    for (std::size_t e = 0; e < np; ++e) {
      if (decomposition.values[e] < negligible * largest) continue;
      double along_vector = 0;
      for (std::size_t i = 0; i < np; ++i)
        along_vector += decomposition.vectors[i * np + e] * unit[i] * normal.rhs[i];
      along_vector /= decomposition.values[e] + mu * largest;
      for (std::size_t i = 0; i < np; ++i)
        step[i] += unit[i] * decomposition.vectors[i * np + e] * along_vector;
    }
    std::vector<double> trial = at;
    double relative = 0;
    for (std::size_t i = 0; i < np; ++i) {
      const double limited = fitter.in_logarithm(i) ? std::clamp(step[i], -1.0, 1.0) : step[i];
      trial[i] += limited;
      relative = std::max(relative, std::abs(limited) / (fitter.in_logarithm(i) ? 1 : std::max(std::abs(at[i]), 1e-6)));
    }
    fitter.move(trial);
    Normal next = fitter.assemble(true);
    if (next.solved) with_prior(next, trial);
    if (next.solved && (next.chi2 <= normal.chi2 || relative < 1e-9)) {
      const double gain = normal.chi2 - next.chi2;
      quiet = gain <= options.tolerance * normal.chi2 || relative < 1e-12 ? quiet + 1 : 0;
      at = trial;
      normal = std::move(next);
      decompose();
      mu = mu < 1e-8 ? 0 : mu / 10;
      // Perfect data go on until the rounding floor is reached.
      if (quiet >= 1 && (normal.chi2 > 1e-12 * normal.count || relative < 1e-12 || quiet >= 3)) {
        out.converged = true;
        break;
      }
    } else {
      fitter.move(at);
      mu = mu == 0 ? 1e-6 : mu * 10;
      if (mu > 1e3) {
        out.converged = relative < 1e-6 || normal.chi2 < 1e-12 * normal.count;
        break;
      }
    }
  }
  fitter.move(at);
  const double largest = decomposition.values.back();
  out.unidentifiable.assign(np, 0);
  std::vector<double> variance(np, 0.0);
  for (std::size_t e = 0; e < np; ++e) {
    if (decomposition.values[e] >= negligible * largest) {
      for (std::size_t i = 0; i < np; ++i) {
        const double v = decomposition.vectors[i * np + e] * unit[i];
        variance[i] += v * v / decomposition.values[e];
      }
      continue;
    }
    std::vector<double> direction(np);
    for (std::size_t i = 0; i < np; ++i) {
      direction[i] = decomposition.vectors[i * np + e];
      if (std::abs(direction[i]) > 0.1 || unit[i] == 0) out.unidentifiable[i] = 1;
    }
    out.null_directions.push_back(std::move(direction));
  }
  for (std::size_t i = 0; i < np; ++i) {
    if (normal.matrix[i * np + i] == 0) out.unidentifiable[i] = 1;
    out.value.push_back(get(fitter.grid(), parameters[i]));
    out.sigma.push_back(std::sqrt(variance[i]) * fitter.scale(i));
  }
  out.chi2 = normal.chi2;
  out.degrees = normal.count - static_cast<int>(np - out.null_directions.size());
  out.normalised_residuals = std::move(normal.residuals);
  return out;
}

}  // namespace fachwerk::dpf
