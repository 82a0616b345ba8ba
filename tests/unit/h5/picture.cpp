#include "picture.hpp"

#include <cmath>
#include <filesystem>
#include <numeric>

#include <doctest.h>
#include <unistd.h>

#include "io/dataset.hpp"
#include "table.hpp"

using namespace fachwerk;

namespace {

/// A file that goes with the test.
class Scratch {
 public:
  explicit Scratch(const std::function<void(h5::Output&)>& fill)
      : path_((std::filesystem::temp_directory_path() / fmt::format("fachwerk-h5-{}.h5", getpid())).string()) {
    auto output = h5::Output::create(path_, true);
    fill(output);
    output.commit();
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::filesystem::remove(path_); }
  h5::Input open() const { return h5::Input::open(path_); }

 private:
  std::string path_;
};

std::vector<double> ramp(std::size_t n) {
  std::vector<double> values(n);
  std::iota(values.begin(), values.end(), 0.0);
  return values;
}

}  // namespace

TEST_CASE("the picture follows from the kind") {
  const Scratch flow([](h5::Output& file) {
    file.attribute("/", "kind", "power-flow");
    file.write("/result/vm", std::vector<double>{1.0, 0.98, 0.95}, {1, 3}, {.dims = {"scenario", "bus"}});
    file.column("/grid/bus/id", std::vector<int>{4, 5, 6});
    file.column("/grid/bus/vmin", std::vector<double>{0.9, 0.9, 0.9});
  });
  const auto profile = picture::figure(flow.open(), {});
  REQUIRE(profile.series.size() == 2);
  CHECK(profile.series[0].points);
  CHECK(profile.series[0].x == std::vector<double>{4, 5, 6});
  CHECK(profile.series[0].y == std::vector<double>{1.0, 0.98, 0.95});

  const Scratch cube([](h5::Output& file) {
    file.attribute("/", "kind", "hsi-cube");
    file.write("/cube", ramp(4 * 5 * 6), {4, 5, 6});
    file.column("/wavelength", std::vector<double>{400, 460, 550, 600, 650, 900});
  });
  const auto composite = picture::figure(cube.open(), {});
  REQUIRE(composite.image);
  CHECK(composite.image->rgb.size() == 3 * 20);
  CHECK(composite.title == "cube: red 650 nm, green 550 nm, blue 460 nm");

  const Scratch model([](h5::Output& file) {
    file.attribute("/", "kind", "model");
    file.column("/history/epoch/epoch", std::vector<int>{1, 2});
    file.column("/history/epoch/train_loss", std::vector<double>{1, 0.5});
    file.column("/history/epoch/val_loss", std::vector<double>{1.1, 0.7});
    file.column("/history/epoch/train_acc", std::vector<double>{0.5, 0.7});
  });
  const auto curves = picture::figure(model.open(), {});
  REQUIRE(curves.series.size() == 2);
  CHECK(curves.x_label == "epoch");
  CHECK(curves.series[1].name == "val_loss");
}

TEST_CASE("without a kind the picture follows from the shape") {
  const Scratch file([](h5::Output& out) {
    out.write("/image", ramp(20 * 30), {20, 30}, {.units = "K", .long_name = "temperature"});
    out.column("/line", ramp(50));
  });
  const auto image = picture::figure(file.open(), {.dataset = "/image"});
  REQUIRE(image.image);
  CHECK(image.image->rows == 20);
  CHECK(image.image->values == ramp(600));
  CHECK(image.colour_label == "temperature / K");
  const auto line = picture::figure(file.open(), {.dataset = "/line"});
  REQUIRE(line.series.size() == 1);
  CHECK(line.series[0].y == ramp(50));
  CHECK_THROWS_AS(picture::figure(file.open(), {.type = picture::Type::rgb, .dataset = "/image"}), Error);
  CHECK_THROWS_AS(picture::figure(file.open(), {.dataset = "/none"}), Error);
  CHECK_THROWS_AS(picture::figure(file.open(), {.x = "/line", .y = {"/image"}}), Error);
}

TEST_CASE("a long curve keeps its extremes") {
  const Scratch file([](h5::Output& out) {
    std::vector<float> values(3000000);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = std::sin(static_cast<float>(i));
    values[1234567] = 100;
    values[2345678] = -50;
    out.column("/x", values);
  });
  const auto figure = picture::figure(file.open(), {});
  REQUIRE(figure.series.size() == 1);
  const auto& series = figure.series[0];
  CHECK(series.y.size() < 600000);
  const auto high = std::max_element(series.y.begin(), series.y.end());
  CHECK(*high == 100);
  CHECK(series.x[static_cast<std::size_t>(high - series.y.begin())] == 1234567);
  CHECK(*std::min_element(series.y.begin(), series.y.end()) == -50);
  CHECK(std::is_sorted(series.x.begin(), series.x.end()));
}

TEST_CASE("slabs cover an array once, in order, in whole chunks") {
  for (const auto& [shape, chunk, most] :
       std::vector<std::tuple<h5::Shape, h5::Shape, std::size_t>>{{{100}, {}, 7},
                                                                  {{10, 7, 3}, {4, 7, 3}, 100},
                                                                  {{10, 7, 3}, {}, 5},
                                                                  {{2, 3, 4, 5}, {1, 2, 2, 2}, 13},
                                                                  {{3, 0}, {}, 5},
                                                                  {{6, 5}, {}, 1}}) {
    std::vector<int> seen(formats::count(shape));
    std::size_t next = 0;
    bool ordered = true;
    formats::for_each_slab(shape, chunk, most, [&](const h5::Shape& offset, const h5::Shape& length) {
      CHECK(formats::count(length) <= std::max<std::size_t>(most, 1));
      std::size_t flat = 0;
      for (std::size_t axis = 0; axis < shape.size(); ++axis)
        flat = flat * shape[axis] + offset[axis];
      ordered = ordered && flat == next;
      next = flat + formats::count(length);  // the axes behind the cut one are whole
      for (std::size_t i = flat; i < next; ++i)
        ++seen[i];
    });
    CHECK(ordered);
    CHECK(std::all_of(seen.begin(), seen.end(), [](int times) { return times == 1; }));
  }
}

TEST_CASE("tables") {
  const Scratch file([](h5::Output& out) {
    out.column("/other", ramp(7));
    out.column("/grid/bus/vm", ramp(3));
    out.column("/grid/bus/id", ramp(3));
    out.column("/grid/bus/short", ramp(2));
    out.write("/result/vm", ramp(3), {1, 3}, {.dims = {"scenario", "bus"}});
    out.write("/result/pf", ramp(3), {1, 3}, {.dims = {"scenario", "branch"}});
  });
  const auto input = file.open();
  const auto table = table::main_table(input);
  CHECK(table.path == "/grid/bus");
  REQUIRE(table.columns.size() == 2);
  CHECK(table.columns[0].name == "id");
  CHECK(table.columns[1].path == "/result/vm");
  const auto rows = table::read_rows(input, table, 1, 2);
  CHECK(std::get<std::vector<double>>(rows[1].values) == std::vector<double>{1, 2});
  CHECK_THROWS_WITH(table::columns_table(input, {"/other", "/grid/bus/id"}),
                    doctest::Contains("expected 7 values as in /other, found 3"));
}
