#include "neural/exchange_tensor.hpp"

#include <bit>
#include <cmath>
#include <set>

#include "cli/error.hpp"

namespace fachwerk::neural {

using formats::Bytes;
using formats::Reader;
using formats::Variable;

namespace {

float from_half(std::uint16_t h) {
  const std::uint32_t sign = std::uint32_t(h & 0x8000U) << 16, exponent = h >> 10 & 31U, fraction = h & 1023U;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000U | fraction << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float tiny = std::ldexp(static_cast<float>(fraction), -24);
  return sign != 0 ? -tiny : tiny;
}

template <class T>
Bytes raw(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

}  // namespace

std::size_t bytes_of(Element e) {
  switch (e) {
    case Element::f64:
    case Element::i64:
      return 8;
    case Element::f32:
    case Element::i32:
      return 4;
    case Element::f16:
    case Element::bf16:
    case Element::i16:
      return 2;
    default:
      return 1;
  }
}

formats::Values gather(const std::byte* base, Element e, const Dims& shape, const Dims& stride) {
  const auto n = static_cast<std::size_t>(product(shape));
  const auto walk = [&](auto convert) {
    using T = decltype(convert(base));
    std::vector<T> out(n);
    std::vector<std::int64_t> at(shape.size(), 0);
    std::int64_t place = 0;
    const auto size = static_cast<std::int64_t>(bytes_of(e));
    for (std::size_t i = 0; i < n; ++i) {
      out[i] = convert(base + place * size);
      for (std::size_t axis = shape.size(); axis-- > 0;) {
        place += stride[axis];
        if (++at[axis] < shape[axis]) break;
        place -= stride[axis] * shape[axis];
        at[axis] = 0;
      }
    }
    return formats::Values(std::move(out));
  };
  const auto load = []<class T>(const std::byte* from, T) { return Reader::load<T>(from, std::endian::little); };
  switch (e) {
    case Element::f64:
      return walk([&](const std::byte* p) { return load(p, double()); });
    case Element::f32:
      return walk([&](const std::byte* p) { return load(p, float()); });
    case Element::f16:
      return walk([&](const std::byte* p) { return from_half(load(p, std::uint16_t())); });
    case Element::bf16:
      return walk(
          [&](const std::byte* p) { return std::bit_cast<float>(std::uint32_t(load(p, std::uint16_t())) << 16); });
    case Element::i64:
      return walk([&](const std::byte* p) { return load(p, std::int64_t()); });
    case Element::i32:
      return walk([&](const std::byte* p) { return std::int64_t(load(p, std::int32_t())); });
    case Element::i16:
      return walk([&](const std::byte* p) { return std::int64_t(load(p, std::int16_t())); });
    case Element::i8:
      return walk([&](const std::byte* p) { return std::int64_t(load(p, std::int8_t())); });
    case Element::u8:
      return walk([&](const std::byte* p) { return std::int64_t(load(p, std::uint8_t())); });
  }
  throw std::logic_error("element type");
}

Dims contiguous(const Dims& shape) {
  Dims stride(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;)
    stride[i - 1] = stride[i] * shape[i];
  return stride;
}

void check_view(const std::string& file, const std::string& name, std::int64_t offset, const Dims& shape,
                const Dims& stride, std::size_t elements) {
  const auto wrong = [&] { return bad_input("{}: tensor {}: shape, strides and storage do not fit", file, name); };
  if (shape.size() != stride.size() || shape.size() > 16 || offset < 0) throw wrong();
  const auto limit = static_cast<std::int64_t>(elements);
  std::int64_t last = offset, count = 1;
  bool none = false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 0 || stride[i] < 0 || shape[i] > (std::int64_t{1} << 40) || stride[i] > (std::int64_t{1} << 40))
      throw wrong();
    none = none || shape[i] == 0;
    if (shape[i] == 0) continue;
    if (__builtin_mul_overflow(count, shape[i], &count)) throw wrong();
    std::int64_t step = 0;
    if (__builtin_mul_overflow(shape[i] - 1, stride[i], &step) || __builtin_add_overflow(last, step, &last))
      throw wrong();
  }
  // A view may repeat elements, but not blow a few bytes up to gigabytes.
  if (!none && (last >= limit || count > 16 * limit)) throw wrong();
}

Variable make_variable(const std::string& name, const Dims& shape, formats::Values values) {
  Variable v;
  v.name = name;
  v.shape.assign(shape.begin(), shape.end());
  v.values = std::move(values);
  return v;
}

void check_names(const State& state, const std::string& file) {
  std::set<std::string> names;
  for (const Variable& v : state) {
    if (v.name.empty() || v.name == "." || v.name == ".." || v.name.find('/') != v.name.npos ||
        v.name.find('\0') != v.name.npos)
      throw bad_input("{}: \"{}\" cannot be the name of a tensor", file, v.name);
    if (!names.insert(v.name).second) throw bad_input("{}: two tensors are named {}", file, v.name);
  }
  if (state.empty()) throw bad_input("{}: no tensors", file);
}

Raw raw_of(const Variable& v) {
  return std::visit(
      [&](const auto& values) -> Raw {
        using T = typename std::decay_t<decltype(values)>::value_type;
        if constexpr (std::is_same_v<T, float>) return {raw(values), "FloatStorage", "F32"};
        if constexpr (std::is_same_v<T, double>) return {raw(values), "DoubleStorage", "F64"};
        if constexpr (std::is_same_v<T, std::int64_t>) return {raw(values), "LongStorage", "I64"};
        throw bad_input("{}: expected real numbers or int64, found {}", v.name, formats::type_name(v.values));
      },
      v.values);
}

}  // namespace fachwerk::neural
