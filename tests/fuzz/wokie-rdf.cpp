// RDF in every serialisation: the first byte chooses one. What is refused is bad input; what is read must survive being
// written and read again.
#include <cstddef>
#include <cstdint>
#include <string>

#include "cli/error.hpp"
#include "rdf.hpp"
#include "thesaurus.hpp"

using namespace fachwerk::wokie;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  constexpr Format formats[] = {Format::rdfxml, Format::turtle, Format::trig, Format::ntriples, Format::jsonld};
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    const Graph read = read_rdf(text, formats[data[0] % 5], {.name = "fuzz", .base = "http://example.org/"});
    thesaurus_of(read, {});
    const Graph again = read_rdf(write_rdf(read, Format::ntriples), Format::ntriples, {.name = "again"});
    if (again.triples().size() != read.triples().size()) __builtin_trap();
  } catch (const fachwerk::Error& error) {
    if (error.code() != fachwerk::Exit::bad_input) __builtin_trap();
  }
  return 0;
}
