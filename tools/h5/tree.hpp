#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "io/hdf5.hpp"
#include "statistics.hpp"

/// What an HDF5 file holds: for h5-info.
namespace fachwerk::tree {

using AttributeValue = std::variant<std::vector<double>, std::vector<std::string>, std::monostate>;

struct Attribute {
  std::string key;
  AttributeValue value;  ///< monostate: of a type without a counterpart (references, compounds)
};

struct Storage {
  std::string layout;  ///< contiguous, chunked, compact or external
  h5::Shape chunk = {};
  std::vector<std::string> filters = {};  ///< "shuffle", "deflate 1"
  std::uint64_t bytes = 0;                ///< in the file
};

struct Item {
  std::string path;
  bool dataset = false;
  h5::DatasetInfo info = {};
  std::vector<bool> unlimited = {};  ///< axes that may grow
  std::string units = {}, long_name = {};
  std::vector<std::string> dims = {};
  Storage storage = {};
  std::vector<Attribute> attributes = {};  ///< without those above
  std::optional<statistics::Moments> moments = {};
};

/// The objects at and below `path`, depth first. Throws bad input if there is no such object.
std::vector<Item> items(const h5::Node& file, const std::string& path);

/// Moments of a numeric dataset, read slab by slab; nothing for others. The attribute _FillValue or missing_value
/// (NetCDF) marks values that count as NaN.
std::optional<statistics::Moments> moments(const h5::Node& file, const Item& item);

/// The first values of a dataset as text.
std::vector<std::string> first_values(const h5::Node& file, const Item& item, std::size_t most);

/// "13.2 kB".
std::string bytes_text(double bytes);

}  // namespace fachwerk::tree
