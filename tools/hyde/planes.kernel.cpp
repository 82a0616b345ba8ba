#include "planes.kernel.hpp"

#include "compute/parallel.hpp"

namespace fachwerk::hyde::kernels {
namespace {

struct Widen {
  const float* from;
  double* to;
  FACHWERK_HD void operator()(std::size_t i) const { to[i] = static_cast<double>(from[i]); }
};

FACHWERK_HD std::size_t wrap(std::ptrdiff_t i, std::size_t n) {
  const auto m = static_cast<std::ptrdiff_t>(n);
  return static_cast<std::size_t>((i % m + m) % m);
}

// Where one-dimensional signals lie: `lines` of them in every plane, values `stride` apart.
struct Lines {
  std::size_t plane, lines, line_stride, length, stride;
  FACHWERK_HD std::size_t base(std::size_t line) const { return line / lines * plane + line % lines * line_stride; }
};

// a_i = sum_j h_j x_(2i + K - j), d_i with g: the first half of a line becomes a, the second d.
struct Analyse {
  Lines lines;
  const float *low, *high, *in;
  float* out;
  std::size_t taps;
  FACHWERK_HD void operator()(std::size_t line, std::size_t i) const {
    const float* x = in + lines.base(line);
    float a = 0, d = 0;
    for (std::size_t j = 0; j < taps; ++j) {
      const auto at = static_cast<std::ptrdiff_t>(2 * i + taps / 2) - static_cast<std::ptrdiff_t>(j);
      const float v = x[wrap(at, lines.length) * lines.stride];
      a += low[j] * v;
      d += high[j] * v;
    }
    float* o = out + lines.base(line);
    o[i * lines.stride] = a;
    o[(i + lines.length / 2) * lines.stride] = d;
  }
};

// x_m = sum_j h_j a_i + g_j d_i over the taps with 2i = m + j - K.
struct Synthesise {
  Lines lines;
  const float *low, *high, *in;
  float* out;
  std::size_t taps;
  FACHWERK_HD void operator()(std::size_t line, std::size_t m) const {
    const float* a = in + lines.base(line);
    const float* d = a + lines.length / 2 * lines.stride;
    const std::size_t half = lines.length / 2;
    float x = 0;
    for (std::size_t j = (m + taps / 2) % 2; j < taps; j += 2) {
      const auto twice = static_cast<std::ptrdiff_t>(m + j) - static_cast<std::ptrdiff_t>(taps / 2);
      const std::size_t i = wrap(twice / 2, half);
      x += low[j] * a[i * lines.stride] + high[j] * d[i * lines.stride];
    }
    out[lines.base(line) + m * lines.stride] = x;
  }
};

struct Shrink {
  std::size_t size, cols, first;
  const float* thresholds;
  std::size_t step, rows;
  float* planes;
  FACHWERK_HD void operator()(std::size_t line, std::size_t c) const {
    const std::size_t plane = line / rows;
    float& v = planes[plane * size + first + line % rows * cols + c];
    const float t = thresholds[plane * step];
    v = v > t ? v - t : v < -t ? v + t : 0.0F;
  }
};

Lines rows_of(const PlaneBlock& b) {
  return {b.size(), b.height, b.cols, b.width, 1};
}
Lines columns_of(const PlaneBlock& b) {
  return {b.size(), b.width, 1, b.height, b.cols};
}

}  // namespace

void widen(compute::View<const float> from, compute::View<double> to) {
  compute::parallel_for(from.device(), from.size(), Widen{from.data(), to.data()});
}

void analyse(const PlaneBlock& block, compute::View<const float> low, compute::View<const float> high,
             compute::View<float> planes, compute::View<float> half) {
  const Lines rows = rows_of(block), columns = columns_of(block);
  compute::parallel_for_2d(planes.device(), block.count * rows.lines, rows.length / 2,
                           Analyse{rows, low.data(), high.data(), planes.data(), half.data(), low.size()});
  compute::parallel_for_2d(planes.device(), block.count * columns.lines, columns.length / 2,
                           Analyse{columns, low.data(), high.data(), half.data(), planes.data(), low.size()});
}

void synthesise(const PlaneBlock& block, compute::View<const float> low, compute::View<const float> high,
                compute::View<float> planes, compute::View<float> half) {
  const Lines rows = rows_of(block), columns = columns_of(block);
  compute::parallel_for_2d(planes.device(), block.count * columns.lines, columns.length,
                           Synthesise{columns, low.data(), high.data(), planes.data(), half.data(), low.size()});
  compute::parallel_for_2d(planes.device(), block.count * rows.lines, rows.length,
                           Synthesise{rows, low.data(), high.data(), half.data(), planes.data(), low.size()});
}

void soft_threshold(const PlaneBlock& block, const Rectangle& r, compute::View<const float> thresholds,
                    std::size_t step, compute::View<float> planes) {
  compute::parallel_for_2d(
      planes.device(), block.count * r.rows, r.cols,
      Shrink{block.size(), block.cols, r.row * block.cols + r.col, thresholds.data(), step, r.rows, planes.data()});
}

}  // namespace fachwerk::hyde::kernels
