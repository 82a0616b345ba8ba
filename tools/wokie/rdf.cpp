#include "rdf.hpp"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "cli/error.hpp"
#include "unicode.hpp"

namespace fachwerk::wokie {
namespace {

bool starts_with_keyword(std::string_view text, std::string_view keyword) {
  return text.size() >= keyword.size() && std::equal(keyword.begin(), keyword.end(), text.begin(), [](char a, char b) {
           return std::tolower(a) == std::tolower(static_cast<unsigned char>(b));
         });
}

/// The text without its byte order mark, UTF-16 turned into UTF-8 where the format is XML.
std::string decoded(std::string_view text, Format format, const std::string& name) {
  const auto starts = [&](std::string_view mark) { return text.substr(0, mark.size()) == mark; };
  if (starts("\xEF\xBB\xBF")) return std::string(text.substr(3));
  const bool big = starts("\xFE\xFF") || starts(std::string_view("\0<", 2));
  const bool little = starts("\xFF\xFE") || starts(std::string_view("<\0", 2));
  if (!big && !little) return std::string(text);
  if (format != Format::rdfxml) throw bad_input("{}:1:1: UTF-16 text; expected UTF-8", name);
  const bool marked = starts("\xFE\xFF") || starts("\xFF\xFE");
  std::string out = utf16_to_utf8(text.substr(marked ? 2 : 0), big);
  // The declaration still names the old encoding.
  if (out.starts_with("<?xml")) {
    const std::size_t end = out.find("?>");
    if (end != std::string::npos) out.replace(0, end + 2, "<?xml version=\"1.0\"?>");
  }
  return out;
}

void require_utf8(std::string_view text, const std::string& name) {
  const auto error = utf8_error(text);
  if (!error) return;
  const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(*error), '\n');
  const std::size_t start = text.substr(0, *error).rfind('\n');
  const std::size_t column = *error - (start == std::string_view::npos ? 0 : start + 1) + 1;
  throw bad_input("{}:{}:{}: byte 0x{:02X} is not UTF-8", name, line, column, static_cast<unsigned char>(text[*error]));
}

}  // namespace

std::optional<Format> format_of_name(std::string_view name) {
  if (name == "rdfxml" || name == "xml") return Format::rdfxml;
  if (name == "turtle" || name == "ttl") return Format::turtle;
  if (name == "ntriples" || name == "nt") return Format::ntriples;
  if (name == "nquads" || name == "nq") return Format::nquads;
  if (name == "trig") return Format::trig;
  if (name == "jsonld") return Format::jsonld;
  return std::nullopt;
}

std::optional<Format> format_of_extension(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string extension = lower(path.substr(dot + 1));
  if (extension == "rdf" || extension == "owl" || extension == "xml") return Format::rdfxml;
  if (extension == "json") return Format::jsonld;
  return format_of_name(extension);
}

std::optional<Format> sniff_format(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  if (text.starts_with("\xFE\xFF") || text.starts_with("\xFF\xFE") || text.starts_with(std::string_view("<\0", 2)) ||
      text.starts_with(std::string_view("\0<", 2)))
    return Format::rdfxml;
  std::size_t at = 0;
  while (at < text.size()) {  // skip blanks and comments
    if (std::isspace(static_cast<unsigned char>(text[at])))
      ++at;
    else if (text[at] == '#')
      at = std::min(text.find('\n', at), text.size());
    else
      break;
  }
  const std::string_view rest = text.substr(at);
  if (rest.empty()) return Format::turtle;
  if (rest.find('\0') < 64) return std::nullopt;
  if (rest[0] == '{' ||
      (rest[0] == '[' && rest.find_first_not_of(" \t\r\n", 1) != std::string_view::npos &&
       std::string_view("{[]\"").find(rest[rest.find_first_not_of(" \t\r\n", 1)]) != std::string_view::npos))
    return Format::jsonld;
  if (rest[0] != '<') return Format::turtle;
  if (starts_with_keyword(rest, "<?xml") || rest.starts_with("<!") || rest.starts_with("<rdf:RDF"))
    return Format::rdfxml;
  const std::size_t end = rest.find_first_of("> \n");
  // <...> is an IRI in Turtle; an RDF/XML root has attributes, its namespaces at least.
  return end != std::string_view::npos && rest[end] == '>' ? Format::turtle : Format::rdfxml;
}

Graph read_rdf(std::string_view text, Format format, const ReadOptions& options) {
  const std::string content = decoded(text, format, options.name);
  const bool declared = format == Format::rdfxml && content.substr(0, 200).find("encoding=") != std::string::npos;
  if (!declared) require_utf8(content, options.name);  // an XML declaration may name another encoding
  switch (format) {
    case Format::rdfxml:
      return read_rdfxml(content, options);
    case Format::jsonld:
      return read_jsonld(content, options);
    default:
      return read_turtle_family(content, format, options);
  }
}

std::string write_rdf(const Graph& graph, Format format) {
  switch (format) {
    case Format::rdfxml:
      return write_rdfxml(graph);
    case Format::jsonld:
      return write_jsonld(graph);
    case Format::ntriples:
    case Format::nquads:
      return write_ntriples(graph);
    default:
      return write_turtle(graph);
  }
}

bool is_absolute_iri(std::string_view iri) {
  const std::size_t colon = iri.find(':');
  if (colon == std::string_view::npos || colon == 0 || !std::isalpha(static_cast<unsigned char>(iri[0]))) return false;
  for (const char c : iri.substr(0, colon))
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '+' && c != '-' && c != '.') return false;
  return std::none_of(iri.begin(), iri.end(), [](char c) {
    return static_cast<unsigned char>(c) <= 0x20 || std::string_view("<>\"{}|^`\\").find(c) != std::string_view::npos;
  });
}

namespace {

struct IriParts {
  std::string_view scheme, authority, path, query, fragment;
  bool has_authority = false, has_query = false, has_fragment = false;
};

IriParts parts_of(std::string_view iri) {
  IriParts out;
  if (const std::size_t hash = iri.find('#'); hash != std::string_view::npos) {
    out.fragment = iri.substr(hash + 1);
    out.has_fragment = true;
    iri = iri.substr(0, hash);
  }
  if (const std::size_t mark = iri.find('?'); mark != std::string_view::npos) {
    out.query = iri.substr(mark + 1);
    out.has_query = true;
    iri = iri.substr(0, mark);
  }
  const std::size_t colon = iri.find(':');
  if (colon != std::string_view::npos && colon > 0 && iri.substr(0, colon).find('/') == std::string_view::npos &&
      std::isalpha(static_cast<unsigned char>(iri[0]))) {
    out.scheme = iri.substr(0, colon);
    iri.remove_prefix(colon + 1);
  }
  if (iri.starts_with("//")) {
    const std::size_t slash = iri.find('/', 2);
    out.has_authority = true;
    out.authority = iri.substr(2, slash == std::string_view::npos ? slash : slash - 2);
    iri = slash == std::string_view::npos ? std::string_view{} : iri.substr(slash);
  }
  out.path = iri;
  return out;
}

std::string without_dot_segments(std::string_view path) {
  std::vector<std::string_view> kept;
  const bool rooted = path.starts_with('/');
  auto segments = split(rooted ? path.substr(1) : path, '/');
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const bool last = i + 1 == segments.size();
    if (segments[i] == ".") {
      if (last) kept.emplace_back();
    } else if (segments[i] == "..") {
      if (!kept.empty()) kept.pop_back();
      if (last) kept.emplace_back();
    } else {
      kept.push_back(segments[i]);
    }
  }
  std::string out = rooted ? "/" : "";
  for (std::size_t i = 0; i < kept.size(); ++i) {
    if (i > 0) out += '/';
    out += kept[i];
  }
  return out;
}

}  // namespace

std::string resolve_iri(std::string_view base, std::string_view reference) {
  const IriParts r = parts_of(reference), b = parts_of(base);
  if (!r.scheme.empty()) return std::string(reference);
  std::string path;
  std::string_view query = r.query;
  bool has_query = r.has_query;
  std::string_view authority = b.authority;
  bool has_authority = b.has_authority;
  if (r.has_authority) {
    authority = r.authority;
    has_authority = true;
    path = without_dot_segments(r.path);
  } else if (r.path.empty()) {
    path = std::string(b.path);
    if (!r.has_query) {
      query = b.query;
      has_query = b.has_query;
    }
  } else if (r.path.starts_with('/')) {
    path = without_dot_segments(r.path);
  } else {
    std::string merged;
    if (b.has_authority && b.path.empty())
      merged = "/";
    else if (const std::size_t slash = b.path.rfind('/'); slash != std::string_view::npos)
      merged = std::string(b.path.substr(0, slash + 1));
    path = without_dot_segments(merged + std::string(r.path));
  }
  std::string out = std::string(b.scheme) + ":";
  if (has_authority) out += "//" + std::string(authority);
  out += path;
  if (has_query) out += "?" + std::string(query);
  if (r.has_fragment) out += "#" + std::string(r.fragment);
  return out;
}

}  // namespace fachwerk::wokie
