#include "import.hpp"

#include <algorithm>

#include "cdf.hpp"
#include "io/matlab.hpp"
#include "pandapower.hpp"
#include "pgm.hpp"
#include "psse.hpp"

namespace fachwerk::dpf {
namespace {

Imported from_matpower(const MatpowerFile& evaluated, const std::string& name, std::vector<std::string>& warnings) {
  Imported out;
  if (!evaluated.tables.contains("bus") && !evaluated.tables.contains("baseMVA") && !evaluated.tables.empty()) {
    out.changes = changes_of(evaluated, name);
    out.is_changes = true;
  } else {
    out.grid = grid_of(evaluated, name, warnings);
  }
  return out;
}

// Fields of the struct that has buses and branches, or variables of case format 1, as an evaluated case file.
MatpowerFile case_of(const formats::MatlabFile& matlab, const std::string& name) {
  const auto has = [&](const std::string& variable) {
    return std::ranges::any_of(matlab.variables, [&](const auto& v) { return v.name == variable; });
  };
  std::string prefix;
  bool found = has("bus") && has("branch");
  for (std::size_t i = 0; !found && i < matlab.variables.size(); ++i) {
    const std::string& field = matlab.variables[i].name;
    if (!field.ends_with("/bus") || field.find('/') != field.size() - 4) continue;
    prefix = field.substr(0, field.size() - 3);
    found = has(prefix + "branch");
  }
  if (!found) throw bad_input("{}: there is no struct with the fields bus and branch", name);
  MatpowerFile out;
  for (const auto& variable : matlab.variables) {
    if (!variable.name.starts_with(prefix)) continue;
    const std::string key = variable.name.substr(prefix.size());
    if (const auto* texts = std::get_if<std::vector<std::string>>(&variable.values)) {
      // Cells of strings come as one variable, or as one for each cell.
      if (const std::size_t slash = key.find('/'); slash == std::string::npos)
        out.texts[key] = *texts;
      else if (!texts->empty())
        out.texts[key.substr(0, slash)].push_back(texts->front());
      continue;
    }
    if (key.find('/') != std::string::npos || variable.shape.size() > 2) continue;
    const bool matrix = variable.shape.size() == 2;  // a vector is a table of one row
    Table table{matrix ? variable.shape[0] : 1, matrix ? variable.shape[1] : formats::length(variable.values),
                formats::as_reals(variable.values, name + ": " + variable.name)};
    if (table.values.size() != table.rows * table.columns)
      throw bad_input("{}: {}: shape and number of values differ", name, variable.name);
    out.tables[key] = std::move(table);
  }
  return out;
}

}  // namespace

std::string format_of(const formats::File& file) {
  const std::string_view text = file.text();
  if (text.starts_with("\x89HDF\r\n\x1a\n") || text.starts_with("MATLAB 7.3")) return "h5";
  if (formats::is_matlab5(file.bytes())) return "mat";
  if (is_pandapower(text)) return "pandapower";
  if (is_pgm(text)) return "pgm";
  if (is_cdf(text)) return "cdf";
  if (is_raw(text)) return "psse";
  return "matpower";
}

Imported import_file(const formats::File& file, const std::string& format, std::vector<std::string>& warnings) {
  if (file.bytes().empty()) throw bad_input("{}: the file is empty", file.name());
  if (format == "pandapower") return {grid_of_pandapower(file.text(), file.name(), warnings), {}, false};
  if (format == "pgm") return {grid_of_pgm(file.text(), file.name(), warnings), {}, false};
  if (format == "psse") return {grid_of_raw(file.text(), file.name(), warnings), {}, false};
  if (format == "cdf") return {grid_of_cdf(file.text(), file.name(), warnings), {}, false};
  if (format == "mat")
    return from_matpower(case_of(formats::read_matlab5(file.bytes(), file.name()), file.name()), file.name(), warnings);
  return from_matpower(evaluate_matpower(file.text(), file.name()), file.name(), warnings);
}

bool is_matlab_case(const h5::Node& file) {
  if (file.exists("/grid")) return false;
  return std::ranges::any_of(
      file.children("/"), [&](const std::string& name) { return name == "bus" || file.exists("/" + name + "/bus"); });
}

Imported import_matlab_case(const h5::Node& file, std::vector<std::string>& warnings) {
  return from_matpower(case_of(formats::read_matlab73(file), file.name()), file.name(), warnings);
}

}  // namespace fachwerk::dpf
