#include "io/image.hpp"

#include <algorithm>
#include <bit>
#include <cctype>
#include <csetjmp>
#include <limits>

#include <png.h>

namespace fachwerk::formats {
namespace {

constexpr std::string_view png_magic = "\x89PNG\r\n\x1a\n";

// ---- PNG -----------------------------------------------------------------------------------------
// libpng reports errors by longjmp, which must not pass over destructors: the functions that it can leave so hold plain
// values only, and what they use belongs to the caller.

/// What libpng's callbacks work on.
struct PngSource {
  Bytes bytes;
  std::size_t position = 0;
  char message[160] = {};
};

struct PngTarget {
  std::vector<std::byte> bytes;
  char message[160] = {};
};

template <class State>
void keep_message(png_structp png, png_const_charp message) {
  auto* state = static_cast<State*>(png_get_error_ptr(png));
  std::strncpy(state->message, message, sizeof state->message - 1);
  longjmp(png_jmpbuf(png), 1);
}

void ignore_warning(png_structp, png_const_charp) {}

void supply(png_structp png, png_bytep to, std::size_t size) {
  auto* source = static_cast<PngSource*>(png_get_io_ptr(png));
  if (size > source->bytes.size() - source->position) png_error(png, "ends too early (truncated?)");
  std::memcpy(to, source->bytes.data() + source->position, size);
  source->position += size;
}

void collect(png_structp png, png_bytep from, std::size_t size) {
  auto* target = static_cast<PngTarget*>(png_get_io_ptr(png));
  const auto* bytes = reinterpret_cast<const std::byte*>(from);
  target->bytes.insert(target->bytes.end(), bytes, bytes + size);
}

struct PngShape {
  png_uint_32 columns = 0, rows = 0;
  int channels = 0, bits = 0;
};

/// Owns libpng's structs for reading.
struct PngReader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  explicit PngReader(PngSource& source) {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, keep_message<PngSource>, ignore_warning);
    if (png != nullptr) info = png_create_info_struct(png);
    if (info == nullptr) throw absent_error("libpng: no memory");
  }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
};

bool read_header(png_structp png, png_infop info, PngSource* source, PngShape* shape) {
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_set_read_fn(png, source, supply);
  png_set_user_limits(png, 1U << 20, 1U << 20);
  png_read_info(png, info);
  png_set_expand(png);  // palettes, few bits, transparency
  if constexpr (std::endian::native == std::endian::little) png_set_swap(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  shape->columns = png_get_image_width(png, info);
  shape->rows = png_get_image_height(png, info);
  shape->channels = png_get_channels(png, info);
  shape->bits = png_get_bit_depth(png, info);
  return true;
}

bool read_rows(png_structp png, png_infop info, png_bytepp rows) {
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_read_image(png, rows);
  png_read_end(png, info);
  return true;
}

template <class T>
Values read_pixels(PngReader& reader, PngSource& source, const PngShape& shape, const std::string& file) {
  const std::size_t row_values = std::size_t{shape.columns} * static_cast<std::size_t>(shape.channels);
  std::vector<T> pixels(row_values * shape.rows);
  std::vector<png_bytep> rows(shape.rows);
  for (std::size_t r = 0; r < rows.size(); ++r)
    rows[r] = reinterpret_cast<png_bytep>(pixels.data() + r * row_values);
  if (!read_rows(reader.png, reader.info, rows.data()))
    throw bad_input("{}: offset {}: PNG image: {}", file, source.position, source.message);
  return pixels;
}

struct PngWriter {
  png_structp png = nullptr;
  png_infop info = nullptr;
  explicit PngWriter(PngTarget& target) {
    png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &target, keep_message<PngTarget>, ignore_warning);
    if (png != nullptr) info = png_create_info_struct(png);
    if (info == nullptr) throw absent_error("libpng: no memory");
  }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;
  ~PngWriter() { png_destroy_write_struct(&png, &info); }
};

bool write_rows(png_structp png, png_infop info, PngTarget* target, PngShape shape, png_bytepp rows) {
  constexpr int colours[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                             PNG_COLOR_TYPE_RGB_ALPHA};
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_set_write_fn(png, target, collect, nullptr);
  png_set_IHDR(png, info, shape.columns, shape.rows, shape.bits, colours[shape.channels - 1], PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  if constexpr (std::endian::native == std::endian::little) png_set_swap(png);
  png_write_image(png, rows);
  png_write_end(png, info);
  return true;
}

template <class T>
void write_pixels(Sink& sink, const std::vector<T>& pixels, const PngShape& shape) {
  const std::size_t row_values = std::size_t{shape.columns} * static_cast<std::size_t>(shape.channels);
  std::vector<png_bytep> rows(shape.rows);
  for (std::size_t r = 0; r < rows.size(); ++r)  // libpng's interface lacks a const that it keeps
    rows[r] = const_cast<png_bytep>(reinterpret_cast<png_const_bytep>(pixels.data() + r * row_values));
  PngTarget target;
  PngWriter writer(target);
  if (!write_rows(writer.png, writer.info, &target, shape, rows.data()))
    throw bad_input("{}: PNG image: {}", sink.name(), target.message);
  sink.write(Bytes(target.bytes));
}

// ---- PGM and PPM ---------------------------------------------------------------------------------

/// The next number of a header or of a text image; `#` begins a comment.
std::size_t next_number(Reader& reader, std::string_view what) {
  const auto get = [&] { return reader.number<char>(what); };
  char character = get();
  while (std::isspace(static_cast<unsigned char>(character)) != 0 || character == '#') {
    if (character == '#')
      while (character != '\n')
        character = get();
    character = get();
  }
  std::size_t value = 0;
  while (std::isdigit(static_cast<unsigned char>(character)) != 0) {
    value = std::min<std::size_t>(10 * value + static_cast<std::size_t>(character - '0'), 1U << 31);
    if (reader.left() == 0) return value;
    character = get();
  }
  if (std::isspace(static_cast<unsigned char>(character)) == 0)
    throw reader.bad("{} expected, found '{}'", what, static_cast<int>(character));
  return value;
}

template <class T>
Values netpbm_values(Reader& reader, std::size_t count, bool text, std::size_t maxval) {
  std::vector<T> values(count);
  if (!text && sizeof(T) == 1) {
    const auto bytes = reader.take(count, "pixels");
    if (count > 0) std::memcpy(values.data(), bytes.data(), count);
    return values;
  }
  for (auto& value : values) {
    const std::size_t read = text ? next_number(reader, "pixel") : reader.number<T>("pixel", std::endian::big);
    if (read > maxval) throw reader.bad("pixel of {} above the largest value {}", read, maxval);
    value = static_cast<T>(read);
  }
  return values;
}

}  // namespace

bool is_png(Bytes bytes) {
  return bytes.size() >= png_magic.size() && std::memcmp(bytes.data(), png_magic.data(), png_magic.size()) == 0;
}

bool is_netpbm(Bytes bytes) {
  if (bytes.size() < 3 || bytes[0] != std::byte{'P'}) return false;
  const auto digit = static_cast<char>(bytes[1]);
  return std::string_view("2356").find(digit) != std::string_view::npos &&
         std::isspace(static_cast<int>(bytes[2])) != 0;
}

Variable read_png(Bytes bytes, const std::string& file) {
  if (!is_png(bytes)) throw bad_input("{}: offset 0: expected a PNG image, found another beginning", file);
  PngSource source{.bytes = bytes};
  PngReader reader(source);
  PngShape shape;
  if (!read_header(reader.png, reader.info, &source, &shape))
    throw bad_input("{}: offset {}: PNG image: {}", file, source.position, source.message);
  const auto channels = static_cast<std::size_t>(shape.channels);
  // A header that claims more than the deflated bytes can hold (at most 1032 to one) must not take memory.
  const std::size_t claimed =
      std::size_t{shape.rows} * shape.columns * channels * static_cast<std::size_t>(shape.bits) / 8;
  if (claimed / 8 / 1032 > bytes.size())
    throw bad_input("{}: offset 16: PNG image of {} x {} pixels cannot come from {} bytes", file, shape.columns,
                    shape.rows, bytes.size());
  Variable image{.name = "image"};
  image.shape = {shape.rows, shape.columns};
  image.dims = {"row", "column"};
  if (channels > 1) {
    image.shape.push_back(channels);
    image.dims.emplace_back("channel");
  }
  image.values = shape.bits == 16 ? read_pixels<std::uint16_t>(reader, source, shape, file)
                                  : read_pixels<std::uint8_t>(reader, source, shape, file);
  return image;
}

Variable read_netpbm(Bytes bytes, const std::string& file) {
  if (!is_netpbm(bytes)) throw bad_input("{}: offset 0: expected a PGM or PPM image, found another beginning", file);
  Reader reader(bytes, file);
  reader.skip(1, "magic");
  const char format = reader.number<char>("magic");
  const bool text = format == '2' || format == '3', colour = format == '3' || format == '6';
  const std::size_t columns = next_number(reader, "width"), rows = next_number(reader, "height");
  const std::size_t maxval = next_number(reader, "largest value");
  if (columns == 0 || rows == 0) throw reader.bad("image of {} x {} pixels", columns, rows);
  if (maxval == 0 || maxval > 65535) throw reader.bad("largest value {}, expected 1 to 65535", maxval);
  Variable image{.name = "image", .shape = {rows, columns}, .dims = {"row", "column"}};
  if (colour) {
    image.shape.push_back(3);
    image.dims.emplace_back("channel");
  }
  const std::size_t bytes_each = text || maxval < 256 ? 1 : 2;
  const std::size_t pixels = checked_count(reader, image.shape, bytes_each, reader.left());
  image.values = maxval < 256 ? netpbm_values<std::uint8_t>(reader, pixels, text, maxval)
                              : netpbm_values<std::uint16_t>(reader, pixels, text, maxval);
  image.attributes["maxval"] = std::to_string(maxval);
  return image;
}

void write_png(Sink& sink, const Variable& image) {
  const std::size_t channels = image.shape.size() == 3 ? image.shape[2] : 1;
  if (image.shape.size() < 2 || image.shape.size() > 3 || channels < 1 || channels > 4)
    throw bad_input("{}: a PNG image is [rows, columns] or [rows, columns, 1 to 4 channels], found {} dimensions ({})",
                    image.name, image.shape.size(), fmt::join(image.shape, " x "));
  if (image.shape[0] == 0 || image.shape[1] == 0 || image.shape[0] > PNG_UINT_31_MAX ||
      image.shape[1] > PNG_UINT_31_MAX)
    throw bad_input("{}: a PNG image cannot have {} pixels", image.name, fmt::join(image.shape, " x "));
  PngShape shape{.columns = static_cast<png_uint_32>(image.shape[1]),
                 .rows = static_cast<png_uint_32>(image.shape[0]),
                 .channels = static_cast<int>(channels)};
  if (const auto* bytes = std::get_if<std::vector<std::uint8_t>>(&image.values)) {
    shape.bits = 8;
    write_pixels(sink, *bytes, shape);
  } else if (const auto* words = std::get_if<std::vector<std::uint16_t>>(&image.values)) {
    shape.bits = 16;
    write_pixels(sink, *words, shape);
  } else {
    throw bad_input("{}: a PNG image holds uint8 or uint16, found {}", image.name, type_name(image.values));
  }
}

}  // namespace fachwerk::formats
