#include "io/variable.hpp"

#include <algorithm>
#include <array>
#include <type_traits>
#include <utility>

#include "cli/error.hpp"

namespace fachwerk::formats {
namespace {

constexpr std::array type_names = {"int8",   "uint8",   "int16",   "uint16",    "int32",      "uint32", "int64",
                                   "uint64", "float32", "float64", "complex64", "complex128", "string"};
static_assert(type_names.size() == std::variant_size_v<Values>);

/// `to` becomes the transpose of the rows x columns matrix `from`.
template <class T>
void transpose(std::vector<T>& from, std::vector<T>& to, std::size_t rows, std::size_t columns) {
  constexpr std::size_t block = 32;  // a block of either side stays in the first-level cache
  for (std::size_t r0 = 0; r0 < rows; r0 += block)
    for (std::size_t c0 = 0; c0 < columns; c0 += block)
      for (std::size_t r = r0; r < std::min(r0 + block, rows); ++r)
        for (std::size_t c = c0; c < std::min(c0 + block, columns); ++c)
          to[c * rows + r] = std::move(from[r * columns + c]);
}

/// Reverses the order of the axes: `shape` is that of the row-major input. Axis by axis, each step a transposition of
/// the leading axis against all that are still to be reversed.
template <class T>
std::vector<T> reverse_axes(std::vector<T> values, const Shape& shape) {
  if (values.empty() || shape.size() < 2) return values;
  std::vector<T> other(values.size());
  std::size_t done = shape.front();  // elements per cell of the axes that are reversed already, and lead
  std::size_t open = values.size() / done;
  for (std::size_t axis = 1; axis + 1 < shape.size(); ++axis) {
    // [done][shape[axis]][rest] becomes [shape[axis]][done][rest].
    open /= shape[axis];
    const std::size_t length = shape[axis], rest = open;
    for (std::size_t d = 0; d < done; ++d)
      for (std::size_t l = 0; l < length; ++l)
        std::move(values.begin() + static_cast<std::ptrdiff_t>((d * length + l) * rest),
                  values.begin() + static_cast<std::ptrdiff_t>((d * length + l + 1) * rest),
                  other.begin() + static_cast<std::ptrdiff_t>((l * done + d) * rest));
    values.swap(other);
    done *= length;
  }
  // The last axis moves over all the others in one matrix transposition.
  transpose(values, other, done, shape.back());
  return other;
}

bool is_utf8(const std::string& text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t more = lead < 0x80   ? 0
                             : lead < 0xc2 ? 9
                             : lead < 0xe0 ? 1
                             : lead < 0xf0 ? 2
                             : lead < 0xf5 ? 3
                                           : 9;
    if (more == 9 || i + more >= text.size()) return false;
    for (std::size_t k = 1; k <= more; ++k)
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return false;
    i += more + 1;
  }
  return true;
}

}  // namespace

std::string type_name(const Values& values) {
  return type_names[values.index()];
}

Values to_column_major(Values values, const Shape& shape) {
  return std::visit([&](auto& v) -> Values { return reverse_axes(std::move(v), shape); }, values);
}

Values from_column_major(Values values, const Shape& shape) {
  return to_column_major(std::move(values), Shape(shape.rbegin(), shape.rend()));
}

std::vector<double> as_reals(const Values& values, const std::string& what) {
  return std::visit(
      [&](const auto& v) -> std::vector<double> {
        using T = typename std::decay_t<decltype(v)>::value_type;
        if constexpr (std::is_arithmetic_v<T>)
          return {v.begin(), v.end()};
        else
          throw bad_input("{}: expected real numbers, found {}", what, type_name(values));
      },
      values);
}

std::string to_utf8(std::string text) {
  if (is_utf8(text)) return text;
  std::string utf8;
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte < 0x80) {
      utf8 += character;
    } else {
      utf8 += static_cast<char>(0xc0 | (byte >> 6));
      utf8 += static_cast<char>(0x80 | (byte & 0x3f));
    }
  }
  return utf8;
}

}  // namespace fachwerk::formats
