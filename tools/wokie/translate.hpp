#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "consensus.hpp"
#include "document.hpp"
#include "llm.hpp"
#include "offline.hpp"
#include "thesaurus.hpp"

/// The translation of a thesaurus: which labels are missing, who proposes what, what is chosen, what is added.
namespace fachwerk::wokie {

/// Asks some service for all texts at once; the answer lists the proposals of every text.
using Proposer =
    std::function<std::vector<std::vector<Proposal>>(const std::vector<SourceText>&, const std::string& target)>;

/// Forced translations: (folded term, source language) -> translation; "keep" leaves the term as it is.
using Glossary = std::map<std::pair<std::string, std::string>, std::map<std::string, std::string>>;

enum class Overwrite { none, own, all };
/// What a preferred label becomes that another concept of the scheme has already and no candidate can replace.
enum class Disambiguate { candidate, qualifier, report };
enum class LowConfidence { skip, alt_label, note, flag };

struct TranslateOptions {
  std::vector<std::string> targets;
  std::vector<std::string> from = {};  ///< empty: every language
  std::vector<Property> properties = {Property::pref_label};
  bool original_policy = false;
  OriginalOptions original = {};
  double threshold = 0.6;  ///< below this confidence the language model is asked
  double min_confidence = 0;
  LowConfidence low_confidence = LowConfidence::skip;
  Overwrite overwrite = Overwrite::none;
  Disambiguate disambiguate = Disambiguate::candidate;
  bool exact_tags = false;
  bool chain_targets = false;
  bool shared_words = false;  ///< words that languages share vote, and stand in where nothing else is found
  std::string untagged = {};  ///< language of labels without a tag
  Strategy strategy = Strategy::individual;
  ContextOptions context = {};
  ThesaurusOptions view = {};
  bool tag_machine = false;
  bool xl = false;  ///< labels of concepts that have SKOS-XL labels become skosxl:Label nodes
};

struct Providers {
  std::vector<Proposer> proposers;  ///< in the user's order
  const LanguageModel* model = nullptr;
  Glossary glossary = {};
  std::set<TermId> own_labels = {};  ///< literals that an earlier run added (for Overwrite::own)
  /// Reviewed texts: (concept IRI, property, target) -> text; empty text rejects.
  std::map<std::tuple<std::string, Property, std::string>, std::string> reviewed = {};
};

struct TranslateResult {
  std::vector<TranslationRecord> records;
  std::size_t present = 0, added = 0, held_back = 0, untranslated = 0, without_source = 0;
  std::map<Method, std::size_t> by_method;
  std::size_t model_calls = 0;
  std::vector<std::string> duplicates;  ///< concepts whose label another one of the scheme has too
};

/// Adds the missing labels to the graph. Nothing else in it changes, except for labels that `overwrite` replaces.
TranslateResult translate(Graph& graph, const TranslateOptions& options, const Providers& providers);

}  // namespace fachwerk::wokie
