// Compiled once per vector unit: everything lives in namespace FACHWERK_ISA and nothing of the standard library is
// used, because the linker would merge its inline functions across the variants.
#include "chord_kernel.hpp"

#include "compute/host_device.hpp"

#ifdef __AVX512F__
#define FACHWERK_BYTES 64
#elif defined(__AVX2__)
#define FACHWERK_BYTES 32
#else
#define FACHWERK_BYTES 16
#endif

namespace fachwerk::dpf::FACHWERK_ISA {
namespace {

constexpr int lanes = FACHWERK_BYTES / 4;
constexpr int half = lanes / 2;
constexpr int most_columns = 8;

typedef float Floats __attribute__((vector_size(FACHWERK_BYTES)));
typedef float HalfFloats __attribute__((vector_size(FACHWERK_BYTES / 2)));
typedef double Doubles __attribute__((vector_size(FACHWERK_BYTES)));
typedef long long Integers __attribute__((vector_size(FACHWERK_BYTES)));

// All lanes in double precision: two registers.
struct Lanes {
  Doubles low, high;
};
inline Lanes load(const double* from) {
  const auto* v = reinterpret_cast<const Doubles*>(from);
  return {v[0], v[1]};
}
inline void store(double* to, Lanes x) {
  auto* v = reinterpret_cast<Doubles*>(to);
  v[0] = x.low;
  v[1] = x.high;
}
inline Lanes operator+(Lanes a, Lanes b) {
  return {a.low + b.low, a.high + b.high};
}
inline Lanes operator-(Lanes a, Lanes b) {
  return {a.low - b.low, a.high - b.high};
}
inline Lanes operator*(Lanes a, Lanes b) {
  return {a.low * b.low, a.high * b.high};
}
inline Lanes operator*(double a, Lanes b) {
  return {a * b.low, a * b.high};
}
inline Lanes absolute(Lanes a) {
  return {a.low < 0 ? -a.low : a.low, a.high < 0 ? -a.high : a.high};
}
// The larger, NaN if either is NaN: a lane that failed must not look converged.
inline Doubles larger(Doubles a, Doubles b) {
  return (a > b) | (a != a) ? a : b;
}
inline Lanes larger(Lanes a, Lanes b) {
  return {larger(a.low, b.low), larger(a.high, b.high)};
}
inline Floats narrow(Lanes x) {
  union {
    HalfFloats part[2];
    Floats whole;
  } u;
  u.part[0] = __builtin_convertvector(x.low, HalfFloats);
  u.part[1] = __builtin_convertvector(x.high, HalfFloats);
  return u.whole;
}
inline Lanes widen(Floats x) {
  union {
    Floats whole;
    HalfFloats part[2];
  } u;
  u.whole = x;
  return {__builtin_convertvector(u.part[0], Doubles), __builtin_convertvector(u.part[1], Doubles)};
}
inline Floats* vectors(float* p) {
  return reinterpret_cast<Floats*>(p);
}
inline const Floats* vectors(const float* p) {
  return reinterpret_cast<const Floats*>(p);
}

// sin and cos for |x| < 1e5: reduction by pi/2 in three parts (Cody and Waite), then the minimax polynomials of the
// Cephes library on |x| <= pi/4; below 1 ulp each there.
inline void sine_cosine(Doubles x, Doubles& sine, Doubles& cosine) {
  const double shift = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  const Doubles rounded = x * 0.63661977236758134308 + shift;
  const Integers quadrant = reinterpret_cast<Integers>(rounded);
  const Doubles k = rounded - shift;
  Doubles r = x - k * 1.57079632673412561417;
  r = r - k * 6.07710050630396597660e-11;
  r = r - k * 2.02226624879595063154e-21;
  const Doubles z = r * r;
  Doubles s = z * 1.58962301576546568060e-10 - 2.50507477628578072866e-8;
  s = s * z + 2.75573136213857245213e-6;
  s = s * z - 1.98412698295895385996e-4;
  s = s * z + 8.33333333332211858878e-3;
  s = s * z - 1.66666666666666307295e-1;
  s = r + r * z * s;
  Doubles c = z * -1.13585365213876817300e-11 + 2.08757008419747316778e-9;
  c = c * z - 2.75573141792967388112e-7;
  c = c * z + 2.48015872888517045348e-5;
  c = c * z - 1.38888888888730564116e-3;
  c = c * z + 4.16666666666665929218e-2;
  c = 1.0 - 0.5 * z + z * z * c;
  const Integers swap = (quadrant & 1) != 0;
  const Doubles a = swap ? c : s, b = swap ? s : c;
  sine = (quadrant & 2) != 0 ? -a : a;
  cosine = ((quadrant + 1) & 2) != 0 ? -b : b;
}

inline Floats limited(Floats x, float most) {
  const Floats upper = x > most ? x * 0 + most : x;
  return upper < -most ? upper * 0 - most : upper;
}

// x_i -= sum over L or U of block * x_j; the accumulators stay in registers.
inline void eliminate(const ChordPlan& plan, const Floats* x, int begin, int end, Floats& x0, Floats& x1) {
  for (int s = begin; s < end; ++s) {
    const float* a = plan.factor + 4 * static_cast<long>(s);
    const Floats* y = x + 2 * static_cast<long>(plan.f_column[s]);
    x0 -= a[0] * y[0];
    x1 -= a[2] * y[0];
    x0 -= a[1] * y[1];
    x1 -= a[3] * y[1];
  }
}

void back_substitute(const ChordPlan& plan, Floats* x) {
  for (int i = plan.nodes - 1; i >= 0; --i) {
    Floats x0 = x[2 * i], x1 = x[2 * i + 1];
    eliminate(plan, x, plan.f_diagonal[i] + 1, plan.f_start[i + 1], x0, x1);
    const float* d = plan.inverse + 4 * static_cast<long>(i);
    x[2 * i] = d[0] * x0 + d[1] * x1;
    x[2 * i + 1] = d[2] * x0 + d[3] * x1;
  }
}

void solve(const ChordPlan& plan, float* values) {
  Floats* x = vectors(values);
  for (int i = 0; i < plan.nodes; ++i) {
    Floats x0 = x[2 * i], x1 = x[2 * i + 1];
    eliminate(plan, x, plan.f_start[i], plan.f_diagonal[i], x0, x1);
    x[2 * i] = x0;
    x[2 * i + 1] = x1;
  }
  back_substitute(plan, x);
}

void rectangular(const ChordPlan& plan, const ChordTile& t) {
  for (long i = 0; i < plan.nodes; ++i) {
    const Lanes vm = load(t.vm + i * lanes), va = load(t.va + i * lanes);
    Lanes s, c;
    sine_cosine(va.low, s.low, c.low);
    sine_cosine(va.high, s.high, c.high);
    store(t.e + i * lanes, vm * c);
    store(t.f + i * lanes, vm * s);
  }
}

// Takes the branches that are out in some lane off the currents of node i.
void take_outages(const ChordTile& t, int i, Lanes& real, Lanes& imaginary) {
  alignas(64) double re[lanes], im[lanes];
  bool any = false;
  for (int k = 0; k < t.outages; ++k) {
    const LaneOutage& o = t.outage[k];
    if (o.from != i && o.to != i) continue;
    if (!any) {
      store(re, real);
      store(im, imaginary);
      any = true;
    }
    const double* own = o.from == i ? o.ff : o.tt;
    const double* other = o.from == i ? o.ft : o.tf;
    const long a = static_cast<long>(i) * lanes + o.lane;
    const long b = static_cast<long>(o.from == i ? o.to : o.from) * lanes + o.lane;
    re[o.lane] -= own[0] * t.e[a] - own[1] * t.f[a] + other[0] * t.e[b] - other[1] * t.f[b];
    im[o.lane] -= own[0] * t.f[a] + own[1] * t.e[a] + other[0] * t.f[b] + other[1] * t.e[b];
  }
  if (any) {
    real = load(re);
    imaginary = load(im);
  }
}

// Complex current of node i: row of Ybus times V.
inline void current(const ChordPlan& plan, const ChordTile& t, int i, Lanes& real, Lanes& imaginary) {
  for (int s = plan.y_start[i]; s < plan.y_start[i + 1]; ++s) {
    const long j = static_cast<long>(plan.y_column[s]) * lanes;
    const Lanes e = load(t.e + j), f = load(t.f + j);
    const double conductance = plan.conductance[s], susceptance = plan.susceptance[s];
    real = real + conductance * e - susceptance * f;
    imaginary = imaginary + conductance * f + susceptance * e;
  }
}

// Mismatch of every node, and forward elimination of its row at once: -L^-1 F into g. `worst` is max |F|, `excess` max
// (|F| - floor), by lane.
void mismatch_and_forward(const ChordPlan& plan, const ChordTile& t, const std::uint8_t* has_outage, double* worst,
                          double* excess) {
  Floats* g = vectors(t.g);
  Lanes most = {}, most_excess = {};
  for (int i = 0; i < plan.nodes; ++i) {
    Lanes real = {}, imaginary = {};
    current(plan, t, i, real, imaginary);
    if (has_outage != nullptr && has_outage[i]) take_outages(t, i, real, imaginary);
    const long at = static_cast<long>(i) * lanes;
    const Lanes e = load(t.e + at), f = load(t.f + at);
    Lanes p = e * real + f * imaginary - load(t.p + at), q = f * real - e * imaginary - load(t.q + at);
    if (plan.zip != nullptr) {
      const double* zip = plan.zip + 4 * static_cast<long>(i);
      const Lanes vm = load(t.vm + at);
      p = p + (zip[0] * vm) + (zip[1] * vm) * vm;
      q = q + (zip[2] * vm) + (zip[3] * vm) * vm;
    }
    if (plan.slack_weight != nullptr)
      p = p - plan.slack_weight[i] * load(t.lambda + static_cast<long>(plan.island[i]) * lanes);
    p = static_cast<double>(plan.has_p[i]) * p;
    if (t.borders != nullptr && t.borders->mask_of[i] >= 0)
      q = load(t.borders->mask + static_cast<long>(t.borders->mask_of[i]) * lanes) * q;
    else
      q = static_cast<double>(plan.has_q[i]) * q;
    const Lanes size = larger(absolute(p), absolute(q));
    most = larger(size, most);
    const double floor = plan.floor[i];
    most_excess = larger({size.low - floor, size.high - floor}, most_excess);
    Floats x0 = -narrow(p), x1 = -narrow(q);
    eliminate(plan, g, plan.f_start[i], plan.f_diagonal[i], x0, x1);
    g[2 * i] = x0;
    g[2 * i + 1] = x1;
  }
  store(worst, most);
  store(excess, most_excess);
}

// g -= Z c, c = (I + D E^T Z)^-1 D E^T g by lane: from the base factor to that of the outage (Woodbury).
void correct_outages(const ChordPlan& plan, const ChordTile& t) {
  alignas(64) float c[4][lanes] = {};
  for (int k = 0; k < t.outages; ++k) {
    const LaneOutage& o = t.outage[k];
    const long f = static_cast<long>(o.from) * 2 * lanes + o.lane, to = static_cast<long>(o.to) * 2 * lanes + o.lane;
    const float y[4] = {t.g[f], t.g[f + lanes], t.g[to], t.g[to + lanes]};
    for (int r = 0; r < 4; ++r)
      for (int s = 0; s < 4; ++s)
        c[r][o.lane] += o.correction[4 * r + s] * y[s];
  }
  const Floats *c0 = vectors(c[0]), *c1 = vectors(c[1]), *c2 = vectors(c[2]), *c3 = vectors(c[3]);
  Floats* g = vectors(t.g);
  const Floats* z = vectors(t.z);
  for (long i = 0; i < 2L * plan.nodes; ++i)
    g[i] -= z[4 * i] * *c0 + z[4 * i + 1] * *c1 + z[4 * i + 2] * *c2 + z[4 * i + 3] * *c3;
}

// P and Q that flow into the grid at every node.
void injections(const ChordPlan& plan, const ChordTile& t) {
  for (int i = 0; i < plan.nodes; ++i) {
    Lanes real = {}, imaginary = {};
    current(plan, t, i, real, imaginary);
    const long at = static_cast<long>(i) * lanes;
    const Lanes e = load(t.e + at), f = load(t.f + at);
    store(t.injected_p + at, e * real + f * imaginary);
    store(t.injected_q + at, f * real - e * imaginary);
  }
}

// From y = M^-1 b to the solution with the lanes' own unknowns: t = -S^-1 rows y, then y - sum u t. A lane without a
// border subtracts nothing at all, so that no lane's bits depend on its neighbours.
void correct_borders(const ChordPlan& plan, const ChordBorders& b, float* values) {
  constexpr int together = 16;  // borders whose vectors are applied in one pass over x
  const long size = 2L * plan.nodes;
  float* weight =
      static_cast<float*>(__builtin_calloc(static_cast<unsigned long>(b.count) * lanes + 16, sizeof(float)));
  float* rhs = static_cast<float*>(__builtin_malloc((static_cast<unsigned long>(b.count) + 1) * sizeof(float)));
  for (int lane = 0; lane < lanes; ++lane) {
    const int first = b.lane_start[lane], count = b.lane_start[lane + 1] - first;
    for (int k = 0; k < count; ++k) {
      const int border = b.lane_border[first + k];
      float sum = 0;
      for (int s = b.row_start[border]; s < b.row_start[border + 1]; ++s)
        sum -= b.row_value[s] * values[static_cast<long>(b.row_slot[s]) * lanes + lane];
      rhs[k] = sum;
    }
    for (int k = 0; k < count; ++k) {
      float sum = 0;
      for (int j = 0; j < count; ++j)
        sum += b.inverse[lane][k * count + j] * rhs[j];
      weight[static_cast<long>(b.lane_border[first + k]) * lanes + lane] = sum;
    }
  }
  for (int begin = 0; begin < b.count; begin += together) {
    const int end = begin + together < b.count ? begin + together : b.count;
    for (long i = 0; i < size; ++i) {
      Floats x;
      __builtin_memcpy(&x, values + i * lanes, sizeof x);
      for (int k = begin; k < end; ++k) {
        Floats w;
        __builtin_memcpy(&w, weight + static_cast<long>(k) * lanes, sizeof w);
        x -= b.u[k][i] * w;
      }
      __builtin_memcpy(values + i * lanes, &x, sizeof x);
    }
  }
  for (int lane = 0; lane < lanes; ++lane)
    for (int k = b.lane_start[lane]; k < b.lane_start[lane + 1]; ++k) {
      const int border = b.lane_border[k];
      values[static_cast<long>(b.slot[border]) * lanes + lane] =
          b.added[border] ? weight[static_cast<long>(border) * lanes + lane] : 0;
    }
  __builtin_free(weight);
  __builtin_free(rhs);
}

// Dot products by lane of `a` with up to most_columns vectors, in double over blocks of 32 single-precision products.
void dots(const ChordPlan& plan, const Floats* a, const Floats* const* with, int count, double (*out)[lanes]) {
  const long size = 2L * plan.nodes;
  Lanes sum[most_columns] = {};
  for (long begin = 0; begin < size; begin += 32) {
    const long end = begin + 32 < size ? begin + 32 : size;
    for (int c = 0; c < count; ++c) {
      Floats part = {};
      const Floats* b = with[c];
      for (long i = begin; i < end; ++i)
        part += a[i] * b[i];
      sum[c] = sum[c] + widen(part);
    }
  }
  for (int c = 0; c < count; ++c)
    store(out[c], sum[c]);
}

#include "anderson.inl"

// x += step in the lanes that go on; the magnitude unknown is relative.
void advance(const ChordPlan& plan, const ChordTile& t, const float* going) {
  const Floats mask = *vectors(going);
  Floats* step = vectors(t.step);
  for (long i = 0; i < plan.nodes; ++i) {
    if (plan.holds_slack != nullptr && plan.holds_slack[i]) {
      // The place of the fixed angle is that of the island's slack power.
      step[2 * i] = mask != 0 ? step[2 * i] : mask;
      double* lambda = t.lambda + static_cast<long>(plan.island[i]) * lanes;
      store(lambda, load(lambda) + widen(step[2 * i]));
      step[2 * i + 1] = mask * 0;
      continue;
    }
    // A lane that stopped may hold NaN: select, do not multiply.
    const Floats angle = mask != 0 ? limited(step[2 * i], 1.0f) : mask;
    const Floats magnitude = mask != 0 ? limited(step[2 * i + 1], 0.3f) : mask;
    step[2 * i] = angle;
    step[2 * i + 1] = magnitude;
    store(t.va + i * lanes, load(t.va + i * lanes) + widen(angle));
    const Lanes vm = load(t.vm + i * lanes);
    store(t.vm + i * lanes, vm + vm * widen(magnitude));
  }
}

// What the iteration remembers of every lane.
struct Memory {
  double gram[lanes][most_columns][most_columns] = {};
  bool usable[lanes][most_columns] = {};
  bool accelerated[lanes] = {};
};

// Anderson's combination of the last corrections (type II): step = g - sum gamma_j (dx_j + dg_j) with gamma minimising
// |g - sum gamma_j dg_j|. Lanes without columns keep step = g.
void accelerate(const ChordPlan& plan, const ChordTile& t, Memory& memory, int slot, int columns) {
  const long size = 2L * plan.nodes;
  const auto change = [&](int c) { return vectors(t.history) + 2L * c * size; };
  Floats *g = vectors(t.g), *last = vectors(t.last_g), *step = vectors(t.step);
  Floats *dg = change(slot), *dh = dg + size;
  for (long i = 0; i < size; ++i) {
    const Floats difference = g[i] - last[i];
    dg[i] = difference;
    dh[i] = difference + step[i];
  }
  const Floats* with[most_columns];
  for (int c = 0; c < columns; ++c)
    with[c] = change(c);
  alignas(64) double products[most_columns][lanes], rhs[most_columns][lanes];
  dots(plan, dg, with, columns, products);
  dots(plan, g, with, columns, rhs);
  alignas(64) float gamma[most_columns][lanes] = {};
  for (int lane = 0; lane < lanes; ++lane) {
    for (int c = 0; c < columns; ++c)
      memory.gram[lane][c][slot] = memory.gram[lane][slot][c] = products[c][lane];
    memory.usable[lane][slot] = memory.accelerated[lane];
    double b[most_columns], x[most_columns];
    for (int c = 0; c < columns; ++c)
      b[c] = rhs[c][lane];
    least_squares(memory.gram[lane], b, memory.usable[lane], columns, x);
    for (int c = 0; c < columns; ++c)
      gamma[c][lane] = static_cast<float>(x[c]);
  }
  for (long i = 0; i < size; ++i)
    step[i] = g[i];
  for (int c = 0; c < columns; ++c) {
    const Floats weight = *vectors(gamma[c]);
    const Floats* h = change(c) + size;
    for (long i = 0; i < size; ++i)
      step[i] -= weight * h[i];
  }
}

void iterate(const ChordPlan& plan, const ChordTile& t) {
  const long size = 2L * plan.nodes;
  alignas(64) double worst[lanes], excess[lanes];
  alignas(64) float going[lanes];
  double best[lanes], before[lanes];
  int slow[lanes] = {};
  Memory memory;
  int stored = 0;  // Anderson columns written so far
  const int memory_columns = plan.memory < most_columns ? plan.memory : most_columns;
  for (int lane = 0; lane < lanes; ++lane) {
    going[lane] = t.wanted[lane] ? 1.0f : 0.0f;
    t.iterations[lane] = 0;
    t.state[lane] = 1;
  }
  // Nodes at which some lane has a branch out.
  std::uint8_t* has_outage = nullptr;
  if (t.outages > 0) {
    has_outage = static_cast<std::uint8_t*>(__builtin_calloc(static_cast<unsigned long>(plan.nodes), 1));
    for (int k = 0; k < t.outages; ++k)
      has_outage[t.outage[k].from] = has_outage[t.outage[k].to] = 1;
  }
  for (int iteration = 0;; ++iteration) {
    rectangular(plan, t);
    mismatch_and_forward(plan, t, has_outage, worst, excess);
    bool any = false, wants_memory = false;
    for (int lane = 0; lane < lanes; ++lane) {
      if (going[lane] == 0.0f) continue;
      t.max_mismatch[lane] = worst[lane];
      if (iteration == 0) t.first_mismatch[lane] = before[lane] = best[lane] = worst[lane];
      if (excess[lane] <= plan.tolerance) {
        t.state[lane] = 0;
        going[lane] = 0;
        continue;
      }
      if (!(worst[lane] <= 1e3 * t.first_mismatch[lane] + 1e-3)) {
        t.state[lane] = 2;
        going[lane] = 0;
        continue;
      }
      if (iteration > 0) {
        slow[lane] = worst[lane] > plan.rate_limit * before[lane] ? slow[lane] + 1 : 0;
        // Anderson pays where the plain iteration would need more than about three steps from here.
        if (worst[lane] > 0.1 * before[lane] || worst[lane] > 1e4 * plan.tolerance) memory.accelerated[lane] = true;
        if (worst[lane] > 1.5 * best[lane])  // a combination that made it worse: forget the columns
          for (bool& usable : memory.usable[lane])
            usable = false;
      }
      before[lane] = worst[lane];
      if (worst[lane] < best[lane]) best[lane] = worst[lane];
      if (iteration >= plan.max_iterations || slow[lane] >= 4) {
        going[lane] = 0;
        continue;
      }
      t.iterations[lane] = iteration + 1;
      any = true;
      wants_memory = wants_memory || memory.accelerated[lane];
    }
    if (!any) break;
    back_substitute(plan, vectors(t.g));
    if (t.outages > 0) correct_outages(plan, t);
    if (t.borders != nullptr) correct_borders(plan, *t.borders, t.g);
    Floats *g = vectors(t.g), *last = vectors(t.last_g), *step = vectors(t.step);
    if (iteration > 0 && memory_columns > 0 && wants_memory) {
      const int slot = stored % memory_columns;
      ++stored;
      accelerate(plan, t, memory, slot, stored < memory_columns ? stored : memory_columns);
    } else {
      for (long i = 0; i < size; ++i)
        step[i] = g[i];
    }
    for (long i = 0; i < size; ++i)
      last[i] = g[i];
    advance(plan, t, going);
  }
  if (t.injected_p != nullptr) injections(plan, t);
  __builtin_free(has_outage);
}

}  // namespace

ChordKernel chord_kernel() {
  return {lanes, solve, iterate};
}

}  // namespace fachwerk::dpf::FACHWERK_ISA
