#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "io/hdf5.hpp"
#include "io/variable.hpp"

/// Tables in HDF5: columns are one-dimensional datasets of equal length.
namespace fachwerk::table {

/// A column of a table: a dataset of the file, whole or one row of it.
struct Column {
  std::string name;  ///< in the header
  std::string path;
  std::size_t row = 0;  ///< of a dataset [rows, n] that gives one row as a column
  bool is_row = false;
};

struct Table {
  std::string path;  ///< the group, or the dataset, that it comes from
  std::vector<Column> columns = {};
  std::size_t rows = 0;
};

/// The table that a file is about: by its kind (buses with their solved voltages for a power flow, triggers, epochs of
/// a model), else the group with most columns of equal length, the one nearest to the root among equals. Throws bad
/// input if there is none.
Table main_table(const h5::Node& file);

/// The columns in `group`: its datasets of one dimension that have the most frequent length, in the file's order.
/// Results that belong to it (`/result/NAME` of one row whose last axis has the group's name: solved voltages of buses)
/// come with it and replace columns of the same name. Empty if it has no such datasets.
Table group_table(const h5::Node& file, const std::string& group);

/// One column for each path; throws bad input if their lengths differ or they are not one-dimensional.
Table columns_table(const h5::Node& file, const std::vector<std::string>& paths);

/// Reads rows `first` to `first + count` of every column.
std::vector<formats::Variable> read_rows(const h5::Node& file, const Table& table, std::size_t first,
                                         std::size_t count);

}  // namespace fachwerk::table
