#pragma once

#include <vector>

#include "observation.hpp"

namespace fachwerk::polgraw {

/// The sites of the names, known ones or those of NAME:lat:lon:height:gamma[:zeta] (degrees, m), in alphabetical order.
/// Throws usage errors.
std::vector<Site> resolve_sites(const std::vector<std::string>& names, const std::vector<std::string>& own);

}  // namespace fachwerk::polgraw
