#include "translate.hpp"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include "labels.hpp"
#include "language.hpp"
#include "unicode.hpp"
#include "vocabulary.hpp"

namespace fachwerk::wokie {
namespace {

std::string base_of(std::string_view tag) {
  return short_code(split(canonical_tag(tag), '-')[0]);
}

/// One label to make, or (with gold) one that exists and shows how good the voters are.
struct Item {
  std::size_t concept_index;
  Property property;
  std::vector<std::int64_t> sources;      ///< distinct texts: indices into Work::sources
  std::vector<std::int64_t> labels = {};  ///< the label of the thesaurus that each of them stands in
  std::vector<std::string> gold = {};
};

struct Work {
  std::vector<SourceText> sources;
  std::vector<std::string> source_tags;  ///< as spelled, for prompts
  std::vector<Item> items, known;
  std::size_t without_source = 0;
  std::map<std::int64_t, std::int64_t> qualifier;  ///< source text -> the text of its qualifier, also a source text
};

class Translator {
 public:
  Translator(Graph& graph, const TranslateOptions& options, const Providers& providers)
      : graph_(graph), options_(options), providers_(providers), original_(thesaurus_of(graph, options.view)) {}

  TranslateResult run() {
    for (const std::string& target : options_.targets) {
      const Thesaurus now = options_.chain_targets ? thesaurus_of(graph_, options_.view) : original_;
      one_target(now, target);
    }
    return std::move(result_);
  }

 private:
  bool wanted_source(std::string_view tag, const std::string& target) const {
    if (matches_language(tag, target) || !is_translatable(tag)) return false;
    if (options_.from.empty()) return true;
    return std::any_of(options_.from.begin(), options_.from.end(),
                       [&](const std::string& from) { return matches_language(tag, from, options_.exact_tags); });
  }

  /// The text in brackets behind a label is translated by itself.
  static void add_qualifier(Work& work, std::map<std::pair<std::string, std::string>, std::int64_t>& number,
                            std::int64_t source) {
    const SourceText& own = work.sources[static_cast<std::size_t>(source)];
    const std::string inside = split_qualifier(own.text).qualifier;
    if (inside.empty()) return;
    const auto [at, added] = number.try_emplace({own.language, inside}, static_cast<std::int64_t>(work.sources.size()));
    const SourceText text{own.language, inside};
    if (added) {
      work.source_tags.push_back(work.source_tags[static_cast<std::size_t>(source)]);
      work.sources.push_back(text);
    }
    work.qualifier[source] = at->second;
  }

  Work collect(const Thesaurus& thesaurus, const std::string& target) const {
    Work work;
    std::map<std::pair<std::string, std::string>, std::int64_t> number;
    for (std::size_t c = 0; c < thesaurus.concepts.size(); ++c)
      for (const Property property : options_.properties) {
        Item item{c, property, {}};
        bool replaceable = true;
        for (std::size_t i = thesaurus.label_begin(c); i < thesaurus.label_end(c); ++i) {
          const Label& label = thesaurus.labels[i];
          if (label.property != property) continue;
          const std::string tag = label.language < 0 ? options_.untagged : std::string(thesaurus.language(label));
          if (tag.empty()) continue;
          const std::string text(trimmed(graph_.term(label.text).value));
          if (matches_language(tag, target, options_.exact_tags)) {
            item.gold.push_back(text);
            const bool own = providers_.own_labels.contains(label.text);
            if (options_.overwrite == Overwrite::none || (options_.overwrite == Overwrite::own && !own))
              replaceable = false;
          } else if (wanted_source(tag, target)) {
            const auto [at, added] =
                number.try_emplace({base_of(tag), nfc(text)}, static_cast<std::int64_t>(work.sources.size()));
            if (added) {
              work.sources.push_back({base_of(tag), nfc(text)});
              work.source_tags.push_back(tag);
              add_qualifier(work, number, at->second);
            }
            if (std::find(item.sources.begin(), item.sources.end(), at->second) == item.sources.end()) {
              item.sources.push_back(at->second);
              item.labels.push_back(static_cast<std::int64_t>(i));
            }
          }
        }
        const bool missing = item.gold.empty() || replaceable;
        if (!item.gold.empty() && !replaceable && !item.sources.empty()) work.known.push_back(item);
        if (!missing) continue;
        if (item.sources.empty())
          ++work.without_source;
        else
          work.items.push_back(std::move(item));
      }
    return work;
  }

  std::vector<Candidate> candidates_of(const Item& item, const std::vector<std::vector<Proposal>>& proposals,
                                       const std::string& target) const {
    std::vector<Candidate> out;
    for (const std::int64_t s : item.sources)
      for (const Proposal& p : proposals[static_cast<std::size_t>(s)])
        if (!is_blank(p.text)) {
          out.push_back({nfc(p.text), p.voter, s, p.probability, p.partial, 0, -1, p.factor});
          if (target == "en" && !p.partial)  // they vote together: see vote_key
            if (auto compound = english_compound(out.back().text))
              out.push_back({std::move(*compound), p.voter, s, p.probability, false, 0, -1, p.factor});
        }
    return out;
  }

  /// " (Material)" where most sources of the item have a qualifier and the text has none; symbols and numbers stay.
  std::string translated_qualifier(const Work& work, const Item& item,
                                   const std::vector<std::vector<Proposal>>& proposals, const std::string& target,
                                   const Reliability& reliability) const {
    Item inner{item.concept_index, item.property, {}};
    for (const std::int64_t s : item.sources)
      if (const auto found = work.qualifier.find(s); found != work.qualifier.end())
        inner.sources.push_back(found->second);
    if (inner.sources.empty() || 2 * inner.sources.size() < item.sources.size()) return {};
    const std::string& first = work.sources[static_cast<std::size_t>(inner.sources.front())].text;
    if (code_points(first).size() <= 2 || all_upper(first) || first.find_first_of("0123456789") != std::string::npos)
      return " (" + first + ")";
    std::vector<Candidate> candidates = candidates_of(inner, proposals, target);
    const std::vector<Vote> votes = weighted_vote(candidates, work.sources, reliability, target);
    if (votes.empty()) return {};
    return " (" + votes.front().text + ")";
  }

  const std::string* forced(const Work& work, const Item& item, const std::string& target) const {
    for (const std::int64_t s : item.sources) {
      const SourceText& source = work.sources[static_cast<std::size_t>(s)];
      for (const std::string& language : {source.language, std::string{}}) {
        const auto entry = providers_.glossary.find({fold(source.text), language});
        if (entry == providers_.glossary.end()) continue;
        for (const std::string& key : {target, std::string{}})
          if (const auto text = entry->second.find(key); text != entry->second.end())
            return text->second == "keep" ? &source.text : &text->second;
      }
    }
    return nullptr;
  }

  void one_target(const Thesaurus& thesaurus, const std::string& target) {
    const std::string target_base = base_of(target);
    Work work = collect(thesaurus, target);
    result_.present += work.known.size();
    result_.without_source += work.without_source;
    if (work.items.empty()) return;
    const std::vector<std::vector<Proposal>> proposals = options_.original_policy
                                                             ? std::vector<std::vector<Proposal>>(work.sources.size())
                                                             : all_proposals(work.sources, target_base);
    Reliability reliability;
    Convention convention;
    learn(work, proposals, target_base, reliability, convention);
    if (convention.seen == 0) convention = source_convention(work, target_base);
    const Isotonic calibrated = calibrate(work, proposals, target_base, reliability, convention);
    std::vector<TranslationRecord> records;
    std::vector<std::vector<Vote>> votes;
    if (options_.original_policy) ask_in_order(work, target_base);
    for (std::size_t i = 0; i < work.items.size(); ++i) {
      const Item& item = work.items[i];
      TranslationRecord record;
      record.concept_index = static_cast<std::int64_t>(item.concept_index);
      record.property = item.property;
      record.target_language = target;
      record.candidates = options_.original_policy ? ordered_[i] : candidates_of(item, proposals, target_base);
      votes.emplace_back();
      decide(thesaurus, work, item, target_base, reliability, convention, calibrated, record, votes.back());
      if (!options_.original_policy && record.method == Method::primary && !record.text.empty() &&
          split_qualifier(record.text).qualifier.empty()) {
        const std::string inside = translated_qualifier(work, item, proposals, target_base, reliability);
        if (!inside.empty()) {
          record.text += inside;
          record.candidates.push_back({record.text, "qualified", item.sources.front(), 1.0, false});
        }
      }
      name_labels(thesaurus, item, record);
      records.push_back(std::move(record));
    }
    make_unique(thesaurus, target, records, votes, convention, target_base);
    for (TranslationRecord& record : records)
      add(thesaurus, record, target);
  }

  /// From here on a candidate's source is the literal (a term of the graph) that it came from.
  void name_labels(const Thesaurus& thesaurus, const Item& item, TranslationRecord& record) const {
    for (Candidate& candidate : record.candidates) {
      const auto found = std::find(item.sources.begin(), item.sources.end(), candidate.source);
      candidate.source = found == item.sources.end()
                             ? -1
                             : thesaurus
                                   .labels[static_cast<std::size_t>(
                                       item.labels[static_cast<std::size_t>(found - item.sources.begin())])]
                                   .text;
    }
  }

  std::vector<std::vector<Proposal>> all_proposals(const std::vector<SourceText>& sources,
                                                   const std::string& target) const {
    std::vector<std::vector<Proposal>> out(sources.size());
    for (const Proposer& proposer : providers_.proposers) {
      std::vector<std::vector<Proposal>> answers = proposer(sources, target);
      for (std::size_t i = 0; i < sources.size(); ++i)
        out[i].insert(out[i].end(), std::make_move_iterator(answers[i].begin()),
                      std::make_move_iterator(answers[i].end()));
    }
    return out;
  }

  /// The original's collection: service after service until an item has enough candidates (spec 2.2, step 1).
  void ask_in_order(const Work& work, const std::string& target) {
    ordered_.assign(work.items.size(), {});
    std::vector<std::size_t> open(work.items.size());
    for (std::size_t i = 0; i < open.size(); ++i)
      open[i] = i;
    for (const Proposer& proposer : providers_.proposers) {
      std::vector<SourceText> asked;
      std::map<std::int64_t, std::size_t> place;
      for (const std::size_t i : open)
        for (const std::int64_t s : work.items[i].sources)
          if (place.try_emplace(s, asked.size()).second) asked.push_back(work.sources[static_cast<std::size_t>(s)]);
      if (asked.empty()) break;
      const auto answers = proposer(asked, target);
      for (const std::size_t i : open)
        for (const std::int64_t s : work.items[i].sources) {
          std::set<std::string> voters;  // a service gives one answer per text
          for (const Proposal& p : answers[place.at(s)])
            if (!p.partial && !is_blank(p.text) && voters.insert(p.voter).second)
              ordered_[i].push_back({nfc(p.text), p.voter, s, 1.0, false});
        }
      std::erase_if(open, [&](std::size_t i) { return ordered_[i].size() >= options_.original.min_primary; });
    }
  }

  void learn(const Work& work, const std::vector<std::vector<Proposal>>& proposals, const std::string& target,
             Reliability& reliability, Convention& convention) const {
    std::vector<std::string> labels;
    for (const Item& item : work.known) {
      labels.push_back(item.gold.front());
      std::vector<Candidate> candidates = candidates_of(item, proposals, target);
      if (options_.shared_words) add_shared_words(candidates, work.sources, item.sources, target);
      std::set<std::pair<std::string, std::int64_t>> seen;
      for (const Candidate& c : candidates) {
        if (c.partial || !seen.insert({c.service, c.source}).second) continue;
        const bool right = std::any_of(item.gold.begin(), item.gold.end(), [&](const std::string& gold) {
          return fold(gold, target) == fold(c.text, target);
        });
        reliability.record(c.service, work.sources[static_cast<std::size_t>(c.source)].language, right);
      }
      ++reliability.tried;
    }
    convention = convention_of(labels, target);
  }

  Convention source_convention(const Work& work, const std::string& target) const {
    std::size_t capitals = 0, seen = 0;
    for (const SourceText& source : work.sources) {
      if (source.language == "de" || default_script(source.language) == "Jpan" ||
          default_script(source.language) == "Arab")
        continue;
      ++seen;
      capitals += initial_is_upper(source.text) ? 1 : 0;
    }
    Convention out;
    out.seen = std::min<std::size_t>(seen, 1);  // capitals only: number does not carry over between languages
    out.capital = 2 * capitals > seen && seen > 0;
    (void)target;
    return out;
  }

  Isotonic calibrate(const Work& work, const std::vector<std::vector<Proposal>>& proposals, const std::string& target,
                     const Reliability& reliability, const Convention& convention) const {
    if (work.known.size() < 100 || options_.original_policy) return {};
    std::vector<std::pair<double, bool>> samples;
    for (const Item& item : work.known) {
      std::vector<Candidate> candidates = candidates_of(item, proposals, target);
      if (options_.shared_words) add_shared_words(candidates, work.sources, item.sources, target);
      const std::vector<Vote> votes = weighted_vote(candidates, work.sources, reliability, target, convention);
      if (votes.empty()) continue;
      const bool right = std::any_of(item.gold.begin(), item.gold.end(),
                                     [&](const std::string& gold) { return lower(nfc(gold)) == lower(votes[0].text); });
      samples.emplace_back(prior_confidence(votes[0], votes.size() > 1 ? &votes[1] : nullptr), right);
    }
    return samples.size() < 100 ? Isotonic{} : Isotonic::fit(std::move(samples));
  }

  std::vector<SourceLabel> labels_for_model(const Work& work, const Item& item) const {
    std::vector<SourceLabel> out;
    for (const std::int64_t s : item.sources)
      out.push_back({work.source_tags[static_cast<std::size_t>(s)], work.sources[static_cast<std::size_t>(s)].text});
    return out;
  }

  ContextOptions context() const {
    ContextOptions out = options_.context;
    out.original_rule = options_.original_policy;
    return out;
  }

  std::vector<std::string> ask_for_translations(const Thesaurus& thesaurus, const Item& item,
                                                const std::vector<SourceLabel>& labels, const std::string& target) {
    std::vector<std::string> out;
    for (const Prompt& prompt : translation_prompts(*providers_.model, options_.strategy, graph_, thesaurus,
                                                    item.concept_index, labels, target, context())) {
      ++result_.model_calls;
      const auto reply = providers_.model->ask(prompt);
      if (!reply) continue;
      const std::string text = cleaned_reply(*reply);
      if (reply_objection(text, labels.front().text, target).empty()) out.push_back(text);
    }
    return out;
  }

  void decide(const Thesaurus& thesaurus, const Work& work, const Item& item, const std::string& target,
              const Reliability& reliability, const Convention& convention, const Isotonic& calibrated,
              TranslationRecord& record, std::vector<Vote>& votes) {
    const std::string iri(graph_.term(thesaurus.concepts[item.concept_index]).value);
    if (const auto reviewed = providers_.reviewed.find({iri, item.property, record.target_language});
        reviewed != providers_.reviewed.end()) {
      record.text = reviewed->second;
      record.confidence = 1;
      record.status = record.text.empty() ? 2 : 1;
      record.reason = "reviewed";
      return;
    }
    if (const std::string* text = forced(work, item, target)) {
      record.text = *text;
      record.confidence = 1;
      record.agreement = 1;
      record.method = Method::memory;
      record.reason = "glossary";
      record.candidates.push_back({*text, "glossary", item.sources.front(), 1.0, false});
      return;
    }
    if (options_.original_policy) {
      decide_as_original(thesaurus, work, item, target, record);
    } else {
      if (options_.shared_words) add_shared_words(record.candidates, work.sources, item.sources, target);
      votes = weighted_vote(record.candidates, work.sources, reliability, target, convention);
      if (!votes.empty()) {
        const Vote& best = votes.front();
        const double raw = prior_confidence(best, votes.size() > 1 ? &votes[1] : nullptr);
        record.text = best.text;
        record.confidence = calibrated.empty() ? raw : calibrated(raw);
        std::size_t voters = 0;
        for (const Candidate& c : record.candidates)
          voters += c.group >= 0 ? 1 : 0;
        record.agreement =
            static_cast<double>(best.candidates.size()) / static_cast<double>(std::max<std::size_t>(voters, 1));
        record.method = Method::primary;
      }
      if (providers_.model != nullptr && record.confidence < options_.threshold)
        refine(thesaurus, work, item, target, votes, record);
    }
    if (record.text.empty()) {
      if (record.reason.empty()) record.reason = "no candidate";
      return;
    }
    record.text = in_convention(record.text, target, convention);
    if (has_control_characters(record.text)) {
      record.text.clear();
      record.reason = "control characters";
    }
  }

  void decide_as_original(const Thesaurus& thesaurus, const Work& work, const Item& item, const std::string& target,
                          TranslationRecord& record) {
    std::vector<std::string> primary;
    for (const Candidate& c : record.candidates)
      primary.push_back(c.text);
    const std::vector<SourceLabel> labels = labels_for_model(work, item);
    SecondaryCalls calls;
    std::string complaint;
    if (providers_.model != nullptr) {
      calls.propose = [&] {
        std::vector<std::string> texts = ask_for_translations(thesaurus, item, labels, target);
        for (const std::string& text : texts)
          record.candidates.push_back({text, "llm", item.sources.front(), 1.0, false});
        return texts;
      };
      calls.rate = [&](const std::vector<std::string>& candidates, int attempt) {
        ++result_.model_calls;
        const auto reply =
            providers_.model->ask(rating_prompt(*providers_.model, graph_, thesaurus, item.concept_index, labels,
                                                candidates, target, context(), complaint, attempt));
        complaint = "it was no candidate with a number from 0 to 1";
        return reply.value_or("");
      };
    }
    OriginalOptions flow = options_.original;
    flow.threshold = options_.threshold;
    const Decision decision = decide_original(primary, flow, calls);
    record.text = decision.text;
    record.confidence = decision.confidence;
    record.agreement = decision.agreement;
    record.method = decision.method;
    record.reason = decision.reason;
  }

  /// The language model where the vote is unsure: it selects among the candidates, or proposes and rates.
  void refine(const Thesaurus& thesaurus, const Work& work, const Item& item, const std::string& target,
              const std::vector<Vote>& votes, TranslationRecord& record) {
    const std::vector<SourceLabel> labels = labels_for_model(work, item);
    std::vector<std::string> candidates;
    for (const Vote& vote : votes)
      if (candidates.size() < 12) candidates.push_back(vote.text);
    if (options_.strategy != Strategy::select) {
      for (const std::string& text : ask_for_translations(thesaurus, item, labels, target)) {
        record.candidates.push_back({text, "llm", item.sources.front(), 1.0, false});
        const bool agreed = std::any_of(candidates.begin(), candidates.end(),
                                        [&](const auto& c) { return vote_key(c, target) == vote_key(text, target); });
        if (agreed) {
          record.text = text;
          record.confidence = std::max(record.confidence, 0.85);
          record.method = Method::secondary_is_primary;
          return;
        }
        candidates.push_back(text);
      }
    }
    if (candidates.empty() && options_.strategy != Strategy::select) return;
    std::string complaint;
    for (int attempt = 0; attempt <= providers_.model->max_retries; ++attempt) {
      ++result_.model_calls;
      const bool select = options_.strategy == Strategy::select;
      const Prompt prompt = select ? select_prompt(*providers_.model, graph_, thesaurus, item.concept_index, labels,
                                                   candidates, target, context(), complaint, attempt)
                                   : rating_prompt(*providers_.model, graph_, thesaurus, item.concept_index, labels,
                                                   candidates, target, context(), complaint, attempt);
      const auto reply = providers_.model->ask(prompt);
      if (!reply) return;
      if (accept_choice(*reply, select, candidates, labels.front().text, target, item.sources.front(), record,
                        complaint))
        return;
    }
    record.reason = "language model: " + complaint;
  }

  bool accept_choice(const std::string& reply, bool select, const std::vector<std::string>& candidates,
                     const std::string& source, const std::string& target, std::int64_t source_label,
                     TranslationRecord& record, std::string& complaint) {
    std::string text;
    double confidence = 0;
    if (select) {
      const auto selection = parse_selection(reply, candidates.size());
      if (!selection) {
        complaint = "it was not the JSON object";
        return false;
      }
      text =
          selection->choice > 0 ? candidates[static_cast<std::size_t>(selection->choice - 1)] : selection->translation;
      complaint = reply_objection(text, source, target);
      if (!complaint.empty()) return false;
      if (selection->choice == 0) record.candidates.push_back({text, "llm", source_label, 1.0, false});
      confidence = selection->confidence;
    } else {
      const auto rated = parse_rating(reply);
      const auto same = [&](const std::string& c) { return rated && lower(c) == lower(cleaned_reply(rated->text)); };
      const auto found = std::find_if(candidates.begin(), candidates.end(), same);
      if (found == candidates.end()) {
        complaint = "it was no candidate with a number from 0 to 1";
        return false;
      }
      text = *found;
      confidence = rated->confidence;
    }
    record.text = text;
    record.confidence = std::min(confidence, 0.9);
    record.method = Method::rated;
    return true;
  }

  /// No two concepts of a scheme get the same new preferred label: the less sure one takes its next candidate.
  void make_unique(const Thesaurus& thesaurus, const std::string& target, std::vector<TranslationRecord>& records,
                   const std::vector<std::vector<Vote>>& votes, const Convention& convention,
                   const std::string& target_base) {
    std::map<std::pair<std::int64_t, std::string>, std::int64_t> taken;  // (scheme, folded text) -> concept
    for (std::size_t c = 0; c < thesaurus.concepts.size(); ++c)
      for (const std::string& text : texts_of(graph_, thesaurus, c, Property::pref_label, target))
        taken.emplace(std::pair{thesaurus.scheme[c], lower(text)}, static_cast<std::int64_t>(c));
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < records.size(); ++i)
      if (records[i].property == Property::pref_label && !records[i].text.empty()) order.push_back(i);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return records[a].confidence > records[b].confidence; });
    for (const std::size_t i : order) {
      TranslationRecord& record = records[i];
      const std::int64_t scheme = thesaurus.scheme[static_cast<std::size_t>(record.concept_index)];
      const auto free = [&](const std::string& text) {
        const auto found = taken.find({scheme, lower(text)});
        return found == taken.end() || found->second == record.concept_index;
      };
      if (!free(record.text) &&
          !homonym_in_source(thesaurus, taken.at({scheme, lower(record.text)}), record.concept_index)) {
        bool replaced_by_next = false;
        const bool may_change = options_.disambiguate != Disambiguate::report;
        for (std::size_t v = 1; v < votes[i].size() && may_change && !replaced_by_next; ++v) {
          const std::string next = in_convention(votes[i][v].text, target_base, convention);
          if (votes[i][v].score < 0.5 * votes[i][0].score || !free(next)) continue;
          record.text = next;
          record.confidence *= 0.7;
          record.reason = "first choice taken by another concept";
          replaced_by_next = true;
        }
        if (!replaced_by_next && options_.disambiguate == Disambiguate::qualifier) {
          const std::string broader = broader_label(thesaurus, record, records, target);
          if (!broader.empty() && free(record.text + " (" + broader + ")")) {
            record.text += " (" + broader + ")";
            record.candidates.push_back({record.text, "qualified", -1, 1.0, false});
            record.reason = "told apart by its broader concept";
            replaced_by_next = true;
          }
        }
        if (!replaced_by_next) {
          record.reason = "same label as another concept";
          result_.duplicates.emplace_back(
              graph_.term(thesaurus.concepts[static_cast<std::size_t>(record.concept_index)]).value);
        }
      }
      taken.emplace(std::pair{scheme, lower(record.text)}, record.concept_index);
    }
  }

  /// The label of a broader concept in the target language: there already, or made in this run.
  std::string broader_label(const Thesaurus& thesaurus, const TranslationRecord& record,
                            const std::vector<TranslationRecord>& records, const std::string& target) const {
    for (const std::int64_t b : thesaurus.broader.list(static_cast<std::size_t>(record.concept_index))) {
      const auto there = texts_of(graph_, thesaurus, static_cast<std::size_t>(b), Property::pref_label, target);
      if (!there.empty()) return there.front();
      for (const TranslationRecord& other : records)
        if (other.concept_index == b && other.property == Property::pref_label && !other.text.empty())
          return other.text;
    }
    return {};
  }

  bool homonym_in_source(const Thesaurus& thesaurus, std::int64_t a, std::int64_t b) const {
    std::set<std::pair<std::string, std::string>> labels;
    for (std::size_t i = thesaurus.label_begin(static_cast<std::size_t>(a));
         i < thesaurus.label_end(static_cast<std::size_t>(a)); ++i)
      if (thesaurus.labels[i].property == Property::pref_label)
        labels.emplace(thesaurus.language(thesaurus.labels[i]), lower(graph_.term(thesaurus.labels[i].text).value));
    for (std::size_t i = thesaurus.label_begin(static_cast<std::size_t>(b));
         i < thesaurus.label_end(static_cast<std::size_t>(b)); ++i)
      if (thesaurus.labels[i].property == Property::pref_label &&
          labels.contains({std::string(thesaurus.language(thesaurus.labels[i])),
                           lower(graph_.term(thesaurus.labels[i].text).value)}))
        return true;
    return false;
  }

  /// True if the label may be added: not a second prefLabel (S14), not one that clashes with pref, alt or hidden (S13).
  bool allowed(TermId subject, Property property, TermId literal) const {
    const TermId predicate = graph_.find_iri(property_iri(property));
    if (predicate != no_term && graph_.contains({subject, predicate, literal})) return false;
    for (const Property other : {Property::pref_label, Property::alt_label, Property::hidden_label}) {
      if (property > Property::hidden_label || other == property) continue;
      const TermId clash = graph_.find_iri(property_iri(other));
      if (clash == no_term) continue;
      if (graph_.contains({subject, clash, literal})) return false;
      const Term& own = graph_.term(literal);
      for (const Triple& t : added_labels_)
        if (t[0] == subject && t[1] == clash && lower(graph_.term(t[2]).value) == lower(own.value) &&
            graph_.term(t[2]).language == own.language)
          return false;
    }
    return true;
  }

  void add(const Thesaurus& thesaurus, TranslationRecord& record, const std::string& target) {
    ++result_.by_method[record.method];
    if (record.text.empty()) {
      ++result_.untranslated;
      result_.records.push_back(std::move(record));
      return;
    }
    const TermId subject = thesaurus.concepts[static_cast<std::size_t>(record.concept_index)];
    std::string tag = target;
    if (options_.tag_machine && record.status == 0) tag += "-t-und-t0-und";
    const TermId literal = graph_.literal(nfc(record.text), tag);
    Property property = record.property;
    if (record.confidence < options_.min_confidence && record.status == 0) {
      record.status = 2;
      ++result_.held_back;
      if (options_.low_confidence == LowConfidence::alt_label) property = Property::alt_label;
      if (options_.low_confidence == LowConfidence::note) property = Property::editorial_note;
      if (options_.low_confidence == LowConfidence::skip || options_.low_confidence == LowConfidence::flag) {
        result_.records.push_back(std::move(record));
        return;
      }
    }
    if (options_.overwrite != Overwrite::none) drop_replaced(subject, property, target, literal);
    if (!allowed(subject, property, literal)) {
      record.reason = "equals another label of the concept";
      record.status = 2;
      ++result_.held_back;
    } else {
      const Triple triple{subject, graph_.iri(property_iri(property)), literal};
      if (options_.xl && has_xl_labels(thesaurus, static_cast<std::size_t>(record.concept_index)))
        add_xl_label(subject, property, literal);
      else
        graph_.add(triple[0], triple[1], triple[2]);
      added_labels_.push_back(triple);
      ++result_.added;
    }
    result_.records.push_back(std::move(record));
  }

  static bool has_xl_labels(const Thesaurus& thesaurus, std::size_t c) {
    for (std::size_t i = thesaurus.label_begin(c); i < thesaurus.label_end(c); ++i)
      if (thesaurus.labels[i].xl) return true;
    return false;
  }

  /// The label as a node of its own, as the concept's other labels are.
  void add_xl_label(TermId subject, Property property, TermId literal) {
    const auto xl = [&](const std::string& name) { return graph_.iri(skosxl_ns + name); };
    std::size_t number = added_labels_.size();
    while (graph_.find(TermKind::blank, fmt::format("wokie{}", number), {}, no_term) != no_term)
      ++number;
    const TermId node = graph_.blank(fmt::format("wokie{}", number));
    graph_.add(node, graph_.iri(rdf("type")), xl("Label"));
    graph_.add(node, xl("literalForm"), literal);
    graph_.add(subject, xl(property_name(property)), node);
  }

  void drop_replaced(TermId subject, Property property, const std::string& target, TermId keep) {
    const TermId predicate = graph_.find_iri(property_iri(property));
    graph_.remove_if([&](const Triple& t) {
      return t[0] == subject && t[1] == predicate && t[2] != keep && graph_.term(t[2]).kind == TermKind::literal &&
             !graph_.term(t[2]).language.empty() &&
             matches_language(graph_.term(t[2]).language, target, options_.exact_tags) &&
             (options_.overwrite == Overwrite::all || providers_.own_labels.contains(t[2]));
    });
  }

  Graph& graph_;
  const TranslateOptions& options_;
  const Providers& providers_;
  const Thesaurus original_;
  std::vector<std::vector<Candidate>> ordered_;
  std::vector<Triple> added_labels_;
  TranslateResult result_;
};

}  // namespace

TranslateResult translate(Graph& graph, const TranslateOptions& options, const Providers& providers) {
  return Translator(graph, options, providers).run();
}

}  // namespace fachwerk::wokie
