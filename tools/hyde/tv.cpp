#include "tv.hpp"

#include <algorithm>
#include <cmath>

#include "clones.hpp"

namespace fachwerk::hyde {
namespace {

// A row of x = f - ∇ᵀp; (∇ᵀp)_rc = h_(c-1) - h_c + v_(r-1) - v_r, h zero in the last column, v in the last row.
// `above` is null in the first row.
FACHWERK_CLONES
void primal_row(const float* f, const float* h, const float* v, const float* above, std::size_t cols,
                float* __restrict x) {
  x[0] = f[0] + h[0] + v[0];
  for (std::size_t c = 1; c < cols; ++c)
    x[c] = f[c] + h[c] - h[c - 1] + v[c];
  if (above != nullptr)
    for (std::size_t c = 0; c < cols; ++c)
      x[c] -= above[c];
}

// p_new = project(q + step ∇x) onto |p| <= weight; q = p_new + momentum (p_new - p). `below` is null in the last row.
FACHWERK_CLONES
void dual_row(const float* __restrict x, const float* __restrict below, std::size_t cols, float step, float weight,
              float momentum, float* __restrict ph, float* __restrict pv, float* __restrict qh, float* __restrict qv) {
  const auto update = [&](std::size_t c, float dh, float dv) {
    const float h = qh[c] + step * dh, v = qv[c] + step * dv;
    const float scale = weight / std::max(weight, std::sqrt(h * h + v * v));
    const float nh = h * scale, nv = v * scale;
    qh[c] = nh + momentum * (nh - ph[c]);
    qv[c] = nv + momentum * (nv - pv[c]);
    ph[c] = nh;
    pv[c] = nv;
  };
  if (below != nullptr) {
    for (std::size_t c = 0; c + 1 < cols; ++c)
      update(c, x[c + 1] - x[c], below[c] - x[c]);
    update(cols - 1, 0, below[cols - 1] - x[cols - 1]);
  } else {
    for (std::size_t c = 0; c + 1 < cols; ++c)
      update(c, x[c + 1] - x[c], 0);
    update(cols - 1, 0, 0);
  }
}

// Σ weight |∇x| - p·∇x: every term is non-negative, so the gap has no cancellation.
FACHWERK_CLONES
double gap_row(const float* x, const float* below, const float* h, const float* v, std::size_t cols, float weight) {
  float sum = 0;
  const std::size_t inner = cols - 1;
#pragma omp simd reduction(+ : sum)
  for (std::size_t c = 0; c < inner; ++c) {
    const float dh = x[c + 1] - x[c], dv = below != nullptr ? below[c] - x[c] : 0;
    sum += weight * std::sqrt(dh * dh + dv * dv) - h[c] * dh - v[c] * dv;
  }
  const float dv = below != nullptr ? below[cols - 1] - x[cols - 1] : 0;
  return static_cast<double>(sum) + static_cast<double>(weight * std::abs(dv) - v[cols - 1] * dv);
}

constexpr std::size_t interval = 8;  ///< iterations between two looks at the gap

double spread(std::span<const float> image) {
  double mean = 0, sum = 0;
  for (float v : image)
    mean += v / static_cast<double>(image.size());
  for (float v : image)
    sum += (v - mean) * (v - mean);
  return sum;
}

}  // namespace

TvResult tv_denoise(std::span<float> image, std::size_t rows, std::size_t cols, const TvOptions& options,
                    TvDual& dual) {
  TvResult result;
  const std::size_t n = rows * cols;
  const auto weight = static_cast<float>(options.weight);
  if (!(weight > 0)) {
    result.converged = true;
    return result;
  }
  // The mean passes through; without it the differences keep all their digits.
  double mean = 0;
  for (float v : image)
    mean += v / static_cast<double>(n);
  std::vector<float> f(n), x(n);
  for (std::size_t i = 0; i < n; ++i)
    f[i] = image[i] - static_cast<float>(mean);
  const double allowed = std::min(options.tolerance * spread(f),
                                  options.noise_tolerance * options.weight * options.weight * static_cast<double>(n));

  if (dual.horizontal.size() != n) dual = {std::vector<float>(n), std::vector<float>(n)};
  std::vector<float>&ph = dual.horizontal, &pv = dual.vertical;
  std::vector<float> qh = ph, qv = pv;
  const auto primal = [&](const std::vector<float>& h, const std::vector<float>& v, std::size_t r, float* row) {
    primal_row(&f[r * cols], &h[r * cols], &v[r * cols], r > 0 ? &v[(r - 1) * cols] : nullptr, cols, row);
  };
  // Fills x from p.
  const auto gap = [&] {
    double sum = 0;
    primal(ph, pv, 0, x.data());
    for (std::size_t r = 0; r < rows; ++r) {
      const bool last = r + 1 == rows;
      if (!last) primal(ph, pv, r + 1, &x[(r + 1) * cols]);
      sum += gap_row(&x[r * cols], last ? nullptr : &x[(r + 1) * cols], &ph[r * cols], &pv[r * cols], cols, weight);
    }
    return sum;
  };
  // Iterations run behind each other through the image, each a row behind the one before: rows are still in the cache
  // when the next iteration comes. Each has two rows of its x; row r + 1 is made before row r of q changes.
  std::vector<float> window(2 * interval * cols);
  const auto row_of_x = [&](std::size_t k, std::size_t r) { return &window[(2 * k + r % 2) * cols]; };
  const auto sweep = [&](std::span<const float> momenta) {
    for (std::size_t step = 0; step < rows + momenta.size() - 1; ++step)
      for (std::size_t k = step < rows ? 0 : step - rows + 1; k < momenta.size() && k <= step; ++k) {
        const std::size_t r = step - k, at = r * cols;
        const bool last = r + 1 == rows;
        if (r == 0) primal(qh, qv, 0, row_of_x(k, 0));
        if (!last) primal(qh, qv, r + 1, row_of_x(k, r + 1));
        dual_row(row_of_x(k, r), last ? nullptr : row_of_x(k, r + 1), cols, 0.125F, weight, momenta[k], &ph[at],
                 &pv[at], &qh[at], &qv[at]);
      }
  };

  double t = 1;
  result.gap = gap();
  result.gaps.push_back(result.gap);
  std::vector<float> best = x, momenta;
  while (result.gap > allowed && result.iterations < options.iterations) {
    momenta.clear();
    for (; momenta.size() < interval && result.iterations < options.iterations; ++result.iterations) {
      const double next_t = (1 + std::sqrt(1 + 4 * t * t)) / 2;
      momenta.push_back(static_cast<float>((t - 1) / next_t));
      t = next_t;
    }
    sweep(momenta);
    const double now = gap();
    if (now < result.gap) {
      result.gap = now;
      best.swap(x);
    }
    result.gaps.push_back(result.gap);
  }
  result.converged = result.gap <= allowed;
  for (std::size_t i = 0; i < n; ++i)
    image[i] = best[i] + static_cast<float>(mean);
  return result;
}

}  // namespace fachwerk::hyde
