#include <algorithm>
#include <cmath>
#include <filesystem>

#include "cli/command.hpp"
#include "io/dataset.hpp"
#include "io/delimited.hpp"
#include "io/image.hpp"
#include "io/matlab.hpp"
#include "io/npy.hpp"
#include "statistics.hpp"
#include "table.hpp"

using namespace fachwerk;
using formats::Shape;
using formats::Variable;

namespace {

struct Options {
  std::string input, output, to = "auto", delimiter = ",";
  std::vector<std::string> datasets;
  std::vector<double> range;
  std::vector<int> bands;
  bool no_header = false, no_pack = false;
  std::string depth = "8";
};

std::string absolute(const std::string& path) {
  return path.starts_with('/') ? path : "/" + path;
}

std::string format_of(const Options& options) {
  if (options.to != "auto") return options.to;
  if (options.output.empty()) throw usage_error("missing OUTPUT").with_hint("or --to FORMAT, to write to stdout");
  const auto ending = std::filesystem::path(options.output).extension().string();
  for (const char* known : {"csv", "tsv", "txt", "npy", "npz", "mat", "png"})
    if (ending == "." + std::string(known)) return known == std::string("txt") ? "csv" : known;
  throw usage_error("{}: which format? No ending that is known", options.output)
      .with_hint("--to csv|tsv|npy|npz|mat|png");
}

// ---- text ----------------------------------------------------------------------------------------

constexpr std::size_t rows_at_once = std::size_t{1} << 16;

void export_table(const h5::Input& file, const table::Table& table, formats::DelimitedWriter& writer,
                  const Options& options) {
  std::vector<std::string> names;
  for (const auto& column : table.columns)
    names.push_back(column.name);
  if (!options.no_header) writer.header(names);
  // Text has no slabs: with it the table is read whole.
  const bool text = std::any_of(table.columns.begin(), table.columns.end(),
                                [&](const auto& column) { return file.info(column.path).type == h5::TypeClass::text; });
  const std::size_t step = text ? std::max<std::size_t>(table.rows, 1) : rows_at_once;
  for (std::size_t first = 0; first < table.rows; first += step)
    writer.rows(table::read_rows(file, table, first, std::min(step, table.rows - first)));
}

/// A dataset of two or more dimensions: a line for each index of the leading axes, the last axis across. With three or
/// more dimensions the leading indices stand first.
void export_array(const h5::Input& file, const std::string& path, formats::DelimitedWriter& writer,
                  const Options& options) {
  const auto info = file.info(path);
  const std::size_t leading = info.shape.size() - 1, width = info.shape.back();
  auto dims = file.texts(path, "dims");
  if (dims.size() != info.shape.size()) {
    dims.clear();
    for (std::size_t axis = 0; axis < info.shape.size(); ++axis)
      dims.push_back(fmt::format("axis{}", axis));
  }
  const bool indices = leading > 1;
  if (indices && !options.no_header) {
    std::vector<std::string> names(dims.begin(), dims.end() - 1);
    for (std::size_t c = 0; c < width; ++c)
      names.push_back(fmt::format("{}{}", dims.back(), c));
    writer.header(names);
  }
  formats::for_each_slab(
      info.shape, formats::chunk_of(file, path), std::size_t{1} << 20, [&](const Shape& offset, const Shape& length) {
        if (length.back() != width)
          throw bad_input("{}:{}: rows of {} values are too long for text", file.name(), path, width);
        const std::size_t lines = formats::count(length) / std::max<std::size_t>(width, 1);
        std::vector<Variable> columns;
        for (std::size_t axis = 0; indices && axis < leading; ++axis) {
          std::vector<std::int64_t> index(lines);
          std::size_t inner = 1;
          for (std::size_t a = axis + 1; a < leading; ++a)
            inner *= length[a];
          for (std::size_t l = 0; l < lines; ++l)
            index[l] = static_cast<std::int64_t>(offset[axis] + l / inner % length[axis]);
          columns.push_back({.shape = {lines}, .values = std::move(index)});
        }
        columns.push_back({.shape = {lines, width}, .values = formats::read_slab(file, path, offset, length)});
        writer.rows(columns);
      });
}

void export_text(const h5::Input& file, formats::Sink& sink, const Options& options, char delimiter) {
  formats::DelimitedWriter writer(sink, delimiter);
  if (options.datasets.empty()) {
    // A file with a single array of several dimensions is about that array.
    std::vector<std::string> arrays;
    bool columns = false;
    file.visit([&](const std::string& path, bool dataset) {
      if (!dataset) return;
      const auto info = file.info(path);
      if (!formats::is_readable(info)) return;
      columns = columns || info.shape.size() == 1;
      if (info.shape.size() > 1) arrays.push_back(path);
    });
    if (arrays.size() == 1 && !columns) return export_array(file, arrays.front(), writer, options);
    return export_table(file, table::main_table(file), writer, options);
  }
  if (options.datasets.size() == 1) {
    const auto path = absolute(options.datasets.front());
    if (!file.is_dataset(path) && file.exists(path)) {
      const auto table = table::group_table(file, path);
      if (table.columns.empty())
        throw bad_input("{}:{}: holds no columns (datasets of 1 dimension)", file.name(), path);
      return export_table(file, table, writer, options);
    }
    const auto info = file.info(path);
    if (!formats::is_readable(info))
      throw bad_input("{}:{}: expected numbers or text, found {}", file.name(), path, info.name);
    if (info.shape.size() > 1) return export_array(file, path, writer, options);
    if (info.shape.empty()) return writer.rows(std::vector<Variable>{formats::read_variable(file, path)});
  }
  std::vector<std::string> paths;
  for (const auto& path : options.datasets)
    paths.push_back(absolute(path));
  export_table(file, table::columns_table(file, paths), writer, options);
}

// ---- arrays --------------------------------------------------------------------------------------

/// The datasets that were asked for, groups with all that is in them; every readable one when none was.
std::vector<std::string> selected(const h5::Input& file, const Options& options) {
  std::vector<std::string> wanted, paths;
  for (const auto& path : options.datasets)
    wanted.push_back(absolute(path));
  for (const auto& path : wanted)
    if (!file.exists(path)) throw bad_input("{}:{}: no such dataset", file.name(), path);
  file.visit([&](const std::string& path, bool dataset) {
    if (!dataset) return;
    const bool asked = wanted.empty() || std::any_of(wanted.begin(), wanted.end(), [&](const std::string& w) {
                         return path == w || path.starts_with(w + "/");
                       });
    if (!asked) return;
    if (formats::is_readable(file.info(path)))
      paths.push_back(path);
    else if (std::find(wanted.begin(), wanted.end(), path) != wanted.end())
      throw bad_input("{}:{}: expected numbers or text, found {}", file.name(), path, file.info(path).name);
  });
  if (paths.empty()) throw bad_input("{}: holds no arrays", file.name());
  return paths;
}

/// The one dataset that a format of one array is made from: the one asked for, or the largest.
std::string single(const h5::Input& file, const Options& options, const char* format) {
  if (options.datasets.size() > 1)
    throw usage_error("--to {}: expected 1 dataset, found {}", format, options.datasets.size());
  const auto paths = selected(file, options);
  return *std::max_element(paths.begin(), paths.end(), [&](const auto& a, const auto& b) {
    return formats::count(file.info(a).shape) < formats::count(file.info(b).shape);
  });
}

void export_npy(const h5::Input& file, formats::Sink& sink, const Options& options) {
  const auto path = single(file, options, "npy");
  const auto info = file.info(path);
  if (info.type == h5::TypeClass::text || info.shape.empty())
    return formats::write_npy(sink, formats::read_variable(file, path));
  bool first = true;
  const auto header = [&](const formats::Values& values) {
    if (std::exchange(first, false)) formats::write_npy_header(sink, values, info.shape);
  };
  formats::for_each_slab(
      info.shape, formats::chunk_of(file, path), std::size_t{1} << 22, [&](const Shape& offset, const Shape& length) {
        const auto slab = formats::read_slab(file, path, offset, length);
        header(slab);
        std::visit(
            [&](const auto& values) {
              if constexpr (!std::is_same_v<typename std::decay_t<decltype(values)>::value_type, std::string>)
                sink.write(std::as_bytes(std::span(values)));
            },
            slab);
      });
  if (first) header(formats::read_variable(file, path).values);  // an array without elements
}

std::vector<Variable> read_selected(const h5::Input& file, const Options& options) {
  std::vector<Variable> variables;
  for (const auto& path : selected(file, options))
    variables.push_back(formats::read_variable(file, path));
  return variables;
}

// ---- images --------------------------------------------------------------------------------------

/// Bands of a cube [rows, columns, bands] as channels.
Variable take_bands(const h5::Input& file, const std::string& path, const std::vector<int>& bands) {
  const auto shape = file.info(path).shape;
  if (shape.size() != 3)
    throw bad_input("{}:{}: --bands needs 3 dimensions (rows, columns, bands), found {}", file.name(), path,
                    shape.size());
  Variable image{.name = path, .shape = {shape[0], shape[1], bands.size()}};
  std::vector<double> values(shape[0] * shape[1] * bands.size());
  for (std::size_t k = 0; k < bands.size(); ++k) {
    const auto band = static_cast<std::size_t>(bands[k]);
    if (band >= shape[2]) throw bad_input("{}:{}: band {} of {}, counted from 0", file.name(), path, band, shape[2]);
    const auto one = formats::as_reals(formats::read_slab(file, path, {0, 0, band}, {shape[0], shape[1], 1}), path);
    for (std::size_t i = 0; i < one.size(); ++i)
      values[i * bands.size() + k] = one[i];
  }
  if (bands.size() == 1) image.shape.pop_back();
  image.values = std::move(values);
  return image;
}

/// Reals as gray values or colours: `range` becomes black and white, or the 2nd and 98th of a hundred parts of the
/// values.
template <class T>
formats::Values scaled(const std::vector<double>& values, std::vector<double> range) {
  if (range.empty()) {
    auto finite = values;
    std::erase_if(finite, [](double value) { return !std::isfinite(value); });
    if (finite.empty()) finite = {0, 1};
    const auto at = [&](double part) {
      const auto nth = finite.begin() + static_cast<std::ptrdiff_t>(part * static_cast<double>(finite.size() - 1));
      std::nth_element(finite.begin(), nth, finite.end());
      return *nth;
    };
    range = {at(0.02), at(0.98)};
    if (range[0] == range[1]) range[1] += 1;
  }
  std::vector<T> pixels(values.size());
  constexpr double white = std::numeric_limits<T>::max();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double part = (values[i] - range[0]) / (range[1] - range[0]);
    pixels[i] = std::isnan(part) ? T{0} : static_cast<T>(std::lround(white * std::clamp(part, 0.0, 1.0)));
  }
  return pixels;
}

void export_png(const h5::Input& file, formats::Sink& sink, const Options& options) {
  const auto path = single(file, options, "png");
  auto image = options.bands.empty() ? formats::read_variable(file, path) : take_bands(file, path, options.bands);
  if (image.shape.size() == 3 && image.shape[2] > 4)
    throw bad_input("{}:{}: {} channels, expected 1 to 4", file.name(), path, image.shape[2])
        .with_hint("--bands R,G,B takes three of them");
  const bool as_it_is = options.range.empty() && (std::holds_alternative<std::vector<std::uint8_t>>(image.values) ||
                                                  std::holds_alternative<std::vector<std::uint16_t>>(image.values));
  if (!as_it_is) {
    const auto reals = formats::as_reals(image.values, file.name() + ":" + path);
    image.values =
        options.depth == "8" ? scaled<std::uint8_t>(reals, options.range) : scaled<std::uint16_t>(reals, options.range);
  }
  image.name = file.name() + ":" + path;
  formats::write_png(sink, image);
}

void run(cli::Session& session, const Options& options) {
  const auto to = format_of(options);
  const auto output = options.output.empty() ? "-" : options.output;
  if (!options.range.empty() && (options.range.size() != 2 || !(options.range[0] < options.range[1])))
    throw usage_error("--range: expected two values LOW,HIGH with LOW below HIGH");
  if (options.delimiter.size() != 1)
    throw usage_error("--delimiter: expected one character, found \"{}\"", options.delimiter);
  if (std::any_of(options.bands.begin(), options.bands.end(), [](int band) { return band < 0; }) ||
      options.bands.size() > 4)
    throw usage_error("--bands: expected 1 to 4 numbers from 0");
  const auto file = h5::Input::open(options.input);
  auto sink = formats::Sink::create(output, session.force, to != "csv" && to != "tsv");
  if (to == "csv") export_text(file, sink, options, options.delimiter.front());
  if (to == "tsv") export_text(file, sink, options, '\t');
  if (to == "npy") export_npy(file, sink, options);
  if (to == "npz") formats::write_npz(sink, read_selected(file, options), !options.no_pack);
  if (to == "mat") formats::write_matlab5(sink, read_selected(file, options));
  if (to == "png") export_png(file, sink, options);
  sink.commit();
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  const cli::Command command = {
      .name = "h5-export",
      .purpose = "write tables, arrays and images of an HDF5 file in other formats",
      .description =
          "Writes CSV or TSV, NumPy's npy and npz, MATLAB's mat (level 5) or PNG; the format follows from the ending "
          "of OUTPUT or from --to.\n\n"
          "csv, tsv: a group is written as a table, a column for each of its datasets of equal length under a header "
          "with their names. "
          "Without --dataset it is the table that the file is about: the buses of a power flow with their solved "
          "voltages (of many scenarios, a row for each), triggers, epochs "
          "of a training, else the group with most columns. `--dataset /result/vm` writes one dataset: an array of two "
          "dimensions row by row "
          "without a header, one of more with the leading indices first. Numbers are written with the digits that make "
          "them read back exactly.\n\n"
          "npy: one dataset, the largest if none is named. npz, mat: all datasets, or those named (a group stands for "
          "all that is in it).\n\n"
          "png: 8 or 16-bit integers as they are, other numbers scaled from --range or from the 2nd to the 98th "
          "percentile to black and white.",
      .arguments = {cli::input("INPUT", options.input, "HDF5 file"),
                    cli::optional_output("OUTPUT", options.output,
                                         "file of another format; stdout when --to is given")},
      .options = {{"--to",
                   &options.to,
                   "format of the output",
                   {.choices = {"auto", "csv", "tsv", "npy", "npz", "mat", "png"}}},
                  {"--dataset", &options.datasets, "datasets or groups to write", {.value_name = "PATH,..."}},
                  {"--delimiter", &options.delimiter, "between the fields of csv", {.value_name = "C"}},
                  {"--no-header", &options.no_header, "csv, tsv: leave out the names of the columns"},
                  {"--no-pack", &options.no_pack, "npz: store without compression"},
                  {"--range", &options.range, "png: values that become black and white", {.value_name = "LOW,HIGH"}},
                  {"--bands",
                   &options.bands,
                   "png: bands of a cube as gray or as red, green and blue, counted from 0",
                   {.value_name = "R,G,B"}},
                  {"--depth", &options.depth, "png: bits of a scaled channel", {.choices = {"8", "16"}}}},
      .examples = {{"dpf-solve case.h5 - | h5-export - --to csv", "the solved buses as a table on stdout"},
                   {"h5-export --dataset /grid/branch result.h5 branch.csv", "another table of the same file"},
                   {"h5-export data/cube-32x32x24.h5 cube.npz", "all arrays for NumPy"}},
      .reads = "any HDF5 file; root attribute kind, attribute dims of datasets",
      .standard = {.threads = true, .json = false},
  };
  return command.run(argc, argv, [&](cli::Session& session) { run(session, options); });
}
