#include "offline.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>

#include "cognate.hpp"
#include "labels.hpp"
#include "language.hpp"
#include "metrics.hpp"
#include "script.hpp"
#include "unicode.hpp"

namespace fachwerk::wokie {
namespace {

constexpr std::size_t kept_proposals = 12;

/// How much a translation that looks like its source gains: terms of scholarship are often shared. Spellings that
/// differ by rule (k and c, ph and f, th and t) count as equal.
double likeness(std::string_view source, std::string_view text) {
  const auto plain = [](std::string_view word) {
    std::string out = without_marks(fold(word));
    for (const auto& [from, to] : {std::pair{"ph", "f"}, {"th", "t"}, {"c", "k"}})
      out = replaced(std::move(out), from, to);
    return code_points(out);
  };
  const std::u32string a = plain(source), b = plain(text);
  const double longer = static_cast<double>(std::max<std::size_t>({a.size(), b.size(), 1}));
  return 1 + 0.5 * std::max(0.0, 0.6 - static_cast<double>(levenshtein(a, b)) / longer);
}

/// "analysing" comes out of the engines as "analizando": a form that no thesaurus has as a label.
bool is_gerund(std::string_view text, const std::string& language) {
  const std::vector<std::string> parts = words(fold(text));
  if (parts.empty()) return false;
  const std::string_view head = parts.front();
  const auto ends = [&](std::string_view suffix) { return head.size() > suffix.size() + 2 && head.ends_with(suffix); };
  if (language == "it" || language == "es" || language == "pt") return ends("ando") || ends("endo") || ends("indo");
  return language == "ca" && (ends("ant") || ends("ent") || ends("int"));
}

/// Proposals of one voter from scored translations; verbs and adjectives weigh less than nouns, a sure way back and a
/// familiar look weigh more; equal folds are merged.
void add_proposals(const std::vector<Translation>& found, const std::string& voter, const SourceText& source,
                   const std::string& target, std::vector<Proposal>& out) {
  std::vector<Proposal> own;
  for (const Translation& translation : found) {
    const double factor = translation.pos == pos_verb        ? 0.4
                          : translation.pos == pos_other     ? 0.3
                          : translation.pos == pos_adjective ? 0.6
                                                             : 1.0;
    const double weight = factor * std::pow(translation.back + 0.02, 0.25) * likeness(source.text, translation.text);
    std::string text = translation.text;
    if (target == "en" && text.starts_with("to ")) text.erase(0, 3);
    const std::string key = fold(text, target);
    const auto same =
        std::find_if(own.begin(), own.end(), [&](const Proposal& p) { return fold(p.text, target) == key; });
    if (same != own.end())
      same->probability += weight * translation.probability;
    else
      own.push_back({std::move(text), voter, weight * translation.probability, false, factor});
  }
  std::stable_sort(own.begin(), own.end(),
                   [](const Proposal& a, const Proposal& b) { return a.probability > b.probability; });
  if (own.size() > kept_proposals) own.resize(kept_proposals);
  double sum = 0;
  for (const Proposal& p : own)
    sum += p.probability;
  for (Proposal& p : own)
    p.probability /= sum;
  out.insert(out.end(), std::make_move_iterator(own.begin()), std::make_move_iterator(own.end()));
}

}  // namespace

void Memory::add(const std::string& from_language, const std::string& from, const std::string& to_language,
                 const std::string& to) {
  auto& list = exact_[{from_language, to_language, fold(from, from_language)}];
  if (std::find(list.begin(), list.end(), to) == list.end()) list.push_back(to);
}

std::vector<Proposal> Memory::look_up(const SourceText& source, const std::string& target) const {
  std::vector<Proposal> out;
  const std::string key = fold(source.text, source.language);
  if (const auto found = exact_.find({source.language, target, key}); found != exact_.end())
    for (const std::string& text : found->second)
      out.push_back({text, "tm", 1.0 / static_cast<double>(found->second.size()), false});
  return out.empty() ? near(source, target, key) : out;
}

namespace {

/// 1 - edit distance over words / longer length; words that differ in number only count as half an edit.
double word_similarity(const std::vector<std::string>& a, const std::vector<std::string>& b,
                       const std::string& language) {
  std::vector<double> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j)
    row[j] = static_cast<double>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    double diagonal = row[0];
    row[0] = static_cast<double>(i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const double change = a[i - 1] == b[j - 1]                                                 ? 0
                            : number_stem(a[i - 1], language) == number_stem(b[j - 1], language) ? 0.5
                                                                                                 : 1;
      const double best = std::min({row[j] + 1, row[j - 1] + 1, diagonal + change});
      diagonal = row[j];
      row[j] = best;
    }
  }
  return 1 - row.back() / static_cast<double>(std::max<std::size_t>({a.size(), b.size(), 1}));
}

}  // namespace

std::vector<Proposal> Memory::near(const SourceText& source, const std::string& target, const std::string& key) const {
  const std::vector<std::string> wanted = words(key);
  if (wanted.size() < 3) return {};  // of two words, half an edit is too much already
  std::vector<Proposal> out;
  for (auto at = exact_.lower_bound({source.language, target, ""});
       at != exact_.end() && at->first.from == source.language && at->first.to == target; ++at) {
    const double similarity = word_similarity(wanted, words(at->first.text), source.language);
    if (similarity < 0.85) continue;
    for (const std::string& text : at->second)
      out.push_back({text, "tm", similarity, false, 0.5});
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Proposal& a, const Proposal& b) { return a.probability > b.probability; });
  if (out.size() > 3) out.resize(3);
  return out;
}

std::string running_case(std::string_view label, const std::string& language) {
  std::vector<std::string> parts = words(label);
  bool every_word_capital = true;
  for (const std::string& word : parts) {
    const auto letters = code_points(word);
    if (letters.size() > 3 && !initial_is_upper(word)) every_word_capital = false;
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const bool rest_lower = lower(with_initial(parts[i], false)) == with_initial(parts[i], false);
    if (!initial_is_upper(parts[i]) || !rest_lower || language == "de") continue;
    if (i == 0 || every_word_capital) parts[i] = with_initial(parts[i], false);
  }
  return join(parts, " ");
}

std::vector<std::string> dictionary_keys(std::string_view label, const std::string& language) {
  const std::string key = fold(label, language);
  std::vector<std::string> out = {key};
  std::vector<std::string> parts = words(key);
  if (parts.empty()) return out;
  const bool head_first =
      language == "fr" || language == "es" || language == "it" || language == "pt" || language == "ca";
  const std::size_t head = head_first ? 0 : parts.size() - 1;
  const std::string plural_head = parts[head];
  for (const std::string& form : singulars(plural_head, language)) {
    parts[head] = form;
    std::string joined = join(parts, " ");
    if (joined != key) out.push_back(std::move(joined));
  }
  if (head_first && parts.size() == 2) {  // adjectives agree: both words singular
    const std::string second = parts[1];
    for (const std::string& a : singulars(plural_head, language))
      for (const std::string& b : singulars(second, language))
        out.push_back(a + " " + b);
  }
  return out;
}

std::vector<Translation> word_translations(const Lexicon& lexicon, const std::string& from, const std::string& to,
                                           const std::string& key, bool direct, bool pivots) {
  std::unordered_map<std::string, std::size_t> place;
  std::vector<Translation> out;
  const auto add = [&](std::vector<Translation> found, double weight) {
    for (Translation& t : found) {
      const auto [at, fresh] = place.try_emplace(t.text, out.size());
      t.probability *= weight;
      if (fresh)
        out.push_back(std::move(t));
      else
        out[at->second].probability += t.probability;
    }
  };
  if (direct) add(lexicon.direct(from, to, key), pivots ? 0.6 : 1.0);
  if (pivots) add(lexicon.pivoted(from, to, key), direct ? 0.4 : 1.0);
  std::stable_sort(out.begin(), out.end(),
                   [](const Translation& a, const Translation& b) { return a.probability > b.probability; });
  return out;
}

void OfflineEngine::ask_dictionaries(const SourceText& source, const std::string& target,
                                     std::vector<Proposal>& out) const {
  const std::string from = long_code(source.language), to = long_code(target);
  const Qualified label = split_qualifier(source.text);
  const std::vector<std::string> keys = dictionary_keys(label.head, source.language);
  const auto first_hit = [&](bool direct, bool pivots, const char* voter) {
    for (const std::string& key : keys) {
      const std::vector<Translation> found = word_translations(lexicon_, from, to, key, direct, pivots);
      if (found.empty()) continue;
      add_proposals(found, voter, {source.language, label.head}, target, out);
      return true;
    }
    return false;
  };
  const bool by_dict = options_.dict && first_hit(true, false, "dict");
  const bool by_pivot = options_.pivot && first_hit(false, true, "pivot");
  if (options_.compose && !by_dict && !by_pivot) {
    std::vector<Proposal> composed = compose(lexicon_, {source.language, label.head}, target);
    for (Proposal& p : composed)
      p.probability *= likeness(label.head, p.text);
    std::stable_sort(composed.begin(), composed.end(),
                     [](const Proposal& a, const Proposal& b) { return a.probability > b.probability; });
    if (composed.size() > kept_proposals) composed.resize(kept_proposals);
    out.insert(out.end(), composed.begin(), composed.end());
  }
}

namespace {

/// One way from a source language to the target, over all texts of that language.
struct ChainJob {
  const std::vector<std::size_t>* items;
  std::vector<const Mode*> chain;
  bool singular;
  std::string voter;
  std::vector<std::string> terms;  ///< as they stand after the stages so far; empty: nothing to go on with
};

std::string engine_code(const std::string& language) {
  const std::string code = long_code(language);
  return code == "hrv" || code == "srp" || code == "bos" ? std::string("hbs") : code;
}

std::string engine_key(const Mode& mode, bool singular, const std::string& term) {
  return mode.stamp + (singular ? "\nsingular head\n" : "\n\n") + term;
}

}  // namespace

void OfflineEngine::run_stage(const std::map<std::pair<const Mode*, bool>, std::set<std::string>>& wanted) const {
  struct Batch {
    const Mode* mode;
    bool singular;
    std::vector<std::string> terms, result;
  };
  std::vector<Batch> batches;
  for (const auto& [which, terms] : wanted) {
    Batch batch{which.first, which.second, {}, {}};
    for (const std::string& term : terms) {
      const std::string key = engine_key(*which.first, which.second, term);
      if (answered_.contains(key)) continue;
      if (const auto known = options_.recall ? options_.recall(key) : std::nullopt)
        answered_[key] = *known;
      else
        batch.terms.push_back(term);
    }
    if (!batch.terms.empty()) batches.push_back(std::move(batch));
  }
#pragma omp parallel for schedule(dynamic, 1)
  for (std::size_t i = 0; i < batches.size(); ++i) {
    try {
      batches[i].result = translate_terms(*batches[i].mode, batches[i].terms, batches[i].singular);
    } catch (const std::exception&) {
      batches[i].result.clear();  // a broken installation of one mode must not end the run
    }
  }
  for (const Batch& batch : batches)
    for (std::size_t i = 0; i < batch.terms.size(); ++i) {
      const std::string key = engine_key(*batch.mode, batch.singular, batch.terms[i]);
      if (i >= batch.result.size()) {
        answered_[key] = {};
        continue;
      }
      answered_[key] = batch.result[i];
      if (options_.keep) options_.keep(key, batch.result[i]);
    }
}

void OfflineEngine::ask_apertium(const std::vector<SourceText>& sources, const std::string& target,
                                 std::vector<std::vector<Proposal>>& out) const {
  std::map<std::string, std::vector<std::size_t>> by_language;
  for (std::size_t i = 0; i < sources.size(); ++i)
    by_language[sources[i].language].push_back(i);
  std::vector<ChainJob> jobs;
  for (const auto& [language, items] : by_language)
    for (const auto& chain : chains(modes_, engine_code(language), engine_code(target)))
      for (const bool singular : {false, true}) {
        std::string name = "apertium:" + chain.front()->from;
        for (const Mode* mode : chain)
          name += "-" + mode->to;
        ChainJob job{&items, chain, singular, name + (singular ? ":sg" : ""), {}};
        for (const std::size_t i : items)
          job.terms.push_back(running_case(split_qualifier(sources[i].text).head, sources[i].language));
        jobs.push_back(std::move(job));
      }
  // Chains share their stages: every engine is started once per stage, for all terms that any chain hands to it.
  for (std::size_t stage = 0; stage < 3; ++stage) {
    std::map<std::pair<const Mode*, bool>, std::set<std::string>> wanted;
    for (const ChainJob& job : jobs)
      if (stage < job.chain.size())
        for (const std::string& term : job.terms)
          if (!term.empty()) wanted[{job.chain[stage], job.singular && stage == 0}].insert(term);
    run_stage(wanted);
    for (ChainJob& job : jobs) {
      if (stage >= job.chain.size()) continue;
      for (std::string& term : job.terms) {
        if (term.empty()) continue;
        term = answered_.at(engine_key(*job.chain[stage], job.singular && stage == 0, term));
        // A mark of one stage would hide in the next: such terms stop here.
        if (stage + 1 < job.chain.size() && has_marks(term)) term.clear();
      }
    }
  }
  for (const ChainJob& job : jobs)
    for (std::size_t k = 0; k < job.items->size(); ++k) {
      const std::string& text = job.terms[k];
      if (is_blank(text)) continue;
      const bool source_is_gerund = sources[(*job.items)[k]].language == "en" && text.find(' ') == std::string::npos;
      const double factor = source_is_gerund && is_gerund(text, target) ? 0.3 : 1.0;
      out[(*job.items)[k]].push_back({without_engine_marks(text), job.voter, 1.0, has_marks(text), factor});
    }
}

void OfflineEngine::ask_cognates(const std::vector<SourceText>& sources, const std::string& target,
                                 std::vector<std::vector<Proposal>>& out) const {
  std::map<std::string, std::vector<std::size_t>> by_language;
  for (std::size_t i = 0; i < sources.size(); ++i)
    if (sources[i].language != target) by_language[sources[i].language].push_back(i);
  const std::string to = long_code(target);
  for (const auto& group : by_language) {
    const std::string& language = group.first;
    const std::vector<std::size_t>& items = group.second;
    const std::optional<CognateModel> model = train_cognates(lexicon_, long_code(language), to);
    if (!model) continue;
#pragma omp parallel for schedule(dynamic, 16)
    for (std::size_t k = 0; k < items.size(); ++k) {
      const std::string head = fold(split_qualifier(sources[items[k]].text).head, language);
      if (head.find(' ') != std::string::npos) continue;
      if (auto found = model->transfer(head); found && found->confidence >= model->cut())
        out[items[k]].push_back({found->text, lexicon_.has_word(to, found->text) ? "cognate" : "coined", 1.0, false});
    }
  }
}

bool OfflineEngine::serves(const std::string& from, const std::string& to) const {
  const std::string a = long_code(from), b = long_code(to);
  if (!memory_.empty() || lexicon_.has_pair(a, b)) return true;
  for (const auto& [pair, table] : lexicon_.edges)
    if (pair.first == a && lexicon_.has_pair(pair.second, b)) return true;
  return options_.apertium && !chains(modes_, a, b).empty();
}

std::vector<std::vector<Proposal>> OfflineEngine::propose(const std::vector<SourceText>& sources,
                                                          const std::string& target) const {
  std::vector<std::vector<Proposal>> out(sources.size());
#pragma omp parallel for schedule(dynamic, 16)
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (options_.memory && !memory_.empty()) {
      std::vector<Proposal> found = memory_.look_up(sources[i], target);
      const Qualified label = split_qualifier(sources[i].text);
      if (found.empty() && !label.qualifier.empty()) found = memory_.look_up({sources[i].language, label.head}, target);
      out[i].insert(out[i].end(), found.begin(), found.end());
    }
    ask_dictionaries(sources[i], target, out[i]);
  }
  if (options_.apertium) ask_apertium(sources, target, out);
  if (options_.cognate) {
    for (std::size_t i = 0; i < sources.size(); ++i)
      if (const auto text = transliterated(sources[i].text, sources[i].language, target))
        out[i].push_back({*text, "script", 1.0, false});
    ask_cognates(sources, target, out);
  }
  return out;
}

}  // namespace fachwerk::wokie
