#include "neural/fused.hpp"

#include <cmath>
#include <limits>

#include "compute/clones.hpp"

namespace fachwerk::neural {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

#define FACHWERK_INLINE __attribute__((always_inline)) inline

/// Sums over one plane of d = x - shift, and of d^2.
struct Sums {
  double first = 0, second = 0;
};

template <class T>
FACHWERK_INLINE Sums moments(const T* x, std::int64_t n, T shift) {
  T s = 0, q = 0;
#pragma omp simd reduction(+ : s, q)
  for (std::int64_t i = 0; i < n; ++i) {
    const T d = x[i] - shift;
    s += d;
    q += d * d;
  }
  return {static_cast<double>(s), static_cast<double>(q)};
}

/// y = x scale + offset, plus skip, not below zero.
template <class T>
FACHWERK_INLINE void normalise(const T* __restrict x, const T* __restrict skip, T* __restrict y, std::int64_t n,
                               T scale, T offset, bool relu) {
  const T floor = relu ? T(0) : -std::numeric_limits<T>::infinity();
  if (skip == nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) {
      const T v = x[i] * scale + offset;
      y[i] = v < floor ? floor : v;
    }
    return;
  }
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const T v = x[i] * scale + offset + skip[i];
    y[i] = v < floor ? floor : v;
  }
}

/// Sums over one plane of the gradient g behind the ReLU (y null: none) and of g (x - mean).
template <class T>
FACHWERK_INLINE Sums gradient_sums(const T* g, const T* y, const T* x, std::int64_t n, T mean) {
  T s = 0, p = 0;
  if (y == nullptr) {
#pragma omp simd reduction(+ : s, p)
    for (std::int64_t i = 0; i < n; ++i) {
      s += g[i];
      p += g[i] * (x[i] - mean);
    }
  } else {
#pragma omp simd reduction(+ : s, p)
    for (std::int64_t i = 0; i < n; ++i) {
      const T v = y[i] <= 0 ? T(0) : g[i];
      s += v;
      p += v * (x[i] - mean);
    }
  }
  return {static_cast<double>(s), static_cast<double>(p)};
}

/// of_x = a g + b (x - mean) + c, of_skip (may be null) = g, with g behind the ReLU.
template <class T>
FACHWERK_INLINE void pass_back(const T* __restrict g, const T* __restrict y, const T* __restrict x, std::int64_t n,
                               T mean, T a, T b, T c, T* __restrict of_x, T* __restrict of_skip) {
  if (y == nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i)
      of_x[i] = a * g[i] + (b * (x[i] - mean) + c);
  } else if (of_skip == nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) {
      const T v = y[i] <= 0 ? T(0) : g[i];
      of_x[i] = a * v + (b * (x[i] - mean) + c);
    }
  } else {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) {
      const T v = y[i] <= 0 ? T(0) : g[i];
      of_skip[i] = v;
      of_x[i] = a * v + (b * (x[i] - mean) + c);
    }
  }
}

/// Where in its tile, row by row, the largest value of a tile is; `none` when no value is above zero. As wide as a
/// float, so that both fill vector registers alike.
using Place = std::int32_t;
constexpr Place none = -1;

template <class T>
FACHWERK_INLINE void pool(const T* __restrict x, std::int64_t columns, std::int64_t k, std::int64_t rows_out,
                          std::int64_t columns_out, T* __restrict y, Place* __restrict place) {
  for (std::int64_t r = 0; r < rows_out; ++r)
    for (std::int64_t c = 0; c < columns_out; ++c) {
      T best = 0;
      Place at = none;
      for (std::int64_t i = 0; i < k; ++i)
        for (std::int64_t j = 0; j < k; ++j) {
          const T v = x[(r * k + i) * columns + c * k + j];
          const bool more = !(v <= best);  // what is not a number, too
          best = more ? v : best;
          at = more ? static_cast<Place>(i * k + j) : at;
        }
      y[r * columns_out + c] = best;
      place[r * columns_out + c] = at;
    }
}

/// The same for tiles of 2 x 2, as selections without branches.
template <class T>
FACHWERK_INLINE void pool_pairs(const T* __restrict x, std::int64_t columns, std::int64_t rows_out,
                                std::int64_t columns_out, T* __restrict y, Place* __restrict place) {
  for (std::int64_t r = 0; r < rows_out; ++r) {
    const T* __restrict upper = x + 2 * r * columns;
    const T* __restrict lower = upper + columns;
    T* __restrict out = y + r * columns_out;
    Place* __restrict where = place + r * columns_out;
#pragma omp simd
    for (std::int64_t c = 0; c < columns_out; ++c) {
      const T a = upper[2 * c], b = upper[2 * c + 1], d = lower[2 * c], e = lower[2 * c + 1];
      const T m0 = a <= T(0) ? T(0) : a;
      const Place i0 = a <= T(0) ? none : 0;
      const T m1 = b <= m0 ? m0 : b;
      const Place i1 = b <= m0 ? i0 : 1;
      const T m2 = d <= m1 ? m1 : d;
      const Place i2 = d <= m1 ? i1 : 2;
      out[c] = e <= m2 ? m2 : e;
      where[c] = e <= m2 ? i2 : 3;
    }
  }
}

template <class T>
FACHWERK_INLINE void unpool(const T* __restrict g, const Place* __restrict place, std::int64_t rows,
                            std::int64_t columns, std::int64_t k, T* __restrict of_x) {
  const std::int64_t columns_out = columns / k;
  std::fill_n(of_x, rows * columns, T(0));
  for (std::int64_t r = 0; r < rows / k; ++r)
    for (std::int64_t c = 0; c < columns_out; ++c) {
      const Place at = place[r * columns_out + c];
      if (at != none) of_x[(r * k + at / k) * columns + c * k + at % k] = g[r * columns_out + c];
    }
}

template <class T>
FACHWERK_INLINE void unpool_pairs(const T* __restrict g, const Place* __restrict place, std::int64_t rows,
                                  std::int64_t columns, T* __restrict of_x) {
  const std::int64_t rows_out = rows / 2, columns_out = columns / 2;
  if (rows % 2 != 0 || columns % 2 != 0) std::fill_n(of_x, rows * columns, T(0));
  for (std::int64_t r = 0; r < rows_out; ++r) {
    const T* __restrict from = g + r * columns_out;
    const Place* __restrict where = place + r * columns_out;
    T* __restrict upper = of_x + 2 * r * columns;
    T* __restrict lower = upper + columns;
#pragma omp simd
    for (std::int64_t c = 0; c < columns_out; ++c) {
      upper[2 * c] = where[c] == 0 ? from[c] : T(0);
      upper[2 * c + 1] = where[c] == 1 ? from[c] : T(0);
    }
#pragma omp simd
    for (std::int64_t c = 0; c < columns_out; ++c) {
      lower[2 * c] = where[c] == 2 ? from[c] : T(0);
      lower[2 * c + 1] = where[c] == 3 ? from[c] : T(0);
    }
  }
}

// The vectorised copies; the templates above are inlined into them.
#define FACHWERK_KERNELS(T)                                                                                          \
  FACHWERK_CLONES Sums moments_of(const T* x, std::int64_t n, T shift) {                                             \
    return moments(x, n, shift);                                                                                     \
  }                                                                                                                  \
  FACHWERK_CLONES void normalise_to(const T* x, const T* skip, T* y, std::int64_t n, T scale, T offset, bool relu) { \
    normalise(x, skip, y, n, scale, offset, relu);                                                                   \
  }                                                                                                                  \
  FACHWERK_CLONES Sums gradient_sums_of(const T* g, const T* y, const T* x, std::int64_t n, T mean) {                \
    return gradient_sums(g, y, x, n, mean);                                                                          \
  }                                                                                                                  \
  FACHWERK_CLONES void pass_back_to(const T* g, const T* y, const T* x, std::int64_t n, T mean, T a, T b, T c,       \
                                    T* of_x, T* of_skip) {                                                           \
    pass_back(g, y, x, n, mean, a, b, c, of_x, of_skip);                                                             \
  }                                                                                                                  \
  FACHWERK_CLONES void pool_to(const T* x, std::int64_t columns, std::int64_t k, std::int64_t rows_out,              \
                               std::int64_t columns_out, T* y, Place* place) {                                       \
    if (k == 2)                                                                                                      \
      pool_pairs(x, columns, rows_out, columns_out, y, place);                                                       \
    else                                                                                                             \
      pool(x, columns, k, rows_out, columns_out, y, place);                                                          \
  }                                                                                                                  \
  FACHWERK_CLONES void unpool_to(const T* g, const Place* place, std::int64_t rows, std::int64_t columns,            \
                                 std::int64_t k, T* of_x) {                                                          \
    if (k == 2)                                                                                                      \
      unpool_pairs(g, place, rows, columns, of_x);                                                                   \
    else                                                                                                             \
      unpool(g, place, rows, columns, k, of_x);                                                                      \
  }
FACHWERK_KERNELS(float)
FACHWERK_KERNELS(double)
#undef FACHWERK_KERNELS

/// Planes [begin, end) of [N,C,H,W] at a time, on all threads.
template <class Fn>
void each_plane(std::int64_t planes, std::int64_t area, const Fn& fn) {
  at::parallel_for(0, planes, std::max<std::int64_t>(1, 32768 / std::max<std::int64_t>(1, area)),
                   [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t p = begin; p < end; ++p)
                       fn(p);
                   });
}

/// Sums over the planes of each channel, in a fixed order.
template <class Fn>
std::vector<Sums> channel_sums(std::int64_t samples, std::int64_t channels, std::int64_t area, const Fn& of_plane) {
  std::vector<Sums> planes(static_cast<std::size_t>(samples * channels)), sums(static_cast<std::size_t>(channels));
  each_plane(samples * channels, area, [&](std::int64_t p) { planes[static_cast<std::size_t>(p)] = of_plane(p); });
  for (std::size_t p = 0; p < planes.size(); ++p) {
    Sums& to = sums[p % sums.size()];
    to.first += planes[p].first;
    to.second += planes[p].second;
  }
  return sums;
}

template <class T>
const T* data_or_null(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.data_ptr<T>() : nullptr;
}

/// Mean and 1/deviation of each channel, as [2,C] doubles; moves the running averages.
template <class T>
at::Tensor statistics(const at::Tensor& x, const at::Tensor& running_mean, const at::Tensor& running_variance,
                      double epsilon) {
  const std::int64_t channels = x.size(1), area = x.size(2) * x.size(3);
  const T* values = x.data_ptr<T>();
  // Distances from one value of the channel: no cancellation where the mean is far from zero.
  const auto shift = [&](std::int64_t plane) { return values[plane % channels * area]; };
  const auto sums = channel_sums(x.size(0), channels, area,
                                 [&](std::int64_t p) { return moments_of(values + p * area, area, shift(p)); });
  const auto n = static_cast<double>(x.size(0) * area);
  at::Tensor result = at::empty({2, channels}, at::kDouble);
  double* mean = result.data_ptr<double>();
  for (std::int64_t c = 0; c < channels; ++c) {
    const Sums& s = sums[static_cast<std::size_t>(c)];
    mean[c] = static_cast<double>(shift(c)) + s.first / n;
    const double variance = std::max(0.0, s.second / n - s.first / n * (s.first / n));
    mean[channels + c] = 1 / std::sqrt(variance + epsilon);
    if (std::isnan(s.second)) mean[channels + c] = s.second;
    const auto move = [](T& running, double now) {
      running = static_cast<T>(0.9) * running + static_cast<T>(0.1 * now);
    };
    move(running_mean.data_ptr<T>()[c], mean[c]);
    move(running_variance.data_ptr<T>()[c], variance * n / std::max(1.0, n - 1));
  }
  return result;
}

template <class T>
void norm_forward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& skip,
                  const at::Tensor& statistic, bool relu, const at::Tensor& y) {
  const std::int64_t channels = x.size(1), area = x.size(2) * x.size(3);
  const double* mean = statistic.data_ptr<double>();
  const T* w = weight.data_ptr<T>();
  const T* b = bias.data_ptr<T>();
  const T* from = x.data_ptr<T>();
  const T* more = data_or_null<T>(skip);
  T* to = y.data_ptr<T>();
  each_plane(x.size(0) * channels, area, [&](std::int64_t p) {
    const std::int64_t c = p % channels;
    const double scale = static_cast<double>(w[c]) * mean[channels + c];
    normalise_to(from + p * area, more == nullptr ? nullptr : more + p * area, to + p * area, area,
                 static_cast<T>(scale), static_cast<T>(static_cast<double>(b[c]) - mean[c] * scale), relu);
  });
}

/// S. Ioffe, C. Szegedy, ICML 2015, section 3, the chain rule with both sums over the channel taken first.
template <class T>
void norm_backward(const at::Tensor& gradient, const at::Tensor& y, const at::Tensor& x, const at::Tensor& weight,
                   const at::Tensor& statistic, const at::Tensor& of_x, const at::Tensor& of_weight,
                   const at::Tensor& of_bias, const at::Tensor& of_skip) {
  const std::int64_t channels = x.size(1), area = x.size(2) * x.size(3);
  const double* mean = statistic.data_ptr<double>();
  const T* g = gradient.data_ptr<T>();
  const T* out = data_or_null<T>(y);
  const T* in = x.data_ptr<T>();
  const auto plane = [&](const T* all, std::int64_t p) { return all == nullptr ? nullptr : all + p * area; };
  const auto sums = channel_sums(x.size(0), channels, area, [&](std::int64_t p) {
    return gradient_sums_of(g + p * area, plane(out, p), in + p * area, area, static_cast<T>(mean[p % channels]));
  });
  const auto n = static_cast<double>(x.size(0) * area);
  for (std::int64_t c = 0; c < channels; ++c) {
    of_bias.data_ptr<T>()[c] = static_cast<T>(sums[static_cast<std::size_t>(c)].first);
    of_weight.data_ptr<T>()[c] = static_cast<T>(sums[static_cast<std::size_t>(c)].second * mean[channels + c]);
  }
  const T* w = weight.data_ptr<T>();
  T* to = of_x.data_ptr<T>();
  T* to_skip = of_skip.defined() ? of_skip.data_ptr<T>() : nullptr;
  each_plane(x.size(0) * channels, area, [&](std::int64_t p) {
    const std::int64_t c = p % channels;
    const Sums& s = sums[static_cast<std::size_t>(c)];
    const double inverse = mean[channels + c], a = static_cast<double>(w[c]) * inverse;
    pass_back_to(g + p * area, plane(out, p), in + p * area, area, static_cast<T>(mean[c]), static_cast<T>(a),
                 static_cast<T>(-a * inverse * inverse * s.second / n), static_cast<T>(-a * s.first / n), to + p * area,
                 to_skip == nullptr ? nullptr : to_skip + p * area);
  });
}

struct Norm : torch::autograd::Function<Norm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, const c10::optional<at::Tensor>& added,
                            const at::Tensor& running_mean, const at::Tensor& running_variance, double epsilon,
                            bool relu) {
    const at::Tensor skip = added.value_or(at::Tensor());
    at::Tensor y = at::empty_like(x), statistic;
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "fused_norm", [&] {
      statistic = statistics<scalar_t>(x, running_mean, running_variance, epsilon);
      norm_forward<scalar_t>(x, weight, bias, skip, statistic, relu, y);
    });
    context->save_for_backward({x, weight, statistic, relu ? y : at::Tensor()});
    context->saved_data["skip"] = skip.defined();
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &y = saved[3];
    const at::Tensor g = gradients[0].contiguous();
    const bool skip = context->saved_data["skip"].toBool();
    const at::Tensor of_x = at::empty_like(x), of_weight = at::empty_like(weight), of_bias = at::empty_like(weight);
    // Without a ReLU the gradient goes to the skip as it is.
    const at::Tensor of_skip = !skip ? at::Tensor() : y.defined() ? at::empty_like(x) : g;
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "fused_norm_backward", [&] {
      norm_backward<scalar_t>(g, y, x, weight, saved[2], of_x, of_weight, of_bias,
                              y.defined() ? of_skip : at::Tensor());
    });
    return {of_x, of_weight, of_bias, of_skip, {}, {}, {}, {}};
  }
};

struct ReluPool : torch::autograd::Function<ReluPool> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, std::int64_t kernel) {
    const std::int64_t rows = x.size(2) / kernel, columns = x.size(3) / kernel, planes = x.size(0) * x.size(1);
    const at::Tensor y = at::empty({x.size(0), x.size(1), rows, columns}, x.options());
    const at::Tensor place = at::empty(y.sizes(), at::kInt);
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "fused_relu_pool", [&] {
      const auto* from = x.data_ptr<scalar_t>();
      auto* to = y.data_ptr<scalar_t>();
      each_plane(planes, x.size(2) * x.size(3), [&](std::int64_t p) {
        pool_to(from + p * x.size(2) * x.size(3), x.size(3), kernel, rows, columns, to + p * rows * columns,
                place.data_ptr<Place>() + p * rows * columns);
      });
    });
    context->save_for_backward({place});
    context->saved_data["rows"] = x.size(2);
    context->saved_data["columns"] = x.size(3);
    context->saved_data["kernel"] = kernel;
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor place = context->get_saved_variables()[0], g = gradients[0].contiguous();
    const std::int64_t rows = context->saved_data["rows"].toInt(), columns = context->saved_data["columns"].toInt();
    const std::int64_t kernel = context->saved_data["kernel"].toInt(), tiles = g.size(2) * g.size(3);
    const at::Tensor of_x = at::empty({g.size(0), g.size(1), rows, columns}, g.options());
    AT_DISPATCH_FLOATING_TYPES(g.scalar_type(), "fused_relu_pool_backward", [&] {
      const auto* from = g.data_ptr<scalar_t>();
      auto* to = of_x.data_ptr<scalar_t>();
      each_plane(g.size(0) * g.size(1), rows * columns, [&](std::int64_t p) {
        unpool_to(from + p * tiles, place.data_ptr<Place>() + p * tiles, rows, columns, kernel,
                  to + p * rows * columns);
      });
    });
    return {of_x, {}};
  }
};

}  // namespace

at::Tensor fused_norm(const at::Tensor& x, const NormWeights& norm, const at::Tensor& skip, bool relu) {
  return Norm::apply(x.contiguous(), norm.weight, norm.bias,
                     skip.defined() ? c10::optional<at::Tensor>(skip.contiguous()) : c10::nullopt, norm.running_mean,
                     norm.running_variance, norm.epsilon, relu);
}

at::Tensor fused_relu_pool(const at::Tensor& x, std::int64_t kernel) {
  return ReluPool::apply(x.contiguous(), kernel);
}

}  // namespace fachwerk::neural
