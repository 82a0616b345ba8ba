#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "cube.hpp"
#include "linear.hpp"

namespace fachwerk::hyde {

/// A cube of few components: y_p = sum_i basis[:, i] planes[i][p]. What every subspace method returns; the cube itself
/// is made block by block as it is written.
struct LowRank {
  Extent extent;
  Matrix basis;               ///< [bands, rank]
  std::vector<float> planes;  ///< [rank][pixels]
  std::size_t rank() const { return basis.cols; }
  std::span<float> plane(std::size_t i) { return std::span(planes).subspan(i * extent.pixels(), extent.pixels()); }
  std::span<const float> plane(std::size_t i) const {
    return std::span(planes).subspan(i * extent.pixels(), extent.pixels());
  }
};

/// planes[i][p] = directions[:, i] · y_p for all pixels: [directions.cols][pixels], planes `stride` apart (0: without
/// gaps). One pass.
std::vector<float> project(const Source& source, const Matrix& directions, std::size_t stride = 0);

/// Spectra of rows [row, row + rows) into `spectra` [rows * cols][bands].
void reconstruct(const LowRank& model, std::size_t row, std::size_t rows, std::span<float> spectra);

/// All of it into a sink by blocks of rows (`block_rows` 0: some megabytes at a time).
void reconstruct(const LowRank& model, const Sink& sink, std::size_t block_rows = 0);

/// Gives invalid pixels of each plane values that continue their surroundings smoothly (harmonic extension), so that
/// spatial filters see no holes. Nothing to do when `valid` is empty.
void fill_invalid(std::span<float> planes, std::size_t rows, std::size_t cols, std::span<const std::uint8_t> valid);

}  // namespace fachwerk::hyde
