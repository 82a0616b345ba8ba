#include "neural/pickle.hpp"

#include <algorithm>
#include <set>

#include "cli/error.hpp"

namespace fachwerk::neural {

using formats::Bytes;

int Unpickler::run() {
  for (;;) {
    const auto op = in_.number<std::uint8_t>("an instruction");
    if (op == '.') return pop();
    step(op);
    if (values_.size() > 20'000'000) throw in_.bad("more values than a state_dict has");
  }
}

int Unpickler::pop() {
  if (stack_.empty() || stack_.back() == mark) throw in_.bad("broken pickle: nothing on the stack");
  const int value = stack_.back();
  stack_.pop_back();
  return value;
}

std::vector<int> Unpickler::pop_to_mark() {
  const auto found = std::find(stack_.rbegin(), stack_.rend(), mark);
  if (found == stack_.rend()) throw in_.bad("broken pickle: no mark");
  std::vector<int> items(found.base(), stack_.end());
  stack_.erase(found.base() - 1, stack_.end());
  return items;
}

Pickled& Unpickler::top(Pickled::Kind kind) {
  if (stack_.empty() || stack_.back() == mark || at(stack_.back()).kind != kind)
    throw in_.bad("broken pickle: wrong kind of value");
  return values_[static_cast<std::size_t>(stack_.back())];
}

void Unpickler::tuple(std::size_t n) {
  std::vector<int> items(n);
  for (std::size_t i = n; i-- > 0;)
    items[i] = pop();
  push({.kind = Pickled::tuple, .items = std::move(items)});
}

std::string Unpickler::line() {
  std::string word;
  for (char c = in_.number<char>("a name"); c != '\n'; c = in_.number<char>("a name")) {
    word += c;
    if (word.size() > 256) throw in_.bad("broken pickle: a name without end");
  }
  return word;
}

void Unpickler::global(const std::string& module, const std::string& name) {
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

Element Unpickler::element_of(const std::string& storage) const {
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

const Pickled& Unpickler::item(const Pickled& tuple, std::size_t i, Pickled::Kind kind) const {
  if (i >= tuple.items.size() || at(tuple.items[i]).kind != kind) throw in_.bad("broken pickle: unexpected arguments");
  return at(tuple.items[i]);
}

Dims Unpickler::dims(const Pickled& tuple) const {
  Dims out;
  for (std::size_t i = 0; i < tuple.items.size(); ++i)
    out.push_back(item(tuple, i, Pickled::integer).whole);
  return out;
}

void Unpickler::persistent() {
  const Pickled id = at(pop());
  if (id.kind != Pickled::tuple || id.items.size() < 5 || item(id, 0, Pickled::text).word != "storage")
    throw in_.bad("broken pickle: not a storage");
  push({.kind = Pickled::storage,
        .whole = item(id, 4, Pickled::integer).whole,
        .word = item(id, 2, Pickled::text).word,
        .element = element_of(item(id, 1, Pickled::global).word)});
}

void Unpickler::reduce() {
  const Pickled arguments = at(pop());
  const Pickled function = at(pop());
  if (function.kind != Pickled::global || arguments.kind != Pickled::tuple) throw in_.bad("broken pickle: not a call");
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

void Unpickler::get(std::uint64_t slot) {
  const auto found = memo_.find(slot);
  if (found == memo_.end()) throw in_.bad("broken pickle: nothing remembered at {}", slot);
  stack_.push_back(found->second);
}

void Unpickler::remember(std::uint64_t slot) {
  if (stack_.empty() || stack_.back() == mark) throw in_.bad("broken pickle: nothing to remember");
  memo_[slot] = stack_.back();
}

void Unpickler::step(std::uint8_t op) {
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

}  // namespace fachwerk::neural
