#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <numeric>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/chunks.hpp"
#include "io/hdf5.hpp"
#include "io/hdf5_internal.hpp"

namespace fachwerk::h5 {

namespace internal {

void initialise() {
  static const bool once = [] {
    H5dont_atexit();
    H5open();
    return true;
  }();
  (void)once;
  silence();
}

void silence() {
  thread_local const herr_t once = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  (void)once;
}

std::string reason() {
  std::string text;
  const auto keep_first = [](unsigned, const H5E_error2_t* error, void* data) -> herr_t {
    auto& kept = *static_cast<std::string*>(data);
    if (kept.empty() && error->desc != nullptr) kept = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, &text);
  // The file driver reports "..., error message = 'No space left on device', ...": that part is what a user needs.
  const std::string marker = "error message = '";
  if (const auto at = text.find(marker); at != std::string::npos) {
    const auto begin = at + marker.size();
    return text.substr(begin, text.find('\'', begin) - begin);
  }
  return text.empty() ? "unknown HDF5 error" : text;
}

Handle open_dataset(const Node& node, const std::string& path) {
  silence();
  Handle dataset(H5Dopen2(node.id(), path.c_str(), H5P_DEFAULT), H5Dclose);
  if (dataset) return dataset;
  const std::string why = reason();
  if (!node.is_dataset(path))
    throw bad_input("{}:{}: {}", node.name(), path,
                    node.exists(path) ? "is a group, expected a dataset" : "no such dataset");
  throw bad_input("{}:{}: cannot be opened: {}", node.name(), path, why);
}

Handle open_object(const Node& node, const std::string& path) {
  silence();
  Handle object(H5Oopen(node.id(), path.c_str(), H5P_DEFAULT), H5Oclose);
  if (object) return object;
  const std::string why = reason();
  if (!node.exists(path)) throw bad_input("{}:{}: no such object", node.name(), path);
  throw bad_input("{}:{}: cannot be opened: {}", node.name(), path, why);
}

std::vector<std::string> attribute_names(hid_t object) {
  std::vector<std::string> names;
  const auto add = [](hid_t, const char* key, const H5A_info_t*, void* data) -> herr_t {
    static_cast<std::vector<std::string>*>(data)->emplace_back(key);
    return 0;
  };
  hsize_t index = 0;
  H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, &index, add, &names);
  return names;
}

Handle simple_space(const Shape& shape) {
  if (shape.empty()) return {H5Screate(H5S_SCALAR), H5Sclose};
  const std::vector<hsize_t> dims(shape.begin(), shape.end());
  return {H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose};
}

Shape shape_of(hid_t space) {
  const int rank = H5Sget_simple_extent_ndims(space);
  std::vector<hsize_t> dims(static_cast<std::size_t>(std::max(rank, 0)));
  if (rank > 0) H5Sget_simple_extent_dims(space, dims.data(), nullptr);
  return {dims.begin(), dims.end()};
}

Handle select(hid_t dataset, const Shape& offset, const Shape& length) {
  Handle space(H5Dget_space(dataset), H5Sclose);
  if (offset.empty()) return space;
  const std::vector<hsize_t> start(offset.begin(), offset.end());
  const std::vector<hsize_t> size(length.begin(), length.end());
  if (std::find(size.begin(), size.end(), 0) != size.end())
    H5Sselect_none(space.get());
  else
    H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr);
  return space;
}

namespace {

// The core driver's memory is our region: every "allocation" is the region itself, growth is free within it.
void* image_grow(void*, size_t size, H5FD_file_image_op_t, void* region) {
  const auto& image = *static_cast<const io::Region*>(region);
  return size <= image.capacity() ? image.data() : nullptr;
}
void* image_allocate(size_t size, H5FD_file_image_op_t operation, void* region) {
  return image_grow(nullptr, size, operation, region);
}
void* image_copy(void* target, const void* source, size_t size, H5FD_file_image_op_t, void*) {
  return target == source ? target : std::memcpy(target, source, size);
}
herr_t image_free(void*, H5FD_file_image_op_t, void*) {
  return 0;
}
void* region_copy(void* region) {
  return region;
}
herr_t region_free(void*) {
  return 0;
}

}  // namespace

Handle image_access(const io::Region& image, std::size_t size) {
  Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fapl_core(access.get(), std::size_t{1} << 20, 0);
  H5FD_file_image_callbacks_t callbacks = {
      image_allocate, image_copy, image_grow, image_free, region_copy, region_free, const_cast<io::Region*>(&image)};
  H5Pset_file_image_callbacks(access.get(), &callbacks);
  if (size > 0) H5Pset_file_image(access.get(), image.data(), size);
  return access;
}

Handle text_type() {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  return type;
}

}  // namespace internal

using namespace internal;

namespace {

template <class Real>
hid_t complex_type() {
  static const Handle type = [] {
    Handle compound(H5Tcreate(H5T_COMPOUND, sizeof(std::complex<Real>)), H5Tclose);
    const hid_t part = sizeof(Real) == 8 ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT;
    H5Tinsert(compound.get(), "r", 0, part);
    H5Tinsert(compound.get(), "i", sizeof(Real), part);
    return compound;
  }();
  return type.get();
}

bool is_complex(hid_t type) {
  if (H5Tget_class(type) != H5T_COMPOUND || H5Tget_nmembers(type) != 2) return false;
  return H5Tget_member_index(type, "r") == 0 && H5Tget_member_index(type, "i") == 1;
}

TypeClass class_of(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
    case H5T_ENUM:
      return TypeClass::integer;
    case H5T_FLOAT:
      return TypeClass::real;
    case H5T_STRING:
      return TypeClass::text;
    case H5T_COMPOUND:
      return is_complex(type) ? TypeClass::complex : TypeClass::other;
    default:
      return TypeClass::other;
  }
}

std::string type_name(hid_t type) {
  const std::size_t bits = 8 * H5Tget_size(type);
  switch (class_of(type)) {
    case TypeClass::integer: {
      const bool plain = H5Tget_class(type) == H5T_INTEGER;
      const Handle base(plain ? H5Tcopy(type) : H5Tget_super(type), H5Tclose);
      return fmt::format("{}{}", H5Tget_sign(base.get()) == H5T_SGN_2 ? "int" : "uint", bits);
    }
    case TypeClass::real:
      return fmt::format("float{}", bits);
    case TypeClass::complex:
      return fmt::format("complex{}", bits);
    case TypeClass::text:
      return "string";
    default:
      break;
  }
  switch (H5Tget_class(type)) {
    case H5T_COMPOUND:
      return "compound";
    case H5T_OPAQUE:
      return "opaque";
    case H5T_REFERENCE:
      return "reference";
    case H5T_VLEN:
      return "ragged";
    case H5T_ARRAY:
      return "array";
    case H5T_BITFIELD:
      return "bitfield";
    default:
      return "unknown";
  }
}

const char* class_name(TypeClass type) {
  switch (type) {
    case TypeClass::integer:
      return "integers";
    case TypeClass::real:
      return "numbers";
    case TypeClass::complex:
      return "complex numbers";
    case TypeClass::text:
      return "strings";
    default:
      return "another type";
  }
}

bool readable_as(TypeClass stored, TypeClass wanted) {
  return stored == wanted || (stored == TypeClass::integer && wanted == TypeClass::real);
}

std::string dimensions(std::size_t rank) {
  return fmt::format("{} dimension{}", rank, rank == 1 ? "" : "s");
}

std::string lengths(const Shape& shape) {
  std::vector<std::string> words;
  for (const std::size_t length : shape)
    words.push_back(length == 0 ? "any" : std::to_string(length));
  return fmt::format("({})", fmt::join(words, ", "));
}

/// Narrowing conversions must not clip silently.
H5T_conv_ret_t refuse_overflow(H5T_conv_except_t what, hid_t, hid_t, void*, void*, void* overflow) {
  if (what != H5T_CONV_EXCEPT_RANGE_HI && what != H5T_CONV_EXCEPT_RANGE_LOW) return H5T_CONV_UNHANDLED;
  *static_cast<bool*>(overflow) = true;
  return H5T_CONV_ABORT;
}

// ---- strings -------------------------------------------------------------------------------------

/// Reads `count` strings through `read(memory type, buffer)`, whatever their form in the file.
template <class Read>
std::vector<std::string> read_strings(hid_t type, hid_t space, std::size_t count, const Read& read) {
  std::vector<std::string> result;
  result.reserve(count);
  if (H5Tis_variable_str(type) > 0) {
    Handle memory = text_type();
    H5Tset_cset(memory.get(), H5Tget_cset(type));
    std::vector<char*> pointers(count, nullptr);
    if (read(memory.get(), pointers.data()) < 0) return result;
    for (const char* pointer : pointers)
      result.emplace_back(pointer != nullptr ? pointer : "");
    H5Dvlen_reclaim(memory.get(), space, H5P_DEFAULT, pointers.data());
    return result;
  }
  const std::size_t size = H5Tget_size(type);
  std::vector<char> bytes(size * count);
  const Handle memory(H5Tcopy(type), H5Tclose);
  if (read(memory.get(), bytes.data()) < 0) return result;
  const bool space_padded = H5Tget_strpad(type) == H5T_STR_SPACEPAD;
  for (std::size_t i = 0; i < count; ++i) {
    std::string text(bytes.data() + i * size, strnlen(bytes.data() + i * size, size));
    if (space_padded) text.erase(text.find_last_not_of(' ') + 1);
    result.push_back(std::move(text));
  }
  return result;
}

struct Attribute {
  Handle attribute, type, space;
  std::size_t count = 0;
};

std::optional<Attribute> open_attribute(const Node& node, const std::string& path, const std::string& key) {
  if (!node.has_attribute(path, key)) return {};
  Attribute result;
  result.attribute = Handle(H5Aopen_by_name(node.id(), path.c_str(), key.c_str(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (!result.attribute) return {};
  result.type = Handle(H5Aget_type(result.attribute.get()), H5Tclose);
  result.space = Handle(H5Aget_space(result.attribute.get()), H5Sclose);
  result.count = static_cast<std::size_t>(std::max<hssize_t>(0, H5Sget_simple_extent_npoints(result.space.get())));
  return result;
}

// ---- opening -------------------------------------------------------------------------------------

std::uint64_t little_endian(const unsigned char* bytes, int size) {
  std::uint64_t value = 0;
  for (int i = size - 1; i >= 0; --i)
    value = value << 8 | bytes[i];
  return value;
}

constexpr std::array<unsigned char, 8> signature = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};

/// Length of the file by its superblock (format specification, II.A), or nothing if there is no signature. It stands at
/// 0 or at a power of two from 512.
using ReadAt = std::function<std::size_t(std::uint64_t offset, unsigned char* bytes, std::size_t size)>;

std::optional<std::uint64_t> promised_length(const ReadAt& read_at, std::uint64_t length) {
  std::array<unsigned char, 64> bytes = {};
  for (std::uint64_t base = 0; base < length; base = base == 0 ? 512 : 2 * base) {
    const std::size_t got = read_at(base, bytes.data(), bytes.size());
    if (got < 8 || !std::equal(signature.begin(), signature.end(), bytes.begin())) continue;
    const bool old = bytes[8] < 2;
    const int size = old ? bytes[13] : bytes[9];
    const std::size_t at =
        old ? (bytes[8] == 0 ? 24 : 28) + 2 * static_cast<std::size_t>(size) : 12 + 2 * static_cast<std::size_t>(size);
    if (size > 8 || got < at + static_cast<std::size_t>(size)) return length + 1;
    return little_endian(bytes.data() + at, size);
  }
  return {};
}

ReadAt from_descriptor(const io::Descriptor& file) {
  return [fd = file.get()](std::uint64_t offset, unsigned char* bytes, std::size_t size) {
    return static_cast<std::size_t>(std::max<ssize_t>(0, pread(fd, bytes, size, static_cast<off_t>(offset))));
  };
}

ReadAt from_memory(const std::byte* data, std::size_t length) {
  return [data, length](std::uint64_t offset, unsigned char* bytes, std::size_t size) {
    const std::size_t got = std::min<std::size_t>(size, length - offset);
    std::memcpy(bytes, data + offset, got);
    return got;
  };
}

[[noreturn]] void explain_unreadable(const ReadAt& read_at, std::uint64_t length, const std::string& name) {
  if (length == 0) {
    const Error error = bad_input("{}: empty, expected an HDF5 file", name);
    throw name == "stdin" ? error.with_hint("the command before it in the pipe may have failed") : error;
  }
  const auto promised = promised_length(read_at, length);
  if (!promised) throw bad_input("{}: not an HDF5 file", name).with_hint("h5-import converts other formats");
  if (*promised > length) throw bad_input("{}: truncated HDF5 file: {} of {} bytes", name, length, *promised);
  throw bad_input("{}: damaged HDF5 file: {}", name, reason());
}

}  // namespace

// Every element type that `read` and `write` accept.
template <>
hid_t Node::memory_type<float>() {
  return H5T_NATIVE_FLOAT;
}
template <>
hid_t Node::memory_type<double>() {
  return H5T_NATIVE_DOUBLE;
}
template <>
hid_t Node::memory_type<std::int8_t>() {
  return H5T_NATIVE_INT8;
}
template <>
hid_t Node::memory_type<char>() {
  return H5T_NATIVE_CHAR;
}
template <>
hid_t Node::memory_type<std::uint8_t>() {
  return H5T_NATIVE_UINT8;
}
template <>
hid_t Node::memory_type<std::int16_t>() {
  return H5T_NATIVE_INT16;
}
template <>
hid_t Node::memory_type<std::uint16_t>() {
  return H5T_NATIVE_UINT16;
}
template <>
hid_t Node::memory_type<std::int32_t>() {
  return H5T_NATIVE_INT32;
}
template <>
hid_t Node::memory_type<std::uint32_t>() {
  return H5T_NATIVE_UINT32;
}
template <>
hid_t Node::memory_type<long>() {
  return H5T_NATIVE_LONG;
}
template <>
hid_t Node::memory_type<unsigned long>() {
  return H5T_NATIVE_ULONG;
}
template <>
hid_t Node::memory_type<long long>() {
  return H5T_NATIVE_LLONG;
}
template <>
hid_t Node::memory_type<unsigned long long>() {
  return H5T_NATIVE_ULLONG;
}
template <>
hid_t Node::memory_type<std::complex<double>>() {
  return complex_type<double>();
}
template <>
hid_t Node::memory_type<std::complex<float>>() {
  return complex_type<float>();
}

std::size_t Node::count(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
}

bool Node::exists(const std::string& path) const {
  silence();
  // An error, not false, where a group on the way is missing.
  return path.empty() || path == "/" || H5Oexists_by_name(id(), path.c_str(), H5P_DEFAULT) > 0;
}

bool Node::is_dataset(const std::string& path) const {
  silence();
  const Handle object(H5Oopen(id(), path.c_str(), H5P_DEFAULT), H5Oclose);
  return object && H5Iget_type(object.get()) == H5I_DATASET;
}

DatasetInfo Node::info(const std::string& path) const {
  const Handle dataset = open_dataset(*this, path);
  const Handle type(H5Dget_type(dataset.get()), H5Tclose);
  const Handle space(H5Dget_space(dataset.get()), H5Sclose);
  const TypeClass kind = class_of(type.get());
  return {shape_of(space.get()), kind, H5Tget_size(type.get()),
          kind == TypeClass::integer && type_name(type.get()).front() == 'i', type_name(type.get())};
}

std::vector<std::string> Node::children(const std::string& group) const {
  const Handle object = open_object(*this, group);
  std::vector<std::string> names;
  if (H5Iget_type(object.get()) != H5I_GROUP) return names;
  const auto add = [](hid_t, const char* child, const H5L_info_t*, void* data) -> herr_t {
    static_cast<std::vector<std::string>*>(data)->emplace_back(child);
    return 0;
  };
  hsize_t index = 0;
  H5Literate(object.get(), H5_INDEX_NAME, H5_ITER_INC, &index, add, &names);
  return names;
}

void Node::visit(const std::function<void(const std::string&, bool)>& fn) const {
  std::set<haddr_t> seen;  // hard links may form cycles
  const std::function<void(const std::string&)> walk = [&](const std::string& group) {
    H5O_info_t status;
    if (H5Oget_info_by_name2(id(), group.c_str(), &status, H5O_INFO_BASIC, H5P_DEFAULT) < 0 ||
        !seen.insert(status.addr).second)
      return;
    for (const std::string& child : children(group)) {
      const std::string path = (group == "/" ? "" : group) + "/" + child;
      if (!exists(path)) continue;  // dangling soft link
      const bool dataset = is_dataset(path);
      fn(path, dataset);
      if (!dataset) walk(path);
    }
  };
  walk("/");
}

Shape Node::check(const std::string& path, const Expect& expect, TypeClass wanted) const {
  const DatasetInfo found = info(path);
  if (!readable_as(found.type, wanted))
    throw bad_input("{}:{}: expected {}, found {}", name_, path, class_name(wanted), found.name);
  const std::size_t rank = !expect.axes.empty()    ? expect.axes.size()
                           : !expect.shape.empty() ? expect.shape.size()
                                                   : static_cast<std::size_t>(expect.rank.value_or(-1));
  const bool any_rank = expect.axes.empty() && expect.shape.empty() && !expect.rank;
  if (!any_rank && found.shape.size() != rank)
    throw bad_input("{}:{}: expected {}{}, found {}", name_, path, dimensions(rank),
                    expect.axes.empty() ? "" : fmt::format(" ({})", fmt::join(expect.axes, ", ")), found.shape.size());
  for (std::size_t i = 0; i < expect.shape.size(); ++i)
    if (expect.shape[i] != 0 && expect.shape[i] != found.shape[i])
      throw bad_input("{}:{}: expected shape {}, found {}", name_, path, lengths(expect.shape), lengths(found.shape));
  return found.shape;
}

void Node::check_slab(const std::string& path, const Shape& offset, const Shape& length, std::size_t size) const {
  const Shape shape = info(path).shape;
  if (offset.size() != shape.size() || length.size() != shape.size() || count(length) != size)
    throw std::logic_error(fmt::format("{}:{}: slab does not fit its dataset or its memory", name_, path));
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (offset[i] > shape[i] || length[i] > shape[i] - offset[i])
      throw bad_input("{}:{}: axis {} has length {}, expected at least {}", name_, path, i, shape[i],
                      offset[i] + length[i]);
}

void Node::close() noexcept {
  if (together_ && std::uncaught_exceptions() > 0)
    file_.release();
  else
    file_.reset();
}

void Node::not_finite(const std::string& path, std::size_t flat, const Shape& shape) const {
  std::vector<std::size_t> index(shape.size());
  for (std::size_t i = shape.size(); i-- > 0; flat /= shape[i])
    index[i] = flat % shape[i];
  throw bad_input("{}:{}[{}]: expected finite numbers, found NaN or infinity", name_, path, fmt::join(index, ", "));
}

void Node::read_into(const std::string& path, const Shape& offset, const Shape& length, void* values,
                     hid_t type) const {
  const Handle dataset = open_dataset(*this, path);
  const Handle file_space = select(dataset.get(), offset, length);
  const Handle memory_space = offset.empty() ? Handle(H5Scopy(file_space.get()), H5Sclose) : simple_space(length);
  if (H5Sget_simple_extent_npoints(memory_space.get()) == 0 && !together_) return;
  if (!together_ && read_chunks(dataset.get(), offset, length, values, type)) return;
  bool overflow = false;
  const Handle transfer(together_ ? H5Pcopy(together_->transfer.get()) : H5Pcreate(H5P_DATASET_XFER), H5Pclose);
  if (H5Tget_class(type) == H5T_INTEGER) H5Pset_type_conv_cb(transfer.get(), refuse_overflow, &overflow);
  if (H5Dread(dataset.get(), type, memory_space.get(), file_space.get(), transfer.get(), values) >= 0) return;
  if (overflow) throw bad_input("{}:{}: a value does not fit into {}", name_, path, type_name(type));
  throw io_error("{}:{}: cannot be read: {}", name_, path, reason());
}

std::vector<std::string> Node::strings(const std::string& path, std::size_t length) const {
  const Shape shape = check(path, {}, TypeClass::text);
  if (shape.size() > 1) throw bad_input("{}:{}: expected 1 dimension, found {}", name_, path, shape.size());
  if (length != 0 && count(shape) != length)
    throw bad_input("{}:{}: expected {} strings, found {}", name_, path, length, count(shape));
  const Handle dataset = open_dataset(*this, path);
  const Handle type(H5Dget_type(dataset.get()), H5Tclose);
  const Handle space(H5Dget_space(dataset.get()), H5Sclose);
  auto result = read_strings(type.get(), space.get(), count(shape), [&](hid_t memory, void* data) {
    return H5Dread(dataset.get(), memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data);
  });
  if (result.size() != count(shape)) throw io_error("{}:{}: cannot be read: {}", name_, path, reason());
  return result;
}

// ---- attributes ----------------------------------------------------------------------------------

bool Node::has_attribute(const std::string& path, const std::string& key) const {
  silence();
  return H5Aexists_by_name(id(), path.c_str(), key.c_str(), H5P_DEFAULT) > 0;
}

std::vector<std::string> Node::attributes(const std::string& path) const {
  return attribute_names(open_object(*this, path).get());
}

std::vector<std::string> Node::texts(const std::string& path, const std::string& key) const {
  const auto found = open_attribute(*this, path, key);
  if (!found || H5Tget_class(found->type.get()) != H5T_STRING) return {};
  return read_strings(found->type.get(), found->space.get(), found->count,
                      [&](hid_t memory, void* data) { return H5Aread(found->attribute.get(), memory, data); });
}

std::optional<std::string> Node::text(const std::string& path, const std::string& key) const {
  auto values = texts(path, key);
  return values.size() == 1 ? std::optional(std::move(values.front())) : std::nullopt;
}

std::vector<double> Node::numbers(const std::string& path, const std::string& key) const {
  const auto found = open_attribute(*this, path, key);
  if (!found || !readable_as(class_of(found->type.get()), TypeClass::real)) return {};
  std::vector<double> values(found->count);
  if (H5Aread(found->attribute.get(), H5T_NATIVE_DOUBLE, values.data()) < 0)
    throw io_error("{}:{}: attribute {} cannot be read: {}", name_, path, key, reason());
  return values;
}

std::optional<double> Node::number(const std::string& path, const std::string& key) const {
  const auto values = numbers(path, key);
  return values.size() == 1 ? std::optional(values.front()) : std::nullopt;
}

std::string Node::kind() const {
  const auto found = text("/", "kind");
  return found ? *found : text("/", "format").value_or("");
}

std::vector<std::string> Node::history() const {
  std::vector<std::string> lines;
  for (const std::string& text : texts("/", "history")) {
    std::size_t begin = 0;
    while (begin < text.size()) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      if (end > begin) lines.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  return lines;
}

// ---- Input ---------------------------------------------------------------------------------------

Input Input::open(const std::string& path) {
  initialise();
  return path == "-" ? from_stdin() : from_file(path, std::nullopt);
}

Input Input::open(const std::string& path, Together together) {
  initialise();
  return from_file(path, std::move(together));
}

Input Input::from_file(const std::string& path, std::optional<Together> together) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) throw io_error("{}: is a directory, expected a file", path);
  const io::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) throw io_error("{}: {}", path, errno == ENOENT ? "no such file" : std::strerror(errno));
  struct stat status = {};
  if (fstat(file.get(), &status) == 0 && !S_ISREG(status.st_mode))
    throw io_error("{}: is not a regular file", path).with_hint("pipe it in and give - instead");
  Input input;
  input.name_ = path;
  input.together_ = std::move(together);
  const hid_t access = input.together_ ? input.together_->access.get() : H5P_DEFAULT;
  input.file_ = Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access), H5Fclose);
  if (!input.file_) explain_unreadable(from_descriptor(file), static_cast<std::uint64_t>(status.st_size), path);
  return input;
}

Input Input::from_stdin() {
  Input input;
  input.name_ = "stdin";
  input.spool_ = std::make_unique<io::Spool>(io::Spool::of_stdin());
  io::Spool& spool = *input.spool_;
  if (spool.in_memory()) {
    const Handle access = image_access(spool.memory(), spool.size());
    if (spool.size() > 0) input.file_ = Handle(H5Fopen("stdin", H5F_ACC_RDONLY, access.get()), H5Fclose);
    if (!input.file_) explain_unreadable(from_memory(spool.memory().data(), spool.size()), spool.size(), "stdin");
    return input;
  }
  input.file_ = Handle(H5Fopen(spool.path().c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  spool.hide();
  struct stat status = {};
  fstat(spool.file().get(), &status);
  if (!input.file_)
    explain_unreadable(from_descriptor(spool.file()), static_cast<std::uint64_t>(status.st_size), "stdin");
  return input;
}

void Input::require_kind(const std::vector<std::string>& kinds, const std::string& dataset) const {
  const std::string found = kind();
  if (std::find(kinds.begin(), kinds.end(), found) != kinds.end()) return;
  if (!dataset.empty()) return;
  throw bad_input("{}: expected kind {}, found {}", name_, fmt::join(kinds, " or "), found.empty() ? "none" : found);
}

}  // namespace fachwerk::h5
