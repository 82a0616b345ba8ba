#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph.hpp"

/// RDF serialisations. Readers take the whole text and throw bad input as "NAME:LINE:COLUMN: what is wrong".
namespace fachwerk::wokie {

enum class Format { rdfxml, turtle, ntriples, nquads, trig, jsonld };

std::optional<Format> format_of_name(std::string_view name);       ///< "turtle", "rdfxml", ...
std::optional<Format> format_of_extension(std::string_view path);  ///< ".ttl", ".rdf", ...
/// By content: XML, JSON, N-Triples or Turtle. Nothing for binary data.
std::optional<Format> sniff_format(std::string_view text);

struct ReadOptions {
  std::string name;       ///< of the file, for messages
  std::string base = {};  ///< resolves relative IRIs; a relative IRI without a base is bad input
};

/// Byte order marks and UTF-16 (XML) are accepted; other text must be UTF-8.
Graph read_rdf(std::string_view text, Format format, const ReadOptions& options);

/// Deterministic: prefixes and subjects sorted, blank nodes renamed canonically.
std::string write_rdf(const Graph& graph, Format format);

// The parts, one per library.
Graph read_rdfxml(std::string_view text, const ReadOptions& options);                        ///< raptor2
Graph read_turtle_family(std::string_view text, Format format, const ReadOptions& options);  ///< serd
Graph read_jsonld(std::string_view text, const ReadOptions& options);
std::string write_turtle(const Graph& graph);
std::string write_ntriples(const Graph& graph);
std::string write_rdfxml(const Graph& graph);
std::string write_jsonld(const Graph& graph);

/// True for an absolute IRI: a scheme, and none of the characters that an IRI must not hold.
bool is_absolute_iri(std::string_view iri);
/// Resolves a reference against a base (RFC 3986, section 5.2).
std::string resolve_iri(std::string_view base, std::string_view reference);

}  // namespace fachwerk::wokie
