#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "offline.hpp"
#include "thesaurus.hpp"

/// Alignment of two thesauri: which concept of one means the same as which of the other.
namespace fachwerk::wokie {

/// Evidence for a pair of concepts, each in [0, 1].
enum Feature : std::size_t {
  exact_preferred,  ///< folded preferred labels of one language are equal
  exact_any,        ///< any folded labels of one language are equal
  exact_number,     ///< equal but for number and qualifier
  token_overlap,    ///< Jaccard of words, weighted by rarity
  trigram_cosine,   ///< TF-IDF of character trigrams
  jaro,             ///< Jaro-Winkler of labels of one language
  substring,        ///< I-SUB
  translated,       ///< best probability that a label of one is a translation of one of the other
  translated_back,  ///< the same in the other direction
  definition,       ///< TF-IDF cosine of definitions and notes
  parents,          ///< best label evidence between parents
  children,         ///< best label evidence between children
  shared_language,  ///< 1 if the two have labels in a common language
  equal_share,      ///< share of the common languages in which labels are equal but for number
  feature_count
};
std::vector<std::string> feature_names();

struct Side {
  const Graph* graph;
  const Thesaurus* thesaurus;
};

struct Pair {
  std::size_t left, right;
  std::array<double, feature_count> features{};
  double similarity = 0;
};

/// Logistic model over the features, with an intercept.
struct LinearModel {
  double intercept = 0;
  std::array<double, feature_count> weight{};
  double operator()(const std::array<double, feature_count>& features) const;
};

/// One model for pairs that have labels in a common language, one for those that only translations connect.
struct MatchModel {
  LinearModel common, cross;
  double operator()(const std::array<double, feature_count>& features) const {
    return (features[shared_language] > 0 ? common : cross)(features);
  }
  static MatchModel shipped();
  /// From and to {"common": {"intercept": x, "FEATURE": x, ...}, "cross": {...}}; unknown or missing names are bad
  /// input.
  static MatchModel from_json(std::string_view text, const std::string& name);
  std::string to_json() const;
  /// Fits by iteratively reweighted least squares with ridge 1; `right` per pair. A part with fewer than ten right
  /// pairs stays as shipped.
  static MatchModel fit(const std::vector<Pair>& pairs, const std::vector<bool>& right);
};

struct MatchOptions {
  double threshold = 0.6;
  enum class Selection { hungarian, greedy, many } selection = Selection::hungarian;
  double damping = 0.2;  ///< weight of the neighbours in the one round of propagation
  double exact_from = 0.85;
  bool hierarchy_types = false;  ///< also broadMatch and narrowMatch by the head words
};

struct Mapping {
  std::string left, right;
  std::string relation = "=";  ///< "=", "~" (close), "<" (left is narrower), ">" (left is broader)
  double measure = 1;
  std::vector<double> features = {};
};

/// Translations of labels, as OfflineEngine::propose gives them.
using Translate =
    std::function<std::vector<std::vector<Proposal>>(const std::vector<SourceText>&, const std::string& target)>;

/// Candidate pairs with their features; `translate` may be empty.
std::vector<Pair> candidate_pairs(const Side& left, const Side& right, const Translate& translate);

/// Similarities by the model, one round of propagation along the hierarchy.
void score_pairs(std::vector<Pair>& pairs, const Side& left, const Side& right, const MatchModel& model,
                 double damping);

/// Threshold, one-to-one selection, repair of crossing hierarchy pairs, types.
std::vector<Mapping> select_mappings(const std::vector<Pair>& pairs, const Side& left, const Side& right,
                                     const MatchOptions& options);

/// Assignment of rows to columns with the greatest sum (Hungarian method); -1 for rows that stay alone. Row-major.
std::vector<std::ptrdiff_t> best_assignment(const std::vector<double>& gain, std::size_t rows, std::size_t columns);

struct AlignmentScore {
  std::size_t right = 0, found = 0, expected = 0;
  double precision() const { return found == 0 ? 0 : static_cast<double>(right) / static_cast<double>(found); }
  double recall() const { return expected == 0 ? 0 : static_cast<double>(right) / static_cast<double>(expected); }
  double f1() const {
    return found + expected == 0 ? 0 : 2.0 * static_cast<double>(right) / static_cast<double>(found + expected);
  }
};
/// Counts pairs of relation "=" (close ones count as well when `close`), each once.
AlignmentScore score_alignment(const std::vector<Mapping>& found, const std::vector<Mapping>& reference,
                               bool close = true);

/// Alignments in RDF (Alignment API cells or SKOS mapping triples), SSSOM TSV, CSV.
std::vector<Mapping> mappings_of(const Graph& graph);
std::vector<Mapping> read_mapping_table(std::string_view text, const std::string& name);
std::string write_alignment_rdf(const std::vector<Mapping>& mappings, const std::string& left,
                                const std::string& right);
std::string write_sssom(const std::vector<Mapping>& mappings);
std::string write_mapping_csv(const std::vector<Mapping>& mappings);
Graph mapping_graph(const std::vector<Mapping>& mappings);

}  // namespace fachwerk::wokie
