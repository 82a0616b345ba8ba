#include "trigger_output.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include <fmt/format.h>

#include "cli/error.hpp"
#include "refine.hpp"

namespace fachwerk::polgraw {

Checkpoints::Checkpoints(std::string path, std::string fingerprint, int rank)
    : path_(std::move(path)), mark_(std::move(fingerprint)), rank_(rank) {}

Checkpoints::~Checkpoints() {
  if (writing_.valid()) writing_.wait();
}

void Checkpoints::start(const Progress& progress) {
  finish();
  const auto name = rank_ == 0 ? path_ : fmt::format("{}.rank{}", path_, rank_);
  writing_ =
      std::async(std::launch::async, [name, mark = mark_, copy = progress] { save_checkpoint(name, mark, copy); });
}

void Checkpoints::finish() {
  if (writing_.valid()) writing_.get();
}

std::vector<std::string> Checkpoints::parts() const {
  namespace fs = std::filesystem;
  const fs::path target(path_);
  const auto folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  const std::string prefix = target.filename().string() + ".rank";
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.size() > prefix.size() &&
        name.find_first_not_of("0123456789", prefix.size()) == std::string::npos)
      found.push_back(entry.path().string());
  }
  return found;
}

Progress Checkpoints::join(std::size_t tasks) const {
  auto names = parts();
  if (std::filesystem::exists(path_)) names.insert(names.begin(), path_);
  if (names.empty()) throw io_error("{}: no such checkpoint", path_);
  Progress joined(tasks);
  for (const auto& name : names) {
    auto part = load_checkpoint(name, mark_, tasks);
    for (std::size_t t = 0; t < tasks; ++t)
      if (part.done[t] != 0 && joined.done[t] == 0) {
        joined.done[t] = 1;
        joined.triggers[t] = std::move(part.triggers[t]);
      }
  }
  save(joined);
  remove_parts();
  return joined;
}

void Checkpoints::save(const Progress& progress) const {
  save_checkpoint(path_, mark_, progress);
}

void Checkpoints::remove_parts() const {
  for (const auto& name : parts())
    std::filesystem::remove(name);
}

void Checkpoints::remove_all() const {
  remove_parts();
  std::filesystem::remove(path_);
}

namespace {

struct Found {
  std::uint64_t place;  ///< task or row
  std::int64_t source;
  Trigger trigger;
};

/// Values to one rank or another, by `owner(value)`.
template <class T, class Owner>
std::vector<T> send_to_owners(const cluster::Communicator& world, std::vector<T> values, const Owner& owner) {
  std::vector<std::size_t> counts(static_cast<std::size_t>(world.size()));
  std::ranges::stable_sort(values, {}, owner);
  for (const auto& value : values)
    ++counts[owner(value)];
  return world.alltoallv(std::span<const T>(values), std::span<const std::size_t>(counts)).values;
}

}  // namespace

void gather_progress(const cluster::Communicator& world, Progress& progress) {
  if (world.size() == 1) return;
  std::vector<Found> mine;
  if (!world.root())
    for (std::size_t t = 0; t < progress.triggers.size(); ++t)
      for (const auto& trigger : progress.triggers[t])
        mine.push_back({t, 0, trigger});
  const auto all = world.gatherv(std::span<const Found>(mine));
  const auto done = world.gatherv(std::span<const std::uint8_t>(progress.done));
  for (const auto& found : all.values)
    progress.triggers[found.place].push_back(found.trigger);
  if (world.root())
    for (std::size_t k = 0; k < done.values.size(); ++k)
      if (done.values[k] != 0) progress.done[k % progress.done.size()] = 1;
}

Share distribute(const cluster::Communicator& world, std::span<const Task> tasks, Progress&& progress, int writers) {
  std::vector<std::uint64_t> counts(tasks.size());
  for (std::size_t t = 0; t < tasks.size(); ++t)
    counts[t] = progress.triggers[t].size();
  world.allreduce(counts);
  std::vector<Found> found;
  std::uint64_t row = 0;
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    std::uint64_t mine = row;
    for (const auto& trigger : progress.triggers[t])
      found.push_back({mine++, tasks[t].source, trigger});
    std::vector<Trigger>().swap(progress.triggers[t]);
    row += counts[t];
  }
  Share share;
  share.total = row;
  const std::uint64_t each =
      std::max<std::uint64_t>(1, (row + static_cast<std::uint64_t>(writers) - 1) / static_cast<std::uint64_t>(writers));
  if (world.size() > 1)
    found = send_to_owners(world, std::move(found),
                           [&](const Found& f) { return static_cast<std::size_t>(f.place / each); });
  std::ranges::sort(found, {}, &Found::place);
  share.first = std::min<std::size_t>(share.total, static_cast<std::size_t>(world.rank()) * each);
  for (const auto& f : found) {
    share.triggers.push_back(f.trigger);
    share.source.push_back(static_cast<int>(f.source));
  }
  return share;
}

void keep_loudest(const cluster::Communicator& world, std::size_t count, Share& share) {
  if (share.total <= count) return;
  struct Row {
    double snr;
    std::uint64_t row;
  };
  const auto louder = [](const Row& a, const Row& b) { return a.snr != b.snr ? a.snr > b.snr : a.row < b.row; };
  std::vector<Row> rows;
  for (std::size_t i = 0; i < share.triggers.size(); ++i)
    rows.push_back({share.triggers[i].snr, share.first + i});
  std::ranges::sort(rows, louder);
  rows.resize(std::min(rows.size(), count));
  auto all = world.allgatherv(std::span<const Row>(rows)).values;
  std::ranges::sort(all, louder);
  const Row last = all[count - 1];
  Share kept;
  for (std::size_t i = 0; i < share.triggers.size(); ++i)
    if (!louder(last, {share.triggers[i].snr, share.first + i})) {
      kept.triggers.push_back(share.triggers[i]);
      kept.source.push_back(share.source[i]);
    }
  kept.first = world.exclusive_sum(kept.triggers.size());
  kept.total = count;
  share = std::move(kept);
}

std::optional<Loudest> loudest(const cluster::Communicator& world, const Share& share) {
  if (share.total == 0) return std::nullopt;
  const auto best = std::ranges::max_element(share.triggers, {}, &Trigger::snr);
  Loudest mine;
  mine.trigger.snr = -1;
  if (best != share.triggers.end())
    mine = {*best, share.source[static_cast<std::size_t>(best - share.triggers.begin())]};
  const auto all = world.allgather_value(mine);
  return *std::ranges::max_element(all, {}, [](const Loudest& l) { return l.trigger.snr; });
}

void write_second_spindown(h5::Output& file, std::span<const TriggerSource> sources, const TriggerRows& rows) {
  std::vector<std::int32_t> number;
  std::vector<double> s2, fddot;
  for (std::size_t i = 0; i < rows.triggers.size(); ++i) {
    const auto& t = rows.triggers[i];
    number.push_back(t.tt);
    s2.push_back(t.s2);
    fddot.push_back(sources[static_cast<std::size_t>(rows.source[i])].band.fddot(t.s2));
  }
  write_column(file, "tt", number, rows, "1", "number of the second spindown");
  write_column(file, "s2", s2, rows, "rad/sample^3", "second spindown, pi fddot dt^3 / 3");
  write_column(file, "fddot", fddot, rows, "Hz/s^2", "second derivative of the frequency");
}

DetectorStatistics detector_statistics(const Share& share, std::span<const Observation* const> sources,
                                       std::size_t detectors, double transition, int threads) {
  std::vector<DirectStatistic> statistics;
  for (const auto* source : sources)
    statistics.emplace_back(*source);
  const std::size_t rows = share.triggers.size();
  const auto n = static_cast<std::ptrdiff_t>(rows);
  DetectorStatistics found{std::vector<float>(rows * detectors, std::nanf("")), std::vector<std::int32_t>(rows),
                           std::vector<float>(rows)};
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads)
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    const auto row = static_cast<std::size_t>(i);
    const auto source = static_cast<std::size_t>(share.source[row]);
    DirectSums network;
    std::vector<double> F;
    for (std::size_t d = 0; d < sources[source]->detectors.size(); ++d) {
      const auto sums = statistics[source].detector(d, signal_point(share.triggers[row]));
      network += sums;
      F.push_back(f_of(sums));
      found.twoF[row * detectors + d] = static_cast<float>(2 * F.back());
    }
    const double all = f_of(network);
    found.line[row] = F.size() > 1 && *std::ranges::max_element(F) > all ? 1 : 0;
    found.log10_bsgl[row] = static_cast<float>(line_robust(all, F, transition) / std::log(10.0));
  }
  return found;
}

}  // namespace fachwerk::polgraw
