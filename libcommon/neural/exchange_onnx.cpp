#include <map>

#include "cli/error.hpp"
#include "neural/exchange.hpp"
#include "neural/exchange_tensor.hpp"

namespace fachwerk::neural {

using formats::Bytes;
using formats::Reader;
using formats::Variable;

namespace {

/// The fields of a protocol buffer message.
struct Field {
  std::uint32_t number, wire;
  std::uint64_t value;  ///< wire 0, 1, 5
  Bytes bytes;          ///< wire 2
};

std::uint64_t varint(Reader& in) {
  std::uint64_t v = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const auto byte = in.number<std::uint8_t>("a number");
    v |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
    if ((byte & 0x80U) == 0) return v;
  }
  throw in.bad("a number without end");
}

template <class Fn>
void each_field(Bytes message, const std::string& file, const Fn& fn) {
  Reader in(message, file);
  while (in.left() > 0) {
    const std::uint64_t tag = varint(in);
    Field f{static_cast<std::uint32_t>(tag >> 3), static_cast<std::uint32_t>(tag & 7U), 0, {}};
    if (f.wire == 0)
      f.value = varint(in);
    else if (f.wire == 1)
      f.bytes = in.take(8, "a number");
    else if (f.wire == 2)
      f.bytes = in.take(varint(in), "a field");
    else if (f.wire == 5)
      f.bytes = in.take(4, "a number");
    else
      throw in.bad("not ONNX: field type {}", f.wire);
    fn(f);
  }
}

Variable onnx_tensor(Bytes message, const std::string& file) {
  Dims shape;
  std::int64_t type = 0;
  std::string name;
  std::vector<std::byte> values;
  bool outside = false;
  const auto keep = [&](Bytes b) { values.insert(values.end(), b.begin(), b.end()); };
  each_field(message, file, [&](const Field& f) {
    if (f.number == 1 && f.wire == 0) shape.push_back(static_cast<std::int64_t>(f.value));
    if (f.number == 1 && f.wire == 2)
      for (Reader in(f.bytes, file); in.left() > 0;)
        shape.push_back(static_cast<std::int64_t>(varint(in)));
    if (f.number == 2) type = static_cast<std::int64_t>(f.value);
    if (f.number == 8) name.assign(reinterpret_cast<const char*>(f.bytes.data()), f.bytes.size());
    if (f.number == 4 || f.number == 9 || f.number == 10) keep(f.bytes);
    if (f.number == 7 || f.number == 5) {
      const auto put = [&](std::uint64_t v) {
        const auto wide = static_cast<std::int64_t>(v);
        const auto narrow = static_cast<std::int32_t>(v);
        f.number == 7 ? keep(std::as_bytes(std::span(&wide, 1))) : keep(std::as_bytes(std::span(&narrow, 1)));
      };
      if (f.wire == 0)
        put(f.value);
      else
        for (Reader in(f.bytes, file); in.left() > 0;)
          put(varint(in));
    }
    outside = outside || f.number == 13 || (f.number == 14 && f.value == 1);
  });
  static const std::map<std::int64_t, Element> types = {
      {1, Element::f32}, {2, Element::u8}, {3, Element::i8},   {5, Element::i16},  {6, Element::i32},
      {7, Element::i64}, {9, Element::u8}, {10, Element::f16}, {11, Element::f64}, {16, Element::bf16}};
  const auto found = types.find(type);
  if (outside) throw bad_input("{}: tensor {}: its values are in another file", file, name);
  if (found == types.end()) throw bad_input("{}: tensor {}: type {} is not supported", file, name, type);
  const std::size_t elements = values.size() / bytes_of(found->second);
  check_view(file, name, 0, shape, contiguous(shape), elements);
  if (product(shape) != static_cast<std::int64_t>(elements))
    throw bad_input("{}: tensor {}: {} values do not fit shape {}", file, name, elements, text(shape));
  return make_variable(name, shape, gather(values.data(), found->second, shape, contiguous(shape)));
}

}  // namespace

State read_onnx(Bytes bytes, const std::string& file) {
  State state;
  each_field(bytes, file, [&](const Field& model) {
    if (model.number != 7 || model.wire != 2) return;
    each_field(model.bytes, file, [&](const Field& graph) {
      if (graph.number == 5 && graph.wire == 2) state.push_back(onnx_tensor(graph.bytes, file));
    });
  });
  check_names(state, file);
  return state;
}

}  // namespace fachwerk::neural
