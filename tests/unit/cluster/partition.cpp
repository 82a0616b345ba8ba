#include "cluster/partition.hpp"

#include <doctest.h>

using namespace fachwerk::cluster;

TEST_CASE("blocks follow one another, cover everything, and differ by at most one") {
  for (const std::size_t n : {0UL, 1UL, 2UL, 7UL, 12UL, 1000UL})
    for (const std::size_t parts : {1UL, 2UL, 3UL, 5UL, 16UL})
      for (const std::size_t grain : {1UL, 4UL, 64UL}) {
        std::size_t next = 0, least = n, most = 0;
        for (std::size_t part = 0; part < parts; ++part) {
          const Block block = block_of(n, parts, part, grain);
          REQUIRE(block.begin == next);
          REQUIRE((block.count == 0 || block.begin % grain == 0));
          for (std::size_t i = block.begin; i < block.end(); ++i)
            REQUIRE(owner_of(i, n, parts, grain) == part);
          next = block.end();
          least = std::min(least, block.count);
          most = std::max(most, block.count);
        }
        REQUIRE(next == n);
        if (grain == 1) REQUIRE(most - least <= 1);
        REQUIRE(most <= ((n + grain - 1) / grain + parts - 1) / parts * grain);
      }
  CHECK(block_of(10, 3, 0) == Block{0, 4});
  CHECK(block_of(10, 3, 1) == Block{4, 3});
  CHECK(block_of(10, 3, 2) == Block{7, 3});
  CHECK(block_of(10, 2, 1, 8) == Block{8, 2});
}

TEST_CASE("no such part, no such item") {
  CHECK_THROWS_AS(block_of(10, 3, 3), std::invalid_argument);
  CHECK_THROWS_AS(block_of(10, 0, 0), std::invalid_argument);
  CHECK_THROWS_AS(block_of(10, 3, 0, 0), std::invalid_argument);
  CHECK_THROWS_AS(owner_of(10, 10, 3), std::invalid_argument);
}
