#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace fachwerk::hyde {

/// An orthonormal wavelet by its analysis filters; synthesis is their time reverse.
struct Wavelet {
  std::vector<double> low;   ///< h, sums to sqrt 2
  std::vector<double> high;  ///< g_k = (-1)^(k+1) h_(2K-1-k)
};

/// Daubechies' wavelet with `order` vanishing moments, 1 to 20, by spectral factorisation (extremal phase).
Wavelet daubechies(int order);
/// Symlet of `order` 2 to 10: the factor of the same polynomial with the most linear phase.
Wavelet symlet(int order);
/// "db1" to "db20", "sym2" to "sym10", "haar". Throws usage_error for another name.
Wavelet wavelet_by_name(const std::string& name);

/// A rectangle of coefficients. Level 0 is the smooth part, 1 the coarsest details, up to the number of levels.
struct Subband {
  int level;
  std::size_t row, col, rows, cols;
};

/// Two-dimensional orthonormal wavelet transform of one image plane: periodised filters, after the plane was padded at
/// its far edges to multiples of 2^levels by half-sample symmetric extension. White noise stays white where nothing was
/// padded.
class Dwt2 {
 public:
  Dwt2(std::size_t rows, std::size_t cols, const Wavelet& wavelet, int levels);

  std::size_t rows() const { return padded_rows_; }
  std::size_t cols() const { return padded_cols_; }
  std::size_t size() const { return padded_rows_ * padded_cols_; }
  int levels() const { return levels_; }
  std::span<const float> low() const { return low_; }
  std::span<const float> high() const { return high_; }
  /// The steps around the transform, for those who do it elsewhere: a plane at the beginning of an array of size() is
  /// extended in place; the inverse is cropped, or folded back as the transpose of the extension.
  void pad(std::span<float> plane) const;
  void crop(std::span<const float> values, std::span<float> plane) const;
  void fold(std::span<const float> values, std::span<float> plane) const;
  /// Smooth part, then level by level, coarse to fine: horizontal, vertical, diagonal details.
  const std::vector<Subband>& subbands() const { return subbands_; }
  /// 0 where a coefficient is smooth, else its level; [size()].
  std::vector<std::uint8_t> level_map() const;

  /// coefficients [rows()][cols()] of plane [rows][cols]. The two must not overlap.
  void forward(std::span<const float> plane, std::span<float> coefficients) const;
  /// The same in place: the array of size() begins with the plane.
  void forward(std::span<float> plane_and_coefficients) const;
  /// The plane, cropped. `coefficients` are used up; the plane may lie at their beginning.
  void inverse(std::span<float> coefficients, std::span<float> plane) const;
  /// Transpose of `forward`: the inverse, with the padding folded back. `coefficients` are used up.
  void adjoint(std::span<float> coefficients, std::span<float> plane) const;
  /// The inverse in place, not cropped.
  void inverse_padded(std::span<float> coefficients) const;

 private:
  std::size_t rows_, cols_, padded_rows_, padded_cols_;
  int levels_;
  std::vector<float> low_, high_;
  std::vector<Subband> subbands_;
};

/// The subband's coefficients one after another.
std::vector<float> coefficients_of(const Dwt2& dwt, const Subband& band, std::span<const float> coefficients);

}  // namespace fachwerk::hyde
