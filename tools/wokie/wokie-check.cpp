#include <algorithm>
#include <map>

#include <nlohmann/json.hpp>

#include "check.hpp"
#include "cli/command.hpp"
#include "document.hpp"
#include "io/bytes.hpp"
#include "vocabulary.hpp"

using namespace fachwerk;
using namespace fachwerk::wokie;

namespace {

const char* level(Severity severity) {
  return severity == Severity::error ? "error" : severity == Severity::warning ? "warning" : "note";
}

std::string subject_of(const Graph& graph, const Finding& finding) {
  return finding.subject == no_term ? std::string{} : std::string(graph.term(finding.subject).value);
}

std::string as_json(const Graph& graph, const CheckResult& result) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Finding& f : result.findings)
    list.push_back(
        {{"code", f.code}, {"level", level(f.severity)}, {"subject", subject_of(graph, f)}, {"message", f.message}});
  return nlohmann::ordered_json{{"findings", list}}.dump(1) + "\n";
}

std::string as_sarif(const Graph& graph, const CheckResult& result, const std::string& file,
                     const std::string& version) {
  nlohmann::ordered_json rules = nlohmann::ordered_json::array(), results = nlohmann::ordered_json::array();
  for (const CheckKind& kind : check_kinds())
    rules.push_back({{"id", kind.code}, {"shortDescription", {{"text", kind.meaning}}}});
  for (const Finding& f : result.findings)
    results.push_back({{"ruleId", f.code},
                       {"level", level(f.severity)},
                       {"message", {{"text", subject_of(graph, f) + ": " + f.message}}},
                       {"locations",
                        {{{"physicalLocation", {{"artifactLocation", {{"uri", file}}}}},
                          {"logicalLocations", {{{"fullyQualifiedName", subject_of(graph, f)}}}}}}}});
  return nlohmann::ordered_json{
             {"$schema", "https://json.schemastore.org/sarif-2.1.0.json"},
             {"version", "2.1.0"},
             {"runs",
              {{{"tool", {{"driver", {{"name", "wokie-check"}, {"version", version}, {"rules", rules}}}}},
                {"results", results}}}}}
             .dump(1) +
         "\n";
}

std::string as_earl(const Graph& graph, const CheckResult& result) {
  Graph out;
  const std::string earl = "http://www.w3.org/ns/earl#";
  out.prefixes["earl"] = earl;
  const auto term = [&](const char* name) { return out.iri(earl + name); };
  for (std::size_t i = 0; i < result.findings.size(); ++i) {
    const Finding& f = result.findings[i];
    const TermId assertion = out.blank(fmt::format("a{}", i)), outcome = out.blank(fmt::format("r{}", i));
    out.add(assertion, out.iri(rdf("type")), term("Assertion"));
    if (f.subject != no_term) {
      const Term& subject = graph.term(f.subject);
      out.add(assertion, term("subject"),
              subject.kind == TermKind::blank ? out.blank("s" + std::string(subject.value)) : out.iri(subject.value));
    }
    out.add(assertion, term("test"), out.iri("https://fachwerk.invalid/wokie-check#" + f.code));
    out.add(assertion, term("result"), outcome);
    out.add(outcome, term("outcome"), term(f.severity == Severity::error ? "failed" : "cantTell"));
    out.add(outcome, out.iri(std::string(dct_ns) + "description"), out.literal(f.message));
  }
  return write_rdf(out, Format::turtle);
}

}  // namespace

int main(int argc, char** argv) {
  std::string in, out, report, report_format, from, to, base;
  std::vector<std::string> repairs, select, ignore;
  bool strict = false, infer = true;
  const cli::Command command{
      .name = "wokie-check",
      .purpose = "check a SKOS thesaurus for integrity and quality, and repair it",
      .description =
          "Errors: the integrity conditions of the SKOS Reference (S9, S13, S14, S27, S37, S46), labels that are no "
          "literals, "
          "ill-formed language tags, cycles, terms that SKOS does not define, invalid IRIs. Warnings and notes: the "
          "quality "
          "issues of qSKOS that need no network. Exit code 1 if there are errors (with --strict, warnings too).\n\n"
          "--fix names repairs, made in the order given: whitespace, default-language=TAG, pref-shortest or "
          "pref-longest (the "
          "other prefLabels become altLabels), overlaps, cycles, related, inverse, symmetric, redundant, top-concepts. "
          "The repaired "
          "thesaurus is written to OUT, and what is left is reported.",
      .arguments = {cli::input("IN", in, "thesaurus"),
                    cli::optional_output("OUT", out,
                                         "repaired thesaurus (with --fix), or the thesaurus passed on in a pipeline")},
      .options = {{"--fix", &repairs, "repairs", {.value_name = "NAME"}},
                  {"--select", &select, "report these only", {.value_name = "CODE"}},
                  {"--ignore", &ignore, "do not report these", {.value_name = "CODE"}},
                  {"--strict", &strict, "warnings fail too"},
                  {"--report", &report, "all findings", {.value_name = "FILE"}},
                  {"--report-format",
                   &report_format,
                   "of --report; by its extension otherwise",
                   {.choices = {"text", "json", "sarif", "earl"}}},
                  {"--infer-concepts", &infer, "count labelled subjects of inScheme, broader, ... as concepts too"},
                  {"--from-format", &from, "format of IN instead of finding out", {.value_name = "NAME"}},
                  {"--to-format", &to, "format of OUT instead of its extension's", {.value_name = "NAME"}},
                  {"--base", &base, "base for relative IRIs", {.value_name = "IRI"}}},
      .examples = {{"wokie-check thesaurus.ttl", "counts of every issue"},
                   {"wokie-check --report issues.sarif --strict thesaurus.ttl", "for a continuous integration service"},
                   {"wokie-check --fix whitespace,pref-shortest,overlaps,cycles,symmetric thesaurus.rdf repaired.rdf",
                    "repair"}},
      .reference =
          "W3C, SKOS Reference (2009), section on integrity conditions; Mader, Haslhofer, Isaac, Finding Quality "
          "Issues in SKOS "
          "Vocabularies, TPDL 2012; Suominen, Hyvönen, Improving the Quality of SKOS Vocabularies with Skosify, EKAW "
          "2012.",
      .reads = "kind thesaurus (see wokie-convert)",
      .writes = "kind thesaurus (OUT)",
      .standard = {.threads = true},
  };
  return command.run(argc, argv, [&](cli::Session& session) {
    if (!repairs.empty() && out.empty()) throw usage_error("--fix needs OUT");
    std::set<std::string> known, wanted(select.begin(), select.end());
    for (const CheckKind& kind : check_kinds())
      known.insert(kind.code);
    for (const auto* list : {&select, &ignore})
      for (const std::string& code : *list)
        if (!known.contains(code)) throw usage_error("\"{}\" is no check; known are {}", code, fmt::join(known, ", "));
    if (!ignore.empty()) {
      if (wanted.empty()) wanted = known;
      for (const std::string& code : ignore)
        wanted.erase(code);
    }
    Document document = load_document(in, {.format = from, .base = base});
    const ThesaurusOptions view{.infer_concepts = infer};
    require_concepts(document, thesaurus_of(document.graph, view));
    for (const auto& [name, changed] : fix(document.graph, repairs))
      session.summary.add("fixed " + name, changed);
    const Thesaurus thesaurus = thesaurus_of(document.graph, view);
    const CheckResult result = check(document.graph, thesaurus, wanted);
    if (!out.empty()) save_document(session, document, out, {.format = output_format(to, out), .view = view});
    std::map<std::string, std::pair<Severity, std::int64_t>> counts;
    std::size_t errors = 0, warnings = 0;
    for (const Finding& f : result.findings) {
      auto& entry = counts.try_emplace(f.code, f.severity, 0).first->second;
      ++entry.second;
      errors += f.severity == Severity::error ? 1 : 0;
      warnings += f.severity == Severity::warning ? 1 : 0;
    }
    if (!report.empty()) {
      std::string kind = report_format;
      if (kind.empty())
        kind = report.ends_with(".sarif")  ? "sarif"
               : report.ends_with(".json") ? "json"
               : report.ends_with(".ttl")  ? "earl"
                                           : "text";
      std::string text;
      if (kind == "json")
        text = as_json(document.graph, result);
      else if (kind == "sarif")
        text = as_sarif(document.graph, result, document.name, session.version);
      else if (kind == "earl")
        text = as_earl(document.graph, result);
      else
        for (const Finding& f : result.findings)
          text += fmt::format("{}\t{}\t{}\t{}\n", level(f.severity), f.code, subject_of(document.graph, f), f.message);
      formats::Sink sink = formats::Sink::create(report, session.force, false);
      sink.write(std::string_view(text));
      sink.commit();
    }
    const CheckFacts& facts = result.facts;
    session.summary.add("concepts", facts.concepts);
    session.summary.add("labels", facts.labels);
    session.summary.add("max depth", facts.max_depth);
    session.summary.add("polyhierarchical", facts.polyhierarchical);
    session.summary.add("redundant broader", facts.redundant_broader);
    session.summary.add("related in hierarchy", facts.related_in_hierarchy);
    session.summary.add("asymmetric related", facts.asymmetric_related);
    session.summary.add("orphans", facts.orphans);
    session.summary.add("untagged labels", facts.untagged_labels);
    session.summary.add("errors", errors);
    session.summary.add("warnings", warnings);
    cli::Table table{"findings", {"code", "level", "count"}};
    for (const auto& [code, entry] : counts)
      table.rows.push_back({code, std::string(level(entry.first)), entry.second});
    if (!table.rows.empty()) session.summary.add(table);
    if (errors > 0)
      session.fail(fmt::format("{}: {} errors", document.name, errors));
    else if (strict && warnings > 0)
      session.fail(fmt::format("{}: {} warnings", document.name, warnings));
  });
}
