#pragma once

#include <cstddef>
#include <ranges>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "compute/device.hpp"

namespace fachwerk::compute {

/// A span with the device that its memory is on. Vectors, spans and arrays (CPU) and Buffers convert to it, so that a
/// function on Views takes all of them.
template <class T>
class View {
 public:
  View() = default;
  View(T* data, std::size_t size, Device device = {}) : data_(data), size_(size), device_(device) {}
  template <class Range>
  requires(std::is_constructible_v<std::span<T>, Range> && !std::is_same_v<std::remove_cvref_t<Range>, View>)
      View(Range&& range)  // NOLINT: implicit, a View stands for what it looks at
      : View(std::span<T>(range).data(), std::span<T>(range).size()) {}
  template <class U>
  requires(!std::is_const_v<T> && std::is_same_v<U, const T>) operator View<U>() const {  // NOLINT: implicit
    return {data_, size_, device_};
  }

  T* data() const { return data_; }
  std::size_t size() const { return size_; }
  Device device() const { return device_; }

  /// `count` elements from `offset` on. Throws std::out_of_range.
  View part(std::size_t offset, std::size_t count) const {
    if (offset > size_ || count > size_ - offset) throw std::out_of_range("compute::View::part");
    return {data_ + offset, count, device_};
  }
  /// The elements, for CPU memory alone: throws std::logic_error for a CUDA device.
  std::span<T> span() const {
    if (device_.is_cuda()) throw std::logic_error("compute: CPU access to memory of " + device_.name());
    return {data_, size_};
  }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
  Device device_;
};

/// Copies between any two devices. Throws std::invalid_argument unless the lengths agree. CPU to CUDA and back waits.
template <class T>
void copy(View<const std::type_identity_t<T>> from, View<T> to) {
  if (from.size() != to.size()) throw std::invalid_argument("compute::copy: lengths differ");
  copy_bytes(to.device(), to.data(), from.device(), from.data(), from.size() * sizeof(T));
}

/// Owns an array on a device. Its elements are not initialised unless made by `zeros` or from values.
template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  Buffer(Device device, std::size_t size) : size_(size), device_(device) {
    if (size > std::size_t(-1) / sizeof(T)) throw std::length_error("compute::Buffer");
    if (size > 0) data_ = static_cast<T*>(allocate(device, size * sizeof(T)));
  }
  Buffer(Device device, View<const T> values) : Buffer(device, values.size()) { copy<T>(values, *this); }
  static Buffer zeros(Device device, std::size_t size) {
    Buffer buffer(device, size);
    zero_bytes(device, buffer.data_, size * sizeof(T));
    return buffer;
  }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer(std::move(other)).swap(*this);
    return *this;
  }
  ~Buffer() { deallocate(device_, data_); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }
  Device device() const { return device_; }

  View<T> view() { return {data_, size_, device_}; }
  View<const T> view() const { return {data_, size_, device_}; }
  operator View<T>() { return view(); }              // NOLINT: implicit
  operator View<const T>() const { return view(); }  // NOLINT: implicit

  /// The elements, for CPU memory alone: throws std::logic_error for a CUDA device.
  std::span<T> span() { return view().span(); }
  std::span<const T> span() const { return view().span(); }

  /// A copy on `device`.
  Buffer to(Device device) const { return Buffer(device, view()); }
  /// A copy on the CPU.
  std::vector<T> vector() const {
    std::vector<T> values(size_);
    copy<T>(view(), View<T>(values));
    return values;
  }

  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(device_, other.device_);
  }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
  Device device_;
};

/// A row-major matrix somewhere in memory, possibly to be taken transposed. Rows and columns are those after
/// transposition.
template <class T>
struct Matrix {
  T* data = nullptr;
  std::size_t rows = 0, columns = 0;
  std::size_t stride = 0;  ///< elements from one stored row to the next
  bool transposed = false;
  Device device = {};

  template <class U>
  requires(!std::is_const_v<T> && std::is_same_v<U, const T>) operator Matrix<U>() const {  // NOLINT: implicit
    return {data, rows, columns, stride, transposed, device};
  }
  /// The transpose, nothing moved.
  Matrix t() const { return {data, columns, rows, stride, !transposed, device}; }
  /// Rows [first, first + count) of a matrix that is not transposed. Throws std::out_of_range.
  Matrix block(std::size_t row, std::size_t column, std::size_t row_count, std::size_t column_count) const {
    if (transposed || row > rows || row_count > rows - row || column > columns || column_count > columns - column)
      throw std::out_of_range("compute::Matrix::block");
    return {data + row * stride + column, row_count, column_count, stride, false, device};
  }
};

/// `values` as rows x columns, row-major. Throws std::invalid_argument if the size is not rows * columns.
template <class T>
Matrix<T> matrix(View<T> values, std::size_t rows, std::size_t columns) {
  if (values.size() != rows * columns) throw std::invalid_argument("compute::matrix: size is not rows * columns");
  return {values.data(), rows, columns, columns, false, values.device()};
}
template <class T>
Matrix<T> matrix(Buffer<T>& values, std::size_t rows, std::size_t columns) {
  return matrix(values.view(), rows, columns);
}
template <class T>
Matrix<const T> matrix(const Buffer<T>& values, std::size_t rows, std::size_t columns) {
  return matrix(values.view(), rows, columns);
}
template <std::ranges::contiguous_range Range>
auto matrix(Range&& values, std::size_t rows, std::size_t columns) {
  const std::span span(values);
  return matrix(View<typename decltype(span)::element_type>(span.data(), span.size()), rows, columns);
}

}  // namespace fachwerk::compute
