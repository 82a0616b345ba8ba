#include "cluster/task_queue.hpp"

#include <thread>
#include <vector>

#include <doctest.h>

#include "world.hpp"

using namespace fachwerk::cluster;

namespace {

/// Every task exactly once, whoever got it.
void check(std::size_t total, std::size_t chunk, std::size_t threads) {
  std::vector<std::vector<int>> taken(threads, std::vector<int>(total));
  std::size_t requests = 0;
  {
    TaskQueue queue(world(), total, chunk);
    std::vector<std::thread> workers;
    std::vector<std::size_t> asked(threads);
    for (std::size_t t = 0; t < threads; ++t)
      workers.emplace_back([&, t] {
        std::size_t last = 0;
        while (const auto block = queue.next()) {
          ++asked[t];
          REQUIRE(block->count > 0);
          REQUIRE(block->begin >= last);
          if (chunk > 0) REQUIRE(block->count <= chunk);
          last = block->end();
          for (std::size_t i = block->begin; i < block->end(); ++i)
            ++taken[t].at(i);
        }
        REQUIRE(!queue.next());
      });
    for (std::thread& worker : workers)
      worker.join();
    for (const std::size_t a : asked)
      requests += a;
  }
  std::vector<int> sum(total);
  for (const auto& one : taken)
    for (std::size_t i = 0; i < total; ++i)
      sum[i] += one[i];
  world().allreduce(sum);
  CHECK(sum == std::vector<int>(total, 1));
  requests = world().allreduce_value(requests);
  if (chunk > 0) CHECK(requests == (total + chunk - 1) / chunk);
  if (chunk == 0 && total == 10000) CHECK(requests < 2000);  // guided: far fewer requests than tasks
}

}  // namespace

TEST_CASE("every task is handed out once") {
  for (const std::size_t total : {0UL, 1UL, 2UL, 100UL, 10000UL})
    check(total, 0, 1);
  check(100, 7, 1);
  check(100, 1000, 1);
  check(1000, 0, 3);
  check(1000, 1, 2);
}
