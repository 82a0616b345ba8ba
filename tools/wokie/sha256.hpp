#pragma once

#include <string>
#include <string_view>

namespace fachwerk::wokie {

/// SHA-256 (FIPS 180-4) in hexadecimal.
std::string sha256(std::string_view bytes);

}  // namespace fachwerk::wokie
