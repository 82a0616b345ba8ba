#include "check.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <numeric>
#include <tuple>

#include <fmt/format.h>

#include "cli/error.hpp"
#include "language.hpp"
#include "rdf.hpp"
#include "unicode.hpp"
#include "vocabulary.hpp"

namespace fachwerk::wokie {
namespace {

using Index = std::size_t;

/// Concepts above each concept along skos:broader (narrower inverted), found once.
std::vector<std::vector<Index>> ancestors_of(const Thesaurus& thesaurus) {
  const Index n = thesaurus.concepts.size();
  std::vector<std::vector<Index>> out(n);
#pragma omp parallel for schedule(dynamic, 64)
  for (Index c = 0; c < n; ++c) {
    std::vector<char> seen(n, 0);
    std::vector<Index> open = {c};
    while (!open.empty()) {
      const Index at = open.back();
      open.pop_back();
      for (const std::int64_t up : thesaurus.broader.list(at)) {
        const auto parent = static_cast<Index>(up);
        if (seen[parent]) continue;
        seen[parent] = 1;
        out[c].push_back(parent);
        open.push_back(parent);
      }
    }
    std::sort(out[c].begin(), out[c].end());
  }
  return out;
}

bool contains(const std::vector<Index>& sorted, Index value) {
  return std::binary_search(sorted.begin(), sorted.end(), value);
}

class Checker {
 public:
  Checker(const Graph& graph, const Thesaurus& thesaurus, const std::set<std::string>& select)
      : graph_(graph), thesaurus_(thesaurus), select_(select) {
    for (const CheckKind& kind : check_kinds())
      severity_[kind.code] = kind.severity;
  }

  CheckResult run() {
    classes();
    labels();
    terms();
    hierarchy();
    mappings();
    concepts();
    out_.facts.concepts = thesaurus_.concepts.size();
    out_.facts.untagged_labels = thesaurus_.untagged;
    std::stable_sort(out_.findings.begin(), out_.findings.end(), [](const Finding& a, const Finding& b) {
      return a.severity != b.severity ? a.severity > b.severity : a.code < b.code;
    });
    return std::move(out_);
  }

 private:
  TermId iri(const char* name) const { return graph_.find_iri(skos(name)); }

  void report(const std::string& code, TermId subject, std::string message) {
    if (select_.empty() || select_.contains(code))
      out_.findings.push_back({code, severity_.at(code), subject, std::move(message)});
  }
  std::string name(TermId id) const { return std::string(graph_.term(id).value); }
  TermId term(Index c) const { return thesaurus_.concepts[c]; }

  void classes() {
    const TermId type = graph_.find_iri(rdf("type"));
    std::map<TermId, std::set<TermId>> types;
    for (const Triple& t : graph_.triples())
      if (t[1] == type) types[t[0]].insert(t[2]);
    const TermId own = iri("Concept"), scheme = iri("ConceptScheme"), collection = iri("Collection"),
                 ordered = iri("OrderedCollection");
    const auto has = [](const std::set<TermId>& set, TermId id) { return id != no_term && set.contains(id); };
    for (const auto& [subject, set] : types) {
      if (has(set, own) && has(set, scheme)) report("S9", subject, "is both a Concept and a ConceptScheme");
      if (has(set, own) && (has(set, collection) || has(set, ordered)))
        report("S37", subject, "is both a Concept and a Collection");
    }
  }

  void labels() {
    const std::map<TermId, int> kinds = {{iri("prefLabel"), 0}, {iri("altLabel"), 1}, {iri("hiddenLabel"), 2}};
    std::map<std::pair<TermId, std::string>, std::vector<std::pair<int, TermId>>> by_language;
    for (const Triple& t : graph_.triples()) {
      const auto kind = kinds.find(t[1]);
      if (t[1] == no_term || kind == kinds.end()) continue;
      ++out_.facts.labels;
      const Term& text = graph_.term(t[2]);
      if (text.kind != TermKind::literal) {
        report("label-not-literal", t[0], fmt::format("label <{}> is a resource", text.value));
        continue;
      }
      if (is_blank(text.value)) report("empty-label", t[0], "empty label");
      if (has_control_characters(text.value)) report("unprintable-label", t[0], "label holds control characters");
      for (const std::string_view word : {"None", "null", "_dummy"})
        if (text.value == word) report("placeholder-label", t[0], fmt::format("label \"{}\" stands for nothing", word));
      if (text.language.empty())
        report("omitted-language-tag", t[0], fmt::format("label \"{}\" has no language tag", text.value));
      by_language[{t[0], canonical_tag(text.language)}].emplace_back(kind->second, t[2]);
    }
    for (const auto& [key, list] : by_language) {
      std::map<std::string_view, int> seen;  // text -> kinds as bits
      std::size_t preferred = 0;
      for (const auto& [kind, literal] : list) {
        preferred += kind == 0 ? 1 : 0;
        seen[graph_.term(literal).value] |= 1 << kind;
      }
      if (preferred > 1)
        report("S14", key.first,
               fmt::format("{} prefLabels in {}", preferred,
                           key.second.empty() ? "no language" : "\"" + key.second + "\""));
      for (const auto& [text, bits] : seen)
        if ((bits & (bits - 1)) != 0)
          report("S13", key.first, fmt::format("\"{}\"@{} is a label of several kinds", text, key.second));
    }
  }

  void terms() {
    std::set<TermId> used;
    static const std::set<std::string_view> known = {
        "Concept",      "ConceptScheme", "Collection",       "OrderedCollection",
        "altLabel",     "broadMatch",    "broader",          "broaderTransitive",
        "changeNote",   "closeMatch",    "definition",       "editorialNote",
        "exactMatch",   "example",       "hasTopConcept",    "hiddenLabel",
        "historyNote",  "inScheme",      "mappingRelation",  "member",
        "memberList",   "narrowMatch",   "narrower",         "narrowerTransitive",
        "notation",     "note",          "prefLabel",        "related",
        "relatedMatch", "scopeNote",     "semanticRelation", "topConceptOf"};
    const TermId type = graph_.find_iri(rdf("type"));
    std::map<TermId, TermId> first_subject;
    for (const Triple& t : graph_.triples()) {
      for (const TermId id : t)
        first_subject.try_emplace(id, t[0]);
      if (t[1] == type) used.insert(t[2]);
      used.insert(t[1]);
    }
    for (const TermId id : used)
      if (graph_.term(id).value.starts_with(skos_ns) &&
          !known.contains(graph_.term(id).value.substr(std::string_view(skos_ns).size())))
        report("undefined-skos", first_subject.at(id), fmt::format("<{}> is not in SKOS", graph_.term(id).value));
    for (const auto& [id, subject] : first_subject) {
      const Term& one = graph_.term(id);
      if (one.kind == TermKind::iri && !is_absolute_iri(one.value))
        report("invalid-iri", subject, fmt::format("<{}> is not a valid IRI", one.value));
      if (one.kind == TermKind::iri && one.value.starts_with("file:"))
        report("http-scheme", subject, fmt::format("<{}> is a local file", one.value));
      if (one.language.empty()) continue;
      const auto tag = parse_language_tag(one.language);
      if (!tag)
        report("ill-formed-tag", subject, fmt::format("\"{}\" is not a language tag", one.language));
      else if (is_translatable(tag->language) && tag->language != "x" && tag->language != "i" &&
               !is_known_language(*tag))
        report("unknown-language", subject, fmt::format("\"{}\" is no language of ISO 639", one.language));
    }
  }

  void hierarchy() {
    const std::vector<std::vector<Index>> above = ancestors_of(thesaurus_);
    const Index n = thesaurus_.concepts.size();
    for (Index c = 0; c < n; ++c) {
      out_.facts.max_depth = std::max(out_.facts.max_depth, thesaurus_.depth[c]);
      const auto parents = thesaurus_.broader.list(c);
      if (parents.size() > 1) ++out_.facts.polyhierarchical;
      if (contains(above[c], c)) {
        ++out_.facts.cycles;
        report("cycle", term(c), "is its own ancestor");
      }
      for (const std::int64_t parent : parents)
        for (const std::int64_t other : parents)
          if (other != parent && contains(above[static_cast<Index>(other)], static_cast<Index>(parent)) &&
              !contains(above[static_cast<Index>(parent)], static_cast<Index>(other))) {
            ++out_.facts.redundant_broader;
            report("hierarchical-redundancy", term(c),
                   fmt::format("broader <{}> follows from <{}>", name(term(static_cast<Index>(parent))),
                               name(term(static_cast<Index>(other)))));
            break;
          }
      for (const std::int64_t r : thesaurus_.related.list(c)) {
        const auto other = static_cast<Index>(r);
        if (other < c) continue;
        if (contains(above[c], other) || contains(above[other], c)) {
          out_.facts.related_in_hierarchy += 2;  // related is symmetric: both statements clash
          report("S27", term(c), fmt::format("related and hierarchically connected to <{}>", name(term(other))));
        }
        const auto siblings = thesaurus_.broader.list(other);
        if (std::any_of(parents.begin(), parents.end(),
                        [&](std::int64_t p) { return siblings.find(p) != siblings.npos; }))
          report("valueless-related", term(c), fmt::format("related to its sibling <{}>", name(term(other))));
      }
    }
    statements();
    components();
  }

  /// What is said in one direction only, and of itself.
  void statements() {
    const TermId related = iri("related"), broader = iri("broader"), narrower = iri("narrower"),
                 top = iri("hasTopConcept"), top_of = iri("topConceptOf");
    const TermId broad_t = iri("broaderTransitive"), narrow_t = iri("narrowerTransitive");
    std::set<TermId> tops;
    for (const Triple& t : graph_.triples()) {
      if (t[1] == no_term) continue;
      if (t[1] == top) tops.insert(t[2]);
      if (t[1] == top_of) tops.insert(t[0]);
      const bool semantic = t[1] == related || t[1] == broader || t[1] == narrower;
      if (semantic && t[0] == t[2])
        report("reflexive", t[0], fmt::format("{} itself", name(t[1]).substr(std::string_view(skos_ns).size())));
      if (t[1] == related && !graph_.contains({t[2], related, t[0]})) {
        ++out_.facts.asymmetric_related;
        report("unidirectional-related", t[0], fmt::format("related <{}> only in this direction", name(t[2])));
      }
      if (t[1] == broader && narrower != no_term && !graph_.contains({t[2], narrower, t[0]}))
        report("unidirectional-hierarchy", t[0], fmt::format("broader <{}> has no narrower back", name(t[2])));
      if (t[1] == narrower && broader != no_term && !graph_.contains({t[2], broader, t[0]}))
        report("unidirectional-hierarchy", t[0], fmt::format("narrower <{}> has no broader back", name(t[2])));
      if (t[1] == broad_t && !graph_.contains({t[0], broader, t[2]}))
        report("solely-transitive", t[0], fmt::format("broaderTransitive <{}> without broader", name(t[2])));
      if (t[1] == narrow_t && !graph_.contains({t[0], narrower, t[2]}))
        report("solely-transitive", t[0], fmt::format("narrowerTransitive <{}> without narrower", name(t[2])));
    }
    for (Index c = 0; c < thesaurus_.concepts.size(); ++c)
      if (tops.contains(term(c)) && !thesaurus_.broader.list(c).empty())
        report("top-with-broader", term(c), "top concept with a broader one");
    if (!thesaurus_.schemes.empty() && tops.empty())
      report("omitted-top-concepts", thesaurus_.schemes.front(), "scheme names no top concept");
  }

  void components() {
    const Index n = thesaurus_.concepts.size();
    std::vector<Index> parent(n);
    std::iota(parent.begin(), parent.end(), 0u);
    const auto find = [&](Index x) {
      while (parent[x] != x)
        x = parent[x] = parent[parent[x]];
      return x;
    };
    for (const Adjacency* list : {&thesaurus_.broader, &thesaurus_.related})
      for (Index c = 0; c < n; ++c)
        for (const std::int64_t other : list->list(c))
          parent[find(c)] = find(static_cast<Index>(other));
    std::map<Index, Index> sizes;
    for (Index c = 0; c < n; ++c)
      ++sizes[find(c)];
    Index clusters = 0;
    for (const auto& [root, size] : sizes)
      clusters += size > 1 ? 1 : 0;
    out_.facts.components = sizes.size();
    if (clusters > 1)
      report("disconnected-clusters", thesaurus_.schemes.empty() ? no_term : thesaurus_.schemes.front(),
             fmt::format("{} clusters of concepts without a relation between them", clusters));
    for (Index c = 0; c < n; ++c)
      if (thesaurus_.broader.list(c).empty() && thesaurus_.narrower.list(c).empty() &&
          thesaurus_.related.list(c).empty()) {
        ++out_.facts.orphans;
        report("orphan-concept", term(c), "has no relation to another concept");
      }
  }

  void mappings() {
    const TermId exact = iri("exactMatch"), broad = iri("broadMatch"), narrow = iri("narrowMatch"),
                 related = iri("relatedMatch");
    const TermId scheme = iri("inScheme");
    std::map<TermId, TermId> scheme_of;
    for (const Triple& t : graph_.triples())
      if (t[1] == scheme && scheme != no_term) scheme_of.try_emplace(t[0], t[2]);
    const TermId relations[] = {exact, broad, narrow, related, iri("closeMatch")};
    for (const Triple& t : graph_.triples()) {
      if (t[1] == no_term) continue;
      if (t[1] == exact)
        for (const TermId other : {broad, related, narrow})
          if (other != no_term && (graph_.contains({t[0], other, t[2]}) || graph_.contains({t[2], other, t[0]})))
            report("S46", t[0],
                   fmt::format("exactMatch and {} with <{}>", name(other).substr(std::string_view(skos_ns).size()),
                               name(t[2])));
      if (std::find(std::begin(relations), std::end(relations), t[1]) == std::end(relations)) continue;
      const auto a = scheme_of.find(t[0]), b = scheme_of.find(t[2]);
      if (a != scheme_of.end() && b != scheme_of.end() && a->second == b->second)
        report("mapping-misuse", t[0], fmt::format("mapping to <{}> of the same scheme", name(t[2])));
    }
  }

  void concepts() {
    std::map<std::string, std::size_t> coverage;
    std::map<std::pair<std::string, std::string>, std::vector<Index>> owners;
    std::map<std::pair<std::int64_t, std::string>, std::vector<Index>> notations;
    const Index n = thesaurus_.concepts.size();
    std::vector<Index> place(graph_.term_count(), n);
    for (Index c = 0; c < n; ++c)
      place[static_cast<Index>(term(c))] = c;
    std::vector<char> outgoing(n, 0), incoming(n, 0);
    const TermId notation = iri("notation");
    for (const Triple& t : graph_.triples()) {
      const Index from = place[static_cast<Index>(t[0])], to = place[static_cast<Index>(t[2])];
      if (from < n && graph_.term(t[2]).kind == TermKind::iri && to == n && graph_.term(t[1]).value.ends_with("Match"))
        outgoing[from] = 1;
      if (to < n && from == n) incoming[to] = 1;
      if (t[1] == notation && notation != no_term && from < n)
        notations[{thesaurus_.scheme[from], std::string(graph_.term(t[2]).value)}].push_back(from);
    }
    for (Index c = 0; c < n; ++c) {
      std::set<std::string> languages;
      bool preferred = false, documented = false;
      std::map<std::string, std::string> by_language;
      for (Index i = thesaurus_.label_begin(c); i < thesaurus_.label_end(c); ++i) {
        const Label& label = thesaurus_.labels[i];
        const std::string tag(thesaurus_.language(label));
        const std::string text(graph_.term(label.text).value);
        documented |= label.property >= Property::definition && label.property <= Property::history_note;
        if (label.property > Property::hidden_label) continue;
        if (label.property != Property::hidden_label) owners[{lower(nfc(text)), canonical_tag(tag)}].push_back(c);
        if (label.property != Property::pref_label) continue;
        preferred = true;
        if (tag.empty()) continue;
        languages.insert(canonical_tag(tag));
        const std::string script = default_script(tag);
        if (!script.empty() && script != "Latn" && script_share(text, script) < 0.5)
          report("wrong-script", term(c), fmt::format("\"{}\"@{} is not in the script of the language", text, tag));
      }
      for (const std::string& tag : languages)
        ++coverage[tag];
      if (!preferred) report("missing-label", term(c), "has no prefLabel");
      if (!documented) report("undocumented", term(c), "has no definition or note");
      if (!outgoing[c]) report("missing-out-links", term(c), "maps to no other vocabulary");
      if (!incoming[c]) report("missing-in-links", term(c), "nothing else in the file refers to it");
    }
    for (auto& [key, list] : owners) {
      std::sort(list.begin(), list.end());
      list.erase(std::unique(list.begin(), list.end()), list.end());
      if (list.size() > 1)
        report("overlapping-labels", term(list[0]),
               fmt::format("\"{}\"@{} is a label of {} concepts", key.first, key.second, list.size()));
    }
    for (const auto& [key, list] : notations)
      if (list.size() > 1)
        report("ambiguous-notation", term(list[0]),
               fmt::format("notation \"{}\" belongs to {} concepts", key.second, list.size()));
    std::size_t most = 0;
    for (const auto& [tag, count] : coverage) {
      most = std::max(most, count);
      if (count < n)
        report("incomplete-language-coverage", no_term,
               fmt::format("{} of {} concepts have a prefLabel in \"{}\"", count, n, tag));
    }
    if (n > 0 && most < n) report("no-common-language", no_term, "no language has a prefLabel for every concept");
  }

  const Graph& graph_;
  const Thesaurus& thesaurus_;
  const std::set<std::string>& select_;
  std::map<std::string, Severity> severity_;
  CheckResult out_;
};

}  // namespace

const std::vector<CheckKind>& check_kinds() {
  static const std::vector<CheckKind> kinds = {
      {"S9", Severity::error, "a resource is Concept and ConceptScheme"},
      {"S13", Severity::error, "a text is label of several kinds in one language"},
      {"S14", Severity::error, "several prefLabels in one language"},
      {"S27", Severity::error, "concepts are related and above each other"},
      {"S37", Severity::error, "a resource is Concept and Collection"},
      {"S46", Severity::error, "exactMatch together with broadMatch, narrowMatch or relatedMatch"},
      {"cycle", Severity::error, "a concept is its own ancestor"},
      {"label-not-literal", Severity::error, "a label is a resource"},
      {"ill-formed-tag", Severity::error, "a language tag is not BCP 47"},
      {"undefined-skos", Severity::error, "a term of the SKOS namespace that SKOS has not"},
      {"invalid-iri", Severity::error, "an IRI with characters that it must not hold"},
      {"reflexive", Severity::warning, "a concept is related to itself"},
      {"omitted-language-tag", Severity::warning, "a label without a language"},
      {"unknown-language", Severity::warning, "a tag that is no language of ISO 639"},
      {"incomplete-language-coverage", Severity::warning, "a language that not all concepts have"},
      {"no-common-language", Severity::warning, "no language that all concepts have"},
      {"missing-label", Severity::warning, "a concept without prefLabel"},
      {"empty-label", Severity::warning, "a label of blanks"},
      {"unprintable-label", Severity::warning, "a label with control characters"},
      {"placeholder-label", Severity::warning, "a label \"None\" or \"null\""},
      {"wrong-script", Severity::warning, "a label in another script than its language's"},
      {"orphan-concept", Severity::warning, "a concept without relations"},
      {"disconnected-clusters", Severity::warning, "parts without a relation between them"},
      {"top-with-broader", Severity::warning, "a top concept that has a broader one"},
      {"omitted-top-concepts", Severity::warning, "a scheme that names no top concept"},
      {"hierarchical-redundancy", Severity::warning, "a broader statement that follows from others"},
      {"unidirectional-related", Severity::warning, "related in one direction"},
      {"unidirectional-hierarchy", Severity::info, "broader without narrower back, or the reverse"},
      {"solely-transitive", Severity::warning, "a transitive relation without its plain one"},
      {"valueless-related", Severity::warning, "siblings that are also related"},
      {"mapping-misuse", Severity::warning, "a mapping within one scheme"},
      {"ambiguous-notation", Severity::warning, "one notation for several concepts"},
      {"http-scheme", Severity::warning, "a resource named by a local file"},
      {"overlapping-labels", Severity::info, "one text for several concepts"},
      {"undocumented", Severity::info, "a concept without definition or note"},
      {"missing-out-links", Severity::info, "a concept without mapping"},
      {"missing-in-links", Severity::info, "a concept that nothing else refers to"}};
  return kinds;
}

CheckResult check(const Graph& graph, const Thesaurus& thesaurus, const std::set<std::string>& select) {
  return Checker(graph, thesaurus, select).run();
}

// ---- repairs -------------------------------------------------------------------------------------
namespace {

std::size_t fix_literals(Graph& graph, const std::function<TermId(Graph&, const Triple&)>& replacement) {
  std::vector<std::pair<Triple, TermId>> changes;
  const std::vector<Triple> triples = graph.triples();
  for (const Triple& t : triples)
    if (graph.term(t[2]).kind == TermKind::literal)
      if (const TermId other = replacement(graph, t); other != t[2]) changes.emplace_back(t, other);
  const std::set<Triple> old = [&] {
    std::set<Triple> out;
    for (const auto& [t, other] : changes)
      out.insert(t);
    return out;
  }();
  graph.remove_if([&](const Triple& t) { return old.contains(t); });
  for (const auto& [t, other] : changes)
    if (other != no_term) graph.add(t[0], t[1], other);
  return changes.size();
}

bool is_label(const Graph& graph, TermId property) {
  const std::string_view iri = graph.term(property).value;
  return iri == skos("prefLabel") || iri == skos("altLabel") || iri == skos("hiddenLabel");
}

std::size_t fix_preferred(Graph& graph, bool longest) {
  const TermId pref = graph.find_iri(skos("prefLabel"));
  if (pref == no_term) return 0;
  std::map<std::pair<TermId, std::string>, std::vector<TermId>> by;
  for (const Triple& t : graph.triples())
    if (t[1] == pref && graph.term(t[2]).kind == TermKind::literal)
      by[{t[0], canonical_tag(graph.term(t[2]).language)}].push_back(t[2]);
  const TermId alt = graph.iri(skos("altLabel"));
  std::set<Triple> drop;
  for (auto& [key, list] : by) {
    if (list.size() < 2) continue;
    std::stable_sort(list.begin(), list.end(), [&](TermId a, TermId b) {
      const auto la = code_points(graph.term(a).value).size(), lb = code_points(graph.term(b).value).size();
      return longest ? la > lb : la < lb;
    });
    for (std::size_t i = 1; i < list.size(); ++i)
      drop.insert({key.first, pref, list[i]});
  }
  graph.remove_if([&](const Triple& t) { return drop.contains(t); });
  for (const Triple& t : drop)
    graph.add(t[0], alt, t[2]);
  return drop.size();
}

/// A text that is label of several kinds stays in the strongest one.
std::size_t fix_overlaps(Graph& graph) {
  const TermId kinds[] = {graph.find_iri(skos("prefLabel")), graph.find_iri(skos("altLabel")),
                          graph.find_iri(skos("hiddenLabel"))};
  std::set<Triple> drop;
  for (const Triple& t : graph.triples())
    for (int k = 1; k < 3; ++k)
      if (t[1] == kinds[k] && kinds[k] != no_term)
        for (int stronger = 0; stronger < k; ++stronger)
          if (kinds[stronger] != no_term && graph.contains({t[0], kinds[stronger], t[2]})) drop.insert(t);
  graph.remove_if([&](const Triple& t) { return drop.contains(t); });
  return drop.size();
}

/// Drops the statements that close a cycle in a walk upwards from every concept in document order.
std::size_t fix_cycles(Graph& graph) {
  std::size_t dropped = 0;
  for (;;) {
    const Thesaurus thesaurus = thesaurus_of(graph);
    const std::size_t n = thesaurus.concepts.size();
    std::vector<char> state(n, 0);
    std::set<std::pair<TermId, TermId>> back;
    for (std::size_t root = 0; root < n; ++root) {
      if (state[root] != 0) continue;
      std::vector<std::pair<std::size_t, std::size_t>> walk = {{root, 0}};
      state[root] = 1;
      while (!walk.empty()) {
        auto& [at, next] = walk.back();
        const auto parents = thesaurus.broader.list(at);
        if (next == parents.size()) {
          state[at] = 2;
          walk.pop_back();
          continue;
        }
        const auto parent = static_cast<std::size_t>(parents[next++]);
        if (state[parent] == 1) back.emplace(thesaurus.concepts[at], thesaurus.concepts[parent]);
        if (state[parent] == 0) {
          state[parent] = 1;
          walk.emplace_back(parent, 0);
        }
      }
    }
    const TermId broader = graph.find_iri(skos("broader")), narrower = graph.find_iri(skos("narrower"));
    const std::size_t before = graph.triples().size();
    graph.remove_if([&](const Triple& t) {
      return ((t[1] == broader || t[1] == narrower) && t[1] != no_term && t[0] == t[2]) ||
             (t[1] == broader && back.contains({t[0], t[2]})) || (t[1] == narrower && back.contains({t[2], t[0]}));
    });
    dropped += before - graph.triples().size();
    if (before == graph.triples().size()) return dropped;
  }
}

std::size_t fix_mirror(Graph& graph, const char* property, const char* inverse) {
  const TermId from = graph.find_iri(skos(property));
  if (from == no_term) return 0;
  const TermId to = graph.iri(skos(inverse));
  std::vector<Triple> missing;
  for (const Triple& t : graph.triples())
    if (t[1] == from && graph.term(t[2]).kind != TermKind::literal && !graph.contains({t[2], to, t[0]}))
      missing.push_back({t[2], to, t[0]});
  for (const Triple& t : missing)
    graph.add(t[0], t[1], t[2]);
  return missing.size();
}

std::size_t fix_redundant(Graph& graph) {
  const Thesaurus thesaurus = thesaurus_of(graph);
  const auto above = ancestors_of(thesaurus);
  std::set<std::pair<TermId, TermId>> drop;
  for (std::size_t c = 0; c < thesaurus.concepts.size(); ++c) {
    const auto parents = thesaurus.broader.list(c);
    for (const std::int64_t p : parents)
      for (const std::int64_t q : parents)
        if (p != q && contains(above[static_cast<std::size_t>(q)], static_cast<std::size_t>(p)) &&
            !contains(above[static_cast<std::size_t>(p)], static_cast<std::size_t>(q)))
          drop.emplace(thesaurus.concepts[c], thesaurus.concepts[static_cast<std::size_t>(p)]);
  }
  const TermId broader = graph.find_iri(skos("broader")), narrower = graph.find_iri(skos("narrower"));
  const std::size_t before = graph.triples().size();
  graph.remove_if([&](const Triple& t) {
    return t[1] != no_term &&
           ((t[1] == broader && drop.contains({t[0], t[2]})) || (t[1] == narrower && drop.contains({t[2], t[0]})));
  });
  return before - graph.triples().size();
}

/// Concepts that stand above each other are not related (S27): the relation goes, the hierarchy stays.
std::size_t fix_related(Graph& graph) {
  const Thesaurus thesaurus = thesaurus_of(graph);
  const auto above = ancestors_of(thesaurus);
  std::set<std::pair<TermId, TermId>> drop;
  for (std::size_t c = 0; c < thesaurus.concepts.size(); ++c)
    for (const std::int64_t r : thesaurus.related.list(c)) {
      const auto other = static_cast<std::size_t>(r);
      if (contains(above[c], other) || contains(above[other], c))
        drop.emplace(thesaurus.concepts[c], thesaurus.concepts[other]);
    }
  const TermId related = graph.find_iri(skos("related"));
  const std::size_t before = graph.triples().size();
  graph.remove_if([&](const Triple& t) {
    return t[1] != no_term && t[1] == related && (drop.contains({t[0], t[2]}) || drop.contains({t[2], t[0]}));
  });
  return before - graph.triples().size();
}

std::size_t fix_top_concepts(Graph& graph) {
  const Thesaurus thesaurus = thesaurus_of(graph);
  if (thesaurus.schemes.empty()) return 0;
  std::size_t added = 0;
  const TermId has = graph.iri(skos("hasTopConcept")), of = graph.iri(skos("topConceptOf"));
  for (std::size_t c = 0; c < thesaurus.concepts.size(); ++c) {
    if (!thesaurus.broader.list(c).empty()) continue;
    const TermId scheme = thesaurus.schemes[static_cast<std::size_t>(std::max<std::int64_t>(thesaurus.scheme[c], 0))];
    added += graph.add(scheme, has, thesaurus.concepts[c]) ? 1 : 0;
    added += graph.add(thesaurus.concepts[c], of, scheme) ? 1 : 0;
  }
  return added;
}

}  // namespace

std::vector<std::pair<std::string, std::size_t>> fix(Graph& graph, const std::vector<std::string>& repairs) {
  std::vector<std::pair<std::string, std::size_t>> out;
  for (const std::string& repair : repairs) {
    std::size_t changed = 0;
    if (repair == "whitespace") {
      changed = fix_literals(graph, [](Graph& g, const Triple& t) {
        const Term& term = g.term(t[2]);
        if (!is_label(g, t[1])) return t[2];
        const std::string text = join(words(term.value), " ");
        if (text == term.value) return t[2];
        return text.empty() ? no_term : g.literal(text, term.language, term.datatype);
      });
    } else if (repair.starts_with("default-language=")) {
      const std::string tag = repair.substr(17);
      if (!parse_language_tag(tag)) throw usage_error("--fix {}: not a language tag", repair);
      changed = fix_literals(graph, [&](Graph& g, const Triple& t) {
        const Term& term = g.term(t[2]);
        return is_label(g, t[1]) && term.language.empty() && term.datatype == no_term ? g.literal(term.value, tag)
                                                                                      : t[2];
      });
    } else if (repair == "pref-shortest" || repair == "pref-longest") {
      changed = fix_preferred(graph, repair == "pref-longest");
    } else if (repair == "overlaps") {
      changed = fix_overlaps(graph);
    } else if (repair == "cycles") {
      changed = fix_cycles(graph);
    } else if (repair == "inverse") {
      changed = fix_mirror(graph, "broader", "narrower") + fix_mirror(graph, "narrower", "broader") +
                fix_mirror(graph, "hasTopConcept", "topConceptOf") + fix_mirror(graph, "topConceptOf", "hasTopConcept");
    } else if (repair == "symmetric") {
      changed = fix_mirror(graph, "related", "related") + fix_mirror(graph, "exactMatch", "exactMatch") +
                fix_mirror(graph, "closeMatch", "closeMatch");
    } else if (repair == "related") {
      changed = fix_related(graph);
    } else if (repair == "redundant") {
      changed = fix_redundant(graph);
    } else if (repair == "top-concepts") {
      changed = fix_top_concepts(graph);
    } else {
      throw usage_error(
          "--fix {}: expected whitespace, default-language=TAG, pref-shortest, pref-longest, overlaps, cycles, "
          "related, inverse, symmetric, redundant or top-concepts",
          repair);
    }
    out.emplace_back(repair, changed);
  }
  return out;
}

}  // namespace fachwerk::wokie
