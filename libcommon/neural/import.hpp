#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/bytes.hpp"
#include "neural/dataset.hpp"

/// Foreign data sets: idx (MNIST), CIFAR binary, CSV, LIBSVM, NumPy, MATLAB, folders of images.
namespace fachwerk::neural {

/// idx: big-endian, 1-byte values (gzip was unpacked by formats::File). `images` of 2 to 4 axes, `labels` of one.
Split read_idx(const formats::File& images, const formats::File& labels);
/// CIFAR binary: records of 1 (or 2: coarse, fine) label bytes and 3072 bytes of red, green and blue planes.
Split read_cifar(const formats::File& file, bool hundred);
/// LIBSVM text: `label index:value ...`, indices from 1. Labels become classes 0, 1, ... in order of value, unless
/// `regression`.
Split read_libsvm(const formats::File& file, bool regression, std::int64_t features = 0);
/// NumPy .npz with a pair of arrays, or two .npy files (y empty for the archive).
Split read_numpy(const formats::File& x, const formats::File* y, const DatasetPaths& names);
/// MATLAB with X [rows, columns, channels, samples] and y from 1 to 10 (10 stands for 0), as SVHN has.
Split read_svhn(const std::string& path);
/// A folder with one subfolder of PNG, PGM or PPM images for each class; the names of the classes go to `class_names`.
Split read_folder(const std::string& path, std::vector<std::string>& class_names);

/// Columns of text and numbers: how they become features.
struct CsvOptions {
  std::optional<char> delimiter = {};
  std::optional<bool> header = {};
  std::string target = {};                    ///< name, or number from 0; empty: the last column
  std::vector<std::string> categorical = {};  ///< columns to take as categories; empty: those that hold text
  bool onehot = true;                         ///< one feature a category; else its number, 0 for unknown ones
  std::string missing = "?";
  std::string comment = "#";
  std::optional<bool> classification = {};
  std::string source_column = {};  ///< adds a feature of this name: which of several files a row is from
};

/// Categories, classes and fill values found on the training file; applied as they are to any further one.
class CsvEncoder {
 public:
  CsvEncoder(const std::vector<formats::File>& training, const CsvOptions& options);
  /// Rows of the files in order. `unknown` counts categories that the training files do not have.
  Split encode(const std::vector<formats::File>& files, std::size_t& unknown) const;
  void describe(Dataset& data) const;  ///< task, classes, names

 private:
  struct Column {
    std::string name;
    bool category = false;
    std::vector<std::string> values = {};
    double fill = 0;
  };
  CsvOptions options_;
  std::vector<Column> columns_;  ///< target excluded
  std::size_t target_ = 0;
  bool classification_ = true;
  std::vector<std::string> classes_;
};

}  // namespace fachwerk::neural
