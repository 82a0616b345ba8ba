#include "consensus.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "labels.hpp"
#include "language.hpp"
#include "unicode.hpp"

namespace fachwerk::wokie {

Frequency frequency_vote(const std::vector<std::string>& texts) {
  std::vector<std::pair<std::string, std::size_t>> counts;  // in order of first appearance
  std::map<std::string, std::size_t> place;
  std::vector<std::string> seen_as;
  std::size_t total = 0;
  for (const std::string& text : texts) {
    if (text.empty()) continue;
    ++total;
    const auto [at, added] = place.try_emplace(lower(text), counts.size());
    if (added) {
      counts.emplace_back(at->first, 0);
      seen_as.push_back(text);
    }
    ++counts[at->second].second;
  }
  if (total == 0) return {};
  std::size_t best = 0;
  for (std::size_t i = 1; i < counts.size(); ++i)
    if (counts[i].second > counts[best].second) best = i;
  return {seen_as[best], static_cast<double>(counts[best].second) / static_cast<double>(total)};
}

std::optional<Rated> parse_rating(const std::string& reply) {
  for (const std::string_view line : split(reply, '\n')) {
    // The first semicolon that a number follows ends the text.
    for (std::size_t at = line.find(';'); at != std::string_view::npos; at = line.find(';', at + 1)) {
      std::size_t i = at + 1;
      while (i < line.size() && (line[i] == ' ' || line[i] == '\t'))
        ++i;
      std::size_t end = i;
      while (end < line.size() && line[end] >= '0' && line[end] <= '9')
        ++end;
      if (end == i) continue;
      if (end + 1 < line.size() && line[end] == '.' && line[end + 1] >= '0' && line[end + 1] <= '9') {
        ++end;
        while (end < line.size() && line[end] >= '0' && line[end] <= '9')
          ++end;
      }
      std::string text(line.substr(0, at));
      const auto strip = [](std::string& t) {
        while (!t.empty() && (t.front() == ' ' || t.front() == '\'' || t.front() == '\t'))
          t.erase(0, 1);
        while (!t.empty() && (t.back() == ' ' || t.back() == '\'' || t.back() == '\t'))
          t.pop_back();
      };
      strip(text);
      const double number = std::stod(std::string(line.substr(i, std::min<std::size_t>(end - i, 30))));
      if (text.empty() || number < 0 || number > 1) return std::nullopt;
      return Rated{text, number};
    }
  }
  return std::nullopt;
}

Decision decide_original(const std::vector<std::string>& primary, const OriginalOptions& options,
                         const SecondaryCalls& calls) {
  Decision out;
  const auto contains = [](const std::vector<std::string>& list, const std::string& text) {
    return std::any_of(list.begin(), list.end(), [&](const std::string& one) { return lower(one) == lower(text); });
  };
  const auto total =
      static_cast<std::size_t>(std::count_if(primary.begin(), primary.end(), [](const auto& t) { return !t.empty(); }));
  bool voted = false;
  if (total >= options.min_primary) {
    const Frequency vote = frequency_vote(primary);
    voted = !vote.best.empty();
    out.agreement = vote.share;
    if (voted && vote.share >= options.threshold) {
      out.text = vote.best;
      out.confidence = vote.share;
      out.method = Method::primary;
      return out;
    }
  }
  std::vector<std::string> secondary;
  if (calls.propose) secondary = calls.propose();
  std::erase_if(secondary, [](const std::string& text) { return is_blank(text); });
  const Frequency second = frequency_vote(secondary);
  if (!second.best.empty() && contains(primary, second.best)) {
    out.text = second.best;
    out.confidence = 1;
    out.method = Method::secondary_is_primary;
    return out;
  }
  std::vector<std::string> all;
  for (const std::vector<std::string>* list : {&primary, static_cast<const std::vector<std::string>*>(&secondary)})
    for (const std::string& text : *list)
      if (!text.empty() && !contains(all, text)) all.push_back(text);
  if (calls.rate && !all.empty()) {
    for (int attempt = 0; attempt <= options.max_retries; ++attempt) {
      const auto rated = parse_rating(calls.rate(all, attempt));
      if (!rated || !contains(all, rated->text)) {
        out.reason = rated ? "rated translation is no candidate" : "rating reply ill-formed";
        continue;
      }
      if (rated->confidence <= 0) break;
      out.text = rated->text;
      out.confidence = rated->confidence;
      out.method = Method::rated;
      return out;
    }
  }
  std::vector<std::string> together = primary;
  together.insert(together.end(), secondary.begin(), secondary.end());
  const Frequency fallback = frequency_vote(together);
  if (fallback.best.empty()) {
    out.reason = "no candidate";
    return out;
  }
  out.text = fallback.best;
  out.confidence = fallback.share;
  out.method = Method::fallback;
  return out;
}

// ---- reliability ---------------------------------------------------------------------------------

void Reliability::record(const std::string& voter, const std::string& source_language, bool right) {
  Count& count = counts[{voter, source_language}];
  count.right += right ? 1 : 0;
  count.tried += 1;
}

double prior_reliability(const std::string& voter, const std::string& source, const std::string& target) {
  static const std::set<std::string> romance = {"fr", "es", "it", "pt", "ca", "gl", "oc"};
  const bool both_romance = romance.contains(source) && romance.contains(target);
  if (voter == "tm") return 0.85;
  if (voter == "glossary") return 0.99;
  if (voter.starts_with("apertium:")) {
    const bool singular = voter.ends_with(":sg");
    const std::string chain = voter.substr(9, voter.size() - 9 - (singular ? 3 : 0));
    const auto stages = std::count(chain.begin(), chain.end(), '-');
    const double base = both_romance ? 0.55 : 0.40;
    return base * (stages == 1 ? 1.0 : stages == 2 ? 0.75 : 0.5) * (singular ? 0.6 : 1.0);
  }
  if (voter == "dict") return both_romance ? 0.40 : 0.28;
  if (voter == "pivot") return both_romance ? 0.32 : 0.22;
  if (voter == "compose") return 0.15;
  if (voter == "cognate") return both_romance ? 0.40 : 0.22;
  if (voter == "coined") return 0.1;
  if (voter == "script") return source == "ru" || source == "uk" || source == "el" ? 0.1 : 0.4;
  if (voter == "shared") return 0.45;
  if (voter == "copy") return 0.05;
  return 0.5;  // an online service
}

double Reliability::estimate(const std::string& voter, const std::string& source_language,
                             const std::string& target) const {
  const double prior = prior_reliability(voter, source_language, target);
  const auto found = counts.find({voter, source_language});
  if (found == counts.end() || tried < 30) return prior;
  const double n = found->second.tried;
  const double own = (found->second.right + 1) / (n + 4);
  return (n * own + 20 * prior) / (n + 20);
}

// ---- votes ---------------------------------------------------------------------------------------
namespace {

/// Results that are no independent evidence share a group: same source text, same family of engine.
std::string family_of(const std::string& voter, const std::string& source_language) {
  if (voter.starts_with("apertium:")) {
    std::string chain = voter.substr(9);
    if (chain.ends_with(":sg")) chain.resize(chain.size() - 3);
    // Chains that begin with the same analyser and bilingual stage repeat each other's mistakes.
    const std::size_t second = chain.find('-', chain.find('-') + 1);
    return "apertium:" + (second == std::string::npos ? chain : chain.substr(0, second));
  }
  if (voter == "dict" || voter == "pivot" || voter == "compose") return voter == "compose" ? "compose" : voter;
  return voter + ":" + source_language;
}

struct Tally {
  std::map<std::int32_t, double> by_group;
  std::map<std::string, double> forms;     ///< display form -> weight
  std::map<std::string, double> variants;  ///< folded form -> weight
  std::vector<std::size_t> candidates;
};

/// How likely a label in the plural is: by the labels that the target language has, else by the sources of this item.
double plural_expected(const std::vector<Candidate>& candidates, const std::vector<SourceText>& sources,
                       const Convention& convention) {
  if (convention.seen >= 20) return std::clamp(convention.plural_share, 0.05, 0.95);
  std::map<std::int64_t, double> by_source;
  for (const Candidate& c : candidates) {
    const SourceText& source = sources[static_cast<std::size_t>(c.source)];
    if (shows_number(source.language)) by_source[c.source] = looks_plural(source.text, source.language) ? 1 : 0;
  }
  if (by_source.empty()) return 0.5;
  double sum = 0;
  for (const auto& [source, plural] : by_source)
    sum += plural;
  return std::clamp(sum / static_cast<double>(by_source.size()), 0.2, 0.8);
}

double number_favour(const std::string& form, const std::string& language, double plural) {
  if (!shows_number(language)) return 1;
  return looks_plural(form, language) ? plural : 1 - plural;
}

double plain_sum(const Tally& tally) {
  double sum = 0;
  for (const auto& [group, share] : tally.by_group)
    sum += share;
  return sum;
}

/// Groups of one source text share that text's misreadings: each further one counts a little less.
double faded_sum(const Tally& tally, const std::vector<std::string>& group_source) {
  constexpr double fading = 0.85;
  std::vector<std::pair<double, std::int32_t>> groups;
  for (const auto& [group, share] : tally.by_group)
    groups.emplace_back(share, group);
  std::stable_sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::map<std::string, double> factor;
  double sum = 0;
  for (const auto& [share, group] : groups) {
    double& f = factor.try_emplace(group_source[static_cast<std::size_t>(group)], 1.0).first->second;
    sum += f * share;
    f *= fading;
  }
  return sum;
}

std::vector<Vote> tally_votes(std::vector<Candidate>& candidates, const std::vector<SourceText>& sources,
                              const std::string& target, const std::function<double(const Candidate&)>& weight,
                              bool merge, const Convention& convention) {
  std::map<std::pair<std::string, std::string>, std::int32_t> groups;
  std::map<std::string, Tally> tallies;
  std::vector<std::string> order;  // first appearance decides ties
  std::vector<std::string> group_source;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    Candidate& candidate = candidates[i];
    if (candidate.partial || is_blank(candidate.text)) continue;
    const SourceText& source = sources[static_cast<std::size_t>(candidate.source)];
    const auto origin = std::pair{family_of(candidate.service, source.language), fold(source.text, source.language)};
    candidate.group = groups.try_emplace(origin, static_cast<std::int32_t>(groups.size())).first->second;
    if (static_cast<std::size_t>(candidate.group) == group_source.size()) group_source.push_back(origin.second);
    candidate.weight = weight(candidate);
    if (candidate.weight <= 0) continue;
    const std::string folded = fold(candidate.text, target);
    const std::string key = merge ? vote_key(candidate.text, target) : folded;
    const auto [tally, added] = tallies.try_emplace(key);
    if (added) order.push_back(key);
    tally->second.variants[folded] += candidate.weight;
    double& share = tally->second.by_group[candidate.group];
    share = std::max(share, candidate.weight);
    tally->second.forms[candidate.text] += candidate.weight;
    tally->second.candidates.push_back(i);
  }
  const double plural = plural_expected(candidates, sources, convention);
  std::vector<Vote> votes;
  double sum = 0;
  for (const std::string& folded : order) {
    const Tally& tally = tallies[folded];
    Vote vote;
    vote.score = merge ? faded_sum(tally, group_source) : plain_sum(tally);
    double most = -1;
    std::string variant;
    for (const auto& [form, share] : tally.variants) {
      const double favour =
          number_favour(form, target, plural) * (target == "en" && english_compound(form) ? 0.25 : 1.0);
      if (share * favour > most) most = share * favour, variant = form;
    }
    most = -1;
    for (const auto& [form, share] : tally.forms)
      if (share > most && fold(form, target) == variant) most = share, vote.text = form;
    vote.groups = tally.by_group.size();
    vote.candidates = tally.candidates;
    sum += vote.score;
    votes.push_back(std::move(vote));
  }
  for (Vote& vote : votes)
    vote.posterior = vote.score / (sum + 1);
  std::stable_sort(votes.begin(), votes.end(), [](const Vote& a, const Vote& b) { return a.score > b.score; });
  return votes;
}

}  // namespace

std::vector<Vote> weighted_vote(std::vector<Candidate>& candidates, const std::vector<SourceText>& sources,
                                const Reliability& reliability, const std::string& target,
                                const Convention& convention) {
  // A voter that offers several readings spreads its weight over them: its first one counts fully.
  std::map<std::pair<std::string, std::int64_t>, double> top;
  for (const Candidate& c : candidates) {
    double& most = top[{c.service, c.source}];
    most = std::max(most, c.probability);
  }
  return tally_votes(
      candidates, sources, target,
      [&](const Candidate& c) {
        const std::string& language = sources[static_cast<std::size_t>(c.source)].language;
        const double p = std::clamp(reliability.estimate(c.service, language, target), 0.005, 0.97);
        const double relative = std::pow(c.probability / top[{c.service, c.source}], 0.7);
        return std::log(1 + 5 * p / (1 - p)) * relative * c.factor;
      },
      true, convention);
}

std::vector<Vote> plurality_vote(std::vector<Candidate>& candidates, const std::vector<SourceText>& sources,
                                 const std::string& target) {
  std::map<std::pair<std::string, std::int64_t>, const Candidate*> first;
  for (const Candidate& c : candidates) {
    const Candidate*& slot = first[{c.service, c.source}];
    if (slot == nullptr || c.probability > slot->probability) slot = &c;
  }
  const auto weight = [&](const Candidate& c) { return first[{c.service, c.source}] == &c ? 1.0 : 0.0; };
  return tally_votes(candidates, sources, target, weight, false, {});
}

std::string vote_key(std::string_view text, const std::string& language) {
  static const std::map<std::string, std::set<std::string>> inner = {{"fr", {"la", "le", "les", "l"}},
                                                                     {"es", {"la", "el", "los", "las"}},
                                                                     {"pt", {"a", "o", "as", "os"}},
                                                                     {"it", {"il", "lo", "la", "i", "gli", "le"}},
                                                                     {"en", {"the"}}};
  static const std::map<std::string, std::string> merged = {{"du", "de"}, {"des", "de"}, {"del", "de"}, {"do", "de"},
                                                            {"da", "de"}, {"dos", "de"}, {"das", "de"}, {"d", "de"}};
  static const std::map<std::string, std::string> italian = {{"del", "di"},  {"dello", "di"}, {"della", "di"},
                                                             {"dei", "di"},  {"degli", "di"}, {"delle", "di"},
                                                             {"dell", "di"}, {"d", "di"}};
  const auto found = inner.find(language);
  std::string folded = fold(text, language);
  if (found == inner.end()) return folded;
  if (language == "en") folded = english_compound(folded).value_or(folded);
  const auto& same = language == "it" ? italian : merged;
  std::string out;
  for (const std::string& word : words(replaced(std::move(folded), "'", " "))) {
    if (found->second.contains(word)) continue;
    const auto one = same.find(word);
    if (!out.empty()) out += ' ';
    out += language != "en" && one != same.end() ? one->second : number_stem(word, language);
  }
  return out;
}

void add_shared_words(std::vector<Candidate>& candidates, const std::vector<SourceText>& sources,
                      const std::vector<std::int64_t>& of_item, const std::string& target) {
  const std::string script = default_script(target);
  std::map<std::string, std::vector<std::int64_t>> alike;
  for (const std::int64_t s : of_item) {
    const SourceText& source = sources[static_cast<std::size_t>(s)];
    if (script_share(source.text, script) > 0.9) alike[fold(source.text)].push_back(s);
  }
  const bool nothing =
      std::none_of(candidates.begin(), candidates.end(), [](const Candidate& c) { return !c.partial; });
  for (const auto& [folded, list] : alike) {
    std::set<std::string> languages;
    for (const std::int64_t s : list)
      languages.insert(sources[static_cast<std::size_t>(s)].language);
    const bool shared = languages.size() >= 2;
    if (!shared && !nothing) continue;
    for (const std::int64_t s : list)
      candidates.push_back({sources[static_cast<std::size_t>(s)].text, shared ? "shared" : "copy", s, 1.0, false});
  }
}

// ---- calibration ---------------------------------------------------------------------------------

Isotonic Isotonic::fit(std::vector<std::pair<double, bool>> samples) {
  Isotonic out;
  std::stable_sort(samples.begin(), samples.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  struct Block {
    double sum, count, bound;
  };
  std::vector<Block> blocks;
  for (const auto& [score, right] : samples) {
    blocks.push_back({right ? 1.0 : 0.0, 1.0, score});
    while (blocks.size() > 1) {
      const Block& last = blocks.back();
      const Block& before = blocks[blocks.size() - 2];
      if (before.sum / before.count < last.sum / last.count && before.bound < last.bound) break;
      const Block merged{before.sum + last.sum, before.count + last.count, last.bound};
      blocks.pop_back();
      blocks.back() = merged;
    }
  }
  for (const Block& block : blocks) {
    out.bound_.push_back(block.bound);
    out.level_.push_back((block.sum + 0.5) / (block.count + 1));  // no certainty from a few samples
  }
  return out;
}

double Isotonic::operator()(double score) const {
  if (level_.empty()) return score;
  const auto at = std::lower_bound(bound_.begin(), bound_.end(), score);
  return at == bound_.end() ? level_.back() : level_[static_cast<std::size_t>(at - bound_.begin())];
}

double prior_confidence(const Vote& best, const Vote* second) {
  // Logistic regression on sixteen pairs of thesaurus and target language with gold labels, each pair weighted by the
  // root of its size.
  const double margin = best.score <= 0 ? 0 : (best.score - (second == nullptr ? 0 : second->score)) / best.score;
  const double x = -2.475 + 2.662 * best.posterior + 0.138 * best.score - 0.128 * margin +
                   0.19 * std::log(static_cast<double>(std::max<std::size_t>(best.groups, 1)));
  return 1 / (1 + std::exp(-x));
}

// ---- conventions ---------------------------------------------------------------------------------

Convention convention_of(const std::vector<std::string>& labels, const std::string& language) {
  Convention out;
  std::size_t capitals = 0, plurals = 0;
  for (const std::string& label : labels) {
    if (label.empty() || all_upper(label)) continue;
    ++out.seen;
    capitals += initial_is_upper(label) ? 1 : 0;
    plurals += looks_plural(label, language) ? 1 : 0;
  }
  if (out.seen == 0) return out;
  out.capital = 2 * capitals > out.seen;
  out.plural_share = static_cast<double>(plurals) / static_cast<double>(out.seen);
  return out;
}

std::string in_convention(const std::string& text, const std::string& language, const Convention& convention) {
  if (convention.seen == 0 || text.empty() || all_upper(text)) return text;
  if (convention.capital) return with_initial(text, true);
  // German nouns keep theirs; elsewhere only words whose rest is plain lose it.
  if (language == "de" || !initial_is_upper(text)) return text;
  const std::string small = with_initial(text, false);
  return small == lower(text) ? small : text;
}

}  // namespace fachwerk::wokie
