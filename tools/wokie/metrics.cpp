#include "metrics.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>

#include "unicode.hpp"

namespace fachwerk::wokie {

std::size_t levenshtein(std::u32string_view a, std::u32string_view b) {
  while (!a.empty() && !b.empty() && a.front() == b.front())
    a.remove_prefix(1), b.remove_prefix(1);
  while (!a.empty() && !b.empty() && a.back() == b.back())
    a.remove_suffix(1), b.remove_suffix(1);
  if (a.empty() || b.empty()) return std::max(a.size(), b.size());
  if (a.size() > b.size()) std::swap(a, b);
  if (a.size() <= 64) {
    // Myers 1999, bit-parallel over the shorter text, in Hyyrö's formulation.
    std::map<char32_t, std::uint64_t> where;
    for (std::size_t i = 0; i < a.size(); ++i)
      where[a[i]] |= std::uint64_t{1} << i;
    std::uint64_t positive = ~std::uint64_t{0}, negative = 0;
    std::size_t score = a.size();
    const std::uint64_t last = std::uint64_t{1} << (a.size() - 1);
    for (const char32_t c : b) {
      const auto found = where.find(c);
      const std::uint64_t equal = found == where.end() ? 0 : found->second;
      const std::uint64_t diagonal = (((equal & positive) + positive) ^ positive) | equal | negative;
      std::uint64_t up = negative | ~(diagonal | positive);
      const std::uint64_t down = diagonal & positive;
      if (up & last) ++score;
      if (down & last) --score;
      up = up << 1 | 1;
      positive = down << 1 | ~(diagonal | up);
      negative = up & diagonal;
    }
    return score;
  }
  std::vector<std::size_t> row(a.size() + 1);
  std::iota(row.begin(), row.end(), 0u);
  for (std::size_t j = 1; j <= b.size(); ++j) {
    std::size_t diagonal = row[0];
    row[0] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
      const std::size_t substituted = diagonal + (a[i - 1] != b[j - 1] ? 1 : 0);
      diagonal = row[i];
      row[i] = std::min({row[i] + 1, row[i - 1] + 1, substituted});
    }
  }
  return row.back();
}

double levenshtein_similarity(std::string_view a, std::string_view b) {
  const std::u32string x = code_points(nfc(a)), y = code_points(nfc(b));
  const std::size_t longer = std::max(x.size(), y.size());
  return longer == 0 ? 1.0 : 1.0 - static_cast<double>(levenshtein(x, y)) / static_cast<double>(longer);
}

double jaro_winkler(std::string_view first, std::string_view second) {
  const std::u32string a = code_points(first), b = code_points(second);
  if (a.empty() && b.empty()) return 1.0;
  if (a.empty() || b.empty()) return 0.0;
  const std::size_t window = std::max<std::size_t>(std::max(a.size(), b.size()) / 2, 1) - 1;
  std::vector<char> used_a(a.size(), 0), used_b(b.size(), 0);
  std::size_t matches = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const std::size_t from = i > window ? i - window : 0, to = std::min(b.size(), i + window + 1);
    for (std::size_t j = from; j < to; ++j) {
      if (used_b[j] || a[i] != b[j]) continue;
      used_a[i] = used_b[j] = 1;
      ++matches;
      break;
    }
  }
  if (matches == 0) return 0.0;
  std::size_t transposed = 0, j = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!used_a[i]) continue;
    while (!used_b[j])
      ++j;
    transposed += a[i] != b[j++] ? 1 : 0;
  }
  const auto m = static_cast<double>(matches);
  const double jaro = (m / static_cast<double>(a.size()) + m / static_cast<double>(b.size()) +
                       (m - static_cast<double>(transposed) / 2) / m) /
                      3;
  std::size_t prefix = 0;
  while (prefix < std::min({a.size(), b.size(), std::size_t{4}}) && a[prefix] == b[prefix])
    ++prefix;
  return jaro + 0.1 * static_cast<double>(prefix) * (1 - jaro);
}

double isub(std::string_view first, std::string_view second) {
  std::u32string a = code_points(first), b = code_points(second);
  if (a == b) return 1.0;
  const auto length = static_cast<double>(a.size() + b.size());
  if (a.empty() || b.empty()) return 0.0;
  const double winkler = jaro_winkler(first, second);
  double common = 0;
  for (;;) {
    std::size_t best = 0, at_a = 0, at_b = 0;
    std::vector<std::size_t> row(b.size() + 1, 0);
    for (std::size_t i = 0; i < a.size(); ++i) {
      std::size_t diagonal = 0;
      for (std::size_t j = 0; j < b.size(); ++j) {
        const std::size_t run = a[i] == b[j] ? diagonal + 1 : 0;
        diagonal = row[j + 1];
        row[j + 1] = run;
        if (run > best) best = run, at_a = i + 1 - run, at_b = j + 1 - run;
      }
    }
    if (best <= 2) break;
    common += 2.0 * static_cast<double>(best);
    a.erase(at_a, best);
    b.erase(at_b, best);
  }
  const double commonality = common / length;
  const double ua = static_cast<double>(a.size()) / (length / 2), ub = static_cast<double>(b.size()) / (length / 2);
  const double product = ua * ub;
  const double difference = product / (0.6 + 0.4 * (ua + ub - product));
  return (commonality - difference + winkler * (1 - commonality) + 1) / 2;
}

namespace {

template <class T>
std::size_t edit_distance(const std::vector<T>& a, const std::vector<T>& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0u);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

double rate(std::size_t edits, std::size_t length) {
  if (length == 0) return edits == 0 ? 0.0 : 1.0;
  return static_cast<double>(edits) / static_cast<double>(length);
}

}  // namespace

double rouge_l(std::string_view hypothesis, std::string_view reference) {
  const auto a = words(lower(hypothesis)), b = words(lower(reference));
  if (a.empty() || b.empty()) return a.empty() && b.empty() ? 1.0 : 0.0;
  std::vector<std::size_t> row(b.size() + 1, 0);
  for (const std::string& word : a) {
    std::size_t diagonal = 0;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t kept = row[j];
      row[j] = word == b[j - 1] ? diagonal + 1 : std::max(row[j], row[j - 1]);
      diagonal = kept;
    }
  }
  const auto common = static_cast<double>(row.back());
  return 2 * common / static_cast<double>(a.size() + b.size());
}

double word_error_rate(std::string_view hypothesis, std::string_view reference) {
  const auto a = words(hypothesis), b = words(reference);
  return rate(edit_distance(a, b), b.size());
}

double character_error_rate(std::string_view hypothesis, std::string_view reference) {
  const std::u32string a = code_points(nfc(hypothesis)), b = code_points(nfc(reference));
  return rate(levenshtein(a, b), b.size());
}

// ---- TER -----------------------------------------------------------------------------------------
namespace {

using Words = std::vector<std::string>;

/// Least-cost alignment of hypothesis and reference: which words are wrong on each side, and where each reference word
/// stands in the hypothesis (the last position at or before it that is aligned).
struct Aligned {
  std::size_t distance = 0;
  std::vector<char> hypothesis_wrong, reference_wrong;
  std::vector<std::ptrdiff_t> position;  ///< per reference word: hypothesis position, -1 before the first
};

Aligned align(const Words& h, const Words& r) {
  const std::size_t width = r.size() + 1;
  std::vector<std::size_t> cost((h.size() + 1) * width);
  const auto at = [&](std::size_t i, std::size_t j) -> std::size_t& { return cost[i * width + j]; };
  for (std::size_t i = 0; i <= h.size(); ++i)
    at(i, 0) = i;
  for (std::size_t j = 0; j <= r.size(); ++j)
    at(0, j) = j;
  for (std::size_t i = 1; i <= h.size(); ++i)
    for (std::size_t j = 1; j <= r.size(); ++j)
      at(i, j) = std::min({at(i - 1, j - 1) + (h[i - 1] == r[j - 1] ? 0 : 1), at(i - 1, j) + 1, at(i, j - 1) + 1});
  Aligned out;
  out.distance = at(h.size(), r.size());
  out.hypothesis_wrong.assign(h.size(), 0);
  out.reference_wrong.assign(r.size(), 0);
  out.position.assign(r.size(), -1);
  for (std::size_t i = h.size(), j = r.size(); i > 0 || j > 0;) {
    if (i > 0 && j > 0 && at(i, j) == at(i - 1, j - 1) + (h[i - 1] == r[j - 1] ? 0 : 1)) {
      const bool wrong = h[i - 1] != r[j - 1];
      out.hypothesis_wrong[i - 1] = out.reference_wrong[j - 1] = wrong ? 1 : 0;
      out.position[j - 1] = static_cast<std::ptrdiff_t>(i) - 1;
      --i, --j;
    } else if (i > 0 && at(i, j) == at(i - 1, j) + 1) {
      out.hypothesis_wrong[--i] = 1;
    } else {
      out.reference_wrong[--j] = 1;
      out.position[j] = static_cast<std::ptrdiff_t>(i) - 1;
    }
  }
  return out;
}

Words shifted(const Words& text, std::size_t start, std::size_t length, std::size_t target) {
  Words rest, block(text.begin() + static_cast<std::ptrdiff_t>(start),
                    text.begin() + static_cast<std::ptrdiff_t>(start + length));
  for (std::size_t i = 0; i < text.size(); ++i)
    if (i < start || i >= start + length) rest.push_back(text[i]);
  // A target inside or behind the block counts in the text without it.
  std::size_t place = target <= start ? target : target > start + length ? target - length : target;
  place = std::min(place, rest.size());
  rest.insert(rest.begin() + static_cast<std::ptrdiff_t>(place), block.begin(), block.end());
  return rest;
}

/// The best single shift; empty when none lowers the distance.
Words best_shift(const Words& h, const Words& r, const Aligned& now) {
  constexpr std::size_t longest = 10, farthest = 50;
  std::ptrdiff_t best_gain = 0;
  std::array<std::ptrdiff_t, 3> best_rank{};
  Words best;
  const auto wrong = [](const std::vector<char>& flags, std::size_t from, std::size_t length) {
    return std::any_of(flags.begin() + static_cast<std::ptrdiff_t>(from),
                       flags.begin() + static_cast<std::ptrdiff_t>(from + length), [](char f) { return f != 0; });
  };
  for (std::size_t i = 0; i < h.size(); ++i)
    for (std::size_t j = 0; j < r.size(); ++j) {
      if ((i > j ? i - j : j - i) > farthest) continue;
      for (std::size_t length = 1; length <= longest && i + length <= h.size() && j + length <= r.size() &&
                                   h[i + length - 1] == r[j + length - 1];
           ++length) {
        if (!wrong(now.hypothesis_wrong, i, length) || !wrong(now.reference_wrong, j, length)) continue;
        const auto own = now.position[j];
        if (own >= static_cast<std::ptrdiff_t>(i) && own < static_cast<std::ptrdiff_t>(i + length)) continue;
        std::ptrdiff_t previous = -1;
        for (std::ptrdiff_t offset = -1; offset < static_cast<std::ptrdiff_t>(length); ++offset) {
          const std::ptrdiff_t reference_word = static_cast<std::ptrdiff_t>(j) + offset;
          const std::ptrdiff_t target =
              reference_word < 0 ? 0 : now.position[static_cast<std::size_t>(reference_word)] + 1;
          if (target == previous) continue;
          previous = target;
          Words candidate = shifted(h, i, length, static_cast<std::size_t>(target));
          const auto gain =
              static_cast<std::ptrdiff_t>(now.distance) - static_cast<std::ptrdiff_t>(edit_distance(candidate, r));
          const std::array rank = {static_cast<std::ptrdiff_t>(length), -static_cast<std::ptrdiff_t>(i), -target};
          if (gain > best_gain || (gain == best_gain && gain > 0 && rank > best_rank)) {
            best_gain = gain;
            best_rank = rank;
            best = std::move(candidate);
          }
        }
      }
    }
  return best;
}

}  // namespace

TerCounts ter_counts(std::string_view hypothesis, std::string_view reference) {
  Words h = words(lower(hypothesis));
  const Words r = words(lower(reference));
  std::size_t shifts = 0;
  Aligned now = align(h, r);
  for (;;) {
    Words next = best_shift(h, r, now);
    if (next.empty()) break;
    h = std::move(next);
    now = align(h, r);
    ++shifts;
  }
  return {static_cast<double>(shifts + now.distance), static_cast<double>(r.size())};
}

// ---- chrF ----------------------------------------------------------------------------------------
namespace {

template <class Sequence>
std::map<Sequence, std::int64_t> ngrams(const Sequence& items, std::size_t order) {
  std::map<Sequence, std::int64_t> out;
  for (std::size_t i = 0; i + order <= items.size(); ++i)
    ++out[Sequence(items.begin() + static_cast<std::ptrdiff_t>(i),
                   items.begin() + static_cast<std::ptrdiff_t>(i + order))];
  return out;
}

template <class Key>
std::int64_t overlap(const std::map<Key, std::int64_t>& a, const std::map<Key, std::int64_t>& b) {
  std::int64_t sum = 0;
  for (const auto& [key, count] : a)
    if (const auto found = b.find(key); found != b.end()) sum += std::min(count, found->second);
  return sum;
}

template <class Sequence>
void count_order(ChrfCounts& counts, std::size_t slot, const Sequence& h, const Sequence& r, std::size_t order) {
  const auto a = ngrams(h, order), b = ngrams(r, order);
  counts.hypothesis[slot] = h.size() >= order ? static_cast<std::int64_t>(h.size() - order + 1) : 0;
  counts.reference[slot] = r.size() >= order ? static_cast<std::int64_t>(r.size() - order + 1) : 0;
  counts.match[slot] = overlap(a, b);
}

std::u32string without_blanks(std::string_view text) {
  std::u32string out = code_points(text);
  std::erase_if(out, is_space);
  return out;
}

/// Words with one punctuation mark at an end split off.
Words chrf_words(std::string_view text) {
  constexpr std::string_view marks = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
  Words out;
  for (const std::string& word : words(text)) {
    if (code_points(word).size() > 1 && marks.find(word.back()) != std::string_view::npos) {
      out.push_back(word.substr(0, word.size() - 1));
      out.push_back(word.substr(word.size() - 1));
    } else if (code_points(word).size() > 1 && marks.find(word.front()) != std::string_view::npos) {
      out.push_back(word.substr(0, 1));
      out.push_back(word.substr(1));
    } else {
      out.push_back(word);
    }
  }
  return out;
}

}  // namespace

ChrfCounts& ChrfCounts::operator+=(const ChrfCounts& other) {
  for (std::size_t i = 0; i < orders; ++i) {
    hypothesis[i] += other.hypothesis[i];
    reference[i] += other.reference[i];
    match[i] += other.match[i];
  }
  return *this;
}

ChrfCounts chrf_counts(std::string_view hypothesis, std::string_view reference, int word_order) {
  ChrfCounts counts;
  const std::u32string h = without_blanks(hypothesis), r = without_blanks(reference);
  for (std::size_t order = 1; order <= 6; ++order)
    count_order(counts, order - 1, h, r, order);
  if (word_order > 0) {
    const Words hw = chrf_words(hypothesis), rw = chrf_words(reference);
    for (int order = 1; order <= word_order; ++order)
      count_order(counts, static_cast<std::size_t>(5 + order), hw, rw, static_cast<std::size_t>(order));
  }
  return counts;
}

double chrf(const ChrfCounts& counts, int word_order) {
  double precision = 0, recall = 0;
  int effective = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(6 + word_order); ++i) {
    if (counts.hypothesis[i] == 0 || counts.reference[i] == 0) continue;
    precision += static_cast<double>(counts.match[i]) / static_cast<double>(counts.hypothesis[i]);
    recall += static_cast<double>(counts.match[i]) / static_cast<double>(counts.reference[i]);
    ++effective;
  }
  if (effective == 0) return 0;
  precision /= effective;
  recall /= effective;
  constexpr double beta2 = 4;
  const double denominator = beta2 * precision + recall;
  return denominator == 0 ? 0 : 100 * (1 + beta2) * precision * recall / denominator;
}

// ---- BLEU ----------------------------------------------------------------------------------------
std::vector<std::string> tokens_13a(std::string_view given) {
  std::string text(given);
  for (const auto& [from, to] : {std::pair{"<skipped>", ""},
                                 {"-\n", ""},
                                 {"\n", " "},
                                 {"&quot;", "\""},
                                 {"&amp;", "&"},
                                 {"&lt;", "<"},
                                 {"&gt;", ">"}})
    text = replaced(std::move(text), from, to);
  text = " " + text + " ";
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto symbol = [](char c) {
    return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') ||
           (c >= ':' && c <= '@') || c == '/';
  };
  const auto stop = [](char c) { return c == '.' || c == ','; };
  std::string out;
  for (const char c : text)
    symbol(c) ? (out += ' ', out += c, out += ' ') : out += c;
  text.swap(out);
  out.clear();
  // The three rules below work on pairs that do not overlap, left to right, one after the other.
  const auto pairs = [&](auto first, auto second, std::string_view pattern) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (i + 1 < text.size() && first(text[i]) && second(text[i + 1])) {
        for (const char p : pattern)
          out += p == '1' ? text[i] : p == '2' ? text[i + 1] : p;
        ++i;
      } else {
        out += text[i];
      }
    }
    text.swap(out);
    out.clear();
  };
  const auto no_digit = [&](char c) { return !digit(c); };
  pairs(no_digit, stop, "1 2 ");
  pairs(stop, no_digit, " 1 2");
  pairs(
      digit, [](char c) { return c == '-'; }, "1 2 ");
  return words(text);
}

BleuCounts& BleuCounts::operator+=(const BleuCounts& other) {
  for (std::size_t i = 0; i < 4; ++i)
    total[i] += other.total[i], match[i] += other.match[i];
  hypothesis_length += other.hypothesis_length;
  reference_length += other.reference_length;
  return *this;
}

BleuCounts bleu_counts(std::string_view hypothesis, const std::vector<std::string>& references) {
  BleuCounts counts;
  const Words h = tokens_13a(hypothesis);
  std::vector<Words> refs;
  for (const std::string& reference : references)
    refs.push_back(tokens_13a(reference));
  counts.hypothesis_length = static_cast<std::int64_t>(h.size());
  std::int64_t closest = refs.empty() ? 0 : static_cast<std::int64_t>(refs[0].size());
  for (const Words& r : refs) {
    const auto length = static_cast<std::int64_t>(r.size());
    const auto gap = std::abs(length - counts.hypothesis_length), best = std::abs(closest - counts.hypothesis_length);
    if (gap < best || (gap == best && length < closest)) closest = length;
  }
  counts.reference_length = closest;
  for (std::size_t order = 1; order <= 4; ++order) {
    const auto own = ngrams(h, order);
    std::map<Words, std::int64_t> most;
    for (const Words& r : refs)
      for (const auto& [key, count] : ngrams(r, order))
        most[key] = std::max(most[key], count);
    counts.total[order - 1] = h.size() >= order ? static_cast<std::int64_t>(h.size() - order + 1) : 0;
    counts.match[order - 1] = overlap(own, most);
  }
  return counts;
}

double bleu(const BleuCounts& counts, bool effective_order) {
  double smooth = 1, logarithm = 0;
  int orders = 0;
  if (counts.match[0] == 0) return 0;
  for (std::size_t i = 0; i < 4; ++i) {
    if (counts.total[i] == 0) break;
    ++orders;
    double precision = static_cast<double>(counts.match[i]) / static_cast<double>(counts.total[i]);
    if (counts.match[i] == 0) {
      smooth *= 2;
      precision = 1 / (smooth * static_cast<double>(counts.total[i]));
    }
    logarithm += std::log(precision);
  }
  if (!effective_order && orders < 4) return 0;
  const auto h = static_cast<double>(counts.hypothesis_length), r = static_cast<double>(counts.reference_length);
  const double brevity = h < r ? std::exp(1 - r / h) : 1.0;
  return 100 * brevity * std::exp(logarithm / (effective_order ? orders : 4));
}

// ---- intervals, tests, calibration ---------------------------------------------------------------
Interval bootstrap(std::size_t n, const std::function<double(const std::vector<std::size_t>&)>& statistic,
                   std::size_t samples, std::uint64_t seed, double level) {
  if (n == 0 || samples == 0) return {0, 0};
  std::mt19937_64 random(seed);
  std::vector<std::size_t> indices(n);
  std::vector<double> values(samples);
  for (double& value : values) {
    for (std::size_t& index : indices)
      index = static_cast<std::size_t>(random() % n);
    value = statistic(indices);
  }
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double q) {
    const double at = q * static_cast<double>(samples - 1);
    const auto low = static_cast<std::size_t>(at);
    const std::size_t high = std::min(low + 1, samples - 1);
    return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
  };
  return {quantile((1 - level) / 2), quantile((1 + level) / 2)};
}

double paired_randomisation(const std::vector<double>& a, const std::vector<double>& b, std::size_t trials,
                            std::uint64_t seed) {
  const std::size_t n = std::min(a.size(), b.size());
  double observed = 0;
  for (std::size_t i = 0; i < n; ++i)
    observed += a[i] - b[i];
  observed = std::abs(observed);
  std::mt19937_64 random(seed);
  std::size_t as_large = 0;
  for (std::size_t t = 0; t < trials; ++t) {
    double sum = 0;
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < n; ++i) {
      if (i % 64 == 0) bits = random();
      sum += bits & 1 ? a[i] - b[i] : b[i] - a[i];
      bits >>= 1;
    }
    if (std::abs(sum) >= observed - 1e-12) ++as_large;
  }
  return static_cast<double>(as_large + 1) / static_cast<double>(trials + 1);
}

Calibration calibration(const std::vector<double>& confidence, const std::vector<bool>& correct, std::size_t bins) {
  Calibration out;
  out.bins.resize(bins);
  const std::size_t n = confidence.size();
  if (n == 0) return out;
  for (std::size_t i = 0; i < n; ++i) {
    const double c = std::clamp(confidence[i], 0.0, 1.0);
    auto& bin = out.bins[std::min(static_cast<std::size_t>(c * static_cast<double>(bins)), bins - 1)];
    bin.confidence += c;
    bin.accuracy += correct[i] ? 1 : 0;
    ++bin.count;
    out.brier += (c - (correct[i] ? 1 : 0)) * (c - (correct[i] ? 1 : 0));
  }
  out.brier /= static_cast<double>(n);
  for (auto& bin : out.bins) {
    if (bin.count == 0) continue;
    bin.confidence /= static_cast<double>(bin.count);
    bin.accuracy /= static_cast<double>(bin.count);
    out.ece += std::abs(bin.confidence - bin.accuracy) * static_cast<double>(bin.count) / static_cast<double>(n);
  }
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return confidence[a] > confidence[b]; });
  double wrong = 0;
  for (std::size_t i = 0; i < n; ++i) {
    wrong += correct[order[i]] ? 0 : 1;
    out.aurc += wrong / static_cast<double>(i + 1);
  }
  out.aurc /= static_cast<double>(n);
  return out;
}

}  // namespace fachwerk::wokie
