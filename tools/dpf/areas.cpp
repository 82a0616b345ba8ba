#include "areas.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "area_factors.hpp"
#include "cli/error.hpp"
#include "compute/host_device.hpp"
#include "gmres.hpp"

namespace fachwerk::dpf {
namespace {

constexpr int most_columns = 8;
#include "anderson.inl"

constexpr std::array<const char*, 4> names = {"auto", "anderson", "schur", "krylov"};

// A tie is weak where it adds less than this share to the admittance of the bus it ends at: areas may do without it
// then. Up to `moderate`, ties may stand in the matrices of the areas at their own ends alone.
constexpr double weak = 0.1, moderate = 10;

// The state of the rank's rows and their neighbours, and F there.
class Iterate {
 public:
  Iterate(const AreaSystem& system, const State& start) : vm(start.vm.size()), va(start.va.size()), system_(&system) {
    for (std::size_t i = 0; i < vm.size(); ++i) {
      vm[system.place()[i]] = start.vm[i];
      va[system.place()[i]] = start.va[i];
    }
    v.resize(vm.size());
    f.resize(system.size());
    floor_ = rounding_floor(system.problem(), {vm, va, {}});
    evaluate();
  }

  std::vector<double> vm, va;
  std::vector<Complex> v;
  std::vector<double> f;
  double worst = 0;

  void step(std::span<const double> dx, double scale = 1) {
    const int first = system_->first();
    for (int i = first; i < system_->last(); ++i) {
      va[i] += std::clamp(scale * dx[2 * (i - first)], -1.0, 1.0);
      vm[i] *= 1 + std::clamp(scale * dx[2 * (i - first) + 1], -0.3, 0.3);
    }
    evaluate();
  }

  bool within(double tolerance) const {
    const auto first = static_cast<std::size_t>(system_->first()), rows = f.size() / 2;
    const bool here = dpf::within(f, std::span(floor_).subspan(first, rows), tolerance);
    return system_->world().allreduce_value(here ? 1 : 0, cluster::Op::min) == 1;
  }

  // Over the rows of all ranks.
  Iteration measured() const {
    const Network& network = system_->network();
    const auto sums = system_->sum(4, [&](int a, std::span<double> out) {
      for (int i = system_->begin(a); i < system_->end(a); ++i) {
        const NodeType type = network.type[i];
        if (type == NodeType::reference) continue;
        out[0] += type == NodeType::pq ? 2 : 1;
        out[1] += std::abs(network.p[i]) + (type == NodeType::pq ? std::abs(network.q[i]) : 0);
        for (const double x : {f[2 * (i - system_->first())], f[2 * (i - system_->first()) + 1]}) {
          out[2] += x * x;
          out[3] += std::abs(x);
        }
      }
    });
    return {worst, sums[0] > 0 ? sums[2] / sums[0] : 0, sums[1] > 0 ? sums[3] / sums[1] : 0};
  }

  // Every rank's part, by node of the given problem.
  State state() const {
    std::vector<double> own;
    for (int i = system_->first(); i < system_->last(); ++i)
      own.insert(own.end(), {vm[i], va[i]});
    const std::vector<double> all = system_->collect(own);
    State out{vm, va, {}};
    for (std::size_t i = 0; i < vm.size(); ++i) {
      out.vm[i] = all[2 * system_->place()[i]];
      out.va[i] = all[2 * system_->place()[i] + 1];
    }
    return out;
  }

 private:
  void evaluate() {
    std::vector<double> both(2 * vm.size());
    for (int i = system_->first(); i < system_->last(); ++i) {
      both[2 * i] = vm[i];
      both[2 * i + 1] = va[i];
    }
    system_->exchange(both);
    for (std::size_t i = 0; i < vm.size(); ++i) {
      if (both[2 * i] == 0) continue;  // of no concern here
      vm[i] = both[2 * i];
      va[i] = both[2 * i + 1];
      v[i] = std::polar(1.0, va[i]) * vm[i];
    }
    worst = system_->mismatch(v, vm, f);
  }

  const AreaSystem* system_;
  std::vector<double> floor_;
};

std::vector<double> dots(const AreaSystem& system, const std::vector<std::span<const double>>& all,
                         std::span<const double> w) {
  return system.sum(all.size(), [&](int a, std::span<double> out) {
    const int first = 2 * (system.begin(a) - system.first()), last = 2 * (system.end(a) - system.first());
    for (std::size_t k = 0; k < all.size(); ++k)
      for (int i = first; i < last; ++i)
        out[k] += all[k][i] * w[i];
  });
}

// Anderson's combination of the last steps (type II): x + g - sum gamma_c (dx_c + dg_c).
class Anderson {
 public:
  Anderson(const AreaSystem& system, int memory)
      : system_(system), memory_(static_cast<std::size_t>(std::clamp(memory, 0, most_columns))) {}

  std::vector<double> combine(const std::vector<double>& g) {
    if (!last_.empty() && memory_ > 0) remember(g);
    std::vector<double> step = g;
    double gram[most_columns][most_columns] = {}, rhs[most_columns] = {}, gamma[most_columns] = {};
    bool usable[most_columns] = {};
    const std::vector<std::span<const double>> all(change_.begin(), change_.end());
    if (!all.empty()) {
      std::ranges::copy(dots(system_, all, g), rhs);
      for (std::size_t c = 0; c < all.size(); ++c) {
        usable[c] = true;
        for (std::size_t d = 0; d < all.size(); ++d)
          gram[c][d] = gram_[c][d];
      }
      least_squares(gram, rhs, usable, static_cast<int>(all.size()), gamma);
      for (std::size_t c = 0; c < all.size(); ++c)
        for (std::size_t i = 0; i < step.size(); ++i)
          step[i] -= gamma[c] * moved_[c][i];
    }
    last_ = g;
    last_step_ = step;
    return step;
  }

 private:
  // The newest column comes first.
  void remember(const std::vector<double>& g) {
    std::vector<double> change(g.size()), moved(g.size());
    for (std::size_t i = 0; i < g.size(); ++i) {
      change[i] = g[i] - last_[i];
      moved[i] = last_step_[i] + change[i];
    }
    change_.insert(change_.begin(), std::move(change));
    moved_.insert(moved_.begin(), std::move(moved));
    if (change_.size() > memory_) change_.pop_back(), moved_.pop_back();
    const std::vector<std::span<const double>> all(change_.begin(), change_.end());
    const std::vector<double> row = dots(system_, all, change_.front());
    std::array<std::array<double, most_columns>, most_columns> next{};
    for (std::size_t c = 0; c < all.size(); ++c) {
      next[0][c] = next[c][0] = row[c];
      for (std::size_t d = 1; c > 0 && d < all.size(); ++d)
        next[c][d] = gram_[c - 1][d - 1];
    }
    gram_ = next;
  }

  const AreaSystem& system_;
  std::size_t memory_;
  std::vector<double> last_, last_step_;
  std::vector<std::vector<double>> change_, moved_;
  std::array<std::array<double, most_columns>, most_columns> gram_{};
};

// What the three methods share: the loop over steps, its end, and one more step once the tolerance is met, kept if it
// lowers the mismatch. `direction(x)` gives dx, or nothing where there is none.
template <class Direction>
void iterate(const AreaOptions& options, int limit, Iterate& x, Solution& out, const Direction& direction) {
  const double first = x.worst, enough = options.stop_mismatch;
  const auto record = [&] {
    if (options.trace) out.trace.push_back(x.measured());
  };
  record();
  for (;;) {
    const bool met = x.within(options.tolerance);
    const bool met_loosely = !met && enough > 0 && x.measured().relative <= enough;
    if (met || met_loosely) out.status = Status::converged;
    if (met_loosely) return;
    if (!met && out.iterations >= limit) {
      out.status = Status::iteration_limit;
      return;
    }
    if (!std::isfinite(x.worst) || x.worst > 1e6 * std::max(first, options.tolerance)) {
      out.status = Status::diverged;
      return;
    }
    const std::optional<std::vector<double>> dx = direction(x);
    if (!dx) {
      if (!met) out.status = Status::diverged;
      return;
    }
    if (met) {
      Iterate polished = x;
      polished.step(*dx);
      if (polished.worst < x.worst) x = std::move(polished);
      return;
    }
    x.step(*dx);
    ++out.iterations;
    record();
  }
}

double strongest_tie(const AreaSystem& system) {
  double strongest = 0;
  for (int i = 0; i < system.network().nodes(); ++i) {
    const Complex inner = system.inner_diagonal()[i], all = system.network().y[system.network().pattern.diagonal[i]];
    strongest = std::max(strongest, std::abs(all - inner) / std::max(1e-300, std::abs(inner)));
  }
  return strongest;
}

bool every_area_has_a_reference(const AreaSystem& system) {
  std::vector<char> has(static_cast<std::size_t>(system.areas()), 0);
  for (int i = 0; i < system.network().nodes(); ++i)
    if (system.network().type[i] == NodeType::reference) has[system.area_of(i)] = 1;
  return std::ranges::find(has, 0) == has.end();
}

// One run by one method; the Jacobian of the rank's rows is kept for it.
class Solver {
 public:
  Solver(const AreaSystem& system, const AreaOptions& options, AreaSolution& out)
      : system_(system), options_(options), out_(out) {
    const Pattern& pattern = system.network().pattern;
    j_.resize(static_cast<std::size_t>(pattern.start[system.last()] - pattern.start[system.first()]));
  }

  void anderson(Iterate& x, bool alone) {
    system_.jacobian(x.v, x.vm, j_);
    const BlockJacobi m(system_, j_, x.v, x.vm, alone);
    out_.factors = system_.world().allreduce_value(m.factors());
    Anderson acceleration(system_, options_.memory);
    iterate(options_, limit(200), x, out_.solution, [&](const Iterate& at) {
      std::vector<double> g(system_.size());
      m.apply(at.f, g);
      for (double& value : g)
        value = -value;
      return std::optional(acceleration.combine(g));
    });
  }

  void schur(Iterate& x, SchurComplement& complement) {
    out_.factors = static_cast<std::size_t>(system_.areas());
    iterate(options_, limit(20), x, out_.solution, [&](const Iterate& at) -> std::optional<std::vector<double>> {
      system_.jacobian(at.v, at.vm, j_);
      if (!complement.factor(j_, at.v)) return {};
      std::vector<double> dx(system_.size());
      complement.solve(at.f, dx);
      for (double& value : dx)
        value = -value;
      return dx;
    });
  }

  void krylov(Iterate& x) {
    iterate(options_, limit(20), x, out_.solution, [&](const Iterate& at) -> std::optional<std::vector<double>> {
      system_.jacobian(at.v, at.vm, j_);
      const BlockJacobi m(system_, j_, at.v, at.vm, false);
      out_.factors = system_.world().allreduce_value(m.factors());
      GmresResult result =
          gmres({[&](auto in, auto to) { system_.product(j_, in, to); }, [&](auto in, auto to) { m.apply(in, to); },
                 [&](const auto& all, auto w) { return dots(system_, all, w); }},
                at.f);
      out_.inner_iterations += result.iterations;
      if (!(result.reduction < 0.9)) return {};
      for (double& value : result.x)
        value = -value;
      return std::move(result.x);
    });
  }

 private:
  int limit(int own) const { return options_.max_iterations > 0 ? options_.max_iterations : own; }

  const AreaSystem& system_;
  const AreaOptions& options_;
  AreaSolution& out_;
  std::vector<Block> j_;
};

}  // namespace

AreaMethod area_method_of(const std::string& word) {
  const auto found = std::ranges::find(names, word);
  if (found == names.end()) throw usage_error("there is no area method {}", word);
  return static_cast<AreaMethod>(found - names.begin());
}
std::string name(AreaMethod method) {
  return names[static_cast<std::size_t>(method)];
}

AreaSolution solve_areas(const Problem& problem, const State& start, std::span<const int> area,
                         const AreaOptions& options, const cluster::Communicator& world) {
  const AreaSystem system(problem, area, world);
  AreaSolution out;
  out.method = options.method;
  out.areas = system.areas();
  const bool grounded = every_area_has_a_reference(system);
  const double tie = strongest_tie(system);
  const bool chosen = out.method == AreaMethod::automatic;
  if (chosen && grounded && tie < moderate && system.areas() > 1) out.method = AreaMethod::anderson;
  std::optional<SchurComplement> complement;
  if (out.method == AreaMethod::automatic || out.method == AreaMethod::schur) {
    complement.emplace(system);
    out.boundary = complement->boundary();
    if (out.method == AreaMethod::automatic)
      out.method = complement->boundary_blocks() <= complement->inner_blocks() ? AreaMethod::schur : AreaMethod::krylov;
    if (out.method == AreaMethod::krylov) complement.reset();
  }
  Iterate x(system, start);
  Solver solver(system, options, out);
  using Factors = AreaOptions::Factors;
  if (out.method == AreaMethod::anderson) {
    solver.anderson(
        x, options.factors == Factors::alone || (options.factors == Factors::automatic && grounded && tie < weak));
    if (chosen && out.solution.status != Status::converged) {
      out.method = AreaMethod::krylov;
      x = Iterate(system, start);
      out.solution = {};
      solver.krylov(x);
    }
  } else if (out.method == AreaMethod::schur)
    solver.schur(x, *complement);
  else
    solver.krylov(x);
  out.solution.state = x.state();
  out.solution.max_mismatch = x.worst;
  return out;
}

}  // namespace fachwerk::dpf
