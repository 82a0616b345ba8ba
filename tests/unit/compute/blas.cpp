#include "compute/blas.hpp"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string_view>
#include <vector>

#include <cblas.h>
#include <doctest.h>

#include "algebra.hpp"
#include "compute/isa.hpp"

using namespace fachwerk::compute;
using namespace fachwerk::test;

namespace {

/// alpha A B + beta C.
template <class T>
Plain<T> combined(T alpha, const Plain<T>& a, const Plain<T>& b, T beta, const Plain<T>& c) {
  Plain<T> result = product(a, b);
  for (std::size_t i = 0; i < c.values.size(); ++i)
    result.values[i] = alpha * result.values[i] + beta * c.values[i];
  return result;
}

template <class T>
Matrix<const T> on(Device, const Buffer<T>& b, const Plain<T>& shape) {
  return matrix(b, shape.rows, shape.columns);
}

template <class T>
void check_gemm(Device device) {
  const std::size_t m = 13, n = 17, k = 29;
  const Plain<T> a = random_matrix<T>(m, k, 1), b = random_matrix<T>(k, n, 2), c = random_matrix<T>(m, n, 3);
  const Plain<T> at = transpose(a), bt = transpose(b);
  const Buffer<T> da(device, a.values), db(device, b.values), dat(device, at.values), dbt(device, bt.values);
  const Plain<T> expected = combined(T(0.5), a, b, T(-2), c);
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      Buffer<T> dc(device, c.values);
      blas::gemm(T(0.5), ta ? on(device, dat, at).t() : on(device, da, a),
                 tb ? on(device, dbt, bt).t() : on(device, db, b), T(-2), matrix(dc, m, n));
      CHECK(distance(dc.vector(), expected.values) < 100 * unit<T>);
    }
  // beta = 0 must not read C.
  Buffer<T> dc(device, std::vector<T>(m * n, std::numeric_limits<T>::quiet_NaN()));
  blas::gemm(T(1), on(device, da, a), on(device, db, b), T(0), matrix(dc, m, n));
  CHECK(distance(dc.vector(), product(a, b).values) < 100 * unit<T>);
  // Nothing to sum: C = beta C.
  Buffer<T> kept(device, c.values);
  blas::gemm(T(1), Matrix<const T>{da.data(), m, 0, 0, false, device},
             Matrix<const T>{db.data(), 0, n, n, false, device}, T(2), matrix(kept, m, n));
  std::vector<T> twice = c.values;
  for (T& value : twice)
    value *= 2;
  CHECK(kept.vector() == twice);
}

template <class T>
void check_blocks(Device device) {
  const Plain<T> a = random_matrix<T>(10, 12, 4), b = random_matrix<T>(12, 9, 5);
  Buffer<T> da(device, a.values), db(device, b.values), dc = Buffer<T>::zeros(device, 8 * 8);
  blas::gemm(T(1), Matrix<const T>(matrix(da, 10, 12).block(2, 3, 4, 5)),
             Matrix<const T>(matrix(db, 12, 9).block(1, 2, 5, 6)), T(0), matrix(dc, 8, 8).block(1, 1, 4, 6));
  Plain<T> expected(8, 8);
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t j = 0; j < 6; ++j)
      for (std::size_t k = 0; k < 5; ++k)
        expected(i + 1, j + 1) += a(i + 2, k + 3) * b(k + 1, j + 2);
  CHECK(distance(dc.vector(), expected.values) < 50 * unit<T>);
}

template <class T>
void check_batch(Device device) {
  const std::size_t count = 20, m = 3, n = 4, k = 5;
  const Plain<T> a = random_matrix<T>(count * m, k, 6), b = random_matrix<T>(k, n, 7);
  Buffer<T> da(device, a.values), db(device, b.values), dc(device, count * m * n);
  blas::gemm_batch(count, {m * k, 0, m * n}, T(1), Matrix<const T>(matrix(da.view().part(0, m * k), m, k)),
                   on(device, db, b), T(0), matrix(dc.view().part(0, m * n), m, n));
  CHECK(distance(dc.vector(), product(a, b).values) < 50 * unit<T>);
}

template <class T>
void check_others(Device device) {
  const std::size_t n = 150, k = 7;
  const Plain<T> a = random_matrix<T>(n, k, 8), at = transpose(a);
  Plain<T> c = product(a, at);
  const Buffer<T> da(device, a.values), dat(device, at.values);
  Buffer<T> dc = Buffer<T>::zeros(device, n * n), dt = Buffer<T>::zeros(device, n * n);
  blas::syrk(T(1), on(device, da, a), T(0), matrix(dc, n, n));
  blas::syrk(T(1), on(device, dat, at).t(), T(0), matrix(dt, n, n));
  CHECK(distance(dc.vector(), c.values) < 50 * unit<T>);
  CHECK(distance(dt.vector(), c.values) < 50 * unit<T>);
  blas::syrk(T(1), on(device, da, a), T(1), matrix(dc, n, n));
  for (T& value : c.values)
    value *= 2;
  CHECK(distance(dc.vector(), c.values) < 100 * unit<T>);

  const Plain<T> x = random_matrix<T>(k, 1, 9), y = random_matrix<T>(n, 1, 10);
  const Buffer<T> dx(device, x.values);
  for (const bool transposed : {false, true}) {
    Buffer<T> dy(device, y.values);
    blas::gemv(T(3), transposed ? on(device, dat, at).t() : on(device, da, a), dx, T(0.5), dy);
    CHECK(distance(dy.vector(), combined(T(3), a, x, T(0.5), y).values) < 100 * unit<T>);
  }

  Buffer<T> z(device, y.values);
  blas::axpy(T(2), Buffer<T>(device, y.values), z);
  blas::scale(T(0.25), z);
  std::vector<T> expected = y.values;
  for (T& value : expected)
    value *= T(0.75);
  CHECK(distance(z.vector(), expected) < 4 * unit<T>);
  const std::vector<T> squares{3, 4, 12};
  const Buffer<T> ds(device, squares);
  CHECK(blas::dot(ds, ds) == 169);
  CHECK(blas::nrm2(ds) == doctest::Approx(13).epsilon(4 * unit<T>));
  const Buffer<T> big(device, std::vector<T>{std::numeric_limits<T>::max() / 2, std::numeric_limits<T>::max() / 2});
  CHECK(std::isfinite(blas::nrm2(big)));
}

template <class T>
void check_trsm(Device device) {
  const std::size_t n = 11, k = 5;
  Plain<T> l = random_matrix<T>(n, n, 11);
  for (std::size_t i = 0; i < n; ++i) {
    l(i, i) = T(4 + double(i));
    for (std::size_t j = i + 1; j < n; ++j)
      l(i, j) = 0;
  }
  const Plain<T> x = random_matrix<T>(n, k, 12), u = transpose(l);
  const auto check = [&](blas::Triangle stored, const Plain<T>& kept, bool transposed) {
    Plain<T> garbage = kept;  // the triangle that must not be read
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j)
        if (stored == blas::Triangle::lower ? j > i : j < i) garbage(i, j) = std::numeric_limits<T>::quiet_NaN();
    const Buffer<T> d(device, garbage.values);
    Buffer<T> b(device, product(transposed ? transpose(kept) : kept, x).values);
    const Matrix<const T> t = matrix(d, n, n);
    blas::trsm(stored, transposed ? t.t() : t, matrix(b, n, k));
    CHECK(distance(b.vector(), x.values) < 200 * unit<T>);
  };
  for (const bool transposed : {false, true}) {
    check(blas::Triangle::lower, l, transposed);
    check(blas::Triangle::upper, u, transposed);
  }
}

template <class T>
void check_all(Device device) {
  check_gemm<T>(device);
  check_blocks<T>(device);
  check_batch<T>(device);
  check_others<T>(device);
  check_trsm<T>(device);
}

}  // namespace

TEST_CASE("BLAS on the CPU, double") {
  check_all<double>({});
}
TEST_CASE("BLAS on the CPU, float") {
  check_all<float>({});
}

TEST_CASE("BLAS on a CUDA device") {
  std::string reason;
  if (cuda_devices(&reason) == 0) {
    MESSAGE("skipped, needs a CUDA device: ", reason);
    return;
  }
  check_all<double>(Device::parse("cuda"));
  check_all<float>(Device::parse("cuda"));
}

TEST_CASE("BLAS refuses shapes that do not fit") {
  std::vector<double> x(12), y(12), z(16);
  const auto a = matrix(x, 3, 4), b = matrix(y, 3, 4);
  CHECK_THROWS_AS(blas::gemm(1, a, b, 0, matrix(z, 4, 4)), std::invalid_argument);
  CHECK_THROWS_AS(blas::gemm(1, a.t(), b, 0, matrix(z, 4, 4).t()), std::invalid_argument);
  CHECK_NOTHROW(blas::gemm(1, a.t(), b, 0, matrix(z, 4, 4)));
  CHECK_THROWS_AS(blas::gemv(1, a, x, 0, y), std::invalid_argument);
  CHECK_THROWS_AS(blas::syrk(1, a, 0, matrix(z, 4, 4)), std::invalid_argument);
  CHECK_THROWS_AS(blas::trsm(blas::Triangle::lower, a, matrix(z, 4, 4)), std::invalid_argument);
  CHECK_THROWS_AS(blas::axpy(1, x, z), std::invalid_argument);
  CHECK_THROWS_AS(blas::dot(x, z), std::invalid_argument);
}

TEST_CASE("no processor with wider vectors is left with OpenBLAS's kernels for SSE3") {
  if (std::getenv("OPENBLAS_CORETYPE") != nullptr || isa_of_processor() == Isa::baseline) return;
  CHECK(std::string_view(openblas_get_corename()) != "Prescott");
}
