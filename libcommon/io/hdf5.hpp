#pragma once

#include <cmath>
#include <complex>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <hdf5.h>

#include "cli/error.hpp"
#include "io/spool.hpp"

namespace fachwerk::cli {
struct Session;
}

/// HDF5 between tools: RAII over the C API, `-` pipes, atomic outputs, history. Kinds and attributes as README
/// describes.
namespace fachwerk::h5 {

using Shape = std::vector<std::size_t>;

/// Owns one HDF5 id and closes it.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle() = default;
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Handle() { reset(); }
  void reset() {
    if (id_ >= 0 && close_ != nullptr) close_(id_);
    id_ = H5I_INVALID_HID;
  }
  void release() { id_ = H5I_INVALID_HID; }  ///< leaves it open
  hid_t get() const { return id_; }
  explicit operator bool() const { return id_ >= 0; }

 private:
  hid_t id_ = H5I_INVALID_HID;
  Close close_ = nullptr;
};

/// Element types that datasets and attributes may have in memory.
template <class T>
concept Numeric = (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) || std::is_same_v<T, std::complex<double>> ||
                  std::is_same_v<T, std::complex<float>>;

/// A dataset in memory, row-major.
template <class T>
struct Array {
  std::vector<T> values;
  Shape shape;
  std::size_t size() const { return values.size(); }
};

/// What a dataset must be like; a mismatch is bad input that names file, dataset, what was expected and what was found.
struct Expect {
  std::optional<int> rank = {};        ///< number of dimensions
  std::vector<std::string> axes = {};  ///< names for the message: {"rows", "cols", "bands"}; gives the rank too
  Shape shape = {};                    ///< exact lengths; 0 leaves an axis free
  bool finite = false;                 ///< no NaN, no infinity: the message names the first index
};

enum class TypeClass { integer, real, complex, text, other };

struct DatasetInfo {
  Shape shape;
  TypeClass type;
  std::size_t bytes;  ///< of one element
  bool is_signed;     ///< integers
  std::string name;   ///< "float64", "int32", "string", ...
};

/// What a written dataset says of itself, and how it is stored.
struct Describe {
  std::string units = {};
  std::string long_name = {};
  std::vector<std::string> dims = {};  ///< names of its axes
  Shape chunk = {};                    ///< chosen when empty
  std::optional<int> deflate = {};     ///< level; none for pipes and small data, 1 otherwise
};

/// How the ranks of a job share one file: made by cluster/hdf5.hpp.
struct Together {
  Handle access;                                               ///< HDF5 access properties
  Handle transfer;                                             ///< HDF5 transfer properties
  std::string mark;                                            ///< part of the temporary's name, the same on every rank
  std::function<void(const std::function<void()>&)> on_first;  ///< runs on one rank; its error comes out on all
};

/// Reading side of a file, shared by Input and Output.
class Node {
 public:
  virtual ~Node() { close(); }
  hid_t id() const { return file_.get(); }
  const std::string& name() const { return name_; }  ///< path, or "stdin" / "stdout": for messages

  bool exists(const std::string& path) const;
  bool is_dataset(const std::string& path) const;
  DatasetInfo info(const std::string& path) const;                    ///< throws bad input if it is not there
  std::vector<std::string> children(const std::string& group) const;  ///< names, sorted
  void visit(
      const std::function<void(const std::string& path, bool dataset)>& fn) const;  ///< every object, depth first

  /// Whole dataset. Integers may be read as wider integers or reals; reals as reals; anything else is bad input.
  template <class T>
  Array<T> read(const std::string& path, const Expect& expect = {}) const {
    Array<T> array;
    array.shape = check(path, expect, kind_of<T>());
    array.values.resize(count(array.shape));
    read_into(path, {}, {}, array.values.data(), memory_type<T>());
    if (expect.finite) check_finite<T>(path, array.values, array.shape);
    return array;
  }
  /// Just the values of a one-dimensional dataset.
  template <class T>
  std::vector<T> column(const std::string& path, std::size_t length = 0, bool finite = false) const {
    return read<T>(path, {.rank = 1, .shape = length ? Shape{length} : Shape{}, .finite = finite}).values;
  }
  /// A hyperslab: `offset` and `length` per axis; `values` holds the product of `length`.
  template <Numeric T>
  void read_slab(const std::string& path, const Shape& offset, const Shape& length, std::span<T> values) const {
    check_slab(path, offset, length, values.size());
    check(path, {}, kind_of<T>());
    read_into(path, offset, length, values.data(), memory_type<T>());
  }
  std::vector<std::string> strings(const std::string& path,
                                   std::size_t length = 0) const;  ///< rank 0 or 1, fixed or variable

  bool has_attribute(const std::string& path, const std::string& key) const;
  std::vector<std::string> attributes(const std::string& path) const;                      ///< their names
  std::optional<std::string> text(const std::string& path, const std::string& key) const;  ///< string attribute
  std::optional<double> number(const std::string& path, const std::string& key) const;     ///< scalar number
  std::vector<double> numbers(const std::string& path, const std::string& key) const;      ///< empty when missing
  std::vector<std::string> texts(const std::string& path, const std::string& key) const;   ///< empty when missing

  std::string kind() const;                  ///< root attribute `kind` (or `format`), empty when missing
  std::vector<std::string> history() const;  ///< one line per command so far

 protected:
  Node() = default;
  Node(Node&&) = default;
  Node& operator=(Node&&) = default;
  template <class T>
  static TypeClass kind_of() {
    if constexpr (std::is_integral_v<T>) return TypeClass::integer;
    if constexpr (std::is_floating_point_v<T>) return TypeClass::real;
    return TypeClass::complex;
  }
  template <class T>
  static hid_t memory_type();
  template <class T>
  void check_finite(const std::string& path, const std::vector<T>& values, const Shape& shape) const {
    if constexpr (!std::is_integral_v<T>)
      for (std::size_t i = 0; i < values.size(); ++i)
        if (!(std::abs(values[i]) < INFINITY)) not_finite(path, i, shape);
  }
  static std::size_t count(const Shape& shape);
  [[noreturn]] void not_finite(const std::string& path, std::size_t flat, const Shape& shape) const;
  Shape check(const std::string& path, const Expect& expect, TypeClass wanted) const;
  void check_slab(const std::string& path, const Shape& offset, const Shape& length, std::size_t size) const;
  void read_into(const std::string& path, const Shape& offset, const Shape& length, void* values, hid_t type) const;

  std::string name_;
  Handle file_;
  std::optional<Together> together_;  ///< of a file that several ranks have open

  /// Closing a shared file waits for all ranks. With an exception on its way some may never come, and the job is about
  /// to end: the file is then left open.
  void close() noexcept;
};

/// A file that is read: a path, or `-` for a complete HDF5 file on stdin (spooled in memory, or in $TMPDIR when large).
class Input : public Node {
 public:
  static Input open(const std::string& path);
  static Input open(const std::string& path, Together together);
  /// Throws bad input unless the file's kind is one of these. A file without a kind passes when `dataset` was given.
  void require_kind(const std::vector<std::string>& kinds, const std::string& dataset = {}) const;

 private:
  static Input from_file(const std::string& path, std::optional<Together> together);
  static Input from_stdin();
  std::unique_ptr<io::Spool> spool_;  ///< stdin; it stays in place, HDF5 keeps its address
};

/// A file that is written: to a temporary beside the target that `commit` renames, or to stdout at `commit` for `-`.
/// Without `commit` nothing is left.
class Output : public Node {
 public:
  /// `expected_bytes`, where known, decides whether a pipe's image is kept in memory or in $TMPDIR.
  static Output create(const std::string& path, bool force, std::size_t expected_bytes = 0);
  static Output create(const std::string& path, bool force, Together together);

  Output() = default;
  Output(Output&& other) = default;
  Output& operator=(Output&& other) = default;
  ~Output() override;

  /// Creates groups on the way. `shape` empty and one value: a scalar.
  template <Numeric T>
  void write(const std::string& path, std::span<const T> values, const Shape& shape, const Describe& describe = {}) {
    check_count(path, values.size(), shape);
    make_dataset(path, memory_type<T>(), shape, false, describe);
    write_from(path, {}, {}, values.data(), memory_type<T>());
  }
  template <Numeric T>
  void write(const std::string& path, const std::vector<T>& values, const Shape& shape, const Describe& describe = {}) {
    write(path, std::span<const T>(values), shape, describe);
  }
  template <Numeric T>
  void column(const std::string& path, const std::vector<T>& values, const Describe& describe = {}) {
    write(path, std::span<const T>(values), Shape{values.size()}, describe);
  }
  void strings(const std::string& path, const std::vector<std::string>& values, const Describe& describe = {});

  /// An empty dataset to be filled by slabs. `unlimited` lets its first axis grow by `extend`.
  template <Numeric T>
  void create_dataset(const std::string& path, const Shape& shape, const Describe& describe = {},
                      bool unlimited = false) {
    make_dataset(path, memory_type<T>(), shape, unlimited, describe);
  }
  template <Numeric T>
  void write_slab(const std::string& path, const Shape& offset, const Shape& length, std::span<const T> values) {
    check_slab(path, offset, length, values.size());
    write_from(path, offset, length, values.data(), memory_type<T>());
  }
  void extend(const std::string& path, std::size_t length);  ///< new length of the first axis

  /// Where the values of a dataset in one piece (no chunks) lie in the file until `commit`: for rows that many ranks or
  /// threads write at once, past HDF5. Nothing where there is no such place: a pipe, a dataset by chunks, a machine
  /// whose bytes are ordered otherwise.
  struct Place {
    std::string file;
    std::uint64_t offset;  ///< bytes
  };
  std::optional<Place> place(const std::string& path) const;
  void group(const std::string& path);

  void attribute(const std::string& path, const std::string& key, const std::string& value);
  void attribute(const std::string& path, const std::string& key, const char* value) {
    attribute(path, key, std::string(value));
  }
  void attribute(const std::string& path, const std::string& key, double value);
  void attribute(const std::string& path, const std::string& key, std::int64_t value);
  void attribute(const std::string& path, const std::string& key, int value) {
    attribute(path, key, std::int64_t{value});
  }
  void attribute(const std::string& path, const std::string& key, const std::vector<double>& values);
  void attribute(const std::string& path, const std::string& key, const std::vector<std::string>& values);

  /// Root attributes kind, kind_version, creator and history (that of `source`, if any, plus this command).
  void stamp(const cli::Session& session, const std::string& kind, const Node* source = nullptr, int kind_version = 1);
  /// Copies what `source` has and this file lacks: unknown datasets, groups and attributes pass a filter untouched.
  /// Paths in `except`, and what is below them, stay behind.
  void carry(const Node& source, const std::set<std::string>& except = {});
  /// Copies one object of `source` as it is, attributes included.
  void copy(const Node& source, const std::string& path, const std::string& as = {});

  /// Finishes: flushes, renames to the target or sends the image to stdout.
  void commit();

 private:
  static Output create_file(const std::string& path, bool force, std::optional<Together> together);
  void publish();
  void strings_of_one_length(const std::string& path, const std::vector<std::string>& values, const Describe& describe);
  void make_dataset(const std::string& path, hid_t type, const Shape& shape, bool unlimited, const Describe& describe);
  void write_attribute(hid_t object, const std::string& path, const std::string& key, hid_t type, const Shape& shape,
                       const void* data);
  void write_text(hid_t object, const std::string& path, const std::string& key, const std::string& value);
  void write_texts(hid_t object, const std::string& path, const std::string& key,
                   const std::vector<std::string>& values);
  void carry_group(const Node& source, const std::string& group, const std::set<std::string>& except);
  void check_count(const std::string& path, std::size_t size, const Shape& shape) const;
  void write_from(const std::string& path, const Shape& offset, const Shape& length, const void* values, hid_t type);
  void discard() noexcept;
  void send_image();

  std::string target_;                ///< where the file goes: a path, empty for stdout
  std::string temporary_;             ///< where it is until then; empty when it is an image or was committed
  std::unique_ptr<io::Spool> image_;  ///< the whole file, when the target cannot be sought
  bool force_ = false;
};

}  // namespace fachwerk::h5
