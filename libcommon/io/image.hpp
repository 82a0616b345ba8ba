#pragma once

#include <string>

#include "io/bytes.hpp"
#include "io/variable.hpp"

namespace fachwerk::formats {

bool is_png(Bytes bytes);
bool is_netpbm(Bytes bytes);

/// A PNG image as uint8 or uint16 of shape [rows, columns] or [rows, columns, channels] with 2 (gray and alpha), 3
/// (red, green, blue) or 4 channels. Palettes become colours, 1 to 4 bits of gray 8. Throws bad input naming the file.
Variable read_png(Bytes bytes, const std::string& file);

/// A PGM or PPM image, text or binary (P2, P3, P5, P6), as uint8 or uint16 as it is stored; its largest value is the
/// attribute `maxval`.
Variable read_netpbm(Bytes bytes, const std::string& file);

/// Writes uint8 or uint16 values of shape [rows, columns] or [rows, columns, 1 to 4 channels]; throws bad input for
/// others.
void write_png(Sink& sink, const Variable& image);

}  // namespace fachwerk::formats
