#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "apertium.hpp"
#include "lexicon.hpp"

/// The embedded engine: independent voters on dictionaries, pivots, rule-based translation, composition and memory.
namespace fachwerk::wokie {

struct SourceText {
  std::string language;  ///< ISO 639-1 where there is one: "en"
  std::string text;
  bool operator==(const SourceText&) const = default;
};

/// What one voter says about one source text.
struct Proposal {
  std::string text;
  std::string voter;       ///< "dict", "pivot", "apertium:eng-spa", "apertium:eng-spa:sg", "compose", "cognate", "tm"
  double probability = 1;  ///< share among the voter's proposals for this text
  bool partial = false;    ///< holds an untranslated word: kept for the record, no vote
  double factor = 1;       ///< what its vote is multiplied by: verbs, gerunds and fuzzy hits count less
};

/// Pairs of texts that somebody translated: exact look-up by folded form, fuzzy by word overlap.
class Memory {
 public:
  void add(const std::string& from_language, const std::string& from, const std::string& to_language,
           const std::string& to);
  bool empty() const { return exact_.empty(); }
  /// The exact hits, else the near ones (word edit similarity 0.85 or more, the best three), which vote by half.
  std::vector<Proposal> look_up(const SourceText& source, const std::string& target) const;

 private:
  std::vector<Proposal> near(const SourceText& source, const std::string& target, const std::string& key) const;
  struct Key {
    std::string from, to, text;
    auto operator<=>(const Key&) const = default;
  };
  std::map<Key, std::vector<std::string>> exact_;
};

struct OfflineOptions {
  bool memory = true, dict = true, pivot = true, apertium = true, compose = true, cognate = true;
  /// What rule-based engines answered before, by engine, its data files and term; may be empty.
  std::function<std::optional<std::string>(const std::string& key)> recall = {};
  std::function<void(const std::string& key, const std::string& answer)> keep = {};
};

class OfflineEngine {
 public:
  OfflineEngine(const Lexicon& lexicon, const std::vector<Mode>& modes, const Memory& memory,
                OfflineOptions options = {})
      : lexicon_(lexicon), modes_(modes), memory_(memory), options_(options) {}

  /// Proposals for every source text, most likely first within each voter.
  std::vector<std::vector<Proposal>> propose(const std::vector<SourceText>& sources, const std::string& target) const;

  /// True if any voter has data for this pair of languages.
  bool serves(const std::string& from, const std::string& to) const;

 private:
  void ask_dictionaries(const SourceText& source, const std::string& target, std::vector<Proposal>& out) const;
  void ask_apertium(const std::vector<SourceText>& sources, const std::string& target,
                    std::vector<std::vector<Proposal>>& out) const;
  /// One-word texts carried over letter by letter; words that the target's dictionaries lack are marked as coined.
  void ask_cognates(const std::vector<SourceText>& sources, const std::string& target,
                    std::vector<std::vector<Proposal>>& out) const;
  /// Sees to it that these terms are answered; the boolean asks for singulars.
  void run_stage(const std::map<std::pair<const Mode*, bool>, std::set<std::string>>& wanted) const;

  const Lexicon& lexicon_;
  const std::vector<Mode>& modes_;
  const Memory& memory_;
  OfflineOptions options_;
  mutable std::unordered_map<std::string, std::string> answered_;
};

/// Translations of one word or fixed phrase by dictionary and pivots together, with the singular where the form itself
/// is not listed. `from`, `to`: ISO 639-3.
std::vector<Translation> word_translations(const Lexicon& lexicon, const std::string& from, const std::string& to,
                                           const std::string& key, bool direct, bool pivots);

/// The dictionary keys under which a label may stand: folded form, then its likely singulars.
std::vector<std::string> dictionary_keys(std::string_view label, const std::string& language);

/// Label in the case of running text: "Digital Humanities" -> "digital humanities"; acronyms, mixed case and German
/// nouns stay.
std::string running_case(std::string_view label, const std::string& language);

/// Target phrases for a phrase or compound, from translations of its parts (spec 2.5, 5).
std::vector<Proposal> compose(const Lexicon& lexicon, const SourceText& source, const std::string& target);

/// Parts of a German, Dutch, Swedish... compound by the lexicon; the word itself when it has none.
std::vector<std::string> split_compound(const Lexicon& lexicon, const std::string& language, const std::string& word);

}  // namespace fachwerk::wokie
