#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "cli/command.hpp"
#include "io/bytes.hpp"
#include "tree.hpp"

using namespace fachwerk;
using Json = nlohmann::ordered_json;

namespace {

struct Options {
  std::string file, path = "/";
  bool statistics = false, attributes = false;
};

// ---- for people ----------------------------------------------------------------------------------

std::string shape_text(const tree::Item& item) {
  if (item.info.shape.empty()) return "scalar";
  std::string text;
  for (std::size_t axis = 0; axis < item.info.shape.size(); ++axis) {
    if (axis > 0) text += " x ";
    text += std::to_string(item.info.shape[axis]);
    if (item.unlimited[axis]) text += "+";
  }
  return text;
}

std::string storage_text(const tree::Item& item) {
  const auto& storage = item.storage;
  if (storage.layout == "contiguous" || storage.layout == "compact") return "";
  std::string text = storage.layout;
  if (!storage.chunk.empty()) text = fmt::format("chunks {}", fmt::join(storage.chunk, " x "));
  for (const auto& filter : storage.filters)
    text += ", " + filter;
  double bytes = static_cast<double>(item.info.bytes);
  for (const auto length : item.info.shape)
    bytes *= static_cast<double>(length);
  if (!storage.filters.empty() && storage.bytes > 0 && item.info.type != h5::TypeClass::text)
    text += fmt::format(" ({:.1f}:1)", bytes / static_cast<double>(storage.bytes));
  return text;
}

std::string attribute_text(const tree::AttributeValue& value) {
  constexpr std::size_t most = 8;
  const auto list = [&](const auto& values, const char* one) {
    std::string text;
    for (std::size_t i = 0; i < std::min(values.size(), most); ++i) {
      if (i > 0) text += ", ";
      text += fmt::format(fmt::runtime(one), values[i]);
    }
    std::replace(text.begin(), text.end(), '\n', ' ');
    return values.size() > most ? text + fmt::format(", ... ({})", values.size()) : text;
  };
  if (const auto* numbers = std::get_if<std::vector<double>>(&value)) return list(*numbers, "{:.10g}");
  if (const auto* texts = std::get_if<std::vector<std::string>>(&value)) return list(*texts, "\"{}\"");
  return "(of another type)";
}

/// Letters that a terminal shows: one for each code point.
std::size_t letters(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

using Row = std::vector<std::string>;

void print_rows(formats::Sink& out, const std::vector<Row>& rows, const std::vector<bool>& right) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t c = 0; c < row.size(); ++c) {
      widths.resize(std::max(widths.size(), c + 1));
      if (row.size() > 1) widths[c] = std::max(widths[c], letters(row[c]));
    }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (c > 0 && widths[c] > 0) line += "  ";
      const std::string padding(widths[c] - std::min(widths[c], letters(row[c])), ' ');
      line += right[std::min(c, right.size() - 1)] ? padding + row[c] : row[c] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out.write(line + "\n");
  }
}

std::string number_text(double value) {
  return std::isfinite(value) ? fmt::format("{:.6g}", value) : "-";
}

/// Each object on a line, indented below its group by lines that show the tree.
std::vector<Row> tree_rows(const std::vector<tree::Item>& items, const Options& options) {
  const auto depth = [&](const std::string& path) {
    return path == "/" ? 0 : std::count(path.begin(), path.end(), '/');
  };
  const auto base = depth(items.front().path);
  std::vector<Row> rows;
  std::vector<bool> open(64, false);  // levels at which a line runs on to a later sibling
  // From below, so that each item knows whether a sibling follows.
  std::vector<std::string> prefixes(items.size());
  for (std::size_t i = items.size(); i-- > 0;) {
    const auto level = static_cast<std::size_t>(depth(items[i].path) - base);
    if (level + 1 >= open.size()) open.resize(level + 2, false);
    for (std::size_t l = 1; l < level; ++l)
      prefixes[i] += open[l] ? "│  " : "   ";
    if (level > 0) prefixes[i] += open[level] ? "├─ " : "└─ ";
    open[level] = level > 0;
    std::fill(open.begin() + static_cast<std::ptrdiff_t>(level) + 1, open.end(), false);
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto& item = items[i];
    const auto slash = item.path.rfind('/');
    std::string name = item.path == "/" || i == 0 ? item.path : item.path.substr(slash + 1);
    if (!item.dataset && item.path != "/") name += "/";
    Row row = {prefixes[i] + name};
    if (item.dataset) {
      row.insert(row.end(), {item.info.name, shape_text(item), item.units});
      if (options.statistics) {
        const auto& m = item.moments;
        row.insert(row.end(), {m ? number_text(m->minimum) : "", m ? number_text(m->maximum) : "",
                               m ? number_text(m->count > 0 ? m->mean : NAN) : "", m ? number_text(m->deviation()) : "",
                               m ? std::to_string(m->nan) : "", m ? std::to_string(m->infinite) : ""});
      } else {
        row.push_back(storage_text(item));
      }
      row.push_back(item.long_name == item.path.substr(slash + 1) ? "" : item.long_name);
    }
    rows.push_back(std::move(row));
    if (options.attributes)
      for (const auto& attribute : item.attributes)
        rows.push_back(
            {std::string(letters(prefixes[i]) + 4, ' ') + attribute.key + " = " + attribute_text(attribute.value)});
  }
  return rows;
}

void print_text(formats::Sink& out, const h5::Input& file, const std::vector<tree::Item>& items,
                const Options& options) {
  const auto kind = file.kind();
  out.write(fmt::format("{}: {}", file.name(), kind.empty() ? "HDF5" : kind));
  if (const auto version = file.number("/", "kind_version")) out.write(fmt::format(" (version {:g})", *version));
  if (const auto creator = file.text("/", "creator")) out.write(fmt::format(", made by {}", *creator));
  out.write("\n");
  auto rows = tree_rows(items, options);
  if (options.statistics) rows.insert(rows.begin(), {"", "", "", "", "min", "max", "mean", "std", "NaN", "inf", ""});
  const bool numbers = options.statistics;
  print_rows(out, rows, {false, false, false, false, numbers, numbers, numbers, numbers, numbers, numbers, false});
  if (items.size() == 1 && items.front().dataset) {
    const auto values = tree::first_values(file, items.front(), 10);
    if (!values.empty())
      out.write(fmt::format("values: {}{}\n", fmt::join(values, ", "), values.size() == 10 ? ", ..." : ""));
  }
  const auto history = file.history();
  if (options.path == "/" && !history.empty()) {
    out.write("history:\n");
    for (const auto& line : history)
      out.write("  " + line + "\n");
  }
}

// ---- for programs --------------------------------------------------------------------------------

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json to_json(const tree::Item& item) {
  Json json = {{"path", item.path}};
  if (item.dataset) {
    json["type"] = item.info.name;
    json["shape"] = item.info.shape;
    json["units"] = item.units;
    json["long_name"] = item.long_name;
    json["dims"] = item.dims;
    json["storage"] = {{"layout", item.storage.layout},
                       {"chunk", item.storage.chunk},
                       {"filters", item.storage.filters},
                       {"bytes", item.storage.bytes}};
  }
  if (item.moments) {
    const auto& m = *item.moments;
    json["statistics"] = {{"count", m.count},
                          {"min", number(m.minimum)},
                          {"max", number(m.maximum)},
                          {"mean", m.count > 0 ? number(m.mean) : Json(nullptr)},
                          {"std", number(m.deviation())},
                          {"nan", m.nan},
                          {"inf", m.infinite}};
  }
  Json attributes = Json::object();
  for (const auto& attribute : item.attributes) {
    if (const auto* numbers = std::get_if<std::vector<double>>(&attribute.value)) {
      Json list = Json::array();
      for (const double value : *numbers)
        list.push_back(number(value));
      attributes[attribute.key] = list.size() == 1 ? list[0] : list;
    } else if (const auto* texts = std::get_if<std::vector<std::string>>(&attribute.value)) {
      attributes[attribute.key] = texts->size() == 1 ? Json(texts->front()) : Json(*texts);
    } else {
      attributes[attribute.key] = nullptr;
    }
  }
  json["attributes"] = std::move(attributes);
  return json;
}

void print_json(formats::Sink& out, const cli::Session& session, const h5::Input& file,
                const std::vector<tree::Item>& items) {
  Json json = {{"tool", session.tool}, {"version", session.version}, {"file", file.name()}, {"kind", file.kind()}};
  if (const auto version = file.number("/", "kind_version")) json["kind_version"] = *version;
  json["creator"] = file.text("/", "creator").value_or("");
  json["history"] = file.history();
  Json groups = Json::array(), datasets = Json::array();
  for (const auto& item : items)
    (item.dataset ? datasets : groups).push_back(to_json(item));
  json["groups"] = std::move(groups);
  json["datasets"] = std::move(datasets);
  out.write(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  auto path = cli::text("PATH", options.path, "dataset or group to show, with what is below it");
  path.optional = true;
  const cli::Command command = {
      .name = "h5-info",
      .purpose = "show what an HDF5 file holds",
      .description =
          "Prints the file's kind, a tree of its groups and datasets with element type, shape, units, long name and "
          "storage, and "
          "its history, one line for each command that led to it. An axis marked with + may grow. Any HDF5 or NetCDF-4 "
          "file will "
          "do.\n\n"
          "With PATH only that dataset or group is shown; for one dataset also its first values.\n\n"
          "--stats adds minimum, maximum, mean and standard deviation (that of the population: divided by N) of the "
          "finite values, "
          "and counts what is NaN or infinite. Data larger than memory is read piece by piece; the result does not "
          "depend on the "
          "number of threads. Complex numbers count by their absolute values; values equal to the attribute _FillValue "
          "or "
          "missing_value count as NaN, and numbers packed by scale_factor and add_offset (NetCDF) are unpacked.",
      .arguments = {cli::input("FILE", options.file, "HDF5 file"), path},
      .options = {{"--stats", &options.statistics, "statistics of each dataset of numbers"},
                  {"--attributes", &options.attributes, "show all attributes"}},
      .examples = {{"h5-info data/cube-32x32x24.h5", "what is in it"},
                   {"h5-info --stats result.h5 /result", "statistics of the datasets below /result"},
                   {"dpf-solve case.h5 - | h5-info --json - | jq '.datasets[].path'",
                    "in a pipe, for another program"}},
      .reads =
          "any HDF5 file; root attributes kind, kind_version, creator, history\nattributes units, long_name, dims of "
          "each dataset",
      .standard = {.threads = true},
  };
  return command.run(argc, argv, [&](cli::Session& session) {
    const auto file = h5::Input::open(options.file);
    auto items = tree::items(file, options.path);
    if (options.statistics)
      for (auto& item : items)
        item.moments = tree::moments(file, item);
    auto out = formats::Sink::create("-", true, false);
    session.json ? print_json(out, session, file, items) : print_text(out, file, items, options);
    out.commit();
  });
}
