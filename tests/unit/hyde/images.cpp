// Total variation, block matching and the other image filters.
#include <doctest.h>

#include "bm3d.hpp"
#include "image.hpp"
#include "support.hpp"
#include "tv.hpp"

using namespace support;

namespace {

std::vector<float> picture(std::size_t rows, std::size_t cols) {
  std::vector<float> image(rows * cols);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < cols; ++c) {
      const double y = static_cast<double>(r) / static_cast<double>(rows),
                   x = static_cast<double>(c) / static_cast<double>(cols);
      image[r * cols + c] = static_cast<float>(0.3 + 0.2 * std::sin(9 * x) * std::cos(7 * y) +
                                               (x > 0.3 && x < 0.6 && y > 0.4 ? 0.3 : 0.0));
    }
  return image;
}

}  // namespace

TEST_CASE("total variation: the gap never grows, closes, and bounds the error") {
  const std::size_t rows = 40, cols = 53;
  std::vector<float> f = picture(rows, cols);
  const std::vector<float> noise = normal(f.size(), 51, 0.1);
  for (std::size_t i = 0; i < f.size(); ++i)
    f[i] += noise[i];
  TvOptions tight;
  tight.weight = 0.1;
  tight.tolerance = 1e-7;
  tight.iterations = 20000;
  TvDual dual, other;
  std::vector<float> reference = f, loose = f;
  const TvResult r = tv_denoise(reference, rows, cols, tight, dual);
  CHECK(r.converged);
  for (std::size_t i = 1; i < r.gaps.size(); ++i)
    CHECK(r.gaps[i] <= r.gaps[i - 1]);
  TvOptions coarse;
  coarse.weight = 0.1;
  const TvResult l = tv_denoise(loose, rows, cols, coarse, other);
  CHECK(l.converged);
  double distance = 0;
  for (std::size_t i = 0; i < f.size(); ++i)
    distance += std::pow(static_cast<double>(loose[i]) - reference[i], 2);
  CHECK(distance / 2 <= l.gap + r.gap + 1e-6);
}

TEST_CASE("total variation of a step of height h and two columns of width w moves each side by weight/w") {
  const std::size_t rows = 20, cols = 16;
  std::vector<float> image(rows * cols);
  for (std::size_t i = 0; i < image.size(); ++i)
    image[i] = i % cols < cols / 2 ? 0.0F : 1.0F;
  TvOptions o;
  o.weight = 0.8;
  o.tolerance = 1e-10;
  o.noise_tolerance = 1e-7;
  o.iterations = 50000;
  TvDual dual;
  tv_denoise(image, rows, cols, o, dual);
  for (std::size_t i = 0; i < image.size(); ++i)
    CHECK(image[i] == doctest::Approx(i % cols < cols / 2 ? 0.1 : 0.9).epsilon(1e-3));
}

TEST_CASE("every core improves a noisy picture, and none changes one without noise") {
  const std::size_t rows = 64, cols = 81;
  const std::vector<float> clean = picture(rows, cols), noise = normal(clean.size(), 52, 0.1);
  for (const std::string& name : core_names()) {
    CAPTURE(name);
    std::vector<float> image = clean;
    for (std::size_t i = 0; i < image.size(); ++i)
      image[i] += noise[i];
    const double before = psnr(clean, image);
    denoise_image(core_by_name(name), image, rows, cols, 0.1);
    CHECK(psnr(clean, image) > before + (name == "bm3d" ? 10 : 4));
    image = clean;
    denoise_image(core_by_name(name), image, rows, cols, 1e-5);
    CHECK(largest_difference(clean, image) < 2e-4);
  }
}

TEST_CASE("block matching treats rows and columns alike and takes any size") {
  const std::size_t rows = 40, cols = 57;
  std::vector<float> image = picture(rows, cols), turned(image.size());
  const std::vector<float> noise = normal(image.size(), 53, 0.08);
  for (std::size_t i = 0; i < image.size(); ++i)
    image[i] += noise[i];
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < cols; ++c)
      turned[c * rows + r] = image[r * cols + c];
  bm3d(image, rows, cols, 0.08);
  bm3d(turned, cols, rows, 0.08);
  double worst = 0;
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < cols; ++c)
      worst = std::max(worst, static_cast<double>(std::abs(turned[c * rows + r] - image[r * cols + c])));
  CHECK(worst < 0.02);  // blocks of equal distance may be taken in another order
  std::vector<float> tiny{0.1F, 0.2F, 0.3F, 0.4F, 0.5F, 0.6F};
  bm3d(tiny, 2, 3, 0.05);
  for (float v : tiny)
    CHECK(std::isfinite(v));
}

TEST_CASE("the adaptive median removes impulses and leaves the rest") {
  const std::size_t rows = 50, cols = 50;
  const std::vector<float> clean = picture(rows, cols);
  std::vector<float> image = clean;
  for (std::size_t i = 0; i < image.size(); ++i) {
    fachwerk::compute::Stream stream(54, i);
    if (stream.uniform() < 0.3) image[i] = stream.uniform() < 0.5 ? 0.0F : 1.0F;
  }
  const double before = psnr(clean, image);
  adaptive_median(image, rows, cols);
  CHECK(psnr(clean, image) > before + 12);
  std::vector<float> median = clean;
  median_filter(median, rows, cols, 1);
  CHECK(psnr(clean, median) > 30);
}
