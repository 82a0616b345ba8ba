#include "io/plot_canvas.hpp"

#include <cmath>
#include <numbers>

#include <plplot.h>

#include "cli/error.hpp"

namespace fachwerk::plot {
namespace {

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

void check_device(const std::string& device) {
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

}  // namespace

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

std::string escaped(const std::string& text) {
  std::string result;
  for (const char character : text) {
    if (character == '#') result += '#';
    result += character;
  }
  return result;
}

std::string number_text(double value, int decimals) {
  const std::string text = fmt::format("{:.{}f}", std::abs(value), decimals);
  const bool zero = text.find_first_of("123456789") == std::string::npos;
  return value < 0 && !zero ? "\u2212" + text : text;
}

std::string power_text(int exponent) {
  return fmt::format("10#u{}{}#d", exponent < 0 ? "\u2212" : "", std::abs(exponent));
}

Canvas::Canvas(const std::string& file, Format format, int width, int height)
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

Canvas::~Canvas() {
  plend();
}

void Canvas::clip(const Box& box) {
  plvpor(box.left / width_, box.right / width_, box.bottom / height_, box.top / height_);
  plwind(box.left, box.right, box.bottom, box.top);
}

void Canvas::pen(Colour colour, double line_width) {
  plscol0(1, colour.red, colour.green, colour.blue);
  plcol0(1);
  plwidth(line_width * font_ / 15);
}

void Canvas::dash(std::size_t pattern) {
  constexpr std::array<PLINT, 3> styles = {1, 2, 3};
  pllsty(styles[pattern % styles.size()]);
}

void Canvas::line(double x0, double y0, double x1, double y1) {
  pljoin(x0, y0, x1, y1);
}

void Canvas::polyline(std::span<const double> x, std::span<const double> y) {
  if (x.size() > 1) plline(static_cast<PLINT>(x.size()), x.data(), y.data());
}

void Canvas::polygon(std::span<const double> x, std::span<const double> y) {
  plfill(static_cast<PLINT>(x.size()), x.data(), y.data());
}

void Canvas::frame(const Box& box) {
  const std::array<double, 5> x = {box.left, box.right, box.right, box.left, box.left};
  const std::array<double, 5> y = {box.bottom, box.bottom, box.top, box.top, box.bottom};
  polyline(x, y);
}

void Canvas::bar(const Box& box) {
  const std::array<double, 4> x = {box.left, box.right, box.right, box.left};
  const std::array<double, 4> y = {box.bottom, box.bottom, box.top, box.top};
  polygon(x, y);
}

void Canvas::text(double x, double y, Align align, const std::string& text, double size, bool vertical) {
  constexpr double characters_per_pixel = 0.0528;  // PLplot's default height, at this page's resolution, is 19 pixels
  plschr(0, font_ * size * characters_per_pixel);
  const double just = align == Align::left ? 0 : align == Align::centre ? 0.5 : 1;
  plptex(x, y, vertical ? 0 : 1, vertical ? 1 : 0, just, text.c_str());
}

void Canvas::raster(const Box& box, std::size_t columns, std::size_t rows, const std::vector<std::uint32_t>& cells,
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

}  // namespace fachwerk::plot
