#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

/// Readers and writers of foreign formats: delimited text, NumPy, MATLAB, images. They know memory, not HDF5.
namespace fachwerk::formats {

using Shape = std::vector<std::size_t>;

/// The values of an n-dimensional array, row-major, in one of the element types that HDF5, NumPy and MATLAB share.
using Values =
    std::variant<std::vector<std::int8_t>, std::vector<std::uint8_t>, std::vector<std::int16_t>,
                 std::vector<std::uint16_t>, std::vector<std::int32_t>, std::vector<std::uint32_t>,
                 std::vector<std::int64_t>, std::vector<std::uint64_t>, std::vector<float>, std::vector<double>,
                 std::vector<std::complex<float>>, std::vector<std::complex<double>>, std::vector<std::string>>;

/// A named array with what it says of itself.
struct Variable {
  std::string name = {};
  Shape shape = {};  ///< empty: a scalar (one value)
  Values values = {};
  std::string units = {};
  std::string long_name = {};
  std::vector<std::string> dims = {};
  std::map<std::string, std::string> attributes = {};
};

inline std::size_t length(const Values& values) {
  return std::visit([](const auto& v) { return v.size(); }, values);
}
inline bool is_text(const Values& values) {
  return std::holds_alternative<std::vector<std::string>>(values);
}

/// Number of elements of a shape; the caller has checked that it fits.
inline std::size_t count(const Shape& shape) {
  std::size_t n = 1;
  for (const auto length : shape)
    n *= length;
  return n;
}

/// "float64", "uint8", "complex64", "string": NumPy's names.
std::string type_name(const Values& values);

/// The same elements in row-major order, given in column-major order (MATLAB, Fortran).
Values from_column_major(Values values, const Shape& shape);
/// The same elements in column-major order, given in row-major order.
Values to_column_major(Values values, const Shape& shape);

/// The values as real numbers; throws bad input for complex numbers and text. `what` names them in the message.
std::vector<double> as_reals(const Values& values, const std::string& what);

/// UTF-8 of text that is UTF-8 already, or else Latin-1.
std::string to_utf8(std::string text);

}  // namespace fachwerk::formats
