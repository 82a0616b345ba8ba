#include "geotiff.hpp"

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <fstream>

#include <tiffio.h>

#include "cli/error.hpp"

namespace fachwerk::hyde::geotiff {
namespace {

enum class TagKind { doubles, shorts, text };
struct Tag {
  ttag_t number;
  TagKind kind;
  const char* name;
};
constexpr std::array<Tag, 8> kTags{{{33550, TagKind::doubles, "ModelPixelScale"},
                                    {33922, TagKind::doubles, "ModelTiepoint"},
                                    {34264, TagKind::doubles, "ModelTransformation"},
                                    {34735, TagKind::shorts, "GeoKeyDirectory"},
                                    {34736, TagKind::doubles, "GeoDoubleParams"},
                                    {34737, TagKind::text, "GeoAsciiParams"},
                                    {42112, TagKind::text, "GDALMetadata"},
                                    {42113, TagKind::text, "GDALNoData"}}};

TIFFExtendProc parent_extender = nullptr;

void register_tags(TIFF* tiff) {
  std::array<TIFFFieldInfo, kTags.size()> fields{};
  for (std::size_t i = 0; i < kTags.size(); ++i) {
    const bool text = kTags[i].kind == TagKind::text;
    constexpr short variable = TIFF_VARIABLE;  // counted lists; text ends by itself, which libtiff calls the same
    const TIFFDataType type = text ? TIFF_ASCII : kTags[i].kind == TagKind::doubles ? TIFF_DOUBLE : TIFF_SHORT;
    fields[i] = {kTags[i].number,
                 variable,
                 variable,
                 type,
                 FIELD_CUSTOM,
                 1,
                 static_cast<unsigned char>(text ? 0 : 1),
                 const_cast<char*>(kTags[i].name)};
  }
  TIFFMergeFieldInfo(tiff, fields.data(), static_cast<std::uint32_t>(fields.size()));
  if (parent_extender != nullptr) parent_extender(tiff);
}

std::string& last_error() {
  static thread_local std::string text;
  return text;
}

void keep_error(const char*, const char* format, std::va_list arguments) {
  char text[400];
  std::vsnprintf(text, sizeof text, format, arguments);
  last_error() = text;
}

void prepare_library() {
  static const bool once = [] {
    parent_extender = TIFFSetTagExtender(register_tags);
    TIFFSetWarningHandler(nullptr);
    TIFFSetErrorHandler(keep_error);
    return true;
  }();
  static_cast<void>(once);
}

struct Close {
  void operator()(TIFF* tiff) const { TIFFClose(tiff); }
};
using Handle = std::unique_ptr<TIFF, Close>;

Element element_of(std::uint16_t bits, std::uint16_t format, const std::string& file) {
  if (format == SAMPLEFORMAT_IEEEFP && bits == 32) return Element::f32;
  if (format == SAMPLEFORMAT_IEEEFP && bits == 64) return Element::f64;
  if (format == SAMPLEFORMAT_INT) {
    if (bits == 8) return Element::i8;
    if (bits == 16) return Element::i16;
    if (bits == 32) return Element::i32;
    if (bits == 64) return Element::i64;
  }
  if (format == SAMPLEFORMAT_UINT || format == SAMPLEFORMAT_VOID) {
    if (bits == 8) return Element::u8;
    if (bits == 16) return Element::u16;
    if (bits == 32) return Element::u32;
    if (bits == 64) return Element::u64;
  }
  throw bad_input("{}: samples of {} bits, format {}, are not supported", file, bits, format);
}

// Places a decoded strip or tile, which holds `samples` of the bands from `band` on.
void place(const std::vector<std::byte>& chunk, std::size_t chunk_cols, std::size_t chunk_rows, std::size_t samples,
           std::size_t row, std::size_t col, std::size_t band, Extent extent, std::size_t size,
           std::vector<std::byte>& image) {
  for (std::size_t r = 0; r < std::min(chunk_rows, extent.rows - row); ++r)
    for (std::size_t c = 0; c < std::min(chunk_cols, extent.cols - col); ++c)
      std::memcpy(&image[(((row + r) * extent.cols + col + c) * extent.bands + band) * size],
                  &chunk[(r * chunk_cols + c) * samples * size], samples * size);
}

}  // namespace

bool is_tiff(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char magic[4] = {};
  file.read(magic, 4);
  const std::string_view m(magic, 4);
  return m == std::string_view("II*\0", 4) || m == std::string_view("MM\0*", 4) || m == std::string_view("II+\0", 4) ||
         m == std::string_view("MM\0+", 4);
}

CubeInput open(const std::string& path) {
  prepare_library();
  const Handle tiff(TIFFOpen(path.c_str(), "r"));
  if (!tiff) throw io_error("{}: cannot be read as TIFF: {}", path, last_error());
  std::uint32_t width = 0, height = 0;
  std::uint16_t samples = 1, bits = 1, format = SAMPLEFORMAT_UINT, planar = PLANARCONFIG_CONTIG;
  TIFFGetField(tiff.get(), TIFFTAG_IMAGEWIDTH, &width);
  TIFFGetField(tiff.get(), TIFFTAG_IMAGELENGTH, &height);
  TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_SAMPLESPERPIXEL, &samples);
  TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_BITSPERSAMPLE, &bits);
  TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_SAMPLEFORMAT, &format);
  TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_PLANARCONFIG, &planar);
  CubeInput input;
  input.name = path;
  input.info.extent = {height, width, samples};
  input.info.type = element_of(bits, format, path);
  const Extent extent = input.info.extent;
  const std::size_t size = bytes_of(input.info.type);
  if (extent.size() == 0 || extent.rows > (std::size_t{1} << 36) / extent.cols)
    throw bad_input("{}: {} x {} x {} is no cube", path, extent.rows, extent.cols, extent.bands);
  // Refuse sizes that no file of this length can hold (deflate reaches about 1000 to 1) before taking memory.
  std::ifstream probe(path, std::ios::binary | std::ios::ate);
  if (static_cast<double>(extent.size()) * static_cast<double>(size) > 1100.0 * static_cast<double>(probe.tellg()))
    throw io_error("{}: {} x {} x {} values cannot lie in {} bytes: truncated?", path, extent.rows, extent.cols,
                   extent.bands, static_cast<long long>(probe.tellg()));
  const auto image = std::make_shared<std::vector<std::byte>>(extent.size() * size);
  const bool contiguous = planar == PLANARCONFIG_CONTIG;
  const std::size_t planes = contiguous ? 1 : samples, chunk_samples = contiguous ? samples : 1;
  const auto failed = [&](std::size_t row, std::size_t band) {
    return io_error("{}: row {}, band {}: {}: truncated?", path, row, band, last_error());
  };
  if (TIFFIsTiled(tiff.get()) != 0) {
    std::uint32_t tile_width = 0, tile_height = 0;
    TIFFGetField(tiff.get(), TIFFTAG_TILEWIDTH, &tile_width);
    TIFFGetField(tiff.get(), TIFFTAG_TILELENGTH, &tile_height);
    std::vector<std::byte> chunk(static_cast<std::size_t>(TIFFTileSize(tiff.get())));
    if (tile_width == 0 || tile_height == 0 ||
        chunk.size() < std::size_t{tile_width} * tile_height * chunk_samples * size)
      throw bad_input("{}: tiles of {} x {} pixels do not hold their samples", path, tile_height, tile_width);
    for (std::size_t plane = 0; plane < planes; ++plane)
      for (std::uint32_t row = 0; row < height; row += tile_height)
        for (std::uint32_t col = 0; col < width; col += tile_width) {
          if (TIFFReadTile(tiff.get(), chunk.data(), col, row, 0, static_cast<std::uint16_t>(plane)) < 0)
            throw failed(row, plane);
          place(chunk, tile_width, tile_height, chunk_samples, row, col, plane, extent, size, *image);
        }
  } else {
    std::uint32_t strip_rows = height;
    TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_ROWSPERSTRIP, &strip_rows);
    strip_rows = std::clamp<std::uint32_t>(strip_rows, 1, height);
    std::vector<std::byte> chunk(static_cast<std::size_t>(TIFFStripSize(tiff.get())));
    if (chunk.size() < std::size_t{strip_rows} * width * chunk_samples * size)
      throw bad_input("{}: strips do not hold their samples", path);
    for (std::size_t plane = 0; plane < planes; ++plane)
      for (std::uint32_t row = 0; row < height; row += strip_rows) {
        const std::uint32_t strip = TIFFComputeStrip(tiff.get(), row, static_cast<std::uint16_t>(plane));
        const std::size_t rows = std::min<std::size_t>(strip_rows, height - row);
        if (TIFFReadEncodedStrip(tiff.get(), strip, chunk.data(),
                                 static_cast<tmsize_t>(rows * width * chunk_samples * size)) < 0)
          throw failed(row, plane);
        place(chunk, width, rows, chunk_samples, row, 0, plane, extent, size, *image);
      }
  }
  for (const Tag& tag : kTags) {
    if (tag.kind == TagKind::text) {
      char* text = nullptr;
      if (TIFFGetField(tiff.get(), tag.number, &text) == 1 && text != nullptr)
        input.info.tiff_tags[static_cast<int>(tag.number)] = std::string(text);
      continue;
    }
    std::uint16_t count = 0;
    void* values = nullptr;
    if (TIFFGetField(tiff.get(), tag.number, &count, &values) != 1 || values == nullptr) continue;
    std::vector<double> list(count);
    for (std::size_t i = 0; i < count; ++i)
      list[i] = tag.kind == TagKind::doubles ? static_cast<const double*>(values)[i]
                                             : static_cast<const std::uint16_t*>(values)[i];
    input.info.tiff_tags[static_cast<int>(tag.number)] = std::move(list);
  }
  if (const auto nodata = input.info.tiff_tags.find(42113); nodata != input.info.tiff_tags.end())
    if (const auto* text = std::get_if<std::string>(&nodata->second))
      input.info.nodata = std::strtod(text->c_str(), nullptr);
  input.read = [image, extent, size](std::size_t row, std::size_t rows, std::byte* out) {
    const std::size_t row_bytes = extent.cols * extent.bands * size;
    std::memcpy(out, image->data() + row * row_bytes, rows * row_bytes);
  };
  return input;
}

struct Writer::File {
  std::string path;
  Handle tiff;
  std::size_t row_bytes;
};

Writer::Writer(const std::string& path, const CubeInfo& info) {
  prepare_library();
  const std::size_t size = bytes_of(info.type), total = info.extent.size() * size;
  if (info.extent.bands > 65535) throw usage_error("TIFF files hold at most 65535 bands, not {}", info.extent.bands);
  file_ = std::make_unique<File>(File{path, Handle(TIFFOpen(path.c_str(), total > (std::size_t{2} << 30) ? "w8" : "w")),
                                      info.extent.cols * info.extent.bands * size});
  if (!file_->tiff) throw io_error("{}: cannot be written: {}", path, last_error());
  TIFF* tiff = file_->tiff.get();
  const bool real = info.type == Element::f32 || info.type == Element::f64;
  const bool is_signed =
      info.type == Element::i8 || info.type == Element::i16 || info.type == Element::i32 || info.type == Element::i64;
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, static_cast<std::uint32_t>(info.extent.cols));
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, static_cast<std::uint32_t>(info.extent.rows));
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, static_cast<int>(info.extent.bands));
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, static_cast<int>(8 * size));
  TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT,
               real        ? SAMPLEFORMAT_IEEEFP
               : is_signed ? SAMPLEFORMAT_INT
                           : SAMPLEFORMAT_UINT);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
  TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE);
  TIFFSetField(tiff, TIFFTAG_ZIPQUALITY, 1);
  if (size <= 4) TIFFSetField(tiff, TIFFTAG_PREDICTOR, real ? PREDICTOR_FLOATINGPOINT : PREDICTOR_HORIZONTAL);
  if (info.extent.bands > 1) {
    const std::vector<std::uint16_t> extra(info.extent.bands - 1, EXTRASAMPLE_UNSPECIFIED);
    TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, static_cast<int>(extra.size()), extra.data());
  }
  TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP,
               static_cast<std::uint32_t>(
                   std::max<std::size_t>(1, (std::size_t{1} << 18) / std::max<std::size_t>(file_->row_bytes, 1))));
  for (const Tag& tag : kTags) {
    const auto found = info.tiff_tags.find(static_cast<int>(tag.number));
    if (found == info.tiff_tags.end()) continue;
    if (const auto* text = std::get_if<std::string>(&found->second)) {
      TIFFSetField(tiff, tag.number, text->c_str());
    } else if (tag.kind == TagKind::doubles) {
      const auto& values = std::get<std::vector<double>>(found->second);
      TIFFSetField(tiff, tag.number, static_cast<int>(values.size()), values.data());
    } else {
      const auto& values = std::get<std::vector<double>>(found->second);
      const std::vector<std::uint16_t> shorts(values.begin(), values.end());
      TIFFSetField(tiff, tag.number, static_cast<int>(shorts.size()), shorts.data());
    }
  }
  if (info.nodata && !info.tiff_tags.contains(42113))
    TIFFSetField(tiff, 42113, fmt::format("{}", *info.nodata).c_str());
}

Writer::~Writer() = default;

void Writer::write(std::size_t row, std::size_t rows, const std::byte* values) {
  std::vector<std::byte> line(file_->row_bytes);  // the predictor works in place
  for (std::size_t r = 0; r < rows; ++r) {
    std::memcpy(line.data(), values + r * file_->row_bytes, line.size());
    if (TIFFWriteScanline(file_->tiff.get(), line.data(), static_cast<std::uint32_t>(row + r), 0) < 0)
      throw io_error("{}: row {}: {}", file_->path, row + r, last_error());
  }
}

void Writer::close() {
  if (TIFFFlush(file_->tiff.get()) != 1) throw io_error("{}: {}", file_->path, last_error());
  file_->tiff.reset();
}

}  // namespace fachwerk::hyde::geotiff
