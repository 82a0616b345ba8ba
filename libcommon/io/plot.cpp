#include "io/plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>
#include <numeric>
#include <span>

#include <plplot.h>

#include "cli/error.hpp"
#include "io/bytes.hpp"

namespace fachwerk::plot {
namespace {

struct Colour {
  int red, green, blue;
};

constexpr Colour ink = {38, 38, 38}, grid = {226, 226, 226}, missing = {200, 200, 200};
/// Told apart by people with any kind of colour vision (Okabe and Ito, 2008), the yellow that vanishes on white left
/// out.
constexpr std::array<Colour, 7> line_colours = {
    {{0, 114, 178}, {213, 94, 0}, {0, 158, 115}, {204, 121, 167}, {230, 159, 0}, {86, 180, 233}, {0, 0, 0}}};
constexpr int map_size = 256;

// ---- colours -------------------------------------------------------------------------------------

/// sRGB of a colour in Oklab (B. Ottosson, 2020), each part 0 to 1 if the colour can be shown.
std::array<double, 3> srgb(double lightness, double a, double b) {
  const double l = std::pow(lightness + 0.3963377774 * a + 0.2158037573 * b, 3);
  const double m = std::pow(lightness - 0.1055613458 * a - 0.0638541728 * b, 3);
  const double s = std::pow(lightness - 0.0894841775 * a - 1.2914855480 * b, 3);
  std::array<double, 3> rgb = {4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
                               -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
                               -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s};
  for (double& part : rgb)
    part = part <= 0.0031308 ? 12.92 * part : 1.055 * std::pow(part, 1 / 2.4) - 0.055;
  return rgb;
}

/// Colour map from dark blue over green to yellow: lightness grows evenly, hue turns evenly, chroma follows a parabola
/// that the screen can show. Equal steps of the value look equally large, also in print without colours.
std::vector<Colour> colour_map() {
  std::vector<Colour> map(map_size);
  for (int i = 0; i < map_size; ++i) {
    const double t = static_cast<double>(i) / (map_size - 1);
    const double lightness = 0.24 + 0.70 * t;
    const double hue = (295 - 190 * t) * std::numbers::pi / 180;
    std::array<double, 3> rgb = {};
    for (double chroma = 0.088 + 0.07 * (2 * t - 1) * (2 * t - 1); chroma >= 0; chroma -= 0.001) {
      rgb = srgb(lightness, chroma * std::cos(hue), chroma * std::sin(hue));
      if (std::all_of(rgb.begin(), rgb.end(), [](double part) { return part >= 0 && part <= 1; })) break;
    }
    const auto byte = [](double part) { return static_cast<int>(std::lround(255 * std::clamp(part, 0.0, 1.0))); };
    map[static_cast<std::size_t>(i)] = {byte(rgb[0]), byte(rgb[1]), byte(rgb[2])};
  }
  return map;
}

// ---- canvas --------------------------------------------------------------------------------------

struct Box {
  double left, right, bottom, top;
  double width() const { return right - left; }
  double height() const { return top - bottom; }
};

enum class Align { left, centre, right };

/// PLplot as a sheet on which lengths are pixels, x to the right and y upwards. PLplot's state is the process's: one
/// canvas at a time.
class Canvas {
 public:
  Canvas(const std::string& file, Format format, int width, int height)
      : width_(width), height_(height), font_(std::clamp(16.0 * std::min(width / 900.0, height / 600.0), 9.0, 60.0)) {
    const char* device = format == Format::png ? "pngcairo" : "svgcairo";
    check_device(device);
    plsdev(device);
    plsfnam(file.c_str());
    plspage(0, 0, width, height, 0, 0);
    plscolbg(255, 255, 255);
    plsfont(PL_FCI_SANS, PL_FCI_UPRIGHT, PL_FCI_MEDIUM);
    plspause(0);
    plinit();
    pladv(0);
    everywhere();
  }
  Canvas(const Canvas&) = delete;
  Canvas& operator=(const Canvas&) = delete;
  ~Canvas() { plend(); }

  double width() const { return width_; }
  double height() const { return height_; }
  double font() const { return font_; }  ///< height of an em

  void everywhere() { clip({0, width_, 0, height_}); }
  void clip(const Box& box) {
    plvpor(box.left / width_, box.right / width_, box.bottom / height_, box.top / height_);
    plwind(box.left, box.right, box.bottom, box.top);
  }

  void pen(Colour colour, double line_width = 1) {
    plscol0(1, colour.red, colour.green, colour.blue);
    plcol0(1);
    plwidth(line_width * font_ / 15);
  }
  /// 0 is a solid line, higher numbers are broken ones.
  void dash(std::size_t pattern) {
    constexpr std::array<PLINT, 3> styles = {1, 2, 3};
    pllsty(styles[pattern % styles.size()]);
  }
  void line(double x0, double y0, double x1, double y1) { pljoin(x0, y0, x1, y1); }
  void polyline(std::span<const double> x, std::span<const double> y) {
    if (x.size() > 1) plline(static_cast<PLINT>(x.size()), x.data(), y.data());
  }
  void polygon(std::span<const double> x, std::span<const double> y) {
    plfill(static_cast<PLINT>(x.size()), x.data(), y.data());
  }
  void frame(const Box& box) {
    const std::array<double, 5> x = {box.left, box.right, box.right, box.left, box.left};
    const std::array<double, 5> y = {box.bottom, box.bottom, box.top, box.top, box.bottom};
    polyline(x, y);
  }
  void bar(const Box& box) {
    const std::array<double, 4> x = {box.left, box.right, box.right, box.left};
    const std::array<double, 4> y = {box.bottom, box.bottom, box.top, box.top};
    polygon(x, y);
  }
  /// `text` with PLplot's escapes for super- and subscripts; its middle line is at y (x where it is vertical).
  void text(double x, double y, Align align, const std::string& text, double size = 1, bool vertical = false) {
    constexpr double characters_per_pixel = 0.0528;  // PLplot's default height, at this page's resolution, is 19 pixels
    plschr(0, font_ * size * characters_per_pixel);
    const double just = align == Align::left ? 0 : align == Align::centre ? 0.5 : 1;
    plptex(x, y, vertical ? 0 : 1, vertical ? 1 : 0, just, text.c_str());
  }
  /// A raster of columns x rows cells, row 0 at the bottom; each cell is an index into `palette`.
  void raster(const Box& box, std::size_t columns, std::size_t rows, const std::vector<std::uint32_t>& cells,
              const std::vector<Colour>& palette) {
    std::vector<PLINT> red, green, blue;
    for (const auto& colour : palette) {
      red.push_back(colour.red);
      green.push_back(colour.green);
      blue.push_back(colour.blue);
    }
    plscmap1(red.data(), green.data(), blue.data(), static_cast<PLINT>(palette.size()));
    std::vector<double> values(columns * rows);
    std::vector<double*> lines(columns);
    for (std::size_t c = 0; c < columns; ++c) {
      lines[c] = values.data() + c * rows;
      for (std::size_t r = 0; r < rows; ++r)
        lines[c][r] = (cells[r * columns + c] + 0.5) / static_cast<double>(palette.size());
    }
    plimagefr(lines.data(), static_cast<PLINT>(columns), static_cast<PLINT>(rows), box.left, box.right, box.bottom,
              box.top, 0, 1, 0, 1, nullptr, nullptr);
  }

 private:
  static void check_device(const std::string& device) {
    std::array<const char*, 100> menu = {}, names = {};
    const char** menu_list = menu.data();
    const char** name_list = names.data();
    int count = static_cast<int>(names.size());
    plgFileDevs(&menu_list, &name_list, &count);
    const bool found = std::any_of(names.begin(), names.begin() + count,
                                   [&](const char* name) { return name != nullptr && name == device; });
    if (!found)
      throw absent_error("PLplot's driver {} is not installed", device).with_hint("Debian: plplot-driver-cairo");
  }

  double width_, height_, font_;
};

// ---- text ----------------------------------------------------------------------------------------

/// Letters of text that PLplot will show: code points, escapes left out.
double text_length(const std::string& text) {
  double length = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '#' && i + 1 < text.size() && text[i + 1] != '#') {
      ++i;
      continue;
    }
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) length += 1;
    if (text[i] == '#') ++i;
  }
  return length;
}
constexpr double letter_width = 0.64;  // of an em: a digit of DejaVu Sans, on average no less than letters

std::string escaped(const std::string& text) {
  std::string result;
  for (const char character : text) {
    if (character == '#') result += '#';
    result += character;
  }
  return result;
}

/// With a minus sign instead of a hyphen.
std::string number_text(double value, int decimals) {
  const std::string text = fmt::format("{:.{}f}", std::abs(value), decimals);
  const bool zero = text.find_first_of("123456789") == std::string::npos;
  return value < 0 && !zero ? "\u2212" + text : text;
}

std::string power_text(int exponent) {
  return fmt::format("10#u{}{}#d", exponent < 0 ? "\u2212" : "", std::abs(exponent));
}

// ---- axes ----------------------------------------------------------------------------------------

struct Tick {
  double value;
  std::string text;  ///< empty: a minor tick
};

struct Axis {
  double low, high;
  bool log = false;
  std::vector<Tick> ticks = {};
  std::string multiplier = {};  ///< "×10#u6#d" where the ticks' texts leave that out

  /// 0 at the low end, 1 at the high one.
  double fraction(double value) const {
    if (log) return (std::log10(value) - std::log10(low)) / (std::log10(high) - std::log10(low));
    return (value - low) / (high - low);
  }
  double text_width() const {
    double width = 0;
    for (const auto& tick : ticks)
      width = std::max(width, text_length(tick.text));
    return width;
  }
};

/// Steps of 1, 2, 2.5 or 5 times a power of ten, at most `most` of them.
void linear_ticks(Axis& axis, int most) {
  const double span = axis.high - axis.low;
  const double raw = span / most;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  int minor = 5;
  constexpr std::array<std::pair<double, int>, 4> steps = {{{1, 5}, {2, 4}, {2.5, 5}, {5, 5}}};
  for (const auto& [factor, parts] : steps)
    if (factor * power >= raw * (1 - 1e-9)) {
      step = factor * power;
      minor = parts;
      break;
    }
  const double largest = std::max(std::abs(axis.low), std::abs(axis.high));
  const int size = static_cast<int>(std::floor(std::log10(largest)));
  const int digits = size - static_cast<int>(std::floor(std::log10(step))) + 1;  // that tell the ticks apart
  const bool scaled = (size >= 5 || size <= -4) && digits <= 5;
  const double unit = scaled ? std::pow(10, size) : 1;
  if (scaled) axis.multiplier = "\u00d7" + power_text(size);
  const double shown = step / unit;
  int decimals = std::max(0, -static_cast<int>(std::floor(std::log10(shown) + 1e-9)));
  if (std::abs(shown * std::pow(10, decimals) - std::round(shown * std::pow(10, decimals))) > 1e-6) ++decimals;
  decimals = std::min(decimals, 15);
  const double part = step / minor;
  const auto first = static_cast<std::int64_t>(std::ceil(axis.low / part - 1e-6));
  const auto last = static_cast<std::int64_t>(std::floor(axis.high / part + 1e-6));
  for (auto i = first; i <= last && i - first < 1000; ++i) {
    const double value = static_cast<double>(i) * part;
    axis.ticks.push_back({value, i % minor == 0 ? number_text(value / unit, decimals) : ""});
  }
}

void logarithmic_ticks(Axis& axis, int most) {
  const int first = static_cast<int>(std::floor(std::log10(axis.low) + 1e-9));
  const int last = static_cast<int>(std::ceil(std::log10(axis.high) - 1e-9));
  const int decades = last - first;
  const int every = std::max(1, (decades + most - 1) / most);
  for (int exponent = first; exponent <= last; ++exponent)
    for (int digit = 1; digit < 10; ++digit) {
      const double value = digit * std::pow(10, exponent);
      if (value < axis.low * (1 - 1e-9) || value > axis.high * (1 + 1e-9)) continue;
      const bool major = digit == 1 && (exponent - first) % every == 0;
      // Within two decades the powers of ten alone say too little.
      const bool between = decades <= 2 && (digit == 2 || digit == 5);
      if (digit != 1 && every > 1) continue;
      std::string text;
      if (major)
        text = power_text(exponent);
      else if (between)
        text = fmt::format("{}\u00b7{}", digit, power_text(exponent));
      axis.ticks.push_back({value, text});
    }
}

Axis make_axis(double low, double high, bool log, int most) {
  Axis axis{.low = low, .high = high, .log = log};
  log ? logarithmic_ticks(axis, most) : linear_ticks(axis, most);
  return axis;
}

/// Smallest and largest finite values, positive ones only for a logarithmic axis.
struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void add(double value, bool log) {
    if (!std::isfinite(value) || (log && value <= 0)) return;
    // So that the length of an axis is a finite number, with room around.
    value = log ? std::clamp(value, 1e-250, 1e250) : std::clamp(value, -1e307, 1e307);
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

/// The range with `padding` (a fraction of it) around, never empty, and the limits that were asked for.
Range padded(Range range, bool log, double padding, std::optional<double> low, std::optional<double> high) {
  constexpr double shortest = 1e-300;
  if (range.empty()) range = log ? Range{1, 10} : Range{0, 1};
  if (log) {
    const double factor =
        range.low == range.high ? 2 : std::pow(10, padding * (std::log10(range.high) - std::log10(range.low)));
    range = {range.low / factor, range.high * factor};
  } else {
    double by = padding * (range.high - range.low);
    if (range.high - range.low <= std::max(1e-12 * std::max(std::abs(range.low), std::abs(range.high)), shortest))
      by = std::max(0.1 * std::abs(range.low), range.low == 0 ? 1.0 : 2 * shortest);
    range = {range.low - by, range.high + by};
  }
  if (low && !(log && *low <= 0)) range.low = *low;
  if (high && !(log && *high <= 0)) range.high = *high;
  if (!(range.high - range.low > (log ? 0 : shortest)) || !std::isfinite(range.high - range.low))
    throw usage_error("plot: the lower limit {} must be below the upper {}", range.low, range.high);
  return range;
}

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
