// Parsers of foreign text: the first byte chooses one. What they refuse is bad input; anything else is a fault.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "apertium.hpp"
#include "cli/error.hpp"
#include "consensus.hpp"
#include "dictd.hpp"
#include "http.hpp"
#include "language.hpp"
#include "llm.hpp"
#include "rdf.hpp"

using namespace fachwerk::wokie;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto graph = [&](Format format) {
    const Graph read = read_rdf(text, format, {.name = "fuzz", .base = "http://example.org/"});
    const Graph again = read_rdf(write_rdf(read, Format::ntriples), Format::ntriples, {.name = "again"});
    if (again.triples().size() != read.triples().size()) __builtin_trap();
  };
  try {
    switch (data[0] % 10) {
      case 0:
        graph(Format::rdfxml);
        break;
      case 1:
        graph(Format::turtle);
        break;
      case 2:
        graph(Format::trig);
        break;
      case 3:
        graph(Format::ntriples);
        break;
      case 4:
        graph(Format::jsonld);
        break;
      case 5:
        parse_entry(text, size % 2 == 0);
        break;
      case 6:
        parse_dictd(text.substr(0, text.size() / 2), text.substr(text.size() / 2));
        break;
      case 7:
        unframe_terms(text, 3);
        break;
      case 8:
        parse_selection(text, 3);
        parse_rating(text);
        cleaned_reply(text);
        break;
      default:
        parse_language_tag(text);
        parse_retry_after(text, 0);
    }
  } catch (const fachwerk::Error&) {
  }
  return 0;
}
