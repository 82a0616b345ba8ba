#include "offline.hpp"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "cognate.hpp"
#include "labels.hpp"
#include "language.hpp"
#include "unicode.hpp"

namespace fachwerk::wokie {
namespace {

constexpr std::size_t kept_proposals = 8;

/// Proposals of one voter from scored translations; verbs and adjectives weigh less than nouns, equal folds are merged.
void add_proposals(const std::vector<Translation>& found, const std::string& voter, const std::string& target,
                   std::vector<Proposal>& out) {
  std::vector<Proposal> own;
  for (const Translation& translation : found) {
    const double weight = translation.pos == pos_verb        ? 0.4
                          : translation.pos == pos_other     ? 0.3
                          : translation.pos == pos_adjective ? 0.6
                                                             : 1.0;
    std::string text = translation.text;
    if (target == "en" && text.starts_with("to ")) text.erase(0, 3);
    const std::string key = fold(text, target);
    const auto same =
        std::find_if(own.begin(), own.end(), [&](const Proposal& p) { return fold(p.text, target) == key; });
    if (same != own.end())
      same->probability += weight * translation.probability;
    else
      own.push_back({std::move(text), voter, weight * translation.probability, false});
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
      add_proposals(found, voter, target, out);
      return true;
    }
    return false;
  };
  const bool by_dict = options_.dict && first_hit(true, false, "dict");
  const bool by_pivot = options_.pivot && first_hit(false, true, "pivot");
  if (options_.compose && !by_dict && !by_pivot) {
    std::vector<Proposal> composed = compose(lexicon_, {source.language, label.head}, target);
    if (composed.size() > kept_proposals) composed.resize(kept_proposals);
    out.insert(out.end(), composed.begin(), composed.end());
  }
}

void OfflineEngine::ask_apertium(const std::vector<SourceText>& sources, const std::string& target,
                                 std::vector<std::vector<Proposal>>& out) const {
  std::map<std::string, std::vector<std::size_t>> by_language;
  for (std::size_t i = 0; i < sources.size(); ++i)
    by_language[sources[i].language].push_back(i);
  const auto engine_code = [](const std::string& language) {
    const std::string code = long_code(language);
    return code == "hrv" || code == "srp" || code == "bos" ? std::string("hbs") : code;
  };
  struct Job {
    const std::vector<std::size_t>* items;
    std::vector<const Mode*> chain;
    bool singular;
    std::string voter;
    std::vector<std::string> result;
  };
  std::vector<Job> jobs;
  for (const auto& [language, items] : by_language)
    for (const auto& chain : chains(modes_, engine_code(language), engine_code(target)))
      for (const bool singular : {false, true}) {
        std::string name = "apertium:" + chain.front()->from;
        for (const Mode* mode : chain)
          name += "-" + mode->to;
        jobs.push_back({&items, chain, singular, name + (singular ? ":sg" : ""), {}});
      }
#pragma omp parallel for schedule(dynamic, 1)
  for (std::size_t j = 0; j < jobs.size(); ++j) {
    Job& job = jobs[j];
    std::vector<std::string> terms;
    for (const std::size_t i : *job.items)
      terms.push_back(running_case(split_qualifier(sources[i].text).head, sources[i].language));
    try {
      for (std::size_t stage = 0; stage < job.chain.size(); ++stage) {
        terms = translate_terms(*job.chain[stage], terms, job.singular && stage == 0);
        // A mark of the first stage would hide in the second: such terms stop here.
        if (stage + 1 < job.chain.size())
          for (std::string& term : terms)
            if (has_marks(term)) term = "";
      }
    } catch (const std::exception&) {
      terms.assign(job.items->size(), "");  // a broken installation of one mode must not end the run
    }
    job.result = std::move(terms);
  }
  for (const Job& job : jobs)
    for (std::size_t k = 0; k < job.items->size(); ++k) {
      const std::string& text = job.result[k];
      if (is_blank(text)) continue;
      out[(*job.items)[k]].push_back({without_engine_marks(text), job.voter, 1.0, has_marks(text)});
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
      out[i].insert(out[i].end(), found.begin(), found.end());
    }
    ask_dictionaries(sources[i], target, out[i]);
  }
  if (options_.apertium) ask_apertium(sources, target, out);
  if (options_.cognate) {
    std::map<std::string, std::vector<std::size_t>> by_language;
    for (std::size_t i = 0; i < sources.size(); ++i)
      by_language[sources[i].language].push_back(i);
    for (const auto& [language, items] : by_language) {
      const std::optional<CognateModel> model = train_cognates(lexicon_, long_code(language), long_code(target));
      if (!model) continue;
#pragma omp parallel for schedule(dynamic, 16)
      for (std::size_t k = 0; k < items.size(); ++k) {
        const std::string head = fold(split_qualifier(sources[items[k]].text).head, language);
        if (head.find(' ') != std::string::npos) continue;
        if (auto found = model->transfer(head); found && found->confidence >= model->cut())
          out[items[k]].push_back({found->text, "cognate", 1.0, false});
      }
    }
  }
  return out;
}

}  // namespace fachwerk::wokie
