#include "graph.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <unordered_map>

#include <fmt/format.h>

#include "cli/error.hpp"

namespace fachwerk::wokie {
namespace {

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const auto product = static_cast<Wide>(a ^ 0x9E3779B97F4A7C15u) * (b ^ 0xD6E8FEB86659FD93u);
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t hash_bytes(std::string_view text, std::uint64_t seed) {
  std::uint64_t hash = mix(seed, text.size());
  std::uint64_t word = 0;
  for (; text.size() >= 8; text.remove_prefix(8)) {
    std::memcpy(&word, text.data(), 8);
    hash = mix(hash, word);
  }
  word = 0;
  if (!text.empty()) std::memcpy(&word, text.data(), text.size());
  return mix(hash, word);
}

std::uint64_t hash_term(TermKind kind, std::string_view value, std::string_view language, TermId datatype) {
  std::uint64_t hash = hash_bytes(value, static_cast<std::uint64_t>(kind) + 1);
  if (!language.empty()) hash = hash_bytes(language, hash);
  return mix(hash, static_cast<std::uint64_t>(datatype + 2));
}

std::uint64_t hash_triple(const Triple& triple) {
  return mix(static_cast<std::uint64_t>(triple[0]) << 32 | static_cast<std::uint32_t>(triple[1]),
             static_cast<std::uint64_t>(triple[2]) + 1);
}

constexpr std::int32_t empty_slot = -1;

}  // namespace

/// Text in blocks that never move.
struct Graph::Arena {
  std::vector<std::unique_ptr<char[]>> blocks;
  std::size_t used = 0, size = 0;

  std::string_view keep(std::string_view text) {
    if (text.empty()) return {};
    if (used + text.size() > size) {
      size = std::max<std::size_t>(text.size(), 1u << 16);
      blocks.push_back(std::make_unique_for_overwrite<char[]>(size));
      used = 0;
    }
    char* at = blocks.back().get() + used;
    std::memcpy(at, text.data(), text.size());
    used += text.size();
    return {at, text.size()};
  }
};

Graph::Graph() : arena_(std::make_shared<Arena>()), term_table_(64, empty_slot), triple_table_(64, empty_slot) {}

std::size_t Graph::slot_of(std::uint64_t hash, TermKind kind, std::string_view value, std::string_view language,
                           TermId datatype) const {
  const std::size_t mask = term_table_.size() - 1;
  for (std::size_t slot = hash & mask;; slot = (slot + 1) & mask) {
    const TermId id = term_table_[slot];
    if (id == empty_slot) return slot;
    if (hashes_[static_cast<std::size_t>(id)] != hash >> 32) continue;
    const Term& have = term(id);
    if (have.kind == kind && have.datatype == datatype && have.value == value && have.language == language) return slot;
  }
}

TermId Graph::find(TermKind kind, std::string_view value, std::string_view language, TermId datatype) const {
  return term_table_[slot_of(hash_term(kind, value, language, datatype), kind, value, language, datatype)];
}

TermId Graph::intern(TermKind kind, std::string_view value, std::string_view language, TermId datatype) {
  const std::uint64_t hash = hash_term(kind, value, language, datatype);
  std::size_t slot = slot_of(hash, kind, value, language, datatype);
  if (term_table_[slot] != empty_slot) return term_table_[slot];
  if (terms_.size() >= 0x7FFFFFFEu) throw absent_error("more than 2^31 distinct terms: the graph does not fit");
  const auto id = static_cast<TermId>(terms_.size());
  terms_.push_back({kind, arena_->keep(value), arena_->keep(language), datatype});
  hashes_.push_back(static_cast<std::uint32_t>(hash >> 32));
  term_table_[slot] = id;
  if (terms_.size() * 2 > term_table_.size()) grow_terms();
  return id;
}

void Graph::grow_terms() {
  std::vector<TermId> table(term_table_.size() * 2, empty_slot);
  const std::size_t mask = table.size() - 1;
  for (std::size_t id = 0; id < terms_.size(); ++id) {
    const Term& t = terms_[id];
    std::size_t slot = hash_term(t.kind, t.value, t.language, t.datatype) & mask;
    while (table[slot] != empty_slot)
      slot = (slot + 1) & mask;
    table[slot] = static_cast<TermId>(id);
  }
  term_table_ = std::move(table);
}

TermId Graph::fresh_blank() {
  for (;;) {
    const std::string label = fmt::format("new{}", blanks_++);
    if (find(TermKind::blank, label, {}, no_term) == no_term) return blank(label);
  }
}

std::size_t Graph::triple_slot(const Triple& triple) const {
  const std::size_t mask = triple_table_.size() - 1;
  std::size_t slot = hash_triple(triple) & mask;
  while (triple_table_[slot] != empty_slot && triples_[static_cast<std::size_t>(triple_table_[slot])] != triple)
    slot = (slot + 1) & mask;
  return slot;
}

bool Graph::add(TermId subject, TermId predicate, TermId object) {
  ++statements_;
  const Triple triple{subject, predicate, object};
  const std::size_t slot = triple_slot(triple);
  if (triple_table_[slot] != empty_slot) return false;
  triple_table_[slot] = static_cast<std::int32_t>(triples_.size());
  triples_.push_back(triple);
  if (triples_.size() * 2 > triple_table_.size()) rebuild();
  return true;
}

bool Graph::contains(const Triple& triple) const {
  return triple_table_[triple_slot(triple)] != empty_slot;
}

void Graph::rebuild() {
  std::size_t size = 64;
  while (size < triples_.size() * 4)
    size *= 2;
  triple_table_.assign(size, empty_slot);
  for (std::size_t i = 0; i < triples_.size(); ++i)
    triple_table_[triple_slot(triples_[i])] = static_cast<std::int32_t>(i);
}

std::string ntriples_term(const Graph& graph, TermId id, std::string_view blank) {
  const Term& term = graph.term(id);
  const auto escaped = [](std::string_view text, bool is_iri) {
    std::string out;
    out.reserve(text.size() + 2);
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (is_iri) {
        if (byte <= 0x20 || std::string_view("<>\"{}|^`\\").find(c) != std::string_view::npos)
          out += fmt::format("\\u{:04X}", byte);
        else
          out += c;
      } else if (c == '"' || c == '\\') {
        out += '\\';
        out += c;
      } else if (c == '\n') {
        out += "\\n";
      } else if (c == '\r') {
        out += "\\r";
      } else if (c == '\t') {
        out += "\\t";
      } else if (byte < 0x20 || byte == 0x7F) {
        out += fmt::format("\\u{:04X}", byte);
      } else {
        out += c;
      }
    }
    return out;
  };
  switch (term.kind) {
    case TermKind::iri:
      return "<" + escaped(term.value, true) + ">";
    case TermKind::blank:
      return "_:" + std::string(blank.empty() ? term.value : blank);
    case TermKind::literal:
      break;
  }
  std::string out = "\"" + escaped(term.value, false) + "\"";
  if (!term.language.empty()) out += "@" + std::string(term.language);
  if (term.datatype != no_term) out += "^^" + ntriples_term(graph, term.datatype);
  return out;
}

namespace {

/// Colours of all terms: fixed ones for IRIs and literals, refined ones for blank nodes.
class Refinement {
 public:
  explicit Refinement(const Graph& graph) : graph_(graph), colour_(graph.term_count(), 0) {
    for (std::size_t id = 0; id < colour_.size(); ++id) {
      const auto term = static_cast<TermId>(id);
      if (graph.term(term).kind == TermKind::blank)
        colour_[id] = 1;
      else
        colour_[id] = hash_bytes(ntriples_term(graph, term), 7);
    }
    for (const Triple& triple : graph.triples())
      if (is_blank(triple[0]) || is_blank(triple[2])) triples_.push_back(triple);
    for (const Triple& triple : triples_)
      for (const TermId end : {triple[0], triple[2]})
        if (is_blank(end)) blanks_.push_back(end);
    std::sort(blanks_.begin(), blanks_.end());
    blanks_.erase(std::unique(blanks_.begin(), blanks_.end()), blanks_.end());
  }

  const std::vector<TermId>& blanks() const { return blanks_; }
  std::uint64_t colour(TermId id) const { return colour_[static_cast<std::size_t>(id)]; }
  void mark(TermId id, std::uint64_t by) { colour_[static_cast<std::size_t>(id)] = mix(colour(id), by); }

  void refine() {
    std::size_t classes = count();
    for (std::size_t round = 0; round <= blanks_.size(); ++round) {
      std::vector<std::uint64_t> next = colour_;
      for (const Triple& t : triples_) {
        if (is_blank(t[0])) next[index(t[0])] += mix(mix(colour(t[1]), colour(t[2])), 11);
        if (is_blank(t[2])) next[index(t[2])] += mix(mix(colour(t[1]), colour(t[0])), 13);
      }
      for (const TermId b : blanks_)
        next[index(b)] = mix(next[index(b)], 17);
      colour_ = std::move(next);
      const std::size_t now = count();
      if (now == classes) return;
      classes = now;
    }
  }

  /// First blank node of the smallest class that has several; no_term when all differ.
  TermId tied() const {
    std::map<std::uint64_t, std::vector<TermId>> classes;
    for (const TermId b : blanks_)
      classes[colour(b)].push_back(b);
    const std::vector<TermId>* smallest = nullptr;
    for (const auto& [colour, members] : classes)
      if (members.size() > 1 && (smallest == nullptr || members.size() < smallest->size())) smallest = &members;
    return smallest == nullptr ? no_term : smallest->front();
  }

 private:
  static std::size_t index(TermId id) { return static_cast<std::size_t>(id); }
  bool is_blank(TermId id) const { return graph_.term(id).kind == TermKind::blank; }
  std::size_t count() const {
    std::vector<std::uint64_t> seen;
    for (const TermId b : blanks_)
      seen.push_back(colour(b));
    std::sort(seen.begin(), seen.end());
    return static_cast<std::size_t>(std::unique(seen.begin(), seen.end()) - seen.begin());
  }

  const Graph& graph_;
  std::vector<std::uint64_t> colour_;
  std::vector<Triple> triples_;
  std::vector<TermId> blanks_;
};

}  // namespace

std::vector<std::string> canonical_blanks(const Graph& graph) {
  std::vector<std::string> labels(graph.term_count());
  Refinement refinement(graph);
  refinement.refine();
  std::uint64_t tie = 100;
  for (TermId next = refinement.tied(); next != no_term; next = refinement.tied()) {
    refinement.mark(next, tie++);
    refinement.refine();
  }
  std::vector<TermId> order = refinement.blanks();
  std::sort(order.begin(), order.end(),
            [&](TermId a, TermId b) { return refinement.colour(a) < refinement.colour(b); });
  for (std::size_t i = 0; i < order.size(); ++i)
    labels[static_cast<std::size_t>(order[i])] = fmt::format("b{}", i);
  return labels;
}

std::vector<std::string> canonical_lines(const Graph& graph) {
  const std::vector<std::string> blanks = canonical_blanks(graph);
  const auto text = [&](TermId id) { return ntriples_term(graph, id, blanks[static_cast<std::size_t>(id)]); };
  std::vector<std::string> lines;
  lines.reserve(graph.triples().size());
  for (const Triple& t : graph.triples())
    lines.push_back(text(t[0]) + " " + text(t[1]) + " " + text(t[2]) + " .\n");
  std::sort(lines.begin(), lines.end());
  return lines;
}

}  // namespace fachwerk::wokie
