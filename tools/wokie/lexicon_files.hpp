#pragma once

#include <string>
#include <vector>

#include "apertium.hpp"
#include "io/hdf5.hpp"
#include "lexicon.hpp"

/// Where lexica come from: dictd folders, Apertium's mode folder, compiled lexica in HDF5.
namespace fachwerk::wokie {

/// Whole file. gzip (dictzip) is undone.
std::string read_text_file(const std::string& path);

struct DictionaryFile {
  std::string from, to;  ///< ISO 639-3
  std::string stem;      ///< path without ".index"
};
/// FreeDict dictionaries in a folder (freedict-AAA-BBB.index), sorted by name. Missing folder: none.
std::vector<DictionaryFile> dictionaries_in(const std::string& folder);
std::vector<Dictionary> read_dictionaries(const std::vector<DictionaryFile>& files);
/// Names and sizes of the files: a compiled lexicon is current while this is equal.
std::string signature_of(const std::vector<DictionaryFile>& files);

std::vector<Mode> modes_in(const std::string& folder);

void write_lexicon(h5::Output& out, const Lexicon& lexicon, const std::string& signature);
/// Maps a compiled lexicon. One that is not `trusted` (our own cache is) is checked through first.
Lexicon read_lexicon(const std::string& path, bool trusted = false);
/// What a compiled lexicon was made from.
std::string lexicon_signature(const std::string& path);

}  // namespace fachwerk::wokie
