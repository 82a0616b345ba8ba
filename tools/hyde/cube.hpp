#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "team.hpp"

namespace fachwerk::hyde {

class Accelerator;

/// Size of a cube. Pixels are numbered row by row; in memory the band runs fastest.
struct Extent {
  std::size_t rows = 0, cols = 0, bands = 0;
  std::size_t pixels() const { return rows * cols; }
  std::size_t size() const { return rows * cols * bands; }
  bool operator==(const Extent&) const = default;
};

/// A cube that is read by blocks of whole rows, from memory or from a file, so that methods stream. Pixels that are not
/// valid (no data, NaN) read as zero spectra: they add nothing to Gram matrices, and `valid` counts them out.
struct Source {
  /// Spectra of rows [row, row + rows): a view into memory, or into `scratch`, which it may fill.
  using Read = std::function<std::span<const float>(std::size_t row, std::size_t rows, std::vector<float>& scratch)>;

  Extent extent;
  Read read;
  std::vector<std::uint8_t> valid = {};  ///< [pixels], 1 = valid; empty when all are
  std::size_t block_rows = 0;            ///< rows read at a time; 0 = all
  /// Rows whose memory may go: reading them again costs a reading of the file. Null where nothing is to be gained.
  std::function<void(std::size_t row, std::size_t rows)> release = {};
  /// The processes that share the cube; `extent` and `valid` are then of this one's rows. Null: this one has all.
  std::shared_ptr<const Team> team = {};
  /// The device that passes over the cube run on; null: the loops of this processor.
  std::shared_ptr<Accelerator> accelerator = {};

  bool is_valid(std::size_t pixel) const { return valid.empty() || valid[pixel] != 0; }
  std::size_t valid_pixels() const;  ///< of the whole cube

  const Team& members() const;
  Extent whole() const;                          ///< of the whole cube
  std::vector<std::size_t> pixels_held() const;  ///< by each member
  std::vector<std::uint8_t> whole_valid() const;
  /// Sums over pixels become those of the whole cube.
  void sum_over_members(std::span<double> values) const;

  /// Calls `fn(first_row, rows, spectra)` for block after block.
  void each_block(const std::function<void(std::size_t, std::size_t, std::span<const float>)>& fn) const;
};

/// Takes the spectra of rows [row, row + rows), blocks in order.
using Sink = std::function<void(std::size_t row, std::size_t rows, std::span<const float> spectra)>;

/// A source over a cube in memory, which must outlive it. `block_rows` other than 0 is for tests of streaming.
Source memory_source(std::span<const float> cube, Extent extent, std::size_t block_rows = 0);

/// A sink into a cube in memory.
Sink memory_sink(std::span<float> cube, Extent extent);

/// Bands [band, band + count) of a source as planes [band][pixel] that begin `stride` apart; the second form: as many
/// as fit without gaps.
void read_planes(const Source& source, std::size_t band, std::size_t count, std::span<float> planes,
                 std::size_t stride);
void read_planes(const Source& source, std::size_t band, std::span<float> planes);
/// All bands, the source's memory being released as they go over.
void take_planes(const Source& source, std::span<float> planes, std::size_t stride);

/// Rows that make about 32 MB of float spectra.
std::size_t rows_per_block(Extent extent);

/// A distance between planes at which the same pixel of all of them does not fall into the same few lines of the cache.
std::size_t plane_stride(std::size_t pixels);

/// out[j][i] = in[i][j] by cache-sized blocks; `in` is rows x cols with row distance `in_stride`.
void transpose(const float* in, std::size_t rows, std::size_t cols, std::size_t in_stride, float* out,
               std::size_t out_stride);

}  // namespace fachwerk::hyde
