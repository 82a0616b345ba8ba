#include "tree.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>

#include "io/dataset.hpp"

namespace fachwerk::tree {
namespace {

/// These are shown in columns of their own.
bool has_a_column(const std::string& key) {
  return key == "units" || key == "long_name" || key == "dims";
}

std::vector<Attribute> attributes(const h5::Node& file, const std::string& path) {
  std::vector<Attribute> result;
  for (const auto& key : file.attributes(path)) {
    if (has_a_column(key)) continue;
    Attribute attribute{key, std::monostate{}};
    if (auto texts = file.texts(path, key); !texts.empty())
      attribute.value = std::move(texts);
    else if (auto numbers = file.numbers(path, key); !numbers.empty())
      attribute.value = std::move(numbers);
    result.push_back(std::move(attribute));
  }
  return result;
}

std::string filter_text(hid_t properties, unsigned index) {
  unsigned flags = 0, configuration = 0;
  std::array<unsigned, 16> values = {};
  std::size_t count = values.size();
  std::array<char, 64> name = {};
  const auto filter =
      H5Pget_filter2(properties, index, &flags, &count, values.data(), name.size(), name.data(), &configuration);
  switch (filter) {
    case H5Z_FILTER_DEFLATE:
      return fmt::format("deflate {}", values[0]);
    case H5Z_FILTER_SHUFFLE:
      return "shuffle";
    case H5Z_FILTER_FLETCHER32:
      return "fletcher32";
    case H5Z_FILTER_SZIP:
      return "szip";
    case H5Z_FILTER_NBIT:
      return "nbit";
    case H5Z_FILTER_SCALEOFFSET:
      return "scale-offset";
    default:
      return name[0] != '\0' ? std::string(name.data()) : fmt::format("filter {}", static_cast<int>(filter));
  }
}

Storage storage(hid_t dataset) {
  const h5::Handle properties(H5Dget_create_plist(dataset), H5Pclose);
  Storage result;
  switch (H5Pget_layout(properties.get())) {
    case H5D_COMPACT:
      result.layout = "compact";
      break;
    case H5D_CHUNKED:
      result.layout = "chunked";
      break;
    case H5D_VIRTUAL:
      result.layout = "virtual";
      break;
    default:
      result.layout = H5Pget_external_count(properties.get()) > 0 ? "external" : "contiguous";
  }
  if (result.layout == "chunked") {
    std::array<hsize_t, H5S_MAX_RANK> lengths = {};
    const int rank = H5Pget_chunk(properties.get(), static_cast<int>(lengths.size()), lengths.data());
    result.chunk.assign(lengths.begin(), lengths.begin() + std::max(rank, 0));
  }
  const int filters = H5Pget_nfilters(properties.get());
  for (int f = 0; f < filters; ++f)
    result.filters.push_back(filter_text(properties.get(), static_cast<unsigned>(f)));
  result.bytes = H5Dget_storage_size(dataset);
  return result;
}

std::vector<bool> unlimited_axes(hid_t dataset) {
  const h5::Handle space(H5Dget_space(dataset), H5Sclose);
  std::array<hsize_t, H5S_MAX_RANK> lengths = {}, most = {};
  const int rank = H5Sget_simple_extent_dims(space.get(), lengths.data(), most.data());
  std::vector<bool> result;
  for (int axis = 0; axis < rank; ++axis)
    result.push_back(most[static_cast<std::size_t>(axis)] == H5S_UNLIMITED);
  return result;
}

Item item(const h5::Node& file, const std::string& path, bool dataset) {
  Item result{.path = path, .dataset = dataset};
  result.attributes = attributes(file, path);
  result.units = file.text(path, "units").value_or("");
  result.long_name = file.text(path, "long_name").value_or("");
  result.dims = file.texts(path, "dims");
  if (!dataset) return result;
  const h5::Handle opened(H5Dopen2(file.id(), path.c_str(), H5P_DEFAULT), H5Dclose);
  if (!opened) throw bad_input("{}:{}: cannot be opened", file.name(), path);
  result.info = file.info(path);
  result.storage = storage(opened.get());
  result.unlimited = unlimited_axes(opened.get());
  return result;
}

bool is_below(const std::string& path, const std::string& group) {
  return group == "/" || path == group || path.starts_with(group + "/");
}

template <class T>
std::string value_text(const T& value) {
  if constexpr (std::is_same_v<T, std::string>)
    return value;
  else if constexpr (std::is_integral_v<T>)
    return fmt::format("{}", +value);
  else if constexpr (std::is_floating_point_v<T>)
    return fmt::format("{:g}", value);
  else
    return fmt::format("{:g}{:+g}i", value.real(), value.imag());
}

}  // namespace

std::vector<Item> items(const h5::Node& file, const std::string& path) {
  std::string start = path.starts_with('/') ? path : "/" + path;
  while (start.size() > 1 && start.ends_with('/'))
    start.pop_back();
  if (start != "/" && !file.exists(start)) throw bad_input("{}:{}: no such dataset or group", file.name(), start);
  std::vector<Item> result;
  if (start == "/") result.push_back(item(file, "/", false));
  file.visit([&](const std::string& visited, bool dataset) {
    if (is_below(visited, start)) result.push_back(item(file, visited, dataset));
  });
  return result;
}

std::optional<statistics::Moments> moments(const h5::Node& file, const Item& item) {
  if (!item.dataset || item.info.type == h5::TypeClass::text || item.info.type == h5::TypeClass::other) return {};
  double missing = std::numeric_limits<double>::quiet_NaN();
  for (const char* key : {"_FillValue", "missing_value"})
    if (const auto value = file.number(item.path, key)) missing = *value;
  constexpr std::size_t slab_values = std::size_t{1} << 23;
  statistics::Moments total;
  formats::for_each_slab(item.info.shape, item.storage.chunk, slab_values, [&](const auto& offset, const auto& length) {
    total = combined(total, statistics::moments(formats::read_slab(file, item.path, offset, length), missing));
  });
  // Packed numbers (CF conventions, section 8.1) as what they stand for.
  const double scale = file.number(item.path, "scale_factor").value_or(1);
  const double shift = file.number(item.path, "add_offset").value_or(0);
  if (total.count > 0 && (scale != 1 || shift != 0)) {
    total.mean = total.mean * scale + shift;
    total.squares *= scale * scale;
    const auto [low, high] = std::minmax(total.minimum * scale + shift, total.maximum * scale + shift);
    total.minimum = low;
    total.maximum = high;
  }
  return total;
}

std::vector<std::string> first_values(const h5::Node& file, const Item& item, std::size_t most) {
  std::vector<std::string> result;
  if (!formats::is_readable(item.info) || formats::count(item.info.shape) == 0) return result;
  formats::Values values;
  if (item.info.shape.empty() || item.info.type == h5::TypeClass::text) {
    values = formats::read_variable(file, item.path).values;
  } else {  // the beginning of the last axis
    h5::Shape offset(item.info.shape.size(), 0), length(item.info.shape.size(), 1);
    length.back() = std::min(most, item.info.shape.back());
    values = formats::read_slab(file, item.path, offset, length);
  }
  std::visit(
      [&](const auto& list) {
        for (std::size_t i = 0; i < std::min(most, list.size()); ++i)
          result.push_back(value_text(list[i]));
      },
      values);
  return result;
}

std::string bytes_text(double bytes) {
  constexpr std::array units = {"B", "kB", "MB", "GB", "TB", "PB"};
  std::size_t unit = 0;
  for (; bytes >= 999.5 && unit + 1 < units.size(); ++unit)
    bytes /= 1000;
  return unit == 0 || bytes >= 99.95 ? fmt::format("{:.0f} {}", bytes, units[unit])
                                     : fmt::format("{:.3g} {}", bytes, units[unit]);
}

}  // namespace fachwerk::tree
