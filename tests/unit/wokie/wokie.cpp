#include <algorithm>
#include <cmath>
#include <random>

#include <doctest.h>

#include "apertium.hpp"
#include "check.hpp"
#include "cli/error.hpp"
#include "consensus.hpp"
#include "dictd.hpp"
#include "generate.hpp"
#include "http.hpp"
#include "labels.hpp"
#include "language.hpp"
#include "lexicon.hpp"
#include "llm.hpp"
#include "match.hpp"
#include "metrics.hpp"
#include "offline.hpp"
#include "rdf.hpp"
#include "script.hpp"
#include "sha256.hpp"
#include "thesaurus.hpp"
#include "unicode.hpp"

using namespace fachwerk::wokie;

TEST_CASE("scores of the specification's five pairs") {
  const std::vector<std::string> hypothesis = {"estrategia de búsqueda", "estudio de los usuarios",
                                               "evaluación de récords", "sistema de información",
                                               "análisis de contenido"};
  const std::vector<std::string> reference = {"estrategia de búsqueda", "estudio de los usuarios de información",
                                              "evaluación de los documentos", "sistemas de información",
                                              "análisis de contenido"};
  const double chrf_expected[] = {100, 62.5955, 47.0468, 80.9238, 100},
               bleu_expected[] = {100, 60.6531, 39.4322, 55.0321, 100};
  const double ter_expected[] = {0, 100.0 / 3, 50, 100.0 / 3, 0};
  ChrfCounts sum, with_words;
  BleuCounts bleu_sum;
  TerCounts ter_sum;
  for (std::size_t i = 0; i < 5; ++i) {
    const ChrfCounts own = chrf_counts(hypothesis[i], reference[i]);
    const BleuCounts counts = bleu_counts(hypothesis[i], {reference[i]});
    const TerCounts ter = ter_counts(hypothesis[i], reference[i]);
    CHECK(std::abs(chrf(own) - chrf_expected[i]) < 1e-3);
    CHECK(std::abs(bleu(counts, true) - bleu_expected[i]) < 1e-3);
    CHECK(std::abs(100 * ter.edits / ter.length - ter_expected[i]) < 1e-3);
    sum += own;
    with_words += chrf_counts(hypothesis[i], reference[i], 2);
    bleu_sum += counts;
    ter_sum.edits += ter.edits;
    ter_sum.length += ter.length;
  }
  CHECK(std::abs(chrf(sum) - 75.1422) < 1e-3);
  CHECK(std::abs(chrf(with_words, 2) - 74.2661) < 1e-3);
  CHECK(std::abs(bleu(bleu_sum) - 68.91) < 5e-3);
  CHECK(std::abs(100 * ter_sum.edits / ter_sum.length - 26.3158) < 1e-3);
}

TEST_CASE("a shift costs one edit") {
  CHECK(ter_counts("c a b", "a b c").edits == 1);
  CHECK(ter_counts("a b c", "a b c").edits == 0);
}

TEST_CASE("bit-parallel and plain edit distance agree") {
  std::mt19937 random(3);
  for (int trial = 0; trial < 300; ++trial) {
    std::u32string a, b;
    for (std::uint32_t i = random() % 70; i > 0; --i)
      a += U'a' + static_cast<char32_t>(random() % 4);
    for (std::uint32_t i = random() % 70; i > 0; --i)
      b += U'a' + static_cast<char32_t>(random() % 4);
    std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i)
      for (std::size_t j = 0; j <= b.size(); ++j)
        d[i][j] = i == 0 ? j
                  : j == 0
                      ? i
                      : std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
    CHECK(levenshtein(a, b) == d[a.size()][b.size()]);
  }
}

TEST_CASE("frequency vote and the original's flow") {
  CHECK(frequency_vote({"x", "X", "y"}).best == "x");
  CHECK(frequency_vote({"x", "X", "y"}).share == doctest::Approx(2.0 / 3));
  CHECK(frequency_vote({"b", "a"}).best == "b");
  CHECK(frequency_vote({}).best.empty());
  const std::vector<std::string> five = {"A", "a", "B", "C", "A"};
  CHECK(decide_original(five, {5, 0.6, 1}, {}).method == Method::primary);
  CHECK(decide_original(five, {5, 0.61, 1}, {}).method == Method::fallback);
  int asked = 0;
  SecondaryCalls calls;
  calls.propose = [&] {
    ++asked;
    return std::vector<std::string>{"haus"};
  };
  const Decision same = decide_original({"Haus", "Bau", "Hof", "Hut"}, {5, 0.6, 1}, calls);
  CHECK(asked == 1);
  CHECK(same.method == Method::secondary_is_primary);
  CHECK(same.confidence == 1);
  const auto rated = [](const std::string& reply) {
    SecondaryCalls rating;
    rating.rate = [&](const std::vector<std::string>&, int) { return reply; };
    return decide_original({"Haus", "Bau"}, {5, 0.6, 0}, rating);
  };
  CHECK(rated("Haus; 0.8").confidence == doctest::Approx(0.8));
  CHECK(rated("Haus; 0.8").method == Method::rated);
  for (const char* refused : {"Haus; 1.2", "Hut; .9", ";0.5", "None; 0"})
    CHECK(rated(refused).method == Method::fallback);
}

TEST_CASE("weights recover the reliabilities of simulated services") {
  Reliability reliability;
  std::mt19937 random(5);
  const std::pair<const char*, double> services[] = {{"dict", 0.7}, {"pivot", 0.3}};
  for (int item = 0; item < 2000; ++item) {
    for (const auto& [name, p] : services)
      reliability.record(name, "en", random() % 10000 < p * 10000);
    ++reliability.tried;
  }
  for (const auto& [name, p] : services)
    CHECK(std::abs(reliability.estimate(name, "en", "de") - p) < 0.05);
}

TEST_CASE("isotonic regression is monotone") {
  std::vector<std::pair<double, bool>> samples;
  for (int i = 0; i < 400; ++i)
    samples.emplace_back(i / 400.0, (i * 7919) % 400 < i);
  const Isotonic fit = Isotonic::fit(samples);
  double last = 0;
  for (double x = 0; x <= 1; x += 0.01) {
    CHECK(fit(x) >= last - 1e-12);
    last = fit(x);
  }
  CHECK(std::abs(fit(0.5) - 0.5) < 0.15);
}

TEST_CASE("graphs are compared without regard to blank node names") {
  const auto read = [](const char* text) { return read_rdf(text, Format::turtle, {.name = "t"}); };
  const Graph a = read("@prefix : <http://e/> . :s :p [ :q 1 ; :r [ :q 2 ] ] , [ :q 3 ] .");
  const Graph b = read("@prefix : <http://e/> . _:z :q 3 . :s :p _:z , _:y . _:x :q 2 . _:y :r _:x ; :q 1 .");
  CHECK(canonical_lines(a) == canonical_lines(b));
  const Graph c = read("@prefix : <http://e/> . _:z :q 3 . :s :p _:z , _:y . _:x :q 3 . _:y :r _:x ; :q 1 .");
  CHECK(canonical_lines(a) != canonical_lines(c));
}

TEST_CASE("JSON-LD features") {
  const Graph json = read_rdf(
      R"({"@context":{"@vocab":"http://e/","name":{"@container":"@language"},"to":{"@type":"@id"},"@language":"en",
      "of":{"@reverse":"part"},"list":{"@container":"@list"}},"@id":"http://a/1","@type":"C","name":{"de":["x","y"],"fr":"z"},"to":"http://a/2",
      "plain":"t","n":5,"b":true,"d":1.5,"of":{"@id":"http://a/3"},"list":[1,2],"u":{"@value":"v","@language":"it"}})",
      Format::jsonld, {.name = "j"});
  const Graph turtle = read_rdf(
      R"(@prefix : <http://e/> . <http://a/1> a :C ; :name "x"@de, "y"@de, "z"@fr ; :to <http://a/2> ; :plain "t"@en ;
      :n 5 ; :b true ; :d "1.5E0"^^<http://www.w3.org/2001/XMLSchema#double> ; :list (1 2) ; :u "v"@it . <http://a/3> :part <http://a/1> .)",
      Format::turtle, {.name = "t"});
  CHECK(canonical_lines(json) == canonical_lines(turtle));
  CHECK_THROWS_AS(read_jsonld(R"({"@context":"http://x/","a":1})", {.name = "j"}), fachwerk::Error);
}

TEST_CASE("relative IRIs resolve as in RFC 3986, 5.4") {
  const std::string base = "http://a/b/c/d;p?q";
  for (const auto& [reference, expected] :
       std::vector<std::pair<std::string, std::string>>{{"g", "http://a/b/c/g"},
                                                        {"./g", "http://a/b/c/g"},
                                                        {"g/", "http://a/b/c/g/"},
                                                        {"/g", "http://a/g"},
                                                        {"//g", "http://g"},
                                                        {"?y", "http://a/b/c/d;p?y"},
                                                        {"#s", "http://a/b/c/d;p?q#s"},
                                                        {"", "http://a/b/c/d;p?q"},
                                                        {"..", "http://a/b/"},
                                                        {"../../g", "http://a/g"},
                                                        {"../../../g", "http://a/g"}})
    CHECK(resolve_iri(base, reference) == expected);
}

TEST_CASE("dictionary entries in all grammars") {
  CHECK(dictd_number("BkW") == 64 * 64 + 36 * 64 + 22);
  CHECK(dictd_number("=") == -1);
  const DictEntry wik =
      parse_entry("Abstieg /ˈap/ <n, masc>\n1. descenso, bajada\ndas Herunterklettern\n2. caída\n", false);
  REQUIRE(wik.senses.size() == 3);
  CHECK(wik.heads[0].text == "Abstieg");
  CHECK(wik.heads[0].gender == gender_masculine);
  CHECK(wik.senses[2].word.text == "caída");
  const DictEntry ding = parse_entry(
      "annona /a/\nAnnona <fem> [bot.]\n   Synonyms: {x}\nHaus <neut>, Bau <masc>\n         Note: y\n see: {z}\n",
      true);
  REQUIRE(ding.senses.size() == 3);
  CHECK(ding.senses[0].domain == "bot");
  const DictEntry empty_line = parse_entry("anchor /a/\n\nαγκυροβολία\n", false);
  REQUIRE(empty_line.senses.size() == 1);
}

TEST_CASE("pivoting sums over languages") {
  const auto word = [](const char* text) { return DictWord{text, 0, 0}; };
  const auto dictionary = [&](const char* from, const char* to, const char* a, const char* b) {
    return Dictionary{from, to, {DictEntry{{word(a)}, {DictSense{word(b), 0, ""}}}}};
  };
  const Lexicon lexicon =
      build_lexicon({dictionary("eng", "deu", "sword", "Schwert"), dictionary("deu", "fra", "Schwert", "épée"),
                     dictionary("eng", "spa", "sword", "espada"), dictionary("spa", "fra", "espada", "épée")});
  CHECK(lexicon.direct("eng", "fra", "sword").empty());
  const auto found = lexicon.pivoted("eng", "fra", "sword");
  REQUIRE(found.size() == 1);
  CHECK(found[0].text == "épée");
  CHECK(lexicon.direct("deu", "eng", "schwert").front().text == "sword");
}

TEST_CASE("framing of terms") {
  CHECK(unframe_terms("humanités numériques.\n\nanalyse.\n\n", 2) ==
        std::vector<std::string>{"humanités numériques", "analyse"});
  CHECK_FALSE(unframe_terms("a.\n\nb.\n\n", 3));
  CHECK(has_marks("*foo bar"));
}

TEST_CASE("labels, languages, replies") {
  CHECK(fold("  Die Straße ", "de") == "strasse");
  CHECK(fold("L’Épée", "fr") == "épée");
  CHECK(fold("«Stone-age»") == "stone age");
  CHECK(split_qualifier("Keramik (Material)").qualifier == "Material");
  CHECK(parse_language_tag("SR-cyrl-rs")->text() == "sr-Cyrl-RS");
  CHECK_FALSE(parse_language_tag("d_e"));
  CHECK(matches_language("en-GB", "en"));
  CHECK_FALSE(matches_language("en-GB", "en", true));
  CHECK(english_name("de") == "German");
  CHECK(long_code("fr") == "fra");
  CHECK(short_code("ger") == "de");
  CHECK(cleaned_reply("\xff\xff Haus<THINK>never closed, after bytes that are no text") == "\ufffd\ufffd Haus");
  CHECK(cleaned_reply("<think>hm; 0.3</think>\n```\nTranslation: \"Haus\"\n```") == "Haus");
  CHECK_FALSE(reply_objection("I cannot translate this.", "x", "de").empty());
  CHECK_FALSE(reply_objection("house", "дом", "el").empty());
  CHECK(reply_objection("Haus", "house", "de").empty());
  CHECK(parse_selection("ok {\"choice\":2,\"translation\":\"x\",\"confidence\":0.5}", 2)->choice == 2);
  CHECK_FALSE(parse_selection("{\"choice\":3,\"confidence\":0.5}", 2));
  CHECK(quoted_data("a»\nignore «b").find('\n') == std::string::npos);
}

TEST_CASE("waiting as the server asks") {
  CHECK(parse_retry_after(" 7", 0) == 7);
  CHECK(parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT", 1445412470.0) == doctest::Approx(10));
  CHECK_FALSE(parse_retry_after("soon", 0));
  CHECK(retry_delay({}, 3, 0.5) == doctest::Approx(4));
  CHECK(retry_delay({}, 20, 0.5) == doctest::Approx(60));
}

TEST_CASE("SHA-256 of the standard's example") {
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST_CASE("assignment against all permutations") {
  std::mt19937 random(11);
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<double> gain(16);
    for (double& g : gain)
      g = 0.01 + random() % 1000 / 1000.0;
    const auto assigned = best_assignment(gain, 4, 4);
    double sum = 0, best = 0;
    for (std::size_t i = 0; i < 4; ++i)
      sum += assigned[i] < 0 ? 0 : gain[4 * i + static_cast<std::size_t>(assigned[i])];
    std::vector<std::size_t> order = {0, 1, 2, 3};
    do {
      double total = 0;
      for (std::size_t i = 0; i < 4; ++i)
        total += gain[4 * i + order[i]];
      best = std::max(best, total);
    } while (std::next_permutation(order.begin(), order.end()));
    CHECK(sum == doctest::Approx(best));
  }
}

TEST_CASE("English compounds and their of-phrases vote together") {
  CHECK(english_compound("theory of the information") == "information theory");
  CHECK(english_compound("Analysis of networks") == "network analysis");
  CHECK_FALSE(english_compound("state of the art of war"));
  CHECK_FALSE(english_compound("analysis"));
  CHECK(vote_key("Theory of information", "en") == vote_key("information theory", "en"));
  CHECK(vote_key("analisi delle reti", "it") == vote_key("analisi di rete", "it"));
  CHECK(vote_key("analisi delle reti", "it") != vote_key("analisi dei dati", "it"));
}

TEST_CASE("the number of the sources decides where the target language has no convention yet") {
  const std::vector<SourceText> sources = {{"en", "maps"}, {"fr", "cartes"}};
  std::vector<Candidate> candidates = {{"mapa", "dict", 0}, {"mapas", "pivot", 1}};
  CHECK(weighted_vote(candidates, sources, {}, "es").front().text == "mapas");
  const Convention singular{.capital = false, .plural_share = 0, .seen = 50};
  CHECK(weighted_vote(candidates, sources, {}, "es", singular).front().text == "mapa");
}

TEST_CASE("groups of one source text fade") {
  const std::vector<SourceText> one = {{"en", "maps"}}, two = {{"en", "maps"}, {"fr", "cartes"}};
  std::vector<Candidate> same = {{"mapa", "dict", 0}, {"mapa", "pivot", 0}},
                         other = {{"mapa", "dict", 0}, {"mapa", "pivot", 1}};
  CHECK(weighted_vote(same, one, {}, "de").front().score < weighted_vote(other, two, {}, "de").front().score);
}

TEST_CASE("near hits of a memory") {
  Memory memory;
  memory.add("en", "iron age settlement of the northern valley", "de", "Siedlung");
  const auto near = memory.look_up({"en", "iron age settlements of the northern valley"}, "de");
  REQUIRE(near.size() == 1);
  CHECK(near[0].factor == 0.5);
  CHECK(near[0].probability == doctest::Approx(1 - 0.5 / 7));
  CHECK(memory.look_up({"en", "bronze age settlement of the southern valley"}, "de").empty());
  CHECK(memory.look_up({"en", "iron age settlement of the northern valley"}, "de").front().factor == 1);
}

TEST_CASE("marks that dictionaries hang on words") {
  const DictEntry entry =
      parse_entry("silver /ˈsɪlvə/\nSilber…, Silber 2, /ˈaɡ/, 'Bergkristall', a Priori...\n", false);
  REQUIRE(entry.senses.size() == 4);
  CHECK(entry.senses[0].word.text == "Silber");
  CHECK(entry.senses[1].word.text == "Silber");
  CHECK(entry.senses[2].word.text == "Bergkristall");
}

TEST_CASE("letters of one script in another") {
  CHECK(transliterated("Љубав", "sr", "hr") == "Ljubav");
  CHECK(transliterated("Njiva", "hr", "sr") == "Њива");
  CHECK(transliterated("Лев Толстой", "ru", "de") == "Lev Tolstoy");
  CHECK_FALSE(transliterated("дом", "ru", "de"));
  CHECK_FALSE(transliterated("house", "en", "de"));
}

TEST_CASE("a lexicon whose columns do not fit is refused") {
  const auto word = [](const char* text) { return DictWord{text, 0, 0}; };
  const Lexicon whole =
      build_lexicon({{"eng", "deu", {DictEntry{{word("sword")}, {DictSense{word("Schwert"), 0, ""}}}}}});
  LexiconColumns columns = whole.columns();
  CHECK(Lexicon(columns, "whole", true).direct("eng", "deu", "sword").size() == 1);
  columns.target = columns.target.subspan(1);
  CHECK_THROWS_AS(Lexicon(columns, "cut", false), fachwerk::Error);
  columns = whole.columns();
  const std::vector<WordId> wild(columns.target.size(), 99);
  columns.target = wild;
  CHECK_THROWS_AS(Lexicon(columns, "wild", true), fachwerk::Error);
  CHECK(Lexicon(columns, "wild", false).direct("eng", "deu", "sword").empty());
}

TEST_CASE("a made-up thesaurus is sound and says what the lexicon says") {
  Dictionary dictionary{"deu", "eng", {}};
  for (const char* text : {"Haus:house", "Hund:dog", "Katze:cat", "Baum:tree", "Schwert:sword", "Nadel:needle"}) {
    const std::string both = text;
    const std::size_t colon = both.find(':');
    dictionary.entries.push_back({{DictWord{both.substr(0, colon)}}, {DictSense{DictWord{both.substr(colon + 1)}, 0}}});
  }
  const Lexicon lexicon = build_lexicon({dictionary});
  GenerateOptions options{.concepts = 5, .languages = {"de", "en"}, .coverage = {1.0}, .qualifier = 0, .homonyms = 0};
  const Graph graph = generate_thesaurus(lexicon, options);
  CHECK(canonical_lines(graph) == canonical_lines(generate_thesaurus(lexicon, options)));
  const Thesaurus thesaurus = thesaurus_of(graph, {});
  REQUIRE(thesaurus.concepts.size() == 5);
  CHECK(thesaurus.cycles_cut == 0);
  for (std::size_t c = 0; c < 5; ++c) {
    const auto german = texts_of(graph, thesaurus, c, Property::pref_label, "de");
    const auto english = texts_of(graph, thesaurus, c, Property::pref_label, "en");
    REQUIRE(german.size() == 1);
    REQUIRE(english.size() == 1);
    CHECK(lexicon.direct("deu", "eng", fold(german[0])).front().text == english[0]);
  }
  options.concepts = 7;
  CHECK_THROWS_AS(generate_thesaurus(lexicon, options), fachwerk::Error);
}
