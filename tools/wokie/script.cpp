#include "script.hpp"

#include <algorithm>
#include <map>
#include <vector>

#include "labels.hpp"
#include "language.hpp"
#include "unicode.hpp"

namespace fachwerk::wokie {
namespace {

std::string mapped(std::string_view text, const std::map<char32_t, std::string>& table) {
  std::string out;
  for (const char32_t c : code_points(text)) {
    const auto found = table.find(c);
    if (found != table.end())
      out += found->second;
    else
      append_utf8(out, c);
  }
  return out;
}

void with_capitals(std::map<char32_t, std::string>& table) {
  std::map<char32_t, std::string> upper;
  for (const auto& [c, latin] : table) {
    std::string letter;
    append_utf8(letter, c);
    upper[code_points(with_initial(letter, true))[0]] = with_initial(latin, true);
  }
  table.insert(upper.begin(), upper.end());
}

std::map<char32_t, std::string> table_of(std::u32string_view letters, const std::vector<std::string>& latin) {
  std::map<char32_t, std::string> table;
  for (std::size_t i = 0; i < letters.size(); ++i)
    table[letters[i]] = latin[i];
  with_capitals(table);
  return table;
}

const std::map<char32_t, std::string>& serbian_table() {
  static const auto table = table_of(U"абвгдђежзијклљмнњопрстћуфхцчџш",
                                     {"a", "b",  "v", "g", "d", "đ", "e", "ž", "z", "i", "j", "k", "l", "lj", "m",
                                      "n", "nj", "o", "p", "r", "s", "t", "ć", "u", "f", "h", "c", "č", "dž", "š"});
  return table;
}

}  // namespace

std::string serbian_latin(std::string_view text) {
  return mapped(text, serbian_table());
}

std::string serbian_cyrillic(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> back;
  for (const auto& [c, latin] : serbian_table()) {
    std::string letter;
    append_utf8(letter, c);
    back.emplace_back(latin, letter);
  }
  std::stable_sort(back.begin(), back.end(), [](const auto& a, const auto& b) {
    return code_points(a.first).size() > code_points(b.first).size();
  });
  std::string out(text);
  for (const auto& [latin, letter] : back)
    out = replaced(std::move(out), latin, letter);
  return out;
}

std::string romanised(std::string_view text, std::string_view language) {
  static const auto russian =
      table_of(U"абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
               {"a", "b", "v", "g", "d", "e",  "yo", "zh", "z",  "i",    "y", "k", "l", "m", "n",  "o", "p",
                "r", "s", "t", "u", "f", "kh", "ts", "ch", "sh", "shch", "",  "y", "",  "e", "yu", "ya"});
  static const auto ukrainian =
      table_of(U"абвгґдеєжзиіїйклмнопрстуфхцчшщьюя",
               {"a", "b", "v", "h", "g", "d", "e", "ye", "zh", "z",  "y",  "i",  "yi",   "y", "k",  "l", "m",
                "n", "o", "p", "r", "s", "t", "u", "f",  "kh", "ts", "ch", "sh", "shch", "",  "yu", "ya"});
  static const auto greek =
      table_of(U"αβγδεζηθικλμνξοπρστυφχψως", {"a", "v", "g", "d", "e", "z", "i", "th", "i",  "k",  "l", "m", "n",
                                              "x", "o", "p", "r", "s", "t", "y", "f",  "ch", "ps", "o", "s"});
  if (language == "ru") return mapped(text, russian);
  if (language == "uk") return mapped(text, ukrainian);
  if (language == "el") return mapped(without_marks(text), greek);
  if (language == "sr") return serbian_latin(text);
  return std::string(text);
}

std::optional<std::string> transliterated(std::string_view text, const std::string& from, const std::string& to) {
  const auto is_south_slavic = [](const std::string& language) {
    return language == "sr" || language == "hr" || language == "bs" || language == "sh";
  };
  const bool to_latin = default_script(to) == "Latn";
  if (is_south_slavic(from) && is_south_slavic(to)) return to_latin ? serbian_latin(text) : serbian_cyrillic(text);
  const std::vector<std::string> parts = words(text);
  const bool name =
      std::all_of(parts.begin(), parts.end(), [](const std::string& word) { return initial_is_upper(word); });
  if (!to_latin || !name || parts.size() < 2 || (from != "ru" && from != "uk" && from != "el")) return std::nullopt;
  return romanised(text, from);
}

}  // namespace fachwerk::wokie
