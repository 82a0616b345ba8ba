#include "json_frame.hpp"

#include <cmath>

#include "cli/error.hpp"

namespace fachwerk::dpf {
namespace {

std::int64_t integer_of(const Json& value, const std::string& what) {
  if (value.is_number_integer() && !(value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{1} << 62))
    return value.get<std::int64_t>();
  if (value.is_number_float()) {
    const double x = value.get<double>();
    if (x == std::floor(x) && std::abs(x) < 9e15) return static_cast<std::int64_t>(x);
  }
  throw bad_input("{}: expected an integer, found {}", what,
                  value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60));
}

}  // namespace

Frame Frame::split(Json table, std::string what) {
  Frame out;
  out.what_ = std::move(what);
  for (const char* part : {"columns", "data"})
    if (!table.is_object() || !table.contains(part) || !table[part].is_array())
      throw bad_input("{}: expected a table in the split layout (columns, index, data)", out.what_);
  for (const Json& name : table["columns"]) {
    if (!name.is_string()) throw bad_input("{}: expected the names of columns", out.what_);
    const std::size_t place = out.column_.size();
    if (!out.column_.emplace(name.get<std::string>(), place).second)
      throw bad_input("{}: column {} is there twice", out.what_, name.get<std::string>());
  }
  for (Json& row : table["data"]) {
    if (!row.is_array() || row.size() != out.column_.size())
      throw bad_input("{}: row {}: expected {} values", out.what_, out.data_.size(), out.column_.size());
    out.data_.emplace_back(std::make_move_iterator(row.begin()), std::make_move_iterator(row.end()));
  }
  if (table.contains("index")) {
    if (!table["index"].is_array() || table["index"].size() != out.data_.size())
      throw bad_input("{}: expected an index of {} rows", out.what_, out.data_.size());
    for (const Json& value : table["index"])
      out.index_.push_back(integer_of(value, out.what_ + ": index"));
  }
  return out;
}

Frame Frame::records(const Json& rows, const std::vector<std::string>& attributes, std::string what) {
  Frame out;
  out.what_ = std::move(what);
  if (!rows.is_array()) throw bad_input("{}: expected a list", out.what_);
  for (const auto& name : attributes)
    out.column_.try_emplace(name, out.column_.size());
  for (const Json& row : rows) {
    const std::size_t number = out.data_.size();
    if (row.is_array()) {
      if (row.size() != attributes.size())
        throw bad_input("{}: row {}: expected {} values, found {}", out.what_, number, attributes.size(), row.size());
      out.data_.emplace_back(row.begin(), row.end());
      continue;
    }
    if (!row.is_object()) throw bad_input("{}: row {}: expected an object or a list", out.what_, number);
    std::vector<Json> values;
    for (const auto& [key, value] : row.items()) {
      const std::size_t place = out.column_.try_emplace(key, out.column_.size()).first->second;
      if (values.size() <= place) values.resize(place + 1);
      values[place] = value;
    }
    out.data_.push_back(std::move(values));
  }
  return out;
}

const Json* Frame::at(std::size_t row, const std::string& column) const {
  const auto found = column_.find(column);
  if (found == column_.end() || found->second >= data_[row].size() || data_[row][found->second].is_null())
    return nullptr;
  return &data_[row][found->second];
}

std::string Frame::where(std::size_t row) const {
  return fmt::format("{} {}", what_, index(row));
}

void Frame::fail(std::size_t row, const std::string& column, const char* expected, const Json& found) const {
  throw bad_input("{}: {}: expected {}, found {}", where(row), column, expected,
                  found.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60));
}

std::optional<double> Frame::real(std::size_t row, const std::string& column) const {
  const Json* value = at(row, column);
  if (value == nullptr) return {};
  if (value->is_boolean()) return value->get<bool>() ? 1.0 : 0.0;
  if (value->is_string()) {
    const auto& word = value->get_ref<const std::string&>();
    if (word == "inf" || word == "Infinity") return INFINITY;
    if (word == "-inf" || word == "-Infinity") return -INFINITY;
    if (word == "nan" || word == "NaN" || word == "None") return {};
  }
  if (!value->is_number()) fail(row, column, "a number", *value);
  return value->get<double>();
}

std::optional<bool> Frame::flag(std::size_t row, const std::string& column) const {
  const auto value = real(row, column);
  if (value && *value != 0 && *value != 1) fail(row, column, "true or false", *at(row, column));
  return value ? std::optional(*value != 0) : std::nullopt;
}

std::optional<std::string> Frame::text(std::size_t row, const std::string& column) const {
  const Json* value = at(row, column);
  if (value == nullptr) return {};
  return value->is_string() ? value->get<std::string>() : value->dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::optional<std::int64_t> Frame::integer(std::size_t row, const std::string& column) const {
  const Json* value = at(row, column);
  if (value == nullptr) return {};
  return integer_of(*value, where(row) + ": " + column);
}

double Frame::number(std::size_t row, const std::string& column) const {
  const auto value = real(row, column);
  if (!value || !std::isfinite(*value)) throw bad_input("{}: {}: expected a finite number", where(row), column);
  return *value;
}

std::int64_t Frame::whole(std::size_t row, const std::string& column) const {
  const auto value = integer(row, column);
  if (!value) throw bad_input("{}: {}: expected an integer, found nothing", where(row), column);
  return *value;
}

double Frame::sum(std::size_t row, const std::string& column) const {
  const Json* list = at(row, column);
  if (list == nullptr) return 0;
  if (!list->is_array()) fail(row, column, "a list of numbers", *list);
  double total = 0;
  for (const Json& value : *list) {
    if (!value.is_number()) fail(row, column, "a list of numbers", *list);
    total += value.get<double>();
  }
  return total;
}

Json parse_json(std::string_view text, std::string_view name) {
  // The parser recurses with depth: what nests deeper than any network is refused before.
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\')
      ++i;
    else if (c == '"')
      quoted = !quoted;
    else if (!quoted && (c == '{' || c == '[') && ++depth > 100)
      throw bad_input("{}: offset {}: JSON nested deeper than 100", name, i);
    else if (!quoted && (c == '}' || c == ']'))
      --depth;
  }
  try {
    return Json::parse(text.begin(), text.end());
  } catch (const Json::exception& error) {
    std::string message = error.what();  // "[json.exception.parse_error.101] parse error at line ..."
    if (const auto end = message.find("] "); end != std::string::npos) message = message.substr(end + 2);
    for (char& c : message)
      if (static_cast<unsigned char>(c) < ' ' || static_cast<unsigned char>(c) > '~') c = '?';
    throw bad_input("{}: not JSON: {}", name, message.substr(0, 200));
  }
}

}  // namespace fachwerk::dpf
