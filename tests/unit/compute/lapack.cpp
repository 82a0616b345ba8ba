#include "compute/lapack.hpp"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include <doctest.h>

#include "algebra.hpp"

using namespace fachwerk;
using namespace fachwerk::compute;
using namespace fachwerk::test;

namespace {

template <class T>
Plain<T> plain(const Buffer<T>& buffer, std::size_t rows, std::size_t columns) {
  return Plain<T>(rows, columns, buffer.vector());
}

/// The second-difference matrix: eigenvalues 2 - 2 cos(pi j / (n + 1)), vectors sin(pi i j / (n + 1)).
template <class T>
Plain<T> second_difference(std::size_t n) {
  Plain<T> a(n, n);
  for (std::size_t i = 0; i < n; ++i) {
    a(i, i) = 2;
    if (i > 0) a(i, i - 1) = a(i - 1, i) = -1;
  }
  return a;
}

template <class T>
void check_cholesky(Device device) {
  // Of the second difference: L_ii = sqrt((i + 2) / (i + 1)), L_{i+1,i} = -sqrt((i + 1) / (i + 2)).
  const std::size_t n = 40, k = 3;
  const Plain<T> a = second_difference<T>(n);
  Plain<T> lower = a;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = i + 1; j < n; ++j)
      lower(i, j) = std::numeric_limits<T>::quiet_NaN();
  Buffer<T> l(device, lower.values);
  lapack::cholesky(matrix(l, n, n));
  Plain<T> expected(n, n);
  for (std::size_t i = 0; i < n; ++i) {
    expected(i, i) = T(std::sqrt(double(i + 2) / double(i + 1)));
    if (i > 0) expected(i, i - 1) = T(-std::sqrt(double(i) / double(i + 1)));
  }
  CHECK(distance(l.vector(), expected.values) < 10 * unit<T>);

  const Plain<T> x = random_matrix<T>(n, k, 1);
  Buffer<T> b(device, product(a, x).values);
  lapack::cholesky_solve(Matrix<const T>(matrix(l, n, n)), matrix(b, n, k));
  CHECK(distance(b.vector(), x.values) < 700 * 10 * unit<T>);  // condition number 680

  Plain<T> bad = a;
  bad(7, 7) = T(-1);
  Buffer<T> d(device, bad.values);
  try {
    lapack::cholesky(matrix(d, n, n));
    FAIL("an indefinite matrix was factored");
  } catch (const lapack::Failure& failure) {
    CHECK(failure.index == 7);
    CHECK(failure.code() == Exit::failed);
  }
}

template <class T>
void check_eigen(Device device) {
  const std::size_t n = 50;
  const double pi = std::acos(-1.0);
  const Buffer<T> a(device, second_difference<T>(n).values);
  const auto [values, vectors] = lapack::eigen_symmetric(matrix(a, n, n));
  const std::vector<T> w = values.vector();
  const Plain<T> v = plain(vectors, n, n);
  for (std::size_t j = 0; j < n; ++j) {
    REQUIRE(std::abs(double(w[j]) - (2 - 2 * std::cos(pi * double(j + 1) / double(n + 1)))) < 40 * unit<T>);
    const double sign = v(j, 0) > 0 ? 1 : -1;
    for (std::size_t i = 0; i < n; ++i) {
      const double exact = std::sqrt(2.0 / double(n + 1)) * std::sin(pi * double((i + 1) * (j + 1)) / double(n + 1));
      REQUIRE(std::abs(sign * double(v(j, i)) - exact) < 5000 * unit<T>);  // gaps of 0.011
    }
  }
  // Degenerate and unsymmetric storage: only the lower triangle is read.
  Plain<T> b = identity<T>(6);
  b(0, 5) = 99;
  const Buffer<T> db(device, b.values);
  const auto same = lapack::eigen_symmetric(matrix(db, 6, 6));
  CHECK(distance(same.values.vector(), std::vector<T>(6, 1)) < 4 * unit<T>);
  const Plain<T> u = plain(same.vectors, 6, 6);
  CHECK(distance(product(u, transpose(u)), identity<T>(6)) < 10 * unit<T>);
}

template <class T>
void check_svd(Device device) {
  for (const auto& [m, n] :
       std::vector<std::pair<std::size_t, std::size_t>>{{30, 12}, {12, 30}, {9, 9}, {1, 5}, {5, 1}}) {
    CAPTURE(m);
    CAPTURE(n);
    const std::size_t k = std::min(m, n);
    const Plain<T> a = random_matrix<T>(m, n, 2), at = transpose(a);
    const Buffer<T> da(device, a.values), dat(device, at.values);
    for (const bool transposed : {false, true}) {
      const auto svd = lapack::svd(transposed ? matrix(dat, n, m).t() : matrix(da, m, n));
      Plain<T> us = plain(svd.u, m, k);
      const Plain<T> u = us, vt = plain(svd.vt, k, n);
      const std::vector<T> s = svd.s.vector();
      for (std::size_t i = 0; i < m; ++i)
        for (std::size_t j = 0; j < k; ++j)
          us(i, j) *= s[j];
      CHECK(distance(product(us, vt), a) < 200 * unit<T>);
      CHECK(distance(product(transpose(u), u), identity<T>(k)) < 50 * unit<T>);
      CHECK(distance(product(vt, transpose(vt)), identity<T>(k)) < 50 * unit<T>);
      for (std::size_t j = 0; j + 1 < k; ++j)
        CHECK(s[j] >= s[j + 1]);
    }
  }
  // Of the second difference, symmetric and positive: its eigenvalues.
  const std::size_t n = 25;
  const Buffer<T> d(device, second_difference<T>(n).values);
  const std::vector<T> s = lapack::svd(matrix(d, n, n)).s.vector();
  for (std::size_t j = 0; j < n; ++j)
    CHECK(std::abs(double(s[j]) - (2 + 2 * std::cos(std::acos(-1.0) * double(j + 1) / double(n + 1)))) < 40 * unit<T>);
}

template <class T>
void check_qr(Device device) {
  for (const auto& [m, n] :
       std::vector<std::pair<std::size_t, std::size_t>>{{30, 12}, {12, 30}, {9, 9}, {1, 5}, {5, 1}}) {
    CAPTURE(m);
    CAPTURE(n);
    const std::size_t k = std::min(m, n);
    const Plain<T> a = random_matrix<T>(m, n, 3);
    const Buffer<T> da(device, a.values);
    const auto qr = lapack::qr(matrix(da, m, n));
    const Plain<T> q = plain(qr.q, m, k), r = plain(qr.r, k, n);
    CHECK(distance(product(q, r), a) < 100 * unit<T>);
    CHECK(distance(product(transpose(q), q), identity<T>(k)) < 50 * unit<T>);
    for (std::size_t i = 0; i < k; ++i) {
      CHECK(r(i, i) > 0);
      for (std::size_t j = 0; j < i && j < n; ++j)
        CHECK(r(i, j) == 0);
    }
  }
  // (3 4)^T: q = (0.6 0.8)^T, r = 5.
  const Buffer<T> a(device, std::vector<T>{3, 4});
  const auto qr = lapack::qr(matrix(a, 2, 1));
  CHECK(distance(qr.q.vector(), std::vector<T>{T(0.6), T(0.8)}) < 4 * unit<T>);
  CHECK(std::abs(double(qr.r.vector()[0]) - 5) < 10 * unit<T>);
}

template <class T>
void check_lu(Device device) {
  const std::size_t n = 20, k = 4;
  Plain<T> a = random_matrix<T>(n, n, 4);
  for (std::size_t i = 0; i < n; ++i)
    a(i, (i + 1) % n) += 10;  // needs its pivots
  const Plain<T> x = random_matrix<T>(n, k, 5), at = transpose(a);
  const Buffer<T> da(device, a.values), dat(device, at.values), b(device, product(a, x).values);
  CHECK(distance(lapack::lu_solve(matrix(da, n, n), matrix(b, n, k)).vector(), x.values) < 1000 * unit<T>);
  CHECK(distance(lapack::lu_solve(matrix(dat, n, n).t(), matrix(b, n, k)).vector(), x.values) < 1000 * unit<T>);
  const Buffer<T> singular(device, std::vector<T>{1, 2, 2, 4}), rhs(device, std::vector<T>{1, 1});
  CHECK_THROWS_AS(lapack::lu_solve(matrix(singular, 2, 2), matrix(rhs, 2, 1)), lapack::Failure);
}

template <class T>
void check_least_squares(Device device) {
  // A straight line through (x, y): closed form of the regression.
  const std::size_t m = 20;
  Plain<T> a(m, 2), y = random_matrix<T>(m, 1, 6);
  double sx = 0, sxx = 0, sy = 0, sxy = 0;
  for (std::size_t i = 0; i < m; ++i) {
    a(i, 0) = 1;
    a(i, 1) = T(i);
    sx += double(i);
    sxx += double(i * i);
    sy += double(y(i, 0));
    sxy += double(i) * double(y(i, 0));
  }
  const double slope = (double(m) * sxy - sx * sy) / (double(m) * sxx - sx * sx),
               offset = (sy - slope * sx) / double(m);
  const Buffer<T> da(device, a.values), dy(device, y.values);
  const auto line = lapack::least_squares(matrix(da, m, 2), matrix(dy, m, 1));
  CHECK(line.rank == 2);
  CHECK(std::abs(double(line.x.vector()[0]) - offset) < 100 * unit<T>);
  CHECK(std::abs(double(line.x.vector()[1]) - slope) < 100 * unit<T>);
  // x + y = 2 and twice the same: the least norm is (1, 1); then under-determined.
  const Buffer<T> twice(device, std::vector<T>{1, 1, 1, 1, 2, 2}), rhs(device, std::vector<T>{2, 2, 4});
  const auto least = lapack::least_squares(matrix(twice, 3, 2), matrix(rhs, 3, 1));
  CHECK(least.rank == 1);
  CHECK(distance(least.x.vector(), std::vector<T>{1, 1}) < 20 * unit<T>);
  CHECK(std::abs(double(least.s.vector()[0]) - std::sqrt(12.0)) < 40 * unit<T>);
  const Buffer<T> wide(device, std::vector<T>{3, 4}), one(device, std::vector<T>{25});
  CHECK(distance(lapack::least_squares(matrix(wide, 1, 2), matrix(one, 1, 1)).x.vector(), std::vector<T>{3, 4}) <
        40 * unit<T>);
  const Buffer<T> zero = Buffer<T>::zeros(device, 4), b(device, std::vector<T>{1, 1});
  const auto none = lapack::least_squares(matrix(zero, 2, 2), matrix(b, 2, 1));
  CHECK(none.rank == 0);
  CHECK(none.x.vector() == std::vector<T>{0, 0});
}

template <class T>
void check_all(Device device) {
  check_cholesky<T>(device);
  check_eigen<T>(device);
  check_svd<T>(device);
  check_qr<T>(device);
  check_lu<T>(device);
  check_least_squares<T>(device);
}

}  // namespace

TEST_CASE("LAPACK on the CPU, double") {
  check_all<double>({});
}
TEST_CASE("LAPACK on the CPU, float") {
  check_all<float>({});
}

TEST_CASE("LAPACK on a CUDA device") {
  std::string reason;
  if (cuda_devices(&reason) == 0) {
    MESSAGE("skipped, needs a CUDA device: ", reason);
    return;
  }
  check_all<double>(Device::parse("cuda"));
  check_all<float>(Device::parse("cuda"));
}

TEST_CASE("LAPACK refuses NaN, infinities and shapes that do not fit") {
  for (const double wrong : {std::nan(""), double(INFINITY)}) {
    std::vector<double> a{4, 1, wrong, 5};
    const Matrix<const double> bad = matrix(std::as_const(a), 2, 2);
    CHECK_THROWS_AS(lapack::svd(bad), std::domain_error);
    CHECK_THROWS_AS(lapack::qr(bad), std::domain_error);
    CHECK_THROWS_AS(lapack::eigen_symmetric(bad), std::domain_error);
    CHECK_THROWS_AS(lapack::lu_solve(bad, bad), std::domain_error);
    CHECK_THROWS_AS(lapack::cholesky(matrix(a, 2, 2)), std::domain_error);
  }
  std::vector<double> x(6);
  CHECK_THROWS_AS(lapack::cholesky(matrix(x, 2, 3)), std::invalid_argument);
  CHECK_THROWS_AS(lapack::eigen_symmetric(matrix(std::as_const(x), 2, 3)), std::invalid_argument);
  CHECK_THROWS_AS(lapack::lu_solve(matrix(std::as_const(x), 2, 3), matrix(std::as_const(x), 2, 3)),
                  std::invalid_argument);
  CHECK_THROWS_AS(lapack::least_squares(matrix(std::as_const(x), 2, 3), matrix(std::as_const(x), 3, 2)),
                  std::invalid_argument);
}
