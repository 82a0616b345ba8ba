#include "dictd.hpp"

#include <algorithm>
#include <cctype>
#include <set>

#include "unicode.hpp"

namespace fachwerk::wokie {
namespace {

/// What stands in brackets, apart from the text: <..> grammar, [..] domain; (..) and {..} are dropped.
struct Stripped {
  std::string text;
  std::string grammar = {};
  std::string domain = {};
};

Stripped strip_brackets(std::string_view text) {
  Stripped out;
  std::string closing;
  for (const char c : text) {
    const std::size_t open = std::string_view("<[{(").find(c);
    if (open != std::string_view::npos) {
      closing += ">]})"[open];
      if (c == '<' && !out.grammar.empty()) out.grammar += ',';
      continue;
    }
    if (!closing.empty() && c == closing.back()) {
      closing.pop_back();
      continue;
    }
    if (closing.empty()) {
      out.text += c;
    } else if (closing.back() == '>') {
      out.grammar += c;
    } else if (closing.back() == ']' && out.domain.size() < 24) {
      out.domain += c;
    }
  }
  return out;
}

/// Without what dictionaries hang on a word: the dots of a combining form ("Silber…"), the number of a homonym
/// ("Silber 2"), quotes. Pronunciations that strayed into a list ("/ˈaɡ/") are no words at all.
std::string_view bare(std::string_view text) {
  if (text.starts_with('/')) return {};
  for (const std::string_view mark : {"…", "..."})
    if (text.ends_with(mark)) text.remove_suffix(mark.size());
  const std::size_t blank = text.rfind(' ');
  if (blank != std::string_view::npos && text.size() - blank <= 3 &&
      text.find_first_not_of("0123456789", blank + 1) == std::string_view::npos)
    text = text.substr(0, blank);
  if (text.size() > 2 && text.front() == '\'' && text.back() == '\'') text = text.substr(1, text.size() - 2);
  return text;
}

DictWord word_of(std::string_view text, std::string_view grammar) {
  DictWord out;
  for (std::string_view mark : split(grammar, ',')) {
    mark = trimmed(mark);
    if (mark == "masc" || mark == "m") out.gender |= gender_masculine;
    if (mark == "fem" || mark == "f") out.gender |= gender_feminine;
    if (mark == "neut") out.gender |= gender_neuter;
    if (mark == "pl") out.gender |= gender_plural;
    if (mark == "n" || mark == "noun") out.pos = pos_noun;
    if (mark == "pn") out.pos = pos_name;
    if (mark == "v" || mark == "vt" || mark == "vi" || mark == "verb") out.pos = pos_verb;
    if (mark == "adj") out.pos = pos_adjective;
    if (mark == "adv" || mark == "prep" || mark == "conj" || mark == "interj") out.pos = pos_other;
  }
  if (out.gender != gender_none && out.pos == pos_unknown) out.pos = pos_noun;
  std::string plain = join(words(text), " ");
  while (!plain.empty() && (plain.back() == '.' || plain.back() == '!' || plain.back() == '?' || plain.back() == ':') &&
         !plain.ends_with("..."))
    plain.pop_back();
  out.text = nfc(bare(plain));
  return out;
}

/// Separators outside brackets: commas and semicolons.
std::vector<std::string_view> split_list(std::string_view text) {
  std::vector<std::string_view> out;
  int depth = 0;
  std::size_t from = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (std::string_view("<[{(").find(text[i]) != std::string_view::npos) ++depth;
    if (std::string_view(">]})").find(text[i]) != std::string_view::npos) depth = std::max(depth - 1, 0);
    if (depth == 0 && (text[i] == ',' || text[i] == ';')) {
      out.push_back(text.substr(from, i - from));
      from = i + 1;
    }
  }
  out.push_back(text.substr(from));
  return out;
}

std::vector<DictWord> parse_heads(std::string_view line) {
  std::string grammar;
  for (std::size_t at = line.find('<'); at != std::string_view::npos; at = line.find('<', at + 1)) {
    const std::size_t end = line.find('>', at);
    if (end == std::string_view::npos) break;
    if (!grammar.empty()) grammar += ',';
    grammar += line.substr(at + 1, end - at - 1);
  }
  const std::size_t end = std::min({line.find(" /"), line.find(" <"), line.size()});
  std::vector<DictWord> out;
  for (const std::string_view part : split_list(line.substr(0, end))) {
    DictWord word = word_of(strip_brackets(part).text, grammar);
    if (!word.text.empty()) out.push_back(std::move(word));
  }
  return out;
}

/// Length of "12. " at the start of a line, 0 if there is none.
std::size_t number_length(std::string_view line) {
  std::size_t i = 0;
  while (i < line.size() && std::isdigit(static_cast<unsigned char>(line[i])))
    ++i;
  if (i == 0 || i > 2 || i >= line.size() || line[i] != '.') return 0;
  ++i;
  while (i < line.size() && line[i] == ' ')
    ++i;
  return i;
}

bool is_remark(std::string_view line) {
  for (const std::string_view word : {"see:", "Synonym", "Note:", "Antonym", "Usage:", "Translation", "see also"})
    if (line.starts_with(word)) return true;
  return line.empty() || line[0] == '"' || line.starts_with("“");
}

void add_senses(std::string_view line, DictEntry& entry) {
  const std::string domain = strip_brackets(line).domain;
  for (const std::string_view part : split_list(line)) {
    const Stripped stripped = strip_brackets(part);
    DictWord word = word_of(stripped.text, stripped.grammar);
    if (word.text.empty() || word.text.size() > 80) continue;
    const auto rank = static_cast<std::uint16_t>(std::min<std::size_t>(entry.senses.size(), 1000));
    std::string own = stripped.domain.empty() ? domain : stripped.domain;
    while (!own.empty() && own.back() == '.')
      own.pop_back();
    entry.senses.push_back({std::move(word), rank, std::move(own)});
  }
}

}  // namespace

std::int64_t dictd_number(std::string_view digits) {
  std::int64_t value = 0;
  if (digits.empty() || digits.size() > 8) return -1;
  for (const char c : digits) {
    int digit = 0;
    if (c >= 'A' && c <= 'Z')
      digit = c - 'A';
    else if (c >= 'a' && c <= 'z')
      digit = c - 'a' + 26;
    else if (c >= '0' && c <= '9')
      digit = c - '0' + 52;
    else if (c == '+')
      digit = 62;
    else if (c == '/')
      digit = 63;
    else
      return -1;
    value = value * 64 + digit;
  }
  return value;
}

DictEntry parse_entry(std::string_view text, bool ding) {
  DictEntry entry;
  const auto lines = split(text, '\n');
  if (lines.empty()) return entry;
  entry.heads = parse_heads(lines[0]);
  bool first = true;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const std::string_view line = lines[i];
    const std::size_t indent = std::min(line.find_first_not_of(' '), line.size());
    const std::string_view content = line.substr(indent);
    if (content.empty()) continue;
    if (indent > 1 || is_remark(content)) continue;
    const std::size_t number = number_length(content);
    if (number > 0 || first || ding) add_senses(content.substr(number), entry);
    first = false;
  }
  return entry;
}

std::vector<DictEntry> parse_dictd(std::string_view index, std::string_view text, std::size_t* skipped) {
  std::vector<std::pair<std::size_t, std::size_t>> places;
  std::size_t damaged = 0;
  for (std::size_t at = 0; at < index.size();) {
    const std::size_t end = std::min(index.find('\n', at), index.size());
    const auto fields = split(index.substr(at, end - at), '\t');
    at = end + 1;
    if (fields.size() < 3) {
      damaged += fields.size() == 1 && fields[0].empty() ? 0 : 1;
      continue;
    }
    if (fields[0].starts_with("00database") || fields[0].starts_with("00-database")) continue;
    const std::int64_t offset = dictd_number(fields[1]), length = dictd_number(fields[2]);
    const auto size = static_cast<std::int64_t>(text.size());
    if (offset < 0 || length <= 0 || length > size || offset > size - length) {
      ++damaged;
      continue;
    }
    places.emplace_back(static_cast<std::size_t>(offset), static_cast<std::size_t>(length));
  }
  std::sort(places.begin(), places.end());
  places.erase(std::unique(places.begin(), places.end()), places.end());
  const bool ding = text.substr(0, 2000).find("Ding") != std::string_view::npos;
  std::vector<DictEntry> out;
  out.reserve(places.size());
  for (const auto& [offset, length] : places) {
    DictEntry entry = parse_entry(text.substr(offset, length), ding);
    if (!entry.heads.empty() && !entry.senses.empty()) out.push_back(std::move(entry));
  }
  if (skipped != nullptr) *skipped = damaged;
  return out;
}

}  // namespace fachwerk::wokie
