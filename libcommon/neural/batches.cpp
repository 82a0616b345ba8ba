#include "neural/batches.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "compute/clones.hpp"
#include "neural/streams.hpp"

namespace fachwerk::neural {

namespace {

/// Gamma(a) for a > 0: G. Marsaglia, W. W. Tsang, ACM TOMS 26 (2000); a < 1 by the power of a uniform number.
double gamma_number(compute::Stream& random, double a) {
  if (a < 1) return gamma_number(random, a + 1) * std::pow(random.uniform(), 1 / a);
  const double d = a - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = random.normal(), t = 1 + c * x;
    if (t <= 0) continue;
    const double v = t * t * t;
    if (std::log(random.uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

double beta_number(compute::Stream& random, double a) {
  const double x = gamma_number(random, a), y = gamma_number(random, a);
  return x / (x + y);
}

/// to = from * scale + shift, in the vector registers that the CPU has.
FACHWERK_CLONES void standardise(const float* from, const float* scale, const float* shift, float* to, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i)
    to[i] = from[i] * scale[i] + shift[i];
}
FACHWERK_CLONES void standardise(const std::uint8_t* from, const float* scale, const float* shift, float* to,
                                 std::size_t n) {
  for (std::size_t i = 0; i < n; ++i)
    to[i] = static_cast<float>(from[i]) * scale[i] + shift[i];
}

struct Image {
  float* pixels;
  std::int64_t channels, rows, columns;
};

/// pixel (r, c) of the result is (source_row, source_column) of the image, zero outside.
template <class Source>
void remap(const Image& image, const Source& source) {
  thread_local std::vector<float> copy;
  const std::int64_t area = image.rows * image.columns;
  for (std::int64_t k = 0; k < image.channels; ++k) {
    float* plane = image.pixels + k * area;
    copy.assign(plane, plane + area);
    for (std::int64_t r = 0; r < image.rows; ++r)
      for (std::int64_t c = 0; c < image.columns; ++c) {
        const auto [y, x] = source(r, c);
        const bool inside = y >= 0 && y < image.rows && x >= 0 && x < image.columns;
        plane[r * image.columns + c] = inside ? copy[static_cast<std::size_t>(y * image.columns + x)] : 0.0F;
      }
  }
}

void augment(const Image& image, const Augmentation& a, compute::Stream random) {
  using Place = std::pair<std::int64_t, std::int64_t>;
  if (a.rotate > 0) {
    const double angle = (2 * random.uniform() - 1) * a.rotate * 3.14159265358979323846 / 180;
    const double cosine = std::cos(angle), sine = std::sin(angle);
    const double y0 = 0.5 * static_cast<double>(image.rows - 1), x0 = 0.5 * static_cast<double>(image.columns - 1);
    remap(image, [&](std::int64_t r, std::int64_t c) {
      const double y = static_cast<double>(r) - y0, x = static_cast<double>(c) - x0;
      return Place{std::llround(y0 + cosine * y - sine * x), std::llround(x0 + sine * y + cosine * x)};
    });
  }
  if (a.crop || a.flip) {
    const auto range = static_cast<std::uint64_t>(2 * a.pad + 1);
    const std::int64_t dy = a.crop ? static_cast<std::int64_t>(random.below(range)) - a.pad : 0;
    const std::int64_t dx = a.crop ? static_cast<std::int64_t>(random.below(range)) - a.pad : 0;
    const bool mirrored = a.flip && random.below(2) == 1;
    if (dy != 0 || dx != 0 || mirrored)
      remap(image, [&](std::int64_t r, std::int64_t c) {
        return Place{r + dy, (mirrored ? image.columns - 1 - c : c) + dx};
      });
  }
  if (a.cutout > 0) {
    const auto y = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(image.rows)));
    const auto x = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(image.columns)));
    for (std::int64_t k = 0; k < image.channels; ++k)
      for (std::int64_t r = std::max<std::int64_t>(0, y - a.cutout / 2);
           r < std::min(image.rows, y + (a.cutout + 1) / 2); ++r)
        for (std::int64_t c = std::max<std::int64_t>(0, x - a.cutout / 2);
             c < std::min(image.columns, x + (a.cutout + 1) / 2); ++c)
          image.pixels[(k * image.rows + r) * image.columns + c] = 0;
  }
  if (a.noise > 0)
    for (std::int64_t i = 0; i < image.channels * image.rows * image.columns; ++i)
      image.pixels[i] += static_cast<float>(a.noise * random.normal());
}

}  // namespace

Batches::Batches(const Dataset& data, const Split& split, at::ScalarType type, bool whole_numbers,
                 const Augmentation& augmentation, std::uint64_t seed)
    : split_(split),
      classification_(data.classification),
      classes_(data.classes),
      outputs_(data.outputs),
      type_(type),
      augmentation_(augmentation),
      seed_(seed) {
  const std::size_t size = split.size(), groups = static_cast<std::size_t>(split.sample[0]), per = size / groups;
  const double unit = split.bytes.empty() ? 1 : 1.0 / 255;
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t g = i / per;
    const bool plain = whole_numbers || data.inputs.empty();
    scale_.push_back(plain ? static_cast<float>(whole_numbers ? 1 : unit)
                           : static_cast<float>(unit / data.inputs.std[g]));
    shift_.push_back(plain ? 0.0F : static_cast<float>(-data.inputs.mean[g] / data.inputs.std[g]));
  }
}

void Batches::fill(float* to, std::size_t row, std::int64_t epoch) const {
  const std::size_t size = scale_.size();
  if (split_.bytes.empty())
    standardise(split_.reals.data() + row * size, scale_.data(), shift_.data(), to, size);
  else
    standardise(split_.bytes.data() + row * size, scale_.data(), shift_.data(), to, size);
  if (epoch < 0 || !augmentation_.any() || split_.sample.size() != 3) return;
  compute::Stream random(seed_, static_cast<std::uint64_t>(split_.id(row)),
                         static_cast<std::uint32_t>(Channel::augment) | static_cast<std::uint32_t>(epoch) << 8);
  augment({to, split_.sample[0], split_.sample[1], split_.sample[2]}, augmentation_, random);
}

Batch Batches::make(std::span<const std::size_t> rows, std::int64_t epoch, std::int64_t step, std::int64_t offset,
                    std::int64_t global) const {
  Batch batch;
  batch.rows.assign(rows.begin(), rows.end());
  batch.offset = offset;
  batch.global = global > 0 ? global : batch.size();
  const std::int64_t n = batch.size(), size = static_cast<std::int64_t>(scale_.size());
  std::vector<std::int64_t> shape = {n};
  shape.insert(shape.end(), split_.sample.begin(), split_.sample.end());
  batch.x = at::empty(shape, at::kFloat);
  float* x = batch.x.data_ptr<float>();
  at::parallel_for(0, n, std::max<std::int64_t>(1, 16384 / size), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      fill(x + i * size, rows[static_cast<std::size_t>(i)], epoch);
  });
  if (type_ != at::kFloat) batch.x = batch.x.to(type_);
  if (classification_ && !split_.labels.empty()) {
    batch.labels = at::empty({n}, at::kLong);
    std::int64_t* labels = batch.labels.data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < n; ++i)
      labels[i] = split_.labels[rows[static_cast<std::size_t>(i)]];
  } else {
    const std::int64_t width = split_.target_width;
    batch.targets = at::empty({n, width}, at::kFloat);
    float* targets = batch.targets.data_ptr<float>();
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t o = 0; o < width; ++o) {
        double v = split_.targets[rows[static_cast<std::size_t>(i)] * static_cast<std::size_t>(width) +
                                  static_cast<std::size_t>(o)];
        if (!outputs_.empty())
          v = (v - outputs_.mean[static_cast<std::size_t>(o)]) / outputs_.std[static_cast<std::size_t>(o)];
        targets[i * width + o] = static_cast<float>(v);
      }
    if (type_ != at::kFloat) batch.targets = batch.targets.to(type_);
  }
  if (epoch >= 0 && (augmentation_.mixup > 0 || augmentation_.cutmix > 0) && n > 1) mix(batch, step);
  return batch;
}

/// Mixup (H. Zhang et al., ICLR 2018) and CutMix (S. Yun et al., ICCV 2019), with the batch read backwards as partner.
void Batches::mix(Batch& batch, std::int64_t step) const {
  compute::Stream random = stream(seed_, Channel::mix, static_cast<std::uint64_t>(step));
  const bool cut =
      split_.sample.size() == 3 && augmentation_.cutmix > 0 && (augmentation_.mixup <= 0 || random.below(2) == 1);
  double share = beta_number(random, cut ? augmentation_.cutmix : augmentation_.mixup);
  const at::Tensor other = batch.x.flip(0);
  if (cut) {
    const std::int64_t h = batch.x.size(2), w = batch.x.size(3);
    const double side = std::sqrt(1 - share);
    const auto cy = static_cast<double>(random.below(static_cast<std::uint64_t>(h)));
    const auto cx = static_cast<double>(random.below(static_cast<std::uint64_t>(w)));
    const auto edge = [](double v, std::int64_t n) { return std::clamp<std::int64_t>(std::llround(v), 0, n); };
    const double hh = 0.5 * side * static_cast<double>(h), ww = 0.5 * side * static_cast<double>(w);
    const auto y0 = edge(cy - hh, h), y1 = edge(cy + hh, h), x0 = edge(cx - ww, w), x1 = edge(cx + ww, w);
    batch.x.slice(2, y0, y1).slice(3, x0, x1).copy_(other.slice(2, y0, y1).slice(3, x0, x1));
    share = 1 - static_cast<double>((y1 - y0) * (x1 - x0)) / static_cast<double>(h * w);
  } else {
    batch.x.mul_(share).add_(other, 1 - share);
  }
  if (batch.labels.defined()) {
    batch.targets = at::one_hot(batch.labels, classes_).to(type_);
    batch.labels = at::Tensor();
  }
  batch.targets = share * batch.targets + (1 - share) * batch.targets.flip(0);
}

std::vector<std::size_t> shuffled(std::size_t n, std::uint64_t seed, std::int64_t epoch) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  stream(seed, Channel::shuffle, static_cast<std::uint64_t>(epoch)).shuffle(std::span<std::size_t>(order));
  return order;
}

}  // namespace fachwerk::neural
