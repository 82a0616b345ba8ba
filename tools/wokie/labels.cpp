#include "labels.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "language.hpp"
#include "unicode.hpp"

namespace fachwerk::wokie {
namespace {

const std::map<std::string, std::set<std::string, std::less<>>, std::less<>> articles = {
    {"de", {"der", "die", "das", "den", "dem", "des", "ein", "eine", "einen", "einem", "einer", "eines"}},
    {"en", {"the", "a", "an"}},
    {"fr", {"le", "la", "les", "un", "une", "des", "l"}},
    {"es", {"el", "la", "los", "las", "un", "una", "unos", "unas"}},
    {"it", {"il", "lo", "la", "i", "gli", "le", "un", "uno", "una", "l"}},
    {"pt", {"o", "a", "os", "as", "um", "uma", "uns", "umas"}},
    {"nl", {"de", "het", "een"}},
    {"ca", {"el", "la", "els", "les", "un", "una", "l"}}};

bool is_outer(char32_t c) {
  return std::u32string_view(U"'\"“”„‟‘’‚«»‹›「」『』()[]{}").find(c) != std::u32string_view::npos;
}
bool is_dash(char32_t c) {
  return std::u32string_view(U"-‐‑‒–—―−/_").find(c) != std::u32string_view::npos;
}

bool ends(std::string_view word, std::string_view suffix, std::size_t stem = 2) {
  return word.size() >= suffix.size() + stem && word.ends_with(suffix);
}

std::string base_language(std::string_view tag) {
  return short_code(split(canonical_tag(tag), '-')[0]);
}

std::string cut(const std::string& word, std::size_t bytes, std::string_view add = {}) {
  return word.substr(0, word.size() - bytes).append(add);
}

bool is_vowel_byte(char c) {
  return std::string_view("aeiou").find(c) != std::string_view::npos;
}

}  // namespace

bool is_article(std::string_view word, std::string_view language) {
  const auto found = articles.find(base_language(language));
  return found != articles.end() && found->second.contains(word);
}

std::string fold(std::string_view text, std::string_view language) {
  const std::string folded = case_folded(text);
  std::u32string out;
  for (char32_t c : code_points(folded)) {
    if (is_dash(c) || is_space(c)) c = U' ';
    if (c == U'’' || c == U'ʼ' || c == U'`' || c == U'´') c = U'\'';
    if (c == 0xAD || c == 0x0640 || (c >= 0x064B && c <= 0x0652) || c == 0x200B) continue;  // soft hyphen, Arabic marks
    if (c == 0x0622 || c == 0x0623 || c == 0x0625) c = 0x0627;                              // forms of alef
    if (c == U' ' && (out.empty() || out.back() == U' ')) continue;
    out += c;
  }
  while (!out.empty() && (out.back() == U' ' || out.back() == U'.'))
    out.pop_back();
  while (out.size() > 2 && is_outer(out.front()) && is_outer(out.back())) {
    out = out.substr(1, out.size() - 2);
  }
  std::string plain = utf8(out);
  if (!language.empty()) {
    const std::size_t at = plain.find_first_of(" '");
    if (at != std::string::npos && at + 1 < plain.size() &&
        is_article(std::string_view(plain).substr(0, at), language) &&
        (plain[at] == ' ') == (at != 1 || plain[0] != 'l'))
      plain.erase(0, at + 1);
  }
  return plain;
}

std::string number_stem(const std::string& word, std::string_view language) {
  const std::string lang = base_language(language);
  const std::string_view w = word;
  if (lang == "en") {
    if (ends(w, "ies")) return cut(word, 3, "y");
    if (ends(w, "sses") || ends(w, "xes") || ends(w, "ches") || ends(w, "shes") || ends(w, "zes")) return cut(word, 2);
    if (ends(w, "ses", 3)) return cut(word, 2, "");
    if (ends(w, "is") && word.size() > 4) return cut(word, 2, "");  // analysis, analyses
    if (ends(w, "ae")) return cut(word, 1);
    if (ends(w, "s") && !ends(w, "ss") && !ends(w, "us")) return cut(word, 1);
    return word;
  }
  if (lang == "fr") {
    if (ends(w, "aux") && !ends(w, "eaux")) return cut(word, 3, "al");
    if (ends(w, "eaux") || ends(w, "eux")) return cut(word, 1);
    return (ends(w, "s") || ends(w, "x")) ? cut(word, 1) : word;
  }
  if (lang == "es" || lang == "pt" || lang == "ca") {
    std::string plain = without_marks(word);
    if (ends(plain, "ces")) return cut(plain, 3, "z");
    if (lang == "pt" && (ends(plain, "oes") || ends(plain, "aes"))) return cut(plain, 3, "ao");
    if (lang == "pt" && ends(plain, "ais")) return cut(plain, 2, "l");
    if (ends(plain, "es") && plain.size() > 4 && !is_vowel_byte(plain[plain.size() - 3])) return cut(plain, 2);
    if (ends(plain, "s")) plain.pop_back();
    if (ends(plain, "e", 3) && lang == "es") plain.pop_back();
    return plain;
  }
  if (lang == "it") {
    const std::string plain = without_marks(word);
    if (ends(plain, "chi") || ends(plain, "che") || ends(plain, "ghi") || ends(plain, "ghe")) return cut(plain, 2);
    return plain.size() > 3 && std::string_view("aeio").find(plain.back()) != std::string_view::npos ? cut(plain, 1)
                                                                                                     : plain;
  }
  if (lang == "de" || lang == "nl" || lang == "sv" || lang == "da" || lang == "nb") {
    std::string plain = lang == "de" ? without_marks(word) : word;
    for (const std::string_view suffix : {"innen", "en", "er", "es", "e", "n", "s"})
      if (ends(plain, suffix, 4)) return cut(plain, suffix == "innen" ? 3 : suffix.size());
    return plain;
  }
  return word;
}

std::string number_folded(std::string_view text, std::string_view language) {
  std::string out;
  for (const std::string& word : words(fold(text, language))) {
    if (!out.empty()) out += ' ';
    out += number_stem(word, language);
  }
  return out;
}

std::vector<std::string> singulars(const std::string& word, std::string_view language) {
  const std::string lang = base_language(language);
  std::vector<std::string> out;
  const auto offer = [&](std::string form) {
    if (form != word && std::find(out.begin(), out.end(), form) == out.end()) out.push_back(std::move(form));
  };
  const std::string_view w = word;
  if (lang == "en") {
    if (ends(w, "ies")) offer(cut(word, 3, "y"));
    if (ends(w, "ves")) offer(cut(word, 3, "f")), offer(cut(word, 3, "fe"));
    if (ends(w, "ses") || ends(w, "xes") || ends(w, "ches") || ends(w, "shes") || ends(w, "zes")) offer(cut(word, 2));
    if (ends(w, "yses")) offer(cut(word, 2, "is"));
    if (ends(w, "men")) offer(cut(word, 2, "an"));
    if (ends(w, "s") && !ends(w, "ss") && !ends(w, "us") && !ends(w, "is")) offer(cut(word, 1));
  } else if (lang == "fr") {
    if (ends(w, "eaux")) offer(cut(word, 1));
    if (ends(w, "aux")) offer(cut(word, 3, "al"));
    if (ends(w, "s") || ends(w, "x")) offer(cut(word, 1));
  } else if (lang == "es") {
    if (ends(w, "ces")) offer(cut(word, 3, "z"));
    if (ends(w, "iones")) offer(cut(word, 5, "ión"));
    if (ends(w, "es")) offer(cut(word, 2));
    if (ends(w, "s")) offer(cut(word, 1));
  } else if (lang == "pt") {
    if (ends(w, "ões")) offer(cut(word, 4, "ão"));
    if (ends(w, "ais")) offer(cut(word, 2, "l"));
    if (ends(w, "res") || ends(w, "zes")) offer(cut(word, 2));
    if (ends(w, "ns")) offer(cut(word, 2, "m"));
    if (ends(w, "s")) offer(cut(word, 1));
  } else if (lang == "it") {
    if (ends(w, "chi") || ends(w, "ghi")) offer(cut(word, 2, "o"));
    if (ends(w, "che") || ends(w, "ghe")) offer(cut(word, 2, "a"));
    if (ends(w, "i"))
      offer(cut(word, 1, "o")), offer(cut(word, 1, "e")), offer(cut(word, 1, "io")), offer(cut(word, 1, "a"));
    if (ends(w, "e")) offer(cut(word, 1, "a"));
  } else if (lang == "de" || lang == "nl") {
    for (const std::string_view suffix : {"innen", "n", "en", "e", "er", "s"})
      if (ends(w, suffix, 3)) {
        const std::string stem = cut(word, suffix == "innen" ? 3 : suffix.size());
        offer(stem);
        if (lang == "de")
          for (const auto& [umlaut, vowel] : {std::pair{"ä", "a"}, {"ö", "o"}, {"ü", "u"}})
            if (const std::size_t at = stem.rfind(umlaut);
                at != std::string::npos && (suffix == "er" || suffix == "e" || suffix == "n"))
              offer(std::string(stem).replace(at, 2, vowel));
      }
  }
  out.push_back(word);
  return out;
}

std::string plural(const std::string& word, std::string_view language) {
  const std::string lang = base_language(language);
  const std::string_view w = word;
  if (word.size() < 2) return word;
  const char last = word.back();
  if (lang == "en") {
    if (last == 'y' && !is_vowel_byte(word[word.size() - 2])) return cut(word, 1, "ies");
    if (ends(w, "sis")) return cut(word, 2, "es");
    if (last == 's' || last == 'x' || ends(w, "ch") || ends(w, "sh")) return word + "es";
    return word + "s";
  }
  if (lang == "fr") {
    if (last == 's' || last == 'x' || last == 'z') return word;
    if (ends(w, "al")) return cut(word, 2, "aux");
    if (ends(w, "eau") || ends(w, "eu")) return word + "x";
    return word + "s";
  }
  if (lang == "es") {
    if (last == 'z') return cut(word, 1, "ces");
    if (ends(w, "ión")) return cut(word, 4, "iones");
    if (last == 's') return word;
    return word + (is_vowel_byte(last) || static_cast<unsigned char>(last) >= 0x80 ? "s" : "es");
  }
  if (lang == "pt") {
    if (ends(w, "ão")) return cut(word, 3, "ões");
    if (last == 'm') return cut(word, 1, "ns");
    if (last == 'l') return cut(word, 1, "is");
    if (last == 's') return word;
    return word + (is_vowel_byte(last) ? "s" : "es");
  }
  if (lang == "it") {
    if (ends(w, "ca") || ends(w, "ga")) return cut(word, 1, "he");
    if (last == 'a') return cut(word, 1, "e");
    if (ends(w, "io")) return cut(word, 1);
    if (last == 'o' || last == 'e') return cut(word, 1, "i");
  }
  return word;
}

bool shows_number(std::string_view language) {
  static const std::set<std::string, std::less<>> known = {"en", "fr", "es", "it", "pt", "ca"};
  return known.contains(base_language(language));
}

bool looks_plural(std::string_view text, std::string_view language) {
  const std::string lang = base_language(language);
  const auto parts = words(fold(text, language));
  if (parts.empty()) return false;
  // The head noun ends the phrase in Germanic languages and starts it in Romance ones.
  const bool romance = lang == "fr" || lang == "es" || lang == "it" || lang == "pt" || lang == "ca";
  const std::string& head = romance ? parts.front() : parts.back();
  if (lang == "en")
    return ends(head, "s") && !ends(head, "ss") && !ends(head, "us") && !ends(head, "is") && !ends(head, "ics");
  if (lang == "it") return ends(head, "i") || (ends(head, "e") && !ends(head, "ione"));
  if (romance) return ends(head, "s") || ends(head, "aux") || ends(head, "eux");
  return false;
}

std::optional<std::string> english_compound(std::string_view phrase) {
  std::vector<std::string> parts = words(phrase);
  const auto of = std::find(parts.begin(), parts.end(), "of");
  if (of == parts.end()) return std::nullopt;
  std::vector<std::string> head(parts.begin(), of), modifier(of + 1, parts.end());
  for (std::vector<std::string>* side : {&head, &modifier})
    if (!side->empty() && is_article(lower(side->front()), "en")) side->erase(side->begin());
  if (head.empty() || modifier.empty() || head.size() > 2 || modifier.size() > 2) return std::nullopt;
  if (std::find(modifier.begin(), modifier.end(), "of") != modifier.end()) return std::nullopt;
  modifier.back() = singulars(modifier.back(), "en").front();
  if (lower(with_initial(head.front(), false)) == with_initial(head.front(), false))
    head.front() = with_initial(head.front(), false);
  return join(modifier, " ") + " " + join(head, " ");
}

Qualified split_qualifier(std::string_view label) {
  const std::string_view text = trimmed(label);
  const std::size_t open = text.rfind('(');
  if (text.empty() || text.back() != ')' || open == std::string_view::npos || open == 0) return {std::string(text)};
  const std::string_view head = trimmed(text.substr(0, open));
  const std::string_view inside = trimmed(text.substr(open + 1, text.size() - open - 2));
  if (head.empty() || inside.empty()) return {std::string(text)};
  return {std::string(head), std::string(inside)};
}

}  // namespace fachwerk::wokie
