#include "envi.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "cli/error.hpp"
#include "io/bytes.hpp"

namespace fachwerk::hyde::envi {
namespace {

namespace fs = std::filesystem;
const std::vector<std::string> kExtensions{"", ".img", ".dat", ".raw", ".bil", ".bip", ".bsq", ".IMG", ".DAT", ".RAW"};

std::string trim(const std::string& s) {
  const auto first = s.find_first_not_of(" \t\r\n"), last = s.find_last_not_of(" \t\r\n");
  return first == std::string::npos ? "" : s.substr(first, last - first + 1);
}

std::string lower(std::string s) {
  std::transform(s.begin(), s.end(), s.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return s;
}

std::optional<std::string> find(const Fields& fields, const std::string& name) {
  for (const auto& [key, value] : fields)
    if (key == name) return value;
  return std::nullopt;
}

std::optional<double> number_in(const std::string& text) {
  const std::string s = trim(text);
  double value = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), value);
  if (error != std::errc{} || end != s.data() + s.size()) return std::nullopt;
  return value;
}

std::size_t count_field(const Fields& fields, const std::string& name, const std::string& file,
                        std::optional<std::size_t> otherwise = {}) {
  const std::optional<std::string> text = find(fields, name);
  if (!text) {
    if (otherwise) return *otherwise;
    throw bad_input("{}: no field \"{}\"", file, name);
  }
  const std::optional<double> value = number_in(*text);
  if (!value || *value < 0 || *value != std::floor(*value) || *value > 1e15)
    throw bad_input("{}: {} = {}: expected a whole number", file, name, *text);
  return static_cast<std::size_t>(*value);
}

std::vector<double> list_field(const Fields& fields, const std::string& name, std::size_t count,
                               const std::string& file) {
  const std::optional<std::string> text = find(fields, name);
  if (!text) return {};
  std::vector<double> values;
  std::stringstream stream(*text);
  for (std::string part; std::getline(stream, part, ',');) {
    const std::optional<double> value = number_in(part);
    if (!value) throw bad_input("{}: {}: \"{}\" is no number", file, name, trim(part));
    values.push_back(*value);
  }
  if (values.size() != count) throw bad_input("{}: {}: expected {} values, found {}", file, name, count, values.size());
  return values;
}

Element element_of(std::size_t code, const std::string& file) {
  switch (code) {
    case 1:
      return Element::u8;
    case 2:
      return Element::i16;
    case 3:
      return Element::i32;
    case 4:
      return Element::f32;
    case 5:
      return Element::f64;
    case 12:
      return Element::u16;
    case 13:
      return Element::u32;
    case 14:
      return Element::i64;
    case 15:
      return Element::u64;
    default:
      throw bad_input("{}: data type {} is not a real type (1, 2, 3, 4, 5, 12, 13, 14, 15)", file, code);
  }
}

int code_of(Element type) {
  switch (type) {
    case Element::u8:
      return 1;
    case Element::i16:
      return 2;
    case Element::i32:
      return 3;
    case Element::f32:
      return 4;
    case Element::f64:
      return 5;
    case Element::u16:
      return 12;
    case Element::u32:
      return 13;
    case Element::i64:
      return 14;
    case Element::u64:
      return 15;
    default:
      throw usage_error("ENVI files have no {} data", name_of(type));
  }
}

template <class Unsigned>
void read_rows(const std::byte* data, Extent extent, Interleave interleave, bool swap, std::size_t row,
               std::size_t rows, std::byte* out) {
  const auto* in = reinterpret_cast<const Unsigned*>(data);
  auto* to = reinterpret_cast<Unsigned*>(out);
  const auto [height, cols, bands] = extent;
  const std::size_t band_step = interleave == Interleave::bip   ? 1
                                : interleave == Interleave::bil ? cols
                                                                : height * cols;
  const std::size_t row_step = interleave == Interleave::bsq ? cols : cols * bands,
                    col_step = interleave == Interleave::bip ? bands : 1;
  // Elements may lie at any offset of a mapped file: they are copied bytewise.
  const auto load = [&](std::size_t i) {
    Unsigned value;
    std::memcpy(&value, in + i, sizeof value);
    if (swap) {
      auto* bytes = reinterpret_cast<std::byte*>(&value);
      std::reverse(bytes, bytes + sizeof value);
    }
    return value;
  };
#pragma omp parallel for schedule(static)
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c0 = 0; c0 < extent.cols; c0 += 64)
      for (std::size_t b0 = 0; b0 < extent.bands; b0 += 64)
        for (std::size_t c = c0; c < std::min(c0 + 64, extent.cols); ++c)
          for (std::size_t b = b0; b < std::min(b0 + 64, extent.bands); ++b)
            to[(r * extent.cols + c) * extent.bands + b] = load((row + r) * row_step + c * col_step + b * band_step);
}

std::string joined(const std::vector<double>& values) {
  std::string text;
  for (std::size_t i = 0; i < values.size(); ++i)
    text += fmt::format("{}{}", i == 0 ? "" : ", ", values[i]);
  return text;
}

}  // namespace

Fields parse(const std::string& text, const std::string& file) {
  std::istringstream stream(text);
  std::string line;
  if (!std::getline(stream, line) || trim(line).substr(0, 4) != "ENVI")
    throw bad_input("{}: does not begin with ENVI", file);
  Fields fields;
  while (std::getline(stream, line)) {
    if (trim(line).empty() || trim(line)[0] == ';') continue;
    const auto equals = line.find('=');
    if (equals == std::string::npos) continue;
    const std::string key = lower(trim(line.substr(0, equals)));
    std::string value = trim(line.substr(equals + 1));
    if (!value.empty() && value[0] == '{') {
      while (value.find('}') == std::string::npos) {
        if (!std::getline(stream, line)) throw bad_input("{}: {}: no closing brace", file, key);
        value += "\n" + line;
      }
      value = trim(value.substr(1, value.find('}') - 1));
    }
    fields.emplace_back(key, value);
  }
  return fields;
}

bool is_envi(const std::string& path) {
  if (path.ends_with(".hdr") || path.ends_with(".HDR")) return true;
  return fs::exists(path + ".hdr") ||
         (fs::path(path).has_extension() && fs::exists(fs::path(path).replace_extension(".hdr")));
}

std::pair<std::string, std::string> files_of(const std::string& path) {
  if (path.ends_with(".hdr") || path.ends_with(".HDR")) {
    const std::string stem = path.substr(0, path.size() - 4);
    for (const std::string& extension : kExtensions)
      if (fs::is_regular_file(stem + extension)) return {path, stem + extension};
    throw io_error("{}: no data file {}, {}.img, .dat, .raw, .bil, .bip or .bsq beside it", path, stem, stem);
  }
  for (const std::string& header : {path + ".hdr", fs::path(path).replace_extension(".hdr").string()})
    if (fs::is_regular_file(header)) return {header, path};
  throw io_error("{}: no header {}.hdr beside it", path, path);
}

std::pair<std::string, std::string> target_files(const std::string& path) {
  if (path.ends_with(".hdr")) return {path, path.substr(0, path.size() - 4) + ".img"};
  return {fs::path(path).replace_extension(".hdr").string(), path};
}

Interleave interleave_by_name(const std::string& name) {
  const std::string word = lower(name);
  if (word == "bip") return Interleave::bip;
  if (word == "bil") return Interleave::bil;
  if (word == "bsq") return Interleave::bsq;
  throw bad_input("interleave {}: expected bip, bil or bsq", name);
}

Description describe(const std::string& text, const std::string& header_file) {
  const Fields fields = parse(text, header_file);
  Description d;
  d.info.envi_header = text;
  d.info.extent = {count_field(fields, "lines", header_file), count_field(fields, "samples", header_file),
                   count_field(fields, "bands", header_file)};
  const Extent extent = d.info.extent;
  if (extent.rows == 0 || extent.cols == 0 || extent.bands == 0)
    throw bad_input("{}: expected lines, samples and bands above 0, found {} x {} x {}", header_file, extent.rows,
                    extent.cols, extent.bands);
  if (extent.rows > (std::size_t{1} << 40) / extent.cols || extent.pixels() > (std::size_t{1} << 46) / extent.bands)
    throw bad_input("{}: {} x {} x {} is too large", header_file, extent.rows, extent.cols, extent.bands);
  d.info.type = element_of(count_field(fields, "data type", header_file), header_file);
  d.interleave = interleave_by_name(find(fields, "interleave").value_or("bsq"));
  d.offset = count_field(fields, "header offset", header_file, 0);
  if (d.offset > std::size_t{1} << 46) throw bad_input("{}: header offset {} is too large", header_file, d.offset);
  d.big_endian = count_field(fields, "byte order", header_file, 0) == 1;
  const std::string units = lower(find(fields, "wavelength units").value_or("nm"));
  d.info.wavelength = list_field(fields, "wavelength", extent.bands, header_file);
  d.info.fwhm = list_field(fields, "fwhm", extent.bands, header_file);
  if (units.starts_with("micro") || units == "um" || units == "µm")
    for (auto* list : {&d.info.wavelength, &d.info.fwhm})
      for (double& v : *list)
        v *= 1000;
  for (double good : list_field(fields, "bbl", extent.bands, header_file))
    d.info.bad_bands.push_back(good == 0 ? 1 : 0);
  if (const auto ignore = find(fields, "data ignore value")) d.info.nodata = number_in(*ignore);
  return d;
}

CubeInput open(const std::string& path) {
  const auto [header_file, data_file] = files_of(path);
  const Description d = describe(std::string(formats::File::open(header_file).text()), header_file);
  CubeInput input;
  input.name = path;
  input.info = d.info;
  const Extent extent = d.info.extent;
  const auto data = std::make_shared<formats::File>(formats::File::open(data_file));
  const std::size_t size = bytes_of(input.info.type), expected = d.offset + extent.size() * size;
  if (data->bytes().size() < expected)
    throw io_error("{}: expected {} bytes ({} + {} x {} x {} x {}), found {}: truncated?", data_file, expected,
                   d.offset, extent.rows, extent.cols, extent.bands, size, data->bytes().size());
  input.read = [data, offset = d.offset, extent, interleave = d.interleave, big_endian = d.big_endian, size](
                   std::size_t row, std::size_t rows, std::byte* out) {
    const std::byte* from = data->bytes().data() + offset;
    if (size == 1) return read_rows<std::uint8_t>(from, extent, interleave, false, row, rows, out);
    if (size == 2) return read_rows<std::uint16_t>(from, extent, interleave, big_endian, row, rows, out);
    if (size == 4) return read_rows<std::uint32_t>(from, extent, interleave, big_endian, row, rows, out);
    return read_rows<std::uint64_t>(from, extent, interleave, big_endian, row, rows, out);
  };
  return input;
}

std::string header(const CubeInfo& info, Interleave interleave, bool big_endian) {
  const char* const names[] = {"bip", "bil", "bsq"};
  const std::vector<std::pair<std::string, std::string>> core{{"samples", std::to_string(info.extent.cols)},
                                                              {"lines", std::to_string(info.extent.rows)},
                                                              {"bands", std::to_string(info.extent.bands)},
                                                              {"header offset", "0"},
                                                              {"data type", std::to_string(code_of(info.type))},
                                                              {"interleave", names[static_cast<int>(interleave)]},
                                                              {"byte order", big_endian ? "1" : "0"}};
  if (info.envi_header.empty()) {
    std::string text = "ENVI\nfile type = ENVI Standard\n";
    for (const auto& [key, value] : core)
      text += fmt::format("{} = {}\n", key, value);
    if (info.nodata) text += fmt::format("data ignore value = {}\n", *info.nodata);
    if (!info.wavelength.empty())
      text += fmt::format("wavelength units = Nanometers\nwavelength = {{{}}}\n", joined(info.wavelength));
    if (!info.fwhm.empty()) text += fmt::format("fwhm = {{{}}}\n", joined(info.fwhm));
    if (!info.bad_bands.empty()) {
      std::vector<double> good;
      for (std::uint8_t bad : info.bad_bands)
        good.push_back(bad == 0 ? 1 : 0);
      text += fmt::format("bbl = {{{}}}\n", joined(good));
    }
    return text;
  }
  // The header as it was, with only those lines changed whose value is another now.
  const Fields old = parse(info.envi_header, "header");
  std::string text;
  std::istringstream stream(info.envi_header);
  std::vector<std::string> seen;
  for (std::string line; std::getline(stream, line);) {
    const auto equals = line.find('=');
    const std::string key = equals == std::string::npos ? "" : lower(trim(line.substr(0, equals)));
    for (const auto& [name, value] : core)
      if (key == name) {
        seen.push_back(name);
        if (lower(trim(line.substr(equals + 1))) != value) line = fmt::format("{} = {}", name, value);
      }
    text += line;
    if (!stream.eof()) text += '\n';
  }
  for (const auto& [name, value] : core)
    if (std::find(seen.begin(), seen.end(), name) == seen.end() && !(value == "0"))
      text += fmt::format("{} = {}\n", name, value);
  return text;
}

}  // namespace fachwerk::hyde::envi
