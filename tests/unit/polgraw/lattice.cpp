#include "lattice.hpp"

#include <random>

#include <doctest.h>

#include "shared_frame.hpp"

using namespace fachwerk::polgraw;

namespace {

double frequency_step(double c0, double N, double nfft) {
  return 2 * pi * N / nfft / (2 * std::sqrt(3 * (1 - c0)));
}

/// Largest distance from the lattice found by random starts and local ascent, with nearest points by enumeration: knows
/// nothing of Voronoi cells.
double deepest_hole_found(const Matrix4& basis) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> uniform(0, 1);
  const auto distance = [&](const std::array<double, 4>& x) {
    double best = 1e300;
    for (int code = 0; code < 2401; ++code) {
      std::array<double, 4> y = x;
      for (int k = 0, rest = code; k < 4; ++k, rest /= 7)
        for (std::size_t c = 0; c < 4; ++c)
          y[c] -= (rest % 7 - 3) * basis[4 * static_cast<std::size_t>(k) + c];
      best = std::min(best, y[0] * y[0] + y[1] * y[1] + y[2] * y[2] + y[3] * y[3]);
    }
    return std::sqrt(best);
  };
  double deepest = 0;
  for (int start = 0; start < 12; ++start) {
    std::array<double, 4> x{};
    for (std::size_t k = 0; k < 4; ++k) {
      const double u = uniform(random);
      for (std::size_t c = 0; c < 4; ++c)
        x[c] += u * basis[4 * k + c];
    }
    double here = distance(x);
    for (double step = 0.2; step > 1e-4;) {
      bool rose = false;
      for (int attempt = 0; attempt < 12 && !rose; ++attempt) {
        auto y = x;
        for (double& c : y)
          c += step * (2 * uniform(random) - 1);
        const double there = distance(y);
        if (there > here) here = there, x = y, rose = true;
      }
      if (!rose) step /= 2;
    }
    deepest = std::max(deepest, here);
  }
  return deepest;
}

}  // namespace

TEST_CASE("covering radius of known lattices") {
  Matrix4 cubic{};
  for (std::size_t k = 0; k < 4; ++k)
    cubic[5 * k] = 1;
  CHECK(covering_radius(cubic) == doctest::Approx(1).epsilon(1e-12));  // half the diagonal of the unit cube
  const Matrix4 d4 = {1, 1, 0, 0, 1, -1, 0, 0, 0, 1, -1, 0, 0, 0, 1, -1};
  CHECK(covering_radius(d4) == doctest::Approx(1).epsilon(1e-12));
  Matrix4 gram{};
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t k = 0; k < 4; ++k)
      gram[4 * i + k] = (i == k ? 2.5 : 0) - 0.5;
  CHECK(covering_radius(cholesky(gram)) == doctest::Approx(1).epsilon(1e-12));
  CHECK(thickness(cholesky(gram)) == doctest::Approx(1.765529).epsilon(1e-6));  // A4*, the optimum
}

TEST_CASE("lattices for the published grids: thickness and covering") {
  const auto s2 = constrained_lattice(frequency_step(0.25, 86164, 131072), Lattice::s2);
  CHECK(thickness(s2.Q) == doctest::Approx(1.76768559142).epsilon(1e-9));
  const auto s2b = constrained_lattice(frequency_step(0.86, 344656, 1 << 20), Lattice::s2);
  CHECK(thickness(s2b.Q) == doctest::Approx(1.82299890).epsilon(1e-8));
  CHECK(thickness(constrained_lattice(frequency_step(0.25, 86164, 131072), Lattice::s1).Q) ==
        doctest::Approx(1.9653).epsilon(1e-4));
  CHECK(thickness(constrained_lattice(frequency_step(0.75, 86164, 131072), Lattice::s1).Q) ==
        doctest::Approx(2.675).epsilon(1e-3));
  CHECK_THROWS(constrained_lattice(frequency_step(0.75, 86164, 131072), Lattice::s2));
  const auto low = constrained_lattice(frequency_step(0.25, 86164, 131072), Lattice::best);
  const auto high = constrained_lattice(frequency_step(0.75, 86164, 131072), Lattice::best);
  MESSAGE("thickness: " << thickness(low.Q) << " at c0 0.25, " << thickness(high.Q) << " at c0 0.75");
  CHECK(thickness(low.Q) <= 1.7677);
  CHECK(thickness(high.Q) <= 1.96);
  for (const auto& Q : {s2.Q, low.Q, high.Q}) {
    CHECK(covering_radius(Q) <= 1 + 1e-9);
    const double found = deepest_hole_found(Q);
    CHECK(found <= 1 + 1e-9);
    CHECK(found > 0.97);
  }
}

TEST_CASE("the Fisher matrix and the grid of the sample frame") {
  auto frame = shared_frame(true);
  if (!frame) {
    MESSAGE("skipped: no ../shared/data/polgraw");
    return;
  }
  frame->detectors[0].sigma2 = 1;
  frame->detectors[1].sigma2 = 1.96;
  const auto fisher = reduced_fisher(*frame);
  for (std::size_t k = 0; k < 16; ++k)
    CHECK(fisher[k] == doctest::Approx(frame->grid.fisher[k]).epsilon(1e-6));
  const auto made = make_grid(*frame, {.c0 = 0.75});
  CHECK(made.grid.M[0] == doctest::Approx(2 * pi / 131072).epsilon(1e-14));
  // M Gamma M^T is the lattice's own Gram matrix scaled by 1 - c0: its covering radius in that metric is that of the
  // match.
  const auto metric = multiply(multiply(made.grid.unnormalised, made.grid.fisher), transpose(made.grid.unnormalised));
  CHECK(covering_radius(cholesky(metric)) <= 0.5 * (1 + 1e-9));
  CHECK(made.thickness <= 1.96);
}
