#pragma once

#include <optional>
#include <string>
#include <string_view>

/// Words carried from one script into another, letter by letter.
namespace fachwerk::wokie {

std::string serbian_latin(std::string_view text);
std::string serbian_cyrillic(std::string_view text);
/// Plain romanisation of Russian, Ukrainian, Greek and Serbian; other languages stay as they are.
std::string romanised(std::string_view text, std::string_view language);

/// What a text of one language may be in another without translation: the variants of Serbo-Croatian in the script of
/// the target; names (every word with a capital) from Cyrillic and Greek into Latin. Nothing elsewhere.
std::optional<std::string> transliterated(std::string_view text, const std::string& from, const std::string& to);

}  // namespace fachwerk::wokie
