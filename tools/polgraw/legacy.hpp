#pragma once

#include <string>
#include <vector>

#include "search.hpp"

/// The community code's binary formats, as bytes. All little endian.
namespace fachwerk::polgraw::legacy {

std::vector<double> parse_doubles(std::string_view bytes);
std::string format_doubles(std::span<const double> values);

/// grid.bin: int32 fftpad, three 4x4 matrices. Throws bad input unless there are 388 bytes.
Grid parse_grid(std::string_view bytes, const std::string& name);
std::string format_grid(const Grid& grid);

/// DetSSB.bin: N (x, y, z) in units of dt with the Einstein delay on every axis, then phir and the obliquity.
/// `det` is rDet.bin: N (x, y, z), may be empty.
Ephemeris parse_ephemeris(std::string_view ssb, std::string_view det, std::size_t N, const std::string& name);
std::string format_det_ssb(const Ephemeris& ephemeris);
std::string format_r_det(const Ephemeris& ephemeris);
std::string format_r_ssb(const Ephemeris& ephemeris);

/// triggers_*.bin: five float64 each.
std::vector<Trigger> parse_triggers(std::string_view bytes, const std::string& name);
std::string format_triggers(std::span<const Trigger> triggers);

}  // namespace fachwerk::polgraw::legacy
