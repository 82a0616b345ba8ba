// Dictionaries, engine output, labels and tags: nothing here is refused, whatever it is.
#include <cstddef>
#include <cstdint>
#include <string>

#include "apertium.hpp"
#include "dictd.hpp"
#include "http.hpp"
#include "labels.hpp"
#include "language.hpp"
#include "lexicon.hpp"
#include "unicode.hpp"

using namespace fachwerk::wokie;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      parse_entry(text, size % 2 == 0);
      break;
    case 1: {
      Dictionary dictionary{"eng", "deu", parse_dictd(text.substr(0, text.size() / 2), text.substr(text.size() / 2))};
      const Lexicon lexicon = build_lexicon({dictionary});
      for (const DictEntry& entry : dictionary.entries)
        for (const DictWord& head : entry.heads)
          lexicon.pivoted("eng", "deu", fold(head.text));
      break;
    }
    case 2:
      unframe_terms(text, 3);
      break;
    default:
      parse_language_tag(text);
      parse_retry_after(text, 0);
      english_compound(text);
      split_qualifier(text);
      for (const char* language : {"de", "en", "fr", "es", "it", "pt", "nl"})
        number_folded(text, language);
  }
  return 0;
}
