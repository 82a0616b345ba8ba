// Turtle, N-Triples and RDF/XML, written so that equal graphs give equal bytes.

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include <fmt/format.h>

#include "cli/error.hpp"
#include "rdf.hpp"
#include "vocabulary.hpp"

namespace fachwerk::wokie {

std::vector<Subject> by_subject(const Graph& graph, const std::vector<std::string>& blanks) {
  const auto key = [&](TermId id) -> std::pair<int, std::string_view> {
    const Term& term = graph.term(id);
    if (term.kind == TermKind::blank) {
      const std::string& label = blanks[static_cast<std::size_t>(id)];
      return {1, label};
    }
    return {0, term.value};
  };
  std::vector<std::size_t> rank(graph.term_count());
  {
    std::vector<TermId> order(graph.term_count());
    for (std::size_t i = 0; i < order.size(); ++i)
      order[i] = static_cast<TermId>(i);
    std::vector<std::string> text(graph.term_count());
    for (std::size_t i = 0; i < order.size(); ++i)
      if (graph.term(static_cast<TermId>(i)).kind == TermKind::literal)
        text[i] = ntriples_term(graph, static_cast<TermId>(i));
    std::sort(order.begin(), order.end(), [&](TermId a, TermId b) {
      const bool la = graph.term(a).kind == TermKind::literal, lb = graph.term(b).kind == TermKind::literal;
      if (la != lb) return lb;
      if (la) return text[static_cast<std::size_t>(a)] < text[static_cast<std::size_t>(b)];
      const auto ka = key(a), kb = key(b);
      if (ka.first == 1 && kb.first == 1 && ka.second.size() != kb.second.size())
        return ka.second.size() < kb.second.size();  // b2 before b10
      return ka < kb;
    });
    for (std::size_t i = 0; i < order.size(); ++i)
      rank[static_cast<std::size_t>(order[i])] = i;
  }
  const TermId type = graph.find_iri(rdf_ns + std::string("type"));
  const auto place = [&](TermId id) { return rank[static_cast<std::size_t>(id)]; };
  std::vector<Triple> sorted = graph.triples();
  std::sort(sorted.begin(), sorted.end(), [&](const Triple& a, const Triple& b) {
    if (a[0] != b[0]) return place(a[0]) < place(b[0]);
    if (a[1] != b[1]) {
      if (a[1] == type || b[1] == type) return a[1] == type;
      return place(a[1]) < place(b[1]);
    }
    return place(a[2]) < place(b[2]);
  });
  std::vector<Subject> out;
  for (const Triple& t : sorted) {
    if (out.empty() || out.back().term != t[0]) out.push_back({t[0], {}});
    auto& properties = out.back().properties;
    if (properties.empty() || properties.back().first != t[1]) properties.push_back({t[1], {}});
    properties.back().second.push_back(t[2]);
  }
  return out;
}

namespace {

bool is_plain_local(std::string_view name) {
  if (name.empty()) return true;
  const auto word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  if (!word(name[0])) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) { return word(c) || c == '-'; });
}

/// prefix:local for an IRI, by the longest declared namespace; notes which prefixes were used.
class Abbreviation {
 public:
  explicit Abbreviation(const Graph& graph) {
    for (const auto& [prefix, iri] : graph.prefixes)
      if (!iri.empty()) prefixes_.emplace(iri, prefix);
    for (const auto& [prefix, iri] : common_prefixes)
      if (!graph.prefixes.contains(prefix)) prefixes_.emplace(iri, prefix);
  }
  std::string short_form(std::string_view iri) {
    for (std::size_t cut = iri.size(); cut > 0; --cut) {
      const char end = iri[cut - 1];
      if (end != '#' && end != '/' && end != ':' && cut != iri.size()) continue;
      const auto found = prefixes_.find(std::string(iri.substr(0, cut)));
      if (found == prefixes_.end()) continue;
      if (!is_plain_local(iri.substr(cut))) return {};
      used_.insert(*found);
      return found->second + ":" + std::string(iri.substr(cut));
    }
    return {};
  }
  const std::set<std::pair<const std::string, std::string>>& used() const { return used_; }

 private:
  std::map<std::string, std::string> prefixes_;
  std::set<std::pair<const std::string, std::string>> used_;
};

std::string turtle_term(const Graph& graph, TermId id, const std::vector<std::string>& blanks, Abbreviation& names) {
  const Term& term = graph.term(id);
  if (term.kind == TermKind::iri) {
    const std::string name = names.short_form(term.value);
    return name.empty() ? ntriples_term(graph, id) : name;
  }
  if (term.kind == TermKind::literal && term.datatype != no_term) {
    const TermId plain = term.datatype;
    std::string text = ntriples_term(graph, id);
    const std::string type = names.short_form(graph.term(plain).value);
    if (type.empty()) return text;
    text.resize(text.size() - ntriples_term(graph, plain).size());
    return text + type;
  }
  return ntriples_term(graph, id, blanks[static_cast<std::size_t>(id)]);
}

std::string xml_escaped(std::string_view text, const Graph&) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\r':
        out += "&#13;";
        break;
      case '\n':
        out += "&#10;";
        break;
      case '\t':
        out += "&#9;";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          throw method_failed("control character U+{:04X} in \"{}\" cannot be written in XML: choose another format",
                              static_cast<unsigned>(c), text.substr(0, 40));
        out += c;
    }
  }
  return out;
}

/// Length of the namespace part of a property IRI: what is left is an XML name.
std::size_t namespace_length(std::string_view iri) {
  std::size_t cut = iri.size();
  while (cut > 0) {
    const auto c = static_cast<unsigned char>(iri[cut - 1]);
    if (!(std::isalnum(c) || c == '_' || c == '-' || c == '.' || c >= 0x80)) break;
    --cut;
  }
  while (cut < iri.size() && !(std::isalpha(static_cast<unsigned char>(iri[cut])) || iri[cut] == '_' ||
                               static_cast<unsigned char>(iri[cut]) >= 0x80))
    ++cut;
  return cut;
}

}  // namespace

std::string write_ntriples(const Graph& graph) {
  std::string out;
  for (const std::string& line : canonical_lines(graph))
    out += line;
  return out;
}

std::string write_turtle(const Graph& graph) {
  const std::vector<std::string> blanks = canonical_blanks(graph);
  Abbreviation names(graph);
  const std::string type = rdf_ns + std::string("type");
  std::string body;
  for (const Subject& subject : by_subject(graph, blanks)) {
    body += "\n" + turtle_term(graph, subject.term, blanks, names);
    bool first = true;
    for (const auto& [property, objects] : subject.properties) {
      body += first ? " " : " ;\n    ";
      first = false;
      body += graph.term(property).value == type ? "a" : turtle_term(graph, property, blanks, names);
      for (std::size_t i = 0; i < objects.size(); ++i)
        body += (i == 0 ? " " : ", ") + turtle_term(graph, objects[i], blanks, names);
    }
    body += " .\n";
  }
  std::map<std::string, std::string> declared = graph.prefixes;
  for (const auto& [iri, prefix] : names.used())
    declared.emplace(prefix, iri);
  std::string head;
  for (const auto& [prefix, iri] : declared)
    head += fmt::format("@prefix {}: <{}> .\n", prefix, iri);
  return head + body;
}

std::string write_rdfxml(const Graph& graph) {
  const std::vector<std::string> blanks = canonical_blanks(graph);
  const std::vector<Subject> subjects = by_subject(graph, blanks);
  std::map<std::string, std::string> prefix_of;  // namespace -> prefix
  std::set<std::string> taken = {"rdf", "xml", "xmlns"};
  prefix_of[rdf_ns] = "rdf";
  const auto offer = [&](const std::string& prefix, const std::string& iri) {
    if (!prefix.empty() && !prefix_of.contains(iri) && taken.insert(prefix).second) prefix_of[iri] = prefix;
  };
  std::set<std::string> needed;
  for (const Triple& t : graph.triples()) {
    const std::string_view iri = graph.term(t[1]).value;
    const std::size_t cut = namespace_length(iri);
    if (cut == iri.size())
      throw method_failed("property <{}> has no name part: RDF/XML cannot write it, choose another format", iri);
    needed.insert(std::string(iri.substr(0, cut)));
  }
  for (const auto& [prefix, iri] : graph.prefixes)
    if (std::all_of(prefix.begin(), prefix.end(),
                    [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_'; }) &&
        !prefix.empty() && std::isalpha(static_cast<unsigned char>(prefix[0])))
      offer(prefix, iri);
  for (const auto& [prefix, iri] : common_prefixes)
    offer(prefix, iri);
  int number = 0;
  for (const std::string& iri : needed)
    while (!prefix_of.contains(iri))
      offer(fmt::format("ns{}", number++), iri);

  std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rdf:RDF xmlns:rdf=\"" + std::string(rdf_ns) + "\"";
  std::map<std::string, std::string> declared;
  for (const auto& [iri, prefix] : prefix_of)
    if (iri != rdf_ns && (needed.contains(iri) || graph.prefixes.contains(prefix))) declared[prefix] = iri;
  for (const auto& [prefix, iri] : declared)
    out += fmt::format("\n    xmlns:{}=\"{}\"", prefix, xml_escaped(iri, graph));
  out += ">\n";
  const auto blank = [&](TermId id) { return blanks[static_cast<std::size_t>(id)]; };
  for (const Subject& subject : subjects) {
    const Term& term = graph.term(subject.term);
    out += term.kind == TermKind::blank
               ? fmt::format("  <rdf:Description rdf:nodeID=\"{}\">\n", blank(subject.term))
               : fmt::format("  <rdf:Description rdf:about=\"{}\">\n", xml_escaped(term.value, graph));
    for (const auto& [property, objects] : subject.properties) {
      const std::string_view iri = graph.term(property).value;
      const std::size_t cut = namespace_length(iri);
      const std::string name = prefix_of.at(std::string(iri.substr(0, cut))) + ":" + std::string(iri.substr(cut));
      for (const TermId object : objects) {
        const Term& value = graph.term(object);
        out += "    <" + name;
        if (value.kind == TermKind::iri) {
          out += fmt::format(" rdf:resource=\"{}\"/>\n", xml_escaped(value.value, graph));
        } else if (value.kind == TermKind::blank) {
          out += fmt::format(" rdf:nodeID=\"{}\"/>\n", blank(object));
        } else {
          if (!value.language.empty()) out += fmt::format(" xml:lang=\"{}\"", value.language);
          if (value.datatype != no_term)
            out += fmt::format(" rdf:datatype=\"{}\"", xml_escaped(graph.term(value.datatype).value, graph));
          out += ">" + xml_escaped(value.value, graph) + "</" + name + ">\n";
        }
      }
    }
    out += "  </rdf:Description>\n";
  }
  return out + "</rdf:RDF>\n";
}

}  // namespace fachwerk::wokie
