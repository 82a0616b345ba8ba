#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// Apertium's installed translation modes as voters: what there is, how terms are framed, what the marks mean.
namespace fachwerk::wokie {

struct Mode {
  std::string name;        ///< "eng-spa"
  std::string from, to;    ///< ISO 639-3 (hbs for the variants of Serbo-Croatian)
  std::string pipeline;    ///< content of the .mode file
  std::string stamp = {};  ///< name, sizes and times of the data files: answers are kept as long as it stays the same
};

/// A mode from its file; nothing for names that are no language pair ("Cyrl-Latn") and for spelling variants.
std::optional<Mode> mode_of(std::string_view name, std::string_view pipeline);

/// Chains of at most `max_stages` modes from one language to another, shortest first, no language twice.
std::vector<std::vector<const Mode*>> chains(const std::vector<Mode>& modes, const std::string& from,
                                             const std::string& to, std::size_t max_stages = 3);

/// Shell pipeline of one mode, from text to text. Unknown words keep their marks. `singular` turns plural nouns and
/// adjectives into singular ones between tagger and transfer.
std::string mode_command(const Mode& mode, bool singular);

/// Terms as paragraphs of one sentence each: a full stop and a blank line keep the engine from joining them.
std::string frame_terms(const std::vector<std::string>& terms);
/// The inverse; nothing if the count does not agree.
std::optional<std::vector<std::string>> unframe_terms(std::string_view output, std::size_t count);

/// True if a translation holds a word that the engine did not know, could not generate or had no entry for.
bool has_marks(std::string_view translation);
std::string without_engine_marks(std::string_view translation);

/// Translates all terms with one process pipeline.
std::vector<std::string> translate_terms(const Mode& mode, const std::vector<std::string>& terms, bool singular);

}  // namespace fachwerk::wokie
