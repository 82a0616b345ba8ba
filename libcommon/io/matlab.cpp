#include "io/matlab.hpp"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <set>
#include <type_traits>

#include "io/dataset.hpp"

namespace fachwerk::formats {
namespace {

enum class Type : std::uint32_t {  // of stored elements
  int8 = 1,
  uint8 = 2,
  int16 = 3,
  uint16 = 4,
  int32 = 5,
  uint32 = 6,
  single = 7,
  double_ = 9,
  int64 = 12,
  uint64 = 13,
  matrix = 14,
  compressed = 15,
  utf8 = 16,
  utf16 = 17,
  utf32 = 18
};

enum class Class : std::uint8_t {  // of arrays
  cell = 1,
  structure = 2,
  object = 3,
  character = 4,
  sparse = 5,
  double_ = 6,
  single = 7,
  int8 = 8,
  uint8 = 9,
  int16 = 10,
  uint16 = 11,
  int32 = 12,
  uint32 = 13,
  int64 = 14,
  uint64 = 15
};

constexpr std::size_t header_bytes = 128, most_axes = 32;
constexpr int most_nesting = 32;
constexpr std::uint32_t complex_flag = 0x0800;

// ---- reading -------------------------------------------------------------------------------------

struct Element {
  Type type;
  Reader data;
};

/// Size of one stored element; 0 for what holds no plain numbers.
std::size_t bytes_of(Type type) {
  switch (type) {
    case Type::int8:
    case Type::uint8:
    case Type::utf8:
      return 1;
    case Type::int16:
    case Type::uint16:
    case Type::utf16:
      return 2;
    case Type::int32:
    case Type::uint32:
    case Type::single:
    case Type::utf32:
      return 4;
    case Type::double_:
    case Type::int64:
    case Type::uint64:
      return 8;
    default:
      return 0;
  }
}

/// Elements stored as `Stored` as a vector of T: MATLAB stores whole doubles as the smallest integers that hold them.
template <class T, class Stored>
std::vector<T> convert(Bytes data, std::size_t count, std::endian order) {
  std::vector<T> values(count);
  if constexpr (std::is_same_v<T, Stored>) {
    if (order == std::endian::native) {
      if (count > 0) std::memcpy(values.data(), data.data(), count * sizeof(T));
      return values;
    }
  }
  for (std::size_t i = 0; i < count; ++i)
    values[i] = static_cast<T>(Reader::load<Stored>(data.data() + i * sizeof(Stored), order));
  return values;
}

void append_utf16(std::string& text, std::span<const std::uint16_t> units) {
  for (std::size_t i = 0; i < units.size(); ++i) {
    std::uint32_t code = units[i];
    if (code >= 0xd800 && code < 0xdc00 && i + 1 < units.size() && units[i + 1] >= 0xdc00 && units[i + 1] < 0xe000)
      code = 0x10000 + ((code - 0xd800) << 10) + (units[++i] - 0xdc00U);
    else if (code >= 0xd800 && code < 0xe000)
      code = 0xfffd;
    const int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    constexpr unsigned lead[] = {0, 0xc0, 0xe0, 0xf0};
    text += static_cast<char>(lead[more] | (code >> (6 * more)));
    for (int k = more - 1; k >= 0; --k)
      text += static_cast<char>(0x80 | ((code >> (6 * k)) & 0x3f));
  }
}

/// Rows of a column-major matrix of UTF-16 units as text, blanks at their ends removed.
std::vector<std::string> rows_of_text(const std::vector<std::uint16_t>& units, std::size_t rows) {
  std::vector<std::string> text(rows);
  const std::size_t width = rows == 0 ? 0 : units.size() / rows;
  std::vector<std::uint16_t> row(width);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < width; ++c)
      row[c] = units[c * rows + r];
    append_utf16(text[r], row);
    text[r].resize(text[r].find_last_not_of(std::string_view(" \0", 2)) + 1);
  }
  return text;
}

/// MATLAB has no scalars and vectors, only matrices: those of one row or column lose that axis.
Shape squeezed(const Shape& shape) {
  if (shape.size() != 2) return shape;
  if (shape[0] == 1 && shape[1] == 1) return {};
  if (shape[0] == 1) return {shape[1]};
  if (shape[1] == 1) return {shape[0]};
  return shape;
}

class Level5 {
 public:
  Level5(Bytes bytes, std::string file) : reader_(bytes, std::move(file)) {}

  MatlabFile read() {
    reader_.skip(header_bytes - 2, "MATLAB header");
    const auto mark = reader_.text(2, "MATLAB header");
    if (mark != "IM" && mark != "MI")
      throw bad_input("{}: offset 126: expected the byte order mark IM or MI", reader_.name());
    order_ = mark == "IM" ? std::endian::little : std::endian::big;
    while (reader_.left() >= 8) {
      Element element = next(reader_);
      if (element.type == Type::compressed) {
        const auto packed = element.data.take(element.data.left(), "packed variable");
        const auto unpacked = inflate_all(reader_, packed, false);
        // Offsets in messages are those within the unpacked variable.
        Reader inner(unpacked, reader_.name() + ": packed variable");
        if (inner.left() == 0) continue;
        Element matrix = next(inner);
        if (matrix.type == Type::matrix) variable(matrix.data, "", 0);
      } else if (element.type == Type::matrix) {
        variable(element.data, "", 0);
      }
    }
    if (reader_.left() > 0) throw reader_.bad("{} bytes left over at the end", reader_.left());
    return std::move(file_);
  }

 private:
  /// The next element with its data; skips the padding to 8 bytes behind it.
  Element next(Reader& reader) const {
    const auto word = reader.number<std::uint32_t>("tag of an element", order_);
    if ((word >> 16) != 0) {  // type, size and up to four bytes of data in one tag
      const std::size_t size = word >> 16;
      if (size > 4) throw reader.bad("small element of {} bytes, at most 4 fit", size);
      const auto at = reader.offset();
      return {Type{word & 0xffff}, Reader(reader.take(4, "small element").first(size), reader.name(), at)};
    }
    const std::size_t size = reader.number<std::uint32_t>("size of an element", order_);
    const auto at = reader.offset();
    Element element{Type{word}, Reader(reader.take(size, "element"), reader.name(), at)};
    const std::size_t padding = Type{word} == Type::compressed ? 0 : (8 - size % 8) % 8;
    reader.skip(std::min(padding, reader.left()), "padding");
    return element;
  }

  template <class T>
  std::vector<T> numbers(Element element, std::size_t count) const {
    const std::size_t size = bytes_of(element.type);
    if (size == 0)
      throw element.data.bad("expected numbers, found elements of type {}", static_cast<unsigned>(element.type));
    if (element.data.left() / size < count)
      throw element.data.bad("expected {} elements of {} bytes, found {} bytes", count, size, element.data.left());
    const auto data = element.data.take(count * size, "elements");
    switch (element.type) {
      case Type::int8:
        return convert<T, std::int8_t>(data, count, order_);
      case Type::uint8:
      case Type::utf8:
        return convert<T, std::uint8_t>(data, count, order_);
      case Type::int16:
        return convert<T, std::int16_t>(data, count, order_);
      case Type::uint16:
      case Type::utf16:
        return convert<T, std::uint16_t>(data, count, order_);
      case Type::int32:
        return convert<T, std::int32_t>(data, count, order_);
      case Type::uint32:
      case Type::utf32:
        return convert<T, std::uint32_t>(data, count, order_);
      case Type::int64:
        return convert<T, std::int64_t>(data, count, order_);
      case Type::uint64:
        return convert<T, std::uint64_t>(data, count, order_);
      case Type::single:
        return real<T, float>(element.data, data, count);
      default:
        return real<T, double>(element.data, data, count);
    }
  }

  /// Reals are never stored in arrays of integers by MATLAB; converting them would be undefined for large ones.
  template <class T, class Stored>
  std::vector<T> real(const Reader& reader, Bytes data, std::size_t count) const {
    if constexpr (std::is_integral_v<T>)
      throw reader.bad("expected integers, found reals");
    else
      return convert<T, Stored>(data, count, order_);
  }

  template <class T>
  void store(Variable& variable, Reader& content, std::size_t count, bool complex) {
    auto real_part = numbers<T>(next(content), count);
    if (!complex) {
      variable.values = std::move(real_part);
      return;
    }
    const auto imaginary = numbers<T>(next(content), count);
    using Part = std::conditional_t<std::is_same_v<T, float>, float, double>;
    std::vector<std::complex<Part>> values(count);
    for (std::size_t i = 0; i < count; ++i)
      values[i] = {static_cast<Part>(real_part[i]), static_cast<Part>(imaginary[i])};
    variable.values = std::move(values);
  }

  void numeric(Variable& variable, Class kind, Reader& content, std::size_t count, bool complex) {
    switch (kind) {
      case Class::int8:
        return store<std::int8_t>(variable, content, count, complex);
      case Class::uint8:
        return store<std::uint8_t>(variable, content, count, complex);
      case Class::int16:
        return store<std::int16_t>(variable, content, count, complex);
      case Class::uint16:
        return store<std::uint16_t>(variable, content, count, complex);
      case Class::int32:
        return store<std::int32_t>(variable, content, count, complex);
      case Class::uint32:
        return store<std::uint32_t>(variable, content, count, complex);
      case Class::int64:
        return store<std::int64_t>(variable, content, count, complex);
      case Class::uint64:
        return store<std::uint64_t>(variable, content, count, complex);
      case Class::single:
        return store<float>(variable, content, count, complex);
      default:
        return store<double>(variable, content, count, complex);
    }
  }

  void add(Variable variable) { file_.variables.push_back(std::move(variable)); }

  /// One array with all that is in it. `name` replaces its own, empty, name in structs and cells.
  void variable(Reader& content, const std::string& name, int nesting) {
    if (content.left() == 0) return;  // an empty cell
    if (nesting > most_nesting) throw content.bad("structs nested more than {} deep", most_nesting);
    const auto flags = numbers<std::uint32_t>(next(content), 2);
    const auto kind = Class{static_cast<std::uint8_t>(flags[0] & 0xff)};
    const bool complex = (flags[0] & complex_flag) != 0;
    if (static_cast<unsigned>(kind) < 1 || static_cast<unsigned>(kind) > 15) {
      file_.skipped.push_back(name.empty() ? "(unnamed)" : name);
      return;
    }
    const Element axes = next(content);
    if (axes.data.left() / 4 > most_axes) throw axes.data.bad("more than {} dimensions", most_axes);
    Shape shape;
    for (const auto length : numbers<std::int32_t>(axes, axes.data.left() / 4)) {
      if (length < 0) throw axes.data.bad("negative dimension {}", length);
      shape.push_back(static_cast<std::size_t>(length));
    }
    if (shape.size() < 2) throw axes.data.bad("expected 2 or more dimensions, found {}", shape.size());
    Element title = next(content);
    const std::string own(title.data.text(title.data.left(), "name"));
    const std::string full = name.empty() ? own : name;
    Variable result{.name = to_utf8(full)};
    switch (kind) {
      case Class::cell:
        return cell(content, full, shape, nesting);
      case Class::object:
        next(content);
        [[fallthrough]];  // its class name
      case Class::structure:
        return structure(content, full, shape, nesting);
      case Class::sparse:
        return sparse(content, full, shape, complex);
      case Class::character:
        return characters(content, std::move(result), shape);
      default: {
        const auto elements = checked_count(content, shape, 1, content.left());
        numeric(result, kind, content, elements, complex);
        result.values = from_column_major(std::move(result.values), shape);
        result.shape = squeezed(shape);
        return add(std::move(result));
      }
    }
  }

  void characters(Reader& content, Variable result, const Shape& shape) {
    const auto elements = checked_count(content, shape, 1, content.left());
    Element element = next(content);
    const std::size_t rows = shape[0];
    if (rows > elements) {
      result.values = std::vector<std::string>{""};
    } else if (element.type == Type::utf8 && rows == 1) {  // its characters may take several bytes
      std::string text(element.data.text(element.data.left(), "text"));
      result.values = std::vector<std::string>{to_utf8(std::move(text))};
    } else {
      result.values = rows_of_text(numbers<std::uint16_t>(element, elements), rows);
    }
    if (length(result.values) != 1) result.shape = {length(result.values)};
    add(std::move(result));
  }

  void cell(Reader& content, const std::string& name, const Shape& shape, int nesting) {
    const auto cells = checked_count(content, shape, 8, content.left());
    const std::size_t first = file_.variables.size();
    for (std::size_t i = 0; i < cells; ++i)
      member(content, fmt::format("{}/{}", name, i + 1), nesting);
    // A cell array of single strings is a column of text.
    const auto begin = file_.variables.begin() + static_cast<std::ptrdiff_t>(first);
    const bool all_text = cells > 0 && file_.variables.size() - first == cells &&
                          std::all_of(begin, file_.variables.end(),
                                      [](const Variable& v) { return is_text(v.values) && v.shape.empty(); });
    if (!all_text) return;
    Variable column{.name = to_utf8(name), .shape = {cells}};
    std::vector<std::string> strings;
    for (auto v = begin; v != file_.variables.end(); ++v)
      strings.push_back(std::get<std::vector<std::string>>(v->values)[0]);
    column.values = std::move(strings);
    file_.variables.erase(begin, file_.variables.end());
    add(std::move(column));
  }

  void structure(Reader& content, const std::string& name, const Shape& shape, int nesting) {
    const auto widths = numbers<std::int32_t>(next(content), 1);
    Element names = next(content);
    const auto text = names.data.text(names.data.left(), "field names");
    if (widths[0] < 1 || text.size() % static_cast<std::size_t>(widths[0]) != 0)
      throw names.data.bad("{} bytes of field names are no multiple of {}", text.size(), widths[0]);
    const auto width = static_cast<std::size_t>(widths[0]);
    const std::size_t fields = text.size() / width;
    const auto elements = fields == 0 ? 0 : checked_count(content, shape, 8 * fields, content.left());
    for (std::size_t e = 0; e < elements; ++e)
      for (std::size_t f = 0; f < fields; ++f) {
        const auto padded = text.substr(f * width, width);
        const auto field = padded.substr(0, padded.find('\0'));
        member(content, elements == 1 ? fmt::format("{}/{}", name, field) : fmt::format("{}/{}/{}", name, e + 1, field),
               nesting);
      }
  }

  void member(Reader& content, const std::string& name, int nesting) {
    Element element = next(content);
    if (element.type != Type::matrix)
      throw element.data.bad("{}: expected an array, found an element of type {}", name,
                             static_cast<unsigned>(element.type));
    variable(element.data, name, nesting + 1);
  }

  void sparse(Reader& content, const std::string& name, const Shape& shape, bool complex) {
    const Element row_element = next(content);
    const auto rows = numbers<std::int32_t>(
        row_element, row_element.data.left() / std::max<std::size_t>(bytes_of(row_element.type), 1));
    const Element start_element = next(content);
    const auto starts = numbers<std::int32_t>(
        start_element, start_element.data.left() / std::max<std::size_t>(bytes_of(start_element.type), 1));
    if (shape.size() != 2 || starts.size() != shape[1] + 1 || starts[0] != 0)
      throw start_element.data.bad("column starts of a sparse matrix with {} columns expected", shape[1]);
    if (!std::is_sorted(starts.begin(), starts.end()) || static_cast<std::size_t>(starts.back()) > rows.size())
      throw start_element.data.bad("column starts of a sparse matrix must increase up to {}", rows.size());
    const auto entries = static_cast<std::size_t>(starts.back());
    std::vector<std::int64_t> row(rows.begin(), rows.begin() + starts.back()), column(entries);
    for (std::size_t c = 0; c + 1 < starts.size(); ++c)
      std::fill(column.begin() + starts[c], column.begin() + starts[c + 1], static_cast<std::int64_t>(c));
    if (std::any_of(row.begin(), row.end(), [&](auto r) { return r < 0 || static_cast<std::size_t>(r) >= shape[0]; }))
      throw row_element.data.bad("row index outside a sparse matrix of {} rows", shape[0]);
    Variable value{.name = to_utf8(name) + "/value", .shape = {entries}};
    store<double>(value, content, entries, complex);
    value.attributes = {{"rows", std::to_string(shape[0])}, {"columns", std::to_string(shape[1])}};
    add({.name = to_utf8(name) + "/row", .shape = {entries}, .values = std::move(row)});
    add({.name = to_utf8(name) + "/column", .shape = {entries}, .values = std::move(column)});
    add(std::move(value));
  }

  Reader reader_;
  std::endian order_ = std::endian::little;
  MatlabFile file_ = {};
};

// ---- level 7.3 -----------------------------------------------------------------------------------

/// MATLAB's complex numbers: a compound of real and imag.
Values read_complex(const h5::Node& file, const std::string& path, std::size_t count) {
  const h5::Handle dataset(H5Dopen2(file.id(), path.c_str(), H5P_DEFAULT), H5Dclose);
  const h5::Handle type(H5Tcreate(H5T_COMPOUND, sizeof(std::complex<double>)), H5Tclose);
  H5Tinsert(type.get(), "real", 0, H5T_NATIVE_DOUBLE);
  H5Tinsert(type.get(), "imag", sizeof(double), H5T_NATIVE_DOUBLE);
  std::vector<std::complex<double>> values(count);
  if (H5Dread(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0)
    throw io_error("{}:{}: cannot be read", file.name(), path);
  return values;
}

bool is_matlab_complex(const h5::Node& file, const std::string& path) {
  const h5::Handle dataset(H5Dopen2(file.id(), path.c_str(), H5P_DEFAULT), H5Dclose);
  const h5::Handle type(H5Dget_type(dataset.get()), H5Tclose);
  return H5Tget_class(type.get()) == H5T_COMPOUND && H5Tget_nmembers(type.get()) == 2 &&
         H5Tget_member_index(type.get(), "real") == 0 && H5Tget_member_index(type.get(), "imag") == 1;
}

/// HDF5 has the axes in reverse, so that its row-major order is MATLAB's column-major.
Variable matlab73_variable(const h5::Node& file, const std::string& path) {
  const auto info = file.info(path);
  Variable variable{.name = path.substr(1)};
  const auto kind = file.text(path, "MATLAB_class").value_or("");
  const Shape shape(info.shape.rbegin(), info.shape.rend());
  if (file.number(path, "MATLAB_empty").value_or(0) != 0) {  // the values are the lengths of an array without elements
    if (kind == "char") {
      variable.values = std::vector<std::string>{""};
      return variable;
    }
    for (const auto length : file.read<std::int64_t>(path).values)
      variable.shape.push_back(static_cast<std::size_t>(length));
    variable.values = std::vector<double>{};
    if (count(variable.shape) != 0)
      throw bad_input("{}:{}: marked as empty, but of shape {}", file.name(), path, fmt::join(variable.shape, " x "));
    return variable;
  }
  if (kind == "char") {
    variable.values = rows_of_text(file.read<std::uint16_t>(path).values, shape.empty() ? 1 : shape[0]);
    if (length(variable.values) != 1) variable.shape = {length(variable.values)};
    return variable;
  }
  auto values =
      is_matlab_complex(file, path) ? read_complex(file, path, count(shape)) : read_variable(file, path).values;
  variable.values = from_column_major(std::move(values), shape);
  variable.shape = squeezed(shape);
  return variable;
}

/// Column starts of a sparse matrix become the column of each entry.
void expand_sparse(MatlabFile& file, const std::string& group, double rows) {
  const auto find = [&](const std::string& name) {
    return std::find_if(file.variables.begin(), file.variables.end(),
                        [&](const Variable& v) { return v.name == group + name; });
  };
  const auto starts = find("/jc"), row = find("/ir"), value = find("/data");
  if (starts == file.variables.end()) return;
  const auto ends = as_reals(starts->values, group + "/jc");
  const std::size_t entries = row == file.variables.end() ? 0 : length(row->values);
  std::vector<std::int64_t> column;
  for (std::size_t c = 0; c + 1 < ends.size(); ++c) {
    if (!(ends[c + 1] >= ends[c]) || !(ends[c + 1] <= static_cast<double>(entries)))
      throw bad_input("{}/jc: column starts of a sparse matrix must increase up to {}", group, entries);
    column.resize(static_cast<std::size_t>(ends[c + 1]), static_cast<std::int64_t>(c));
  }
  if (row != file.variables.end()) row->name = group + "/row";
  if (value != file.variables.end()) {
    value->name = group + "/value";
    value->attributes = {{"rows", fmt::format("{}", rows)},
                         {"columns", std::to_string(ends.empty() ? 0 : ends.size() - 1)}};
  }
  starts->name = group + "/column";
  starts->shape = {column.size()};
  starts->values = std::move(column);
}

// ---- writing -------------------------------------------------------------------------------------

using Content = std::vector<std::byte>;

template <class T>
void append(Content& content, T value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  content.insert(content.end(), bytes.begin(), bytes.end());
}

void append_element(Content& content, Type type, Bytes data) {
  append(content, static_cast<std::uint32_t>(type));
  append(content, static_cast<std::uint32_t>(data.size()));
  content.insert(content.end(), data.begin(), data.end());
  content.resize((content.size() + 7) / 8 * 8);
}

template <class T>
constexpr std::pair<Class, Type> stored_as() {
  if constexpr (std::is_same_v<T, std::int8_t>) return {Class::int8, Type::int8};
  if constexpr (std::is_same_v<T, std::uint8_t>) return {Class::uint8, Type::uint8};
  if constexpr (std::is_same_v<T, std::int16_t>) return {Class::int16, Type::int16};
  if constexpr (std::is_same_v<T, std::uint16_t>) return {Class::uint16, Type::uint16};
  if constexpr (std::is_same_v<T, std::int32_t>) return {Class::int32, Type::int32};
  if constexpr (std::is_same_v<T, std::uint32_t>) return {Class::uint32, Type::uint32};
  if constexpr (std::is_same_v<T, std::int64_t>) return {Class::int64, Type::int64};
  if constexpr (std::is_same_v<T, std::uint64_t>) return {Class::uint64, Type::uint64};
  if constexpr (std::is_same_v<T, float>) return {Class::single, Type::single};
  return {Class::double_, Type::double_};
}

/// Flags, axes and name, with which every array begins.
Content array_header(Class kind, bool complex, const Shape& shape, const std::string& name) {
  Content content;
  const std::uint32_t flags[] = {static_cast<std::uint32_t>(kind) | (complex ? complex_flag : 0), 0};
  append_element(content, Type::uint32, std::as_bytes(std::span(flags)));
  std::vector<std::int32_t> axes(shape.begin(), shape.end());
  if (axes.size() < 2) axes.resize(2, 1);
  append_element(content, Type::int32, std::as_bytes(std::span(axes)));
  append_element(content, Type::int8, std::as_bytes(std::span(name.data(), name.size())));
  return content;
}

std::vector<std::uint16_t> utf16(const std::string& text) {
  std::vector<std::uint16_t> units;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i++]);
    const int more = lead < 0xc0 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    std::uint32_t code = more == 0 ? lead : lead & (0x3fU >> more);
    for (int k = 0; k < more && i < text.size(); ++k)
      code = (code << 6) | (static_cast<unsigned char>(text[i++]) & 0x3fU);
    if (code < 0x10000) {
      units.push_back(static_cast<std::uint16_t>(code));
    } else {
      units.push_back(static_cast<std::uint16_t>(0xd800 + ((code - 0x10000) >> 10)));
      units.push_back(static_cast<std::uint16_t>(0xdc00 + ((code - 0x10000) & 0x3ff)));
    }
  }
  return units;
}

Content char_array(const std::string& text, const std::string& name) {
  const auto units = utf16(text);
  Content content = array_header(Class::character, false, {units.empty() ? 0U : 1U, units.size()}, name);
  append_element(content, Type::utf16, std::as_bytes(std::span(units)));
  return content;
}

template <class T>
void append_values(Content& content, const std::vector<T>& values) {
  append_element(content, stored_as<T>().second, std::as_bytes(std::span(values)));
}

template <class T>
void append_values(Content& content, const std::vector<std::complex<T>>& values) {
  std::vector<T> part(values.size());
  std::transform(values.begin(), values.end(), part.begin(), [](auto z) { return z.real(); });
  append_values(content, part);
  std::transform(values.begin(), values.end(), part.begin(), [](auto z) { return z.imag(); });
  append_values(content, part);
}

Content array_content(const Variable& variable, const std::string& name) {
  if (const auto* strings = std::get_if<std::vector<std::string>>(&variable.values)) {
    if (strings->size() == 1) return char_array(strings->front(), name);
    Content content = array_header(Class::cell, false, variable.shape, name);
    for (const auto& text : *strings)
      append_element(content, Type::matrix, char_array(text, ""));
    return content;
  }
  const auto ordered = to_column_major(variable.values, variable.shape);
  return std::visit(
      [&](const auto& values) -> Content {
        using T = typename std::decay_t<decltype(values)>::value_type;
        if constexpr (std::is_same_v<T, std::string>) {
          return {};  // handled above
        } else {
          constexpr bool complex = !std::is_arithmetic_v<T>;
          constexpr auto single = std::is_same_v<T, std::complex<float>>;
          constexpr Class kind = single ? Class::single : stored_as<T>().first;
          Content content = array_header(kind, complex, variable.shape, name);
          append_values(content, values);
          return content;
        }
      },
      ordered);
}

std::string matlab_name(const std::string& name, std::set<std::string>& taken) {
  constexpr std::size_t longest = 63;
  std::string made(name.empty() || std::isalpha(static_cast<unsigned char>(name.front())) == 0 ? "x" : "");
  for (const char character : name)
    made += std::isalnum(static_cast<unsigned char>(character)) != 0 ? character : '_';
  made.resize(std::min(made.size(), longest));
  const std::string stem = made.substr(0, longest - 4);
  for (int copy = 2; !taken.insert(made).second; ++copy)
    made = fmt::format("{}_{}", stem, copy);
  return made;
}

}  // namespace

bool is_matlab5(Bytes bytes) {
  if (bytes.size() < header_bytes) return false;
  const auto version = Reader::load<std::uint16_t>(bytes.data() + 124, std::endian::little);
  const auto mark = std::string_view(reinterpret_cast<const char*>(bytes.data()) + 126, 2);
  return (mark == "IM" && version == 0x0100) || (mark == "MI" && version == 0x0001);
}

MatlabFile read_matlab5(Bytes bytes, const std::string& file) {
  return Level5(bytes, file).read();
}

MatlabFile read_matlab73(const h5::Node& file) {
  MatlabFile result;
  std::vector<std::pair<std::string, double>> sparse;
  file.visit([&](const std::string& path, bool dataset) {
    if (path.starts_with("/#")) return;  // what references and objects point to
    if (!dataset) {
      if (const auto rows = file.number(path, "MATLAB_sparse")) sparse.emplace_back(path.substr(1), *rows);
      return;
    }
    if (is_readable(file.info(path)) || is_matlab_complex(file, path))
      result.variables.push_back(matlab73_variable(file, path));
    else
      result.skipped.push_back(path.substr(1));
  });
  for (const auto& [group, rows] : sparse)
    expand_sparse(result, group, rows);
  return result;
}

void write_matlab5(Sink& sink, std::span<const Variable> variables) {
  std::string header = "MATLAB 5.0 MAT-file, created by fachwerk";
  header.resize(header_bytes - 4, ' ');
  header += std::string_view("\x00\x01IM", 4);
  sink.write(header);
  std::set<std::string> taken;
  for (const auto& variable : variables) {
    Content matrix;
    const auto content = array_content(variable, matlab_name(variable.name, taken));
    constexpr std::size_t most_bytes = std::size_t{1} << 31;
    if (content.size() >= most_bytes)
      throw usage_error("{}: {} bytes do not fit a MATLAB level 5 file", variable.name, content.size())
          .with_hint("HDF5 opens in MATLAB as it is (h5read)");
    append_element(matrix, Type::matrix, content);
    const auto packed = deflate(matrix, false);
    sink.number(static_cast<std::uint32_t>(Type::compressed));
    sink.number(static_cast<std::uint32_t>(packed.size()));
    sink.write(Bytes(packed));
  }
}

}  // namespace fachwerk::formats
