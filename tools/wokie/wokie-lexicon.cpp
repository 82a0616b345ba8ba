#include <algorithm>

#include "cli/command.hpp"
#include "document.hpp"
#include "generate.hpp"
#include "io/bytes.hpp"
#include "labels.hpp"
#include "language.hpp"
#include "resources.hpp"
#include "unicode.hpp"

using namespace fachwerk;
using namespace fachwerk::wokie;

namespace {

std::string code(const std::string& option, const std::string& language) {
  const std::string out = long_code(language);
  if (out.empty()) throw usage_error("{} {}: not a language", option, language);
  return out;
}

void build(cli::Session& session, const std::string& dict_dir, const std::vector<std::string>& pairs,
           const std::string& domain, const std::string& file) {
  std::vector<DictionaryFile> files = dictionaries_in(dict_dir);
  if (!pairs.empty()) {
    std::vector<std::pair<std::string, std::string>> wanted;
    for (const std::string& pair : pairs) {
      const auto parts = split(pair, '-');
      if (parts.size() != 2) throw usage_error("--pairs {}: expected FROM-TO, e.g. en-de", pair);
      wanted.emplace_back(code("--pairs", std::string(parts[0])), code("--pairs", std::string(parts[1])));
    }
    std::erase_if(files, [&](const DictionaryFile& f) {
      return std::none_of(wanted.begin(), wanted.end(), [&](const auto& pair) {
        return (f.from == pair.first && f.to == pair.second) || (f.from == pair.second && f.to == pair.first);
      });
    });
  }
  if (files.empty())
    throw absent_error("no FreeDict dictionary in {}{}", dict_dir, pairs.empty() ? "" : " for these pairs")
        .with_hint("apt install dict-freedict-eng-deu dict-freedict-deu-eng");
  const std::vector<Dictionary> dictionaries = read_dictionaries(files);
  const Lexicon lexicon = build_lexicon(dictionaries, domain);
  h5::Output out = h5::Output::create(file, session.force);
  out.stamp(session, "wokie-lexicon");
  write_lexicon(out, lexicon, signature_of(files));
  out.commit();
  std::size_t entries = 0, words_total = 0, edges = 0;
  for (const Dictionary& dictionary : dictionaries)
    entries += dictionary.entries.size();
  for (const auto& [language, table] : lexicon.words)
    words_total += table.size();
  for (const auto& [pair, table] : lexicon.edges)
    edges += table.target.size();
  session.summary.add("dictionaries", files.size());
  session.summary.add("entries", entries);
  session.summary.add("words", words_total);
  session.summary.add("translations", edges);
}

void info(cli::Session& session, const Lexicon& lexicon) {
  cli::Table languages{"languages", {"language", "words"}}, pairs{"pairs", {"pair", "translations"}};
  for (const auto& [language, table] : lexicon.words)
    languages.rows.push_back({language, static_cast<std::int64_t>(table.size())});
  for (const auto& [pair, table] : lexicon.edges)
    pairs.rows.push_back({pair.first + "-" + pair.second, static_cast<std::int64_t>(table.target.size())});
  session.summary.add(languages);
  session.summary.add(pairs);
}

void look_up(cli::Session& session, const Lexicon& lexicon, const std::string& from, const std::string& to,
             const std::vector<std::string>& terms) {
  if (from.empty() || to.empty() || terms.empty()) throw usage_error("lookup needs --from, --to and --term");
  const std::string source = code("--from", from), target = code("--to", to);
  if (!lexicon.words.contains(source) || !lexicon.words.contains(target))
    throw absent_error("the lexicon has no words in {}", lexicon.words.contains(source) ? to : from)
        .with_hint(install_hint({from}, to));
  cli::Table table{"candidates", {"term", "translation", "path", "score"}};
  for (const std::string& term : terms)
    for (const std::string& key : dictionary_keys(term, short_code(source))) {
      const auto direct = lexicon.direct(source, target, key), pivoted = lexicon.pivoted(source, target, key);
      for (const auto& [list, path] : {std::pair{&direct, "dict"}, {&pivoted, "pivot"}})
        for (std::size_t i = 0; i < std::min<std::size_t>(list->size(), 8); ++i)
          table.rows.push_back({key, (*list)[i].text, std::string(path), (*list)[i].probability});
      if (!direct.empty() || !pivoted.empty()) break;
    }
  session.summary.add(table);
}

void export_text(const cli::Session& session, const Lexicon& lexicon, const std::string& from, const std::string& to,
                 const std::string& file) {
  if (from.empty() || to.empty()) throw usage_error("export needs --from and --to");
  const std::string source = code("--from", from), target = code("--to", to);
  const auto edges = lexicon.edges.find({source, target});
  if (edges == lexicon.edges.end())
    throw absent_error("the lexicon has no pair {}-{}", source, target).with_hint(install_hint({from}, to));
  formats::Sink sink = formats::Sink::create(file, session.force, false);
  sink.write(fmt::format("{}\t{}\tprobability\n", from, to));
  const WordTable& words_from = lexicon.words.at(source);
  const WordTable& words_to = lexicon.words.at(target);
  for (std::size_t n = 0; n < edges->second.source.size(); ++n) {
    const auto [first, last] = edges->second.row(n);
    for (std::uint32_t e = first; e < last; ++e)
      sink.write(fmt::format("{}\t{}\t{:.4f}\n", words_from.word(edges->second.source[n]),
                             words_to.word(edges->second.target[e]), edges->second.probability[e]));
  }
  sink.commit();
}

void generate(cli::Session& session, const Lexicon& lexicon, GenerateOptions options, const std::string& file) {
  for (std::string& language : options.languages)
    code("--languages", language), language = short_code(language);
  options.seed = session.seed;
  Document document;
  document.graph = generate_thesaurus(lexicon, options);
  save_document(session, document, file, {.format = output_format({}, file)});
  const Thesaurus thesaurus = thesaurus_of(document.graph, {});
  session.summary.add("concepts", thesaurus.concepts.size());
  session.summary.add("labels", thesaurus.labels.size());
}

}  // namespace

int main(int argc, char** argv) {
  std::string action, file, dict_dir = default_dict_dir, from, to, domain, lexicon_file;
  std::vector<std::string> pairs, terms;
  GenerateOptions made_up;
  int concepts = 1000;
  const cli::Command command{
      .name = "wokie-lexicon",
      .purpose = "compile and inspect bilingual lexica from FreeDict dictionaries",
      .description =
          "build compiles the dictd dictionaries of a folder into one HDF5 lexicon with words by language and weighted "
          "translations by pair of languages, inverse ones included. info lists what a lexicon holds, lookup shows how "
          "a term "
          "is translated, directly and through other languages, export writes one pair as TSV. generate makes up a "
          "thesaurus from words that the lexicon translates alike both ways: an input of tests whose right "
          "translations are known.\n\n"
          "wokie-translate compiles a lexicon by itself on its first run; build is for choosing pairs, folder or "
          "domain. The "
          "dictionaries are free (GPL, CC BY-SA) and come from the distribution; none is part of this package.",
      .arguments = {cli::choice("ACTION", action, {"build", "info", "lookup", "export", "generate"}, "what to do"),
                    cli::optional_output("OUT", file, "lexicon (build), TSV (export) or thesaurus (generate)")},
      .options = {{"--lexicon",
                   &lexicon_file,
                   "compiled lexicon; otherwise the one that wokie-translate uses",
                   {.value_name = "FILE"}},
                  {"--dict-dir", &dict_dir, "folder of the dictionaries", {.value_name = "DIR"}},
                  {"--pairs", &pairs, "only these pairs of languages, both directions", {.value_name = "FROM-TO"}},
                  {"--domain", &domain, "favour senses marked with this domain, e.g. archaeol", {.value_name = "MARK"}},
                  {"--from", &from, "source language", {.value_name = "LANG"}},
                  {"--to", &to, "target language", {.value_name = "LANG"}},
                  {"--term", &terms, "term to look up", {.value_name = "TEXT"}},
                  {"--concepts", &concepts, "of a generated thesaurus", {.minimum = 1, .maximum = 1000000}},
                  {"--languages", &made_up.languages, "of its labels, base language first", {.value_name = "LANG"}},
                  {"--plural", &made_up.plural, "share of its labels in the plural", {.minimum = 0, .maximum = 1}},
                  {"--typos", &made_up.typos, "share of its labels with a typo", {.minimum = 0, .maximum = 1}}},
      .examples = {{"wokie-lexicon build --pairs en-de,de-fr,en-fr lexicon.h5", "three pairs"},
                   {"wokie-lexicon lookup --from en --to fr --term settlement", "candidates, path, score"},
                   {"wokie-lexicon generate --languages de,en,fr --concepts 500 made-up.ttl",
                    "a thesaurus to test with"},
                   {"wokie-lexicon info --lexicon lexicon.h5", "languages and pairs"}},
      .reference = "FreeDict, https://freedict.org; pivoting by inverse consultation: Tanaka and Umemura, COLING 1994.",
      .reads = "kind wokie-lexicon: see what it writes",
      .writes =
          "kind wokie-lexicon: /lexicon/words/{language,begin,text,text_begin,key,key_begin,start,key_start,gender,pos}, "
          "languages one after the other, words ascending by folded key;\n"
          "/lexicon/edges/{pair,row_begin,begin,source,start,target,probability}: compressed rows, pairs one after the "
          "other.\nThe columns are contiguous, so that a program maps the file instead of reading it",
      .standard = {.threads = true, .seed = true},
  };
  return command.run(argc, argv, [&](cli::Session& session) {
    if (action == "build" || action == "export" || action == "generate") {
      if (file.empty()) throw usage_error("{} needs an output file", action);
    } else if (!file.empty()) {
      throw usage_error("{} writes no file; a lexicon is given by --lexicon", action);
    }
    if (action == "build") return build(session, dict_dir, pairs, domain, file);
    const Lexicon lexicon = load_lexicon(session, lexicon_file, dict_dir);
    if (lexicon.words.empty())
      throw absent_error("no dictionaries in {}", dict_dir)
          .with_hint("apt install dict-freedict-eng-deu dict-freedict-deu-eng");
    if (action == "info") info(session, lexicon);
    if (action == "lookup") look_up(session, lexicon, from, to, terms);
    if (action == "export") export_text(session, lexicon, from, to, file);
    made_up.concepts = static_cast<std::size_t>(concepts);
    if (action == "generate") generate(session, lexicon, made_up, file);
  });
}
