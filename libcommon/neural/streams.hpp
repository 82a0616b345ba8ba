#pragma once

#include <cstdint>
#include <string_view>

#include "compute/random.hpp"

/// The named random streams of training: what one consumer draws never disturbs another, and nothing depends on
/// threads.
namespace fachwerk::neural {

enum class Channel : std::uint32_t { initial = 1, shuffle, augment, dropout, tangent, feedback, split, synthesis, mix };

inline compute::Stream stream(std::uint64_t seed, Channel channel, std::uint64_t item) {
  return {seed, item, static_cast<std::uint32_t>(channel)};
}

/// The item number of a name (FNV-1a), so that a parameter's initial values do not depend on the rest of the network.
constexpr std::uint64_t item_of(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : name)
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

}  // namespace fachwerk::neural
