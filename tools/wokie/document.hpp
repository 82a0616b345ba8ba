#pragma once

#include <optional>
#include <string>
#include <vector>

#include "consensus.hpp"
#include "graph.hpp"
#include "io/hdf5.hpp"
#include "rdf.hpp"
#include "thesaurus.hpp"

/// Thesauri in files: any RDF serialisation, CSV and TSV tables, or HDF5 of kind `thesaurus`.
namespace fachwerk::wokie {

/// One label that was made, with everything known about it: a row of /translations and its candidates.
struct TranslationRecord {
  std::int64_t concept_index = -1;
  Property property = Property::pref_label;
  std::string target_language;
  std::string text;  ///< empty: nothing written
  double confidence = 0, agreement = 0;
  std::uint8_t status = 0;  ///< 0 machine, 1 reviewed, 2 held back
  Method method = Method::none;
  std::string reason = {};
  std::vector<Candidate> candidates = {};
};

struct ServiceRecord {
  std::string name, endpoint, model;
  std::int64_t calls = 0, chars = 0, failures = 0;
  double cost = 0;
};

struct Document {
  Graph graph;
  std::string name;                      ///< for messages
  std::string sha256;                    ///< of the input's bytes, of its triples for HDF5
  std::optional<h5::Input> source = {};  ///< where it came from HDF5: unknown parts are carried
};

struct LoadOptions {
  std::string format = {};  ///< empty: by content
  std::string base = {};
};

/// Reads a thesaurus; `-` is stdin, sniffed like a file. Throws bad input with position.
Document load_document(const std::string& path, const LoadOptions& options = {});

/// Throws bad input unless there is a concept.
void require_concepts(const Document& document, const Thesaurus& thesaurus);

/// "hdf5", or an RDF or table format's name: given, or by the extension of the output.
std::string output_format(const std::string& given, const std::string& path);

struct SaveOptions {
  std::string format;  ///< see output_format
  ThesaurusOptions view = {};
  const std::vector<TranslationRecord>* translations = nullptr;
  const std::vector<ServiceRecord>* services = nullptr;
};
void save_document(const cli::Session& session, const Document& document, const std::string& path,
                   const SaveOptions& options);

/// Tables of labels: one row per concept, columns uri, prefLabel@en, altLabel@en ("|" between several), broader...
Graph read_table(std::string_view text, const std::string& name, char delimiter);
std::string write_table(const Graph& graph, const Thesaurus& thesaurus, char delimiter);
/// TMX 1.4b of the preferred labels of all language pairs, and TBX-Basic.
std::string write_tmx(const Graph& graph, const Thesaurus& thesaurus);
std::string write_tbx(const Graph& graph, const Thesaurus& thesaurus);

/// Fields of one CSV text (RFC 4180), rows of equal meaning; for files whose columns are all text.
std::vector<std::vector<std::string>> csv_rows(std::string_view text, char delimiter);
std::string csv_field(const std::string& text, char delimiter);

}  // namespace fachwerk::wokie
