#include "picture.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "io/dataset.hpp"
#include "table.hpp"

namespace fachwerk::picture {
namespace {

using formats::Shape;

constexpr std::size_t most_points = std::size_t{1} << 18;  // of a line that is read whole
constexpr std::size_t most_side = 2048;                    // pixels of an image that are read
constexpr std::size_t slab_values = std::size_t{1} << 22;

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}
std::string absolute(const std::string& path) {
  return path.starts_with('/') ? path : "/" + path;
}

/// Name for an axis or a legend: what the file says of the dataset, with its units.
std::string name_of(const h5::Node& file, const std::string& path) {
  const auto long_name = file.text(path, "long_name").value_or("");
  return long_name.empty() ? base_name(path) : long_name;
}
std::string label_of(const h5::Node& file, const std::string& path) {
  return plot::label(name_of(file, path), file.text(path, "units").value_or(""));
}

bool is_numeric(const h5::DatasetInfo& info) {
  return info.type == h5::TypeClass::integer || info.type == h5::TypeClass::real;
}

h5::DatasetInfo numeric_info(const h5::Node& file, const std::string& path) {
  auto info = file.info(path);
  if (!is_numeric(info)) throw bad_input("{}:{}: expected real numbers, found {}", file.name(), path, info.name);
  return info;
}

/// Real numbers as they are meant: NetCDF's missing values are NaN, packed ones are unpacked (CF conventions,
/// section 8.1).
std::vector<double> slab(const h5::Node& file, const std::string& path, const Shape& offset, const Shape& length) {
  auto values = formats::as_reals(formats::read_slab(file, path, offset, length), file.name() + ":" + path);
  for (const char* key : {"_FillValue", "missing_value"})
    if (const auto missing = file.number(path, key)) std::replace(values.begin(), values.end(), *missing, std::nan(""));
  const double scale = file.number(path, "scale_factor").value_or(1),
               shift = file.number(path, "add_offset").value_or(0);
  if (scale != 1 || shift != 0)
    for (double& value : values)
      value = value * scale + shift;
  return values;
}

// ---- lines and points ----------------------------------------------------------------------------

/// One line out of an array: the indices of all its axes but one.
struct Row {
  std::string path;
  Shape offset;          ///< with 0 on the axis that the line runs along
  std::size_t axis = 0;  ///< that axis
};

std::size_t length_of(const h5::Node& file, const Row& row) {
  return file.info(row.path).shape[row.axis];
}

/// A series whose x is the index, or the values of `x`. Long ones are read piece by piece, and of each short stretch
/// the lowest and the highest value are kept.
plot::Series read_series(const h5::Node& file, const Row& row, const std::optional<Row>& x) {
  const std::size_t total = length_of(file, row);
  if (x && length_of(file, *x) != total)
    throw bad_input("{}:{}: {} values, but {} has {}", file.name(), x->path, length_of(file, *x), row.path, total);
  const std::size_t stretch = std::max<std::size_t>(1, (total + most_points / 2 - 1) / (most_points / 2));
  plot::Series series;
  const auto piece = [&](const Row& from, std::size_t first, std::size_t count) {
    Shape offset = from.offset, length(offset.size(), 1);
    offset[from.axis] = first;
    length[from.axis] = count;
    return slab(file, from.path, offset, length);
  };
  const std::size_t step = std::max(stretch, slab_values / stretch * stretch);
  for (std::size_t first = 0; first < total; first += step) {
    const std::size_t count = std::min(step, total - first);
    const auto values = piece(row, first, count);
    std::vector<double> places(count);
    if (x)
      places = piece(*x, first, count);
    else
      std::iota(places.begin(), places.end(), static_cast<double>(first));
    for (std::size_t begin = 0; begin < count; begin += stretch) {
      const std::size_t end = std::min(begin + stretch, count);
      if (stretch == 1) {
        series.x.push_back(places[begin]);
        series.y.push_back(values[begin]);
        continue;
      }
      std::optional<std::size_t> low, high;
      for (std::size_t i = begin; i < end; ++i) {
        if (!std::isfinite(values[i])) continue;
        if (!low || values[i] < values[*low]) low = i;
        if (!high || values[i] > values[*high]) high = i;
      }
      if (!low) {
        series.x.push_back(places[begin]);
        series.y.push_back(std::nan(""));
        continue;
      }
      for (const std::size_t i : {std::min(*low, *high), std::max(*low, *high)}) {
        series.x.push_back(places[i]);
        series.y.push_back(values[i]);
      }
    }
  }
  return series;
}

Row column(const h5::Node& file, const std::string& path) {
  const auto info = numeric_info(file, path);
  if (info.shape.size() != 1)
    throw bad_input("{}:{}: expected 1 dimension, found {}", file.name(), path, info.shape.size());
  return {.path = path, .offset = {0}};
}

/// The lines that a dataset stands for: itself, or the columns (the rows, where the last axis is the longer one that
/// `x` runs along) of a matrix; of an array of more dimensions the matrix at `at`.
std::vector<Row> rows_of(const h5::Node& file, const std::string& path, const std::vector<std::size_t>& at,
                         std::optional<std::size_t> length) {
  constexpr std::size_t most_lines = 12;
  const auto shape = numeric_info(file, path).shape;
  if (shape.empty()) throw bad_input("{}:{}: is a single value", file.name(), path);
  if (shape.size() == 1) return {{.path = path, .offset = {0}}};
  if (at.size() + 2 < shape.size() || at.size() >= shape.size())
    throw usage_error("{}: has {} dimensions: --at takes the indices of the first {} or {}", path, shape.size(),
                      shape.size() - 2, shape.size() - 1);
  Shape offset(shape.size(), 0);
  for (std::size_t axis = 0; axis < at.size(); ++axis) {
    if (at[axis] >= shape[axis])
      throw bad_input("{}:{}: --at {}: axis {} has length {}", file.name(), path, at[axis], axis, shape[axis]);
    offset[axis] = at[axis];
  }
  const std::size_t last = shape.size() - 1;
  if (at.size() == last) return {{.path = path, .offset = offset, .axis = last}};
  bool along_last = shape[last] > shape[last - 1];
  if (length && (shape[last] == *length) != (shape[last - 1] == *length)) along_last = shape[last] == *length;
  const std::size_t axis = along_last ? last : last - 1, across = along_last ? last - 1 : last;
  std::vector<Row> rows;
  const std::size_t lines = std::min(most_lines, shape[across]);
  for (std::size_t l = 0; l < lines; ++l) {
    offset[across] = lines == 1 ? 0 : l * (shape[across] - 1) / (lines - 1);  // spread over all of them
    rows.push_back({.path = path, .offset = offset, .axis = axis});
  }
  return rows;
}

std::string row_name(const h5::Node& file, const Row& row) {
  const auto shape = file.info(row.path).shape;
  if (shape.size() == 1) return name_of(file, row.path);
  std::vector<std::string> indices;
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    if (axis != row.axis) indices.push_back(std::to_string(row.offset[axis]));
  return fmt::format("{}[{}]", base_name(row.path), fmt::join(indices, ", "));
}

std::string axis_name(const h5::Node& file, const Row& row) {
  const auto dims = file.texts(row.path, "dims");
  return row.axis < dims.size() && !dims[row.axis].empty() ? dims[row.axis] : "index";
}

plot::Figure series_figure(const h5::Node& file, const Request& request, bool points) {
  plot::Figure figure;
  std::optional<Row> x;
  if (!request.x.empty()) x = column(file, absolute(request.x));
  std::vector<Row> rows;
  for (const auto& path : request.y)
    for (auto& row : rows_of(file, absolute(path), request.at, x ? std::optional(length_of(file, *x)) : std::nullopt))
      rows.push_back(std::move(row));
  for (const auto& row : rows) {
    auto series = read_series(file, row, x);
    series.points = points;
    if (rows.size() > 1) series.name = row_name(file, row);
    figure.series.push_back(std::move(series));
  }
  if (!request.colour.empty()) {
    if (rows.size() != 1 || !points) throw usage_error("--colour: needs points of one dataset");
    const auto path = absolute(request.colour);
    figure.series[0].colour = read_series(file, column(file, path), std::nullopt).y;
    figure.colour_label = label_of(file, path);
  }
  figure.x_label = x ? label_of(file, x->path) : axis_name(file, rows.front());
  const bool same =
      std::all_of(rows.begin(), rows.end(), [&](const Row& row) { return row.path == rows.front().path; });
  const auto units = file.text(rows.front().path, "units").value_or("");
  const bool same_units = std::all_of(
      rows.begin(), rows.end(), [&](const Row& row) { return file.text(row.path, "units").value_or("") == units; });
  figure.y_label = same ? label_of(file, rows.front().path) : same_units && units != "1" ? units : "";
  if (!same && !same_units)
    for (std::size_t r = 0; r < rows.size(); ++r)
      figure.series[r].name = plot::label(figure.series[r].name, file.text(rows[r].path, "units").value_or(""));
  return figure;
}

// ---- images --------------------------------------------------------------------------------------

/// Two axes of an array, all others at one index.
struct Plane {
  std::string path;
  Shape shape, offset;
  std::size_t row_axis = 0, column_axis = 1;
};

/// Every so many rows and columns, so that no side is longer than `most_side`.
plot::Image read_plane(const h5::Node& file, const Plane& plane) {
  const std::size_t rows = plane.shape[plane.row_axis], columns = plane.shape[plane.column_axis];
  if (rows == 0 || columns == 0)
    throw bad_input("{}:{}: an image of {} x {} pixels", file.name(), plane.path, rows, columns);
  const std::size_t row_step = (rows + most_side - 1) / most_side, column_step = (columns + most_side - 1) / most_side;
  plot::Image image{.rows = (rows + row_step - 1) / row_step, .columns = (columns + column_step - 1) / column_step};
  image.values.reserve(image.rows * image.columns);
  // Whole blocks of rows, also where only some are kept: chunks are unpacked once.
  const std::size_t at_once = std::max<std::size_t>(1, slab_values / columns / row_step) * row_step;
  for (std::size_t first = 0; first < rows; first += at_once) {
    Shape offset = plane.offset, length(offset.size(), 1);
    offset[plane.row_axis] = first;
    length[plane.row_axis] = std::min(at_once, rows - first);
    length[plane.column_axis] = columns;
    const auto values = slab(file, plane.path, offset, length);
    for (std::size_t row = 0; row < length[plane.row_axis]; row += row_step)
      for (std::size_t column = 0; column < columns; column += column_step)
        image.values.push_back(values[row * columns + column]);
  }
  return image;
}

Shape index_shape(const h5::Node& file, const std::string& path, const Request& request, std::size_t free_axes) {
  const auto shape = numeric_info(file, path).shape;
  if (shape.size() < free_axes)
    throw bad_input("{}:{}: expected {} or more dimensions, found {}", file.name(), path, free_axes, shape.size());
  if (request.at.size() != shape.size() - free_axes)
    throw usage_error("{}: has {} dimensions: --at takes the indices of the first {}", path, shape.size(),
                      shape.size() - free_axes);
  for (std::size_t axis = 0; axis < request.at.size(); ++axis)
    if (request.at[axis] >= shape[axis])
      throw bad_input("{}:{}: --at {}: axis {} has length {}", file.name(), path, request.at[axis], axis, shape[axis]);
  return shape;
}

void label_axes(const h5::Node& file, const Plane& plane, plot::Figure& figure) {
  const auto dims = file.texts(plane.path, "dims");
  const auto name = [&](std::size_t axis, const char* other) {
    return axis < dims.size() && !dims[axis].empty() ? dims[axis] : other;
  };
  figure.y_label = name(plane.row_axis, "row");
  figure.x_label = name(plane.column_axis, "column");
}

plot::Figure image_figure(const h5::Node& file, const Request& request) {
  const auto path = absolute(request.dataset);
  Plane plane{.path = path, .shape = numeric_info(file, path).shape, .offset = {}};
  plot::Figure figure;
  if (plane.shape.size() == 3 && request.at.empty() && request.bands.size() == 1) {  // one band of a cube
    const auto band = static_cast<std::size_t>(request.bands[0]);
    if (band >= plane.shape[2])
      throw bad_input("{}:{}: band {} of {}, counted from 0", file.name(), path, band, plane.shape[2]);
    plane.offset = {0, 0, band};
  } else {
    index_shape(file, path, request, 2);
    plane.offset = Shape(request.at.begin(), request.at.end());
    plane.offset.resize(plane.shape.size(), 0);
    plane.row_axis = plane.shape.size() - 2;
    plane.column_axis = plane.shape.size() - 1;
  }
  figure.image = read_plane(file, plane);
  figure.image->low = request.low;
  figure.image->high = request.high;
  const double sides = static_cast<double>(figure.image->rows) / static_cast<double>(figure.image->columns);
  figure.image->square_pixels = sides > 0.2 && sides < 5;
  figure.colour_label = label_of(file, path);
  label_axes(file, plane, figure);
  return figure;
}

std::vector<double> wavelengths(const h5::Node& file, const std::string& cube, std::size_t bands) {
  const auto group = cube.substr(0, cube.rfind('/'));
  for (const auto& path : {group + "/wavelength", group + "/wavelengths", std::string("/wavelength")})
    if (file.exists(path) && file.is_dataset(path) && file.info(path).shape == Shape{bands} &&
        is_numeric(file.info(path)))
      return file.column<double>(path);
  auto values = file.numbers(cube, "wavelength");
  if (values.size() != bands) values.clear();
  return values;
}

/// Bands nearest to red, green and blue light; spread over the spectrum where the wavelengths are not known or not
/// visible.
std::vector<int> composite_bands(const std::vector<double>& nanometres, std::size_t bands) {
  if (!nanometres.empty()) {
    const auto [low, high] = std::minmax_element(nanometres.begin(), nanometres.end());
    if (*low < 500 && *high > 600 && *high > 100) {
      std::vector<int> chosen;
      for (const double colour : {650.0, 550.0, 460.0}) {
        const auto nearest = std::min_element(nanometres.begin(), nanometres.end(), [&](double a, double b) {
          return std::abs(a - colour) < std::abs(b - colour);
        });
        chosen.push_back(static_cast<int>(nearest - nanometres.begin()));
      }
      return chosen;
    }
  }
  return {static_cast<int>(bands * 3 / 4), static_cast<int>(bands / 2), static_cast<int>(bands / 4)};
}

plot::Figure composite_figure(const h5::Node& file, const Request& request) {
  const auto path = absolute(request.dataset);
  const auto info = numeric_info(file, path);
  const auto& shape = info.shape;
  if (shape.size() != 3)
    throw bad_input("{}:{}: expected 3 dimensions (rows, columns, bands), found {}", file.name(), path, shape.size());
  const bool picture = (shape[2] == 3 || shape[2] == 4) && request.bands.empty();  // channels of an image
  const auto nanometres = wavelengths(file, path, shape[2]);
  auto bands = request.bands;
  if (bands.empty()) bands = picture ? std::vector<int>{0, 1, 2} : composite_bands(nanometres, shape[2]);
  if (bands.size() != 3) throw usage_error("--bands: expected 3 numbers (red, green, blue), found {}", bands.size());
  plot::Figure figure;
  figure.image = plot::Image{};
  std::vector<std::string> names;
  for (std::size_t k = 0; k < 3; ++k) {
    const auto band = static_cast<std::size_t>(bands[k]);
    if (bands[k] < 0 || band >= shape[2])
      throw bad_input("{}:{}: band {} of {}, counted from 0", file.name(), path, bands[k], shape[2]);
    const Plane plane{.path = path, .shape = shape, .offset = {0, 0, band}};
    const auto channel = read_plane(file, plane);
    figure.image->rows = channel.rows;
    figure.image->columns = channel.columns;
    figure.image->rgb.resize(3 * channel.values.size());
    // Bytes of a picture are shown as they are; anything else from its 2nd to its 98th percentile.
    const bool bytes = picture && info.type == h5::TypeClass::integer && info.bytes == 1;
    auto [low, high] = bytes ? std::pair(0.0, 255.0) : plot::quantile_range(channel.values, 0.02);
    low = request.low.value_or(low);
    high = request.high.value_or(high);
    for (std::size_t i = 0; i < channel.values.size(); ++i) {
      const double part = (channel.values[i] - low) / (high > low ? high - low : 1);
      figure.image->rgb[3 * i + k] =
          std::isnan(part) ? 0 : static_cast<std::uint8_t>(std::lround(255 * std::clamp(part, 0.0, 1.0)));
    }
    names.push_back(nanometres.empty() ? fmt::format("band {}", band) : fmt::format("{:.4g} nm", nanometres[band]));
    label_axes(file, plane, figure);
  }
  if (!picture)
    figure.title = fmt::format("{}: red {}, green {}, blue {}", name_of(file, path), names[0], names[1], names[2]);
  return figure;
}

// ---- histograms ----------------------------------------------------------------------------------

/// Two passes over the data: its range, and the counts.
plot::Figure histogram_figure(const h5::Node& file, const Request& request) {
  const auto path = absolute(request.dataset);
  const auto info = numeric_info(file, path);
  plot::Figure figure;
  figure.x_label = label_of(file, path);
  figure.y_label = "count";
  if (formats::count(info.shape) <= slab_values) {
    const auto values = info.shape.empty() ? formats::as_reals(formats::read_variable(file, path).values, path)
                                           : slab(file, path, Shape(info.shape.size(), 0), info.shape);
    figure.histogram = plot::histogram_of(values, request.bins);
    return figure;
  }
  const auto each_slab = [&](const auto& visit) {
    formats::for_each_slab(info.shape, formats::chunk_of(file, path), slab_values,
                           [&](const Shape& offset, const Shape& length) { visit(slab(file, path, offset, length)); });
  };
  plot::Histogram histogram{.low = INFINITY, .high = -INFINITY};
  each_slab([&](const std::vector<double>& values) {
    for (const double value : values)
      if (std::isfinite(value)) {
        histogram.low = std::min(histogram.low, value);
        histogram.high = std::max(histogram.high, value);
      }
  });
  if (!(histogram.low < histogram.high)) throw bad_input("{}:{}: holds no two different numbers", file.name(), path);
  const int bins = request.bins > 0 ? request.bins : 100;
  histogram.counts.resize(static_cast<std::size_t>(bins));
  each_slab([&](const std::vector<double>& values) {
    for (const double value : values)
      if (std::isfinite(value)) {
        const double part = (value - histogram.low) / (histogram.high - histogram.low);
        histogram.counts[std::min(static_cast<std::size_t>(part * bins), histogram.counts.size() - 1)] += 1;
      }
  });
  figure.histogram = std::move(histogram);
  return figure;
}

// ---- by kind -------------------------------------------------------------------------------------

bool has(const h5::Node& file, const std::string& path) {
  return file.exists(path) && file.is_dataset(path);
}

/// The dataset that a file is about: the one of most values.
std::string largest(const h5::Node& file) {
  std::string best;
  std::size_t most = 0;
  file.visit([&](const std::string& path, bool dataset) {
    if (!dataset) return;
    const auto info = file.info(path);
    if (is_numeric(info) && formats::count(info.shape) > most) {
      most = formats::count(info.shape);
      best = path;
    }
  });
  if (best.empty()) throw bad_input("{}: holds no numbers that could be drawn", file.name());
  return best;
}

/// |V| at every bus, with the limits of the grid; of many scenarios the lowest, the median and the highest.
std::optional<plot::Figure> voltage_profile(const h5::Node& file) {
  const auto path = has(file, "/result/vm") ? "/result/vm" : "/grid/bus/vm";
  if (!has(file, path)) return {};
  const auto shape = file.info(path).shape;
  plot::Figure figure{.title = "Voltage profile", .x_label = "bus (in the order of the file)", .y_label = "|V| / pu"};
  const std::size_t buses = shape.empty() ? 0 : shape.back();
  if (buses == 0) return {};
  const std::size_t scenarios = shape.size() == 2 ? shape[0] : 1;
  if (const auto name = file.text("/grid", "name"); name && !name->empty()) figure.title += ": " + *name;
  std::vector<double> numbers;
  if (has(file, "/grid/bus/id")) numbers = slab(file, "/grid/bus/id", {0}, {buses});
  const bool consecutive =
      !numbers.empty() && std::adjacent_find(numbers.begin(), numbers.end(),
                                             [](double a, double b) { return b != a + 1; }) == numbers.end();
  if (!consecutive) {
    numbers.resize(buses);
    std::iota(numbers.begin(), numbers.end(), 1.0);
  } else {
    figure.x_label = "bus";
  }
  const auto add = [&](const std::string& name, std::vector<double> values, bool points) {
    figure.series.push_back({.name = name, .x = numbers, .y = std::move(values), .points = points});
  };
  if (scenarios == 1) {
    add("|V|", slab(file, path, Shape(shape.size(), 0), shape.size() == 2 ? Shape{1, buses} : Shape{buses}), true);
  } else {
    std::vector<double> low(buses), middle(buses), high(buses);
    const std::size_t step = std::max<std::size_t>(1, slab_values / scenarios);
    for (std::size_t first = 0; first < buses; first += step) {
      const std::size_t count = std::min(step, buses - first);
      const auto values = slab(file, path, {0, first}, {scenarios, count});
      for (std::size_t b = 0; b < count; ++b) {
        std::vector<double> one;
        for (std::size_t s = 0; s < scenarios; ++s)
          if (const double value = values[s * count + b]; std::isfinite(value)) one.push_back(value);
        std::sort(one.begin(), one.end());
        low[first + b] = one.empty() ? NAN : one.front();
        middle[first + b] = one.empty() ? NAN : one[one.size() / 2];
        high[first + b] = one.empty() ? NAN : one.back();
      }
    }
    figure.title += fmt::format(" ({} scenarios)", scenarios);
    add("highest", std::move(high), false);
    add("median", std::move(middle), false);
    add("lowest", std::move(low), false);
  }
  for (const auto& [limit, name] :
       {std::pair("/grid/bus/vmax", "upper limit"), std::pair("/grid/bus/vmin", "lower limit")})
    if (has(file, limit) && file.info(limit).shape == Shape{buses}) {
      auto values = slab(file, limit, {0}, {buses});
      for (auto& value : values)
        if (!(value > 0.3 && value < 3)) value = NAN;  // no limit
      add(name, std::move(values), false);
    }
  return figure;
}

std::optional<plot::Figure> learning_curves(const h5::Node& file) {
  for (const std::string group : {"/history/epoch", "/history", "/train/history"}) {
    if (!file.exists(group) || file.is_dataset(group)) continue;
    const auto table = table::group_table(file, group);
    Request request;
    for (const char* part : {"loss", "acc", ""}) {  // losses before accuracies before anything
      for (const auto& column : table.columns) {
        const auto info = file.info(column.path);
        if (column.name == "epoch" || column.name == "step") {
          if (request.x.empty()) request.x = column.path;
        } else if (is_numeric(info) && column.name.find(part) != std::string::npos && request.y.size() < 6) {
          const auto values = file.column<double>(column.path);
          if (std::any_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); }))
            request.y.push_back(column.path);
        }
      }
      if (!request.y.empty()) break;
    }
    if (request.y.empty()) continue;
    auto figure = series_figure(file, request, false);
    figure.title = "Learning curves";
    if (figure.y_label.empty())
      figure.y_label = base_name(request.y.front()).find("loss") != std::string::npos ? "loss" : "";
    return figure;
  }
  return {};
}

/// Strain of each detector over its samples.
std::optional<plot::Figure> strains(const h5::Node& file) {
  Request request;
  for (const auto& group : file.children("/"))
    if (const auto path = "/" + group + "/x"; has(file, path) && file.info(path).shape.size() == 1)
      request.y.push_back(path);
  if (request.y.empty()) return {};
  auto figure = series_figure(file, request, false);
  for (std::size_t s = 0; s < figure.series.size(); ++s)
    figure.series[s].name = request.y[s].substr(1, request.y[s].rfind('/') - 1);
  if (figure.x_label == "index") figure.x_label = "sample";
  return figure;
}

/// The largest array over the axis that comes with it: spectra over wavelengths, decays and series over time.
std::optional<plot::Figure> curves_over_axis(const h5::Node& file) {
  Request request{.y = {largest(file)}};
  const auto path = request.y.front();
  const auto shape = file.info(path).shape;
  if (shape.empty() || shape.size() > 2) return {};
  const auto group = path.substr(0, path.rfind('/'));
  for (const char* name : {"wavelength", "energy", "frequency", "time", "t", "x", "nm"})
    for (const auto& place : {group + "/" + name, std::string("/") + name}) {
      if (!request.x.empty() || place == path || !has(file, place)) continue;
      const auto info = file.info(place);
      if (is_numeric(info) && info.shape.size() == 1 &&
          (info.shape[0] == shape.front() || info.shape[0] == shape.back()))
        request.x = place;
    }
  return series_figure(file, request, false);
}

std::optional<plot::Figure> triggers(const h5::Node& file) {
  Request request{.x = "/triggers/f_hz", .y = {"/triggers/snr"}};
  if (!has(file, request.x)) request.x = "/triggers/omega";
  if (!has(file, request.x) || !has(file, request.y[0])) return {};
  for (const char* path : {"/triggers/fdot", "/triggers/s"})
    if (request.colour.empty() && has(file, path)) request.colour = path;
  if (length_of(file, column(file, request.x)) > most_points / 2)
    request.colour.clear();  // too many: they are thinned out
  auto figure = series_figure(file, request, true);
  figure.title = "Triggers";
  return figure;
}

std::optional<plot::Figure> table_curves(const h5::Node& file) {
  const auto table = table::main_table(file);
  Request request;
  for (const auto& column : table.columns) {
    if (column.is_row || !is_numeric(file.info(column.path))) continue;
    static const std::vector<std::string> leading = {"time",       "t",      "x",         "epoch", "step",
                                                     "wavelength", "energy", "frequency", "f",     "nm"};
    const bool leads = std::find(leading.begin(), leading.end(), column.name) != leading.end() && request.y.empty();
    const bool coordinate = file.texts(column.path, "dims") == std::vector{column.name};  // the axis itself
    if (request.x.empty() && (leads || coordinate))
      request.x = column.path;
    else if (request.y.size() < 8)
      request.y.push_back(column.path);
  }
  if (request.y.empty()) return {};
  auto figure = series_figure(file, request, false);
  if (request.x.empty()) figure.x_label = "row";
  return figure;
}

plot::Figure dataset_figure(const h5::Node& file, Request request) {
  const auto path = absolute(request.dataset);
  if (file.exists(path) && !file.is_dataset(path)) {  // a group of columns
    const auto table = table::group_table(file, path);
    for (const auto& column : table.columns)
      if (!column.is_row && is_numeric(file.info(column.path))) request.y.push_back(column.path);
    if (request.y.empty()) throw bad_input("{}:{}: holds no columns of numbers", file.name(), path);
    if (request.y.size() > 1 && request.x.empty()) {
      request.x = request.y.front();
      request.y.erase(request.y.begin());
    }
    return series_figure(file, request, false);
  }
  const auto shape = numeric_info(file, path).shape;
  const std::size_t rank = shape.size() - std::min(shape.size(), request.at.size());
  if (rank >= 3 && request.at.empty() && (shape.size() == 3 && request.bands.size() != 1) && shape[2] >= 3)
    return composite_figure(file, request);
  if (rank == 2 || (rank == 3 && request.bands.size() == 1)) {
    const bool narrow = std::min(shape[shape.size() - 1], shape[shape.size() - 2]) < 8 && request.bands.empty();
    if (!narrow) return image_figure(file, request);
  }
  request.y = {path};
  return series_figure(file, request, false);
}

plot::Figure automatic_figure(const h5::Node& file, const Request& request) {
  if (!request.y.empty() || !request.x.empty()) return series_figure(file, request, !request.colour.empty());
  if (!request.dataset.empty()) return dataset_figure(file, request);
  const auto kind = file.kind();
  std::optional<plot::Figure> figure;
  if (kind == "power-flow" || kind == "power-case") figure = voltage_profile(file);
  if (kind == "gw-triggers") figure = triggers(file);
  if (kind == "gw-data") figure = strains(file);
  if (kind == "spectra" || kind == "decays" || kind == "series") figure = curves_over_axis(file);
  if (kind == "model") figure = learning_curves(file);
  if (kind == "table") figure = table_curves(file);
  if (figure) return *figure;
  auto chosen = request;
  chosen.dataset = has(file, "/cube") ? "/cube" : largest(file);
  if (const auto info = file.info(chosen.dataset); info.shape.size() == 1) {
    figure = table_curves(file);
    if (figure && figure->series.size() <= 8) return *figure;
  }
  return dataset_figure(file, chosen);
}

std::string title(const h5::Node& file, const Request& request) {
  if (const auto text = file.text("/", "title")) return *text;
  const auto name = file.name() == "stdin" ? file.kind() : std::filesystem::path(file.name()).stem().string();
  return request.dataset.empty() ? name : name.empty() ? request.dataset : name + ": " + request.dataset;
}

}  // namespace

plot::Figure figure(const h5::Node& file, const Request& request) {
  auto chosen = request;
  const bool shows_dataset =
      request.type == Type::image || request.type == Type::rgb || request.type == Type::histogram;
  if (shows_dataset && chosen.dataset.empty())
    chosen.dataset = !chosen.y.empty() ? chosen.y.front() : has(file, "/cube") ? "/cube" : largest(file);
  if ((request.type == Type::line || request.type == Type::scatter) && chosen.y.empty()) {
    if (!chosen.dataset.empty()) {
      chosen.y = {chosen.dataset};
    } else {
      const auto table = table::main_table(file);
      for (const auto& column : table.columns)
        if (!column.is_row && is_numeric(file.info(column.path)) && column.path != absolute(chosen.x))
          chosen.y.push_back(column.path);
      if (chosen.y.empty()) throw bad_input("{}: holds no columns of numbers", file.name());
      if (request.type == Type::scatter && chosen.x.empty() && chosen.y.size() > 1) {
        chosen.x = chosen.y[0];
        chosen.y = {chosen.y[1]};
      }
    }
  }
  plot::Figure result;
  switch (request.type) {
    case Type::line:
      result = series_figure(file, chosen, false);
      break;
    case Type::scatter:
      result = series_figure(file, chosen, true);
      break;
    case Type::image:
      result = image_figure(file, chosen);
      break;
    case Type::rgb:
      result = composite_figure(file, chosen);
      break;
    case Type::histogram:
      result = histogram_figure(file, chosen);
      break;
    default:
      result = automatic_figure(file, chosen);
  }
  if (result.title.empty()) result.title = title(file, request);
  result.log_colour = request.log_colour;
  return result;
}

}  // namespace fachwerk::picture
