#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "alignment_files.hpp"
#include "cli/command.hpp"
#include "document.hpp"
#include "io/bytes.hpp"
#include "labels.hpp"
#include "language.hpp"
#include "metrics.hpp"
#include "unicode.hpp"

using namespace fachwerk;
using namespace fachwerk::wokie;

namespace {

struct Options {
  std::string what, found, reference, base, second, report;
  std::vector<std::string> to;
  bool alt = false, all = false;
  int samples = 1000, worst = 10;
};

/// One concept in one language: what was made, and what is right.
struct Sample {
  std::string iri, language, text;
  std::vector<std::string> gold, alternatives;
  double confidence = -1;
  std::string method = {};
};

std::vector<Sample> collect(const Options& o, const std::string& found_path, const Document& reference,
                            const Thesaurus& gold) {
  const Document found = load_document(found_path);
  const Thesaurus made = thesaurus_of(found.graph);
  std::map<std::pair<std::int64_t, std::string>, std::pair<double, std::uint8_t>> confidence;
  bool only_made = false;
  if (found.source && found.source->exists("/translations/concept")) {
    const auto c = found.source->column<std::int64_t>("/translations/concept");
    const auto tag = found.source->strings("/translations/target_lang", c.size());
    const auto x = found.source->column<float>("/translations/confidence", c.size());
    const auto m = found.source->column<std::uint8_t>("/translations/method", c.size());
    for (std::size_t i = 0; i < c.size(); ++i)
      confidence[{c[i], tag[i]}] = {x[i], m[i]};
    only_made = !o.all && !c.empty();
  }
  std::map<std::string, std::size_t> place;
  for (std::size_t c = 0; c < made.concepts.size(); ++c)
    place.emplace(found.graph.term(made.concepts[c]).value, c);
  std::vector<std::string> languages = o.to;
  if (languages.empty()) languages = gold.languages;
  static const char* methods[] = {"vote", "model agrees", "rated by model", "fallback", "memory"};
  std::vector<Sample> out;
  for (const std::string& language : languages)
    for (std::size_t g = 0; g < gold.concepts.size(); ++g) {
      Sample s{std::string(reference.graph.term(gold.concepts[g]).value),
               language,
               {},
               texts_of(reference.graph, gold, g, Property::pref_label, language),
               {}};
      if (s.gold.empty()) continue;
      if (o.alt) s.alternatives = texts_of(reference.graph, gold, g, Property::alt_label, language);
      const auto at = place.find(s.iri);
      if (at != place.end()) {
        const auto texts = texts_of(found.graph, made, at->second, Property::pref_label, language);
        if (!texts.empty()) s.text = texts.front();
        const auto known = confidence.find({static_cast<std::int64_t>(at->second), language});
        if (known != confidence.end()) {
          s.confidence = known->second.first;
          if (known->second.second < 5) s.method = methods[known->second.second];
        } else if (only_made) {
          continue;  // the label was there before
        }
      }
      out.push_back(std::move(s));
    }
  return out;
}

bool exact(const Sample& s, const std::vector<std::string>& gold) {
  return !s.text.empty() && std::any_of(gold.begin(), gold.end(),
                                        [&](const std::string& g) { return lower(nfc(g)) == lower(nfc(s.text)); });
}

double best(const Sample& s, const std::function<double(const std::string&)>& score) {
  double most = 0;
  for (const std::string& g : s.gold)
    most = std::max(most, score(g));
  return s.text.empty() ? 0 : most;
}

struct Scores {
  std::vector<double> exact_scores, chrf_scores;
  std::vector<std::pair<std::string, double>> values;
  Interval interval{0, 0};
};

Scores score(const std::vector<const Sample*>& list, const Options& o, std::uint64_t seed) {
  Scores out;
  const auto n = static_cast<double>(list.size());
  double covered = 0, folded = 0, number = 0, alternative = 0, similarity = 0, wer = 0, cer = 0, jaro_sum = 0,
         rouge = 0;
  ChrfCounts plain, with_words;
  BleuCounts bleu_sum;
  TerCounts ter_sum;
  for (const Sample* s : list) {
    const bool right = exact(*s, s->gold);
    out.exact_scores.push_back(right ? 1 : 0);
    covered += s->text.empty() ? 0 : 1;
    const auto any = [&](const auto& same) {
      return !s->text.empty() && std::any_of(s->gold.begin(), s->gold.end(), same);
    };
    folded += any([&](const std::string& g) { return fold(g, s->language) == fold(s->text, s->language); }) ? 1 : 0;
    number +=
        any([&](const std::string& g) { return number_folded(g, s->language) == number_folded(s->text, s->language); })
            ? 1
            : 0;
    alternative += right || exact(*s, s->alternatives) ? 1 : 0;
    similarity += best(*s, [&](const std::string& g) { return levenshtein_similarity(s->text, g); });
    jaro_sum += best(*s, [&](const std::string& g) { return jaro_winkler(lower(s->text), lower(g)); });
    rouge += best(*s, [&](const std::string& g) { return rouge_l(s->text, g); });
    // The reference nearest to the text stands for the set in the corpus counts.
    const std::string& gold =
        *std::max_element(s->gold.begin(), s->gold.end(), [&](const std::string& a, const std::string& b) {
          return chrf(chrf_counts(s->text, a)) < chrf(chrf_counts(s->text, b));
        });
    const ChrfCounts own = chrf_counts(s->text, gold);
    out.chrf_scores.push_back(chrf(own));
    plain += own;
    with_words += chrf_counts(s->text, gold, 2);
    bleu_sum += bleu_counts(s->text, s->gold);
    const TerCounts ter = ter_counts(s->text, gold);
    ter_sum.edits += ter.edits;
    ter_sum.length += ter.length;
    wer += word_error_rate(s->text, gold);
    cer += character_error_rate(s->text, gold);
  }
  const double hits = std::accumulate(out.exact_scores.begin(), out.exact_scores.end(), 0.0);
  out.values = {{"coverage", covered / n},
                {"exact", hits / n},
                {"folded", folded / n},
                {"number", number / n},
                {"with alt", alternative / n},
                {"similarity", similarity / n},
                {"chrF", chrf(plain)},
                {"chrF with words", chrf(with_words, 2)},
                {"BLEU", bleu(bleu_sum)},
                {"TER", ter_sum.length > 0 ? 100 * ter_sum.edits / ter_sum.length : 0},
                {"WER", wer / n},
                {"CER", cer / n},
                {"Jaro-Winkler", jaro_sum / n},
                {"ROUGE-L", rouge / n}};
  out.interval = bootstrap(
      list.size(),
      [&](const std::vector<std::size_t>& indices) {
        double sum = 0;
        for (const std::size_t i : indices)
          sum += out.exact_scores[i];
        return sum / static_cast<double>(indices.size());
      },
      static_cast<std::size_t>(o.samples), seed);
  return out;
}

void add_calibration(cli::Session& session, const std::vector<Sample>& samples) {
  std::vector<double> confidence;
  std::vector<bool> correct;
  for (const Sample& s : samples)
    if (s.confidence >= 0 && !s.text.empty()) confidence.push_back(s.confidence), correct.push_back(exact(s, s.gold));
  if (confidence.empty()) return;
  const Calibration c = calibration(confidence, correct);
  session.summary.add("with confidence", confidence.size());
  session.summary.add("ECE", c.ece);
  session.summary.add("Brier", c.brier);
  session.summary.add("AURC", c.aurc);
  cli::Table table{"reliability", {"confidence", "accuracy", "count"}};
  for (const auto& bin : c.bins)
    if (bin.count > 0) table.rows.push_back({bin.confidence, bin.accuracy, static_cast<std::int64_t>(bin.count)});
  session.summary.add(table);
}

void evaluate_translation(cli::Session& session, const Options& o) {
  const Document reference = load_document(o.reference, {.base = o.base});
  const Thesaurus gold = thesaurus_of(reference.graph);
  require_concepts(reference, gold);
  const std::vector<Sample> samples = collect(o, o.found, reference, gold);
  if (samples.empty())
    throw bad_input("{}: no concept of it has a label{} in {}", o.found, o.to.empty() ? "" : " to compare",
                    o.to.empty() ? "any language" : join(o.to, ", "));
  std::map<std::string, std::vector<const Sample*>> groups;
  for (const Sample& s : samples) {
    groups["all"].push_back(&s);
    groups[s.language].push_back(&s);
    if (!s.method.empty()) groups["by: " + s.method].push_back(&s);
  }
  cli::Table table{"scores", {"group", "n"}};
  for (const auto& [name, list] : groups) {
    const Scores scores = score(list, o, session.seed);
    if (table.columns.size() == 2) {
      for (const auto& [metric, value] : scores.values)
        table.columns.push_back(metric);
      table.columns.insert(table.columns.end(), {"exact low", "exact high"});
    }
    std::vector<cli::Table::Cell> row = {name, static_cast<std::int64_t>(list.size())};
    for (const auto& [metric, value] : scores.values)
      row.push_back(value);
    row.push_back(scores.interval.low);
    row.push_back(scores.interval.high);
    table.rows.push_back(std::move(row));
  }
  session.summary.add(table);
  if (!o.second.empty()) {
    const std::vector<Sample> other = collect(o, o.second, reference, gold);
    std::map<std::pair<std::string, std::string>, double> by;
    for (const Sample& s : other)
      by[{s.iri, s.language}] = exact(s, s.gold) ? 1 : 0;
    std::vector<double> a, b;
    for (const Sample& s : samples)
      if (const auto found = by.find({s.iri, s.language}); found != by.end())
        a.push_back(exact(s, s.gold) ? 1 : 0), b.push_back(found->second);
    session.summary.add("compared pairs", a.size());
    session.summary.add("exact of the second",
                        b.empty() ? 0.0 : std::accumulate(b.begin(), b.end(), 0.0) / static_cast<double>(b.size()));
    session.summary.add("p value", paired_randomisation(a, b, 10000, session.seed));
  }
  add_calibration(session, samples);
  std::vector<const Sample*> worst;
  for (const Sample& s : samples)
    if (!s.text.empty() && !exact(s, s.gold)) worst.push_back(&s);
  const auto similarity = [](const Sample* s) {
    return best(*s, [&](const std::string& g) { return levenshtein_similarity(s->text, g); });
  };
  std::stable_sort(worst.begin(), worst.end(),
                   [&](const Sample* a, const Sample* b) { return similarity(a) < similarity(b); });
  cli::Table list{"farthest from the reference", {"concept", "language", "text", "reference", "similarity"}};
  for (std::size_t i = 0; i < std::min(worst.size(), static_cast<std::size_t>(o.worst)); ++i)
    list.rows.push_back(
        {worst[i]->iri, worst[i]->language, worst[i]->text, worst[i]->gold.front(), similarity(worst[i])});
  if (!list.rows.empty()) session.summary.add(list);
  if (!o.report.empty()) {
    std::string text = "concept,language,text,reference,exact,similarity,chrF,confidence\n";
    for (const Sample& s : samples) {
      double most = 0;
      for (const std::string& g : s.gold)
        most = std::max(most, chrf(chrf_counts(s.text, g)));
      text += fmt::format("{},{},{},{},{},{:.4f},{:.4f},{}\n", csv_field(s.iri, ','), s.language,
                          csv_field(s.text, ','), csv_field(join(s.gold, "|"), ','), exact(s, s.gold) ? 1 : 0,
                          similarity(&s), most, s.confidence < 0 ? std::string{} : fmt::format("{:.4f}", s.confidence));
    }
    formats::Sink sink = formats::Sink::create(o.report, session.force, false);
    sink.write(std::string_view(text));
    sink.commit();
  }
}

void evaluate_alignment(cli::Session& session, const std::vector<std::string>& files) {
  if (files.size() % 2 != 0) throw usage_error("alignment needs pairs of files: FOUND REFERENCE [FOUND REFERENCE ...]");
  cli::Table table{"cases", {"found", "right", "wrong", "missed", "precision", "recall", "F1"}};
  AlignmentScore total;
  double precision = 0, recall = 0, f1 = 0;
  for (std::size_t i = 0; i < files.size(); i += 2) {
    const AlignmentScore s = score_alignment(load_alignment(files[i]), load_alignment(files[i + 1]));
    table.rows.push_back({files[i], static_cast<std::int64_t>(s.right), static_cast<std::int64_t>(s.found - s.right),
                          static_cast<std::int64_t>(s.expected - s.right), s.precision(), s.recall(), s.f1()});
    total.right += s.right, total.found += s.found, total.expected += s.expected;
    precision += s.precision(), recall += s.recall(), f1 += s.f1();
  }
  const auto cases = static_cast<double>(files.size() / 2);
  session.summary.add("cases", files.size() / 2);
  session.summary.add("macro precision", precision / cases);
  session.summary.add("macro recall", recall / cases);
  session.summary.add("macro F1", f1 / cases);
  session.summary.add("micro precision", total.precision());
  session.summary.add("micro recall", total.recall());
  session.summary.add("micro F1", total.f1());
  session.summary.add(table);
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  std::vector<std::string> files;
  const cli::Command command{
      .name = "wokie-evaluate",
      .purpose = "measure translated labels and alignments against a reference",
      .description =
          "translation FOUND REFERENCE compares preferred labels: coverage, exact match (ignoring case), match after "
          "folding and "
          "ignoring number, Levenshtein similarity, chrF, chrF++, BLEU, TER, WER, CER, Jaro-Winkler, ROUGE-L, with a "
          "bootstrap "
          "interval for exact match, and the calibration of stored confidences. Corpus scores come from summed counts. "
          "If FOUND "
          "is an HDF5 file of wokie-translate, only labels that it made are compared (--all: every one).\n\n"
          "alignment FOUND REFERENCE [FOUND REFERENCE ...] gives precision, recall and F1, macro and micro over the "
          "cases.\n\n"
          "calibration FOUND REFERENCE gives the calibration alone.",
      .arguments = {cli::choice("WHAT", o.what, {"translation", "alignment", "calibration"}, "what is compared"),
                    cli::inputs("FILE", files, "result and reference")},
      .options = {{"--to", &o.to, "languages to compare; all of the reference otherwise", {.value_name = "LANG"}},
                  {"--alt", &o.alt, "alternative labels of the reference count as right in \"with alt\""},
                  {"--all", &o.all, "compare labels that were there before, too"},
                  {"--second", &o.second, "another result for a paired randomisation test", {.value_name = "FILE"}},
                  {"--samples", &o.samples, "bootstrap samples", {.minimum = 0, .maximum = 100000}},
                  {"--worst", &o.worst, "labels to list that are farthest from the reference", {.minimum = 0}},
                  {"--report", &o.report, "CSV with every pair", {.value_name = "FILE"}},
                  {"--base", &o.base, "base for relative IRIs", {.value_name = "IRI"}}},
      .examples = {{"wokie-evaluate translation out.h5 tadirah.ttl --to de --alt", "translations against gold labels"},
                   {"wokie-evaluate alignment found.rdf reference.rdf", "precision, recall, F1"},
                   {"wokie-evaluate translation a.ttl gold.ttl --to fr --second b.ttl", "is a better than b?"}},
      .reference =
          "Popović, chrF, WMT 2015; Papineni et al., BLEU, ACL 2002, as computed by Post, A Call for Clarity in "
          "Reporting BLEU "
          "Scores, WMT 2018; Snover et al., TER, AMTA 2006; Guo et al., On Calibration of Modern Neural Networks, ICML "
          "2017.",
      .reads = "kind thesaurus with /translations (see wokie-translate); kind table with /alignment (see wokie-match)",
      .writes = "nothing; the report is CSV",
      .standard = {.seed = true},
  };
  return command.run(argc, argv, [&](cli::Session& session) {
    if (o.what == "alignment") return evaluate_alignment(session, files);
    if (files.size() != 2) throw usage_error("{} needs two files: FOUND REFERENCE", o.what);
    o.found = files[0];
    o.reference = files[1];
    if (o.what == "translation") return evaluate_translation(session, o);
    const Document reference = load_document(o.reference, {.base = o.base});
    const std::vector<Sample> samples = collect(o, o.found, reference, thesaurus_of(reference.graph));
    if (std::none_of(samples.begin(), samples.end(), [](const Sample& s) { return s.confidence >= 0; }))
      throw bad_input("{}:/translations/confidence: missing; expected an HDF5 file of wokie-translate", o.found);
    add_calibration(session, samples);
  });
}
