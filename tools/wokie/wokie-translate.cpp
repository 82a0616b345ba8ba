#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <memory>

#include <nlohmann/json.hpp>
#include <omp.h>

#include "cli/command.hpp"
#include "cli/progress.hpp"
#include "cli/signals.hpp"
#include "io/bytes.hpp"
#include "language.hpp"
#include "resources.hpp"
#include "services.hpp"
#include "sha256.hpp"
#include "translate.hpp"
#include "unicode.hpp"
#include "vocabulary.hpp"

using namespace fachwerk;
using namespace fachwerk::wokie;

namespace {

struct Options {
  std::string in, out, from_format, to_format, base;
  std::vector<std::string> to, from, properties = {"prefLabel"}, primary = {"offline"}, tm, endpoint, rate, concurrency,
                                     service_def, also;
  std::string llm = "none", strategy = "individual", policy = "consensus", context, overwrite = "none",
              low_confidence = "skip", disambiguate = "candidate", prices, xl = "plain";
  std::string lexicon, dict_dir = default_dict_dir, mode_dir = default_mode_dir, glossary, cache, key_file, prompts,
                       review, apply_review;
  std::string provenance, untagged, lang_match = "prefix";
  std::vector<std::string> context_fields = {"definition", "scopeNote", "note", "broader"};
  int context_chars = 1200, min_primary = 5, max_retries = 1, retries = 5;
  double threshold = 0.6, temperature = 0, min_confidence = 0;
  std::optional<double> max_cost;
  bool partial = false, resume = false, dry_run = false, no_cache = false, cache_only = false, chain_targets = false,
       tag_machine = false, infer = true;
};

std::string environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::string{} : std::string(value);
}

std::string upper_name(std::string text) {
  for (char& c : text)
    c = std::isalnum(static_cast<unsigned char>(c)) ? static_cast<char>(std::toupper(static_cast<unsigned char>(c)))
                                                    : '_';
  return text;
}

/// NAME=VALUE options as a map.
std::map<std::string, std::string> pairs_of(const std::string& option, const std::vector<std::string>& list) {
  std::map<std::string, std::string> out;
  for (const std::string& entry : list) {
    const std::size_t equal = entry.find('=');
    if (equal == std::string::npos || equal == 0) throw usage_error("{} {}: expected NAME=VALUE", option, entry);
    out[entry.substr(0, equal)] = entry.substr(equal + 1);
  }
  return out;
}

/// Keys: from a file of NAME=KEY lines, else from the environment.
std::map<std::string, std::string> read_keys(const std::string& path) {
  std::map<std::string, std::string> out;
  if (path.empty()) return out;
  const formats::File file = formats::File::open(path);
  for (const std::string_view line : split(file.text(), '\n')) {
    const std::size_t equal = line.find('=');
    if (equal != std::string_view::npos && !line.starts_with('#'))
      out[std::string(trimmed(line.substr(0, equal)))] = std::string(trimmed(line.substr(equal + 1)));
  }
  return out;
}

class Run {
 public:
  Run(cli::Session& session, Options& options) : session_(session), options_(options) {}

  void run() {
    check();
    read_prices();
    document_ = load_document(options_.in, {.format = options_.from_format, .base = options_.base});
    const ThesaurusOptions view = view_options();
    const Thesaurus thesaurus = thesaurus_of(document_.graph, view);
    require_concepts(document_, thesaurus);
    if (thesaurus.untagged > 0 && options_.untagged.empty())
      session_.warn(
          fmt::format("{} labels without a language tag serve as context only (--untagged LANG gives them one)",
                      thesaurus.untagged));
    if (thesaurus.cycles_cut > 0)
      session_.warn(
          fmt::format("{} broader statements close a cycle; the hierarchy is cut there", thesaurus.cycles_cut));
    if (options_.dry_run) return estimate(thesaurus);
    open_stores();
    collect_providers(thesaurus);
    TranslateOptions how = translate_options();
    how.view = view;
    const std::size_t before = document_.graph.triples().size();
    TranslateResult result = translate(document_.graph, how, providers_);
    if (session_.verbose) session_.note(fmt::format("{} triples added", document_.graph.triples().size() - before));
    if (cli::stop_requested()) return stop(result, thesaurus, view);
    write(result, thesaurus, view);
    report(result);
  }

 private:
  /// Interrupted: what came so far is in the journal.
  void stop(TranslateResult& result, const Thesaurus& thesaurus, const ThesaurusOptions& view) {
    journal_.sync();
    if (options_.partial) write(result, thesaurus, view);
    throw cli::stopped_error(options_.out + ".journal");
  }

  ThesaurusOptions view_options() const {
    ThesaurusOptions view{.infer_concepts = options_.infer};
    for (const std::string& also : options_.also)
      view.also |= static_cast<std::uint8_t>(also == "collections" ? Also::collections
                                             : also == "schemes"   ? Also::schemes
                                                                   : Also::groups);
    return view;
  }

  void check() {
    if (options_.to.empty()) throw usage_error("--to LANG is needed");
    for (const auto& [name, list] : {std::pair{"--to", &options_.to}, {"--from", &options_.from}})
      for (const std::string& tag : *list) {
        const auto parsed = parse_language_tag(tag);
        if (!parsed || !is_known_language(*parsed)) throw usage_error("{} {}: not a language of ISO 639", name, tag);
      }
    if (options_.cache_only && options_.no_cache) throw usage_error("--cache-only and --no-cache exclude each other");
    if (options_.out == "-" && options_.resume)
      throw usage_error("--resume needs an output file: the journal lies beside it");
    if (!options_.review.empty() && options_.out == "-" && options_.review == "-")
      throw usage_error("only one output can be stdout");
  }

  std::string identity() const {
    std::string text = document_.sha256;
    for (const auto* list :
         {&options_.to, &options_.from, &options_.properties, &options_.primary, &options_.context_fields})
      text += "\n" + join(*list, ",");
    return sha256(text + fmt::format("\n{}|{}|{}|{}|{}|{}|{}|{}", options_.llm, options_.strategy, options_.policy,
                                     options_.threshold, options_.min_primary, options_.temperature, options_.context,
                                     session_.seed));
  }

  bool is_online() const {
    return options_.llm != "none" ||
           std::any_of(options_.primary.begin(), options_.primary.end(), [](const std::string& name) {
             return !is_offline(name) && name != "none" && !name.starts_with("cmd:");
           });
  }
  static bool is_offline(const std::string& name) {
    for (const char* known : {"offline", "tm", "dict", "pivot", "apertium", "compose", "cognate"})
      if (name == known) return true;
    return false;
  }

  void open_stores() {
    if (!is_online()) return;
    if (!options_.no_cache)
      cache_ = Answers::open(options_.cache.empty() ? cache_folder() + "/cache.jsonl" : options_.cache);
    if (options_.out != "-") journal_ = Answers::journal(options_.out + ".journal", identity(), options_.resume);
    if (journal_.is_open()) cli::install_signal_handlers(true);
    stores_ = {options_.no_cache ? nullptr : &cache_, journal_.is_open() ? &journal_ : nullptr, options_.cache_only};
  }

  ServiceSettings settings_of(const std::string& name, bool model) {
    static const std::map<std::string, std::string> prefixes = {
        {"libretranslate", "ARGOS"}, {"argos", "ARGOS"}, {"openai-chat", "OPENAI"}, {"openai-responses", "OPENAI"}};
    const auto known = prefixes.find(name);
    const std::string prefix =
        known != prefixes.end() ? known->second : upper_name(split(name, ':')[0] == "generic" ? name.substr(8) : name);
    ServiceSettings out;
    out.name = name;
    const auto endpoints = pairs_of("--endpoint", options_.endpoint), rates = pairs_of("--rate", options_.rate),
               lanes = pairs_of("--concurrency", options_.concurrency);
    const auto keys = read_keys(options_.key_file);
    if (const auto found = endpoints.find(name); found != endpoints.end())
      out.endpoint = found->second;
    else
      out.endpoint = environment(prefix + "_BASE_URL");
    while (out.endpoint.ends_with('/'))
      out.endpoint.pop_back();
    if (model && out.endpoint.ends_with("/v1")) out.endpoint.resize(out.endpoint.size() - 3);
    if (!out.endpoint.empty() && !out.endpoint.starts_with("http://") && !out.endpoint.starts_with("https://"))
      throw usage_error("--endpoint {}: expected an http or https URL", name);
    if (const auto found = keys.find(prefix + "_API_KEY"); found != keys.end())
      out.key = found->second;
    else if (const auto plain = keys.find(name); plain != keys.end())
      out.key = plain->second;
    else
      out.key = environment(prefix + "_API_KEY");
    out.region = environment(prefix + "_REGION");
    out.project = environment(name == "yandex" ? "YANDEX_FOLDER_ID" : "GOOGLE_PROJECT_ID");
    out.email = environment("MYMEMORY_EMAIL");
    const auto number = [](const std::string& option, const std::map<std::string, std::string>& map,
                           const std::string& key, double fallback) {
      const auto found = map.find(key);
      if (found == map.end()) return fallback;
      char* end = nullptr;
      const double value = std::strtod(found->second.c_str(), &end);
      if (end == found->second.c_str() || !(value > 0))
        throw usage_error("{} {}={}: expected a positive number", option, key, found->second);
      return value;
    };
    out.policy.rate = number("--rate", rates, name, 0);
    out.policy.concurrency = static_cast<int>(number("--concurrency", lanes, name, model ? 1 : 4));
    out.policy.retries = options_.retries;
    out.policy.seed = session_.seed;
    out.policy.stop = cli::stop_requested;
    return out;
  }

  void collect_providers(const Thesaurus& thesaurus) {
    if (!options_.glossary.empty()) providers_.glossary = read_glossary(options_.glossary);
    if (!options_.apply_review.empty()) read_review();
    if (options_.overwrite == "own") find_own_labels();
    OfflineOptions offline{
        .memory = false, .dict = false, .pivot = false, .apertium = false, .compose = false, .cognate = false};
    bool any_offline = false;
    for (const std::string& name : options_.primary) {
      const bool all = name == "offline";
      offline.memory |= all || name == "tm";
      offline.dict |= all || name == "dict";
      offline.pivot |= all || name == "pivot";
      offline.apertium |= all || name == "apertium";
      offline.compose |= all || name == "compose";
      offline.cognate |= all || name == "cognate";
      any_offline |= is_offline(name);
    }
    if (any_offline) prepare_offline(thesaurus, offline);
    bool offline_placed = false;
    for (const std::string& name : options_.primary) {
      if (is_offline(name)) {
        if (!offline_placed)
          providers_.proposers.push_back(
              [this](const auto& sources, const std::string& target) { return engine_->propose(sources, target); });
        offline_placed = true;
      } else if (name.starts_with("cmd:")) {
        providers_.proposers.push_back([program = name.substr(4)](const auto& sources, const std::string& target) {
          return propose_by_command(program, sources, target);
        });
      } else if (name != "none") {
        ServiceSettings settings = settings_of(name, false);
        if (name.starts_with("generic:"))
          settings.definition = std::string(formats::File::open(definition_file(name.substr(8))).text());
        OnlineService& service = services_.emplace_back(std::move(settings), stores_);
        providers_.proposers.push_back(
            [&service](const auto& sources, const std::string& target) { return service.propose(sources, target); });
      }
    }
    if (options_.llm != "none") prepare_model();
  }

  std::string definition_file(const std::string& name) {
    const auto files = pairs_of("--service-def", options_.service_def);
    const auto found = files.find(name);
    if (found == files.end()) throw usage_error("--primary generic:{} needs --service-def {}=FILE", name, name);
    return found->second;
  }

  void prepare_offline(const Thesaurus& thesaurus, OfflineOptions offline) {
    if (offline.dict || offline.pivot || offline.compose || offline.cognate)
      lexicon_ = load_lexicon(session_, options_.lexicon, options_.dict_dir);
    if (offline.apertium) modes_ = modes_in(options_.mode_dir);
    for (const std::string& path : options_.tm)
      add_memory(memory_, path);
    if (offline.apertium && !options_.no_cache) {
      engine_answers_ = Answers::open(cache_folder() + "/engines.jsonl");
      offline.recall = [this](const std::string& key) { return engine_answers_.find(key); };
      offline.keep = [this](const std::string& key, const std::string& answer) { engine_answers_.add(key, answer); };
    }
    engine_ = std::make_unique<OfflineEngine>(lexicon_, modes_, memory_, offline);
    // Nothing at all for any wanted pair, and nobody else to ask: say what to install.
    const bool others = std::any_of(options_.primary.begin(), options_.primary.end(),
                                    [](const std::string& n) { return !is_offline(n); });
    if (others || options_.llm != "none" || !providers_.reviewed.empty() || !providers_.glossary.empty()) return;
    std::set<std::string> from;
    for (const std::string& tag : thesaurus.languages) {
      const bool wanted = options_.from.empty() || std::any_of(options_.from.begin(), options_.from.end(),
                                                               [&](const auto& f) { return matches_language(tag, f); });
      if (wanted && is_translatable(tag)) from.insert(short_code(split(canonical_tag(tag), '-')[0]));
    }
    for (const std::string& target : options_.to) {
      const std::string to = short_code(split(canonical_tag(target), '-')[0]);
      std::vector<std::string> sources(from.begin(), from.end());
      std::erase(sources, to);
      if (sources.empty()) continue;
      if (std::none_of(sources.begin(), sources.end(), [&](const std::string& s) { return engine_->serves(s, to); }))
        throw absent_error("no lexicon and no engine translates from {} into {}", join(sources, ", "), target)
            .with_hint(install_hint(sources, to));
    }
  }

  void prepare_model() {
    const std::size_t colon = options_.llm.find(':');
    if (colon == std::string::npos)
      throw usage_error("--llm {}: expected BACKEND:MODEL, with BACKEND one of {}", options_.llm,
                        join(chat_names(), ", "));
    model_service_ = std::make_unique<OnlineModel>(settings_of(options_.llm.substr(0, colon), true),
                                                   options_.llm.substr(colon + 1), stores_, session_.seed);
    model_.temperature = options_.temperature;
    model_.max_retries = options_.max_retries;
    model_.prompts = default_prompts();
    if (!options_.prompts.empty()) {
      const auto json = nlohmann::json::parse(formats::File::open(options_.prompts).text(), nullptr, false);
      if (!json.is_object()) throw bad_input("{}: expected a JSON object of prompt texts", options_.prompts);
      for (const auto& [name, text] : json.items()) {
        if (!model_.prompts.contains(name) || !text.is_string())
          throw bad_input("{}: \"{}\" is no prompt", options_.prompts, name);
        model_.prompts[name] = text.get<std::string>();
      }
    }
    model_.ask = [this](const Prompt& prompt) -> std::optional<std::string> {
      if (options_.max_cost && model_cost() > *options_.max_cost) {
        cost_reached_ = true;
        return std::nullopt;
      }
      return model_service_->ask(prompt);
    };
    providers_.model = &model_;
  }

  /// USD per million tokens (in, out) or characters: the user's file, else the list prices that are known here.
  std::optional<std::pair<double, double>> price(const std::string& name) const {
    const auto own = prices_.find(name);
    return own != prices_.end() ? own->second : price_of(name);
  }

  void read_prices() {
    if (options_.prices.empty()) return;
    const auto json = nlohmann::json::parse(formats::File::open(options_.prices).text(), nullptr, false);
    if (!json.is_object()) throw bad_input("{}: expected a JSON object of prices", options_.prices);
    for (const auto& [name, value] : json.items()) {
      const bool pair = value.is_object() && value.contains("in") && value["in"].is_number();
      if (!pair && !value.is_number())
        throw bad_input("{}: \"{}\": expected a number or {{\"in\": x, \"out\": x}}", options_.prices, name);
      const double in = pair ? value["in"].get<double>() : value.get<double>();
      const double out = pair && value.contains("out") && value["out"].is_number() ? value["out"].get<double>() : 0;
      if (!(in >= 0) || !(out >= 0)) throw bad_input("{}: \"{}\": a price is not negative", options_.prices, name);
      prices_[name] = {in, out};
    }
  }

  double model_cost() const {
    const auto each = price(model_service_->model());
    if (!each) return 0;
    return (static_cast<double>(model_service_->prompt_bytes) / 4 * each->first +
            static_cast<double>(model_service_->reply_bytes) / 4 * each->second) /
           1e6;
  }

  TranslateOptions translate_options() const {
    TranslateOptions how;
    how.targets = options_.to;
    how.from = options_.from;
    how.properties.clear();
    for (const std::string& name : options_.properties) {
      const auto property = property_of_name(name);
      if (!property) throw usage_error("--properties {}: not a SKOS label or note property", name);
      how.properties.push_back(*property);
    }
    how.original_policy = options_.policy == "wokie";
    how.original = {static_cast<std::size_t>(options_.min_primary), options_.threshold, options_.max_retries};
    how.threshold = options_.threshold;
    how.min_confidence = options_.min_confidence;
    how.low_confidence = options_.low_confidence == "altLabel" ? LowConfidence::alt_label
                         : options_.low_confidence == "note"   ? LowConfidence::note
                         : options_.low_confidence == "flag"   ? LowConfidence::flag
                                                               : LowConfidence::skip;
    how.overwrite = options_.overwrite == "all"   ? Overwrite::all
                    : options_.overwrite == "own" ? Overwrite::own
                                                  : Overwrite::none;
    how.disambiguate = options_.disambiguate == "qualifier" ? Disambiguate::qualifier
                       : options_.disambiguate == "report"  ? Disambiguate::report
                                                            : Disambiguate::candidate;
    how.xl = options_.xl == "keep";
    how.exact_tags = options_.lang_match == "exact";
    how.chain_targets = options_.chain_targets;
    how.shared_words = std::any_of(options_.primary.begin(), options_.primary.end(),
                                   [](const std::string& name) { return name == "offline" || name == "cognate"; });
    how.untagged = options_.untagged;
    how.tag_machine = options_.tag_machine;
    static const std::map<std::string, Strategy> strategies = {{"individual", Strategy::individual},
                                                               {"batch", Strategy::batch},
                                                               {"hierarchy", Strategy::hierarchy},
                                                               {"hierarchy-joint", Strategy::hierarchy_joint},
                                                               {"select", Strategy::select}};
    how.strategy = strategies.at(options_.strategy);
    how.context = {options_.context_fields, static_cast<std::size_t>(options_.context_chars), context_text(), false};
    return how;
  }

  std::string context_text() const {
    if (!options_.context.starts_with("@")) return options_.context;
    return std::string(trimmed(formats::File::open(options_.context.substr(1)).text()));
  }

  // ---- provenance and review -------------------------------------------------------------------
  /// Labels that a sidecar of an earlier run, or the tables of the HDF5 input, name as made by us.
  void find_own_labels() {
    const Graph& graph = document_.graph;
    const auto add = [&](const std::string& text, const std::string& tag) {
      const TermId id = graph.find(TermKind::literal, text, tag, no_term);
      if (id != no_term) providers_.own_labels.insert(id);
    };
    if (document_.source && document_.source->exists("/translations/text")) {
      const auto text = document_.source->strings("/translations/text");
      const auto tag = document_.source->strings("/translations/target_lang", text.size());
      for (std::size_t i = 0; i < text.size(); ++i)
        add(text[i], tag[i]);
    }
    const std::string sidecar = options_.in + ".prov.ttl";
    if (options_.in != "-" && access(sidecar.c_str(), R_OK) == 0) {
      const Document prov = load_document(sidecar);
      const TermId value = prov.graph.find_iri(std::string(prov_ns) + "value");
      for (const Triple& t : prov.graph.triples())
        if (t[1] == value) add(std::string(prov.graph.term(t[2]).value), std::string(prov.graph.term(t[2]).language));
    }
  }

  void read_review() {
    const formats::File file = formats::File::open(options_.apply_review);
    const auto rows = csv_rows(file.text(), ',');
    if (rows.empty() || rows[0].size() < 5 || rows[0][0] != "uri")
      throw bad_input("{}:1: expected the header of a review file (uri, property, language, text, ...)",
                      options_.apply_review);
    for (std::size_t r = 1; r < rows.size(); ++r) {
      if (rows[r].size() != rows[0].size())
        throw bad_input("{}:{}: expected {} fields, found {}", options_.apply_review, r + 1, rows[0].size(),
                        rows[r].size());
      const auto property = property_of_name(rows[r][1]);
      if (!property) throw bad_input("{}:{}: \"{}\" is no property", options_.apply_review, r + 1, rows[r][1]);
      providers_.reviewed[{rows[r][0], *property, rows[r][2]}] = nfc(trimmed(rows[r][3]));
    }
  }

  void write_review(const TranslateResult& result, const Thesaurus& thesaurus) const {
    if (options_.review.empty()) return;
    std::string text = "uri,property,language,text,confidence,agreement,sources,candidates,note\n";
    for (const TranslationRecord& r : result.records) {
      const auto c = static_cast<std::size_t>(r.concept_index);
      std::string sources, candidates;
      for (std::size_t i = thesaurus.label_begin(c); i < thesaurus.label_end(c); ++i)
        if (thesaurus.labels[i].property == r.property)
          sources += (sources.empty() ? "" : "|") + std::string(thesaurus.language(thesaurus.labels[i])) + ":" +
                     std::string(document_.graph.term(thesaurus.labels[i].text).value);
      for (const Candidate& candidate : r.candidates)
        candidates += (candidates.empty() ? "" : "|") + candidate.service + ":" + candidate.text;
      for (const std::string& field :
           {std::string(document_.graph.term(thesaurus.concepts[c]).value), property_name(r.property),
            r.target_language, r.text, fmt::format("{:.3f}", r.confidence), fmt::format("{:.3f}", r.agreement), sources,
            candidates})
        text += csv_field(field, ',') + ",";
      text += csv_field(r.reason, ',') + "\n";
    }
    formats::Sink sink = formats::Sink::create(options_.review, session_.force, false);
    sink.write(std::string_view(text));
    sink.commit();
  }

  static std::string now_text() {
    const std::string fixed = environment("SOURCE_DATE_EPOCH");
    const std::time_t now =
        fixed.empty() ? std::time(nullptr) : static_cast<std::time_t>(std::strtoll(fixed.c_str(), nullptr, 10));
    char text[32];
    std::tm parts{};
    gmtime_r(&now, &parts);
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text;
  }

  void write_sidecar(const TranslateResult& result, const Thesaurus& thesaurus) const {
    Graph prov;
    const auto term = [&](const char* name) { return prov.iri(prov_ns + std::string(name)); };
    const std::string own = "https://fachwerk.invalid/wokie#";
    const TermId activity = prov.blank("activity");
    prov.prefixes = {{"prov", prov_ns}, {"wokie", own}, {"skos", skos_ns}};
    prov.add(activity, prov.iri(rdf("type")), term("Activity"));
    prov.add(activity, prov.iri(own + "version"), prov.literal(session_.version));
    prov.add(activity, prov.iri(own + "options"), prov.literal(identity()));
    prov.add(activity, prov.iri(own + "services"), prov.literal(join(options_.primary, " ") + " " + options_.llm));
    prov.add(activity, term("endedAtTime"), prov.literal(now_text(), {}, prov.iri(std::string(xsd_ns) + "dateTime")));
    std::size_t number = 0;
    for (const TranslationRecord& r : result.records) {
      if (r.text.empty() || r.status == 2) continue;
      const TermId node = prov.blank(fmt::format("label{}", number++));
      const TermId decimal = prov.iri(std::string(xsd_ns) + "decimal");
      prov.add(node, prov.iri(rdf("type")), term("Entity"));
      prov.add(node, term("wasGeneratedBy"), activity);
      prov.add(node, prov.iri(own + "concept"),
               prov.iri(document_.graph.term(thesaurus.concepts[static_cast<std::size_t>(r.concept_index)]).value));
      prov.add(node, prov.iri(own + "property"), prov.iri(property_iri(r.property)));
      prov.add(node, term("value"), prov.literal(nfc(r.text), r.target_language));
      prov.add(node, prov.iri(own + "confidence"), prov.literal(fmt::format("{:.3f}", r.confidence), {}, decimal));
      prov.add(node, prov.iri(own + "agreement"), prov.literal(fmt::format("{:.3f}", r.agreement), {}, decimal));
      prov.add(node, prov.iri(own + "status"), prov.literal(r.status == 1 ? "reviewed" : "machine"));
    }
    formats::Sink sink = formats::Sink::create(options_.out + ".prov.ttl", true, false);
    sink.write(std::string_view(write_turtle(prov)));
    sink.commit();
  }

  void annotate(const TranslateResult& result, const Thesaurus& thesaurus) {
    Graph& graph = document_.graph;
    for (const TranslationRecord& r : result.records) {
      if (r.text.empty() || r.status == 2) continue;
      graph.add(thesaurus.concepts[static_cast<std::size_t>(r.concept_index)], graph.iri(skos("editorialNote")),
                graph.literal(fmt::format("{} \"{}\"@{} is a machine translation (confidence {:.2f})",
                                          property_name(r.property), r.text, r.target_language, r.confidence),
                              "en"));
    }
  }

  void write(TranslateResult& result, const Thesaurus& thesaurus, const ThesaurusOptions& view) {
    const std::string format = output_format(options_.to_format, options_.out);
    const std::string provenance = options_.provenance.empty() ? "prov" : options_.provenance;
    if (provenance == "annotations") annotate(result, thesaurus);
    std::vector<ServiceRecord> uses;
    for (const OnlineService& s : services_)
      uses.push_back({s.settings().name, s.endpoint(), "", s.use().calls, s.use().chars, s.use().failures, cost_of(s)});
    if (model_service_)
      uses.push_back({model_service_->settings().name, model_service_->settings().endpoint, model_service_->model(),
                      model_service_->use().calls, model_service_->prompt_bytes, model_service_->use().failures,
                      model_cost()});
    save_document(session_, document_, options_.out,
                  {.format = format, .view = view, .translations = &result.records, .services = &uses});
    if (provenance == "prov" && format != "hdf5" && options_.out != "-" && result.added > 0)
      write_sidecar(result, thesaurus);
    write_review(result, thesaurus);
    if (journal_.is_open() && !cli::stop_requested()) journal_.remove();
  }

  double cost_of(const OnlineService& service) const {
    const auto each = price(service.settings().name);
    return each ? static_cast<double>(service.use().chars) * each->first / 1e6 : 0;
  }

  void report(const TranslateResult& result) {
    cli::Summary& summary = session_.summary;
    summary.add("labels present", result.present);
    summary.add("labels added", result.added);
    summary.add("held back", result.held_back);
    summary.add("untranslated", result.untranslated);
    summary.add("without source label", result.without_source);
    double confidence = 0;
    std::size_t sure = 0;
    for (const TranslationRecord& r : result.records)
      if (!r.text.empty()) confidence += r.confidence, ++sure;
    if (sure > 0) summary.add("mean confidence", confidence / static_cast<double>(sure));
    static const std::map<Method, const char*> names = {{Method::primary, "by vote"},
                                                        {Method::secondary_is_primary, "model agrees"},
                                                        {Method::rated, "rated by model"},
                                                        {Method::fallback, "fallback vote"},
                                                        {Method::memory, "glossary"}};
    for (const auto& [method, count] : result.by_method)
      if (names.contains(method)) summary.add(names.at(method), count);
    if (!result.duplicates.empty()) summary.add("labels shared with another concept", result.duplicates.size());
    cli::Table table{"services", {"service", "calls", "retries", "failures", "from cache", "characters", "state"}};
    bool all_failed = !services_.empty();
    for (const OnlineService& s : services_) {
      const ServiceUse& use = s.use();
      const std::string state = use.quota          ? "quota used up"
                                : use.broken       ? "switched off: " + use.last_error
                                : use.failures > 0 ? use.last_error
                                                   : "ok";
      table.rows.push_back({s.settings().name, use.calls, use.retries, use.failures, use.cached, use.chars, state});
      all_failed =
          all_failed && (use.broken || use.quota || (use.calls > 0 && use.calls == use.failures + use.retries));
    }
    if (model_service_) {
      const ServiceUse& use = model_service_->use();
      table.rows.push_back({model_service_->settings().name + ":" + model_service_->model(), use.calls, use.retries,
                            use.failures, use.cached, model_service_->prompt_bytes,
                            use.failures > 0 ? use.last_error : std::string("ok")});
      summary.add("model calls", result.model_calls);
      if (price(model_service_->model())) summary.add("estimated cost", model_cost(), "USD");
    }
    if (!table.rows.empty()) summary.add(table);
    if (cost_reached_)
      session_.fail(fmt::format("--max-cost {} reached: the rest was decided without the model", *options_.max_cost));
    else if (all_failed && result.added == 0 && result.untranslated > 0)
      session_.fail("every service failed; see the summary");
  }

  void estimate(const Thesaurus& thesaurus) {
    std::size_t items = 0, characters = 0, bytes = 0;
    for (const std::string& target : options_.to)
      for (std::size_t c = 0; c < thesaurus.concepts.size(); ++c) {
        if (!texts_of(document_.graph, thesaurus, c, Property::pref_label, target).empty()) continue;
        bool any = false;
        for (std::size_t i = thesaurus.label_begin(c); i < thesaurus.label_end(c); ++i) {
          const Label& label = thesaurus.labels[i];
          if (label.property != Property::pref_label || label.language < 0) continue;
          const std::string_view tag = thesaurus.language(label);
          if (!options_.from.empty() && std::none_of(options_.from.begin(), options_.from.end(),
                                                     [&](const auto& f) { return matches_language(tag, f); }))
            continue;
          any = true;
          const std::string_view text = document_.graph.term(label.text).value;
          characters += code_points(text).size();
          bytes += text.size() + static_cast<std::size_t>(options_.context_chars) / 4 + 400;
        }
        items += any ? 1 : 0;
      }
    session_.summary.add("labels to make", items);
    session_.summary.add("characters per service", characters);
    session_.summary.add("prompt tokens at most", bytes / 4);
    double cost = 0;
    for (const std::string& name : options_.primary)
      if (const auto each = price(name)) cost += static_cast<double>(characters) * each->first / 1e6;
    if (const std::size_t colon = options_.llm.find(':'); colon != std::string::npos)
      if (const auto each = price(options_.llm.substr(colon + 1)))
        cost += static_cast<double>(bytes) / 4 * each->first / 1e6;
    session_.summary.add("estimated cost", cost, "USD");
  }

  cli::Session& session_;
  Options& options_;
  Document document_;
  Lexicon lexicon_;
  std::vector<Mode> modes_;
  Memory memory_;
  std::unique_ptr<OfflineEngine> engine_;
  std::deque<OnlineService> services_;
  std::unique_ptr<OnlineModel> model_service_;
  LanguageModel model_;
  Answers cache_, journal_, engine_answers_;
  AnswerStores stores_;
  Providers providers_;
  std::map<std::string, std::pair<double, double>> prices_;
  bool cost_reached_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  Options o;
  std::vector<std::string> writable = {"hdf5",   "rdfxml", "turtle", "ntriples", "nquads", "trig",
                                       "jsonld", "csv",    "tsv",    "tbx",      "tmx"};
  const cli::Command command{
      .name = "wokie-translate",
      .purpose = "add the missing labels of a language to a SKOS thesaurus",
      .description =
          "For every concept without a label in the target language, independent translators propose one for each "
          "label it has "
          "in other languages; a vote weighted by how reliable each translator is decides. Reliability is learned from "
          "the "
          "concepts that have the label already, else a prior of the method is taken. Every label gets a confidence, a "
          "calibrated "
          "probability of being right. Nothing else in the thesaurus changes; the added labels never break SKOS S13 "
          "and S14.\n\n"
          "The default translators (--primary offline) need no network: translation memories (--tm), FreeDict "
          "dictionaries, "
          "pivoting through other languages, Apertium and its chains, composition of phrases and compounds, cognate "
          "transfer. "
          "Online services are added by name (libretranslate, deepl, google, google-v2, microsoft, lingvanex, "
          "modernmt, pons, "
          "yandex, mymemory, apertium-apy, generic:NAME, cmd:\"PROGRAM {from} {to}\"). Keys come from the environment "
          "(NAME_API_KEY) or --key-file and are never printed or stored.\n\n"
          "Where the confidence stays below --threshold, a language model may be asked (--llm BACKEND:MODEL, backends "
          "openai-chat, openai-responses, anthropic, gemini, ollama). Labels are handed to it as quoted data; its "
          "replies are "
          "checked before they count. --policy wokie follows the published method instead of the weighted vote.\n\n"
          "Answers of services are kept in a cache and, during a run, in OUT.journal: a killed run continues with "
          "--resume and "
          "gives the same result as an uninterrupted one.",
      .arguments = {cli::input("IN", o.in, "thesaurus (RDF or HDF5)"),
                    cli::output("OUT", o.out, "thesaurus with the labels added")},
      .options =
          {{"--to", &o.to, "target languages", {.value_name = "LANG"}},
           {"--from", &o.from, "source languages; all when not given", {.value_name = "LANG"}},
           {"--properties", &o.properties, "properties to translate", {.value_name = "NAME"}},
           {"--also", &o.also, "label these too", {.choices = {"collections", "schemes", "groups"}}},
           {"--primary", &o.primary, "translators, in order", {.value_name = "NAME"}},
           {"--llm", &o.llm, "language model for the unsure ones", {.value_name = "BACKEND:MODEL"}},
           {"--strategy",
            &o.strategy,
            "how the model is asked",
            {.choices = {"individual", "batch", "hierarchy", "hierarchy-joint", "select"}}},
           {"--policy", &o.policy, "weighted vote, or the published flow", {.choices = {"consensus", "wokie"}}},
           {"--threshold", &o.threshold, "confidence below which the model is asked", {.minimum = 0, .maximum = 1}},
           {"--min-primary", &o.min_primary, "candidates wanted by --policy wokie", {.minimum = 1, .maximum = 8}},
           {"--max-retries",
            &o.max_retries,
            "further rating calls after a refused reply",
            {.minimum = 0, .maximum = 10}},
           {"--temperature", &o.temperature, "of the model", {.minimum = 0, .maximum = 2}},
           {"--context",
            &o.context,
            "what the vocabulary is about, for the model; @FILE reads it",
            {.value_name = "TEXT"}},
           {"--context-fields", &o.context_fields, "what of a concept the model sees", {.value_name = "NAME"}},
           {"--context-chars", &o.context_chars, "context budget", {.unit = "characters", .minimum = 0}},
           {"--prompts", &o.prompts, "JSON object of prompt texts that replace ours", {.value_name = "FILE"}},
           {"--min-confidence", &o.min_confidence, "below it no label is written", {.minimum = 0, .maximum = 1}},
           {"--low-confidence",
            &o.low_confidence,
            "what becomes of those",
            {.choices = {"skip", "altLabel", "note", "flag"}}},
           {"--overwrite",
            &o.overwrite,
            "replace labels that exist: none, own (made by this tool), all",
            {.choices = {"none", "own", "all"}}},
           {"--lang-match",
            &o.lang_match,
            "en counts as present if en-GB is (prefix), or not (exact)",
            {.choices = {"prefix", "exact"}}},
           {"--untagged", &o.untagged, "language of labels without a tag", {.value_name = "LANG"}},
           {"--infer-concepts", &o.infer, "take labelled subjects of inScheme, broader, ... for concepts too"},
           {"--chain-targets", &o.chain_targets, "labels just made serve as sources for the next target"},
           {"--lexicon", &o.lexicon, "compiled lexicon of wokie-lexicon", {.value_name = "FILE"}},
           {"--dict-dir", &o.dict_dir, "folder of dictd dictionaries", {.value_name = "DIR"}},
           {"--mode-dir", &o.mode_dir, "folder of Apertium modes", {.value_name = "DIR"}},
           {"--tm", &o.tm, "translation memory: TMX, CSV, TSV, thesaurus", {.value_name = "FILE"}},
           {"--glossary", &o.glossary, "CSV: term, language, [target,] translation or keep", {.value_name = "FILE"}},
           {"--cache",
            &o.cache,
            "file of remembered answers; $XDG_CACHE_HOME/wokie/cache.jsonl otherwise",
            {.value_name = "FILE"}},
           {"--no-cache", &o.no_cache, "remember nothing beyond this run"},
           {"--cache-only", &o.cache_only, "ask nobody: remembered answers only"},
           {"--resume", &o.resume, "continue a run that was killed, from OUT.journal"},
           {"--partial", &o.partial, "on SIGINT or SIGTERM write what is decided so far, too (the journal is kept)"},
           {"--dry-run", &o.dry_run, "count and estimate the cost; write nothing"},
           {"--max-cost", &o.max_cost, "ask the model no more beyond this", {.unit = "USD", .minimum = 0}},
           {"--disambiguate",
            &o.disambiguate,
            "when another concept has the label: take the next candidate, else add the broader label; or only report",
            {.choices = {"candidate", "qualifier", "report"}}},
           {"--xl",
            &o.xl,
            "labels of concepts with SKOS-XL labels: plain ones, or nodes again (keep)",
            {.choices = {"plain", "keep"}}},
           {"--prices",
            &o.prices,
            "JSON {NAME: {in, out} or number}: USD per million tokens or characters",
            {.value_name = "FILE"}},
           {"--endpoint", &o.endpoint, "base URL of a service", {.value_name = "NAME=URL"}},
           {"--service-def", &o.service_def, "definition of a generic service", {.value_name = "NAME=FILE"}},
           {"--key-file", &o.key_file, "file of NAME_API_KEY=... lines", {.value_name = "FILE"}},
           {"--rate", &o.rate, "requests per second of a service", {.value_name = "NAME=N"}},
           {"--concurrency", &o.concurrency, "requests at a time of a service", {.value_name = "NAME=N"}},
           {"--retries", &o.retries, "attempts after the first that failed", {.minimum = 0, .maximum = 20}},
           {"--provenance",
            &o.provenance,
            "where confidence goes: OUT.prov.ttl or HDF5 tables (prov), editorial notes (annotations)",
            {.choices = {"none", "annotations", "prov"}}},
           {"--tag-machine", &o.tag_machine, "mark the language tag as machine-made (de-t-und-t0-und)"},
           {"--review", &o.review, "CSV of all decisions for reading and editing", {.value_name = "FILE"}},
           {"--apply-review", &o.apply_review, "take the texts of an edited review file", {.value_name = "FILE"}},
           {"--from-format", &o.from_format, "format of IN instead of finding out", {.value_name = "NAME"}},
           {"--to-format", &o.to_format, "format of OUT instead of its extension's", {.choices = writable}},
           {"--base", &o.base, "base for relative IRIs", {.value_name = "IRI"}}},
      .examples = {{"wokie-translate --to fr,es tadirah.ttl tadirah-fr-es.ttl", "two languages, without a network"},
                   {"wokie-convert thesaurus.rdf - | wokie-translate --to de --from en,fr - - | wokie-check -",
                    "in a pipeline"},
                   {"wokie-translate --to it --primary offline,libretranslate --llm ollama:mistral --strategy select "
                    "in.ttl out.ttl",
                    "with a local service and a local model"}},
      .reference =
          "Kraus, Blumenröhr, Tonne et al., Mind the Language Gap in Digital Humanities: LLM-Aided Translation of SKOS "
          "Thesauri, 2025, arXiv:2507.19537.",
      .reads = "kind thesaurus (see wokie-convert)",
      .writes =
          "kind thesaurus, and "
          "/translations/{concept,property,target_lang,text,confidence,agreement,status,method,reason,cand_ptr},\n"
          "/candidates/{text,service,source_label,group,weight,flags}, "
          "/services/{name,endpoint,model,calls,chars,failures,cost}",
      .standard = {.threads = true, .seed = true},
  };
  return command.run(argc, argv, [&](cli::Session& session) {
    omp_set_num_threads(session.threads);
    Run(session, o).run();
  });
}
