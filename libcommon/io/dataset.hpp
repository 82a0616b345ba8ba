#pragma once

#include <functional>
#include <string>

#include "io/hdf5.hpp"
#include "io/variable.hpp"

/// HDF5 datasets of any element type as variables of the formats, whole or in slabs.
namespace fachwerk::formats {

/// True for numbers, complex numbers and text of at most one dimension: what a Variable can hold.
bool is_readable(const h5::DatasetInfo& info);

/// A dataset with units, long_name and dims. Throws bad input for types that have no counterpart.
Variable read_variable(const h5::Node& file, const std::string& path);

/// The values of a hyperslab in the dataset's own type (half precision as float32, quadruple as float64).
Values read_slab(const h5::Node& file, const std::string& path, const Shape& offset, const Shape& length);

/// Writes a variable with its units, long_name, dims and attributes.
void write_variable(h5::Output& file, const std::string& path, const Variable& variable);

/// Calls `visit(offset, length)` for slabs that cover `shape` in row-major order, each of at most `most` elements and,
/// where that allows, of whole chunks along the first axis that is cut (`chunk` may be empty).
void for_each_slab(const Shape& shape, const Shape& chunk, std::size_t most,
                   const std::function<void(const Shape& offset, const Shape& length)>& visit);

/// Lengths of the dataset's chunks; empty if it is stored in one piece.
Shape chunk_of(const h5::Node& file, const std::string& path);

}  // namespace fachwerk::formats
