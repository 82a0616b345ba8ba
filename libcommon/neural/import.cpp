#include "neural/import.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include <fmt/format.h>

#include "io/delimited.hpp"
#include "io/image.hpp"
#include "io/matlab.hpp"
#include "io/npy.hpp"

namespace fachwerk::neural {

namespace {

using formats::File;
using formats::Reader;
using formats::Variable;

std::vector<std::uint8_t> bytes_of(formats::Bytes bytes) {
  std::vector<std::uint8_t> out(bytes.size());
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

/// Sizes and values of an idx file of unsigned bytes.
std::pair<std::vector<std::size_t>, std::vector<std::uint8_t>> read_idx_array(const File& file) {
  Reader reader(file.bytes(), file.name());
  const auto magic = reader.number<std::uint32_t>("the magic number", std::endian::big);
  const std::uint32_t rank = magic & 0xFF;
  if (magic >> 8 != 0x08 || rank < 1 || rank > 4)
    throw bad_input("{}: expected an idx file of unsigned bytes, found magic number 0x{:08x}", file.name(), magic);
  std::vector<std::size_t> shape;
  for (std::uint32_t i = 0; i < rank; ++i)
    shape.push_back(reader.number<std::uint32_t>("a length", std::endian::big));
  const std::size_t count = formats::checked_count(reader, shape, 1, reader.left());
  auto values = bytes_of(reader.take(count, "values"));
  if (reader.left() > 0) throw reader.bad("{} bytes after the values", reader.left());
  return {std::move(shape), std::move(values)};
}

std::string trimmed(std::string text) {
  const auto blank = [](unsigned char c) { return std::isspace(c) != 0; };
  while (!text.empty() && blank(static_cast<unsigned char>(text.back())))
    text.pop_back();
  std::size_t begin = 0;
  while (begin < text.size() && blank(static_cast<unsigned char>(text[begin])))
    ++begin;
  return text.substr(begin);
}

const Variable* find(const std::vector<Variable>& variables, const std::vector<std::string>& names) {
  for (const std::string& name : names)
    for (const Variable& v : variables)
      if (v.name == name) return &v;
  return nullptr;
}

/// x and y as NumPy gives them.
Split from_variables(const Variable& x, const Variable& y, const std::string& file) {
  Split split;
  if (x.shape.empty() || x.shape.size() > 4)
    throw bad_input("{}:{}: expected samples x features or images, found {} axes", file, x.name, x.shape.size());
  split.count = x.shape[0];
  for (std::size_t i = 1; i < x.shape.size(); ++i)
    split.sample.push_back(static_cast<std::int64_t>(x.shape[i]));
  if (split.sample.empty()) split.sample = {1};
  if (split.sample.size() == 2) split.sample.insert(split.sample.begin(), 1);
  if (y.shape.empty() || y.shape[0] != split.count)
    throw bad_input("{}:{}: expected {} rows as in {}", file, y.name, split.count, x.name);
  if (const auto* bytes = std::get_if<std::vector<std::uint8_t>>(&x.values)) {
    split.bytes = *bytes;
  } else {
    const auto reals = formats::as_reals(x.values, file + ":" + x.name);
    split.reals.assign(reals.begin(), reals.end());
  }
  const auto targets = formats::as_reals(y.values, file + ":" + y.name);
  const bool real =
      std::holds_alternative<std::vector<float>>(y.values) || std::holds_alternative<std::vector<double>>(y.values);
  if (!real && y.shape.size() == 1)
    for (const double v : targets)
      split.labels.push_back(static_cast<std::int64_t>(v));
  else {
    split.targets.assign(targets.begin(), targets.end());
    split.target_width = static_cast<std::int64_t>(y.shape.size() > 1 ? y.shape[1] : 1);
  }
  return split;
}

/// Pixels [rows, columns(, channels)] to channel planes of one size.
void add_image(Split& split, const Variable& image, const std::string& file) {
  const auto* pixels = std::get_if<std::vector<std::uint8_t>>(&image.values);
  if (pixels == nullptr) throw bad_input("{}: expected 8 bits a channel", file);
  const std::size_t channels = image.shape.size() == 3 ? image.shape[2] : 1;
  const Dims shape = {static_cast<std::int64_t>(channels), static_cast<std::int64_t>(image.shape[0]),
                      static_cast<std::int64_t>(image.shape[1])};
  if (split.empty()) split.sample = shape;
  if (split.sample != shape)
    throw bad_input("{}: expected an image of {} as the first, found {}", file, text(split.sample), text(shape));
  const std::size_t area = image.shape[0] * image.shape[1];
  for (std::size_t c = 0; c < channels; ++c)
    for (std::size_t p = 0; p < area; ++p)
      split.bytes.push_back((*pixels)[p * channels + c]);
  ++split.count;
}

formats::DelimitedTable read_table(const File& file, const CsvOptions& options) {
  formats::DelimitedOptions how;
  how.delimiter = options.delimiter;
  how.header = options.header;
  how.comment = options.comment;
  return formats::read_delimited(file.text(), file.name(), how);
}

/// A column as trimmed words, whatever it was read as.
std::vector<std::string> words_of(const Variable& column) {
  return std::visit(
      [](const auto& values) {
        std::vector<std::string> words;
        for (const auto& v : values)
          if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::string>)
            words.push_back(trimmed(v));
          else if constexpr (std::is_arithmetic_v<std::decay_t<decltype(v)>>)
            words.push_back(fmt::format("{}", v));
        return words;
      },
      column.values);
}

}  // namespace

Split read_idx(const File& images, const File& labels) {
  auto [shape, pixels] = read_idx_array(images);
  auto [label_shape, values] = read_idx_array(labels);
  if (shape.size() < 2) throw bad_input("{}: expected images, found {} axis", images.name(), shape.size());
  if (label_shape.size() != 1 || label_shape[0] != shape[0])
    throw bad_input("{}: expected {} labels, one an image, found {}", labels.name(), shape[0], label_shape[0]);
  Split split;
  split.count = shape[0];
  split.sample.assign(shape.begin() + 1, shape.end());
  if (split.sample.size() == 2) split.sample.insert(split.sample.begin(), 1);
  split.bytes = std::move(pixels);
  split.labels.assign(values.begin(), values.end());
  return split;
}

Split read_cifar(const File& file, bool hundred) {
  const std::size_t heading = hundred ? 2 : 1, record = heading + 3072;
  const formats::Bytes bytes = file.bytes();
  if (bytes.empty() || bytes.size() % record != 0)
    throw bad_input("{}: expected records of {} bytes, found {} bytes (truncated?)", file.name(), record, bytes.size());
  Split split;
  split.sample = {3, 32, 32};
  split.count = bytes.size() / record;
  const auto all = bytes_of(bytes);
  for (std::size_t i = 0; i < split.count; ++i) {
    const auto at = all.begin() + static_cast<std::ptrdiff_t>(i * record);
    const std::uint8_t label = at[hundred ? 1 : 0];
    if (label >= (hundred ? 100 : 10))
      throw bad_input("{}: record {}: expected a label below {}, found {}", file.name(), i, hundred ? 100 : 10, label);
    split.labels.push_back(label);
    split.bytes.insert(split.bytes.end(), at + static_cast<std::ptrdiff_t>(heading),
                       at + static_cast<std::ptrdiff_t>(record));
  }
  return split;
}

Split read_libsvm(const File& file, bool regression, std::int64_t features) {
  std::vector<double> targets;
  std::vector<std::tuple<std::size_t, std::int64_t, float>> entries;
  std::int64_t width = features;
  std::size_t number = 0;
  for (std::string_view rest = file.text(); !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    ++number;
    line = line.substr(0, line.find('#'));
    bool first = true;
    while (!line.empty()) {
      const std::size_t begin = line.find_first_not_of(" \t\r");
      if (begin == std::string_view::npos) break;
      line.remove_prefix(begin);
      const std::string_view word = line.substr(0, line.find_first_of(" \t\r"));
      line.remove_prefix(word.size());
      const std::size_t colon = word.find(':');
      const auto value = formats::parse_real(word.substr(first ? 0 : colon == word.npos ? 0 : colon + 1));
      if (!value || !std::isfinite(*value) || (!first && colon == word.npos))
        throw bad_input("{}: line {}: expected {}, found \"{}\"", file.name(), number,
                        first ? "a target" : "index:value", word);
      if (first) {
        targets.push_back(*value);
        first = false;
        continue;
      }
      const auto index = formats::parse_real(word.substr(0, colon));
      if (!index || !(*index >= 1 && *index <= 1e8))
        throw bad_input("{}: line {}: expected an index from 1, found \"{}\"", file.name(), number, word);
      width = std::max(width, static_cast<std::int64_t>(*index));
      entries.emplace_back(targets.size() - 1, static_cast<std::int64_t>(*index) - 1, static_cast<float>(*value));
    }
  }
  if (targets.empty() || width < 1) throw bad_input("{}: no samples", file.name());
  if (targets.size() * static_cast<std::size_t>(width) > (std::size_t{1} << 33))
    throw bad_input("{}: {} samples of {} features do not fit as a dense array", file.name(), targets.size(), width);
  Split split;
  split.count = targets.size();
  split.sample = {width};
  split.reals.assign(split.count * static_cast<std::size_t>(width), 0);
  for (const auto& [row, column, value] : entries)
    split.reals[row * static_cast<std::size_t>(width) + static_cast<std::size_t>(column)] = value;
  if (regression) {
    split.targets.assign(targets.begin(), targets.end());
    split.target_width = 1;
    return split;
  }
  const std::set<double> distinct(targets.begin(), targets.end());
  for (const double t : targets)
    split.labels.push_back(std::distance(distinct.begin(), distinct.find(t)));
  return split;
}

Split read_numpy(const File& x, const File* y, const DatasetPaths& names) {
  std::vector<Variable> variables;
  if (formats::is_npz(x.bytes())) {
    variables = formats::read_npz(x.bytes(), x.name());
  } else {
    if (y == nullptr) throw usage_error("two .npy files are needed: samples and targets");
    variables = formats::read_npy(x.bytes(), x.name(), "x");
    const auto targets = formats::read_npy(y->bytes(), y->name(), "y");
    variables.insert(variables.end(), targets.begin(), targets.end());
  }
  const auto either = [](const std::string& given, std::vector<std::string> usual) {
    return given.empty() ? usual : std::vector{given};
  };
  const Variable* samples = find(variables, either(names.x, {"x", "X", "images", "data", "x_train", "arr_0"}));
  const Variable* targets = find(variables, either(names.y, {"y", "Y", "labels", "target", "y_train", "arr_1"}));
  if (samples == nullptr || targets == nullptr)
    throw bad_input("{}: no arrays {} and {}", x.name(), names.x.empty() ? "x" : names.x,
                    names.y.empty() ? "y" : names.y)
        .with_hint("--x NAME and --y NAME name samples and targets");
  return from_variables(*samples, *targets, x.name());
}

Split read_svhn(const std::string& path) {
  const File file = File::open(path);
  const auto variables = formats::is_matlab5(file.bytes()) ? formats::read_matlab5(file.bytes(), file.name()).variables
                                                           : formats::read_matlab73(h5::Input::open(path)).variables;
  const Variable* x = find(variables, {"X"});
  const Variable* y = find(variables, {"y"});
  if (x == nullptr || y == nullptr) throw bad_input("{}: expected variables X and y", path);
  const auto* pixels = std::get_if<std::vector<std::uint8_t>>(&x->values);
  if (pixels == nullptr || x->shape.size() != 4)
    throw bad_input("{}:X: expected uint8 of rows x columns x channels x samples", path);
  const auto& s = x->shape;
  const auto labels = formats::as_reals(y->values, path + ":y");
  if (labels.size() != s[3]) throw bad_input("{}:y: expected {} labels, found {}", path, s[3], labels.size());
  Split split;
  split.count = s[3];
  split.sample = {static_cast<std::int64_t>(s[2]), static_cast<std::int64_t>(s[0]), static_cast<std::int64_t>(s[1])};
  split.bytes.resize(pixels->size());
  const std::size_t area = s[0] * s[1];
  for (std::size_t p = 0; p < area; ++p)
    for (std::size_t c = 0; c < s[2]; ++c)
      for (std::size_t n = 0; n < s[3]; ++n)
        split.bytes[(n * s[2] + c) * area + p] = (*pixels)[(p * s[2] + c) * s[3] + n];
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (!(labels[i] >= 0 && labels[i] <= 10)) throw bad_input("{}:y: row {}: expected 1 to 10", path, i);
    split.labels.push_back(static_cast<std::int64_t>(labels[i]) % 10);
  }
  return split;
}

Split read_folder(const std::string& path, std::vector<std::string>& class_names) {
  namespace fs = std::filesystem;
  if (!fs::is_directory(path)) throw io_error("{}: not a folder", path);
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(path))
    if (entry.is_directory()) folders.push_back(entry.path());
  std::sort(folders.begin(), folders.end());
  Split split;
  for (const fs::path& folder : folders) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.is_regular_file()) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    for (const fs::path& name : files) {
      const File file = File::open(name.string());
      if (formats::is_png(file.bytes()))
        add_image(split, formats::read_png(file.bytes(), file.name()), file.name());
      else if (formats::is_netpbm(file.bytes()))
        add_image(split, formats::read_netpbm(file.bytes(), file.name()), file.name());
      else
        throw bad_input("{}: expected PNG, PGM or PPM", file.name());
      split.labels.push_back(static_cast<std::int64_t>(class_names.size()));
    }
    class_names.push_back(folder.filename().string());
  }
  if (split.empty()) throw bad_input("{}: no folders with images", path);
  return split;
}

CsvEncoder::CsvEncoder(const std::vector<File>& training, const CsvOptions& options) : options_(options) {
  std::vector<std::vector<std::string>> words;
  std::vector<bool> numeric;
  std::vector<std::string> names;
  for (const File& file : training) {
    const auto table = read_table(file, options_);
    if (names.empty()) {
      for (const Variable& column : table.columns)
        names.push_back(trimmed(column.name));
      words.resize(names.size());
    }
    if (table.columns.size() != names.size())
      throw bad_input("{}: expected {} columns as in {}, found {}", file.name(), names.size(), training[0].name(),
                      table.columns.size());
    for (std::size_t c = 0; c < names.size(); ++c) {
      const auto more = words_of(table.columns[c]);
      words[c].insert(words[c].end(), more.begin(), more.end());
    }
  }
  if (words.empty() || words[0].empty()) throw bad_input("{}: no rows", training[0].name());
  if (words.size() < 2) throw bad_input("{}: expected features and a target, found one column", training[0].name());
  const auto locate = [&](const std::string& wanted) {
    const auto found = std::find(names.begin(), names.end(), wanted);
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
    const auto number = formats::parse_real(wanted);
    if (!number || *number < 0 || *number >= static_cast<double>(names.size()) || *number != std::floor(*number))
      throw usage_error("{}: no column \"{}\"", training[0].name(), wanted);
    return static_cast<std::size_t>(*number);
  };
  target_ = options_.target.empty() ? names.size() - 1 : locate(options_.target);
  std::set<std::size_t> categorical;
  for (const std::string& name : options_.categorical)
    if (name != "auto") categorical.insert(locate(name));
  const auto missing = [&](const std::string& word) {
    return word.empty() || word == options_.missing || word == "nan";
  };
  const auto is_number = [&](const std::vector<std::string>& column) {
    return std::all_of(column.begin(), column.end(),
                       [&](const std::string& w) { return missing(w) || formats::parse_real(w).has_value(); });
  };
  for (std::size_t c = 0; c < names.size(); ++c) {
    if (c == target_) continue;
    Column column{names[c], categorical.contains(c) || !is_number(words[c])};
    if (column.category) {
      std::set<std::string> values;
      for (const std::string& w : words[c])
        if (!missing(w)) values.insert(w);
      column.values.assign(values.begin(), values.end());
    } else {
      double sum = 0, number = 0;
      for (const std::string& w : words[c])
        if (!missing(w)) {
          sum += *formats::parse_real(w);
          number += 1;
        }
      column.fill = number > 0 ? sum / number : 0;
    }
    columns_.push_back(std::move(column));
  }
  const auto& target = words[target_];
  std::set<std::string> distinct(target.begin(), target.end());
  const bool numbers = is_number(target);
  // Numbers are classes when they are 0, 1, ..., K-1, all present.
  bool counting = numbers && distinct.size() < 1001;
  for (std::size_t k = 0; counting && k < distinct.size(); ++k)
    counting = distinct.contains(fmt::format("{}", k));
  classification_ = options_.classification.value_or(!numbers || counting);
  if (!classification_ && !numbers)
    throw bad_input("{}: column {}: expected numbers for a regression", training[0].name(), names[target_]);
  if (!classification_) return;
  classes_.assign(distinct.begin(), distinct.end());
  if (numbers)
    std::sort(classes_.begin(), classes_.end(), [](const std::string& a, const std::string& b) {
      return *formats::parse_real(a) < *formats::parse_real(b);
    });
}

Split CsvEncoder::encode(const std::vector<File>& files, std::size_t& unknown) const {
  Split split;
  std::int64_t width = options_.source_column.empty() ? 0 : 1;
  for (const Column& column : columns_)
    width += column.category && options_.onehot ? static_cast<std::int64_t>(column.values.size()) : 1;
  split.sample = {width};
  if (!classification_) split.target_width = 1;
  for (std::size_t f = 0; f < files.size(); ++f) {
    const auto table = read_table(files[f], options_);
    if (table.columns.size() != columns_.size() + 1)
      throw bad_input("{}: expected {} columns, found {}", files[f].name(), columns_.size() + 1, table.columns.size());
    std::vector<std::vector<std::string>> words;
    for (const Variable& column : table.columns)
      words.push_back(words_of(column));
    const std::size_t rows = words[0].size();
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0, position = 0; c < words.size(); ++c) {
        if (c == target_) continue;
        const Column& column = columns_[position++];
        const std::string& word = words[c][r];
        const bool missing = word.empty() || word == options_.missing || word == "nan";
        if (!column.category) {
          const auto value = missing ? column.fill : formats::parse_real(word);
          if (!value || !std::isfinite(*value))
            throw bad_input("{}: row {}, column {}: expected a number, found \"{}\"", files[f].name(), r, column.name,
                            word);
          split.reals.push_back(static_cast<float>(*value));
          continue;
        }
        const auto found = std::lower_bound(column.values.begin(), column.values.end(), word);
        const bool known = found != column.values.end() && *found == word;
        if (!known && !missing) ++unknown;
        const auto code = static_cast<std::size_t>(found - column.values.begin());
        if (options_.onehot)
          for (std::size_t k = 0; k < column.values.size(); ++k)
            split.reals.push_back(known && k == code ? 1.0F : 0.0F);
        else
          split.reals.push_back(known ? static_cast<float>(code + 1) : 0.0F);
      }
      if (!options_.source_column.empty()) split.reals.push_back(static_cast<float>(f));
      std::string word = words[target_][r];
      if (!classification_) {
        const auto value = formats::parse_real(word);
        if (!value || !std::isfinite(*value))
          throw bad_input("{}: row {}: expected a number as target, found \"{}\"", files[f].name(), r, word);
        split.targets.push_back(static_cast<float>(*value));
        continue;
      }
      auto label = std::find(classes_.begin(), classes_.end(), word);
      if (label == classes_.end() && word.ends_with('.'))  // the census test file ends its labels with a dot
        label = std::find(classes_.begin(), classes_.end(), word.substr(0, word.size() - 1));
      if (label == classes_.end())
        throw bad_input("{}: row {}: the training data has no class \"{}\"", files[f].name(), r, word);
      split.labels.push_back(label - classes_.begin());
    }
    split.count += rows;
  }
  return split;
}

void CsvEncoder::describe(Dataset& data) const {
  data.classification = classification_;
  data.classes = static_cast<std::int64_t>(classes_.size());
  data.class_names = classes_;
  for (const Column& column : columns_)
    if (column.category && options_.onehot)
      for (const std::string& value : column.values)
        data.feature_names.push_back(column.name + "=" + value);
    else
      data.feature_names.push_back(column.name);
  if (!options_.source_column.empty()) data.feature_names.push_back(options_.source_column);
}

}  // namespace fachwerk::neural
