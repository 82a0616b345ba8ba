#include "device_engine.hpp"

#include <algorithm>
#include <stdexcept>

#include "compute/parallel.hpp"
#include "compute/reduce.hpp"
#include "engine_bodies.hpp"

namespace fachwerk::polgraw {

namespace {

using namespace FACHWERK_ISA;

template <class Real>
struct Demodulate {
  Demodulation<Real> job;
  std::size_t nfft, delays;
  Complex2<Real>*ya, *yb;
  double* delay;

  FACHWERK_HD void operator()(std::size_t i) const {
    if (i < job.N) {
      const auto y = demodulate_sample(job, i);
      ya[i] = y.a;
      yb[i] = y.b;
      delay[i] = y.delay;
      return;
    }
    if (i < nfft) ya[i] = yb[i] = Complex2<Real>{0, 0};
    if (i < delays) {  // goes on linearly
      const double last = demodulate_sample(job, job.N - 1).delay, before = demodulate_sample(job, job.N - 2).delay;
      delay[i] = last + double(int(i - job.N + 1)) * (last - before);
    }
  }
};

struct Sums {
  double A, B, C;
};
struct AddSums {
  FACHWERK_HD Sums operator()(Sums x, Sums y) const { return {x.A + y.A, x.B + y.B, x.C + y.C}; }
};
template <class Real>
struct AmplitudeSquares {
  Demodulation<Real> job;
  FACHWERK_HD Sums operator()(std::size_t i) const {
    const auto y = demodulate_sample(job, i);
    return {double(y.amplitude_a * y.amplitude_a), double(y.amplitude_b * y.amplitude_b),
            double(y.amplitude_a * y.amplitude_b)};
  }
};

/// The band of `2 half` bins round its centre into a spectrum twice as long, below zero frequency at the top.
template <class Real>
struct SpreadBand {
  std::size_t nfft, nodes, half;
  const Complex2<Real>* y;  ///< two spectra of nfft
  const Real* filter;
  Real weight;
  Complex2<Real>* out;  ///< two of `nodes`

  FACHWERK_HD void operator()(std::size_t i) const {
    const std::size_t series = i / nodes, k = i % nodes;
    const Complex2<Real>* from = y + series * nfft;
    Complex2<Real> z{0, 0};
    Real f = 0;
    if (k < half) {
      z = from[k];
      f = filter[half + k];
    } else if (k >= nodes - half) {
      z = from[nfft - (nodes - k)];
      f = filter[k - (nodes - half)];
    }
    out[i] = {z.re * (f * weight), z.im * (f * weight)};
  }
};

template <int D, class Real>
struct Resample {
  Resampling job;
  std::size_t nodes;
  const Complex2<Real>* y;  ///< two series of `nodes`, periodic
  Complex2<Real>*out_a, *out_b;

  FACHWERK_HD void operator()(std::size_t j) const {
    const double t = detector_time(int(j) * job.step - job.origin, job.N, job.delay, job.refine);
    if (!(t >= double(-job.margin) && t <= double(int(job.N) - 1 + job.margin))) return;
    const double u = t * job.node_scale;
    const int floor_u = int(u + 65536) - 65536;  // u is above -65536
    Real w[8];
    bspline_weights<D>(Real(u - double(floor_u)), w);
    Complex2<Real> a{0, 0}, b{0, 0};
    for (int k = 0; k <= D; ++k) {
      const std::size_t at = std::size_t(floor_u - D / 2 + k) & (nodes - 1);
      a.re += w[k] * y[at].re;
      a.im += w[k] * y[at].im;
      b.re += w[k] * y[nodes + at].re;
      b.im += w[k] * y[nodes + at].im;
    }
    out_a[j].re += a.re;
    out_a[j].im += a.im;
    out_b[j].re += b.re;
    out_b[j].im += b.im;
  }
};

/// Both series of every spindown of the batch.
template <class Real>
struct FormSeries {
  std::size_t outputs, length;
  const Chirp* chirps;
  const Complex2<Real>*ya, *yb;
  Complex2<Real>* x;  ///< a and b of one spindown after another, `length` each

  FACHWERK_HD void operator()(std::size_t i) const {
    const std::size_t s = i / outputs, j = i % outputs;
    const auto turn = turn_back<Real>(chirp_turns(chirps[s], j));
    x[2 * s * length + j] = multiply(ya[j], turn);
    x[(2 * s + 1) * length + j] = multiply(yb[j], turn);
  }
};

template <class Real>
struct FormF {
  std::size_t bins, lo, length;
  FBlock<Real> weights;
  const long long* offsets;  ///< of the bins of each spindown
  const Complex2<Real>* spectra;
  Real* F;

  FACHWERK_HD void operator()(std::size_t i) const {
    const std::size_t s = i / bins, k = i % bins;
    const std::size_t at = std::size_t((long long)(lo + k) + offsets[s]) & (length - 1);
    const Complex2<Real>* x = spectra + 2 * s * length;
    F[i] = f_value(weights, x[at], x[length + at]);
  }
};

/// The same half a bin above each bin.
template <class Real>
struct FormHalfBins {
  std::size_t bins, lo, length;
  HalfBins<Real> half;
  const long long* offsets;
  const Complex2<Real>* spectra;
  Real* F;

  FACHWERK_HD void operator()(std::size_t i) const {
    const std::size_t s = i / bins, k = i % bins;
    const std::size_t at = std::size_t((long long)(lo + k) + offsets[s]) & (length - 1), next = (at + 1) & (length - 1);
    const Complex2<Real>* x = spectra + 2 * s * length;
    F[i] = half_bin_value(half, x[at], x[next], x[length + at], x[length + next]);
  }
};

constexpr std::size_t lanes = 64;

/// Sums of a block's bins l, l + 64, ...: neighbouring threads read neighbouring bins.
template <class Real>
struct LaneSums {
  std::size_t bins, blocks;
  const std::size_t* begin;  ///< of the blocks, and the end of the last
  const Real* F;
  double* sums;

  FACHWERK_HD void operator()(std::size_t i) const {
    const std::size_t lane = i % lanes, block = i / lanes % blocks, s = i / lanes / blocks;
    double sum = 0;
    for (std::size_t k = begin[block] + lane; k < begin[block + 1]; k += lanes)
      sum += double(F[s * bins + k]);
    sums[i] = sum;
  }
};
/// What F of each block is divided by.
struct BlockScales {
  std::size_t blocks;
  const std::size_t* begin;
  const double* sums;
  bool normalise;
  double* scales;

  FACHWERK_HD void operator()(std::size_t i) const {
    double sum = 0;
    for (std::size_t l = 0; l < lanes; ++l)
      sum += sums[i * lanes + l];
    const std::size_t block = i % blocks;
    scales[i] = normalise ? sum / (2 * double(int(begin[block + 1] - begin[block]))) : 1;
  }
};

struct Hit {
  unsigned row, bin;
  double F;
};

FACHWERK_HD inline unsigned next_slot(unsigned* counter) {
#ifdef __CUDA_ARCH__
  return atomicAdd(counter, 1U);
#else
  unsigned slot;
#pragma omp atomic capture
  slot = (*counter)++;
  return slot;
#endif
}

template <class Real>
struct Collect {
  std::size_t bins, blocks;
  const unsigned* block_of;
  const double* scales;
  const Real* F;
  double threshold;
  unsigned capacity;
  unsigned* count;
  Hit* hits;

  FACHWERK_HD void operator()(std::size_t i) const {
    const std::size_t s = i / bins, k = i % bins;
    const double scale = scales[s * blocks + block_of[k]];
    if (!(double(F[i]) > threshold * scale)) return;
    const unsigned slot = next_slot(count);
    if (slot < capacity) hits[slot] = {unsigned(s), unsigned(k), double(F[i]) / scale};
  }
};

template <class T>
compute::Buffer<T> upload(compute::Device device, const std::vector<T>& values) {
  return compute::Buffer<T>(device, compute::View<const T>(values));
}

}  // namespace

template <class Real>
struct DeviceEngine<Real>::State {
  using Complex = Complex2<Real>;
  template <class T>
  using Buffer = compute::Buffer<T>;
  using Standard = std::complex<Real>;

  struct Detector {
    Buffer<double> x, y, z, delay, sky_delay;
    Buffer<Real> cos_sidereal, sin_sidereal, data;
  };

  State(std::shared_ptr<const EnginePlan<Real>> p, compute::Device d, int spindowns)
      : plan(std::move(p)),
        device(d),
        batch(spindowns),
        nfft(plan->observation_->band.nfft),
        length(plan->length_ * static_cast<std::size_t>(plan->observation_->grid.fftpad)),
        bins(plan->bins_.hi - plan->bins_.lo),
        rows(static_cast<std::size_t>(batch) * (plan->settings_.interbin ? 2 : 1)),
        delays(plan->observation_->band.N + plan->tail_ + static_cast<std::size_t>(plan->margin_) + 2),
        y(device, 2 * nfft),
        nodes(device, 2 * plan->nodes_),
        Y(device, 2 * plan->outputs_),
        X(Buffer<Standard>::zeros(device, 2 * length * static_cast<std::size_t>(batch))),
        spectra(device, X.size()),
        filter(upload(device, plan->filter_)),
        F(device, bins * rows),
        delay(device, delays),
        forward({nfft, 2}, {.directions = compute::fft::Directions::forward, .in_place = true, .device = device}),
        backward({plan->nodes_, 2},
                 {.directions = compute::fft::Directions::inverse, .in_place = true, .device = device}),
        transform({length, 2 * static_cast<std::size_t>(batch)},
                  {.directions = compute::fft::Directions::forward, .device = device}) {
    if (plan->settings_.norm == Norm::median) throw std::invalid_argument("DeviceEngine: no medians");
    for (const auto& from : plan->detectors_)
      detectors.push_back({upload(device, from.x), upload(device, from.y), upload(device, from.z),
                           upload(device, from.delay), Buffer<double>{}, upload(device, from.cos_sidereal),
                           upload(device, from.sin_sidereal), upload(device, from.data)});
    std::vector<std::size_t> begin{0};
    std::vector<unsigned> of;
    for (const std::size_t count : plan->blocks_) {
      of.insert(of.end(), count, static_cast<unsigned>(begin.size() - 1));
      begin.push_back(begin.back() + count);
    }
    blocks = plan->blocks_.size();
    block_begin = upload(device, begin);
    block_of = upload(device, of);
    const std::size_t sums = blocks * rows;
    lane_sums = Buffer<double>(device, sums * lanes);
    scales = Buffer<double>(device, sums);
    hits = Buffer<Hit>(device, 4096);
  }

  static Complex* complex(Buffer<Standard>& buffer) { return reinterpret_cast<Complex*>(buffer.data()); }

  Demodulation<Real> job(std::size_t d) const {
    const auto& p = *plan;
    const auto& band = p.observation_->band;
    const auto& here = detectors[d];
    const auto modulation = p.detectors_[d].modulation.at(point.sky.sin_d, point.sky.cos_d);
    Demodulation<Real> job{band.N,
                           here.x.data(),
                           here.y.data(),
                           here.z.data(),
                           p.sun_ ? here.sky_delay.data() : here.delay.data(),
                           here.cos_sidereal.data(),
                           here.sin_sidereal.data(),
                           here.data.data(),
                           point.sky.direction(),
                           shift_origin,
                           band.oms() / (2 * pi),
                           point.het0 / (2 * pi),
                           static_cast<double>(p.centre_bin_) / static_cast<double>(band.nfft),
                           static_cast<Real>(point.sky.cos_a),
                           static_cast<Real>(point.sky.sin_a),
                           {},
                           {}};
    for (std::size_t k = 0; k < 5; ++k) {
      job.a[k] = static_cast<Real>(modulation.a[k]);
      job.b[k] = static_cast<Real>(modulation.b[k]);
    }
    return job;
  }

  void resample(const Resampling& r) {
    const auto run = [&](auto degree) {
      compute::parallel_for(device, r.outputs,
                            Resample<decltype(degree)::value, Real>{r, plan->nodes_, complex(nodes), complex(Y),
                                                                    complex(Y) + plan->outputs_});
    };
    if (r.degree == 3) run(std::integral_constant<int, 3>{});
    if (r.degree == 5) run(std::integral_constant<int, 5>{});
    if (r.degree == 7) run(std::integral_constant<int, 7>{});
  }

  std::shared_ptr<const EnginePlan<Real>> plan;
  compute::Device device;
  int batch;
  std::size_t nfft, length, bins;
  std::size_t rows;  ///< of F: the bins of each spindown, then the half-bins of each
  std::size_t delays, blocks = 0;
  std::vector<Detector> detectors;
  Buffer<Standard> y, nodes, Y, X, spectra;
  Buffer<Real> filter, F;
  Buffer<double> delay, lane_sums, scales;
  Buffer<std::size_t> block_begin;
  Buffer<unsigned> block_of;
  Buffer<Hit> hits;
  compute::fft::Complex<Real> forward, backward, transform;
  SkyPoint point;
  FWeights weights;
  HalfBins<Real> half_bins{};
  double shift_origin = 0;
};

template <class Real>
DeviceEngine<Real>::DeviceEngine(std::shared_ptr<const EnginePlan<Real>> plan, compute::Device device, int batch)
    : state_(std::make_unique<State>(std::move(plan), device, batch)) {}
template <class Real>
DeviceEngine<Real>::~DeviceEngine() = default;
template <class Real>
DeviceEngine<Real>::DeviceEngine(DeviceEngine&&) noexcept = default;
template <class Real>
DeviceEngine<Real>& DeviceEngine<Real>::operator=(DeviceEngine&&) noexcept = default;

template <class Real>
int DeviceEngine<Real>::batch() const {
  return state_->batch;
}

template <class Real>
void DeviceEngine<Real>::set_sky(const SkyPoint& point) {
  auto& s = *state_;
  const auto& p = *s.plan;
  s.point = point;
  const auto n = point.sky.direction();
  std::vector<double> delay;
  for (std::size_t d = 0; p.sun_ && d < s.detectors.size(); ++d) {
    p.sky_delay(d, n, delay);
    s.detectors[d].sky_delay = upload(s.device, delay);
  }
  s.shift_origin = p.shift_origin(n);
  s.Y = compute::Buffer<std::complex<Real>>::zeros(s.device, 2 * p.outputs_);
  AntennaSums sums;
  for (std::size_t d = 0; d < s.detectors.size(); ++d) {
    const auto job = s.job(d);
    const double weight = p.detectors_[d].weight;
    compute::parallel_for(
        s.device, std::max(s.nfft, s.delays),
        Demodulate<Real>{job, s.nfft, s.delays, s.complex(s.y), s.complex(s.y) + s.nfft, s.delay.data()});
    const auto found = compute::reduce(s.device, job.N, Sums{0, 0, 0}, AmplitudeSquares<Real>{job}, AddSums{});
    sums.A += weight * found.A;
    sums.B += weight * found.B;
    sums.C += weight * found.C;
    s.forward.forward(s.y, s.y);
    compute::parallel_for(s.device, 2 * p.nodes_,
                          SpreadBand<Real>{s.nfft, p.nodes_, p.length_ / 2, s.complex(s.y), s.filter.data(),
                                           static_cast<Real>(weight), s.complex(s.nodes)});
    s.backward.inverse(s.nodes, s.nodes);
    s.resample({p.outputs_, p.step_, p.margin_, p.observation_->band.N, s.delay.data(), p.settings_.refine_times,
                static_cast<double>(p.nodes_) / static_cast<double>(s.nfft), p.margin_, p.engine_.spline_degree});
  }
  s.weights = f_weights(sums, p.settings_.form);
  if (p.settings_.interbin) s.half_bins = p.half_bins(point);
}

template <class Real>
void DeviceEngine<Real>::move_to(const SkyPoint& point) {
  state_->point = point;
}

template <class Real>
std::vector<std::vector<Candidate>> DeviceEngine<Real>::candidates(int first, int count) {
  auto& s = *state_;
  const auto& p = *s.plan;
  const auto& grid = p.observation_->grid;
  if (count < 1 || count > s.batch) throw std::invalid_argument("DeviceEngine: more spindowns than the batch");
  const auto n = static_cast<std::size_t>(count);
  std::vector<Chirp> chirps;
  for (int ss = first; ss < first + count; ++ss) {
    chirps.push_back(
        p.chirp(spindown_offset(grid, ss, s.point), spindown_of(grid, ss, s.point), s.point.second.s2, s.shift_origin));
  }
  const std::vector<long long> offsets(n, -static_cast<long long>(p.centre_bin_) * grid.fftpad);
  const auto on_device = upload(s.device, chirps);
  const auto shifted = upload(s.device, offsets);
  compute::parallel_for(s.device, n * p.outputs_,
                        FormSeries<Real>{p.outputs_, s.length, on_device.data(), s.complex(s.Y),
                                         s.complex(s.Y) + p.outputs_, s.complex(s.X)});
  s.transform.forward(s.X, s.spectra);
  compute::parallel_for(
      s.device, n * s.bins,
      FormF<Real>{s.bins,
                  p.bins_.lo,
                  s.length,
                  {static_cast<Real>(s.weights.aa), static_cast<Real>(s.weights.bb), static_cast<Real>(s.weights.ab)},
                  shifted.data(),
                  s.complex(s.spectra),
                  s.F.data()});
  const bool interbin = p.settings_.interbin;
  const std::size_t rows = interbin ? 2 * n : n;
  if (interbin)
    compute::parallel_for(s.device, n * s.bins,
                          FormHalfBins<Real>{s.bins, p.bins_.lo, s.length, s.half_bins, shifted.data(),
                                             s.complex(s.spectra), s.F.data() + n * s.bins});
  compute::parallel_for(s.device, rows * s.blocks * lanes,
                        LaneSums<Real>{s.bins, s.blocks, s.block_begin.data(), s.F.data(), s.lane_sums.data()});
  compute::parallel_for(s.device, rows * s.blocks,
                        BlockScales{s.blocks, s.block_begin.data(), s.lane_sums.data(), p.settings_.norm == Norm::block,
                                    s.scales.data()});
  std::vector<Hit> found;
  for (;;) {
    auto counter = compute::Buffer<unsigned>::zeros(s.device, 1);
    const auto capacity = static_cast<unsigned>(s.hits.size());
    compute::parallel_for(s.device, rows * s.bins,
                          Collect<Real>{s.bins, s.blocks, s.block_of.data(), s.scales.data(), s.F.data(),
                                        p.settings_.threshold, capacity, counter.data(), s.hits.data()});
    const unsigned many = counter.vector()[0];
    if (many > capacity) {  // room for all, and once more
      s.hits = compute::Buffer<Hit>(s.device, 2 * static_cast<std::size_t>(many));
      continue;
    }
    found.resize(many);
    compute::copy<Hit>(s.hits.view().part(0, many), compute::View<Hit>(found));
    break;
  }
  std::vector<std::vector<Candidate>> lists(n);
  for (const auto& hit : found) {
    const std::size_t bin = p.bins_.lo + hit.bin;
    lists[hit.row % n].push_back({interbin ? 2 * bin + hit.row / n : bin, hit.F});
  }
  for (auto& list : lists)
    std::sort(list.begin(), list.end(), [](const Candidate& a, const Candidate& b) { return a.bin < b.bin; });
  return lists;
}

template <class Real>
void search_spindowns(DeviceEngine<Real>& engine, const Observation& observation, const SearchSettings& settings,
                      const SkyPoint& point, Range spindowns, const Exclusions& exclusions, std::vector<Trigger>& out) {
  for (int first = spindowns.lo; first <= spindowns.hi; first += engine.batch()) {
    const auto lists = engine.candidates(first, std::min(engine.batch(), spindowns.hi - first + 1));
    for (std::size_t k = 0; k < lists.size(); ++k)
      append_triggers(observation, settings, point, first + static_cast<int>(k), lists[k], exclusions, out);
  }
}

template class DeviceEngine<float>;
template class DeviceEngine<double>;
template void search_spindowns(DeviceEngine<float>&, const Observation&, const SearchSettings&, const SkyPoint&, Range,
                               const Exclusions&, std::vector<Trigger>&);
template void search_spindowns(DeviceEngine<double>&, const Observation&, const SearchSettings&, const SkyPoint&, Range,
                               const Exclusions&, std::vector<Trigger>&);

}  // namespace fachwerk::polgraw
