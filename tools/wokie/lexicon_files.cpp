#include "lexicon_files.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>

#include <fmt/format.h>
#include <sys/stat.h>
#include <zlib.h>

#include "cli/error.hpp"
#include "unicode.hpp"

namespace fachwerk::wokie {

namespace fs = std::filesystem;

std::string read_text_file(const std::string& path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file) throw io_error("{}: {}", path, std::strerror(errno));
  gzbuffer(file.get(), 1u << 18);
  std::string out;
  std::vector<char> block(1u << 20);
  for (;;) {
    const int n = gzread(file.get(), block.data(), static_cast<unsigned>(block.size()));
    if (n < 0) throw io_error("{}: damaged or unreadable", path);
    if (n == 0) return out;
    out.append(block.data(), static_cast<std::size_t>(n));
  }
}

std::vector<DictionaryFile> dictionaries_in(const std::string& folder) {
  std::vector<DictionaryFile> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("freedict-") || !name.ends_with(".index") || name.size() != 22) continue;
    out.push_back({name.substr(9, 3), name.substr(13, 3), (entry.path().parent_path() / name.substr(0, 16)).string()});
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.stem < b.stem; });
  return out;
}

std::vector<Dictionary> read_dictionaries(const std::vector<DictionaryFile>& files) {
  std::vector<Dictionary> out(files.size());
  std::string failure;
#pragma omp parallel for schedule(dynamic, 1)
  for (std::size_t i = 0; i < files.size(); ++i) {
    try {
      const fs::path packed = files[i].stem + ".dict.dz";
      const std::string text = read_text_file(fs::exists(packed) ? packed.string() : files[i].stem + ".dict");
      out[i] = {files[i].from, files[i].to, parse_dictd(read_text_file(files[i].stem + ".index"), text)};
    } catch (const std::exception& error) {
#pragma omp critical
      failure = error.what();
    }
  }
  if (!failure.empty()) throw bad_input("{}", failure);
  return out;
}

std::string signature_of(const std::vector<DictionaryFile>& files) {
  std::string out = "wokie-lexicon 1\n";
  for (const DictionaryFile& file : files) {
    std::error_code error;
    const auto size = fs::file_size(file.stem + ".index", error);
    out += fmt::format("{} {}\n", fs::path(file.stem).filename().string(), error ? 0 : size);
  }
  return out;
}

std::vector<Mode> modes_in(const std::string& folder) {
  std::vector<Mode> out;
  std::error_code error;
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".mode") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths)
    if (auto mode = mode_of(path.stem().string(), read_text_file(path.string()))) out.push_back(std::move(*mode));
  return out;
}

namespace {

std::vector<std::uint8_t> bytes_of(const std::string& text) {
  return {text.begin(), text.end()};
}

void require_rising(const h5::Input& in, const std::string& path, const std::vector<std::uint32_t>& start,
                    std::size_t end) {
  if (start.empty() || start.front() != 0 || start.back() != end || !std::is_sorted(start.begin(), start.end()))
    throw bad_input("{}:{}: offsets must rise from 0 to {}", in.name(), path, end);
}

}  // namespace

void write_lexicon(h5::Output& out, const Lexicon& lexicon, const std::string& signature) {
  out.attribute("/", "signature", signature);
  const auto describe = [](const char* name, const char* axis) {
    return h5::Describe{.units = "1", .long_name = name, .dims = {axis}, .deflate = 1};
  };
  for (const auto& [language, table] : lexicon.words) {
    const std::string group = "/lexicon/words/" + language;
    out.column(group + "/text", bytes_of(table.text), describe("display forms, UTF-8, one after the other", "byte"));
    out.column(group + "/start", table.start, describe("first byte of each word in text", "word_or_end"));
    out.column(group + "/key", bytes_of(table.key_text), describe("folded forms, ascending", "byte"));
    out.column(group + "/key_start", table.key_start, describe("first byte of each folded form", "word_or_end"));
    out.column(group + "/gender", table.gender,
               describe("1 masculine, 2 feminine, 4 neuter, 8 plural, summed", "word"));
    out.column(group + "/pos", table.pos, describe("0 unknown, 1 noun, 2 verb, 3 adjective, 4 name, 5 other", "word"));
  }
  for (const auto& [pair, table] : lexicon.edges) {
    const std::string group = "/lexicon/edges/" + pair.first + "-" + pair.second;
    out.column(group + "/start", table.start, describe("first edge of each source word", "word_or_end"));
    out.column(group + "/target", table.target, describe("target word", "edge"));
    out.column(group + "/probability", table.probability, describe("P(target word | source word)", "edge"));
  }
}

Lexicon read_lexicon(const h5::Input& in, const std::vector<std::string>& languages) {
  if (!in.exists("/lexicon/words"))
    throw bad_input("{}:/lexicon/words: expected a compiled lexicon, found none", in.name());
  const auto wanted = [&](const std::string& language) {
    return languages.empty() || std::find(languages.begin(), languages.end(), language) != languages.end();
  };
  Lexicon out;
  for (const std::string& language : in.children("/lexicon/words")) {
    if (!wanted(language)) continue;
    const std::string group = "/lexicon/words/" + language;
    WordTable table;
    const auto text = in.column<std::uint8_t>(group + "/text"), key = in.column<std::uint8_t>(group + "/key");
    table.text.assign(text.begin(), text.end());
    table.key_text.assign(key.begin(), key.end());
    table.start = in.column<std::uint32_t>(group + "/start");
    table.key_start = in.column<std::uint32_t>(group + "/key_start", table.start.size());
    table.gender = in.column<std::uint8_t>(group + "/gender");
    table.pos = in.column<std::uint8_t>(group + "/pos", table.gender.size());
    require_rising(in, group + "/start", table.start, table.text.size());
    require_rising(in, group + "/key_start", table.key_start, table.key_text.size());
    if (table.gender.size() != table.size())
      throw bad_input("{}:{}/gender: expected {} words, found {}", in.name(), group, table.size(), table.gender.size());
    out.words[language] = std::move(table);
  }
  if (!in.exists("/lexicon/edges")) return out;
  for (const std::string& name : in.children("/lexicon/edges")) {
    if (name.size() != 7) throw bad_input("{}:/lexicon/edges/{}: expected AAA-BBB", in.name(), name);
    const LanguagePair pair{name.substr(0, 3), name.substr(4)};
    if (!out.words.contains(pair.first) || !out.words.contains(pair.second)) continue;
    const std::string group = "/lexicon/edges/" + name;
    EdgeTable table;
    table.start = in.column<std::uint32_t>(group + "/start", out.words[pair.first].size() + 1);
    table.target = in.column<std::uint32_t>(group + "/target");
    table.probability = in.column<float>(group + "/probability", table.target.size(), true);
    require_rising(in, group + "/start", table.start, table.target.size());
    const std::size_t words = out.words[pair.second].size();
    if (std::any_of(table.target.begin(), table.target.end(), [&](WordId id) { return id >= words; }))
      throw bad_input("{}:{}/target: word index out of range", in.name(), group);
    out.edges[pair] = std::move(table);
  }
  return out;
}

}  // namespace fachwerk::wokie
