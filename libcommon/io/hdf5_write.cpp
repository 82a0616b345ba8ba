#include <bit>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include "cli/session.hpp"
#include "io/chunks.hpp"
#include "io/hdf5.hpp"
#include "io/hdf5_internal.hpp"

namespace fachwerk::h5 {

using namespace internal;

namespace {

namespace fs = std::filesystem;

constexpr std::size_t big = std::size_t{1} << 20;  ///< bytes: from here on chunked and compressed; size of a chunk

/// Chunks of about 1 MiB that keep the last axes whole: they are the ones read together.
Shape default_chunk(const Shape& shape, std::size_t element) {
  Shape chunk = shape;
  for (std::size_t& length : chunk)
    length = std::max<std::size_t>(length, 1);
  std::size_t bytes = element;
  for (const std::size_t length : chunk)
    bytes *= length;
  for (std::size_t& length : chunk)
    while (bytes > big && length > 1) {
      bytes = bytes / length * ((length + 1) / 2);
      length = (length + 1) / 2;
    }
  return chunk;
}

Handle little_endian(hid_t type) {
  Handle copy(H5Tcopy(type), H5Tclose);
  const H5T_class_t kind = H5Tget_class(type);
  if (kind == H5T_INTEGER || kind == H5T_FLOAT) H5Tset_order(copy.get(), H5T_ORDER_LE);
  return copy;
}

std::string date() {
  std::time_t now = std::time(nullptr);
  if (const char* epoch = std::getenv("SOURCE_DATE_EPOCH")) now = static_cast<std::time_t>(std::atoll(epoch));
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(now));
}

Handle creating_groups() {
  Handle list(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(list.get(), 1);
  H5Pset_char_encoding(list.get(), H5T_CSET_UTF8);
  return list;
}

/// Closes a dataset or file. Small arrays are held back until then: false where they cannot be written.
bool closes(Handle& handle, herr_t (*close)(hid_t)) {
  const hid_t id = handle.get();
  handle.release();
  return close(id) >= 0;
}

bool is_special(const std::string& path) {
  std::error_code ignored;
  const auto status = fs::status(path, ignored);
  return fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status);
}

}  // namespace

Output Output::create(const std::string& path, bool force, std::size_t expected_bytes) {
  initialise();
  const bool special = path != "-" && is_special(path);
  if (path != "-" && !special) return create_file(path, force, std::nullopt);
  if (path == "-" && isatty(STDOUT_FILENO) == 1)
    throw usage_error("stdout is a terminal: HDF5 is not written there")
        .with_hint("give a file, or pipe into another tool");
  Output output;
  output.name_ = special ? path : "stdout";
  output.target_ = special ? path : "";
  output.image_ = std::make_unique<io::Spool>(io::Spool::create(expected_bytes));
  const bool memory = output.image_->in_memory();
  const Handle access = memory ? image_access(output.image_->memory(), 0) : Handle();
  output.file_ = Handle(H5Fcreate(memory ? "stdout" : output.image_->path().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT,
                                  memory ? access.get() : H5P_DEFAULT),
                        H5Fclose);
  if (!output.file_) throw io_error("{}: cannot be created: {}", output.name_, reason());
  output.image_->hide();
  return output;
}

Output Output::create(const std::string& path, bool force, Together together) {
  initialise();
  return create_file(path, force, std::move(together));
}

Output Output::create_file(const std::string& path, bool force, std::optional<Together> together) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) throw io_error("{}: is a directory, expected a file", path);
  if (!force && fs::exists(path, ignored)) throw io_error("{}: exists", path).with_hint("--force overwrites it");
  Output output;
  output.name_ = path;
  output.force_ = force;
  output.together_ = std::move(together);
  // Through a symbolic link the file it points to is replaced, not the link.
  output.target_ = fs::is_symlink(path, ignored) ? fs::weakly_canonical(path).string() : path;
  const fs::path target(output.target_);
  const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  if (!fs::is_directory(folder, ignored)) throw io_error("{}: no such folder: {}", path, folder.string());
  const std::string mark = output.together_ ? output.together_->mark : std::to_string(getpid());
  output.temporary_ = (folder / fmt::format(".{}.{}.part", target.filename().string(), mark)).string();
  cli::register_temporary(output.temporary_);
  const hid_t access = output.together_ ? output.together_->access.get() : H5P_DEFAULT;
  output.file_ = Handle(H5Fcreate(output.temporary_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access), H5Fclose);
  if (!output.file_) {
    const std::string why = reason();
    output.discard();
    throw io_error("{}: cannot be created: {}", path, why);
  }
  return output;
}

Output::~Output() {
  discard();
}

void Output::discard() noexcept {
  close();
  if (temporary_.empty()) return;
  unlink(temporary_.c_str());
  cli::forget_temporary(temporary_);
  temporary_.clear();
}

void Output::commit() {
  if (H5Fflush(file_.get(), H5F_SCOPE_GLOBAL) < 0) {
    const std::string why = reason();
    discard();
    throw io_error("{}: cannot be written: {}", name_, why);
  }
  if (image_) return send_image();
  if (!closes(file_, H5Fclose)) {
    const std::string why = reason();
    discard();
    throw io_error("{}: cannot be written: {}", name_, why);
  }
  if (together_)
    together_->on_first([this] { publish(); });
  else
    publish();
  cli::forget_temporary(temporary_);
  temporary_.clear();
}

void Output::publish() {
  if (!force_ && fs::exists(target_)) throw io_error("{}: exists", name_).with_hint("--force overwrites it");
  if (rename(temporary_.c_str(), target_.c_str()) != 0) throw io_error("{}: {}", name_, std::strerror(errno));
}

void Output::send_image() {
  const io::Descriptor target(target_.empty() ? dup(STDOUT_FILENO) : open(target_.c_str(), O_WRONLY | O_CLOEXEC));
  if (!target) throw io_error("{}: {}", name_, std::strerror(errno));
  hsize_t size = 0;
  if (image_->in_memory() && H5Fget_filesize(id(), &size) < 0) throw io_error("{}: {}", name_, reason());
  // Closing before sending writes what the library still holds; the region stays ours.
  file_.reset();
  if (image_->in_memory())
    io::send(image_->memory().data(), size, target.get(), name_);
  else
    io::send(image_->file(), target.get(), name_);
  image_.reset();
}

// ---- datasets ------------------------------------------------------------------------------------

void Output::check_count(const std::string& path, std::size_t size, const Shape& shape) const {
  if (count(shape) != size)
    throw std::logic_error(fmt::format("{}:{}: {} values do not fill the shape", name_, path, size));
}

void Output::make_dataset(const std::string& path, hid_t type, const Shape& shape, bool unlimited,
                          const Describe& describe) {
  const std::vector<hsize_t> dims(shape.begin(), shape.end());
  std::vector<hsize_t> most = dims;
  if (unlimited) most.front() = H5S_UNLIMITED;
  const Handle space =
      shape.empty() ? simple_space(shape)
                    : Handle(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), most.data()), H5Sclose);
  const Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  const std::size_t element = H5Tget_size(type);
  const std::size_t bytes = count(shape) * element;
  const bool is_big = bytes >= big || unlimited;
  const bool text = H5Tget_class(type) == H5T_STRING;
  const int deflate = describe.deflate.value_or(is_big && !image_ && !text && !together_ ? 1 : 0);
  // Contiguous where nothing asks for chunks: a pipe's image is read once, whole.
  if (!shape.empty() && (unlimited || deflate > 0 || !describe.chunk.empty()) && (count(shape) > 0 || unlimited)) {
    Shape wanted = shape;
    if (unlimited && wanted.front() == 0) wanted.front() = big;
    const Shape chunk = describe.chunk.empty() ? default_chunk(wanted, element) : describe.chunk;
    std::vector<hsize_t> lengths(chunk.begin(), chunk.end());
    for (std::size_t i = 0; i < lengths.size(); ++i)
      if (!(unlimited && i == 0)) lengths[i] = std::max<hsize_t>(1, std::min<hsize_t>(lengths[i], dims[i]));
    H5Pset_chunk(properties.get(), static_cast<int>(lengths.size()), lengths.data());
    if (deflate > 0) {
      H5Pset_shuffle(properties.get());
      H5Pset_deflate(properties.get(), static_cast<unsigned>(deflate));
    }
  } else if (!text && !together_ && !shape.empty()) {
    H5Pset_alloc_time(properties.get(), H5D_ALLOC_TIME_EARLY);  // see place()
  }
  H5Pset_fill_time(properties.get(), H5D_FILL_TIME_IFSET);
  const Handle stored = little_endian(type);
  const Handle links = creating_groups();
  const Handle dataset(
      H5Dcreate2(id(), path.c_str(), stored.get(), space.get(), links.get(), properties.get(), H5P_DEFAULT), H5Dclose);
  if (!dataset) throw io_error("{}:{}: cannot be created: {}", name_, path, reason());
  write_text(dataset.get(), path, "units", describe.units);
  write_text(dataset.get(), path, "long_name", describe.long_name);
  if (!shape.empty()) write_texts(dataset.get(), path, "dims", describe.dims);
}

std::optional<Output::Place> Output::place(const std::string& path) const {
  if (std::endian::native != std::endian::little || temporary_.empty() || image_ || together_) return {};
  const Handle dataset = open_dataset(*this, path);
  const Handle properties(H5Dget_create_plist(dataset.get()), H5Pclose);
  if (H5Pget_layout(properties.get()) != H5D_CONTIGUOUS) return {};
  const haddr_t offset = H5Dget_offset(dataset.get());
  if (offset == HADDR_UNDEF) return {};
  return Place{temporary_, offset};
}

void Output::write_from(const std::string& path, const Shape& offset, const Shape& length, const void* values,
                        hid_t type) {
  Handle dataset = open_dataset(*this, path);
  const Handle file_space = select(dataset.get(), offset, length);
  const Handle memory_space = offset.empty() ? Handle(H5Scopy(file_space.get()), H5Sclose) : simple_space(length);
  if (H5Sget_simple_extent_npoints(memory_space.get()) == 0 && !together_) return;
  if (!together_ && write_chunks(dataset.get(), offset, length, values, type)) return;
  const hid_t transfer = together_ ? together_->transfer.get() : H5P_DEFAULT;
  if (H5Dwrite(dataset.get(), type, memory_space.get(), file_space.get(), transfer, values) < 0 ||
      !closes(dataset, H5Dclose))
    throw io_error("{}:{}: cannot be written: {}", name_, path, reason());
}

/// Texts of one length, as parallel HDF5 needs them.
void Output::strings_of_one_length(const std::string& path, const std::vector<std::string>& values,
                                   const Describe& describe) {
  std::size_t length = 1;
  for (const std::string& value : values)
    length = std::max(length, value.size());
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), length);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
  std::string characters;
  for (const std::string& value : values)
    characters.append(value).append(length - value.size(), '\0');
  make_dataset(path, type.get(), {values.size()}, false, describe);
  write_from(path, {}, {}, characters.data(), type.get());
}

void Output::strings(const std::string& path, const std::vector<std::string>& values, const Describe& describe) {
  if (together_) return strings_of_one_length(path, values, describe);
  const Handle type = text_type();
  make_dataset(path, type.get(), {values.size()}, false, describe);
  std::vector<const char*> pointers;
  for (const std::string& value : values)
    pointers.push_back(value.c_str());
  write_from(path, {}, {}, pointers.data(), type.get());
}

void Output::extend(const std::string& path, std::size_t length) {
  const Handle dataset = open_dataset(*this, path);
  const Handle space(H5Dget_space(dataset.get()), H5Sclose);
  const Shape shape = shape_of(space.get());
  std::vector<hsize_t> dims(shape.begin(), shape.end());
  dims.front() = length;
  if (H5Dset_extent(dataset.get(), dims.data()) < 0) throw io_error("{}:{}: cannot grow: {}", name_, path, reason());
}

void Output::group(const std::string& path) {
  if (exists(path)) return;
  const Handle links = creating_groups();
  const Handle made(H5Gcreate2(id(), path.c_str(), links.get(), H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
  if (!made) throw io_error("{}:{}: cannot be created: {}", name_, path, reason());
}

// ---- attributes ----------------------------------------------------------------------------------

void Output::write_attribute(hid_t object, const std::string& path, const std::string& key, hid_t type,
                             const Shape& shape, const void* data) {
  if (H5Aexists(object, key.c_str()) > 0) H5Adelete(object, key.c_str());
  const bool empty = !shape.empty() && shape.front() == 0;
  const Handle space = empty ? Handle(H5Screate(H5S_NULL), H5Sclose) : simple_space(shape);
  const Handle made(H5Acreate2(object, key.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (!made || (!empty && H5Awrite(made.get(), type, data) < 0))
    throw io_error("{}:{}: attribute {} cannot be written: {}", name_, path, key, reason());
}
void Output::write_text(hid_t object, const std::string& path, const std::string& key, const std::string& value) {
  const char* pointer = value.c_str();
  write_attribute(object, path, key, text_type().get(), {}, &pointer);
}
void Output::write_texts(hid_t object, const std::string& path, const std::string& key,
                         const std::vector<std::string>& values) {
  std::vector<const char*> pointers;
  for (const std::string& value : values)
    pointers.push_back(value.c_str());
  write_attribute(object, path, key, text_type().get(), {values.size()}, pointers.data());
}

void Output::attribute(const std::string& path, const std::string& key, const std::string& value) {
  write_text(open_object(*this, path).get(), path, key, value);
}
void Output::attribute(const std::string& path, const std::string& key, double value) {
  write_attribute(open_object(*this, path).get(), path, key, H5T_NATIVE_DOUBLE, {}, &value);
}
void Output::attribute(const std::string& path, const std::string& key, std::int64_t value) {
  write_attribute(open_object(*this, path).get(), path, key, H5T_NATIVE_INT64, {}, &value);
}
void Output::attribute(const std::string& path, const std::string& key, const std::vector<double>& values) {
  write_attribute(open_object(*this, path).get(), path, key, H5T_NATIVE_DOUBLE, {values.size()}, values.data());
}
void Output::attribute(const std::string& path, const std::string& key, const std::vector<std::string>& values) {
  write_texts(open_object(*this, path).get(), path, key, values);
}

void Output::stamp(const cli::Session& session, const std::string& kind, const Node* source, int kind_version) {
  attribute("/", "kind", kind);
  attribute("/", "kind_version", kind_version);
  attribute("/", "creator", fmt::format("Fachwerk {}", session.version));
  std::string lines;
  if (source != nullptr)
    for (const std::string& line : source->history())
      lines += line + "\n";
  lines += fmt::format("{} {} {}: {}", date(), session.tool, session.version, session.command_line);
  attribute("/", "history", lines);
}

// ---- what a filter does not know -----------------------------------------------------------------

namespace {

void copy_attribute(hid_t from, hid_t to, const char* key) {
  const Handle source(H5Aopen(from, key, H5P_DEFAULT), H5Aclose);
  const Handle type(H5Aget_type(source.get()), H5Tclose);
  const Handle space(H5Aget_space(source.get()), H5Sclose);
  const Handle target(H5Acreate2(to, key, type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  const hssize_t points = H5Sget_simple_extent_npoints(space.get());
  if (!source || !target || points <= 0) return;
  std::vector<std::byte> bytes(static_cast<std::size_t>(points) * H5Tget_size(type.get()));
  if (H5Aread(source.get(), type.get(), bytes.data()) >= 0) H5Awrite(target.get(), type.get(), bytes.data());
  const bool owns = H5Tdetect_class(type.get(), H5T_VLEN) > 0 || H5Tis_variable_str(type.get()) > 0;
  if (owns) H5Dvlen_reclaim(type.get(), space.get(), H5P_DEFAULT, bytes.data());
}

/// References point into the file they came from: they cannot be carried.
bool is_reference(hid_t object, const char* key) {
  const Handle attribute(H5Aopen(object, key, H5P_DEFAULT), H5Aclose);
  const Handle type(H5Aget_type(attribute.get()), H5Tclose);
  return H5Tdetect_class(type.get(), H5T_REFERENCE) > 0;
}

void carry_attributes(const Node& source, const Node& target, const std::string& path) {
  const Handle from = open_object(source, path);
  const Handle to = open_object(target, path);
  for (const std::string& key : attribute_names(from.get()))
    if (H5Aexists(to.get(), key.c_str()) == 0 && !is_reference(from.get(), key.c_str()))
      copy_attribute(from.get(), to.get(), key.c_str());
}

bool has_below(const std::set<std::string>& paths, const std::string& path) {
  const auto next = paths.lower_bound(path + "/");
  return next != paths.end() && next->starts_with(path + "/");
}

}  // namespace

void Output::copy(const Node& source, const std::string& path, const std::string& as) {
  const std::string& target = as.empty() ? path : as;
  const Handle links = creating_groups();
  if (H5Ocopy(source.id(), path.c_str(), id(), target.c_str(), H5P_DEFAULT, links.get()) < 0)
    throw io_error("{}:{}: cannot be copied to {}: {}", source.name(), path, name_, reason());
}

void Output::carry_group(const Node& source, const std::string& group, const std::set<std::string>& except) {
  carry_attributes(source, *this, group);
  for (const std::string& child : source.children(group)) {
    const std::string path = (group == "/" ? "" : group) + "/" + child;
    if (except.contains(path) || !source.exists(path)) continue;
    const bool dataset = source.is_dataset(path);
    if (!exists(path) && (dataset || !has_below(except, path))) {
      copy(source, path);
    } else if (dataset) {
      if (is_dataset(path)) carry_attributes(source, *this, path);
    } else if (!is_dataset(path)) {
      this->group(path);
      carry_group(source, path, except);
    }
  }
}

void Output::carry(const Node& source, const std::set<std::string>& except) {
  carry_group(source, "/", except);
}

}  // namespace fachwerk::h5
