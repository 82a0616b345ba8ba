#include "neural/exchange.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <deque>
#include <map>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <zlib.h>

#include "io/npy.hpp"

namespace fachwerk::neural {

namespace {

using formats::Bytes;
using formats::Reader;
using formats::Sink;
using formats::Variable;

// ---- element types -------------------------------------------------------------------------------

enum class Element { f64, f32, f16, bf16, i64, i32, i16, i8, u8 };

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

float from_half(std::uint16_t h) {
  const std::uint32_t sign = std::uint32_t(h & 0x8000U) << 16, exponent = h >> 10 & 31U, fraction = h & 1023U;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000U | fraction << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float tiny = std::ldexp(static_cast<float>(fraction), -24);
  return sign != 0 ? -tiny : tiny;
}

/// Elements of a strided view of raw values; the caller has checked that all of them are inside.
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

/// Shape and strides stay within `elements`; nothing overflows.
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

// ---- zip -----------------------------------------------------------------------------------------

/// The members of a zip archive by name; stored ones are views, deflated ones are unpacked into `unpacked`.
std::map<std::string, Bytes> read_zip(Bytes bytes, const std::string& file,
                                      std::deque<std::vector<std::byte>>& unpacked) {
  const auto bad = [&](const char* what) { return bad_input("{}: broken zip archive: {}", file, what); };
  if (bytes.size() < 22) throw bad("too short");
  std::size_t end = bytes.size() - 22;
  const auto signature = [&](std::size_t at) {
    return Reader::load<std::uint32_t>(bytes.data() + at, std::endian::little);
  };
  for (std::size_t tried = 0; signature(end) != 0x06054b50; ++tried, --end)
    if (end == 0 || tried > 65536) throw bad("no directory (truncated?)");
  Reader tail(bytes.subspan(end + 8), file, end + 8);
  tail.skip(2, "counts");
  const std::size_t count = tail.number<std::uint16_t>("number of members");
  tail.skip(4, "directory size");
  const std::size_t start = tail.number<std::uint32_t>("directory offset");
  if (start > end) throw bad("directory outside the file");
  Reader directory(bytes.subspan(start, end - start), file, start);
  std::map<std::string, Bytes> members;
  for (std::size_t i = 0; i < count; ++i) {
    if (directory.number<std::uint32_t>("member") != 0x02014b50) throw bad("not a member");
    directory.skip(6, "versions");
    const auto method = directory.number<std::uint16_t>("method");
    directory.skip(8, "time and checksum");
    const std::size_t packed = directory.number<std::uint32_t>("size"), size = directory.number<std::uint32_t>("size");
    const std::size_t name_size = directory.number<std::uint16_t>("name"),
                      extra = directory.number<std::uint16_t>("extra"),
                      comment = directory.number<std::uint16_t>("comment");
    directory.skip(8, "attributes");
    const std::size_t offset = directory.number<std::uint32_t>("offset");
    const std::string name(directory.text(name_size, "name"));
    directory.skip(extra + comment, "extra");
    if (packed == 0xFFFFFFFFU || size == 0xFFFFFFFFU || offset == 0xFFFFFFFFU)
      throw bad_input("{}: members above 4 GiB are not supported", file);
    if (offset + 30 > bytes.size()) throw bad("member outside the file");
    Reader local(bytes.subspan(offset), file, offset);
    if (local.number<std::uint32_t>("member") != 0x04034b50) throw bad("not a member");
    local.skip(22, "header");
    const std::size_t local_name = local.number<std::uint16_t>("name"),
                      local_extra = local.number<std::uint16_t>("extra");
    local.skip(local_name + local_extra, "name");
    const Bytes data = local.take(packed, "member");
    if (method == 0) {
      if (packed != size) throw bad("sizes differ");
      members[name] = data;
    } else if (method == 8) {
      unpacked.push_back(formats::inflate(local, data, size, true));
      members[name] = unpacked.back();
    } else {
      throw bad("unknown packing");
    }
  }
  return members;
}

/// Writes stored members, their values on 64-byte boundaries as PyTorch does.
class ZipWriter {
 public:
  explicit ZipWriter(Sink& sink) : sink_(sink) {}
  void add(const std::string& name, Bytes data) {
    if (data.size() >= 0xFFFFFFFFU || offset_ + data.size() >= 0xFFFFFF00U)
      throw usage_error("a .pt file of more than 4 GiB: use safetensors");
    Member m{name,
             static_cast<std::uint32_t>(
                 crc32(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size()))),
             static_cast<std::uint32_t>(data.size()), static_cast<std::uint32_t>(offset_)};
    const std::size_t header = 30 + name.size() + 4;
    const std::size_t pad = (64 - (offset_ + header) % 64) % 64;
    std::string local = number(0x04034b50U) + head(m) + number(static_cast<std::uint16_t>(name.size())) +
                        number(static_cast<std::uint16_t>(4 + pad)) + name + "FB" +
                        number(static_cast<std::uint16_t>(pad)) + std::string(pad, 'Z');
    put(local);
    sink_.write(data);
    offset_ += data.size();
    members_.push_back(std::move(m));
  }
  void finish() {
    const std::size_t start = offset_;
    for (const Member& m : members_)
      put(number(0x02014b50U) + number(std::uint16_t{0}) + head(m) + number(static_cast<std::uint16_t>(m.name.size())) +
          std::string(12, '\0') + number(m.offset) + m.name);
    const auto count = static_cast<std::uint16_t>(members_.size());
    const auto size = static_cast<std::uint32_t>(offset_ - start);
    put(number(0x06054b50U) + std::string(4, '\0') + number(count) + number(count) + number(size) +
        number(static_cast<std::uint32_t>(start)) + std::string(2, '\0'));
  }

 private:
  struct Member {
    std::string name;
    std::uint32_t crc, size, offset;
  };
  template <class T>
  static std::string number(T value) {
    std::string text(sizeof value, '\0');
    std::memcpy(text.data(), &value, sizeof value);
    return text;
  }
  /// Version, flags, method, time, date, checksum and both sizes.
  static std::string head(const Member& m) {
    return std::string(8, '\0') + number(std::uint16_t{0x21}) + number(m.crc) + number(m.size) + number(m.size);
  }
  void put(const std::string& text) {
    sink_.write(text);
    offset_ += text.size();
  }
  Sink& sink_;
  std::size_t offset_ = 0;
  std::vector<Member> members_;
};

// ---- pickle --------------------------------------------------------------------------------------

/// What a pickle may hold here. Values live in one list and point at one another by number, so that neither depth nor
/// cycles of a hostile file can exhaust the stack.
struct Pickled {
  enum Kind { none, boolean, integer, real, text, tuple, list, dictionary, global, storage, tensor } kind = none;
  std::int64_t whole = 0;
  double number = 0;
  std::string word = {};
  std::vector<int> items = {};  ///< dictionary: key, value, key, value, ...
  // storage and tensor
  Element element = Element::f32;
  std::int64_t offset = 0;
  Dims shape = {}, stride = {};
};

class Unpickler {
 public:
  Unpickler(Bytes bytes, const std::string& file) : in_(bytes, file), file_(file) {}

  int run() {
    for (;;) {
      const auto op = in_.number<std::uint8_t>("an instruction");
      if (op == '.') return pop();
      step(op);
      if (values_.size() > 20'000'000) throw in_.bad("more values than a state_dict has");
    }
  }
  const Pickled& at(int i) const { return values_[static_cast<std::size_t>(i)]; }

 private:
  static constexpr int mark = -1;

  int make(Pickled value) {
    values_.push_back(std::move(value));
    return static_cast<int>(values_.size()) - 1;
  }
  void push(Pickled value) { stack_.push_back(make(std::move(value))); }
  int pop() {
    if (stack_.empty() || stack_.back() == mark) throw in_.bad("broken pickle: nothing on the stack");
    const int value = stack_.back();
    stack_.pop_back();
    return value;
  }
  std::vector<int> pop_to_mark() {
    const auto found = std::find(stack_.rbegin(), stack_.rend(), mark);
    if (found == stack_.rend()) throw in_.bad("broken pickle: no mark");
    std::vector<int> items(found.base(), stack_.end());
    stack_.erase(found.base() - 1, stack_.end());
    return items;
  }
  Pickled& top(Pickled::Kind kind) {
    if (stack_.empty() || stack_.back() == mark || at(stack_.back()).kind != kind)
      throw in_.bad("broken pickle: wrong kind of value");
    return values_[static_cast<std::size_t>(stack_.back())];
  }
  void text(std::size_t size) { push({.kind = Pickled::text, .word = std::string(in_.text(size, "a word"))}); }
  void whole(std::int64_t v) { push({.kind = Pickled::integer, .whole = v}); }
  void tuple(std::size_t n) {
    std::vector<int> items(n);
    for (std::size_t i = n; i-- > 0;)
      items[i] = pop();
    push({.kind = Pickled::tuple, .items = std::move(items)});
  }
  std::string line() {
    std::string word;
    for (char c = in_.number<char>("a name"); c != '\n'; c = in_.number<char>("a name")) {
      word += c;
      if (word.size() > 256) throw in_.bad("broken pickle: a name without end");
    }
    return word;
  }
  void global(const std::string& module, const std::string& name) {
    static const std::set<std::string> allowed = {"collections.OrderedDict",
                                                  "torch._utils._rebuild_tensor_v2",
                                                  "torch._utils._rebuild_parameter",
                                                  "torch.FloatStorage",
                                                  "torch.DoubleStorage",
                                                  "torch.HalfStorage",
                                                  "torch.BFloat16Storage",
                                                  "torch.LongStorage",
                                                  "torch.IntStorage",
                                                  "torch.ShortStorage",
                                                  "torch.CharStorage",
                                                  "torch.ByteStorage",
                                                  "torch.BoolStorage"};
    const std::string full = module + "." + name;
    if (!allowed.contains(full))
      throw bad_input("{}: the pickle asks for \"{}\"; only tensors and dictionaries are read, no code", file_, full)
          .with_hint("in Python: torch.save(model.state_dict(), FILE)");
    push({.kind = Pickled::global, .word = full});
  }
  Element element_of(const std::string& storage) const {
    static const std::map<std::string, Element> types = {
        {"torch.FloatStorage", Element::f32}, {"torch.DoubleStorage", Element::f64},
        {"torch.HalfStorage", Element::f16},  {"torch.BFloat16Storage", Element::bf16},
        {"torch.LongStorage", Element::i64},  {"torch.IntStorage", Element::i32},
        {"torch.ShortStorage", Element::i16}, {"torch.CharStorage", Element::i8},
        {"torch.ByteStorage", Element::u8},   {"torch.BoolStorage", Element::u8}};
    const auto found = types.find(storage);
    if (found == types.end()) throw in_.bad("not a storage: {}", storage);
    return found->second;
  }
  const Pickled& item(const Pickled& tuple, std::size_t i, Pickled::Kind kind) const {
    if (i >= tuple.items.size() || at(tuple.items[i]).kind != kind)
      throw in_.bad("broken pickle: unexpected arguments");
    return at(tuple.items[i]);
  }
  Dims dims(const Pickled& tuple) const {
    Dims out;
    for (std::size_t i = 0; i < tuple.items.size(); ++i)
      out.push_back(item(tuple, i, Pickled::integer).whole);
    return out;
  }
  void persistent() {
    const Pickled id = at(pop());
    if (id.kind != Pickled::tuple || id.items.size() < 5 || item(id, 0, Pickled::text).word != "storage")
      throw in_.bad("broken pickle: not a storage");
    push({.kind = Pickled::storage,
          .whole = item(id, 4, Pickled::integer).whole,
          .word = item(id, 2, Pickled::text).word,
          .element = element_of(item(id, 1, Pickled::global).word)});
  }
  void reduce() {
    const Pickled arguments = at(pop());
    const Pickled function = at(pop());
    if (function.kind != Pickled::global || arguments.kind != Pickled::tuple)
      throw in_.bad("broken pickle: not a call");
    if (function.word == "collections.OrderedDict") {
      Pickled dictionary{.kind = Pickled::dictionary};
      if (!arguments.items.empty())
        for (const int pair : item(arguments, 0, Pickled::list).items) {
          if (at(pair).items.size() != 2) throw in_.bad("broken pickle: not a pair");
          dictionary.items.insert(dictionary.items.end(), at(pair).items.begin(), at(pair).items.end());
        }
      push(std::move(dictionary));
    } else if (function.word == "torch._utils._rebuild_parameter") {
      item(arguments, 0, Pickled::tensor);
      stack_.push_back(arguments.items[0]);
    } else if (function.word == "torch._utils._rebuild_tensor_v2") {
      const Pickled& storage = item(arguments, 0, Pickled::storage);
      push({.kind = Pickled::tensor,
            .whole = storage.whole,
            .word = storage.word,
            .element = storage.element,
            .offset = item(arguments, 1, Pickled::integer).whole,
            .shape = dims(item(arguments, 2, Pickled::tuple)),
            .stride = dims(item(arguments, 3, Pickled::tuple))});
    } else {
      throw in_.bad("broken pickle: {} is not called", function.word);
    }
  }
  void get(std::uint64_t slot) {
    const auto found = memo_.find(slot);
    if (found == memo_.end()) throw in_.bad("broken pickle: nothing remembered at {}", slot);
    stack_.push_back(found->second);
  }
  void remember(std::uint64_t slot) {
    if (stack_.empty() || stack_.back() == mark) throw in_.bad("broken pickle: nothing to remember");
    memo_[slot] = stack_.back();
  }

  void step(std::uint8_t op) {
    switch (op) {
      case 0x80:
        in_.skip(1, "protocol");
        return;
      case 0x95:
        in_.skip(8, "frame");
        return;
      case '}':
        return push({.kind = Pickled::dictionary});
      case ']':
        return push({.kind = Pickled::list});
      case ')':
        return push({.kind = Pickled::tuple});
      case '(':
        stack_.push_back(mark);
        return;
      case 'N':
        return push({});
      case 0x88:
        return push({.kind = Pickled::boolean, .whole = 1});
      case 0x89:
        return push({.kind = Pickled::boolean});
      case 'J':
        return whole(in_.number<std::int32_t>("a number"));
      case 'K':
        return whole(in_.number<std::uint8_t>("a number"));
      case 'M':
        return whole(in_.number<std::uint16_t>("a number"));
      case 'G':
        return push({.kind = Pickled::real, .number = in_.number<double>("a number", std::endian::big)});
      case 0x8a: {
        const std::size_t size = in_.number<std::uint8_t>("a size");
        if (size > 8) throw in_.bad("a number of {} bytes", size);
        const Bytes bytes = in_.take(size, "a number");
        std::uint64_t v = 0;
        for (std::size_t i = 0; i < size; ++i)
          v |= static_cast<std::uint64_t>(bytes[i]) << 8 * i;
        if (size > 0 && size < 8 && (static_cast<unsigned>(bytes[size - 1]) & 0x80U) != 0)
          v |= ~std::uint64_t{0} << 8 * size;
        return whole(static_cast<std::int64_t>(v));
      }
      case 'X':
        return text(in_.number<std::uint32_t>("a size"));
      case 'T':
        return text(in_.number<std::uint32_t>("a size"));
      case 0x8c:
      case 'U':
        return text(in_.number<std::uint8_t>("a size"));
      case 'q':
        return remember(in_.number<std::uint8_t>("a slot"));
      case 'r':
        return remember(in_.number<std::uint32_t>("a slot"));
      case 0x94:
        return remember(memo_.size());
      case 'h':
        return get(in_.number<std::uint8_t>("a slot"));
      case 'j':
        return get(in_.number<std::uint32_t>("a slot"));
      case 't':
        return push({.kind = Pickled::tuple, .items = pop_to_mark()});
      case 0x85:
        return tuple(1);
      case 0x86:
        return tuple(2);
      case 0x87:
        return tuple(3);
      case 'c': {
        const std::string module = line();
        return global(module, line());
      }
      case 0x93: {
        const std::string name = at(pop()).word;
        return global(at(pop()).word, name);
      }
      case 'Q':
        return persistent();
      case 'R':
        return reduce();
      case 'a': {
        const int value = pop();
        top(Pickled::list).items.push_back(value);
        return;
      }
      case 'e': {
        const auto items = pop_to_mark();
        auto& list = top(Pickled::list).items;
        list.insert(list.end(), items.begin(), items.end());
        return;
      }
      case 's': {
        const int value = pop(), key = pop();
        auto& items = top(Pickled::dictionary).items;
        items.push_back(key);
        items.push_back(value);
        return;
      }
      case 'u': {
        const auto items = pop_to_mark();
        if (items.size() % 2 != 0) throw in_.bad("broken pickle: a key without a value");
        auto& all = top(Pickled::dictionary).items;
        all.insert(all.end(), items.begin(), items.end());
        return;
      }
      case 'b':
        pop();
        return;  // attributes of a dictionary (_metadata) do not matter
      case '0':
        pop();
        return;
      default:
        throw in_.bad("broken pickle, or one that holds more than tensors: instruction 0x{:02x}", op);
    }
  }

  Reader in_;
  const std::string& file_;
  std::deque<Pickled> values_;
  std::vector<int> stack_;
  std::map<std::uint64_t, int> memo_;
};

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

template <class T>
Bytes raw(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

/// Raw values and PyTorch's, safetensors' names of their type.
struct Raw {
  Bytes bytes;
  const char* storage;
  const char* safetensors;
};
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
