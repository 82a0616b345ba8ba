#include "document.hpp"

#include <algorithm>
#include <cstring>
#include <future>
#include <map>
#include <set>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "cli/session.hpp"
#include "io/bytes.hpp"
#include "labels.hpp"
#include "language.hpp"
#include "sha256.hpp"
#include "unicode.hpp"
#include "vocabulary.hpp"

namespace fachwerk::wokie {
namespace {

constexpr std::string_view hdf5_magic = "\x89HDF\r\n\x1a\n";

/// Replaces stdin by a copy in memory, so that it can be looked at and then read by whoever understands it.
void spool_stdin() {
  static bool done = false;
  if (done) return;
  done = true;
  const int copy = memfd_create("stdin", MFD_CLOEXEC);
  if (copy < 0) throw io_error("stdin: {}", std::strerror(errno));
  std::vector<char> block(1u << 20);
  for (;;) {
    const ssize_t n = read(0, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw io_error("stdin: {}", std::strerror(errno));
    if (n == 0) break;
    for (ssize_t sent = 0; sent < n;) {
      const ssize_t m = write(copy, block.data() + sent, static_cast<std::size_t>(n - sent));
      if (m < 0) throw io_error("stdin: {}", std::strerror(errno));
      sent += m;
    }
  }
  lseek(copy, 0, SEEK_SET);
  dup2(copy, 0);
  close(copy);
}

bool is_hdf5(const std::string& path) {
  char head[8] = {};
  if (path == "-") {
    spool_stdin();
    return pread(0, head, sizeof head, 0) == 8 && std::string_view(head, 8) == hdf5_magic;
  }
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw io_error("{}: {}", path, std::strerror(errno));
  const ssize_t n = read(file, head, sizeof head);
  close(file);
  return n == 8 && std::string_view(head, 8) == hdf5_magic;
}

h5::Describe column(const char* name, const char* axis) {
  return {.units = "1", .long_name = name, .dims = {axis}};
}

Graph read_graph(const h5::Input& in) {
  in.require_kind({"thesaurus", "wokie-thesaurus"});
  for (const char* path : {"/terms/value", "/terms/kind", "/triples"})
    if (!in.exists(path)) throw bad_input("{}:{}: missing; expected the layout of kind thesaurus", in.name(), path);
  const std::vector<std::string> value = in.strings("/terms/value");
  const std::size_t n = value.size();
  const auto kind = in.column<std::uint8_t>("/terms/kind", n);
  const auto language = in.column<std::int32_t>("/terms/lang", n);
  const auto datatype = in.column<std::int64_t>("/terms/datatype", n);
  const std::vector<std::string> tags = in.strings("/langs/tag");
  const auto triples = in.read<std::int64_t>("/triples", {.axes = {"triples", "s,p,o"}, .shape = {0, 3}});
  Graph graph;
  graph.base = in.text("/", "base").value_or("");
  if (in.exists("/prefixes/prefix")) {
    const auto prefix = in.strings("/prefixes/prefix");
    const auto iri = in.strings("/prefixes/iri", prefix.size());
    for (std::size_t i = 0; i < prefix.size(); ++i)
      graph.prefixes[prefix[i]] = iri[i];
  }
  std::vector<TermId> id(n, no_term);
  const auto intern = [&](std::size_t i, auto& self) -> TermId {
    if (id[i] != no_term) return id[i];
    if (kind[i] > 2) throw bad_input("{}:/terms/kind[{}]: expected 0, 1 or 2, found {}", in.name(), i, kind[i]);
    const auto where = static_cast<TermKind>(kind[i]);
    if (where == TermKind::iri) return id[i] = graph.iri(value[i]);
    if (where == TermKind::blank) return id[i] = graph.blank(value[i]);
    if (language[i] >= static_cast<std::int64_t>(tags.size()))
      throw bad_input("{}:/terms/lang[{}]: {} is past the {} entries of /langs/tag", in.name(), i, language[i],
                      tags.size());
    TermId type = no_term;
    if (datatype[i] >= 0) {
      if (datatype[i] >= static_cast<std::int64_t>(n) || kind[static_cast<std::size_t>(datatype[i])] != 0)
        throw bad_input("{}:/terms/datatype[{}]: expected the index of an IRI, found {}", in.name(), i, datatype[i]);
      type = self(static_cast<std::size_t>(datatype[i]), self);
    }
    const std::string_view tag =
        language[i] < 0 ? std::string_view{} : std::string_view(tags[static_cast<std::size_t>(language[i])]);
    return id[i] = graph.literal(value[i], tag, type);
  };
  for (std::size_t i = 0; i < n; ++i) {
    if (utf8_error(value[i])) throw bad_input("{}:/terms/value[{}]: not UTF-8", in.name(), i);
    intern(i, intern);
  }
  const std::size_t rows = triples.shape[0];
  std::vector<std::int64_t> order(rows);
  for (std::size_t i = 0; i < rows; ++i)
    order[i] = static_cast<std::int64_t>(i);
  if (in.exists("/triple_order")) {
    const auto place = in.column<std::int64_t>("/triple_order", rows);
    std::vector<char> seen(rows, 0);
    for (std::size_t i = 0; i < rows; ++i) {
      if (place[i] < 0 || place[i] >= static_cast<std::int64_t>(rows) || seen[static_cast<std::size_t>(place[i])])
        throw bad_input("{}:/triple_order[{}]: expected a permutation of 0..{}", in.name(), i, rows - 1);
      seen[static_cast<std::size_t>(place[i])] = 1;
      order[static_cast<std::size_t>(place[i])] = static_cast<std::int64_t>(i);
    }
  }
  for (const std::int64_t i : order) {
    const std::int64_t* row = triples.values.data() + 3 * i;
    for (int c = 0; c < 3; ++c)
      if (row[c] < 0 || row[c] >= static_cast<std::int64_t>(n))
        throw bad_input("{}:/triples[{},{}]: {} is no index of /terms ({} terms)", in.name(), i, c, row[c], n);
    const auto term = [&](int c) { return id[static_cast<std::size_t>(row[c])]; };
    if (graph.term(term(0)).kind == TermKind::literal || graph.term(term(1)).kind != TermKind::iri)
      throw bad_input("{}:/triples[{}]: a literal is no subject, only an IRI is a predicate", in.name(), i);
    graph.add(term(0), term(1), term(2));
  }
  return graph;
}

void write_adjacency(h5::Output& out, const std::string& name, const Adjacency& list) {
  out.column("/concepts/" + name + "_ptr", list.start,
             column("first entry of each concept in the index list", "concept_or_end"));
  out.column("/concepts/" + name + "_idx", list.target, column("concept index", "entry"));
}

void write_translations(h5::Output& out, const std::vector<TranslationRecord>& records, const Thesaurus& view) {
  const auto label_of = [&](std::int64_t owner, std::int64_t literal) -> std::int64_t {
    const auto c = static_cast<std::size_t>(owner);
    for (std::size_t i = view.label_begin(c); i < view.label_end(c); ++i)
      if (view.labels[i].text == literal) return static_cast<std::int64_t>(i);
    return -1;
  };
  std::vector<std::int64_t> owner, pointer = {0}, source;
  std::vector<std::uint8_t> property, status, method, flags;
  std::vector<std::string> language, text, reason, candidate_text, candidate_service;
  std::vector<float> confidence, agreement, weight, probability;
  std::vector<std::int64_t> group;
  for (const TranslationRecord& r : records) {
    owner.push_back(r.concept_index);
    property.push_back(static_cast<std::uint8_t>(r.property));
    language.push_back(r.target_language);
    text.push_back(r.text);
    confidence.push_back(static_cast<float>(r.confidence));
    agreement.push_back(static_cast<float>(r.agreement));
    status.push_back(r.status);
    method.push_back(static_cast<std::uint8_t>(r.method));
    reason.push_back(r.reason);
    for (const Candidate& c : r.candidates) {
      candidate_text.push_back(c.text);
      candidate_service.push_back(c.service);
      source.push_back(c.source < 0 ? -1 : label_of(r.concept_index, c.source));
      probability.push_back(static_cast<float>(c.probability));
      group.push_back(c.group);
      weight.push_back(static_cast<float>(c.weight));
      flags.push_back(c.partial ? 1 : 0);
    }
    pointer.push_back(static_cast<std::int64_t>(candidate_text.size()));
  }
  out.column("/translations/concept", owner, column("concept index", "translation"));
  out.column("/translations/property", property, column("label property", "translation"));
  out.strings("/translations/target_lang", language, column("target language", "translation"));
  out.strings("/translations/text", text, column("label chosen, empty if none", "translation"));
  out.column("/translations/confidence", confidence, column("calibrated probability of being right", "translation"));
  out.column("/translations/agreement", agreement, column("share of the candidates that agree", "translation"));
  out.column("/translations/status", status, column("0 machine, 1 reviewed, 2 held back", "translation"));
  out.column("/translations/method", method,
             column("0 primary, 1 secondary = primary, 2 rated, 3 fallback, 4 memory, 255 none", "translation"));
  out.strings("/translations/reason", reason, column("why nothing or not the first choice", "translation"));
  out.column("/translations/cand_ptr", pointer, column("first candidate of each translation", "translation_or_end"));
  out.strings("/candidates/text", candidate_text, column("candidate", "candidate"));
  out.strings("/candidates/service", candidate_service, column("who proposed it", "candidate"));
  out.column("/candidates/source_label", source, column("source label (/labels), -1 for none", "candidate"));
  out.column("/candidates/group", group, column("independence group, -1 without a vote", "candidate"));
  out.column("/candidates/probability", probability, column("share among what its voter proposed", "candidate"));
  out.column("/candidates/weight", weight, column("weight in the vote", "candidate"));
  out.column("/candidates/flags", flags, column("1 partial", "candidate"));
}

void write_services(h5::Output& out, const std::vector<ServiceRecord>& services) {
  std::vector<std::string> name, endpoint, model;
  std::vector<std::int64_t> calls, chars, failures;
  std::vector<double> cost;
  for (const ServiceRecord& s : services) {
    name.push_back(s.name), endpoint.push_back(s.endpoint), model.push_back(s.model);
    calls.push_back(s.calls), chars.push_back(s.chars), failures.push_back(s.failures), cost.push_back(s.cost);
  }
  out.strings("/services/name", name, column("service", "service"));
  out.strings("/services/endpoint", endpoint, column("base URL", "service"));
  out.strings("/services/model", model, column("model", "service"));
  out.column("/services/calls", calls, column("requests sent", "service"));
  out.column("/services/chars", chars, column("characters sent", "service"));
  out.column("/services/failures", failures, column("requests that failed for good", "service"));
  out.column("/services/cost", cost, {.units = "USD", .long_name = "estimated cost", .dims = {"service"}});
}

void write_hdf5(const cli::Session& session, const Document& document, const std::string& path,
                const SaveOptions& options) {
  const Graph& graph = document.graph;
  const Thesaurus view = thesaurus_of(graph, options.view);
  h5::Output out = h5::Output::create(path, session.force, 64 * graph.triples().size());
  out.stamp(session, "thesaurus", document.source ? &*document.source : nullptr);
  out.attribute("/", "base", graph.base);
  out.attribute("/", "source_file", document.name);
  out.attribute("/", "source_sha256", document.sha256);

  std::map<std::string, std::int32_t, std::less<>> tag_of;
  std::vector<std::string> tags;
  const auto tag_index = [&](std::string_view tag) -> std::int32_t {
    if (tag.empty()) return -1;
    const auto [found, added] = tag_of.try_emplace(std::string(tag), static_cast<std::int32_t>(tags.size()));
    if (added) tags.emplace_back(tag);
    return found->second;
  };
  for (const std::string& tag : view.languages)
    tag_index(tag);
  const std::size_t n = graph.term_count();
  std::vector<std::string> value(n);
  std::vector<std::uint8_t> kind(n);
  std::vector<std::int32_t> language(n);
  std::vector<std::int64_t> datatype(n);
  for (std::size_t i = 0; i < n; ++i) {
    const Term& term = graph.term(static_cast<TermId>(i));
    value[i] = term.value;
    kind[i] = static_cast<std::uint8_t>(term.kind);
    language[i] = tag_index(term.language);
    datatype[i] = term.datatype;
  }
  out.strings("/terms/value", value, column("IRI, blank node label or lexical form", "term"));
  out.column("/terms/kind", kind, column("0 IRI, 1 blank node, 2 literal", "term"));
  out.column("/terms/lang", language, column("index of /langs/tag, -1 without", "term"));
  out.column("/terms/datatype", datatype, column("term index of the datatype, -1 without", "term"));
  out.strings("/langs/tag", tags, column("language tag as spelled", "language"));
  std::vector<std::size_t> order(graph.triples().size());
  for (std::size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return graph.triples()[a] < graph.triples()[b]; });
  std::vector<std::int64_t> triples, place;
  for (const std::size_t i : order) {
    for (const TermId term : graph.triples()[i])
      triples.push_back(term);
    place.push_back(static_cast<std::int64_t>(i));
  }
  out.write("/triples", triples, {order.size(), 3},
            {.units = "1",
             .long_name = "term indices of subject, predicate, object; ascending",
             .dims = {"triple", "s,p,o"}});
  out.column("/triple_order", place, column("place of each triple in the document", "triple"));
  std::vector<std::string> prefix, iri;
  for (const auto& [name, space] : graph.prefixes)
    prefix.push_back(name), iri.push_back(space);
  out.strings("/prefixes/prefix", prefix, column("prefix", "prefix"));
  out.strings("/prefixes/iri", iri, column("namespace", "prefix"));

  out.column("/concepts/term", std::vector<std::int64_t>(view.concepts.begin(), view.concepts.end()),
             column("term index of each concept", "concept"));
  out.column("/concepts/scheme", view.scheme, column("scheme index, -1 without", "concept"));
  out.column("/concepts/depth", view.depth, column("steps below a top concept", "concept"));
  write_adjacency(out, "broader", view.broader);
  write_adjacency(out, "narrower", view.narrower);
  write_adjacency(out, "related", view.related);
  std::vector<std::int64_t> owner, text;
  std::vector<std::uint8_t> property;
  std::vector<std::int32_t> label_language;
  for (const Label& label : view.labels) {
    owner.push_back(label.concept_index);
    property.push_back(static_cast<std::uint8_t>(label.property));
    text.push_back(label.text);
    label_language.push_back(label.language < 0 ? -1
                                                : tag_of.at(view.languages[static_cast<std::size_t>(label.language)]));
  }
  out.column("/labels/concept", owner, column("concept index", "label"));
  out.column("/labels/property", property,
             column("0 prefLabel, 1 altLabel, 2 hiddenLabel, 3 definition, 4 scopeNote, 5 note, 6 example, 7 "
                    "changeNote, 8 editorialNote, 9 historyNote, 10 title, 11 description",
                    "label"));
  out.column("/labels/text", text, column("term index of the literal", "label"));
  out.column("/labels/lang", label_language, column("index of /langs/tag, -1 without", "label"));
  if (options.translations != nullptr) write_translations(out, *options.translations, view);
  if (options.services != nullptr) write_services(out, *options.services);
  if (document.source)
    out.carry(*document.source, {"/terms", "/triples", "/triple_order", "/langs", "/prefixes", "/concepts", "/labels"});
  out.commit();
}

std::string xml_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

}  // namespace

namespace {

Graph read_foreign(std::string_view text, const std::string& path, const std::string& name,
                   const LoadOptions& options) {
  if (options.format == "csv" || options.format == "tsv" ||
      (options.format.empty() && (path.ends_with(".csv") || path.ends_with(".tsv"))))
    return read_table(text, name, options.format == "tsv" || path.ends_with(".tsv") ? '\t' : ',');
  std::optional<Format> format = options.format.empty() ? sniff_format(text) : format_of_name(options.format);
  if (!format) {
    if (!options.format.empty()) throw usage_error("--from-format {}: not a format that can be read", options.format);
    throw bad_input("{}:1:1: neither RDF (XML, Turtle, N-Triples, JSON-LD) nor HDF5", name);
  }
  // Turtle and TriG look alike from the front: the name decides.
  if (options.format.empty() && *format == Format::turtle)
    if (const auto named = format_of_extension(path); named && *named != Format::rdfxml && *named != Format::jsonld)
      format = named;
  return read_rdf(text, *format, {.name = name, .base = options.base});
}

}  // namespace

Document load_document(const std::string& path, const LoadOptions& options) {
  Document out;
  if ((options.format.empty() && is_hdf5(path)) || options.format == "hdf5") {
    out.source = h5::Input::open(path);
    out.name = out.source->name();
    out.graph = read_graph(*out.source);
    out.sha256 = out.source->text("/", "source_sha256").value_or("");
    return out;
  }
  const formats::File file = formats::File::open(path);
  out.name = file.name();
  auto digest = std::async([text = file.text()] { return sha256(text); });  // beside the parser
  out.graph = read_foreign(file.text(), path, out.name, options);
  out.sha256 = digest.get();
  return out;
}

void require_concepts(const Document& document, const Thesaurus& thesaurus) {
  if (thesaurus.concepts.empty())
    throw bad_input("{}: no skos:Concept among {} triples", document.name, document.graph.triples().size());
}

std::string output_format(const std::string& given, const std::string& path) {
  if (!given.empty()) return given;
  for (const char* name : {"csv", "tsv", "tbx", "tmx"})
    if (path.ends_with(std::string(".") + name)) return name;
  if (const auto format = format_of_extension(path)) {
    switch (*format) {
      case Format::rdfxml:
        return "rdfxml";
      case Format::turtle:
        return "turtle";
      case Format::ntriples:
        return "ntriples";
      case Format::nquads:
        return "nquads";
      case Format::trig:
        return "trig";
      case Format::jsonld:
        return "jsonld";
    }
  }
  return "hdf5";
}

void save_document(const cli::Session& session, const Document& document, const std::string& path,
                   const SaveOptions& options) {
  if (options.format == "hdf5") return write_hdf5(session, document, path, options);
  std::string text;
  if (const auto format = format_of_name(options.format)) {
    text = write_rdf(document.graph, *format);
  } else {
    const Thesaurus view = thesaurus_of(document.graph, options.view);
    if (options.format == "csv" || options.format == "tsv")
      text = write_table(document.graph, view, options.format == "csv" ? ',' : '\t');
    else if (options.format == "tmx")
      text = write_tmx(document.graph, view);
    else if (options.format == "tbx")
      text = write_tbx(document.graph, view);
    else
      throw usage_error("format \"{}\" is not known", options.format);
  }
  formats::Sink sink = formats::Sink::create(path, session.force, false);
  sink.write(std::string_view(text));
  sink.commit();
}

// ---- tables --------------------------------------------------------------------------------------

std::vector<std::vector<std::string>> csv_rows(std::string_view text, char delimiter) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> row;
  std::string field;
  bool quoted = false, any = false;
  const auto end_row = [&] {
    if (any || !row.empty() || !field.empty()) {
      row.push_back(std::move(field));
      rows.push_back(std::move(row));
    }
    row = {};
    field.clear();
    any = false;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '"' && i + 1 < text.size() && text[i + 1] == '"')
        field += '"', ++i;
      else if (c == '"')
        quoted = false;
      else
        field += c;
    } else if (c == '"' && field.empty()) {
      quoted = any = true;
    } else if (c == delimiter) {
      row.push_back(std::move(field));
      field.clear();
      any = true;
    } else if (c == '\n') {
      end_row();
    } else if (c != '\r') {
      field += c;
    }
  }
  end_row();
  return rows;
}

std::string csv_field(const std::string& text, char delimiter) {
  if (text.find_first_of(std::string("\"\r\n") + delimiter) == std::string::npos) return text;
  return "\"" + replaced(text, "\"", "\"\"") + "\"";
}

Graph read_table(std::string_view text, const std::string& name, char delimiter) {
  if (const auto error = utf8_error(text)) throw bad_input("{}: byte {} is not UTF-8", name, *error);
  const auto rows = csv_rows(text, delimiter);
  if (rows.empty() || rows[0].empty() || rows[0][0] != "uri")
    throw bad_input("{}:1:1: expected a header that begins with \"uri\"", name);
  const auto& head = rows[0];
  Graph graph;
  const TermId type = graph.iri(rdf("type")), skos_concept = graph.iri(skos("Concept"));
  for (std::size_t r = 1; r < rows.size(); ++r) {
    const auto& row = rows[r];
    if (row.size() != head.size())
      throw bad_input("{}:{}: expected {} fields, found {}", name, r + 1, head.size(), row.size());
    if (!is_absolute_iri(row[0])) throw bad_input("{}:{}:1: \"{}\" is not an absolute IRI", name, r + 1, row[0]);
    const TermId subject = graph.iri(row[0]);
    graph.add(subject, type, skos_concept);
    for (std::size_t c = 1; c < head.size(); ++c) {
      const std::size_t at = head[c].find('@');
      const std::string property = head[c].substr(0, at);
      const bool label = at != std::string::npos;
      if (label && !parse_language_tag(head[c].substr(at + 1)))
        throw bad_input("{}:1: \"{}\" has no language tag after @", name, head[c]);
      for (const std::string_view part : split(row[c], '|')) {
        if (is_blank(part)) continue;
        const TermId predicate = graph.iri(skos(property.c_str()));
        if (label)
          graph.add(subject, predicate, graph.literal(trimmed(part), head[c].substr(at + 1)));
        else if (is_absolute_iri(trimmed(part)))
          graph.add(subject, predicate, graph.iri(trimmed(part)));
        else
          graph.add(subject, predicate, graph.literal(trimmed(part)));
      }
    }
  }
  graph.prefixes["skos"] = skos_ns;
  return graph;
}

std::string write_table(const Graph& graph, const Thesaurus& thesaurus, char delimiter) {
  std::set<std::pair<int, std::string>> columns;  // property, tag
  for (const Label& label : thesaurus.labels)
    columns.emplace(static_cast<int>(label.property), std::string(thesaurus.language(label)));
  std::string out = "uri";
  for (const auto& [property, tag] : columns) {
    std::string head(1, delimiter);
    out += head + csv_field(property_name(static_cast<Property>(property)) + (tag.empty() ? "" : "@" + tag), delimiter);
  }
  for (const char* name : {"broader", "narrower", "related"})
    out += std::string(1, delimiter) + name;
  out += "\n";
  for (std::size_t c = 0; c < thesaurus.concepts.size(); ++c) {
    out += csv_field(std::string(graph.term(thesaurus.concepts[c]).value), delimiter);
    std::map<std::pair<int, std::string>, std::string> cell;
    for (std::size_t i = thesaurus.label_begin(c); i < thesaurus.label_end(c); ++i) {
      const Label& label = thesaurus.labels[i];
      std::string& text = cell[{static_cast<int>(label.property), std::string(thesaurus.language(label))}];
      text += (text.empty() ? "" : "|") + std::string(graph.term(label.text).value);
    }
    for (const auto& key : columns)
      out += std::string(1, delimiter) + csv_field(cell[key], delimiter);
    for (const Adjacency* list : {&thesaurus.broader, &thesaurus.narrower, &thesaurus.related}) {
      std::string text;
      for (const std::int64_t other : list->list(c))
        text += (text.empty() ? "" : "|") +
                std::string(graph.term(thesaurus.concepts[static_cast<std::size_t>(other)]).value);
      out += std::string(1, delimiter) + csv_field(text, delimiter);
    }
    out += "\n";
  }
  return out;
}

namespace {

/// Preferred labels of a concept, one per language tag (the first).
std::vector<std::pair<std::string, std::string>> preferred(const Graph& graph, const Thesaurus& thesaurus,
                                                           std::size_t c) {
  std::vector<std::pair<std::string, std::string>> out;
  for (std::size_t i = thesaurus.label_begin(c); i < thesaurus.label_end(c); ++i) {
    const Label& label = thesaurus.labels[i];
    const std::string tag(thesaurus.language(label));
    if (label.property != Property::pref_label || tag.empty()) continue;
    if (std::none_of(out.begin(), out.end(), [&](const auto& have) { return have.first == tag; }))
      out.emplace_back(tag, graph.term(label.text).value);
  }
  return out;
}

}  // namespace

std::string write_tmx(const Graph& graph, const Thesaurus& thesaurus) {
  std::string out =
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<tmx version=\"1.4\">\n"
      "  <header creationtool=\"fachwerk\" creationtoolversion=\"1\" segtype=\"phrase\" o-tmf=\"SKOS\" "
      "adminlang=\"en\" "
      "srclang=\"*all*\" datatype=\"plaintext\"/>\n  <body>\n";
  for (std::size_t c = 0; c < thesaurus.concepts.size(); ++c) {
    const auto labels = preferred(graph, thesaurus, c);
    if (labels.size() < 2) continue;
    out += fmt::format("    <tu tuid=\"{}\">\n", xml_text(graph.term(thesaurus.concepts[c]).value));
    for (const auto& [tag, text] : labels)
      out += fmt::format("      <tuv xml:lang=\"{}\"><seg>{}</seg></tuv>\n", tag, xml_text(text));
    out += "    </tu>\n";
  }
  return out + "  </body>\n</tmx>\n";
}

std::string write_tbx(const Graph& graph, const Thesaurus& thesaurus) {
  std::string out =
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<tbx type=\"TBX-Basic\" style=\"dct\" xml:lang=\"en\" "
      "xmlns=\"urn:iso:std:iso:30042:ed-2\">\n  <tbxHeader><fileDesc><sourceDesc><p>SKOS "
      "thesaurus</p></sourceDesc></fileDesc></tbxHeader>\n"
      "  <text><body>\n";
  for (std::size_t c = 0; c < thesaurus.concepts.size(); ++c) {
    const auto labels = preferred(graph, thesaurus, c);
    if (labels.empty()) continue;
    out += fmt::format("    <conceptEntry id=\"c{}\">\n", c);
    for (const auto& [tag, text] : labels)
      out += fmt::format("      <langSec xml:lang=\"{}\"><termSec><term>{}</term></termSec></langSec>\n", tag,
                         xml_text(text));
    out += "    </conceptEntry>\n";
  }
  return out + "  </body></text>\n</tbx>\n";
}

}  // namespace fachwerk::wokie
