#include "image.hpp"

#include <algorithm>
#include <cmath>

#include "bm3d.hpp"
#include "cli/error.hpp"
#include "clones.hpp"
#include "sure.hpp"
#include "tv.hpp"
#include "wavelet.hpp"

namespace fachwerk::hyde {
namespace {

std::size_t mirror(std::ptrdiff_t i, std::size_t n) {
  const auto period = static_cast<std::ptrdiff_t>(2 * n);
  i = ((i % period) + period) % period;
  const auto u = static_cast<std::size_t>(i);
  return u < n ? u : 2 * n - 1 - u;
}

// Image with `margin` mirrored pixels around it.
std::vector<float> mirrored(std::span<const float> image, std::size_t rows, std::size_t cols, std::size_t margin) {
  const std::size_t width = cols + 2 * margin;
  std::vector<float> out((rows + 2 * margin) * width);
  for (std::size_t r = 0; r < rows + 2 * margin; ++r) {
    const float* in =
        image.data() + mirror(static_cast<std::ptrdiff_t>(r) - static_cast<std::ptrdiff_t>(margin), rows) * cols;
    for (std::size_t c = 0; c < width; ++c)
      out[r * width + c] = in[mirror(static_cast<std::ptrdiff_t>(c) - static_cast<std::ptrdiff_t>(margin), cols)];
  }
  return out;
}

// sums[r][c] over the (2 radius + 1)² window whose top left corner is (r, c) of `in`; out is rows x cols.
void window_sums(const std::vector<float>& in, std::size_t rows, std::size_t cols, std::size_t radius,
                 std::vector<float>& out) {
  const std::size_t size = 2 * radius + 1, width = cols + 2 * radius;
  std::vector<float> column(width);
  out.resize(rows * cols);
  for (std::size_t r = 0; r < rows; ++r) {
    std::fill(column.begin(), column.end(), 0.0F);
    for (std::size_t k = 0; k < size; ++k)
      for (std::size_t c = 0; c < width; ++c)
        column[c] += in[(r + k) * width + c];
    for (std::size_t c = 0; c < cols; ++c) {
      float sum = 0;
      for (std::size_t k = 0; k < size; ++k)
        sum += column[c + k];
      out[r * cols + c] = sum;
    }
  }
}

void gather_window(std::span<const float> image, std::size_t rows, std::size_t cols, std::size_t r, std::size_t c,
                   std::size_t radius, std::vector<float>& window) {
  window.clear();
  const auto reach = static_cast<std::ptrdiff_t>(radius);
  for (std::ptrdiff_t i = -reach; i <= reach; ++i)
    for (std::ptrdiff_t j = -reach; j <= reach; ++j)
      window.push_back(image[mirror(static_cast<std::ptrdiff_t>(r) + i, rows) * cols +
                             mirror(static_cast<std::ptrdiff_t>(c) + j, cols)]);
}

}  // namespace

const std::vector<std::string>& core_names() {
  static const std::vector<std::string> names{"bm3d", "nlm", "tv", "dwt-sure", "wiener"};
  return names;
}

Core core_by_name(const std::string& name) {
  for (std::size_t i = 0; i < core_names().size(); ++i)
    if (core_names()[i] == name) return static_cast<Core>(i);
  throw usage_error("no image denoiser \"{}\"", name).with_hint("bm3d, nlm, tv, dwt-sure or wiener");
}

void nonlocal_means(std::span<float> image, std::size_t rows, std::size_t cols, double sigma) {
  constexpr std::size_t patch = 3, reach = 10, margin = patch + reach;
  const std::vector<float> wide = mirrored(image, rows, cols, margin);
  const std::size_t width = cols + 2 * margin;
  const auto noise = static_cast<float>(2 * sigma * sigma), scale = static_cast<float>(-1 / (0.49 * sigma * sigma));
  std::vector<float> sum(rows * cols), weights(rows * cols), largest(rows * cols), difference, distance;
  for (std::size_t dr = 0; dr <= 2 * reach; ++dr)
    for (std::size_t dc = 0; dc <= 2 * reach; ++dc) {
      if (dr == reach && dc == reach) continue;
      const std::size_t inner = cols + 2 * patch;
      difference.resize((rows + 2 * patch) * inner);
      for (std::size_t r = 0; r < rows + 2 * patch; ++r)
        for (std::size_t c = 0; c < inner; ++c) {
          const float d = wide[(r + reach) * width + c + reach] - wide[(r + dr) * width + c + dc];
          difference[r * inner + c] = d * d;
        }
      window_sums(difference, rows, cols, patch, distance);
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < cols; ++c) {
          const std::size_t p = r * cols + c;
          const float w = std::exp(scale * std::max(distance[p] / 49 - noise, 0.0F));
          sum[p] += w * wide[(r + patch + dr) * width + c + patch + dc];
          weights[p] += w;
          largest[p] = std::max(largest[p], w);
        }
    }
  for (std::size_t p = 0; p < sum.size(); ++p) {
    const float own = std::max(largest[p], 1e-6F);  // a pixel counts for itself as much as its best friend
    image[p] = (sum[p] + own * image[p]) / (weights[p] + own);
  }
}

void wavelet_shrink(std::span<float> image, std::size_t rows, std::size_t cols, double sigma) {
  const std::size_t side = std::min(rows, cols);
  int levels = 1;
  while (levels < 5 && (side >> levels) >= 8)
    ++levels;
  const Dwt2 dwt(rows, cols, daubechies(5), levels);
  for (float& v : image)
    v /= static_cast<float>(sigma);
  std::vector<float> coefficients(dwt.size());
  dwt.forward(image, coefficients);
  for (const Subband& band : dwt.subbands()) {
    if (band.level == 0) continue;
    std::vector<float> values;
    for (std::size_t r = 0; r < band.rows; ++r)
      for (std::size_t c = 0; c < band.cols; ++c)
        values.push_back(coefficients[(band.row + r) * dwt.cols() + band.col + c]);
    const auto t = static_cast<float>(sure_exact(values).value);
    for (std::size_t r = 0; r < band.rows; ++r)
      soft_threshold(std::span(coefficients).subspan((band.row + r) * dwt.cols() + band.col, band.cols), t);
  }
  dwt.inverse(coefficients, image);
  for (float& v : image)
    v *= static_cast<float>(sigma);
}

void local_wiener(std::span<float> image, std::size_t rows, std::size_t cols, double sigma) {
  constexpr std::size_t radius = 2;
  const std::vector<float> wide = mirrored(image, rows, cols, radius);
  std::vector<float> squares(wide.size()), mean, square;
  std::transform(wide.begin(), wide.end(), squares.begin(), [](float v) { return v * v; });
  window_sums(wide, rows, cols, radius, mean);
  window_sums(squares, rows, cols, radius, square);
  const auto noise = static_cast<float>(sigma * sigma);
  for (std::size_t p = 0; p < image.size(); ++p) {
    const float m = mean[p] / 25, variance = std::max(square[p] / 25 - m * m, 0.0F);
    const float gain = variance > noise ? (variance - noise) / variance : 0;
    image[p] = m + gain * (image[p] - m);
  }
}

void denoise_image(Core core, std::span<float> image, std::size_t rows, std::size_t cols, double sigma) {
  if (!(sigma > 0)) return;
  switch (core) {
    case Core::bm3d:
      return bm3d(image, rows, cols, sigma);
    case Core::nlm:
      return nonlocal_means(image, rows, cols, sigma);
    case Core::dwt_sure:
      return wavelet_shrink(image, rows, cols, sigma);
    case Core::wiener:
      return local_wiener(image, rows, cols, sigma);
    case Core::tv: {
      TvDual dual;
      tv_denoise(image, rows, cols, {.weight = sigma}, dual);
      return;
    }
  }
}

void denoise_planes(Core core, std::span<float> planes, std::size_t rows, std::size_t cols,
                    std::span<const double> sigmas) {
  const std::size_t pixels = rows * cols;
  const auto one = [&](std::size_t i) {
    const std::span<float> plane = planes.subspan(i * pixels, pixels);
    const auto [low, high] = std::minmax_element(plane.begin(), plane.end());
    const float floor = *low, range = *high - floor;
    if (!(range > 0)) return;
    for (float& v : plane)
      v = (v - floor) / range;
    denoise_image(core, plane, rows, cols, sigmas[i] / range);
    for (float& v : plane)
      v = v * range + floor;
  };
  if (core == Core::bm3d) {  // threads work on strips of one image
    for (std::size_t i = 0; i < sigmas.size(); ++i)
      one(i);
    return;
  }
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < sigmas.size(); ++i)
    one(i);
}

void median_filter(std::span<float> image, std::size_t rows, std::size_t cols, std::size_t radius) {
  const std::vector<float> in(image.begin(), image.end());
  std::vector<float> window;
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < cols; ++c) {
      gather_window(in, rows, cols, r, c, radius, window);
      const auto middle = window.begin() + static_cast<std::ptrdiff_t>(window.size() / 2);
      std::nth_element(window.begin(), middle, window.end());
      image[r * cols + c] = *middle;
    }
}

void adaptive_median(std::span<float> image, std::size_t rows, std::size_t cols, std::size_t largest) {
  const std::vector<float> in(image.begin(), image.end());
  std::vector<float> window;
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < cols; ++c) {
      float& pixel = image[r * cols + c];
      for (std::size_t radius = 1; 2 * radius + 1 <= largest; ++radius) {
        gather_window(in, rows, cols, r, c, radius, window);
        const auto middle = window.begin() + static_cast<std::ptrdiff_t>(window.size() / 2);
        std::nth_element(window.begin(), middle, window.end());
        const float median = *middle, low = *std::min_element(window.begin(), middle + 1),
                    high = *std::max_element(middle, window.end());
        if (low < median && median < high) {
          if (!(low < pixel && pixel < high)) pixel = median;
          break;
        }
        if (2 * radius + 3 > largest) pixel = median;
      }
    }
}

}  // namespace fachwerk::hyde
