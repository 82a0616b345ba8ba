// Batches of random load patterns: our chord, our Newton, and a per-scenario Newton with SuiteSparse KLU that refactors
// on one symbolic analysis, as a careful user would write it. Interleaved, one thread each, same tolerance, results
// compared.
//   dpf-bench-batch CASE.m [SCENARIOS] [SIGMA]
//   dpf-bench-batch CASE.m n1                      full N-1 instead
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include <klu.h>
#include <omp.h>

#include "batch.hpp"
#include "compute/random.hpp"
#include "matpower.hpp"
#include "screen.hpp"

using namespace fachwerk::dpf;

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Polar Newton in separate unknowns [angles of PV and PQ; magnitudes of PQ], column-compressed, KLU analysed once.
class KluNewton {
 public:
  explicit KluNewton(const Problem& problem) : problem_(problem) {
    const Network& network = *problem.network;
    const int n = network.nodes();
    angle_.assign(n, -1);
    magnitude_.assign(n, -1);
    int unknowns = 0;
    for (int i = 0; i < n; ++i)
      if (problem.type[i] != NodeType::reference) angle_[i] = unknowns++;
    for (int i = 0; i < n; ++i)
      if (problem.type[i] == NodeType::pq) magnitude_[i] = unknowns++;
    size_ = unknowns;
    // Columns of J; Ybus has a symmetric pattern.
    std::vector<std::vector<std::pair<int, Slot>>> columns(static_cast<std::size_t>(unknowns));
    for (int i = 0; i < n; ++i)
      for (int k = network.pattern.start[i]; k < network.pattern.start[i + 1]; ++k) {
        const int j = network.pattern.column[k];
        const int rows[2] = {angle_[i], magnitude_[i]}, cols[2] = {angle_[j], magnitude_[j]};
        for (int r = 0; r < 2; ++r)
          for (int c = 0; c < 2; ++c)
            if (rows[r] >= 0 && cols[c] >= 0) columns[cols[c]].push_back({rows[r], {k, r, c}});
      }
    start_.push_back(0);
    place_.assign(4 * network.pattern.column.size(), -1);
    for (auto& column : columns) {
      std::ranges::sort(column, {}, [](const auto& entry) { return entry.first; });
      for (const auto& [row, slot] : column) {
        place_[4 * slot.entry + 2 * slot.row + slot.column] = static_cast<int>(row_.size());
        row_.push_back(row);
      }
      start_.push_back(static_cast<int>(row_.size()));
    }
    values_.resize(row_.size());
    klu_defaults(&common_);
    symbolic_ = klu_analyze(size_, start_.data(), row_.data(), &common_);
  }
  ~KluNewton() {
    klu_free_numeric(&numeric_, &common_);
    klu_free_symbolic(&symbolic_, &common_);
  }

  // Returns the iterations, or -1.
  int solve(std::span<const double> p, std::span<const double> q, const std::vector<double>& floor, State& state) {
    const Network& network = *problem_.network;
    const Pattern& pattern = network.pattern;
    const int n = network.nodes();
    v_.resize(n);
    rhs_.resize(size_);
    for (int iteration = 0; iteration <= 20; ++iteration) {
      for (int i = 0; i < n; ++i)
        v_[i] = {state.vm[i] * std::cos(state.va[i]), state.vm[i] * std::sin(state.va[i])};
      double excess = 0;
      for (int i = 0; i < n; ++i) {
        double total_re = 0, total_im = 0, own_re = 0, own_im = 0;
        for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k) {
          const int j = pattern.column[k];
          const double g = problem_.y[k].real(), b = problem_.y[k].imag();
          const double cr = g * v_[j].real() - b * v_[j].imag(), ci = g * v_[j].imag() + b * v_[j].real();
          const double re = v_[i].real() * cr + v_[i].imag() * ci, im = v_[i].imag() * cr - v_[i].real() * ci;
          total_re += re;
          total_im += im;
          if (j == i) {
            own_re = re;
            own_im = im;
            continue;
          }
          put(k, im, re, -re, im);
        }
        put(pattern.diagonal[i], -(total_im - own_im), total_re + own_re, total_re - own_re, total_im + own_im);
        if (angle_[i] >= 0) rhs_[angle_[i]] = total_re - p[i];
        if (magnitude_[i] >= 0) rhs_[magnitude_[i]] = total_im - q[i];
        if (angle_[i] >= 0) excess = std::max(excess, std::abs(total_re - p[i]) - floor[i]);
        if (magnitude_[i] >= 0) excess = std::max(excess, std::abs(total_im - q[i]) - floor[i]);
      }
      if (excess <= 1e-8) return iteration;
      if (numeric_ == nullptr)
        numeric_ = klu_factor(start_.data(), row_.data(), values_.data(), symbolic_, &common_);
      else
        klu_refactor(start_.data(), row_.data(), values_.data(), symbolic_, numeric_, &common_);
      klu_solve(symbolic_, numeric_, size_, 1, rhs_.data(), &common_);
      for (int i = 0; i < n; ++i) {
        if (angle_[i] >= 0) state.va[i] -= rhs_[angle_[i]];
        if (magnitude_[i] >= 0) state.vm[i] *= 1 - rhs_[magnitude_[i]];
      }
    }
    return -1;
  }

 private:
  struct Slot {
    int entry, row, column;
  };
  void put(int k, double a, double b, double c, double d) {
    const int* place = &place_[4 * static_cast<std::size_t>(k)];
    if (place[0] >= 0) values_[place[0]] = a;
    if (place[1] >= 0) values_[place[1]] = b;
    if (place[2] >= 0) values_[place[2]] = c;
    if (place[3] >= 0) values_[place[3]] = d;
  }
  const Problem problem_;
  int size_ = 0;
  std::vector<int> angle_, magnitude_, start_, row_, place_;
  std::vector<double> values_, rhs_;
  std::vector<Complex> v_;
  klu_common common_;
  klu_symbolic* symbolic_ = nullptr;
  klu_numeric* numeric_ = nullptr;
};

// Every outage that does not split the grid: our screening in one call against the KLU loop on patched admittances.
int outages(const Grid& grid) {
  const Network network = build_network(grid);
  Problem problem = problem_of(network);
  const State base = Newton(network).solve(problem, starting_point(grid, problem, Start::automatic)).state;
  const std::vector<double> floor = rounding_floor(problem, base);
  const std::vector<bool> bridge = bridges(network);
  std::vector<Contingency> contingencies = all_branches(network);
  std::erase_if(contingencies, [&](const Contingency& c) { return bridge[c.branches[0]]; });
  std::vector<Complex> y = network.y;
  problem.y = y;
  omp_set_num_threads(1);
  double fast = 1e9, loop = 1e9;
  long solved = 0, by_klu = 0;
  for (int round = 0; round < 2; ++round) {
    double start = now();
    Screen screen(grid, network, base, {});
    const auto results = screen.run(contingencies, [](std::size_t) {});
    fast = std::min(fast, now() - start);
    solved = std::ranges::count(results, Verdict::solved, &ContingencyResult::verdict);
    start = now();
    KluNewton klu(problem);
    by_klu = 0;
    for (const Contingency& c : contingencies) {
      const BranchSlots s = network.slots[c.branches[0]];
      const BranchAdmittance a = network.admittance[c.branches[0]];
      const auto patch = [&](double sign) {
        y[s.ff] += sign * a.ff;
        y[s.ft] += sign * a.ft;
        y[s.tf] += sign * a.tf;
        y[s.tt] += sign * a.tt;
      };
      patch(-1);
      State state = base;
      by_klu += klu.solve(problem.p, problem.q, floor, state) >= 0;
      patch(1);
    }
    loop = std::min(loop, now() - start);
  }
  std::printf(
      "%-22s N-1, %zu outages that split nothing: one call %.2f s (%ld solved), klu loop %.2f s (%ld), ratio %.1f x\n",
      grid.name.c_str(), contingencies.size(), fast, solved, loop, by_klu, loop / fast);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const std::size_t count = argc > 2 ? static_cast<std::size_t>(std::atoi(argv[2])) : 1000;
  const double sigma = argc > 3 ? std::atof(argv[3]) : 0.05;
  std::ifstream file(argv[1]);
  std::stringstream text;
  text << file.rdbuf();
  std::vector<std::string> warnings;
  const Grid grid = grid_of(evaluate_matpower(text.str(), argv[1]), argv[1], warnings);
  if (argc > 2 && std::string(argv[2]) == "n1") return outages(grid);
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  Newton newton(network);
  const Solution base = newton.solve(problem, starting_point(grid, problem, Start::automatic));
  const auto specify = [&](std::size_t s, const Specified& x) {
    double before = 0, after = 0;
    std::vector<double> pd(grid.bus.size()), qd(grid.bus.size());
    for (std::size_t i = 0; i < grid.bus.size(); ++i) {
      fachwerk::compute::Stream random(1, s * grid.bus.size() + i);
      const double factor = std::exp(sigma * random.normal());
      pd[i] = grid.bus.pd[i] * factor;
      qd[i] = grid.bus.qd[i] * factor;
      before += grid.bus.pd[i];
      after += pd[i];
    }
    std::ranges::fill(x.p, 0.0);
    std::ranges::fill(x.q, 0.0);
    for (std::size_t i = 0; i < grid.bus.size(); ++i)
      if (const int k = network.node_of_bus[i]; k >= 0)
        x.p[k] -= pd[i] / grid.base_mva, x.q[k] -= qd[i] / grid.base_mva;
    for (std::size_t g = 0; g < grid.gen.size(); ++g)
      if (const int k = network.node_of_gen[g]; k >= 0)
        x.p[k] += grid.gen.pg[g] * after / before / grid.base_mva, x.q[k] += grid.gen.qg[g] / grid.base_mva;
  };
  // The scenarios are made before the clocks start.
  const std::size_t n = static_cast<std::size_t>(network.nodes());
  std::vector<double> p(count * n), q(count * n), set_point(n);
  for (std::size_t s = 0; s < count; ++s)
    specify(s, {std::span(p).subspan(s * n, n), std::span(q).subspan(s * n, n), set_point});
  const auto given = [&](std::size_t s, const Specified& x) {
    std::copy_n(&p[s * n], n, x.p.begin());
    std::copy_n(&q[s * n], n, x.q.begin());
  };
  const std::vector<double> floor = rounding_floor(problem, base.state);
  std::vector<State> by_chord(count), by_klu(count);
  std::vector<int> iterations(count);
  std::vector<char> rescued(count), failed(count);
  const auto chord = [&] {
    Batch batch(grid, problem, base.state);  // the factorisation counts
    batch.solve(0, count, given, [&](std::size_t s, ScenarioResult&& r) {
      by_chord[s] = std::move(r.solution.state);
      iterations[s] = r.solution.iterations;
      rescued[s] = r.path != Path::chord;
      failed[s] = r.solution.status != Status::converged;
    });
  };
  double chord_time = 1e9, klu_time = 1e9, newton_time = 1e9, two_threads = 1e9;
  int klu_failed = 0, newton_failed = 0;
  const std::size_t part = std::min<std::size_t>(count, 200);  // of the slower ones
  for (int round = 0; round < 3; ++round) {
    omp_set_num_threads(1);
    double start = now();
    chord();
    chord_time = std::min(chord_time, (now() - start) / static_cast<double>(count));
    start = now();
    KluNewton klu(problem);
    klu_failed = 0;
    for (std::size_t s = 0; s < part; ++s) {
      by_klu[s] = base.state;
      klu_failed += klu.solve(std::span(p).subspan(s * n, n), std::span(q).subspan(s * n, n), floor, by_klu[s]) < 0;
    }
    klu_time = std::min(klu_time, (now() - start) / static_cast<double>(part));
    start = now();
    newton_failed = 0;
    for (std::size_t s = 0; s < part; ++s) {
      Problem one = problem;
      one.p = std::span(p).subspan(s * n, n);
      one.q = std::span(q).subspan(s * n, n);
      newton_failed += newton.solve(one, base.state, {.polish = false}).status != Status::converged;
    }
    newton_time = std::min(newton_time, (now() - start) / static_cast<double>(part));
    omp_set_num_threads(2);
    start = now();
    chord();
    two_threads = std::min(two_threads, (now() - start) / static_cast<double>(count));
  }
  double worst = 0;
  for (std::size_t s = 0; s < part; ++s)
    for (std::size_t i = 0; i < n; ++i)
      worst = std::max(worst, std::abs(by_chord[s].vm[i] - by_klu[s].vm[i]));
  std::ranges::sort(iterations);
  std::printf(
      "%-22s sigma %.3f  chord %8.1f/s  klu-refactor nr %7.1f/s  own nr %7.1f/s  chord/klu %5.1f x  2 threads %4.2f x  iterations %d/%d/%d  "
      "beyond chord %ld  failed %ld (klu %d, nr %d)  dV %.1e\n",
      grid.name.c_str(), sigma, 1 / chord_time, 1 / klu_time, 1 / newton_time, klu_time / chord_time,
      chord_time / two_threads, iterations.front(), iterations[count / 2], iterations.back(),
      std::ranges::count(rescued, 1), std::ranges::count(failed, 1), klu_failed, newton_failed, worst);
  return 0;
}
