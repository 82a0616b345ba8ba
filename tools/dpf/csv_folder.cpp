#include "csv_folder.hpp"

#include <array>
#include <cmath>
#include <filesystem>
#include <limits>

#include "cli/error.hpp"
#include "grid_columns.hpp"
#include "io/bytes.hpp"
#include "io/delimited.hpp"

namespace fachwerk::dpf {
namespace {

struct CsvWriter {
  std::vector<std::string> header = {};
  std::vector<formats::Variable> columns = {};

  template <class T>
  void operator()(const char* name, const char*, const char*, std::vector<T>& values) {
    add(name, values);
  }
  template <class T>
  void add(const std::string& name, const std::vector<T>& values) {
    header.push_back(name);
    formats::Variable variable;
    variable.name = name;
    variable.shape = {values.size()};
    if constexpr (std::is_integral_v<T>)
      variable.values = std::vector<std::int64_t>(values.begin(), values.end());
    else if constexpr (std::is_same_v<T, float>)
      variable.values = std::vector<double>(values.begin(), values.end());
    else
      variable.values = values;
    columns.push_back(std::move(variable));
  }
  void save(const std::string& path, bool force) {
    formats::Sink sink = formats::Sink::create(path, force, false);
    formats::DelimitedWriter writer(sink);
    writer.header(header);
    writer.rows(columns);
    sink.commit();
  }
};

struct CsvReader {
  std::string path;
  formats::DelimitedTable table = {};

  explicit CsvReader(const std::string& file) : path(file) {
    const formats::File text = formats::File::open(path);
    table = formats::read_delimited(text.text(), path, {.delimiter = ',', .header = true});
  }
  const formats::Variable* find(const std::string& name) const {
    for (const auto& variable : table.columns)
      if (variable.name == name) return &variable;
    return nullptr;
  }
  std::size_t rows() const { return table.columns.empty() ? 0 : formats::length(table.columns[0].values); }

  template <class T>
  void operator()(const char* name, const char*, const char*, std::vector<T>& values) {
    const formats::Variable* variable = find(name);
    double missing = 0;
    if (variable == nullptr) {
      if (!optional_column(name, missing)) throw bad_input("{}: there is no column {}", path, name);
      values.assign(rows(), static_cast<T>(missing));
      return;
    }
    const std::vector<double> reals = formats::as_reals(variable->values, path + ": " + name);
    values.resize(reals.size());
    for (std::size_t i = 0; i < reals.size(); ++i) {
      if constexpr (std::is_integral_v<T>)
        if (!(std::abs(reals[i]) <= static_cast<double>(std::numeric_limits<T>::max())) ||
            reals[i] != std::floor(reals[i]))
          throw bad_input("{}: {} row {}: expected an integer, found {}", path, name, i + 1, reals[i]);
      values[i] = static_cast<T>(reals[i]);
    }
  }
};

}  // namespace

Grid read_csv(const std::string& folder) {
  Grid grid;
  grid.name = std::filesystem::path(folder).filename().string();
  CsvReader buses(folder + "/bus.csv"), generators(folder + "/gen.csv"), branches(folder + "/branch.csv");
  bus_columns(grid.bus, buses);
  generator_columns(grid.gen, generators);
  branch_columns(grid.branch, branches);
  const auto optional = [](CsvReader& csv, const char* name, std::size_t rows) {
    std::vector<double> values(rows, 0.0);
    if (csv.find(name) != nullptr) csv(name, "", "", values);
    return values;
  };
  if (buses.find(share_columns[0]) != nullptr) {
    grid.bus.zip.resize(grid.bus.size());
    for (std::size_t k = 0; k < share_columns.size(); ++k) {
      const auto values = optional(buses, share_columns[k], grid.bus.size());
      for (std::size_t i = 0; i < values.size() && i < grid.bus.size(); ++i)
        grid.bus.zip[i][k] = values[i];
    }
  }
  if (branches.find(end_columns[0]) != nullptr) {
    std::array<std::vector<double>, 4> parts;
    for (std::size_t k = 0; k < parts.size(); ++k)
      parts[k] = optional(branches, end_columns[k], grid.branch.size());
    for (std::size_t b = 0; b < grid.branch.size(); ++b)
      grid.branch.end_y.push_back({Complex(parts[0].at(b), parts[1].at(b)), Complex(parts[2].at(b), parts[3].at(b))});
  }
  if (const auto* base = buses.find("base_mva")) {
    const auto values = formats::as_reals(base->values, folder + "/bus.csv: base_mva");
    if (!values.empty()) grid.base_mva = values[0];
  }
  if (const auto* name = buses.find("name"))
    if (const auto* texts = std::get_if<std::vector<std::string>>(&name->values)) grid.bus.name = *texts;
  return grid;
}

void write_csv(const std::string& folder, bool force, const Grid& source, const Flows* result) {
  if (folder == "-") throw usage_error("--to csv writes a folder of three files, not stdout");
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);
  if (failure) throw io_error("{}: cannot make this folder: {}", folder, failure.message());
  Grid grid = source;
  CsvWriter buses, generators, branches;
  bus_columns(grid.bus, buses);
  generator_columns(grid.gen, generators);
  branch_columns(grid.branch, branches);
  buses.add("base_mva", std::vector<double>(grid.bus.size(), grid.base_mva));
  if (!grid.bus.name.empty()) buses.add("name", grid.bus.name);
  for (std::size_t k = 0; !grid.bus.zip.empty() && k < share_columns.size(); ++k) {
    std::vector<double> values;
    for (const auto& share : grid.bus.zip)
      values.push_back(share[k]);
    buses.add(share_columns[k], values);
  }
  for (std::size_t k = 0; !grid.branch.end_y.empty() && k < end_columns.size(); ++k) {
    std::vector<double> values;
    for (const auto& ends : grid.branch.end_y)
      values.push_back(k % 2 == 0 ? ends[k / 2].real() : ends[k / 2].imag());
    branches.add(end_columns[k], values);
  }
  if (result != nullptr) {
    const auto add = [](CsvWriter& csv, const char* name, const auto& values) {
      if (!values.empty()) csv.add(name, values);
    };
    add(buses, "result_vm", result->vm);
    add(buses, "result_va", result->va);
    add(branches, "result_pf", result->pf);
    add(branches, "result_qf", result->qf);
    add(branches, "result_pt", result->pt);
    add(branches, "result_qt", result->qt);
    add(branches, "result_loading", result->loading);
    add(generators, "result_pg", result->pg);
    add(generators, "result_qg", result->qg);
  }
  buses.save(folder + "/bus.csv", force);
  branches.save(folder + "/branch.csv", force);
  generators.save(folder + "/gen.csv", force);
}

}  // namespace fachwerk::dpf
