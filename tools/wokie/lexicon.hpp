#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dictd.hpp"

/// A lexicon of many language pairs: word tables per language, weighted translation edges per directed pair.
namespace fachwerk::wokie {

using WordId = std::uint32_t;

/// Words of one language, sorted by their folded form, so that a look-up is a binary search over plain arrays. Views
/// into the lexicon's columns; what a damaged file holds may be nonsense, never out of bounds.
struct WordTable {
  std::string_view text;  ///< all display forms, one after the other
  std::span<const std::uint32_t> start;
  std::string_view key_text;  ///< all folded forms
  std::span<const std::uint32_t> key_start;
  std::span<const std::uint8_t> gender, pos;

  std::size_t size() const { return gender.size(); }
  std::string_view word(WordId id) const { return part(text, start, id); }
  std::string_view key(WordId id) const { return part(key_text, key_start, id); }
  /// Words whose folded form is `key`: [first, last).
  std::pair<WordId, WordId> range(std::string_view key) const;
  /// All words whose folded form begins with `prefix`: [first, last).
  std::pair<WordId, WordId> prefixed(std::string_view prefix) const;

 private:
  static std::string_view part(std::string_view all, std::span<const std::uint32_t> bounds, WordId id) {
    if (id + std::size_t{1} >= bounds.size()) return {};
    const std::size_t from = std::min<std::size_t>(bounds[id], all.size());
    return all.substr(from, std::max(bounds[id + 1], bounds[id]) - bounds[id]);
  }
};

/// Translations of every word of a language that has any into another: P(target | source), most likely first.
struct EdgeTable {
  std::span<const WordId> source;  ///< ascending
  std::span<const std::uint32_t> start;
  std::span<const WordId> target;
  std::span<const float> probability;

  /// Edges of the n-th source word, of one word: [first, last).
  std::pair<std::uint32_t, std::uint32_t> row(std::size_t n) const {
    const auto edges = static_cast<std::uint32_t>(target.size());
    const std::uint32_t first = std::min(start[n], edges);
    return {first, std::clamp(start[n + 1], first, edges)};
  }
  std::pair<std::uint32_t, std::uint32_t> of(WordId word) const {
    const auto found = std::lower_bound(source.begin(), source.end(), word);
    return found == source.end() || *found != word ? std::pair<std::uint32_t, std::uint32_t>{}
                                                   : row(static_cast<std::size_t>(found - source.begin()));
  }
};

struct Translation {
  std::string text;
  double probability;
  std::uint8_t gender = 0;
  std::uint8_t pos = 0;
  double back = 0;  ///< probability of the way back, from the translation to the word asked for
};

using LanguagePair = std::pair<std::string, std::string>;  ///< ISO 639-3 codes

/// The whole lexicon as plain columns, as they lie in its file: tables of all languages and pairs one after the other.
struct LexiconColumns {
  std::vector<std::string> languages;                            ///< ISO 639-3, ascending
  std::vector<std::uint64_t> word_begin, text_begin, key_begin;  ///< of each language, and the end
  std::vector<std::string> pairs;                                ///< "eng-deu", ascending
  std::vector<std::uint64_t> row_begin, edge_begin;              ///< of each pair, and the end
  std::span<const std::uint8_t> text, key, gender, pos;
  std::span<const std::uint32_t> start, key_start;  ///< one more than words for every language
  std::span<const WordId> source, target;
  std::span<const std::uint32_t> row_start;  ///< one more than rows for every pair
  std::span<const float> probability;
  std::shared_ptr<const void> owner = {};  ///< keeps what the spans show
};

class Lexicon {
 public:
  Lexicon() = default;
  /// Throws bad_input (names by `name`) where lengths and bounds do not fit. `thorough` looks at every offset and
  /// index.
  Lexicon(LexiconColumns columns, const std::string& name, bool thorough);

  std::map<std::string, WordTable> words;
  std::map<LanguagePair, EdgeTable> edges;
  const LexiconColumns& columns() const { return columns_; }

  bool has_pair(const std::string& from, const std::string& to) const { return edges.contains({from, to}); }
  bool has_word(const std::string& language, std::string_view key) const;

  /// Direct dictionary (with the inverted reverse one), summed over the words that share the folded key.
  std::vector<Translation> direct(const std::string& from, const std::string& to, std::string_view key) const;
  /// Through every other language: P(t|s) += P(w|s) P(t|w); a translation without a path back is halved.
  std::vector<Translation> pivoted(const std::string& from, const std::string& to, std::string_view key) const;

 private:
  void check_contents(const std::string& name) const;

  LexiconColumns columns_;
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
