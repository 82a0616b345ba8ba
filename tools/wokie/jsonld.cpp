// JSON-LD 1.1: expansion and toRdf for inline contexts (terms, prefixes, @vocab, @base, @language, @type coercion,
// @container @list @set @language @index @id @graph, @reverse, scoped contexts), and a flattened, compacted writer.

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/error.hpp"
#include "language.hpp"
#include "rdf.hpp"
#include "vocabulary.hpp"

namespace fachwerk::wokie {
namespace {

using Json = nlohmann::ordered_json;

/// What a term of a context stands for.
struct Definition {
  std::string iri = {};  ///< expanded; a keyword for an alias; empty for a term set to null
  std::string type = {};
  std::optional<std::string> language = {};  ///< set, possibly to none (empty)
  std::set<std::string> container = {};
  bool reverse = false;
  Json context = {};  ///< scoped context, null without
  bool scoped = false;
};

struct Context {
  std::string base, vocab, language;
  std::map<std::string, Definition> terms;
};

bool is_keyword(std::string_view text) {
  static const std::set<std::string_view> known = {
      "@base",    "@container", "@context", "@graph", "@id",      "@import", "@included",  "@index",
      "@json",    "@language",  "@list",    "@nest",  "@none",    "@prefix", "@propagate", "@protected",
      "@reverse", "@set",       "@type",    "@value", "@version", "@vocab",  "@direction"};
  return known.contains(text);
}

/// Contexts that are known without the network: SKOS terms by their own names, as JSKOS and the SKOS documents use
/// them.
Json bundled_context(const std::string& url) {
  static const std::set<std::string> known = {"https://gbv.github.io/jskos/context.json",
                                              "http://gbv.github.io/jskos/context.json",
                                              "https://gbv.github.io/jskos/jskos-context.json",
                                              "https://www.w3.org/2004/02/skos/core",
                                              "http://www.w3.org/2004/02/skos/core",
                                              "https://www.w3.org/2009/08/skos-reference/skos.jsonld"};
  if (!known.contains(url)) return nullptr;
  Json context = {{"skos", skos_ns}, {"dct", dct_ns},   {"uri", "@id"},
                  {"id", "@id"},     {"type", "@type"}, {"@vocab", skos_ns}};
  for (const char* name : {"prefLabel", "altLabel", "hiddenLabel", "definition", "scopeNote", "note", "example",
                           "changeNote", "editorialNote", "historyNote"})
    context[name] = Json{{"@id", skos(name)}, {"@container", "@language"}};
  for (const char* name : {"broader", "narrower", "related", "inScheme", "topConceptOf", "hasTopConcept", "member",
                           "broadMatch", "narrowMatch", "closeMatch", "exactMatch", "relatedMatch"})
    context[name] = Json{{"@id", skos(name)}, {"@type", "@id"}};
  context["notation"] = Json{{"@id", skos("notation")}, {"@container", "@set"}};
  for (const auto& [name, term] : {std::pair{"created", "created"}, {"modified", "modified"}, {"issued", "issued"}})
    context[name] = Json{{"@id", std::string(dct_ns) + term}};
  return context;
}

class Reader {
 public:
  explicit Reader(const ReadOptions& options) : name_(options.name) { graph_.base = options.base; }

  Graph read(const Json& document) {
    Context context;
    context.base = graph_.base;
    if (document.is_array()) {
      for (const Json& item : document)
        node(item, context, 0);
    } else if (document.is_object()) {
      node(document, context, 0);
    } else {
      throw bad_input("{}:1:1: expected a JSON object or array", name_);
    }
    return std::move(graph_);
  }

 private:
  static constexpr int depth_limit = 200;

  [[noreturn]] void fail(const std::string& what) const { throw bad_input("{}: {}", name_, what); }

  // ---- contexts --------------------------------------------------------------------------------
  void apply(Context& context, const Json& given, int depth) {
    if (depth > depth_limit) fail("contexts nested too deep");
    if (given.is_null()) {
      context = Context{graph_.base, {}, {}, {}};
      return;
    }
    if (given.is_array()) {
      for (const Json& one : given)
        apply(context, one, depth + 1);
      return;
    }
    if (given.is_string()) {
      const Json bundled = bundled_context(given.get<std::string>());
      if (bundled.is_null())
        fail(fmt::format(
            "remote context \"{}\" refused: only inline contexts and the bundled SKOS and JSKOS ones are read",
            given.get<std::string>()));
      apply(context, bundled, depth + 1);
      return;
    }
    if (!given.is_object()) fail("@context must be an object, an array, a string or null");
    if (given.contains("@import")) fail("@import in a context is refused: it is remote");
    if (const auto base = given.find("@base"); base != given.end()) {
      if (base->is_null())
        context.base.clear();
      else if (base->is_string())
        context.base =
            context.base.empty() ? base->get<std::string>() : resolve_iri(context.base, base->get<std::string>());
      else
        fail("@base must be a string or null");
      if (graph_.base.empty()) graph_.base = context.base;
    }
    if (const auto vocab = given.find("@vocab"); vocab != given.end()) {
      if (!vocab->is_null() && !vocab->is_string()) fail("@vocab must be a string or null");
      context.vocab = vocab->is_null() ? std::string{} : expand_vocab(*vocab, context, given);
    }
    if (const auto language = given.find("@language"); language != given.end()) {
      if (!language->is_null() && !language->is_string()) fail("@language must be a string or null");
      context.language = language->is_null() ? std::string{} : language->get<std::string>();
    }
    std::map<std::string, int> state;
    for (const auto& [term, value] : given.items())
      if (!is_keyword(term)) define(context, given, term, state);
  }

  std::string expand_vocab(const Json& vocab, Context& context, const Json& given) {
    const auto text = vocab.get<std::string>();
    if (is_absolute_iri(text) && text.find("://") != std::string::npos) return text;
    std::map<std::string, int> state;
    const std::size_t colon = text.find(':');
    if (colon != std::string::npos && given.contains(text.substr(0, colon)))
      define(context, given, text.substr(0, colon), state);
    return expand(text, context, true);
  }

  void define(Context& context, const Json& given, const std::string& term, std::map<std::string, int>& state) {
    if (state[term] == 2) return;
    if (state[term] == 1) fail(fmt::format("@context: \"{}\" is defined by itself", term));
    state[term] = 1;
    const Json& value = given.at(term);
    Definition out;
    const auto resolve = [&](const std::string& text) {
      const std::size_t colon = text.find(':');
      const std::string prefix = text.substr(0, colon);
      if (colon != std::string::npos && prefix != term && given.contains(prefix) && !is_keyword(prefix))
        define(context, given, prefix, state);
      else if (colon == std::string::npos && text != term && given.contains(text) && !is_keyword(text))
        define(context, given, text, state);
      return expand(text, context, true);
    };
    if (value.is_null()) {
      context.terms[term] = out;
    } else if (value.is_string()) {
      out.iri = resolve(value.get<std::string>());
      context.terms[term] = out;
    } else if (value.is_object()) {
      const auto text = [&](const char* key) -> std::optional<std::string> {
        const auto found = value.find(key);
        if (found == value.end() || found->is_null()) return std::nullopt;
        if (!found->is_string()) fail(fmt::format("@context: {} of \"{}\" must be a string", key, term));
        return found->get<std::string>();
      };
      if (const auto reverse = text("@reverse")) {
        out.iri = resolve(*reverse);
        out.reverse = true;
      } else if (const auto id = text("@id")) {
        out.iri = resolve(*id);
      } else if (!value.contains("@id")) {
        context.terms.erase(term);
        out.iri = resolve(term);
      }
      if (const auto type = text("@type")) out.type = is_keyword(*type) ? *type : resolve(*type);
      if (value.contains("@language")) out.language = text("@language").value_or("");
      if (const auto container = value.find("@container"); container != value.end()) {
        if (container->is_string()) out.container.insert(container->get<std::string>());
        if (container->is_array())
          for (const Json& one : *container)
            if (one.is_string()) out.container.insert(one.get<std::string>());
      }
      if (value.contains("@context")) {
        out.context = value["@context"];
        out.scoped = true;
      }
      context.terms[term] = out;
    } else {
      fail(fmt::format("@context: \"{}\" must be a string, an object or null", term));
    }
    const Definition& made = context.terms[term];
    // What serves as a prefix elsewhere: kept for the writers.
    if (!made.iri.empty() && (made.iri.back() == '#' || made.iri.back() == '/') && is_absolute_iri(made.iri))
      graph_.prefixes.emplace(term, made.iri);
    state[term] = 2;
  }

  /// IRI expansion (JSON-LD 1.1 API, 5.2). Empty: the term maps to nothing.
  std::string expand(const std::string& text, const Context& context, bool vocab) const {
    if (is_keyword(text)) return text;
    if (vocab)
      if (const auto found = context.terms.find(text); found != context.terms.end()) return found->second.iri;
    const std::size_t colon = text.find(':', 1);
    if (colon != std::string::npos) {
      const std::string prefix = text.substr(0, colon);
      const std::string rest = text.substr(colon + 1);
      if (prefix == "_" || rest.starts_with("//")) return text;
      if (const auto found = context.terms.find(prefix); found != context.terms.end() && !found->second.iri.empty())
        return found->second.iri + rest;
      return text;
    }
    if (vocab) return context.vocab.empty() ? std::string{} : context.vocab + text;
    if (context.base.empty()) return text;
    return resolve_iri(context.base, text);
  }

  // ---- nodes -----------------------------------------------------------------------------------
  TermId resource(const std::string& id) {
    if (id.starts_with("_:")) return graph_.blank("j" + id.substr(2));
    if (!is_absolute_iri(id)) {
      if (id.find(':') == std::string::npos)
        fail(fmt::format("\"{}\" is a relative IRI and there is no base (give --base IRI)", id));
      fail(fmt::format("\"{}\" is not a valid IRI", id));
    }
    return graph_.iri(id);
  }

  static std::vector<const Json*> each(const Json& value) {
    std::vector<const Json*> out;
    if (value.is_array())
      for (const Json& one : value)
        out.push_back(&one);
    else
      out.push_back(&value);
    return out;
  }

  void apply_type_contexts(Context& context, const Json& object) {
    std::vector<std::string> types;
    for (const auto& [key, value] : object.items())
      if (expand(key, context, true) == "@type")
        for (const Json* type : each(value))
          if (type->is_string()) types.push_back(type->get<std::string>());
    std::sort(types.begin(), types.end());
    for (const std::string& type : types)
      if (const auto found = context.terms.find(type); found != context.terms.end() && found->second.scoped) {
        const Json scoped = found->second.context;
        apply(context, scoped, 0);
      }
  }

  /// A node object; returns its term.
  TermId node(const Json& object, Context context, int depth) {
    if (depth > depth_limit) fail(fmt::format("objects nested deeper than {}", depth_limit));
    if (!object.is_object()) fail("expected a node object");
    if (const auto own = object.find("@context"); own != object.end()) apply(context, *own, 0);
    apply_type_contexts(context, object);
    TermId subject = no_term;
    std::size_t properties = 0;
    for (const auto& [key, value] : object.items()) {
      const std::string name = expand(key, context, true);
      if (name == "@id") {
        if (!value.is_string()) fail("@id must be a string");
        subject = resource(expand(value.get<std::string>(), context, false));
      } else if (name != "@context") {
        ++properties;
      }
    }
    const auto graph = std::find_if(object.items().begin(), object.items().end(),
                                    [&](const auto& item) { return expand(item.key(), context, true) == "@graph"; });
    const bool only_graph = graph != object.items().end() && subject == no_term && properties == 1;
    if (subject == no_term && !only_graph) subject = graph_.fresh_blank();
    members(object, subject, context, depth);
    return subject;
  }

  void members(const Json& object, TermId subject, const Context& context, int depth) {
    for (const auto& [key, value] : object.items()) {
      const std::string name = expand(key, context, true);
      if (name.empty() || name == "@context" || name == "@id" || name == "@index" || name == "@language") continue;
      if (name == "@graph" || name == "@included") {
        for (const Json* one : each(value)) {
          if (name == "@graph" && subject != no_term) ++graph_.named_graph_statements;
          node(*one, context, depth + 1);
        }
      } else if (name == "@nest") {
        for (const Json* one : each(value))
          members(*one, subject, context, depth + 1);
      } else if (name == "@type") {
        const TermId type = graph_.iri(rdf("type"));
        for (const Json* one : each(value)) {
          if (!one->is_string()) fail("@type must be a string");
          std::string iri = expand(one->get<std::string>(), context, true);
          if (iri.empty()) iri = expand(one->get<std::string>(), context, false);
          graph_.add(subject, type, resource(iri));
        }
      } else if (name == "@reverse") {
        if (!value.is_object()) fail("@reverse must be an object");
        for (const auto& [property, objects] : value.items()) {
          const std::string iri = expand(property, context, true);
          if (iri.empty() || is_keyword(iri)) continue;
          for (const Json* one : each(objects))
            add_reverse(subject, iri, *one, definition(property, context), context, depth);
        }
      } else if (is_keyword(name)) {
        fail(fmt::format("{} is not allowed in a node object", name));
      } else {
        const Definition found = definition(key, context);
        Context inner = context;
        if (found.scoped) apply(inner, found.context, 0);
        if (name.starts_with("_:") || name.find(':') == std::string::npos) continue;  // no RDF property
        property(subject, name, value, found, inner, depth);
      }
    }
  }

  static Definition definition(const std::string& key, const Context& context) {
    const auto found = context.terms.find(key);
    return found == context.terms.end() ? Definition{} : found->second;
  }

  void add_reverse(TermId object, const std::string& iri, const Json& value, const Definition& how,
                   const Context& context, int depth) {
    const TermId subject = item(value, how, context, depth);
    if (subject == no_term) return;
    if (graph_.term(subject).kind == TermKind::literal) fail(fmt::format("reverse property <{}> of a literal", iri));
    graph_.add(subject, resource(iri), object);
  }

  void property(TermId subject, const std::string& iri, const Json& value, const Definition& how,
                const Context& context, int depth) {
    const auto add = [&](TermId object) {
      if (object == no_term) return;
      const TermId predicate = resource(iri);
      if (how.reverse)
        graph_.add(object, predicate, subject);
      else
        graph_.add(subject, predicate, object);
    };
    if (how.container.contains("@language") && value.is_object() && !value.contains("@value")) {
      for (const auto& [language, texts] : value.items())
        for (const Json* text : each(texts)) {
          if (text->is_null()) continue;
          if (!text->is_string()) fail(fmt::format("language map of <{}>: expected strings", iri));
          const bool none = expand(language, context, true) == "@none" || language == "@none" || language == "-";
          if (!none && !parse_language_tag(language))
            fail(fmt::format("language map of <{}>: \"{}\" is no language tag", iri, language));
          add(graph_.literal(text->get_ref<const std::string&>(),
                             none ? std::string_view{} : std::string_view(language)));
        }
      return;
    }
    if (how.container.contains("@list") && !(value.is_object() && value.contains("@list"))) {
      add(list(value, how, context, depth));
      return;
    }
    if ((how.container.contains("@index") || how.container.contains("@id") || how.container.contains("@type")) &&
        value.is_object()) {
      for (const auto& [key, entries] : value.items())
        for (const Json* one : each(entries)) {
          Json copy = *one;
          if (copy.is_object() && how.container.contains("@id") && key != "@none" && !copy.contains("@id"))
            copy["@id"] = key;
          if (copy.is_object() && how.container.contains("@type") && key != "@none") copy["@type"] = key;
          add(item(copy, how, context, depth));
        }
      return;
    }
    for (const Json* one : each(value)) {
      if (one->is_array()) {
        for (const Json& nested : *one)
          add(item(nested, how, context, depth));
      } else {
        add(item(*one, how, context, depth));
      }
    }
  }

  TermId list(const Json& value, const Definition& how, const Context& context, int depth) {
    std::vector<TermId> items;
    for (const Json* one : each(value)) {
      const TermId term = one->is_array() ? list(*one, how, context, depth + 1) : item(*one, how, context, depth);
      if (term != no_term) items.push_back(term);
    }
    const TermId first = graph_.iri(rdf("first")), rest = graph_.iri(rdf("rest")), nil = graph_.iri(rdf("nil"));
    TermId tail = nil;
    for (auto it = items.rbegin(); it != items.rend(); ++it) {
      const TermId cell = graph_.fresh_blank();
      graph_.add(cell, first, *it);
      graph_.add(cell, rest, tail);
      tail = cell;
    }
    return tail;
  }

  /// One value of a property: a literal, a reference or a nested node.
  TermId item(const Json& value, const Definition& how, const Context& context, int depth) {
    if (depth > depth_limit) fail(fmt::format("objects nested deeper than {}", depth_limit));
    if (value.is_null()) return no_term;
    if (!value.is_object()) return scalar(value, how, context);
    const auto get = [&](std::string_view keyword) -> const Json* {
      for (const auto& [key, member] : value.items())
        if (expand(key, context, true) == keyword) return &member;
      return nullptr;
    };
    if (const Json* members_of_list = get("@list")) return list(*members_of_list, how, context, depth + 1);
    if (const Json* set = get("@set")) {
      // Only reached for a single value; several are unpacked here one by one through the caller's add.
      const auto all = each(*set);
      if (all.size() > 1) fail("@set with several values inside another value");
      return all.empty() ? no_term : item(*all[0], how, context, depth + 1);
    }
    const Json* literal = get("@value");
    if (literal == nullptr) return node(value, context, depth + 1);
    if (literal->is_null()) return no_term;
    const Json* language = get("@language");
    const Json* type = get("@type");
    Definition own;
    own.language = "";
    if (language != nullptr && language->is_string()) own.language = language->get<std::string>();
    if (type != nullptr && type->is_string()) {
      own.type = expand(type->get<std::string>(), context, true);
      if (own.type == "@json") return graph_.literal(literal->dump(), {}, graph_.iri(rdf("JSON")));
    }
    if (literal->is_structured()) fail("@value must be a string, a number or a boolean");
    if (own.type == "@id" || own.type == "@vocab") own.type.clear();
    return scalar(*literal, own, context);
  }

  TermId scalar(const Json& value, const Definition& how, const Context& context) {
    if (value.is_string() && (how.type == "@id" || how.type == "@vocab")) {
      const auto text = value.get<std::string>();
      std::string iri = expand(text, context, how.type == "@vocab");
      if (iri.empty()) iri = expand(text, context, false);
      return resource(iri);
    }
    const auto xsd = [&](const char* name) { return graph_.iri(std::string(xsd_ns) + name); };
    const bool typed = !how.type.empty() && how.type[0] != '@';
    if (value.is_boolean())
      return graph_.literal(value.get<bool>() ? "true" : "false", {}, typed ? resource(how.type) : xsd("boolean"));
    if (value.is_number()) {
      const double number = value.get<double>();
      const bool whole =
          std::floor(number) == number && std::abs(number) < 1e21 && how.type != std::string(xsd_ns) + "double";
      if (whole) return graph_.literal(fmt::format("{:.0f}", number), {}, typed ? resource(how.type) : xsd("integer"));
      return graph_.literal(canonical_double(number), {}, typed ? resource(how.type) : xsd("double"));
    }
    if (!value.is_string()) fail("expected a string, a number or a boolean");
    const auto& text = value.get_ref<const std::string&>();
    if (typed) {
      if (how.type == std::string(xsd_ns) + "string") return graph_.literal(text);
      return graph_.literal(text, {}, resource(how.type));
    }
    const std::string language = how.language ? *how.language : context.language;
    if (!language.empty() && !parse_language_tag(language)) fail(fmt::format("\"{}\" is no language tag", language));
    return graph_.literal(text, language);
  }

  static std::string canonical_double(double number) {
    std::string text = fmt::format("{:.15E}", number);  // d.ddddddddddddddddE+xx
    const std::size_t e = text.find('E');
    std::string mantissa = text.substr(0, e);
    while (mantissa.back() == '0' && mantissa[mantissa.size() - 2] != '.')
      mantissa.pop_back();
    return fmt::format("{}E{}", mantissa, std::stoi(text.substr(e + 1)));
  }

  std::string name_;
  Graph graph_;
};

std::string compacted(std::string_view iri, const std::map<std::string, std::string>& prefixes) {
  std::string best(iri);
  for (const auto& [prefix, space] : prefixes)
    if (!prefix.empty() && !space.empty() && iri.starts_with(space) && iri.size() > space.size()) {
      std::string name = prefix + ":" + std::string(iri.substr(space.size()));
      if (!iri.substr(space.size()).starts_with("//") && name.size() < best.size()) best = std::move(name);
    }
  return best;
}

}  // namespace

Graph read_jsonld(std::string_view text, const ReadOptions& options) {
  Json document;
  try {
    document = Json::parse(text);
  } catch (const Json::out_of_range&) {
    throw bad_input("{}: a number is too large", options.name);
  } catch (const Json::parse_error& error) {
    // byte counts from 1; the exception's own text repeats the input
    const std::size_t at = std::min(error.byte == 0 ? 0 : error.byte - 1, text.size());
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    const std::size_t start = text.substr(0, at).rfind('\n');
    throw bad_input("{}:{}:{}: not well-formed JSON", options.name, line,
                    at - (start == std::string_view::npos ? 0 : start + 1) + 1);
  }
  return Reader(options).read(document);
}

std::string write_jsonld(const Graph& graph) {
  const std::vector<std::string> blanks = canonical_blanks(graph);
  std::map<std::string, std::string> prefixes = graph.prefixes;
  for (const auto& [prefix, iri] : common_prefixes)
    prefixes.emplace(prefix, iri);
  std::erase_if(prefixes, [](const auto& entry) {
    return entry.first.empty() || entry.second.empty() ||
           std::string_view("#/:?[]@_").find(entry.second.back()) == std::string_view::npos ||
           entry.first.find(':') != std::string::npos;
  });
  // An IRI whose scheme is one of the prefixes ("xsd:http://...") would expand into another one: that prefix goes.
  for (std::size_t id = 0; id < graph.term_count(); ++id)
    if (const Term& term = graph.term(static_cast<TermId>(id)); term.kind == TermKind::iri)
      prefixes.erase(std::string(term.value.substr(0, term.value.find(':'))));
  Json context = Json::object();
  for (const auto& [prefix, iri] : prefixes)
    context[prefix] = iri;
  const auto reference = [&](TermId id) {
    const Term& term = graph.term(id);
    if (term.kind == TermKind::blank) return "_:" + blanks[static_cast<std::size_t>(id)];
    return compacted(term.value, prefixes);
  };
  Json nodes = Json::array();
  for (const Subject& subject : by_subject(graph, blanks)) {
    Json node = {{"@id", reference(subject.term)}};
    for (const auto& [property, objects] : subject.properties) {
      const bool is_type = graph.term(property).value == rdf("type");
      Json values = Json::array();
      for (const TermId object : objects) {
        const Term& value = graph.term(object);
        if (value.kind != TermKind::literal) {
          if (is_type)
            values.push_back(reference(object));
          else
            values.push_back(Json{{"@id", reference(object)}});
        } else {
          Json literal = {{"@value", std::string(value.value)}};
          if (!value.language.empty()) literal["@language"] = std::string(value.language);
          if (value.datatype != no_term) literal["@type"] = reference(value.datatype);
          values.push_back(std::move(literal));
        }
      }
      node[is_type ? "@type" : compacted(graph.term(property).value, prefixes)] =
          values.size() == 1 ? values[0] : values;
    }
    nodes.push_back(std::move(node));
  }
  return Json{{"@context", context}, {"@graph", nodes}}.dump(1) + "\n";
}

}  // namespace fachwerk::wokie
