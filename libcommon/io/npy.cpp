#include "io/npy.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>

#include <zlib.h>

namespace fachwerk::formats {
namespace {

constexpr std::string_view magic = "\x93NUMPY";

// ---- the header: a Python dictionary -------------------------------------------------------------

/// What a type string such as "<f8" says.
struct ElementType {
  char kind = 'f';  ///< b i u f c S U m M
  std::size_t bytes = 8;
  std::endian order = std::endian::little;
  std::string unit = {};  ///< of times: "ns"
};

struct Field {
  std::string name;  ///< empty: the array is not structured
  ElementType type;
};

struct Header {
  std::vector<Field> fields;
  bool column_major = false;
  Shape shape;
};

/// Reads the dictionary {'descr': ..., 'fortran_order': ..., 'shape': ...}.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const Reader& reader) : text_(text), reader_(reader) {}

  Header parse() {
    Header header;
    bool descr = false, order = false, shape = false;
    expect('{');
    while (peek() != '}') {
      const auto key = string();
      expect(':');
      if (key == "descr") {
        header.fields = fields();
        descr = true;
      } else if (key == "fortran_order") {
        header.column_major = boolean();
        order = true;
      } else if (key == "shape") {
        header.shape = tuple();
        shape = true;
      } else {
        throw bad("unknown key '" + std::string(key) + "'");
      }
      if (peek() == ',') expect(',');
    }
    if (!descr || !order || !shape) throw bad("descr, fortran_order and shape expected");
    return header;
  }

 private:
  Error bad(const std::string& what) const { return reader_.bad("npy header, character {}: {}", position_, what); }

  char peek() {
    while (position_ < text_.size() && (text_[position_] == ' ' || text_[position_] == '\n'))
      ++position_;
    if (position_ == text_.size()) throw bad("ends too early");
    return text_[position_];
  }
  void expect(char character) {
    if (peek() != character) throw bad(fmt::format("expected '{}', found '{}'", character, peek()));
    ++position_;
  }
  std::string_view string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') throw bad("expected a quoted string");
    const auto end = text_.find(quote, ++position_);
    if (end == std::string_view::npos) throw bad("quote is never closed");
    const auto value = text_.substr(position_, end - position_);
    position_ = end + 1;
    return value;
  }
  bool boolean() {
    peek();
    for (const std::string_view word : {"True", "False"})
      if (text_.substr(position_).starts_with(word)) {
        position_ += word.size();
        return word == "True";
      }
    throw bad("expected True or False");
  }
  std::size_t integer() {
    if (std::isdigit(static_cast<unsigned char>(peek())) == 0) throw bad("expected a length");
    std::size_t value = 0;
    for (; position_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[position_])) != 0; ++position_) {
      const auto digit = static_cast<std::size_t>(text_[position_] - '0');
      if (value > (std::numeric_limits<std::size_t>::max() - digit) / 10) throw bad("length is too large");
      value = 10 * value + digit;
    }
    if (position_ < text_.size() && text_[position_] == 'L') ++position_;  // Python 2
    return value;
  }
  Shape tuple() {
    Shape shape;
    expect('(');
    while (peek() != ')') {
      shape.push_back(integer());
      if (peek() == ',') expect(',');
    }
    expect(')');
    if (shape.size() > 32) throw bad("more than 32 dimensions");
    return shape;
  }
  std::vector<Field> fields() {
    if (peek() != '[') return {{"", type(string())}};
    std::vector<Field> fields;
    expect('[');
    while (peek() != ']') {
      expect('(');
      Field field;
      field.name = string();
      expect(',');
      if (peek() == '[') throw bad("nested structured types are not supported");
      field.type = type(string());
      if (peek() == ',') {
        expect(',');
        if (peek() == '(') throw bad("fields that are arrays are not supported");
      }
      expect(')');
      if (peek() == ',') expect(',');
      fields.push_back(std::move(field));
    }
    expect(']');
    if (fields.empty()) throw bad("a structured type without fields");
    return fields;
  }
  ElementType type(std::string_view code) {
    ElementType type;
    if (code.find('O') != std::string_view::npos)
      throw bad("the array holds Python objects, which only Python can read");
    const auto original = code;
    if (!code.empty() && std::string_view("<>|=").find(code.front()) != std::string_view::npos) {
      type.order = code.front() == '>' ? std::endian::big : std::endian::little;
      code.remove_prefix(1);
    }
    if (code.empty()) throw bad("empty type");
    type.kind = code.front();
    code.remove_prefix(1);
    type.bytes = 0;
    for (; !code.empty() && std::isdigit(static_cast<unsigned char>(code.front())) != 0; code.remove_prefix(1))
      type.bytes = std::min<std::size_t>(10 * type.bytes + static_cast<std::size_t>(code.front() - '0'), 1U << 30);
    if (code.size() > 2 && code.front() == '[' && code.back() == ']')
      type.unit = code.substr(1, code.size() - 2);
    else if (!code.empty())
      type.kind = '?';
    if (type.kind == 'U') type.bytes *= 4;
    if (!known(type)) throw bad(fmt::format("type '{}' is not supported", original));
    return type;
  }
  static bool known(const ElementType& type) {
    const auto one_of = [&](std::initializer_list<std::size_t> sizes) {
      return std::find(sizes.begin(), sizes.end(), type.bytes) != sizes.end();
    };
    switch (type.kind) {
      case 'b':
        return one_of({1});
      case 'i':
      case 'u':
        return one_of({1, 2, 4, 8});
      case 'f':
        return one_of({2, 4, 8});
      case 'c':
        return one_of({8, 16});
      case 'm':
      case 'M':
        return one_of({8});
      case 'S':
      case 'a':
      case 'U':
        return true;
      default:
        return false;
    }
  }

  std::string_view text_;
  const Reader& reader_;
  std::size_t position_ = 0;
};

// ---- the elements --------------------------------------------------------------------------------

/// IEEE 754 half precision.
float from_half(std::uint16_t half) {
  const int sign = half >> 15, exponent = (half >> 10) & 0x1f, fraction = half & 0x3ff;
  float size = 0;
  if (exponent == 0)
    size = std::ldexp(static_cast<float>(fraction), -24);
  else if (exponent == 31)
    size = fraction == 0 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
  else
    size = std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  return sign != 0 ? -size : size;
}

void append_code_point(std::string& text, std::uint32_t code) {
  if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) code = 0xfffd;
  if (code < 0x80) {
    text += static_cast<char>(code);
    return;
  }
  const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  constexpr unsigned lead[] = {0, 0xc0, 0xe0, 0xf0};
  text += static_cast<char>(lead[more] | (code >> (6 * more)));
  for (int k = more - 1; k >= 0; --k)
    text += static_cast<char>(0x80 | ((code >> (6 * k)) & 0x3f));
}

std::string load_text(const std::byte* from, const ElementType& type) {
  std::string text;
  if (type.kind == 'U') {
    for (std::size_t i = 0; i + 4 <= type.bytes; i += 4)
      append_code_point(text, Reader::load<std::uint32_t>(from + i, type.order));
  } else {
    text.assign(reinterpret_cast<const char*>(from), type.bytes);
  }
  text.resize(std::min(text.size(), text.find_last_not_of('\0') + 1));
  return to_utf8(std::move(text));
}

template <class T>
Values load(const std::byte* from, std::size_t count, std::size_t stride, std::endian order) {
  std::vector<T> values(count);
  if (order == std::endian::native && stride == sizeof(T)) {
    if (count > 0) std::memcpy(values.data(), from, count * sizeof(T));
  } else {
    for (std::size_t i = 0; i < count; ++i)
      values[i] = Reader::load<T>(from + i * stride, order);
  }
  return values;
}

template <class T>
Values load_complex(const std::byte* from, std::size_t count, std::size_t stride, std::endian order) {
  std::vector<std::complex<T>> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = {Reader::load<T>(from + i * stride, order), Reader::load<T>(from + i * stride + sizeof(T), order)};
  return values;
}

/// `count` elements that lie `stride` bytes apart.
Values load_values(const std::byte* from, std::size_t count, std::size_t stride, const ElementType& type) {
  const auto order = type.order;
  switch (type.kind) {
    case 'f':
      if (type.bytes == 8) return load<double>(from, count, stride, order);
      if (type.bytes == 4) return load<float>(from, count, stride, order);
      {
        std::vector<float> values(count);
        for (std::size_t i = 0; i < count; ++i)
          values[i] = from_half(Reader::load<std::uint16_t>(from + i * stride, order));
        return values;
      }
    case 'c':
      return type.bytes == 16 ? load_complex<double>(from, count, stride, order)
                              : load_complex<float>(from, count, stride, order);
    case 'b':
      return load<std::uint8_t>(from, count, stride, order);
    case 'u':
      if (type.bytes == 1) return load<std::uint8_t>(from, count, stride, order);
      if (type.bytes == 2) return load<std::uint16_t>(from, count, stride, order);
      if (type.bytes == 4) return load<std::uint32_t>(from, count, stride, order);
      return load<std::uint64_t>(from, count, stride, order);
    case 'S':
    case 'a':
    case 'U': {
      std::vector<std::string> values(count);
      for (std::size_t i = 0; i < count; ++i)
        values[i] = load_text(from + i * stride, type);
      return values;
    }
    default:
      if (type.bytes == 1) return load<std::int8_t>(from, count, stride, order);
      if (type.bytes == 2) return load<std::int16_t>(from, count, stride, order);
      if (type.bytes == 4) return load<std::int32_t>(from, count, stride, order);
      return load<std::int64_t>(from, count, stride, order);
  }
}

// ---- the zip archive around them -----------------------------------------------------------------

struct ZipMember {
  std::string name;
  std::uint16_t method;
  std::uint32_t crc;
  std::uint64_t packed, size, offset;
};

constexpr std::uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50, end_signature = 0x06054b50,
                        end64_signature = 0x06064b50, locator64_signature = 0x07064b50;
constexpr std::uint16_t stored = 0, deflated_method = 8;

Reader reader_at(Bytes bytes, const std::string& file, std::uint64_t offset, std::string_view what) {
  if (offset > bytes.size())
    throw bad_input("{}: offset {}: {} lies beyond the end of the file at {}", file, offset, what, bytes.size());
  return {bytes.subspan(offset), file, offset};
}

/// Sizes that do not fit 32 bits stand in the extra field 1.
void read_zip64(ZipMember& member, std::string_view extra, const std::string& file) {
  Reader reader(std::as_bytes(std::span(extra.data(), extra.size())), file);
  while (reader.left() >= 4) {
    const auto tag = reader.number<std::uint16_t>("zip extra field");
    const auto size = reader.number<std::uint16_t>("zip extra field");
    const auto content = reader.take(std::min<std::size_t>(size, reader.left()), "zip extra field");
    if (tag != 1) continue;
    Reader sizes(content, file);
    for (auto* value : {&member.size, &member.packed, &member.offset})
      if (*value == 0xffffffff) *value = sizes.number<std::uint64_t>("zip64 size");
  }
}

std::vector<ZipMember> central_directory(Bytes bytes, const std::string& file) {
  constexpr std::size_t end_bytes = 22, most_comment = 65535;
  std::optional<std::size_t> end;
  for (std::size_t back = end_bytes; back <= std::min(bytes.size(), end_bytes + most_comment) && !end; ++back)
    if (Reader::load<std::uint32_t>(bytes.data() + bytes.size() - back, std::endian::little) == end_signature)
      end = bytes.size() - back;
  if (!end) throw bad_input("{}: offset {}: zip archive without its directory (truncated?)", file, bytes.size());
  Reader reader = reader_at(bytes, file, *end, "zip end record");
  reader.skip(10, "zip end record");
  std::uint64_t members = reader.number<std::uint16_t>("zip end record");
  reader.skip(4, "zip end record");
  std::uint64_t offset = reader.number<std::uint32_t>("zip end record");
  if ((members == 0xffff || offset == 0xffffffff) && *end >= 20) {
    Reader locator = reader_at(bytes, file, *end - 20, "zip64 locator");
    if (locator.number<std::uint32_t>("zip64 locator") == locator64_signature) {
      locator.skip(4, "zip64 locator");
      Reader end64 = reader_at(bytes, file, locator.number<std::uint64_t>("zip64 locator"), "zip64 end record");
      if (end64.number<std::uint32_t>("zip64 end record") != end64_signature) throw end64.bad("not a zip64 end record");
      end64.skip(28, "zip64 end record");
      members = end64.number<std::uint64_t>("zip64 end record");
      end64.skip(8, "zip64 end record");
      offset = end64.number<std::uint64_t>("zip64 end record");
    }
  }
  Reader directory = reader_at(bytes, file, offset, "zip directory");
  std::vector<ZipMember> list;
  for (std::uint64_t m = 0; m < members; ++m) {
    constexpr std::string_view what = "zip directory";
    if (directory.number<std::uint32_t>(what) != central_signature)
      throw directory.bad("not an entry of a zip directory");
    ZipMember member{};
    directory.skip(4, what);
    const auto flags = directory.number<std::uint16_t>(what);
    member.method = directory.number<std::uint16_t>(what);
    directory.skip(4, what);
    member.crc = directory.number<std::uint32_t>(what);
    member.packed = directory.number<std::uint32_t>(what);
    member.size = directory.number<std::uint32_t>(what);
    const std::size_t name = directory.number<std::uint16_t>(what);
    const std::size_t extra = directory.number<std::uint16_t>(what);
    const std::size_t comment = directory.number<std::uint16_t>(what);
    directory.skip(8, what);
    member.offset = directory.number<std::uint32_t>(what);
    member.name = directory.text(name, what);
    read_zip64(member, directory.text(extra, what), file);
    directory.skip(comment, what);
    if ((flags & 1) != 0) throw directory.bad("member {} is encrypted", member.name);
    list.push_back(std::move(member));
  }
  return list;
}

/// The content of a member: a view of the file if it is stored, else unpacked into `unpacked`.
Bytes content(Bytes bytes, const std::string& file, const ZipMember& member, std::vector<std::byte>& unpacked) {
  Reader reader = reader_at(bytes, file, member.offset, "zip member");
  if (reader.number<std::uint32_t>("zip member") != local_signature) throw reader.bad("not a member of a zip archive");
  reader.skip(22, "zip member");
  const std::size_t name = reader.number<std::uint16_t>("zip member");
  const std::size_t extra = reader.number<std::uint16_t>("zip member");
  reader.skip(name + extra, "zip member");
  const auto packed = reader.take(member.packed, member.name);
  Bytes result = packed;
  if (member.method == deflated_method) {
    unpacked = inflate(reader, packed, member.size, true);
    result = unpacked;
  } else if (member.method != stored) {
    throw reader.bad("member {} is packed by method {}, expected stored or deflated", member.name, member.method);
  }
  if (crc32_z(0, reinterpret_cast<const Bytef*>(result.data()), result.size()) != member.crc)
    throw reader.bad("member {} is corrupt: its checksum does not match", member.name);
  return result;
}

// ---- writing -------------------------------------------------------------------------------------

std::size_t longest_text(const std::vector<std::string>& strings) {
  std::size_t longest = 1;
  for (const auto& text : strings)
    longest = std::max(longest, static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
                         return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
                       })));
  return longest;
}

std::string type_code(const Values& values) {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = typename std::decay_t<decltype(v)>::value_type;
        if constexpr (std::is_same_v<T, std::string>)
          return fmt::format("<U{}", longest_text(v));
        else if constexpr (std::is_integral_v<T>)
          return fmt::format("{}{}{}", sizeof(T) == 1 ? '|' : '<', std::is_signed_v<T> ? 'i' : 'u', sizeof(T));
        else
          return fmt::format("<{}{}", std::is_floating_point_v<T> ? 'f' : 'c', sizeof(T));
      },
      values);
}

std::string npy_header(const Values& values, const Shape& shape) {
  const auto axes =
      shape.size() == 1 ? fmt::format("({},)", shape.front()) : fmt::format("({})", fmt::join(shape, ", "));
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}", type_code(values), axes);
  constexpr std::size_t before = 10, alignment = 64;  // magic, version and length; the elements start aligned
  text.append((alignment - (before + text.size() + 1) % alignment) % alignment, ' ');
  text += '\n';
  std::string header(magic);
  header += '\x01';
  header += '\x00';
  header += static_cast<char>(text.size() & 0xff);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

std::vector<std::uint32_t> code_points(const std::string& text, std::size_t width) {
  std::vector<std::uint32_t> codes;
  for (std::size_t i = 0; i < text.size() && codes.size() < width;) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t more = lead < 0xc0 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    std::uint32_t code = more == 0 ? lead : lead & (0x3fU >> more);
    for (std::size_t k = 1; k <= more && i + k < text.size(); ++k)
      code = (code << 6) | (static_cast<unsigned char>(text[i + k]) & 0x3fU);
    codes.push_back(code);
    i += more + 1;
  }
  codes.resize(width);
  return codes;
}

template <class Write>
void write_elements(const Values& values, const Write& write) {
  std::visit(
      [&](const auto& v) {
        using T = typename std::decay_t<decltype(v)>::value_type;
        if constexpr (std::is_same_v<T, std::string>) {
          const std::size_t width = longest_text(v);
          for (const auto& text : v)
            write(std::as_bytes(std::span<const std::uint32_t>(code_points(text, width))));
        } else {
          write(std::as_bytes(std::span(v)));
        }
      },
      values);
}

/// The little-endian fields of a zip record.
class Record {
 public:
  template <class T>
  requires std::is_unsigned_v<T> Record& add(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i)
      bytes_ += static_cast<char>((value >> (8 * i)) & 0xff);
    return *this;
  }
  Record& add(std::string_view text) {
    bytes_ += text;
    return *this;
  }
  std::string_view text() const { return bytes_; }

 private:
  std::string bytes_;
};

constexpr std::uint32_t small(std::uint64_t value) {
  return value >= 0xffffffff ? 0xffffffffU : static_cast<std::uint32_t>(value);
}

/// What local and central headers share, from the version needed to the name's length.
void add_common(Record& record, const ZipMember& member, std::size_t extra) {
  constexpr std::uint16_t version = 45, utf8 = 0x0800, midnight = 0, first_of_1980 = 0x0021;
  record.add(version).add(utf8).add(member.method).add(midnight).add(first_of_1980).add(member.crc);
  record.add(small(member.packed)).add(small(member.size));
  record.add(static_cast<std::uint16_t>(member.name.size())).add(static_cast<std::uint16_t>(extra));
}

}  // namespace

bool is_npy(Bytes bytes) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

bool is_npz(Bytes bytes) {
  if (bytes.size() < 4) return false;
  const auto signature = Reader::load<std::uint32_t>(bytes.data(), std::endian::little);
  return signature == local_signature || signature == end_signature;
}

std::vector<Variable> read_npy(Bytes bytes, const std::string& file, const std::string& name) {
  Reader reader(bytes, file);
  if (reader.text(std::min(magic.size(), bytes.size()), "npy magic") != magic)
    throw bad_input("{}: offset 0: expected an npy file, found another beginning", file);
  const auto major = reader.number<std::uint8_t>("npy version");
  reader.skip(1, "npy version");
  if (major < 1 || major > 3) throw reader.bad("npy version {}, expected 1 to 3", major);
  const std::size_t size = major == 1 ? reader.number<std::uint16_t>("npy header length")
                                      : reader.number<std::uint32_t>("npy header length");
  const auto header = HeaderParser(reader.text(size, "npy header"), reader).parse();

  std::size_t stride = 0;
  for (const auto& field : header.fields)
    stride += field.type.bytes;
  // Elements of no bytes (empty text) would let a short file claim any number of them.
  if (stride == 0 && checked_count(reader, header.shape, 1, std::size_t{1} << 20) > 0 && header.fields.size() > 1)
    throw reader.bad("structured type without bytes");
  const std::size_t elements = checked_count(reader, header.shape, std::max<std::size_t>(stride, 1),
                                             stride == 0 ? std::size_t{1} << 20 : reader.left());
  const auto data = reader.take(elements * stride, "array elements");

  std::vector<Variable> variables;
  std::size_t offset = 0;
  for (const auto& field : header.fields) {
    Variable variable;
    variable.name = field.name.empty() ? name : to_utf8(field.name);
    variable.shape = header.shape;
    variable.units = field.type.unit;
    variable.values = load_values(data.data() + offset, elements, stride, field.type);
    if (header.column_major) variable.values = from_column_major(std::move(variable.values), header.shape);
    offset += field.type.bytes;
    variables.push_back(std::move(variable));
  }
  return variables;
}

std::vector<Variable> read_npz(Bytes bytes, const std::string& file) {
  if (!is_npz(bytes))
    throw bad_input("{}: offset 0: expected an npz file (a zip archive), found another beginning", file);
  std::vector<Variable> variables;
  std::vector<std::byte> unpacked;
  for (const auto& member : central_directory(bytes, file)) {
    if (!member.name.ends_with(".npy")) continue;
    const auto name = member.name.substr(0, member.name.size() - 4);
    auto read = read_npy(content(bytes, file, member, unpacked), file + ":" + member.name, name);
    for (auto& variable : read) {
      if (read.size() > 1) variable.name = name + "/" + variable.name;
      variables.push_back(std::move(variable));
    }
  }
  if (variables.empty()) throw bad_input("{}: the archive holds no npy arrays", file);
  return variables;
}

void write_npy_header(Sink& sink, const Values& type, const Shape& shape) {
  sink.write(npy_header(type, shape));
}

void write_npy(Sink& sink, const Variable& variable) {
  write_npy_header(sink, variable.values, variable.shape);
  write_elements(variable.values, [&](Bytes bytes) { sink.write(bytes); });
}

void write_npz(Sink& sink, std::span<const Variable> variables, bool deflated) {
  std::vector<ZipMember> members;
  std::uint64_t position = 0;
  const auto write = [&](auto bytes) {
    sink.write(bytes);
    position += bytes.size();
  };
  for (const auto& variable : variables) {
    const auto header = npy_header(variable.values, variable.shape);
    std::vector<std::byte> plain(header.size());
    std::memcpy(plain.data(), header.data(), header.size());
    write_elements(variable.values, [&](Bytes bytes) { plain.insert(plain.end(), bytes.begin(), bytes.end()); });
    ZipMember member{};
    member.name = variable.name + ".npy";
    member.crc = static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(plain.data()), plain.size()));
    member.size = plain.size();
    member.offset = position;
    member.method = deflated ? deflated_method : stored;
    const auto packed = deflated ? deflate(plain, true) : std::move(plain);
    member.packed = packed.size();
    Record extra;
    if (small(member.size) == 0xffffffff || small(member.packed) == 0xffffffff)
      extra.add(std::uint16_t{1}).add(std::uint16_t{16}).add(member.size).add(member.packed);
    Record local;
    local.add(local_signature);
    // Sizes in the extra field count only where both 32-bit ones say so.
    ZipMember shown = member;
    if (!extra.text().empty()) shown.size = shown.packed = 0xffffffff;
    add_common(local, shown, extra.text().size());
    local.add(member.name).add(extra.text());
    write(local.text());
    write(Bytes(packed));
    members.push_back(std::move(member));
  }
  const std::uint64_t directory = position;
  for (const auto& member : members) {
    const bool large =
        small(member.size) == 0xffffffff || small(member.packed) == 0xffffffff || small(member.offset) == 0xffffffff;
    Record extra;
    ZipMember shown = member;
    if (large) {
      extra.add(std::uint16_t{1}).add(std::uint16_t{24}).add(member.size).add(member.packed).add(member.offset);
      shown.size = shown.packed = shown.offset = 0xffffffff;
    }
    Record central;
    central.add(central_signature).add(std::uint16_t{45});
    add_common(central, shown, extra.text().size());
    central.add(std::uint16_t{0}).add(std::uint16_t{0}).add(std::uint16_t{0}).add(std::uint32_t{0});
    central.add(small(shown.offset)).add(member.name).add(extra.text());
    write(central.text());
  }
  const std::uint64_t size = position - directory, end = position, total = members.size();
  if (total >= 0xffff || small(directory) == 0xffffffff) {
    Record end64;
    end64.add(end64_signature).add(std::uint64_t{44}).add(std::uint16_t{45}).add(std::uint16_t{45});
    end64.add(std::uint32_t{0}).add(std::uint32_t{0}).add(total).add(total).add(size).add(directory);
    end64.add(locator64_signature).add(std::uint32_t{0}).add(end).add(std::uint32_t{1});
    write(end64.text());
  }
  const auto shown = static_cast<std::uint16_t>(std::min<std::uint64_t>(total, 0xffff));
  Record last;
  last.add(end_signature).add(std::uint16_t{0}).add(std::uint16_t{0}).add(shown).add(shown);
  last.add(small(size)).add(small(directory)).add(std::uint16_t{0});
  write(last.text());
}

}  // namespace fachwerk::formats
