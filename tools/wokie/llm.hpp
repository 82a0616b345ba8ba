#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "thesaurus.hpp"

/// What is said to a language model, and what of its replies is accepted.
namespace fachwerk::wokie {

enum class Strategy { individual, batch, hierarchy, hierarchy_joint, select };

struct ContextOptions {
  std::vector<std::string> fields = {"definition", "scopeNote", "note", "broader"};
  std::size_t characters = 1200;
  std::string user = {};       ///< the user's own context
  bool original_rule = false;  ///< the user's context only when neither term nor scheme has a description
};

struct Prompt {
  std::string system, user;
  double temperature = 0;
  bool json = false;  ///< a JSON object is wanted
};

/// A chat model: returns its reply, or nothing when it failed for good.
struct LanguageModel {
  std::function<std::optional<std::string>(const Prompt&)> ask;
  double temperature = 0;
  int max_retries = 1;
  std::map<std::string, std::string> prompts;  ///< texts by name, see default_prompts
};

/// The wording, by name: individual, batch, hierarchy, rate, select, retry. {language} and {terms} are filled in.
const std::map<std::string, std::string>& default_prompts();

/// A source label as the model sees it: thesaurus text is quoted data, line breaks and quotes made harmless.
std::string quoted_data(std::string_view text);

/// Context of a concept within the character budget, cut at a word boundary.
std::string context_of(const Graph& graph, const Thesaurus& thesaurus, std::size_t concept_index,
                       const std::string& language, const ContextOptions& options);

struct SourceLabel {
  std::string language, text;
};

/// Prompts that ask for translations, one per call of the strategy (select is made by select_prompt).
std::vector<Prompt> translation_prompts(const LanguageModel& model, Strategy strategy, const Graph& graph,
                                        const Thesaurus& thesaurus, std::size_t concept_index,
                                        const std::vector<SourceLabel>& labels, const std::string& target,
                                        const ContextOptions& context);
Prompt rating_prompt(const LanguageModel& model, const Graph& graph, const Thesaurus& thesaurus,
                     std::size_t concept_index, const std::vector<SourceLabel>& labels,
                     const std::vector<std::string>& candidates, const std::string& target,
                     const ContextOptions& context, const std::string& complaint, int attempt);
Prompt select_prompt(const LanguageModel& model, const Graph& graph, const Thesaurus& thesaurus,
                     std::size_t concept_index, const std::vector<SourceLabel>& labels,
                     const std::vector<std::string>& candidates, const std::string& target,
                     const ContextOptions& context, const std::string& complaint, int attempt);

/// The reply without thinking, code fences, prefixes and quotes (spec 2.3).
std::string cleaned_reply(std::string_view reply);
/// Why a cleaned reply is no label in the target language; empty if it is one.
std::string reply_objection(const std::string& text, const std::string& source, const std::string& target);

struct Selection {
  int choice = 0;  ///< from 1; 0: none of them
  std::string translation = {};
  double confidence = 0;
};
/// {"choice":i,"translation":s,"confidence":x} with i in 0..count and x in 0..1; nothing otherwise.
std::optional<Selection> parse_selection(const std::string& reply, std::size_t count);

}  // namespace fachwerk::wokie
