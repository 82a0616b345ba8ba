#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lexicon.hpp"

/// Character-level transfer for neo-Latin and technical words: archaeology -> arqueología.
namespace fachwerk::wokie {

/// Joint n-gram model over aligned characters (Bisani and Ney 2008 in small): pairs of at most two letters on each
/// side, aligned by EM on dictionary pairs that look alike, order 4 with interpolated absolute discounting.
class CognateModel {
 public:
  struct Result {
    std::string text;
    double confidence;  ///< geometric mean probability per joint unit
  };
  /// Best target form of a folded word.
  std::optional<Result> transfer(const std::string& word) const;
  /// Confidence from which on held-out pairs came out right with precision 0.6 at least.
  double cut() const { return cut_; }

  /// From pairs of folded words; nothing with fewer than 500.
  static std::optional<CognateModel> train(const std::vector<std::pair<std::string, std::string>>& pairs);

 private:
  static constexpr int order = 4;
  using Unit = std::uint32_t;
  using Context = std::u32string;

  static std::uint64_t context_key(const Context& history, std::size_t length);
  double probability(const Context& history, Unit unit) const;

  std::vector<std::pair<std::u32string, std::u32string>> units_;
  std::unordered_map<std::uint64_t, std::vector<Unit>> by_source_;  ///< by packed letters
  struct Counts {
    std::unordered_map<Unit, double> count;
    double total = 0;
  };
  std::unordered_map<std::uint64_t, Counts> counts_;
  double cut_ = 2;
};

/// Trains on the lexicon's direct pairs of the two languages (ISO 639-3) whose normalised edit distance is below 0.5.
std::optional<CognateModel> train_cognates(const Lexicon& lexicon, const std::string& from, const std::string& to);

}  // namespace fachwerk::wokie
