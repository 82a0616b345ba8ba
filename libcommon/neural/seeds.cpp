#include "neural/seeds.hpp"

#include <charconv>
#include <cmath>
#include <set>

#include <fmt/format.h>

namespace fachwerk::neural {

namespace {

std::uint64_t number(std::string_view word) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size())
    throw usage_error("--seeds: \"{}\" is not a seed", word).with_hint("--seeds 1:10 or --seeds 1,4,7");
  return value;
}

/// What one run leaves.
struct Outcome {
  std::uint64_t seed;
  ModelFile model;
  History history;
};

Outcome run(cli::Session& session, TrainArguments& a, std::uint64_t seed, Ranks ranks) {
  session.seed = seed;
  Prepared p = prepare(session, a, ranks.count);
  Training training(p.network, p.data, a.train, {}, std::move(ranks), &session);
  training.run();
  p.model.state = state_of(p.network);
  return {seed, std::move(p.model), training.history()};
}

bool is_quality(const std::string& column) {
  return column.ends_with("_loss") || column.ends_with("_acc") || column.ends_with("_mse");
}

/// Writes the last value of every run for each column of quality, and tells mean and deviation.
void summarise(cli::Session& session, h5::Output& out, const std::vector<Outcome>& runs) {
  const auto& columns = runs.front().history.columns;
  const auto n = static_cast<double>(runs.size());
  for (std::size_t c = 0; c < columns.size(); ++c) {
    if (!is_quality(columns[c])) continue;
    std::vector<double> last;
    double mean = 0, squares = 0;
    for (const Outcome& r : runs) {
      last.push_back(r.history.rows.back()[c]);
      mean += last.back() / n;
    }
    for (const double v : last)
      squares += (v - mean) * (v - mean);
    const double deviation = n > 1 ? std::sqrt(squares / (n - 1)) : 0;
    const std::string path = "/summary/" + columns[c];
    out.column(path, last, {.units = "1", .long_name = columns[c] + " of the last epoch", .dims = {"run"}});
    out.attribute(path, "mean", mean);
    out.attribute(path, "std", deviation);
    session.summary.add(columns[c] + " mean", mean);
    session.summary.add(columns[c] + " std", deviation);
  }
}

}  // namespace

std::vector<std::uint64_t> parse_seeds(const std::string& text) {
  std::vector<std::uint64_t> seeds;
  if (const std::size_t colon = text.find(':'); colon != std::string::npos) {
    const std::uint64_t first = number(std::string_view(text).substr(0, colon));
    const std::uint64_t last = number(std::string_view(text).substr(colon + 1));
    if (last < first || last - first >= 10000) throw usage_error("--seeds {}: expected FIRST:LAST in order", text);
    for (std::uint64_t s = first; s <= last; ++s)
      seeds.push_back(s);
    return seeds;
  }
  for (std::size_t begin = 0;;) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    seeds.push_back(number(std::string_view(text).substr(begin, end - begin)));
    if (end == text.size()) break;
    begin = end + 1;
  }
  if (std::set<std::uint64_t>(seeds.begin(), seeds.end()).size() != seeds.size())
    throw usage_error("--seeds {}: a seed is there twice", text);
  return seeds;
}

void train_seeds(cli::Session& session, TrainArguments& a, const std::vector<std::uint64_t>& seeds,
                 const std::function<Ranks()>& make_ranks) {
  if (!session.checkpoint.empty()) throw usage_error("--seeds keeps no checkpoint: run the seeds one by one for that");
  if (a.data == "-") throw usage_error("--seeds reads the data set once for every seed: it must be a file");
  std::vector<Outcome> runs;
  int rank = 0;
  for (const std::uint64_t seed : seeds) {
    session.note(fmt::format("seed {}", seed));
    Ranks ranks = make_ranks();
    rank = ranks.rank;
    runs.push_back(run(session, a, seed, std::move(ranks)));
  }
  if (rank != 0) return;
  h5::Output out = h5::Output::create(a.output, session.force);
  out.stamp(session, "model");
  write_model(out, runs.front().model);
  std::vector<std::int64_t> numbers;
  for (const Outcome& r : runs) {
    const std::string group = fmt::format("/seeds/{}", r.seed);
    write_state(out, r.model.state, &r.model.graph, group + "/state");
    r.history.write(out, group + "/history/epoch");
    numbers.push_back(static_cast<std::int64_t>(r.seed));
  }
  out.column("/summary/seed", numbers, {.units = "1", .long_name = "seed of the run", .dims = {"run"}});
  session.summary.add("model", a.model.name);
  session.summary.add("seeds", static_cast<std::int64_t>(runs.size()));
  if (!runs.front().history.rows.empty()) summarise(session, out, runs);
  out.commit();
}

}  // namespace fachwerk::neural
