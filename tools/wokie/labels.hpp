#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// How labels are compared and rewritten: folding, number, qualifiers, articles.
namespace fachwerk::wokie {

/// Comparison form (spec 2.4): NFKC and full case fold, dashes and slashes to blanks, leading article of the language,
/// outer quotes and brackets and a final dot dropped, blanks collapsed. Arabic marks and tatweel go too.
std::string fold(std::string_view text, std::string_view language = {});

/// Folded, and every word reduced to a form that singular and plural share.
std::string number_folded(std::string_view text, std::string_view language);

/// The form that singular and plural of one folded word share.
std::string number_stem(const std::string& word, std::string_view language);

/// Likely singulars of a plural (most likely first), the word itself last. By suffix rules of en, de, fr, es, it, pt,
/// nl.
std::vector<std::string> singulars(const std::string& word, std::string_view language);
/// The regular plural of a singular noun, for en, fr, es, it, pt; the word itself in other languages.
std::string plural(const std::string& word, std::string_view language);
/// True for languages whose plurals `looks_plural` tells by their endings.
bool shows_number(std::string_view language);
bool looks_plural(std::string_view text, std::string_view language);

/// "theory of the information" -> "information theory": the form that English prefers for terms. Nothing for other
/// phrases, and for parts of more than two words.
std::optional<std::string> english_compound(std::string_view phrase);

/// "Keramik (Material)" -> head "Keramik", qualifier "Material".
struct Qualified {
  std::string head;
  std::string qualifier = {};
};
Qualified split_qualifier(std::string_view label);

bool is_article(std::string_view folded_word, std::string_view language);

}  // namespace fachwerk::wokie
