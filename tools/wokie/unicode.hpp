#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// Text as the methods need it: all strings are UTF-8, all tables are those of ICU.
namespace fachwerk::wokie {

/// Byte position of the first ill-formed UTF-8 sequence, if any.
std::optional<std::size_t> utf8_error(std::string_view text);

/// Code points of well-formed UTF-8 (U+FFFD for what is not).
std::u32string code_points(std::string_view text);
std::string utf8(std::u32string_view text);
void append_utf8(std::string& out, char32_t code_point);

std::string utf16_to_utf8(std::string_view bytes, bool big_endian);

std::string nfc(std::string_view text);
std::string lower(std::string_view text);        ///< simple Unicode lower case, independent of locale
std::string case_folded(std::string_view text);  ///< NFKC, then full case folding (ß -> ss, final sigma)
/// First letter in upper or lower case, the rest as it is.
std::string with_initial(std::string_view text, bool upper);
bool initial_is_upper(std::string_view text);
bool all_upper(std::string_view text);  ///< two letters or more, none of them lower case

/// Letters without their marks: é -> e. For matching only.
std::string without_marks(std::string_view text);

std::string_view trimmed(std::string_view text);  ///< without blanks at both ends (Unicode white space)
bool is_blank(std::string_view text);
bool has_control_characters(std::string_view text);  ///< U+0000-1F other than tab and newline, U+007F

/// Share of the letters that belong to the ISO 15924 script ("Latn", "Cyrl"); 1 when there is no letter.
double script_share(std::string_view text, std::string_view script);

bool is_letter(char32_t c);
bool is_digit(char32_t c);
bool is_space(char32_t c);
bool is_punctuation(char32_t c);  ///< Unicode general category P*
bool is_symbol(char32_t c);       ///< Unicode general category S*

/// Parts between the separators; empty parts are kept.
std::vector<std::string_view> split(std::string_view text, char separator);
/// Words between blanks.
std::vector<std::string> words(std::string_view text);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string replaced(std::string text, std::string_view from, std::string_view to);

}  // namespace fachwerk::wokie
