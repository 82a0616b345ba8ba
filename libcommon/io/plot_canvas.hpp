#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/plot.hpp"

/// What figures are drawn on: PLplot behind lengths in pixels, colours, and text with its escapes.
namespace fachwerk::plot {

struct Colour {
  int red, green, blue;
};

constexpr int map_size = 256;  ///< colours of the map

/// Colour map from dark blue over green to yellow: lightness grows evenly, hue turns evenly, chroma follows a parabola
/// that the screen can show. Equal steps of the value look equally large, also in print without colours.
std::vector<Colour> colour_map();

/// Letters of text that PLplot will show: code points, escapes left out.
double text_length(const std::string& text);
constexpr double letter_width = 0.64;  ///< of an em: a digit of DejaVu Sans, on average no less than letters

/// `text` as PLplot shows it to the letter.
std::string escaped(const std::string& text);

/// With a minus sign instead of a hyphen.
std::string number_text(double value, int decimals);

/// A power of ten, with PLplot's escapes.
std::string power_text(int exponent);

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
  Canvas(const std::string& file, Format format, int width, int height);
  Canvas(const Canvas&) = delete;
  Canvas& operator=(const Canvas&) = delete;
  ~Canvas();

  double width() const { return width_; }
  double height() const { return height_; }
  double font() const { return font_; }  ///< height of an em

  void everywhere() { clip({0, width_, 0, height_}); }
  void clip(const Box& box);

  void pen(Colour colour, double line_width = 1);
  /// 0 is a solid line, higher numbers are broken ones.
  void dash(std::size_t pattern);
  void line(double x0, double y0, double x1, double y1);
  void polyline(std::span<const double> x, std::span<const double> y);
  void polygon(std::span<const double> x, std::span<const double> y);
  void frame(const Box& box);
  void bar(const Box& box);
  /// `text` with PLplot's escapes for super- and subscripts; its middle line is at y (x where it is vertical).
  void text(double x, double y, Align align, const std::string& text, double size = 1, bool vertical = false);
  /// A raster of columns x rows cells, row 0 at the bottom; each cell is an index into `palette`.
  void raster(const Box& box, std::size_t columns, std::size_t rows, const std::vector<std::uint32_t>& cells,
              const std::vector<Colour>& palette);

 private:
  double width_, height_, font_;
};

}  // namespace fachwerk::plot
