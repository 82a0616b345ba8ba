#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cube_file.hpp"

namespace fachwerk::hyde::envi {

/// Fields of a header in order; names in lower case, values without braces where they had them.
using Fields = std::vector<std::pair<std::string, std::string>>;
Fields parse(const std::string& text, const std::string& file);

/// Header and data file of a name that is either: X.hdr with X, X.img, X.dat, X.raw, X.bil, X.bip, X.bsq, or X.EXT with
/// X.EXT.hdr or X.hdr. Throws io_error if one is missing.
std::pair<std::string, std::string> files_of(const std::string& path);
/// The names to write.
std::pair<std::string, std::string> target_files(const std::string& path);
bool is_envi(const std::string& path);

/// What a header says of the data file. Throws bad_input.
struct Description {
  CubeInfo info;
  Interleave interleave = Interleave::bsq;
  std::size_t offset = 0;
  bool big_endian = false;
};
Description describe(const std::string& text, const std::string& header_file);

CubeInput open(const std::string& path);

/// The text of a header for `info`: the one it was read from with the fields that differ replaced, or a new one.
std::string header(const CubeInfo& info, Interleave interleave, bool big_endian);

Interleave interleave_by_name(const std::string& name);

}  // namespace fachwerk::hyde::envi
