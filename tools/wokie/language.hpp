#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fachwerk::wokie {

/// A language tag of BCP 47 (RFC 5646) in its parts, canonical case: language "de", script "Latn", region "AT".
struct LanguageTag {
  std::string language;
  std::string script = {};
  std::string region = {};
  std::string rest = {};  ///< variants, extensions, private use, in lower case

  std::string text() const;
};

/// Parses a tag; nothing if it is ill-formed.
std::optional<LanguageTag> parse_language_tag(std::string_view tag);

/// True for a language of ISO 639 (one that has a name), false for unknown codes and for `und`, `zxx`, `mul`.
bool is_known_language(const LanguageTag& tag);

/// `und`, `zxx`, `mul`, `mis`: never translated.
bool is_translatable(std::string_view tag);

/// True if a label with tag `have` counts as one in `wanted`: equal, or `wanted` a prefix ("en" takes "en-GB").
/// With `exact` only equal tags (case-insensitive) match.
bool matches_language(std::string_view have, std::string_view wanted, bool exact = false);

/// Tags in comparison form: lower-case language with iw -> he, sh -> sr-Latn, no -> nb left as they are otherwise.
std::string canonical_tag(std::string_view tag);

/// ISO 639-1 where there is one, else ISO 639-3: "deu" -> "de", "ger" -> "de".
std::string short_code(std::string_view code);
/// ISO 639-3: "de" -> "deu". Empty when unknown.
std::string long_code(std::string_view code);
/// "de" -> "German", "sr-Cyrl" -> "Serbian (Cyrillic)". The tag itself when unknown.
std::string english_name(std::string_view tag);
/// Default script of the tag: "de" -> "Latn", "sr" -> "Cyrl".
std::string default_script(std::string_view tag);

}  // namespace fachwerk::wokie
