#include "engine_kernels.hpp"

#include "engine_bodies.hpp"

// Compiled once for each vector unit.
namespace fachwerk::polgraw::FACHWERK_ISA {

namespace {

template <class Real>
void demodulate(const Demodulation<Real>& job, Real* __restrict ya, Real* __restrict yb, double* __restrict delay,
                double* sums) {
  const Demodulation<Real> d = job;
  double A = 0, B = 0, C = 0;
#pragma omp simd reduction(+ : A, B, C)
  for (std::size_t i = 0; i < d.N; ++i) {
    const auto y = demodulate_sample(d, i);
    ya[2 * i] = y.a.re;
    ya[2 * i + 1] = y.a.im;
    yb[2 * i] = y.b.re;
    yb[2 * i + 1] = y.b.im;
    delay[i] = y.delay;
    A += double(y.amplitude_a * y.amplitude_a);
    B += double(y.amplitude_b * y.amplitude_b);
    C += double(y.amplitude_a * y.amplitude_b);
  }
  sums[0] = A;
  sums[1] = B;
  sums[2] = C;
}

template <class Real>
void filter_bins(std::size_t n, const Real* __restrict filter, Real weight, const Real* __restrict spectrum,
                 Real* __restrict out) {
#pragma omp simd
  for (std::size_t k = 0; k < n; ++k) {
    out[2 * k] = spectrum[2 * k] * filter[k] * weight;
    out[2 * k + 1] = spectrum[2 * k + 1] * filter[k] * weight;
  }
}

constexpr std::size_t batch = 32;  // outputs whose weights are formed together

template <int D, class Real>
void resample_degree(const Resampling& job, const Real* a, const Real* b, Real* __restrict out_a,
                     Real* __restrict out_b) {
  constexpr int taps = D + 1;
  Real weights[batch][8];
  int first[batch];
  const double lowest = -job.margin, highest = double(int(job.N) - 1 + job.margin);
  for (std::size_t begin = 0; begin < job.outputs; begin += batch) {
    const std::size_t count = job.outputs - begin < batch ? job.outputs - begin : batch;
    for (std::size_t j = 0; j < count; ++j) {
      const double t = detector_time(int(begin + j) * job.step - job.origin, job.N, job.delay, job.refine);
      const bool inside = t >= lowest && t <= highest;
      const double u = inside ? t * job.node_scale : 0;
      const int floor_u = int(u + 65536) - 65536;  // u is above -65536
      Real w[8];
      bspline_weights<D>(Real(u - double(floor_u)), w);
      for (int k = 0; k < taps; ++k)
        weights[j][k] = inside ? w[k] : Real(0);
      first[j] = floor_u - D / 2;
    }
    for (std::size_t j = 0; j < count; ++j) {
      const Real *pa = a + 2 * first[j], *pb = b + 2 * first[j];
      Real ar = 0, ai = 0, br = 0, bi = 0;
      for (int k = 0; k < taps; ++k) {
        ar += weights[j][k] * pa[2 * k];
        ai += weights[j][k] * pa[2 * k + 1];
        br += weights[j][k] * pb[2 * k];
        bi += weights[j][k] * pb[2 * k + 1];
      }
      out_a[2 * (begin + j)] += ar;
      out_a[2 * (begin + j) + 1] += ai;
      out_b[2 * (begin + j)] += br;
      out_b[2 * (begin + j) + 1] += bi;
    }
  }
}

template <class Real>
void resample(const Resampling& job, const Real* a, const Real* b, Real* out_a, Real* out_b) {
  if (job.degree == 3) resample_degree<3>(job, a, b, out_a, out_b);
  if (job.degree == 5) resample_degree<5>(job, a, b, out_a, out_b);
  if (job.degree == 7) resample_degree<7>(job, a, b, out_a, out_b);
}

template <class Real>
void chirp_table(std::size_t n, const Chirp& job, Real* __restrict table) {
  const Chirp chirp = job;
#pragma omp simd
  for (std::size_t j = 0; j < n; ++j) {
    const auto turn = turn_back<Real>(chirp_turns(chirp, j));
    table[2 * j] = turn.re;
    table[2 * j + 1] = turn.im;
  }
}

template <class Real>
void anchor(std::size_t n, const Chirp& job, const Real* __restrict ya, const Real* __restrict yb, Real* __restrict xa,
            Real* __restrict xb) {
  const Chirp chirp = job;
#pragma omp simd
  for (std::size_t j = 0; j < n; ++j) {
    const auto turn = turn_back<Real>(chirp_turns(chirp, j));
    const auto a = multiply<Real>({ya[2 * j], ya[2 * j + 1]}, turn),
               b = multiply<Real>({yb[2 * j], yb[2 * j + 1]}, turn);
    xa[2 * j] = a.re;
    xa[2 * j + 1] = a.im;
    xb[2 * j] = b.re;
    xb[2 * j + 1] = b.im;
  }
}

template <class Real>
void advance(std::size_t n, const Real* __restrict table, Real* __restrict x) {
#pragma omp simd
  for (std::size_t j = 0; j < n; ++j) {
    const auto product = multiply<Real>({x[2 * j], x[2 * j + 1]}, {table[2 * j], table[2 * j + 1]});
    x[2 * j] = product.re;
    x[2 * j + 1] = product.im;
  }
}

constexpr std::size_t part = 512;  // bins whose sum is kept in Real

template <class Real>
SumAndMax f_statistic(std::size_t n, const FBlock<Real>& job, const Real* __restrict xa, const Real* __restrict xb,
                      Real* __restrict F) {
  const FBlock<Real> w = job;
  double total = 0;
  Real largest = 0;
  for (std::size_t begin = 0; begin < n; begin += part) {
    const std::size_t end = n - begin < part ? n : begin + part;
    Real sum = 0;
#pragma omp simd reduction(+ : sum) reduction(max : largest)
    for (std::size_t k = begin; k < end; ++k) {
      const Real f = f_value(w, Complex2<Real>{xa[2 * k], xa[2 * k + 1]}, Complex2<Real>{xb[2 * k], xb[2 * k + 1]});
      F[k] = f;
      sum += f;
      largest = largest > f ? largest : f;
    }
    total += double(sum);
  }
  return {total, double(largest)};
}

template <class Real>
SumAndMax half_bins(std::size_t n, const HalfBins<Real>& job, const Real* __restrict xa, const Real* __restrict xb,
                    Real* __restrict F) {
  const HalfBins<Real> h = job;
  double total = 0;
  Real largest = 0;
  Real a_re[part + 1], a_im[part + 1], b_re[part + 1], b_im[part + 1];  // every bin is needed twice
  for (std::size_t begin = 0; begin < n; begin += part) {
    const std::size_t count = n - begin < part ? n - begin : part;
    const Real *a = xa + 2 * begin, *b = xb + 2 * begin;
#pragma omp simd
    for (std::size_t k = 0; k <= count; ++k) {
      a_re[k] = a[2 * k];
      a_im[k] = a[2 * k + 1];
      b_re[k] = b[2 * k];
      b_im[k] = b[2 * k + 1];
    }
    Real sum = 0;
#pragma omp simd reduction(+ : sum) reduction(max : largest)
    for (std::size_t k = 0; k < count; ++k) {
      const Real f = half_bin_value<Real>(h, {a_re[k], a_im[k]}, {a_re[k + 1], a_im[k + 1]}, {b_re[k], b_im[k]},
                                          {b_re[k + 1], b_im[k + 1]});
      F[begin + k] = f;
      sum += f;
      largest = largest > f ? largest : f;
    }
    total += double(sum);
  }
  return {total, double(largest)};
}

template <class Real>
constexpr Kernels<Real> table = {demodulate<Real>, filter_bins<Real>, resample<Real>,    chirp_table<Real>,
                                 anchor<Real>,     advance<Real>,     f_statistic<Real>, half_bins<Real>};

}  // namespace

const Kernels<float>& kernels(float) {
  return table<float>;
}
const Kernels<double>& kernels(double) {
  return table<double>;
}

}  // namespace fachwerk::polgraw::FACHWERK_ISA
