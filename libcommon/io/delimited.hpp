#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/bytes.hpp"
#include "io/variable.hpp"

namespace fachwerk::formats {

/// How delimited text is read. What is left open is found out from the text.
struct DelimitedOptions {
  std::optional<char> delimiter = {};  ///< ',' ';' '\t' '|' or ' ' for runs of blanks
  std::optional<bool> header = {};     ///< the first record names the columns
  std::string comment = "#";           ///< a line that starts with it is skipped; empty: there are none
  char decimal = '.';                  ///< ',' for numbers such as 1,5
};

/// Delimited text as one-dimensional columns of equal length.
struct DelimitedTable {
  std::vector<Variable> columns;  ///< int64, float64 (missing values are NaN) or text
  bool has_header = false;        ///< otherwise the columns are named column1, column2, ...
  char delimiter = ',';
};

/// Reads CSV, TSV and blank-separated text: RFC 4180 quoting (delimiters, line ends and "" inside quotes), comment
/// lines, CRLF, byte order mark, Latin-1 or UTF-8. A header is taken to be there if no field of the first record is a
/// number, or a comment line just before the data has one word for each column; "name [unit]" gives a column its unit.
/// Empty fields, NA, N/A and null are missing values in columns of numbers. Throws bad input naming file, line and
/// column for records of unequal length, open quotes and binary data; `file` names the text in messages.
DelimitedTable read_delimited(std::string_view text, const std::string& file, const DelimitedOptions& options = {});

/// Writes columns of equal length, a block of rows at a time. Numbers are written so that they read back exactly.
class DelimitedWriter {
 public:
  /// `sink` must outlive the writer.
  DelimitedWriter(Sink& sink, char delimiter = ',') : sink_(sink), delimiter_(delimiter) {}
  void header(const std::vector<std::string>& names);
  /// Rows of the columns side by side; a two-dimensional column gives as many fields as its second axis is long.
  void rows(std::span<const Variable> columns);

 private:
  Sink& sink_;
  char delimiter_;
  std::string line_ = {};
};

/// Number of a field in any of the spellings read_delimited accepts; nothing if it is none. Missing values are NaN.
std::optional<double> parse_real(std::string_view field, char decimal = '.');

}  // namespace fachwerk::formats
