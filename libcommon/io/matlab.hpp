#pragma once

#include <span>
#include <string>
#include <vector>

#include "io/bytes.hpp"
#include "io/variable.hpp"

namespace fachwerk::h5 {
class Node;
}

namespace fachwerk::formats {

/// What a MATLAB file held.
struct MatlabFile {
  std::vector<Variable> variables;   ///< row-major; members of structs and cells as NAME/FIELD and NAME/1, NAME/2, ...
  std::vector<std::string> skipped;  ///< names of what has no counterpart: function handles, objects
};

bool is_matlab5(Bytes bytes);

/// MATLAB's level 5 format (`save -v6`, `-v7`), of either byte order, packed or not. Axes keep their order: element (i,
/// j) stays (i, j). Vectors become one-dimensional, 1 x 1 arrays scalars, rows of char arrays and cells of strings
/// text, sparse matrices three columns NAME/row, NAME/column (from 0) and NAME/value. Throws bad input naming file and
/// offset.
MatlabFile read_matlab5(Bytes bytes, const std::string& file);

/// The same of a level 7.3 file, which is HDF5 with its axes reversed.
MatlabFile read_matlab73(const h5::Node& file);

/// Writes level 5, packed by deflate. One-dimensional variables become column vectors, text a char array or a cell of
/// them; names are made into MATLAB's (letters, digits and underscores, at most 63). Throws usage_error for a variable
/// of more than 2 GiB, which the format cannot hold.
void write_matlab5(Sink& sink, std::span<const Variable> variables);

}  // namespace fachwerk::formats
