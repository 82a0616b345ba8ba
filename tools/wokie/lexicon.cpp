#include "lexicon.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

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

/// Sorts the words by folded form; returns the table and the final number of each provisional one.
std::pair<WordTable, std::vector<WordId>> table_of(const Collector& words) {
  const std::size_t n = words.text.size();
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
  WordTable table;
  for (std::size_t i = 0; i < n; ++i) {
    const WordId id = order[i];
    place[id] = static_cast<WordId>(i);
    table.text += words.text[id];
    table.key_text += keys[id];
    table.start.push_back(static_cast<std::uint32_t>(table.text.size()));
    table.key_start.push_back(static_cast<std::uint32_t>(table.key_text.size()));
    table.gender.push_back(words.gender[id]);
    table.pos.push_back(words.pos[id]);
  }
  return {std::move(table), std::move(place)};
}

struct Edge {
  WordId from, to;
  float weight;
};

EdgeTable edge_table(std::vector<Edge> edges, std::size_t words) {
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
  EdgeTable table;
  table.target.reserve(kept);
  table.probability.reserve(kept);
  table.start.reserve(words + 1);
  std::size_t at = 0;
  for (WordId word = 0; word < words; ++word) {
    std::size_t end = at;
    float sum = 0;
    while (end < kept && edges[end].from == word)
      sum += edges[end++].weight;
    std::stable_sort(edges.begin() + static_cast<std::ptrdiff_t>(at), edges.begin() + static_cast<std::ptrdiff_t>(end),
                     [](const Edge& a, const Edge& b) { return a.weight > b.weight; });
    for (; at < end; ++at) {
      table.target.push_back(edges[at].to);
      table.probability.push_back(edges[at].weight / sum);
    }
    table.start.push_back(static_cast<std::uint32_t>(kept == 0 ? 0 : at));
  }
  return table;
}

/// Scores by target word, turned into a sorted list.
using Scores = std::unordered_map<WordId, double>;

std::vector<Translation> sorted(const WordTable& table, const Scores& scores) {
  std::vector<std::pair<WordId, double>> order(scores.begin(), scores.end());
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  std::vector<Translation> out;
  out.reserve(order.size());
  for (const auto& [id, score] : order)
    out.push_back({std::string(table.word(id)), score, table.gender[id], table.pos[id]});
  return out;
}

void spread(const EdgeTable& table, WordId word, double mass, Scores& into) {
  for (std::uint32_t e = table.start[word]; e < table.start[word + 1]; ++e)
    into[table.target[e]] += mass * table.probability[e];
}

/// Translations of all words with this key; the mass is shared among the words that have any.
Scores direct_scores(const WordTable& table, const EdgeTable& edges, std::string_view key) {
  Scores scores;
  const auto [first, last] = table.range(key);
  double owners = 0;
  for (WordId word = first; word < last; ++word)
    owners += edges.start[word + 1] > edges.start[word] ? 1 : 0;
  for (WordId word = first; word < last; ++word)
    spread(edges, word, 1 / std::max(owners, 1.0), scores);
  return scores;
}

}  // namespace

std::pair<WordId, WordId> WordTable::range(std::string_view wanted) const {
  const auto bound = [&](bool upper) {
    std::size_t low = 0, high = size();
    while (low < high) {
      const std::size_t middle = (low + high) / 2;
      const int order = key(static_cast<WordId>(middle)).compare(wanted);
      if (order < 0 || (upper && order == 0))
        low = middle + 1;
      else
        high = middle;
    }
    return static_cast<WordId>(low);
  };
  return {bound(false), bound(true)};
}

bool Lexicon::has_word(const std::string& language, std::string_view key) const {
  const auto found = words.find(language);
  if (found == words.end()) return false;
  const auto [first, last] = found->second.range(key);
  return first < last;
}

std::vector<Translation> Lexicon::direct(const std::string& from, const std::string& to, std::string_view key) const {
  const auto table = edges.find({from, to});
  if (table == edges.end()) return {};
  return sorted(words.at(to), direct_scores(words.at(from), table->second, key));
}

std::vector<Translation> Lexicon::pivoted(const std::string& from, const std::string& to, std::string_view key) const {
  Scores total;
  const auto own = words.find(from), target = words.find(to);
  if (own == words.end() || target == words.end()) return {};
  const auto [first, last] = own->second.range(key);
  if (first == last) return {};
  for (auto step = edges.lower_bound({from, ""}); step != edges.end() && step->first.first == from; ++step) {
    const std::string& middle = step->first.second;
    const auto onward = edges.find({middle, to});
    if (middle == to || onward == edges.end()) continue;
    const Scores reached = direct_scores(own->second, step->second, key);
    for (const auto& [word, mass] : reached)
      spread(onward->second, word, mass, total);
  }
  if (total.empty()) return {};
  // A way back through some language shows that the translation means the same; without one it counts half.
  std::unordered_map<WordId, bool> back;
  for (auto& [word, score] : total) {
    bool returns = false;
    for (auto step = edges.lower_bound({to, ""}); !returns && step != edges.end() && step->first.first == to; ++step) {
      const std::string& middle = step->first.second;
      const EdgeTable& out = step->second;
      if (middle == from) {
        for (std::uint32_t e = out.start[word]; !returns && e < out.start[word + 1]; ++e)
          returns = out.target[e] >= first && out.target[e] < last;
        continue;
      }
      const auto home = edges.find({middle, from});
      if (home == edges.end()) continue;
      for (std::uint32_t e = out.start[word]; !returns && e < out.start[word + 1]; ++e) {
        const WordId via = out.target[e];
        for (std::uint32_t f = home->second.start[via]; !returns && f < home->second.start[via + 1]; ++f)
          returns = home->second.target[f] >= first && home->second.target[f] < last;
      }
    }
    if (!returns) score *= 0.5;
  }
  double sum = 0;
  for (const auto& [word, score] : total)
    sum += score;
  for (auto& [word, score] : total)
    score /= sum;
  return sorted(target->second, total);
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
  Lexicon out;
  std::map<std::string, std::vector<WordId>> place;
  for (auto& [language, collector] : collectors) {
    auto [table, order] = table_of(collector);
    out.words[language] = std::move(table);
    place[language] = std::move(order);
    collector = {};
  }
  std::vector<std::pair<const LanguagePair*, std::vector<Edge>*>> jobs;
  for (auto& [pair, list] : raw) {
    out.edges[pair];
    jobs.emplace_back(&pair, &list);
  }
#pragma omp parallel for schedule(dynamic, 1)
  for (std::size_t j = 0; j < jobs.size(); ++j) {
    const auto& [from, to] = *jobs[j].first;
    const auto& from_place = place.at(from);
    const auto& to_place = place.at(to);
    for (Edge& edge : *jobs[j].second)
      edge = {from_place[edge.from], to_place[edge.to], edge.weight};
    out.edges.at(*jobs[j].first) = edge_table(std::move(*jobs[j].second), out.words.at(from).size());
  }
  return out;
}

}  // namespace fachwerk::wokie
