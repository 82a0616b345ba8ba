#include <complex>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <doctest.h>

#include "cli/error.hpp"
#include "cluster/communicator.hpp"
#include "cluster/world.hpp"
#include "world.hpp"

using namespace fachwerk;
using namespace fachwerk::cluster;

namespace {

int rank() {
  return world().rank();
}
int size() {
  return world().size();
}
std::size_t n_ranks() {
  return static_cast<std::size_t>(size());
}

/// Runs fn with messages of any size, then in pieces of three elements.
template <class Fn>
void whole_and_in_pieces(const Fn& fn) {
  fn(world());
  const Communicator other = world().duplicate("pieces");
  other.limit_messages(3);
  fn(other);
}

struct Particle {
  double x;
  int charge;
  bool operator==(const Particle&) const = default;
};

/// What rank r contributes at i.
template <class T>
T value(int r, std::size_t i) {
  return static_cast<T>(static_cast<int>(i) * 3 + r + 1);
}

template <class T>
void check_allreduce(const Communicator& group) {
  const std::size_t n = 10;
  for (const Op op : {Op::sum, Op::product, Op::min, Op::max}) {
    if (!std::is_arithmetic_v<T> && (op == Op::min || op == Op::max)) continue;
    std::vector<T> mine(n), expected(n);
    for (std::size_t i = 0; i < n; ++i) {
      mine[i] = value<T>(rank() % 2, i % 2);
      expected[i] = value<T>(0, i % 2);
      for (int r = 1; r < size(); ++r) {
        const T next = value<T>(r % 2, i % 2);
        if (op == Op::sum) expected[i] = static_cast<T>(expected[i] + next);
        if (op == Op::product) expected[i] = static_cast<T>(expected[i] * next);
        if constexpr (std::is_arithmetic_v<T>) {
          if (op == Op::min) expected[i] = std::min(expected[i], next);
          if (op == Op::max) expected[i] = std::max(expected[i], next);
        }
      }
    }
    std::vector<T> at_root = mine, later = mine;
    Request request = group.start_allreduce(std::span<T>(later), op);
    while (!request.test())
      std::this_thread::yield();
    const int root = size() - 1;
    const std::vector<T> before = mine;
    group.reduce(std::span<T>(at_root), op, root);
    group.allreduce(mine, op);
    CHECK(mine == expected);
    CHECK(later == expected);
    CHECK(at_root == (rank() == root ? expected : before));
  }
}

}  // namespace

TEST_CASE("reductions of every type") {
  whole_and_in_pieces([](const Communicator& group) {
    check_allreduce<std::int8_t>(group);
    check_allreduce<std::uint8_t>(group);
    check_allreduce<std::int16_t>(group);
    check_allreduce<std::uint16_t>(group);
    check_allreduce<std::int32_t>(group);
    check_allreduce<std::uint32_t>(group);
    check_allreduce<std::int64_t>(group);
    check_allreduce<std::uint64_t>(group);
    check_allreduce<float>(group);
    check_allreduce<double>(group);
    check_allreduce<std::complex<float>>(group);
    check_allreduce<std::complex<double>>(group);
  });
  CHECK(world().allreduce_value(1) == size());
  std::complex<double> z = 1;
  CHECK_THROWS_AS(world().allreduce_value(z, Op::max), std::invalid_argument);
  CHECK_THROWS_AS(world().reduce(std::span<std::complex<double>>(&z, 1), Op::sum, size()), std::invalid_argument);
}

TEST_CASE("broadcast of values, structs and texts") {
  whole_and_in_pieces([](const Communicator& group) {
    for (int root = 0; root < size(); ++root) {
      std::vector<double> x(11, rank() == root ? 2.5 : 0.0);
      group.broadcast(x, root);
      CHECK(x == std::vector<double>(11, 2.5));
      CHECK(group.broadcast_value(Particle{1.5 * rank(), rank()}, root) == Particle{1.5 * root, root});
      CHECK(group.broadcast_text(rank() == root ? "äöü and more" : "other", root) == "äöü and more");
      std::vector<int> later(5, rank());
      group.start_broadcast(std::span<int>(later), root).wait();
      CHECK(later == std::vector<int>(5, root));
    }
    CHECK(group.broadcast_text("") == "");
    CHECK_THROWS_AS(group.broadcast_value(1, -1), std::invalid_argument);
  });
}

TEST_CASE("gather, scatter and all to all, equal counts") {
  whole_and_in_pieces([](const Communicator& group) {
    const std::size_t n = 4;
    std::vector<int> mine(n), all(n * n_ranks()), expected(n * n_ranks());
    for (std::size_t i = 0; i < n; ++i)
      mine[i] = value<int>(rank(), i);
    for (std::size_t r = 0; r < n_ranks(); ++r)
      for (std::size_t i = 0; i < n; ++i)
        expected[r * n + i] = value<int>(static_cast<int>(r), i);
    group.allgather(std::span<const int>(mine), std::span<int>(all));
    CHECK(all == expected);
    for (int root = 0; root < size(); ++root) {
      std::vector<int> here(rank() == root ? n * n_ranks() : 0), back(n);
      group.gather(std::span<const int>(mine), std::span<int>(here), root);
      if (rank() == root) CHECK(here == expected);
      group.scatter(std::span<const int>(here), std::span<int>(back), root);
      CHECK(back == mine);
    }
    std::vector<int> out(n_ranks()), in(n_ranks());
    for (std::size_t r = 0; r < n_ranks(); ++r)
      out[r] = 100 * rank() + static_cast<int>(r);
    group.alltoall(std::span<const int>(out), std::span<int>(in));
    for (std::size_t r = 0; r < n_ranks(); ++r)
      CHECK(in[r] == 100 * static_cast<int>(r) + rank());
    CHECK_THROWS_AS(group.allgather(std::span<const int>(mine), std::span<int>(all).subspan(1)), std::invalid_argument);
  });
}

TEST_CASE("gather, scatter and all to all, counts that differ, some zero") {
  whole_and_in_pieces([](const Communicator& group) {
    const auto count_of = [](std::size_t r) { return r == 1 ? 0 : 5 * r + 1; };
    std::vector<Particle> mine(count_of(static_cast<std::size_t>(rank()))), expected;
    for (std::size_t i = 0; i < mine.size(); ++i)
      mine[i] = {value<double>(rank(), i), rank()};
    std::vector<std::size_t> counts;
    for (std::size_t r = 0; r < n_ranks(); ++r) {
      counts.push_back(count_of(r));
      for (std::size_t i = 0; i < counts.back(); ++i)
        expected.push_back({value<double>(static_cast<int>(r), i), static_cast<int>(r)});
    }
    const auto everywhere = group.allgatherv(std::span<const Particle>(mine));
    CHECK(everywhere.values == expected);
    CHECK(everywhere.counts == counts);
    for (int root = 0; root < size(); ++root) {
      const bool here = rank() == root;
      const auto parts = group.gatherv(std::span<const Particle>(mine), root);
      CHECK(parts.values == (here ? expected : std::vector<Particle>{}));
      CHECK(parts.counts == (here ? counts : std::vector<std::size_t>{}));
      CHECK(group.scatterv(std::span<const Particle>(parts.values), parts.counts, root) == mine);
    }
    // Rank r sends r + s values "100 r + s" to rank s.
    std::vector<int> out;
    std::vector<std::size_t> out_counts;
    for (std::size_t s = 0; s < n_ranks(); ++s) {
      out_counts.push_back(static_cast<std::size_t>(rank()) + s);
      out.insert(out.end(), out_counts.back(), 100 * rank() + static_cast<int>(s));
    }
    const auto in = group.alltoallv(std::span<const int>(out), out_counts);
    std::vector<int> wanted;
    for (std::size_t r = 0; r < n_ranks(); ++r) {
      CHECK(in.counts[r] == r + static_cast<std::size_t>(rank()));
      wanted.insert(wanted.end(), in.counts[r], 100 * static_cast<int>(r) + rank());
    }
    CHECK(in.values == wanted);
    CHECK_THROWS_AS(group.alltoallv(std::span<const int>(out), std::vector<std::size_t>(n_ranks() + 1)),
                    std::invalid_argument);
  });
}

TEST_CASE("scan, barrier, one value of each") {
  CHECK(world().exclusive_sum(static_cast<std::size_t>(rank() + 1)) ==
        static_cast<std::size_t>(rank() * (rank() + 1) / 2));
  world().barrier();
  std::vector<int> ranks(n_ranks());
  std::iota(ranks.begin(), ranks.end(), 0);
  CHECK(world().allgather_value(rank()) == ranks);
}

TEST_CASE("messages round a ring, in order, with tags") {
  if (size() == 1) {
    int x = 0;
    CHECK_THROWS_AS(world().send(std::span<const int>(&x, 1), 0), std::invalid_argument);
    return;
  }
  whole_and_in_pieces([](const Communicator& group) {
    const int next = (rank() + 1) % size(), before = (rank() + size() - 1) % size();
    const std::vector<int> a(10, rank()), b(10, rank() + 1000);
    std::vector<int> first(10), second(10);
    Request one = group.start_send(std::span<const int>(a), next, 1);
    Request two = group.start_send(std::span<const int>(b), next, 2);
    group.receive(std::span<int>(second), before, 2);
    group.receive(std::span<int>(first), before, 1);
    one.wait();
    two.wait();
    CHECK(first == std::vector<int>(10, before));
    CHECK(second == std::vector<int>(10, before + 1000));
    CHECK_THROWS_AS(group.send(std::span<const int>(a), rank()), std::invalid_argument);
    CHECK_THROWS_AS(group.send(std::span<const int>(a), next, 32001), std::invalid_argument);
  });
}

TEST_CASE("groups: split, node") {
  const Communicator parity = world().split(rank() % 2, -rank(), "parity");
  const int members = (size() + 1 - rank() % 2) / 2;
  CHECK(parity.size() == members);
  CHECK(parity.name() == "parity");
  CHECK(parity.allreduce_value(rank(), Op::min) == rank() % 2);
  CHECK(parity.broadcast_value(rank()) ==
        (size() - 1) - ((size() - 1) % 2 == rank() % 2 ? 0 : 1));  // highest comes first
  CHECK(world().node().size() == size());                          // these tests run on one machine
  CHECK_THROWS_AS(world().split(-1, 0, "none"), std::invalid_argument);
}

TEST_CASE("bytes are counted, for each group by itself") {
  const Communicator group = world().duplicate("counted"), other = world().duplicate("other");
  const bool many = size() > 1;
  const std::uint64_t p = n_ranks(), some = many ? 1 : 0;
  std::vector<double> x(100);
  const auto is = [&](Operation operation, std::uint64_t calls, std::uint64_t sent, std::uint64_t received) {
    CAPTURE(name(operation));
    CHECK(group.traffic(operation) == Traffic{some * calls, some * sent, some * received});
  };
  group.allreduce(x);
  group.allreduce(x);
  is(Operation::allreduce, 2, 1600, 1600);
  group.broadcast(x, 0);
  is(Operation::broadcast, 1, rank() == 0 ? 800 : 0, rank() == 0 ? 0 : 800);
  group.reduce(std::span<double>(x), Op::sum, 0);
  is(Operation::reduce, 1, 800, rank() == 0 ? 800 : 0);
  std::vector<float> all(3 * p);
  group.allgather(std::span<const float>(all).first(3), std::span<float>(all));
  is(Operation::allgather, 1, 12, 12 * p);
  group.alltoall(std::span<const float>(all).first(p), std::span<float>(all).last(p));
  is(Operation::alltoall, 1, 4 * p, 4 * p);
  CHECK(other.traffic() == Traffic{});
  CHECK(group.traffic().calls == some * 6);
  const Communicator copy = group;
  copy.barrier();
  CHECK(group.traffic(Operation::barrier).calls == some);
  group.count(Operation::send, 10, 20);
  is(Operation::send, 1, 10, 20);
  group.reset_traffic();
  CHECK(copy.traffic() == Traffic{});
}

TEST_CASE("work of rank 0 alone: its error is everyone's") {
  int ran = 0;
  world().on_root([&] { ++ran; });
  CHECK(ran == (world().root() ? 1 : 0));
  try {
    world().on_root([] { throw bad_input("file:/x: wrong").with_hint("do right"); });
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == Exit::bad_input);
    CHECK(std::string(error.what()) == "file:/x: wrong");
    CHECK(error.hint() == "do right");
  }
  CHECK(!stop_requested(world()));
}
