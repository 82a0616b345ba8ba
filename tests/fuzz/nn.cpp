// Parsers of foreign weights, data sets and networks: the first byte chooses one. What they refuse is bad input or
// wrong usage; anything else is a fault.
#include <cstddef>
#include <cstdint>
#include <span>

#include "cli/error.hpp"
#include "neural/exchange.hpp"
#include "neural/import.hpp"
#include "neural/zoo.hpp"

using namespace fachwerk;
using namespace fachwerk::neural;

namespace {

formats::File file_of(std::span<const std::byte> bytes) {
  return formats::File::from_memory({bytes.begin(), bytes.end()}, "input");
}

void weights(int format, formats::Bytes bytes) {
  if (format == 0) read_torch(bytes, "input");
  if (format == 1) read_safetensors(bytes, "input");
  if (format == 2) read_onnx(bytes, "input");
  if (format == 3) read_npz_state(bytes, "input");
}

/// Data of two files: the second byte says where one ends.
void samples(int format, formats::Bytes bytes) {
  const std::size_t cut = bytes.empty() ? 0 : bytes.size() * std::to_integer<std::size_t>(bytes[0]) / 256;
  if (format == 4) read_idx(file_of(bytes.first(cut)), file_of(bytes.subspan(cut)));
  if (format == 5) read_cifar(file_of(bytes), bytes.size() % 2 == 0);
  if (format == 6) read_libsvm(file_of(bytes), bytes.size() % 2 == 0);
  if (format == 7) {
    std::vector<formats::File> training, test;
    training.push_back(file_of(bytes.first(cut)));
    test.push_back(file_of(bytes.subspan(cut)));
    std::size_t unknown = 0;
    const CsvEncoder encoder(training, {.onehot = bytes.size() % 2 == 0});
    encoder.encode(test, unknown);
  }
}

void network(int format, const std::string& text) {
  if (format == 8) to_json(graph_from_json(text, "input"));
  if (format == 9) make_graph({.name = "spec:" + text}, {3, 8, 8}, 4);
  if (format == 10) ModelOptions::from_json(text, "mlp");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  const int format = data[0] % 11;
  try {
    if (format < 4)
      weights(format, bytes);
    else if (format < 8)
      samples(format, bytes);
    else
      network(format, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  } catch (const Error& error) {
    if (error.code() != Exit::bad_input && error.code() != Exit::usage) __builtin_trap();
  }
  return 0;
}
