#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "graph.hpp"

/// Namespaces and names of the vocabularies that a thesaurus is made of.
namespace fachwerk::wokie {

inline constexpr const char* rdf_ns = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";
inline constexpr const char* rdfs_ns = "http://www.w3.org/2000/01/rdf-schema#";
inline constexpr const char* xsd_ns = "http://www.w3.org/2001/XMLSchema#";
inline constexpr const char* skos_ns = "http://www.w3.org/2004/02/skos/core#";
inline constexpr const char* skosxl_ns = "http://www.w3.org/2008/05/skos-xl#";
inline constexpr const char* dct_ns = "http://purl.org/dc/terms/";
inline constexpr const char* dc_ns = "http://purl.org/dc/elements/1.1/";
inline constexpr const char* prov_ns = "http://www.w3.org/ns/prov#";
inline constexpr const char* isothes_ns = "http://purl.org/iso25964/skos-thes#";

inline std::string skos(const char* name) {
  return std::string(skos_ns) + name;
}
inline std::string rdf(const char* name) {
  return std::string(rdf_ns) + name;
}

/// Prefixes that everybody uses, for graphs that declare none.
inline const std::vector<std::pair<std::string, std::string>> common_prefixes = {
    {"dc", dc_ns},     {"dct", dct_ns},       {"owl", "http://www.w3.org/2002/07/owl#"},
    {"prov", prov_ns}, {"rdf", rdf_ns},       {"rdfs", rdfs_ns},
    {"skos", skos_ns}, {"skosxl", skosxl_ns}, {"xsd", xsd_ns}};

/// All statements about one subject, sorted for writing.
struct Subject {
  TermId term;
  std::vector<std::pair<TermId, std::vector<TermId>>> properties;
};
std::vector<Subject> by_subject(const Graph& graph, const std::vector<std::string>& blanks);

}  // namespace fachwerk::wokie
