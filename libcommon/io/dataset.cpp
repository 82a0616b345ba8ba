#include "io/dataset.hpp"

#include <algorithm>
#include <type_traits>

namespace fachwerk::formats {
namespace {

/// Calls `fn` with a value of the C++ type that holds the dataset's elements.
template <class Fn>
Values dispatch(const h5::Node& file, const std::string& path, const h5::DatasetInfo& info, const Fn& fn) {
  switch (info.type) {
    case h5::TypeClass::integer:
      if (info.bytes <= 1) return info.is_signed ? fn(std::int8_t{}) : fn(std::uint8_t{});
      if (info.bytes <= 2) return info.is_signed ? fn(std::int16_t{}) : fn(std::uint16_t{});
      if (info.bytes <= 4) return info.is_signed ? fn(std::int32_t{}) : fn(std::uint32_t{});
      return info.is_signed ? fn(std::int64_t{}) : fn(std::uint64_t{});
    case h5::TypeClass::real:
      return info.bytes <= 4 ? fn(float{}) : fn(double{});
    case h5::TypeClass::complex:
      return info.bytes <= 8 ? fn(std::complex<float>{}) : fn(std::complex<double>{});
    default:
      throw bad_input("{}:{}: expected numbers or text, found {}", file.name(), path, info.name);
  }
}

}  // namespace

bool is_readable(const h5::DatasetInfo& info) {
  return info.type != h5::TypeClass::other && (info.type != h5::TypeClass::text || info.shape.size() <= 1);
}

Variable read_variable(const h5::Node& file, const std::string& path) {
  const auto info = file.info(path);
  Variable variable{.name = path.substr(path.find_first_not_of('/')), .shape = info.shape};
  if (info.type == h5::TypeClass::text)
    variable.values = file.strings(path);
  else
    variable.values =
        dispatch(file, path, info, [&](auto zero) -> Values { return file.read<decltype(zero)>(path).values; });
  variable.units = file.text(path, "units").value_or("");
  variable.long_name = file.text(path, "long_name").value_or("");
  variable.dims = file.texts(path, "dims");
  return variable;
}

Values read_slab(const h5::Node& file, const std::string& path, const Shape& offset, const Shape& length) {
  if (offset.empty()) return read_variable(file, path).values;  // a scalar
  return dispatch(file, path, file.info(path), [&](auto zero) -> Values {
    std::vector<decltype(zero)> values(count(length));
    file.read_slab<decltype(zero)>(path, offset, length, values);
    return values;
  });
}

void write_variable(h5::Output& file, const std::string& path, const Variable& variable) {
  const h5::Describe describe = {.units = variable.units, .long_name = variable.long_name, .dims = variable.dims};
  std::visit(
      [&](const auto& values) {
        if constexpr (std::is_same_v<std::decay_t<decltype(values)>, std::vector<std::string>>)
          file.strings(path, values, describe);
        else
          file.write(path, values, variable.shape, describe);
      },
      variable.values);
  for (const auto& [key, value] : variable.attributes)
    file.attribute(path, key, value);
}

Shape chunk_of(const h5::Node& file, const std::string& path) {
  const h5::Handle dataset(H5Dopen2(file.id(), path.c_str(), H5P_DEFAULT), H5Dclose);
  const h5::Handle properties(H5Dget_create_plist(dataset.get()), H5Pclose);
  if (!properties || H5Pget_layout(properties.get()) != H5D_CHUNKED) return {};
  hsize_t lengths[H5S_MAX_RANK];
  const int rank = H5Pget_chunk(properties.get(), H5S_MAX_RANK, lengths);
  return rank > 0 ? Shape(lengths, lengths + rank) : Shape{};
}

void for_each_slab(const Shape& shape, const Shape& chunk, std::size_t most,
                   const std::function<void(const Shape& offset, const Shape& length)>& visit) {
  if (std::find(shape.begin(), shape.end(), 0U) != shape.end()) return;
  // The axes behind `cut` are taken whole, those before it one index at a time.
  std::size_t cut = shape.size(), inner = 1;
  while (cut > 0 && inner * shape[cut - 1] <= most)
    inner *= shape[--cut];
  if (cut == 0) return visit(Shape(shape.size(), 0), shape);
  const std::size_t axis = cut - 1;
  std::size_t step = std::max<std::size_t>(1, most / inner);
  const std::size_t whole = axis < chunk.size() ? chunk[axis] : 1;
  if (step > whole) step -= step % whole;
  Shape offset(shape.size(), 0), length = shape;
  std::fill(length.begin(), length.begin() + static_cast<std::ptrdiff_t>(axis), 1);
  for (;;) {
    for (offset[axis] = 0; offset[axis] < shape[axis]; offset[axis] += step) {
      length[axis] = std::min(step, shape[axis] - offset[axis]);
      visit(offset, length);
    }
    std::size_t carry = axis;  // the next index of the leading axes
    while (carry > 0 && ++offset[carry - 1] == shape[carry - 1])
      offset[--carry] = 0;
    if (carry == 0) return;
  }
}

}  // namespace fachwerk::formats
