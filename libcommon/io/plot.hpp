#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/// Pictures for `--plot FILE.png|svg` and h5-plot, drawn by PLplot. One figure has one pair of axes.
namespace fachwerk::plot {

/// A line, or points when `points` is set. Not-a-number interrupts the line.
struct Series {
  std::string name = {};       ///< in the legend; empty: not listed
  std::vector<double> x = {};  ///< empty: 0, 1, 2, ...
  std::vector<double> y = {};
  bool points = false;
  std::vector<double> colour = {};  ///< one value for each point, shown by the colour map; empty: one colour a series
};

/// An image: `values` row by row, the first row at the top (as in a picture) unless `row_0_at_bottom`.
struct Image {
  std::size_t rows = 0, columns = 0;
  std::vector<double> values = {};            ///< rows x columns, shown by the colour map with a colour bar; or
  std::vector<std::uint8_t> rgb = {};         ///< rows x columns x 3
  std::optional<double> low = {}, high = {};  ///< range of the colours; found from the values when empty
  bool row_0_at_bottom = false;
  /// Edges of the image on the axes; pixel numbers when empty.
  std::optional<std::pair<double, double>> x_range = {}, y_range = {};
  bool square_pixels = true;
};

/// Bars over equal intervals.
struct Histogram {
  double low = 0, high = 1;
  std::vector<double> counts = {};
};

struct Figure {
  std::string title = {};
  std::string x_label = {}, y_label = {};  ///< with units: label("time", "s")
  std::string colour_label = {};           ///< of the colour bar
  bool log_x = false, log_y = false;
  bool log_colour = false;
  std::optional<double> x_low = {}, x_high = {}, y_low = {}, y_high = {};  ///< limits; found from the data when empty
  int width = 900, height = 600;                                           ///< pixels, or points in an SVG

  std::vector<Series> series = {};
  std::optional<Image> image = {};
  std::optional<Histogram> histogram = {};
};

enum class Format { png, svg };

/// By the ending of a file name; throws usage_error for others than .png and .svg.
Format format_of(const std::string& path);

/// Draws the figure into `path`, or `-` for stdout: to a temporary beside it that is renamed. Throws io_error as
/// outputs do, bad input if there is nothing that can be drawn.
void save(const Figure& figure, const std::string& path, bool force);
void save(const Figure& figure, const std::string& path, bool force, Format format);

/// "time / s", or just the name where there is no unit.
std::string label(const std::string& name, const std::string& units);

/// Histogram of the finite ones of `values` in `bins` equal intervals (Freedman and Diaconis' rule when 0).
Histogram histogram_of(const std::vector<double>& values, int bins = 0);

/// Range from the p-th to the (1 - p)-th quantile of the finite values: colours that a few outliers do not spoil.
std::pair<double, double> quantile_range(std::vector<double> values, double p);

}  // namespace fachwerk::plot
