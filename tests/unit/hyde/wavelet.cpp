#include "wavelet.hpp"

#include <doctest.h>

#include "cli/error.hpp"
#include "support.hpp"

using namespace support;

TEST_CASE("Daubechies and symlet filters are orthonormal to 1e-13 for every order") {
  std::vector<Wavelet> all;
  for (int k = 1; k <= 20; ++k)
    all.push_back(daubechies(k));
  for (int k = 2; k <= 10; ++k)
    all.push_back(symlet(k));
  for (const Wavelet& w : all) {
    double sum = 0;
    for (double h : w.low)
      sum += h;
    CHECK(sum == doctest::Approx(std::sqrt(2.0)).epsilon(1e-13));
    for (std::size_t m = 0; 2 * m < w.low.size(); ++m) {
      double dot = 0, cross = 0;
      for (std::size_t k = 0; k + 2 * m < w.low.size(); ++k) {
        dot += w.low[k] * w.low[k + 2 * m];
        cross += w.low[k] * w.high[k + 2 * m];
      }
      CHECK(std::abs(dot - (m == 0 ? 1.0 : 0.0)) < 1e-13);
      CHECK(std::abs(cross) < 1e-13);
    }
  }
}

TEST_CASE("filters are the published ones") {
  const std::vector<double> db4{-0.010597401785069, 0.032883011666885, 0.030841381835561, -0.187034811719093,
                                -0.02798376941686,  0.630880767929859, 0.714846570552916, 0.230377813308897};
  const std::vector<double> db5{0.003335725285474,  -0.012580751999082, -0.006241490212798, 0.077571493840046,
                                -0.032244869584638, -0.242294887066382, 0.138428145901321,  0.724308528437773,
                                0.60382926979719,   0.160102397974193};
  const std::vector<double> db6{-0.001077301085308, 0.004777257510946, 0.000553842201161,  -0.031582039317486,
                                0.027522865530306,  0.097501605587323, -0.129766867567262, -0.22626469396544,
                                0.315250351709198,  0.751133908021095, 0.494623890398453,  0.111540743350109};
  for (const auto& [order, expected] : {std::pair{4, db4}, std::pair{5, db5}, std::pair{6, db6}}) {
    const Wavelet w = daubechies(order);
    REQUIRE(w.low.size() == expected.size());
    for (std::size_t k = 0; k < expected.size(); ++k)
      CHECK(std::abs(w.low[k] - expected[k]) < 1e-12);
  }
  CHECK(daubechies(1).high[0] == doctest::Approx(-std::sqrt(0.5)));
}

TEST_CASE("symlets are the published ones") {
  const std::vector<double> sym4{-0.07576571478927333, -0.02963552764599851, 0.49761866763201545,   0.8037387518059161,
                                 0.29785779560527736,  -0.09921954357684722, -0.012603967262037833, 0.0322231006040427};
  const std::vector<double> sym8{-0.003382416, -0.000542132, 0.031695088,  0.007607487,  -0.143294238, -0.061273359,
                                 0.481359651,  0.777185752,  0.364441895,  -0.051945838, -0.027219030, 0.049137180,
                                 0.003808752,  -0.014952258, -0.000302921, 0.001889950};
  for (const auto& [order, expected] : {std::pair{4, sym4}, std::pair{8, sym8}})
    for (std::size_t k = 0; k < expected.size(); ++k)
      CHECK(symlet(order).low[k] == doctest::Approx(expected[k]).epsilon(1e-6));
}

TEST_CASE("the transform is orthonormal where nothing is padded") {
  const Dwt2 dwt(64, 96, daubechies(5), 5);
  CHECK(dwt.size() == 64 * 96);
  const std::vector<float> plane = normal(64 * 96, 1);
  std::vector<float> coefficients(dwt.size()), back(plane.size());
  dwt.forward(plane, coefficients);
  double before = 0, after = 0;
  for (float v : plane)
    before += v * v;
  for (float v : coefficients)
    after += v * v;
  CHECK(after == doctest::Approx(before).epsilon(1e-6));
  dwt.inverse(coefficients, back);
  CHECK(largest_difference(plane, back) < 1e-5);
}

TEST_CASE("perfect reconstruction and adjoint for odd sizes") {
  for (const auto& [rows, cols] : {std::pair<std::size_t, std::size_t>{31, 43}, {90, 90}, {5, 200}, {2, 2}}) {
    const Dwt2 dwt(rows, cols, daubechies(6), 3);
    CHECK(dwt.rows() % 8 == 0);
    CHECK(dwt.rows() < rows + 8);
    const std::vector<float> x = normal(rows * cols, 2), y = normal(dwt.size(), 3);
    std::vector<float> wx(dwt.size()), back(x.size()), copy = y, wty(x.size());
    dwt.forward(x, wx);
    double left = 0, right = 0;
    for (std::size_t i = 0; i < y.size(); ++i)
      left += static_cast<double>(wx[i]) * y[i];
    dwt.adjoint(copy, wty);
    for (std::size_t i = 0; i < x.size(); ++i)
      right += static_cast<double>(wty[i]) * x[i];
    CHECK(left == doctest::Approx(right).epsilon(1e-4));
    dwt.inverse(wx, back);
    CHECK(largest_difference(x, back) < 2e-5);
  }
}

TEST_CASE("details vanish on polynomials, and the transform commutes with transposition") {
  const std::size_t n = 64;
  std::vector<float> ramp(n * n), turned(n * n);
  const std::vector<float> x = normal(n * n, 4);
  for (std::size_t r = 0; r < n; ++r)
    for (std::size_t c = 0; c < n; ++c) {
      ramp[r * n + c] = static_cast<float>(r);
      turned[c * n + r] = x[r * n + c];
    }
  const Dwt2 dwt(n, n, daubechies(5), 2);
  std::vector<float> a(dwt.size()), b(dwt.size());
  dwt.forward(ramp, a);
  for (const Subband& band : dwt.subbands())
    if (band.level > 0 && band.row == 0)  // detail along columns alone: a constant there
      for (std::size_t r = 0; r < band.rows; ++r)
        for (std::size_t c = 0; c < band.cols; ++c)
          CHECK(std::abs(a[(band.row + r) * n + band.col + c]) < 1e-3);
  dwt.forward(x, a);
  dwt.forward(turned, b);
  double worst = 0;
  for (std::size_t r = 0; r < n; ++r)
    for (std::size_t c = 0; c < n; ++c)
      worst = std::max(worst, static_cast<double>(std::abs(a[r * n + c] - b[c * n + r])));
  CHECK(worst < 1e-5);
}

TEST_CASE("unknown wavelets are refused") {
  CHECK_THROWS_AS(wavelet_by_name("db21"), fachwerk::Error);
  CHECK_THROWS_AS(wavelet_by_name("db"), fachwerk::Error);
  CHECK_THROWS_AS(wavelet_by_name("bior1.5"), fachwerk::Error);
  CHECK(wavelet_by_name("haar").low.size() == 2);
}
