#include "io/plot.hpp"

#include <cmath>
#include <filesystem>

#include <doctest.h>
#include <unistd.h>

#include "io/image.hpp"

using namespace fachwerk;

/// Fonts and drivers stay loaded for the whole process: under the leak sanitizer these libraries' own caches are no
/// leaks.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libfontconfig\nleak:libltdl\n";
}

namespace {

using Pixel = std::array<int, 3>;

/// A figure as the pixels of its PNG.
class Picture {
 public:
  explicit Picture(const plot::Figure& figure) {
    const auto path = (std::filesystem::temp_directory_path() / fmt::format("fachwerk-plot-{}.png", getpid())).string();
    plot::save(figure, path, true);
    const auto image = formats::read_png(formats::File::open(path).bytes(), path);
    std::filesystem::remove(path);
    shape_ = image.shape;
    bytes_ = std::get<std::vector<std::uint8_t>>(image.values);
  }
  std::size_t rows() const { return shape_[0]; }
  std::size_t columns() const { return shape_[1]; }
  Pixel at(std::size_t row, std::size_t column) const {
    const auto* pixel = bytes_.data() + (row * columns() + column) * shape_[2];
    return {pixel[0], pixel[1], pixel[2]};
  }
  /// Pixels close to a colour.
  std::size_t count(Pixel colour, int tolerance = 12) const {
    std::size_t n = 0;
    for (std::size_t r = 0; r < rows(); ++r)
      for (std::size_t c = 0; c < columns(); ++c)
        n += near(at(r, c), colour, tolerance) ? 1 : 0;
    return n;
  }
  static bool near(Pixel a, Pixel b, int tolerance) {
    return std::abs(a[0] - b[0]) <= tolerance && std::abs(a[1] - b[1]) <= tolerance &&
           std::abs(a[2] - b[2]) <= tolerance;
  }

 private:
  formats::Shape shape_;
  std::vector<std::uint8_t> bytes_;
};

constexpr Pixel first_line = {0, 114, 178}, second_line = {213, 94, 0}, white = {255, 255, 255};

}  // namespace

TEST_CASE("a line crosses the picture where its values are") {
  plot::Figure figure{.x_label = "x", .y_label = "y"};
  figure.series = {{.x = {0, 1}, .y = {0, 0}}};
  figure.y_low = -1;
  figure.y_high = 1;
  const Picture picture(figure);
  CHECK(picture.rows() == 600);
  CHECK(picture.columns() == 900);
  CHECK(picture.at(2, 2) == white);
  // One horizontal line: the pixels of its colour lie in one or two rows, and there are many.
  std::size_t rows = 0, pixels = 0;
  for (std::size_t r = 0; r < picture.rows(); ++r) {
    std::size_t n = 0;
    for (std::size_t c = 0; c < picture.columns(); ++c)
      n += Picture::near(picture.at(r, c), first_line, 60) ? 1 : 0;
    rows += n > 300 ? 1 : 0;
    pixels += n;
  }
  CHECK(rows >= 1);
  CHECK(rows <= 3);
  CHECK(pixels > 700);
}

TEST_CASE("an image shows its corners, top row first, NaN in gray") {
  plot::Figure figure;
  plot::Image image{.rows = 2, .columns = 2, .rgb = {255, 0, 0, 0, 255, 0, 0, 0, 255, 90, 90, 90}};
  figure.image = image;
  const Picture picture(figure);
  const std::size_t r = picture.rows(), c = picture.columns();
  CHECK(picture.count({255, 0, 0}, 2) > 40000);
  CHECK(picture.at(r / 4, c / 2 - 60) == Pixel{255, 0, 0});
  CHECK(picture.at(r / 4, c / 2 + 60) == Pixel{0, 255, 0});
  CHECK(picture.at(3 * r / 4, c / 2 - 60) == Pixel{0, 0, 255});
  CHECK(picture.at(3 * r / 4, c / 2 + 60) == Pixel{90, 90, 90});

  figure.image = plot::Image{.rows = 1, .columns = 2, .values = {NAN, 1}, .square_pixels = false};
  CHECK(Picture(figure).count({200, 200, 200}, 1) > 100000);
}

TEST_CASE("the colour map grows in lightness") {
  plot::Figure figure;
  plot::Image image{.rows = 1, .columns = 64};
  for (int i = 0; i < 64; ++i)
    image.values.push_back(i);
  image.square_pixels = false;
  figure.image = image;
  const Picture picture(figure);
  const auto lightness = [&](std::size_t column) {
    const auto [red, green, blue] = picture.at(picture.rows() / 2, column);
    return 0.2126 * std::pow(red / 255.0, 2.2) + 0.7152 * std::pow(green / 255.0, 2.2) +
           0.0722 * std::pow(blue / 255.0, 2.2);
  };
  double before = -1;
  for (std::size_t column = 80; column < 720; column += 20) {
    CHECK(lightness(column) >= before);
    before = lightness(column);
  }
  CHECK(lightness(700) > 8 * lightness(90));
}

TEST_CASE("two series have two colours and a legend") {
  plot::Figure figure;
  figure.series = {{.name = "one", .y = {0, 1, 2}}, {.name = "two", .y = {2, 1, 0}, .points = true}};
  const Picture picture(figure);
  CHECK(picture.count(first_line) > 100);
  CHECK(picture.count(second_line) > 20);
}

TEST_CASE("odd data draws") {
  plot::Figure figure;
  for (const auto& values : std::vector<std::vector<double>>{{},
                                                             {1},
                                                             {5, 5, 5},
                                                             {NAN, NAN},
                                                             {1e-300, 1e300},
                                                             {-1e308, 1e308},
                                                             {INFINITY, 1},
                                                             {1187008512, 1187008513},
                                                             {0, 5e-324},
                                                             {5e-324, 5e-324}}) {
    figure.series = {{.name = "a # b", .y = values}};
    for (const bool log : {false, true}) {
      figure.log_y = log;
      CHECK_NOTHROW(Picture{figure});
    }
  }
}

TEST_CASE("wrong figures are refused and leave nothing") {
  const auto path =
      (std::filesystem::temp_directory_path() / fmt::format("fachwerk-plot-none-{}.png", getpid())).string();
  CHECK_THROWS_AS(plot::save({}, path, false), Error);
  plot::Figure figure;
  figure.series = {{.x = {1}, .y = {1, 2}}};
  CHECK_THROWS_AS(plot::save(figure, path, false), Error);
  figure.series = {{.y = {1, 2}}};
  figure.width = 5;
  CHECK_THROWS_AS(plot::save(figure, path, false), Error);
  CHECK_THROWS_AS(plot::save({}, "a.pdf", false), Error);
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("histograms count every finite value") {
  const auto histogram = plot::histogram_of({0, 0.1, 0.5, 0.9, 1, NAN, INFINITY}, 2);
  CHECK(histogram.counts == std::vector<double>{2, 3});
  CHECK(histogram.low == 0);
  CHECK(histogram.high == 1);
  CHECK(plot::histogram_of({3, 3}, 1).counts == std::vector<double>{2});
  std::vector<double> many(10000);
  for (std::size_t i = 0; i < many.size(); ++i)
    many[i] = std::sin(static_cast<double>(i));
  double sum = 0;
  for (const double count : plot::histogram_of(many).counts)
    sum += count;
  CHECK(sum == 10000);
}

TEST_CASE("labels and quantiles") {
  CHECK(plot::label("time", "s") == "time / s");
  CHECK(plot::label("ratio", "1") == "ratio");
  const auto [low, high] = plot::quantile_range({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, NAN}, 0.1);
  CHECK(low == 1);
  CHECK(high == 9);
}
