#include "io/plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <span>

#include "cli/error.hpp"
#include "io/bytes.hpp"
#include "io/plot_axis.hpp"
#include "io/plot_canvas.hpp"

namespace fachwerk::plot {
namespace {

constexpr Colour ink = {38, 38, 38}, grid = {226, 226, 226}, missing = {200, 200, 200};
/// Told apart by people with any kind of colour vision (Okabe and Ito, 2008), the yellow that vanishes on white left
/// out.
constexpr std::array<Colour, 7> line_colours = {
    {{0, 114, 178}, {213, 94, 0}, {0, 158, 115}, {204, 121, 167}, {230, 159, 0}, {86, 180, 233}, {0, 0, 0}}};

double x_of(const Series& series, std::size_t i) {
  return series.x.empty() ? static_cast<double>(i) : series.x[i];
}

// ---- drawing -------------------------------------------------------------------------------------

/// Where everything goes, and the axes.
struct Layout {
  Box plot;
  Axis x, y;
  std::optional<Axis> colour = {};
  Box colour_bar = {};
};

double on_x(const Layout& layout, double value) {
  return layout.plot.left + layout.x.fraction(value) * layout.plot.width();
}
double on_y(const Layout& layout, double value) {
  return layout.plot.bottom + layout.y.fraction(value) * layout.plot.height();
}

void draw_axes(Canvas& canvas, const Figure& figure, const Layout& layout) {
  const Box& box = layout.plot;
  const double em = canvas.font(), major = 0.4 * em, minor = 0.2 * em;
  canvas.everywhere();
  canvas.pen(ink, 0.9);
  canvas.frame(box);
  for (const auto& tick : layout.x.ticks) {
    const double x = on_x(layout, tick.value), size = tick.text.empty() ? minor : major;
    canvas.line(x, box.bottom, x, box.bottom - size);
    if (!tick.text.empty()) canvas.text(x, box.bottom - 1.15 * em, Align::centre, tick.text, 0.9);
  }
  for (const auto& tick : layout.y.ticks) {
    const double y = on_y(layout, tick.value), size = tick.text.empty() ? minor : major;
    canvas.line(box.left, y, box.left - size, y);
    if (!tick.text.empty()) canvas.text(box.left - 0.65 * em, y, Align::right, tick.text, 0.9);
  }
  const double labels = layout.y.text_width() * letter_width * 0.9 * em;
  const double centre_y = (box.bottom + box.top) / 2;
  canvas.text((box.left + box.right) / 2, box.bottom - 2.75 * em, Align::centre, escaped(figure.x_label));
  canvas.text(box.left - labels - 1.6 * em, centre_y, Align::centre, escaped(figure.y_label), 1, true);
  if (!layout.x.multiplier.empty())
    canvas.text(box.right, box.bottom - 2.75 * em, Align::right, layout.x.multiplier, 0.9);
  if (!layout.y.multiplier.empty()) canvas.text(box.left, box.top + 0.9 * em, Align::left, layout.y.multiplier, 0.9);
  if (!figure.title.empty()) {
    const double room = canvas.width() / (text_length(figure.title) * letter_width * em);
    const double size = std::clamp(0.95 * room, 0.6, 1.15);
    const double half = text_length(figure.title) * letter_width * em * size / 2;
    const double x = std::clamp((box.left + box.right) / 2, std::min(half, canvas.width() / 2),
                                std::max(canvas.width() - half, canvas.width() / 2));
    canvas.text(x, box.top + (layout.y.multiplier.empty() ? 1.2 : 2.2) * em, Align::centre, escaped(figure.title),
                size);
  }
}

void draw_grid(Canvas& canvas, const Layout& layout) {
  canvas.everywhere();
  canvas.pen(grid, 0.8);
  for (const auto& tick : layout.x.ticks)
    if (!tick.text.empty())
      canvas.line(on_x(layout, tick.value), layout.plot.bottom, on_x(layout, tick.value), layout.plot.top);
  for (const auto& tick : layout.y.ticks)
    if (!tick.text.empty())
      canvas.line(layout.plot.left, on_y(layout, tick.value), layout.plot.right, on_y(layout, tick.value));
}

/// Points of a polyline on the sheet. Of a run that falls on one pixel column, only first, lowest, highest and last are
/// kept: what is drawn is the same.
class Polyline {
 public:
  explicit Polyline(Canvas& canvas) : canvas_(canvas) {}
  ~Polyline() { end(); }
  Polyline(const Polyline&) = delete;
  Polyline& operator=(const Polyline&) = delete;

  void add(double x, double y) {
    const double column = std::floor(x);
    if (run_ > 0 && column == column_) {
      if (run_ > 2) {  // [first, lowest or highest..., last]: replace the last unless it is an extreme
        low_ = std::min(low_, y_.back());
        high_ = std::max(high_, y_.back());
        if (y_.back() > low_ && y_.back() < high_) {
          x_.pop_back();
          y_.pop_back();
        }
      }
      ++run_;
    } else {
      run_ = 1;
      column_ = column;
      low_ = high_ = y;
    }
    x_.push_back(x);
    y_.push_back(y);
  }
  void end() {
    canvas_.polyline(x_, y_);
    x_.clear();
    y_.clear();
    run_ = 0;
  }
  bool single() const { return x_.size() == 1; }
  std::pair<double, double> last() const { return {x_.back(), y_.back()}; }

 private:
  Canvas& canvas_;
  std::vector<double> x_, y_;
  std::size_t run_ = 0;
  double column_ = 0, low_ = 0, high_ = 0;
};

void dot(Canvas& canvas, double x, double y, double radius) {
  constexpr int corners = 12;
  std::array<double, corners> xs, ys;
  for (int k = 0; k < corners; ++k) {
    const double angle = 2 * std::numbers::pi * k / corners;
    xs[static_cast<std::size_t>(k)] = x + radius * std::cos(angle);
    ys[static_cast<std::size_t>(k)] = y + radius * std::sin(angle);
  }
  canvas.polygon(xs, ys);
}

double dot_radius(const Canvas& canvas, std::size_t points) {
  const double radius = points < 300 ? 0.23 : points < 3000 ? 0.17 : points < 30000 ? 0.12 : 0.08;
  return radius * canvas.font();
}

bool drawable(const Layout& layout, double x, double y) {
  return std::isfinite(x) && std::isfinite(y) && (!layout.x.log || x > 0) && (!layout.y.log || y > 0);
}

void draw_line(Canvas& canvas, const Layout& layout, const Series& series) {
  Polyline line(canvas);
  const auto finish = [&] {  // a value between two gaps is a dot
    if (line.single()) dot(canvas, line.last().first, line.last().second, 0.1 * canvas.font());
    line.end();
  };
  // Far outside the picture coordinates would overflow PLplot's integers.
  const double reach = 20 * (canvas.width() + canvas.height());
  for (std::size_t i = 0; i < series.y.size(); ++i) {
    const double x = x_of(series, i), y = series.y[i];
    if (drawable(layout, x, y))
      line.add(std::clamp(on_x(layout, x), -reach, reach), std::clamp(on_y(layout, y), -reach, reach));
    else
      finish();
  }
  finish();
}

Colour map_colour(const std::vector<Colour>& map, const Axis& axis, double value) {
  const double t = axis.fraction(value);
  if (!std::isfinite(t)) return missing;
  return map[static_cast<std::size_t>(std::lround(std::clamp(t, 0.0, 1.0) * (map_size - 1)))];
}

void draw_points(Canvas& canvas, const Layout& layout, const Series& series, const std::vector<Colour>& map) {
  const double radius = dot_radius(canvas, series.y.size());
  // The largest value on top: draw in the order of the colour.
  std::vector<std::size_t> order(series.y.size());
  std::iota(order.begin(), order.end(), 0);
  const bool coloured = !series.colour.empty() && layout.colour;
  if (coloured)
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return series.colour[a] < series.colour[b]; });
  // Dots that hide each other completely are drawn once: a pixel holds one.
  std::vector<bool> taken(static_cast<std::size_t>(2 * canvas.width() + 2) *
                          static_cast<std::size_t>(2 * canvas.height() + 2));
  for (auto o = order.rbegin(); o != order.rend(); ++o) {
    const double x = x_of(series, *o), y = series.y[*o];
    if (!drawable(layout, x, y)) {
      *o = SIZE_MAX;
      continue;
    }
    const double px = on_x(layout, x), py = on_y(layout, y);
    if (px < layout.plot.left || px > layout.plot.right || py < layout.plot.bottom || py > layout.plot.top) {
      *o = SIZE_MAX;
      continue;
    }
    const auto cell = static_cast<std::size_t>(2 * py) * static_cast<std::size_t>(2 * canvas.width() + 2) +
                      static_cast<std::size_t>(2 * px);
    if (taken[cell]) *o = SIZE_MAX;
    taken[cell] = true;
  }
  for (const auto i : order) {
    if (i == SIZE_MAX) continue;
    if (coloured) canvas.pen(map_colour(map, *layout.colour, series.colour[i]));
    dot(canvas, on_x(layout, x_of(series, i)), on_y(layout, series.y[i]), radius);
  }
}

void draw_legend(Canvas& canvas, const Figure& figure, const Layout& layout) {
  constexpr std::size_t most = 20;
  const double em = canvas.font();
  const double left = layout.plot.right + em;
  double y = layout.plot.top - 0.6 * em;
  std::size_t listed = 0, named = 0;
  for (std::size_t s = 0; s < figure.series.size(); ++s) {
    const auto& series = figure.series[s];
    if (series.name.empty()) continue;
    if (++named > most) continue;
    canvas.pen(line_colours[s % line_colours.size()], 1.8);
    canvas.dash(s / line_colours.size());
    if (series.points)
      dot(canvas, left + 0.75 * em, y, 0.25 * em);
    else
      canvas.line(left, y, left + 1.5 * em, y);
    canvas.pen(ink);
    canvas.dash(0);
    canvas.text(left + 2 * em, y, Align::left, escaped(series.name), 0.9);
    y -= 1.5 * em;
    ++listed;
  }
  if (named > listed) canvas.text(left, y, Align::left, fmt::format("and {} more", named - listed), 0.9);
}

/// Cells of the raster: the image averaged over what falls on a cell, or the pixel it lies in.
template <class Mean>
void for_each_cell(const Image& image, std::size_t columns, std::size_t rows, const Mean& mean) {
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t up = image.row_0_at_bottom ? r : rows - 1 - r;
    const std::size_t r0 = up * image.rows / rows, r1 = std::max((up + 1) * image.rows / rows, r0 + 1);
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t c0 = c * image.columns / columns, c1 = std::max((c + 1) * image.columns / columns, c0 + 1);
      mean(r * columns + c, r0, r1, c0, c1);
    }
  }
}

void draw_image(Canvas& canvas, const Layout& layout, const Image& image, const std::vector<Colour>& map) {
  const auto columns = static_cast<std::size_t>(std::lround(layout.plot.width()));
  const auto rows = static_cast<std::size_t>(std::lround(layout.plot.height()));
  std::vector<std::uint32_t> cells(columns * rows);
  std::vector<Colour> palette = map;
  if (image.rgb.empty()) {
    palette.push_back(missing);
    for_each_cell(image, columns, rows, [&](std::size_t cell, auto r0, auto r1, auto c0, auto c1) {
      double sum = 0;
      std::size_t n = 0;
      for (std::size_t r = r0; r < r1; ++r)
        for (std::size_t c = c0; c < c1; ++c)
          if (const double value = image.values[r * image.columns + c]; std::isfinite(value)) {
            sum += value;
            ++n;
          }
      const double t = n == 0 ? NAN : layout.colour->fraction(sum / static_cast<double>(n));
      cells[cell] =
          std::isnan(t) ? map_size : static_cast<std::uint32_t>(std::lround(std::clamp(t, 0.0, 1.0) * (map_size - 1)));
    });
  } else {
    palette.resize(cells.size());
    for_each_cell(image, columns, rows, [&](std::size_t cell, auto r0, auto r1, auto c0, auto c1) {
      std::array<std::size_t, 3> sum = {};
      for (std::size_t r = r0; r < r1; ++r)
        for (std::size_t c = c0; c < c1; ++c)
          for (std::size_t k = 0; k < 3; ++k)
            sum[k] += image.rgb[3 * (r * image.columns + c) + k];
      const std::size_t n = (r1 - r0) * (c1 - c0);
      const auto mean = [&](std::size_t k) { return static_cast<int>((sum[k] + n / 2) / n); };
      palette[cell] = {mean(0), mean(1), mean(2)};
      cells[cell] = static_cast<std::uint32_t>(cell);
    });
  }
  canvas.clip(layout.plot);
  canvas.raster(layout.plot, columns, rows, cells, palette);
}

void draw_colour_bar(Canvas& canvas, const Figure& figure, const Layout& layout, const std::vector<Colour>& map) {
  const Box& box = layout.colour_bar;
  const double em = canvas.font();
  const auto columns = static_cast<std::size_t>(box.width()), rows = static_cast<std::size_t>(box.height());
  std::vector<std::uint32_t> cells(columns * rows);
  for (std::size_t i = 0; i < cells.size(); ++i)
    cells[i] = static_cast<std::uint32_t>(i / columns * map_size / rows);
  canvas.everywhere();
  canvas.raster(box, columns, rows, cells, map);
  canvas.pen(ink, 0.9);
  canvas.frame(box);
  for (const auto& tick : layout.colour->ticks) {
    const double y = box.bottom + layout.colour->fraction(tick.value) * box.height();
    canvas.line(box.right, y, box.right + (tick.text.empty() ? 0.2 : 0.4) * em, y);
    if (!tick.text.empty()) canvas.text(box.right + 0.65 * em, y, Align::left, tick.text, 0.9);
  }
  const double labels = layout.colour->text_width() * letter_width * 0.9 * em;
  canvas.text(box.right + labels + 1.7 * em, (box.bottom + box.top) / 2, Align::centre, escaped(figure.colour_label), 1,
              true);
  if (!layout.colour->multiplier.empty())
    canvas.text(box.left, box.top + 0.9 * em, Align::left, layout.colour->multiplier, 0.9);
}

void draw_histogram(Canvas& canvas, const Layout& layout, const Histogram& histogram) {
  const auto bins = static_cast<double>(histogram.counts.size());
  canvas.clip(layout.plot);
  canvas.pen(line_colours[0]);
  for (std::size_t b = 0; b < histogram.counts.size(); ++b) {
    if (histogram.counts[b] <= 0) continue;
    const auto edge = [&](double k) {
      return on_x(layout, histogram.low + (histogram.high - histogram.low) * k / bins);
    };
    const double left = edge(static_cast<double>(b)), right = edge(static_cast<double>(b) + 1);
    const double gap = right - left > 6 ? 0.5 : 0;
    const double top = on_y(layout, histogram.counts[b]);
    canvas.bar({left + gap, right - gap, layout.plot.bottom, top});
  }
}

// ---- layout --------------------------------------------------------------------------------------

/// Range of the values that the colour map shows, if the figure has any.
std::optional<Range> colour_range(const Figure& figure) {
  Range range;
  bool any = false;
  if (figure.image && figure.image->rgb.empty()) {
    any = true;
    for (const double value : figure.image->values)
      range.add(value, figure.log_colour);
  }
  for (const auto& series : figure.series)
    if (!series.colour.empty()) {
      any = true;
      for (const double value : series.colour)
        range.add(value, figure.log_colour);
    }
  if (!any) return {};
  static const Image open;
  const Image& image = figure.image ? *figure.image : open;
  return padded(range, figure.log_colour, 0, image.low, image.high);
}

std::pair<Range, Range> data_ranges(const Figure& figure) {
  Range x, y;
  bool points = false;
  for (const auto& series : figure.series) {
    points = points || series.points;
    for (std::size_t i = 0; i < series.y.size(); ++i) {
      const double at = x_of(series, i);
      if (!std::isfinite(series.y[i]) || (figure.log_x && at <= 0) || (figure.log_y && series.y[i] <= 0)) continue;
      x.add(at, figure.log_x);
      y.add(series.y[i], figure.log_y);
    }
  }
  if (figure.image) {
    const auto& image = *figure.image;
    const auto across = image.x_range.value_or(std::pair(0.0, static_cast<double>(image.columns)));
    const auto up = image.y_range.value_or(std::pair(0.0, static_cast<double>(image.rows)));
    x = {std::min(across.first, across.second), std::max(across.first, across.second)};
    y = {std::min(up.first, up.second), std::max(up.first, up.second)};
    return {x, y};
  }
  if (figure.histogram) {
    const auto& counts = figure.histogram->counts;
    const double most = counts.empty() ? 1 : *std::max_element(counts.begin(), counts.end());
    x = {figure.histogram->low, figure.histogram->high};
    y = figure.log_y ? Range{0.7, std::max(2.0, 1.3 * most)} : Range{0, std::max(1.0, 1.05 * most)};
    return {padded(x, figure.log_x, 0, figure.x_low, figure.x_high),
            padded(y, figure.log_y, 0, figure.y_low, figure.y_high)};
  }
  return {padded(x, figure.log_x, points ? 0.03 : 0, figure.x_low, figure.x_high),
          padded(y, figure.log_y, 0.05, figure.y_low, figure.y_high)};
}

/// Shrinks the box so that pixels are square, and centres it.
void make_square(Box& box, const Image& image) {
  const double scale =
      std::min(box.width() / static_cast<double>(image.columns), box.height() / static_cast<double>(image.rows));
  // Within a factor of ten; a strip of an image would vanish otherwise.
  if (scale * static_cast<double>(std::min(image.rows, image.columns)) < 0.1 * std::min(box.width(), box.height()))
    return;
  const double spare_x = box.width() - scale * static_cast<double>(image.columns);
  const double spare_y = box.height() - scale * static_cast<double>(image.rows);
  box = {box.left + spare_x / 2, box.right - spare_x / 2, box.bottom + spare_y / 2, box.top - spare_y / 2};
}

int most_ticks(double pixels, double each) {
  return std::clamp(static_cast<int>(pixels / each), 2, 12);
}

Layout lay_out(const Canvas& canvas, const Figure& figure) {
  const double em = canvas.font();
  const auto [x, y] = data_ranges(figure);
  const auto colours = colour_range(figure);
  Layout layout;
  Box& box = layout.plot;
  // Heights first: the y axis' texts need room at the left.
  box.bottom = figure.x_label.empty() ? 2.6 * em : 3.9 * em;
  box.top = canvas.height() - (figure.title.empty() ? 1.3 : 2.4) * em;
  layout.y = make_axis(y.low, y.high, figure.log_y && !figure.image, most_ticks(box.height(), 3.2 * em));
  if (!layout.y.multiplier.empty()) box.top -= 1.0 * em;
  const auto text_room = [&](const Axis& axis) { return axis.text_width() * letter_width * 0.9 * em; };
  box.left = text_room(layout.y) + (figure.y_label.empty() ? 1.5 : 2.8) * em;
  box.right = canvas.width() - 2 * em;
  double longest = 0;
  std::size_t named = 0;
  for (const auto& series : figure.series)
    if (!series.name.empty()) {
      longest = std::max(longest, text_length(series.name));
      ++named;
    }
  if (named > 0) box.right = std::max(canvas.width() - (longest * letter_width * 0.9 + 3.5) * em, 0.5 * canvas.width());
  if (colours) {
    layout.colour = make_axis(colours->low, colours->high, figure.log_colour, most_ticks(box.height(), 3.2 * em));
    box.right -= text_room(*layout.colour) + (figure.colour_label.empty() ? 2.0 : 3.6) * em;
    if (!layout.colour->multiplier.empty() && layout.y.multiplier.empty()) box.top -= 1.0 * em;
  }
  if (figure.image && figure.image->square_pixels && !figure.image->x_range && !figure.image->y_range)
    make_square(box, *figure.image);
  box.left = std::round(box.left);
  box.bottom = std::round(box.bottom);
  box.right = box.left + std::max(10.0, std::round(box.right - box.left));
  box.top = box.bottom + std::max(10.0, std::round(box.top - box.bottom));
  layout.x = make_axis(x.low, x.high, figure.log_x && !figure.image, 8);
  const double width = std::max(4.0, layout.x.text_width() + 3) * letter_width * em;
  layout.x = make_axis(x.low, x.high, figure.log_x && !figure.image, most_ticks(box.width(), width));
  layout.y = make_axis(y.low, y.high, figure.log_y && !figure.image, most_ticks(box.height(), 3.2 * em));
  if (figure.image && !figure.image->row_0_at_bottom && !figure.image->y_range) {  // rows count downwards
    for (auto& tick : layout.y.ticks)
      tick.value = layout.y.low + layout.y.high - tick.value;
  }
  const double bar = std::round(box.right + em);
  layout.colour_bar = {bar, bar + std::round(1.1 * em), box.bottom, box.top};
  return layout;
}

void draw(Canvas& canvas, const Figure& figure) {
  const Layout layout = lay_out(canvas, figure);
  const auto map = colour_map();
  if (figure.image)
    draw_image(canvas, layout, *figure.image, map);
  else
    draw_grid(canvas, layout);
  if (figure.histogram) draw_histogram(canvas, layout, *figure.histogram);
  canvas.clip(layout.plot);
  for (const bool points : {false, true})  // points lie over lines
    for (std::size_t s = 0; s < figure.series.size(); ++s) {
      const auto& series = figure.series[s];
      if (series.points != points) continue;
      canvas.pen(line_colours[s % line_colours.size()], 1.6);
      canvas.dash(s / line_colours.size());
      points ? draw_points(canvas, layout, series, map) : draw_line(canvas, layout, series);
    }
  canvas.dash(0);
  draw_axes(canvas, figure, layout);
  draw_legend(canvas, figure, layout);
  if (layout.colour) draw_colour_bar(canvas, figure, layout, map);
}

void check(const Figure& figure) {
  if (figure.width < 100 || figure.height < 80 || figure.width > 20000 || figure.height > 20000)
    throw usage_error("plot: a picture of {} x {} pixels, expected 100 x 80 to 20000 x 20000", figure.width,
                      figure.height);
  for (const auto& series : figure.series) {
    if (!series.x.empty() && series.x.size() != series.y.size())
      throw bad_input("plot: {} x values for {} y values", series.x.size(), series.y.size());
    if (!series.colour.empty() && series.colour.size() != series.y.size())
      throw bad_input("plot: {} colours for {} points", series.colour.size(), series.y.size());
  }
  if (figure.image) {
    const auto& image = *figure.image;
    const std::size_t pixels = image.rows * image.columns;
    if (pixels == 0) throw bad_input("plot: an image of {} x {} pixels", image.rows, image.columns);
    if (image.rgb.empty() ? image.values.size() != pixels : image.rgb.size() != 3 * pixels)
      throw bad_input("plot: values do not fill an image of {} x {} pixels", image.rows, image.columns);
  }
  if (figure.series.empty() && !figure.image && !figure.histogram) throw bad_input("plot: nothing to draw");
}

}  // namespace

Format format_of(const std::string& path) {
  if (path.ends_with(".png")) return Format::png;
  if (path.ends_with(".svg")) return Format::svg;
  throw usage_error("{}: expected a picture's name that ends in .png or .svg", path);
}

void save(const Figure& figure, const std::string& path, bool force) {
  save(figure, path, force, format_of(path));
}

void save(const Figure& figure, const std::string& path, bool force, Format format) {
  check(figure);
  formats::Sink sink = formats::Sink::create(path, force);
  // PLplot asks on the terminal for another name when it cannot open a file: it gets one that is open.
  const formats::MemoryFile memory;
  {
    Canvas canvas(memory.path(), format, figure.width, figure.height);
    draw(canvas, figure);
  }
  sink.write(formats::File::open(memory.path()).bytes());
  sink.commit();
}

std::string label(const std::string& name, const std::string& units) {
  return units.empty() || units == "1" ? name : name + " / " + units;
}

std::pair<double, double> quantile_range(std::vector<double> values, double p) {
  std::erase_if(values, [](double value) { return !std::isfinite(value); });
  if (values.empty()) return {0, 1};
  const auto at = [&](double quantile) {
    const auto nth = values.begin() + static_cast<std::ptrdiff_t>(quantile * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), nth, values.end());
    return *nth;
  };
  const double low = at(p), high = at(1 - p);
  return low < high ? std::pair(low, high)
                    : std::pair(*std::min_element(values.begin(), values.end()),
                                *std::max_element(values.begin(), values.end()));
}

Histogram histogram_of(const std::vector<double>& values, int bins) {
  Histogram histogram;
  std::vector<double> finite;
  std::copy_if(values.begin(), values.end(), std::back_inserter(finite),
               [](double value) { return std::isfinite(value); });
  if (finite.empty()) return histogram;
  const auto [low, high] = std::minmax_element(finite.begin(), finite.end());
  histogram.low = *low;
  histogram.high = *high;
  if (histogram.low == histogram.high) {
    histogram.low -= 0.5;
    histogram.high += 0.5;
  }
  if (bins == 0) {
    // Freedman and Diaconis (1981): intervals of 2 IQR / n^(1/3).
    const auto [quarter, three] = quantile_range(finite, 0.25);
    const double width = 2 * (three - quarter) / std::cbrt(static_cast<double>(finite.size()));
    bins = width > 0 ? static_cast<int>(std::clamp((histogram.high - histogram.low) / width, 5.0, 200.0)) : 30;
  }
  histogram.counts.resize(static_cast<std::size_t>(bins));
  for (const double value : finite) {
    const double t = (value - histogram.low) / (histogram.high - histogram.low);
    const auto bin = std::min(static_cast<std::size_t>(t * bins), histogram.counts.size() - 1);
    histogram.counts[bin] += 1;
  }
  return histogram;
}

}  // namespace fachwerk::plot
