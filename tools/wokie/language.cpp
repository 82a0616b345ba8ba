#include "language.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>

#include <unicode/uloc.h>

#include "unicode.hpp"

namespace fachwerk::wokie {
namespace {

bool every(std::string_view text, int (*test)(int)) {
  return std::all_of(text.begin(), text.end(), [&](char c) { return test(static_cast<unsigned char>(c)) != 0; });
}

std::string ascii_case(std::string_view text, int (*change)(int)) {
  std::string out(text);
  for (char& c : out)
    c = static_cast<char>(change(static_cast<unsigned char>(c)));
  return out;
}

/// One call of ICU's "fill this buffer" functions.
template <class Function>
std::string icu_text(Function fn) {
  std::array<char, 128> buffer{};
  UErrorCode status = U_ZERO_ERROR;
  const int32_t length = fn(buffer.data(), static_cast<int32_t>(buffer.size()), &status);
  return U_FAILURE(status) ? std::string{} : std::string(buffer.data(), static_cast<std::size_t>(length));
}

std::string icu_locale(std::string_view tag) {
  return replaced(std::string(tag), "-", "_");
}

/// ISO 639-2/B codes that differ from 639-3.
const std::map<std::string, std::string, std::less<>> bibliographic = {
    {"alb", "sqi"}, {"arm", "hye"}, {"baq", "eus"}, {"bur", "mya"}, {"chi", "zho"}, {"cze", "ces"}, {"dut", "nld"},
    {"fre", "fra"}, {"geo", "kat"}, {"ger", "deu"}, {"gre", "ell"}, {"ice", "isl"}, {"mac", "mkd"}, {"mao", "mri"},
    {"may", "msa"}, {"per", "fas"}, {"rum", "ron"}, {"slo", "slk"}, {"tib", "bod"}, {"wel", "cym"}};

}  // namespace

std::string LanguageTag::text() const {
  std::string out = language;
  for (const std::string* part : {&script, &region, &rest})
    if (!part->empty()) out += "-" + *part;
  return out;
}

std::optional<LanguageTag> parse_language_tag(std::string_view tag) {
  const auto parts = split(tag, '-');
  LanguageTag out;
  if (parts.empty()) return std::nullopt;
  for (const std::string_view part : parts)
    if (part.empty() || part.size() > 8 || !every(part, std::isalnum)) return std::nullopt;
  const bool private_use = parts[0].size() == 1 && (parts[0] == "x" || parts[0] == "X" || parts[0] == "i");
  if (private_use && parts.size() < 2) return std::nullopt;
  if (!private_use && (parts[0].size() < 2 || !every(parts[0], std::isalpha))) return std::nullopt;
  out.language = ascii_case(parts[0], std::tolower);
  std::size_t next = 1;
  if (!private_use) {
    if (next < parts.size() && parts[next].size() == 4 && every(parts[next], std::isalpha)) {
      out.script = ascii_case(parts[next++], std::tolower);
      out.script[0] = static_cast<char>(std::toupper(out.script[0]));
    }
    if (next < parts.size() && ((parts[next].size() == 2 && every(parts[next], std::isalpha)) ||
                                (parts[next].size() == 3 && every(parts[next], std::isdigit))))
      out.region = ascii_case(parts[next++], std::toupper);
    if (parts.back().size() == 1) return std::nullopt;  // an extension needs a value
  }
  for (; next < parts.size(); ++next)
    out.rest += (out.rest.empty() ? "" : "-") + ascii_case(parts[next], std::tolower);
  return out;
}

bool is_known_language(const LanguageTag& tag) {
  if (!is_translatable(tag.language)) return false;
  return english_name(tag.language) != tag.language;
}

bool is_translatable(std::string_view tag) {
  const std::string code = ascii_case(split(tag, '-')[0], std::tolower);
  return !code.empty() && code != "und" && code != "zxx" && code != "mul" && code != "mis";
}

std::string canonical_tag(std::string_view tag) {
  const auto parsed = parse_language_tag(tag);
  if (!parsed) return ascii_case(tag, std::tolower);
  LanguageTag out = *parsed;
  if (out.language == "iw") out.language = "he";
  if (out.language.size() == 3) out.language = short_code(out.language);
  return out.text();
}

bool matches_language(std::string_view have, std::string_view wanted, bool exact) {
  const std::string a = canonical_tag(have), b = canonical_tag(wanted);
  if (a == b) return true;
  return !exact && a.size() > b.size() && a.compare(0, b.size(), b) == 0 && a[b.size()] == '-';
}

std::string long_code(std::string_view code) {
  const std::string plain = ascii_case(split(code, '-')[0], std::tolower);
  if (const auto found = bibliographic.find(plain); found != bibliographic.end()) return found->second;
  return uloc_getISO3Language(plain.c_str());
}

std::string short_code(std::string_view code) {
  const std::string plain = ascii_case(code, std::tolower);
  if (plain.size() != 3) return plain;
  static const std::map<std::string, std::string, std::less<>> table = [] {
    std::map<std::string, std::string, std::less<>> out;
    for (const char* const* next = uloc_getISOLanguages(); *next != nullptr; ++next)
      if (std::string_view(*next).size() == 2) out.emplace(uloc_getISO3Language(*next), *next);
    out["hbs"] = "sh";
    return out;
  }();
  const auto general = bibliographic.find(plain);
  const auto found = table.find(general == bibliographic.end() ? plain : general->second);
  return found == table.end() ? plain : found->second;
}

std::string english_name(std::string_view tag) {
  const std::string locale = icu_locale(canonical_tag(tag));
  std::array<UChar, 128> buffer{};
  UErrorCode status = U_ZERO_ERROR;
  const int32_t length =
      uloc_getDisplayName(locale.c_str(), "en", buffer.data(), static_cast<int32_t>(buffer.size()), &status);
  if (U_FAILURE(status) || length == 0) return std::string(tag);
  std::u32string text;
  for (int32_t i = 0; i < length; ++i)
    text += static_cast<char32_t>(buffer[static_cast<std::size_t>(i)]);
  const std::string name = utf8(text);
  return name == locale ? std::string(tag) : name;
}

std::string default_script(std::string_view tag) {
  const std::string locale = icu_locale(canonical_tag(tag));
  const std::string likely = icu_text([&](char* out, int32_t size, UErrorCode* status) {
    return uloc_addLikelySubtags(locale.c_str(), out, size, status);
  });
  return icu_text(
      [&](char* out, int32_t size, UErrorCode* status) { return uloc_getScript(likely.c_str(), out, size, status); });
}

}  // namespace fachwerk::wokie
