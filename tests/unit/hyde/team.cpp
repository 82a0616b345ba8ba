// Several members that share a cube by rows find what one alone finds. Threads stand in for processes.
#include <barrier>
#include <thread>

#include <doctest.h>
#include <omp.h>

#include "forpdn.hpp"
#include "gram.hpp"
#include "hyres.hpp"
#include "support.hpp"
#include "wsrrr.hpp"

using namespace support;

namespace {

// What processes get from MPI, by shared memory.
class Hub {
 public:
  explicit Hub(std::vector<std::size_t> rows)
      : rows_(std::move(rows)),
        meet_(static_cast<std::ptrdiff_t>(rows_.size())),
        doubles_(rows_.size()),
        floats_(rows_.size()),
        counts_(rows_.size()),
        bytes_(rows_.size()) {}

  std::shared_ptr<const Team> member(std::size_t rank) {
    auto team = std::make_shared<Team>();
    team->rank = rank;
    team->size = rows_.size();
    team->rows = rows_;
    team->sum = [this, rank](std::span<double> v) { combine(rank, v, [](double a, double b) { return a + b; }); };
    team->largest = [this, rank](std::span<double> v) {
      combine(rank, v, [](double a, double b) { return std::max(a, b); });
    };
    team->exchange = [this, rank](std::span<const float> v, std::span<const std::size_t> counts) {
      floats_[rank].assign(v.begin(), v.end());
      counts_[rank].assign(counts.begin(), counts.end());
      meet_.arrive_and_wait();
      std::vector<float> in;
      for (std::size_t other = 0; other < rows_.size(); ++other) {
        std::size_t begin = 0;
        for (std::size_t r = 0; r < rank; ++r)
          begin += counts_[other][r];
        const auto from = floats_[other].begin() + static_cast<std::ptrdiff_t>(begin);
        in.insert(in.end(), from, from + static_cast<std::ptrdiff_t>(counts_[other][rank]));
      }
      meet_.arrive_and_wait();
      return in;
    };
    team->join = [this, rank](std::span<const std::uint8_t> v) {
      bytes_[rank].assign(v.begin(), v.end());
      meet_.arrive_and_wait();
      std::vector<std::uint8_t> all;
      for (const auto& part : bytes_)
        all.insert(all.end(), part.begin(), part.end());
      meet_.arrive_and_wait();
      return all;
    };
    return team;
  }

 private:
  template <class Fn>
  void combine(std::size_t rank, std::span<double> values, const Fn& fn) {
    doubles_[rank].assign(values.begin(), values.end());
    meet_.arrive_and_wait();
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = doubles_[0][i];
      for (std::size_t r = 1; r < rows_.size(); ++r)
        values[i] = fn(values[i], doubles_[r][i]);
    }
    meet_.arrive_and_wait();
  }

  std::vector<std::size_t> rows_;
  std::barrier<> meet_;
  std::vector<std::vector<double>> doubles_;
  std::vector<std::vector<float>> floats_;
  std::vector<std::vector<std::size_t>> counts_;
  std::vector<std::vector<std::uint8_t>> bytes_;
};

using Method = std::vector<float> (*)(const Source&);

std::vector<float> by_hyres(const Source& s) {
  const Matrix r = gram(s);
  const HyresResult result = hyres(s, r, regression_noise(r, s.valid_pixels()));
  std::vector<float> cube(s.extent.size());
  reconstruct(result.model, memory_sink(cube, s.extent));
  return cube;
}
std::vector<float> by_hyres_subbands(const Source& s) {
  const Matrix r = gram(s);
  HyresOptions options;
  options.scope = ThresholdScope::subband;
  const HyresResult result = hyres(s, r, shift_noise(s), options);
  std::vector<float> cube(s.extent.size());
  reconstruct(result.model, memory_sink(cube, s.extent));
  return cube;
}
std::vector<float> by_wsrrr(const Source& s) {
  WsrrrOptions options;
  options.rank = 4;
  options.iterations = 10;
  const WsrrrResult result = wsrrr(s, gram(s), mad_noise(s), options);
  std::vector<float> cube(s.extent.size());
  reconstruct(result.model, memory_sink(cube, s.extent));
  return cube;
}
std::vector<float> by_forpdn(const Source& s) {
  std::vector<float> cube(s.extent.size());
  forpdn(s, regression_noise(gram(s), s.valid_pixels()), {}, memory_sink(cube, s.extent));
  return cube;
}
std::vector<float> by_poisson_estimate(const Source& s) {
  const Noise noise = poisson_noise(s);
  return {noise.sigma.begin(), noise.sigma.end()};
}

// The method on rows spread over a team; each member's result, one after another.
std::vector<float> shared(const Source& whole, std::vector<std::size_t> rows, Method method) {
  Hub hub(rows);
  std::vector<std::vector<float>> results(rows.size());
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < rows.size(); ++rank)
    threads.emplace_back([&, rank] {
      omp_set_num_threads(1);
      Source mine = whole;
      mine.team = hub.member(rank);
      const std::size_t first = mine.team->first_row(rank);
      mine.extent.rows = rows[rank];
      mine.read = [&whole, first](std::size_t row, std::size_t count, std::vector<float>& scratch) {
        return whole.read(first + row, count, scratch);
      };
      if (!whole.valid.empty()) {
        const auto begin = whole.valid.begin() + static_cast<std::ptrdiff_t>(first * whole.extent.cols);
        mine.valid.assign(begin, begin + static_cast<std::ptrdiff_t>(mine.extent.pixels()));
      }
      results[rank] = method(mine);
    });
  for (std::thread& thread : threads)
    thread.join();
  std::vector<float> all;
  for (const auto& part : results)
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace

TEST_CASE("a team finds what one process finds") {
  const Case c = scene({38, 29, 20}, 4, 20, 71);
  Source plain = memory_source(c.noisy, c.extent);
  std::vector<float> holed = c.noisy;
  Source holes = memory_source(holed, c.extent);
  holes.valid.assign(c.extent.pixels(), 1);
  for (std::size_t p = 3; p < c.extent.pixels(); p += 17) {
    holes.valid[p] = 0;
    std::fill_n(&holed[p * 20], 20, 0.0F);
  }
  for (const Method method : {by_hyres, by_hyres_subbands, by_wsrrr, by_forpdn})
    for (const Source* source : {&plain, &holes}) {
      const std::vector<float> alone = method(*source);
      for (const std::vector<std::size_t>& rows :
           {std::vector<std::size_t>{38}, std::vector<std::size_t>{20, 18}, std::vector<std::size_t>{1, 30, 7}}) {
        const std::vector<float> together = shared(*source, rows, method);
        REQUIRE(together.size() == alone.size());
        CHECK(largest_difference(alone, together) < 1e-5);
      }
    }
}

TEST_CASE("noise estimates of a team are the same for every member") {
  const Case c = scene({30, 24, 12}, 3, 20, 72);
  const Source source = memory_source(c.noisy, c.extent);
  const std::vector<float> alone = by_poisson_estimate(source),
                           together = shared(source, {11, 19}, by_poisson_estimate);
  for (std::size_t i = 0; i < together.size(); ++i)
    CHECK(together[i] == doctest::Approx(alone[i % 12]).epsilon(1e-5));
}

TEST_CASE("matrices spread by rows and by columns become each other") {
  const std::vector<std::size_t> widths{3, 0, 5};
  Hub hub(widths);
  std::vector<std::thread> threads;
  std::vector<int> ok(3);
  for (std::size_t rank = 0; rank < 3; ++rank)
    threads.emplace_back([&, rank] {
      const auto team = hub.member(rank);
      const std::size_t first = 4, count = 7;
      const auto value = [](std::size_t row, std::size_t column) { return static_cast<float>(100 * row + column); };
      const std::size_t begin = rank == 0 ? 0 : 3;
      std::vector<float> columns;
      for (std::size_t k = first; k < first + count; ++k)
        for (std::size_t j = 0; j < widths[rank]; ++j)
          columns.push_back(value(k, begin + j));
      const std::vector<float> rows = columns_to_rows(*team, widths, first, count, columns);
      std::vector<float> expected;
      for (std::size_t k : rows_of(*team, rank, first, count))
        for (std::size_t j = 0; j < 8; ++j)
          expected.push_back(value(k, j));
      ok[rank] = rows == expected && rows_to_columns(*team, widths, first, count, rows) == columns;
    });
  for (std::thread& thread : threads)
    thread.join();
  CHECK(ok == std::vector<int>{1, 1, 1});
}
