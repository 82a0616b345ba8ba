// The methods on scenes: quality, equivariance, blocks.
#include <doctest.h>
#include <omp.h>

#include "baselines.hpp"
#include "cli/error.hpp"
#include "degrade.hpp"
#include "fasthyde.hpp"
#include "gram.hpp"
#include "hyres.hpp"
#include "l1hymixde.hpp"
#include "metrics.hpp"
#include "otvca.hpp"
#include "select.hpp"
#include "support.hpp"
#include "wsrrr.hpp"

using namespace support;

namespace {

using Method = std::vector<float> (*)(const Source&);

std::vector<float> cube_of(const LowRank& model) {
  std::vector<float> cube(model.extent.size());
  reconstruct(model, memory_sink(cube, model.extent));
  return cube;
}

struct Setup {
  Matrix r;
  Noise noise;
  explicit Setup(const Source& s) : r(gram(s)), noise(regression_noise(r, s.valid_pixels())) {}
};

std::vector<float> by_hyres(const Source& s) {
  const Setup p(s);
  return cube_of(hyres(s, p.r, p.noise).model);
}
std::vector<float> by_fasthyde(const Source& s) {
  const Setup p(s);
  return cube_of(fasthyde(s, p.r, p.noise));
}
std::vector<float> by_otvca(const Source& s) {
  const Setup p(s);
  OtvcaOptions o;
  o.rank = 4;
  return cube_of(otvca(s, p.r, p.noise, o).model);
}
std::vector<float> by_wsrrr(const Source& s) {
  const Setup p(s);
  WsrrrOptions o;
  o.rank = 4;
  o.iterations = 20;
  return cube_of(wsrrr(s, p.r, mad_noise(s), o).model);
}
const std::vector<std::pair<const char*, Method>> methods{
    {"hyres", by_hyres}, {"fasthyde", by_fasthyde}, {"otvca", by_otvca}, {"wsrrr", by_wsrrr}};

}  // namespace

TEST_CASE("HyRes picks the true rank or one more") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const Case c = scene({96, 96, 60}, 5, 20, seed);
    const Source s = memory_source(c.noisy, c.extent);
    const Setup p(s);
    const HyresResult r = hyres(s, p.r, p.noise);
    CHECK(r.model.rank() >= 5);
    CHECK(r.model.rank() <= 6);
    CHECK(psnr(c.clean, cube_of(r.model)) > psnr(c.clean, c.noisy) + 12);
  }
}

TEST_CASE("methods scale with the data, turn with the image, and do not depend on blocks or threads") {
  const Case c = scene({48, 61, 30}, 4, 20, 2);
  for (const auto& [name, method] : methods) {
    CAPTURE(name);
    const std::vector<float> result = method(memory_source(c.noisy, c.extent));
    CHECK(psnr(c.clean, result) > psnr(c.clean, c.noisy) + 8);

    std::vector<float> scaled = c.noisy;
    for (float& v : scaled)
      v *= 1000;
    std::vector<float> large = method(memory_source(scaled, c.extent));
    for (float& v : large)
      v /= 1000;
    CHECK(largest_difference(result, large) < 1e-4);

    CHECK(largest_difference(result, method(memory_source(c.noisy, c.extent, 7))) < 1e-5);
    const int threads = omp_get_max_threads();
    omp_set_num_threads(threads > 1 ? 1 : 3);
    CHECK(largest_difference(result, method(memory_source(c.noisy, c.extent))) < 1e-5);
    omp_set_num_threads(threads);

    const Extent turned{c.extent.cols, c.extent.rows, c.extent.bands};
    std::vector<float> across(c.noisy.size());
    const auto at = [&](std::size_t r, std::size_t col) { return (r * c.extent.cols + col) * c.extent.bands; };
    for (std::size_t r = 0; r < c.extent.rows; ++r)
      for (std::size_t col = 0; col < c.extent.cols; ++col)
        for (std::size_t b = 0; b < c.extent.bands; ++b)
          across[(col * turned.cols + r) * c.extent.bands + b] = c.noisy[at(r, col) + b];
    const std::vector<float> back = method(memory_source(across, turned));
    double square = 0;
    for (std::size_t r = 0; r < c.extent.rows; ++r)
      for (std::size_t col = 0; col < c.extent.cols; ++col)
        for (std::size_t b = 0; b < c.extent.bands; ++b)
          square += std::pow(
              static_cast<double>(back[(col * turned.cols + r) * c.extent.bands + b]) - result[at(r, col) + b], 2);
    CHECK(std::sqrt(square / static_cast<double>(result.size())) < 2e-3);
  }
}

TEST_CASE("subspace methods do not mind the order of bands") {
  const Case c = scene({40, 40, 20}, 3, 20, 3);
  std::vector<float> mixed(c.noisy.size());
  for (std::size_t p = 0; p < c.extent.pixels(); ++p)
    for (std::size_t b = 0; b < 20; ++b)
      mixed[p * 20 + (7 * b) % 20] = c.noisy[p * 20 + b];
  for (const Method method : {by_hyres, by_fasthyde}) {
    const std::vector<float> a = method(memory_source(c.noisy, c.extent)), b = method(memory_source(mixed, c.extent));
    double worst = 0;
    for (std::size_t p = 0; p < c.extent.pixels(); ++p)
      for (std::size_t k = 0; k < 20; ++k)
        worst = std::max(worst, static_cast<double>(std::abs(a[p * 20 + k] - b[p * 20 + (7 * k) % 20])));
    CHECK(worst < 1e-3);
  }
}

TEST_CASE("invalid pixels take no part") {
  Case c = scene({40, 44, 24}, 4, 20, 4);
  const std::vector<float> before = by_hyres(memory_source(c.noisy, c.extent));
  std::vector<std::uint8_t> valid(c.extent.pixels(), 1);
  for (std::size_t p = 0; p < valid.size(); p += 13) {
    valid[p] = 0;
    std::fill_n(&c.noisy[p * 24], 24, 0.0F);
  }
  Source s = memory_source(c.noisy, c.extent);
  s.valid = valid;
  const std::vector<float> after = by_hyres(s);
  double square = 0;
  for (std::size_t p = 0; p < valid.size(); ++p)
    if (valid[p] != 0)
      for (std::size_t b = 0; b < 24; ++b)
        square += std::pow(static_cast<double>(after[p * 24 + b]) - c.clean[p * 24 + b], 2) /
                  static_cast<double>(c.clean.size());
  double plain = 0;
  for (std::size_t i = 0; i < before.size(); ++i)
    plain += std::pow(static_cast<double>(before[i]) - c.clean[i], 2) / static_cast<double>(c.clean.size());
  CHECK(square < 1.3 * plain);
}

TEST_CASE("FastHyIn fills missing stripes, whole pixels, and is FastHyDe where nothing is missing") {
  const Case c = scene({48, 50, 30}, 4, 25, 5);
  const Source s = memory_source(c.noisy, c.extent);
  const std::vector<std::uint8_t> all(c.extent.size(), 1);
  const Setup p(s);
  CHECK(largest_difference(cube_of(fasthyin(s, all, p.r, c.extent.pixels(), p.noise).model), by_fasthyde(s)) < 1e-6);

  std::vector<std::uint8_t> observed = all;
  std::vector<float> broken = c.noisy;
  for (std::size_t r = 0; r < 48; ++r)
    for (std::size_t col : {10, 11, 30})
      for (std::size_t b = 5; b < 20; ++b) {
        observed[(r * 50 + col) * 30 + b] = 0;
        broken[(r * 50 + col) * 30 + b] = NAN;
      }
  for (std::size_t b = 0; b < 30; ++b) {
    observed[(20 * 50 + 40) * 30 + b] = 0;
    broken[(20 * 50 + 40) * 30 + b] = NAN;
  }
  const Source gaps = memory_source(broken, c.extent);
  const Source complete = complete_only(gaps, observed);
  const Matrix g = gram(complete);
  const Noise noise = regression_noise(g, complete.valid_pixels());
  const FasthyinResult r = fasthyin(gaps, observed, g, complete.valid_pixels(), noise);
  CHECK(r.incomplete == 48 * 3 + 1);
  CHECK(r.patterns == 1);
  CHECK(r.filled == 1);
  const std::vector<float> filled = cube_of(r.model);
  CHECK(psnr(c.clean, filled) > psnr(c.clean, by_fasthyde(s)) - 2);
  double worst = 0;
  for (std::size_t b = 0; b < 30; ++b)
    worst = std::max(worst,
                     static_cast<double>(std::abs(filled[(20 * 50 + 40) * 30 + b] - c.clean[(20 * 50 + 40) * 30 + b])));
  CHECK(worst < 0.2);
}

TEST_CASE("mixed noise: L1HyMixDe beats FastHyDe by 5 dB, and auto sees why") {
  const Case c = scene({64, 64, 60}, 5, 60, 6);
  std::vector<float> cube = c.clean;
  add_gaussian(cube, c.extent, noniid_profile("uniform", 60, 0.05, 1), 1);
  add_impulses(cube, c.extent, {0.1}, 0.5, 1.0 / 3, 1);
  add_stripes(cube, c.extent, 0.05, 0.15, 1.0 / 3, 1);
  add_deadlines(cube, c.extent, 0.05, 0.15, 1.0 / 6, 1);
  const Source s = memory_source(cube, c.extent);
  const std::vector<float> robust = cube_of(l1hymixde(s).model);
  CHECK(psnr(c.clean, robust) > psnr(c.clean, by_fasthyde(s)) + 5);
  const Evidence mixed = examine(s, Setup(s).noise);
  CHECK(choose_method(mixed, false, false) == "l1hymixde");
  const Case plain = scene({64, 64, 60}, 5, 20, 6);
  const Source t = memory_source(plain.noisy, plain.extent);
  CHECK(choose_method(examine(t, Setup(t).noise), false, false) == "fasthyde");
  CHECK(choose_method(examine(t, Setup(t).noise), false, true) == "hyres");
}

TEST_CASE("baselines") {
  const Case c = scene({40, 40, 20}, 4, 20, 7);
  const Source s = memory_source(c.noisy, c.extent);
  const Setup p(s);
  CHECK(psnr(c.clean, cube_of(principal_components(s, p.r, 4))) > psnr(c.clean, c.noisy) + 4);
  CHECK(psnr(c.clean, cube_of(minimum_noise_fraction(s, p.r, p.noise, 4))) > psnr(c.clean, c.noisy) + 4);
  CHECK(largest_difference(cube_of(principal_components(s, p.r, 20)), c.noisy) < 1e-5);
  CHECK_THROWS_AS(principal_components(s, p.r, 21), fachwerk::Error);
  // Stripes on a flat image go away entirely.
  const Extent flat{30, 40, 3};
  std::vector<float> cube(flat.size()), out(cube.size());
  const std::vector<float> texture = normal(flat.rows, 61);
  for (std::size_t q = 0; q < flat.pixels(); ++q)
    for (std::size_t b = 0; b < 3; ++b)
      cube[q * 3 + b] = texture[q / 40] * (q % 40 == 9 ? 1.5F : 1.0F) + (q % 40 == 9 ? 0.4F : 0.0F);
  destripe(memory_source(cube, flat), 0, memory_sink(out, flat));
  for (std::size_t q = 0; q < flat.pixels(); ++q)
    CHECK(out[q * 3] == doctest::Approx(texture[q / 40]).epsilon(1e-4));
}

TEST_CASE("metrics of known differences") {
  const Extent extent{16, 16, 2};
  std::vector<float> a(extent.size()), b;
  for (std::size_t i = 0; i < a.size(); ++i)
    a[i] = i % 2 == 0 ? 1.0F : 0.5F;
  b = a;
  for (std::size_t i = 0; i < b.size(); i += 2)
    b[i] += 0.1F;
  const Quality q = compare(a, b, extent);
  CHECK(q.rmse == doctest::Approx(std::sqrt(0.005)).epsilon(1e-5));
  CHECK(q.psnr == doctest::Approx(10 * std::log10(1 / 0.005)).epsilon(1e-5));
  CHECK(q.sam == doctest::Approx(std::atan2(0.5, 1.0) - std::atan2(0.5, 1.1)).epsilon(1e-5));
  CHECK(q.ergas == doctest::Approx(100 * std::sqrt(0.01 / 2)).epsilon(1e-5));
  CHECK(q.band_ssim[1] == doctest::Approx(1));
  CHECK(q.band_ssim[0] == doctest::Approx((2 * 1.1 + 1e-4) / (1 + 1.21 + 1e-4)).epsilon(1e-5));
  CHECK(compare(a, a, extent).psnr == INFINITY);
  b[3] = NAN;
  CHECK(compare(a, b, extent).left_out == 2);
  // White noise removed entirely: nothing correlates.
  const Case c = scene({64, 64, 16}, 3, 20, 8);
  const Residual r = residual_statistics(c.noisy, c.clean, c.extent);
  CHECK(std::abs(r.row_correlation) < 0.02);
  CHECK(std::abs(r.band_correlation) < 0.02);
  CHECK(r.signal_correlation < 0.05);
}

TEST_CASE("noise models do what they say") {
  const Extent extent{100, 90, 12};
  const Case c = scene(extent, 3, 60, 9);
  std::vector<float> cube = c.clean;
  const double sigma = sigma_for_snr(cube, 20);
  add_gaussian(cube, extent, std::vector<double>(12, sigma), 3);
  CHECK(compare(c.clean, cube, extent).snr == doctest::Approx(20).epsilon(0.01));
  cube = c.clean;
  add_poisson(cube, extent, 15, 3);
  CHECK(compare(c.clean, cube, extent).snr == doctest::Approx(15).epsilon(0.03));
  cube = c.clean;
  const Degraded hit = add_impulses(cube, extent, {0.2}, 0.5, 1.0 / 3, 3);
  std::size_t bands = 0;
  for (std::size_t b = 0; b < 12; ++b) {
    std::size_t changed = 0;
    for (std::size_t p = 0; p < extent.pixels(); ++p)
      changed += cube[p * 12 + b] != c.clean[p * 12 + b];
    CHECK((hit.bands[b] != 0 ? changed > 1600 && changed < 2000 : changed == 0));
    bands += hit.bands[b];
  }
  CHECK(bands == 4);
}
