// Turtle, TriG, N-Triples and N-Quads by serd.

#include <memory>
#include <unordered_map>

#include <fmt/format.h>
#include <serd/serd.h>

#include "cli/error.hpp"
#include "rdf.hpp"

namespace fachwerk::wokie {
namespace {

struct Source {
  std::string_view text;
  std::size_t at = 0;
};

size_t read_source(void* buffer, size_t size, size_t length, void* stream) {
  auto& source = *static_cast<Source*>(stream);
  const std::size_t bytes = std::min(size * length, source.text.size() - source.at);
  source.text.copy(static_cast<char*>(buffer), bytes, source.at);
  source.at += bytes;
  return bytes / size;
}

int source_error(void*) {
  return 0;
}

struct Reading {
  Graph graph;
  SerdEnv* env = nullptr;
  std::string error = {};  ///< first message
  bool absolute = false;   ///< N-Triples and N-Quads: no base, no prefixes
  std::string name;
  TermId last_subject = no_term, last_predicate = no_term;
  std::string last_subject_text = {}, last_predicate_text = {};
};

std::string_view view(const SerdNode* node) {
  return {reinterpret_cast<const char*>(node->buf), node->n_bytes};
}

void fail(Reading& reading, std::string message) {
  if (reading.error.empty()) reading.error = std::move(message);
}

TermId iri_of(Reading& reading, const SerdNode* node) {
  if (node->type == SERD_URI && is_absolute_iri(view(node))) return reading.graph.iri(view(node));
  if (reading.absolute) {
    fail(reading, fmt::format("\"{}\" is not an absolute IRI", view(node)));
    return 0;
  }
  SerdNode expanded = serd_env_expand_node(reading.env, node);
  if (expanded.buf == nullptr) {
    fail(reading, fmt::format("prefix of \"{}\" is not declared", view(node)));
    return 0;
  }
  const std::string text(view(&expanded));
  serd_node_free(&expanded);
  if (!is_absolute_iri(text)) {
    const bool relative = text.find(':') == std::string::npos;
    fail(reading, fmt::format("\"{}\" is {}", text,
                              relative ? "a relative IRI and there is no base (give --base IRI)" : "not a valid IRI"));
    return 0;
  }
  return reading.graph.iri(text);
}

TermId node_of(Reading& reading, const SerdNode* node, const SerdNode* datatype, const SerdNode* language) {
  switch (node->type) {
    case SERD_BLANK:
      return reading.graph.blank(view(node));
    case SERD_LITERAL: {
      const bool typed = datatype != nullptr && datatype->type != SERD_NOTHING;
      const bool tagged = language != nullptr && language->type != SERD_NOTHING;
      TermId type = typed ? iri_of(reading, datatype) : no_term;
      // A plain literal and one of type xsd:string are the same term in RDF 1.1.
      if (type != no_term && reading.graph.term(type).value == "http://www.w3.org/2001/XMLSchema#string")
        type = no_term;
      return reading.graph.literal(view(node), tagged ? view(language) : std::string_view{}, type);
    }
    default:
      return iri_of(reading, node);
  }
}

SerdStatus on_statement(void* handle, SerdStatementFlags, const SerdNode* graph, const SerdNode* subject,
                        const SerdNode* predicate, const SerdNode* object, const SerdNode* datatype,
                        const SerdNode* language) {
  auto& reading = *static_cast<Reading*>(handle);
  // Statements come grouped: the last subject and predicate are mostly this one's.
  if (reading.last_subject == no_term || view(subject) != reading.last_subject_text ||
      (subject->type == SERD_BLANK) != (reading.graph.term(reading.last_subject).kind == TermKind::blank)) {
    reading.last_subject = node_of(reading, subject, nullptr, nullptr);
    reading.last_subject_text.assign(view(subject));
  }
  if (reading.last_predicate == no_term || view(predicate) != reading.last_predicate_text) {
    reading.last_predicate = node_of(reading, predicate, nullptr, nullptr);
    reading.last_predicate_text.assign(view(predicate));
  }
  const TermId object_term = node_of(reading, object, datatype, language);
  if (!reading.error.empty()) return SERD_ERR_BAD_SYNTAX;
  if (graph != nullptr && graph->type != SERD_NOTHING) ++reading.graph.named_graph_statements;
  reading.graph.add(reading.last_subject, reading.last_predicate, object_term);
  return SERD_SUCCESS;
}

SerdStatus on_base(void* handle, const SerdNode* uri) {
  auto& reading = *static_cast<Reading*>(handle);
  reading.last_subject = reading.last_predicate = no_term;
  const SerdStatus status = serd_env_set_base_uri(reading.env, uri);
  if (status == SERD_SUCCESS) {
    const SerdNode* base = serd_env_get_base_uri(reading.env, nullptr);
    if (base != nullptr && base->buf != nullptr) reading.graph.base.assign(view(base));
  }
  return status;
}

SerdStatus on_prefix(void* handle, const SerdNode* name, const SerdNode* uri) {
  auto& reading = *static_cast<Reading*>(handle);
  reading.last_subject = reading.last_predicate = no_term;
  const SerdStatus status = serd_env_set_prefix(reading.env, name, uri);
  SerdNode expanded = serd_env_expand_node(reading.env, uri);
  if (expanded.buf != nullptr && is_absolute_iri(view(&expanded)))
    reading.graph.prefixes[std::string(view(name))] = std::string(view(&expanded));
  serd_node_free(&expanded);
  return status;
}

SerdStatus on_error(void* handle, const SerdError* error) {
  auto& reading = *static_cast<Reading*>(handle);
  if (!reading.error.empty()) return SERD_SUCCESS;
  char message[512];
  va_list arguments;
  va_copy(arguments, *error->args);
  std::vsnprintf(message, sizeof message, error->fmt, arguments);
  va_end(arguments);
  std::string text = message;
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  reading.error = fmt::format("{}:{}: {}", error->line, error->col, text);
  return SERD_SUCCESS;
}

SerdSyntax syntax_of(Format format) {
  switch (format) {
    case Format::ntriples:
      return SERD_NTRIPLES;
    case Format::nquads:
      return SERD_NQUADS;
    case Format::trig:
      return SERD_TRIG;
    default:
      return SERD_TURTLE;
  }
}

}  // namespace

Graph read_turtle_family(std::string_view text, Format format, const ReadOptions& options) {
  Reading reading;
  reading.absolute = format == Format::ntriples || format == Format::nquads;
  reading.name = options.name;
  reading.graph.base = options.base;
  const SerdNode base = options.base.empty()
                            ? SERD_NODE_NULL
                            : serd_node_from_string(SERD_URI, reinterpret_cast<const uint8_t*>(options.base.c_str()));
  const std::unique_ptr<SerdEnv, void (*)(SerdEnv*)> env(serd_env_new(&base), serd_env_free);
  reading.env = env.get();
  const std::unique_ptr<SerdReader, void (*)(SerdReader*)> reader(
      serd_reader_new(syntax_of(format), &reading, nullptr, on_base, on_prefix, on_statement, nullptr),
      serd_reader_free);
  serd_reader_set_strict(reader.get(), true);
  serd_reader_set_error_sink(reader.get(), on_error, &reading);
  Source source{text};
  const SerdStatus status = serd_reader_read_source(reader.get(), read_source, source_error, &source,
                                                    reinterpret_cast<const uint8_t*>(options.name.c_str()), 1u << 16);
  if (!reading.error.empty())
    throw bad_input("{}:{}", options.name,
                    reading.error.find(':') < 8 && std::isdigit(static_cast<unsigned char>(reading.error[0]))
                        ? reading.error
                        : " " + reading.error);
  if (status > SERD_FAILURE)
    throw bad_input("{}: {}", options.name, reinterpret_cast<const char*>(serd_strerror(status)));
  return std::move(reading.graph);
}

}  // namespace fachwerk::wokie
