// Phrases and compounds from parts: translate the parts, join them as the target language does.

#include <algorithm>
#include <array>
#include <set>

#include "labels.hpp"
#include "language.hpp"
#include "offline.hpp"
#include "unicode.hpp"

namespace fachwerk::wokie {
namespace {

bool is_germanic_compounder(const std::string& language) {
  static const std::set<std::string> known = {"de", "nl", "sv", "da", "nb", "no", "nn"};
  return known.contains(language);
}
bool is_romance(const std::string& language) {
  static const std::set<std::string> known = {"fr", "es", "it", "pt", "ca"};
  return known.contains(language);
}

constexpr std::array<std::string_view, 8> links = {"", "s", "n", "en", "es", "e", "er", "ns"};

/// A phrase as modifiers (in order of distance to the head, nearest last) and head.
struct Phrase {
  std::vector<std::string> modifiers;
  std::string head;
};

std::optional<Phrase> analyse(const Lexicon& lexicon, const std::string& language, const std::string& text) {
  static const std::set<std::string, std::less<>> linking = {
      "de",    "des", "du",  "del", "della", "delle", "dei", "di",  "da", "do", "dos", "das", "d",   "dell", "degli",
      "dello", "of",  "the", "la",  "les",   "le",    "los", "las", "el", "l",  "von", "vom", "der", "van"};
  std::vector<std::string> parts = words(replaced(fold(text, language), "'", " "));
  if (parts.size() == 1 && is_germanic_compounder(language)) parts = split_compound(lexicon, language, parts[0]);
  const bool of = std::any_of(parts.begin(), parts.end(), [](const std::string& word) {
    return word == "of" || word == "von" || word == "vom" || word == "der" || word == "des" || word == "van";
  });
  std::erase_if(parts, [&](const std::string& word) { return linking.contains(word) && word != "da"; });
  if (parts.size() < 2 || parts.size() > 3) return std::nullopt;
  Phrase out;
  if (is_romance(language) || of) {
    out.head = parts.front();
    out.modifiers.assign(parts.rbegin(), parts.rend() - 1);
  } else {
    out.head = parts.back();
    out.modifiers.assign(parts.begin(), parts.end() - 1);
  }
  return out;
}

/// How a part of a phrase is looked up.
struct Part {
  bool modifier;     ///< keeps its number; German adjectives lose their ending
  bool may_be_long;  ///< translations of several words will do: "final" + "Bronze Age"
};

std::vector<std::string> part_keys(const Lexicon& lexicon, const std::string& from, const std::string& word,
                                   bool modifier) {
  std::vector<std::string> keys = dictionary_keys(word, short_code(from));
  if (!modifier || from != "deu") return keys;
  for (const std::string_view ending : {"er", "es", "en", "e"})
    if (word.size() > ending.size() + 2 && word.ends_with(ending)) {
      const std::string stem = word.substr(0, word.size() - ending.size());
      if (lexicon.has_word(from, stem)) keys.insert(keys.begin(), stem);  // "frühe" is early, hardly earliness
      break;
    }
  return keys;
}

std::vector<Translation> best(const Lexicon& lexicon, const std::string& from, const std::string& to,
                              const std::string& word, std::size_t count, Part part) {
  std::vector<Translation> found;
  bool plural_source = false;
  for (const std::string& key : part_keys(lexicon, from, word, part.modifier)) {
    found = word_translations(lexicon, from, to, key, true, true);
    if (!found.empty()) break;
    plural_source = true;  // the word itself is not listed, its singular is
  }
  if (plural_source && part.modifier && is_romance(short_code(to)))
    for (Translation& t : found)
      if (t.text.find(' ') == std::string::npos) t.text = plural(t.text, short_code(to));
  if (!part.may_be_long)
    std::erase_if(found, [](const Translation& t) { return t.text.find(' ') != std::string::npos; });
  if (found.size() > count) found.resize(count);
  return found;
}

std::string german_link(const std::string& modifier) {
  for (const std::string_view suffix : {"ung", "heit", "keit", "ion", "tät", "schaft", "ling", "tum"})
    if (modifier.ends_with(suffix)) return "s";
  return modifier.ends_with("e") ? "n" : "";
}

std::string german_adjective(const std::string& stem, const Translation& head) {
  if (head.gender & gender_plural || head.gender & gender_feminine) return stem + (stem.ends_with("e") ? "" : "e");
  if (head.gender & gender_masculine) return stem + (stem.ends_with("e") ? "r" : "er");
  if (head.gender & gender_neuter) return stem + (stem.ends_with("e") ? "s" : "es");
  return stem + "e";
}

std::string romance_adjective(const std::string& adjective, const Translation& head, const std::string& language) {
  if (!(head.gender & gender_feminine) || (head.gender & gender_masculine)) return adjective;
  if (language == "fr") {
    if (adjective.ends_with("e")) return adjective;
    if (adjective.ends_with("if")) return adjective.substr(0, adjective.size() - 1) + "ve";
    if (adjective.ends_with("eux")) return adjective.substr(0, adjective.size() - 1) + "se";
    if (adjective.ends_with("ien") || adjective.ends_with("el")) return adjective + adjective.back() + "e";
    return adjective + "e";
  }
  if (adjective.ends_with("o")) return adjective.substr(0, adjective.size() - 1) + "a";
  return adjective;
}

std::string romance_of(const std::string& noun, const std::string& language) {
  const bool vowel =
      !noun.empty() && std::u32string_view(U"aeiouhéèêàâîôû").find(code_points(noun)[0]) != std::u32string_view::npos;
  if (language == "fr") return vowel ? "d'" + noun : "de " + noun;
  if (language == "ca") return vowel ? "d'" + noun : "de " + noun;
  if (language == "it") return "di " + noun;
  return "de " + noun;
}

/// All ways to join a modifier with a head, with the prior of each template.
struct Joined {
  std::string text;
  double prior;
};

std::vector<Joined> join_pair(const Lexicon& lexicon, const Translation& modifier, const Translation& head,
                              const std::string& target) {
  std::vector<Joined> out;
  // German writes its nouns with a capital: the dictionary's form tells adjective from noun where no mark does.
  const bool adjective = modifier.pos == pos_adjective || (target == "de" && !initial_is_upper(modifier.text));
  const std::string target3 = long_code(target);
  if (is_germanic_compounder(target)) {
    if (adjective) {
      out.push_back(
          {(target == "de" ? german_adjective(modifier.text, head) : modifier.text + "e") + " " + head.text, 0.8});
    } else {
      const std::string tail = lower(head.text);
      for (const std::string_view link : links) {
        const std::string compound = modifier.text + std::string(link) + tail;
        if (lexicon.has_word(target3, fold(compound))) out.push_back({compound, 3.0});
      }
      out.push_back({modifier.text + (target == "de" ? german_link(modifier.text) : "") + tail, 0.5});
    }
  } else if (is_romance(target)) {
    if (adjective) out.push_back({head.text + " " + romance_adjective(modifier.text, head, target), 0.8});
    if (!adjective) out.push_back({head.text + " " + romance_of(modifier.text, target), 0.7});
  } else {
    out.push_back({modifier.text + " " + head.text, 0.6});
  }
  for (Joined& joined : out)
    if (joined.prior < 2 && lexicon.has_word(target3, fold(joined.text))) joined.prior = 3.0;
  return out;
}

}  // namespace

std::vector<std::string> split_compound(const Lexicon& lexicon, const std::string& language, const std::string& word) {
  const std::string lang = long_code(language);
  std::vector<std::string> best_parts = {word};
  double best_score = 0;
  const std::u32string letters = code_points(word);
  if (letters.size() < 7) return best_parts;
  for (std::size_t cut = 3; cut + 3 <= letters.size(); ++cut) {
    const std::string head = utf8(std::u32string_view(letters).substr(cut));
    if (!lexicon.has_word(lang, head)) continue;
    const std::string front = utf8(std::u32string_view(letters).substr(0, cut));
    for (const std::string_view link : links) {
      if (!front.ends_with(link) || front.size() < link.size() + 3) continue;
      const std::string modifier = front.substr(0, front.size() - link.size());
      std::string listed;
      if (lexicon.has_word(lang, modifier))
        listed = modifier;
      else if (link.empty() && lexicon.has_word(lang, modifier + "e"))
        listed = modifier + "e";  // Schul-, Sprach-
      if (listed.empty()) continue;
      // Long parts are rarely there by accident; a link costs a little.
      const double score = std::min<double>(static_cast<double>(listed.size()), static_cast<double>(head.size())) +
                           0.1 * static_cast<double>(head.size()) - (link.empty() ? 0 : 0.3);
      if (score > best_score) {
        best_score = score;
        best_parts = {listed, head};
      }
    }
  }
  return best_parts;
}

std::vector<Proposal> compose(const Lexicon& lexicon, const SourceText& source, const std::string& target) {
  const auto phrase = analyse(lexicon, source.language, source.text);
  if (!phrase) return {};
  const std::string from = long_code(source.language), to = long_code(target);
  constexpr std::size_t width = 4;
  struct Partial {
    Translation unit;
    double score;
  };
  // "spätarchaisch" is an adjective as a whole; other heads are nouns.
  const bool adjective_head = source.language == "de" && words(source.text).size() == 1 && target != "de";
  std::vector<Partial> beam;
  for (const Translation& head : best(lexicon, from, to, phrase->head, width, {false, target == "en"}))
    if (head.pos != pos_verb && (head.pos != pos_adjective || adjective_head) &&
        (target != "de" || initial_is_upper(head.text)))
      beam.push_back({head, head.probability});
  for (auto modifier = phrase->modifiers.rbegin(); modifier != phrase->modifiers.rend(); ++modifier) {
    std::vector<Partial> next;
    for (const Translation& translated : best(lexicon, from, to, *modifier, width, {true, false})) {
      if (translated.pos == pos_verb) continue;
      for (const Partial& partial : beam)
        for (Joined& joined : join_pair(lexicon, translated, partial.unit, target)) {
          Translation unit = partial.unit;
          unit.text = std::move(joined.text);
          next.push_back({std::move(unit), partial.score * translated.probability * joined.prior});
        }
    }
    std::stable_sort(next.begin(), next.end(), [](const Partial& a, const Partial& b) { return a.score > b.score; });
    if (next.size() > 2 * width) next.resize(2 * width);
    beam = std::move(next);
  }
  double sum = 0;
  for (const Partial& partial : beam)
    sum += partial.score;
  std::vector<Proposal> out;
  for (const Partial& partial : beam)
    out.push_back({partial.unit.text, "compose", partial.score / sum, false});
  return out;
}

}  // namespace fachwerk::wokie
