#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

/// How good a translation is. Every score of a text pair lies in [0, 1] or is a percentage where its source defines it
/// so.
namespace fachwerk::wokie {

std::size_t levenshtein(std::u32string_view a, std::u32string_view b);
/// 1 - distance / longer length, on NFC code points; 1 for two empty texts.
double levenshtein_similarity(std::string_view a, std::string_view b);
double jaro_winkler(std::string_view a, std::string_view b);
/// I-SUB (Stoilos et al. 2005): common substrings minus differences plus the Winkler term, scaled to [0, 1].
double isub(std::string_view a, std::string_view b);
/// F1 of the longest common subsequence of words.
double rouge_l(std::string_view hypothesis, std::string_view reference);
double word_error_rate(std::string_view hypothesis, std::string_view reference);
double character_error_rate(std::string_view hypothesis, std::string_view reference);

/// Edits with block shifts over reference length (Snover et al. 2006); counts so that a corpus can be summed.
struct TerCounts {
  double edits = 0;
  double length = 0;
};
TerCounts ter_counts(std::string_view hypothesis, std::string_view reference);

/// n-gram statistics of chrF (Popović 2015): characters without blanks up to order 6, words up to order `word_order`.
struct ChrfCounts {
  static constexpr int orders = 8;  ///< 6 of characters, 2 of words
  std::array<std::int64_t, orders> hypothesis{}, reference{}, match{};
  ChrfCounts& operator+=(const ChrfCounts& other);
};
ChrfCounts chrf_counts(std::string_view hypothesis, std::string_view reference, int word_order = 0);
/// F-score (beta 2) in percent; an order counts only if both sides have it.
double chrf(const ChrfCounts& counts, int word_order = 0);

struct BleuCounts {
  std::array<std::int64_t, 4> total{}, match{};
  std::int64_t hypothesis_length = 0, reference_length = 0;
  BleuCounts& operator+=(const BleuCounts& other);
};
/// Tokens of the 13a rule (mteval-v13a).
std::vector<std::string> tokens_13a(std::string_view text);
BleuCounts bleu_counts(std::string_view hypothesis, const std::vector<std::string>& references);
/// Percent, exponential smoothing of zero counts. `effective_order` leaves out orders that the hypothesis is too short
/// for.
double bleu(const BleuCounts& counts, bool effective_order = false);

/// Percentile bootstrap: `statistic` is called with the indices of a resample.
struct Interval {
  double low, high;
};
Interval bootstrap(std::size_t n, const std::function<double(const std::vector<std::size_t>&)>& statistic,
                   std::size_t samples, std::uint64_t seed, double level = 0.95);

/// Two-sided paired approximate randomisation: probability of a difference of means as large by swapping pairs.
double paired_randomisation(const std::vector<double>& a, const std::vector<double>& b, std::size_t trials,
                            std::uint64_t seed);

struct Calibration {
  struct Bin {
    double confidence = 0, accuracy = 0;
    std::size_t count = 0;
  };
  std::vector<Bin> bins;
  double ece = 0, brier = 0;
  double aurc = 0;  ///< area under the risk-coverage curve
};
Calibration calibration(const std::vector<double>& confidence, const std::vector<bool>& correct, std::size_t bins = 10);

}  // namespace fachwerk::wokie
