#include <cstring>

#include <fmt/format.h>

#include "cli/error.hpp"
#include "neural/exchange.hpp"
#include "neural/exchange_tensor.hpp"
#include "neural/pickle.hpp"
#include "neural/zip_archive.hpp"

namespace fachwerk::neural {

using formats::Bytes;
using formats::Reader;
using formats::Sink;
using formats::Variable;

namespace {

/// Tensors of a dictionary and of those in it, names joined by dots.
void collect(const Unpickler& pickle, int dictionary, const std::string& prefix, int depth,
             std::vector<std::pair<std::string, int>>& found) {
  const Pickled& d = pickle.at(dictionary);
  if (depth > 8 || found.size() > 1'000'000) return;
  for (std::size_t i = 0; i + 1 < d.items.size(); i += 2) {
    const Pickled& key = pickle.at(d.items[i]);
    const Pickled& value = pickle.at(d.items[i + 1]);
    const std::string name = prefix + (key.kind == Pickled::text ? key.word : fmt::format("{}", key.whole));
    if (value.kind == Pickled::tensor) found.emplace_back(name, d.items[i + 1]);
    if (value.kind == Pickled::dictionary) collect(pickle, d.items[i + 1], name + ".", depth + 1, found);
  }
}

int lookup(const Unpickler& pickle, int dictionary, const std::string& key) {
  const Pickled& d = pickle.at(dictionary);
  for (std::size_t i = 0; i + 1 < d.items.size(); i += 2)
    if (pickle.at(d.items[i]).word == key && pickle.at(d.items[i + 1]).kind == Pickled::dictionary)
      return d.items[i + 1];
  return -1;
}

}  // namespace

State read_torch(Bytes bytes, const std::string& file, const std::string& key) {
  if (bytes.size() < 4 || Reader::load<std::uint32_t>(bytes.data(), std::endian::little) != 0x04034b50)
    throw bad_input("{}: expected a zip archive as torch.save writes it since version 1.6", file)
        .with_hint("in Python: torch.save(torch.load(OLD), NEW)");
  std::deque<std::vector<std::byte>> unpacked;
  const auto members = read_zip(bytes, file, unpacked);
  std::string folder;
  const Bytes* pickle_bytes = nullptr;
  for (const auto& [name, data] : members)
    if (name.ends_with("/data.pkl") || name == "data.pkl") {
      folder = name.substr(0, name.size() - 8);
      pickle_bytes = &data;
    }
  if (pickle_bytes == nullptr) throw bad_input("{}: no data.pkl in the archive", file);
  if (members.contains(folder + "constants.pkl"))
    throw bad_input("{}: a TorchScript archive: save its state_dict instead", file);
  if (const auto order = members.find(folder + "byteorder"); order != members.end() && order->second.size() == 3)
    throw bad_input("{}: a big-endian archive", file);
  Unpickler pickle(*pickle_bytes, file);
  int top = pickle.run();
  if (pickle.at(top).kind != Pickled::dictionary) throw bad_input("{}: expected a dictionary of tensors", file);
  if (!key.empty()) {
    top = lookup(pickle, top, key);
    if (top < 0) throw bad_input("{}: no dictionary under the key \"{}\"", file, key);
  } else {
    for (const char* usual : {"state_dict", "model_state_dict", "model"})
      if (const int inner = lookup(pickle, top, usual); inner >= 0) {
        top = inner;
        break;
      }
  }
  std::vector<std::pair<std::string, int>> found;
  collect(pickle, top, {}, 0, found);
  State state;
  for (const auto& [name, index] : found) {
    const Pickled& t = pickle.at(index);
    const auto member = members.find(folder + "data/" + t.word);
    if (member == members.end()) throw bad_input("{}: tensor {}: its values are not in the archive", file, name);
    check_view(file, name, t.offset, t.shape, t.stride, member->second.size() / bytes_of(t.element));
    const auto skip = static_cast<std::size_t>(t.offset) * bytes_of(t.element);
    state.push_back(make_variable(name.starts_with("module.") ? name.substr(7) : name, t.shape,
                                  gather(member->second.data() + skip, t.element, t.shape, t.stride)));
  }
  check_names(state, file);
  return state;
}

void write_torch(Sink& sink, const State& state) {
  std::string p = "\x80\x02";
  const auto number32 = [](std::size_t v) {
    std::string text(4, '\0');
    const auto small = static_cast<std::uint32_t>(v);
    std::memcpy(text.data(), &small, 4);
    return text;
  };
  const auto word = [&](const std::string& w) { p += "X" + number32(w.size()) + w; };
  const auto integer = [&](std::size_t v) {
    if (v < 0x80000000U) {
      p += "J" + number32(v);
    } else {
      p += std::string("\x8a\x09", 2) + number32(v & 0xFFFFFFFFU) + number32(v >> 32) + std::string(1, '\0');
    }
  };
  const std::string dictionary = "ccollections\nOrderedDict\n)R";
  p += dictionary + "(";
  for (std::size_t i = 0; i < state.size(); ++i) {
    const Variable& v = state[i];
    word(v.name);
    p += "ctorch._utils\n_rebuild_tensor_v2\n((";
    word("storage");
    p += fmt::format("ctorch\n{}\n", raw_of(v).storage);
    word(fmt::format("{}", i));
    word("cpu");
    integer(formats::count(v.shape));
    p += "tQ";
    integer(0);
    p += "(";
    for (const std::size_t d : v.shape)
      integer(d);
    p += "t(";
    for (const std::int64_t d : contiguous(Dims(v.shape.begin(), v.shape.end())))
      integer(static_cast<std::size_t>(d));
    p += "t\x89" + dictionary + "tR";
  }
  p += "u.";
  ZipWriter zip(sink);
  zip.add("archive/data.pkl", std::as_bytes(std::span(p.data(), p.size())));
  for (std::size_t i = 0; i < state.size(); ++i)
    zip.add(fmt::format("archive/data/{}", i), raw_of(state[i]).bytes);
  const std::string version = "3\n";
  zip.add("archive/version", std::as_bytes(std::span(version.data(), version.size())));
  zip.finish();
}

}  // namespace fachwerk::neural
