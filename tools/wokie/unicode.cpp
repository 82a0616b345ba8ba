#include "unicode.hpp"

#include <algorithm>

#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/uscript.h>

namespace fachwerk::wokie {
namespace {

bool ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

icu::UnicodeString utf16(std::string_view text) {
  return icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
}

std::string utf8(const icu::UnicodeString& text) {
  std::string out;
  text.toUTF8String(out);
  return out;
}

icu::UnicodeString normalized(const icu::Normalizer2* form, const icu::UnicodeString& text) {
  UErrorCode status = U_ZERO_ERROR;
  icu::UnicodeString out = form->normalize(text, status);
  return U_FAILURE(status) ? text : out;
}

const icu::Normalizer2* form_c() {
  UErrorCode status = U_ZERO_ERROR;
  return icu::Normalizer2::getNFCInstance(status);
}
const icu::Normalizer2* form_kc() {
  UErrorCode status = U_ZERO_ERROR;
  return icu::Normalizer2::getNFKCInstance(status);
}
const icu::Normalizer2* form_d() {
  UErrorCode status = U_ZERO_ERROR;
  return icu::Normalizer2::getNFDInstance(status);
}

std::string ascii_lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

/// Decodes one sequence at `at`; returns its length, 0 if ill-formed (overlong forms and surrogates are).
std::size_t decode(std::string_view text, std::size_t at, char32_t& out) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned first = byte(0);
  if (first < 0x80) {
    out = first;
    return 1;
  }
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || at + length > text.size()) return 0;
  char32_t value = first & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0u) != 0x80u) return 0;
    value = value << 6 | (byte(i) & 0x3Fu);
  }
  constexpr char32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < smallest[length] || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) return 0;
  out = value;
  return length;
}

}  // namespace

std::optional<std::size_t> utf8_error(std::string_view text) {
  char32_t ignored = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = decode(text, at, ignored);
    if (length == 0) return at;
    at += length;
  }
  return std::nullopt;
}

std::u32string code_points(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    char32_t c = 0;
    const std::size_t length = decode(text, at, c);
    out += length == 0 ? U'\xFFFD' : c;
    at += std::max<std::size_t>(length, 1);
  }
  return out;
}

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

std::string utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text)
    append_utf8(out, c);
  return out;
}

std::string utf16_to_utf8(std::string_view bytes, bool big_endian) {
  icu::UnicodeString text;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
    const auto first = static_cast<unsigned char>(bytes[i]), second = static_cast<unsigned char>(bytes[i + 1]);
    text.append(static_cast<char16_t>(big_endian ? first << 8 | second : second << 8 | first));
  }
  return utf8(text);
}

std::string nfc(std::string_view text) {
  if (ascii(text)) return std::string(text);
  return utf8(normalized(form_c(), utf16(text)));
}

std::string lower(std::string_view text) {
  if (ascii(text)) return ascii_lower(text);
  return utf8(utf16(text).toLower(icu::Locale::getRoot()));
}

std::string case_folded(std::string_view text) {
  if (ascii(text)) return ascii_lower(text);
  return utf8(normalized(form_c(), normalized(form_kc(), utf16(text)).foldCase()));
}

std::string with_initial(std::string_view text, bool upper) {
  char32_t first = 0;
  if (text.empty()) return {};
  const std::size_t length = decode(text, 0, first);
  if (length == 0) return std::string(text);
  const auto code = static_cast<UChar32>(first);
  std::string out;
  append_utf8(out, static_cast<char32_t>(upper ? u_totitle(code) : u_tolower(code)));
  return out.append(text.substr(length));
}

bool initial_is_upper(std::string_view text) {
  char32_t first = 0;
  return !text.empty() && decode(text, 0, first) != 0 && u_isUUppercase(static_cast<UChar32>(first));
}

bool all_upper(std::string_view text) {
  int letters = 0;
  for (const char32_t c : code_points(text)) {
    if (!is_letter(c)) continue;
    if (u_isULowercase(static_cast<UChar32>(c))) return false;
    ++letters;
  }
  return letters >= 2;
}

std::string without_marks(std::string_view text) {
  if (ascii(text)) return std::string(text);
  const icu::UnicodeString decomposed = normalized(form_d(), utf16(text));
  icu::UnicodeString out;
  for (int32_t i = 0; i < decomposed.length(); i = decomposed.moveIndex32(i, 1)) {
    const UChar32 c = decomposed.char32At(i);
    if (u_charType(c) != U_NON_SPACING_MARK) out.append(c);
  }
  return utf8(normalized(form_c(), out));
}

std::string_view trimmed(std::string_view text) {
  std::size_t first = 0, last = 0;
  bool seen = false;
  for (std::size_t at = 0; at < text.size();) {
    char32_t c = 0;
    const std::size_t length = std::max<std::size_t>(decode(text, at, c), 1);
    if (!is_space(c)) {
      if (!seen) first = at;
      seen = true;
      last = at + length;
    }
    at += length;
  }
  return seen ? text.substr(first, last - first) : std::string_view{};
}

bool is_blank(std::string_view text) {
  return trimmed(text).empty();
}

bool has_control_characters(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\t' && c != '\n') || byte == 0x7F;
  });
}

double script_share(std::string_view text, std::string_view script) {
  const int32_t wanted = u_getPropertyValueEnum(UCHAR_SCRIPT, std::string(script).c_str());
  int letters = 0, matching = 0;
  for (const char32_t c : code_points(text)) {
    if (!is_letter(c)) continue;
    ++letters;
    UErrorCode status = U_ZERO_ERROR;
    const UScriptCode own = uscript_getScript(static_cast<UChar32>(c), &status);
    const bool japanese =
        script == "Jpan" && (own == USCRIPT_HIRAGANA || own == USCRIPT_KATAKANA || own == USCRIPT_HAN);
    const bool han = (script == "Hans" || script == "Hant") && own == USCRIPT_HAN;
    const bool korean = script == "Kore" && (own == USCRIPT_HANGUL || own == USCRIPT_HAN);
    if (own == wanted || japanese || han || korean || own == USCRIPT_COMMON || own == USCRIPT_INHERITED) ++matching;
  }
  return letters == 0 ? 1.0 : static_cast<double>(matching) / letters;
}

bool is_letter(char32_t c) {
  return u_isUAlphabetic(static_cast<UChar32>(c)) != 0;
}
bool is_digit(char32_t c) {
  return u_isdigit(static_cast<UChar32>(c)) != 0;
}
bool is_space(char32_t c) {
  return c == U' ' || u_isUWhiteSpace(static_cast<UChar32>(c)) != 0;
}
bool is_punctuation(char32_t c) {
  return u_ispunct(static_cast<UChar32>(c)) != 0;
}
bool is_symbol(char32_t c) {
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_S_MASK) != 0;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t from = 0;;) {
    const std::size_t to = text.find(separator, from);
    parts.push_back(text.substr(from, to == std::string_view::npos ? to : to - from));
    if (to == std::string_view::npos) return parts;
    from = to + 1;
  }
}

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  std::string word;
  for (const char32_t c : code_points(text)) {
    if (!is_space(c)) {
      append_utf8(word, c);
    } else if (!word.empty()) {
      out.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty()) out.push_back(std::move(word));
  return out;
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out += separator;
    out += parts[i];
  }
  return out;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

}  // namespace fachwerk::wokie
