#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include <nlohmann/json.hpp>

/// A table of a JSON file, row by row, whose mistakes are named by file, table, row and column.
namespace fachwerk::dpf {

using Json = nlohmann::json;

class Frame {
 public:
  Frame() = default;
  /// From the split layout of pandas: {"columns": [...], "index": [...], "data": [[...], ...]}.
  static Frame split(Json table, std::string what);
  /// From a list of objects, or of lists whose names are `attributes`.
  static Frame records(const Json& rows, const std::vector<std::string>& attributes, std::string what);

  std::size_t rows() const { return data_.size(); }
  bool has(const std::string& column) const { return column_.contains(column); }
  /// Number of the row in the table's own index: its position if there is none.
  std::int64_t index(std::size_t row) const { return index_.empty() ? static_cast<std::int64_t>(row) : index_[row]; }

  /// The value, nothing for null and missing columns. Numbers must be finite or null.
  std::optional<double> real(std::size_t row, const std::string& column) const;
  std::optional<bool> flag(std::size_t row, const std::string& column) const;
  std::optional<std::string> text(std::size_t row, const std::string& column) const;
  std::optional<std::int64_t> integer(std::size_t row, const std::string& column) const;

  double number(std::size_t row, const std::string& column, double otherwise) const {
    return real(row, column).value_or(otherwise);
  }
  /// A value that must be there.
  double number(std::size_t row, const std::string& column) const;
  std::int64_t whole(std::size_t row, const std::string& column) const;
  /// Sum of a list of numbers, 0 where there is none.
  double sum(std::size_t row, const std::string& column) const;

  /// "FILE: line 3": for messages about a row.
  std::string where(std::size_t row) const;

 private:
  const Json* at(std::size_t row, const std::string& column) const;
  [[noreturn]] void fail(std::size_t row, const std::string& column, const char* expected, const Json& found) const;

  std::string what_;
  std::unordered_map<std::string, std::size_t> column_;
  std::vector<std::int64_t> index_;
  std::vector<std::vector<Json>> data_;
};

/// The JSON of a text, or bad input that names file and position.
Json parse_json(std::string_view text, std::string_view name);

}  // namespace fachwerk::dpf
