#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "compute/buffer.hpp"
#include "compute/parallel.hpp"

namespace fachwerk::compute {

/// How a reduction is ordered, whatever the number of threads and on any device: items in blocks of 1024; in a block
/// lane l of 16 combines items l, l + 16, ... in order; then lanes, then blocks are combined pairwise as a binary tree.
/// So sums are the same bits with 1 and 64 threads, and |error| <= (64 + log2 n) * 1.1e-16 * sum |x_i|.
struct ReductionOrder {
  static constexpr std::size_t block = 1024;
  static constexpr std::size_t lanes = 16;
};

namespace detail {

/// Combines values[0..count) pairwise in place, neighbours first. The result is in values[0].
template <class T, class Combine>
FACHWERK_HD void combine_pairwise(T* values, std::size_t count, const Combine& combine) {
  for (std::size_t gap = 1; gap < count; gap *= 2)
    for (std::size_t i = 0; i + gap < count; i += 2 * gap)
      values[i] = combine(values[i], values[i + gap]);
}

/// combine of map(begin) ... map(begin + length - 1), one block, in the order of its lanes. A function of values, not
/// of members: the lanes then stay in vector registers.
template <class T, class Map, class Combine>
FACHWERK_HD T reduce_block(std::size_t begin, std::size_t length, T identity, Map map, Combine combine) {
  constexpr std::size_t lanes = ReductionOrder::lanes;
  T lane[lanes];
  for (std::size_t l = 0; l < lanes; ++l)
    lane[l] = identity;
  std::size_t i = 0;
  for (; i + lanes <= length; i += lanes)
    for (std::size_t l = 0; l < lanes; ++l)
      lane[l] = combine(lane[l], map(begin + i + l));
  for (std::size_t l = 0; i + l < length; ++l)
    lane[l] = combine(lane[l], map(begin + i + l));
  combine_pairwise(lane, lanes, combine);
  return lane[0];
}

/// Reduces block `index` of n items.
template <class T, class Map, class Combine>
struct ReduceBlock {
  std::size_t n;
  T identity;
  Map map;
  Combine combine;
  T* partial;

  FACHWERK_HD void operator()(std::size_t index) const {
    const std::size_t begin = index * ReductionOrder::block;
    const std::size_t length = n - begin < ReductionOrder::block ? n - begin : ReductionOrder::block;
    partial[index] = reduce_block(begin, length, identity, map, combine);
  }
};

#ifdef __CUDACC__
/// The same block by 16 neighbouring threads, one a lane: neighbouring items are read together.
template <class T, class Map, class Combine>
__global__ void reduce_kernel(const ReduceBlock<T, Map, Combine> job, std::size_t blocks) {
  constexpr unsigned lanes = ReductionOrder::lanes;
  __shared__ alignas(T) unsigned char memory[256 * sizeof(T)];
  T* lane = reinterpret_cast<T*>(memory) + (threadIdx.x / lanes) * lanes;
  const unsigned l = threadIdx.x % lanes;
  const std::size_t block = std::size_t(blockIdx.x) * (blockDim.x / lanes) + threadIdx.x / lanes;
  if (block < blocks) {
    const std::size_t begin = block * ReductionOrder::block;
    const std::size_t end = begin + ReductionOrder::block < job.n ? begin + ReductionOrder::block : job.n;
    T value = job.identity;
    for (std::size_t i = begin + l; i < end; i += lanes)
      value = job.combine(value, job.map(i));
    lane[l] = value;
  }
  __syncthreads();
  if (block < blocks && l == 0) {
    combine_pairwise(lane, lanes, job.combine);
    job.partial[block] = lane[0];
  }
}
#endif

}  // namespace detail

#ifdef __CUDACC__
inline namespace device_code {
#else
inline namespace host_code {
#endif

/// The reduced blocks of ReductionOrder, in order; none for n = 0.
template <class T, class Map, class Combine>
std::vector<T> reduce_blocks(Device device, std::size_t n, T identity, const Map& map, const Combine& combine) {
  const std::size_t blocks = n / ReductionOrder::block + (n % ReductionOrder::block != 0 ? 1 : 0);
  std::vector<T> partial(blocks);
  detail::ReduceBlock<T, Map, Combine> job{n, identity, map, combine, partial.data()};
  if (device.is_cpu() || n == 0) {
    parallel_for(Device::cpu(), blocks, job);
  } else {
#ifdef __CUDACC__
    Buffer<T> on_device(device, blocks);
    job.partial = on_device.data();
    constexpr std::size_t threads_a_block = 256, jobs = threads_a_block / ReductionOrder::lanes;
    detail::activate(device);
    detail::reduce_kernel<<<unsigned((blocks + jobs - 1) / jobs), unsigned(threads_a_block)>>>(job, blocks);
    detail::check_cuda(cudaGetLastError(), "kernel launch");
    copy<T>(on_device.view(), View<T>(partial));
#else
    detail::no_device_code(device);
#endif
  }
  return partial;
}

/// combine(map(0), map(1), ... map(n-1)) in the order of ReductionOrder; `identity` for n = 0. `map(i)` gives a T and
/// `combine(T, T)` is associative up to rounding; both are function objects with FACHWERK_HD call operators.
template <class T, class Map, class Combine>
T reduce(Device device, std::size_t n, T identity, const Map& map, const Combine& combine) {
  std::vector<T> partial = reduce_blocks(device, n, identity, map, combine);
  if (partial.empty()) return identity;
  detail::combine_pairwise(partial.data(), partial.size(), combine);
  return partial[0];
}

}  // namespace host_code or device_code

/// Where an extreme value is. NaN counts as the extreme, as the first one found, so that it cannot hide.
struct Extreme {
  double value;
  std::size_t index;  ///< the lowest one among equal values
};

/// Reductions of whole arrays, float accumulated in double; same bits for any number of threads (ReductionOrder).
double sum(View<const double> x);
double sum(View<const float> x);
double dot(View<const double> x, View<const double> y);  ///< throws std::invalid_argument if lengths differ
double dot(View<const float> x, View<const float> y);
/// No NaN and no infinity.
bool all_finite(View<const double> x);
bool all_finite(View<const float> x);
/// Throw std::invalid_argument for an empty array.
Extreme max(View<const double> x);
Extreme max(View<const float> x);
Extreme min(View<const double> x);
Extreme min(View<const float> x);
inline std::size_t argmax(View<const double> x) {
  return max(x).index;
}
inline std::size_t argmax(View<const float> x) {
  return max(x).index;
}
inline std::size_t argmin(View<const double> x) {
  return min(x).index;
}
inline std::size_t argmin(View<const float> x) {
  return min(x).index;
}

}  // namespace fachwerk::compute
