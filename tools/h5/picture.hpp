#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/hdf5.hpp"
#include "io/plot.hpp"

/// Which picture shows what a file holds, and its data: for h5-plot.
namespace fachwerk::picture {

enum class Type { automatic, line, scatter, image, rgb, histogram };

struct Request {
  Type type = Type::automatic;
  std::string dataset = {};  ///< what an image, a composite or a histogram shows
  std::string x = {};        ///< of lines and points
  std::vector<std::string> y = {};
  std::string colour = {};           ///< of points
  std::vector<int> bands = {};       ///< of a composite: red, green, blue
  std::vector<std::size_t> at = {};  ///< indices of the leading axes of an array that has too many for a picture
  std::optional<double> low = {}, high = {};  ///< range of the colours
  int bins = 0;
  bool log_colour = false;
};

/// The figure, with title and axes from the file's attributes. Without a request for something else it is chosen by the
/// file's kind and what is in it. Arrays larger than memory are read in slabs: of a line the extremes of each short
/// stretch are kept, of an image every so many rows and columns. Throws bad input if the file or dataset cannot be
/// shown so.
plot::Figure figure(const h5::Node& file, const Request& request);

}  // namespace fachwerk::picture
