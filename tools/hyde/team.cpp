#include "team.hpp"

#include <algorithm>
#include <numeric>

namespace fachwerk::hyde {
namespace {

std::vector<std::size_t> offsets_of(std::span<const std::size_t> widths) {
  std::vector<std::size_t> offsets(widths.size() + 1);
  std::partial_sum(widths.begin(), widths.end(), offsets.begin() + 1);
  return offsets;
}

// From a to b, where the distance of rows differs.
void copy_rows(const float* from, std::size_t from_stride, float* to, std::size_t to_stride, std::size_t rows,
               std::size_t width) {
  for (std::size_t i = 0; i < rows; ++i)
    std::copy_n(from + i * from_stride, width, to + i * to_stride);
}

}  // namespace

std::size_t Team::first_row(std::size_t member) const {
  return std::accumulate(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(member), std::size_t{0});
}

std::vector<std::size_t> rows_of(const Team& team, std::size_t member, std::size_t first, std::size_t count) {
  std::vector<std::size_t> owned;
  for (std::size_t k = first; k < first + count; ++k)
    if (k % team.size == member) owned.push_back(k);
  return owned;
}

std::vector<float> columns_to_rows(const Team& team, std::span<const std::size_t> widths, std::size_t first,
                                   std::size_t count, std::vector<float> columns) {
  if (team.size == 1) return columns;
  const std::size_t width = widths[team.rank];
  std::vector<float> out(columns.size());
  std::vector<std::size_t> counts(team.size);
  float* to = out.data();
  for (std::size_t member = 0; member < team.size; ++member)
    for (std::size_t k : rows_of(team, member, first, count)) {
      to = std::copy_n(columns.data() + (k - first) * width, width, to);
      counts[member] += width;
    }
  columns = {};
  const std::vector<float> in = team.exchange(out, counts);
  out = {};
  const std::vector<std::size_t> offsets = offsets_of(widths);
  const std::size_t mine = rows_of(team, team.rank, first, count).size();
  std::vector<float> rows(mine * offsets.back());
  for (std::size_t member = 0; member < team.size; ++member)
    copy_rows(in.data() + mine * offsets[member], widths[member], rows.data() + offsets[member], offsets.back(), mine,
              widths[member]);
  return rows;
}

std::vector<float> rows_to_columns(const Team& team, std::span<const std::size_t> widths, std::size_t first,
                                   std::size_t count, std::vector<float> rows) {
  if (team.size == 1) return rows;
  const std::vector<std::size_t> offsets = offsets_of(widths);
  const std::size_t mine = rows_of(team, team.rank, first, count).size(), width = widths[team.rank];
  std::vector<float> out(rows.size());
  std::vector<std::size_t> counts(team.size);
  for (std::size_t member = 0; member < team.size; ++member) {
    copy_rows(rows.data() + offsets[member], offsets.back(), out.data() + mine * offsets[member], widths[member], mine,
              widths[member]);
    counts[member] = mine * widths[member];
  }
  rows = {};
  const std::vector<float> in = team.exchange(out, counts);
  out = {};
  std::vector<float> columns(count * width);
  const float* from = in.data();
  for (std::size_t member = 0; member < team.size; ++member)
    for (std::size_t k : rows_of(team, member, first, count)) {
      std::copy_n(from, width, columns.data() + (k - first) * width);
      from += width;
    }
  return columns;
}

}  // namespace fachwerk::hyde
