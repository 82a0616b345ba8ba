#pragma once

#include <cstddef>
#include <stdexcept>

/// Who has what: contiguous blocks of a range over ranks (or threads, or files).
namespace fachwerk::cluster {

struct Block {
  std::size_t begin = 0, count = 0;
  std::size_t end() const { return begin + count; }
  bool operator==(const Block&) const = default;
};

/// Part `index` of n items in `parts` contiguous blocks whose sizes differ by at most one, the larger ones first.
/// With `grain` > 1 blocks begin at multiples of it (chunks of a dataset, blocks of a reduction). Throws
/// std::invalid_argument unless index < parts and grain > 0.
inline Block block_of(std::size_t n, std::size_t parts, std::size_t index, std::size_t grain = 1) {
  if (index >= parts || grain == 0) throw std::invalid_argument("cluster::block_of: no such part");
  const std::size_t grains = n / grain + (n % grain != 0 ? 1 : 0);
  const std::size_t share = grains / parts, larger = grains % parts;
  const std::size_t first = index * share + (index < larger ? index : larger);
  const std::size_t last = first + share + (index < larger ? 1 : 0);
  const std::size_t begin = first * grain < n ? first * grain : n;
  const std::size_t end = last * grain < n ? last * grain : n;
  return {begin, end - begin};
}

/// The part that has `item`: block_of(n, parts, owner_of(...), grain) contains it. Throws std::invalid_argument unless
/// item < n.
inline std::size_t owner_of(std::size_t item, std::size_t n, std::size_t parts, std::size_t grain = 1) {
  if (item >= n || parts == 0 || grain == 0) throw std::invalid_argument("cluster::owner_of: no such item");
  const std::size_t grains = n / grain + (n % grain != 0 ? 1 : 0);
  const std::size_t share = grains / parts, larger = grains % parts, at = item / grain;
  return at < larger * (share + 1) ? at / (share + 1) : larger + (at - larger * (share + 1)) / share;
}

}  // namespace fachwerk::cluster
