#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// Dictionaries in dictd form (FreeDict, Ding): an index of headwords with offsets, and the text of the entries.
namespace fachwerk::wokie {

enum Gender : std::uint8_t {
  gender_none = 0,
  gender_masculine = 1,
  gender_feminine = 2,
  gender_neuter = 4,
  gender_plural = 8
};
enum PartOfSpeech : std::uint8_t {
  pos_unknown = 0,
  pos_noun = 1,
  pos_verb = 2,
  pos_adjective = 3,
  pos_name = 4,
  pos_other = 5
};

struct DictWord {
  std::string text;
  std::uint8_t gender = gender_none;
  std::uint8_t pos = pos_unknown;
};

struct DictSense {
  DictWord word;            ///< a translation
  std::uint16_t rank;       ///< position among all translations of its entry, from 0
  std::string domain = {};  ///< "archaeol" from "[archaeol.]"
};

struct DictEntry {
  std::vector<DictWord> heads;
  std::vector<DictSense> senses;
};

/// dictd's own base 64: big-endian digits of A-Za-z0-9+/, no padding. Returns -1 for anything else.
std::int64_t dictd_number(std::string_view digits);

/// One entry: first line the heads, then the translations as FreeDict, WikDict and Ding write them.
/// `ding`: every line at the margin is a sense (in the others only the first one, or numbered ones).
DictEntry parse_entry(std::string_view text, bool ding);

/// All entries of a dictionary, each once. Damaged index lines are skipped and counted in `skipped`.
std::vector<DictEntry> parse_dictd(std::string_view index, std::string_view text, std::size_t* skipped = nullptr);

}  // namespace fachwerk::wokie
