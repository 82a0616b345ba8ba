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
#include "io/bytes.hpp"
#include "sha256.hpp"
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
  std::string out = "wokie-lexicon 4\n";
  for (const DictionaryFile& file : files) {
    std::error_code error;
    const auto size = fs::file_size(file.stem + ".index", error);
    out += fmt::format("{} {}\n", fs::path(file.stem).filename().string(), error ? 0 : size);
  }
  return out;
}

namespace {

/// Sizes and times of the files that a pipeline names.
std::string stamp_of(const Mode& mode) {
  std::string out = mode.name + "\n" + mode.pipeline;
  for (const std::string& word : words(replaced(mode.pipeline, "'", " "))) {
    struct stat info {};
    if (word.starts_with('/') && stat(word.c_str(), &info) == 0)
      out += fmt::format("\n{} {}", info.st_size, info.st_mtim.tv_sec);
  }
  return mode.name + " " + sha256(out).substr(0, 16);
}

}  // namespace

std::vector<Mode> modes_in(const std::string& folder) {
  std::vector<Mode> out;
  std::error_code error;
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".mode") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths)
    if (auto mode = mode_of(path.stem().string(), read_text_file(path.string()))) {
      mode->stamp = stamp_of(*mode);
      out.push_back(std::move(*mode));
    }
  return out;
}

void write_lexicon(h5::Output& out, const Lexicon& lexicon, const std::string& signature) {
  out.attribute("/", "signature", signature);
  const LexiconColumns& c = lexicon.columns();
  const auto column = [&](const char* name, const auto& values, const char* meaning, const char* axis) {
    using Value = std::remove_cvref_t<decltype(values[0])>;
    out.write(std::string("/lexicon/") + name, std::span<const Value>(values), {values.size()},
              {.units = "1", .long_name = meaning, .dims = {axis}, .deflate = 0});
  };
  const auto names = [&](const char* name, const std::vector<std::string>& values, const char* meaning,
                         const char* axis) {
    out.strings(std::string("/lexicon/") + name, values, {.units = "1", .long_name = meaning, .dims = {axis}});
  };
  names("words/language", c.languages, "ISO 639-3 codes", "language");
  column("words/begin", c.word_begin, "first word of each language", "language_or_end");
  column("words/text", c.text, "display forms, UTF-8, one after the other", "byte");
  column("words/text_begin", c.text_begin, "first byte of text of each language", "language_or_end");
  column("words/key", c.key, "folded forms, ascending within a language", "key_byte");
  column("words/key_begin", c.key_begin, "first byte of key of each language", "language_or_end");
  column("words/start", c.start, "first byte of each word within its language's text, and the end", "bound");
  column("words/key_start", c.key_start, "first byte of each folded form within its language's keys, and the end",
         "bound");
  column("words/gender", c.gender, "1 masculine, 2 feminine, 4 neuter, 8 plural, summed", "word");
  column("words/pos", c.pos, "0 unknown, 1 noun, 2 verb, 3 adjective, 4 name, 5 other", "word");
  names("edges/pair", c.pairs, "source and target language", "pair");
  column("edges/row_begin", c.row_begin, "first row of each pair", "pair_or_end");
  column("edges/begin", c.edge_begin, "first edge of each pair", "pair_or_end");
  column("edges/source", c.source, "source word of each row, ascending within a pair", "row");
  column("edges/start", c.row_start, "first edge of each row within its pair, and the end", "row_bound");
  column("edges/target", c.target, "target word", "edge");
  column("edges/probability", c.probability, "P(target word | source word)", "edge");
}

namespace {

/// Columns of a lexicon's file: views into the mapped file where they lie contiguous in the machine's own type, copies
/// elsewhere (a file that was repacked).
class ColumnReader {
 public:
  explicit ColumnReader(const std::string& path) : in_(h5::Input::open(path)), held_(std::make_shared<Held>()) {
    if (path != "-") held_->file = formats::File::open(path);
  }

  const h5::Input& input() const { return in_; }
  std::shared_ptr<const void> owner() const { return held_; }

  template <class T>
  std::span<const T> read(const std::string& path, hid_t native) {
    const h5::Handle dataset(H5Dopen2(in_.id(), path.c_str(), H5P_DEFAULT), H5Dclose);
    const h5::Handle type(dataset ? H5Dget_type(dataset.get()) : H5I_INVALID_HID, H5Tclose);
    const h5::Handle space(dataset ? H5Dget_space(dataset.get()) : H5I_INVALID_HID, H5Sclose);
    if (dataset && H5Tequal(type.get(), native) > 0) {
      const auto bytes = static_cast<std::size_t>(H5Sget_simple_extent_npoints(space.get())) * sizeof(T);
      const haddr_t offset = H5Dget_offset(dataset.get());
      const std::size_t size = held_->file.bytes().size();
      if (offset != HADDR_UNDEF && offset % alignof(T) == 0 && bytes <= size && offset <= size - bytes)
        return {reinterpret_cast<const T*>(held_->file.bytes().data() + offset), bytes / sizeof(T)};
    }
    auto values = std::make_shared<std::vector<T>>(in_.column<T>(path));
    held_->copies.push_back(values);
    return *values;
  }

 private:
  struct Held {
    formats::File file;
    std::vector<std::shared_ptr<const void>> copies;
  };
  h5::Input in_;
  std::shared_ptr<Held> held_;
};

}  // namespace

Lexicon read_lexicon(const std::string& path, bool trusted) {
  ColumnReader reader(path);
  const h5::Input& in = reader.input();
  if (!in.exists("/lexicon/words/language"))
    throw bad_input("{}:/lexicon/words: expected a compiled lexicon, found none", in.name());
  LexiconColumns c;
  const auto numbers = [&](const char* name) { return in.column<std::uint64_t>(name); };
  const auto bytes = [&](const char* name) { return reader.read<std::uint8_t>(name, H5T_NATIVE_UINT8); };
  const auto words = [&](const char* name) { return reader.read<std::uint32_t>(name, H5T_NATIVE_UINT32); };
  c.languages = in.strings("/lexicon/words/language");
  c.word_begin = numbers("/lexicon/words/begin");
  c.text_begin = numbers("/lexicon/words/text_begin");
  c.key_begin = numbers("/lexicon/words/key_begin");
  c.pairs = in.strings("/lexicon/edges/pair");
  c.row_begin = numbers("/lexicon/edges/row_begin");
  c.edge_begin = numbers("/lexicon/edges/begin");
  c.text = bytes("/lexicon/words/text");
  c.key = bytes("/lexicon/words/key");
  c.gender = bytes("/lexicon/words/gender");
  c.pos = bytes("/lexicon/words/pos");
  c.start = words("/lexicon/words/start");
  c.key_start = words("/lexicon/words/key_start");
  c.source = words("/lexicon/edges/source");
  c.row_start = words("/lexicon/edges/start");
  c.target = words("/lexicon/edges/target");
  c.probability = reader.read<float>("/lexicon/edges/probability", H5T_NATIVE_FLOAT);
  c.owner = reader.owner();
  return Lexicon(std::move(c), in.name(), !trusted);
}

std::string lexicon_signature(const std::string& path) {
  return h5::Input::open(path).text("/", "signature").value_or("");
}

}  // namespace fachwerk::wokie
