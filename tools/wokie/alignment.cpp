// Alignments as text: Alignment API RDF, SKOS mapping triples, SSSOM, CSV.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include <fmt/format.h>

#include "cli/error.hpp"
#include "document.hpp"
#include "match.hpp"
#include "unicode.hpp"
#include "vocabulary.hpp"

namespace fachwerk::wokie {
namespace {

constexpr std::string_view align_ns = "http://knowledgeweb.semanticweb.org/heterogeneity/alignment";

const std::map<std::string, std::string>& skos_relations() {
  static const std::map<std::string, std::string> names = {
      {"=", "exactMatch"}, {"~", "closeMatch"}, {"<", "broadMatch"}, {">", "narrowMatch"}};
  return names;
}

/// "=", "~", "<" or ">" of what a format calls the relation.
std::string relation_of(std::string_view text) {
  if (text.starts_with("skos:")) text.remove_prefix(5);
  if (text.starts_with(skos_ns)) text.remove_prefix(std::string_view(skos_ns).size());
  for (const auto& [sign, name] : skos_relations())
    if (text == name || text == sign) return sign;
  if (text == "&lt;") return "<";
  if (text == "&gt;") return ">";
  return text.empty() ? "=" : std::string(text);
}

double measure_of(std::string_view text) {
  const std::string copy(text);
  char* end = nullptr;
  const double value = std::strtod(copy.c_str(), &end);
  return end == copy.c_str() || !std::isfinite(value) ? 1.0 : value;
}

std::string xml(std::string_view text) {
  return replaced(replaced(replaced(std::string(text), "&", "&amp;"), "<", "&lt;"), "\"", "&quot;");
}

}  // namespace

std::vector<Mapping> mappings_of(const Graph& graph) {
  std::vector<Mapping> out;
  std::map<TermId, Mapping> cells;
  std::vector<TermId> order;
  for (const Triple& t : graph.triples()) {
    const std::string_view property = graph.term(t[1]).value;
    if (property.starts_with(align_ns)) {
      std::string_view name = property.substr(align_ns.size());
      while (!name.empty() && (name.front() == '#' || name.front() == '/'))
        name.remove_prefix(1);
      if (name != "entity1" && name != "entity2" && name != "measure" && name != "relation") continue;
      const auto [cell, added] = cells.try_emplace(t[0]);
      if (added) order.push_back(t[0]);
      const std::string value(graph.term(t[2]).value);
      if (name == "entity1") cell->second.left = value;
      if (name == "entity2") cell->second.right = value;
      if (name == "measure") cell->second.measure = measure_of(value);
      if (name == "relation") cell->second.relation = relation_of(value);
    } else if (property.starts_with(skos_ns) && property.ends_with("Match") && graph.term(t[2]).kind == TermKind::iri) {
      out.push_back(
          {std::string(graph.term(t[0]).value), std::string(graph.term(t[2]).value), relation_of(property), 1.0, {}});
    }
  }
  for (const TermId id : order)
    if (!cells[id].left.empty() && !cells[id].right.empty()) out.push_back(cells[id]);
  return out;
}

std::vector<Mapping> read_mapping_table(std::string_view text, const std::string& name) {
  if (const auto error = utf8_error(text)) throw bad_input("{}: byte {} is not UTF-8", name, *error);
  std::string plain;
  std::size_t line_offset = 0;
  for (const std::string_view line : split(text, '\n'))
    if (line.starts_with('#'))
      ++line_offset;
    else
      plain.append(line).append("\n");
  const char delimiter = plain.substr(0, plain.find('\n')).find('\t') != std::string::npos ? '\t' : ',';
  const auto rows = csv_rows(plain, delimiter);
  if (rows.empty()) throw bad_input("{}: an alignment table needs a header", name);
  const auto column = [&](std::initializer_list<const char*> names) -> std::size_t {
    for (std::size_t c = 0; c < rows[0].size(); ++c)
      for (const char* wanted : names)
        if (rows[0][c] == wanted) return c;
    return rows[0].size();
  };
  const std::size_t l = column({"subject_id", "left"}), r = column({"object_id", "right"}),
                    p = column({"predicate_id", "relation"}), m = column({"confidence", "measure"});
  if (l == rows[0].size() || r == rows[0].size())
    throw bad_input("{}:1: expected the columns subject_id and object_id (SSSOM), or left and right", name);
  std::vector<Mapping> out;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    if (rows[i].size() != rows[0].size())
      throw bad_input("{}:{}: expected {} fields, found {}", name, i + 1 + line_offset, rows[0].size(), rows[i].size());
    out.push_back({rows[i][l],
                   rows[i][r],
                   p < rows[0].size() ? relation_of(rows[i][p]) : "=",
                   m < rows[0].size() ? measure_of(rows[i][m]) : 1.0,
                   {}});
  }
  return out;
}

std::string write_alignment_rdf(const std::vector<Mapping>& mappings, const std::string& left,
                                const std::string& right) {
  std::string out = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rdf:RDF xmlns=\"{0}#\"\n    xmlns:rdf=\"{1}\"\n    "
      "xmlns:xsd=\"{2}\">\n<Alignment>\n  <xml>yes</xml>\n"
      "  <level>0</level>\n  <type>**</type>\n  <onto1>{3}</onto1>\n  <onto2>{4}</onto2>\n",
      align_ns, rdf_ns, xsd_ns, xml(left), xml(right));
  for (const Mapping& m : mappings)
    out += fmt::format(
        "  <map><Cell>\n    <entity1 rdf:resource=\"{}\"/>\n    <entity2 rdf:resource=\"{}\"/>\n    <measure "
        "rdf:datatype=\"{}float\">{:.4f}</measure>\n"
        "    <relation>{}</relation>\n  </Cell></map>\n",
        xml(m.left), xml(m.right), xsd_ns, m.measure, xml(m.relation == "~" ? "=" : m.relation));
  return out + "</Alignment>\n</rdf:RDF>\n";
}

std::string write_sssom(const std::vector<Mapping>& mappings) {
  std::string out =
      "# curie_map:\n#   skos: http://www.w3.org/2004/02/skos/core#\n#   semapv: https://w3id.org/semapv/vocab/\n"
      "subject_id\tpredicate_id\tobject_id\tmapping_justification\tconfidence\n";
  for (const Mapping& m : mappings)
    out += fmt::format("{}\tskos:{}\t{}\tsemapv:CompositeMatching\t{:.4f}\n", m.left, skos_relations().at(m.relation),
                       m.right, m.measure);
  return out;
}

std::string write_mapping_csv(const std::vector<Mapping>& mappings) {
  std::string out = "left,right,relation,measure\n";
  for (const Mapping& m : mappings)
    out += fmt::format("{},{},{},{:.4f}\n", csv_field(m.left, ','), csv_field(m.right, ','), m.relation, m.measure);
  return out;
}

Graph mapping_graph(const std::vector<Mapping>& mappings) {
  Graph graph;
  graph.prefixes["skos"] = skos_ns;
  for (const Mapping& m : mappings)
    graph.add(graph.iri(m.left), graph.iri(skos(skos_relations().at(m.relation).c_str())), graph.iri(m.right));
  return graph;
}

}  // namespace fachwerk::wokie
