#include "io/delimited.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <deque>
#include <exception>
#include <limits>
#include <set>
#include <type_traits>

namespace fachwerk::formats {
namespace {

constexpr std::string_view blanks = " \t";

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

bool is_missing(std::string_view field) {
  return field.empty() || field == "NA" || field == "N/A" || field == "null" || field == "NULL" || field == "None";
}

std::optional<std::int64_t> parse_integer(std::string_view field) {
  if (field.size() > 1 && field.front() == '+' && field[1] != '-') field.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (error != std::errc() || end != field.data() + field.size()) return {};
  return value;
}

std::optional<double> from_decimal(std::string_view field) {
  double value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (end != field.data() + field.size()) return {};
  if (error == std::errc::result_out_of_range) {  // 1e999 or 1e-999: the number the text rounds to
    const auto exponent = field.find_first_of("eE");
    const bool tiny = exponent != std::string_view::npos ? field.find('-', exponent) != std::string_view::npos
                                                         : field.find_first_of("123456789") > field.find('.');
    const double size = tiny ? 0.0 : std::numeric_limits<double>::infinity();
    return field.front() == '-' ? -size : size;
  }
  if (error != std::errc()) return {};
  return value;
}

/// Splits text into records and fields. Keeps its place, so that errors name line and column.
class Tokenizer {
 public:
  Tokenizer(std::string_view text, const std::string& file, char delimiter, std::string_view comment)
      : text_(text), file_(file), delimiter_(delimiter), comment_(comment) {}

  /// The next record that is neither blank nor a comment; false at the end.
  bool next(std::vector<std::string_view>& fields) {
    while (position_ < text_.size()) {
      line_start_ = position_;
      const auto record_line = line_;
      const auto rest = text_.substr(position_);
      const auto content = rest.find_first_not_of(blanks);
      if (content == std::string_view::npos) break;
      if (rest[content] == '\n' || rest[content] == '\r') {
        skip_line();
        continue;
      }
      if (!comment_.empty() && rest.substr(content).starts_with(comment_)) {
        const auto end = std::min(rest.find('\n'), rest.size());
        last_comment_ = trimmed(rest.substr(content + comment_.size(), end - content - comment_.size()));
        if (last_comment_.ends_with('\r')) last_comment_.remove_suffix(1);
        skip_line();
        continue;
      }
      record_line_ = record_line;
      fields.clear();
      delimiter_ == ' ' ? split_blank(fields) : split(fields);
      return true;
    }
    position_ = text_.size();
    return false;
  }

  std::size_t line() const { return record_line_; }                ///< of the last record, from 1
  std::string_view last_comment() const { return last_comment_; }  ///< just before the last record, or earlier
  std::size_t position() const { return position_; }
  void forget_strings() { unescaped_.clear(); }  ///< fields handed out so far become invalid

  Error bad(std::size_t position, const std::string& what) const {
    return bad_input("{}: line {}, column {}: {}", file_, line_, position - line_start_ + 1, what);
  }

 private:
  void skip_line() {
    const auto end = text_.find('\n', position_);
    position_ = end == std::string_view::npos ? text_.size() : end + 1;
    ++line_;
    line_start_ = position_;
  }

  bool at_line_end() const {
    return text_[position_] == '\n' ||
           (text_[position_] == '\r' && (position_ + 1 == text_.size() || text_[position_ + 1] == '\n'));
  }

  void split(std::vector<std::string_view>& fields) {
    for (;;) {
      fields.push_back(position_ < text_.size() && next_is_quote() ? quoted() : plain());
      if (position_ == text_.size()) return ++line_, void();
      if (text_[position_] != delimiter_) return skip_line();
      ++position_;
      if (position_ == text_.size()) return fields.push_back({}), ++line_, void();
    }
  }

  void split_blank(std::vector<std::string_view>& fields) {
    for (;;) {
      position_ = std::min(text_.find_first_not_of(blanks, position_), text_.size());
      if (position_ == text_.size()) return ++line_, void();
      if (at_line_end()) return skip_line();
      if (!comment_.empty() && text_.substr(position_).starts_with(comment_)) return skip_line();
      fields.push_back(text_[position_] == '"' ? quoted() : plain());
    }
  }

  /// A quote may stand after blanks, as in `1, "a"`.
  bool next_is_quote() const {
    const auto first = text_.find_first_not_of(delimiter_ == '\t' ? " " : blanks, position_);
    return first != std::string_view::npos && text_[first] == '"';
  }

  std::string_view plain() {
    const auto start = position_;
    if (delimiter_ == ' ') {
      while (position_ < text_.size() && text_[position_] != ' ' && text_[position_] != '\t' && !at_line_end())
        ++position_;
      return text_.substr(start, position_ - start);
    }
    while (position_ < text_.size() && text_[position_] != delimiter_ && text_[position_] != '\n')
      ++position_;
    auto field = text_.substr(start, position_ - start);
    if (field.ends_with('\r') && (position_ == text_.size() || text_[position_] == '\n')) field.remove_suffix(1);
    return trimmed(field);
  }

  std::string_view quoted() {
    position_ = text_.find('"', position_);
    const auto open = position_++;
    const auto open_line = line_, open_start = line_start_;
    const auto start = position_;
    bool escaped = false;
    for (;; ++position_) {
      if (position_ == text_.size())
        throw bad_input("{}: line {}, column {}: quote is never closed", file_, open_line, open - open_start + 1);
      const char character = text_[position_];
      if (character == '\n') {
        ++line_;
        line_start_ = position_ + 1;
      }
      if (character != '"') continue;
      if (position_ + 1 == text_.size() || text_[position_ + 1] != '"') break;
      escaped = true;
      ++position_;
    }
    auto field = text_.substr(start, position_ - start);
    ++position_;
    if (delimiter_ != ' ') {
      while (position_ < text_.size() && text_[position_] != delimiter_ &&
             blanks.find(text_[position_]) != std::string_view::npos)
        ++position_;
    }
    const bool ends = position_ == text_.size() || at_line_end() || text_[position_] == delimiter_ ||
                      (delimiter_ == ' ' && text_[position_] == '\t');
    if (!ends) throw bad(position_, "text after a closing quote");
    if (position_ < text_.size() && text_[position_] == '\r') ++position_;
    if (!escaped) return field;
    std::string& plain_text = unescaped_.emplace_back();
    for (std::size_t i = 0; i < field.size(); ++i) {
      plain_text += field[i];
      if (field[i] == '"') ++i;
    }
    return plain_text;
  }

  std::string_view text_;
  const std::string& file_;
  char delimiter_;
  std::string_view comment_, last_comment_ = {};
  std::size_t position_ = 0, line_start_ = 0, line_ = 1, record_line_ = 1;
  std::deque<std::string> unescaped_ = {};  // keeps its elements in place
};

/// The delimiter that splits the first records into the same number of fields, more than one.
char sniff_delimiter(std::string_view text, const std::string& file, std::string_view comment) {
  constexpr std::size_t records = 32, most_bytes = std::size_t{1} << 20;
  std::vector<std::string_view> fields;
  for (const char candidate : {'\t', ';', ',', '|', ' '}) {
    try {
      Tokenizer tokenizer(text.substr(0, most_bytes), file, candidate, comment);
      std::size_t width = 0;
      bool equal = true;
      for (std::size_t record = 0; equal && record < records && tokenizer.next(fields); ++record) {
        if (text.size() > most_bytes && tokenizer.position() == most_bytes) break;  // cut in the middle
        equal = record == 0 || fields.size() == width;
        width = fields.size();
      }
      if (equal && width > 1) return candidate;
    } catch (const Error&) {
      continue;  // quotes that make no sense with this delimiter
    }
  }
  // None fits all: take the most frequent on the first line, so that the ragged record is named.
  const auto line = text.substr(0, text.find('\n'));
  char best = ',';
  for (const char candidate : {'\t', ';', '|', ','})
    if (std::count(line.begin(), line.end(), candidate) > std::count(line.begin(), line.end(), best)) best = candidate;
  return best;
}

/// "name [unit]" as name and unit.
void name_column(Variable& column, std::string_view title, std::size_t number) {
  std::string_view unit;
  if (title.ends_with(']')) {
    const auto open = title.rfind('[');
    if (open != std::string_view::npos && open > 0) {
      unit = trimmed(title.substr(open + 1, title.size() - open - 2));
      title = trimmed(title.substr(0, open));
    }
  }
  column.name = title.empty() ? fmt::format("column{}", number) : to_utf8(std::string(title));
  column.units = to_utf8(std::string(unit));
}

using Fields = std::vector<std::string_view>;

/// Appends one column of a block of fields (rows x width) to `values`, whose type grows from integers to reals as
/// needed. False once a field is no number: the column is text.
bool append_numbers(Values& values, const Fields& block, std::size_t width, std::size_t column, char decimal) {
  std::size_t i = column;
  if (auto* integers = std::get_if<std::vector<std::int64_t>>(&values)) {
    for (; i < block.size(); i += width) {
      const auto value = parse_integer(block[i]);
      if (!value) break;
      integers->push_back(*value);
    }
    if (i >= block.size()) return true;
    values = std::vector<double>(integers->begin(), integers->end());
  }
  auto& reals = std::get<std::vector<double>>(values);
  for (; i < block.size(); i += width) {
    const auto value = parse_real(block[i], decimal);
    if (!value) return false;
    reals.push_back(*value);
  }
  return true;
}

void check_is_text(std::string_view text, const std::string& file) {
  const auto nul = text.find('\0');
  if (nul != std::string_view::npos) throw bad_input("{}: offset {}: expected text, found binary data", file, nul);
  if (text.empty()) throw bad_input("{}: is empty, expected a table of text", file);
}

/// Hands all records over in blocks of rows that are `width` fields long, leaving the first out if `skip_first`.
template <class Consume>
void for_each_block(Tokenizer tokenizer, const std::string& file, std::size_t width, bool skip_first,
                    const Consume& consume) {
  constexpr std::size_t block_fields = std::size_t{1} << 17;
  Fields fields, block;
  for (bool more = true; more;) {
    more = tokenizer.next(fields);
    if (more && fields.size() != width)
      throw bad_input("{}: line {}: expected {} fields as in the first record, found {}", file, tokenizer.line(), width,
                      fields.size());
    if (more && !std::exchange(skip_first, false)) block.insert(block.end(), fields.begin(), fields.end());
    if (!more || block.size() >= block_fields) {
      consume(block);
      block.clear();
      tokenizer.forget_strings();
    }
  }
}

/// The words of a comment line if there is one for each column and none is a number, as numpy.savetxt writes them.
Fields titles_in_comment(std::string_view comment, const std::string& file, char delimiter, std::size_t width) {
  Fields words;
  try {
    Tokenizer(comment, file, delimiter, "").next(words);
  } catch (const Error&) {  // a comment with quotes of its own
    return {};
  }
  const bool fit = words.size() == width && width > 1 &&
                   std::none_of(words.begin(), words.end(), [](auto word) { return parse_real(word).has_value(); });
  return fit ? words : Fields{};
}

void make_names_unique(std::vector<Variable>& columns) {
  std::set<std::string> taken;
  for (auto& column : columns) {
    const std::string name = column.name;
    for (int copy = 2; !taken.insert(column.name).second; ++copy)
      column.name = fmt::format("{}_{}", name, copy);
  }
}

}  // namespace

std::optional<double> parse_real(std::string_view field, char decimal) {
  if (is_missing(field)) return std::numeric_limits<double>::quiet_NaN();
  if (field.size() > 1 && field.front() == '+' && field[1] != '-') field.remove_prefix(1);
  if (decimal == '.') {
    if (const auto value = from_decimal(field)) return value;
    if (field.find_first_of("dD") == std::string_view::npos) return {};
  }
  std::array<char, 64> copy;  // with the decimal comma, or Fortran's D exponent, replaced
  if (field.size() > copy.size()) return {};
  std::transform(field.begin(), field.end(), copy.begin(), [&](char c) {
    if (c == decimal) return '.';
    if (c == 'd' || c == 'D') return 'e';
    return c == '.' ? '?' : c;
  });
  return from_decimal({copy.data(), field.size()});
}

DelimitedTable read_delimited(std::string_view text, const std::string& file, const DelimitedOptions& options) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  check_is_text(text, file);
  DelimitedTable table;
  table.delimiter = options.delimiter ? *options.delimiter : sniff_delimiter(text, file, options.comment);
  Tokenizer tokenizer(text, file, table.delimiter, options.comment);

  Fields first;
  if (!tokenizer.next(first)) throw bad_input("{}: holds no records, only blank lines or comments", file);
  const std::size_t width = first.size();
  const auto is_number = [&](auto field) { return !is_missing(field) && parse_real(field, options.decimal); };
  const bool header = options.header.value_or(std::none_of(first.begin(), first.end(), is_number));
  Fields titles = header ? first : Fields{};
  if (!header && !options.header) titles = titles_in_comment(tokenizer.last_comment(), file, table.delimiter, width);
  table.has_header = !titles.empty();
  titles.resize(width);
  table.columns.resize(width);
  for (std::size_t c = 0; c < width; ++c)
    name_column(table.columns[c], titles[c], c + 1);
  make_names_unique(table.columns);

  // One pass for the columns of numbers; what turns out to be text gets a second pass of its own.
  const Tokenizer start(text, file, table.delimiter, options.comment);
  std::vector<std::uint8_t> numeric(width, 1);
  std::size_t rows = 0;
  for (auto& column : table.columns)
    column.values = std::vector<std::int64_t>{};
  for_each_block(start, file, width, header, [&](const Fields& block) {
    rows += block.size() / width;
#pragma omp parallel for schedule(dynamic) if (block.size() > 10000)
    for (std::size_t c = 0; c < width; ++c)
      if (numeric[c] != 0) numeric[c] = append_numbers(table.columns[c].values, block, width, c, options.decimal);
  });
  for (std::size_t c = 0; c < width; ++c) {
    table.columns[c].shape = {rows};
    if (numeric[c] == 0) table.columns[c].values = std::vector<std::string>{};
  }
  if (std::find(numeric.begin(), numeric.end(), 0) == numeric.end()) return table;
  for_each_block(start, file, width, header, [&](const Fields& block) {
    for (auto& column : table.columns)
      if (auto* strings = std::get_if<std::vector<std::string>>(&column.values))
        for (auto i = static_cast<std::size_t>(&column - table.columns.data()); i < block.size(); i += width)
          strings->push_back(to_utf8(std::string(block[i])));
  });
  return table;
}

// ---- writing -------------------------------------------------------------------------------------

namespace {

template <class T>
void append_number(std::string& line, T value) {
  std::array<char, 64> digits;
  if constexpr (std::is_floating_point_v<T>)
    if (std::isnan(value)) {  // to_chars may write the sign of a NaN
      line += "nan";
      return;
    }
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  line.append(digits.data(), end);
}

/// As Python writes complex numbers, without brackets: 1.5-2j.
template <class T>
void append_number(std::string& line, std::complex<T> value) {
  append_number(line, value.real());
  if (!(value.imag() < 0)) line += '+';
  append_number(line, value.imag());
  line += 'j';
}

bool needs_quotes(std::string_view text, char delimiter) {
  return text.empty() || text.find_first_of("\"\r\n#") != std::string_view::npos ||
         text.find(delimiter) != std::string_view::npos || blanks.find(text.front()) != std::string_view::npos ||
         blanks.find(text.back()) != std::string_view::npos;
}

void append_text(std::string& line, std::string_view text, char delimiter) {
  if (!needs_quotes(text, delimiter)) {
    line += text;
    return;
  }
  line += '"';
  for (const char character : text) {
    if (character == '"') line += '"';
    line += character;
  }
  line += '"';
}

}  // namespace

void DelimitedWriter::header(const std::vector<std::string>& names) {
  line_.clear();
  for (const auto& name : names) {
    if (&name != &names.front()) line_ += delimiter_;
    append_text(line_, name, delimiter_);
  }
  line_ += '\n';
  sink_.write(line_);
}

void DelimitedWriter::rows(std::span<const Variable> columns) {
  if (columns.empty()) return;
  const std::size_t rows = columns.front().shape.empty() ? 1 : columns.front().shape.front();
  for (std::size_t row = 0; row < rows; ++row) {
    line_.clear();
    for (const auto& column : columns) {
      const std::size_t width = rows == 0 ? 0 : length(column.values) / rows;
      std::visit(
          [&](const auto& values) {
            for (std::size_t i = row * width; i < (row + 1) * width; ++i) {
              if (!line_.empty()) line_ += delimiter_;
              if constexpr (std::is_same_v<std::decay_t<decltype(values)>, std::vector<std::string>>)
                append_text(line_, values[i], delimiter_);
              else
                append_number(line_, values[i]);
            }
          },
          column.values);
    }
    line_ += '\n';
    sink_.write(line_);
  }
}

}  // namespace fachwerk::formats
