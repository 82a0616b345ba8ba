#include "lowrank.hpp"

#include <algorithm>
#include <cmath>

#include <cblas.h>

#include "accelerator.hpp"
#include "clones.hpp"

namespace fachwerk::hyde {
namespace {

constexpr std::size_t kPanel = 1024;

// Sixteen bands of four pixels, which share a load of the basis.
inline void expand_tile(const float* const* planes, const float* basis, std::size_t rank, std::size_t bands,
                        std::size_t n, float* out) {
  Lanes a0{}, a1{}, a2{}, a3{};
  for (std::size_t i = 0; i < rank; ++i) {
    const Lanes e = *reinterpret_cast<const Lanes*>(basis + i * bands);
    const float* p = planes[i] + n;
    a0 += p[0] * e;
    a1 += p[1] * e;
    a2 += p[2] * e;
    a3 += p[3] * e;
  }
  *reinterpret_cast<Lanes*>(out) = a0;
  *reinterpret_cast<Lanes*>(out + bands) = a1;
  *reinterpret_cast<Lanes*>(out + 2 * bands) = a2;
  *reinterpret_cast<Lanes*>(out + 3 * bands) = a3;
}

// out[n][b] = sum_i planes[i][n] basis[i][b]: few components, so the output is what costs.
FACHWERK_CLONES
void expand(const float* const* planes, const float* basis, std::size_t rank, std::size_t bands, std::size_t pixels,
            float* out) {
  const std::size_t wide = bands / kLaneCount * kLaneCount, grouped = pixels / 4 * 4;
  for (std::size_t n = 0; n < grouped; n += 4)
    for (std::size_t b = 0; b < wide; b += kLaneCount)
      expand_tile(planes, basis + b, rank, bands, n, out + n * bands + b);
  for (std::size_t n = 0; n < pixels; ++n) {
    const std::size_t first = n < grouped ? wide : 0;
    float* o = out + n * bands;
    std::fill(o + first, o + bands, 0.0F);
    for (std::size_t i = 0; i < rank; ++i)
      for (std::size_t b = first; b < bands; ++b)
        o[b] += planes[i][n] * basis[i * bands + b];
  }
}

// One plane of a Laplace equation with the valid pixels as boundary: coarse-to-fine start, then red-black relaxation.
void harmonic_fill(std::span<float> plane, std::size_t rows, std::size_t cols, std::span<const std::uint8_t> valid) {
  std::vector<std::size_t> holes;
  for (std::size_t p = 0; p < plane.size(); ++p)
    if (valid[p] == 0) holes.push_back(p);
  if (holes.empty() || holes.size() == plane.size()) return;

  // Start: averages over growing blocks (a pyramid of sums and counts).
  std::vector<float> value(plane.begin(), plane.end()), weight(plane.size());
  for (std::size_t p = 0; p < plane.size(); ++p) {
    weight[p] = valid[p] != 0 ? 1.0F : 0.0F;
    if (valid[p] == 0) value[p] = 0;
  }
  std::vector<std::uint8_t> done(valid.begin(), valid.end());
  std::size_t r = rows, c = cols, shift = 0, left = holes.size();
  while (left > 0 && (r > 1 || c > 1)) {
    const std::size_t r2 = (r + 1) / 2, c2 = (c + 1) / 2;
    std::vector<float> v2(r2 * c2), w2(r2 * c2);
    for (std::size_t i = 0; i < r; ++i)
      for (std::size_t j = 0; j < c; ++j) {
        v2[i / 2 * c2 + j / 2] += value[i * c + j];
        w2[i / 2 * c2 + j / 2] += weight[i * c + j];
      }
    value = std::move(v2);
    weight = std::move(w2);
    r = r2;
    c = c2;
    ++shift;
    for (std::size_t p : holes) {
      if (done[p] != 0) continue;
      const std::size_t q = (p / cols >> shift) * c + (p % cols >> shift);
      if (weight[q] == 0) continue;
      plane[p] = value[q] / weight[q];
      done[p] = 1;
      --left;
    }
  }
  const float omega = 1.7F;
  for (int sweep = 0; sweep < 200; ++sweep) {
    float change = 0, size = 0;
    for (std::size_t parity = 0; parity < 2; ++parity)
      for (std::size_t p : holes) {
        const std::size_t i = p / cols, j = p % cols;
        if ((i + j) % 2 != parity) continue;
        float sum = 0;
        int count = 0;
        if (i > 0) sum += plane[p - cols], ++count;
        if (i + 1 < rows) sum += plane[p + cols], ++count;
        if (j > 0) sum += plane[p - 1], ++count;
        if (j + 1 < cols) sum += plane[p + 1], ++count;
        const float step = omega * (sum / static_cast<float>(count) - plane[p]);
        plane[p] += step;
        change = std::max(change, std::abs(step));
        size = std::max(size, std::abs(plane[p]));
      }
    if (change <= 1e-5F * size) break;
  }
}

}  // namespace

std::vector<float> project(const Source& source, const Matrix& directions, std::size_t stride) {
  const std::size_t bands = source.extent.bands, cols = source.extent.cols;
  const std::size_t count = directions.cols, distance = stride != 0 ? stride : source.extent.pixels();
  const std::vector<float> d(directions.values.begin(), directions.values.end());
  std::vector<float> planes(count * distance);
  if (count == 0) return planes;
  if (source.accelerator) {
    source.accelerator->project(source, directions, distance, planes);
    return planes;
  }
  source.each_block([&](std::size_t first, std::size_t rows, std::span<const float> spectra) {
    const std::size_t block = rows * cols;
#pragma omp parallel for schedule(static)
    for (std::size_t p = 0; p < block; p += kPanel) {
      const std::size_t n = std::min(kPanel, block - p);
      cblas_sgemm(CblasRowMajor, CblasTrans, CblasTrans, static_cast<int>(count), static_cast<int>(n),
                  static_cast<int>(bands), 1.0F, d.data(), static_cast<int>(count), spectra.data() + p * bands,
                  static_cast<int>(bands), 0.0F, planes.data() + first * cols + p, static_cast<int>(distance));
    }
  });
  return planes;
}

void reconstruct(const LowRank& model, std::size_t row, std::size_t rows, std::span<float> spectra) {
  const std::size_t bands = model.extent.bands, cols = model.extent.cols, rank = model.rank();
  std::vector<float> basis(rank * bands);
  for (std::size_t i = 0; i < rank; ++i)
    for (std::size_t b = 0; b < bands; ++b)
      basis[i * bands + b] = static_cast<float>(model.basis(b, i));
  const std::size_t block = rows * cols;
#pragma omp parallel for schedule(static)
  for (std::size_t p = 0; p < block; p += kPanel) {
    std::vector<const float*> planes(rank);
    for (std::size_t i = 0; i < rank; ++i)
      planes[i] = model.planes.data() + i * model.extent.pixels() + row * cols + p;
    expand(planes.data(), basis.data(), rank, bands, std::min(kPanel, block - p), spectra.data() + p * bands);
  }
}

void reconstruct(const LowRank& model, const Sink& sink, std::size_t block_rows) {
  const Extent extent = model.extent;
  const std::size_t step = block_rows != 0 ? block_rows : rows_per_block(extent);
  std::vector<float> spectra(std::min(step, extent.rows) * extent.cols * extent.bands);
  for (std::size_t row = 0; row < extent.rows; row += step) {
    const std::size_t rows = std::min(step, extent.rows - row);
    const std::span<float> part = std::span(spectra).first(rows * extent.cols * extent.bands);
    reconstruct(model, row, rows, part);
    sink(row, rows, part);
  }
}

void fill_invalid(std::span<float> planes, std::size_t rows, std::size_t cols, std::span<const std::uint8_t> valid) {
  if (valid.empty()) return;
  const std::size_t pixels = rows * cols, count = planes.size() / pixels;
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < count; ++i)
    harmonic_fill(planes.subspan(i * pixels, pixels), rows, cols, valid);
}

}  // namespace fachwerk::hyde
