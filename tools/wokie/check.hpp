#pragma once

#include <set>
#include <string>
#include <vector>

#include "thesaurus.hpp"

/// Integrity of a SKOS thesaurus (SKOS Reference S9..S46), its quality (the qSKOS issues), and repairs (as Skosify
/// makes).
namespace fachwerk::wokie {

enum class Severity { info, warning, error };

struct Finding {
  std::string code;  ///< "S14", "orphan-concept", ...
  Severity severity;
  TermId subject = no_term;
  std::string message;
};

struct CheckKind {
  std::string code;
  Severity severity;
  std::string meaning;
};
/// Everything that is looked for.
const std::vector<CheckKind>& check_kinds();

struct CheckFacts {
  std::size_t concepts = 0, labels = 0, polyhierarchical = 0, redundant_broader = 0, related_in_hierarchy = 0,
              orphans = 0, asymmetric_related = 0, untagged_labels = 0, cycles = 0, components = 0;
  std::int32_t max_depth = 0;
};

struct CheckResult {
  std::vector<Finding> findings;
  CheckFacts facts;
};
/// `select`: codes to report (all when empty).
CheckResult check(const Graph& graph, const Thesaurus& thesaurus, const std::set<std::string>& select = {});

/// Repairs by name, in the order given: whitespace, default-language=TAG, pref-shortest, pref-longest, overlaps,
/// cycles, related, inverse, symmetric, redundant, top-concepts. Returns how many triples each one changed.
std::vector<std::pair<std::string, std::size_t>> fix(Graph& graph, const std::vector<std::string>& repairs);

}  // namespace fachwerk::wokie
