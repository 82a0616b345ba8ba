#include "cube_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include <fcntl.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "cli/session.hpp"
#include "envi.hpp"
#include "geotiff.hpp"
#include "io/bytes.hpp"
#include "io/delimited.hpp"
#include "io/matlab.hpp"
#include "io/npy.hpp"

namespace fachwerk::hyde {
namespace {

namespace fs = std::filesystem;

Element element_of(const h5::DatasetInfo& info, const std::string& where) {
  if (info.type == h5::TypeClass::real) return info.bytes == 8 ? Element::f64 : Element::f32;
  if (info.type == h5::TypeClass::integer) {
    const std::array<Element, 4> unsigned_types{Element::u8, Element::u16, Element::u32, Element::u64};
    const std::array<Element, 4> signed_types{Element::i8, Element::i16, Element::i32, Element::i64};
    const std::size_t index = info.bytes == 1 ? 0 : info.bytes == 2 ? 1 : info.bytes == 4 ? 2 : 3;
    return info.is_signed ? signed_types[index] : unsigned_types[index];
  }
  throw bad_input("{}: expected real numbers, found {}", where, info.name);
}

std::string leaf(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

std::string shape_text(const std::vector<std::size_t>& shape) {
  std::string text;
  for (std::size_t n : shape)
    text += fmt::format("{}{}", text.empty() ? "" : " x ", n);
  return text.empty() ? "a scalar" : text;
}

[[noreturn]] void not_a_cube(const std::string& where, const std::vector<std::size_t>& shape) {
  throw bad_input("{}: expected 3 dimensions (rows, cols, bands), found {}", where,
                  shape.empty() ? "a scalar" : fmt::format("{} ({})", shape.size(), shape_text(shape)));
}

// Path of the cube in a file: the one asked for, /cube, or the only dataset of three dimensions.
std::string find_cube(const h5::Input& file, const std::string& asked) {
  if (!asked.empty()) {
    const std::string path = asked[0] == '/' ? asked : "/" + asked;
    if (!file.is_dataset(path)) throw bad_input("{}: no dataset {}", file.name(), path);
    return path;
  }
  for (const char* usual : {"/cube", "/reflectance", "/radiance"})
    if (file.is_dataset(usual)) return usual;
  std::vector<std::string> found, others;
  file.visit([&](const std::string& path, bool dataset) {
    if (!dataset) return;
    (file.info(path).shape.size() == 3 ? found : others).push_back(path);
  });
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    if (others.size() == 1) not_a_cube(file.name() + ":" + others.front(), file.info(others.front()).shape);
    throw bad_input("{}: no dataset of 3 dimensions (rows, cols, bands)", file.name());
  }
  throw bad_input("{}: several datasets have 3 dimensions ({}, {}, ...)", file.name(), found[0], found[1])
      .with_hint("choose one with --input-dataset PATH");
}

std::vector<double> band_list(const h5::Input& file, const std::string& cube, std::size_t bands,
                              const std::string& name) {
  for (const std::string& key : {name, name + "s"}) {
    if (const auto values = file.numbers(cube, key); values.size() == bands) return values;
    if (file.is_dataset("/" + key) && file.info("/" + key).shape == h5::Shape{bands})
      return file.column<double>("/" + key);
  }
  // NetCDF products keep it in a group.
  std::string found;
  file.visit([&](const std::string& path, bool dataset) {
    if (dataset && found.empty() && (leaf(path) == name || leaf(path) == name + "s") &&
        file.info(path).shape == h5::Shape{bands})
      found = path;
  });
  return found.empty() ? std::vector<double>{} : file.column<double>(found);
}

CubeInput open_hdf5(h5::Input opened, const std::string& asked) {
  CubeInput input;
  input.hdf5 = std::make_shared<h5::Input>(std::move(opened));
  const h5::Input& file = *input.hdf5;
  input.dataset = find_cube(file, asked);
  input.name = file.name() + ":" + input.dataset;
  const h5::DatasetInfo info = file.info(input.dataset);
  if (info.shape.size() != 3) not_a_cube(input.name, info.shape);
  input.info.extent = {info.shape[0], info.shape[1], info.shape[2]};
  input.info.type = element_of(info, input.name);
  const std::size_t bands = info.shape[2];
  input.info.wavelength = band_list(file, input.dataset, bands, "wavelength");
  input.info.fwhm = band_list(file, input.dataset, bands, "fwhm");
  if (file.is_dataset("/bad_bands")) {
    const auto values = file.column<std::int64_t>("/bad_bands", bands);
    for (const std::int64_t v : values)
      input.info.bad_bands.push_back(v != 0 ? 1 : 0);
  }
  input.info.units = file.text(input.dataset, "units").value_or("");
  for (const char* key : {"nodata", "_FillValue", "missing_value"})
    if (!input.info.nodata) input.info.nodata = file.number(input.dataset, key);
  input.info.envi_header = file.text("/", "envi_header").value_or("");
  for (const std::string& key : file.attributes("/"))
    if (key.starts_with("tiff_tag_")) {
      const int number = std::atoi(key.c_str() + 9);
      if (const auto text = file.text("/", key))
        input.info.tiff_tags[number] = *text;
      else
        input.info.tiff_tags[number] = file.numbers("/", key);
    }
  // The dataset's values are converted by HDF5 to the native type of the same kind.
  input.read = [hdf5 = input.hdf5, dataset = input.dataset, extent = input.info.extent, type = input.info.type](
                   std::size_t row, std::size_t rows, std::byte* out) {
    with_type(type, [&]<class T>(T) {
      hdf5->read_slab<T>(dataset, {row, 0, 0}, {rows, extent.cols, extent.bands},
                         std::span(reinterpret_cast<T*>(out), rows * extent.cols * extent.bands));
    });
  };
  return input;
}

// A cube that lies in memory as a variable of MATLAB or NumPy.
CubeInput from_variables(std::vector<formats::Variable> variables, const std::string& file, const std::string& asked) {
  const formats::Variable* chosen = nullptr;
  std::string names;
  std::size_t count = 0;
  for (const formats::Variable& v : variables) {
    names += (names.empty() ? "" : ", ") + fmt::format("{} ({})", v.name, shape_text(v.shape));
    if (asked.empty() ? v.shape.size() == 3 : v.name == asked) {
      chosen = &v;
      ++count;
    }
  }
  if (chosen == nullptr && asked.empty() && variables.size() == 1) not_a_cube(file, variables.front().shape);
  if (chosen == nullptr)
    throw bad_input("{}: no {}; it has {}", file,
                    asked.empty() ? "variable of 3 dimensions (rows, cols, bands)" : "variable " + asked, names);
  if (count > 1)
    throw bad_input("{}: several variables have 3 dimensions: {}", file, names)
        .with_hint("choose one with --input-dataset NAME");
  if (chosen->shape.size() != 3) not_a_cube(file + ":" + chosen->name, chosen->shape);
  CubeInput input;
  input.name = file + ":" + chosen->name;
  input.info.extent = {chosen->shape[0], chosen->shape[1], chosen->shape[2]};
  for (const formats::Variable& v : variables)
    if ((v.name == "wavelength" || v.name == "wavelengths" || v.name == "wl") &&
        formats::length(v.values) == input.info.extent.bands)
      input.info.wavelength = formats::as_reals(v.values, file + ":" + v.name);
  const auto values = std::make_shared<formats::Values>(chosen->values);
  std::visit(
      [&]<class T>(const std::vector<T>& v) {
        if constexpr (std::is_arithmetic_v<T>) {
          for (int e = 0; e <= static_cast<int>(Element::f64); ++e)
            with_type(static_cast<Element>(e), [&]<class U>(U) {
              if (std::is_same_v<T, U>) input.info.type = static_cast<Element>(e);
            });
          const T* data = v.data();
          const std::size_t row_size = input.info.extent.cols * input.info.extent.bands;
          input.read = [values, data, row_size](std::size_t row, std::size_t rows, std::byte* out) {
            std::memcpy(out, data + row * row_size, rows * row_size * sizeof(T));
          };
        } else {
          throw bad_input("{}: expected real numbers, found {}", input.name, formats::type_name(*values));
        }
      },
      *values);
  return input;
}

std::string temporary_beside(const std::string& path) {
  const fs::path target(path);
  const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  return (folder / fmt::format(".{}.{}.part", target.filename().string(), ::getpid())).string();
}

void require_free(const std::string& path, bool force) {
  if (fs::is_directory(path)) throw io_error("{}: is a folder", path);
  if (!force && fs::exists(path)) throw io_error("{}: exists", path).with_hint("--force overwrites");
  const fs::path folder = fs::path(path).has_parent_path() ? fs::path(path).parent_path() : fs::path(".");
  if (!fs::is_directory(folder)) throw io_error("{}: no folder {}", path, folder.string());
}

// A file written at any offset beside its target, and renamed at the end.
class PlacedFile {
 public:
  PlacedFile(const std::string& path, bool force) : path_(path), temporary_(temporary_beside(path)) {
    require_free(path, force);
    file_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file_ < 0) throw io_error("{}: {}", path_, std::strerror(errno));
    cli::register_temporary(temporary_);
  }
  PlacedFile(const PlacedFile&) = delete;
  PlacedFile& operator=(const PlacedFile&) = delete;
  ~PlacedFile() {
    if (file_ >= 0) ::close(file_);
    if (temporary_.empty()) return;
    ::unlink(temporary_.c_str());
    cli::forget_temporary(temporary_);
  }
  void write(std::size_t offset, const std::byte* data, std::size_t size) {
    while (size > 0) {
      const ssize_t n = ::pwrite(file_, data, size, static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) throw io_error("{}: {}", path_, std::strerror(errno));
      offset += static_cast<std::size_t>(n);
      data += n;
      size -= static_cast<std::size_t>(n);
    }
  }
  void commit() {
    if (::close(std::exchange(file_, -1)) != 0) throw io_error("{}: {}", path_, std::strerror(errno));
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) throw io_error("{}: {}", path_, std::strerror(errno));
    cli::forget_temporary(temporary_);
    temporary_.clear();
  }

 private:
  std::string path_, temporary_;
  int file_ = -1;
};

}  // namespace

std::size_t bytes_of(Element type) {
  return with_type(type, []<class T>(T) { return sizeof(T); });
}

std::string name_of(Element type) {
  const std::array<const char*, 10> names{"uint8",  "int8",  "int16",  "uint16",  "int32",
                                          "uint32", "int64", "uint64", "float32", "float64"};
  return names[static_cast<std::size_t>(type)];
}

void CubeInput::read_float(std::size_t row, std::size_t rows, std::span<float> out) const {
  const std::size_t n = rows * info.extent.cols * info.extent.bands;
  if (info.type == Element::f32) return read(row, rows, reinterpret_cast<std::byte*>(out.data()));
  if (hdf5)
    return hdf5->read_slab<float>(dataset, {row, 0, 0}, {rows, info.extent.cols, info.extent.bands}, out.first(n));
  std::vector<std::byte> raw(n * bytes_of(info.type));
  read(row, rows, raw.data());
  with_type(info.type, [&]<class T>(T) {
    const T* in = reinterpret_cast<const T*>(raw.data());
#pragma omp parallel for schedule(static)
    for (std::size_t i = 0; i < n; ++i)
      out[i] = static_cast<float>(in[i]);
  });
}

void convert_floats(std::span<const float> values, Element type, std::byte* out) {
  with_type(type, [&]<class T>(T) {
    T* to = reinterpret_cast<T*>(out);
    if constexpr (std::is_floating_point_v<T>) {
#pragma omp parallel for schedule(static)
      for (std::size_t i = 0; i < values.size(); ++i)
        to[i] = static_cast<T>(values[i]);
    } else {
      constexpr auto low = static_cast<double>(std::numeric_limits<T>::min()),
                     high = static_cast<double>(std::numeric_limits<T>::max());
#pragma omp parallel for schedule(static)
      for (std::size_t i = 0; i < values.size(); ++i) {
        const double v = std::nearbyint(static_cast<double>(values[i]));
        to[i] = !(v > low)  ? std::numeric_limits<T>::min()
                : v >= high ? std::numeric_limits<T>::max()
                            : static_cast<T>(v);
      }
    }
  });
}

Format format_by_name(const std::string& name) {
  if (name == "h5" || name == "hdf5" || name == "nc") return Format::hdf5;
  if (name == "envi") return Format::envi;
  if (name == "tiff" || name == "tif") return Format::tiff;
  if (name == "mat") return Format::matlab;
  if (name == "npy") return Format::npy;
  throw usage_error("no format \"{}\"", name).with_hint("h5, envi, tiff, mat or npy");
}

Format format_of(const std::string& path) {
  std::string extension = fs::path(path).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* envi : {".hdr", ".img", ".dat", ".raw", ".bil", ".bip", ".bsq"})
    if (extension == envi) return Format::envi;
  if (extension == ".tif" || extension == ".tiff") return Format::tiff;
  if (extension == ".mat") return Format::matlab;
  if (extension == ".npy") return Format::npy;
  return Format::hdf5;
}

CubeInput open_cube(const std::string& path, const std::string& dataset,
                    const std::function<h5::Input(const std::string&)>& open) {
  CubeInput input;
  if (path != "-" && !fs::exists(path)) throw io_error("{}: no such file", path);
  const bool is_hdf5 = path == "-" || H5Fis_hdf5(path.c_str()) > 0;
  // Content first: a TIFF or NumPy file may have an ENVI header of the same stem beside it.
  const Format named = format_of(path);
  const bool other_name = named == Format::matlab || named == Format::npy || path.ends_with(".npz");
  if (path != "-" && !is_hdf5 && geotiff::is_tiff(path)) {
    input = geotiff::open(path);
  } else if (path != "-" && !is_hdf5 && !other_name && envi::is_envi(path)) {
    input = envi::open(path);
  } else if (is_hdf5) {
    const h5::Input probe = path == "-" ? h5::Input() : h5::Input::open(path);
    bool matlab = false;
    if (path != "-")
      for (const std::string& child : probe.children("/"))
        matlab = matlab || probe.has_attribute("/" + child, "MATLAB_class");
    input = matlab ? from_variables(formats::read_matlab73(probe).variables, path, dataset)
                   : open_hdf5(open ? open(path) : h5::Input::open(path), dataset);
  } else {
    const formats::File file = formats::File::open(path);
    if (formats::is_matlab5(file.bytes()))
      input = from_variables(formats::read_matlab5(file.bytes(), path).variables, path, dataset);
    else if (formats::is_npy(file.bytes()))
      input = from_variables(formats::read_npy(file.bytes(), path, "array"), path, dataset);
    else if (formats::is_npz(file.bytes()))
      input = from_variables(formats::read_npz(file.bytes(), path), path, dataset);
    else if (path.ends_with(".h5") || path.ends_with(".hdf5") || path.ends_with(".nc"))
      static_cast<void>(h5::Input::open(path));  // its message
    else
      throw bad_input("{}: is none of HDF5, ENVI, TIFF, MATLAB and NumPy", path);
  }
  if (input.info.extent.size() == 0)
    throw bad_input("{}: expected rows, cols and bands above 0, found {} x {} x {}", input.name, input.info.extent.rows,
                    input.info.extent.cols, input.info.extent.bands);
  return input;
}

void refuse_same(const std::string& input, const std::string& output) {
  if (input == "-" || output == "-" || format_of(output) != Format::envi || !envi::is_envi(input)) return;
  const auto [header, data] = envi::files_of(input);
  const auto [new_header, new_data] = envi::target_files(output);
  std::error_code ignored;
  if (fs::equivalent(header, new_header, ignored) || fs::equivalent(data, new_data, ignored))
    throw usage_error("{} and its data are both input and output", output);
}

Matrix read_spectra(const std::string& path, std::size_t bands) {
  if (H5Fis_hdf5(path.c_str()) > 0) {
    const h5::Input file = h5::Input::open(path);
    const auto spectra =
        file.read<double>("/spectra", {.axes = {"spectra", "bands"}, .shape = {0, bands}, .finite = true});
    Matrix matrix(spectra.shape[0], bands);
    matrix.values = spectra.values;
    return matrix;
  }
  const formats::File file = formats::File::open(path);
  const formats::DelimitedTable table = formats::read_delimited(file.text(), path);
  Matrix matrix(table.columns.size(), bands);
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const std::vector<double> column = formats::as_reals(table.columns[i].values, path + ":" + table.columns[i].name);
    if (column.size() != bands) throw bad_input("{}: expected {} rows (bands), found {}", path, bands, column.size());
    for (std::size_t b = 0; b < bands; ++b) {
      if (!std::isfinite(column[b])) throw bad_input("{}:{}: band {} is not finite", path, table.columns[i].name, b);
      matrix(i, b) = column[b];
    }
  }
  return matrix;
}

std::vector<double> read_band_values(const std::string& path, std::size_t bands) {
  if (H5Fis_hdf5(path.c_str()) > 0) {
    const h5::Input file = h5::Input::open(path);
    return file.column<double>(file.is_dataset("/noise/sigma") ? "/noise/sigma" : "/sigma", bands, true);
  }
  const formats::File file = formats::File::open(path);
  const formats::DelimitedTable table = formats::read_delimited(file.text(), path);
  if (table.columns.empty()) throw bad_input("{}: no numbers", path);
  const std::vector<double> values = formats::as_reals(table.columns.back().values, path);
  if (values.size() != bands)
    throw bad_input("{}: expected {} values (one a band), found {}", path, bands, values.size());
  for (std::size_t b = 0; b < bands; ++b)
    if (!(values[b] >= 0) || !std::isfinite(values[b]))
      throw bad_input("{}: band {}: expected a finite value of at least 0, found {}", path, b, values[b]);
  return values;
}

MaskFile read_mask(const h5::Node& file, const std::string& dataset, Extent extent) {
  const auto mask = file.read<std::int64_t>(dataset);
  const bool flat = mask.shape == h5::Shape{extent.rows, extent.cols},
             full = mask.shape == h5::Shape{extent.rows, extent.cols, extent.bands};
  if (!flat && !full)
    throw bad_input("{}:{}: expected {} x {} or {} x {} x {}, found {}", file.name(), dataset, extent.rows, extent.cols,
                    extent.rows, extent.cols, extent.bands, shape_text(mask.shape));
  MaskFile result{std::vector<std::uint8_t>(mask.values.size()), full};
  for (std::size_t i = 0; i < mask.values.size(); ++i)
    result.values[i] = mask.values[i] != 0 ? 1 : 0;
  return result;
}

MaskFile read_mask(const std::string& path, Extent extent) {
  const auto colon = path.find(":/");
  const std::string file_name = path.substr(0, colon),
                    dataset = colon == std::string::npos ? "/mask" : path.substr(colon + 1);
  if (!fs::exists(file_name)) throw io_error("{}: no such file", file_name);
  return read_mask(h5::Input::open(file_name), dataset, extent);
}

struct CubeOutput::Target {
  CubeInfo info;
  Format format = Format::hdf5;
  std::optional<h5::Output> hdf5 = {};
  std::unique_ptr<PlacedFile> data = {};
  std::unique_ptr<formats::Sink> sink = {};
  std::unique_ptr<geotiff::Writer> tiff = {};
  Interleave interleave = Interleave::bsq;
  bool big_endian = false;
  std::string path = {}, header_path = {}, temporary = {};
  bool force = false;
  std::vector<std::byte> memory = {};  // MATLAB is column-major: the whole cube
};

CubeOutput::CubeOutput(CubeOutput&&) noexcept = default;

CubeOutput::~CubeOutput() {
  if (!target_ || target_->temporary.empty()) return;
  target_->tiff.reset();
  ::unlink(target_->temporary.c_str());
  cli::forget_temporary(target_->temporary);
}

CubeOutput::CubeOutput(const std::string& path, const CubeInfo& info, const WriteOptions& options,
                       const cli::Session& session, const CubeInput* source)
    : target_(std::make_unique<Target>()) {
  Target& t = *target_;
  t.info = info;
  t.path = path;
  t.force = options.force;
  t.format = options.format.value_or(path == "-" ? Format::hdf5 : format_of(path));
  if (path == "-" && t.format != Format::hdf5) throw usage_error("only HDF5 goes to stdout");
  const Extent extent = info.extent;
  const std::size_t total = extent.size() * bytes_of(info.type);
  switch (t.format) {
    case Format::hdf5: {
      t.hdf5.emplace(options.create ? options.create(path, options.force)
                                    : h5::Output::create(path, options.force, total + (std::size_t{1} << 20)));
      t.hdf5->stamp(session, "hsi-cube", source != nullptr ? source->hdf5.get() : nullptr);
      const h5::Describe describe{
          info.units,
          options.long_name,
          {"rows", "cols", "bands"},
          {std::min<std::size_t>(64, extent.rows), std::min<std::size_t>(64, extent.cols), extent.bands},
          0};
      with_type(info.type, [&]<class T>(T) {
        t.hdf5->create_dataset<T>("/cube", {extent.rows, extent.cols, extent.bands}, describe);
      });
      if (!info.wavelength.empty()) {
        t.hdf5->column("/wavelength", info.wavelength, {"nm", "centre wavelength of each band", {"bands"}});
        t.hdf5->attribute("/cube", "wavelength", info.wavelength);
      }
      if (!info.fwhm.empty())
        t.hdf5->column("/fwhm", info.fwhm, {"nm", "full width at half maximum of each band", {"bands"}});
      if (!info.bad_bands.empty())
        t.hdf5->column("/bad_bands", info.bad_bands, {"", "1 where a band is not usable", {"bands"}});
      if (info.nodata) t.hdf5->attribute("/cube", "nodata", *info.nodata);
      if (!info.envi_header.empty()) t.hdf5->attribute("/", "envi_header", info.envi_header);
      for (const auto& [number, value] : info.tiff_tags)
        std::visit([&, key = fmt::format("tiff_tag_{}", number)](const auto& v) { t.hdf5->attribute("/", key, v); },
                   value);
      break;
    }
    case Format::envi: {
      const auto [header, data] = envi::target_files(path);
      require_free(header, options.force);
      t.header_path = header;
      if (!info.envi_header.empty()) {
        const envi::Fields fields = envi::parse(info.envi_header, "header");
        for (const auto& [key, value] : fields) {
          if (key == "interleave") t.interleave = envi::interleave_by_name(value);
          if (key == "byte order") t.big_endian = value == "1";
        }
      }
      if (options.interleave) t.interleave = *options.interleave;
      static_cast<void>(envi::header(info, t.interleave, t.big_endian));  // refuses types that ENVI lacks
      t.data = std::make_unique<PlacedFile>(data, options.force);
      break;
    }
    case Format::tiff:
      require_free(path, options.force);
      t.temporary = temporary_beside(path);
      cli::register_temporary(t.temporary);
      t.tiff = std::make_unique<geotiff::Writer>(t.temporary, info);
      break;
    case Format::matlab:
      t.sink = std::make_unique<formats::Sink>(formats::Sink::create(path, options.force));
      t.memory.resize(total);
      break;
    case Format::npy: {
      t.sink = std::make_unique<formats::Sink>(formats::Sink::create(path, options.force));
      with_type(info.type, [&]<class T>(T) {
        formats::write_npy_header(*t.sink, formats::Values(std::vector<T>{}), {extent.rows, extent.cols, extent.bands});
      });
      break;
    }
  }
}

h5::Output* CubeOutput::hdf5() {
  return target_->hdf5 ? &*target_->hdf5 : nullptr;
}

void CubeOutput::write(std::size_t row, std::size_t rows, const std::byte* values) {
  Target& t = *target_;
  const auto [height, cols, bands] = t.info.extent;
  const std::size_t size = bytes_of(t.info.type), row_bytes = cols * bands * size;
  switch (t.format) {
    case Format::hdf5:
      with_type(t.info.type, [&, columns = cols, depth = bands]<class T>(T) {
        t.hdf5->write_slab<T>("/cube", {row, 0, 0}, {rows, columns, depth},
                              std::span(reinterpret_cast<const T*>(values), rows * columns * depth));
      });
      return;
    case Format::tiff:
      return t.tiff->write(row, rows, values);
    case Format::npy:
      return t.sink->write(std::span(values, rows * row_bytes));
    case Format::matlab:
      std::memcpy(t.memory.data() + row * row_bytes, values, rows * row_bytes);
      return;
    case Format::envi:
      break;
  }
  // ENVI: each interleave is a list of contiguous pieces.
  const auto put = [&](std::byte* to, const std::byte* from) {
    if (t.big_endian)
      std::reverse_copy(from, from + size, to);
    else
      std::memcpy(to, from, size);
  };
  std::vector<std::byte> piece(rows * row_bytes);
  const bool bsq = t.interleave == Interleave::bsq;
#pragma omp parallel for schedule(static)
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < t.info.extent.cols; ++c)
      for (std::size_t b = 0; b < t.info.extent.bands; ++b) {
        const std::size_t columns = t.info.extent.cols, depth = t.info.extent.bands,
                          from = (r * columns + c) * depth + b;
        const std::size_t to = bsq                               ? (b * rows + r) * columns + c
                               : t.interleave == Interleave::bil ? (r * depth + b) * columns + c
                                                                 : from;
        put(&piece[to * size], values + from * size);
      }
  if (!bsq) return t.data->write(row * row_bytes, piece.data(), piece.size());
  for (std::size_t b = 0; b < bands; ++b)
    t.data->write((b * height + row) * cols * size, piece.data() + b * rows * cols * size, rows * cols * size);
}

void CubeOutput::commit() {
  Target& t = *target_;
  switch (t.format) {
    case Format::hdf5:
      return t.hdf5->commit();
    case Format::npy:
      return t.sink->commit();
    case Format::tiff:
      t.tiff->close();
      if (::rename(t.temporary.c_str(), t.path.c_str()) != 0) throw io_error("{}: {}", t.path, std::strerror(errno));
      cli::forget_temporary(t.temporary);
      t.temporary.clear();
      return;
    case Format::matlab: {
      formats::Variable cube{"cube", {t.info.extent.rows, t.info.extent.cols, t.info.extent.bands}, {}};
      with_type(t.info.type, [&]<class T>(T) {
        std::vector<T> values(t.info.extent.size());
        std::memcpy(values.data(), t.memory.data(), t.memory.size());
        cube.values = std::move(values);
      });
      std::vector<formats::Variable> variables{std::move(cube)};
      if (!t.info.wavelength.empty())
        variables.push_back({"wavelength", {t.info.wavelength.size()}, t.info.wavelength});
      formats::write_matlab5(*t.sink, variables);
      return t.sink->commit();
    }
    case Format::envi: {
      const std::string text = envi::header(t.info, t.interleave, t.big_endian);
      formats::Sink header = formats::Sink::create(t.header_path, t.force);
      header.write(std::string_view(text));
      t.data->commit();
      header.commit();
      return;
    }
  }
}

}  // namespace fachwerk::hyde
