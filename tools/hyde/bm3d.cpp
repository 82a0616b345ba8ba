#include "bm3d.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numbers>
#include <vector>

#include "clones.hpp"

namespace fachwerk::hyde {
namespace {

constexpr std::size_t kBlock = 8, kArea = kBlock * kBlock, kStep = 3;
constexpr std::ptrdiff_t kReach = 19;         // search window 2 * 19 + 1 = 39
constexpr std::size_t kStripReferences = 12;  // rows of reference blocks that share an accumulator
constexpr std::size_t kMostBlocks = 32;

struct Table {
  alignas(64) std::array<float, kArea> dct{};  // T: coefficients = T x Tᵀ
  alignas(64) std::array<float, kArea> dct_transposed{};
  alignas(64) std::array<float, kArea> window{};  // Kaiser, beta 2
};

double bessel_i0(double x) {
  double sum = 1, term = 1;
  for (int k = 1; k < 30; ++k) {
    term *= (x / (2 * k)) * (x / (2 * k));
    sum += term;
  }
  return sum;
}

Table make_table() {
  Table table;
  for (std::size_t k = 0; k < kBlock; ++k)
    for (std::size_t n = 0; n < kBlock; ++n) {
      const double v =
          std::cos(std::numbers::pi * static_cast<double>((2 * n + 1) * k) / 16) * (k == 0 ? std::sqrt(0.125) : 0.5);
      table.dct[k * kBlock + n] = table.dct_transposed[n * kBlock + k] = static_cast<float>(v);
    }
  const auto kaiser = [](std::size_t n) {
    const double u = 2.0 * static_cast<double>(n) / (kBlock - 1) - 1;
    return bessel_i0(2 * std::sqrt(1 - u * u)) / bessel_i0(2);
  };
  for (std::size_t i = 0; i < kBlock; ++i)
    for (std::size_t j = 0; j < kBlock; ++j)
      table.window[i * kBlock + j] = static_cast<float>(kaiser(i) * kaiser(j));
  return table;
}

const Table& table() {
  static const Table instance = make_table();
  return instance;
}

struct View {
  const float* data;
  std::size_t rows, cols;
};

struct Match {
  float distance;
  std::uint32_t row, col;
};

// The nearest blocks of one reference so far, by distance.
struct Matches {
  std::array<Match, kMostBlocks> best;
  std::size_t count = 0, most = 0;
  float worst = 0;  // what a new one must undercut

  void reset(std::size_t limit, float threshold) {
    count = 0;
    most = limit;
    worst = threshold;
  }
  void insert(Match match) {
    std::size_t i = count < most ? count++ : most - 1;
    for (; i > 0 && best[i - 1].distance > match.distance; --i)
      best[i] = best[i - 1];
    best[i] = match;
    if (count == most) worst = std::min(worst, best[most - 1].distance);
  }
};

// distance[x] = sum over the 8 x 8 block at x of (a - b)², for n block positions. `sums` has n + 7 entries.
FACHWERK_CLONES
void block_distances(const float* a, const float* b, std::size_t stride, std::size_t n, float* sums, float* distance) {
  const std::size_t wide = n + kBlock - 1;
  for (std::size_t x = 0; x < wide; ++x) {
    float sum = 0;
    for (std::size_t k = 0; k < kBlock; ++k) {
      const float d = a[k * stride + x] - b[k * stride + x];
      sum += d * d;
    }
    sums[x] = sum;
  }
  for (std::size_t x = 0; x < n; ++x)
    distance[x] = ((sums[x] + sums[x + 1]) + (sums[x + 2] + sums[x + 3])) +
                  ((sums[x + 4] + sums[x + 5]) + (sums[x + 6] + sums[x + 7]));
}

struct Offset {
  std::ptrdiff_t row, col;
};

// From near to far, so that the nearest blocks are found early and most later ones are refused at once.
const std::vector<Offset>& offsets() {
  static const std::vector<Offset> all = [] {
    std::vector<Offset> list;
    for (std::ptrdiff_t r = -kReach; r <= kReach; ++r)
      for (std::ptrdiff_t c = -kReach; c <= kReach; ++c)
        list.push_back({r, c});
    std::stable_sort(list.begin(), list.end(), [](const Offset& a, const Offset& b) {
      return a.row * a.row + a.col * a.col < b.row * b.row + b.col * b.col;
    });
    return list;
  }();
  return all;
}

std::vector<std::size_t> reference_positions(std::size_t length) {
  std::vector<std::size_t> positions;
  for (std::size_t p = 0; p + kBlock < length; p += kStep)
    positions.push_back(p);
  positions.push_back(length - kBlock);
  return positions;
}

// Blocks like those at (row, cols[k]), for every k.
void match_row(View image, std::size_t row, const std::vector<std::size_t>& cols, std::size_t most, float threshold,
               std::vector<float>& sums, std::vector<float>& distance, std::vector<Matches>& matches) {
  for (Matches& m : matches)
    m.reset(most, threshold * static_cast<float>(kArea));
  const auto last_row = static_cast<std::ptrdiff_t>(image.rows - kBlock),
             last_col = static_cast<std::ptrdiff_t>(image.cols - kBlock);
  for (const Offset& offset : offsets()) {
    const std::ptrdiff_t other = static_cast<std::ptrdiff_t>(row) + offset.row;
    if (other < 0 || other > last_row) continue;
    const std::ptrdiff_t first = std::max<std::ptrdiff_t>(0, -offset.col),
                         last = std::min(last_col, last_col - offset.col);
    if (first > last) continue;
    block_distances(
        image.data + row * image.cols + static_cast<std::size_t>(first),
        image.data + static_cast<std::size_t>(other) * image.cols + static_cast<std::size_t>(first + offset.col),
        image.cols, static_cast<std::size_t>(last - first + 1), sums.data(), distance.data());
    for (std::size_t k = 0; k < cols.size(); ++k) {
      const auto col = static_cast<std::ptrdiff_t>(cols[k]);
      if (col < first || col > last) continue;
      const float d = distance[static_cast<std::size_t>(col - first)];
      if (d < matches[k].worst)
        matches[k].insert({d, static_cast<std::uint32_t>(other), static_cast<std::uint32_t>(col + offset.col)});
    }
  }
}

// out = left in right, 8 x 8
inline void sandwich(const float* left, const float* in, const float* right, float* out) {
  alignas(64) float half[kArea];
  for (std::size_t i = 0; i < kBlock; ++i) {
    float sum[kBlock] = {};
    for (std::size_t k = 0; k < kBlock; ++k)
      for (std::size_t j = 0; j < kBlock; ++j)
        sum[j] += left[i * kBlock + k] * in[k * kBlock + j];
    for (std::size_t j = 0; j < kBlock; ++j)
      half[i * kBlock + j] = sum[j];
  }
  for (std::size_t i = 0; i < kBlock; ++i) {
    float sum[kBlock] = {};
    for (std::size_t k = 0; k < kBlock; ++k)
      for (std::size_t j = 0; j < kBlock; ++j)
        sum[j] += half[i * kBlock + k] * right[k * kBlock + j];
    for (std::size_t j = 0; j < kBlock; ++j)
      out[i * kBlock + j] = sum[j];
  }
}

// Orthonormal Haar transform across `count` blocks (a power of two), in place; `spare` is as large as the group.
inline void haar(float* group, std::size_t count, float* spare) {
  const auto root = static_cast<float>(std::numbers::sqrt2 / 2);
  for (std::size_t n = count; n > 1; n /= 2) {
    for (std::size_t i = 0; i < n / 2; ++i)
      for (std::size_t j = 0; j < kArea; ++j) {
        const float a = group[2 * i * kArea + j], b = group[(2 * i + 1) * kArea + j];
        spare[i * kArea + j] = root * (a + b);
        spare[(n / 2 + i) * kArea + j] = root * (a - b);
      }
    std::copy_n(spare, n * kArea, group);
  }
}

inline void haar_inverse(float* group, std::size_t count, float* spare) {
  const auto root = static_cast<float>(std::numbers::sqrt2 / 2);
  for (std::size_t n = 2; n <= count; n *= 2) {
    for (std::size_t i = 0; i < n / 2; ++i)
      for (std::size_t j = 0; j < kArea; ++j) {
        const float a = group[i * kArea + j], b = group[(n / 2 + i) * kArea + j];
        spare[2 * i * kArea + j] = root * (a + b);
        spare[(2 * i + 1) * kArea + j] = root * (a - b);
      }
    std::copy_n(spare, n * kArea, group);
  }
}

struct Workspace {
  alignas(64) std::array<float, kMostBlocks * kArea> group, pilot, spare;
};

inline void load(const float* image, std::size_t stride, const Match* matches, std::size_t count, const float* dct,
                 const float* dct_transposed, float* group) {
  for (std::size_t i = 0; i < count; ++i) {
    alignas(64) float block[kArea];
    const float* from = image + matches[i].row * stride + matches[i].col;
    for (std::size_t r = 0; r < kBlock; ++r)
      for (std::size_t c = 0; c < kBlock; ++c)
        block[r * kBlock + c] = from[r * stride + c];
    sandwich(dct, block, dct_transposed, group + i * kArea);
  }
}

// Adds weight * window * block into the sums of a strip whose first row is `top`.
inline void aggregate(const float* group, const Match* matches, std::size_t count, float weight, const Table& t,
                      std::size_t stride, std::size_t top, float* numerator, float* denominator) {
  for (std::size_t i = 0; i < count; ++i) {
    alignas(64) float block[kArea];
    sandwich(t.dct_transposed.data(), group + i * kArea, t.dct.data(), block);
    const std::size_t at = (matches[i].row - top) * stride + matches[i].col;
    for (std::size_t r = 0; r < kBlock; ++r)
      for (std::size_t c = 0; c < kBlock; ++c) {
        const float w = weight * t.window[r * kBlock + c];
        numerator[at + r * stride + c] += w * block[r * kBlock + c];
        denominator[at + r * stride + c] += w;
      }
  }
}

FACHWERK_CLONES
void threshold_group(const float* noisy, std::size_t stride, const Match* matches, std::size_t count, float sigma,
                     const Table& t, Workspace& work, std::size_t top, float* numerator, float* denominator) {
  float* group = work.group.data();
  load(noisy, stride, matches, count, t.dct.data(), t.dct_transposed.data(), group);
  haar(group, count, work.spare.data());
  const float threshold = 2.7F * sigma;
  int kept = 0;
  for (std::size_t i = 0; i < count * kArea; ++i) {
    const bool keep = std::abs(group[i]) >= threshold;
    kept += keep ? 1 : 0;
    group[i] = keep ? group[i] : 0.0F;
  }
  haar_inverse(group, count, work.spare.data());
  aggregate(group, matches, count, 1.0F / static_cast<float>(std::max(kept, 1)), t, stride, top, numerator,
            denominator);
}

FACHWERK_CLONES
void wiener_group(const float* noisy, const float* pilot_image, std::size_t stride, const Match* matches,
                  std::size_t count, float sigma, const Table& t, Workspace& work, std::size_t top, float* numerator,
                  float* denominator) {
  float *group = work.group.data(), *pilot = work.pilot.data();
  load(noisy, stride, matches, count, t.dct.data(), t.dct_transposed.data(), group);
  load(pilot_image, stride, matches, count, t.dct.data(), t.dct_transposed.data(), pilot);
  haar(group, count, work.spare.data());
  haar(pilot, count, work.spare.data());
  const float variance = sigma * sigma;
  float total = 0;
#pragma omp simd reduction(+ : total)
  for (std::size_t i = 0; i < count * kArea; ++i) {
    const float energy = pilot[i] * pilot[i], gain = energy / (energy + variance);
    group[i] *= gain;
    total += gain * gain;
  }
  haar_inverse(group, count, work.spare.data());
  aggregate(group, matches, count, 1.0F / std::max(total, 1e-6F), t, stride, top, numerator, denominator);
}

std::size_t power_of_two(std::size_t count) {
  std::size_t n = 1;
  while (2 * n <= count)
    n *= 2;
  return n;
}

// One stage: `noisy` filtered with blocks matched on `guide`; `wiener` takes the guide as pilot too.
std::vector<float> stage(View noisy, const float* guide, bool wiener, double sigma) {
  const bool strong = sigma > 40.0 / 255;
  const double threshold = (wiener ? (strong ? 3500.0 : 400.0) : (strong ? 5000.0 : 2500.0)) / (255.0 * 255.0);
  const std::size_t most = wiener ? 32 : 16;
  const std::vector<std::size_t> rows = reference_positions(noisy.rows), cols = reference_positions(noisy.cols);
  const std::size_t strips = (rows.size() + kStripReferences - 1) / kStripReferences;
  struct Strip {
    std::size_t top = 0, height = 0;
    std::vector<float> numerator, denominator;
  };
  std::vector<Strip> parts(strips);
#pragma omp parallel for schedule(dynamic)
  for (std::size_t s = 0; s < strips; ++s) {
    const std::size_t first = s * kStripReferences, last = std::min(first + kStripReferences, rows.size()) - 1;
    Strip& part = parts[s];
    part.top = rows[first] >= kReach ? rows[first] - kReach : 0;
    part.height = std::min(rows[last] + kReach + kBlock, noisy.rows) - part.top;
    part.numerator.assign(part.height * noisy.cols, 0.0F);
    part.denominator.assign(part.numerator.size(), 0.0F);
    std::vector<float> sums(noisy.cols), distance(noisy.cols);
    std::vector<Matches> matches(cols.size());
    const auto work = std::make_unique<Workspace>();
    for (std::size_t r = first; r <= last; ++r) {
      match_row({guide, noisy.rows, noisy.cols}, rows[r], cols, most, static_cast<float>(threshold), sums, distance,
                matches);
      for (const Matches& m : matches) {
        const std::size_t count = power_of_two(m.count);
        if (wiener)
          wiener_group(noisy.data, guide, noisy.cols, m.best.data(), count, static_cast<float>(sigma), table(), *work,
                       part.top, part.numerator.data(), part.denominator.data());
        else
          threshold_group(noisy.data, noisy.cols, m.best.data(), count, static_cast<float>(sigma), table(), *work,
                          part.top, part.numerator.data(), part.denominator.data());
      }
    }
  }
  std::vector<float> numerator(noisy.rows * noisy.cols), denominator(numerator.size());
  for (const Strip& part : parts)  // in order: the same sums for any number of threads
    for (std::size_t i = 0; i < part.numerator.size(); ++i) {
      numerator[part.top * noisy.cols + i] += part.numerator[i];
      denominator[part.top * noisy.cols + i] += part.denominator[i];
    }
  for (std::size_t i = 0; i < numerator.size(); ++i)
    numerator[i] /= denominator[i];
  return numerator;
}

}  // namespace

void bm3d(std::span<float> image, std::size_t rows, std::size_t cols, double sigma) {
  if (!(sigma > 0)) return;
  // Images smaller than a block grow by reflection.
  const std::size_t height = std::max(rows, kBlock), width = std::max(cols, kBlock);
  std::vector<float> noisy(height * width);
  const auto reflect = [](std::size_t i, std::size_t n) {
    i %= 2 * n;
    return i < n ? i : 2 * n - 1 - i;
  };
  for (std::size_t r = 0; r < height; ++r)
    for (std::size_t c = 0; c < width; ++c)
      noisy[r * width + c] = image[reflect(r, rows) * cols + reflect(c, cols)];
  const View view{noisy.data(), height, width};
  const std::vector<float> pilot = stage(view, noisy.data(), false, sigma);
  const std::vector<float> result = stage(view, pilot.data(), true, sigma);
  for (std::size_t r = 0; r < rows; ++r)
    std::copy_n(result.begin() + static_cast<std::ptrdiff_t>(r * width), cols,
                image.begin() + static_cast<std::ptrdiff_t>(r * cols));
}

}  // namespace fachwerk::hyde
