// Coincidences of many triggers: one shift of the cells, the radix sort of their keys, and std::sort of the same keys.
#include <algorithm>
#include <chrono>
#include <cstdlib>

#include <fmt/format.h>

#include "cell_sort.hpp"
#include "coincidences.hpp"
#include "compute/random.hpp"

using namespace fachwerk::polgraw;

namespace {

template <class Fn>
double seconds(const Fn& fn) {
  const auto start = std::chrono::steady_clock::now();
  fn();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t n = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 10000000;
  fachwerk::compute::Stream random(1, 0, 0);
  std::vector<Candidates> candidates(n);
  std::vector<PackedCell> keys(n);
  for (std::size_t i = 0; i < n; ++i) {
    auto& c = candidates[i];
    c.frame = static_cast<int>(20 * i / n);
    c.row = i;
    c.snr = 5 + random.exponential();
    for (double& z : c.z)
      z = 200 * random.uniform();
    for (const double z : c.z)
      keys[i].low = keys[i].low << 8 | static_cast<std::uint64_t>(z);
    keys[i].low = keys[i].low << 5 | static_cast<std::uint64_t>(c.frame);
    keys[i].index = static_cast<std::uint32_t>(i);
  }
  double radix = 1e9, standard = 1e9, whole = 1e9;
  for (int round = 0; round < 3; ++round) {
    auto a = keys, b = keys;
    radix = std::min(radix, seconds([&] { radix_sort(a, 37); }));
    standard = std::min(standard, seconds([&] { std::sort(b.begin(), b.end()); }));
    whole = std::min(whole, seconds([&] { find_coincidences(candidates, {0, 1, 0, 1}, 5); }));
    if (!std::ranges::equal(a, b, [](const auto& x, const auto& y) { return x.same_key(y); })) return 1;
  }
  fmt::print(
      "{} triggers, best of 3: radix sort {:.2f} s, std::sort of the same keys {:.2f} s ({:.1f} x), all of one shift "
      "{:.2f} s\n",
      n, radix, standard, standard / radix, whole);
}
