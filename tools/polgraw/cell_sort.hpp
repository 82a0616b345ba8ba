#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

/// Sorting of cells by a packed key of 128 bits.
namespace fachwerk::polgraw {

/// A cell's numbers and a frame's, one behind the other with the bits that they need; and whose they are.
struct PackedCell {
  std::uint64_t high = 0, low = 0;
  std::uint32_t index = 0;

  bool same_key(const PackedCell& other) const { return high == other.high && low == other.low; }
  friend auto operator<=>(const PackedCell& a, const PackedCell& b) {
    return std::pair(a.high, a.low) <=> std::pair(b.high, b.low);
  }
};

/// By the `bits` lowest bits of the keys; stable. Digits of eleven bits, the lowest first; those that all keys share
/// cost nothing but being counted.
inline void radix_sort(std::vector<PackedCell>& cells, int bits) {
  constexpr int width = 11;
  constexpr std::size_t size = std::size_t{1} << width;
  const auto digit = [](const PackedCell& c, int from) {
    const auto shifted = from == 0 ? c.low : from < 64 ? c.low >> from | c.high << (64 - from) : c.high >> (from - 64);
    return static_cast<std::size_t>(shifted & (size - 1));
  };
  const int digits = (bits + width - 1) / width;
  std::vector<std::array<std::uint32_t, size>> counts(static_cast<std::size_t>(digits));
  for (const auto& c : cells)
    for (int d = 0; d < digits; ++d)
      ++counts[static_cast<std::size_t>(d)][digit(c, d * width)];
  std::vector<PackedCell> other(cells.size());
  for (int d = 0; d < digits; ++d) {
    auto& places = counts[static_cast<std::size_t>(d)];
    if (!cells.empty() && places[digit(cells[0], d * width)] == cells.size()) continue;
    std::uint32_t place = 0;
    for (auto& count : places)
      place += std::exchange(count, place);
    for (const auto& c : cells)
      other[places[digit(c, d * width)]++] = c;
    cells.swap(other);
  }
}

}  // namespace fachwerk::polgraw
