#include "accelerator.hpp"

#include <algorithm>

#include "compute/blas.hpp"
#include "planes.kernel.hpp"

namespace fachwerk::hyde {
namespace {

constexpr std::size_t kBlock = std::size_t{1} << 15;  // pixels that are worked on together

std::vector<float> narrow(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

}  // namespace

Accelerator::Accelerator(compute::Device device, std::size_t memory)
    : device_(device), memory_(memory != 0 ? memory : device.free_memory()) {}

void Accelerator::each_block(const Source& source, const Block& fn) {
  const std::size_t bands = source.extent.bands, pixels = source.extent.pixels();
  const auto cut = [&](std::size_t first, std::size_t count, compute::View<const float> spectra) {
    for (std::size_t p = 0; p < count; p += kBlock) {
      const std::size_t n = std::min(kBlock, count - p);
      fn(first + p, n, spectra.part(p * bands, n * bands));
    }
  };
  if (resident_ && cube_.size() == pixels * bands) return cut(0, pixels, cube_.view());
  const bool keep = source.extent.size() * sizeof(float) <= memory_ / 2;
  if (keep) cube_ = compute::Buffer<float>(device_, source.extent.size());
  source.each_block([&](std::size_t row, std::size_t rows, std::span<const float> spectra) {
    const std::size_t first = row * source.extent.cols, count = rows * source.extent.cols;
    for (std::size_t p = 0; p < count; p += kBlock) {
      const std::size_t n = std::min(kBlock, count - p);
      const std::span<const float> part = spectra.subspan(p * bands, n * bands);
      if (keep) {
        const compute::View<float> place = cube_.view().part((first + p) * bands, n * bands);
        compute::copy<float>(part, place);
        fn(first + p, n, place);
      } else {
        const compute::Buffer<float> there(device_, part);
        fn(first + p, n, there);
      }
    }
  });
  resident_ = keep;
}

Matrix Accelerator::gram(const Source& source) {
  const std::size_t bands = source.extent.bands;
  auto sum = compute::Buffer<double>::zeros(device_, bands * bands);
  compute::Buffer<double> wide(device_, kBlock * bands);
  each_block(source, [&](std::size_t, std::size_t pixels, compute::View<const float> spectra) {
    const compute::View<double> panel = wide.view().part(0, pixels * bands);
    kernels::widen(spectra, panel);
    const compute::Matrix<const double> y = compute::matrix(panel, pixels, bands);
    compute::blas::syrk(1.0, y.t(), 1.0, compute::matrix(sum, bands, bands));
  });
  Matrix r(bands, bands);
  r.values = sum.vector();
  return r;
}

Matrix Accelerator::correlate(const Source& source, std::span<const float> planes) {
  const std::size_t bands = source.extent.bands, all = source.extent.pixels(), count = planes.size() / all;
  Matrix total(count, bands);
  each_block(source, [&](std::size_t first, std::size_t pixels, compute::View<const float> spectra) {
    // Float sums over a part of the block at most; what they add up to is double.
    constexpr std::size_t part = 4096;
    for (std::size_t p = 0; p < pixels; p += part) {
      const std::size_t n = std::min(part, pixels - p);
      std::vector<float> packed(count * n);
      for (std::size_t i = 0; i < count; ++i)
        std::copy_n(planes.data() + i * all + first + p, n, packed.data() + i * n);
      const compute::Buffer<float> x(device_, packed);
      compute::Buffer<float> product(device_, count * bands);
      compute::blas::gemm(1.0F, compute::matrix(x, count, n),
                          compute::matrix(spectra.part(p * bands, n * bands), n, bands), 0.0F,
                          compute::matrix(product, count, bands));
      const std::vector<float> partial = product.vector();
      for (std::size_t i = 0; i < partial.size(); ++i)
        total.values[i] += static_cast<double>(partial[i]);
    }
  });
  return total;
}

void Accelerator::project(const Source& source, const Matrix& directions, std::size_t stride, std::span<float> planes) {
  const std::size_t bands = source.extent.bands, count = directions.cols;
  const compute::Buffer<float> d(device_, narrow(directions.values));
  compute::Buffer<float> product(device_, count * kBlock);
  each_block(source, [&](std::size_t first, std::size_t pixels, compute::View<const float> spectra) {
    const compute::View<float> out = product.view().part(0, count * pixels);
    compute::blas::gemm(1.0F, compute::matrix(d, bands, count).t(), compute::matrix(spectra, pixels, bands).t(), 0.0F,
                        compute::matrix(out, count, pixels));
    for (std::size_t i = 0; i < count; ++i)
      compute::copy<float>(out.part(i * pixels, pixels),
                           compute::View<float>(planes.subspan(i * stride + first, pixels)));
  });
}

void Accelerator::in_batches(
    const Dwt2& dwt, std::span<float> slots,
    const std::function<void(std::size_t, std::size_t, compute::View<float>, compute::View<float>)>& fn) const {
  const std::size_t size = dwt.size(), all = slots.size() / size;
  const std::size_t most =
      std::clamp<std::size_t>(memory_ / 8 / (size * sizeof(float)), 1, std::max<std::size_t>(all, 1));
  compute::Buffer<float> planes(device_, most * size), half(device_, most * size);
  for (std::size_t first = 0; first < all; first += most) {
    const std::size_t count = std::min(most, all - first);
    const std::span<float> mine = slots.subspan(first * size, count * size);
    const compute::View<float> there = planes.view().part(0, count * size);
    compute::copy<float>(compute::View<const float>(mine), there);
    fn(first, count, there, half.view().part(0, count * size));
    compute::copy<float>(there, compute::View<float>(mine));
  }
}

void Accelerator::forward(const Dwt2& dwt, std::span<float> slots) const {
  const std::size_t all = slots.size() / dwt.size();
#pragma omp parallel for schedule(static)
  for (std::size_t i = 0; i < all; ++i)
    dwt.pad(slots.subspan(i * dwt.size(), dwt.size()));
  const compute::Buffer<float> low(device_, dwt.low()), high(device_, dwt.high());
  in_batches(dwt, slots, [&](std::size_t, std::size_t count, compute::View<float> planes, compute::View<float> half) {
    for (int level = 0; level < dwt.levels(); ++level)
      kernels::analyse({count, dwt.rows(), dwt.cols(), dwt.rows() >> level, dwt.cols() >> level}, low, high, planes,
                       half);
  });
}

void Accelerator::shrink_and_inverse(const Dwt2& dwt, std::span<const float> thresholds, std::span<float> slots) const {
  const compute::Buffer<float> low(device_, dwt.low()), high(device_, dwt.high()), t(device_, thresholds);
  const std::size_t each = thresholds.size() / (slots.size() / dwt.size());
  in_batches(
      dwt, slots, [&](std::size_t first, std::size_t count, compute::View<float> planes, compute::View<float> half) {
        const kernels::PlaneBlock whole{count, dwt.rows(), dwt.cols(), dwt.rows(), dwt.cols()};
        const auto shrink = [&](const kernels::Rectangle& rectangle, std::size_t k) {
          const std::size_t begin = first * each + k;
          kernels::soft_threshold(whole, rectangle, t.view().part(begin, t.size() - begin), each, planes);
        };
        if (each == 1)
          shrink({0, 0, dwt.rows(), dwt.cols()}, 0);
        else
          for (std::size_t k = 0; k < dwt.subbands().size(); ++k)
            shrink({dwt.subbands()[k].row, dwt.subbands()[k].col, dwt.subbands()[k].rows, dwt.subbands()[k].cols}, k);
        for (int level = dwt.levels() - 1; level >= 0; --level)
          kernels::synthesise({count, dwt.rows(), dwt.cols(), dwt.rows() >> level, dwt.cols() >> level}, low, high,
                              planes, half);
      });
}

}  // namespace fachwerk::hyde
