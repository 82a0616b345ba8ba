#include "lexicon.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "cli/error.hpp"
#include "labels.hpp"
#include "unicode.hpp"

namespace fachwerk::wokie {
namespace {

/// Words of one language while they are collected: display form -> provisional number.
struct Collector {
  std::unordered_map<std::string, WordId> number;
  std::vector<std::string> text;
  std::vector<std::uint8_t> gender, pos;

  WordId add(const DictWord& word) {
    const auto [found, added] = number.try_emplace(word.text, static_cast<WordId>(text.size()));
    if (added) {
      text.push_back(word.text);
      gender.push_back(word.gender);
      pos.push_back(word.pos);
    } else {
      gender[found->second] |= word.gender;
      if (pos[found->second] == pos_unknown) pos[found->second] = word.pos;
    }
    return found->second;
  }
};

/// The columns of a lexicon that is being built.
struct Storage {
  std::vector<std::uint8_t> text, key, gender, pos;
  std::vector<std::uint32_t> start, key_start, row_start;
  std::vector<WordId> source, target;
  std::vector<float> probability;
};

void append(std::vector<std::uint8_t>& column, const std::string& text) {
  column.insert(column.end(), text.begin(), text.end());
}

/// Appends the words of one language, sorted by folded form; returns the final number of each provisional one.
std::vector<WordId> add_words(const Collector& words, Storage& out) {
  const std::size_t n = words.text.size(), text_begin = out.text.size(), key_begin = out.key.size();
  std::vector<std::string> keys(n);
#pragma omp parallel for schedule(dynamic, 1024)
  for (std::size_t i = 0; i < n; ++i)
    keys[i] = fold(words.text[i]);
  std::vector<WordId> order(n), place(n);
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](WordId a, WordId b) {
    const int by_key = keys[a].compare(keys[b]);
    return by_key != 0 ? by_key < 0 : words.text[a] < words.text[b];
  });
  out.start.push_back(0);
  out.key_start.push_back(0);
  for (std::size_t i = 0; i < n; ++i) {
    const WordId id = order[i];
    place[id] = static_cast<WordId>(i);
    append(out.text, words.text[id]);
    append(out.key, keys[id]);
    out.start.push_back(static_cast<std::uint32_t>(out.text.size() - text_begin));
    out.key_start.push_back(static_cast<std::uint32_t>(out.key.size() - key_begin));
    out.gender.push_back(words.gender[id]);
    out.pos.push_back(words.pos[id]);
  }
  return place;
}

struct Edge {
  WordId from, to;
  float weight;
};

/// Edges in order of their source, equal ones merged, the heaviest of a source first, weights turned into shares.
std::vector<Edge> normalised(std::vector<Edge> edges) {
  std::sort(edges.begin(), edges.end(),
            [](const Edge& a, const Edge& b) { return a.from != b.from ? a.from < b.from : a.to < b.to; });
  std::size_t kept = 0;
  for (std::size_t i = 0; i < edges.size(); ++i) {
    if (kept > 0 && edges[kept - 1].from == edges[i].from && edges[kept - 1].to == edges[i].to)
      edges[kept - 1].weight += edges[i].weight;
    else
      edges[kept++] = edges[i];
  }
  edges.resize(kept);
  for (auto at = edges.begin(); at != edges.end();) {
    auto end = at;
    float sum = 0;
    for (; end != edges.end() && end->from == at->from; ++end)
      sum += end->weight;
    std::stable_sort(at, end, [](const Edge& a, const Edge& b) { return a.weight > b.weight; });
    for (; at != end; ++at)
      at->weight /= sum;
  }
  return edges;
}

void add_edges(const std::vector<Edge>& edges, Storage& out) {
  for (std::size_t i = 0; i < edges.size(); ++i) {
    if (i == 0 || edges[i].from != edges[i - 1].from) {
      out.source.push_back(edges[i].from);
      out.row_start.push_back(static_cast<std::uint32_t>(i));
    }
    out.target.push_back(edges[i].to);
    out.probability.push_back(edges[i].weight);
  }
  out.row_start.push_back(static_cast<std::uint32_t>(edges.size()));
}

/// Scores by target word, turned into a sorted list.
using Scores = std::unordered_map<WordId, double>;

template <class Back>
std::vector<Translation> sorted(const WordTable& table, const Scores& scores, Back back) {
  std::vector<std::pair<WordId, double>> order(scores.begin(), scores.end());
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  std::vector<Translation> out;
  out.reserve(order.size());
  for (const auto& [id, score] : order)
    if (id < table.size())
      out.push_back({std::string(table.word(id)), score, table.gender[id], table.pos[id], back(id)});
  return out;
}

void spread(const EdgeTable& table, WordId word, double mass, Scores& into) {
  const auto [first, last] = table.of(word);
  for (std::uint32_t e = first; e < last; ++e)
    into[table.target[e]] += mass * table.probability[e];
}

/// Translations of all words with this key; the mass is shared among the words that have any.
Scores direct_scores(const WordTable& table, const EdgeTable& edges, std::string_view key) {
  Scores scores;
  const auto [first, last] = table.range(key);
  double owners = 0;
  for (WordId word = first; word < last; ++word) {
    const auto [begin, end] = edges.of(word);
    owners += end > begin ? 1 : 0;
  }
  for (WordId word = first; word < last; ++word)
    spread(edges, word, 1 / std::max(owners, 1.0), scores);
  return scores;
}

}  // namespace

namespace {

/// First word whose folded form `below` does not hold for; it must hold for all before.
template <class Below>
WordId first_not(const WordTable& table, Below below) {
  std::size_t low = 0, high = table.size();
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    if (below(table.key(static_cast<WordId>(middle))))
      low = middle + 1;
    else
      high = middle;
  }
  return static_cast<WordId>(low);
}

}  // namespace

std::pair<WordId, WordId> WordTable::range(std::string_view wanted) const {
  return {first_not(*this, [&](std::string_view key) { return key < wanted; }),
          first_not(*this, [&](std::string_view key) { return key <= wanted; })};
}

std::pair<WordId, WordId> WordTable::prefixed(std::string_view prefix) const {
  return {first_not(*this, [&](std::string_view key) { return key < prefix; }),
          first_not(*this, [&](std::string_view key) { return key.substr(0, prefix.size()) <= prefix; })};
}

namespace {

template <class T>
void require_size(std::span<const T> column, std::uint64_t size, const std::string& name, const char* what) {
  if (column.size() != size)
    throw bad_input("{}:/lexicon/{}: expected {} values, found {}", name, what, size, column.size());
}

void require_begins(const std::vector<std::uint64_t>& begins, std::size_t count, const std::string& name,
                    const char* what) {
  if (begins.size() != count + 1 || begins.front() != 0 || !std::is_sorted(begins.begin(), begins.end()))
    throw bad_input("{}:/lexicon/{}: expected {} rising numbers from 0", name, what, count + 1);
}

void require_rising(std::span<const std::uint32_t> start, std::size_t end, const std::string& name, const char* what) {
  if (start.front() != 0 || start.back() != end || !std::is_sorted(start.begin(), start.end()))
    throw bad_input("{}:/lexicon/{}: offsets must rise from 0 to {}", name, what, end);
}

std::string_view text_of(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Lexicon::Lexicon(LexiconColumns columns, const std::string& name, bool thorough) : columns_(std::move(columns)) {
  const LexiconColumns& c = columns_;
  const std::size_t count = c.languages.size(), pairs = c.pairs.size();
  require_begins(c.word_begin, count, name, "words/begin");
  require_begins(c.text_begin, count, name, "words/text_begin");
  require_begins(c.key_begin, count, name, "words/key_begin");
  require_begins(c.row_begin, pairs, name, "edges/row_begin");
  require_begins(c.edge_begin, pairs, name, "edges/begin");
  require_size(c.text, c.text_begin.back(), name, "words/text");
  require_size(c.key, c.key_begin.back(), name, "words/key");
  require_size(c.gender, c.word_begin.back(), name, "words/gender");
  require_size(c.pos, c.word_begin.back(), name, "words/pos");
  require_size(c.start, c.word_begin.back() + count, name, "words/start");
  require_size(c.key_start, c.word_begin.back() + count, name, "words/key_start");
  require_size(c.source, c.row_begin.back(), name, "edges/source");
  require_size(c.row_start, c.row_begin.back() + pairs, name, "edges/start");
  require_size(c.target, c.edge_begin.back(), name, "edges/target");
  require_size(c.probability, c.edge_begin.back(), name, "edges/probability");
  for (std::size_t l = 0; l < count; ++l) {
    const std::size_t first = c.word_begin[l], size = c.word_begin[l + 1] - first;
    const auto slice = [](const auto& column, const std::vector<std::uint64_t>& begin, std::size_t n) {
      return column.subspan(begin[n], begin[n + 1] - begin[n]);
    };
    words[c.languages[l]] = {text_of(slice(c.text, c.text_begin, l)), c.start.subspan(first + l, size + 1),
                             text_of(slice(c.key, c.key_begin, l)),   c.key_start.subspan(first + l, size + 1),
                             c.gender.subspan(first, size),           c.pos.subspan(first, size)};
  }
  for (std::size_t p = 0; p < pairs; ++p) {
    const auto parts = split(c.pairs[p], '-');
    if (parts.size() != 2 || !words.contains(std::string(parts[0])) || !words.contains(std::string(parts[1])))
      throw bad_input("{}:/lexicon/edges/pair: \"{}\" is no pair of its languages", name, c.pairs[p]);
    const std::size_t row = c.row_begin[p], rows = c.row_begin[p + 1] - row, edge = c.edge_begin[p],
                      size = c.edge_begin[p + 1] - edge;
    edges[{std::string(parts[0]), std::string(parts[1])}] = {
        c.source.subspan(row, rows), c.row_start.subspan(row + p, rows + 1), c.target.subspan(edge, size),
        c.probability.subspan(edge, size)};
  }
  if (thorough) check_contents(name);
}

void Lexicon::check_contents(const std::string& name) const {
  for (const auto& [language, table] : words) {
    require_rising(table.start, table.text.size(), name, "words/start");
    require_rising(table.key_start, table.key_text.size(), name, "words/key_start");
  }
  for (const auto& [pair, table] : edges) {
    require_rising(table.start, table.target.size(), name, "edges/start");
    const auto in_range = [&](std::span<const WordId> ids, const std::string& language) {
      return std::all_of(ids.begin(), ids.end(), [n = words.at(language).size()](WordId id) { return id < n; });
    };
    if (!in_range(table.target, pair.second) || !in_range(table.source, pair.first))
      throw bad_input("{}:/lexicon/edges: {}-{}: word index out of range", name, pair.first, pair.second);
    if (!std::is_sorted(table.source.begin(), table.source.end()))
      throw bad_input("{}:/lexicon/edges/source: {}-{}: must ascend", name, pair.first, pair.second);
    if (!std::all_of(table.probability.begin(), table.probability.end(), [](float p) { return p >= 0 && p <= 1; }))
      throw bad_input("{}:/lexicon/edges/probability: {}-{}: must be in [0, 1]", name, pair.first, pair.second);
  }
}

bool Lexicon::has_word(const std::string& language, std::string_view key) const {
  const auto found = words.find(language);
  if (found == words.end()) return false;
  const auto [first, last] = found->second.range(key);
  return first < last;
}

namespace {

/// Mass that leads from `word` straight to a word in [first, last).
double mass_into(const EdgeTable& table, WordId word, std::pair<WordId, WordId> goal) {
  const auto [from, to] = table.of(word);
  double sum = 0;
  for (std::uint32_t e = from; e < to; ++e)
    if (table.target[e] >= goal.first && table.target[e] < goal.second) sum += table.probability[e];
  return sum;
}

}  // namespace

std::vector<Translation> Lexicon::direct(const std::string& from, const std::string& to, std::string_view key) const {
  const auto table = edges.find({from, to});
  if (table == edges.end()) return {};
  const WordTable &source = words.at(from), &target = words.at(to);
  const Scores scores = direct_scores(source, table->second, key);
  const auto home = edges.find({to, from});
  const auto goal = source.range(key);
  return sorted(target, scores,
                [&](WordId word) { return home == edges.end() ? 0 : mass_into(home->second, word, goal); });
}

std::vector<Translation> Lexicon::pivoted(const std::string& from, const std::string& to, std::string_view key) const {
  Scores total;
  const auto own = words.find(from), target = words.find(to);
  if (own == words.end() || target == words.end()) return {};
  const auto goal = own->second.range(key);
  if (goal.first == goal.second) return {};
  for (auto step = edges.lower_bound({from, ""}); step != edges.end() && step->first.first == from; ++step) {
    const std::string& middle = step->first.second;
    const auto onward = edges.find({middle, to});
    if (middle == to || onward == edges.end()) continue;
    const Scores reached = direct_scores(own->second, step->second, key);
    for (const auto& [word, mass] : reached)
      spread(onward->second, word, mass, total);
  }
  if (total.empty()) return {};
  // The way back through any language shows that the translation means the same; without one it counts half.
  std::unordered_map<WordId, double> back;
  for (auto& [word, score] : total) {
    double& mass = back[word];
    for (auto step = edges.lower_bound({to, ""}); step != edges.end() && step->first.first == to; ++step) {
      const std::string& middle = step->first.second;
      const EdgeTable& out = step->second;
      if (middle == from) {
        mass += mass_into(out, word, goal);
        continue;
      }
      const auto home = edges.find({middle, from});
      if (home == edges.end()) continue;
      const auto [first, last] = out.of(word);
      for (std::uint32_t e = first; e < last; ++e)
        mass += out.probability[e] * mass_into(home->second, out.target[e], goal);
    }
    if (mass == 0) score *= 0.5;
  }
  double sum = 0;
  for (const auto& [word, score] : total)
    sum += score;
  for (auto& [word, score] : total)
    score /= sum;
  return sorted(target->second, total, [&](WordId word) { return back.at(word); });
}

Lexicon build_lexicon(const std::vector<Dictionary>& dictionaries, const std::string& domain) {
  std::map<std::string, Collector> collectors;
  std::map<LanguagePair, std::vector<Edge>> raw;
  for (const Dictionary& dictionary : dictionaries) {
    Collector& from = collectors[dictionary.from];
    Collector& to = collectors[dictionary.to];
    auto& there = raw[{dictionary.from, dictionary.to}];
    auto& back = raw[{dictionary.to, dictionary.from}];
    for (const DictEntry& entry : dictionary.entries) {
      const double share = 1 / std::sqrt(static_cast<double>(entry.heads.size()));
      for (const DictWord& head : entry.heads) {
        const WordId source = from.add(head);
        for (const DictSense& sense : entry.senses) {
          const WordId target = to.add(sense.word);
          double weight = share / (1.0 + sense.rank);
          if (!domain.empty() && sense.domain.starts_with(domain)) weight *= 2;
          there.push_back({source, target, static_cast<float>(weight)});
          back.push_back({target, source, static_cast<float>(weight)});
        }
      }
    }
  }
  const auto storage = std::make_shared<Storage>();
  LexiconColumns columns;
  columns.word_begin = columns.text_begin = columns.key_begin = columns.row_begin = columns.edge_begin = {0};
  std::map<std::string, std::vector<WordId>> place;
  for (auto& [language, collector] : collectors) {
    columns.languages.push_back(language);
    place[language] = add_words(collector, *storage);
    columns.word_begin.push_back(storage->gender.size());
    columns.text_begin.push_back(storage->text.size());
    columns.key_begin.push_back(storage->key.size());
    collector = {};
  }
  std::vector<std::pair<const LanguagePair*, std::vector<Edge>*>> jobs;
  for (auto& [pair, list] : raw)
    jobs.emplace_back(&pair, &list);
#pragma omp parallel for schedule(dynamic, 1)
  for (std::size_t j = 0; j < jobs.size(); ++j) {
    const auto& [from, to] = *jobs[j].first;
    const auto& from_place = place.at(from);
    const auto& to_place = place.at(to);
    for (Edge& edge : *jobs[j].second)
      edge = {from_place[edge.from], to_place[edge.to], edge.weight};
    *jobs[j].second = normalised(std::move(*jobs[j].second));
  }
  for (const auto& [pair, list] : raw) {
    columns.pairs.push_back(pair.first + "-" + pair.second);
    add_edges(list, *storage);
    columns.row_begin.push_back(storage->source.size());
    columns.edge_begin.push_back(storage->target.size());
  }
  columns.text = storage->text;
  columns.key = storage->key;
  columns.gender = storage->gender;
  columns.pos = storage->pos;
  columns.start = storage->start;
  columns.key_start = storage->key_start;
  columns.source = storage->source;
  columns.row_start = storage->row_start;
  columns.target = storage->target;
  columns.probability = storage->probability;
  columns.owner = storage;
  return Lexicon(std::move(columns), "lexicon", false);
}

}  // namespace fachwerk::wokie
