#include "match.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <unordered_map>

#include <nlohmann/json.hpp>

#include "cli/error.hpp"
#include "labels.hpp"
#include "language.hpp"
#include "metrics.hpp"
#include "unicode.hpp"

namespace fachwerk::wokie {
namespace {

/// A label made ready for comparison.
struct Prepared {
  std::size_t owner;
  bool preferred;
  std::string language;  ///< ISO 639-1
  std::string text, folded, number;
  std::vector<std::string> tokens;
  std::vector<std::pair<std::uint32_t, float>> trigrams = {};  ///< unit vector, ascending
};

std::vector<Prepared> prepare(const Side& side) {
  std::vector<Prepared> out;
  for (const Label& label : side.thesaurus->labels) {
    if (label.property > Property::hidden_label) continue;
    Prepared p;
    p.owner = static_cast<std::size_t>(label.concept_index);
    p.preferred = label.property == Property::pref_label;
    const std::string_view tag = side.thesaurus->language(label);
    p.language = tag.empty() ? "" : short_code(split(canonical_tag(tag), '-')[0]);
    p.text = side.graph->term(label.text).value;
    p.folded = fold(p.text, p.language);
    p.number = number_folded(split_qualifier(p.text).head, p.language);
    p.tokens = words(p.number);
    if (!p.folded.empty()) out.push_back(std::move(p));
  }
  return out;
}

bool same_language(const Prepared& a, const Prepared& b) {
  return a.language == b.language || a.language.empty() || b.language.empty();
}

/// Numbers for strings, with document frequencies.
class Vocabulary {
 public:
  std::uint32_t add(const std::string& term) {
    const auto [found, added] = number_.try_emplace(term, static_cast<std::uint32_t>(frequency_.size()));
    if (added) frequency_.push_back(0);
    return found->second;
  }
  void seen(std::uint32_t id) { ++frequency_[id]; }
  double idf(std::uint32_t id, double documents) const { return std::log(1 + documents / (1.0 + frequency_[id])); }
  std::size_t size() const { return frequency_.size(); }
  std::int64_t find(const std::string& term) const {
    const auto found = number_.find(term);
    return found == number_.end() ? -1 : found->second;
  }

 private:
  std::unordered_map<std::string, std::uint32_t> number_;
  std::vector<std::uint32_t> frequency_;
};

std::vector<std::string> trigrams_of(const std::string& text) {
  const std::u32string padded = U"  " + code_points(text) + U" ";
  std::set<std::string> out;
  for (std::size_t i = 0; i + 3 <= padded.size(); ++i)
    out.insert(utf8(std::u32string_view(padded).substr(i, 3)));
  return {out.begin(), out.end()};
}

using Vector = std::vector<std::pair<std::uint32_t, float>>;

void normalise(Vector& vector) {
  std::sort(vector.begin(), vector.end());
  double sum = 0;
  for (const auto& [id, weight] : vector)
    sum += weight * weight;
  const auto length = static_cast<float>(std::sqrt(sum));
  if (length > 0)
    for (auto& [id, weight] : vector)
      weight /= length;
}

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i].first < b[j].first)
      ++i;
    else if (b[j].first < a[i].first)
      ++j;
    else
      sum += a[i++].second * b[j++].second;
  }
  return sum;
}

void weigh_trigrams(std::vector<Prepared>& a, std::vector<Prepared>& b) {
  Vocabulary vocabulary;
  for (auto* list : {&a, &b})
    for (Prepared& p : *list)
      for (const std::string& gram : trigrams_of(p.folded)) {
        const std::uint32_t id = vocabulary.add(gram);
        vocabulary.seen(id);
        p.trigrams.emplace_back(id, 0.0f);
      }
  const auto documents = static_cast<double>(a.size() + b.size());
  for (auto* list : {&a, &b})
    for (Prepared& p : *list) {
      for (auto& [id, weight] : p.trigrams)
        weight = static_cast<float>(vocabulary.idf(id, documents));
      normalise(p.trigrams);
    }
}

/// Definition vectors per concept and language.
std::vector<std::map<std::string, Vector>> definitions(const Side& side, Vocabulary& vocabulary, bool count) {
  std::vector<std::map<std::string, Vector>> out(side.thesaurus->concepts.size());
  for (const Label& label : side.thesaurus->labels) {
    if (label.property != Property::definition && label.property != Property::scope_note &&
        label.property != Property::note)
      continue;
    const std::string language = short_code(split(canonical_tag(side.thesaurus->language(label)), '-')[0]);
    std::set<std::string> tokens;
    std::string word;
    for (const char32_t c : code_points(fold(side.graph->term(label.text).value))) {
      if (is_letter(c))
        append_utf8(word, c);
      else if (word.size() > 3)
        tokens.insert(number_stem(word, language)), word.clear();
      else
        word.clear();
    }
    if (word.size() > 3) tokens.insert(number_stem(word, language));
    Vector& vector = out[static_cast<std::size_t>(label.concept_index)][language];
    for (const std::string& token : tokens) {
      const std::uint32_t id = vocabulary.add(token);
      if (count) vocabulary.seen(id);
      vector.emplace_back(id, 0.0f);
    }
  }
  return out;
}

using Key = std::pair<std::size_t, std::size_t>;

struct KeyHash {
  std::size_t operator()(const Key& key) const { return key.first * 0x9E3779B97F4A7C15u ^ key.second; }
};

class Collector {
 public:
  Collector(const Side& left, const Side& right, const Translate& translate)
      : left_(left), right_(right), translate_(translate), a_(prepare(left)), b_(prepare(right)) {}

  std::vector<Pair> run() {
    weigh_trigrams(a_, b_);
    by_equal_labels();
    by_trigrams();
    if (translate_) {
      by_translation(a_, b_, false);
      by_translation(b_, a_, true);
    }
    compare_labels();
    compare_definitions();
    std::vector<Pair> out;
    out.reserve(pairs_.size());
    for (auto& [key, pair] : pairs_)
      out.push_back(pair);
    std::sort(out.begin(), out.end(),
              [](const Pair& x, const Pair& y) { return std::pair(x.left, x.right) < std::pair(y.left, y.right); });
    return out;
  }

 private:
  Pair& pair(std::size_t l, std::size_t r) {
    const auto [found, added] = pairs_.try_emplace(Key{l, r});
    if (added) found->second.left = l, found->second.right = r;
    return found->second;
  }
  static void raise(Pair& p, Feature feature, double value) {
    p.features[feature] = std::max(p.features[feature], value);
  }

  void by_equal_labels() {
    std::unordered_map<std::string, std::vector<std::size_t>> folded, number;
    for (std::size_t j = 0; j < b_.size(); ++j) {
      folded[b_[j].folded].push_back(j);
      number[b_[j].number].push_back(j);
    }
    for (const Prepared& p : a_) {
      if (const auto found = folded.find(p.folded); found != folded.end())
        for (const std::size_t j : found->second) {
          Pair& with = pair(p.owner, b_[j].owner);
          // Equal strings of different languages are often names or loans: they count as equal, not as preferred.
          raise(with, exact_any, same_language(p, b_[j]) ? 1.0 : 0.8);
          if (!same_language(p, b_[j])) raise(with, translated, 0.9), raise(with, translated_back, 0.9);
          if (p.preferred && b_[j].preferred && same_language(p, b_[j])) raise(with, exact_preferred, 1);
        }
      if (const auto found = number.find(p.number); found != number.end())
        for (const std::size_t j : found->second)
          if (same_language(p, b_[j]))
            raise(pair(p.owner, b_[j].owner), exact_number, p.preferred && b_[j].preferred ? 1.0 : 0.8);
    }
  }

  /// Inverted index over trigrams: every pair of labels with cosine 0.3 or more, 20 per label at most.
  void by_trigrams() {
    std::unordered_map<std::uint32_t, std::vector<std::pair<std::size_t, float>>> index;
    for (std::size_t j = 0; j < b_.size(); ++j)
      for (const auto& [id, weight] : b_[j].trigrams)
        index[id].emplace_back(j, weight);
    std::vector<std::vector<std::pair<float, std::size_t>>> best(a_.size());
#pragma omp parallel
    {
      std::vector<float> score(b_.size(), 0);
      std::vector<std::size_t> touched;
#pragma omp for schedule(dynamic, 32)
      for (std::size_t i = 0; i < a_.size(); ++i) {
        for (const auto& [id, weight] : a_[i].trigrams) {
          const auto found = index.find(id);
          if (found == index.end() || found->second.size() > 4000)
            continue;  // grams of nearly every label tell nothing
          for (const auto& [j, other] : found->second) {
            if (score[j] == 0) touched.push_back(j);
            score[j] += weight * other;
          }
        }
        for (const std::size_t j : touched) {
          if (score[j] >= 0.3f && same_language(a_[i], b_[j])) best[i].emplace_back(score[j], j);
          score[j] = 0;
        }
        touched.clear();
        std::sort(best[i].begin(), best[i].end(), [](const auto& x, const auto& y) {
          return x.first != y.first ? x.first > y.first : x.second < y.second;
        });
        if (best[i].size() > 20) best[i].resize(20);
      }
    }
    for (std::size_t i = 0; i < a_.size(); ++i)
      for (const auto& [score, j] : best[i])
        raise(pair(a_[i].owner, b_[j].owner), trigram_cosine, std::min(1.0, dot(a_[i].trigrams, b_[j].trigrams)));
  }

  /// Labels of `from` translated into every language that `to` has and their concept lacks.
  void by_translation(const std::vector<Prepared>& from, const std::vector<Prepared>& to, bool swapped) {
    std::set<std::string> own, targets;
    for (const Prepared& p : from)
      own.insert(p.language);
    for (const Prepared& p : to)
      targets.insert(p.language);
    targets.erase("");
    for (const std::string& target : targets) {
      std::unordered_map<std::string, std::vector<std::size_t>> folded, number;
      for (std::size_t j = 0; j < to.size(); ++j)
        if (to[j].language == target) {
          folded[to[j].folded].push_back(j);
          number[to[j].number].push_back(j);
        }
      std::vector<SourceText> sources;
      std::vector<std::size_t> place;
      for (std::size_t i = 0; i < from.size(); ++i)
        if (from[i].language != target && !from[i].language.empty())
          sources.push_back({from[i].language, from[i].text}), place.push_back(i);
      if (sources.empty()) continue;
      const auto answers = translate_(sources, target);
      for (std::size_t k = 0; k < sources.size(); ++k) {
        const Prepared& p = from[place[k]];
        std::map<std::string, double> top;
        for (const Proposal& proposal : answers[k])
          top[proposal.voter] = std::max(top[proposal.voter], proposal.probability);
        for (const Proposal& proposal : answers[k]) {
          if (proposal.partial) continue;
          const double relative = proposal.probability / top[proposal.voter];
          if (relative < 0.05) continue;
          const double value =
              (0.5 + 0.5 * relative) * (proposal.voter == "compose" || proposal.voter == "cognate" ? 0.85 : 1.0);
          const auto hit = [&](const auto& index, const std::string& key, double share) {
            const auto found = index.find(key);
            if (found == index.end()) return;
            for (const std::size_t j : found->second) {
              const double both = share * value * (p.preferred && to[j].preferred ? 1.0 : 0.85);
              Pair& with = swapped ? pair(to[j].owner, p.owner) : pair(p.owner, to[j].owner);
              raise(with, swapped ? translated_back : translated, both);
            }
          };
          hit(folded, fold(proposal.text, target), 1.0);
          hit(number, number_folded(proposal.text, target), 0.95);
        }
      }
    }
  }

  void compare_labels() {
    Vocabulary vocabulary;
    for (const auto* list : {&a_, &b_})
      for (const Prepared& p : *list)
        for (const std::string& token : p.tokens)
          vocabulary.seen(vocabulary.add(token));
    const auto documents = static_cast<double>(a_.size() + b_.size());
    std::vector<std::vector<std::size_t>> of_left(left_.thesaurus->concepts.size()),
        of_right(right_.thesaurus->concepts.size());
    for (std::size_t i = 0; i < a_.size(); ++i)
      of_left[a_[i].owner].push_back(i);
    for (std::size_t j = 0; j < b_.size(); ++j)
      of_right[b_[j].owner].push_back(j);
    std::vector<Pair*> list;
    for (auto& [key, p] : pairs_)
      list.push_back(&p);
#pragma omp parallel for schedule(dynamic, 64)
    for (std::size_t n = 0; n < list.size(); ++n) {
      Pair& p = *list[n];
      std::map<std::string, bool> equal;  // by common language
      for (const std::size_t i : of_left[p.left])
        for (const std::size_t j : of_right[p.right]) {
          if (!same_language(a_[i], b_[j])) continue;
          equal[a_[i].language] |= a_[i].number == b_[j].number;
          raise(p, shared_language, 1);
          raise(p, token_overlap, overlap(a_[i].tokens, b_[j].tokens, vocabulary, documents));
          raise(p, jaro, jaro_winkler(a_[i].folded, b_[j].folded));
          raise(p, substring, isub(a_[i].folded, b_[j].folded));
        }
      if (!equal.empty())
        p.features[equal_share] =
            static_cast<double>(std::count_if(equal.begin(), equal.end(), [](const auto& e) { return e.second; })) /
            static_cast<double>(equal.size());
    }
  }

  static double overlap(const std::vector<std::string>& a, const std::vector<std::string>& b,
                        const Vocabulary& vocabulary, double documents) {
    double common = 0, all = 0;
    const auto weight = [&](const std::string& token) {
      return vocabulary.idf(static_cast<std::uint32_t>(vocabulary.find(token)), documents);
    };
    for (const std::string& token : a) {
      all += weight(token);
      if (std::find(b.begin(), b.end(), token) != b.end()) common += weight(token);
    }
    for (const std::string& token : b)
      if (std::find(a.begin(), a.end(), token) == a.end()) all += weight(token);
    return all == 0 ? 0 : common / all;
  }

  void compare_definitions() {
    Vocabulary vocabulary;
    auto left = definitions(left_, vocabulary, true), right = definitions(right_, vocabulary, true);
    const auto documents = static_cast<double>(left.size() + right.size());
    for (auto* side : {&left, &right})
      for (auto& concept_texts : *side)
        for (auto& [language, vector] : concept_texts) {
          for (auto& [id, weight] : vector)
            weight = static_cast<float>(vocabulary.idf(id, documents));
          normalise(vector);
        }
    for (auto& [key, p] : pairs_)
      for (const auto& [language, vector] : left[p.left])
        if (const auto found = right[p.right].find(language); found != right[p.right].end())
          raise(p, definition, std::min(1.0, dot(vector, found->second)));
  }

  const Side& left_;
  const Side& right_;
  const Translate& translate_;
  std::vector<Prepared> a_, b_;
  std::unordered_map<Key, Pair, KeyHash> pairs_;
};

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

}  // namespace

std::vector<std::string> feature_names() {
  return {"exact_preferred", "exact_any", "exact_number",    "token_overlap",   "trigram_cosine",
          "jaro_winkler",    "isub",      "translated",      "translated_back", "definition",
          "parents",         "children",  "shared_language", "equal_share"};
}

double LinearModel::operator()(const std::array<double, feature_count>& features) const {
  double sum = intercept;
  for (std::size_t f = 0; f < feature_count; ++f)
    sum += weight[f] * features[f];
  return sigmoid(sum);
}

MatchModel MatchModel::shipped() {
  MatchModel model;
  // Fitted on the cases of both benchmarks (wrong pairs weighing 0.3, cases by the root of their size, ridge 1),
  // shifted so that the threshold 0.6 is where leaving one case out did best. Weights that came out below zero or near
  // it were left out: equality shows in the other likenesses.
  model.common.intercept = -8.41;
  model.common.weight[token_overlap] = 1.26;
  model.common.weight[trigram_cosine] = 3.37;
  model.common.weight[jaro] = 2.76;
  model.common.weight[substring] = 1.93;
  model.common.weight[translated] = 0.79;
  model.common.weight[translated_back] = 0.75;
  model.common.weight[parents] = 0.73;
  model.common.weight[equal_share] = 1.32;
  // Translations alone: both directions must agree, or one of them and the surroundings.
  model.cross.intercept = -4.8;
  model.cross.weight[exact_any] = 2.2;
  model.cross.weight[translated] = 3.6;
  model.cross.weight[translated_back] = 3.6;
  model.cross.weight[definition] = 1.0;
  model.cross.weight[parents] = 0.9;
  model.cross.weight[children] = 0.6;
  return model;
}

namespace {

LinearModel linear_from(const nlohmann::json& json, const std::string& name) {
  if (!json.is_object()) throw bad_input("{}: expected an object of weights", name);
  LinearModel model;
  const std::vector<std::string> names = feature_names();
  for (std::size_t f = 0; f < feature_count + std::size_t{1}; ++f) {
    const std::string key = f == feature_count ? "intercept" : names[f];
    if (!json.contains(key) || !json[key].is_number()) throw bad_input("{}: no weight for \"{}\"", name, key);
    (f == feature_count ? model.intercept : model.weight[f]) = json[key].get<double>();
  }
  if (json.size() != feature_count + std::size_t{1}) throw bad_input("{}: weights of unknown features", name);
  return model;
}

nlohmann::ordered_json to_object(const LinearModel& model) {
  nlohmann::ordered_json json;
  json["intercept"] = model.intercept;
  const std::vector<std::string> names = feature_names();
  for (std::size_t f = 0; f < feature_count; ++f)
    json[names[f]] = model.weight[f];
  return json;
}

/// Iteratively reweighted least squares with ridge 1 around zero.
LinearModel fit_linear(const std::vector<const Pair*>& pairs, const std::vector<bool>& right) {
  constexpr std::size_t n = feature_count + 1;
  std::array<double, n> beta{};
  for (int round = 0; round < 25; ++round) {
    std::array<std::array<double, n + 1>, n> system{};
    for (std::size_t i = 0; i < n; ++i)
      system[i][i] = 1, system[i][n] = -beta[i];
    for (std::size_t k = 0; k < pairs.size(); ++k) {
      std::array<double, n> x{};
      x[0] = 1;
      std::copy(pairs[k]->features.begin(), pairs[k]->features.end(), x.begin() + 1);
      const double p = sigmoid(std::inner_product(x.begin(), x.end(), beta.begin(), 0.0));
      const double weight = std::max(p * (1 - p), 1e-6), error = (right[k] ? 1.0 : 0.0) - p;
      for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < n; ++j)
          system[i][j] += weight * x[i] * x[j];
        system[i][n] += error * x[i];
      }
    }
    for (std::size_t i = 0; i < n; ++i) {  // Gauss-Jordan: the matrix is positive definite
      const double pivot = system[i][i];
      for (double& value : system[i])
        value /= pivot;
      for (std::size_t j = 0; j < n; ++j) {
        if (j == i) continue;
        const double factor = system[j][i];
        for (std::size_t c = 0; c <= n; ++c)
          system[j][c] -= factor * system[i][c];
      }
    }
    double step = 0;
    for (std::size_t i = 0; i < n; ++i)
      beta[i] += system[i][n], step = std::max(step, std::abs(system[i][n]));
    if (step < 1e-8) break;
  }
  LinearModel model;
  model.intercept = beta[0];
  std::copy(beta.begin() + 1, beta.end(), model.weight.begin());
  return model;
}

}  // namespace

MatchModel MatchModel::from_json(std::string_view text, const std::string& name) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("common") || !json.contains("cross"))
    throw bad_input("{}: expected a JSON object with the models common and cross", name);
  return {linear_from(json["common"], name + ":common"), linear_from(json["cross"], name + ":cross")};
}

std::string MatchModel::to_json() const {
  return nlohmann::ordered_json{{"common", to_object(common)}, {"cross", to_object(cross)}}.dump(1) + "\n";
}

MatchModel MatchModel::fit(const std::vector<Pair>& pairs, const std::vector<bool>& right) {
  MatchModel model = shipped();
  for (const bool common : {true, false}) {
    std::vector<const Pair*> part;
    std::vector<bool> correct;
    for (std::size_t i = 0; i < pairs.size(); ++i)
      if ((pairs[i].features[shared_language] > 0) == common) part.push_back(&pairs[i]), correct.push_back(right[i]);
    if (std::count(correct.begin(), correct.end(), true) >= 10)
      (common ? model.common : model.cross) = fit_linear(part, correct);
  }
  return model;
}

std::vector<Pair> candidate_pairs(const Side& left, const Side& right, const Translate& translate) {
  return Collector(left, right, translate).run();
}

void score_pairs(std::vector<Pair>& pairs, const Side& left, const Side& right, const MatchModel& model,
                 double damping) {
  std::unordered_map<Key, std::size_t, KeyHash> place;
  for (std::size_t i = 0; i < pairs.size(); ++i)
    place[{pairs[i].left, pairs[i].right}] = i;
  std::vector<double> own(pairs.size());
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    pairs[i].features[parents] = pairs[i].features[children] = 0;
    own[i] = model(pairs[i].features);
  }
  const auto neighbours = [&](const Pair& p, const Adjacency& a, const Adjacency& b) {
    double best = 0;
    for (const std::int64_t l : a.list(p.left))
      for (const std::int64_t r : b.list(p.right))
        if (const auto found = place.find({static_cast<std::size_t>(l), static_cast<std::size_t>(r)});
            found != place.end())
          best = std::max(best, own[found->second]);
    return best;
  };
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    pairs[i].features[parents] = neighbours(pairs[i], left.thesaurus->broader, right.thesaurus->broader);
    pairs[i].features[children] = neighbours(pairs[i], left.thesaurus->narrower, right.thesaurus->narrower);
  }
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const double full = model(pairs[i].features);
    const double around = std::max(pairs[i].features[parents], pairs[i].features[children]);
    pairs[i].similarity = full + damping * around * (1 - full) * full;  // neighbours help what stands already
  }
}

std::vector<std::ptrdiff_t> best_assignment(const std::vector<double>& gain, std::size_t rows, std::size_t columns) {
  // Shortest augmenting paths with potentials (Jonker and Volgenant 1987) on costs -gain; square with zeros.
  const std::size_t n = std::max(rows, columns);
  const auto cost = [&](std::size_t i, std::size_t j) {
    return i < rows && j < columns ? -gain[i * columns + j] : 0.0;
  };
  std::vector<double> u(n + 1, 0), v(n + 1, 0);
  std::vector<std::size_t> match(n + 1, 0), way(n + 1, 0);
  for (std::size_t i = 1; i <= n; ++i) {
    match[0] = i;
    std::size_t j0 = 0;
    std::vector<double> least(n + 1, std::numeric_limits<double>::infinity());
    std::vector<char> used(n + 1, 0);
    do {
      used[j0] = 1;
      const std::size_t i0 = match[j0];
      double delta = std::numeric_limits<double>::infinity();
      std::size_t j1 = 0;
      for (std::size_t j = 1; j <= n; ++j) {
        if (used[j]) continue;
        const double current = cost(i0 - 1, j - 1) - u[i0] - v[j];
        if (current < least[j]) least[j] = current, way[j] = j0;
        if (least[j] < delta) delta = least[j], j1 = j;
      }
      for (std::size_t j = 0; j <= n; ++j) {
        if (used[j])
          u[match[j]] += delta, v[j] -= delta;
        else
          least[j] -= delta;
      }
      j0 = j1;
    } while (match[j0] != 0);
    do {
      const std::size_t j1 = way[j0];
      match[j0] = match[j1];
      j0 = j1;
    } while (j0 != 0);
  }
  std::vector<std::ptrdiff_t> out(rows, -1);
  for (std::size_t j = 1; j <= n; ++j) {
    const std::size_t i = match[j] - 1;
    if (i < rows && j - 1 < columns && gain[i * columns + j - 1] > 0) out[i] = static_cast<std::ptrdiff_t>(j) - 1;
  }
  return out;
}

namespace {

std::vector<std::size_t> one_to_one(const std::vector<Pair>& pairs, const std::vector<std::size_t>& kept,
                                    bool hungarian) {
  std::vector<std::size_t> order = kept;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return pairs[a].similarity > pairs[b].similarity; });
  if (!hungarian) {
    std::set<std::size_t> left, right;
    std::vector<std::size_t> out;
    for (const std::size_t i : order)
      if (!left.contains(pairs[i].left) && !right.contains(pairs[i].right)) {
        left.insert(pairs[i].left);
        right.insert(pairs[i].right);
        out.push_back(i);
      }
    return out;
  }
  // Components of the graph of kept pairs, each solved by itself.
  std::map<std::pair<int, std::size_t>, std::pair<int, std::size_t>> parent;
  const std::function<std::pair<int, std::size_t>(std::pair<int, std::size_t>)> find =
      [&](std::pair<int, std::size_t> x) {
        auto& up = parent.try_emplace(x, x).first->second;
        if (up != x) up = find(up);
        return parent[x];
      };
  for (const std::size_t i : kept)
    parent[find({0, pairs[i].left})] = find({1, pairs[i].right});
  std::map<std::pair<int, std::size_t>, std::vector<std::size_t>> components;
  for (const std::size_t i : kept)
    components[find({0, pairs[i].left})].push_back(i);
  std::vector<std::size_t> out;
  for (const auto& [root, members] : components) {
    if (members.size() == 1) {
      out.push_back(members[0]);
      continue;
    }
    std::vector<std::size_t> rows, columns;
    for (const std::size_t i : members)
      rows.push_back(pairs[i].left), columns.push_back(pairs[i].right);
    for (auto* list : {&rows, &columns}) {
      std::sort(list->begin(), list->end());
      list->erase(std::unique(list->begin(), list->end()), list->end());
    }
    if (rows.size() * columns.size() > 4'000'000) {  // one huge component: greedy is as good and bounded
      const auto part = one_to_one(pairs, members, false);
      out.insert(out.end(), part.begin(), part.end());
      continue;
    }
    std::vector<double> gain(rows.size() * columns.size(), 0);
    double least = 0.999;
    for (const std::size_t i : members)
      least = std::min(least, std::clamp(pairs[i].similarity, 0.01, 0.999));
    const double floor = std::min(0.0, std::log(least / (1 - least)) - 0.1);
    std::map<Key, std::size_t> which;
    for (const std::size_t i : members) {
      const auto r = static_cast<std::size_t>(std::lower_bound(rows.begin(), rows.end(), pairs[i].left) - rows.begin());
      const auto c =
          static_cast<std::size_t>(std::lower_bound(columns.begin(), columns.end(), pairs[i].right) - columns.begin());
      // Log-odds: the likeliest assignment as a whole, in which a sure pair is not given up for two fair ones.
      const double p = std::clamp(pairs[i].similarity, 0.01, 0.999);
      gain[r * columns.size() + c] = std::max(std::log(p / (1 - p)) - floor, 1e-6);
      which[{r, c}] = i;
    }
    const auto assigned = best_assignment(gain, rows.size(), columns.size());
    for (std::size_t r = 0; r < rows.size(); ++r)
      if (assigned[r] >= 0) out.push_back(which.at({r, static_cast<std::size_t>(assigned[r])}));
  }
  return out;
}

/// a -> x and b -> y cross when a is above b but x is below y: the weaker one goes.
void drop_crossing(const std::vector<Pair>& pairs, std::vector<std::size_t>& kept, const Side& left,
                   const Side& right) {
  const auto is_above = [](const Thesaurus& t, std::size_t high, std::size_t low) {
    const auto chain = chain_of(t, low);
    return std::find(chain.begin(), chain.end() - 1, high) != chain.end() - 1;
  };
  std::set<std::size_t> drop;
  for (std::size_t i = 0; i < kept.size(); ++i)
    for (std::size_t j = 0; j < kept.size(); ++j) {
      const Pair &p = pairs[kept[i]], &q = pairs[kept[j]];
      if (i == j || p.left == q.left || p.right == q.right) continue;
      if (is_above(*left.thesaurus, p.left, q.left) && is_above(*right.thesaurus, q.right, p.right))
        drop.insert(p.similarity < q.similarity ? kept[i] : kept[j]);
    }
  std::erase_if(kept, [&](std::size_t i) { return drop.contains(i); });
}

}  // namespace

std::vector<Mapping> select_mappings(const std::vector<Pair>& pairs, const Side& left, const Side& right,
                                     const MatchOptions& options) {
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < pairs.size(); ++i)
    if (pairs[i].similarity >= options.threshold) kept.push_back(i);
  if (options.selection != MatchOptions::Selection::many)
    kept = one_to_one(pairs, kept, options.selection == MatchOptions::Selection::hungarian);
  if (kept.size() < 5000) drop_crossing(pairs, kept, left, right);
  std::vector<Mapping> out;
  const auto iri = [](const Side& side, std::size_t c) {
    return std::string(side.graph->term(side.thesaurus->concepts[c]).value);
  };
  for (const std::size_t i : kept) {
    const Pair& p = pairs[i];
    Mapping mapping{iri(left, p.left),
                    iri(right, p.right),
                    p.similarity >= options.exact_from ? "=" : "~",
                    std::min(p.similarity, 1.0),
                    {}};
    mapping.features.assign(p.features.begin(), p.features.end());
    if (options.hierarchy_types && p.features[exact_any] == 0 && p.features[exact_number] == 0 &&
        p.features[token_overlap] > 0 && p.features[translated] == 0 && p.features[translated_back] == 0) {
      const auto longest = [](const Side& side, std::size_t c) {
        std::size_t count = 0;
        for (std::size_t l = side.thesaurus->label_begin(c); l < side.thesaurus->label_end(c); ++l)
          if (side.thesaurus->labels[l].property == Property::pref_label)
            count = std::max(count, words(side.graph->term(side.thesaurus->labels[l].text).value).size());
        return count;
      };
      const std::size_t a = longest(left, p.left), b = longest(right, p.right);
      if (a != b) mapping.relation = a > b ? "<" : ">";
    }
    out.push_back(std::move(mapping));
  }
  std::sort(out.begin(), out.end(),
            [](const Mapping& a, const Mapping& b) { return std::tie(a.left, a.right) < std::tie(b.left, b.right); });
  return out;
}

AlignmentScore score_alignment(const std::vector<Mapping>& found, const std::vector<Mapping>& reference, bool close) {
  const auto set_of = [&](const std::vector<Mapping>& list) {
    std::set<std::pair<std::string, std::string>> out;
    for (const Mapping& m : list)
      if (m.relation == "=" || (close && m.relation == "~")) out.emplace(m.left, m.right);
    return out;
  };
  const auto a = set_of(found), b = set_of(reference);
  AlignmentScore score{0, a.size(), b.size()};
  for (const auto& pair : a)
    score.right += b.contains(pair) ? 1 : 0;
  return score;
}

}  // namespace fachwerk::wokie
