#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

/// An RDF graph in memory: distinct terms, distinct triples in order of first appearance.
namespace fachwerk::wokie {

enum class TermKind : std::uint8_t { iri = 0, blank = 1, literal = 2 };

using TermId = std::int32_t;
inline constexpr TermId no_term = -1;

struct Term {
  TermKind kind;
  std::string_view value;     ///< IRI, blank node label or lexical form
  std::string_view language;  ///< of a literal, spelled as in the source; empty without
  TermId datatype = no_term;  ///< of a typed literal: the term of its IRI
};

using Triple = std::array<TermId, 3>;

/// Views in a Term live as long as any copy of the graph: copies share the text, which only grows.
class Graph {
 public:
  Graph();

  TermId iri(std::string_view value) { return intern(TermKind::iri, value, {}, no_term); }
  TermId blank(std::string_view label) { return intern(TermKind::blank, label, {}, no_term); }
  TermId literal(std::string_view text, std::string_view language = {}, TermId datatype = no_term) {
    return intern(TermKind::literal, text, language, datatype);
  }
  TermId find_iri(std::string_view value) const { return find(TermKind::iri, value, {}, no_term); }
  TermId find(TermKind kind, std::string_view value, std::string_view language, TermId datatype) const;
  /// A blank node with a label that no other has.
  TermId fresh_blank();

  const Term& term(TermId id) const { return terms_[static_cast<std::size_t>(id)]; }
  std::size_t term_count() const { return terms_.size(); }

  /// Adds a statement; false if the graph has it already. Every statement counts in `statements`.
  bool add(TermId subject, TermId predicate, TermId object);
  bool contains(const Triple& triple) const;
  /// Drops the triples for which `drop` is true.
  template <class Predicate>
  void remove_if(Predicate drop) {
    std::erase_if(triples_, drop);
    rebuild();
  }
  const std::vector<Triple>& triples() const { return triples_; }
  std::size_t statements() const { return statements_; }

  std::map<std::string, std::string> prefixes = {};  ///< prefix -> IRI
  std::string base = {};
  std::size_t named_graph_statements = 0;  ///< statements of named graphs, read into this one

 private:
  struct Arena;
  TermId intern(TermKind kind, std::string_view value, std::string_view language, TermId datatype);
  std::size_t slot_of(std::uint64_t hash, TermKind kind, std::string_view value, std::string_view language,
                      TermId datatype) const;
  std::size_t triple_slot(const Triple& triple) const;
  void grow_terms();
  void rebuild();

  std::shared_ptr<Arena> arena_;
  std::vector<Term> terms_;
  std::vector<std::uint32_t> hashes_;  ///< upper half of each term's hash
  std::vector<TermId> term_table_;     ///< open addressing, power of two
  std::vector<Triple> triples_;
  std::vector<std::int32_t> triple_table_;
  std::size_t statements_ = 0;
  std::size_t blanks_ = 0;
};

/// Canonical blank node labels: refinement by neighbourhood, ties broken by trying the smallest class. Two isomorphic
/// graphs get the same labels (for graphs whose remaining ties are symmetric, which all thesauri are).
/// Index: term; empty for terms that are no blank nodes.
std::vector<std::string> canonical_blanks(const Graph& graph);

/// The graph as sorted N-Triples with canonical blank nodes: equal texts, isomorphic graphs.
std::vector<std::string> canonical_lines(const Graph& graph);

/// One term in N-Triples syntax, `blank` in place of a blank node's own label when given.
std::string ntriples_term(const Graph& graph, TermId id, std::string_view blank = {});

}  // namespace fachwerk::wokie
