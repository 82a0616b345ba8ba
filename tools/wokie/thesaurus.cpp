#include "thesaurus.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <unordered_map>

#include "language.hpp"
#include "unicode.hpp"
#include "vocabulary.hpp"

namespace fachwerk::wokie {
namespace {

constexpr std::array<const char*, property_count> names = {
    "prefLabel", "altLabel",   "hiddenLabel",   "definition",  "scopeNote", "note",
    "example",   "changeNote", "editorialNote", "historyNote", "title",     "description"};

/// Edges of one predicate and its inverse, as pairs of concept indices.
using Edges = std::vector<std::pair<std::int64_t, std::int64_t>>;

Adjacency adjacency(Edges edges, std::size_t size) {
  std::stable_sort(edges.begin(), edges.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  Adjacency out;
  out.start.assign(size + 1, 0);
  std::size_t e = 0;
  for (std::size_t c = 0; c < size; ++c) {
    const auto first = static_cast<std::ptrdiff_t>(out.target.size());
    for (; e < edges.size() && edges[e].first == static_cast<std::int64_t>(c); ++e)
      if (std::find(out.target.begin() + first, out.target.end(), edges[e].second) == out.target.end())
        out.target.push_back(edges[e].second);
    out.start[c + 1] = static_cast<std::int64_t>(out.target.size());
  }
  return out;
}

/// Depths by a walk upwards; an edge back into the walk is a cycle and is not followed.
void compute_depths(Thesaurus& thesaurus) {
  const std::size_t n = thesaurus.concepts.size();
  thesaurus.depth.assign(n, -1);
  std::vector<char> state(n, 0);  // 0 new, 1 on the walk, 2 done
  for (std::size_t root = 0; root < n; ++root) {
    if (state[root] == 2) continue;
    std::vector<std::pair<std::size_t, std::size_t>> walk = {{root, 0}};
    state[root] = 1;
    thesaurus.depth[root] = 0;
    while (!walk.empty()) {
      auto& [at, next] = walk.back();
      const auto parents = thesaurus.broader.list(at);
      if (next == parents.size()) {
        const std::int32_t depth = thesaurus.depth[at];
        state[at] = 2;
        walk.pop_back();
        if (!walk.empty()) {
          std::int32_t& below = thesaurus.depth[walk.back().first];
          below = std::max(below, depth + 1);
        }
        continue;
      }
      const auto parent = static_cast<std::size_t>(parents[next++]);
      if (state[parent] == 1) {
        ++thesaurus.cycles_cut;
      } else if (state[parent] == 2) {
        thesaurus.depth[at] = std::max(thesaurus.depth[at], thesaurus.depth[parent] + 1);
      } else {
        state[parent] = 1;
        thesaurus.depth[parent] = 0;
        walk.emplace_back(parent, 0);
      }
    }
  }
}

class Builder {
 public:
  Builder(const Graph& graph, const ThesaurusOptions& options) : graph_(graph), options_(options) {}

  Thesaurus build() {
    find_concepts();
    find_edges();
    find_labels();
    return std::move(out_);
  }

 private:
  TermId iri(const std::string& text) const { return graph_.find_iri(text); }
  bool is_resource(TermId id) const { return graph_.term(id).kind != TermKind::literal; }

  void find_concepts() {
    const TermId type = iri(rdf("type")), skos_concept = iri(skos("Concept")), scheme = iri(skos("ConceptScheme"));
    std::vector<char> is_concept(graph_.term_count(), 0), labelled(graph_.term_count(), 0);
    std::set<TermId> wanted_types = {skos_concept};
    if (options_.also & static_cast<int>(Also::collections))
      wanted_types.insert({iri(skos("Collection")), iri(skos("OrderedCollection"))});
    if (options_.also & static_cast<int>(Also::schemes)) wanted_types.insert(scheme);
    if (options_.also & static_cast<int>(Also::groups))
      wanted_types.insert(
          {iri(isothes_ns + std::string("ThesaurusArray")), iri(isothes_ns + std::string("ConceptGroup"))});
    wanted_types.erase(no_term);
    std::set<TermId> hints, label_properties, not_concepts;
    for (const char* name : {"inScheme", "topConceptOf", "broader", "narrower"})
      hints.insert(iri(skos(name)));
    for (const char* name : {"prefLabel", "altLabel", "hiddenLabel"})
      label_properties.insert(iri(skos(name)));
    label_properties.insert(iri(skosxl_ns + std::string("prefLabel")));
    hints.erase(no_term);
    label_properties.erase(no_term);
    const std::set<TermId> others = {iri(skos("Collection")), iri(skos("OrderedCollection")), scheme};
    for (const Triple& t : graph_.triples()) {
      if (t[1] == type && wanted_types.contains(t[2])) is_concept[static_cast<std::size_t>(t[0])] = 1;
      if (t[1] == type && t[2] != no_term && others.contains(t[2])) not_concepts.insert(t[0]);
      if (label_properties.contains(t[1])) labelled[static_cast<std::size_t>(t[0])] = 1;
      if (t[1] == type && t[2] == scheme && scheme != no_term) out_.schemes.push_back(t[0]);
    }
    index_.assign(graph_.term_count(), -1);
    for (const Triple& t : graph_.triples()) {
      const auto at = static_cast<std::size_t>(t[0]);
      if (index_[at] >= 0) continue;
      const bool hinted =
          options_.infer_concepts && hints.contains(t[1]) && labelled[at] && !not_concepts.contains(t[0]);
      if (!is_concept[at] && !hinted) continue;
      index_[at] = static_cast<std::int64_t>(out_.concepts.size());
      out_.concepts.push_back(t[0]);
      ++(is_concept[at] ? out_.declared : out_.inferred);
    }
  }

  std::int64_t concept_of(TermId id) const { return index_[static_cast<std::size_t>(id)]; }

  void find_edges() {
    std::map<TermId, int> direction;  // 1: subject is narrower than object, 2: broader, 3: related
    for (const auto& [name, way] : {std::pair{"broader", 1}, {"narrower", 2}, {"related", 3}})
      direction[iri(skos(name))] = way;
    direction.erase(no_term);
    const TermId in_scheme = iri(skos("inScheme")), top_of = iri(skos("topConceptOf"));
    Edges up, down, beside;
    out_.scheme.assign(out_.concepts.size(), -1);
    for (const Triple& t : graph_.triples()) {
      const std::int64_t from = concept_of(t[0]), to = concept_of(t[2]);
      if (from >= 0 && (t[1] == in_scheme || t[1] == top_of)) {
        const auto found = std::find(out_.schemes.begin(), out_.schemes.end(), t[2]);
        auto& scheme = out_.scheme[static_cast<std::size_t>(from)];
        if (found != out_.schemes.end() && scheme < 0) scheme = found - out_.schemes.begin();
      }
      const auto way = direction.find(t[1]);
      if (way == direction.end() || from < 0 || to < 0 || from == to) continue;
      if (way->second == 3) {
        beside.insert(beside.end(), {{from, to}, {to, from}});
      } else {
        const auto [lower_end, upper_end] = way->second == 1 ? std::pair{from, to} : std::pair{to, from};
        up.emplace_back(lower_end, upper_end);
        down.emplace_back(upper_end, lower_end);
      }
    }
    const std::size_t n = out_.concepts.size();
    out_.broader = adjacency(std::move(up), n);
    out_.narrower = adjacency(std::move(down), n);
    out_.related = adjacency(std::move(beside), n);
    compute_depths(out_);
  }

  std::int32_t language_index(std::string_view tag) {
    if (tag.empty()) return -1;
    const auto [found, added] =
        languages_.try_emplace(std::string(tag), static_cast<std::int32_t>(out_.languages.size()));
    if (added) out_.languages.emplace_back(tag);
    return found->second;
  }

  void find_labels() {
    std::map<TermId, Property> properties, xl;
    for (int p = 0; p < property_count; ++p) {
      const auto property = static_cast<Property>(p);
      properties[iri(property_iri(property))] = property;
      if (p < 3) xl[iri(skosxl_ns + property_name(property))] = property;
    }
    properties[iri(dc_ns + std::string("title"))] = Property::title;
    properties[iri(dc_ns + std::string("description"))] = Property::description;
    properties.erase(no_term);
    xl.erase(no_term);
    std::unordered_map<TermId, std::vector<TermId>>
        value_of;  // literal forms of xl labels, rdf:value of note resources
    const TermId literal_form = iri(skosxl_ns + std::string("literalForm")), value = iri(rdf("value"));
    for (const Triple& t : graph_.triples())
      if (((t[1] == literal_form && literal_form != no_term) || (t[1] == value && value != no_term)) &&
          !is_resource(t[2]))
        value_of[t[0]].push_back(t[2]);
    std::vector<std::vector<Label>> by_concept(out_.concepts.size());
    const auto add = [&](std::int64_t owner, Property property, TermId literal, bool through_xl) {
      const Term& term = graph_.term(literal);
      if (is_blank(term.value)) return;
      auto& own = by_concept[static_cast<std::size_t>(owner)];
      for (const Label& have : own)
        if (have.text == literal && have.property == property) return;
      own.push_back({owner, property, literal, language_index(term.language), through_xl});
      if (term.language.empty() && property <= Property::hidden_label) ++out_.untagged;
    };
    for (const Triple& t : graph_.triples()) {
      const std::int64_t owner = concept_of(t[0]);
      if (owner < 0) continue;
      if (const auto found = properties.find(t[1]); found != properties.end()) {
        if (!is_resource(t[2])) {
          add(owner, found->second, t[2], false);
        } else if (const auto values = value_of.find(t[2]);
                   values != value_of.end() && found->second > Property::hidden_label) {
          for (const TermId literal : values->second)
            add(owner, found->second, literal, false);
        }
      } else if (const auto label = xl.find(t[1]); label != xl.end()) {
        if (const auto values = value_of.find(t[2]); values != value_of.end())
          for (const TermId literal : values->second)
            add(owner, label->second, literal, true);
      }
    }
    for (const auto& own : by_concept) {
      out_.label_start.push_back(static_cast<std::int64_t>(out_.labels.size()));
      out_.labels.insert(out_.labels.end(), own.begin(), own.end());
    }
    out_.label_start.push_back(static_cast<std::int64_t>(out_.labels.size()));
  }

  const Graph& graph_;
  ThesaurusOptions options_;
  Thesaurus out_;
  std::vector<std::int64_t> index_;
  std::map<std::string, std::int32_t, std::less<>> languages_;
};

}  // namespace

std::string property_name(Property property) {
  return names[static_cast<std::size_t>(property)];
}

std::string property_iri(Property property) {
  const bool scheme_text = property == Property::title || property == Property::description;
  return (scheme_text ? dct_ns : skos_ns) + property_name(property);
}

std::optional<Property> property_of_name(std::string_view name) {
  if (name.starts_with("skos:")) name.remove_prefix(5);
  for (int p = 0; p < property_count; ++p)
    if (name == names[static_cast<std::size_t>(p)]) return static_cast<Property>(p);
  return std::nullopt;
}

Thesaurus thesaurus_of(const Graph& graph, const ThesaurusOptions& options) {
  return Builder(graph, options).build();
}

std::vector<std::string> texts_of(const Graph& graph, const Thesaurus& thesaurus, std::size_t concept_index,
                                  Property property, std::string_view language, bool exact) {
  std::vector<std::string> out;
  for (std::size_t i = thesaurus.label_begin(concept_index); i < thesaurus.label_end(concept_index); ++i) {
    const Label& label = thesaurus.labels[i];
    if (label.property == property && label.language >= 0 &&
        matches_language(thesaurus.language(label), language, exact))
      out.emplace_back(graph.term(label.text).value);
  }
  return out;
}

std::vector<std::size_t> chain_of(const Thesaurus& thesaurus, std::size_t concept_index) {
  std::vector<std::size_t> chain = {concept_index};
  for (;;) {
    const auto parents = thesaurus.broader.list(chain.back());
    std::size_t next = concept_index;
    bool found = false;
    for (const std::int64_t parent : parents) {
      next = static_cast<std::size_t>(parent);
      if (std::find(chain.begin(), chain.end(), next) == chain.end()) {
        found = true;
        break;
      }
    }
    if (!found) break;
    chain.push_back(next);
  }
  std::reverse(chain.begin(), chain.end());
  return chain;
}

std::string vocabulary_description(const Graph& graph, const Thesaurus& thesaurus, std::string_view language) {
  if (thesaurus.schemes.empty()) return {};
  for (const char* space : {dct_ns, dc_ns}) {
    const TermId property = graph.find_iri(space + std::string("description"));
    if (property == no_term) continue;
    std::string any, english;
    for (const Triple& t : graph.triples()) {
      if (t[0] != thesaurus.schemes.front() || t[1] != property || graph.term(t[2]).kind != TermKind::literal) continue;
      const Term& text = graph.term(t[2]);
      if (!text.language.empty() && matches_language(text.language, language)) return std::string(text.value);
      if (!text.language.empty() && matches_language(text.language, "en") && english.empty()) english = text.value;
      if (any.empty()) any = text.value;
    }
    if (!english.empty()) return english;
    if (!any.empty()) return any;
  }
  return {};
}

}  // namespace fachwerk::wokie
