#include "gram.hpp"

#include <algorithm>
#include <cmath>

#include <cblas.h>

#include "accelerator.hpp"
#include "cli/error.hpp"

namespace fachwerk::hyde {
namespace {

// Work is cut into this many slices whatever the thread count, and slices are added in order: same bits for any
// threads.
constexpr std::size_t kSlices = 16;
constexpr std::size_t kPanel = 512;  // pixels converted to double at a time: fits the second-level cache

std::size_t slice_begin(std::size_t total, std::size_t slice) {
  return total * slice / kSlices;
}

void symmetrise(Matrix& r) {
  for (std::size_t i = 0; i < r.rows; ++i)
    for (std::size_t j = 0; j < i; ++j)
      r(i, j) = r(j, i);
}

Matrix sum_of(const std::vector<Matrix>& slices, const Source& source) {
  Matrix total = slices.front();
  for (std::size_t s = 1; s < slices.size(); ++s)
    for (std::size_t i = 0; i < total.values.size(); ++i)
      total.values[i] += slices[s].values[i];
  source.sum_over_members(total.values);
  return total;
}

// The last row of the member before, as the row above this one's first.
std::vector<float> row_above(const Source& source) {
  const Team& team = source.members();
  const std::size_t size = source.extent.cols * source.extent.bands;
  if (team.size == 1) return {};
  std::vector<float> scratch;
  const std::span<const float> last = source.read(source.extent.rows - 1, 1, scratch);
  std::vector<std::size_t> counts(team.size);
  if (team.rank + 1 < team.size) counts[team.rank + 1] = size;
  return team.exchange(last.first(team.rank + 1 < team.size ? size : 0), counts);
}

void add_panel(const std::vector<double>& panel, std::size_t count, Matrix& r) {
  const int bands = static_cast<int>(r.rows);
  cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, bands, static_cast<int>(count), 1.0, panel.data(), bands, 1.0,
              r.values.data(), bands);
}

}  // namespace

Matrix gram(const Source& source) {
  if (source.accelerator) {
    Matrix r = source.accelerator->gram(source);
    source.sum_over_members(r.values);
    return r;
  }
  const std::size_t bands = source.extent.bands, cols = source.extent.cols;
  std::vector<Matrix> slices(kSlices, Matrix(bands, bands));
  source.each_block([&](std::size_t, std::size_t rows, std::span<const float> spectra) {
    const std::size_t pixels = rows * cols;
#pragma omp parallel for schedule(dynamic)
    for (std::size_t s = 0; s < kSlices; ++s) {
      std::vector<double> panel(kPanel * bands);
      for (std::size_t p = slice_begin(pixels, s); p < slice_begin(pixels, s + 1); p += kPanel) {
        const std::size_t count = std::min(kPanel, slice_begin(pixels, s + 1) - p);
        std::copy_n(spectra.data() + p * bands, count * bands, panel.begin());
        add_panel(panel, count, slices[s]);
      }
    }
  });
  Matrix r = sum_of(slices, source);
  symmetrise(r);
  return r;
}

Matrix shift_covariance(const Source& source) {
  const std::size_t bands = source.extent.bands, cols = source.extent.cols;
  std::vector<Matrix> slices(kSlices, Matrix(bands, bands));
  std::vector<std::size_t> pairs(kSlices);
  std::vector<float> above = row_above(source);  // last row of the block before
  const std::vector<std::uint8_t> valid = source.whole_valid();
  const std::size_t first_pixel = source.members().first_row(source.members().rank) * cols;
  const auto is_valid = [&](std::size_t pixel) { return valid.empty() || valid[pixel] != 0; };
  source.each_block([&](std::size_t first, std::size_t rows, std::span<const float> spectra) {
    const auto row_of = [&](std::size_t r) { return spectra.data() + r * cols * bands; };
#pragma omp parallel for schedule(dynamic)
    for (std::size_t s = 0; s < kSlices; ++s) {
      std::vector<double> panel(kPanel * bands);
      std::size_t filled = 0;
      const auto add_pair = [&](const float* a, const float* b) {
        for (std::size_t k = 0; k < bands; ++k)
          panel[filled * bands + k] = (static_cast<double>(a[k]) - b[k]) * M_SQRT1_2;
        ++pairs[s];
        if (++filled < kPanel) return;
        add_panel(panel, filled, slices[s]);
        filled = 0;
      };
      for (std::size_t r = slice_begin(rows, s); r < slice_begin(rows, s + 1); ++r) {
        const float* here = row_of(r);
        const float* up = r > 0 ? row_of(r - 1) : (above.empty() ? nullptr : above.data());
        for (std::size_t c = 0; c < cols; ++c) {
          const std::size_t pixel = first_pixel + (first + r) * cols + c;
          if (!is_valid(pixel)) continue;
          if (c > 0 && is_valid(pixel - 1)) add_pair(here + c * bands, here + (c - 1) * bands);
          if (up != nullptr && is_valid(pixel - cols)) add_pair(here + c * bands, up + c * bands);
        }
      }
      if (filled > 0) add_panel(panel, filled, slices[s]);
    }
    above.assign(row_of(rows - 1), row_of(rows - 1) + cols * bands);
  });
  double count = 0;
  for (std::size_t n : pairs)
    count += static_cast<double>(n);
  source.sum_over_members({&count, 1});
  if (count == 0)
    throw bad_input("no two neighbouring pixels are valid: the noise cannot be estimated from differences");
  Matrix r = sum_of(slices, source);
  for (double& v : r.values)
    v /= count;
  symmetrise(r);
  return r;
}

Matrix correlate(const Source& source, std::span<const float> planes) {
  if (source.accelerator) {
    Matrix m = source.accelerator->correlate(source, planes);
    source.sum_over_members(m.values);
    return m;
  }
  const std::size_t bands = source.extent.bands, cols = source.extent.cols, pixels = source.extent.pixels();
  const std::size_t count = planes.size() / pixels;
  std::vector<Matrix> slices(kSlices, Matrix(count, bands));
  source.each_block([&](std::size_t first, std::size_t rows, std::span<const float> spectra) {
    const std::size_t block = rows * cols;
#pragma omp parallel for schedule(dynamic)
    for (std::size_t s = 0; s < kSlices; ++s) {
      std::vector<float> partial(count * bands);
      for (std::size_t p = slice_begin(block, s); p < slice_begin(block, s + 1); p += kPanel) {
        const std::size_t n = std::min(kPanel, slice_begin(block, s + 1) - p);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(count), static_cast<int>(bands),
                    static_cast<int>(n), 1.0F, planes.data() + first * cols + p, static_cast<int>(pixels),
                    spectra.data() + p * bands, static_cast<int>(bands), 0.0F, partial.data(), static_cast<int>(bands));
        for (std::size_t i = 0; i < partial.size(); ++i)
          slices[s].values[i] += static_cast<double>(partial[i]);
      }
    }
  });
  return sum_of(slices, source);
}

}  // namespace fachwerk::hyde
