// RDF/XML by raptor2 (on libxml2's SAX interface).

#include <memory>
#include <regex>

#include <fmt/format.h>
#include <raptor2/raptor2.h>

#include "cli/error.hpp"
#include "rdf.hpp"

namespace fachwerk::wokie {
namespace {

struct Reading {
  Graph graph;
  std::string error = {};
  bool has_base = false;
};

void on_log(void* handle, raptor_log_message* message) {
  auto& reading = *static_cast<Reading*>(handle);
  if (message->level < RAPTOR_LOG_LEVEL_ERROR || !reading.error.empty()) return;
  const int line = message->locator != nullptr ? message->locator->line : 0;
  const int column = message->locator != nullptr ? message->locator->column : 0;
  reading.error = fmt::format("{}:{}: {}", std::max(line, 1), std::max(column, 1), message->text);
}

// Relative references resolve against this when the caller gave no base; finding it in a result means there was none.
constexpr const char* no_base = "fachwerk-no-base:///";

TermId iri_of(Reading& reading, raptor_uri* uri) {
  size_t length = 0;
  const char* text = reinterpret_cast<const char*>(raptor_uri_as_counted_string(uri, &length));
  const std::string_view value(text, length);
  if (!reading.has_base && value.starts_with(no_base) && reading.error.empty())
    reading.error = fmt::format(" \"{}\" is a relative IRI and there is no base (give --base IRI)",
                                value.substr(std::string_view(no_base).size()));
  return reading.graph.iri(value);
}

TermId term_of(Reading& reading, const raptor_term* term) {
  const auto view = [](const unsigned char* text, std::size_t length) {
    return std::string_view(reinterpret_cast<const char*>(text), length);
  };
  switch (term->type) {
    case RAPTOR_TERM_TYPE_BLANK:
      return reading.graph.blank(view(term->value.blank.string, term->value.blank.string_len));
    case RAPTOR_TERM_TYPE_LITERAL: {
      const auto& literal = term->value.literal;
      TermId type = literal.datatype != nullptr ? iri_of(reading, literal.datatype) : no_term;
      if (type != no_term && reading.graph.term(type).value == "http://www.w3.org/2001/XMLSchema#string")
        type = no_term;
      const std::string_view language =
          literal.language != nullptr ? view(literal.language, literal.language_len) : std::string_view{};
      return reading.graph.literal(view(literal.string, literal.string_len), language, type);
    }
    default:
      return iri_of(reading, term->value.uri);
  }
}

void on_statement(void* handle, raptor_statement* statement) {
  auto& reading = *static_cast<Reading*>(handle);
  const TermId subject = term_of(reading, statement->subject);
  const TermId predicate = term_of(reading, statement->predicate);
  reading.graph.add(subject, predicate, term_of(reading, statement->object));
}

void on_namespace(void* handle, raptor_namespace* space) {
  auto& reading = *static_cast<Reading*>(handle);
  const unsigned char* prefix = raptor_namespace_get_prefix(space);
  raptor_uri* uri = raptor_namespace_get_uri(space);
  if (uri == nullptr) return;
  const std::string iri = reinterpret_cast<const char*>(raptor_uri_as_string(uri));
  if (iri.starts_with("http://www.w3.org/XML/1998/namespace") || !is_absolute_iri(iri)) return;
  reading.graph.prefixes.emplace(prefix == nullptr ? "" : reinterpret_cast<const char*>(prefix), iri);
}

/// Entities may abbreviate IRIs (many editors write them so). External ones and entities made of entities are refused:
/// they read files, or grow without bound.
void refuse_dangerous_entities(std::string_view text, const std::string& name) {
  const std::size_t end = std::min(text.find("<rdf:RDF"), text.size());
  const std::string head(text.substr(0, std::min<std::size_t>(end, 1u << 20)));
  std::size_t at = 0;
  while ((at = head.find("<!ENTITY", at)) != std::string::npos) {
    const std::size_t close = head.find('>', at);
    const std::string declaration = head.substr(at, close == std::string::npos ? close : close - at);
    const auto line = 1 + std::count(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    static const std::regex external(R"(<!ENTITY\s+(%\s+)?\S+\s+(SYSTEM|PUBLIC)\b)");
    static const std::regex nested(R"(&[^#;]+;|<!ENTITY\s+%)");
    if (std::regex_search(declaration, external)) throw bad_input("{}:{}:1: external entity refused", name, line);
    if (std::regex_search(declaration, nested)) throw bad_input("{}:{}:1: entity made of entities refused", name, line);
    at += 8;
  }
}

struct RaptorDeleter {
  void operator()(raptor_world* world) const { raptor_free_world(world); }
  void operator()(raptor_parser* parser) const { raptor_free_parser(parser); }
  void operator()(raptor_uri* uri) const { raptor_free_uri(uri); }
};

}  // namespace

Graph read_rdfxml(std::string_view text, const ReadOptions& options) {
  refuse_dangerous_entities(text, options.name);
  Reading reading;
  reading.has_base = !options.base.empty();
  reading.graph.base = options.base;
  const std::unique_ptr<raptor_world, RaptorDeleter> world(raptor_new_world());
  if (!world || raptor_world_open(world.get()) != 0) throw absent_error("raptor2 does not start");
  raptor_world_set_log_handler(world.get(), &reading, on_log);
  const std::unique_ptr<raptor_parser, RaptorDeleter> parser(raptor_new_parser(world.get(), "rdfxml"));
  if (!parser) throw absent_error("raptor2 has no RDF/XML parser");
  raptor_parser_set_option(parser.get(), RAPTOR_OPTION_NO_NET, nullptr, 1);
  raptor_parser_set_option(parser.get(), RAPTOR_OPTION_NO_FILE, nullptr, 1);
  raptor_parser_set_option(parser.get(), RAPTOR_OPTION_LOAD_EXTERNAL_ENTITIES, nullptr, 0);
  raptor_parser_set_statement_handler(parser.get(), &reading, on_statement);
  raptor_parser_set_namespace_handler(parser.get(), &reading, on_namespace);
  const std::string base = reading.has_base ? options.base : no_base;
  const std::unique_ptr<raptor_uri, RaptorDeleter> uri(
      raptor_new_uri(world.get(), reinterpret_cast<const unsigned char*>(base.c_str())));
  raptor_parser_parse_start(parser.get(), uri.get());
  constexpr std::size_t block = 1u << 16;
  for (std::size_t at = 0; at < text.size() && reading.error.empty(); at += block) {
    const std::string_view part = text.substr(at, block);
    raptor_parser_parse_chunk(parser.get(), reinterpret_cast<const unsigned char*>(part.data()), part.size(),
                              at + block >= text.size());
  }
  if (text.empty()) throw bad_input("{}:1:1: no RDF/XML: the file is empty", options.name);
  if (!reading.error.empty()) throw bad_input("{}:{}", options.name, reading.error);
  return std::move(reading.graph);
}

}  // namespace fachwerk::wokie
