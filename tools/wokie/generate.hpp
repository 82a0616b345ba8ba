#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph.hpp"
#include "lexicon.hpp"

/// Thesauri made up from a lexicon's own aligned entries, so that every translation in them is known to be right.
namespace fachwerk::wokie {

struct GenerateOptions {
  std::size_t concepts = 1000;
  std::vector<std::string> languages = {"de", "en", "fr"};     ///< the first has a label everywhere
  std::vector<double> coverage = {1.0, 0.5, 0.47, 0.42, 0.3};  ///< of the languages in order; the last one repeats
  double branching = 4;                                        ///< mean number of narrower concepts (geometric)
  double polyhierarchy = 0.02;                                 ///< share of concepts with a second broader one
  double related = 0.1;                                        ///< share of concepts with a related one
  double synonyms = 0.6;                                       ///< mean number of alternative labels (Poisson)
  double qualifier = 0.05;  ///< share of labels with the broader label in brackets behind them
  double plural = 0;        ///< share of concepts labelled in the plural, in the languages where that is a rule
  double homonyms = 0.1;    ///< share of concepts that take the base label of another one
  double typos = 0;         ///< share of labels with two letters exchanged
  std::uint64_t seed = 1;
};

/// Concepts of one scheme at http://example.org/generated/. Base labels are drawn from words that each other language
/// translates back to the very same word first. Throws absent_error when the lexicon has fewer such words than asked.
Graph generate_thesaurus(const Lexicon& lexicon, const GenerateOptions& options);

}  // namespace fachwerk::wokie
