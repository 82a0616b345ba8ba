#include "cube.hpp"

#include <algorithm>
#include <cstring>

namespace fachwerk::hyde {

std::size_t Source::valid_pixels() const {
  if (valid.empty()) return whole().pixels();
  double count = static_cast<double>(std::count_if(valid.begin(), valid.end(), [](auto v) { return v != 0; }));
  sum_over_members({&count, 1});
  return static_cast<std::size_t>(count);
}

const Team& Source::members() const {
  static const Team alone;
  return team ? *team : alone;
}

Extent Source::whole() const {
  return {team ? team->all_rows() : extent.rows, extent.cols, extent.bands};
}

std::vector<std::size_t> Source::pixels_held() const {
  if (!team) return {extent.pixels()};
  std::vector<std::size_t> held = team->rows;
  for (std::size_t& n : held)
    n *= extent.cols;
  return held;
}

std::vector<std::uint8_t> Source::whole_valid() const {
  return team && !valid.empty() ? team->join(valid) : valid;
}

void Source::sum_over_members(std::span<double> values) const {
  if (team) team->sum(values);
}

void Source::each_block(const std::function<void(std::size_t, std::size_t, std::span<const float>)>& fn) const {
  const std::size_t step = block_rows == 0 ? extent.rows : std::min(block_rows, extent.rows);
  std::vector<float> scratch;
  for (std::size_t row = 0; row < extent.rows; row += step) {
    const std::size_t rows = std::min(step, extent.rows - row);
    fn(row, rows, read(row, rows, scratch));
  }
}

Source memory_source(std::span<const float> cube, Extent extent, std::size_t block_rows) {
  const std::size_t row_size = extent.cols * extent.bands;
  return {extent,
          [cube, row_size](std::size_t row, std::size_t rows, std::vector<float>&) {
            return cube.subspan(row * row_size, rows * row_size);
          },
          {},
          block_rows};
}

Sink memory_sink(std::span<float> cube, Extent extent) {
  const std::size_t row_size = extent.cols * extent.bands;
  return [cube, row_size](std::size_t row, std::size_t, std::span<const float> spectra) {
    std::copy(spectra.begin(), spectra.end(), cube.begin() + static_cast<std::ptrdiff_t>(row * row_size));
  };
}

void transpose(const float* in, std::size_t rows, std::size_t cols, std::size_t in_stride, float* out,
               std::size_t out_stride) {
  constexpr std::size_t tile = 16;
  for (std::size_t i0 = 0; i0 < rows; i0 += tile)
    for (std::size_t j0 = 0; j0 < cols; j0 += tile) {
      const std::size_t i1 = std::min(i0 + tile, rows), j1 = std::min(j0 + tile, cols);
      for (std::size_t j = j0; j < j1; ++j)
        for (std::size_t i = i0; i < i1; ++i)
          out[j * out_stride + i] = in[i * in_stride + j];
    }
}

namespace {

void turn_block(const Source& source, std::size_t band, std::size_t count, std::size_t row, std::size_t rows,
                std::span<const float> spectra, std::span<float> planes, std::size_t stride) {
  constexpr std::size_t panel = 1024;
  const std::size_t cols = source.extent.cols, bands = source.extent.bands, first = row * cols, block = rows * cols;
#pragma omp parallel for schedule(static)
  for (std::size_t p = 0; p < block; p += panel)
    transpose(spectra.data() + p * bands + band, std::min(panel, block - p), count, bands, planes.data() + first + p,
              stride);
}

}  // namespace

void read_planes(const Source& source, std::size_t band, std::size_t count, std::span<float> planes,
                 std::size_t stride) {
  source.each_block([&](std::size_t row, std::size_t rows, std::span<const float> spectra) {
    turn_block(source, band, count, row, rows, spectra, planes, stride);
  });
}

void take_planes(const Source& source, std::span<float> planes, std::size_t stride) {
  if (!source.release) return read_planes(source, 0, source.extent.bands, planes, stride);
  const std::size_t step = rows_per_block(source.extent);
  std::vector<float> scratch;
  for (std::size_t row = 0; row < source.extent.rows; row += step) {
    const std::size_t rows = std::min(step, source.extent.rows - row);
    turn_block(source, 0, source.extent.bands, row, rows, source.read(row, rows, scratch), planes, stride);
    source.release(row, rows);
  }
}

std::size_t rows_per_block(Extent extent) {
  const std::size_t row_bytes = extent.cols * extent.bands * sizeof(float);
  const std::size_t rows = (std::size_t{32} << 20) / std::max<std::size_t>(row_bytes, 1);
  return std::clamp<std::size_t>(rows >= 64 ? rows / 64 * 64 : rows, 1, extent.rows);  // whole chunks of files
}

void read_planes(const Source& source, std::size_t band, std::span<float> planes) {
  const std::size_t pixels = source.extent.pixels();
  read_planes(source, band, planes.size() / pixels, planes, pixels);
}

std::size_t plane_stride(std::size_t pixels) {
  constexpr std::size_t line = 16, page = 1024;  // floats
  const std::size_t lines = (pixels + line - 1) / line * line;
  const std::size_t rest = lines % page;
  return rest < 3 * line ? lines + 3 * line : lines;
}

}  // namespace fachwerk::hyde
