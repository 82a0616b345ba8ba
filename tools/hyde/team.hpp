#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace fachwerk::hyde {

/// The processes that hold one cube together, each a block of whole rows, in order of rank. Methods know of them only
/// this; the tools make it from MPI. All members call the functions alike.
struct Team {
  std::size_t rank = 0, size = 1;
  std::vector<std::size_t> rows = {};  ///< [size] image rows that each member holds

  std::function<void(std::span<double>)> sum = {};      ///< element by element, the same bits on every member
  std::function<void(std::span<double>)> largest = {};  ///< the same for the maximum
  /// counts[r] of the values for member r, one after another; gives what came from members 0, 1, ...
  std::function<std::vector<float>(std::span<const float>, std::span<const std::size_t> counts)> exchange = {};
  /// Everybody's values, in order of rank.
  std::function<std::vector<std::uint8_t>(std::span<const std::uint8_t>)> join = {};

  std::size_t first_row(std::size_t member) const;
  std::size_t all_rows() const { return first_row(size); }
};

/// A matrix [count][width] that is spread over a team in one of two ways: by columns, every member having all rows of
/// its `widths[rank]` columns; or by whole rows, row k being at member k % size. These turn one into the other; `first`
/// is the number of row 0. One member alone has both at once.
std::vector<float> columns_to_rows(const Team& team, std::span<const std::size_t> widths, std::size_t first,
                                   std::size_t count, std::vector<float> columns);
std::vector<float> rows_to_columns(const Team& team, std::span<const std::size_t> widths, std::size_t first,
                                   std::size_t count, std::vector<float> rows);

/// Those of rows [first, first + count) that a member has.
std::vector<std::size_t> rows_of(const Team& team, std::size_t member, std::size_t first, std::size_t count);

}  // namespace fachwerk::hyde
