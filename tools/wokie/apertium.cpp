#include "apertium.hpp"

#include <algorithm>
#include <deque>
#include <set>

#include "cli/error.hpp"
#include "language.hpp"
#include "process.hpp"
#include "unicode.hpp"

namespace fachwerk::wokie {
namespace {

std::string mode_language(std::string_view code) {
  if (code.size() == 2) return long_code(code);
  return std::string(code);
}

}  // namespace

std::optional<Mode> mode_of(std::string_view name, std::string_view pipeline) {
  const auto parts = split(name, '-');
  if (parts.size() != 2) return std::nullopt;
  if (parts[1].find('_') != std::string_view::npos) return std::nullopt;  // spelling variants would vote twice
  Mode mode{std::string(name), mode_language(parts[0]), mode_language(parts[1]), std::string(trimmed(pipeline))};
  if (mode.from.size() != 3 || mode.to.size() != 3) return std::nullopt;
  return mode;
}

std::vector<std::vector<const Mode*>> chains(const std::vector<Mode>& modes, const std::string& from,
                                             const std::string& to, std::size_t max_stages) {
  std::vector<std::vector<const Mode*>> found;
  std::deque<std::vector<const Mode*>> open = {{}};
  while (!open.empty()) {
    const std::vector<const Mode*> chain = open.front();
    open.pop_front();
    const std::string& at = chain.empty() ? from : chain.back()->to;
    for (const Mode& mode : modes) {
      if (mode.from != at || mode.to == from) continue;
      if (std::any_of(chain.begin(), chain.end(), [&](const Mode* stage) { return stage->to == mode.to; })) continue;
      std::vector<const Mode*> longer = chain;
      longer.push_back(&mode);
      if (mode.to == to)
        found.push_back(longer);
      else if (longer.size() < max_stages)
        open.push_back(longer);
    }
  }
  // A detour adds nothing where a shorter way exists with one stage less than two below it.
  if (!found.empty()) {
    const std::size_t shortest = found.front().size();
    std::erase_if(found, [&](const auto& chain) { return chain.size() > shortest + (shortest == 1 ? 1 : 0); });
  }
  return found;
}

namespace {

/// A sed script on the tagged stream, one term a line, that makes the head noun singular, and the adjectives that agree
/// with it. Modifiers keep their number: "analyse de réseaux" has one analysis and many networks.
std::string singular_script(const std::string& from) {
  static const std::set<std::string> head_first = {"fra", "spa", "ita", "por", "cat",
                                                   "glg", "oci", "ron", "srd", "ast"};
  const std::string gender = "(<(m|f|mf|nt|un|GD)>)?";
  if (head_first.contains(from))
    return "s/^([^^]*\\^[^$<]*<adj>" + gender +
           ")<pl>(\\$ \\^[^$<]*<n>)/\\1<sg>\\4/; "  // nouvelles technologies
           "s/^([^^]*(\\^[^$<]*<adj>[^$]*\\$ )?\\^[^$<]*<n>" +
           gender +
           ")<pl>/\\1<sg>/; "  // the first noun
           "s/^([^^]*\\^[^$<]*<n>" +
           gender + "<sg>\\$ \\^[^$<]*<adj>(<(m|f|mf|nt)>)?)<pl>/\\1<sg>/";
  // Head last: everything up to a preposition, the last noun before it.
  return "/<pr>/!{s/(<n>" + gender + ")<pl>/\\1<sg>/g; s/(<adj>" + gender + ")<pl>/\\1<sg>/g}; " +
         "/<pr>/{s/^([^$]*(\\$ \\^[^$<]*<(n|adj)>[^$]*)*<n>" + gender + ")<pl>(\\$ \\^[^$<]*<pr>)/\\1<sg>\\6/}";
}

}  // namespace

std::string mode_command(const Mode& mode, bool singular) {
  std::string pipeline = replaced(replaced(mode.pipeline, "$1", "-g"), "$2", "");
  if (singular)
    pipeline = replaced(std::move(pipeline), "| apertium-pretransfer",
                        "| sed -E '" + singular_script(mode.from) + "' | apertium-pretransfer");
  return "apertium-destxt | " + pipeline + " | apertium-retxt";
}

std::string frame_terms(const std::vector<std::string>& terms) {
  std::string out;
  for (const std::string& term : terms)
    out += join(words(term), " ") + ".\n\n";
  return out;
}

std::optional<std::vector<std::string>> unframe_terms(std::string_view output, std::size_t count) {
  std::vector<std::string> paragraphs;
  std::string paragraph;
  for (const std::string_view line : split(output, '\n')) {
    if (!is_blank(line)) {
      if (!paragraph.empty()) paragraph += ' ';
      paragraph += trimmed(line);
    } else if (!paragraph.empty()) {
      paragraphs.push_back(std::move(paragraph));
      paragraph.clear();
    }
  }
  if (!paragraph.empty()) paragraphs.push_back(std::move(paragraph));
  if (paragraphs.size() != count) return std::nullopt;
  for (std::string& text : paragraphs)
    if (!text.empty() && text.back() == '.')
      text = std::string(trimmed(std::string_view(text).substr(0, text.size() - 1)));
  return paragraphs;
}

bool has_marks(std::string_view translation) {
  return translation.find_first_of("*#@") != std::string_view::npos;
}

std::string without_engine_marks(std::string_view translation) {
  std::string out;
  for (const char c : translation)
    if (c != '*' && c != '#' && c != '@') out += c;
  return out;
}

std::vector<std::string> translate_terms(const Mode& mode, const std::vector<std::string>& terms, bool singular) {
  if (terms.empty()) return {};
  const std::string output = run_shell(mode_command(mode, singular), frame_terms(terms));
  if (auto lines = unframe_terms(output, terms.size())) return *lines;
  if (terms.size() == 1) return {std::string{}};
  // One term confused the framing: halves find it.
  const auto middle = terms.begin() + static_cast<std::ptrdiff_t>(terms.size() / 2);
  std::vector<std::string> first = translate_terms(mode, {terms.begin(), middle}, singular);
  const std::vector<std::string> second = translate_terms(mode, {middle, terms.end()}, singular);
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

}  // namespace fachwerk::wokie
