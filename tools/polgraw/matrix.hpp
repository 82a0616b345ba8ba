#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <utility>

#include "cli/error.hpp"

/// Algebra of small square matrices, row-major arrays of n x n numbers whose n is part of the type.
namespace fachwerk::polgraw {

/// n of an array of n^2 numbers.
template <std::size_t L>
constexpr std::size_t order_of() {
  std::size_t n = 0;
  while (n * n < L)
    ++n;
  static_assert(L > 0);
  return n;
}
template <std::size_t n>
using Square = std::array<double, n * n>;

template <std::size_t L>
std::array<double, L> multiply(const std::array<double, L>& a, const std::array<double, L>& b) {
  constexpr std::size_t n = order_of<L>();
  std::array<double, L> c{};
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < n; ++k)
      for (std::size_t j = 0; j < n; ++j)
        c[n * i + j] += a[n * i + k] * b[n * k + j];
  return c;
}

template <std::size_t L>
std::array<double, L> transpose(const std::array<double, L>& a) {
  constexpr std::size_t n = order_of<L>();
  std::array<double, L> t{};
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j)
      t[n * j + i] = a[n * i + j];
  return t;
}

/// Lower L with m = L L^T, computed and returned as numbers of type Real; throws bad input unless m is positive
/// definite.
template <class Real = double, std::size_t L>
std::array<Real, L> cholesky(const std::array<double, L>& m) {
  constexpr std::size_t n = order_of<L>();
  std::array<Real, L> lower{};
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j <= i; ++j) {
      Real sum = m[n * i + j];
      for (std::size_t k = 0; k < j; ++k)
        sum -= lower[n * i + k] * lower[n * j + k];
      if (i == j && !(sum > 0)) throw bad_input("the Fisher matrix is not positive definite");
      lower[n * i + j] = i == j ? std::sqrt(sum) : sum / lower[(n + 1) * j];
    }
  return lower;
}

template <std::size_t L>
std::array<double, L> inverse_lower(const std::array<double, L>& lower) {
  constexpr std::size_t n = order_of<L>();
  std::array<double, L> x{};
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = j; i < n; ++i) {
      double sum = i == j ? 1 : 0;
      for (std::size_t k = j; k < i; ++k)
        sum -= lower[n * i + k] * x[n * k + j];
      x[n * i + j] = sum / lower[(n + 1) * i];
    }
  return x;
}

template <std::size_t L>
double determinant(const std::array<double, L>& a) {
  constexpr std::size_t n = order_of<L>();
  auto m = a;
  double det = 1;
  for (std::size_t c = 0; c < n; ++c) {
    std::size_t pivot = c;
    for (std::size_t r = c + 1; r < n; ++r)
      if (std::abs(m[n * r + c]) > std::abs(m[n * pivot + c])) pivot = r;
    if (m[n * pivot + c] == 0) return 0;
    if (pivot != c) {
      det = -det;
      for (std::size_t k = 0; k < n; ++k)
        std::swap(m[n * pivot + k], m[n * c + k]);
    }
    det *= m[(n + 1) * c];
    for (std::size_t r = c + 1; r < n; ++r) {
      const double f = m[n * r + c] / m[(n + 1) * c];
      for (std::size_t k = c; k < n; ++k)
        m[n * r + k] -= f * m[n * c + k];
    }
  }
  return det;
}

/// Eigenvalues, ascending, and eigenvectors (columns, first component that is not zero positive).
template <std::size_t L>
struct Eigen {
  std::array<double, order_of<L>()> values{};
  std::array<double, L> vectors{};
};
/// Of a symmetric matrix, by Jacobi's rotations: the same bits everywhere.
template <std::size_t L>
Eigen<L> symmetric_eigen(std::array<double, L> a) {
  constexpr std::size_t n = order_of<L>();
  Eigen<L> out;
  auto& [values, vectors] = out;
  for (std::size_t k = 0; k < n; ++k)
    vectors[(n + 1) * k] = 1;
  for (int sweep = 0; sweep < 60; ++sweep) {
    double off = 0, scale = 0;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j)
        (i == j ? scale : off) += a[n * i + j] * a[n * i + j];
    if (off <= 1e-40 * scale) break;
    for (std::size_t p = 0; p < n; ++p)
      for (std::size_t q = p + 1; q < n; ++q) {
        if (a[n * p + q] == 0) continue;
        const double theta = (a[(n + 1) * q] - a[(n + 1) * p]) / (2 * a[n * p + q]);
        const double t = (theta >= 0 ? 1 : -1) / (std::abs(theta) + std::sqrt(theta * theta + 1));
        const double c = 1 / std::sqrt(t * t + 1), s = t * c;
        for (std::size_t k = 0; k < n; ++k) {
          const double x = a[n * k + p], y = a[n * k + q];
          a[n * k + p] = c * x - s * y;
          a[n * k + q] = s * x + c * y;
        }
        for (std::size_t k = 0; k < n; ++k) {
          const double x = a[n * p + k], y = a[n * q + k];
          a[n * p + k] = c * x - s * y;
          a[n * q + k] = s * x + c * y;
          const double u = vectors[n * k + p], v = vectors[n * k + q];
          vectors[n * k + p] = c * u - s * v;
          vectors[n * k + q] = s * u + c * v;
        }
      }
  }
  std::array<std::size_t, n> order;
  for (std::size_t k = 0; k < n; ++k)
    order[k] = k;
  std::ranges::sort(order, {}, [&](std::size_t k) { return a[(n + 1) * k]; });
  const auto found = vectors;
  for (std::size_t j = 0; j < n; ++j) {
    values[j] = a[(n + 1) * order[j]];
    double sign = 0;
    for (std::size_t i = 0; i < n && sign == 0; ++i)
      sign = found[n * i + order[j]];
    for (std::size_t i = 0; i < n; ++i)
      vectors[n * i + j] = found[n * i + order[j]] * (sign < 0 ? -1 : 1);
  }
  return out;
}

}  // namespace fachwerk::polgraw
