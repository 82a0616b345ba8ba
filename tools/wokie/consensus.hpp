#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "offline.hpp"

/// From candidates to one label: the vote of the original, and ours with reliability weights and a calibrated
/// confidence.
namespace fachwerk::wokie {

struct Candidate {
  std::string text;
  std::string service;       ///< voter or online service
  std::int64_t source = -1;  ///< index of the source text; once decided, the source literal in the graph
  double probability = 1;    ///< share within its voter
  bool partial = false;      ///< no vote
  double weight = 0;         ///< what it counted for, filled in by the vote
  std::int32_t group = -1;   ///< independence group, filled in by the vote
  double factor = 1;         ///< what the vote is multiplied by (Proposal::factor)
};

enum class Method : std::uint8_t {
  primary = 0,
  secondary_is_primary = 1,
  rated = 2,
  fallback = 3,
  memory = 4,
  none = 255
};

struct Decision {
  std::string text;  ///< empty: nothing to write
  double confidence = 0;
  double agreement = 0;  ///< the original's fraction
  Method method = Method::none;
  std::string reason = {};
};

// ---- the original (spec 2.2) ---------------------------------------------------------------------

struct Frequency {
  std::string best;  ///< in the case first seen
  double share = 0;  ///< 0 without candidates
};
/// Case-insensitive count over all non-empty texts; the highest wins, of equals the one seen first.
Frequency frequency_vote(const std::vector<std::string>& texts);

/// The reply line "TRANSLATION; NUMBER": first match, multiline. Nothing unless 0 <= NUMBER <= 1.
struct Rated {
  std::string text;
  double confidence;
};
std::optional<Rated> parse_rating(const std::string& reply);

struct OriginalOptions {
  std::size_t min_primary = 5;
  double threshold = 0.6;
  int max_retries = 1;
};
/// Answers of the secondary translator and of the rating call; may return nothing.
struct SecondaryCalls {
  std::function<std::vector<std::string>()> propose = {};
  std::function<std::string(const std::vector<std::string>& candidates, int attempt)> rate = {};
};
/// Flow of 2.2 from step 2 on: `primary` are the candidates collected (at least min_primary of them, or fewer if the
/// services gave no more).
Decision decide_original(const std::vector<std::string>& primary, const OriginalOptions& options,
                         const SecondaryCalls& calls);

// ---- consensus (spec 2.4) ------------------------------------------------------------------------

/// How often the first proposal of a voter was right, per (voter, source language).
struct Reliability {
  struct Count {
    double right = 0, tried = 0;
  };
  std::map<std::pair<std::string, std::string>, Count> counts;
  double tried = 0;  ///< dev items in all

  void record(const std::string& voter, const std::string& source_language, bool right);
  /// Shrunk estimate (n p + 20 prior) / (n + 20); the prior alone without counts.
  double estimate(const std::string& voter, const std::string& source_language, const std::string& target) const;
};

/// Shipped prior of a voter for a pair of languages.
double prior_reliability(const std::string& voter, const std::string& source_language, const std::string& target);

struct Vote {
  std::string text;      ///< display form
  double posterior = 0;  ///< score / (sum of scores + 1)
  double score = 0;
  std::size_t groups = 0;  ///< independent groups that voted for it
  std::vector<std::size_t> candidates = {};
};

/// Estimated conventions of labels in one language: what to make of number and capitals.
struct Convention {
  bool capital = false;     ///< labels start with a capital
  double plural_share = 0;  ///< of labels that could show number
  std::size_t seen = 0;
};
Convention convention_of(const std::vector<std::string>& labels, const std::string& language);
std::string in_convention(const std::string& text, const std::string& language, const Convention& convention);

/// Texts that differ only in number or in an inner article vote together: "lista de las obras", "listas de obras".
std::string vote_key(std::string_view text, const std::string& language);

/// Weighted vote. `candidates` get their weight and group. Sorted by score. Among the forms that vote together the
/// heaviest is taken, in the number that the convention of the target language favours (once 20 labels show one).
std::vector<Vote> weighted_vote(std::vector<Candidate>& candidates, const std::vector<SourceText>& sources,
                                const Reliability& reliability, const std::string& target,
                                const Convention& convention = {});

/// Candidates for words that languages share: a text that two or more sources have alike, and, where nobody else
/// proposed anything, the source itself. Scripts must agree with the target's.
void add_shared_words(std::vector<Candidate>& candidates, const std::vector<SourceText>& sources,
                      const std::vector<std::int64_t>& of_item, const std::string& target);

/// Plurality vote: every (group, text) counts once.
std::vector<Vote> plurality_vote(std::vector<Candidate>& candidates, const std::vector<SourceText>& sources,
                                 const std::string& target);

/// Monotone map from a raw score to a probability of being right (isotonic regression, pool adjacent violators).
class Isotonic {
 public:
  static Isotonic fit(std::vector<std::pair<double, bool>> samples);
  double operator()(double score) const;
  bool empty() const { return level_.empty(); }

 private:
  std::vector<double> bound_, level_;
};

/// Shipped calibration for thesauri without labels to learn from: probability from posterior, score, margin and groups.
double prior_confidence(const Vote& best, const Vote* second);

}  // namespace fachwerk::wokie
