#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "io/bytes.hpp"
#include "io/variable.hpp"

namespace fachwerk::formats {

/// NumPy's .npy format, versions 1.0 to 3.0, and .npz (a zip archive of them).
bool is_npy(Bytes bytes);
bool is_npz(Bytes bytes);

/// One array in C or Fortran order, of either byte order. Half precision becomes float32, booleans uint8, S and U text;
/// a structured array gives one variable for each of its fields. Throws bad input naming file and offset.
std::vector<Variable> read_npy(Bytes bytes, const std::string& file, const std::string& name);
/// Every array of an archive, stored or deflated, named as in it.
std::vector<Variable> read_npz(Bytes bytes, const std::string& file);

/// Writes the header of an array; its elements follow as bytes, little-endian and row-major.
void write_npy_header(Sink& sink, const Values& type, const Shape& shape);
void write_npy(Sink& sink, const Variable& variable);
/// An archive; names keep their slashes. `deflated` packs the arrays.
void write_npz(Sink& sink, std::span<const Variable> variables, bool deflated = true);

}  // namespace fachwerk::formats
