#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "cli/command.hpp"
#include "io/dataset.hpp"
#include "io/delimited.hpp"
#include "io/image.hpp"
#include "io/matlab.hpp"
#include "io/npy.hpp"

using namespace fachwerk;
using formats::Variable;

namespace {

struct Options {
  std::string input, output, from = "auto", kind, header = "auto", delimiter = "auto", comment = "#", decimal = ".",
                             as = "auto";
  std::vector<std::string> datasets, names, units, long_names, dims;
};

/// What a foreign file gave, and whether it was a table of columns.
struct Import {
  std::vector<Variable> variables;
  bool table = false;
  std::vector<std::string> skipped = {};
};

std::string format_of(formats::Bytes bytes) {
  constexpr std::string_view hdf5 = "\x89HDF\r\n\x1a\n";
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (formats::is_npy(bytes)) return "npy";
  if (formats::is_npz(bytes)) return "npz";
  if (formats::is_png(bytes)) return "png";
  if (formats::is_netpbm(bytes)) return "pgm";
  if (formats::is_matlab5(bytes)) return "mat";
  if (text.starts_with("MATLAB 7.3") || text.substr(0, 8) == hdf5) return "mat73";
  return "csv";
}

char delimiter_of(const std::string& name) {
  if (name == "tab") return '\t';
  if (name == "blank") return ' ';
  if (name == "comma") return ',';
  if (name == "semicolon") return ';';
  if (name.size() != 1)
    throw usage_error("--delimiter: expected one character, tab, blank or auto, found \"{}\"", name);
  return name.front();
}

Import import_text(const formats::File& file, const Options& options) {
  formats::DelimitedOptions how{.comment = options.comment, .decimal = options.decimal.front()};
  if (options.delimiter != "auto") how.delimiter = delimiter_of(options.delimiter);
  if (how.decimal == ',' && how.delimiter == ',') throw usage_error("--decimal , and --delimiter , exclude each other");
  if (options.header != "auto") how.header = options.header == "yes";
  auto table = formats::read_delimited(file.text(), file.name(), how);
  const bool all_numbers = std::none_of(table.columns.begin(), table.columns.end(),
                                        [](const Variable& c) { return formats::is_text(c.values); });
  const bool matrix = options.as == "matrix" || (options.as == "auto" && !table.has_header && all_numbers);
  if (!matrix) return {.variables = std::move(table.columns), .table = true};
  if (!all_numbers) throw bad_input("{}: a matrix needs numbers, but there are columns of text", file.name());
  const std::size_t rows = table.columns.front().shape[0], width = table.columns.size();
  const bool integers = std::all_of(table.columns.begin(), table.columns.end(), [](const Variable& c) {
    return std::holds_alternative<std::vector<std::int64_t>>(c.values);
  });
  Variable all{.name = "data", .shape = width == 1 ? formats::Shape{rows} : formats::Shape{rows, width}};
  all.dims = width == 1 ? std::vector<std::string>{"row"} : std::vector<std::string>{"row", "column"};
  const auto fill = [&]<class T>(std::vector<T> values) {
    for (std::size_t c = 0; c < width; ++c)
      std::visit(
          [&](const auto& column) {
            if constexpr (std::is_arithmetic_v<typename std::decay_t<decltype(column)>::value_type>)
              for (std::size_t r = 0; r < rows; ++r)
                values[r * width + c] = static_cast<T>(column[r]);
          },
          table.columns[c].values);
    all.values = std::move(values);
  };
  integers ? fill(std::vector<std::int64_t>(rows * width)) : fill(std::vector<double>(rows * width));
  return {.variables = {std::move(all)}};
}

Import import_matlab(const formats::File& file, bool level73) {
  formats::MatlabFile content;
  if (level73 && file.name() != "stdin") {
    content = formats::read_matlab73(h5::Input::open(file.name()));
  } else if (level73) {  // HDF5 wants a file, and what came from a pipe is in memory
    const formats::TemporaryFile temporary(file.bytes());
    content = formats::read_matlab73(h5::Input::open(temporary.path()));
  } else {
    content = formats::read_matlab5(file.bytes(), file.name());
  }
  return {.variables = std::move(content.variables), .skipped = std::move(content.skipped)};
}

Import import_file(const formats::File& file, const Options& options) {
  if (file.bytes().empty()) throw bad_input("{}: is empty", file.name());
  const auto found = format_of(file.bytes());
  auto from = options.from == "auto" ? found : options.from;
  if (from == "mat" && found == "mat73") from = found;
  const auto name = options.input == "-" ? "data" : std::filesystem::path(options.input).stem().string();
  if (from == "npy") return {.variables = formats::read_npy(file.bytes(), file.name(), name)};
  if (from == "npz") return {.variables = formats::read_npz(file.bytes(), file.name())};
  if (from == "png") return {.variables = {formats::read_png(file.bytes(), file.name())}};
  if (from == "pgm" || from == "ppm") return {.variables = {formats::read_netpbm(file.bytes(), file.name())}};
  if (from == "mat73" && options.from == "auto" && !file.text().starts_with("MATLAB"))
    throw bad_input("{}: is HDF5 already", file.name())
        .with_hint("the tools take it as it is, with --dataset PATH; --from mat if MATLAB wrote it");
  if (from == "mat" || from == "mat73") return import_matlab(file, from == "mat73");
  auto text_options = options;
  if (from == "tsv") text_options.delimiter = "tab";
  return import_text(file, text_options);
}

/// Keeps the variables named by --dataset, in that order.
void select(Import& import, const Options& options, const std::string& file) {
  if (options.datasets.empty()) return;
  std::vector<Variable> selected;
  for (const auto& wanted : options.datasets) {
    const auto name = wanted.starts_with('/') ? wanted.substr(1) : wanted;
    const auto found = std::find_if(import.variables.begin(), import.variables.end(),
                                    [&](const Variable& v) { return v.name == name; });
    if (found == import.variables.end()) {
      std::vector<std::string> names;
      for (const auto& variable : import.variables)
        names.push_back(variable.name);
      throw bad_input("{}: holds no {}", file, wanted).with_hint(fmt::format("it has {}", fmt::join(names, ", ")));
    }
    selected.push_back(*found);
  }
  import.variables = std::move(selected);
}

/// Title of a column as the name of a dataset: a slash would make a group.
std::string dataset_name(std::string name) {
  std::replace(name.begin(), name.end(), '/', '_');
  return name == "." || name == ".." ? "_" : name;
}

void rename(Import& import, const Options& options) {
  auto& variables = import.variables;
  if (import.table)
    for (auto& variable : variables)
      variable.name = dataset_name(variable.name);
  if (options.names.size() == 1 && variables.size() > 1) {  // a group for all of them
    for (auto& variable : variables)
      variable.name = options.names.front() + "/" + variable.name;
  } else if (!options.names.empty()) {
    if (options.names.size() != variables.size())
      throw usage_error("--name: expected 1 name, or one for each of {} datasets, found {}", variables.size(),
                        options.names.size());
    for (std::size_t i = 0; i < variables.size(); ++i)
      variables[i].name = options.names[i];
  }
  for (auto& variable : variables) {
    variable.name.erase(0, variable.name.find_first_not_of('/'));
    if (variable.name.empty()) throw usage_error("--name: a dataset needs a name");
  }
}

void describe(Import& import, const Options& options) {
  const auto each = [&](const char* option, const std::vector<std::string>& values, std::string Variable::*member) {
    if (values.size() > import.variables.size())
      throw usage_error("{}: {} values for {} datasets", option, values.size(), import.variables.size());
    for (std::size_t i = 0; i < values.size(); ++i)
      import.variables[i].*member = values[i];
  };
  each("--units", options.units, &Variable::units);
  each("--long-name", options.long_names, &Variable::long_name);
  if (!options.dims.empty()) {
    auto& first = import.variables.front();
    if (options.dims.size() != first.shape.size())
      throw usage_error("--dims: {} names for {} dimensions of {}", options.dims.size(), first.shape.size(),
                        first.name);
    first.dims = options.dims;
  }
  for (auto& variable : import.variables) {
    if (import.table) variable.dims = {"row"};
    const bool cube = options.kind == "hsi-cube" && variable.name == "cube" && variable.shape.size() == 3;
    if (cube && variable.dims.empty()) variable.dims = {"row", "column", "band"};
    while (variable.dims.size() < variable.shape.size())
      variable.dims.push_back(fmt::format("axis{}", variable.dims.size()));
    if (variable.long_name.empty() && variable.name.find('/') == std::string::npos) variable.long_name = variable.name;
  }
}

void run(cli::Session& session, const Options& options) {
  const auto file = formats::File::open(options.input);
  auto import = import_file(file, options);
  for (const auto& name : import.skipped)
    session.warn(fmt::format("{}: {} has no counterpart in HDF5 columns and arrays: left out", file.name(), name));
  if (import.variables.empty()) throw bad_input("{}: holds no arrays", file.name());
  select(import, options, file.name());
  rename(import, options);
  describe(import, options);
  auto output = h5::Output::create(options.output, session.force, file.bytes().size());
  output.stamp(session, !options.kind.empty() ? options.kind : import.table ? "table" : "array");
  std::set<std::string> written;
  cli::Table summary{.name = "datasets", .columns = {"path", "type", "shape", "units"}};
  for (const auto& variable : import.variables) {
    const auto path = "/" + variable.name;
    if (!written.insert(path).second || output.exists(path))
      throw usage_error("{}: two datasets of this name", path).with_hint("--name gives others");
    formats::write_variable(output, path, variable);
    summary.rows.push_back({path, formats::type_name(variable.values),
                            fmt::format("{}", fmt::join(variable.shape, " x ")), variable.units});
  }
  if (import.table) {  // HDF5 lists datasets by name: the order of the columns is kept for the way back
    const auto& first = import.variables.front().name;
    std::vector<std::string> names;
    for (const auto& variable : import.variables)
      names.push_back(variable.name.substr(variable.name.rfind('/') + 1));
    output.attribute("/" + first.substr(0, first.rfind('/') == std::string::npos ? 0 : first.rfind('/')), "columns",
                     names);
  }
  output.commit();
  session.summary.add(std::move(summary));
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  const cli::Command command = {
      .name = "h5-import",
      .purpose = "bring tables, arrays and images of other formats into HDF5",
      .description =
          "Reads CSV, TSV and blank-separated text, NumPy's npy and npz, MATLAB's mat (levels 5 and 7.3), PNG, PGM and "
          "PPM; text may be "
          "packed by gzip. The format is found from the content, not from the name.\n\n"
          "Text with a header becomes a table: a dataset for each column, of 64-bit integers, reals or text; \"name "
          "[unit]\" in the header "
          "gives the unit. Numbers without a header become one array, row by column. Delimiter, header and quotes are "
          "found out. Empty "
          "fields, NA and null are missing values (NaN). A comment line just before the data that has a word for each "
          "column is its header.\n\n"
          "Arrays keep the order of their axes, whatever their order in memory. MATLAB's vectors become "
          "one-dimensional, its 1 x 1 arrays "
          "scalars; members of structs become STRUCT/FIELD, sparse matrices three columns. Structured NumPy arrays "
          "become one dataset a field.",
      .arguments = {cli::input("INPUT", options.input, "file of another format"),
                    cli::output("OUTPUT", options.output, "HDF5 file")},
      .options =
          {{"--from",
            &options.from,
            "format of the input",
            {.choices = {"auto", "csv", "tsv", "npy", "npz", "mat", "png", "pgm", "ppm"}}},
           {"--kind",
            &options.kind,
            "kind of the result, such as hsi-cube or series; table or array when not given",
            {.value_name = "KIND"}},
           {"--dataset",
            &options.datasets,
            "only these columns or variables, in this order",
            {.value_name = "NAME,..."}},
           {"--name",
            &options.names,
            "names of the datasets, one for each; a single name for several is their group",
            {.value_name = "PATH,..."}},
           {"--units", &options.units, "units, one for each dataset", {.value_name = "UNIT,..."}},
           {"--long-name", &options.long_names, "descriptions, one for each dataset", {.value_name = "TEXT,..."}},
           {"--dims", &options.dims, "names of the axes of the first dataset", {.value_name = "NAME,..."}},
           {"--delimiter",
            &options.delimiter,
            "of text: a character, tab, blank, comma, semicolon or auto",
            {.value_name = "C"}},
           {"--header",
            &options.header,
            "whether the first line of text names the columns",
            {.choices = {"auto", "yes", "no"}}},
           {"--comment", &options.comment, "lines of text that begin so are left out", {.value_name = "TEXT"}},
           {"--decimal", &options.decimal, "decimal point of text", {.choices = {".", ","}}},
           {"--as",
            &options.as,
            "text as a table of columns or as one matrix",
            {.choices = {"auto", "table", "matrix"}}}},
      .examples = {{"h5-import measurements.csv table.h5", "a table of columns"},
                   {"h5-import --dataset hsi_img,wavelengths --name cube,wavelength --units 1,nm --kind hsi-cube "
                    "scene.mat cube.h5",
                    "two arrays of a MATLAB file as a hyperspectral cube"},
                   {"curl -s https://example.org/series.csv | h5-import - - | h5-plot - series.png", "in a pipe"}},
      .writes = "/NAME for each column or array, with units, long_name and dims; root attribute kind",
      .standard = {.threads = true},
  };
  return command.run(argc, argv, [&](cli::Session& session) { run(session, options); });
}
