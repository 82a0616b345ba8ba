#include "neural/exchange.hpp"

#include <map>

#include <nlohmann/json.hpp>

#include "cli/error.hpp"
#include "io/npy.hpp"
#include "neural/exchange_tensor.hpp"

namespace fachwerk::neural {

using formats::Bytes;
using formats::Reader;
using formats::Sink;
using formats::Variable;

State read_safetensors(Bytes bytes, const std::string& file) {
  Reader reader(bytes, file);
  const auto size = reader.number<std::uint64_t>("the header's length");
  if (size > reader.left() || size > (std::uint64_t{1} << 28))
    throw bad_input("{}: a header of {} bytes (not safetensors, or truncated)", file, size);
  const std::string_view header = reader.text(size, "the header");
  const Bytes data = reader.take(reader.left(), "values");
  static const std::map<std::string, Element> types = {
      {"F64", Element::f64}, {"F32", Element::f32}, {"F16", Element::f16}, {"BF16", Element::bf16},
      {"I64", Element::i64}, {"I32", Element::i32}, {"I16", Element::i16}, {"I8", Element::i8},
      {"U8", Element::u8},   {"BOOL", Element::u8}};
  State state;
  try {
    const auto json = nlohmann::json::parse(header);
    for (const auto& [name, entry] : json.items()) {
      if (name == "__metadata__") continue;
      const auto type = types.find(entry.at("dtype").get<std::string>());
      if (type == types.end())
        throw bad_input("{}: tensor {}: type {} is not supported", file, name, entry.at("dtype").get<std::string>());
      const auto shape = entry.at("shape").get<Dims>();
      const auto range = entry.at("data_offsets").get<std::vector<std::uint64_t>>();
      if (range.size() != 2 || range[0] > range[1] || range[1] > data.size())
        throw bad_input("{}: tensor {}: values outside the file (truncated?)", file, name);
      const std::size_t elements = (range[1] - range[0]) / bytes_of(type->second);
      check_view(file, name, 0, shape, contiguous(shape), elements);
      if (product(shape) != static_cast<std::int64_t>(elements) ||
          elements * bytes_of(type->second) != range[1] - range[0])
        throw bad_input("{}: tensor {}: {} bytes do not fit shape {}", file, name, range[1] - range[0], text(shape));
      state.push_back(
          make_variable(name, shape, gather(data.data() + range[0], type->second, shape, contiguous(shape))));
    }
  } catch (const nlohmann::json::exception& error) {
    throw bad_input("{}: not a safetensors header: {}", file, error.what());
  }
  check_names(state, file);
  return state;
}

void write_safetensors(Sink& sink, const State& state) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  std::size_t offset = 0;
  for (const Variable& v : state) {
    const Raw values = raw_of(v);
    json[v.name] = {
        {"dtype", values.safetensors}, {"shape", v.shape}, {"data_offsets", {offset, offset + values.bytes.size()}}};
    offset += values.bytes.size();
  }
  std::string header = json.dump();
  header.resize((header.size() + 7) / 8 * 8, ' ');
  sink.number(static_cast<std::uint64_t>(header.size()));
  sink.write(header);
  for (const Variable& v : state)
    sink.write(raw_of(v).bytes);
}

State read_npz_state(Bytes bytes, const std::string& file) {
  State state;
  for (Variable& v : formats::read_npz(bytes, file)) {
    const bool real =
        std::holds_alternative<std::vector<float>>(v.values) || std::holds_alternative<std::vector<double>>(v.values);
    if (!real) {
      std::vector<std::int64_t> whole;
      for (const double x : formats::as_reals(v.values, file + ":" + v.name))
        whole.push_back(static_cast<std::int64_t>(x));
      v.values = std::move(whole);
    }
    state.push_back(std::move(v));
  }
  check_names(state, file);
  return state;
}

}  // namespace fachwerk::neural
