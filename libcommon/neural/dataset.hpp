#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/hdf5.hpp"
#include "neural/graph.hpp"

/// Data sets in memory and in HDF5 (`kind` dataset): /train, /val, /test with x, y and optionally index.
namespace fachwerk::neural {

/// Samples with their targets. x is kept as it is stored: bytes (scaled by 1/255 when batches are made) or reals.
struct Split {
  Dims sample;  ///< shape of one: {C, H, W} or {F}
  std::size_t count = 0;
  std::vector<std::uint8_t> bytes;   ///< count x sample, or empty
  std::vector<float> reals;          ///< count x sample, or empty
  std::vector<std::int64_t> labels;  ///< count, or empty
  std::vector<float> targets;        ///< count x target_width: regression, or probabilities of classes
  std::int64_t target_width = 0;
  std::vector<std::int64_t> index;  ///< stable ids of the samples; empty: their positions

  std::size_t size() const { return static_cast<std::size_t>(product(sample)); }  ///< values in one sample
  bool empty() const { return count == 0; }
  std::int64_t id(std::size_t i) const { return index.empty() ? static_cast<std::int64_t>(i) : index[i]; }
};

/// Shift and scale of features or channels: (x - mean) / std.
struct Standard {
  std::vector<double> mean, std;
  bool empty() const { return mean.empty(); }
};

struct Dataset {
  std::string name;  ///< file, for messages
  bool classification = true;
  std::int64_t classes = 0;  ///< classification
  std::vector<std::string> class_names, feature_names;
  Standard inputs;   ///< one value a channel or a feature; made from train where the file has none
  Standard outputs;  ///< regression: of the targets; empty: unscaled
  std::string source, licence;
  Split train, val, test;

  std::int64_t outputs_count() const { return classification ? classes : train_or_any().target_width; }
  const Split& train_or_any() const { return !train.empty() ? train : !test.empty() ? test : val; }
  const Split& part(const std::string& name) const;
};

/// Where x and y are when they have other names than the layout's.
struct DatasetPaths {
  std::string x, y;
};

/// Reads and checks a data set: shapes, finite values, labels within the classes. Throws bad input naming file, dataset
/// and row. Files of only images/labels, data/target, X/Y or x/y become the training part.
Dataset read_dataset(const h5::Node& file, const DatasetPaths& paths = {});
/// Writes a data set; the caller stamps and commits.
void write_dataset(h5::Output& file, const Dataset& data);
/// Labels in range, lengths equal, shapes equal. `where` names the part.
void check_split(const Dataset& data, const Split& split, const std::string& where);

/// Mean and standard deviation (n - 1) of each channel or feature; a constant one gets 1. Bytes count as x / 255.
Standard standard_of(const Split& split);
Standard standard_of_targets(const Split& split);

/// The rows of a split, in this order.
Split take(const Split& split, std::span<const std::size_t> rows);
void append(Split& to, const Split& from);

/// How one set becomes train, val and test.
struct SplitRule {
  std::vector<double> fractions = {};  ///< of train, val, test
  bool stratify = false;               ///< the same fractions in each class
  std::uint64_t seed = 1;
  std::int64_t every = 0;  ///< row i is test when i mod every = every - 1
  std::vector<std::size_t> train_rows = {}, test_rows = {};
};
/// Deals data.train out. Throws a usage error for fractions that do not add up to 1 or rows out of range.
void split(Dataset& data, const SplitRule& rule);

}  // namespace fachwerk::neural
