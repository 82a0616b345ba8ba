#pragma once

#include <cmath>
#include <cstddef>
#include <type_traits>
#include <vector>

#include "compute/buffer.hpp"
#include "compute/random.hpp"

/// Plain matrices for comparison: what the library is held to.
namespace fachwerk::test {

template <class T>
struct Plain {
  std::size_t rows, columns;
  std::vector<T> values;
  Plain(std::size_t m, std::size_t n) : rows(m), columns(n), values(m * n) {}
  Plain(std::size_t m, std::size_t n, std::vector<T> v) : rows(m), columns(n), values(std::move(v)) {}
  T& operator()(std::size_t i, std::size_t j) { return values[i * columns + j]; }
  T operator()(std::size_t i, std::size_t j) const { return values[i * columns + j]; }
  compute::Matrix<T> view() { return compute::matrix(values, rows, columns); }
  compute::Matrix<const T> view() const { return compute::matrix(values, rows, columns); }
};

template <class T>
Plain<T> random_matrix(std::size_t m, std::size_t n, std::uint64_t seed) {
  Plain<T> a(m, n);
  compute::Stream stream(seed, 0);
  for (T& value : a.values)
    value = T(stream.normal());
  return a;
}

template <class T>
Plain<T> transpose(const Plain<T>& a) {
  Plain<T> t(a.columns, a.rows);
  for (std::size_t i = 0; i < a.rows; ++i)
    for (std::size_t j = 0; j < a.columns; ++j)
      t(j, i) = a(i, j);
  return t;
}

template <class T>
Plain<T> product(const Plain<T>& a, const Plain<T>& b) {
  Plain<T> c(a.rows, b.columns);
  for (std::size_t i = 0; i < a.rows; ++i)
    for (std::size_t j = 0; j < b.columns; ++j) {
      long double s = 0;
      for (std::size_t k = 0; k < a.columns; ++k)
        s += static_cast<long double>(a(i, k)) * b(k, j);
      c(i, j) = T(s);
    }
  return c;
}

template <class T>
Plain<T> identity(std::size_t n) {
  Plain<T> a(n, n);
  for (std::size_t i = 0; i < n; ++i)
    a(i, i) = 1;
  return a;
}

/// Largest difference of elements.
template <class T>
double distance(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return INFINITY;
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(double(a[i]) - double(b[i]));
    if (!(d <= most)) most = d;  // NaN too
  }
  return most;
}
template <class T>
double distance(const Plain<T>& a, const Plain<T>& b) {
  return a.rows == b.rows && a.columns == b.columns ? distance(a.values, b.values) : INFINITY;
}

/// Rounding unit of T.
template <class T>
constexpr double unit = std::is_same_v<T, float> ? 6e-8 : 1.2e-16;

}  // namespace fachwerk::test
