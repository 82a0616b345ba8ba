// The device's loops, run on this processor, against the methods' own.
#include "accelerator.hpp"

#include <doctest.h>

#include "gram.hpp"
#include "hyres.hpp"
#include "lowrank.hpp"
#include "support.hpp"
#include "transform.hpp"
#include "wsrrr.hpp"

using namespace support;
using fachwerk::compute::Device;

namespace {

double relative(const Matrix& a, const Matrix& b) {
  Matrix d = a;
  for (std::size_t i = 0; i < d.values.size(); ++i)
    d.values[i] -= b.values[i];
  return frobenius(d) / frobenius(a);
}

Source accelerated(const Source& source, std::size_t memory = 0) {
  Source s = source;
  s.accelerator = std::make_shared<Accelerator>(Device::cpu(), memory);
  return s;
}

}  // namespace

TEST_CASE("passes over the cube: resident, and in blocks") {
  const Case c = scene({40, 33, 17}, 4, 20, 81);
  const Source plain = memory_source(c.noisy, c.extent, 9);
  const Matrix r = gram(plain);
  for (std::size_t memory : {std::size_t{1} << 30, std::size_t{1} << 10}) {
    const Source s = accelerated(plain, memory);
    CHECK(relative(r, gram(s)) < 1e-13);
    CHECK(relative(r, gram(s)) < 1e-13);  // from the resident copy
    const Matrix directions = columns(eigen_symmetric(r).vectors, 5);
    const std::vector<float> planes = project(plain, directions), there = project(s, directions);
    CHECK(largest_difference(planes, there) < 1e-4);
    CHECK(relative(correlate(plain, planes), correlate(s, planes)) < 1e-6);
  }
}

TEST_CASE("the wavelet transform of many planes") {
  const std::size_t rows = 41, cols = 58, count = 5;
  for (int order : {1, 4, 5, 10})
    for (int levels : {1, 3, 5}) {
      const Dwt2 dwt(rows, cols, daubechies(order), levels);
      std::vector<float> here(count * dwt.size());
      for (std::size_t i = 0; i < count; ++i) {
        const std::vector<float> plane = normal(rows * cols, 90 + i);
        std::copy(plane.begin(), plane.end(), here.begin() + static_cast<std::ptrdiff_t>(i * dwt.size()));
      }
      std::vector<float> there = here;
      const Source plain{{rows, cols, 1}, {}};
      Source device = plain;
      device.accelerator = std::make_shared<Accelerator>(Device::cpu(), 24 * dwt.size());  // two batches and more
      transform(plain, dwt, here);
      transform(device, dwt, there);
      CHECK(largest_difference(here, there) < 2e-5);
      for (std::size_t each : {std::size_t{1}, dwt.subbands().size()}) {
        std::vector<float> thresholds(count * each), a = here, b = there;
        for (std::size_t i = 0; i < thresholds.size(); ++i)
          thresholds[i] = 0.1F * static_cast<float>(i % 13);
        shrink_and_inverse(plain, dwt, thresholds, a);
        shrink_and_inverse(device, dwt, thresholds, b);
        CHECK(largest_difference(a, b) < 5e-5);
      }
    }
}

TEST_CASE("whole methods") {
  const Case c = scene({45, 50, 24}, 4, 20, 82);
  const Source plain = memory_source(c.noisy, c.extent), device = accelerated(plain);
  const auto cube = [&](const LowRank& model) {
    std::vector<float> all(c.extent.size());
    reconstruct(model, memory_sink(all, c.extent));
    return all;
  };
  const auto by_hyres = [&](const Source& s) {
    const Matrix r = gram(s);
    return cube(hyres(s, r, regression_noise(r, s.valid_pixels())).model);
  };
  const auto by_wsrrr = [&](const Source& s) {
    WsrrrOptions options;
    options.rank = 4;
    options.iterations = 10;
    const Matrix r = gram(s);
    return cube(wsrrr(s, r, regression_noise(r, s.valid_pixels()), options).model);
  };
  CHECK(largest_difference(by_hyres(plain), by_hyres(device)) < 1e-5);
  CHECK(largest_difference(by_wsrrr(plain), by_wsrrr(device)) < 1e-5);
}
