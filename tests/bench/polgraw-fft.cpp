// FFTW alone: pairs of complex transforms, one after the other, as the inner loop of polgraw-search does them.
#include <algorithm>
#include <chrono>
#include <complex>

#include <fmt/format.h>

#include "compute/fft.hpp"

namespace {

template <class T>
double gflops(std::size_t n) {
  using namespace fachwerk::compute;
  const fft::Complex<T> plan(n, {.planner = fft::Planner::measure, .directions = fft::Directions::forward});
  auto in = Buffer<std::complex<T>>::zeros({}, 2 * n), out = Buffer<std::complex<T>>::zeros({}, 2 * n);
  for (std::size_t i = 0; i < 2 * n; ++i)
    in.data()[i] = {T(i % 7) - 3, T(i % 5) - 2};
  double best = 1e9;
  for (int round = 0; round < 200; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (std::size_t which = 0; which < 2; ++which)
      plan.forward({in.data() + which * n, n}, {out.data() + which * n, n});
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return 2 * 5 * static_cast<double>(n) * std::log2(static_cast<double>(n)) / best * 1e-9;
}

}  // namespace

int main() {
  try {
    fachwerk::compute::fft::load_wisdom(fachwerk::compute::fft::wisdom_path());
  } catch (const std::exception&) {  // measured here then
  }
  fmt::print("FFTW alone, n = 65536, best of 200: {:.1f} (double) and {:.1f} (single) GFLOP/s\n", gflops<double>(65536),
             gflops<float>(65536));
}
