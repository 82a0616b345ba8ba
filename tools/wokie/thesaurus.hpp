#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "graph.hpp"

/// The SKOS view of a graph: concepts, their labels and their hierarchy.
namespace fachwerk::wokie {

enum class Property : std::uint8_t {
  pref_label,
  alt_label,
  hidden_label,
  definition,
  scope_note,
  note,
  example,
  change_note,
  editorial_note,
  history_note,
  title,
  description
};
inline constexpr int property_count = 12;
std::string property_name(Property property);  ///< "prefLabel"
std::string property_iri(Property property);
std::optional<Property> property_of_name(std::string_view name);

/// Lists of indices, one per concept: `list(c)` are those of concept c.
struct Adjacency {
  std::vector<std::int64_t> start = {0};
  std::vector<std::int64_t> target = {};

  std::size_t size() const { return start.size() - 1; }
  auto list(std::size_t c) const {
    return std::basic_string_view<std::int64_t>(target.data() + start[c],
                                                static_cast<std::size_t>(start[c + 1] - start[c]));
  }
};

struct Label {
  std::int64_t concept_index;
  Property property;
  TermId text;            ///< the literal
  std::int32_t language;  ///< index into `languages`, -1 without a tag
  bool xl = false;        ///< came through skosxl
};

enum class Also : std::uint8_t { collections = 1, schemes = 2, groups = 4 };

struct ThesaurusOptions {
  bool infer_concepts = true;  ///< also take subjects of inScheme, broader, ... that have a label
  std::uint8_t also = 0;       ///< Also bits: what else is labelled like a concept
};

struct Thesaurus {
  std::vector<TermId> concepts;      ///< document order
  std::vector<std::int64_t> scheme;  ///< per concept: index into `schemes`, -1 without
  std::vector<TermId> schemes;
  Adjacency broader, narrower, related;   ///< both directions of every statement, each once
  std::vector<std::int32_t> depth;        ///< steps to a top concept along the longest cycle-free path upwards
  std::vector<Label> labels;              ///< by concept, then document order
  std::vector<std::int64_t> label_start;  ///< first label of each concept; one more at the end
  std::vector<std::string> languages;     ///< tags as spelled
  std::size_t declared = 0, inferred = 0;
  std::size_t untagged = 0;    ///< labels without a language
  std::size_t cycles_cut = 0;  ///< broader statements left out because they close a cycle

  std::string_view language(const Label& label) const {
    return label.language < 0 ? std::string_view{}
                              : std::string_view(languages[static_cast<std::size_t>(label.language)]);
  }
  std::size_t label_begin(std::size_t c) const { return static_cast<std::size_t>(label_start[c]); }
  std::size_t label_end(std::size_t c) const { return static_cast<std::size_t>(label_start[c + 1]); }
};

Thesaurus thesaurus_of(const Graph& graph, const ThesaurusOptions& options = {});

/// Texts of one concept: property and language (BCP 47 prefix match unless exact), document order, blanks skipped.
std::vector<std::string> texts_of(const Graph& graph, const Thesaurus& thesaurus, std::size_t concept_index,
                                  Property property, std::string_view language, bool exact = false);

/// Chain of concepts from a top concept down to this one along skos:broader (first parent wins, cycles cut).
std::vector<std::size_t> chain_of(const Thesaurus& thesaurus, std::size_t concept_index);

/// Description of the vocabulary: dct:description, else dc:description of its first scheme.
std::string vocabulary_description(const Graph& graph, const Thesaurus& thesaurus, std::string_view language);

}  // namespace fachwerk::wokie
