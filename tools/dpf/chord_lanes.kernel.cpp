#include "chord_lanes.hpp"

#include <cmath>

#include "compute/buffer.hpp"
#include "compute/host_device.hpp"
#include "compute/parallel.hpp"

namespace fachwerk::dpf {
namespace {

constexpr int most_columns = 8;

#include "anderson.inl"

// One scenario a call: arrays are [index][scenario], so that neighbouring threads touch neighbouring numbers.
template <class Real>
struct LaneIteration {
  ChordPlan plan;  // with pointers to the device
  const Real *factor, *inverse;
  std::size_t count;
  double *vm, *va, *e, *f;
  const double *p, *q;
  Real *g, *last, *step, *history;
  double* max_mismatch;
  int* iterations;
  std::uint8_t* state;

  FACHWERK_HD std::size_t at(std::size_t index, std::size_t s) const { return index * count + s; }
  FACHWERK_HD Real* change(int column) const {
    return history + static_cast<std::size_t>(column) * 4 * static_cast<std::size_t>(plan.nodes) * count;
  }

  FACHWERK_HD void rectangular(std::size_t s) const {
    for (int i = 0; i < plan.nodes; ++i) {
      const std::size_t k = at(static_cast<std::size_t>(i), s);
      e[k] = vm[k] * std::cos(va[k]);
      f[k] = vm[k] * std::sin(va[k]);
    }
  }

  // x_i -= sum of block * x_j over positions [begin, end).
  FACHWERK_HD void eliminate(const Real* x, std::size_t s, int begin, int end, Real& x0, Real& x1) const {
    for (int k = begin; k < end; ++k) {
      const Real* a = factor + 4 * static_cast<std::size_t>(k);
      const std::size_t j = 2 * static_cast<std::size_t>(plan.f_column[k]);
      const Real y0 = x[at(j, s)], y1 = x[at(j + 1, s)];
      x0 -= a[0] * y0 + a[1] * y1;
      x1 -= a[2] * y0 + a[3] * y1;
    }
  }

  // Mismatch of every node and -L^-1 F into g. Returns max |F|; `excess` is max (|F| - floor).
  FACHWERK_HD double mismatch_and_forward(std::size_t s, double& excess) const {
    double worst = 0;
    excess = 0;
    for (int i = 0; i < plan.nodes; ++i) {
      double re = 0, im = 0;
      for (int k = plan.y_start[i]; k < plan.y_start[i + 1]; ++k) {
        const std::size_t j = at(static_cast<std::size_t>(plan.y_column[k]), s);
        re += plan.conductance[k] * e[j] - plan.susceptance[k] * f[j];
        im += plan.conductance[k] * f[j] + plan.susceptance[k] * e[j];
      }
      const std::size_t own = at(static_cast<std::size_t>(i), s);
      double dp = e[own] * re + f[own] * im - p[own], dq = f[own] * re - e[own] * im - q[own];
      if (plan.zip != nullptr) {
        const double* zip = plan.zip + 4 * static_cast<std::size_t>(i);
        dp += (zip[0] + zip[1] * vm[own]) * vm[own];
        dq += (zip[2] + zip[3] * vm[own]) * vm[own];
      }
      if (!plan.has_p[i]) dp = 0;
      if (!plan.has_q[i]) dq = 0;
      const double size = std::fabs(dp) > std::fabs(dq) ? std::fabs(dp) : std::fabs(dq);
      if (!(size <= worst)) worst = size;  // NaN stays
      if (!(size - plan.floor[i] <= excess)) excess = size - plan.floor[i];
      Real x0 = static_cast<Real>(-dp), x1 = static_cast<Real>(-dq);
      eliminate(g, s, plan.f_start[i], plan.f_diagonal[i], x0, x1);
      g[at(2 * static_cast<std::size_t>(i), s)] = x0;
      g[at(2 * static_cast<std::size_t>(i) + 1, s)] = x1;
    }
    return worst;
  }

  FACHWERK_HD void back_substitute(std::size_t s) const {
    for (int i = plan.nodes - 1; i >= 0; --i) {
      const std::size_t k0 = at(2 * static_cast<std::size_t>(i), s), k1 = k0 + count;
      Real x0 = g[k0], x1 = g[k1];
      eliminate(g, s, plan.f_diagonal[i] + 1, plan.f_start[i + 1], x0, x1);
      const Real* d = inverse + 4 * static_cast<std::size_t>(i);
      g[k0] = d[0] * x0 + d[1] * x1;
      g[k1] = d[2] * x0 + d[3] * x1;
    }
  }

  FACHWERK_HD double dot(const Real* a, const Real* b, std::size_t s) const {
    double sum = 0;
    for (std::size_t i = 0; i < 2 * static_cast<std::size_t>(plan.nodes); ++i)
      sum += static_cast<double>(a[at(i, s)]) * static_cast<double>(b[at(i, s)]);
    return sum;
  }

  // Anderson's combination, type II: see chord_kernel.cpp.
  FACHWERK_HD void accelerate(std::size_t s, double (*gram)[most_columns], const bool* usable, int slot,
                              int columns) const {
    const std::size_t size = 2 * static_cast<std::size_t>(plan.nodes);
    Real *dg = change(slot), *dh = dg + size * count;
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t k = at(i, s);
      dg[k] = g[k] - last[k];
      dh[k] = dg[k] + step[k];
    }
    double rhs[most_columns], gamma[most_columns];
    for (int c = 0; c < columns; ++c) {
      gram[c][slot] = gram[slot][c] = dot(dg, change(c), s);
      rhs[c] = dot(g, change(c), s);
    }
    least_squares(gram, rhs, usable, columns, gamma);
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t k = at(i, s);
      Real sum = g[k];
      for (int c = 0; c < columns; ++c)
        if (usable[c]) sum -= static_cast<Real>(gamma[c]) * change(c)[size * count + k];
      step[k] = sum;
    }
  }

  FACHWERK_HD static Real limited(Real x, Real most) { return x > most ? most : x < -most ? -most : x; }

  FACHWERK_HD void advance(std::size_t s) const {
    for (int i = 0; i < plan.nodes; ++i) {
      const std::size_t k = at(static_cast<std::size_t>(i), s), k0 = at(2 * static_cast<std::size_t>(i), s),
                        k1 = k0 + count;
      step[k0] = limited(step[k0], Real(1));
      step[k1] = limited(step[k1], Real(0.3));
      va[k] += static_cast<double>(step[k0]);
      vm[k] += vm[k] * static_cast<double>(step[k1]);
      last[k0] = g[k0];
      last[k1] = g[k1];
    }
  }

  FACHWERK_HD void operator()(std::size_t s) const {
    const std::size_t size = 2 * static_cast<std::size_t>(plan.nodes);
    const int memory = plan.memory < most_columns ? plan.memory : most_columns;
    double gram[most_columns][most_columns] = {};
    bool usable[most_columns] = {};
    bool accelerated = false;
    int stored = 0, slow = 0;
    double first = 0, before = 0, best = 0;
    iterations[s] = 0;
    state[s] = 1;
    for (int iteration = 0;; ++iteration) {
      rectangular(s);
      double excess;
      const double worst = mismatch_and_forward(s, excess);
      max_mismatch[s] = worst;
      if (iteration == 0) first = before = best = worst;
      if (excess <= plan.tolerance) {
        state[s] = 0;
        return;
      }
      if (!(worst <= 1e3 * first + 1e-3)) {
        state[s] = 2;
        return;
      }
      if (iteration > 0) {
        slow = worst > plan.rate_limit * before ? slow + 1 : 0;
        if (worst > 0.1 * before || worst > 1e4 * plan.tolerance) accelerated = true;
        if (worst > 1.5 * best)
          for (bool& column : usable)
            column = false;
      }
      before = worst;
      if (worst < best) best = worst;
      if (iteration >= plan.max_iterations || slow >= 4) return;
      iterations[s] = iteration + 1;
      back_substitute(s);
      if (iteration > 0 && memory > 0 && accelerated) {
        const int slot = stored++ % memory;
        usable[slot] = true;
        accelerate(s, gram, usable, slot, stored < memory ? stored : memory);
      } else {
        for (std::size_t i = 0; i < size; ++i)
          step[at(i, s)] = g[at(i, s)];
      }
      advance(s);
    }
  }
};

template <class T>
compute::Buffer<T> on(compute::Device device, const T* values, std::size_t size) {
  return compute::Buffer<T>(device, compute::View<const T>(values, size));
}

// The plan in the device's memory, and the work arrays of as many scenarios as were asked for last.
template <class Real>
class Lanes final : public ChordLanes {
 public:
  Lanes(compute::Device device, const ChordPlan& plan, const Real* factor, const Real* inverse)
      : device_(device), plan_(plan) {
    const auto n = static_cast<std::size_t>(plan.nodes), y = static_cast<std::size_t>(plan.y_start[n]),
               f = static_cast<std::size_t>(plan.f_start[n]);
    const auto keep = [&](auto& buffer, auto*& pointer, std::size_t size) {
      buffer = on(device, pointer, size);
      pointer = buffer.data();
    };
    keep(y_start_, plan_.y_start, n + 1);
    keep(y_column_, plan_.y_column, y);
    keep(conductance_, plan_.conductance, y);
    keep(susceptance_, plan_.susceptance, y);
    keep(f_start_, plan_.f_start, n + 1);
    keep(f_diagonal_, plan_.f_diagonal, n);
    keep(f_column_, plan_.f_column, f);
    keep(has_p_, plan_.has_p, n);
    keep(has_q_, plan_.has_q, n);
    keep(floor_, plan_.floor, n);
    if (plan.zip != nullptr) keep(zip_, plan_.zip, 4 * n);
    factor_ = on(device, factor, 4 * f);
    inverse_ = on(device, inverse, 4 * n);
  }

  void run(LaneStates& states) override {
    resize(states.count);
    const auto put = [](const std::vector<double>& from, compute::Buffer<double>& to) {
      compute::copy<double>(compute::View<const double>(from), to.view());
    };
    put(states.vm, vm_);
    put(states.va, va_);
    put(states.p, p_);
    put(states.q, q_);
    const LaneIteration<Real> iteration{
        plan_,        factor_.data(),  inverse_.data(), states.count,       vm_.data(),   va_.data(),
        e_.data(),    f_.data(),       p_.data(),       q_.data(),          g_.data(),    last_.data(),
        step_.data(), history_.data(), worst_.data(),   iterations_.data(), state_.data()};
    compute::parallel_for(device_, states.count, iteration);
    states.vm = vm_.vector();
    states.va = va_.vector();
    states.max_mismatch = worst_.vector();
    states.iterations = iterations_.vector();
    states.state = state_.vector();
  }

 private:
  void resize(std::size_t count) {
    if (count == worst_.size()) return;
    const std::size_t n = static_cast<std::size_t>(plan_.nodes) * count;
    for (auto* buffer : {&vm_, &va_, &p_, &q_, &e_, &f_})
      *buffer = compute::Buffer<double>(device_, n);
    for (auto* buffer : {&g_, &last_, &step_})
      *buffer = compute::Buffer<Real>(device_, 2 * n);
    history_ = compute::Buffer<Real>(device_, 4 * n * static_cast<std::size_t>(plan_.memory > 0 ? plan_.memory : 1));
    worst_ = compute::Buffer<double>(device_, count);
    iterations_ = compute::Buffer<int>(device_, count);
    state_ = compute::Buffer<std::uint8_t>(device_, count);
  }

  compute::Device device_;
  ChordPlan plan_;
  compute::Buffer<int> y_start_, y_column_, f_start_, f_diagonal_, f_column_;
  compute::Buffer<double> conductance_, susceptance_, floor_, zip_;
  compute::Buffer<std::uint8_t> has_p_, has_q_;
  compute::Buffer<Real> factor_, inverse_;
  compute::Buffer<double> vm_, va_, p_, q_, e_, f_, worst_;
  compute::Buffer<Real> g_, last_, step_, history_;
  compute::Buffer<int> iterations_;
  compute::Buffer<std::uint8_t> state_;
};

}  // namespace

std::unique_ptr<ChordLanes> chord_lanes(compute::Device device, const ChordPlan& plan, const DoubleFactor& exact) {
  if (exact.factor.empty()) return std::make_unique<Lanes<float>>(device, plan, plan.factor, plan.inverse);
  return std::make_unique<Lanes<double>>(device, plan, exact.factor.data(), exact.inverse.data());
}

}  // namespace fachwerk::dpf
