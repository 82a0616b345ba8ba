#include "resources.hpp"

#include <cstdlib>
#include <filesystem>
#include <set>

#include <fmt/format.h>

#include "cli/error.hpp"
#include "document.hpp"
#include "io/bytes.hpp"
#include "labels.hpp"
#include "language.hpp"
#include "sha256.hpp"
#include "unicode.hpp"

namespace fachwerk::wokie {

namespace fs = std::filesystem;

std::string cache_folder() {
  if (const char* folder = std::getenv("XDG_CACHE_HOME"); folder != nullptr && *folder != 0)
    return std::string(folder) + "/wokie";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != 0) return std::string(home) + "/.cache/wokie";
  return (fs::temp_directory_path() / "wokie").string();
}

Lexicon load_lexicon(const cli::Session& session, const std::string& file, const std::string& dict_dir) {
  if (!file.empty()) return read_lexicon(file);
  const std::vector<DictionaryFile> files = dictionaries_in(dict_dir);
  if (files.empty()) return {};
  const std::string signature = signature_of(files);
  const std::string compiled = cache_folder() + "/lexicon-" + sha256(signature).substr(0, 12) + ".h5";
  try {
    if (fs::exists(compiled) && lexicon_signature(compiled) == signature) return read_lexicon(compiled, true);
  } catch (const Error&) {
    session.note(compiled + " is damaged; it is compiled anew");
  }
  session.warn(fmt::format("compiling {} dictionaries of {} once, into {}", files.size(), dict_dir, compiled));
  Lexicon lexicon = build_lexicon(read_dictionaries(files));
  try {
    fs::create_directories(cache_folder());
    h5::Output out = h5::Output::create(compiled, true);
    out.stamp(session, "wokie-lexicon");
    write_lexicon(out, lexicon, signature);
    out.commit();
  } catch (const std::exception& error) {
    session.warn(fmt::format("the compiled lexicon is not kept: {}", error.what()));
  }
  return lexicon;
}

void add_thesaurus_memory(Memory& memory, const Graph& graph, const Thesaurus& thesaurus) {
  for (std::size_t c = 0; c < thesaurus.concepts.size(); ++c) {
    std::vector<std::pair<std::string, std::string>> labels;
    for (std::size_t i = thesaurus.label_begin(c); i < thesaurus.label_end(c); ++i) {
      const Label& label = thesaurus.labels[i];
      if (label.property != Property::pref_label || label.language < 0) continue;
      labels.emplace_back(short_code(split(canonical_tag(thesaurus.language(label)), '-')[0]),
                          nfc(graph.term(label.text).value));
    }
    for (const auto& [from, text] : labels)
      for (const auto& [to, other] : labels)
        if (from != to) memory.add(from, text, to, other);
  }
}

namespace {

/// Text between tags, with the five XML entities undone. Memories are read without resolving anything else.
std::string xml_unescaped(std::string text) {
  for (const auto& [from, to] :
       {std::pair{"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&apos;", "'"}, {"&amp;", "&"}})
    text = replaced(std::move(text), from, to);
  return text;
}

/// TMX: every <tu> with its <tuv xml:lang> <seg>.
void add_tmx(Memory& memory, std::string_view text) {
  std::size_t at = 0;
  while ((at = text.find("<tu", at)) != std::string_view::npos) {
    if (at + 3 < text.size() && text[at + 3] == 'v') {
      at += 3;
      continue;
    }
    const std::size_t end = std::min(text.find("</tu>", at), text.size());
    std::vector<std::pair<std::string, std::string>> segments;
    std::size_t tuv = at;
    while ((tuv = text.find("<tuv", tuv + 1)) < end) {
      const std::size_t lang = text.find("lang=\"", tuv), close = text.find('"', lang + 6);
      const std::size_t seg = text.find("<seg>", tuv), seg_end = text.find("</seg>", tuv);
      if (lang >= end || seg >= end || seg_end >= end || close > seg) break;
      segments.emplace_back(short_code(split(canonical_tag(text.substr(lang + 6, close - lang - 6)), '-')[0]),
                            nfc(xml_unescaped(std::string(text.substr(seg + 5, seg_end - seg - 5)))));
    }
    for (const auto& [from, a] : segments)
      for (const auto& [to, b] : segments)
        if (from != to) memory.add(from, a, to, b);
    at = end;
  }
}

/// TBX-Basic: every <termEntry> or <conceptEntry> with its <langSet> or <langSec xml:lang> and their <term>.
void add_tbx(Memory& memory, std::string_view text) {
  const auto next = [&](std::size_t from, std::initializer_list<std::string_view> tags) {
    std::size_t first = std::string_view::npos;
    for (const std::string_view tag : tags)
      first = std::min(first, text.find(tag, from));
    return first;
  };
  for (std::size_t at = next(0, {"<termEntry", "<conceptEntry"}); at != std::string_view::npos;) {
    const std::size_t end = std::min(next(at, {"</termEntry", "</conceptEntry"}), text.size());
    std::vector<std::pair<std::string, std::string>> terms;
    for (std::size_t set = next(at, {"<langSet", "<langSec"}); set < end;) {
      const std::size_t after = std::min(next(set + 1, {"<langSet", "<langSec"}), end);
      const std::size_t lang = text.find("lang=\"", set), close = text.find('"', lang + 6);
      for (std::size_t term = text.find("<term>", set); term < after && close < term;
           term = text.find("<term>", term + 1)) {
        const std::size_t stop = text.find("</term>", term);
        if (stop >= after) break;
        terms.emplace_back(short_code(split(canonical_tag(text.substr(lang + 6, close - lang - 6)), '-')[0]),
                           nfc(xml_unescaped(std::string(text.substr(term + 6, stop - term - 6)))));
      }
      set = after;
    }
    for (const auto& [from, a] : terms)
      for (const auto& [to, b] : terms)
        if (from != to) memory.add(from, a, to, b);
    at = next(end, {"<termEntry", "<conceptEntry"});
  }
}

}  // namespace

void add_memory(Memory& memory, const std::string& path) {
  if (path.ends_with(".tmx") || path.ends_with(".tbx") || path.ends_with(".csv") || path.ends_with(".tsv")) {
    const formats::File file = formats::File::open(path);
    const std::string_view text = file.text();
    if (const auto error = utf8_error(text)) throw bad_input("{}: byte {} is not UTF-8", path, *error);
    if (path.ends_with(".tmx")) return add_tmx(memory, text);
    if (path.ends_with(".tbx")) return add_tbx(memory, text);
    const char delimiter = path.ends_with(".tsv") ? '\t' : ',';
    const auto rows = csv_rows(text, delimiter);
    if (!rows.empty() && (rows[0].empty() || rows[0][0] != "uri")) {
      for (const std::string& tag : rows[0])
        if (!parse_language_tag(tag))
          throw bad_input("{}:1: expected language tags as header, found \"{}\"", path, tag);
      for (std::size_t r = 1; r < rows.size(); ++r) {
        if (rows[r].size() != rows[0].size())
          throw bad_input("{}:{}: expected {} fields, found {}", path, r + 1, rows[0].size(), rows[r].size());
        for (std::size_t a = 0; a < rows[r].size(); ++a)
          for (std::size_t b = 0; b < rows[r].size(); ++b)
            if (a != b && !is_blank(rows[r][a]) && !is_blank(rows[r][b]))
              memory.add(short_code(canonical_tag(rows[0][a])), nfc(trimmed(rows[r][a])),
                         short_code(canonical_tag(rows[0][b])), nfc(trimmed(rows[r][b])));
      }
      return;
    }
  }
  const Document document = load_document(path);
  add_thesaurus_memory(memory, document.graph, thesaurus_of(document.graph));
}

Glossary read_glossary(const std::string& path) {
  const formats::File file = formats::File::open(path);
  if (const auto error = utf8_error(file.text())) throw bad_input("{}: byte {} is not UTF-8", path, *error);
  Glossary out;
  const auto rows = csv_rows(file.text(), ',');
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const auto& row = rows[r];
    if (r == 0 && !row.empty() && row[0] == "term") continue;
    if (row.size() < 3 || row.size() > 4)
      throw bad_input("{}:{}: expected term, language, [target language,] translation or keep", path, r + 1);
    out[{fold(row[0]), row[1]}][row.size() == 4 ? row[2] : std::string{}] = nfc(row.back());
  }
  return out;
}

std::string install_hint(const std::vector<std::string>& from, const std::string& to) {
  std::set<std::string> packages = {"apertium"};
  const std::string target = long_code(to);
  for (const std::string& language : from) {
    const std::string source = long_code(language);
    if (source.empty() || source == target) continue;
    packages.insert("dict-freedict-" + source + "-" + target);
    if (source != "eng") packages.insert("dict-freedict-" + source + "-eng");
    if (target != "eng") packages.insert("dict-freedict-eng-" + target);
    static const std::set<std::string> romance = {"spa", "fra", "ita", "por", "cat"};
    if (source == "eng" && romance.contains(target)) packages.insert({"apertium-eng-spa", "apertium-eng-cat"});
    if (romance.contains(source) && romance.contains(target))
      packages.insert({"apertium-fr-es", "apertium-fra-cat", "apertium-spa-ita", "apertium-es-pt"});
  }
  std::string out = "apt install";
  for (const std::string& package : packages)
    out += " " + package;
  return out;
}

}  // namespace fachwerk::wokie
