#pragma once

#include <string>
#include <vector>

#include "cli/session.hpp"
#include "io/hdf5.hpp"
#include "match.hpp"

namespace fachwerk::wokie {

/// An alignment from RDF, SSSOM, CSV or HDF5 (/alignment).
std::vector<Mapping> load_alignment(const std::string& path);
/// By format: rdf, skos, sssom, csv, hdf5.
void save_alignment(const cli::Session& session, const std::vector<Mapping>& mappings, const std::string& path,
                    const std::string& format, const std::string& left, const std::string& right);
std::string alignment_format(const std::string& given, const std::string& path);

}  // namespace fachwerk::wokie
