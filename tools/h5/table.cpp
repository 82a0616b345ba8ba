#include "table.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "io/dataset.hpp"

namespace fachwerk::table {
namespace {

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}
std::string joined(const std::string& group, const std::string& name) {
  return (group == "/" ? "" : group) + "/" + name;
}

bool is_column(const h5::Node& file, const std::string& path) {
  if (!file.is_dataset(path)) return false;
  const auto info = file.info(path);
  return info.shape.size() == 1 && formats::is_readable(info);
}

/// Identifiers first, whatever the alphabet says.
int rank_of(const std::string& name) {
  constexpr const char* leading[] = {"id",    "index", "time", "date", "epoch", "step", "name",
                                     "label", "from",  "f",    "to",   "t",     "bus"};
  const auto* const found =
      std::find_if(std::begin(leading), std::end(leading), [&](const char* word) { return name == word; });
  return static_cast<int>(found - std::begin(leading));
}

/// In the order of the group's attribute `columns` (h5-import writes it), else identifiers first, then by name.
std::vector<std::string> ordered_children(const h5::Node& file, const std::string& group) {
  auto names = file.children(group);
  const auto listed = file.texts(group, "columns");
  const auto rank = [&](const std::string& name) {
    const auto place = std::find(listed.begin(), listed.end(), name) - listed.begin();
    return std::pair(place, rank_of(name));
  };
  std::stable_sort(names.begin(), names.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  return names;
}

/// Results of one row that belong to the group, see group_table.
void add_results(const h5::Node& file, Table& table) {
  const auto axis = base_name(table.path);
  if (!file.exists("/result") || file.is_dataset("/result") || table.path.starts_with("/result")) return;
  for (const auto& name : file.children("/result")) {
    const auto path = "/result/" + name;
    if (!file.is_dataset(path)) continue;
    const auto info = file.info(path);
    const auto dims = file.texts(path, "dims");
    if (info.shape.size() != 2 || info.shape[0] != 1 || info.shape[1] != table.rows || dims.size() != 2 ||
        dims[1] != axis)
      continue;
    const Column column{.name = name, .path = path, .row = 0, .is_row = true};
    const auto same =
        std::find_if(table.columns.begin(), table.columns.end(), [&](const Column& c) { return c.name == name; });
    if (same != table.columns.end())
      *same = column;
    else
      table.columns.push_back(column);
  }
}

}  // namespace

Table group_table(const h5::Node& file, const std::string& group) {
  std::map<std::size_t, std::size_t> lengths;
  std::vector<std::pair<std::string, std::size_t>> columns;
  for (const auto& name : ordered_children(file, group)) {
    const auto path = joined(group, name);
    if (!file.exists(path) || !is_column(file, path)) continue;
    columns.emplace_back(name, file.info(path).shape[0]);
    ++lengths[columns.back().second];
  }
  Table table{.path = group};
  if (columns.empty()) return table;
  table.rows = std::max_element(lengths.begin(), lengths.end(), [](const auto& a, const auto& b) {
                 return a.second <= b.second;
               })->first;
  for (const auto& [name, length] : columns)
    if (length == table.rows) table.columns.push_back({.name = name, .path = joined(group, name)});
  add_results(file, table);
  return table;
}

Table columns_table(const h5::Node& file, const std::vector<std::string>& paths) {
  Table table{.path = paths.front()};
  std::set<std::string> names;
  for (const auto& path : paths) {
    const auto info = file.info(path);
    if (info.shape.size() != 1 || !formats::is_readable(info))
      throw bad_input("{}:{}: expected a column (1 dimension of numbers or text), found {} dimensions of {}",
                      file.name(), path, info.shape.size(), info.name);
    if (&path == &paths.front()) table.rows = info.shape[0];
    if (info.shape[0] != table.rows)
      throw bad_input("{}:{}: expected {} values as in {}, found {}", file.name(), path, table.rows, paths.front(),
                      info.shape[0]);
    table.columns.push_back(
        {.name = names.insert(base_name(path)).second ? base_name(path) : path.substr(1), .path = path});
  }
  return table;
}

Table main_table(const h5::Node& file) {
  const auto kind = file.kind();
  // Of many scenarios each is a row.
  if (kind == "power-flow" && file.exists("/result/vm") && file.info("/result/vm").shape.size() == 2 &&
      file.info("/result/vm").shape[0] > 1)
    return group_table(file, "/result");
  const std::map<std::string, std::vector<std::string>> by_kind = {{"power-flow", {"/grid/bus"}},
                                                                   {"power-case", {"/grid/bus"}},
                                                                   {"gw-triggers", {"/triggers"}},
                                                                   {"model", {"/history/epoch", "/history"}}};
  if (const auto known = by_kind.find(kind); known != by_kind.end())
    for (const auto& group : known->second)
      if (file.exists(group) && !file.is_dataset(group))
        if (auto table = group_table(file, group); !table.columns.empty()) return table;
  Table best = group_table(file, "/");
  file.visit([&](const std::string& path, bool dataset) {
    if (dataset) return;
    auto table = group_table(file, path);
    if (table.columns.size() > best.columns.size()) best = std::move(table);
  });
  if (best.columns.empty()) throw bad_input("{}: holds no columns (datasets of 1 dimension)", file.name());
  return best;
}

std::vector<formats::Variable> read_rows(const h5::Node& file, const Table& table, std::size_t first,
                                         std::size_t count) {
  std::vector<formats::Variable> columns;
  for (const auto& column : table.columns) {
    formats::Variable variable{.name = column.name, .shape = {count}};
    if (file.info(column.path).type == h5::TypeClass::text) {
      const auto all = file.strings(column.path);
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first);
      variable.values = std::vector<std::string>(begin, begin + static_cast<std::ptrdiff_t>(count));
    } else if (column.is_row) {
      variable.values = formats::read_slab(file, column.path, {column.row, first}, {1, count});
    } else {
      variable.values = formats::read_slab(file, column.path, {first}, {count});
    }
    columns.push_back(std::move(variable));
  }
  return columns;
}

}  // namespace fachwerk::table
