#include "cognate.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>

#include "labels.hpp"
#include "language.hpp"
#include "metrics.hpp"
#include "unicode.hpp"

namespace fachwerk::wokie {
namespace {

using Pair = std::pair<std::u32string, std::u32string>;

/// Shapes of a joint unit: letters taken on the source and on the target side.
constexpr std::array<std::pair<std::size_t, std::size_t>, 6> shapes = {
    {{1, 1}, {1, 0}, {1, 2}, {2, 1}, {2, 2}, {2, 0}}};

/// Up to two letters on each side in one number. Letters beyond the basic plane do not occur in the dictionaries' words
/// that are trained on.
std::uint64_t packed(std::u32string_view letters) {
  std::uint64_t key = 0;
  for (const char32_t c : letters)
    key = key << 16 | (c & 0xffff);
  return key;
}
std::uint64_t unit_key(std::u32string_view source, std::u32string_view target) {
  return packed(source) << 32 | packed(target);
}

double first_guess(std::u32string_view source, std::u32string_view target) {
  if (source == target) return source.size() == 1 ? 0.5 : 0.02;
  if (source.size() == 1 && target.size() == 1)
    return without_marks(utf8(source)) == without_marks(utf8(target)) ? 0.2 : 0.002;
  return 0.0005;
}

/// Viterbi alignment under unit probabilities; empty when the lengths cannot be bridged.
template <class Cost>
std::vector<std::pair<std::u32string, std::u32string>> align_pair(const Pair& pair, Cost cost) {
  const auto& [a, b] = pair;
  const std::size_t width = b.size() + 1;
  constexpr double unreached = std::numeric_limits<double>::infinity();
  std::vector<double> best((a.size() + 1) * width, unreached);
  std::vector<std::int8_t> from(best.size(), -1);
  best[0] = 0;
  for (std::size_t i = 0; i <= a.size(); ++i)
    for (std::size_t j = 0; j <= b.size(); ++j) {
      const double here = best[i * width + j];
      if (here == unreached || (i > j ? i - j : j - i) > 5) continue;
      for (std::size_t s = 0; s < shapes.size(); ++s) {
        const auto [di, dj] = shapes[s];
        if (i + di > a.size() || j + dj > b.size()) continue;
        const double there = here + cost(std::u32string_view(a).substr(i, di), std::u32string_view(b).substr(j, dj));
        double& slot = best[(i + di) * width + j + dj];
        if (there < slot) {
          slot = there;
          from[(i + di) * width + j + dj] = static_cast<std::int8_t>(s);
        }
      }
    }
  std::vector<Pair> out;
  if (best.back() == unreached) return out;
  for (std::size_t i = a.size(), j = b.size(); i > 0 || j > 0;) {
    const auto [di, dj] = shapes[static_cast<std::size_t>(from[i * width + j])];
    i -= di;
    j -= dj;
    out.emplace_back(a.substr(i, di), b.substr(j, dj));
  }
  std::reverse(out.begin(), out.end());
  return out;
}

constexpr char32_t boundary = 0;

}  // namespace

/// The last `length` units of the history, at most three of 20 bits, and their number.
std::uint64_t CognateModel::context_key(const Context& history, std::size_t length) {
  std::uint64_t key = length;
  for (std::size_t i = history.size() - length; i < history.size(); ++i)
    key = key << 20 | history[i];
  return key;
}

double CognateModel::probability(const Context& history, Unit unit) const {
  // Interpolated absolute discounting, shortest context first; the base is uniform over the units.
  constexpr double discount = 0.7;
  double p = 1.0 / static_cast<double>(units_.size() + 1);
  for (std::size_t length = 0; length < order; ++length) {
    if (length > history.size()) break;
    const auto found = counts_.find(context_key(history, length));
    if (found == counts_.end()) break;
    const Counts& counts = found->second;
    const auto own = counts.count.find(unit);
    const double seen = own == counts.count.end() ? 0 : own->second;
    p = std::max(seen - discount, 0.0) / counts.total +
        discount * static_cast<double>(counts.count.size()) / counts.total * p;
  }
  return p;
}

std::optional<CognateModel> CognateModel::train(const std::vector<std::pair<std::string, std::string>>& texts) {
  if (texts.size() < 500) return std::nullopt;
  std::vector<Pair> pairs;
  for (const auto& [a, b] : texts)
    pairs.emplace_back(code_points(a), code_points(b));
  std::mt19937_64 random(1);
  for (std::size_t i = pairs.size(); i > 1; --i)
    std::swap(pairs[i - 1], pairs[random() % i]);
  if (pairs.size() > 8000) pairs.resize(8000);
  const std::size_t held_out = std::min<std::size_t>(pairs.size() / 10, 400);
  std::unordered_map<std::uint64_t, double> probability;
  for (int round = 0; round < 4; ++round) {
    std::unordered_map<std::uint64_t, double> count;
    double total = 0;
    for (std::size_t n = held_out; n < pairs.size(); ++n) {
      const auto aligned = align_pair(pairs[n], [&](std::u32string_view s, std::u32string_view t) {
        if (round == 0) return -std::log(first_guess(s, t));
        const auto found = probability.find(unit_key(s, t));
        return found == probability.end() ? 14.0 : -std::log(found->second);
      });
      for (const auto& [s, t] : aligned)
        count[unit_key(s, t)] += 1, total += 1;
    }
    probability.clear();
    for (const auto& [key, n] : count)
      probability[key] = n / total;
  }
  CognateModel model;
  std::unordered_map<std::uint64_t, Unit> number;
  for (std::size_t n = held_out; n < pairs.size(); ++n) {
    const auto aligned = align_pair(pairs[n], [&](std::u32string_view s, std::u32string_view t) {
      const auto found = probability.find(unit_key(s, t));
      return found == probability.end() ? 14.0 : -std::log(found->second);
    });
    Context history(order - 1, boundary);
    const auto count = [&](Unit unit) {
      for (std::size_t length = 0; length < order; ++length) {
        Counts& counts = model.counts_[context_key(history, length)];
        counts.count[unit] += 1;
        counts.total += 1;
      }
      history.erase(0, 1);
      history += static_cast<char32_t>(unit);
    };
    for (const auto& [s, t] : aligned) {
      const auto [found, added] = number.try_emplace(unit_key(s, t), static_cast<Unit>(model.units_.size() + 1));
      if (added) {
        model.units_.emplace_back(s, t);
        model.by_source_[packed(s)].push_back(found->second);
      }
      count(found->second);
    }
    count(boundary);
  }
  // The cut: the lowest confidence above which 60 % of the held-out words come out right.
  std::vector<std::pair<double, bool>> tried;
  for (std::size_t n = 0; n < held_out; ++n)
    if (const auto result = model.transfer(utf8(pairs[n].first)))
      tried.emplace_back(result->confidence, result->text == utf8(pairs[n].second));
  std::sort(tried.begin(), tried.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::size_t right = 0;
  for (std::size_t i = 0; i < tried.size(); ++i) {
    right += tried[i].second ? 1 : 0;
    if (i >= 9 && static_cast<double>(right) >= 0.6 * static_cast<double>(i + 1)) model.cut_ = tried[i].first;
  }
  return model;
}

std::optional<CognateModel::Result> CognateModel::transfer(const std::string& word) const {
  const std::u32string letters = code_points(word);
  if (letters.size() < 5) return std::nullopt;
  struct Hypothesis {
    double cost = 0;
    std::size_t units = 0;
    Context history;
    std::u32string text;
  };
  constexpr std::size_t width = 12;
  std::vector<std::vector<Hypothesis>> at(letters.size() + 1);
  at[0].push_back({0, 0, Context(order - 1, boundary), {}});
  const auto prune = [](std::vector<Hypothesis>& list) {
    std::sort(list.begin(), list.end(), [](const Hypothesis& a, const Hypothesis& b) {
      return a.cost != b.cost ? a.cost < b.cost : a.text < b.text;
    });
    if (list.size() > width) list.resize(width);
  };
  for (std::size_t i = 0; i < letters.size(); ++i) {
    prune(at[i]);
    for (const Hypothesis& hypothesis : at[i])
      for (const std::size_t taken : {std::size_t{1}, std::size_t{2}}) {
        if (i + taken > letters.size()) continue;
        const auto options = by_source_.find(packed(std::u32string_view(letters).substr(i, taken)));
        if (options == by_source_.end()) continue;
        for (const Unit unit : options->second) {
          const double p = probability(hypothesis.history, unit);
          if (p < 1e-4) continue;
          Hypothesis next = hypothesis;
          next.cost -= std::log(p);
          ++next.units;
          next.history.erase(0, 1);
          next.history += static_cast<char32_t>(unit);
          next.text += units_[unit - 1].second;
          at[i + taken].push_back(std::move(next));
        }
      }
  }
  for (Hypothesis& hypothesis : at.back()) {
    hypothesis.cost -= std::log(probability(hypothesis.history, boundary));
    ++hypothesis.units;
  }
  prune(at.back());
  if (at.back().empty()) return std::nullopt;
  const Hypothesis& best = at.back().front();
  return Result{utf8(best.text), std::exp(-best.cost / static_cast<double>(best.units))};
}

std::optional<CognateModel> train_cognates(const Lexicon& lexicon, const std::string& from, const std::string& to) {
  const auto edges = lexicon.edges.find({from, to});
  if (edges == lexicon.edges.end()) return std::nullopt;
  const WordTable& source = lexicon.words.at(from);
  const WordTable& target = lexicon.words.at(to);
  std::vector<std::pair<std::string, std::string>> pairs;
  const auto plain = [](std::string_view key) {
    return key.size() >= 5 && key.size() <= 24 && key.find_first_of(" .()0123456789'") == std::string_view::npos;
  };
  for (std::size_t n = 0; n < edges->second.source.size(); ++n) {
    const std::string_view a = source.key(edges->second.source[n]);
    if (!plain(a)) continue;
    const auto [first, last] = edges->second.row(n);
    for (std::uint32_t e = first; e < last; ++e) {
      const std::string_view b = target.key(edges->second.target[e]);
      if (!plain(b)) continue;
      const std::u32string x = code_points(without_marks(a)), y = code_points(without_marks(b));
      const double longer = static_cast<double>(std::max(x.size(), y.size()));
      if (static_cast<double>(levenshtein(x, y)) < 0.5 * longer) pairs.emplace_back(a, b);
    }
  }
  return CognateModel::train(pairs);
}

}  // namespace fachwerk::wokie
