#include "neural/synthesis.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "neural/streams.hpp"

namespace fachwerk::neural {

namespace {

constexpr double pi = 3.14159265358979323846;

compute::Stream sample_stream(const SynthesisOptions& o, std::int64_t i) {
  return stream(o.seed, Channel::synthesis, static_cast<std::uint64_t>(i));
}
/// For what belongs to the set and not to a sample.
compute::Stream set_stream(const SynthesisOptions& o) {
  return stream(o.seed, Channel::synthesis, ~std::uint64_t{0});
}

Dataset classes_of(const SynthesisOptions& o, Dims sample, std::int64_t classes) {
  Dataset data;
  data.classes = classes;
  data.train.sample = std::move(sample);
  data.train.count = static_cast<std::size_t>(o.n);
  return data;
}

/// x ~ N(0, I); a random network with two hidden layers of 32 tanh units says which class or value.
Dataset teacher(const SynthesisOptions& o) {
  constexpr std::int64_t width = 32;
  const std::int64_t outputs = o.regression ? 1 : o.classes;
  compute::Stream random = set_stream(o);
  const auto layer = [&](std::int64_t out, std::int64_t in) {
    std::vector<double> w(static_cast<std::size_t>(out * in));
    for (double& v : w)
      v = 1.5 * random.normal() / std::sqrt(static_cast<double>(in));
    return w;
  };
  const auto w1 = layer(width, o.features), w2 = layer(width, width), w3 = layer(outputs, width);
  const auto apply = [](const std::vector<double>& w, const std::vector<double>& x, bool bend) {
    std::vector<double> y(w.size() / x.size());
    for (std::size_t i = 0; i < y.size(); ++i) {
      for (std::size_t j = 0; j < x.size(); ++j)
        y[i] += w[i * x.size() + j] * x[j];
      if (bend) y[i] = std::tanh(y[i]);
    }
    return y;
  };
  Dataset data = classes_of(o, {o.features}, o.classes);
  data.classification = !o.regression;
  if (o.regression) data.train.target_width = 1;
  for (std::int64_t i = 0; i < o.n; ++i) {
    compute::Stream own = sample_stream(o, i);
    std::vector<double> x(static_cast<std::size_t>(o.features));
    for (double& v : x) {
      const auto rounded = static_cast<float>(own.normal());
      v = static_cast<double>(rounded);
      data.train.reals.push_back(rounded);
    }
    const auto y = apply(w3, apply(w2, apply(w1, x, true), true), false);
    if (o.regression) {
      data.train.targets.push_back(static_cast<float>(y[0] + o.noise * own.normal()));
    } else {
      std::int64_t label = std::max_element(y.begin(), y.end()) - y.begin();
      if (own.uniform() < o.noise)
        label =
            (label + 1 + static_cast<std::int64_t>(own.below(static_cast<std::uint64_t>(o.classes - 1)))) % o.classes;
      data.train.labels.push_back(label);
    }
  }
  data.source = o.regression ? fmt::format("synthetic teacher; best possible MSE {:g}", o.noise * o.noise)
                             : fmt::format("synthetic teacher; best possible error {:g}", o.noise);
  return data;
}

/// Run time of a tiled matrix product on a model GPU: valid combinations of the 14 parameters of the UCI SGEMM set.
Dataset sgemm(const SynthesisOptions& o) {
  Dataset data = classes_of(o, {14}, 0);
  data.classification = false;
  data.train.target_width = 1;
  data.feature_names = {"MWG", "NWG", "KWG", "MDIMC", "NDIMC", "MDIMA", "NDIMB",
                        "KWI", "VWM", "VWN", "STRM",  "STRN",  "SA",    "SB"};
  const std::vector<std::vector<int>> domain = {
      {16, 32, 64, 128}, {16, 32, 64, 128}, {16, 32}, {8, 16, 32}, {8, 16, 32}, {8, 16, 32}, {8, 16, 32}, {2, 8},
      {1, 2, 4, 8},      {1, 2, 4, 8},      {0, 1},   {0, 1},      {0, 1},      {0, 1}};
  constexpr int replicates = 4;
  for (std::int64_t i = 0; i < o.n; ++i) {
    compute::Stream own = sample_stream(o, i / replicates);
    std::array<int, 14> p{};
    const auto valid = [&] {
      const auto [mwg, nwg, kwg, mdimc, ndimc, mdima, ndimb, kwi, vwm, vwn, strm, strn, sa, sb] = p;
      return kwg % kwi == 0 && mwg % (mdimc * vwm) == 0 && nwg % (ndimc * vwn) == 0 && mwg % (mdima * vwm) == 0 &&
             nwg % (ndimb * vwn) == 0 && mdimc * ndimc >= mdima && mdimc * ndimc >= ndimb &&
             kwg % std::max(1, mdimc * ndimc / mdima) == 0 && kwg % std::max(1, mdimc * ndimc / ndimb) == 0;
    };
    do
      for (std::size_t k = 0; k < p.size(); ++k)
        p[k] = domain[k][own.below(domain[k].size())];
    while (!valid());
    const double mwg = p[0], nwg = p[1], kwg = p[2], threads = p[3] * p[4];
    // 2048^3 products at 5 TFLOP/s; traffic at 300 GB/s; shared memory at 10 times that.
    const double size = 2048, work = 2 * size * size * size;
    const double vector = 0.7 + 0.1 * std::log2(p[8]) + 0.05 * std::log2(p[9]) - 0.03 * p[10] + 0.02 * p[11];
    const double compute = work / (5e12 * std::min(1.0, vector));
    const double memory =
        4 * size * size * size * (1 / mwg + 1 / nwg) / 3e11 * (1 + 0.5 * (p[12] == 0) + 0.5 * (p[13] == 0));
    const double shared = 4 * size * size * size *
                          (p[12] / static_cast<double>(p[3]) + p[13] / static_cast<double>(p[4])) / 3e12 * 8 / p[7];
    const double registers = mwg * nwg / threads, bytes = 4 * kwg * (mwg * p[12] + nwg * p[13]);
    const double occupancy = std::min({1.0, 2048 / std::max(threads, 64.0) / 8, 65536 / (threads * (registers + 24)),
                                       bytes > 0 ? 49152 / bytes : 1.0});
    compute::Stream noise = stream(o.seed, Channel::synthesis, static_cast<std::uint64_t>(i) | std::uint64_t{1} << 62);
    const double ms = 1e3 * std::max({compute, memory, shared}) / std::max(0.05, std::min(1.0, 0.3 + occupancy)) *
                      std::exp(o.noise * noise.normal());
    for (const int v : p)
      data.train.reals.push_back(static_cast<float>(v));
    data.train.targets.push_back(static_cast<float>(ms));
  }
  data.source = "synthetic run times (ms) of a tiled matrix product, 4 replicates a configuration";
  return data;
}

/// Gaussian clusters whose centres have the same distance from one another: a simplex.
Dataset blobs(const SynthesisOptions& o) {
  if (o.features < o.classes)
    throw usage_error("blobs: {} clusters at equal distances need at least as many features, found {}", o.classes,
                      o.features);
  Dataset data = classes_of(o, {o.features}, o.classes);
  for (std::int64_t i = 0; i < o.n; ++i) {
    compute::Stream own = sample_stream(o, i);
    const auto label = static_cast<std::int64_t>(own.below(static_cast<std::uint64_t>(o.classes)));
    data.train.labels.push_back(label);
    for (std::int64_t f = 0; f < o.features; ++f)
      data.train.reals.push_back(static_cast<float>(own.normal() + (f == label ? o.separation / std::sqrt(2.0) : 0)));
  }
  data.source = fmt::format("synthetic Gaussian clusters; best possible error {:.6f}",
                            blobs_bayes_error(o.classes, o.separation));
  return data;
}

Dataset spiral(const SynthesisOptions& o) {
  Dataset data = classes_of(o, {2}, o.classes);
  for (std::int64_t i = 0; i < o.n; ++i) {
    compute::Stream own = sample_stream(o, i);
    const auto label = static_cast<std::int64_t>(own.below(static_cast<std::uint64_t>(o.classes)));
    const double r = own.uniform(),
                 angle = 3 * pi * r + 2 * pi * static_cast<double>(label) / static_cast<double>(o.classes);
    data.train.labels.push_back(label);
    data.train.reals.push_back(static_cast<float>(r * std::cos(angle) + 0.2 * o.noise * own.normal()));
    data.train.reals.push_back(static_cast<float>(r * std::sin(angle) + 0.2 * o.noise * own.normal()));
  }
  data.source = "synthetic spirals";
  return data;
}

/// 16 x 16 colour gratings; the class is the orientation, the phase, frequency and colours vary.
Dataset stripes(const SynthesisOptions& o) {
  constexpr int side = 16;
  Dataset data = classes_of(o, {3, side, side}, o.classes);
  for (std::int64_t i = 0; i < o.n; ++i) {
    compute::Stream own = sample_stream(o, i);
    const auto label = static_cast<std::int64_t>(own.below(static_cast<std::uint64_t>(o.classes)));
    data.train.labels.push_back(label);
    const double angle = pi * static_cast<double>(label) / static_cast<double>(o.classes),
                 phase = 2 * pi * own.uniform(), wave = 0.8 + 0.8 * own.uniform();
    for (int c = 0; c < 3; ++c) {
      const double strength = 20 + 70 * own.uniform();
      for (int y = 0; y < side; ++y)
        for (int x = 0; x < side; ++x) {
          const double v = 127.5 + strength * std::sin(wave * (x * std::cos(angle) + y * std::sin(angle)) + phase) +
                           255 * o.noise * own.normal();
          data.train.bytes.push_back(static_cast<std::uint8_t>(std::clamp(std::lround(v), 0L, 255L)));
        }
    }
  }
  data.source = "synthetic oriented gratings";
  return data;
}

/// Rows of whole numbers: the first one points at a place, the class is what stands there.
Dataset seqcopy(const SynthesisOptions& o) {
  if (o.features < 2) throw usage_error("seqcopy: rows of {} tokens", o.features);
  Dataset data = classes_of(o, {o.features}, o.classes);
  for (std::int64_t i = 0; i < o.n; ++i) {
    compute::Stream own = sample_stream(o, i);
    const std::uint64_t place = 1 + own.below(static_cast<std::uint64_t>(o.features - 1));
    data.train.reals.push_back(static_cast<float>(place - 1 + static_cast<std::uint64_t>(o.classes)));
    for (std::int64_t t = 1; t < o.features; ++t) {
      const auto token = static_cast<std::int64_t>(own.below(static_cast<std::uint64_t>(o.classes)));
      data.train.reals.push_back(static_cast<float>(token));
      if (static_cast<std::uint64_t>(t) == place) data.train.labels.push_back(token);
    }
  }
  data.source = fmt::format("synthetic copying task; --vocabulary {}", o.classes + o.features - 1);
  return data;
}

}  // namespace

double blobs_bayes_error(std::int64_t classes, double separation) {
  // P(right) = E[Phi(z + d/sqrt 2)^(K-1)], z standard normal, along the simplex's directions.
  const double shift = separation / std::sqrt(2.0);
  double right = 0;
  constexpr int steps = 4000;
  constexpr double h = 16.0 / steps;
  for (int i = 0; i <= steps; ++i) {
    const double z = -8 + h * i;
    const double weight = (i == 0 || i == steps ? 0.5 : 1) * h * std::exp(-0.5 * z * z) / std::sqrt(2 * pi);
    right += weight * std::pow(0.5 * std::erfc(-(z + shift) / std::sqrt(2.0)), static_cast<double>(classes - 1));
  }
  return 1 - right;
}

const std::vector<std::string>& synthesis_names() {
  static const std::vector<std::string> names = {"teacher", "sgemm", "blobs", "spiral", "stripes", "seqcopy"};
  return names;
}

Dataset synthesise(const std::string& name, const SynthesisOptions& o) {
  if (o.n < 1 || o.features < 1 || o.n > (1 << 30) || o.features > (1 << 24))
    throw usage_error("a set of {} samples of {} features", o.n, o.features);
  if (o.classes < 2 && !(name == "sgemm" || o.regression)) throw usage_error("{} classes", o.classes);
  if (!(o.noise >= 0) || !std::isfinite(o.separation)) throw usage_error("noise cannot be negative");
  Dataset data;
  if (name == "teacher")
    data = teacher(o);
  else if (name == "sgemm")
    data = sgemm(o);
  else if (name == "blobs")
    data = blobs(o);
  else if (name == "spiral")
    data = spiral(o);
  else if (name == "stripes")
    data = stripes(o);
  else if (name == "seqcopy")
    data = seqcopy(o);
  else
    throw usage_error("\"{}\" is not one of {}", name, fmt::join(synthesis_names(), ", "));
  data.name = name;
  data.licence = "CC0";
  return data;
}

}  // namespace fachwerk::neural
