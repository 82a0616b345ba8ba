#include "screen_options.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "io/bytes.hpp"
#include "layout.hpp"
#include "scenario_source.hpp"

namespace fachwerk::dpf {
namespace {

int row_number(std::string_view text, std::size_t rows, std::string_view option) {
  int number = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size() || number < 1 ||
      static_cast<std::size_t>(number) > rows)
    throw usage_error("{}: expected rows 1..{}, found \"{}\"", option, rows, text);
  return number - 1;
}

std::vector<std::string_view> split_at(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(separator, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

// The words of a list: A,B,C, or those of a text file of that name, between blanks, commas and line ends; # begins a
// comment.
std::vector<std::string> words_of(const std::string& list) {
  std::string text = list;
  if (std::error_code error; std::filesystem::is_regular_file(list, error)) {
    const formats::File file = formats::File::open(list);
    text.clear();
    bool comment = false;
    for (const char c : file.text()) {
      comment = c == '#' || (comment && c != '\n');
      text += comment || c == ' ' || c == '\t' || c == '\r' || c == '\n' ? ',' : c;
    }
  }
  std::vector<std::string> words;
  for (const auto word : split_at(text, ','))
    if (!word.empty() || text == list) words.emplace_back(word);
  return words;
}

std::vector<Contingency> from_table(const ScreenCall& options, const Grid& grid) {
  const auto source = ScenarioSource::open(options.table, grid, "auto");
  if (source.changes() == nullptr) throw bad_input("{}: expected a change table, found dense scenarios", options.table);
  const ChangeTable& table = *source.changes();
  std::vector<Contingency> out(table.count());
  for (std::size_t s = 0; s < table.count(); ++s) {
    out[s].label = fmt::format("{}", table.labels()[s]);
    const auto [begin, end] = table.range(s);
    for (std::size_t k = begin; k < end; ++k) {
      const Change& c = table.changes()[k];
      const bool branch = c.table == 3 && c.column == 11, generator = c.table == 2 && c.column == 8;
      if ((!branch && !generator) || c.row < 1 || c.type != 1 || c.value != 0)
        throw bad_input("{}: label {}: dpf-screen understands only branches and generators that are switched off",
                        options.table, c.label)
            .with_hint("dpf-solve --scenarios solves any change table");
      (branch ? out[s].branches : out[s].generators).push_back(c.row - 1);
    }
  }
  return out;
}

}  // namespace

std::vector<Contingency> contingencies_of(const ScreenCall& options, const Grid& grid, const Network& network) {
  std::vector<Contingency> out;
  if (!options.table.empty()) return from_table(options, grid);
  const auto add = [&](std::vector<Contingency> more) { out.insert(out.end(), more.begin(), more.end()); };
  if (options.branches == "all")
    add(all_branches(network));
  else if (options.branches != "none")
    for (const auto& word : words_of(options.branches))
      out.push_back({{row_number(word, grid.branch.size(), "--branches")}, {}, {}});
  if (options.generators == "all")
    add(all_generators(network));
  else if (options.generators != "none")
    for (const auto& word : words_of(options.generators))
      out.push_back({{}, {row_number(word, grid.gen.size(), "--gens")}, {}});
  if (!options.pairs.empty())
    for (const auto& word : words_of(options.pairs)) {
      const auto ends = split_at(word, '-');
      if (ends.size() != 2) throw usage_error("--pairs: expected ROW-ROW, found \"{}\"", word);
      out.push_back(
          {{row_number(ends[0], grid.branch.size(), "--pairs"), row_number(ends[1], grid.branch.size(), "--pairs")},
           {},
           {}});
    }
  if (out.empty()) throw usage_error("no contingency: --branches, --gens, --pairs and --contab select nothing");
  return out;
}

ScreenOptions screen_options_of(const ScreenCall& options, const cli::Session& session) {
  ScreenOptions out{.tolerance = options.tolerance,
                    .max_iterations = options.max_iterations,
                    .solve_split = options.split != "skip",
                    .keep_islands = options.split == "island",
                    .rating = options.rating[0],
                    .prefilter = options.prefilter == "lodf" ? options.prefilter_guard : 0,
                    .check = options.check,
                    .seed = session.seed};
  const auto number = [](std::string_view word, double& value) {
    const auto result = std::from_chars(word.data(), word.data() + word.size(), value);
    return result.ec == std::errc() && result.ptr == word.data() + word.size();
  };
  if (options.guard == "auto")
    out.guard = 3;
  else if (options.guard != "off" && (!number(options.guard, out.guard) || !(out.guard > 0)))
    throw usage_error("--guard: expected auto, off or a positive number, found \"{}\"", options.guard);
  if (options.limits != "file") {
    const auto ends = split_at(options.limits, ',');
    if (ends.size() != 2 || !number(ends[0], out.vmin) || !number(ends[1], out.vmax) || !(out.vmin < out.vmax))
      throw usage_error("--limits: expected file or VMIN,VMAX in pu, found \"{}\"", options.limits);
  }
  return out;
}

}  // namespace fachwerk::dpf
