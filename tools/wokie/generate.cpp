#include "generate.hpp"

#include <algorithm>
#include <cmath>
#include <random>

#include <fmt/format.h>

#include "cli/error.hpp"
#include "labels.hpp"
#include "language.hpp"
#include "unicode.hpp"
#include "vocabulary.hpp"

namespace fachwerk::wokie {
namespace {

/// Draws that are the same on every machine: the standard library's distributions are not.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : engine_(seed) {}
  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  bool chance(double p) { return uniform() < p; }
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(uniform() * static_cast<double>(n)); }
  std::size_t geometric(double mean) {
    return static_cast<std::size_t>(std::log(1 - uniform()) / std::log(mean / (1 + mean)));
  }
  std::size_t poisson(double mean) {
    std::size_t n = 0;
    for (double p = uniform(); p > std::exp(-mean); p *= uniform())
      ++n;
    return n;
  }

 private:
  std::mt19937_64 engine_;
};

/// One meaning: a word in every language, and its other translations as synonyms.
struct Meaning {
  std::vector<std::string> words;
  std::vector<std::vector<std::string>> synonyms;
};

/// The word's translation if that leads back to the word first; empty otherwise.
std::vector<Translation> mutual(const Lexicon& lexicon, const std::string& from, const std::string& to,
                                const std::string& key) {
  const auto there = [&](const std::string& a, const std::string& b, const std::string& word) {
    std::vector<Translation> found = lexicon.direct(a, b, word);
    return found.empty() ? lexicon.pivoted(a, b, word) : found;
  };
  std::vector<Translation> found = there(from, to, key);
  if (found.empty()) return {};
  const std::vector<Translation> back = there(to, from, fold(found.front().text));
  if (back.empty() || fold(back.front().text) != key) return {};
  return found;
}

std::vector<Meaning> draw_meanings(const Lexicon& lexicon, const GenerateOptions& options, Draws& draws) {
  const std::string base = long_code(options.languages.front());
  const auto table = lexicon.words.find(base);
  if (table == lexicon.words.end()) throw absent_error("the lexicon has no words in {}", options.languages.front());
  std::vector<WordId> order(table->second.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    order[i] = static_cast<WordId>(i);
  for (std::size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[draws.below(i)]);
  std::vector<Meaning> out;
  for (const WordId word : order) {
    if (out.size() == options.concepts) break;
    const std::string key(table->second.key(word));
    if (key.size() < 3 || table->second.pos[word] == pos_verb || table->second.pos[word] == pos_other) continue;
    Meaning meaning{{std::string(table->second.word(word))}, {{}}};
    for (std::size_t l = 1; l < options.languages.size(); ++l) {
      const auto found = mutual(lexicon, base, long_code(options.languages[l]), key);
      if (found.empty()) break;
      meaning.words.push_back(found.front().text);
      meaning.synonyms.emplace_back();
      for (std::size_t i = 1; i < found.size(); ++i)
        meaning.synonyms.back().push_back(found[i].text);
    }
    if (meaning.words.size() == options.languages.size()) out.push_back(std::move(meaning));
  }
  if (out.size() < options.concepts)
    throw absent_error("the lexicon has {} words that {} translate alike both ways; {} are wanted", out.size(),
                       join(options.languages, ", "), options.concepts);
  return out;
}

std::string with_typo(const std::string& text, Draws& draws) {
  std::u32string letters = code_points(text);
  if (letters.size() < 4) return text;
  const std::size_t at = 1 + draws.below(letters.size() - 2);
  std::swap(letters[at], letters[at + 1]);
  return utf8(letters);
}

class Generator {
 public:
  Generator(const GenerateOptions& options, std::vector<Meaning> meanings, Draws& draws)
      : options_(options), meanings_(std::move(meanings)), draws_(draws) {}

  Graph run() {
    graph_.prefixes = {{"skos", skos_ns}};
    scheme_ = graph_.iri("http://example.org/generated/scheme");
    graph_.add(scheme_, graph_.iri(rdf("type")), graph_.iri(skos("ConceptScheme")));
    grow_tree();
    for (std::size_t c = 0; c < meanings_.size(); ++c)
      describe(c);
    return std::move(graph_);
  }

 private:
  TermId node(std::size_t c) { return graph_.iri(fmt::format("http://example.org/generated/{}", c + 1)); }

  void grow_tree() {
    broader_.assign(meanings_.size(), -1);
    std::size_t next = 1;
    for (std::size_t c = 0; c < meanings_.size() && next < meanings_.size(); ++c) {
      std::size_t children = draws_.geometric(options_.branching);
      if (c + 1 == next) children = std::max<std::size_t>(children, 1);  // the tree must not end here
      for (; children > 0 && next < meanings_.size(); --children)
        broader_[next++] = static_cast<std::int64_t>(c);
    }
  }

  void describe(std::size_t c) {
    const TermId self = node(c);
    graph_.add(self, graph_.iri(rdf("type")), graph_.iri(skos("Concept")));
    graph_.add(self, graph_.iri(skos("inScheme")), scheme_);
    if (broader_[c] < 0)
      graph_.add(self, graph_.iri(skos("topConceptOf")), scheme_);
    else
      graph_.add(self, graph_.iri(skos("broader")), node(static_cast<std::size_t>(broader_[c])));
    if (c > 1 && draws_.chance(options_.polyhierarchy))
      graph_.add(self, graph_.iri(skos("broader")), node(draws_.below(c)));  // earlier ones only: no cycle
    if (c > 0 && draws_.chance(options_.related)) relate(c, draws_.below(c));
    const bool homonym = c > 0 && draws_.chance(options_.homonyms);
    const std::size_t other = draws_.below(std::max<std::size_t>(c, 1));
    const bool in_plural = draws_.chance(options_.plural);
    const bool qualified = broader_[c] >= 0 && draws_.chance(options_.qualifier);
    for (std::size_t l = 0; l < options_.languages.size(); ++l) {
      const double share = options_.coverage[std::min(l, options_.coverage.size() - 1)];
      if (!draws_.chance(share)) continue;
      label(c, l, homonym && l == 0 ? meanings_[other].words[0] : meanings_[c].words[l], in_plural, qualified);
    }
  }

  void relate(std::size_t a, std::size_t b) {
    for (std::int64_t up = static_cast<std::int64_t>(a); up >= 0; up = broader_[static_cast<std::size_t>(up)])
      if (up == static_cast<std::int64_t>(b)) return;  // SKOS S27
    graph_.add(node(a), graph_.iri(skos("related")), node(b));
    graph_.add(node(b), graph_.iri(skos("related")), node(a));
  }

  void label(std::size_t c, std::size_t l, std::string text, bool in_plural, bool qualified) {
    const std::string& language = options_.languages[l];
    if (in_plural && text.find(' ') == std::string::npos) text = plural(text, language);
    if (draws_.chance(options_.typos)) text = with_typo(text, draws_);
    if (qualified) text += " (" + meanings_[static_cast<std::size_t>(broader_[c])].words[l] + ")";
    graph_.add(node(c), graph_.iri(skos("prefLabel")), graph_.literal(text, language));
    const auto& synonyms = meanings_[c].synonyms[l];
    for (std::size_t i = 0; i < std::min(draws_.poisson(options_.synonyms), synonyms.size()); ++i)
      if (synonyms[i] != text) graph_.add(node(c), graph_.iri(skos("altLabel")), graph_.literal(synonyms[i], language));
  }

  const GenerateOptions& options_;
  std::vector<Meaning> meanings_;
  Draws& draws_;
  std::vector<std::int64_t> broader_;
  Graph graph_;
  TermId scheme_ = no_term;
};

}  // namespace

Graph generate_thesaurus(const Lexicon& lexicon, const GenerateOptions& options) {
  Draws draws(options.seed);
  std::vector<Meaning> meanings = draw_meanings(lexicon, options, draws);
  return Generator(options, std::move(meanings), draws).run();
}

}  // namespace fachwerk::wokie
