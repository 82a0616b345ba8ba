#include <algorithm>
#include <set>

#include <omp.h>

#include "alignment_files.hpp"
#include "cli/command.hpp"
#include "document.hpp"
#include "io/bytes.hpp"
#include "match.hpp"
#include "resources.hpp"
#include "unicode.hpp"

using namespace fachwerk;
using namespace fachwerk::wokie;

int main(int argc, char** argv) {
  std::string a, b, out, format, lexicon_file, dict_dir = default_dict_dir, mode_dir = default_mode_dir,
                                               selection = "hungarian", train, model_file, save_model;
  std::vector<std::string> engines = {"dict", "pivot", "compose"}, tm;
  double threshold = 0.6;
  bool types = false;
  const cli::Command command{
      .name = "wokie-match",
      .purpose = "align two thesauri, also across languages",
      .description =
          "Finds the concepts of A and B that mean the same. Candidates come from equal labels, from character "
          "trigrams, and, "
          "where languages differ, from the translations that dictionaries, pivots and composition give in both "
          "directions. A "
          "logistic model weighs the evidence, neighbours in the hierarchy support each other once, and a one-to-one "
          "selection "
          "with the greatest sum of similarities is made; of pairs that cross in the hierarchy the weaker one goes.\n\n"
          "The alignment is written as Alignment API RDF, SKOS mapping triples, SSSOM, CSV or HDF5. --train fits the "
          "model to a "
          "reference alignment of A and B first.",
      .arguments = {cli::input("A", a, "first thesaurus"), cli::input("B", b, "second thesaurus"),
                    cli::output("OUT", out, "alignment")},
      .options =
          {{"--format",
            &format,
            "of OUT; by its extension otherwise (.rdf, .ttl skos, .tsv sssom, .csv), else hdf5",
            {.choices = {"rdf", "skos", "sssom", "csv", "hdf5"}}},
           {"--threshold", &threshold, "similarity from which a pair counts", {.minimum = 0, .maximum = 1}},
           {"--selection",
            &selection,
            "one-to-one with the greatest sum, by descending similarity, or all",
            {.choices = {"hungarian", "greedy", "many"}}},
           {"--types", &types, "broadMatch and narrowMatch for pairs that share their head word only"},
           {"--engines",
            &engines,
            "translators for labels of different languages; none",
            {.choices = {"dict", "pivot", "compose", "cognate", "apertium", "none"}}},
           {"--tm", &tm, "translation memory: TMX, CSV, TSV, thesaurus", {.value_name = "FILE"}},
           {"--train", &train, "reference alignment to fit the model to", {.value_name = "FILE"}},
           {"--model", &model_file, "weights of the evidence, as --save-model writes them", {.value_name = "FILE"}},
           {"--save-model", &save_model, "write the weights used, as JSON", {.value_name = "FILE"}},
           {"--lexicon", &lexicon_file, "compiled lexicon of wokie-lexicon", {.value_name = "FILE"}},
           {"--dict-dir", &dict_dir, "folder of dictd dictionaries", {.value_name = "DIR"}},
           {"--mode-dir", &mode_dir, "folder of Apertium modes", {.value_name = "DIR"}}},
      .examples = {{"wokie-match a.rdf b.rdf alignment.rdf", "Alignment API RDF"},
                   {"wokie-convert a.ttl - | wokie-translate --to en - - | wokie-match - b.h5 align.rdf",
                    "translate, then match"},
                   {"wokie-match --selection many --threshold 0.5 a.ttl b.ttl candidates.tsv",
                    "candidates for a curator, as SSSOM"}},
      .reference =
          "Benchmarks: Kraus, Blumenröhr et al., DH track of OAEI 2024. I-SUB: Stoilos, Stamou, Kollias, ISWC 2005. "
          "Similarity "
          "flooding: Melnik, Garcia-Molina, Rahm, ICDE 2002.",
      .reads = "kind thesaurus (see wokie-convert)",
      .writes =
          "kind table: /alignment/{left,right,relation,measure}, /alignment/features [mapping,feature], "
          "/alignment/feature_names",
      .standard = {.threads = true},
  };
  return command.run(argc, argv, [&](cli::Session& session) {
    omp_set_num_threads(session.threads);
    if (a == "-" && b == "-") throw usage_error("only one of A and B can be stdin");
    const Document left = load_document(a), right = load_document(b);
    const Thesaurus left_view = thesaurus_of(left.graph), right_view = thesaurus_of(right.graph);
    require_concepts(left, left_view);
    require_concepts(right, right_view);
    const Side l{&left.graph, &left_view}, r{&right.graph, &right_view};
    Lexicon lexicon;
    std::vector<Mode> modes;
    Memory memory;
    const auto uses = [&](const char* name) {
      return std::find(engines.begin(), engines.end(), name) != engines.end();
    };
    const auto base = [](const Thesaurus& t) {
      std::set<std::string> codes;
      for (const std::string& tag : t.languages)
        codes.insert(lower(split(tag, '-')[0]));
      return codes;
    };
    const bool cross = base(left_view) != base(right_view) || base(left_view).size() > 1;
    Translate translate;
    std::unique_ptr<OfflineEngine> engine;
    if (cross && !uses("none")) {
      lexicon = load_lexicon(session, lexicon_file, dict_dir);
      if (uses("apertium")) modes = modes_in(mode_dir);
      for (const std::string& path : tm)
        add_memory(memory, path);
      engine = std::make_unique<OfflineEngine>(
          lexicon, modes, memory,
          OfflineOptions{!tm.empty(), uses("dict"), uses("pivot"), uses("apertium"), uses("compose"), uses("cognate")});
      translate = [&](const auto& sources, const std::string& target) { return engine->propose(sources, target); };
      if (lexicon.words.empty() && memory.empty())
        session.warn("no dictionaries: labels of different languages are compared as they are");
    }
    std::vector<Pair> pairs = candidate_pairs(l, r, translate);
    MatchModel model = model_file.empty() ? MatchModel::shipped()
                                          : MatchModel::from_json(formats::File::open(model_file).text(), model_file);
    if (!train.empty()) {
      std::set<std::pair<std::string, std::string>> reference;
      for (const Mapping& m : load_alignment(train))
        reference.emplace(m.left, m.right);
      score_pairs(pairs, l, r, model, 0.2);
      std::vector<bool> correct;
      for (const Pair& p : pairs)
        correct.push_back(reference.contains({std::string(left.graph.term(left_view.concepts[p.left]).value),
                                              std::string(right.graph.term(right_view.concepts[p.right]).value)}));
      if (std::find(correct.begin(), correct.end(), true) == correct.end())
        throw bad_input("{}: none of its pairs is a candidate of {} and {}", train, left.name, right.name);
      model = MatchModel::fit(pairs, correct);
    }
    if (!save_model.empty()) {
      formats::Sink sink = formats::Sink::create(save_model, session.force, false);
      sink.write(std::string_view(model.to_json()));
      sink.commit();
    }
    MatchOptions options{.threshold = threshold, .hierarchy_types = types};
    options.selection = selection == "greedy" ? MatchOptions::Selection::greedy
                        : selection == "many" ? MatchOptions::Selection::many
                                              : MatchOptions::Selection::hungarian;
    score_pairs(pairs, l, r, model, options.damping);
    const std::vector<Mapping> mappings = select_mappings(pairs, l, r, options);
    const auto scheme = [](const Document& d, const Thesaurus& t) {
      return t.schemes.empty() ? d.name : std::string(d.graph.term(t.schemes.front()).value);
    };
    save_alignment(session, mappings, out, alignment_format(format, out), scheme(left, left_view),
                   scheme(right, right_view));
    session.summary.add("concepts of A", left_view.concepts.size());
    session.summary.add("concepts of B", right_view.concepts.size());
    session.summary.add("candidate pairs", pairs.size());
    session.summary.add("mappings", mappings.size());
    session.summary.add(
        "exact", std::count_if(mappings.begin(), mappings.end(), [](const Mapping& m) { return m.relation == "="; }));
  });
}
