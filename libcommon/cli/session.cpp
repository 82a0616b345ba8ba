#include "cli/session.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sched.h>

#include "cli/version.hpp"

namespace fachwerk::cli {

namespace {

using Json = nlohmann::ordered_json;

template <class... Ts>
struct Overload : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overload(Ts...) -> Overload<Ts...>;

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

std::string json_key(const std::string& key, const std::string& unit = {}) {
  std::string result;
  for (const char c : unit.empty() ? key : key + "_" + unit) {
    const bool word = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || (c & 0x80) != 0;
    if (word)
      result += c;
    else if (c == '%')
      result += "percent";
    else if (!result.empty() && result.back() != '_')
      result += '_';
  }
  while (!result.empty() && result.back() == '_')
    result.pop_back();
  return result;
}

std::string cell_text(const Table::Cell& cell) {
  return std::visit(Overload{[](std::int64_t value) { return fmt::format("{}", value); },
                             [](double value) { return fmt::format("{:.6g}", value); },
                             [](const std::string& value) { return value; }},
                    cell);
}

/// Columns on a terminal that a UTF-8 text takes (one per code point).
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string padded(const std::string& text, std::size_t columns, bool right) {
  const std::string blanks(columns > width(text) ? columns - width(text) : 0, ' ');
  return right ? blanks + text : text + blanks;
}

std::string table_text(const Table& table) {
  std::vector<std::size_t> widths;
  std::vector<bool> numeric(table.columns.size(), true);
  for (const std::string& column : table.columns)
    widths.push_back(width(column));
  for (const auto& row : table.rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], width(cell_text(row[i])));
      if (std::holds_alternative<std::string>(row[i])) numeric[i] = false;
    }
  std::string result = table.name + "\n";
  const auto line = [&](const auto& cell_of) {
    std::string text;
    for (std::size_t i = 0; i < table.columns.size(); ++i)
      text += "  " + padded(cell_of(i), widths[i], numeric[i]);
    text.erase(text.find_last_not_of(' ') + 1);
    result += text + "\n";
  };
  line([&](std::size_t i) { return table.columns[i]; });
  for (const auto& row : table.rows)
    line([&](std::size_t i) { return cell_text(row[i]); });
  return result;
}

std::string value_text(const Summary::Value& value) {
  return std::visit(Overload{[](bool v) { return std::string(v ? "yes" : "no"); },
                             [](std::int64_t v) { return fmt::format("{}", v); },
                             [](double v) { return fmt::format("{:.9g}", v); }, [](const std::string& v) { return v; },
                             [](const std::vector<double>& v) { return fmt::format("{:.6g}", fmt::join(v, " ")); },
                             [](const std::vector<std::string>& v) { return fmt::format("{}", fmt::join(v, " ")); }},
                    value);
}

Json value_json(const Summary::Value& value) {
  return std::visit(Overload{[](double v) { return number(v); },
                             [](const std::vector<double>& v) {
                               Json list = Json::array();
                               for (const double x : v)
                                 list.push_back(number(x));
                               return list;
                             },
                             [](const auto& v) { return Json(v); }},
                    value);
}

std::optional<int> positive(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr) return {};
  const int value = std::atoi(text);
  return value > 0 ? std::optional(value) : std::nullopt;
}

int ranks_on_node() {
  for (const char* variable : {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE"})
    if (const auto value = positive(variable)) return *value;
  return 1;
}

}  // namespace

std::string Summary::text() const {
  std::size_t columns = 0;
  for (const Entry& entry : entries_)
    columns = std::max(columns, width(entry.key));
  std::string result;
  for (const Entry& entry : entries_) {
    result += padded(entry.key, columns, false) + "  " + value_text(entry.value);
    if (!entry.unit.empty()) result += " " + entry.unit;
    result += "\n";
  }
  for (const Table& table : tables_)
    result += (result.empty() ? "" : "\n") + table_text(table);
  return result;
}

std::string Summary::json(const std::string& tool) const {
  Json object = {{"tool", tool}, {"version", version()}};
  for (const Entry& entry : entries_)
    object[json_key(entry.key, entry.unit)] = value_json(entry.value);
  for (const Table& table : tables_) {
    Json rows = Json::array();
    for (const auto& row : table.rows) {
      Json item = Json::object();
      for (std::size_t i = 0; i < table.columns.size(); ++i)
        item[json_key(table.columns[i])] =
            std::visit(Overload{[](double v) { return number(v); }, [](const auto& v) { return Json(v); }}, row[i]);
      rows.push_back(std::move(item));
    }
    object[json_key(table.name)] = std::move(rows);
  }
  return object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void Session::warn(const std::string& message) const {
  if (talks && !quiet) say(fmt::format("{}: warning: {}\n", tool, message));
}

void Session::note(const std::string& message) const {
  if (talks && verbose) say(fmt::format("{}: {}\n", tool, message));
}

void say(const std::string& text) noexcept {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

std::string version() {
  return FACHWERK_VERSION;
}

int default_threads() {
  if (const auto slurm = positive("SLURM_CPUS_PER_TASK")) return *slurm;
  if (const auto openmp = positive("OMP_NUM_THREADS")) return *openmp;
  cpu_set_t set;
  CPU_ZERO(&set);
  const int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return std::max(1, cpus / ranks_on_node());
}

Error stopped_error(const std::string& checkpoint) {
  return make_error(Exit::stopped, "stopped by a signal; the state is in {}", checkpoint)
      .with_hint("run the same command again with --resume");
}

}  // namespace fachwerk::cli
