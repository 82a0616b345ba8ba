#include <algorithm>
#include <set>

#include "cli/command.hpp"
#include "document.hpp"
#include "language.hpp"
#include "sha256.hpp"
#include "thesaurus.hpp"

using namespace fachwerk;
using namespace fachwerk::wokie;

namespace {

/// A share of the subjects, chosen by a hash of their IRI: the same ones for every language and every run.
bool spared(const Graph& graph, const Triple& triple, double share) {
  if (share <= 0) return false;
  const std::string hash = sha256(graph.term(triple[0]).value).substr(0, 8);
  return static_cast<double>(std::stoul(hash, nullptr, 16)) < share * 4294967296.0;
}

void drop_languages(Graph& graph, const std::vector<std::string>& drop, const std::vector<std::string>& keep,
                    double share) {
  const auto any = [](const std::vector<std::string>& list, std::string_view tag) {
    return std::any_of(list.begin(), list.end(), [&](const std::string& one) { return matches_language(tag, one); });
  };
  graph.remove_if([&](const Triple& triple) {
    const Term& object = graph.term(triple[2]);
    if (object.kind != TermKind::literal || object.language.empty()) return false;
    if (any(drop, object.language)) return !spared(graph, triple, share);
    return !keep.empty() && !any(keep, object.language);
  });
}

void require_tags(const std::string& option, const std::vector<std::string>& tags) {
  for (const std::string& tag : tags)
    if (!parse_language_tag(tag)) throw usage_error("{} {}: not a language tag", option, tag);
}

}  // namespace

int main(int argc, char** argv) {
  std::string in, out, from, to, base;
  std::vector<std::string> keep, drop;
  double keep_share = 0;
  bool infer = true;
  const std::vector<std::string> readable = {"rdfxml", "turtle", "ntriples", "nquads", "trig",
                                             "jsonld", "hdf5",   "csv",      "tsv"};
  std::vector<std::string> writable = readable;
  writable.insert(writable.end(), {"tbx", "tmx"});
  const cli::Command command{
      .name = "wokie-convert",
      .purpose = "convert thesauri between RDF serialisations, tables and HDF5",
      .description =
          "Reads a SKOS thesaurus in RDF/XML, Turtle, TriG, N-Triples, N-Quads, JSON-LD, CSV, TSV or HDF5 (found out "
          "from "
          "the content) and writes it in another form (by the extension of OUT, HDF5 otherwise). Every triple is kept; "
          "duplicate statements collapse. RDF outputs are deterministic: equal graphs give equal bytes.\n\n"
          "Statements of named graphs are merged into one graph. Remote JSON-LD contexts and external XML entities are "
          "refused. CSV and TSV hold one row per concept with the columns uri, prefLabel@en, altLabel@en (several "
          "texts "
          "with | between them), broader, narrower, related; they, TMX and TBX hold the labels only.",
      .arguments = {cli::input("IN", in, "thesaurus"), cli::output("OUT", out, "converted thesaurus")},
      .options =
          {{"--from-format", &from, "format of IN instead of finding out", {.choices = readable}},
           {"--to-format", &to, "format of OUT instead of its extension's", {.choices = writable}},
           {"--base", &base, "base for relative IRIs", {.value_name = "IRI"}},
           {"--languages", &keep, "keep literals of these languages only (and untagged ones)", {.value_name = "LANG"}},
           {"--drop-language", &drop, "drop literals of these languages", {.value_name = "LANG"}},
           {"--keep-share",
            &keep_share,
            "share of the resources, chosen by a hash of their IRI, that --drop-language spares",
            {.minimum = 0, .maximum = 1}},
           {"--infer-concepts", &infer, "count labelled subjects of inScheme, broader, ... as concepts too"}},
      .examples = {{"wokie-convert thesaurus.rdf thesaurus.ttl", "RDF/XML to Turtle"},
                   {"wokie-convert --drop-language de tadirah.ttl - | wokie-translate --to de - out.h5",
                    "input of an evaluation: one language taken out"},
                   {"wokie-convert --to-format csv thesaurus.h5 -", "labels as a table on stdout"}},
      .reference = "W3C, SKOS Reference (2009); RDF 1.1 Concepts (2014).",
      .reads =
          "kind thesaurus: /terms/{value,kind,lang,datatype}, /triples [N,3], /triple_order [N], /langs/tag, "
          "/prefixes/{prefix,iri}",
      .writes =
          "kind thesaurus: what it reads, and the derived "
          "/concepts/{term,scheme,depth,broader_ptr,broader_idx,narrower_*,related_*},\n"
          "/labels/{concept,property,text,lang}",
  };
  return command.run(argc, argv, [&](cli::Session& session) {
    require_tags("--languages", keep);
    require_tags("--drop-language", drop);
    Document document = load_document(in, {.format = from, .base = base});
    if (document.graph.named_graph_statements > 0)
      session.warn(fmt::format("{} statements of named graphs were merged into one graph",
                               document.graph.named_graph_statements));
    if (!keep.empty() || !drop.empty()) drop_languages(document.graph, drop, keep, keep_share);
    const ThesaurusOptions view{.infer_concepts = infer};
    const Thesaurus thesaurus = thesaurus_of(document.graph, view);
    save_document(session, document, out, {.format = output_format(to, out), .view = view});
    session.summary.add("triples", document.graph.triples().size());
    session.summary.add("duplicate statements", document.graph.statements() - document.graph.triples().size());
    session.summary.add("concepts", thesaurus.concepts.size());
    session.summary.add("inferred concepts", thesaurus.inferred);
    session.summary.add("labels", thesaurus.labels.size());
    session.summary.add("untagged labels", thesaurus.untagged);
    std::set<std::string> tags(thesaurus.languages.begin(), thesaurus.languages.end());
    session.summary.add("languages", std::vector<std::string>(tags.begin(), tags.end()));
  });
}
