#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cube.hpp"
#include "io/hdf5.hpp"
#include "linear.hpp"

/// Cubes in files: HDF5 and NetCDF-4, ENVI, GeoTIFF, MATLAB and NumPy, read and written by blocks of rows in their own
/// type.
namespace fachwerk::hyde {

enum class Element { u8, i8, i16, u16, i32, u32, i64, u64, f32, f64 };
std::size_t bytes_of(Element type);
std::string name_of(Element type);  ///< "uint16", "float32", ...

/// Runs `fn` with a value of the C++ type that an element has.
template <class Fn>
decltype(auto) with_type(Element type, Fn&& fn) {
  switch (type) {
    case Element::u8:
      return fn(std::uint8_t{});
    case Element::i8:
      return fn(std::int8_t{});
    case Element::i16:
      return fn(std::int16_t{});
    case Element::u16:
      return fn(std::uint16_t{});
    case Element::i32:
      return fn(std::int32_t{});
    case Element::u32:
      return fn(std::uint32_t{});
    case Element::i64:
      return fn(std::int64_t{});
    case Element::u64:
      return fn(std::uint64_t{});
    case Element::f32:
      return fn(float{});
    default:
      return fn(double{});
  }
}

enum class Interleave { bip, bil, bsq };

/// What a cube says of itself.
struct CubeInfo {
  Extent extent;
  Element type = Element::f32;
  std::vector<double> wavelength = {};       ///< nm; empty when unknown
  std::vector<double> fwhm = {};             ///< nm
  std::vector<std::uint8_t> bad_bands = {};  ///< 1 = bad
  std::string units = {};
  std::optional<double> nodata = {};
  std::string envi_header = {};  ///< as it was read: written again with what changed
  std::map<int, std::variant<std::vector<double>, std::string>> tiff_tags = {};  ///< georeference
};

/// A cube that is read: any format, told by content and name.
struct CubeInput {
  CubeInfo info;
  std::string name;  ///< for messages: "scene.hdr", "in.h5:/cube"
  /// Rows [row, row + rows) as [rows][cols][bands] of info.type.
  std::function<void(std::size_t row, std::size_t rows, std::byte* out)> read;
  std::shared_ptr<h5::Input> hdf5 = {};  ///< the file, where it is HDF5: for other datasets and `carry`
  std::string dataset = {};              ///< path in it

  /// The same as float.
  void read_float(std::size_t row, std::size_t rows, std::span<float> out) const;
};

/// `dataset`: path in HDF5 or variable name in MATLAB; empty: /cube, else the only three-dimensional one. Throws
/// bad_input when it is not three-dimensional, io_error for truncated files (with both sizes).
/// `open`: how HDF5 is opened, if not by h5::Input::open.
CubeInput open_cube(const std::string& path, const std::string& dataset = {},
                    const std::function<h5::Input(const std::string&)>& open = {});

enum class Format { hdf5, envi, tiff, matlab, npy };
/// By name: .hdr .img .dat .raw .bil .bip .bsq, .tif .tiff, .mat, .npy; else HDF5.
Format format_of(const std::string& path);
Format format_by_name(const std::string& name);

struct WriteOptions {
  std::optional<Format> format = {};          ///< by name when empty
  std::optional<Interleave> interleave = {};  ///< ENVI: that of the header read, else bsq
  bool force = false;
  std::string long_name = "cube";
  /// How HDF5 is created, if not by h5::Output::create.
  std::function<h5::Output(const std::string& path, bool force)> create = {};
};

/// A cube that is written by blocks of rows, in order. Nothing is left without `commit`.
class CubeOutput {
 public:
  CubeOutput(const std::string& path, const CubeInfo& info, const WriteOptions& options, const cli::Session& session,
             const CubeInput* source = nullptr);
  ~CubeOutput();
  CubeOutput(CubeOutput&&) noexcept;
  /// [rows][cols][bands] of info.type
  void write(std::size_t row, std::size_t rows, const std::byte* values);
  h5::Output* hdf5();  ///< for further datasets; null for other formats
  void commit();

 private:
  struct Target;
  std::unique_ptr<Target> target_;
};

/// Throws usage_error if an ENVI output would overwrite the header or data of its ENVI input under another name.
void refuse_same(const std::string& input, const std::string& output);

/// Spectra [n, bands]: HDF5 with /spectra, or delimited text with one spectrum a column and one band a row.
Matrix read_spectra(const std::string& path, std::size_t bands);

/// One number for each band: HDF5 with `/noise/sigma` (or /sigma), or text with one a line.
std::vector<double> read_band_values(const std::string& path, std::size_t bands);

/// A mask, 1 = valid, of [rows][cols] or [rows][cols][bands]: PATH or PATH:DATASET (HDF5; /mask otherwise).
struct MaskFile {
  std::vector<std::uint8_t> values;
  bool per_band = false;
};
MaskFile read_mask(const std::string& path, Extent extent);
MaskFile read_mask(const h5::Node& file, const std::string& dataset, Extent extent);

/// Floats into `type`: rounded and saturated for integers.
void convert_floats(std::span<const float> values, Element type, std::byte* out);

}  // namespace fachwerk::hyde
