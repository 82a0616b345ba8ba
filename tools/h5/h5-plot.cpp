#include <map>

#include "cli/command.hpp"
#include "picture.hpp"

using namespace fachwerk;

namespace {

struct Options {
  std::string input, output, type = "auto", to = "auto", title, size = "900x600", x_label, y_label;
  picture::Request request;
  std::vector<std::int64_t> at;
  std::vector<double> range, x_range, y_range;
  bool log_x = false, log_y = false;
};

std::pair<int, int> size_of(const std::string& text) {
  int width = 0, height = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%dx%d%c", &width, &height, &rest) != 2)
    throw usage_error("--size: expected WIDTHxHEIGHT such as 900x600, found \"{}\"", text);
  return {width, height};
}

void check_range(const char* option, const std::vector<double>& range) {
  if (!range.empty() && (range.size() != 2 || !(range[0] < range[1])))
    throw usage_error("{}: expected two values LOW,HIGH with LOW below HIGH", option);
}

void run(cli::Session& session, Options options) {
  static const std::map<std::string, picture::Type> types = {
      {"auto", picture::Type::automatic}, {"line", picture::Type::line}, {"scatter", picture::Type::scatter},
      {"image", picture::Type::image},    {"rgb", picture::Type::rgb},   {"histogram", picture::Type::histogram}};
  check_range("--range", options.range);
  check_range("--x-range", options.x_range);
  check_range("--y-range", options.y_range);
  const auto [width, height] = size_of(options.size);
  const auto format = options.to == "png"   ? plot::Format::png
                      : options.to == "svg" ? plot::Format::svg
                                            : plot::format_of(options.output);
  auto& request = options.request;
  request.type = types.at(options.type);
  for (const auto index : options.at) {
    if (index < 0) throw usage_error("--at: indices count from 0, found {}", index);
    request.at.push_back(static_cast<std::size_t>(index));
  }
  for (const int band : request.bands)
    if (band < 0) throw usage_error("--bands: bands count from 0, found {}", band);
  if (!options.range.empty()) {
    request.low = options.range[0];
    request.high = options.range[1];
  }
  const auto file = h5::Input::open(options.input);
  auto figure = picture::figure(file, request);
  figure.width = width;
  figure.height = height;
  figure.log_x = options.log_x;
  figure.log_y = options.log_y;
  if (!options.title.empty()) figure.title = options.title;
  if (!options.x_label.empty()) figure.x_label = options.x_label;
  if (!options.y_label.empty()) figure.y_label = options.y_label;
  if (!options.x_range.empty()) {
    figure.x_low = options.x_range[0];
    figure.x_high = options.x_range[1];
  }
  if (!options.y_range.empty()) {
    figure.y_low = options.y_range[0];
    figure.y_high = options.y_range[1];
  }
  plot::save(figure, options.output, session.force, format);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  auto& request = options.request;
  const cli::Command command = {
      .name = "h5-plot",
      .purpose = "draw what an HDF5 file holds as PNG or SVG",
      .description =
          "Without options the picture follows from the file's kind: the voltage profile of a power flow, a colour "
          "composite of a "
          "hyperspectral cube, spectra, decays and series over their axis, triggers over frequency, the learning curves of a model, the columns of a table; of "
          "other files, lines for "
          "one dimension, an image with a colour bar for two, a composite for three. Titles and axes come from "
          "long_name, units and dims.\n\n"
          "--type, --dataset, --x and --y choose something else. An array of more dimensions is shown at the indices "
          "of its leading axes that "
          "--at gives. --y takes several datasets; the columns of a matrix are a curve each (12 spread over all of "
          "them where there are more).\n\n"
          "The colour map grows evenly in lightness. Data larger than memory is read in pieces: of long curves the "
          "extremes of each short "
          "stretch are kept, of images every so many rows and columns. NaN is a gap in a curve and gray in an image.",
      .arguments = {cli::input("INPUT", options.input, "HDF5 file"),
                    cli::output("OUTPUT", options.output, "picture, .png or .svg")},
      .options =
          {{"--type",
            &options.type,
            "how to draw",
            {.choices = {"auto", "line", "scatter", "image", "rgb", "histogram"}}},
           {"--dataset", &request.dataset, "what to draw", {.value_name = "PATH"}},
           {"--x", &request.x, "x values of curves and points", {.value_name = "PATH"}},
           {"--y", &request.y, "y values, a curve for each", {.value_name = "PATH,..."}},
           {"--colour", &request.colour, "values that colour the points", {.value_name = "PATH"}},
           {"--at", &options.at, "indices of the leading axes, from 0", {.value_name = "I,..."}},
           {"--bands",
            &request.bands,
            "bands of a cube as red, green and blue, or one for an image, from 0",
            {.value_name = "R,G,B"}},
           {"--range", &options.range, "values at the ends of the colours", {.value_name = "LOW,HIGH"}},
           {"--x-range", &options.x_range, "limits of the x axis", {.value_name = "LOW,HIGH"}},
           {"--y-range", &options.y_range, "limits of the y axis", {.value_name = "LOW,HIGH"}},
           {"--log-x", &options.log_x, "logarithmic x axis"},
           {"--log-y", &options.log_y, "logarithmic y axis"},
           {"--log-colour", &request.log_colour, "logarithmic colours"},
           {"--bins", &request.bins, "intervals of a histogram; 0 chooses", {.minimum = 0, .maximum = 100000}},
           {"--title", &options.title, "title instead of the file's", {.value_name = "TEXT"}},
           {"--x-label", &options.x_label, "text at the x axis", {.value_name = "TEXT"}},
           {"--y-label", &options.y_label, "text at the y axis", {.value_name = "TEXT"}},
           {"--size", &options.size, "size", {.unit = "pixels", .value_name = "WIDTHxHEIGHT"}},
           {"--to", &options.to, "format, where OUTPUT's name does not say it", {.choices = {"auto", "png", "svg"}}}},
      .examples = {{"dpf-solve case.h5 - | h5-plot - voltage.png", "voltage profile of a solved grid"},
                   {"h5-plot --bands 20,12,4 data/cube-32x32x24.h5 scene.svg",
                    "three bands of a cube as red, green and blue"},
                   {"h5-plot --x /time --y /sensor/a,/sensor/b --log-y run.h5 run.png", "two curves over time"}},
      .reads = "any HDF5 file; root attributes kind and title, attributes long_name, units and dims of datasets",
      .standard = {.threads = true, .json = false},
  };
  return command.run(argc, argv, [&](cli::Session& session) { run(session, options); });
}
