#include "fitter.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "compute/blas.hpp"
#include "compute/parallel.hpp"

namespace fachwerk::dpf {
namespace {

constexpr std::size_t wave_bytes = std::size_t(128) << 20;  // of rows that are multiplied together

Network network_of(const Grid& grid, bool distributed_slack) {
  Network network = build_network(grid);
  if (distributed_slack) distribute_slack(network, grid);
  return network;
}

// The network of changed parameters, on the pattern and order of the first.
void refresh(Network& network, const Grid& grid) {
  for (std::size_t k = 0; k < grid.branch.size(); ++k)
    if (network.from_of_branch[k] >= 0) network.admittance[k] = branch_admittance(grid.branch, k);
  assemble_admittance(network, grid);
  if (!network.slack_weight.empty()) distribute_slack(network, grid);
}

std::vector<Unknown> unknowns_of(const Grid& grid, const std::vector<Parameter>& parameters,
                                 const std::vector<int>& group) {
  std::vector<Unknown> out;
  std::map<int, std::size_t> of_group;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const int number = group.empty() ? -1 : group[i];
    const auto found = of_group.find(number);
    if (number >= 0 && found != of_group.end()) {
      out[found->second].parameters.push_back(i);
      out[found->second].logarithmic = true;  // a common factor
      continue;
    }
    if (number >= 0) of_group[number] = out.size();
    out.push_back({{i}, logarithmic(parameters[i].kind) && get(grid, parameters[i]) > 0});
  }
  return out;
}

}  // namespace

Fitter::Fitter(const Grid& grid, bool distributed_slack, const std::vector<OperatingPoint>& points,
               std::vector<Readings> readings, const Judgement& judgement, const std::vector<Parameter>& parameters,
               const std::vector<int>& group, double prior, const std::vector<Prior>& priors)
    : grid_(grid),
      network_(network_of(grid, distributed_slack)),
      distributed_slack_(distributed_slack),
      points_(points),
      readings_(std::move(readings)),
      judgement_(judgement),
      parameters_(parameters),
      prior_(prior),
      priors_(priors),
      unknowns_(unknowns_of(grid, parameters, group)),
      unknown_of_(parameters.size()),
      on_branch_(grid.branch.size()),
      at_node_(static_cast<std::size_t>(network_.nodes())),
      states_(points.size(), file_start(problem_of(network_))) {
  for (std::size_t u = 0; u < unknowns_.size(); ++u)
    for (const std::size_t i : unknowns_[u].parameters)
      unknown_of_[i] = u;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& p = parameters[i];
    start_.push_back(get(grid, p));
    if (of_branch(p.kind)) {
      on_branch_[p.row].push_back(i);
      at_node_[network_.from_of_branch[p.row]].push_back(i);
      at_node_[network_.to_of_branch[p.row]].push_back(i);
    } else if (p.kind == ParameterKind::gs || p.kind == ParameterKind::bs) {
      at_node_[network_.node_of_bus[p.row]].push_back(i);
    }
  }
}

void Fitter::remove(std::size_t snapshot, std::size_t reading) {
  readings_[snapshot].erase(readings_[snapshot].begin() + static_cast<std::ptrdiff_t>(reading));
}

double Fitter::coordinate(std::size_t u, std::size_t i, double value) const {
  return unknowns_[u].logarithmic ? std::log(value / start_[i]) : value;
}

std::vector<double> Fitter::start() const {
  std::vector<double> at(size());
  for (std::size_t u = 0; u < at.size(); ++u)
    at[u] = unknowns_[u].logarithmic ? 0 : start_[unknowns_[u].parameters[0]];
  return at;
}

double Fitter::scale(std::size_t i) const {
  return unknowns_[unknown_of_[i]].logarithmic ? get(grid_, parameters_[i]) : 1;
}

void Fitter::move(const std::vector<double>& at) {
  for (std::size_t u = 0; u < size(); ++u)
    for (const std::size_t i : unknowns_[u].parameters)
      set(grid_, parameters_[i], unknowns_[u].logarithmic ? start_[i] * std::exp(at[u]) : at[u]);
  refresh(network_, grid_);
}

// As many snapshots side by side as keep the threads busy and the rows in bounds.
void Fitter::each_wave(Depth depth, const std::function<void(std::size_t, std::vector<Share>&)>& use) {
  const FitGrid now{grid_, network_, parameters_, start_, unknowns_, unknown_of_, on_branch_, at_node_};
  std::size_t most = 1;
  for (const Readings& readings : readings_)
    most = std::max(most, readings.size() + 2 * network_.type.size());
  const std::size_t bytes = most * std::max<std::size_t>(size(), 1) * sizeof(double);
  const std::size_t wave = std::max(static_cast<std::size_t>(compute::threads()), wave_bytes / bytes);
  for (std::size_t first = 0; first < points_.size(); first += wave) {
    std::vector<Share> shares(std::min(wave, points_.size() - first));
    compute::parallel_tasks(shares.size(), [&](std::size_t s) {
      shares[s] =
          share_of_snapshot(now, points_[first + s], readings_[first + s], judgement_, states_[first + s], depth);
    });
    use(first, shares);
  }
}

void Fitter::each_share(Depth depth, const std::function<void(std::size_t, Share&)>& use) {
  each_wave(depth, [&](std::size_t first, std::vector<Share>& shares) {
    for (std::size_t s = 0; s < shares.size(); ++s)
      use(first + s, shares[s]);
  });
}

// add(unknown, residual over sigma, its derivative by the coordinate).
template <class Add>
void Fitter::each_prior(const std::vector<double>& at, const Add& add) const {
  if (prior_ > 0) {
    const std::vector<double> origin = start();
    for (std::size_t u = 0; u < at.size(); ++u)
      add(u, (at[u] - origin[u]) / prior_, 1 / prior_);
  }
  for (const Prior& prior : priors_)
    add(unknown_of_[prior.parameter], (get(grid_, parameters_[prior.parameter]) - prior.mean) / prior.sigma,
        scale(prior.parameter) / prior.sigma);
}

Normal Fitter::normal(const std::vector<double>& at) {
  move(at);
  const std::size_t np = size();
  Normal total{std::vector<double>(np * np, 0.0), std::vector<double>(np, 0.0)};
  std::vector<double> stack, right;
  each_wave(Depth::rows, [&](std::size_t, std::vector<Share>& shares) {
    stack.clear();
    right.clear();
    for (Share& share : shares) {  // in order: the same sums with any number of threads
      total.solved = total.solved && share.solved;
      total.objective += share.objective;
      for (std::size_t k = 0; k < share.residual.size() && np > 0; ++k) {
        const double root = std::sqrt(share.weight[k]);
        right.push_back(root * share.residual[k]);
        for (std::size_t u = 0; u < np; ++u)
          stack.push_back(root * share.rows[k * np + u]);
      }
      share = {};
    }
    if (!total.solved || right.empty()) return;
    const auto rows = compute::matrix(std::as_const(stack), right.size(), np);
    compute::blas::syrk(1, rows.t(), 1, compute::matrix(total.matrix, np, np));
    compute::blas::gemv(1, rows.t(), compute::View<const double>(right), 1, compute::View<double>(total.rhs));
  });
  each_prior(at, [&](std::size_t u, double residual, double slope) {
    total.objective += residual * residual;
    total.matrix[u * np + u] += slope * slope;
    total.rhs[u] -= slope * residual;
  });
  return total;
}

bool Fitter::objective(const std::vector<double>& at, double& value, std::vector<double>& gradient) {
  move(at);
  bool solved = true;
  value = 0;
  gradient.assign(size(), 0.0);
  each_share(Depth::gradient, [&](std::size_t, const Share& share) {
    solved = solved && share.solved;
    value += share.objective;
    for (std::size_t u = 0; u < share.gradient.size(); ++u)
      gradient[u] += share.gradient[u];
  });
  each_prior(at, [&](std::size_t u, double residual, double slope) {
    value += residual * residual;
    gradient[u] += 2 * slope * residual;
  });
  return solved;
}

std::vector<double> Fitter::column_sizes(const std::vector<double>& at) {
  move(at);
  std::vector<double> squares(size(), 0.0);
  each_share(Depth::rows, [&](std::size_t, const Share& share) {
    for (std::size_t k = 0; k < share.rows.size(); ++k)
      squares[k % size()] += share.rows[k] * share.rows[k];
  });
  each_prior(at, [&](std::size_t u, double, double slope) { squares[u] += slope * slope; });
  for (double& x : squares)
    x = x > 0 ? std::sqrt(x) : 1;
  return squares;
}

}  // namespace fachwerk::dpf
