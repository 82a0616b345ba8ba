#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dictd.hpp"

/// A lexicon of many language pairs: word tables per language, weighted translation edges per directed pair.
namespace fachwerk::wokie {

using WordId = std::uint32_t;

/// Words of one language, sorted by their folded form, so that a look-up is a binary search over plain arrays.
struct WordTable {
  std::string text;  ///< all display forms, one after the other
  std::vector<std::uint32_t> start = {0};
  std::string key_text;  ///< all folded forms
  std::vector<std::uint32_t> key_start = {0};
  std::vector<std::uint8_t> gender, pos;

  std::size_t size() const { return start.size() - 1; }
  std::string_view word(WordId id) const { return std::string_view(text).substr(start[id], start[id + 1] - start[id]); }
  std::string_view key(WordId id) const {
    return std::string_view(key_text).substr(key_start[id], key_start[id + 1] - key_start[id]);
  }
  /// Words whose folded form is `key`: [first, last).
  std::pair<WordId, WordId> range(std::string_view key) const;
};

/// Translations of every word of a language into another: P(target | source), most likely first.
struct EdgeTable {
  std::vector<std::uint32_t> start = {0};
  std::vector<WordId> target;
  std::vector<float> probability;
};

struct Translation {
  std::string text;
  double probability;
  std::uint8_t gender = 0;
  std::uint8_t pos = 0;
};

using LanguagePair = std::pair<std::string, std::string>;  ///< ISO 639-3 codes

class Lexicon {
 public:
  std::map<std::string, WordTable> words;
  std::map<LanguagePair, EdgeTable> edges;

  bool has_pair(const std::string& from, const std::string& to) const { return edges.contains({from, to}); }
  bool has_word(const std::string& language, std::string_view key) const;

  /// Direct dictionary (with the inverted reverse one), summed over the words that share the folded key.
  std::vector<Translation> direct(const std::string& from, const std::string& to, std::string_view key) const;
  /// Through every other language: P(t|s) += P(w|s) P(t|w); a translation without a path back is halved.
  std::vector<Translation> pivoted(const std::string& from, const std::string& to, std::string_view key) const;
};

/// One dictionary to build from.
struct Dictionary {
  std::string from, to;  ///< ISO 639-3
  std::vector<DictEntry> entries;
};

/// Builds word and edge tables. Weight of an entry's translation: 1 / (1 + rank) / sqrt(heads), the same for the
/// inverse edge; per word the weights are normalised. `domain` favours senses marked so (twice the weight).
Lexicon build_lexicon(const std::vector<Dictionary>& dictionaries, const std::string& domain = {});

}  // namespace fachwerk::wokie
