#pragma once

#include <string>
#include <vector>

#include "cli/session.hpp"
#include "lexicon_files.hpp"
#include "offline.hpp"
#include "translate.hpp"

/// What the embedded engine needs from this machine: lexica, modes, memories, glossaries.
namespace fachwerk::wokie {

inline constexpr const char* default_dict_dir = "/usr/share/dictd";
inline constexpr const char* default_mode_dir = "/usr/share/apertium/modes";

/// $XDG_CACHE_HOME/wokie, else ~/.cache/wokie.
std::string cache_folder();

/// The compiled lexicon: `file` if given, else the one in the cache folder, compiled anew when the dictionaries of
/// `dict_dir` changed. Without dictionaries: an empty lexicon.
Lexicon load_lexicon(const cli::Session& session, const std::string& file, const std::string& dict_dir);

/// Translation memory from CSV or TSV (header: language tags), TMX, or any thesaurus.
void add_memory(Memory& memory, const std::string& path);
/// Pairs of preferred labels of a thesaurus.
void add_thesaurus_memory(Memory& memory, const Graph& graph, const Thesaurus& thesaurus);

/// Columns term, language, target language (may be missing), translation or "keep".
Glossary read_glossary(const std::string& path);

/// What to install for a pair of languages: "apt install dict-freedict-eng-deu apertium-eng-spa".
std::string install_hint(const std::vector<std::string>& from, const std::string& to);

}  // namespace fachwerk::wokie
