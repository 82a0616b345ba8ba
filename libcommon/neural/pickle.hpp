#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "neural/exchange_tensor.hpp"

/// Python's pickles, as far as a dictionary of tensors needs them. Nothing that a pickle names is ever run.
namespace fachwerk::neural {

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

/// The machine of a pickle, for tensors, dictionaries, numbers and words; everything else is bad input.
class Unpickler {
 public:
  Unpickler(formats::Bytes bytes, const std::string& file) : in_(bytes, file), file_(file) {}

  /// Runs the pickle to its end; the number of the value that it leaves.
  int run();
  const Pickled& at(int i) const { return values_[static_cast<std::size_t>(i)]; }

 private:
  static constexpr int mark = -1;

  int make(Pickled value) {
    values_.push_back(std::move(value));
    return static_cast<int>(values_.size()) - 1;
  }
  void push(Pickled value) { stack_.push_back(make(std::move(value))); }
  int pop();
  std::vector<int> pop_to_mark();
  Pickled& top(Pickled::Kind kind);
  void text(std::size_t size) { push({.kind = Pickled::text, .word = std::string(in_.text(size, "a word"))}); }
  void whole(std::int64_t v) { push({.kind = Pickled::integer, .whole = v}); }
  void tuple(std::size_t n);
  std::string line();
  void global(const std::string& module, const std::string& name);
  Element element_of(const std::string& storage) const;
  const Pickled& item(const Pickled& tuple, std::size_t i, Pickled::Kind kind) const;
  Dims dims(const Pickled& tuple) const;
  void persistent();
  void reduce();
  void get(std::uint64_t slot);
  void remember(std::uint64_t slot);
  void step(std::uint8_t op);

  formats::Reader in_;
  const std::string& file_;
  std::deque<Pickled> values_;
  std::vector<int> stack_;
  std::map<std::uint64_t, int> memo_;
};

}  // namespace fachwerk::neural
